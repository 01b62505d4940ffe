"""Every request to the local Azure in `<folder>/requests.jsonl`: what was asked, what came back; no bodies, no secrets.

A line: `{n, time, listener, method, path, query, status, ms, clientRequestId}`, with `fault` where one of `fault list` hit it. `n`
counts up over rotations and restarts.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024 * 1024  # then requests.jsonl becomes requests.jsonl.1, and the former .1 is gone

_OURS = "/localazure/"  # the command line asking for the status is no traffic

# Parameters whose value opens something: SAS and JWT signatures, passwords, continuation of a login.
_SECRET = re.compile(r"^(sig|signature|code|.*(secret|password|token|key|credential).*)$", re.IGNORECASE)
# POSTs that change nothing: `listKeys` and its kin, name checks, tokens, queries.
_READ_POST = re.compile(r"/(list\w*|checkNameAvailability|token|query|testQueries|shared[kK]eys)$", re.IGNORECASE)


class RequestLog:
    """Appends to the folder's log. One per process and folder."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = folder / "requests.jsonl"
        self._max_bytes = max_bytes
        self._next = mark(folder) + 1
        self._path.touch(mode=0o600)
        if self._path.stat().st_size and not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("a") as file:  # a kill cut the last line: do not lose the next one too
                file.write("\n")

    def append(self, entry: dict[str, Any]) -> None:
        """A log that cannot be written must not fail the request: the daemon's log says so."""
        line = json.dumps({"n": self._next, **entry}, ensure_ascii=False) + "\n"
        self._next += 1
        try:
            if self._path.exists() and self._path.stat().st_size + len(line) > self._max_bytes:
                self._path.replace(_rotated(self._path))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            _log.exception("cannot write %s", self._path)


class LoggedApp:
    """ASGI middleware round all of a listener: logs the request, and turns an exception into a 500 whose id is in daemon.log."""

    def __init__(self, app: ASGIApp, log: RequestLog, listener: str) -> None:
        self._app, self._log, self._listener = app, log, listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_OURS):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        def log(status: int | None) -> None:
            self._log.append(self._entry(scope, status, time.perf_counter() - started))

        answer = _Answer(send, log)
        try:
            await self._app(scope, receive, answer)
            await answer.flush()
        except Exception:
            await self._failed(scope, receive, answer)
        finally:
            answer.log()

    async def _failed(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        request_id = str(uuid.uuid4())
        _log.exception("request %s failed: %s %s on %s", request_id, scope["method"], scope["path"], self._listener)
        if answer.sent:
            return  # the client has half an answer already; the server closes the connection
        message = f"{scope['method']} {scope['path']} failed inside the local Azure (request {request_id}); the traceback is in daemon.log"
        body = {"error": {"code": "InternalServerError", "message": message}}
        await JSONResponse(body, 500, {"x-ms-request-id": request_id})(scope, receive, answer.instead())

    def _entry(self, scope: Scope, status: int | None, seconds: float) -> dict[str, Any]:
        headers = dict(scope["headers"])
        fault = {"fault": scope["localazure.fault"]} if "localazure.fault" in scope else {}
        return {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "listener": self._listener,
            "method": scope["method"],
            "path": scope["path"],
            "query": redacted(scope["query_string"].decode("latin-1")),
            "status": status,
            "ms": round(seconds * 1000, 1),
            "clientRequestId": headers.get(b"x-ms-client-request-id", b"").decode("latin-1") or None,
            **fault,
        }


@dataclass
class _Answer:
    """Passes an answer on, except a 500: that one waits until the app returns (its own 500) or raises (replaced by ours, because
    Starlette answers text/plain before it raises). The log has its line before the last piece is out: whoever has the answer finds it."""

    send: Send
    write: Callable[[int | None], None]
    status: int | None = None
    sent: bool = False
    _held: list[Message] = field(default_factory=list)
    _logged: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.status == 500:
            self._held.append(message)
            return
        self.sent = True
        await self._pass_on(message)

    async def flush(self) -> None:
        for message in self._held:
            await self._pass_on(message)

    def instead(self) -> Send:
        """For the answer in place of the one that is held."""
        self.status = 500
        return self._pass_on

    def log(self) -> None:
        if not self._logged:
            self._logged = True
            self.write(self.status)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.log()
        await self.send(message)


def redacted(query: str) -> str:
    """The query string with the values of secret parameters replaced by `***`."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(f"{quote(key)}={'***' if _SECRET.match(key) else quote(value, safe='/:,')}" for key, value in pairs)


@dataclass(frozen=True)
class Traffic:
    """What a client did since a mark. Lists of `METHOD path -> status`."""

    reads: list[str]
    changes: list[str]
    """Everything that is neither GET nor HEAD nor a reading POST. "Nothing changed" means: this is empty."""
    reading_posts: list[str]
    """POSTs that by their path only read (`listKeys`, tokens, queries): the test judges."""


def mark(folder: Path) -> int:
    """The number of the last logged request; 0 when there is none."""
    return max((entry["n"] for entry in _entries(folder)), default=0)


def since(folder: Path, after: int) -> Traffic:
    """What was requested after `mark` returned `after`. Raises ValueError when the log has rotated that part away."""
    entries = list(_entries(folder))
    if entries and entries[0]["n"] > after + 1:
        raise ValueError(f"{folder}/requests.jsonl starts at request {entries[0]['n']}; {after + 1} was rotated away")
    traffic = Traffic([], [], [])
    for entry in entries:
        if entry["n"] <= after:
            continue
        line = f"{entry['method']} {entry['path']} -> {entry['status']}"
        if entry["method"] in ("GET", "HEAD"):
            traffic.reads.append(line)
        elif entry["method"] == "POST" and _READ_POST.search(entry["path"].rstrip("/")):
            traffic.reading_posts.append(line)
        else:
            traffic.changes.append(line)
    return traffic


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Oldest first. A line that a kill cut in half is skipped."""
    path = folder / "requests.jsonl"
    for file in (_rotated(path), path):
        if not file.exists():
            continue
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "n" in entry:
                yield entry


def _rotated(path: Path) -> Path:
    return path.with_name(path.name + ".1")
