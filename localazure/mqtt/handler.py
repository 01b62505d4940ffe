"""What a front (IoT Hub, edge hub) tells the MQTT server."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Protocol

from localazure.mqtt.packets import Connect
from localazure.mqtt.session import Session


class Handler(Protocol):
    """The decisions. All run on the server's event loop; those that are not `async` must be short."""

    async def authenticate(self, connect: Connect) -> Hashable | None:
        """Who this is, or None for CONNACK 5. The newest session of an identity wins: put into it what tells clients apart.

        The client id counts only so far as the identity says: compare it here with what the credentials allow.
        """
        ...

    def stored_subscriptions(self, session: Session) -> Mapping[str, int] | None:
        """Filter to QoS of this identity's earlier clean_session=0 session, None if there is none. Asked before CONNACK."""
        ...

    def store_subscriptions(self, session: Session, subscriptions: Mapping[str, int] | None) -> None:
        """Keep the subscriptions of a clean_session=0 session (called before SUBACK and UNSUBACK), or None: forget the session."""
        ...

    def allowed_filter(self, session: Session, filter_: str) -> bool:
        """False answers this filter with 0x80 in SUBACK."""
        ...

    async def on_publish(self, session: Session, topic: str, payload: bytes, qos: int) -> None:
        """A message of the client's; the PUBACK of QoS 1 goes out when this returns. An exception closes the connection without it.

        Calls for one session come one after the other, in the client's order. May await `session.publish`.
        """
        ...

    async def on_subscribed(self, session: Session, filters: Mapping[str, int]) -> None:
        """After SUBACK: these filters were granted with this QoS. Called, too, with the stored ones after CONNACK."""
        ...

    async def on_connected(self, session: Session) -> None:
        """After CONNACK. Its exceptions close the connection."""
        ...

    async def on_disconnected(self, session: Session) -> None:
        """Once for each `on_connected` that was begun, before the identity's next session is let in."""
        ...
