"""One broken manifest for each constraint of the schemas that `test_validate`'s table does not break: (versions, where, value)."""

from __future__ import annotations

from typing import Any

from tests.edge.test_validate import Draft

Place = tuple[str | int, ...]
Case = tuple[str, Place, Any]
"""Versions of the two schemas ("1.0", "1.1", "1.2" of edgeHub); the path from the twin's desired properties; what is written there."""

_AGENT, _HUB = "$edgeAgent", "$edgeHub"
_RUNTIME = (_AGENT, "runtime")
_SETTINGS = (*_RUNTIME, "settings")
_LOGINS = (*_SETTINGS, "registryCredentials")
_KEEP = (_HUB, "storeAndForwardConfiguration")
_BROKER = (_HUB, "mqttBroker")
_BRIDGE = {"endpoint": "$upstream"}
_TO = "FROM /* INTO $upstream"


def document(case: Case) -> dict[str, Any]:
    """The manifest of a case."""
    version, place, value = case
    draft = Draft()
    if version == "1.0":
        draft.old_schemas()
    elif version == "1.2":
        draft.hub["schemaVersion"] = version
    twin, *steps = place
    holder: Any = draft.content[str(twin)]["properties.desired"]
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    return draft.document


CASES: list[Case] = [
    ("1.1", (_AGENT, "modules", "scorer", "env"), []),
    ("1.1", (_AGENT, "modules", "scorer"), []),
    ("1.1", _RUNTIME, []),
    ("1.1", _RUNTIME, {"type": "docker"}),
    ("1.1", _SETTINGS, []),
    ("1.1", (*_SETTINGS, "minDockerVersion"), 1.25),
    ("1.1", (*_SETTINGS, "loggingOptions"), {}),
    ("1.1", (*_SETTINGS, "other"), {}),
    ("1.1", (*_RUNTIME, "other"), {}),
    ("1.1", _LOGINS, []),
    ("1.1", (*_LOGINS, "reg", "address"), 5),
    ("1.1", (*_LOGINS, "reg", "other"), "x"),
    ("1.1", (_AGENT, "systemModules", "edgeAgent"), []),
    ("1.1", (_AGENT, "systemModules", "edgeAgent"), {"type": "docker"}),
    ("1.1", (_AGENT, "systemModules"), []),
    ("1.0", (_AGENT, "systemModules"), []),
    ("1.1", (_HUB, "routes", "r"), {"route": 5}),
    ("1.1", (_HUB, "routes", "r"), {"route": _TO, "priority": "1"}),
    ("1.1", (_HUB, "routes", "r"), {"route": _TO, "priority": -1}),
    ("1.0", (_HUB, "routes"), []),
    ("1.1", (_HUB, "routes"), []),
    ("1.2", (_HUB, "routes"), []),
    ("1.1", _KEEP, []),
    ("1.1", _KEEP, {"timeToLiveSecs": -2147483649}),
    ("1.1", _KEEP, {"timeToLiveSecs": 2147483648}),
    ("1.1", _KEEP, {"timeToLiveSecs": 1, "other": 1}),
    ("1.2", (_HUB, "other"), {}),
    ("1.2", _BROKER, []),
    ("1.2", _BROKER, {"other": []}),
    ("1.2", _BROKER, {"bridges": {}}),
    ("1.2", _BROKER, {"bridges": [5]}),
    ("1.2", _BROKER, {"bridges": [{"endpoint": "elsewhere"}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "other": 1}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": {}}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": [5]}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": [{"direction": "up"}]}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": [{"topic": 5}]}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": [{"inPrefix": 5}]}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": [{"outPrefix": 5}]}]}),
    ("1.2", _BROKER, {"bridges": [{**_BRIDGE, "settings": [{"other": 5}]}]}),
    ("1.2", _BROKER, {"authorizations": {}}),
    ("1.2", _BROKER, {"authorizations": [5]}),
    ("1.2", _BROKER, {"authorizations": [{"identities": "x"}]}),
    ("1.2", _BROKER, {"authorizations": [{"identities": [5]}]}),
    ("1.2", _BROKER, {"authorizations": [{"identities": [""]}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [{"resources": [""]}]}]}),
    ("1.2", _BROKER, {"authorizations": [{"other": 5}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": {}}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [5]}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [{"operations": "x"}]}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [{"operations": ["mqtt:x"]}]}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [{"resources": "x"}]}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [{"resources": [5]}]}]}),
    ("1.2", _BROKER, {"authorizations": [{"allow": [{"other": 5}]}]}),
]
