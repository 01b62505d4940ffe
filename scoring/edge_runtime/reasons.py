"""gunicorn's configuration for the scoring server's workers: what went wrong in `run()` reaches the bridge.

The server answers "An unexpected error occurred in scoring script" and logs the exception. A message on the error output must say which
one it was, so it is taken from where it is logged and put into a header, for requests that ask by `x-aml-edge` only: to other
clients of port 5001 the server answers as always. gunicorn runs this file by itself, so it imports nothing of this package.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from typing import Any
from urllib.parse import quote

ASK, REASON = "x-aml-edge", "x-aml-edge-reason"
LONGEST = 1000

_reason: contextvars.ContextVar[str | None] = contextvars.ContextVar("reason", default=None)


def post_worker_init(worker: Any) -> None:
    """gunicorn's hook: a worker has loaded the application and served nothing yet."""
    logging.getLogger("azmlinfsrv").addHandler(Listener(logging.ERROR))
    worker.wsgi = telling(worker.wsgi)


class Listener(logging.Handler):
    """The server logs inside its `except`, with the script's exception as the cause of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        cause = error.__cause__ if error else None
        if cause is not None:
            _reason.set(f"{type(cause).__name__}: {cause}"[:LONGEST])


def telling(app: Any) -> Any:
    """The WSGI application with the header on answers to those who ask."""

    def wrapped(environ: Any, start_response: Any) -> Any:
        if "HTTP_X_AML_EDGE" not in environ:
            return app(environ, start_response)
        _reason.set(None)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            reason = _reason.get()
            told = [(REASON, quote(reason))] if reason else []
            return start_response(status, [*headers, *told], *rest)

        return app(environ, start)

    return wrapped
