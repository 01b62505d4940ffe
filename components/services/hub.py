"""IoT Hub's service side through azure-iot-hub: device identities, twins, deployments of one device.

The SDK is thin and its errors hide the hub's words: `call` unpacks them, and retries what the SDK does not (POST and PATCH; it
also never retries without a Retry-After). Every call of ours may be repeated: puts carry the whole object and apply replaces the
whole content. A repeated creation may meet its own first try (409), a repeated deletion likewise (404): callers know.
"""

from __future__ import annotations

import base64
import dataclasses
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from azure.core.exceptions import DeserializationError
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, ConfigurationContent, Device, Twin
from msrest.exceptions import ClientException, ClientRequestError, HttpOperationError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from urllib3.exceptions import ProtocolError

from components.services import azure
from components.services.errors import (
    ChangedError,
    ConflictError,
    DeniedError,
    MethodError,
    NotFoundError,
    ServiceError,
)

T = TypeVar("T")
POLICY = "iothubowner"  # the policy with RegistryWrite and ServiceConnect that every hub has from its creation
ATTEMPTS = 5
LONGEST_PAUSE_SECONDS = 60
AGENT = "$edgeAgent"


@dataclass(frozen=True)
class Identity:
    """A device identity as we use it. Keys are base64 text."""

    device_id: str
    status: str
    status_reason: str
    iot_edge: bool
    etag: str
    scope: str | None
    parent_scopes: tuple[str, ...]
    """`deviceScope` and `parentScopes`: where the device is in a nested hierarchy."""
    primary_key: str = field(repr=False)
    secondary_key: str = field(repr=False)


class Reading:
    """What can be asked of a hub with either login: a key, or who one is."""

    def __init__(self, registry: IoTHubRegistryManager) -> None:
        self.registry = registry

    def device(self, device_id: str) -> Identity:
        """Raises NotFoundError when the hub answers 404, DeniedError when it does not let us ask."""
        return _identity(call("read the device", device_id, lambda: self.registry.get_device(device_id)))


def as_oneself(hub: dict[str, Any]) -> Reading:
    """A hub, as ARM shows it, asked with the one credential: needs a data role there, which Owner and Reader do not have."""
    return Reading(IoTHubRegistryManager.from_token_credential(hub["properties"]["hostName"], azure.credential()))


