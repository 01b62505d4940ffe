"""ARM's errors. Codes and texts: learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
and the resource provider contract (Azure/azure-resource-manager-rpc)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any


class ArmError(Exception):
    """A refusal on its way to the client: HTTP status, PascalCase code, message, and what else the envelope holds."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.target, self.details, self.headers = target, list(details), dict(headers or {})

    @property
    def error(self) -> dict[str, Any]:
        """`{code, message}` with target and details where there are any: also the `error` of a failed operation."""
        optional = {"target": self.target, "details": self.details}
        return {"code": self.code, "message": self.message} | {key: value for key, value in optional.items() if value}

    def body(self) -> dict[str, Any]:
        return {"error": self.error}


class DevicesError(ArmError):
    """Microsoft.Devices answers without the `error` envelope (ErrorDetails of the IoT Hub resource provider's API 2023-06-30)."""

    def body(self) -> dict[str, Any]:
        phrase = HTTPStatus(self.status).phrase.replace(" ", "")
        return {"code": self.code, "httpStatusCode": phrase, "message": self.message, "details": None}


def group_not_found(name: str) -> ArmError:
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def resource_not_found(kind: str, name: str, group: str | None) -> ArmError:
    where = f" under resource group '{group}'" if group else ""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}'{where} was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def parent_not_found(name: str) -> ArmError:
    return ArmError(
        404,
        "ParentResourceNotFound",
        f"Can not perform requested operation on nested resource. Parent resource '{name}' not found.",
    )


def busy(resource_id: str) -> ArmError:
    return ArmError(
        409,
        "AnotherOperationInProgress",
        f"Another operation on this or dependent resource is in progress: '{resource_id}'. Try again when it has finished.",
    )


def invalid_content(problem: str) -> ArmError:
    return ArmError(
        400, "InvalidRequestContent", f"The request content was invalid and could not be deserialized: '{problem}'."
    )


def not_implemented(method: str, path: str) -> ArmError:
    """What Azure can do and this local Azure cannot (yet): said loudly, never made up."""
    return ArmError(501, "NotImplemented", f"The local Azure does not implement {method} {path}.")
