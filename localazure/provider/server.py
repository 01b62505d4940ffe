"""The plugin's gRPC server."""

from __future__ import annotations

from concurrent import futures

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2_grpc

from localazure.provider.servicer import Provider

_WORKERS = 64  # operations wait for ARM, and the engine's checks must not wait for them
_MESSAGE_BYTES = 400 * 1024 * 1024  # the engine's own limit


def serve(provider: Provider) -> tuple[grpc.Server, int]:
    """A started server on a free port of the loopback interface, and the port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_WORKERS),
        options=[("grpc.max_receive_message_length", _MESSAGE_BYTES), ("grpc.max_send_message_length", _MESSAGE_BYTES)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
