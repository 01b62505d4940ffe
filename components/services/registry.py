"""The registry's HTTP API (OCI distribution), as far as we need it: which digest is behind a tag, and forgetting a manifest.

Source: the OCI distribution specification and the token flow of Azure Container Registry (a 401 that names a `realm` to ask for
a token with the user's name and password; registries that answer `Basic` take them directly).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field

import requests
from requests.auth import HTTPBasicAuth
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential

from components.services import azure
from components.services.errors import ServiceError

_INDEX = "application/vnd.oci.image.index.v1+json"
_NOTE = "aml-edge.note"
MANIFEST_TYPES = ", ".join(
    [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        _INDEX,
    ]
)
TIMEOUT_SECONDS = 30
ATTEMPTS = 5
ENABLE_SECONDS = 120


@dataclass(frozen=True)
class Credentials:
    """What a device or a client logs in with. `login_server` has no scheme."""

    login_server: str
    username: str
    password: str = field(repr=False)


def admin_credentials(registry_id: str) -> Credentials:
    """Login server and admin user of a container registry, fetched from ARM at run time.

    Raises NotFoundError when ARM says that the registry is gone, ServiceError also when its admin user is disabled.
    """
    properties = azure.get(registry_id)["properties"]
    if not properties.get("adminUserEnabled"):
        raise ServiceError(
            "log in to the registry",
            registry_id,
            "its admin user is disabled",
            "Azure ML pushes with it and IoT Edge devices pull with it. Enable it (`az acr update --name "
            f"{azure.name_of(registry_id)} --admin-enabled true`), then run the command again.",
        )
    listed = azure.post(registry_id, "listCredentials")
    return Credentials(properties["loginServer"], listed["username"], listed["passwords"][0]["value"])


def enable_admin_user(registry_id: str) -> None:
    """Enable it and wait until Azure has. Raises ServiceError when that takes more than `ENABLE_SECONDS`."""
    if azure.get(registry_id)["properties"].get("adminUserEnabled"):
        return
    azure.patch(registry_id, {"properties": {"adminUserEnabled": True}})
    deadline = time.monotonic() + ENABLE_SECONDS
    while True:
        properties = azure.get(registry_id)["properties"]
        if properties.get("adminUserEnabled") and properties.get("provisioningState") == "Succeeded":
            return
        if time.monotonic() > deadline:
            answer = f"still {properties.get('provisioningState')} after {ENABLE_SECONDS} s"
            raise ServiceError("enable the admin user of", registry_id, answer, "Run `pulumi up` again.")
        time.sleep(1)


def digest(credentials: Credentials, repository: str, reference: str) -> str | None:
    """`sha256:...` of the manifest behind a tag or a digest; None if the registry says that there is none."""
    answer = _send(credentials, "HEAD", repository, reference)
    if answer.status_code == 404:
        return None
    _check(answer, "read the manifest of", credentials, repository, reference)
    found = answer.headers.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise ServiceError(
            "read the digest of", f"{credentials.login_server}/{repository}:{reference}", f"got {found!r}"
        )
    return found


def delete_manifest(credentials: Credentials, repository: str, manifest_digest: str) -> None:
    """Delete a manifest with all its tags; absent is fine."""
    answer = _send(credentials, "DELETE", repository, manifest_digest)
    if answer.status_code != 404:
        _check(answer, "delete the manifest", credentials, repository, manifest_digest)


def write_note(credentials: Credentials, repository: str, tag: str, text: str) -> None:
    """A line under a tag, for a run that comes after this one was killed: an index of no images whose annotation it is."""
    body = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [], "annotations": {_NOTE: text}}
    answer = _send(credentials, "PUT", repository, tag, json.dumps(body))
    _check(answer, "write a note to", credentials, repository, tag)


def note(credentials: Credentials, repository: str, tag: str) -> str | None:
    """What `write_note` wrote; None where there is none."""
    answer = _send(credentials, "GET", repository, tag)
    if answer.status_code == 404:
        return None
    _check(answer, "read the note of", credentials, repository, tag)
    found = answer.json().get("annotations", {}).get(_NOTE)
    return None if found is None else str(found)


def delete_note(credentials: Credentials, repository: str, tag: str) -> None:
    """Absent is fine."""
    if found := digest(credentials, repository, tag):
        delete_manifest(credentials, repository, found)


def _transient(error: BaseException) -> bool:
    return isinstance(error, requests.ConnectionError | requests.Timeout | _TryAgainError)


class _TryAgainError(Exception):
    """The registry answered 429 or 5xx."""


class _ChallengeError(Exception):
    """A 401 that cannot be answered."""


def _send(
    credentials: Credentials, method: str, repository: str, reference: str, index: str | None = None
) -> requests.Response:
    resource = f"{credentials.login_server}/{repository}@{reference}"
    try:
        return _send_again(credentials, method, repository, reference, index)
    except (requests.RequestException, _TryAgainError) as error:
        raise ServiceError(
            "reach the registry for", resource, str(error)[:300], "Check the connection, then run the command again."
        ) from error
    except _ChallengeError as error:
        advice = f"Check that {credentials.login_server} is the registry itself and no proxy answers in its place."
        raise ServiceError("log in to the registry for", resource, str(error), advice) from error


@retry(
    retry=retry_if_exception(_transient),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=0.5, max=15),
    reraise=True,
)
def _send_again(
    credentials: Credentials, method: str, repository: str, reference: str, index: str | None
) -> requests.Response:
    url = f"https://{credentials.login_server}/v2/{repository}/manifests/{reference}"
    headers = {"Accept": MANIFEST_TYPES, **({"Content-Type": _INDEX} if index else {})}
    answer = requests.request(method, url, headers=headers, data=index, timeout=TIMEOUT_SECONDS)
    if answer.status_code == 401:
        authorization = _answer_challenge(answer.headers.get("WWW-Authenticate", ""), credentials)
        answer = requests.request(
            method, url, headers={**headers, "Authorization": authorization}, data=index, timeout=TIMEOUT_SECONDS
        )
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _TryAgainError(f"it answered {answer.status_code} {answer.reason}")
    return answer


def _answer_challenge(challenge: str, credentials: Credentials) -> str:
    """The Authorization header that a 401 asks for."""
    basic = HTTPBasicAuth(credentials.username, credentials.password)
    if not challenge.lower().startswith("bearer"):
        prepared = requests.Request("GET", "https://unused", auth=basic).prepare()
        return prepared.headers["Authorization"]
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = {key: fields[key] for key in ("service", "scope") if key in fields}
    realm = fields.get("realm", "")
    if not realm.startswith("https://"):  # the password goes there
        raise _ChallengeError(f"it wants the login at {realm or 'no address'}, which is not https")
    answer = requests.get(realm, params=query, auth=basic, timeout=TIMEOUT_SECONDS)
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _TryAgainError(f"its token service answered {answer.status_code}")
    if answer.status_code != 200:
        return "Bearer refused"  # the registry's own 401 then becomes the error
    try:
        body = answer.json()
        return f"Bearer {body.get('access_token') or body['token']}"
    except (ValueError, KeyError, AttributeError) as error:
        raise _ChallengeError(f"its token service {realm} gave no token") from error


def _check(answer: requests.Response, doing: str, credentials: Credentials, repository: str, reference: str) -> None:
    if answer.status_code < 300:
        return
    advice = ""
    if answer.status_code in (401, 403):
        advice = "The admin user's password was refused. Run `pulumi refresh`, then `pulumi up`, to fetch it again."
    resource = f"{credentials.login_server}/{repository}@{reference}"
    raise ServiceError(doing, resource, f"{answer.status_code} {answer.reason}", advice)
