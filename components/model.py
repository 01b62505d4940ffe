"""The registered model: the same name and content is never registered twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone, is_unknown
from components.edge.fingerprint import hash_named
from components.services import progress
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.errors import NotFoundError, ServiceError
from components.settings import Settings


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


def model_inputs(settings: Settings, workspace_id: Input[str]) -> RegisteredModelInputs:
    """From a stack's settings; reads the model once to hash it."""
    lineage = {"promotedFrom": settings.model.promoted_from} if settings.model.promoted_from else {}
    return {
        "workspaceId": workspace_id,
        "name": settings.model.name,
        "contentHash": settings.model.content_hash or model_hash(settings),
        "path": settings.model.path or "",
        "tags": {**settings.model.tags, **lineage},
        "description": settings.model.description,
    }


def model_hash(settings: Settings) -> str:
    """SHA-256 of the model's file or folder with its name, which is a path below AZUREML_MODEL_DIR."""
    return hash_named(Path(settings.model.path or ""))


class RegisteredModelProvider(Provider):
    replaces = ("workspaceId", "name")
    ignores = ("path",)
    optional = ("tags", "description")

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        checked = super().check(_olds, news)
        registered = all(_olds.get(key) == checked.inputs[key] for key in ("contentHash", "workspaceId", "name"))
        if not registered and not _at_hand(checked.inputs) and not _find(checked.inputs):
            checked.failures.append(CheckFailure("contentHash", _absent(checked.inputs)))
        return checked

    def create(self, props: dict[str, Any]) -> CreateResult:
        model = _take(props)
        return CreateResult(f"{props['workspaceId']}/models/{props['name']}", _outputs(props, model))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            model = client.call(workspace_config(props["workspaceId"]), "get_model", {"model_id": props["modelId"]})
        except NotFoundError:
            return gone()
        seen = {"tags": model["tags"], "description": model["description"]}
        return ReadResult(id_, {**_outputs(props, model), **seen})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        if _olds["contentHash"] != _news["contentHash"]:
            return UpdateResult(_outputs(_news, _take(_news)))
        return UpdateResult(_outputs(_news, _update(_news, _olds["modelId"])))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        try:
            client.call(workspace_config(_props["workspaceId"]), "delete_model", {"model_id": _props["modelId"]})
        except NotFoundError:
            return


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
        },
        files={source.name: source},
        progress=lambda line: progress.say(f"model {props['name']}", line),
    )
    return registered


def _outputs(props: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    return {**props, "modelId": model["id"], "version": int(model["version"])}


class RegisteredModel(DynamicResource, module="edge", name="RegisteredModel"):
    """A version of a model in the workspace. Changed content makes a new version, changed tags or description do not."""

    computed = ("modelId", "version")

    def __init__(self, name: str, inputs: RegisteredModelInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(RegisteredModelProvider(), name, inputs, opts)

    @property
    def model_id(self) -> Output[str]:
        """`name:version`."""
        return self.output("modelId")

    @property
    def version(self) -> Output[int]:
        return self.output("version")
