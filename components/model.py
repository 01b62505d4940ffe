"""The registered models: the same name and content is never registered twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone, is_unknown
from components.edge.fingerprint import hash_named
from components.existing import Existing
from components.services import progress
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.errors import NotFoundError, ServiceError
from components.settings import ModelSettings, Settings


class RegisteredModelInputs(TypedDict):
    workspaceId: Input[str]
    """ARM id of the workspace."""
    name: str
    contentHash: str
    """SHA-256 of the model; what makes two registrations the same. Where `path` holds another one, the workspace must have it already."""
    path: str
    """Where the file or folder is on this machine."""
    tags: NotRequired[dict[str, str]]
    description: NotRequired[str]
    framework: NotRequired[str]
    """Azure ML cannot change it: another framework is another version."""
    frameworkVersion: NotRequired[str]
    keepVersions: NotRequired[int]
    retain: NotRequired[bool]
    owner: NotRequired[str]
    """`project/stack`: becomes a property of the versions, so that what a killed run registered is known as ours."""


KEEP_VERSIONS = 3


def model_ids(settings: Settings, existing: Existing, workspace_id: Input[str]) -> list[Input[str]]:
    """`name:version` of every model of the stack, in the order of its settings; registers those that do not exist."""
    ids: list[Input[str]] = []
    for model in settings.all_models:
        if model.name in existing.models:
            ids.append(existing.models[model.name].id)
            continue
        name = "model" if model is settings.model else f"model-{model.name}"
        ids.append(RegisteredModel(name, model_inputs(model, workspace_id)).model_id)
    return ids


def model_inputs(model: ModelSettings, workspace_id: Input[str]) -> RegisteredModelInputs:
    """From one model's settings; reads the model once to hash it."""
    lineage = {"promotedFrom": model.promoted_from} if model.promoted_from else {}
    return {
        "workspaceId": workspace_id,
        "name": model.name,
        "contentHash": model.content_hash or model_hash(model),
        "path": model.path or "",
        "tags": {**model.tags, **lineage},
        "description": model.description,
        "framework": model.framework,
        "frameworkVersion": model.framework_version,
        "keepVersions": model.keep_versions,
        "retain": model.retain,
        "owner": f"aml-edge/{pulumi.get_project()}/{pulumi.get_stack()}",
    }


def model_hash(model: ModelSettings) -> str:
    """SHA-256 of the model's file or folder with its name, which is a path below AZUREML_MODEL_DIR."""
    return hash_named(Path(model.path or ""))


class RegisteredModelProvider(Provider):
    """Outputs remember in `versions` what this stack had, the present one last: [{id, made}]; what was adopted is not `made`."""

    replaces = ("workspaceId", "name")
    ignores = ("path", "keepVersions", "owner")
    optional = ("tags", "description", "framework", "frameworkVersion", "retain")

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        checked = super().check(_olds, news)
        registered = all(_olds.get(key) == checked.inputs[key] for key in ("contentHash", "workspaceId", "name"))
        if not registered and not _at_hand(checked.inputs) and not _find(checked.inputs):
            checked.failures.append(CheckFailure("contentHash", _absent(checked.inputs)))
        return checked

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['workspaceId']}/models/{props['name']}", _outputs(props, _take(props), []))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            model = client.call(workspace_config(props["workspaceId"]), "get_model", {"model_id": props["modelId"]})
        except NotFoundError:
            return gone()
        return ReadResult(id_, {**props, "tags": model["tags"], "description": model["description"]})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        keys = ("contentHash", "framework", "frameworkVersion")
        another = any((_olds.get(key) or "") != (_news.get(key) or "") for key in keys)
        model = _take(_news) if another else _update(_news, _olds["modelId"])
        outputs = _outputs(_news, model, _versions(_olds))
        return UpdateResult({**outputs, "versions": _without_old(outputs)})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        if _props.get("retain"):
            return
        made = [entry["id"] for entry in reversed(_versions(_props)) if entry["made"]]
        try:
            kept = _delete(_props, made) if made else {}
        except NotFoundError:  # with the workspace
            return
        if kept:
            answer = "; ".join(f"{model_id}: {why}" for model_id, why in kept.items())
            advice = "Images that this stack did not make hold them. Delete those first, then run the command again."
            raise ServiceError("delete the models", ", ".join(kept), answer, advice)


