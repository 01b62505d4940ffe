"""Modules beside ours, twins, a manifest of one's own, logins of other registries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.edge import manifest
from components.edge.validate import validate
from components.settings import Settings, SettingsError, load

Load = Callable[..., Settings]
Refused = Callable[..., str]
IMAGE = f"contoso.azurecr.io/anomaly@sha256:{'a' * 64}"
LOGIN = {"address": "partner.azurecr.io", "username": "puller", "password": "partner-password"}
OTHER = {"image": "mcr.microsoft.com/azureiotedge-diagnostics:1.6", "env": {"A": 1}, "desired": {"interval": 5}}


def rendered(settings: Settings) -> dict[str, Any]:
    made = manifest.render({**settings.deployment.for_manifest(), "image": IMAGE}, {"x": LOGIN})  # type: ignore
    assert validate(made) == []
    return dict(made["modulesContent"])


def agent(content: dict[str, Any]) -> dict[str, Any]:
    return dict(content["$edgeAgent"]["properties.desired"])


def test_modules_beside_ours(load_with: Load) -> None:
    options = {"HostConfig": {"Privileged": False}}
    other = {**OTHER, "createOptions": options, "startupOrder": 3, "restartPolicy": "on-failure"}
    made = rendered(load_with(deployment={"modules": {"probe-1": other}, "desired": {"threshold": 1.5}}))
    found = agent(made)["modules"]
    assert set(found) == {"scorer", "probe-1"}
    assert (found["probe-1"]["startupOrder"], found["probe-1"]["restartPolicy"]) == (3, "on-failure")
    assert json.loads(found["probe-1"]["settings"]["createOptions"]) == options, "nothing of ours is added"
    assert made["scorer"] == {"properties.desired": {"threshold": 1.5}}
    assert made["probe-1"] == {"properties.desired": {"interval": 5}}


def test_without_them_a_deployment_is_what_older_versions_made(load_with: Load) -> None:
    settings = load_with().deployment.for_manifest()
    assert {"modules", "desired", "manifest", "addModule"}.isdisjoint(settings)
    assert set(rendered(load_with())) == {"$edgeAgent", "$edgeHub"}, "the modules' twins are left alone"


@pytest.mark.parametrize(
    ("key", "deployment", "said"),
    [
        ("modules.xy.image", {"modules": {"xy": {}}}, "must be set"),
        ("modules.xy.image", {"modules": {"xy": {"image": "No Image"}}}, "is not an image reference"),
        ("modules.xy.imag", {"modules": {"xy": {**OTHER, "imag": 1}}}, "did you mean 'image'?"),
        ("modules.xy.env.A", {"modules": {"xy": {**OTHER, "env": {"A": "x" * 5000}}}}, "value-size"),
        ('modules.xy.desired["a.b"]', {"modules": {"xy": {**OTHER, "desired": {"a.b": 1}}}}, "key-characters"),
        ("modules._x", {"modules": {"_x": OTHER}}, "module-name"),
        ("desired.v", {"desired": {"v": "x" * 5000}}, "value-size"),
        ("", {"modules": {"scorer": OTHER}}, "one of the other modules too"),
        ("modules", {"modules": {f"m{number}": {"image": "a/b:1"} for number in range(50)}}, "has 51 modules"),
        ("routes.r", {"routes": {"r": "FROM /messages/modules/probe/* INTO $upstream"}}, "route-module"),
        ("addModule", {"addModule": False}, "is for a manifest of your own"),
    ],
)
def test_what_is_refused(problem: Refused, key: str, deployment: dict[str, Any], said: str) -> None:
    place = "deployment" if key == "modules" else f"deployment.{key}".rstrip(".")
    assert said in problem(place, deployment=deployment)


class TestOwnManifest:
    @pytest.fixture
    def file(self, root: Path) -> Callable[[Any], dict[str, Any]]:
        def write(document: Any, **deployment: Any) -> dict[str, Any]:
            (root / "manifest.json").write_text(document if isinstance(document, str) else json.dumps(document))
            return {"manifest": "manifest.json", **deployment}

        return write

    @staticmethod
    def document(**more: Any) -> dict[str, Any]:
        made = manifest.render({"module": "collector", "image": IMAGE, **more}, {})  # type: ignore[typeddict-item]
        return dict(made["modulesContent"])

    @pytest.mark.parametrize(
        "form", [lambda d: d, lambda d: {"modulesContent": d}, lambda d: {"content": {"modulesContent": d}}]
    )
    def test_ours_joins_it(self, load_with: Load, file: Any, form: Any) -> None:
        routes = {"up": "FROM /messages/modules/collector/* INTO $upstream"}
        made = rendered(
            load_with(deployment=file(form(self.document(routes=routes)), env={"A": "b"}, desired={"t": 1}))
        )
        assert set(agent(made)["modules"]) == {"collector", "scorer"}
        assert agent(made)["modules"]["scorer"]["env"] == {"A": {"value": "b"}}
        assert set(made["$edgeHub"]["properties.desired"]["routes"]) == {"up", "amlInput", "amlOutput"}
        assert agent(made)["runtime"]["settings"]["registryCredentials"] == {"x": LOGIN}
        assert made["scorer"] == {"properties.desired": {"t": 1}}

    def test_its_own_routes_of_our_module_are_kept_alone(self, load_with: Load, file: Any) -> None:
        document = self.document()
        routes = {"mine": 'FROM /messages/modules/collector/* INTO BrokeredEndpoint("/modules/scorer/inputs/amlInput")'}
        document["$edgeHub"]["properties.desired"]["routes"] = routes
        assert set(rendered(load_with(deployment=file(document)))["$edgeHub"]["properties.desired"]["routes"]) == {
            "mine"
        }
        named = {"out": "FROM /messages/modules/scorer/outputs/* INTO $upstream"}
        made = rendered(load_with(deployment=file(document, routes=named)))
        assert set(made["$edgeHub"]["properties.desired"]["routes"]) == {"mine", "out"}
        with pytest.raises(SettingsError, match="route-module"):
            load_with(deployment=file(document, addModule=False))

    def test_as_it_is(self, load_with: Load, file: Any) -> None:
        document = self.document()
        made = rendered(load_with(deployment=file(document, addModule=False)))
        assert set(agent(made)["modules"]) == {"collector"}
        bare = manifest.without_credentials({"modulesContent": made})["modulesContent"]
        assert bare == document

    @pytest.mark.parametrize(
        ("key", "document", "more", "said"),
        [
            ("manifest", None, {}, "there is no file"),
            ("manifest", "{", {}, "cannot be read as JSON"),
            ("manifest", "[]", {}, "manifest.json $: must be an object"),
            ("manifest", {"modulesContent": {"$edgeAgent": {"properties.desired.modules.x": {}}}}, {}, "schema:required"),
            ("manifest", {"$edgeHub": {"properties.desired.routes.r": "FROM /* INTO $upstream"}}, {}, "layered"),
            ("timeToLiveSecs", "ours", {"timeToLiveSecs": 5}, "is said by manifest.json"),
            ("modules", "ours", {"modules": {"x": OTHER}}, "is said by manifest.json"),
            ("", "ours", {"module": "collector"}, "the manifest has one of that name"),
            ("", "routes", {"routes": {"amlOutput": "FROM /* INTO $upstream"}}, "routes of these names"),
        ],
    )  # fmt: skip
    def test_what_is_refused(
        self, load_with: Load, file: Any, key: str, document: Any, more: dict[str, Any], said: str
    ) -> None:
        documents = {"ours": self.document(), "routes": self.document()}
        given = documents.get(document, document) if isinstance(document, str) else document
        settings = {"manifest": "nowhere.json"} if given is None else file(given, **more)
        with pytest.raises(SettingsError) as caught:
            load_with(deployment=settings)
        assert {found.key for found in caught.value.problems} == {f"aml-edge:deployment.{key}".rstrip(".")}
        assert said in str(caught.value)

    def test_a_password_in_it(self, load_with: Load, file: Any) -> None:
        document = self.document()
        document["$edgeAgent"]["properties.desired"]["runtime"]["settings"]["registryCredentials"] = {"x": LOGIN}
        with pytest.raises(SettingsError, match="belong into no file") as caught:
            load_with(deployment=file(document))
        assert LOGIN["password"] not in str(caught.value)


def test_logins_of_other_registries(load_with: Load) -> None:
    (login,) = load_with(registryLogins=[LOGIN]).registry_logins
    assert (login.address, login.username, login.password.get_secret_value()) == tuple(LOGIN.values())
    assert "partner-password" not in repr(login)


@pytest.mark.parametrize(
    ("key", "logins", "said"),
    [
        ("registryLogins[0].address", [{**LOGIN, "address": "https://x/y"}], "is not the host of a registry"),
        ("registryLogins[0].password", [{"address": "a.io", "username": "u"}], "must be set"),
        ("registryLogins[0].pasword", [{**LOGIN, "pasword": "canary-password"}], "did you mean 'password'?"),
        ("registryLogins[0].password", [{**LOGIN, "password": 5}], "must be text"),
        ("registryLogins[0].password", [{**LOGIN, "password": ""}], "not empty"),
        ("registryLogins[0].username", [{**LOGIN, "username": ""}], "must not be empty"),
        ("registryLogins", [LOGIN, {**LOGIN, "username": "other"}], "are one to a device"),
        ("registryLogins", LOGIN, "must be a list"),
    ],
)
def test_logins_that_are_refused(problem: Refused, key: str, logins: Any, said: str) -> None:
    text = problem(key, registryLogins=logins)
    assert said in text
    assert "canary-password" not in text
    assert "partner-password" not in text


@pytest.mark.parametrize("secrets", [{"aml-edge:registryLogins"}, set(), None])
def test_a_password_in_plain_text_is_refused(root: Path, secrets: set[str] | None) -> None:
    values = {"model": {"path": "scoring/model.pkl"}, "registryLogins": [LOGIN]}
    if secrets != set():
        assert load(values, root=root, secrets=secrets).registry_logins
        return
    with pytest.raises(SettingsError, match=r"plain text\n.*--path --secret 'aml-edge:registryLogins\[0\]\.password'"):
        load(values, root=root, secrets=secrets)
    assert load({"model": values["model"]}, root=root, secrets=secrets).registry_logins == []
