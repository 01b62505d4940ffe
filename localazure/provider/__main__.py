"""`python -m localazure.provider [ENGINE_ADDRESS]`: prints the port it listens on as its first line, as every Pulumi plugin does."""

from __future__ import annotations

import re
import signal
import sys
import threading
from concurrent import futures

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2_grpc

from localazure.provider.engine import Engine
from localazure.provider.servicer import Provider

_WORKERS = 64  # operations wait for ARM, and the engine's checks must not wait for them
_MESSAGE_BYTES = 400 * 1024 * 1024  # the engine's own limit


def main() -> int:
    engine_address = _engine_address(sys.argv[1:])
    engine = Engine()
    engine.attach(engine_address)
    provider = Provider(engine)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_WORKERS),
        options=[("grpc.max_receive_message_length", _MESSAGE_BYTES), ("grpc.max_send_message_length", _MESSAGE_BYTES)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    # Ctrl-C reaches the whole terminal; the engine then says Cancel itself and still wants to hear how operations ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN if engine_address else lambda *_: ended.set())
    engine.watch(ended.set)
    ended.wait()
    provider.cancel()
    server.stop(grace=5).wait()
    return 0


def _engine_address(words: list[str]) -> str:
    """The one argument of the form host:port. The engine adds flags (-v 9, --logtostderr, --tracing URL) that mean nothing here."""
    return next((word for word in reversed(words) if re.fullmatch(r"[\w.\-\[\]:]+:\d+", word)), "")


if __name__ == "__main__":
    sys.exit(main())
