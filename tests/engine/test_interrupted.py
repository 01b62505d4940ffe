"""`pulumi up` interrupted by Ctrl-C and by `kill -9` at each moment that matters, and the commands of docs/runbook.md afterwards.

The local Azure holds a request back at the moment in question (a fault with a delay), so that nothing depends on luck. One stack for all of
it: every recovery ends healthy and is where the next interruption begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import ConfigurationContent

from components.edge import manifest
from components.services import azure as arm
from components.services import registry
from components.services.hub import POLICY
from localazure import control
from tests.components.modules import CREATE_OPTIONS, forget_images, push_module
from tests.services.cloud import Cloud, cloud
from tests.support import ROOT, Project, changes
from tests.waiting import PATIENCE, until
from tools import environment

pytestmark = [pytest.mark.engine, pytest.mark.docker]
HOLD_SECONDS = 600
"""Longer than any machine needs to notice that the moment has come."""
CANCELLING = "^C received; cancelling"


def commands(section: str) -> list[str]:
    """The commands of the runbook below its comment `<!-- section -->`."""
    page = (ROOT / "docs" / "runbook.md").read_text()
    found = re.findall(rf"<!-- {section} -->\n```\n(.*?)```", page, re.DOTALL)
    assert len(found) == 1, section
    return list(found[0].splitlines())


class Plant:
    """A stack whose image comes from a registry of somebody else, and the hands that interrupt it."""

    def __init__(self, azure: Cloud, folder: Path) -> None:
        self.azure = azure
        self.source = registry.admin_credentials(azure.registry("plantsource"))
        self.images = [push_module(self.source, "anomaly") for _ in range(3)]
        self.settings: dict[str, Any] = {
            "model": {"path": "scoring/model.pkl"},
            "image": {"name": "anomaly", "builder": "none", "ref": self.images[0]},
            "devices": [],
            "deployment": {
                "createOptions": CREATE_OPTIONS,
                "verify": {"timeoutSeconds": 300, "stableSeconds": 0},
            },
        }
        self.project = Project.create(folder / "aml-edge", azure.azure)
        self.write()
        self.project.up()
        outputs = self.project.outputs(secrets=True)
        self.credentials = registry.Credentials(
            outputs["loginServer"], outputs["registryUsername"], outputs["registryPassword"]
        )
        hub = outputs["hubId"]
        key = arm.post(hub, f"IotHubKeys/{POLICY}/listkeys")["primaryKey"]
        self.host = arm.get(hub)["properties"]["hostName"]
        self.connection = f"HostName={self.host};SharedAccessKeyName={POLICY};SharedAccessKey={key}"
        self.hub = IoTHubRegistryManager.from_connection_string(self.connection)

    def write(self) -> None:
        path = self.project.folder / "Pulumi.dev.yaml"
        before = yaml.safe_load(path.read_text())
        config = {"azure-native:location": "westeurope", **{f"aml-edge:{key}": v for key, v in self.settings.items()}}
        path.write_text(yaml.safe_dump({**before, "config": config}))

    def interrupted(self, how: signal.Signals, moment: Callable[[str], bool], hold: str | None) -> str:
        """Run `up`, send the signal to its process group as a terminal does once `moment(output so far)`; the whole output."""
        self.write()
        if hold:
            self.azure.azure.command("fault", "add", "--match", hold, "--delay", str(HOLD_SECONDS))
        log = self.project.folder / "up.log"
        with log.open("w") as output:
            up = subprocess.Popen(
                ["pulumi", "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive", "--color", "never"],
                cwd=self.project.folder,
                env=self.azure.azure.env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                until(lambda: up.poll() is not None or moment(log.read_text()))
                assert up.poll() is None, f"it ended before the moment came:\n{log.read_text()[-3000:]}"
                if how == signal.SIGKILL:
                    kill(up.pid)  # as a machine dies: the plugins too
                else:
                    os.killpg(up.pid, how)  # as a terminal does
                    until(lambda: up.poll() is not None or CANCELLING in log.read_text())
                self.azure.azure.command("fault", "clear")  # which lets go of what is held back
                code = up.wait(2 * PATIENCE)
            finally:
                if up.poll() is None:
                    kill(up.pid)
        assert code != 0, f"it was not interrupted:\n{log.read_text()[-3000:]}"
        return log.read_text()

    def held(self) -> bool:
        """Whether the request is being held back now."""
        return any(fault["hits"] for fault in control.ask(self.azure.azure.folder, "GET", "/localazure/faults"))

    def imported(self) -> bool:
        """Whether the image is in the stack's own registry, while the answer that says so is held back."""
        digest = self.settings["image"]["ref"].partition("@")[2]
        return self.held() and registry.digest(self.credentials, "anomaly", digest) is not None

    def recover(self, section: str) -> None:
        for command in commands(section):
            words = shlex.split(command)
            assert words[0] == "pulumi"
            self.project.pulumi(*words[1:])

    def check(self, device_ids: list[str]) -> None:
        """Everything is there once and healthy, and the state knows it."""
        state = json.loads(self.project.export())["deployment"]
        outputs = next(one for one in state["resources"] if one["type"] == "pulumi:pulumi:Stack")["outputs"]
        image = self.settings["image"]["ref"].partition("@")[2]
        assert outputs["imageRef"].endswith(image)
        assert sorted(outputs["deployments"]) == device_ids
        assert {found["health"] for found in outputs["deployments"].values()} <= {"healthy"}
        assert sorted(device.device_id for device in self.hub.get_devices()) == device_ids
        for device_id in device_ids:
            twin = self.hub.get_module_twin(device_id, "$edgeAgent").properties
            assert twin.desired["modules"]["scorer"]["settings"]["image"] == outputs["imageRef"]
            assert twin.reported["modules"]["scorer"]["runtimeStatus"] == "running"
            assert twin.reported["lastDesiredVersion"] == twin.desired["$version"]
            assert self.hub.get_twin(device_id).tags["managedBy"] == "aml-edge/dev"
        assert not state.get("pending_operations")
        sidecars = list(environment.state(self.azure.azure.env).rglob("*.attrs"))
        assert sidecars == [], "a kill would leave one half written some day"


