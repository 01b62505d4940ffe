"""Create, read, update, delete and functions against ARM, in the order and with the refusals of the real provider."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localazure.provider.arm import NOT_FOUND, ArmClient, ArmError, NotCompletedError
from localazure.provider.check import API_VERSION
from localazure.provider.convert import (
    imported_inputs,
    inputs_of_outputs,
    request_body,
    resource_id,
    response_outputs,
)
from localazure.provider.diff import patched
from localazure.provider.shapes import InvokeType, ResourceType
from localazure.provider.table import GROUP_LOCATION_API
from localazure.provider.values import same

DEFAULT_TIMEOUT_SECONDS = 120 * 60


class InitFailedError(Exception):
    """ARM accepted the resource, but it was not completed: it belongs into the state, and the next update tries again."""

    def __init__(self, message: str, identity: str, outputs: dict[str, Any] | None) -> None:
        super().__init__(message)
        self.identity, self.outputs = identity, outputs


@dataclass(frozen=True)
class State:
    """A resource as it goes into Pulumi's state. `read_back`: the GET after a write worked."""

    identity: str
    outputs: dict[str, Any]
    read_back: bool = True


class Crud:
    """Operations on resources of one subscription. All raise ArmError; timeouts are seconds, 0 for the provider's two hours."""

    def __init__(self, arm: ArmClient, subscription: str, *, read_after_write: bool) -> None:
        self._arm, self._subscription, self._read_after_write = arm, subscription, read_after_write

    def create(self, resource: ResourceType, inputs: Mapping[str, Any], timeout: float) -> State:
        """Raises ArmError for a resource that exists already, whoever made it; InitFailedError."""
        identity = resource_id(resource.entry.path, inputs, self._subscription)
        body = request_body(resource, inputs)
        self._arm.require_absent(identity, resource.entry.api)
        for path in resource.entry.maintained:
            if _nested(body, path) is None:
                _set_nested(body, path, [])
        return self._put(resource, identity, body, timeout, canonical=True)

    def update(
        self, resource: ResourceType, inputs: Mapping[str, Any], old_state: Mapping[str, Any], timeout: float
    ) -> State:
        """A PUT of everything the program says: what it leaves out gets ARM's default. Raises InitFailedError."""
        inputs = dict(inputs)
        for name, default in resource.entry.restored.items():
            if name not in inputs and name in old_state:
                inputs[name] = default
        identity = resource_id(resource.entry.path, inputs, self._subscription)
        body = request_body(resource, inputs)
        self._maintain(resource, identity, body)
        return self._put(resource, identity, body, timeout, canonical=False)

    def delete(self, resource: ResourceType, identity: str, timeout: float) -> None:
        self._arm.delete(
            identity,
            resource.entry.api,
            long_running="DELETE" in resource.entry.long_running,
            deadline=_deadline(timeout),
        )

    def read(
        self, resource: ResourceType, identity: str, inputs: Mapping[str, Any] | None, old_state: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Outputs and inputs of the live resource; None only on ARM's own 404. Without `inputs` it is an import.

        A refresh changes inputs where the live value differs from the recorded output, and nowhere else.
        """
        try:
            response = self._arm.get(identity, resource.entry.api)
        except ArmError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        outputs = response_outputs(resource, response)
        if inputs is None:
            refreshed = imported_inputs(resource, identity, response)
        else:
            before = dict(old_state)
            for name, default in resource.entry.restored.items():
                if name in inputs and name in before and same(before[name], default):
                    del before[name]
            after = copy.deepcopy(outputs)
            for path in resource.entry.maintained:
                if _nested(inputs, path) is None:
                    _drop_nested(after, path)
            refreshed = patched(inputs, inputs_of_outputs(resource, before), inputs_of_outputs(resource, after))
        return {**outputs, API_VERSION: resource.entry.api}, refreshed

    def invoke(self, function: InvokeType, arguments: Mapping[str, Any]) -> dict[str, Any]:
        entry = function.entry
        path = resource_id(entry.path, arguments, self._subscription)
        try:
            if entry.verb == "GET":
                answer: Any = self._arm.get(path, entry.api)
            else:
                query = {wire: str(arguments[name]) for name, wire in entry.query.items() if name in arguments}
                answer = self._arm.post(path, {"api-version": entry.api, **query}, {})
        except ArmError as error:
            raise ArmError(f"request failed {path}: {error}", error.status) from error
        if not isinstance(answer, dict):
            return {"singleValue": answer}
        outputs = response_outputs(function, answer)
        return {**outputs, API_VERSION: entry.api} if function.getter else outputs

    def group_location(self, name: str) -> str | None:
        """Of a resource group; None where it cannot be read: Check then reports the missing location."""
        path = resource_id("/subscriptions/{subscriptionId}/resourceGroups/{name}", {"name": name}, self._subscription)
        try:
            location = self._arm.get(path, GROUP_LOCATION_API).get("location")
        except ArmError:
            return None
        return location if isinstance(location, str) else None

    def _put(
        self, resource: ResourceType, identity: str, body: dict[str, Any], timeout: float, *, canonical: bool
    ) -> State:
        api = resource.entry.api
        try:
            response = self._arm.put(
                identity, api, body, long_running="PUT" in resource.entry.long_running, deadline=_deadline(timeout)
            )
        except NotCompletedError as error:
            raise self._init_failed(resource, identity, error) from error
        if canonical and isinstance(response.get("id"), str):
            identity = response["id"]
        read_back = True
        if self._read_after_write:
            try:
                response = self._arm.get(identity, api)
            except ArmError:
                read_back = False
        return State(identity, {**response_outputs(resource, response), API_VERSION: api}, read_back)

    def _init_failed(self, resource: ResourceType, identity: str, error: ArmError) -> InitFailedError:
        try:
            outputs = response_outputs(resource, self._arm.get(identity, resource.entry.api))
        except ArmError as unread:
            return InitFailedError(f"resource created but read failed {unread}: {error}", identity, None)
        return InitFailedError(str(error), identity, outputs)

    def _maintain(self, resource: ResourceType, identity: str, body: dict[str, Any]) -> None:
        """Lists that are resources of their own keep their live value where the program does not set them."""
        unset = [path for path in resource.entry.maintained if _nested(body, path) is None]
        if not unset:
            return
        try:
            live = self._arm.get(identity, resource.entry.api)
        except ArmError as error:
            raise ArmError(
                f"failed maintaining unset sub-resource properties: reading cloud state: {error}", error.status
            ) from error
        for path in unset:
            value = _nested(live, path)
            if value is not None:
                _set_nested(body, path, value)


def _deadline(timeout: float) -> float:
    return time.monotonic() + (timeout if timeout > 0 else DEFAULT_TIMEOUT_SECONDS)


def _nested(values: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(name)
    return values


def _set_nested(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value


def _drop_nested(values: dict[str, Any], path: Sequence[str]) -> None:
    holder = _nested(values, path[:-1]) if path[:-1] else values
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