def _absent(inputs: Mapping[str, Any]) -> str:
    return (
        f"the workspace has not registered the model {inputs['contentHash'][:12]}, and {inputs['path']} does not hold it. Check out "
        "the commit that the promoted image was built from, or promote again"
    )


def _at_hand(inputs: Mapping[str, Any]) -> bool:
    """Whether the file or folder on this machine is the model."""
    path = Path(inputs["path"])
    return path.exists() and hash_named(path) == inputs["contentHash"]


def _find(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest version of the name with this content in the workspace."""
    if is_unknown(inputs["workspaceId"]):
        return None
    arguments = {"model_name": inputs["name"], "content_hash": inputs["contentHash"]}
    found: dict[str, Any] | None = client.call(workspace_config(inputs["workspaceId"]), "find_content", arguments)
    return found


def _take(props: dict[str, Any]) -> dict[str, Any]:
    """Register the model, or take the version that has its content."""
    if _at_hand(props):
        return _register(props)
    found = _find(props)
    if not found:
        raise ServiceError("register the model", props["name"], _absent(props))
    return _update(props, found["id"])


def _update(props: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Tags and description."""
    arguments = {
        "model_id": model_id,
        "tags": props.get("tags") or {},
        "description": props.get("description") or "",
    }
    updated: dict[str, Any] = client.call(workspace_config(props["workspaceId"]), "update_model", arguments)
    return updated


def _register(props: dict[str, Any]) -> dict[str, Any]:
    source = Path(props["path"])
    registered: dict[str, Any] = client.call(
        workspace_config(props["workspaceId"]),
        "register_model",
        {
            "model_path": source.name,
            "model_name": props["name"],
            "content_hash": props["contentHash"],
            "tags": props.get("tags") or {},
            "description": props.get("description") or "",
            "framework": props.get("framework") or "",
            "framework_version": props.get("frameworkVersion") or "",
            "owner": props.get("owner") or "",
        },
        files={source.name: source},
        progress=lambda line: progress.say(f"model {props['name']}", line),
    )
    return registered


def _versions(props: dict[str, Any]) -> list[dict[str, Any]]:
    """Older states remember the present version only, and deleted it whoever had made it."""
    return props.get("versions") or [{"id": props["modelId"], "made": True}]


def _outputs(props: dict[str, Any], model: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    known = {entry["id"]: entry["made"] for entry in before}
    known |= dict.fromkeys(model.get("owned", []), True)
    known[model["id"]] = known.pop(model["id"], False) or model.get("made", False)
    versions = [{"id": model_id, "made": made} for model_id, made in known.items()]
    return {**props, "modelId": model["id"], "version": int(model["version"]), "versions": versions}


def _without_old(props: dict[str, Any]) -> list[dict[str, Any]]:
    """`versions` after those beyond `keepVersions` were deleted, but for what an image still uses.

    Tidying up: what cannot be done is said and left for the next time, it fails no update.
    """
    versions, number = props["versions"], props.get("keepVersions") or KEEP_VERSIONS
    old = [entry for entry in versions[:-number] if entry["made"]]
    if not old:
        return list(versions[-number:])
    try:
        kept = _delete(props, [entry["id"] for entry in old])
    except ServiceError as error:
        kept = {entry["id"]: str(error) for entry in old}
    for entry in old:
        why = kept.get(entry["id"])
        done = f"kept the old {entry['id']}: {why}" if why else f"deleted the old {entry['id']}"
        progress.say(f"model {props['name']}", done)
    return [*(entry for entry in old if entry["id"] in kept), *versions[-number:]]


def _delete(props: dict[str, Any], ids: list[str]) -> dict[str, str]:
    """What Azure ML did not let go: id -> why."""
    kept: dict[str, str] = client.call(workspace_config(props["workspaceId"]), "delete_models", {"model_ids": ids})
    return kept


class RegisteredModel(DynamicResource, module="edge", name="RegisteredModel"):
    """A model in the workspace. Changed content makes a new version, changed tags or description do not."""

    computed = ("modelId", "version", "versions")

    def __init__(self, name: str, inputs: RegisteredModelInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(RegisteredModelProvider(), name, inputs, opts)

    @property
    def model_id(self) -> Output[str]:
        """`name:version`."""
        return self.output("modelId")
