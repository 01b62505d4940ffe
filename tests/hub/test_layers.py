"""Which deployments apply, and what they are together."""

from __future__ import annotations

from typing import Any

import pytest

from localazure.hub.errors import HubError
from localazure.hub.layers import Deployment, chosen, deployment_content, is_layered, merged
from tests.hub.manifest import manifest

LAYER: dict[str, Any] = {"$edgeAgent": {"properties.desired.modules.extra": {"settings": {"image": "x"}}}}


def deployment(name: str, priority: int, created: str = "1", modules: dict[str, Any] | None = None) -> Deployment:
    return Deployment(name, priority, created, modules or manifest("one"), lambda document: True)


def names(*targeting: Deployment) -> list[str]:
    return [one.id for one in chosen(targeting)]


def test_highest_priority_then_newest() -> None:
    assert names(deployment("low", 1, "9"), deployment("high", 5, "1"), deployment("mid", 3, "5")) == ["high"]
    assert names(deployment("old", 5, "1"), deployment("new", 5, "2")) == ["new"]
    assert names() == []


def test_layers_need_a_base_below_them() -> None:
    base = deployment("base", 5)
    layers = [deployment(f"layer{priority}", priority, modules=LAYER) for priority in (9, 5, 4, 7)]
    assert names(*layers) == []
    assert names(base, *layers) == ["base", "layer7", "layer9"]
    newer = deployment("newer", 7, "2", LAYER)
    assert names(newer, base, *layers) == ["base", "layer7", "newer", "layer9"]


def test_layers_are_laid_over_the_base() -> None:
    base_modules = {**manifest("one"), "one": {"properties.desired": {"SendData": True, "SendInterval": 5}}}
    base = deployment("base", 0, modules=base_modules)
    low = deployment(
        "low",
        1,
        modules={
            **LAYER,
            "$edgeHub": {"properties.desired.routes.up": "FROM /* INTO $upstream"},
            "one": {"properties.desired.layeredProperties": {"StopAfterCount": 1000}},
            "two": {"properties.desired": {"a": 1, "b": 2}, "properties.desired.b.c": 3},
        },
    )
    high = deployment(
        "high", 2, modules={"$edgeAgent": {"properties.desired.modules.extra": {"settings": {"image": "y"}}}}
    )
    content = merged(chosen([high, low, base]))["modulesContent"]
    agent = content["$edgeAgent"]["properties.desired"]
    assert set(agent["modules"]) == {"one", "extra"}
    assert agent["modules"]["extra"] == {"settings": {"image": "y"}}
    assert content["$edgeHub"]["properties.desired"]["routes"] == {"up": "FROM /* INTO $upstream"}
    # the example of learn.microsoft.com/azure/iot-edge/module-deployment-monitoring ("Module twin configuration")
    assert content["one"]["properties.desired"] == {
        "SendData": True,
        "SendInterval": 5,
        "layeredProperties": {"StopAfterCount": 1000},
    }
    assert content["two"]["properties.desired"] == {"a": 1, "b": {"c": 3}}
    assert base_modules == {**manifest("one"), "one": {"properties.desired": {"SendData": True, "SendInterval": 5}}}
    whole = deployment("whole", 3, modules={**LAYER, "one": {"properties.desired": {"new": 1}}})
    assert merged([base, low, whole])["modulesContent"]["one"] == {"properties.desired": {"new": 1}}


@pytest.mark.parametrize(
    "modules",
    [
        {},
        {"$edgeAgent": {}},
        {"m": {"properties.desired.x": 1}},
        {**LAYER, "m": {}},
        {**LAYER, "m": {"desired.x": 1}},
        {**LAYER, "m": {"properties.desired.": 1}},
        {**LAYER, "m": {"properties.desired..x": 1}},
        {**LAYER, "m": {"properties.desired": 1}},
        {**LAYER, "$edgeHub": {"properties.desired": {}}},
        {**LAYER, "no/name": {"properties.desired.x": 1}},
        manifest(*(f"m{number}" for number in range(51))),
    ],
)
def test_what_is_no_deployment(modules: dict[str, Any]) -> None:
    with pytest.raises(HubError, match="InvalidConfigurationContent"):
        deployment_content({"modulesContent": modules})


def test_what_is_layered() -> None:
    assert is_layered(deployment_content({"modulesContent": LAYER}))
    assert not is_layered(deployment_content({"modulesContent": manifest("one")}))
