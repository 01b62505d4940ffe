"""The error that a service would answer with a given status, in the service's own form."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from localazure.arm.errors import ArmError, DevicesError
from localazure.faults.rules import Place
from localazure.hub.errors import HubError
from localazure.ml.errors import ServiceError
from localazure.storage.errors import BlobError

# learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors; otherwise the status's own name.
_ARM = {
    401: "AuthenticationFailed",
    403: "AuthorizationFailed",
    404: "ResourceNotFound",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
# learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes and learn.microsoft.com/rest/api/iothub/common-error-codes
_HUB = {
    400: "ArgumentInvalid",
    401: "IotHubUnauthorizedAccess",
    403: "IotHubQuotaExceeded",
    404: "DeviceNotFound",
    409: "DeviceAlreadyExists",
    412: "PreconditionFailed",
    413: "GenericRequestEntityTooLarge",
    429: "ThrottlingException",
    500: "ServerError",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
# The codes of the OCI distribution specification, "Error Codes"; 503 as docker/distribution answers it.
_REGISTRY = {
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "MANIFEST_UNKNOWN",
    429: "TOOMANYREQUESTS",
    500: "UNKNOWN",
    503: "UNAVAILABLE",
}
# Blob service REST API, "Common REST API error codes".
_BLOB = {404: "BlobNotFound", 409: "BlobAlreadyExists", 500: "InternalError", 503: "ServerBusy"}


def answer(place: Place, path: str, status: int, retry_after: int | None, host: str) -> Response:
    """`host` is what the client calls this server: a registry names itself in its challenge."""
    text = _words(status, retry_after)
    response = _by_service(place, path, status, text, host)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
        if place.kind == "arm":
            response.headers["x-ms-retry-after"] = str(retry_after)
    return response


def _by_service(place: Place, path: str, status: int, text: str, host: str) -> Response:
    name = _phrase(status)
    match place.kind:
        case "hub":
            return _hub(status, _HUB.get(status, name), text)
        case "registry":
            headers = {"Docker-Distribution-Api-Version": "registry/2.0"}
            if status == 401:
                headers["Www-Authenticate"] = f'Bearer realm="https://{host}/oauth2/token",service="{host}"'
            error = {"code": _REGISTRY.get(status, name.upper()), "message": text}
            return JSONResponse({"errors": [error]}, status, headers)
        case "ml":
            return ServiceError(status, name, text).response(path)
        case "blob":
            return BlobError(status, _BLOB.get(status, name), text).response()
        case "identity":  # RFC 6749, 5.2
            code = "temporarily_unavailable" if status in (429, 503) else "server_error" if status >= 500 else name
            return JSONResponse({"error": code, "error_description": text}, status)
        case _:
            kind = DevicesError if "/providers/microsoft.devices/" in path.lower() else ArmError
            return JSONResponse(kind(status, _ARM.get(status, name), text).body(), status)


def _hub(status: int, code: str, text: str) -> Response:
    """The hub's own errors know only the codes that it gives of itself; ours have its form with any."""
    error = HubError("ServerError", text)
    error.status, error.name = status, code
    body = error.body() | {"Message": f"ErrorCode:{code};{text}"}
    return JSONResponse(body, status, {"iothub-errorcode": code})


def _words(status: int, retry_after: int | None) -> str:
    again = f" Please try again after '{retry_after}' seconds." if retry_after is not None else ""
    return f"{_title(status)} (a fault of the local Azure, see 'python -m localazure fault list').{again}"


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _phrase(status: int) -> str:
    return "".join(word for word in _title(status).replace("-", " ").title().split())
