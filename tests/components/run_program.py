"""Runs the project's program under Pulumi's mocks, in a process of its own since the SDK keeps its state in globals.

`python -m tests.components.run_program` reads {"config", "preview", "secrets"} from standard input and writes what the engine would
have been told: {"resources", "invokes", "outputs", "error"}. The monitor does the one thing of the real engine's that mocks leave out:
outputs named in `additionalSecretOutputs` come back as secrets.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sys
from typing import Any

import pulumi
from google.protobuf import json_format  # type: ignore[import-untyped]
from pulumi.runtime import mocks, rpc, run_in_stack, set_all_config
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs
from pulumi.runtime.settings import ROOT

GROUP = "/subscriptions/s/resourceGroups/g/providers"
SECRET = {rpc._special_sig_key: rpc._special_secret_sig}
PASSWORD, KEY = "registry-password-canary", "device-key-canary"
CONNECTION = f"HostName=contoso.azure-devices.net;DeviceId=edge-1;SharedAccessKey={KEY}"
COMPUTED: dict[str, dict[str, Any]] = {
    "RegistryCredentials": {"loginServer": "contoso.azurecr.io", "username": "contoso", "password": PASSWORD},
    "RegisteredModel": {"modelId": "best_model:1", "version": 1},
    "ModelImage": {"ref": f"contoso.azurecr.io/anomaly@sha256:{'a' * 64}", "imageId": "anomaly:1", "pushed": []},
    "DeviceIdentity": {"connectionString": CONNECTION, "hostName": "contoso.azure-devices.net"},
    "EdgeDeployment": {"version": 1, "health": "healthy", "applied": [], "contentHash": "h"},
    "Workspace": {"identity": {"principalId": "the-workspace", "type": "SystemAssigned"}},
}


class Azure(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.invokes: list[str] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        state = {"name": args.name, **args.inputs}
        state.update(COMPUTED.get(kind, {}))
        return f"{GROUP}/Some.Provider/{kind}/{args.name}", state

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        self.invokes.append(args.token)
        return {"tenantId": "the-tenant", "subscriptionId": "s", "clientId": "c", "objectId": "o"}, []


class Monitor(MockMonitor):
    def __init__(self, azure: Azure) -> None:
        super().__init__(azure)
        self.registered: list[dict[str, Any]] = []
        self.outputs: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        answer = super().RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return answer
        self.registered.append(
            {
                "type": request.type,
                "name": request.name,
                "parent": request.parent.rpartition("::")[2],
                "parentType": request.parent.split("::")[2].rpartition("$")[2] if request.parent else "",
                "custom": request.custom,
                "protect": request.protect,
                "secretOutputs": sorted(request.additionalSecretOutputs),
                "deletedWith": request.deletedWith.rpartition("::")[2],
                "replaceOnChanges": sorted(request.replaceOnChanges),
                "inputs": json_format.MessageToDict(request.object),
            }
        )
        for key in request.additionalSecretOutputs:
            if key in answer.object:
                value = json_format.MessageToDict(answer.object)[key]
                answer.object[key] = {**SECRET, "value": value}
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self.outputs[request.urn.rpartition("::")[2]] = json_format.MessageToDict(request.outputs)
        return super().RegisterResourceOutputs(request)


def program() -> None:
    runpy.run_path("__main__.py")


def main() -> None:
    request = json.load(sys.stdin)
    config = {f"aml-edge:{key}": value for key, value in request["config"].items()}
    os.environ["PULUMI_CONFIG"] = json.dumps(config)
    azure = Azure()
    monitor = Monitor(azure)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mocks.set_mocks(azure, project="aml-edge", stack="dev", preview=request["preview"], monitor=monitor)
    ROOT.set(None)  # set_mocks makes a stack; the program is to have one that knows its exports
    set_all_config(config, [f"aml-edge:{key}" for key in request["secrets"]])
    error = None
    try:
        loop.run_until_complete(run_in_stack(program))
    except Exception as raised:  # the test says which one it wants
        error = {"type": type(raised).__name__, "text": str(raised)}
    answer = {"resources": monitor.registered, "invokes": azure.invokes, "outputs": monitor.outputs, "error": error}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
