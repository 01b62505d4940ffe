"""A tiny server between a client and the real service: answers what it was told to, passes on the rest. Also stands in for hosts
that no real service plays (an Azure without JSON, a registry with a strange challenge)."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import PATIENCE

CLOSE = -1
"""As a status: read the request, then cut the connection without an answer."""
CLOSE_AFTER = -2
"""As a status: carry the request out at the real service, then cut the connection without an answer."""
_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "date", "server"}


@dataclass
class Fault:
    """The next `times` requests of this method whose path holds `path` get this answer."""

    method: str
    path: str
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Proxy:
    """`host` is 127.0.0.N:port. `seen` holds (method, path, status that the client got)."""

    host: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def count(self, method: str, path: str) -> int:
        return len([one for one in self.seen if one[0] == method and path in one[1]])

    def fault(self, method: str, path: str) -> Fault | None:
        for one in self.faults:
            if one.times > 0 and one.method == method and one.path in path:
                one.times -= 1
                return one
        return None


@contextlib.contextmanager
def proxy(address: str, pki: Path, target: str = "") -> Iterator[Proxy]:
    """TLS with the local Azure's own certificate, which is good for all of its address. `target` is https://host:port."""
    lock = threading.Lock()
    client = (
        httpx.Client(base_url=target, verify=ssl.create_default_context(cafile=pki / "ca.pem"), timeout=PATIENCE)
        if target
        else None
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                fault = made.fault(self.command, self.path)
            if fault is None or fault.status == CLOSE_AFTER:
                status, headers, content = self._forward(body)
            else:
                status, headers, content = fault.status, fault.headers, fault.body
            if fault is not None and fault.status < 0:
                made.seen.append((self.command, self.path, fault.status))
                self.close_connection = True
                return
            made.seen.append((self.command, self.path, status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            assert client, f"{self.command} {self.path}: nothing is behind this server"
            answer = client.request(
                self.command,
                self.path,
                content=body,
                headers={name: value for name, value in self.headers.items() if name.lower() not in _HOP | {"host"}},
            )
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            return answer.status_code, kept, answer.content

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

        def log_message(self, *arguments: Any) -> None:
            """No lines on standard error."""

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made = Proxy(f"{address}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        if client:
            client.close()
