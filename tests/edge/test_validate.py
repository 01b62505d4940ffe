"""Every rule has a manifest that keeps it and one that breaks it, and a broken one names its place and nothing secret."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from components.edge import manifest, schemas
from components.edge.validate import validate

IMAGE = "reg.azurecr.io/anomaly@sha256:" + "0" * 64
A = "$.modulesContent['$edgeAgent']['properties.desired']"
H = "$.modulesContent['$edgeHub']['properties.desired']"
SECRET = "hunter2"


class Draft:
    """A valid manifest to spoil: `agent`, `hub`, `module` and `login` are the places where tests write."""

    def __init__(self) -> None:
        login: manifest.Credential = {"address": "reg.azurecr.io", "username": "reg", "password": SECRET}
        self.document = manifest.render({"module": "scorer", "image": IMAGE, "env": {"A": SECRET}}, {"reg": login})
        self.content = self.document["modulesContent"]
        self.agent = self.content["$edgeAgent"]["properties.desired"]
        self.hub = self.content["$edgeHub"]["properties.desired"]
        self.module = self.agent["modules"]["scorer"]
        self.login = self.agent["runtime"]["settings"]["registryCredentials"]["reg"]

    def add_modules(self, count: int) -> None:
        for number in range(count):
            self.agent["modules"][f"m{number:03d}"] = copy.deepcopy(self.module) | {"env": {}}
            self.agent["modules"][f"m{number:03d}"]["settings"] = {"image": "x/y:1", "createOptions": ""}

    def old_schemas(self) -> None:
        self.agent["schemaVersion"] = self.hub["schemaVersion"] = "1.0"
        del self.agent["systemModules"]["edgeHub"]["startupOrder"]


Spoil = Callable[[Draft], Any]


def put(holder: str, key: str, value: Any) -> Spoil:
    return lambda draft: getattr(draft, holder).__setitem__(key, value)


def without(holder: str, key: str) -> Spoil:
    return lambda draft: getattr(draft, holder).pop(key)


def also(*steps: Spoil) -> Spoil:
    return lambda draft: [step(draft) for step in steps]


def route(value: Any, name: str = "r") -> Spoil:
    return lambda draft: draft.hub["routes"].__setitem__(name, value)


def setting(key: str, value: Any) -> Spoil:
    return lambda draft: draft.module["settings"].__setitem__(key, value)


GOOD: dict[str, Spoil] = {
    "as rendered": lambda draft: None,
    "old schemas": Draft.old_schemas,
    "hub 1.2": put("hub", "schemaVersion", "1.2"),
    "mqtt broker": also(
        put("hub", "schemaVersion", "1.2"), put("hub", "mqttBroker", {"bridges": [{"endpoint": "$upstream"}]})
    ),
    "startup order": put("module", "startupOrder", 4294967295),
    "version": put("module", "version", "1.0"),
    "stopped": put("module", "status", "stopped"),
    "on-unhealthy": put("module", "restartPolicy", "on-unhealthy"),
    "never pull": put("module", "imagePullPolicy", "never"),
    "env number": put("module", "env", {"A-b_1": {"value": 1.5}, "B": {"value": False}}),
    "nested edge image": setting("image", "$upstream:8000/anomaly:1.0"),
    "plain image": setting("image", "anomaly"),
    "empty options": setting("createOptions", ""),
    "chunks": also(setting("createOptions", '{"Env":'), setting("createOptions01", '["A=1"]}')),
    "chunk of 512": setting("createOptions", '{"a":"' + "x" * 504 + '"}'),
    "other case": also(
        lambda draft: draft.module["settings"].clear(), setting("image", "x"), setting("CreateOptions", "{}")
    ),
    "50 modules": lambda draft: draft.add_modules(49),
    "route object": route({"route": "FROM /* INTO $upstream", "priority": 0, "timeToLiveSecs": 4294967295}),
    "route priority 9": route({"route": "FROM /* INTO $upstream", "priority": 9}),
    "route of a module": route("FROM /messages/modules/scorer/outputs/amlError INTO $upstream"),
    "keep for ever": put("hub", "storeAndForwardConfiguration", {"timeToLiveSecs": -1}),
    "no store and forward": without("hub", "storeAndForwardConfiguration"),
    "module twin": lambda draft: draft.content.__setitem__(
        "scorer", {"properties.desired": {"limit": 5, "on": [True, None]}}
    ),
    "value of 4096": lambda draft: draft.content.__setitem__("scorer", {"properties.desired": {"v": "é" * 2048}}),
    "10 levels": lambda draft: draft.content.__setitem__("scorer", {"properties.desired": nested(10)}),
    "biggest integer": lambda draft: draft.content.__setitem__(
        "scorer", {"properties.desired": {"v": 4503599627370495}}
    ),
    "no credentials": lambda draft: draft.agent["runtime"]["settings"].pop("registryCredentials"),
}


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"k": value}
    return value


# name -> (how to spoil, path, rule)
BAD: dict[str, tuple[Spoil, str, str]] = {
    "agent missing": (without("content", "$edgeAgent"), "$.modulesContent", "required"),
    "hub missing": (without("content", "$edgeHub"), "$.modulesContent", "required"),
    "agent schema version": (put("agent", "schemaVersion", "1.2"), f"{A}.schemaVersion", "schema-version"),
    "hub schema version": (put("hub", "schemaVersion", 1.1), f"{H}.schemaVersion", "schema-version"),
    "agent schema version missing": (without("agent", "schemaVersion"), f"{A}.schemaVersion", "schema-version"),
    "runtime missing": (without("agent", "runtime"), A, "schema:required"),
    "system modules missing": (without("agent", "systemModules"), A, "schema:required"),
    "modules missing": (without("agent", "modules"), A, "schema:required"),
    "modules a list": (put("agent", "modules", []), f"{A}.modules", "schema:type"),
    "unknown agent key": (put("agent", "module", {}), A, "schema:additionalProperties"),
    "edgeHub missing": (lambda d: d.agent["systemModules"].pop("edgeHub"), f"{A}.systemModules", "schema:required"),
    "third system module": (
        lambda d: d.agent["systemModules"].__setitem__("edgeProxy", {}),
        f"{A}.systemModules",
        "schema:additionalProperties",
    ),
    "edgeAgent with status": (
        lambda d: d.agent["systemModules"]["edgeAgent"].__setitem__("status", "running"),
        f"{A}.systemModules.edgeAgent",
        "schema:additionalProperties",
    ),
    "edgeHub image": (
        lambda d: d.agent["systemModules"]["edgeHub"]["settings"].__setitem__("image", "No Such"),
        f"{A}.systemModules.edgeHub.settings.image",
        "image",
    ),
    "type": (put("module", "type", "podman"), f"{A}.modules.scorer.type", "schema:const"),
    "type missing": (without("module", "type"), f"{A}.modules.scorer", "schema:required"),
    "status missing": (without("module", "status"), f"{A}.modules.scorer", "schema:required"),
    "status": (put("module", "status", "paused"), f"{A}.modules.scorer.status", "schema:enum"),
    "restart policy missing": (without("module", "restartPolicy"), f"{A}.modules.scorer", "schema:required"),
    "restart policy": (
        put("module", "restartPolicy", "unless-stopped"),
        f"{A}.modules.scorer.restartPolicy",
        "schema:enum",
    ),
    "pull policy": (put("module", "imagePullPolicy", "always"), f"{A}.modules.scorer.imagePullPolicy", "schema:enum"),
    "settings missing": (without("module", "settings"), f"{A}.modules.scorer", "schema:required"),
    "settings text": (put("module", "settings", "x"), f"{A}.modules.scorer.settings", "schema:type"),
    "unknown module key": (put("module", "restart", 1), f"{A}.modules.scorer", "schema:unevaluatedProperties"),
    "startup order below": (put("module", "startupOrder", -1), f"{A}.modules.scorer.startupOrder", "schema:minimum"),
    "startup order above": (
        put("module", "startupOrder", 4294967296),
        f"{A}.modules.scorer.startupOrder",
        "schema:maximum",
    ),
    "startup order no integer": (
        put("module", "startupOrder", True),
        f"{A}.modules.scorer.startupOrder",
        "schema:type",
    ),
    "startup order in 1.0": (
        also(Draft.old_schemas, put("module", "startupOrder", 1)),
        f"{A}.modules.scorer",
        "schema:unevaluatedProperties",
    ),
    "version no text": (put("module", "version", 1.0), f"{A}.modules.scorer.version", "schema:type"),
    "env not wrapped": (put("module", "env", {"A": SECRET}), f"{A}.modules.scorer.env.A", "schema:type"),
    "env without value": (put("module", "env", {"A": {}}), f"{A}.modules.scorer.env.A", "schema:required"),
    "env list": (put("module", "env", {"A": {"value": [SECRET]}}), f"{A}.modules.scorer.env.A.value", "schema:type"),
    "env extra": (
        put("module", "env", {"A": {"value": 1, "valu": SECRET}}),
        f"{A}.modules.scorer.env.A",
        "schema:additionalProperties",
    ),
    "env name": (put("module", "env", {"A+B": {"value": 1}}), f"{A}.modules.scorer.env", "schema:pattern"),
    "image missing": (lambda d: d.module["settings"].pop("image"), f"{A}.modules.scorer.settings", "schema:required"),
    "image blank": (setting("image", " "), f"{A}.modules.scorer.settings.image", "schema:pattern"),
    "image no reference": (setting("image", "Reg/Anomaly:1"), f"{A}.modules.scorer.settings.image", "image"),
    "image placeholder": (setting("image", "${MODULES.scorer}"), f"{A}.modules.scorer.settings.image", "image"),
    "unknown setting": (setting("ports", []), f"{A}.modules.scorer.settings", "schema:additionalProperties"),
    "options object": (setting("createOptions", {}), f"{A}.modules.scorer.settings.createOptions", "schema:type"),
    "options no JSON": (
        setting("createOptions", "{'a':1}"),
        f"{A}.modules.scorer.settings.createOptions",
        "createOptions",
    ),
    "options a list": (setting("createOptions", "[]"), f"{A}.modules.scorer.settings.createOptions", "createOptions"),
    "options gap": (
        also(setting("createOptions", "{"), setting("createOptions02", "}")),
        f"{A}.modules.scorer.settings.createOptions",
        "createOptions",
    ),
    "chunk of 513": (
        setting("createOptions", '{"a":"' + "x" * 505 + '"}'),
        f"{A}.modules.scorer.settings.createOptions",
        "createOptions-chunk",
    ),
    "module name": (lambda d: d.agent["modules"].update({"a/b": d.module}), f"{A}.modules['a/b']", "module-name"),
    "module edgeHub": (
        lambda d: d.agent["modules"].update({"edgeHub": d.module}),
        f"{A}.modules.edgeHub",
        "module-name",
    ),
    "51 modules": (lambda d: d.add_modules(50), f"{A}.modules", "module-count"),
    "credential id": (
        lambda d: d.agent["runtime"]["settings"]["registryCredentials"].update({"a.b": d.login}),
        f"{A}.runtime.settings.registryCredentials",
        "schema:pattern",
    ),
    "credential without password": (
        without("login", "password"),
        f"{A}.runtime.settings.registryCredentials.reg",
        "schema:required",
    ),
    "credential blank user": (
        put("login", "username", ""),
        f"{A}.runtime.settings.registryCredentials.reg.username",
        "schema:pattern",
    ),
    "credential address": (
        put("login", "address", "a b"),
        f"{A}.runtime.settings.registryCredentials.reg.address",
        "schema:pattern",
    ),
    "credential wrong type": (
        put("login", "password", [SECRET]),
        f"{A}.runtime.settings.registryCredentials.reg.password",
        "schema:type",
    ),
    "credential a text": (
        lambda d: d.agent["runtime"]["settings"]["registryCredentials"].update({"x": SECRET}),
        f"{A}.runtime.settings.registryCredentials.x",
        "schema:type",
    ),
    "routes missing": (without("hub", "routes"), H, "schema:required"),
    "route type": (route(5), f"{H}.routes.r", "schema:type"),
    "route object in 1.0": (
        also(Draft.old_schemas, route({"route": "FROM /* INTO $upstream"})),
        f"{H}.routes.r",
        "schema:type",
    ),
    "route name": (route("FROM /* INTO $upstream", "a b"), f"{H}.routes", "schema:pattern"),
    "route without text": (route({"priority": 1}), f"{H}.routes.r", "schema:required"),
    "route priority": (
        route({"route": "FROM /* INTO $upstream", "priority": 10}),
        f"{H}.routes.r.priority",
        "schema:maximum",
    ),
    "route ttl": (
        route({"route": "FROM /* INTO $upstream", "timeToLiveSecs": 4294967296}),
        f"{H}.routes.r.timeToLiveSecs",
        "schema:maximum",
    ),
    "route unknown key": (
        route({"route": "FROM /* INTO $upstream", "ttl": 1}),
        f"{H}.routes.r",
        "schema:additionalProperties",
    ),
    "route syntax": (route("FROM /messages/* TO $upstream"), f"{H}.routes.r", "route"),
    "route object syntax": (route({"route": "FROM /x INTO $upstream"}), f"{H}.routes.r.route", "route"),
    "route sink module": (
        route('FROM /messages/* INTO BrokeredEndpoint("/modules/scorr/inputs/in")'),
        f"{H}.routes.r",
        "route-module",
    ),
    "route source module": (route("FROM /messages/modules/nobody/* INTO $upstream"), f"{H}.routes.r", "route-module"),
    "ttl missing": (
        put("hub", "storeAndForwardConfiguration", {}),
        f"{H}.storeAndForwardConfiguration",
        "schema:required",
    ),
    "ttl text": (
        put("hub", "storeAndForwardConfiguration", {"timeToLiveSecs": "5"}),
        f"{H}.storeAndForwardConfiguration.timeToLiveSecs",
        "schema:type",
    ),
    "broker in 1.1": (put("hub", "mqttBroker", {}), H, "schema:additionalProperties"),
    "twin of no module": (
        lambda d: d.content.update({"scorr": {"properties.desired": {}}}),
        "$.modulesContent.scorr",
        "unknown-module",
    ),
    "twin no object": (lambda d: d.content.update({"scorer": []}), "$.modulesContent.scorer", "shape"),
    "twin wrong key": (
        lambda d: d.content.update({"scorer": {"properties": {}}}),
        "$.modulesContent.scorer.properties",
        "shape",
    ),
    "value of 4097": (
        lambda d: d.content.update({"scorer": {"properties.desired": {"v": "é" * 2048 + "x"}}}),
        "$.modulesContent.scorer['properties.desired'].v",
        "value-size",
    ),
    "twin of 32 KB": (
        lambda d: d.content.update({"scorer": {"properties.desired": {f"k{n}": "x" * 4096 for n in range(8)}}}),
        "$.modulesContent.scorer['properties.desired']",
        "twin-size",
    ),
    "11 levels": (
        lambda d: d.content.update({"scorer": {"properties.desired": nested(11)}}),
        "$.modulesContent.scorer['properties.desired']",
        "twin-depth",
    ),
    "key characters": (
        lambda d: d.content.update({"scorer": {"properties.desired": {"a": [{"b.c": 1}]}}}),
        "$.modulesContent.scorer['properties.desired'].a[0]['b.c']",
        "key-characters",
    ),
    "key size": (
        lambda d: d.content.update({"scorer": {"properties.desired": {"k" * 1025: 1}}}),
        "$.modulesContent.scorer['properties.desired']." + "k" * 1025,
        "key-size",
    ),
    "big integer": (
        lambda d: d.content.update({"scorer": {"properties.desired": {"v": 4503599627370496}}}),
        "$.modulesContent.scorer['properties.desired'].v",
        "integer-range",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_manifest_that_keeps_the_rules(name: str) -> None:
    draft = Draft()
    GOOD[name](draft)
    assert [str(violation) for violation in validate(draft.document)] == []


@pytest.mark.parametrize("name", BAD)
def test_a_manifest_that_breaks_one(name: str) -> None:
    spoil, path, rule = BAD[name]
    draft = Draft()
    spoil(draft)
    found = validate(draft.document)
    assert (path, rule) in [(violation.path, violation.rule) for violation in found]
    assert SECRET not in " ".join(map(str, found))


def test_everything_is_reported_at_once_and_once() -> None:
    draft = Draft()
    for name in (
        "status",
        "options no JSON",
        "route syntax",
        "credential blank user",
        "big integer",
        "startup order below",
    ):
        BAD[name][0](draft)
    found = validate(draft.document)
    assert len(found) == len(set(found)) == 6


@pytest.mark.parametrize(
    "wrap", [lambda c: c, lambda c: {"modulesContent": c}, lambda c: {"id": "x", "content": {"modulesContent": c}}]
)
def test_all_forms_of_a_document(wrap: Callable[[Any], Any]) -> None:
    draft = Draft()
    assert validate(wrap(draft.content)) == []
    draft.module["status"] = "paused"
    assert [violation.rule for violation in validate(wrap(draft.content))] == ["schema:enum"]


def test_a_module_may_be_called_content() -> None:
    draft = Draft()
    draft.agent["modules"]["content"] = draft.module
    draft.content["content"] = {"properties.desired": {"limit": 1}}
    assert validate(draft.content) == []


LAYERED: dict[str, Any] = {
    "$edgeAgent": {
        "properties.desired.modules.extra": {
            "type": "docker",
            "status": "running",
            "restartPolicy": "always",
            "startupOrder": 1,
            "settings": {"image": "x/y:1", "createOptions": "{}"},
        },
        "properties.desired.modules.scorer.env.A": {"value": "1"},
    },
    "$edgeHub": {"properties.desired.routes.up": "FROM /messages/modules/elsewhere/* INTO $upstream"},
    "extra": {"properties.desired.limits": {"low": 1}},
}


def test_a_layered_deployment_needs_no_base() -> None:
    assert validate({"content": {"modulesContent": LAYERED}}) == []


@pytest.mark.parametrize(
    ("twin", "key", "value", "rule"),
    [
        ("$edgeAgent", "properties.desired.modules.extra", {"settings": {"image": "x"}}, "schema:required"),
        (
            "$edgeAgent",
            "properties.desired.modules.a/b",
            LAYERED["$edgeAgent"]["properties.desired.modules.extra"],
            "module-name",
        ),
        ("$edgeAgent", "properties.desired.modules", {"x": {}}, "schema:required"),
        ("$edgeHub", "properties.desired.routes.up", "FROM nowhere", "route"),
        (
            "$edgeHub",
            "properties.desired.routes",
            {"up": {"route": "FROM /* INTO $upstream", "priority": 11}},
            "schema:maximum",
        ),
        ("extra", "properties.desired.limits", {"a b": 1}, "key-characters"),
    ],
)
def test_a_layered_deployment_that_breaks_a_rule(twin: str, key: str, value: Any, rule: str) -> None:
    content = copy.deepcopy(LAYERED)
    content[twin][key] = value
    assert rule in [violation.rule for violation in validate(content)]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "modulesContent",
                    "$edgeAgent",
                    "$edgeHub",
                    "properties.desired",
                    "properties.desired.modules.x",
                    "modules",
                    "routes",
                    "schemaVersion",
                    "scorer",
                    "settings",
                    "image",
                    "createOptions",
                    "createOptions01",
                    "env",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(json_values)
def test_nothing_makes_it_raise(document: Any) -> None:
    for violation in validate(document):
        assert violation.path.startswith("$")
        assert violation.message


@pytest.mark.parametrize(
    "document", [{1: 2, "$edgeAgent": {3: 4}}, {"$edgeHub": {"properties.desired": {5: (1, {6: 7})}}}, object()]
)
def test_python_values_do_not_make_it_raise(document: Any) -> None:
    assert validate(document)


def test_bottomless_documents_do_not_make_it_raise() -> None:
    assert [violation.rule for violation in validate(nested(100_000))] == ["twin-depth"]
    draft = Draft()
    draft.hub["routes"]["r"] = "FROM /* WHERE " + "(" * 50_000 + " INTO $upstream"
    assert validate(draft.document)


@pytest.mark.parametrize("name", ["common", *schemas.AGENT_VERSIONS.values(), *schemas.HUB_VERSIONS.values()])
def test_the_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(json.dumps(schemas._read(name))))
