"""A build's log: a file that grows while the build runs, and the error that ends a build."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class BuildError(Exception):
    """The build cannot succeed; the message is for the user: what was being done, what came back, what to do."""


class BuildStopped(Exception):  # noqa: N818 - not an error: the service is stopping, the build goes on after its start
    """The service stops; nothing is said about the build's outcome."""


class BuildLog:
    """Written from the build's thread, one whole line at a time. `tail` holds the last lines for error messages.

    `secrets` are replaced wherever they occur in a line.
    """

    def __init__(self, path: Path, *, newline: str = "\n", secrets: Iterable[str] = ()) -> None:
        self._file = path.open("a", encoding="utf-8", errors="replace", newline="")
        self._rest, self._newline = "", newline
        pieces = {piece for secret in secrets for piece in secret.splitlines() if piece}
        self._secrets = sorted(pieces, key=len, reverse=True)
        self.tail: list[str] = []

    def line(self, text: str) -> None:
        text = _COLOUR.sub("", text.rstrip())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        self._file.write(text + self._newline)
        self._file.flush()
        self.tail = [*self.tail[-199:], text]

    def feed(self, chunk: bytes | str) -> None:
        """Output of a program, in pieces of any size."""
        self._rest += chunk if isinstance(chunk, str) else chunk.decode(errors="replace")
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            self.line(line.rsplit("\r", 1)[-1])

    def flush(self) -> None:
        """End the line that a program left open."""
        if self._rest:
            self.line(self._rest)
            self._rest = ""

    def close(self) -> None:
        self.flush()
        self._file.close()
