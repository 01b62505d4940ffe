"""While Azure is away nothing is gone: every read and every deletion is an error, and no text of any of them holds a secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.deployment import EdgeDeploymentProvider
from components.device import DeviceIdentityProvider
from components.edge.fingerprint import hash_named
from components.image import ModelImageProvider
from components.model import RegisteredModelProvider
from components.registry import RegistryCredentialsProvider
from components.services import azure as arm
from components.services import registry
from components.services.errors import NotFoundError, ServiceError
from tests.components.life import Life
from tests.engine.secrets import leaks
from tests.services.cloud import Cloud, cloud, environment
from tests.services.images import push_tiny

NAMES = ("credentials", "device", "model", "image", "deployment")
SECRET_OUTPUTS = ("password", "connectionString", "registries")


class Place:
    """A local Azure of this module's own, since it is stopped, with one resource of every kind."""

    def __init__(self, azure: Cloud, folder: Path) -> None:
        self.azure = azure
        registry_id, hub_id = azure.registry("awayregistry"), azure.hub("awayhub")
        workspace_id = azure.workspace("awayml", registry_id)
        login = registry.admin_credentials(registry_id)
        self.lives = {
            "credentials": Life(RegistryCredentialsProvider()),
            "device": Life(DeviceIdentityProvider()),
            "model": Life(RegisteredModelProvider()),
            "image": Life(ModelImageProvider()),
            "deployment": Life(EdgeDeploymentProvider()),
        }
        self.lives["credentials"].up({"registryId": registry_id, "enableAdminUser": False})
        device = {"hubId": hub_id, "deviceId": "edge-1", "status": "disabled", "tags": {}, "owner": "p/s"}
        self.lives["device"].up(device)
        file = folder / "model.pkl"
        file.write_bytes(b"weights")
        model = {"workspaceId": workspace_id, "name": "best", "contentHash": hash_named(file), "path": str(file)}
        self.lives["model"].up(model)
        ref = f"{login.login_server}/tiny@{push_tiny(azure, login, 'tiny', '1')}"
        pushed = {"imageId": "tiny:1", "ref": ref, "builder": "azureml", "mode": "containerImage"}
        image = {"workspaceId": workspace_id, "registryId": registry_id, "name": "tiny", "modelIds": ["best:1"]}
        made = self.lives["image"]  # as if Azure ML had built it: that takes a minute and shows nothing more here
        made.id, made.outs = (
            f"{registry_id}/images/tiny",
            {**image, "ref": ref, "imageId": "tiny:1", "pushed": [pushed]},
        )
        deployment = {
            "hubId": hub_id,
            "deviceId": "edge-1",
            "deployment": {"module": "scorer", "image": ref},
            "registries": [{"address": login.login_server, "username": login.username, "password": login.password}],
            "verify": {"enabled": False, "timeoutSeconds": 30},
            "onFailure": "keep",
        }
        self.lives["deployment"].up(deployment)
        self.secrets = {"registry password": login.password}
        key = self.lives["device"].outs["connectionString"].partition("SharedAccessKey=")[2]
        self.secrets["device key"] = key
        for rule in arm.post(hub_id, "listkeys")["value"]:
            self.secrets[f"hub key {rule['keyName']}"] = rule["primaryKey"]
        self.said: list[str] = []
        """Every text that a user could have seen."""

    def failing(self, what: Callable[[], Any]) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            what()
        self.said.append(str(caught.value))
        return caught.value


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("away")
    with cloud(folder) as azure, environment({**azure.azure.env, "AZUREML_DEFAULT_RETRIES": "0"}):
        yield Place(azure, folder)


@pytest.fixture(scope="module")
def away(place: Place) -> Iterator[Place]:
    place.azure.azure.stop()
    yield place
    place.azure.azure.start()


@pytest.mark.parametrize("name", NAMES)
def test_each_is_there_while_azure_is(place: Place, name: str) -> None:
    assert place.lives[name].refresh()


@pytest.mark.parametrize("name", NAMES)
def test_a_read_is_an_error_and_leaves_the_state(away: Place, name: str) -> None:
    life = away.lives[name]
    before = (life.id, dict(life.outs))
    error = away.failing(life.refresh)
    assert not isinstance(error, NotFoundError)
    assert error.advice or "refused" in error.answer
    assert (life.id, life.outs) == before


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_deletion_is_an_error_and_leaves_the_state(away: Place, name: str) -> None:
    life = away.lives[name]
    assert not isinstance(away.failing(life.destroy), NotFoundError)
    assert life.id


def test_no_text_and_no_id_holds_a_secret(away: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts of everything above, and of an update of each that cannot reach Azure."""
    for name in ("device", "deployment"):
        life = away.lives[name]
        changed = {**life.outs, "tags": {"a": "b"}, "verify": {"enabled": True, "timeoutSeconds": 1}}
        assert life.id
        away.failing(lambda life=life, changed=changed: life.provider.update(life.id, life.outs, changed))  # type: ignore[misc]
    assert len(away.said) > len(NAMES)
    assert leaks("\n".join(away.said) + capsys.readouterr().out, away.secrets) == []
    assert leaks(json.dumps([life.id for life in away.lives.values()]), away.secrets) == []


def test_outputs_hold_secrets_only_where_they_are_marked(place: Place) -> None:
    plain = [
        {key: value for key, value in life.outs.items() if key not in SECRET_OUTPUTS} for life in place.lives.values()
    ]
    assert leaks(json.dumps(plain), place.secrets) == []
    everything = json.dumps([life.outs for life in place.lives.values()])
    assert set(leaks(everything, place.secrets)) == {"registry password", "device key"}, (
        "the search finds what is there"
    )
