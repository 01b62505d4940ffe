"""Rendering: what the device gets, from what the user wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.edge import create_options, manifest
from components.edge.validate import validate

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"127.0.0.5:20700/anomaly@{DIGEST}"
LOGIN: manifest.Credential = {"address": "127.0.0.5:20700", "username": "reg", "password": "p/w+="}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)


def agent(rendered: dict[str, Any]) -> dict[str, Any]:
    return rendered["modulesContent"]["$edgeAgent"]["properties.desired"]


def hub(rendered: dict[str, Any]) -> dict[str, Any]:
    return rendered["modulesContent"]["$edgeHub"]["properties.desired"]


def render(**settings: Any) -> dict[str, Any]:
    deployment: Any = {"module": "scorer", "image": IMAGE, **settings}
    return manifest.render(deployment, {"reg": LOGIN})


def options(rendered: dict[str, Any]) -> dict[str, Any]:
    return create_options.parse(agent(rendered)["modules"]["scorer"]["settings"])


def test_the_smallest_deployment_is_complete_and_valid() -> None:
    rendered = render()
    assert validate(rendered) == []
    module = agent(rendered)["modules"]["scorer"]
    assert module["settings"]["image"] == IMAGE
    assert (module["status"], module["restartPolicy"], module["imagePullPolicy"]) == ("running", "always", "on-create")
    assert agent(rendered)["runtime"]["settings"]["registryCredentials"] == {"reg": LOGIN}
    assert hub(rendered)["storeAndForwardConfiguration"] == {"timeToLiveSecs": 7200}


def test_every_setting_arrives() -> None:
    rendered = render(
        env={"THRESHOLD": 0.5, "WORKERS": 2.0, "DEBUG": True, "NAME": "x"},
        status="stopped",
        restartPolicy="on-failure",
        startupOrder=3.0,
        imagePullPolicy="never",
        routes={"up": {"route": "FROM /messages/modules/scorer/outputs/amlOutput INTO $upstream", "priority": 2.0}},
        timeToLiveSecs=60.0,
        runtimeVersion="1.5",
        edgeAgent={"env": {"RuntimeLogLevel": "debug"}},
        edgeHub={"image": "registry.example.com/hub:1", "createOptions": {}},
    )
    assert validate(rendered) == []
    module = agent(rendered)["modules"]["scorer"]
    assert module["env"] == {
        "DEBUG": {"value": True},
        "NAME": {"value": "x"},
        "THRESHOLD": {"value": 0.5},
        "WORKERS": {"value": 2},
    }
    assert type(module["env"]["WORKERS"]["value"]) is int
    assert (module["status"], module["restartPolicy"], module["imagePullPolicy"]) == ("stopped", "on-failure", "never")
    assert module["startupOrder"] == 3
    assert type(module["startupOrder"]) is int
    system = agent(rendered)["systemModules"]
    assert system["edgeAgent"]["settings"]["image"].endswith("azureiotedge-agent:1.5")
    assert system["edgeAgent"]["env"] == {"RuntimeLogLevel": {"value": "debug"}}
    assert system["edgeHub"]["settings"] == {"image": "registry.example.com/hub:1", "createOptions": "{}"}
    route = hub(rendered)["routes"]["up"]
    assert (route["priority"], type(route["priority"])) == (2, int)
    assert hub(rendered)["storeAndForwardConfiguration"] == {"timeToLiveSecs": 60}


def test_default_routes_name_the_module() -> None:
    assert hub(render(module="m2"))["routes"] == {
        "amlInput": "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) "
        'INTO BrokeredEndpoint("/modules/m2/inputs/amlInput")',
        "amlOutput": "FROM /messages/modules/m2/outputs/* INTO $upstream",
    }


def test_no_routes_is_not_default_routes() -> None:
    assert hub(render(routes={}))["routes"] == {}


@pytest.mark.parametrize(
    "image",
    [
        "127.0.0.5:20700/anomaly:latest",
        "127.0.0.5:20700/anomaly",
        f"anomaly@{DIGEST}",
        f"team/anomaly@{DIGEST}",
        f"reg.azurecr.io/Anomaly@{DIGEST}",
        f"reg.azurecr.io/anomaly:1@{DIGEST}",
        f"reg.azurecr.io/anomaly@{DIGEST[:-1]}",
        f"reg.azurecr.io/anomaly@{DIGEST}\n",
        f"https://reg.azurecr.io/anomaly@{DIGEST}",
        "",
    ],
)
def test_an_image_without_host_and_digest_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        render(image=image)


@pytest.mark.parametrize("image", [f"reg.azurecr.io/a/b-c__d@{DIGEST}", f"localhost/x@{DIGEST}", f"h:5000/x@{DIGEST}"])
def test_images_by_digest_are_taken(image: str) -> None:
    assert validate(render(image=image)) == []


@pytest.mark.parametrize("name", ["$edgeAgent", "edgeHub", "edgeagent", "a b", "", "x" * 129, "_x", "a", "a.b"])
def test_a_bad_module_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="module name"):
        render(module=name)


def test_hardening_is_the_default() -> None:
    hardened = options(render())
    assert hardened["HostConfig"]["ReadonlyRootfs"] is True
    assert hardened["HostConfig"]["CapDrop"] == ["ALL"]
    assert hardened["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert set(hardened["HostConfig"]["Tmpfs"]) == {"/tmp"}
    assert hardened["User"] == "10001:10001"
    assert hardened["Entrypoint"] == ["python", "/var/azureml-app/edge_runtime"]
    assert hardened["Env"] == ["HOME=/tmp"]
    assert "RestartPolicy" not in hardened["HostConfig"]


def test_the_users_options_win_at_any_depth() -> None:
    users = {
        "User": None,
        "Env": ["A=1"],
        "HostConfig": {"CapDrop": ["NET_RAW"], "Tmpfs": {"/cache": ""}, "Memory": 1e9, "SecurityOpt": None},
    }
    merged = options(render(createOptions=users))
    assert "User" not in merged
    assert merged["Env"] == ["HOME=/tmp", "A=1"]
    assert merged["HostConfig"]["CapDrop"] == ["NET_RAW"]
    assert set(merged["HostConfig"]["Tmpfs"]) == {"/tmp", "/cache"}
    assert merged["HostConfig"]["ReadonlyRootfs"] is True
    assert "SecurityOpt" not in merged["HostConfig"]
    assert type(merged["HostConfig"]["Memory"]) is int


def test_the_users_home_replaces_ours() -> None:
    assert options(render(createOptions={"Env": ["HOME=/data"]}))["Env"] == ["HOME=/data"]


def test_merging_leaves_the_defaults_alone() -> None:
    before = json.dumps(create_options.HARDENED)
    render(createOptions={"HostConfig": {"Tmpfs": {"/x": ""}}, "Env": ["HOME=/y"]})
    assert json.dumps(create_options.HARDENED) == before


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.dictionaries(st.text(max_size=20), json_values, max_size=8))
def test_chunks_join_to_what_went_in(value: dict[str, Any]) -> None:
    pieces = create_options.render(value)
    assert all(len(piece) <= 512 and piece.isascii() for piece in pieces.values())
    assert all(len(piece) == 512 for piece in list(pieces.values())[:-1])
    assert create_options.parse({"image": "x", **pieces}) == value
    assert json.loads("".join(pieces.values())) == value


def test_the_order_of_keys_does_not_matter() -> None:
    one, two = {"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}
    assert create_options.render(one) == create_options.render(two) == {"createOptions": '{"a":1,"b":{"c":1,"d":2}}'}
    assert render(env={"X": 1, "A": 2}) == render(env={"A": 2, "X": 1})


@pytest.mark.parametrize(("characters", "count"), [(512, 1), (513, 2), (1024, 2), (1025, 3), (51200, 100)])
def test_chunk_count_at_the_edges(characters: int, count: int) -> None:
    filler = "x" * (characters - len('{"a":""}'))
    pieces = create_options.render({"a": filler})
    assert len(pieces) == count
    assert list(pieces)[:3] == ["createOptions", "createOptions01", "createOptions02"][:count]
    assert list(pieces)[-1] == ("createOptions" if count == 1 else f"createOptions{count - 1:02d}")


def test_more_than_a_hundred_chunks_are_refused() -> None:
    with pytest.raises(create_options.CreateOptionsError, match="100 pieces"):
        create_options.render({"a": "x" * 51200})


def test_what_is_not_json_is_refused_without_being_quoted() -> None:
    with pytest.raises(create_options.CreateOptionsError) as caught:
        create_options.render({"Env": [b"PASSWORD"]})
    assert "PASSWORD" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "settings",
    [
        {"createOptions01": "{}"},
        {"createOptions": "{", "createOptions02": "}"},
        {"createOptions": {}},
        {"createOptions": "[]"},
        {"createOptions": "{"},
    ],
)
def test_unreadable_pieces(settings: dict[str, Any]) -> None:
    with pytest.raises(create_options.CreateOptionsError):
        create_options.parse(settings)


def test_no_pieces_and_an_empty_one_are_no_options() -> None:
    assert create_options.parse({}) == create_options.parse({"createOptions": ""}) == {}


def test_the_base_manifest_holds_nothing_of_a_deployment() -> None:
    base = manifest.base_manifest({"runtimeVersion": "1.5"})
    assert validate(base) == []
    assert agent(base)["modules"] == {}
    assert hub(base)["routes"] == {}
    assert "registryCredentials" not in json.dumps(base)
    assert "azureiotedge-hub:1.5" in json.dumps(base)


def test_without_credentials_leaves_the_rest_and_the_original() -> None:
    rendered = render()
    bare = manifest.without_credentials(rendered)
    assert "p/w+=" not in json.dumps(bare)
    assert "p/w+=" in json.dumps(rendered)
    assert agent(bare)["modules"] == agent(rendered)["modules"]


@pytest.mark.parametrize(
    ("address", "key"), [("127.0.0.5:20700", "127-0-0-5-20700"), ("reg.azurecr.io", "reg-azurecr-io")]
)
def test_credential_ids_fit_a_twin(address: str, key: str) -> None:
    assert manifest.credential_id(address) == key
    assert validate(manifest.render({"module": "mm", "image": IMAGE}, {key: LOGIN})) == []


def test_a_layer_brings_its_modules_and_their_twins() -> None:
    deployment: Any = {
        "module": "scorer",
        "image": f"contoso.azurecr.io/anomaly@sha256:{'0' * 64}",
        "desired": {"t": 1},
        "modules": {"probe": {"image": "x/y:1", "desired": {"interval": 5.0}}},
    }
    content = manifest.render_layer(deployment, {})["modulesContent"]
    assert validate(content) == []
    assert {key for key in content["$edgeAgent"] if ".modules." in key} == {
        "properties.desired.modules.scorer",
        "properties.desired.modules.probe",
    }
    assert content["probe"] == {"properties.desired": {"interval": 5}}
    deployment["manifest"] = {}
    with pytest.raises(ValueError, match="cannot be a layer"):
        manifest.render_layer(deployment, {})
