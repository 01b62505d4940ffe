"""The program itself under Pulumi's mocks: what it registers, below what, and which of it is secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.components.run_program import KEY, PASSWORD, SECRET
from tests.support import ROOT
from tests.waiting import PATIENCE

AZURE = "azure-native:"
DYNAMIC = "pulumi-python:dynamic/edge:"
COMPONENT = "amledge:index:"
PER_DEVICE = ("connectionStrings", "cloudInit")


class Run:
    """What the engine was told."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.resources: list[dict[str, Any]] = told["resources"]
        self.invokes: list[str] = told["invokes"]
        self.outputs: dict[str, dict[str, Any]] = told["outputs"]
        self.error: dict[str, str] | None = told["error"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.resources if one["type"].endswith(f":{kind}")]

    def one(self, kind: str) -> dict[str, Any]:
        (found,) = self.of(kind)
        return found

    @property
    def exports(self) -> dict[str, Any]:
        return self.outputs["aml-edge-dev"]


def run(preview: bool = False, secrets: Sequence[str] = (), **config: Any) -> Run:
    """With the settings of the dev stack, changed by `config`; objects are JSON text, as the engine hands them over.
    The stack keeps the keys in `secrets` encrypted."""
    dev = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    settings = {key.partition(":")[2]: value for key, value in dev.items() if key.startswith("aml-edge:")}
    settings.update(config)
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.components.run_program"],
        cwd=ROOT,
        input=json.dumps({"config": text, "preview": preview, "secrets": list(secrets)}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Run(json.loads(done.stdout))


@pytest.fixture(scope="module")
def dev() -> Run:
    made = run()
    assert made.error is None, made.error
    return made


@pytest.fixture(scope="module")
def large() -> Run:
    made = run(roleAssignments=True, devices=[{"id": "edge-1"}, {"id": "edge-2", "tags": {"site": "plant"}}])
    assert made.error is None, made.error
    return made


def test_the_dev_stack_holds_what_it_should(dev: Run) -> None:
    assert sorted(one["type"] for one in dev.resources) == sorted(
        [
            f"{AZURE}resources:ResourceGroup",
            f"{AZURE}storage:StorageAccount",
            f"{AZURE}keyvault:Vault",
            f"{AZURE}operationalinsights:Workspace",
            f"{AZURE}applicationinsights:Component",
            f"{AZURE}machinelearningservices:Workspace",
            f"{AZURE}containerregistry:Registry",
            f"{AZURE}iothub:IotHubResource",
            *(f"{COMPONENT}{name}" for name in ("ContainerRegistry", "MlWorkspace", "IotHub", "EdgeDevice")),
            f"{DYNAMIC}RegistryCredentials",
            f"{DYNAMIC}RegisteredModel",
            f"{DYNAMIC}ModelImage",
            f"{DYNAMIC}DeviceIdentity",
            f"{DYNAMIC}EdgeDeployment",
        ]
    )


def test_what_a_component_makes_is_below_it_and_named_after_it(large: Run) -> None:
    children = [one for one in large.resources if one["parentType"].startswith(COMPONENT)]
    assert len(children) >= 12
    for child in children:
        assert child["name"].startswith(child["parent"]), f"{child['name']} below {child['parent']}"
    below_stack = {one["type"] for one in large.resources if one["parentType"] == "pulumi:pulumi:Stack"}
    assert all(kind.startswith((COMPONENT, DYNAMIC)) or kind.endswith(":ResourceGroup") for kind in below_stack)
    assert len({(one["type"], one["name"]) for one in large.resources}) == len(large.resources)


def test_names_in_azure_are_left_to_autonaming(dev: Run) -> None:
    for one in dev.resources:
        if one["type"].startswith(AZURE):
            given = {"accountName", "vaultName", "workspaceName", "registryName", "resourceName", "resourceName_"}
            assert given.isdisjoint(one["inputs"]), one["type"]


def test_the_registrys_admin_user_and_the_workspaces_identity(dev: Run) -> None:
    assert dev.one("Registry")["inputs"]["adminUserEnabled"] is True
    workspace = next(one for one in dev.of("Workspace") if "machinelearning" in one["type"])
    assert workspace["inputs"]["identity"]["type"] == "SystemAssigned"
    for key, kind in {"containerRegistry": "Registry", "storageAccount": "StorageAccount", "keyVault": "Vault"}.items():
        assert workspace["inputs"][key].endswith(f"/{kind}/{dev.one(kind)['name']}")
    assert {"keyVault", "storageAccount"} <= set(workspace["replaceOnChanges"])
    assert dev.one("Vault")["inputs"]["properties"]["tenantId"] == "the-tenant"


def test_dynamic_resources_name_their_secret_outputs(dev: Run) -> None:
    assert dev.one("RegistryCredentials")["secretOutputs"] == ["password"]
    assert dev.one("DeviceIdentity")["secretOutputs"] == ["connectionString"]
    assert "registries" in dev.one("EdgeDeployment")["secretOutputs"]
    assert dev.one("RegistryCredentials")["deletedWith"] == "registry"


def test_secrets_travel_in_their_envelope_only(dev: Run) -> None:
    for value in (dev.exports["registryPassword"], *(dev.exports[name]["edge-1"] for name in PER_DEVICE)):
        assert is_secret(value)
    bare = json.dumps(without_secrets({"resources": dev.resources, "outputs": dev.outputs}))
    assert PASSWORD not in bare
    assert KEY not in bare
    full = json.dumps([dev.resources, dev.outputs])
    assert PASSWORD in full and KEY in full, "the search would find them"


def test_the_credentials_reach_the_deployment_as_a_secret(dev: Run) -> None:
    given = dev.one("EdgeDeployment")["inputs"]["registries"]
    password = {**SECRET, "value": PASSWORD}
    assert given == [{"address": "contoso.azurecr.io", "username": "contoso", "password": password}]


LOGINS = [{"address": "partner.azurecr.io", "username": "puller", "password": "partner-password-canary"}]


def test_logins_of_other_registries_are_secrets_from_the_stacks_file_on() -> None:
    made = run(registryLogins=LOGINS, secrets=["registryLogins"])
    assert made.error is None, made.error
    own, partner = made.one("EdgeDeployment")["inputs"]["registries"]
    assert own["address"] == "contoso.azurecr.io"
    assert partner["address"] == "partner.azurecr.io"
    assert is_secret(partner["password"])
    bare = json.dumps(without_secrets({"resources": made.resources, "outputs": made.outputs}))
    assert "partner-password-canary" not in bare

    refused = run(registryLogins=LOGINS)
    assert refused.error is not None
    assert "config set --path --secret" in refused.error["text"]
    assert "partner-password-canary" not in refused.error["text"]
    assert refused.resources == []


def test_a_deployment_with_an_encrypted_setting_is_a_secret() -> None:
    env = {"TOKEN": "environment-canary"}
    made = run(deployment={"module": "scorer", "env": env}, secrets=["deployment"])
    assert made.error is None, made.error
    assert is_secret(made.one("EdgeDeployment")["inputs"]["deployment"])
    assert "deployment" in made.one("EdgeDeployment")["secretOutputs"]
    assert "deployment" not in run().one("EdgeDeployment")["secretOutputs"], "previews show what changes"
    bare = json.dumps(without_secrets({"resources": made.resources, "outputs": made.outputs}))
    assert "environment-canary" not in bare


def test_devices_of_a_file_and_their_keys(tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("id,tags.site,status,keyGeneration\nedge-1,lab,disabled,\nedge-2,plant,,3\n")
    made = run(devices=[{"csv": str(file)}])
    assert made.error is None, made.error
    inputs = {one["inputs"]["deviceId"]: one["inputs"] for one in made.of("DeviceIdentity")}
    assert (inputs["edge-1"]["status"], inputs["edge-1"]["tags"]) == ("disabled", {"site": "lab"})
    assert inputs["edge-2"]["keyGeneration"] == 3
    assert "keyGeneration" not in inputs["edge-1"], "as in the state of older versions"
    assert len(made.of("EdgeDeployment")) == 2


def test_outputs(dev: Run) -> None:
    plain = dev.exports
    assert plain["loginServer"] == "contoso.azurecr.io"
    assert plain["modelId"] == "best_model:1"
    assert plain["imageRef"].startswith("contoso.azurecr.io/anomaly@sha256:")
    assert len(plain["imageFingerprint"]) == 32
    assert plain["devices"] == {"edge-1": "enabled"}
    assert plain["deployments"] == {"edge-1": plain["deployments"]["edge-1"]}
    assert plain["deployments"]["edge-1"]["health"] == "healthy"
    assert set(json.loads(plain["workspaceConfig"])) == {"subscription_id", "resource_group", "workspace_name"}


def test_no_list_operation_is_called(large: Run) -> None:
    """A preview needs no more than the Reader role."""
    assert set(large.invokes) == {f"{AZURE}authorization:getClientConfig"}


def test_two_devices_give_two_deployments(large: Run) -> None:
    assert {one["name"] for one in large.of("DeviceIdentity")} == {"edge-1-identity", "edge-2-identity"}
    deployments = {one["name"]: one["inputs"] for one in large.of("EdgeDeployment")}
    assert set(deployments) == {"edge-1-deployment", "edge-2-deployment"}
    assert [deployments[f"edge-{number}-deployment"]["deviceId"] for number in (1, 2)] == ["edge-1", "edge-2"]
    assert len(large.of("ModelImage")) == 1


def test_a_device_belongs_to_this_stack(large: Run) -> None:
    assert {one["inputs"]["owner"] for one in large.of("DeviceIdentity")} == {"aml-edge/dev"}


def test_role_assignments_are_made_where_they_are_asked_for(dev: Run, large: Run) -> None:
    assert dev.of("RoleAssignment") == []
    made = large.of("RoleAssignment")
    assert len(made) == 3
    for one in made:
        assert one["inputs"]["principalType"] == "ServicePrincipal"
        assert one["inputs"]["principalId"] == "the-workspace"
    assert len({one["inputs"]["scope"] for one in made}) == 3


def test_verification_can_be_turned_off() -> None:
    made = run(deployment={"module": "scorer", "verify": False})
    assert made.error is None
    assert made.one("EdgeDeployment")["inputs"]["verify"]["enabled"] is False


def test_a_preview_registers_the_same(dev: Run) -> None:
    made = run(preview=True)
    assert made.error is None
    assert {(one["type"], one["name"]) for one in made.resources} == {
        (one["type"], one["name"]) for one in dev.resources
    }


def test_bad_settings_stop_a_preview_before_any_resource_with_all_problems() -> None:
    made = run(
        preview=True,
        image={"name": "Anomaly!", "builder": "azurml", "script": "scoring/nowhere.py"},
        devices=[{"id": "edge 1"}],
        hubb={"sku": "S1"},
    )
    assert made.error is not None
    assert made.error["type"] == "RunError"
    for part in ("Anomaly!", "azurml", "scoring/nowhere.py", "edge 1", "hubb", "5 problems"):
        assert part in made.error["text"], part
    assert made.resources == []


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and SECRET.items() <= value.items()


def without_secrets(value: Any) -> Any:
    if is_secret(value):
        return "***"
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def test_several_models_are_registered_and_all_in_the_image() -> None:
    several = run(models=[{"path": "scoring/readings.json", "name": "thresholds"}])
    assert several.error is None, several.error
    assert {one["name"]: one["inputs"]["name"] for one in several.of("RegisteredModel")} == {
        "model": "best_model",
        "model-thresholds": "thresholds",
    }
    image = several.one("ModelImage")["inputs"]
    assert len(image["modelIds"]) == len(image["paths"]["models"]) == 2
    assert image["paths"]["models"] == ["scoring/model.pkl", "scoring/readings.json"]
    assert {"model best_model", "model thresholds"} <= set(image["sources"])
    assert len(several.exports["modelIds"]) == 2


def test_a_fleet_is_two_resources_whatever_its_size() -> None:
    devices = [{"id": f"press-{number}", "tags": {"plant": "north"}} for number in range(30)]
    rollout = {"waves": ["tags.ring = 'canary'", "*"], "wave": 1, "minSuccess": 0.98}
    anomaly = {
        "name": "anomaly",
        "targetCondition": "tags.plant = 'north'",
        "labels": {"team": "ml"},
        "rollout": rollout,
    }
    layer = {"name": "extra", "layered": True, "priority": 20, "targetCondition": "", "deployment": {"module": "extra"}}
    done = run(devices=[], fleetDevices=devices, fleet=[anomaly, layer])
    assert done.error is None
    assert not done.of("EdgeDevice") and not done.of("EdgeDeployment")
    many = done.one("DeviceFleet")["inputs"]
    assert len(many["devices"]) == 30 and many["devices"]["press-7"] == {"tags": {"plant": "north"}}
    first, second = sorted(done.of("FleetDeployment"), key=lambda one: one["name"])
    assert first["secretOutputs"] == ["registries"]
    inputs = first["inputs"]
    assert (inputs["targetCondition"], inputs["priority"], inputs["labels"]) == (
        "tags.plant = 'north'",
        10,
        {"team": "ml"},
    )
    assert inputs["rollout"] == {**rollout, "withinMinutes": 30}
    assert inputs["deployment"]["module"] == "scorer" and inputs["deployment"]["image"].startswith(
        "contoso.azurecr.io/"
    )
    assert second["inputs"]["layered"] is True and second["inputs"]["deployment"]["module"] == "extra"
    assert set(done.exports["fleet"]) == {"anomaly", "extra"}


def test_nobody_waits_for_a_device_that_is_disabled() -> None:
    made = run(devices=[{"id": "edge-1"}, {"id": "edge-2", "status": "disabled"}])
    assert made.error is None, made.error
    waits = {one["inputs"]["deviceId"]: one["inputs"]["verify"]["enabled"] for one in made.of("EdgeDeployment")}
    assert waits == {"edge-1": True, "edge-2": False}