def kill(process: int) -> None:
    """With its children, at once."""
    parent = psutil.Process(process)
    for one in [*parent.children(recursive=True), parent]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with cloud(folder / "cloud") as azure:
        made = Plant(azure, folder / "project")
        yield made
        made.project.destroy()
        forget_images(made.source.login_server)
        forget_images(made.credentials.login_server)


Moment = tuple[str, dict[str, Any], str | None, str]
"""Its name; what to set; which request is held back; how to see that the moment has come."""
MOMENTS: list[Moment] = [
    ("identity made", {"devices": ["edge-1", "edge-2"]}, r"PATCH /twins/edge-\d", "held"),
    ("image pushed", {"image": [1, 2]}, r"GET .*/Microsoft\.ContainerRegistry/.*/operationResults/.*", "imported"),
    ("manifest applied", {"env": ["1", "2"]}, r"GET /twins/edge-1/modules/\$edgeAgent", "held"),
    ("verifying", {"env": ["3", "4"]}, None, "said"),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment[0])
@pytest.mark.parametrize(
    ("number", "how", "section"), [(0, signal.SIGKILL, "after a kill"), (1, signal.SIGINT, "after Ctrl-C")]
)
def test_the_runbook_recovers(plant: Plant, number: int, how: signal.Signals, section: str, moment: Moment) -> None:
    _, change, hold, seen = moment
    settings = plant.settings
    if "devices" in change:
        settings["devices"] = [{"id": device_id} for device_id in change["devices"][: number + 1]]
    if "image" in change:
        settings["image"] = {**settings["image"], "ref": plant.images[change["image"][number]]}
    verify = settings["deployment"]["verify"]
    if "env" in change:
        settings["deployment"] = {**settings["deployment"], "env": {"TRY": change["env"][number]}}
    if seen == "said":
        settings["deployment"]["verify"] = {**verify, "stableSeconds": 20}  # so long there is time for it
    looks: dict[str, Callable[[str], bool]] = {
        "held": lambda _: plant.held(),
        "imported": lambda _: plant.imported(),
        "said": lambda output: "applied version" in output,
    }
    plant.interrupted(how, looks[seen], hold)
    settings["deployment"]["verify"] = verify
    plant.write()
    plant.recover(section)
    plant.check([device["id"] for device in settings["devices"]])


def test_drift_is_taken_back_as_the_runbook_says(plant: Plant) -> None:
    foreign = manifest.base_manifest()["modulesContent"]
    IoTHubConfigurationManager.from_connection_string(plant.connection).apply_configuration_on_edge_device(
        "edge-1", ConfigurationContent(modules_content=foreign)
    )
    plant.recover("drift")
    plant.check([device["id"] for device in plant.settings["devices"]])
    assert changes(plant.project.preview()) == {}, "after all of it nothing is left to do"
