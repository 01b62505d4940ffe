"""IoT Edge's workload API: the security daemon signs with the module's key, which never leaves it.

Source: Azure/iotedge, `edgelet/api/workload.yaml`; the same two calls as azure-iot-device's `create_from_edge_environment`.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from .settings import EdgeIdentity

_TIMEOUT_SECONDS = 10.0


class WorkloadError(Exception):
    """The workload API did not answer, or not with what was asked for."""


class WorkloadApi:
    """A connection for each call: the daemon may be restarted between two of them."""

    def __init__(self, identity: EdgeIdentity) -> None:
        self._identity = identity
        self._query = f"?api-version={quote(identity.api_version, safe='')}"

    def trust_bundle(self) -> str:
        """The certificates, as PEM text, that the edge hub's certificate leads to. Raises WorkloadError."""
        return self._text("GET", f"/trust-bundle{self._query}", None, "certificate")

    def sign(self, text: str) -> str:
        """HMAC-SHA256 of `text` with the module's primary key, in base64. Raises WorkloadError."""
        module, generation = quote(self._identity.module, safe=""), quote(self._identity.generation, safe="")
        data = base64.b64encode(text.encode()).decode()
        request = {"keyId": "primary", "algo": "HMACSHA256", "data": data}
        return self._text("POST", f"/modules/{module}/genid/{generation}/sign{self._query}", request, "digest")

    def _text(self, method: str, path: str, request: dict[str, str] | None, key: str) -> str:
        doing = f"{method} {path} at the workload API {self._identity.workload_uri}"
        try:
            status, body = self._call(method, path, request)
        except (OSError, http.client.HTTPException) as error:
            raise WorkloadError(f"{doing}: {type(error).__name__}: {error}; is the IoT Edge daemon running?") from error
        if status != http.client.OK:
            raise WorkloadError(f"{doing}: status {status}; is this container the module that edgeAgent started?")
        try:
            value: Any = json.loads(body)[key]
        except (ValueError, TypeError, KeyError):
            value = None
        if not isinstance(value, str) or not value:
            raise WorkloadError(f"{doing}: the answer has no {key!r}")
        return value

    def _call(self, method: str, path: str, request: dict[str, str] | None) -> tuple[int, bytes]:
        connection = _connection(self._identity.workload_uri)
        try:
            headers = {"Content-Type": "application/json"} if request else {}
            connection.request(method, path, json.dumps(request) if request else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _connection(uri: str) -> http.client.HTTPConnection:
    parts = urlsplit(uri)
    if parts.scheme == "unix" and parts.path:
        return _UnixConnection(unquote(parts.path).rstrip("/"))
    if parts.scheme == "http" and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    raise WorkloadError(f"IOTEDGE_WORKLOADURI is {uri!r}: want unix:///path or http://host:port")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
