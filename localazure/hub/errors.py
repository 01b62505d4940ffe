"""The hub's errors: status, `iothub-errorcode`, and the body that the SDKs unpack."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

from starlette.responses import JSONResponse

# Name -> HTTP status. Source: learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes and the enumeration `errorCode` of
# DeviceRegistryOperationError in the service's OpenAPI document (2021-04-12).
_STATUS = {
    "ArgumentInvalid": 400,
    "InvalidProtocolVersion": 400,
    "InvalidConfigurationContent": 400,
    "InvalidDeviceScope": 400,
    "InvalidConfigurationTargetCondition": 400,
    "InvalidConfigurationCustomMetricsQuery": 400,
    "CannotModifyImmutableConfigurationContent": 400,
    "InvalidOperation": 400,
    "DeviceDefinedMultipleTimes": 400,
    "IotHubUnauthorizedAccess": 401,
    "OperationNotAvailableInCurrentTier": 403,
    "DeviceModelMaxPropertiesExceeded": 403,
    "DeviceNotFound": 404,
    "ModuleNotFound": 404,
    "ConfigurationNotFound": 404,
    "DeviceNotOnline": 404,
    "GenericNotFound": 404,
    "GenericMethodNotAllowed": 405,
    "DeviceAlreadyExists": 409,
    "ModuleAlreadyExistsOnDevice": 409,
    "ConfigurationAlreadyExists": 409,
    "PreconditionFailed": 412,
    "GenericRequestEntityTooLarge": 413,
    "TooManyDevices": 413,
    "TooManyModulesOnDevice": 413,
    "ConfigurationCountLimitExceeded": 413,
    "ThrottlingException": 429,
    "ServerError": 500,
    "NotImplemented": 501,
    "GatewayTimeout": 504,
}

_NESTED = {"DeviceNotOnline": 404103, "GatewayTimeout": 504101}


class HubError(Exception):
    """An answer other than 2xx. `name` is one of the service's error codes; the text must hold no secret."""

    def __init__(self, name: str, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"ErrorCode:{name};{text}")
        self.name = name
        self.text = text
        self.status = _STATUS[name]
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """As the service writes it (seen in Azure/azure-iot-sdks#711); for direct methods a JSON text within JSON, as the SDKs for .NET and
        Java show it in their tests and samples."""
        time = datetime.datetime.now(datetime.UTC)
        if self.name in _NESTED:
            inner = {
                "errorCode": _NESTED[self.name],
                "trackingId": f"{uuid.uuid4().hex}-G:0",
                "message": self.text,
                "info": {},
                "timestampUtc": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            return {"Message": json.dumps(inner), "ExceptionMessage": ""}
        now = time.strftime("%m/%d/%Y %H:%M:%S")
        return {"Message": str(self), "ExceptionMessage": f"Tracking ID:{uuid.uuid4().hex}-G:0-TimeStamp:{now}"}

    def detail(self, operation: str) -> dict[str, Any]:
        """One entry of a BulkRegistryOperationResult, without the identity."""
        return {"errorCode": self.name, "errorStatus": self.text, "operation": operation}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status, {"iothub-errorcode": self.name, **self.headers})


def unauthorized() -> HubError:
    """One text for every reason, as the service: the reason goes to the daemon's log only."""
    return HubError("IotHubUnauthorizedAccess", "Unauthorized")


def not_implemented(operation: str) -> HubError:
    return HubError(
        "NotImplemented", f"{operation} is not part of the local Azure; see docs/local-azure.md for what is"
    )


def invalid(text: str) -> HubError:
    return HubError("ArgumentInvalid", text)
