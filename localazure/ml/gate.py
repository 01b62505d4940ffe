"""What stands before every call of the data plane: the bearer token, then the workspace that ARM must know."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from localazure.identity import AuthError, Tokens, arm_audiences
from localazure.instance import Instance
from localazure.ml.errors import ServiceError

WORKSPACE_PATH = (
    "/subscriptions/{subscription}/resourceGroups/{group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
MAX_JSON = 4 * 2**20

GetResource = Callable[[str], dict[str, Any] | None]
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Workspace:
    """A workspace as ARM knows it. `key` is its workspaceId in lower case: a re-created one of the same name is another one."""

    arm_id: str
    key: str
    account: str
    """Name of its storage account."""
    registry_id: str | None
    """ARM id of its container registry."""
    caller: dict[str, Any]
    """The claims of the caller's token."""


Handler = Callable[[Request, Workspace], Awaitable[Response]]


class Gate:
    def __init__(self, instance: Instance, tokens: Tokens, get_resource: GetResource) -> None:
        self._tokens, self._get_resource = tokens, get_resource
        # azureml-core asks for ARM's audience or, for its own services, for this one (its cloud's `aml` resource id).
        self._audiences = [*arm_audiences(instance), "https://ml.azure.com"]

    def __call__(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await handler(request, self.workspace(request))

        return endpoint

    def workspace(self, request: Request) -> Workspace:
        """Raises ServiceError 401 or 404."""
        try:
            caller = self._tokens.check(request.headers.get("authorization"), self._audiences)
        except AuthError as error:
            raise ServiceError(401, error.code, str(error)) from error
        path = request.path_params
        arm_id = (
            f"/subscriptions/{path['subscription']}/resourceGroups/{path['group']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{path['workspace']}"
        )
        found = self.find(arm_id, caller)
        if not found:
            raise ServiceError(
                404,
                "WorkspaceNotFound",
                f"The workspace {path['workspace']} in resource group {path['group']} could not be found.",
            )
        return found

    def find(self, arm_id: str, caller: dict[str, Any]) -> Workspace | None:
        """The workspace as ARM has it at this moment, or None."""
        resource = self._get_resource(arm_id)
        if not resource:
            return None
        properties = resource.get("properties", {})
        return Workspace(
            arm_id=resource["id"],
            key=str(properties["workspaceId"]).lower(),
            account=str(properties.get("storageAccount") or "workspace").rsplit("/", 1)[-1],
            registry_id=properties.get("containerRegistry") or None,
            caller=caller,
        )

    def registry(self, registry_id: str) -> dict[str, Any] | None:
        """The container registry's ARM resource, or None."""
        return self._get_resource(registry_id)


async def read_json(request: Request) -> Any:
    """The JSON body. Raises ServiceError 400 or 413; never reads more than MAX_JSON bytes."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_JSON:
            raise ServiceError(413, "RequestTooLarge", f"The request body is larger than {MAX_JSON} bytes.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ServiceError(400, "BadArgument", "The request body is not valid JSON.") from error


async def read_model(request: Request, shape: type[Body]) -> Body:
    """The JSON body as a validated model. Raises ServiceError 400 that names every wrong key."""
    try:
        return shape.model_validate(await read_json(request))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in error.errors()
        )
        raise ServiceError(400, "BadArgument", f"The request is invalid: {problems}") from error
