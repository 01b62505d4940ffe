"""`python -m localazure.provider [ENGINE_ADDRESS]`: prints the port it listens on as its first line, as every Pulumi plugin does."""

from __future__ import annotations

import re
import signal
import sys
import threading

from localazure.provider.engine import Engine
from localazure.provider.server import serve
from localazure.provider.servicer import Provider


def main() -> int:
    engine = Engine()
    engine.attach(_engine_address(sys.argv[1:]))
    provider = Provider(engine)
    server, port = serve(provider)
    print(port, flush=True)

    ended = threading.Event()
    # The engine ends a plugin with SIGINT and kills it five seconds later. A Ctrl-C of the user's does not come here: the
    # engine gives plugins a process group of their own, and says Cancel.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    engine.watch(ended.set)
    ended.wait()
    provider.cancel()
    server.stop(grace=2).wait()
    return 0


def _engine_address(words: list[str]) -> str:
    """The one argument of the form host:port. The engine adds flags (-v 9, --logtostderr, --tracing URL) that mean nothing here."""
    return next((word for word in reversed(words) if re.fullmatch(r"[\w.\-\[\]:]+:\d+", word)), "")


if __name__ == "__main__":
    sys.exit(main())
