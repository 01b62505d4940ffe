"""Who exists at the hub: asked over REST as aziot-identityd (module identities) and edgeHub (the device's scope) ask.

Sources: Azure/iot-identity-service `aziot-cloud-client-async` (`/devices/{id}/modules`), Azure/iotedge `DeviceScopeApiClient.cs`
(`/devices/{id}/modules/$edgeHub/devicesAndModulesInDeviceScope`).
"""

from __future__ import annotations

import ssl
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from localazure.edge import sas
from localazure.edge.config import DeviceConfig

API_VERSION = "2021-04-12"
SCOPE_API_VERSION = "2018-08-30-preview"
EDGE_AGENT, EDGE_HUB = "$edgeAgent", "$edgeHub"


class HubError(Exception):
    """The hub refused or did not answer. `status` is the HTTP status, None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Identity:
    """A device or (with `module_id`) a module. Keys are base64."""

    device_id: str
    module_id: str | None
    generation: str
    primary_key: str = field(repr=False)
    secondary_key: str = field(repr=False)
    enabled: bool = True

    @property
    def client_id(self) -> str:
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    def connection_string(self, hub: str, gateway: str) -> str:
        """For azure-iot-device: port 8883 of `gateway`, while user name and SAS name the hub."""
        module = f"ModuleId={self.module_id};" if self.module_id else ""
        return f"HostName={hub};DeviceId={self.device_id};{module}SharedAccessKey={self.primary_key};GatewayHostName={gateway}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class HubRest:
    """The hub's REST side with device rights."""

    def __init__(self, config: DeviceConfig) -> None:
        self._config = config
        self._http = httpx.AsyncClient(
            base_url=f"https://{config.iothub_hostname}",
            verify=ssl.create_default_context(cafile=str(config.ca)),
            timeout=20,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def modules(self) -> dict[str, Identity]:
        """Module name to identity, the system modules included."""
        answer = await self._call("GET", f"/devices/{quote(self._config.device_id, safe='')}/modules")
        return {entry["moduleId"]: _identity(entry) for entry in answer}

    async def create_module(self, name: str) -> Identity:
        """The identity edgeAgent makes for a module of the deployment that has none (`managedBy` IotEdge)."""
        device = self._config.device_id
        path = f"/devices/{quote(device, safe='')}/modules/{quote(name, safe='')}"
        body = {"deviceId": device, "moduleId": name, "managedBy": "IotEdge", "authentication": {"type": "sas"}}
        return _identity(await self._call("PUT", path, json=body))

    async def scope(self, edge_hub: Identity) -> list[Identity]:
        """The device, its modules and the leaf devices whose parent it is, as `$edgeHub` may see them."""
        device, found = self._config.device_id, []
        path = f"/devices/{quote(device, safe='')}/modules/%24edgeHub/devicesAndModulesInDeviceScope"
        resource = f"{self._config.iothub_hostname}/devices/{device}/modules/{EDGE_HUB}"
        query = {"deviceCount": "100", "continuationToken": "", "api-version": SCOPE_API_VERSION}
        while True:
            page = await self._call("GET", path, query, sas.token(resource, edge_hub.primary_key))
            found += [_identity(entry) for entry in [*(page.get("devices") or []), *(page.get("modules") or [])]]
            link = str(page.get("continuationLink") or "")
            if not link:
                return found
            if "?" in link:  # the hub may give the whole address of the next page or only its token
                path, query = urlsplit(link).path, dict(httpx.QueryParams(urlsplit(link).query))
            else:
                query = {**query, "continuationToken": link}

    async def _call(
        self, method: str, path: str, query: dict[str, str] | None = None, token: str | None = None, json: Any = None
    ) -> Any:
        config = self._config
        token = token or sas.token(f"{config.iothub_hostname}/devices/{config.device_id}", config.primary_key)
        doing = f"{method} https://{config.iothub_hostname}{path}"
        try:
            answer = await self._http.request(
                method,
                path,
                params=query or {"api-version": API_VERSION},
                headers={"Authorization": token},
                json=json,
            )
        except httpx.HTTPError as error:
            raise HubError(f"{doing}: the hub does not answer ({type(error).__name__}: {error})") from error
        if answer.status_code >= 300:
            raise HubError(f"{doing}: {answer.status_code} {answer.text[:300]}", answer.status_code)
        try:
            return answer.json()
        except ValueError as error:
            raise HubError(f"{doing}: the answer is not JSON") from error


def _identity(entry: dict[str, Any]) -> Identity:
    keys = (entry.get("authentication") or {}).get("symmetricKey") or {}
    return Identity(
        device_id=entry["deviceId"],
        module_id=entry.get("moduleId") or None,
        generation=str(entry.get("generationId") or ""),
        primary_key=keys.get("primaryKey") or "",
        secondary_key=keys.get("secondaryKey") or "",
        enabled=entry.get("status", "enabled") in ("enabled", None),
    )
