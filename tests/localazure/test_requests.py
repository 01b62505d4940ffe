from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from localazure.requests import LoggedApp, RequestLog, mark, redacted, since


async def echo(request: Request) -> Response:
    return PlainTextResponse("ok", int(request.query_params.get("status", "200")))


async def crash(request: Request) -> Response:
    raise RuntimeError("boom")


APP = Starlette(
    routes=[Route("/crash", crash), Route("/{rest:path}", echo, methods=["GET", "HEAD", "PUT", "POST", "DELETE"])]
)


def ask(
    folder: Path, *requests: tuple[str, str], max_bytes: int = 10**6, headers: dict[str, str] | None = None
) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        app = LoggedApp(APP, RequestLog(folder, max_bytes), "127.0.0.9:1")
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://arm") as client:
            return [await client.request(method, path, headers=headers) for method, path in requests]

    return asyncio.run(run())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]


def test_a_line_says_what_was_asked_and_answered(tmp_path: Path) -> None:
    ask(
        tmp_path,
        ("PUT", "/subscriptions/S?api-version=2024-03-01&status=201"),
        headers={"x-ms-client-request-id": "abc"},
    )
    (line,) = lines(tmp_path)
    assert (line["method"], line["path"], line["status"]) == ("PUT", "/subscriptions/S", 201)
    assert (line["listener"], line["clientRequestId"]) == ("127.0.0.9:1", "abc")
    assert line["query"] == "api-version=2024-03-01&status=201"
    assert line["ms"] >= 0
    assert (tmp_path / "requests.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "query", ["sv=1&sig=S3CR3T", "client_secret=S3CR3T", "Password=S3CR3T", "access_token=S3CR3T", "code=S3CR3T"]
)
def test_secrets_do_not_reach_the_log(tmp_path: Path, query: str) -> None:
    ask(tmp_path, ("PUT", f"/azureml/blob?{query}&x=1"), headers={"Authorization": "Bearer S3CR3T"})
    text = (tmp_path / "requests.jsonl").read_text()
    assert "S3CR3T" not in text
    assert "x=1" in text


def test_redaction_keeps_the_rest_readable() -> None:
    assert redacted("api-version=1&$filter=a eq 'b'&sig=x%2By") == "api-version=1&%24filter=a%20eq%20%27b%27&sig=***"


def test_no_changes_can_be_counted(tmp_path: Path) -> None:
    ask(tmp_path, ("PUT", "/subscriptions/S/resourceGroups/rg"))
    before = mark(tmp_path)
    ask(tmp_path, ("GET", "/a"), ("HEAD", "/b"), ("POST", "/registries/r/listCredentials"), ("POST", "/msi/token"))
    quiet = since(tmp_path, before)
    assert quiet.changes == []
    assert quiet.reads == ["GET /a -> 200", "HEAD /b -> 200"]
    assert quiet.reading_posts == ["POST /registries/r/listCredentials -> 200", "POST /msi/token -> 200"]
    ask(tmp_path, ("DELETE", "/c"), ("POST", "/registries/r/regenerateCredential"))
    assert since(tmp_path, before).changes == ["DELETE /c -> 200", "POST /registries/r/regenerateCredential -> 200"]


def test_the_log_is_bounded_and_its_numbers_go_on(tmp_path: Path) -> None:
    for _ in range(4):
        ask(tmp_path, *[("GET", f"/{n}") for n in range(10)], max_bytes=2500)
    sizes = [path.stat().st_size for path in tmp_path.glob("requests.jsonl*")]
    assert len(sizes) == 2
    assert max(sizes) <= 2500
    assert mark(tmp_path) == 40
    assert len(since(tmp_path, 38).reads) == 2
    with pytest.raises(ValueError, match="rotated away"):
        since(tmp_path, 0)


def test_a_line_cut_by_a_kill_does_no_harm(tmp_path: Path) -> None:
    ask(tmp_path, ("GET", "/1"))
    with (tmp_path / "requests.jsonl").open("a") as file:
        file.write('{"n": 2, "meth')
    ask(tmp_path, ("GET", "/2"), ("GET", "/3"))
    assert since(tmp_path, 0).reads == ["GET /1 -> 200", "GET /2 -> 200", "GET /3 -> 200"]


def test_a_crash_is_a_500_with_an_id_that_the_log_knows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = ask(tmp_path, ("GET", "/crash"))
    assert answer.status_code == 500
    request_id = answer.headers["x-ms-request-id"]
    assert answer.json()["error"]["code"] == "InternalServerError"
    assert request_id in answer.json()["error"]["message"]
    assert request_id in caplog.text
    assert "RuntimeError: boom" in caplog.text
    assert lines(tmp_path)[0]["status"] == 500


def test_the_command_line_s_own_questions_are_no_traffic(tmp_path: Path) -> None:
    ask(tmp_path, ("GET", "/localazure/status"))
    assert mark(tmp_path) == 0


def test_an_app_s_own_500_is_passed_on(tmp_path: Path) -> None:
    (answer,) = ask(tmp_path, ("GET", "/x?status=500"))
    assert (answer.status_code, answer.text) == (500, "ok")


@pytest.mark.parametrize("path", ["/x", "/x?status=500", "/crash"])
def test_the_line_is_there_before_the_answers_end(tmp_path: Path, path: str) -> None:
    lines_at_the_end: list[int] = []

    async def run() -> None:
        app = LoggedApp(APP, RequestLog(tmp_path), "127.0.0.9:1")

        async def looking(scope: Any, receive: Any, send: Any) -> None:
            async def looked(message: Any) -> None:
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    lines_at_the_end.append(len(lines(tmp_path)))
                await send(message)

            await app(scope, receive, looked)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(looking), base_url="https://arm") as client:
            await client.get(path)

    asyncio.run(run())
    assert (lines_at_the_end, len(lines(tmp_path))) == ([1], 1)
