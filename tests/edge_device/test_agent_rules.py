"""The agent's decisions without Docker and without a hub."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localazure.edge import names, reported
from localazure.edge.container_body import Surroundings, body, fingerprint, with_tag
from localazure.edge.deployment import DeploymentError, join_chunks, parse, registry_of, split_chunks
from localazure.edge.planner import NEVER, Action, Container, Health, RestartPolicy, plan, runtime_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = RestartPolicy()


def entry(**more: Any) -> dict[str, Any]:
    made = {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "reg.io/a:1"}}
    return {**made, **more}


def desired(modules: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    system = {"type": "docker", "settings": {"image": "mcr.microsoft.com/x:1.5"}}
    return {
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {}},
        "systemModules": {"edgeAgent": system, "edgeHub": system},
        "modules": modules or {},
        "$version": 5,
        **more,
    }


def container(module: str = "m", state: str = "running", **more: Any) -> Container:
    values: dict[str, Any] = {
        "module": module,
        "id": "c1",
        "fingerprint": "f",
        "image": "reg.io/a:1",
        "state": state,
        "exit_code": 0,
        "started": NOW - timedelta(hours=1),
        "finished": NEVER,
        "image_id": "sha256:1",
    }
    return Container(**{**values, **more})


def exited(seconds_ago: float, code: int = 1, **more: Any) -> Container:
    return container(state="exited", exit_code=code, finished=NOW - timedelta(seconds=seconds_ago), **more)


def steps(entry_: dict[str, Any] | None, found: Container | None, health: Health | None = None) -> list[str]:
    modules = parse(desired({"m": entry_} if entry_ else {})).modules
    actions = plan(modules, {"m": "f"}, {"m": found} if found else {}, {"m": health} if health else {}, POLICY, NOW)
    assert all(action.module == "m" for action in actions)
    return [action.kind for action in actions]


def test_parse_reads_every_property() -> None:
    settings = {"image": " reg.io:5000/a@sha256:1 ", "createOptions": '{"a', "createOptions01": '": 1}'}
    deployment = parse(
        desired(
            {
                "m": entry(
                    settings=settings, env={"T": {"value": True}, "N": {"value": 1.5}, "S": {"value": "s"}}, version="2"
                )
            },
            runtime={
                "type": "docker",
                "settings": {
                    "loggingOptions": '{"Type": "local"}',
                    "registryCredentials": {"r": {"address": "REG.io:5000", "username": "u", "password": "p"}},
                },
            },
        )
    )
    module = deployment.modules["m"]
    assert module.create_options == {"a": 1}
    assert module.env == {"T": "true", "N": "1.5", "S": "s"}
    assert (module.pull_policy, module.startup_order, module.version) == ("on-create", 4294967295, "2")
    found = deployment.credentials_for(module.image)
    assert found
    assert (found.username, found.password) == ("u", "p")
    assert "p'" not in repr(found)
    assert deployment.credentials_for("other.io/a") is None
    assert deployment.logging == {"Type": "local"}
    assert "registryCredentials" not in deployment.runtime["settings"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schemaVersion": "2.0"}, 412),
        ({"schemaVersion": "1.2"}, 412),
        ({"schemaVersion": None}, 412),
        ({"schemaVersion": 1.1}, 412),
        ({"runtime": None}, 400),
        ({"runtime": {"type": "podman"}}, 400),
        ({"systemModules": {}}, 400),
        ({"modules": {"m": entry(status="paused")}}, 400),
        ({"modules": {"m": entry(restartPolicy="sometimes")}}, 400),
        ({"modules": {"m": entry(imagePullPolicy="always")}}, 400),
        ({"modules": {"m": entry(settings={"image": " "})}}, 400),
        ({"modules": {"m": entry(settings={"image": "a", "createOptions": "{"})}}, 400),
        ({"modules": {"m": entry(settings={"image": "a", "createOptions": {"a": 1}})}}, 400),
        ({"modules": {"m": entry(settings={"image": "a", "createOptions": "[1]"})}}, 400),
        ({"modules": {"m": entry(settings={"image": "a", "createOptions": "{", "createOptions02": "}"})}}, 400),
        ({"modules": {"m": entry(env={"A": "plain"})}}, 400),
        ({"modules": {"m": entry(startupOrder=-1)}}, 400),
        ({"modules": {"m.n": entry()}}, 400),
        ({"modules": []}, 200),
        ({"modules": ["m"]}, 400),
        (
            {
                "runtime": {
                    "type": "docker",
                    "settings": {"registryCredentials": {"r": {"address": "a", "username": "u", "password": " "}}},
                }
            },
            400,
        ),
    ],
)
def test_status_codes_of_edge_agent(change: dict[str, Any], code: int) -> None:
    if code == 200:
        parse(desired(**change))
        return
    with pytest.raises(DeploymentError) as caught:
        parse(desired(**change))
    assert caught.value.code == code


def test_nothing_deployed_yet() -> None:
    with pytest.raises(DeploymentError) as caught:
        parse({"$version": 1})
    assert caught.value.code == 417


@given(st.text(max_size=3000))
def test_chunks_are_put_together_again(text: str) -> None:
    chunks = split_chunks(text)
    assert all(len(chunk) <= 512 for chunk in chunks.values())
    assert join_chunks(dict(reversed(chunks.items()))) == text


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("127.0.0.5:20700/a/b@sha256:1", "127.0.0.5:20700"),
        ("reg.io/a", "reg.io"),
        ("library/a", "docker.io"),
        ("a", "docker.io"),
        ("localhost/a", "docker.io"),
        ("localhost:5000/a", "localhost:5000"),
    ],
)
def test_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


@pytest.mark.parametrize(
    ("image", "full"),
    [("a", "a:latest"), ("h:5000/a", "h:5000/a:latest"), ("a:1", "a:1"), ("h:5000/a@sha256:1", "h:5000/a@sha256:1")],
)
def test_tag(image: str, full: str) -> None:
    assert with_tag(image) == full


def test_plan() -> None:
    assert steps(entry(), None) == ["create"]
    assert steps(entry(status="stopped"), None) == ["create"]
    assert steps(None, container()) == ["remove"]
    assert steps(entry(), container()) == []
    assert steps(entry(), container(fingerprint="old")) == ["update"]
    assert steps(entry(status="stopped"), container()) == ["stop"]
    assert steps(entry(status="stopped"), exited(1000)) == []
    assert steps(entry(), container(state="created", started=NEVER)) == ["start"]
    assert steps(entry(), exited(1, 0), Health(parked=True)) == ["start"]
    assert steps(entry(restartPolicy="never"), exited(1, 137), Health(parked=True)) == ["start"]


def test_restarts_back_off() -> None:
    assert steps(entry(), exited(9)) == []
    assert steps(entry(), exited(10)) == ["restart"]
    assert steps(entry(), exited(39), Health(2)) == []
    assert steps(entry(), exited(40), Health(2)) == ["restart"]
    assert steps(entry(), exited(299), Health(19)) == []
    assert steps(entry(), exited(300), Health(19)) == ["restart"]
    assert steps(entry(), exited(9999), Health(20)) == []
    assert steps(entry(), exited(10, 0)) == ["restart"]
    assert steps(entry(restartPolicy="on-failure"), exited(10, 0)) == []
    assert steps(entry(restartPolicy="on-failure"), exited(10, 1)) == ["restart"]
    assert steps(entry(restartPolicy="never"), exited(9999)) == []


def test_restart_count_is_forgotten_after_a_good_time() -> None:
    recovered = container(started=NOW - timedelta(minutes=11), finished=NOW - timedelta(minutes=12))
    assert steps(entry(), recovered, Health(3)) == ["forget"]
    assert steps(entry(), recovered) == []
    assert steps(entry(), container(started=NOW - timedelta(minutes=9)), Health(3)) == []


def test_startup_order_goes_before_the_name() -> None:
    modules = parse(desired({"a": entry(startupOrder=2), "b": entry(), "c": entry(startupOrder=0)})).modules
    actions = plan(modules, dict.fromkeys(modules, "f"), {"z": container("z")}, {}, POLICY, NOW)
    assert actions == [Action("remove", "z"), Action("create", "c"), Action("create", "a"), Action("create", "b")]


def test_runtime_status() -> None:
    always = parse(desired({"m": entry()})).modules["m"]
    never = parse(desired({"m": entry(restartPolicy="never")})).modules["m"]
    stopped = parse(desired({"m": entry(status="stopped")})).modules["m"]
    assert runtime_status(always, container(), Health(), POLICY) == "running"
    assert runtime_status(always, exited(1), Health(), POLICY) == "backoff"
    assert runtime_status(always, exited(1), Health(20), POLICY) == "failed"
    assert runtime_status(never, exited(1, 1), Health(), POLICY) == "failed"
    assert runtime_status(never, exited(1, 0), Health(), POLICY) == "stopped"
    assert runtime_status(stopped, exited(1, 137), Health(), POLICY) == "stopped"
    assert runtime_status(always, container(state="strange"), Health(), POLICY) == "unknown"


AROUND = Surroundings("127.0.0.5:20500", "Edge-1", "edge-1", "172.20.0.1", "net", {"l": "v"})


def make_body(module: dict[str, Any]) -> dict[str, Any]:
    deployment = parse(desired({"m": module}))
    return body(deployment.modules["m"], deployment, AROUND, "g1", Path("/w/m"))


def test_container_body_keeps_create_options() -> None:
    options = {
        "ExposedPorts": {"5001/tcp": {}},
        "Env": ["A=1", "B=2", "IOTEDGE_MODULEID=evil"],
        "Labels": {"mine": "1", names.MODULE_LABEL: "evil"},
        "HostConfig": {"Binds": ["/x:/x"], "ReadonlyRootfs": True, "ExtraHosts": ["h:1.2.3.4"]},
        "Cmd": ["run"],
    }
    made = make_body(
        entry(settings={"image": "reg.io/a", "createOptions": json.dumps(options)}, env={"B": {"value": 3}})
    )
    assert made["ExposedPorts"] == {"5001/tcp": {}}
    assert made["Cmd"] == ["run"]
    assert made["Image"] == "reg.io/a:latest"
    environment = dict(entry.split("=", 1) for entry in made["Env"])
    assert len(environment) == len(made["Env"])
    assert (environment["A"], environment["B"], environment["IOTEDGE_MODULEID"]) == ("1", "3", "m")
    assert environment["IOTEDGE_MODULEGENERATIONID"] == "g1"
    assert made["Labels"]["mine"] == "1"
    assert made["Labels"][names.MODULE_LABEL] == "m"
    assert made["HostConfig"]["Binds"] == ["/x:/x", "/w/m:/var/run/iotedge"]
    assert made["HostConfig"]["ExtraHosts"] == ["h:1.2.3.4", "edge-1:172.20.0.1"]
    assert made["HostConfig"]["ReadonlyRootfs"] is True
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"net": {"Aliases": ["m"]}}}


def test_module_with_its_own_network_is_left_alone() -> None:
    options = {"NetworkingConfig": {"EndpointsConfig": {"host": {}}}, "HostConfig": {"NetworkMode": "host"}}
    made = make_body(entry(settings={"image": "a:1", "createOptions": json.dumps(options)}))
    assert made["NetworkingConfig"] == options["NetworkingConfig"]
    assert made["HostConfig"]["NetworkMode"] == "host"
    assert "ExtraHosts" not in made["HostConfig"]


def test_fingerprint_follows_what_the_container_is_made_from() -> None:
    def of(module: dict[str, Any], generation: str = "g") -> str:
        return fingerprint(parse(desired({"m": module})).modules["m"], AROUND, generation)

    first = of(entry())
    assert of(entry(status="stopped")) == first
    for other in (
        entry(version="2"),
        entry(env={"A": {"value": 1}}),
        entry(settings={"image": "b"}),
        entry(restartPolicy="never"),
    ):
        assert of(other) != first
    assert of(entry(), "g2") != first


DOCUMENTS = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=4),
    max_leaves=15,
)
OBJECTS = st.dictionaries(st.text("abc", min_size=1, max_size=2), DOCUMENTS, max_size=4)


@given(OBJECTS, OBJECTS)
def test_patch_leads_from_one_state_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert _same(reported.merge(old, reported.diff(old, new)), new)
    assert reported.diff(new, new) == {}


def test_patch_is_minimal() -> None:
    old = {"a": {"b": 1, "c": 2}, "d": 1, "e": {"f": 1}, "$version": 3}
    assert reported.diff(old, {"a": {"b": 1, "c": 3}, "e": {"f": 1}}) == {"a": {"c": 3}, "d": None}
    assert reported.diff({"a": 1}, {"a": True}) == {"a": True}


def test_names_of_strange_devices() -> None:
    for device in ("..", ".", "a/b", "x" * 128, "%" * 128, "é*"):
        directory = names.directory(device)
        assert directory not in (".", "..")
        assert "/" not in directory
        assert len(directory) <= 200
    assert names.directory("%" * 128) != names.directory("%" * 127 + "'")
    assert names.container(Path("/f"), "..$x y", "m").startswith("x-y-m-")
    assert names.container(Path("/f"), "e", "m") != names.container(Path("/g"), "e", "m")


def _same(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
