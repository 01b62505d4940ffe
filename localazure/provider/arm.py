"""The ARM client: requests, retries, long-running operations, and errors worded as the real provider words them.

azure-core's pipeline does the work (retries 408, 429, 5xx and lost connections, honours Retry-After, registers resource
providers on demand, polls Azure-AsyncOperation, Location or provisioningState in that order).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
from azure.core.pipeline import Pipeline, PipelineResponse
from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, RetryPolicy, UserAgentPolicy
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMAutoResourceProviderRegistrationPolicy, ARMChallengeAuthenticationPolicy
from azure.mgmt.core.polling.arm_polling import ARMPolling

from localazure.provider import VERSION

POLL_SECONDS = 0.5
"""Between polls where ARM sends no Retry-After. The real provider waits 10 seconds for a PUT and 30 for a DELETE; what comes out is the
same, and the local Azure is quicker."""

NOT_FOUND = 404


class ArmError(Exception):
    """ARM refused or could not be reached. `status` is the HTTP status, None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotCompletedError(ArmError):
    """ARM accepted a PUT, and what it started failed, was cancelled or took too long: the resource may be there in part."""


class ArmClient:
    """Requests below one ARM endpoint. `cancelled` ends every wait; deadlines are values of `time.monotonic`."""

    def __init__(
        self,
        endpoint: str,
        audience: str,
        credential: TokenCredential,
        transport: HttpTransport[HttpRequest, HttpResponse],
        cancelled: threading.Event,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._cancelled = cancelled
        self._pipeline: Pipeline[HttpRequest, HttpResponse] = Pipeline(
            transport,
            [
                RequestIdPolicy(),
                HeadersPolicy({"Accept": "application/json"}),
                UserAgentPolicy(base_user_agent=f"pulumi-azure-native/{VERSION} (local)"),
                ARMAutoResourceProviderRegistrationPolicy(),
                _Retry(retry_total=3, retry_backoff_factor=0.8),
                ARMChallengeAuthenticationPolicy(credential, f"{audience}/.default"),
            ],
        )
        self._client: ARMPipelineClient[HttpRequest, HttpResponse] = ARMPipelineClient(
            self._endpoint, pipeline=self._pipeline, policies=[]
        )

    def get(self, identity: str, api: str) -> dict[str, Any]:
        """Raises ArmError, status 404 when the resource is gone."""
        response = self._send("GET", identity, {"api-version": api}).http_response
        if response.status_code != 200:
            raise _refusal(response)
        body = _json(response)
        if not isinstance(body, dict):
            raise ArmError(f"expected object from Read of '{identity}', got {type(body).__name__}")
        return body

    def require_absent(self, identity: str, api: str) -> None:
        """Raises ArmError where a create would overwrite something. ARM's PUT would: it makes or updates, whichever fits."""
        response = self._send("GET", identity, {"api-version": api}).http_response
        if response.status_code in (204, NOT_FOUND):
            return
        if response.status_code != 200:
            raise ArmError(
                f"cannot check existence of resource '{identity}': status code {response.status_code}, {response.text()}"
            )
        # Some APIs answer 200 with an empty body for what does not exist.
        try:
            body = json.loads(response.text())
        except ValueError:
            body = None
        if body and isinstance(body, dict):
            raise ArmError(f"cannot create already existing resource '{identity}'")

    def put(
        self, identity: str, api: str, body: Mapping[str, Any], *, long_running: bool, deadline: float
    ) -> dict[str, Any]:
        """The resource as ARM shows it once it is done. Raises ArmError; NotCompletedError when the PUT itself was accepted."""
        answer = self._send("PUT", identity, {"api-version": api}, body)
        response = answer.http_response
        if response.status_code not in (200, 201, 202):
            raise _refusal(response)
        outputs = _json(response) if response.text() else None
        if long_running or response.status_code == 202:
            try:
                outputs = self._wait(answer, deadline)
            except ArmError as error:
                raise NotCompletedError(str(error), error.status) from error
        elif outputs is None:
            raise _not_json(response)
        return outputs if isinstance(outputs, dict) else {}

    def delete(self, identity: str, api: str, *, long_running: bool, deadline: float) -> None:
        """Gone already is success. Nothing but the API version is sent along: what Azure deletes softly stays recoverable."""
        answer = self._send("DELETE", identity, {"api-version": api})
        status = answer.http_response.status_code
        try:
            if status not in (200, 202, 204):
                raise _refusal(answer.http_response)
            if long_running:
                self._wait(answer, deadline)
        except ArmError as error:
            if error.status != NOT_FOUND:
                raise

    def post(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Any:
        response = self._send("POST", path, query, body).http_response
        if response.status_code not in (200, 201):
            raise _refusal(response)
        return _json(response)

    def _send(
        self, method: str, identity: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> PipelineResponse[HttpRequest, HttpResponse]:
        if self._cancelled.is_set():
            raise ArmError("context canceled")
        url = self._endpoint + quote(identity, safe="/%$&+=:@,;!*'~") + "?" + _query(query)
        request = HttpRequest(method, url, json=body) if body is not None else HttpRequest(method, url)
        try:
            return self._pipeline.run(request)
        except AzureError as error:
            raise _no_answer(f"{method} {url}", error) from error

    def _wait(self, answer: PipelineResponse[HttpRequest, HttpResponse], deadline: float) -> Any:
        polling = _Polling(self._cancelled, deadline)
        try:
            polling.initialize(self._client, answer, lambda last: _json(last.http_response))
            polling.run()
            return polling.resource()
        except HttpResponseError as error:
            if error.response is None:
                raise ArmError(error.message) from error
            raise _refusal(error.response) from error
        except AzureError as error:
            raise _no_answer(f"waiting for {answer.http_request.method} {answer.http_request.url}", error) from error


class _Polling(ARMPolling):
    """Polls that end with the plugin and at the operation's deadline; `Retry-After: 0` is taken at its word."""

    def __init__(self, cancelled: threading.Event, deadline: float) -> None:
        super().__init__(timeout=POLL_SECONDS)
        self._cancelled, self._deadline = cancelled, deadline

    def _delay(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise ArmError("operation timed out")
        stated = self._pipeline_response.http_response.headers.get("Retry-After", "")
        delay = max(float(stated), 0.05) if stated.isdecimal() else self._extract_delay()
        if self._cancelled.wait(min(delay, remaining)):
            raise ArmError("context canceled")


class _Retry(RetryPolicy):
    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[HttpRequest, HttpResponse]) -> bool:
        """Also where ARM is still busy with the resource."""
        if super().is_retry(settings, response):
            return True
        return (
            response.http_response.status_code == 409 and _code(response.http_response) == "AnotherOperationInProgress"
        )


def _query(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='$')}={quote(value, safe='')}" for name, value in query.items())


def _json(response: HttpResponse) -> Any:
    try:
        return json.loads(response.text())
    except ValueError as error:
        raise _not_json(response) from error


def _not_json(response: HttpResponse) -> ArmError:
    return ArmError(
        f"unexpected response from Azure: '{response.text()}', HTTP status: {response.status_code} {response.reason}",
        response.status_code,
    )


def _refusal(response: HttpResponse) -> ArmError:
    """`Status=409 Code="..." Message="..."`: the message of ARM's envelope, else the whole body (IoT Hub has no envelope)."""
    status = response.status_code
    try:
        body = json.loads(response.text())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        request = response.request
        return ArmError(
            f"{request.method} {request.url.partition('?')[0]}\nRESPONSE {status}: {status} {response.reason}\n"
            f"ERROR CODE UNAVAILABLE\n{response.text() or 'Response contained no body'}",
            status,
        )
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    code = _code(response)
    text = message if isinstance(message, str) else response.text()
    return ArmError(f"Status={status}" + (f' Code="{code}"' if code else "") + f' Message="{text}"', status)


def _code(response: HttpResponse) -> str | None:
    try:
        body = json.loads(response.text())
    except ValueError:
        return None
    holder = body.get("error", body) if isinstance(body, dict) else None
    code = holder.get("code") if isinstance(holder, dict) else None
    return response.headers.get("x-ms-error-code") or (str(code) if code else None)


def _no_answer(doing: str, error: AzureError) -> ArmError:
    if isinstance(error, ServiceRequestError):
        return ArmError(f"{doing}: cannot reach the local Azure ({error.message}). Is it running? 'make up' starts it")
    return ArmError(f"{doing}: {error.message}")
