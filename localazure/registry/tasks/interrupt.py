"""How a build that runs in a thread is ended from the event loop."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Literal

from docker.types import CancellableStream

Reason = Literal["canceled", "timedout", "stopped"]


class BuildEnded(Exception):  # noqa: N818 - not an error: somebody ended it
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Interrupt:
    """One for each attempt. The engine gives a build up when the connection that asked for it closes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._stream: Any = None

    @property
    def ended(self) -> bool:
        return self._reason is not None

    def end(self, reason: Reason) -> None:
        """The first reason counts. May be called from any thread."""
        with self._lock:
            self._reason = self._reason or reason
            stream = self._stream
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

    def watch(self, stream: CancellableStream) -> None:
        """From now on this is what `end` closes. Raises BuildEnded."""
        with self._lock:
            self._stream = stream
        self.check()

    def check(self) -> None:
        """Raises BuildEnded once `end` was called."""
        if self._reason:
            raise BuildEnded(self._reason)
