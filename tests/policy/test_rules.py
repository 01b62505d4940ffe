"""Every rule: compliant, violating, missing, unknown at preview."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pulumi.runtime import rpc

from policy.rules import RULES, Rule
from policy.subject import SECRET, UNKNOWN, Subject, marked
from tests.support import ROOT

DIGEST = "sha256:" + "a" * 64
DEPLOYMENT = "pulumi-python:dynamic/edge:EdgeDeployment"
FLEET = "pulumi-python:dynamic/edge:FleetDeployment"
HUB = "azure-native:iothub:IotHubResource"
LEVELS = sorted((ROOT / "policy" / "levels").glob("*.json"))
_BY_NAME = {rule.name: rule for rule in RULES}


def check(name: str, *subjects: Subject, settings: dict[str, Any] | None = None) -> list[str]:
    rule = _BY_NAME[name]
    if rule.stack_check:
        return [problem for _, problem in rule.stack_check(subjects, settings or {})]
    assert rule.check
    return [problem for subject in subjects for problem in rule.check(subject, settings or {})]


def deployment(image: Any = f"r.io/x@{DIGEST}", **more: Any) -> Subject:
    """Of a device; `more` are settings of the deployment."""
    return Subject(DEPLOYMENT, "edge-1-deployment", {"deployment": {"image": image, "module": "scorer", **more}})


@pytest.mark.parametrize(
    ("subject", "problems"),
    [
        (deployment(), 0),
        (deployment("r.io/x:1"), 1),
        (deployment("r.io/x"), 1),
        (deployment(f"r.io/x@{DIGEST[:-1]}"), 1),
        (deployment(f"r.io/x:tag@{DIGEST}"), 0),
        (deployment(UNKNOWN), 0),
        (deployment(SECRET), 0),
        (deployment(None), 0),
        (deployment(edgeAgent={"image": "mcr.microsoft.com/azureiotedge-agent:1.5"}), 1),
        (deployment(modules={"other": {"image": "r.io/y:1"}}), 1),
        (deployment(env={"image": "not an image"}, desired={"image": "nor this"}), 0),
        (deployment(modules={"env": {"image": "r.io/y:1", "env": {"image": "not an image"}}}), 1),
        (deployment(modules={"routes": {"image": "r.io/y:1"}, "desired": {"Image": "r.io/y:1"}}), 2),
        (deployment(f"r.io/x@{DIGEST}\n"), 1),
        (Subject(DEPLOYMENT, "d", {"deployment": UNKNOWN}), 0),
        (Subject(HUB, "hub", {"sku": {"name": "S1"}}), 0),
        (Subject(HUB, "hub"), 0),
    ],
)
def test_image_by_digest(subject: Subject, problems: int) -> None:
    assert len(check("image-by-digest", subject)) == problems


def credentials(server: Any) -> Subject:
    return Subject("pulumi-python:dynamic/edge:RegistryCredentials", "c", {"loginServer": server, "password": SECRET})


@pytest.mark.parametrize(
    ("subjects", "allow", "problems"),
    [
        ((credentials("r.io"), deployment()), [], 0),
        ((credentials("r.io"), deployment(f"evil.io/x@{DIGEST}")), [], 1),
        ((credentials("r.io"), deployment(f"r.io.evil.com/x@{DIGEST}")), [], 1),
        ((credentials("r.io"), deployment(f"ghcr.io/team/x@{DIGEST}")), ["ghcr.io/team"], 0),
        ((credentials("r.io"), deployment(f"ghcr.io/teammate/x@{DIGEST}")), ["ghcr.io/team"], 1),
        ((credentials("r.io"), deployment(edgeAgent={"image": f"mcr.microsoft.com/a@{DIGEST}"})), [], 0),
        ((credentials(UNKNOWN), deployment(f"evil.io/x@{DIGEST}")), [], 0),
        ((credentials(None), deployment(f"evil.io/x@{DIGEST}")), [], 0),
        ((credentials("r.io"), deployment(UNKNOWN)), [], 0),
        ((deployment(),), [], 1),
        ((), [], 0),
    ],
)
def test_image_from_known_registry(subjects: tuple[Subject, ...], allow: list[str], problems: int) -> None:
    assert len(check("image-from-known-registry", *subjects, settings={"allow": allow})) == problems


@pytest.mark.parametrize(
    ("props", "problems"),
    [
        ({"password": SECRET}, 0),
        ({"password": "hunter2"}, 1),
        ({"password": UNKNOWN}, 0),
        ({"password": ""}, 0),
        ({"passwordEnabled": "yes", "secretName": "x", "tokenType": "sas"}, 0),
        ({"deployment": {"env": {"API_TOKEN": "hunter2"}}}, 1),
        ({"deployment": {"env": {"apiToken": "hunter2"}}}, 1),
        ({"deployment": {"env": {"TARGET": "HostName=h;SharedAccessKey=abc="}}}, 1),
        ({"urls": ["https://user:hunter2@host/x", "https://host/x?sv=1&sig=abc"]}, 2),
        ({"registries": [{"address": "r.io", "password": SECRET}]}, 0),
        ({"registries": [{"address": "r.io", "password": "hunter2"}]}, 1),
        ({"text": "-----BEGIN PRIVATE KEY-----"}, 1),
        ({"env": {"DB_PASSWORD": {"value": "hunter2"}}}, 1),
        ({"env": {"DB_PASSWORD": {"value": SECRET}}}, 0),
        ({"createOptions": {"Env": ["A=b", "DB_PASSWORD=hunter2", "API_TOKEN="]}}, 1),
        ({"deployment": {"settings": {"createOptions": '{"Env": ["DB_PASSWORD=', "createOptions01": 'hunter2"]}'}}}, 1),
        ({"tokenizer": "wordpiece", "author": "x"}, 0),
        ({}, 0),
    ],
)
def test_no_secret_in_plain(props: dict[str, Any], problems: int) -> None:
    found = check("no-secret-in-plain", Subject("t", "n", props))
    assert len(found) == problems
    assert not any("hunter2" in text for text in found), "a violation never repeats the secret"


def test_a_name_may_be_allowed_as_plain() -> None:
    subject = Subject("t", "n", {"deployment": {"env": {"API_TOKEN": "public"}}})
    assert check("no-secret-in-plain", subject, settings={"allow": ["deployment.env.API_TOKEN"]}) == []
    assert check("no-secret-in-plain", subject, settings={"allow": ["deployment.env.OTHER"]})


@pytest.mark.parametrize(
    ("subject", "problems"),
    [
        (Subject(HUB, "hub", {}, protect=True), 0),
        (Subject(HUB, "hub", {}), 1),
        (Subject("azure-native:keyvault:Vault", "v", {"x": UNKNOWN}), 1),
        (Subject(DEPLOYMENT, "d", {}), 0),
    ],
)
def test_stateful_protected(subject: Subject, problems: int) -> None:
    assert len(check("stateful-protected", subject)) == problems


def test_no_build() -> None:
    assert check("no-build", Subject("pulumi-python:dynamic/edge:ModelImage", "image", {"name": UNKNOWN}))
    assert check("no-build", Subject("pulumi-python:dynamic/edge:PromotedImage", "image", {})) == []


@pytest.mark.parametrize(
    ("host", "problems"),
    [
        ({}, 0),
        ({"Privileged": True}, 1),
        ({"Privileged": False, "NetworkMode": "azure-iot-edge"}, 0),
        ({"NetworkMode": "host", "PidMode": "host"}, 2),
        ({"Binds": ["/var/run/docker.sock:/var/run/docker.sock"]}, 1),
        ({"Binds": ["C:\\data:C:\\data"]}, 1),
        ({"Binds": ["models:/models", "data:/d:ro"]}, 0),
        ({"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/etc"}, {"Type": "volume", "Source": "v"}]}, 1),
        ({"CapAdd": ["SYS_ADMIN"], "Devices": [{"PathOnHost": "/dev/mem"}]}, 2),
        ({"CapDrop": ["ALL"], "CapAdd": []}, 0),
        ({"VolumesFrom": ["edgeAgent"]}, 1),
        (
            {
                "Mounts": [
                    {"Type": "volume", "VolumeOptions": {"DriverConfig": {"Options": {"device": "/", "o": "bind"}}}}
                ]
            },
            1,
        ),
        ({"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}, 1),
        ({"Privileged": UNKNOWN, "Binds": UNKNOWN, "Mounts": [UNKNOWN]}, 0),
    ],
)
@pytest.mark.parametrize("form", ["object", "text", "further module"])
def test_container_confined(host: dict[str, Any], problems: int, form: str) -> None:
    options: Any = {"HostConfig": host}
    if form == "text":
        if UNKNOWN in host.values():
            pytest.skip("text is known as a whole or not at all")
        options = json.dumps(options)
    settings = {"createOptions": options}
    subject = deployment(modules={"other": settings}) if form == "further module" else deployment(**settings)
    assert len(check("container-confined", subject)) == problems


def test_container_confined_looks_everywhere() -> None:
    """The runtime's own modules, and a manifest as devices get it, whose long createOptions are cut."""
    privileged = {"HostConfig": {"Privileged": True}}
    text = json.dumps(privileged)
    modules = {"other": {"settings": {"image": "x", "createOptions": text[:9], "createOptions01": text[9:]}}}
    manifest = {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": modules}}}}
    found = check("container-confined", deployment(edgeAgent={"createOptions": privileged}, manifest=manifest))
    assert sorted(found) == [
        "the module 'edgeAgent' asks for privileged mode",
        "the module 'other' asks for privileged mode",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"hostconfig": {"PRIVILEGED": True}},
        '{"hostConfig": {"privileged": true}}',
        '{"HostConfig": {"Privileged": true}, "HostConfig": {}}',
        {"NetworkingConfig": {"EndpointsConfig": {"host": {}}}},
    ],
)
def test_container_confined_reads_what_the_engine_reads(options: Any) -> None:
    """Go takes keys in any case, and adds up those that are doubled."""
    assert len(check("container-confined", deployment(createOptions=options))) == 1
    assert len(check("container-confined", deployment(modules={"x": {"CREATEOPTIONS": options}}))) == 1


