"""Azure Resource Manager with the one credential and the one retry policy.

Which Azure it is comes from the environment, as azureml-core reads it: ARM_CLOUD_METADATA_URL (a list of clouds) and
AZUREML_CURRENT_CLOUD (the name of one); without them the public cloud. Sovereign clouds and the local Azure need nothing else.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.identity import DefaultAzureCredential
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from components.services.errors import ConflictError, NotFoundError, ServiceError

API_VERSIONS = {
    "microsoft.containerregistry/registries": "2023-07-01",
    "microsoft.devices/iothubs": "2023-06-30",
    "microsoft.machinelearningservices/workspaces": "2024-04-01",
}
RETRIES = 5
TOKEN_RESERVE_SECONDS = 300
LONGEST_PAUSE_SECONDS = 60
"""Whoever asks for a longer one by Retry-After gets no further request: a run must not seem to hang."""


@dataclass(frozen=True)
class Cloud:
    """Base URL and token audience of one Azure cloud's ARM, both without a slash at the end."""

    name: str
    resource_manager: str
    audience: str


@functools.cache
def cloud() -> Cloud:
    """The cloud that the environment names. Raises ServiceError when its metadata cannot be read."""
    url = os.environ.get("ARM_CLOUD_METADATA_URL")
    if not url:
        return Cloud("AzureCloud", "https://management.azure.com", "https://management.azure.com")
    wanted = os.environ.get("AZUREML_CURRENT_CLOUD", "AzureCloud")
    advice = "Check ARM_CLOUD_METADATA_URL and AZUREML_CURRENT_CLOUD, and that this Azure is reachable."
    try:
        clouds = {entry["name"]: entry for entry in _cloud_metadata(url)}
    except (requests.RequestException, ValueError, TypeError, KeyError) as error:
        raise ServiceError("read the cloud metadata at", url, _reason(error), advice) from error
    if wanted not in clouds:
        raise ServiceError("find the cloud", wanted, f"{url} offers {', '.join(sorted(clouds))}", advice)
    try:
        entry = clouds[wanted]
        manager, audience = entry["resourceManager"], entry["authentication"]["audiences"][0]
        return Cloud(wanted, manager.rstrip("/"), audience.rstrip("/"))
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        answer = "its entry has no resourceManager or no authentication.audiences"
        raise ServiceError("read the cloud metadata at", url, f"{wanted}: {answer}", advice) from error


def _cloud_metadata(url: str) -> Any:
    """The JSON at the address. Every request of a run begins with it, so a dropped connection must not end the run."""
    for attempt in Retrying(
        retry=retry_if_exception_type((requests.ConnectionError, requests.Timeout)),
        stop=stop_after_attempt(3),
        wait=wait_exponential(multiplier=0.5),
        reraise=True,
    ):
        with attempt:
            answer = requests.get(url, timeout=30)
    answer.raise_for_status()
    return answer.json()


@functools.cache
def credential() -> DefaultAzureCredential:
    """One for the whole process, so that tokens are fetched once: environment, managed identity, Azure CLI, ..."""
    return DefaultAzureCredential()


_tokens: dict[str, AccessToken] = {}
_tokens_lock = threading.Lock()


def token(audience: str) -> str:
    """An access token for an audience such as `https://management.azure.com/`. Raises ServiceError.

    Kept until five minutes before its end: the Azure CLI, a process of its own, would run for every single request.
    """
    scope = f"{audience.rstrip('/')}/.default"
    with _tokens_lock:
        held = _tokens.get(scope)
        if held is None or held.expires_on - time.time() < TOKEN_RESERVE_SECONDS:
            try:
                held = _tokens[scope] = credential().get_token(scope)
            except AzureError as error:
                raise ServiceError("get a token for", audience, _reason(error), _LOG_IN) from error
        return held.token


@functools.cache
def _client() -> ARMPipelineClient:
    retry = _Retry(retry_total=RETRIES, retry_status=RETRIES, retry_backoff_factor=0.5, retry_backoff_max=30)
    authentication = ARMChallengeAuthenticationPolicy(credential(), f"{cloud().audience}/.default")
    return ARMPipelineClient(base_url=cloud().resource_manager, policies=[retry, authentication])


# azure-core repeats no POST and no PATCH by itself; all of ours read, or set what they name.
_REPEATABLE = frozenset({"GET", "POST", "PATCH"})


class _Retry(RetryPolicy):
    """azure-core waits for however long a Retry-After says."""

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        asked = self.get_retry_after(response)
        return super().is_retry(settings, response) and (not asked or asked <= LONGEST_PAUSE_SECONDS)


