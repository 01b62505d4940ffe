"""The plugin behind a real gRPC channel, against a TLS server with the instance's own tokens and metadata."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from localazure import certs, instance
from localazure.endpoints import metadata_app
from localazure.environment import variables
from localazure.front import Front
from localazure.identity import Tokens
from localazure.instance import ARM_PORT, IDENTITY_PORT, Instance
from localazure.managed_identity import identity_app
from localazure.provider.engine import Engine
from localazure.provider.server import serve
from localazure.provider.servicer import Provider
from localazure.provider.values import from_struct, to_struct
from localazure.server import HttpServer
from tests.provider.arm_double import ArmDouble

CONFIG = "azure-native:config:"


@pytest.fixture(scope="package")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    made = instance.load_or_create(tmp_path_factory.mktemp("azure"))
    certs.ensure(made)
    return made


@pytest.fixture(scope="package")
def running_double(azure: Instance) -> Iterator[ArmDouble]:
    tokens = Tokens(azure)
    double = ArmDouble(azure, tokens)
    front = Front([(["subscriptions"], double.app), (["metadata"], metadata_app(azure))])
    tls = (azure.pki / "server.pem", azure.pki / "server.key")
    servers = [
        HttpServer(front, azure.address, ARM_PORT, tls),
        HttpServer(identity_app(azure, tokens), azure.address, IDENTITY_PORT),
    ]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(120)

    for server in servers:
        run(server.start())
    yield double
    for server in servers:
        run(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(120)
    loop.close()


@pytest.fixture
def arm(running_double: ArmDouble) -> ArmDouble:
    running_double.reset()
    return running_double


@pytest.fixture(scope="package")
def environment(azure: Instance) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(azure).items():
            patch.setenv(name, value)
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.setenv(proxy, "http://127.0.0.1:9")  # nobody is there: whoever asks a proxy fails
        yield


@dataclass
class Plugin:
    """What the engine does with a plugin, in Python values."""

    stub: provider_pb2_grpc.ResourceProviderStub
    provider: Provider
    subscription: str

    def configure(self, **settings: str) -> provider_pb2.ConfigureResponse:
        return self.stub.Configure(
            provider_pb2.ConfigureRequest(
                variables={CONFIG + name: value for name, value in settings.items()},
                acceptSecrets=True,
                acceptResources=True,
                sends_old_inputs=True,
                sends_old_inputs_to_delete=True,
            ),
            timeout=300,
        )

    def urn(self, token: str, name: str = "thing") -> str:
        return f"urn:pulumi:dev::aml-edge::amledge:index:Parent${token}::{name}"

    def check(
        self, token: str, news: dict[str, Any], olds: dict[str, Any] | None = None, name: str = "thing", **more: Any
    ) -> tuple[dict[str, Any], list[str]]:
        """Checked inputs and failures."""
        request = provider_pb2.CheckRequest(
            urn=self.urn(token, name),
            news=to_struct(news),
            olds=to_struct(olds or {}),
            **{"randomSeed": b"seed", **more},
        )
        answer = self.stub.Check(request, timeout=300)
        return from_struct(answer.inputs), [failure.reason for failure in answer.failures]

    def create(self, token: str, inputs: dict[str, Any], timeout: float = 0) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.CreateRequest(urn=self.urn(token), properties=to_struct(inputs), timeout=timeout)
        answer = self.stub.Create(request, timeout=300)
        return answer.id, from_struct(answer.properties)

    def preview(self, token: str, inputs: dict[str, Any]) -> dict[str, Any]:
        request = provider_pb2.CreateRequest(urn=self.urn(token), properties=to_struct(inputs), preview=True)
        answer = self.stub.Create(request, timeout=300)
        assert answer.id == ""
        return from_struct(answer.properties)

    def update(
        self, token: str, identity: str, state: dict[str, Any], old: dict[str, Any], new: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(
            urn=self.urn(token),
            id=identity,
            olds=to_struct(state),
            old_inputs=to_struct(old),
            news=to_struct(new),
            **more,
        )
        return from_struct(self.stub.Update(request, timeout=300).properties)

    def diff(
        self, token: str, old: dict[str, Any], new: dict[str, Any], state: dict[str, Any] | None = None
    ) -> provider_pb2.DiffResponse:
        request = provider_pb2.DiffRequest(
            urn=self.urn(token),
            id="id",
            olds=to_struct(old if state is None else state),
            old_inputs=to_struct(old),
            news=to_struct(new),
        )
        return self.stub.Diff(request, timeout=300)

    def refresh(
        self, token: str, identity: str, state: dict[str, Any], inputs: dict[str, Any]
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Id, outputs and inputs."""
        request = provider_pb2.ReadRequest(
            urn=self.urn(token), id=identity, properties=to_struct(state), inputs=to_struct(inputs)
        )
        answer = self.stub.Read(request, timeout=300)
        return answer.id, from_struct(answer.properties), from_struct(answer.inputs)

    def bring_in(self, token: str, identity: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """`pulumi import`: a read without inputs."""
        answer = self.stub.Read(provider_pb2.ReadRequest(urn=self.urn(token), id=identity), timeout=300)
        return answer.id, from_struct(answer.properties), from_struct(answer.inputs)

    def delete(self, token: str, identity: str) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(urn=self.urn(token), id=identity), timeout=300)

    def invoke(self, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = self.stub.Invoke(provider_pb2.InvokeRequest(tok=token, args=to_struct(arguments)), timeout=300)
        return from_struct(getattr(answer, "return"))


@contextlib.contextmanager
def _plugin(azure: Instance) -> Iterator[Plugin]:
    provider = Provider(Engine())
    server, port = serve(provider)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield Plugin(provider_pb2_grpc.ResourceProviderStub(channel), provider, azure.subscription_id)
    server.stop(grace=None)


@pytest.fixture
def unconfigured(azure: Instance, environment: None) -> Iterator[Plugin]:
    """A plugin of the test's own."""
    with _plugin(azure) as made:
        yield made


@pytest.fixture(scope="package")
def configured(azure: Instance, environment: None, running_double: ArmDouble) -> Iterator[Plugin]:
    with _plugin(azure) as made:
        made.configure(location="westeurope")
        yield made


@pytest.fixture
def plugin(configured: Plugin, arm: ArmDouble) -> Plugin:
    """The plugin that most tests share: they leave nothing in it but tokens. ARM is empty again for each."""
    return configured


def init_failed(error: grpc.RpcError) -> provider_pb2.ErrorResourceInitFailed | None:
    """The engine's reading of a failed operation: None when the resource does not belong into the state."""
    for name, value in error.trailing_metadata():
        if name == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            assert status.details[0].Unpack(detail)
            return detail
    return None
