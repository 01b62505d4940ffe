"""The process that Pulumi starts, and what it refuses to be configured for."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from localazure.instance import Instance
from localazure.provider.engine import Engine
from localazure.provider.launcher import write_launcher
from tests.provider.arm_double import ArmDouble
from tests.provider.conftest import Plugin

ROOT = Path(__file__).parents[2]


class Log(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.lines: list[engine_pb2.LogRequest] = []

    def Log(self, request: engine_pb2.LogRequest, context: Any) -> empty_pb2.Empty:  # noqa: N802
        self.lines.append(request)
        return empty_pb2.Empty()


@pytest.fixture
def engine() -> Iterator[tuple[Log, str]]:
    log = Log()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    engine_pb2_grpc.add_EngineServicer_to_server(log, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield log, f"127.0.0.1:{port}"
    server.stop(grace=None)


def test_the_launcher_starts_a_plugin_that_prints_its_port(
    tmp_path: Path, engine: tuple[Log, str], environment: None, arm: ArmDouble
) -> None:
    launcher = write_launcher(tmp_path / "a folder", Path(sys.executable), ROOT)
    before = launcher.read_bytes()
    assert write_launcher(tmp_path / "a folder", Path(sys.executable), ROOT).read_bytes() == before
    log, address = engine
    with subprocess.Popen(
        [launcher, "-logtostderr", "-v", "9", address], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=300).version == "3.24.0"
                Plugin(stub, None, "").configure()  # type: ignore[arg-type]
            assert len(log.lines) == 1
            assert log.lines[0].severity == engine_pb2.DEBUG
            assert "local plugin" in log.lines[0].message
        finally:
            process.send_signal(signal.SIGINT)  # as the engine does
            process.wait(120)
    assert process.returncode == 0


def test_only_loopback_is_listened_on(unconfigured: Plugin) -> None:
    """The plugin holds a credential: nobody else on the network may use it."""
    sockets = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    mine = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    listening = [line.split() for line in sockets.splitlines() if len(line.split()) > 9 and line.split()[3] == "0A"]
    ours = [words[1] for words in listening if f"socket:[{words[9]}]" in mine]
    assert ours
    assert all(address.split(":")[0].endswith("7F") for address in ours)


def test_handshake_and_attach(unconfigured: Plugin, engine: tuple[Log, str], arm: ArmDouble) -> None:
    log, address = engine
    answer = unconfigured.stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address=address), timeout=300)
    assert answer.supports_autonaming_configuration
    assert not (answer.accept_secrets or answer.accept_resources or answer.accept_outputs)
    unconfigured.stub.Attach(plugin_pb2.PluginAttach(address=address), timeout=300)
    unconfigured.configure()
    assert len(log.lines) == 1


def test_configure_promises_no_more_than_the_real_one(unconfigured: Plugin, arm: ArmDouble) -> None:
    answer = unconfigured.configure()
    assert answer.supportsPreview
    assert answer.supports_autonaming_configuration
    assert not (answer.acceptSecrets or answer.acceptResources or answer.acceptOutputs)


def test_an_old_engine_is_refused(unconfigured: Plugin) -> None:
    with pytest.raises(grpc.RpcError, match=r"requires Pulumi CLI v3\.74\.0 or later"):
        unconfigured.stub.Configure(provider_pb2.ConfigureRequest(), timeout=300)


def test_configuration_passes_through(unconfigured: Plugin) -> None:
    request = provider_pb2.CheckRequest(news={"location": "x"})
    assert unconfigured.stub.CheckConfig(request, timeout=300).inputs == {"location": "x"}
    diff = unconfigured.stub.DiffConfig(provider_pb2.DiffRequest(), timeout=300)
    assert not diff.replaces


def test_schema_and_the_methods_that_there_are_not(unconfigured: Plugin) -> None:
    stub = unconfigured.stub
    assert stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=300).schema == "{}"
    with pytest.raises(grpc.RpcError, match="unsupported schema version 1"):
        stub.GetSchema(provider_pb2.GetSchemaRequest(version=1), timeout=300)
    assert stub.GetMapping(provider_pb2.GetMappingRequest(key="terraform"), timeout=300).data == b""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Construct(provider_pb2.ConstructRequest(), timeout=300)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


class TestRefusals:
    def test_without_a_metadata_host_nothing_is_asked(
        self, unconfigured: Plugin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ARM_METADATA_HOSTNAME")
        with pytest.raises(grpc.RpcError, match="never talks to Azure itself"):
            unconfigured.configure()

    @pytest.mark.parametrize("host", ["management.azure.com", "https://192.0.2.1:443"])
    def test_other_machines_are_refused(self, unconfigured: Plugin, host: str) -> None:
        with pytest.raises(grpc.RpcError, match="not on this machine"):
            unconfigured.configure(metadataHost=host)

    def test_without_a_subscription(self, unconfigured: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ARM_SUBSCRIPTION_ID")
        with pytest.raises(grpc.RpcError, match="ARM_SUBSCRIPTION_ID"):
            unconfigured.configure()

    def test_a_local_azure_that_is_down(self, unconfigured: Plugin) -> None:
        with pytest.raises(grpc.RpcError, match=r"cannot reach the local Azure(.|\n)*make up"):
            unconfigured.configure(metadataHost="127.0.0.1:9")

    def test_a_server_that_is_no_cloud(self, unconfigured: Plugin, azure: Instance, arm: ArmDouble) -> None:
        with pytest.raises(grpc.RpcError, match="HTTP status 501"):
            unconfigured.configure(metadataHost=f"{azure.arm_url}/elsewhere")

    def test_work_before_configure(self, unconfigured: Plugin) -> None:
        with pytest.raises(grpc.RpcError, match="was not configured"):
            unconfigured.delete("azure-native:keyvault:Vault", "/x")


def test_configuration_wins_over_the_environment(
    unconfigured: Plugin, azure: Instance, arm: ArmDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARM_METADATA_HOSTNAME", "127.0.0.1:9")
    unconfigured.configure(metadataHost=azure.arm_url, subscriptionId="11111111-0000-0000-0000-000000000000")
    unconfigured.check("azure-native:containerregistry:Registry", {"resourceGroupName": "rg", "sku": {"name": "B"}})
    assert arm.requests[0].path.startswith("/subscriptions/11111111-0000-0000-0000-000000000000/")


def test_an_engine_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed engine cannot end its plugins, and an orphan must not hold a credential for ever."""
    monkeypatch.setattr("localazure.provider.engine._ALIVE_EVERY_SECONDS", 0.05)
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watched = Engine()
        watched.attach(f"127.0.0.1:{listener.getsockname()[1]}")
        watched.watch(gone.set)
        assert not gone.wait(0.5)
    assert gone.wait(120)
