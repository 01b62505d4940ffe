"""One connection to the edge hub, from CONNECT to its end. A new connection is a new Session: nothing of an old one is carried over,
since whatever the edge hub has no acknowledgement for, it sends again.

A message passes three stages, each in the order of arrival: it is scored (several at once), its score is published, and when the edge hub
has acknowledged the score, the message is acknowledged. Needs paho-mqtt 2, whose `manual_ack` leaves acknowledging to us.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt  # type: ignore[import-untyped, unused-ignore]

from . import methods
from .messages import Output
from .settings import EdgeIdentity
from .topics import client_id, input_filter, user_name

log = logging.getLogger("edge_runtime")

PORT = 8883  # the edge hub's, fixed
_KEEP_ALIVE_SECONDS = 30
_HANDSHAKE_SECONDS = 15.0
_ACK_SECONDS = 60.0  # an edge hub that took no score for so long is not working, though its connection stands
_CLOSE_SECONDS = 1.0

if TYPE_CHECKING:
    Carry = Callable[[str, bytes], Output | None]
    """Topic and body of a message to its output, or None for one that is only acknowledged. An exception ends the session."""

if not hasattr(mqtt, "CallbackAPIVersion"):
    raise ImportError("the edge module runtime needs paho-mqtt 2 or newer; this environment has an older one")


class SessionError(Exception):
    """The edge hub refused the connection or the subscription, or did not answer."""


@dataclass
class _Delivery:
    packet_id: int
    qos: int
    output: Future[Output | None]
    published: Any = None  # paho's MQTTMessageInfo


class Session:
    """Made by `Session.open`; ends by itself when the connection does, or by `close`."""

    def __init__(self, identity: EdgeIdentity, token: str, trust_bundle: str, executor: Executor, carry: Carry) -> None:
        self.lost = threading.Event()
        self.error: BaseException | None = None
        """Of `carry`, when that is what ended the session."""
        self.delivered = 0
        """Messages acknowledged."""
        self._carry, self._executor, self._identity = carry, executor, identity
        self._begun: dict[int, _Delivery] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._to_publish: queue.SimpleQueue[_Delivery | None] = queue.SimpleQueue()
        self._to_acknowledge: queue.SimpleQueue[_Delivery | None] = queue.SimpleQueue()
        self._client = self._make_client(token, trust_bundle)

    def open(self) -> None:
        """Connect, subscribe to the inputs, begin to carry. Raises SessionError and OSError (ssl.SSLError is one)."""
        where = f"the edge hub {self._identity.gateway}:{PORT}"
        try:
            self._client.connect(self._identity.gateway, PORT, _KEEP_ALIVE_SECONDS)
            for stage in (self._publish_all, self._acknowledge_all):
                threading.Thread(target=self._until_error, args=(stage,), daemon=True).start()
            self._client.loop_start()
            self._expect(f"connecting to {where} as {client_id(self._identity)}")
            # Also when the edge hub kept the session: one that says so may have lost the subscription (Azure/iotedge#4050, #5292).
            self._client.subscribe(input_filter(self._identity), qos=1)
            self._expect(f"subscribing to the inputs at {where}")
            self._serve_methods(where)
        except BaseException:
            self.close()
            raise

    def _serve_methods(self, where: str) -> None:
        """Direct methods are for probes: messages are carried without them too."""
        self._client.subscribe(methods.FILTER, qos=0)
        try:
            self._expect(f"subscribing to direct methods at {where}")
        except SessionError as error:
            if self.lost.is_set():
                raise
            log.warning("no direct methods: %s", error)

    @property
    def idle(self) -> bool:
        return not self._begun

    def drain(self, seconds: float) -> bool:
        """Begin no new message and wait for those begun; true when none is left. Messages that come meanwhile are not
        acknowledged: the edge hub sends them on the next connection."""
        with self._changed:
            self._closing = True
            return self._changed.wait_for(lambda: not self._begun or self.lost.is_set(), seconds) and not self._begun

    def close(self) -> None:
        """Disconnect. What is not acknowledged yet stays so."""
        self._closing = True
        connection = self._client.socket()
        self._client.disconnect()
        if connection is not None and not self.lost.wait(_CLOSE_SECONDS):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._end()

    def _make_client(self, token: str, trust_bundle: str) -> Any:
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id(self._identity),
            clean_session=False,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.username_pw_set(user_name(self._identity), token)
        # Not ssl.create_default_context: from Python 3.13 on it is stricter than certificates of IoT Edge devices are.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=trust_bundle)
        except ValueError as error:
            raise SessionError(f"reading the trust bundle of the workload API: {error}") from error
        client.tls_set_context(context)
        client.connect_timeout = _HANDSHAKE_SECONDS
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _expect(self, doing: str) -> None:
        """Wait for the answer of the edge hub that one of the callbacks reports: None is yes."""
        try:
            refusal = self._answers.get(timeout=_HANDSHAKE_SECONDS)
        except queue.Empty:
            refusal = f"no answer within {_HANDSHAKE_SECONDS:g} s"
        if refusal:
            raise SessionError(f"{doing}: {refusal}")

    # Called by paho on its network thread: they must not block.

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answers.put(f"refused ({reason})" if reason.is_failure else None)

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, reasons: list[Any], _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        self._answers.put(f"refused ({', '.join(refused)})" if refused else None)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self._until_error(lambda: self._begin(message))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answers.put(f"the connection was closed ({reason})")
        self._end()

    def _begin(self, message: Any) -> None:
        with self._changed:
            if self._closing or message.mid in self._begun:  # an identifier in use is never given to another message
                return
            output = self._executor.submit(self._carry_unless_lost, message.topic, message.payload)
            delivery = _Delivery(message.mid, message.qos, output)
            if message.qos:
                self._begun[message.mid] = delivery
        self._to_publish.put(delivery)

    def _carry_unless_lost(self, topic: str, body: bytes) -> Output | None:
        return None if self.lost.is_set() else self._carry(topic, body)

    # The stages, each on a thread of its own.

    def _until_error(self, stage: Callable[[], None]) -> None:
        """An error must not leave a connection that stands and carries nothing."""
        try:
            stage()
        except Exception as error:
            self.error = self.error or error
            self._end()

    def _publish_all(self) -> None:
        while (delivery := self._to_publish.get()) is not None:
            output = delivery.output.result()
            if self.lost.is_set():
                return
            if output:
                delivery.published = self._client.publish(output.topic, output.body, qos=1)
            self._to_acknowledge.put(delivery)

    def _acknowledge_all(self) -> None:
        while (delivery := self._to_acknowledge.get()) is not None:
            if delivery.published and not self._accepted(delivery.published):
                self._end()
                return
            if delivery.qos:
                self._client.ack(delivery.packet_id, delivery.qos)
            with self._changed:
                self.delivered += 1
                self._begun.pop(delivery.packet_id, None)
                self._changed.notify_all()

    def _accepted(self, published: Any) -> bool:
        """Wait until the edge hub has acknowledged the output."""
        end = time.monotonic() + _ACK_SECONDS
        while not self.lost.is_set():
            try:
                published.wait_for_publish(0.5)
            except (RuntimeError, ValueError) as error:
                log.warning("publishing a score failed: %s", error)
                return False
            if published.is_published():
                return True
            if time.monotonic() > end:
                log.warning("the edge hub has not acknowledged a score for %g s; connecting anew", _ACK_SECONDS)
                return False
        return False

    def _end(self) -> None:
        self.lost.set()
        for stage in (self._to_publish, self._to_acknowledge):
            stage.put(None)
        with self._changed:
            self._changed.notify_all()


def _no_delay(_client: Any, _data: Any, connection: Any) -> None:
    """Scores and acknowledgements are small: one must not wait until the edge hub's side has acknowledged the TCP segment before."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