def get(resource_id: str, api_version: str | None = None) -> dict[str, Any]:
    """GET an ARM resource by its id. Raises NotFoundError only on ARM's own 404."""
    return _json("read", resource_id, send("read", "GET", resource_id, resource_id, api_version=api_version))


def post(
    resource_id: str,
    action: str,
    body: dict[str, Any] | None = None,
    *,
    api_version: str | None = None,
    repeatable: bool = True,
) -> dict[str, Any]:
    """POST an action such as `listkeys`; its answer, which may hold secrets. One that starts something is not `repeatable`:
    it is not sent again when its answer was lost."""
    doing, path = f"call {action} on", f"{resource_id}/{action}"
    sent = send(doing, "POST", resource_id, path, body or {}, api_version, repeatable)
    return _json(doing, resource_id, sent)


def patch(resource_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """PATCH an ARM resource; the updates that we make (tags, adminUserEnabled) are synchronous."""
    return _json("update", resource_id, send("update", "PATCH", resource_id, resource_id, body))


def collection(path: str) -> list[dict[str, Any]]:
    """All pages of a list: `/subscriptions`, `/subscriptions/s/providers/Ns/type`."""
    kind = "/".join(path.strip("/").split("/")[3:5]).lower()
    version = API_VERSIONS.get(kind, "2022-12-01")
    found: list[dict[str, Any]] = []
    following = path
    while following:
        page = _json("list", path, send("list", "GET", path, following, api_version=version))
        found += page.get("value", [])
        # ARM's nextLink is absolute and repeats the api-version
        following = str(page.get("nextLink") or "").removeprefix(cloud().resource_manager)
    return found


def name_of(resource_id: str) -> str:
    return resource_id.rstrip("/").rsplit("/", 1)[-1]


def send(
    doing: str,
    method: str,
    resource_id: str,
    path: str,
    body: dict[str, Any] | None = None,
    api_version: str | None = None,
    repeatable: bool = True,
) -> HttpResponse:
    """One request to ARM and its answer below 300, for what needs its status or headers; `doing` and `resource_id` are for errors.

    Without `repeatable` it is sent once: its answer may be lost although it has begun. Raises ServiceError, NotFoundError (404),
    ConflictError (409).
    """
    version = api_version or API_VERSIONS[_type_of(doing, resource_id)]
    query = {} if "api-version=" in path else {"api-version": version}
    request = HttpRequest(method, f"{cloud().resource_manager}{path}", params=query, json=body)
    try:
        answer = _client().send_request(request, retry_on_methods=_REPEATABLE if repeatable else [])
        answer.read()
    except ClientAuthenticationError as error:
        raise ServiceError(doing, resource_id, _reason(error), _LOG_IN) from error
    except AzureError as error:
        advice = f"Check the connection to {cloud().resource_manager}, then run the command again."
        raise ServiceError(doing, resource_id, _reason(error), advice) from error
    if answer.status_code < 300:
        return answer
    kind = {404: NotFoundError, 409: ConflictError}.get(answer.status_code, ServiceError)
    raise kind(doing, resource_id, f"{answer.status_code} {message(answer)}", _advice(answer.status_code))


def _json(doing: str, resource_id: str, answer: HttpResponse) -> dict[str, Any]:
    try:
        content: dict[str, Any] = answer.json() if answer.content else {}
    except ValueError as error:
        advice = f"Something between here and {cloud().resource_manager} answers in its place, a proxy perhaps."
        raise ServiceError(doing, resource_id, f"{answer.status_code} without JSON", advice) from error
    return content


def _type_of(doing: str, resource_id: str) -> str:
    """`/subscriptions/s/resourceGroups/g/providers/Ns/type/name` -> `ns/type`."""
    parts = resource_id.strip("/").split("/")
    kind = "/".join(parts[5:7]).lower()
    if len(parts) != 8 or kind not in API_VERSIONS:
        raise ServiceError(doing, resource_id, f"this is not the ARM id of one of {', '.join(API_VERSIONS)}")
    return kind


def message(answer: HttpResponse) -> str:
    """`code: message` of ARM's error in a response."""
    try:
        body = answer.json()
        error = body.get("error", body)
        return f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return (answer.reason or "").strip() or "without a reason"


_LOG_IN = "Log in (az login, or the AZURE_* variables of a service principal), then run the command again."


def _advice(status: int) -> str:
    if status in (401, 403):
        return "Check which identity you are logged in with and its role on this resource (README, 'Permissions')."
    if status == 429:
        return "Azure asks to slow down; wait a minute and run the command again."
    return ""


def _reason(error: BaseException) -> str:
    """What an SDK's exception says, on one line and without the repetitions that fill long ones."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("To mitigate this issue")]
    return " ".join(told or [type(error).__name__])[:600]
