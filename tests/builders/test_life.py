"""ModelImage's provider with a real registry: what it adopts, repairs, tidies up and leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from components.edge import manifest
from components.image import ModelImageProvider
from components.services import registry
from components.services.configurations import Configurations, Terms
from components.services.deployed import note
from components.services.errors import ServiceError
from components.services.hub import Hub
from tests.builders.place import SCRIPT, Place
from tests.builders.test_builders import BASE, STAGES
from tests.services.cloud import Cloud, environment

pytestmark = pytest.mark.docker


class Stack:
    """The inputs of one resource and what its provider answered last."""

    def __init__(self, place: Place, name: str, **inputs: Any) -> None:
        self.place, self.provider = place, ModelImageProvider()
        folder = place.folder
        self.inputs: dict[str, Any] = {
            "workspaceId": place.workspace_id,
            "registryId": place.registry_id,
            "name": name,
            "builder": "docker",
            "mode": "",
            "modelIds": ["numbers:2"],
            "sources": {},
            "fingerprint": "1",
            "baseImage": "scratch",
            "keepImages": 3,
            "retain": False,
            "paths": {
                "script": str(folder / "score.py"),
                "condaFile": str(folder / "myenv.yml"),
                "runtime": str(folder / "runtime"),
                "dockerfile": str(folder / "Dockerfile.j2"),
                "models": [str(folder / "model.bin")],
            },
            **inputs,
        }
        self.state: dict[str, Any] = {}

    def up(self, fingerprint: str, **inputs: Any) -> dict[str, Any]:
        self.inputs |= {"fingerprint": fingerprint, **inputs}
        self.place.write("score.py", f"# {fingerprint}\n{SCRIPT}")
        if not self.state:
            self.state = self.provider.create(self.inputs).outs or {}
        elif self.changes:
            self.state = self.provider.update("id", self.state, self.inputs).outs or {}
        return self.state

    def refresh(self) -> dict[str, Any]:
        self.state = self.provider.read("id", self.state).outs or {}
        return self.state

    @property
    def changes(self) -> bool:
        return self.provider.diff("id", self.state, self.inputs).changes is not False

    def there(self) -> list[str]:
        """The fingerprints that the registry has of those that were pushed."""
        found = (entry["imageId"] for entry in self.state["pushed"])
        return [tag for tag in found if self.place.digest(tag, self.inputs["name"])]


@contextmanager
def without_docker(cloud: Cloud, folder: Path) -> Iterator[None]:
    """A build would fail."""
    with environment({**cloud.azure.env, "DOCKER_HOST": f"unix://{folder}/nobody.sock"}):
        yield


@pytest.fixture(scope="module")
def hub_id(azure: Cloud) -> str:
    made = azure.hub("buildershub")
    Hub(made).create_edge_device("edge-1", "disabled", "only its twin is of interest")
    return made


def test_old_images_are_deleted_but_never_one_that_a_device_has(place: Place, hub_id: str) -> None:
    stack = Stack(place, "kept", deployedTo={"hubId": hub_id, "devices": ["edge-1", "not-made-yet"]})
    stack.up("f0")
    deployed = stack.state["ref"]
    deploy(hub_id, deployed)
    for number in range(1, 4):
        stack.up(f"f{number}")
    assert stack.there() == ["f0", "f1", "f2", "f3"], "f0 is the fourth, but a device has it"
    stack.up("f4")
    assert [entry["imageId"] for entry in stack.state["pushed"]] == ["f0", "f2", "f3", "f4"]
    assert place.digest("f1", "kept") is None
    deploy(hub_id, stack.state["ref"])
    stack.up("f2")
    assert [entry["imageId"] for entry in stack.state["pushed"]] == ["f3", "f4", "f2"]
    assert stack.there() == ["f3", "f4", "f2"]
    assert place.digest("f0", "kept") is None


def test_old_images_stay_while_a_history_or_a_fleet_names_them(place: Place, hub_id: str) -> None:
    stack = Stack(place, "named", deployedTo={"hubId": hub_id, "devices": ["edge-1"]})
    first, second = stack.up("f0")["ref"], stack.up("f1")["ref"]
    hub = Hub(hub_id)
    hub.merge_tags("edge-1", note([first, "manifest 0123456789ab"]))
    module = {"settings": {"image": second}}
    content = {"$edgeAgent": {"properties.desired.modules.scorer": module}}
    Configurations(hub).create("old-wave", content, Terms("tags.ring = 'late'", 1, {}, {}))
    for number in range(2, 6):
        stack.up(f"f{number}")
    assert stack.there() == ["f0", "f1", "f3", "f4", "f5"], "f2 alone has no name anywhere"
    Configurations(hub).delete("old-wave")
    hub.merge_tags("edge-1", note([]))
    stack.up("f6")
    assert stack.there() == ["f4", "f5", "f6"]


def test_nothing_is_deleted_while_nobody_knows_what_is_deployed(place: Place) -> None:
    blind = Stack(place, "blind")
    for number in range(4):
        blind.up(f"f{number}")
    assert len(blind.there()) == 4
    gone = place.cloud.id("Microsoft.Devices/IotHubs", "no-such-hub")
    blind.up("f4", deployedTo={"hubId": gone, "devices": ["edge-1"]})
    assert len(blind.there()) == 5


def test_a_moved_tag_is_seen_and_moved_back(place: Place) -> None:
    stack = Stack(place, "moved")
    made = stack.up("f1")["ref"]
    assert stack.refresh()["ref"] == made
    foreign = retag(place, "moved", stack.state["ref"])
    assert stack.refresh()["ref"].endswith(f"@{foreign}")
    repaired = stack.up("f1")
    assert place.digest("f1", "moved") == repaired["ref"].partition("@")[2] != foreign
    assert not stack.changes
    assert stack.refresh()["ref"] == repaired["ref"]


def test_a_deleted_digest_is_seen_and_built_again(place: Place) -> None:
    stack = Stack(place, "deleted")
    made = stack.up("f1")["ref"]
    registry.delete_manifest(place.credentials, "deleted", made.partition("@")[2])
    assert stack.refresh()["ref"] == ""
    assert stack.changes
    stack.up("f1")
    assert place.digest("f1", "deleted") == stack.state["ref"].partition("@")[2]


def test_destroy_deletes_what_we_made_and_nothing_else(place: Place) -> None:
    first, second = Stack(place, "shared"), Stack(place, "shared")
    first.up("f1")
    second.up("f1")
    assert second.state["ref"] == first.state["ref"]
    second.up("f2")
    second.provider.delete("id", second.state)
    assert place.digest("f1", "shared"), "the first stack pushed it"
    assert place.digest("f2", "shared") is None
    first.provider.delete("id", first.state)
    assert place.digest("f1", "shared") is None
    first.provider.delete("id", first.state)  # and again


def test_retain_leaves_the_images(place: Place) -> None:
    stack = Stack(place, "retained", retain=True)
    stack.up("f1")
    stack.provider.delete("id", stack.state)
    assert place.digest("f1", "retained")


def test_stages_go_with_the_last_image_that_stands_on_them(place: Place, hub_id: str) -> None:
    place.write("Dockerfile.j2", STAGES)
    stack = Stack(place, "staged", builder="acr", keepImages=1, deployedTo={"hubId": hub_id, "devices": []})

    def there() -> list[bool]:
        return [bool(place.digest(tag, name)) for name, _, tag in (stage.partition(":") for stage in first)]

    first = stack.up("f1")["pushed"][0]["stages"]
    assert there() == [True, True]
    stack.up("f2")
    assert [entry["imageId"] for entry in stack.state["pushed"]] == ["f2"]
    assert there() == [True, True], "the second stands on them too"
    place.write("model.bin", "others")
    stack.up("f3")
    assert there() == [True, False], "another model, the same environment"
    kept = {**stack.state, "retain": True}
    stack.provider.delete("id", kept)
    assert there() == [True, False]
    stack.provider.delete("id", stack.state)
    assert there() == [False, False]
    assert stack.there() == []


def test_going_back_builds_nothing(place: Place, tmp_path: Path) -> None:
    stack = Stack(place, "back")
    one = stack.up("f1")["ref"]
    stack.up("f2")
    with without_docker(place.cloud, tmp_path):
        assert stack.up("f1")["ref"] == one
    assert [entry["made"] for entry in stack.state["pushed"]] == [True, True]


def test_another_builder_takes_over_without_a_build(place: Place, tmp_path: Path) -> None:
    stack = Stack(place, "switched")
    one = stack.up("f1")["ref"]
    with without_docker(place.cloud, tmp_path), place.cloud.azure.traffic() as seen:
        assert stack.up("f1", builder="acr")["ref"] == one
    assert not [line for line in seen[0].changes if "scheduleRun" in line]


def test_what_pip_cannot_install_is_refused_at_preview(place: Place) -> None:
    stack = Stack(place, "refused")
    place.write("myenv.yml", "dependencies: [mkl]\n")
    failures = stack.provider.check({}, stack.inputs).failures
    assert [failure.property for failure in failures] == ["condaFile"]
    assert "image.builder azureml" in failures[0].reason
    assert not stack.provider.check({}, {**stack.inputs, "builder": "azureml"}).failures


def test_the_base_image_s_name_becomes_the_image_that_it_means(place: Place) -> None:
    """Asked at preview, so that a tag that moved shows there; where nobody can be asked, `up` refuses and a preview does not."""
    stack = Stack(place, "based", baseImage=BASE)
    stack.inputs["sources"] = {"base image": BASE}
    checked = stack.provider.check({}, stack.inputs)
    identity = checked.inputs["sources"]["base image"]
    assert identity.startswith(f"{BASE} (sha256:")
    assert len(checked.inputs["fingerprint"]) == 32
    nowhere = f"{place.credentials.login_server}/private/base:1"
    unknown = {**stack.inputs, "baseImage": nowhere, "sources": {"base image": nowhere}}
    checked = stack.provider.check({}, unknown)
    assert not checked.failures
    with pytest.raises(ServiceError, match="could not tell which image is meant by") as caught:
        stack.provider.create(checked.inputs)
    assert f"{nowhere}@sha256:" in caught.value.advice
    known = {**unknown, "sources": {"base image": f"{nowhere}@sha256:{'c' * 64}"}}
    again = stack.provider.check(known, unknown)
    assert again.inputs["sources"] == known["sources"], "offline it means what it meant"
    assert again.inputs["fingerprint"] != checked.inputs["fingerprint"]


def deploy(hub_id: str, ref: str) -> None:
    hub = Hub(hub_id)
    hub.apply("edge-1", manifest.render({"module": "scorer", "image": ref}, {}))


def retag(place: Place, name: str, ref: str) -> str:
    """Somebody pushes another image under the tag f1; its digest."""
    place.write("score.py", "# somebody else's\n")
    request = place.request("f9", name=name)
    other = place.build("docker", request).ref.partition("@")[2]
    base = f"https://{place.credentials.login_server}/v2/{name}/manifests"
    login = (place.credentials.username, place.credentials.password)
    got = requests.get(f"{base}/{other}", auth=login, headers={"Accept": registry.MANIFEST_TYPES}, timeout=120)
    kind = got.headers["Content-Type"]
    put = requests.put(f"{base}/f1", data=got.content, auth=login, headers={"Content-Type": kind}, timeout=120)
    assert put.status_code == 201, put.text
    return other
