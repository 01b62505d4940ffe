"""The registered model: the same name and content is never registered twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone
from components.edge.fingerprint import hash_named
from components.services import progress
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.errors import NotFoundError
from components.settings import Settings


class RegisteredModelInputs(TypedDict):
    workspaceId: Input[str]
    """ARM id of the workspace."""
    name: str
    contentHash: str
    """SHA-256 of the file or folder; what makes two registrations the same."""
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
        "contentHash": model_hash(settings),
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

    def create(self, props: dict[str, Any]) -> CreateResult:
        model = _register(props)
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
            return UpdateResult(_outputs(_news, _register(_news)))
        arguments = {
            "model_id": _olds["modelId"],
            "tags": _news.get("tags") or {},
            "description": _news.get("description") or "",
        }
        model = client.call(workspace_config(_news["workspaceId"]), "update_model", arguments)
        return UpdateResult(_outputs(_news, model))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        try:
            client.call(workspace_config(_props["workspaceId"]), "delete_model", {"model_id": _props["modelId"]})
        except NotFoundError:
            return


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
