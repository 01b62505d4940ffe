"""An edge device to run one module against: workload API and edge hub, with faults on demand and an account of every message.

The edge hub keeps a message until its PUBACK and sends what is left to the next session, oldest first, at most ten unacknowledged at a
time: what the runtime acknowledges too early is lost here, as it would be there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import re
import socketserver
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

from localazure import certs
from localazure.instance import Instance
from localazure.mqtt import Connect, MqttServer, NotSubscribedError, Session, SessionEndedError

HUB, DEVICE, MODULE, GENERATION, GATEWAY = (
    "lab-hub.azure-devices.net",
    "edge-1",
    "scorer",
    "638000000000000000",
    "edge-gw",
)
BASE = f"devices/{DEVICE}/modules/{MODULE}"

METHODS = "$iothub/methods/POST/#"


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


@dataclass
class Sent:
    """A message to the module's input and what became of it."""

    id: str
    topic: str
    body: bytes
    transmitted: list[float] = field(default_factory=list)
    """When it was handed to a session; in a flood it then waits for a place in the window."""
    acknowledged: float | None = None


@dataclass
class Received:
    """What the module published."""

    at: float
    properties: dict[str, str]
    body: bytes

    @property
    def output(self) -> str:
        return self.properties["$.on"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class EdgeHub:
    """Runs on an event loop of its own; the methods may be called from the test's thread."""

    def __init__(self, key: bytes, address: str, tls: tuple[Path, Path]) -> None:
        self.sent: dict[str, Sent] = {}
        self.received: list[Received] = []
        self.results: dict[str, tuple[int, Any]] = {}
        """Answers to direct methods by request id."""
        self.events: list[str] = []
        """"connect", "refused: why", "subscribe", "disconnect: why"."""
        self.refuse_connects = 0
        """How many of the next CONNECTs get CONNACK 5."""
        self.puback_delay = 0.0
        self._key, self._address, self._tls = key, address, tls
        self._pending: dict[str, Sent] = {}
        self._subscriptions: dict[Hashable, dict[str, int]] = {}
        self._expiry: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._new = asyncio.Event()
        self._pumps: dict[Session, asyncio.Task[None]] = {}
        self._timers: dict[Session, asyncio.TimerHandle] = {}
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server: MqttServer | None = None
        self.up()

    # For tests

    def up(self) -> None:
        context = certs.server_context(*self._tls)
        self._server = MqttServer(self, self._address, 8883, context)
        self._run(self._server.start())

    def down(self, *, lose_session: bool = False) -> None:
        assert self._server
        self._run(self._server.stop())
        if lose_session:
            self._subscriptions.clear()

    def close(self) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def drop(self) -> None:
        """End the connection, keep the session."""
        for session in self._sessions():
            self._loop.call_soon_threadsafe(session.close, "dropped")

    def send(self, id_: str | None, body: bytes | dict[str, Any], input_: str = "amlInput", **properties: str) -> str:
        """Queue a message; `id_` None sends one without a message id. Returns the key in `sent`."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        bag = {"$.cdid": DEVICE, "$.cmid": "sensor"} | ({"$.mid": id_} if id_ else {})
        bag |= {} if isinstance(body, bytes) else {"$.ct": "application/json", "$.ce": "utf-8"}
        text = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in (bag | properties).items())
        key = id_ or f"without id {len(self.sent)}"
        message = Sent(key, f"{BASE}/inputs/{input_}/{text}", payload)
        self.sent[key] = message
        self._loop.call_soon_threadsafe(self._enqueue, message)
        return key

    def call(self, method: str, payload: Any) -> tuple[int, Any]:
        """Status and payload of a direct method's answer."""
        request = f"r{len(self.results)}"
        (session,) = self._sessions()
        assert wait_for(lambda: METHODS in session.subscriptions)
        topic = f"$iothub/methods/POST/{method}/?$rid={request}"
        self._run(session.publish(topic, json.dumps(payload).encode(), qos=0))
        assert wait_for(lambda: request in self.results)
        return self.results[request]

    @property
    def connected(self) -> bool:
        return any(f"{BASE}/inputs/#" in session.subscriptions for session in self._sessions())

    def outputs(self, cause: str) -> list[Received]:
        """What the module published because of a message."""
        return [output for output in self.received if output.properties.get("$.cid") == cause]

    def lost(self) -> list[str]:
        """Messages that were acknowledged, or are gone from the queue, without an output. There must never be one."""
        answered = {output.properties.get("$.cid") for output in self.received}
        return [key for key in self.sent if key not in self._pending and key not in answered]

    def unanswered(self) -> list[str]:
        answered = {output.properties.get("$.cid") for output in self.received}
        return [key for key in self.sent if key not in answered]

    def forget(self) -> None:
        """Begin a new account. The queue must be empty."""
        assert not self._pending, self._pending
        self.sent.clear()
        self.received.clear()
        self.events.clear()

    # Handler of the MQTT server

    async def authenticate(self, connect: Connect) -> Hashable | None:
        why = self._refusal(connect)
        if why is None and self.refuse_connects:
            self.refuse_connects -= 1
            why = "injected"
        self.events.append(f"refused: {why}" if why else "connect")
        return None if why else connect.client_id

    def stored_subscriptions(self, session: Session) -> Mapping[str, int] | None:
        return self._subscriptions.get(session.identity)

    def store_subscriptions(self, session: Session, subscriptions: Mapping[str, int] | None) -> None:
        if subscriptions is None:
            self._subscriptions.pop(session.identity, None)
        else:
            self._subscriptions[session.identity] = dict(subscriptions)

    def allowed_filter(self, session: Session, filter_: str) -> bool:
        return filter_ in {f"{BASE}/inputs/#", METHODS}

    async def on_connected(self, session: Session) -> None:
        left = self._expiry[session.client_id] - time.time()
        self._timers[session] = self._loop.call_later(left, session.close, "the token expired")

    async def on_disconnected(self, session: Session) -> None:
        self.events.append(f"disconnect: {session.end_reason}")
        self._timers.pop(session).cancel()
        if pump := self._pumps.pop(session, None):
            pump.cancel()

    async def on_subscribed(self, session: Session, filters: Mapping[str, int]) -> None:
        if METHODS in filters:
            return
        self.events.append("subscribe")
        if session not in self._pumps:
            self._pumps[session] = self._loop.create_task(self._pump(session))

    async def on_publish(self, session: Session, topic: str, payload: bytes, qos: int) -> None:
        if called := re.fullmatch(r"\$iothub/methods/res/(\d+)/\?\$rid=(\w+)", topic):
            self.results[called[2]] = (int(called[1]), json.loads(payload))
            return
        start = f"{BASE}/messages/events/"
        assert topic.startswith(start), topic
        assert qos == 1
        if self.puback_delay:
            await asyncio.sleep(self.puback_delay)
        properties = dict(parse_qsl(topic[len(start) :], keep_blank_values=True, strict_parsing=True))
        self.received.append(Received(time.monotonic(), properties, payload))

    # Inside

    async def _pump(self, session: Session) -> None:
        begun: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while session.alive:
                self._new.clear()
                for message in [message for key, message in self._pending.items() if key not in begun]:
                    begun.add(message.id)
                    group.create_task(self._deliver(session, message))
                await self._new.wait()

    async def _deliver(self, session: Session, message: Sent) -> None:
        message.transmitted.append(time.monotonic())
        with contextlib.suppress(SessionEndedError, NotSubscribedError):
            await session.publish(message.topic, message.body)
            message.acknowledged = time.monotonic()
            self._pending.pop(message.id, None)

    def _enqueue(self, message: Sent) -> None:
        self._pending[message.id] = message
        self._new.set()

    def _refusal(self, connect: Connect) -> str | None:
        """Written from the documentation of SAS tokens, not from the runtime."""
        identity, _, query = (connect.username or "").partition("/?")
        if identity != f"{HUB}/{DEVICE}/{MODULE}" or connect.client_id != f"{DEVICE}/{MODULE}":
            return f"identity {identity} {connect.client_id}"
        if "api-version" not in parse_qs(query) or connect.clean_session:
            return "no api-version, or a clean session"
        kind, _, text = (connect.password or b"").decode().partition(" ")
        fields = dict(part.split("=", 1) for part in text.split("&"))
        if kind != "SharedAccessSignature" or unquote(fields["sr"]) != f"{HUB}/devices/{DEVICE}/modules/{MODULE}":
            return "scope"
        digest = hmac.new(self._key, f"{fields['sr']}\n{fields['se']}".encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(base64.b64encode(digest).decode(), unquote(fields["sig"])):
            return "signature"
        self._expiry[connect.client_id] = int(fields["se"])
        return "expired" if int(fields["se"]) < time.time() else None

    def _sessions(self) -> list[Session]:
        return self._server.sessions if self._server else []

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)


class WorkloadApi:
    """`/trust-bundle` and `/modules/{module}/genid/{generation}/sign` on a Unix socket that every user may open."""

    def __init__(self, path: Path, key: bytes, trust_bundle: str) -> None:
        self.signed = 0
        self.failing = 0
        """How many of the next requests are answered with 500."""
        self._path, self._key, self._trust_bundle = path, key, trust_bundle
        self._server = _UnixHttpServer(str(path), _handler(self))
        path.chmod(0o666)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, str]]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if query.get("api-version") != ["2019-01-30"]:
            return 400, {"message": "api-version"}
        if self.failing:
            self.failing -= 1
            return 500, {"message": "injected"}
        if (method, path) == ("GET", "/trust-bundle"):
            return 200, {"certificate": self._trust_bundle}
        if (method, path) == ("POST", f"/modules/{MODULE}/genid/{GENERATION}/sign"):
            request = json.loads(body)
            if request["keyId"] != "primary" or request["algo"] != "HMACSHA256":
                return 400, {"message": "key or algorithm"}
            self.signed += 1
            digest = hmac.new(self._key, base64.b64decode(request["data"]), hashlib.sha256).digest()
            return 200, {"digest": base64.b64encode(digest).decode()}
        return 404, {"message": f"{method} {path}"}