@pytest.mark.parametrize("name", ["env", "settings", "modules", "createOptions"])
def test_a_module_has_no_name_that_hides_it(name: str) -> None:
    module = {"image": "r.io/y:1", "createOptions": {"HostConfig": {"Privileged": True}}}
    subject = deployment(modules={name: module})
    assert check("container-confined", subject) == [f"the module {name!r} asks for privileged mode"]
    assert len(check("image-by-digest", subject)) == 1


@pytest.mark.parametrize("options", [None, UNKNOWN, SECRET, "not json", "[1]", {"HostConfig": UNKNOWN}])
def test_container_confined_without_options(options: Any) -> None:
    assert check("container-confined", deployment(createOptions=options)) == []


def test_an_exemption_needs_its_reason() -> None:
    subject = deployment(createOptions={"HostConfig": {"Privileged": True}})
    assert check("container-confined", subject, settings={"exempt": {"scorer": "GPU driver, see the runbook"}}) == []
    assert check("container-confined", subject, settings={"exempt": {"scorer": "  "}})
    assert check("container-confined", subject, settings={"exempt": {"other": "GPU driver"}})


@pytest.mark.parametrize(
    ("more", "problems"),
    [
        ({"verify": {"timeoutSeconds": 300}, "onFailure": "rollback"}, 0),
        ({"verify": {"enabled": False}, "onFailure": "rollback"}, 1),
        ({"verify": {"timeoutSeconds": 300}, "onFailure": "keep"}, 1),
        ({}, 2),
        ({"verify": UNKNOWN, "onFailure": UNKNOWN}, 0),
        ({"verify": {"enabled": UNKNOWN}, "onFailure": "rollback"}, 0),
    ],
)
def test_deployment_verified(more: dict[str, Any], problems: int) -> None:
    subject = Subject(DEPLOYMENT, "d", {**deployment().props, **more})
    assert len(check("deployment-verified", subject)) == problems
    assert check("deployment-verified", Subject(HUB, "hub", more)) == []


