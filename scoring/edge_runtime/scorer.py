"""The call of the scoring server inside this container."""

from __future__ import annotations

import http.client
import json
import logging
import time
from urllib.parse import unquote

from .messages import Answer, Message, request_headers
from .reasons import ASK, REASON
from .server import PORT

log = logging.getLogger("edge_runtime")

_PAUSE_SECONDS = 0.2
_GRACE_SECONDS = (
    2.0  # for the server to say itself that the script took too long, and for requests that were there before
)
_MAX_BROKEN = 3  # times that the server may break off before the message is taken to be what breaks it


class ServerUnavailableError(Exception):
    """Nobody listened on the server's port until the message's time was over."""


class Scorer:
    """`run` and `total` are seconds: the server's limit for one `run()`, and ours for one message with its repetitions."""

    def __init__(self, run: float, total: float, port: int = PORT) -> None:
        self._attempt, self._total, self._port = run + _GRACE_SECONDS, total, port

    def score(self, message: Message) -> Answer:
        """The server's answer, whatever its status. A call that got none is repeated: scoring changes nothing.

        When the time is over, or the server broke off three times, the answer is a 504 or 502 of our own, so that a message which hangs
        or kills a worker does not come again and again. Raises ServerUnavailableError when nobody listens.
        """
        headers = {**request_headers(message), ASK: "1"}
        end = time.monotonic() + self._total
        broken = 0
        while True:
            refused: Exception | None = None
            try:
                return self._post(message.body, headers, min(self._attempt, max(0.1, end - time.monotonic())))
            except ConnectionRefusedError as error:
                refused, failure = error, _failure(504, "nobody listens")
            except TimeoutError:
                failure = _failure(504, f"the scoring server gave no answer within {self._total:g} s")
            except (OSError, http.client.HTTPException) as error:
                broken += 1
                failure = _failure(502, f"the scoring server broke off before it answered ({type(error).__name__})")
            if broken >= _MAX_BROKEN or time.monotonic() + _PAUSE_SECONDS >= end:
                if refused:
                    raise ServerUnavailableError(
                        f"scoring {message.label}: nobody listened on port {self._port} for {self._total:g} s"
                    ) from refused
                return failure
            log.warning("scoring %s got no answer, trying again", message.label)
            time.sleep(_PAUSE_SECONDS)

    def _post(self, body: bytes, headers: dict[str, str], timeout: float) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        try:
            connection.request("POST", "/score", body, headers)
            response = connection.getresponse()
            reason = unquote(response.getheader(REASON) or "")
            return Answer(response.status, response.read(), response.getheader("Content-Type") or "", reason)
        finally:
            connection.close()


def _failure(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"message": message}).encode(), "application/json")