class _UnixHttpServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _handler(api: WorkloadApi) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = api.answer(self.command, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the base class wants these names

    return Handler


class EdgeDevice:
    """Both together on one address, with the environment that edgeAgent gives to the module."""

    def __init__(self, instance: Instance, folder: Path, address: str) -> None:
        key = os.urandom(32)
        certs.ensure(instance)
        tls = certs.issue(instance, "edge", [GATEWAY], folder)
        self.address = address
        self.socket = folder / "workload.sock"
        self.key, self.trust_bundle = key, instance.ca.read_text()
        self.workload = WorkloadApi(self.socket, key, self.trust_bundle)
        self.hub = EdgeHub(key, address, tls)
        self.environment = {
            "IOTEDGE_WORKLOADURI": "unix:///var/run/iotedge/workload.sock",
            "IOTEDGE_GATEWAYHOSTNAME": GATEWAY,
            "IOTEDGE_DEVICEID": DEVICE,
            "IOTEDGE_MODULEID": MODULE,
            "IOTEDGE_MODULEGENERATIONID": GENERATION,
            "IOTEDGE_IOTHUBHOSTNAME": HUB,
            "IOTEDGE_AUTHSCHEME": "sasToken",
            "IOTEDGE_APIVERSION": "2019-01-30",
        }

    def close(self) -> None:
        self.hub.close()
        self.workload.close()
