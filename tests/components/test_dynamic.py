from __future__ import annotations

import base64
import importlib

import dill
import pytest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.output import Unknown

from components.dynamic import Provider, gone, is_unknown, plain

# Import path of a provider -> its pickle in state files of the first release. Moving one needs a re-export at the old path.
RECORDED = {
    "components.registry.RegistryCredentialsProvider": "gASVOgAAAAAAAACME2NvbXBvbmVudHMucmVnaXN0cnmUjBtSZWdpc3RyeUNyZWRlbnRpYWxzUHJvdmlkZXKUk5QpgZQu",  # noqa: E501
    "components.device.DeviceIdentityProvider": "gASVMwAAAAAAAACMEWNvbXBvbmVudHMuZGV2aWNllIwWRGV2aWNlSWRlbnRpdHlQcm92aWRlcpSTlCmBlC4=",
    "components.model.RegisteredModelProvider": "gASVMwAAAAAAAACMEGNvbXBvbmVudHMubW9kZWyUjBdSZWdpc3RlcmVkTW9kZWxQcm92aWRlcpSTlCmBlC4=",
    "components.image.ModelImageProvider": "gASVLgAAAAAAAACMEGNvbXBvbmVudHMuaW1hZ2WUjBJNb2RlbEltYWdlUHJvdmlkZXKUk5QpgZQu",
    "components.deployment.EdgeDeploymentProvider": "gASVNwAAAAAAAACMFWNvbXBvbmVudHMuZGVwbG95bWVudJSMFkVkZ2VEZXBsb3ltZW50UHJvdmlkZXKUk5QpgZQu",  # noqa: E501
    "components.fleet.FleetDeploymentProvider": "gASVMwAAAAAAAACMEGNvbXBvbmVudHMuZmxlZXSUjBdGbGVldERlcGxveW1lbnRQcm92aWRlcpSTlCmBlC4=",
    "components.device_fleet.DeviceFleetProvider": "gASVNgAAAAAAAACMF2NvbXBvbmVudHMuZGV2aWNlX2ZsZWV0lIwTRGV2aWNlRmxlZXRQcm92aWRlcpSTlCmBlC4=",  # noqa: E501
}


class Thing(Provider):
    replaces = ("where",)
    ignores = ("path",)

    def drifted(self, olds, news):  # type: ignore[no-untyped-def]
        return olds.get("seen") != "as made"


OLD = {"where": "here", "size": 1.0, "path": "/a", "seen": "as made", "__provider": "x"}
NEW = {"where": "here", "size": 1, "path": "/a", "__provider": "y"}


def test_same_inputs_are_no_change_even_when_pulumi_made_floats_of_them() -> None:
    assert Thing().diff("id", OLD, NEW).changes is False


def test_a_change_is_left_to_the_engine_so_that_it_shows_the_property() -> None:
    result = Thing().diff("id", OLD, {**NEW, "size": 2})
    assert result.changes is None
    assert result.replaces == []


def test_a_change_of_what_it_is_replaces_it() -> None:
    assert Thing().diff("id", OLD, {**NEW, "where": "there"}).replaces == ["where"]


def test_where_a_file_lies_does_not_matter() -> None:
    assert Thing().diff("id", OLD, {**NEW, "path": "/b"}).changes is False


def test_drift_that_no_input_shows_is_a_change() -> None:
    assert Thing().diff("id", {**OLD, "seen": "else"}, NEW).changes is True


def test_an_input_that_is_not_known_yet_is_a_change() -> None:
    assert Thing().diff("id", OLD, {**NEW, "size": Unknown()}).changes is None


def test_unknown_is_found_inside() -> None:
    assert is_unknown({"a": [1, {"b": Unknown()}]})
    assert not is_unknown({"a": [1, {"b": "c"}]})


def test_whole_floats_become_ints_at_any_depth_and_others_stay() -> None:
    assert plain({"a": [1.0, 1.5, True, None, "1.0"]}) == {"a": [1, 1.5, True, None, "1.0"]}
    assert isinstance(plain(3.0), int)


def test_gone_has_outs_because_pulumi_breaks_on_none() -> None:
    assert (gone().id, gone().outs) == ("", {})


@pytest.mark.parametrize("path", RECORDED)
def test_old_state_still_opens_and_new_state_is_the_same(path: str) -> None:
    module, _, name = path.rpartition(".")
    provider = getattr(importlib.import_module(module), name)
    assert type(dill.loads(base64.b64decode(RECORDED[path]))) is provider
    assert serialize_provider(provider()) == RECORDED[path], "pickled by value, or moved: every stack would show a diff"
    assert provider.serialize_as_secret_always is False
