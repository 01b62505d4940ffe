"""MQTT 3.1.1 for the fronts of the local Azure: a strict codec and an asyncio server that knows sessions, but neither IoT Hub nor
edge hub. What Azure's fronts do not do, it does not do: no QoS 2 (the connection is closed), no retained messages, no fan-out from
client to client, no wills (`Session.connect.will` tells the front of one).

A front is a `Handler` (see `handler.py`) for an `MqttServer`; only the calls that differ from "nothing" are shown:

    class Front:
        async def authenticate(self, connect: Connect) -> Hashable | None:
            return connect.client_id if good(connect.username, connect.password) else None  # None: CONNACK 5

        def stored_subscriptions(self, session: Session) -> dict[str, int] | None:
            return database.get(session.identity)  # None: CONNACK says that no session was present

        def store_subscriptions(self, session: Session, subscriptions: Mapping[str, int] | None) -> None:
            database.set(session.identity, subscriptions)  # only for clean_session=0; None forgets

        def allowed_filter(self, session: Session, filter_: str) -> bool:
            return filter_.startswith(f"devices/{session.client_id}/")

        async def on_publish(self, session: Session, topic: str, payload: bytes, qos: int) -> None:
            database.append(topic, payload)  # the PUBACK goes out after this; an exception closes the connection without it

    server = MqttServer(Front(), "127.0.0.1", 8883, certs.server_context(chain, key))
    await server.start()
    session = server.session("edge-1")  # None while it is not connected
    async with asyncio.timeout(30):
        await session.publish("devices/edge-1/inbox", b"hello", qos=1)  # returns with the client's PUBACK
    await server.stop()

`publish` raises `NotSubscribedError` without a subscription for the topic and `SessionEndedError` when the client goes before it
acknowledges; at most `Limits.in_flight` messages wait for acknowledgements, further calls wait their turn in order. Nothing is sent
again by itself: a front that promises delivery keeps the message until `publish` returns and sends it again in the next session.

The newest session of an identity wins: the older one is closed, its `on_disconnected` runs, then the newer one is let in. A client that
sends nothing for 1.5 times its keep-alive, that does not read, or whose packets are malformed or too large loses its connection.
Handlers run on the server's event loop; `ProtocolViolationError` from one closes the connection with one line in the log.
"""

from localazure.mqtt.decoding import Decoder as Decoder
from localazure.mqtt.decoding import decode as decode
from localazure.mqtt.encoding import encode as encode
from localazure.mqtt.handler import Handler as Handler
from localazure.mqtt.packets import Connect as Connect
from localazure.mqtt.packets import MalformedPacketError as MalformedPacketError
from localazure.mqtt.packets import Packet as Packet
from localazure.mqtt.server import MqttServer as MqttServer
from localazure.mqtt.session import Limits as Limits
from localazure.mqtt.session import NotSubscribedError as NotSubscribedError
from localazure.mqtt.session import ProtocolViolationError as ProtocolViolationError
from localazure.mqtt.session import Session as Session
from localazure.mqtt.session import SessionEndedError as SessionEndedError
from localazure.mqtt.topics import matches as matches