@pytest.mark.parametrize(
    ("rollout", "problems"),
    [({"waves": ["tags.a='b'"], "wave": 1}, 0), (UNKNOWN, 0), (None, 1), ({}, 1), ("left out", 1)],
)
def test_a_fleet_is_verified_by_its_rollout(rollout: Any, problems: int) -> None:
    given = {} if rollout == "left out" else {"rollout": rollout}
    props = {**deployment().props, "targetCondition": "deviceId='a'", **given}
    assert len(check("deployment-verified", Subject(FLEET, "plant", props))) == problems


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("kind", [DEPLOYMENT, FLEET, HUB, "pulumi-python:dynamic/edge:RegistryCredentials"])
@pytest.mark.parametrize(
    "props",
    [
        {},
        {"deployment": UNKNOWN, "verify": UNKNOWN, "onFailure": UNKNOWN, "rollout": UNKNOWN, "loginServer": UNKNOWN},
        {"deployment": {"image": UNKNOWN, "module": UNKNOWN, "createOptions": UNKNOWN, "modules": UNKNOWN}}
        | {"verify": {"enabled": UNKNOWN}, "onFailure": UNKNOWN, "password": UNKNOWN},
    ],
    ids=["missing", "unknown", "unknown inside"],
)
def test_no_rule_refuses_what_is_missing_or_not_known_yet(rule: Rule, kind: str, props: dict[str, Any]) -> None:
    """The update asks again, when it is known. What a rule demands to be there is in its own test."""
    assert check(rule.name, Subject(kind, "n", props, protect=True)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_say_what_to_do_and_have_a_level_in_every_environment(rule: Rule) -> None:
    assert rule.remedy.endswith(".")
    assert (rule.check is None) != (rule.stack_check is None)
    for file in LEVELS:
        assert rule.name in json.loads(file.read_text()), f"{file.name} has no level for {rule.name}"


@pytest.mark.parametrize("file", LEVELS, ids=lambda file: file.stem)
def test_level_files_name_rules_and_settings_that_exist(file: Any) -> None:
    for name, given in json.loads(file.read_text()).items():
        settings = dict(given) if isinstance(given, dict) else {"enforcementLevel": given}
        assert settings.pop("enforcementLevel") in ("mandatory", "advisory", "disabled")
        assert set(settings) <= set(_BY_NAME[name].settings)


def test_prod_enforces_everything() -> None:
    levels = json.loads((ROOT / "policy" / "levels" / "prod.json").read_text())
    assert {given if isinstance(given, str) else given["enforcementLevel"] for given in levels.values()} == {
        "mandatory"
    }


def test_marks() -> None:
    secret = {rpc._special_sig_key: rpc._special_secret_sig, "value": "hunter2"}
    found = marked({"a": rpc.UNKNOWN, "b": [secret], "__provider": "x", "c": 1.0})
    assert found == {"a": UNKNOWN, "b": [SECRET], "c": 1.0}
    assert "hunter2" not in repr(found)
