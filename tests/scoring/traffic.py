"""Messages for a module under test, and waiting for what becomes of them."""

from __future__ import annotations

import threading

from docker.models.containers import Container

from tests.scoring.edge_double import EdgeHub, wait_for


def log(container: Container) -> str:
    return container.logs().decode()


def connected(hub: EdgeHub, container: Container, seconds: float = 120) -> None:
    assert wait_for(lambda: hub.connected, seconds), log(container)


def answered(hub: EdgeHub, container: Container, seconds: float = 120) -> None:
    assert wait_for(lambda: not hub.unanswered(), seconds), (hub.unanswered(), hub.events, log(container))


class Traffic:
    """Ten messages a second, 60 ms each, from entry to exit."""

    def __init__(self, hub: EdgeHub, **order: int) -> None:
        self._hub, self._order, self._stop = hub, {"ms": 60} | order, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.1):
            self._hub.send(f"t{number}", {"i": number, **self._order})
            number += 1


def first_outputs(hub: EdgeHub) -> list[int]:
    """The numbers of the scores in the order of their first appearance."""
    return list(dict.fromkeys(output.json["i"] for output in hub.received))
