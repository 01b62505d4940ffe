"""The comment is written once and then in its place; GitHub's answers are a server of our own that keeps its rules of paging."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline import github

BOT = {"login": "github-actions[bot]"}


class Server(ThreadingHTTPServer):
    comments: list[dict[str, Any]]
    refuse = False


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _body(self) -> str:
        assert self.headers["Authorization"] == "Bearer token"
        read: dict[str, str] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return read["body"]

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        size, page = int(query["per_page"][0]), int(query["page"][0])
        self._answer(200, self.server.comments[(page - 1) * size : page * size])

    def do_POST(self) -> None:
        if self.server.refuse:
            self._answer(403, {"message": "Resource not accessible by integration"})
            return
        made = {"id": len(self.server.comments) + 1, "user": BOT, "body": self._body(), "html_url": "new"}
        self.server.comments.append(made)
        self._answer(201, made)

    def do_PATCH(self) -> None:
        found = next(one for one in self.server.comments if self.path.endswith(f"/comments/{one['id']}"))
        found["body"] = self._body()
        self._answer(200, {**found, "html_url": "patched"})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.comments = []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def upsert(server: Server, body: str) -> str:
    return github.upsert(f"http://127.0.0.1:{server.server_port}", "team/repo", 7, "token", body)


def test_once_then_in_its_place(server: Server) -> None:
    server.comments = [{"id": number, "user": {"login": "x"}, "body": "hello"} for number in range(150)]
    assert upsert(server, "<!-- preview dev -->\none") == "new"
    assert upsert(server, "<!-- preview prod -->\nother") == "new"
    assert upsert(server, "<!-- preview dev -->\ntwo") == "patched"
    assert [one["body"] for one in server.comments[150:]] == [
        "<!-- preview dev -->\ntwo",
        "<!-- preview prod -->\nother",
    ]


def test_somebody_elses_comment_with_our_marker_stays(server: Server) -> None:
    server.comments = [{"id": 1, "user": {"login": "mallory"}, "body": "<!-- preview dev -->\nfake"}]
    assert upsert(server, "<!-- preview dev -->\nreal") == "new"


def test_a_refusal_says_what_is_missing(server: Server) -> None:
    server.refuse = True
    with pytest.raises(github.CommentError, match="pull-requests: write"):
        upsert(server, "<!-- preview dev -->\nreal")