class Hub(Reading):
    """The service side of one hub, with a key fetched from ARM at run time and never stored."""

    def __init__(self, hub_id: str) -> None:
        """`hub_id` is the hub's ARM id. Raises NotFoundError when ARM says that it is gone."""
        properties = azure.get(hub_id)["properties"]
        if not properties.get("hostName"):
            state = properties.get("state") or properties.get("provisioningState")
            raise ServiceError("connect to the hub", hub_id, f"it has no host name yet (state {state})", _LATER)
        self.host_name: str = properties["hostName"]
        rule = azure.post(hub_id, f"IotHubKeys/{POLICY}/listkeys")
        connection = f"HostName={self.host_name};SharedAccessKeyName={POLICY};SharedAccessKey={rule['primaryKey']}"
        super().__init__(IoTHubRegistryManager.from_connection_string(connection))
        self.configurations = IoTHubConfigurationManager.from_connection_string(connection)

    def create_edge_device(self, device_id: str, status: str, status_reason: str) -> Identity:
        """A new IoT Edge identity with SAS keys that the hub makes. Raises ConflictError when the id is taken."""
        created = call(
            "create the device",
            device_id,
            lambda: self.registry.create_device_with_sas(
                device_id, None, None, status, iot_edge=True, status_reason=status_reason
            ),
        )
        return _identity(created)

    def replace(self, identity: Identity, **changes: str) -> Identity:
        """Write `status`, `status_reason`, `primary_key`, `secondary_key` of an identity as read; the rest of it is kept.
        One request, all or nothing. Raises ChangedError when somebody wrote it meanwhile."""
        identity = dataclasses.replace(identity, **changes)  # type: ignore[arg-type]
        updated = call(
            "update the device",
            identity.device_id,
            lambda: self.registry.update_device_with_sas(
                identity.device_id,
                identity.etag,
                identity.primary_key,
                identity.secondary_key,
                identity.status,
                iot_edge=True,
                status_reason=identity.status_reason,
                device_scope=identity.scope,
                parent_scopes=list(identity.parent_scopes),
            ),
        )
        return _identity(updated)

    def delete_device(self, device_id: str) -> None:
        """Absent is fine."""
        try:
            call("delete the device", device_id, lambda: self.registry.delete_device(device_id))
        except NotFoundError:
            return

    def tags(self, device_id: str) -> dict[str, Any]:
        twin = call("read the twin of", device_id, lambda: self.registry.get_twin(device_id))
        return dict(twin.tags or {})

    def merge_tags(self, device_id: str, tags: dict[str, Any]) -> None:
        """Merge into the twin's tags; None removes one."""
        call("tag the device", device_id, lambda: self.registry.update_twin(device_id, Twin(tags=tags), "*"))

    def apply(self, device_id: str, content: dict[str, Any]) -> int:
        """Replace what the device is to run by `{"modulesContent": {...}}`; the version of `$edgeAgent`'s desired properties then."""
        body = ConfigurationContent(modules_content=content["modulesContent"])
        call(
            "apply the deployment to",
            device_id,
            lambda: self.configurations.apply_configuration_on_edge_device(device_id, body),
        )
        desired, _ = self.agent_twin(device_id)
        return int(desired["$version"])

    def agent_twin(self, device_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Desired and reported properties of `$edgeAgent`, with their `$version` and `$metadata`."""
        return self.module_twin(device_id, AGENT)

    def module_twin(self, device_id: str, module_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        twin = self._module_twin(device_id, module_id)
        return twin.properties.desired or {}, twin.properties.reported or {}

    def ruling(self, device_id: str) -> list[str]:
        """Ids of the automatic deployments that are applied to the device. The SDK's Twin does not know `configurations`."""
        there = (self._module_twin(device_id, AGENT).additional_properties or {}).get("configurations") or {}
        return sorted(name for name, one in there.items() if str(one.get("status")).lower() == "applied")

    def is_online(self, device_id: str) -> bool:
        """Whether the device's agent is connected right now."""
        return bool(self._module_twin(device_id, AGENT).connection_state == "Connected")

    def invoke(self, device_id: str, module_id: str, method: str, payload: Any, seconds: int) -> Any:
        """Call a direct method of a module and give its answer's payload. Raises MethodError when its status is not 2xx."""
        asked = CloudToDeviceMethod(
            method_name=method,
            payload=payload,
            response_timeout_in_seconds=seconds,
            connect_timeout_in_seconds=seconds,
        )
        doing, resource = f"call {method} of", f"{device_id}/{module_id}"
        result = call(doing, resource, lambda: self.registry.invoke_device_module_method(device_id, module_id, asked))
        if not 200 <= int(result.status) < 300:
            said = result.payload.get("message") if isinstance(result.payload, dict) else None
            raise MethodError(doing, resource, f"answered {int(result.status)}" + (f": {said}" if said else ""))
        return result.payload

    def _module_twin(self, device_id: str, module_id: str) -> Twin:
        resource = f"{device_id}/{module_id}"
        return call("read the twin of", resource, lambda: self.registry.get_module_twin(device_id, module_id))


def new_key() -> str:
    """32 random bytes in base64, as the hub makes keys."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _identity(device: Device) -> Identity:
    keys = device.authentication.symmetric_key
    return Identity(
        device_id=device.device_id,
        status=device.status,
        status_reason=device.status_reason or "",
        iot_edge=bool(device.capabilities and device.capabilities.iot_edge),
        etag=device.etag,
        scope=device.device_scope,
        parent_scopes=tuple(device.parent_scopes or ()),
        primary_key=keys.primary_key if keys else "",
        secondary_key=keys.secondary_key if keys else "",
    )


_KINDS = {401: DeniedError, 403: DeniedError, 404: NotFoundError, 409: ConflictError, 412: ChangedError}


def call(doing: str, resource: str, request: Callable[[], T]) -> T:
    """Run one SDK call with bounded retries; turn what the hub says into our errors."""
    retrying = Retrying(
        retry=retry_if_exception(_transient), stop=stop_after_attempt(ATTEMPTS), wait=_pause, reraise=True
    )
    try:
        return retrying(request)
    except HttpOperationError as error:
        status = error.response.status_code
        kind = _KINDS.get(status, ServiceError)
        raise kind(doing, resource, f"{status} {_message(error)}", _advice(status)) from None
    except (ClientException, DeserializationError) as error:  # no answer, or one that is not the hub's
        first = (str(getattr(error, "inner_exception", None) or error).splitlines() or [""])[0][:300]
        advice = "Check the connection to the hub, then run the command again."
        raise ServiceError(doing, resource, first or type(error).__name__, advice) from None


def _transient(error: BaseException) -> bool:
    if isinstance(error, HttpOperationError):
        busy = error.response.status_code == 429 or error.response.status_code >= 500
        return busy and _asked_seconds(error) <= LONGEST_PAUSE_SECONDS
    # msrest repeats what failed to connect, and reads; a connection that broke under a POST or PATCH comes through as it is.
    if not isinstance(error, ClientRequestError) or error.inner_exception is None:
        return False
    return isinstance(next(iter(error.inner_exception.args), None), ProtocolError)


def _pause(state: RetryCallState) -> float:
    """What the hub asks for, else 1, 2, 4, 8 seconds."""
    error = state.outcome.exception() if state.outcome else None
    asked = _asked_seconds(error) if isinstance(error, HttpOperationError) else 0.0
    return asked or float(2 ** (state.attempt_number - 1))


def _asked_seconds(error: HttpOperationError) -> float:
    asked = error.response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0


def _message(error: HttpOperationError) -> str:
    """`{"Message": "ErrorCode:DeviceNotFound;..."}`; the SDK's own text holds only the HTTP reason."""
    try:
        return str(error.response.json()["Message"])[:500]
    except (ValueError, KeyError, TypeError):
        return str(error.response.reason)


def _advice(status: int) -> str:
    if status in (401, 403):
        return (
            "Check your role on the hub (README, 'Permissions') and that the hub's keys were not regenerated meanwhile."
        )
    if status == 412:
        return "Somebody else changed it at the same time. Run `pulumi refresh`, then `pulumi up`."
    if status == 429 or status >= 500:
        return _LATER
    return ""


_LATER = "The hub is busy; wait a minute, then run the command again."
