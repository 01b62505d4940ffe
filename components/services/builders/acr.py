"""`builder: acr`: a quick build of ACR Tasks. Azure builds; this machine needs no Docker engine.

Upload the context, schedule a run, follow its log, poll the run. The image's tag is its fingerprint, as with the builder `docker`; the
stages before it are kept as `<name>-<stage>`.
Source: the REST API "Registries - Schedule Run" and "Runs" (2019-06-01-preview), and how the Azure CLI's `az acr build` uses it.
"""

from __future__ import annotations

import codecs
import time
from dataclasses import replace
from typing import IO, Any

import requests

from components.services import azure, registry
from components.services.aml import build_log
from components.services.builders import BuildRequest, BuiltImage, stages
from components.services.builders.context import DOCKERFILE, MARK, Recipe, build_context, hashes, recipe
from components.services.builders.stages import Stage
from components.services.builders.tagged import discard, find_or_make, trusted
from components.services.errors import ServiceError
from components.services.registry import Credentials

__all__ = ["build", "discard"]

API_VERSION = "2019-06-01-preview"
TIMEOUT_SECONDS = 3600
POLL_SECONDS = 2.0
LOG_TAIL_LINES = 20
UPLOAD_ATTEMPTS = 3
UPLOAD_PAUSE_SECONDS = 1.0
UNKNOWN_RUN_SECONDS = 60
QUICK_BUILD = "QuickBuild"
FINAL = ("Succeeded", "Failed", "Canceled", "Error", "Timeout")


def build(request: BuildRequest) -> BuiltImage:
    """Find the fingerprint in the registry, or let ACR build it; a run that an interrupted `up` left is taken over."""
    made = recipe(request)
    row = stages.split(made.dockerfile, hashes(request, made))
    built = find_or_make(request, lambda request, credentials: _build(request, credentials, made, row))
    return replace(built, stages=tuple(_kept(request, stage) for stage in row[:-1]))


def _build(request: BuildRequest, credentials: Credentials, made: Recipe, row: list[Stage]) -> None:
    """The last stage, after those before it that the registry has not."""
    base, first = _begun(request, credentials, row)
    for stage in row[first:-1]:
        _make(request, credentials, made, stage, base, _kept(request, stage))
        base = _ref(request, credentials, stage) or ""
    _make(request, credentials, made, row[-1], base, f"{request.name}:{request.fingerprint}")


def _begun(request: BuildRequest, credentials: Credentials, row: list[Stage]) -> tuple[str, int]:
    """The image of the last stage that is there, and the number of the one to begin with."""
    for number in range(len(row) - 1, 0, -1):
        if ref := _ref(request, credentials, row[number - 1]):
            request.progress(f"the registry has the stage '{row[number - 1].name}' already")
            return ref, number
    return "", 0


def _kept(request: BuildRequest, stage: Stage) -> str:
    """Its key does not know the platform; the stages of linux/amd64 have been without one in their tags from the beginning."""
    platform = "" if request.architecture == "amd64" else f"-{request.architecture}"
    return f"{request.name}-{stage.name}:{stage.key}{platform}"


def _ref(request: BuildRequest, credentials: Credentials, stage: Stage) -> str | None:
    name, _, tag = _kept(request, stage).partition(":")
    found = registry.digest(credentials, name, tag)
    return f"{credentials.login_server}/{name}@{found}" if found else None


def _make(request: BuildRequest, credentials: Credentials, made: Recipe, stage: Stage, base: str, image: str) -> None:
    """Let ACR build one stage as `image`, on the image of the one before."""
    run_id = _running(request, image)
    if run_id is None:
        name, _, tag = image.partition(":")
        if trusted(request, credentials, name, tag):
            request.progress(f"taking over {image}, which an interrupted run began")
            return
        with build_context(
            request, made, compressed=True, dockerfile=stage.on(base), parts=stage.parts, mark=image
        ) as context:
            run_id = _schedule(request, context, image)
    _follow(request, run_id, image)


def _running(request: BuildRequest, image: str) -> str | None:
    """The id of a run that is building this very image.

    A run says what it made only when it is done (`outputImages`), so those under way are told apart by the mark in their log. One that
    has not begun its log yet is waited for.
    """
    deadline = time.monotonic() + UNKNOWN_RUN_SECONDS
    while True:
        unknown = 0
        for run in azure.get(f"{request.registry_id}/runs", api_version=API_VERSION).get("value", []):
            properties = run["properties"]
            if properties["status"] in FINAL or properties.get("runType", QUICK_BUILD) != QUICK_BUILD:
                continue
            log = _Log(replace(request, progress=lambda line: None), str(properties["runId"]))
            log.show(final=False)
            if any(line.endswith(f"ARG {MARK}={image}") for line in log.lines):
                request.progress(f"taking over the build {properties['runId']}")
                return str(properties["runId"])
            unknown += not any(line.startswith("Step ") for line in log.lines)
        if not unknown or time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)


def _schedule(request: BuildRequest, context: IO[bytes], image: str) -> str:
    place = azure.post(request.registry_id, "listBuildSourceUploadUrl", api_version=API_VERSION)
    request.progress("uploading the build context")
    _upload(request, place["uploadUrl"], context)
    body = {
        "type": "DockerBuildRequest",
        "imageNames": [image],
        "isPushEnabled": True,
        "sourceLocation": place["relativePath"],
        "dockerFilePath": DOCKERFILE,
        "platform": {"os": "Linux", "architecture": request.architecture},
        "timeout": TIMEOUT_SECONDS,
        "credentials": {"sourceRegistry": {"loginMode": "Default"}},  # to pull the stages from the registry itself
    }
    run = azure.post(request.registry_id, "scheduleRun", body, api_version=API_VERSION, repeatable=False)
    run_id = str(run["properties"]["runId"])
    request.progress(f"ACR builds {image.partition(':')[0]} as run {run_id}")
    return run_id


def _upload(request: BuildRequest, url: str, context: IO[bytes]) -> None:
    """One PUT, which is whole or not at all: it is tried again from the beginning. The address is a secret."""
    problem = ""
    for attempt in range(UPLOAD_ATTEMPTS):
        time.sleep(attempt * UPLOAD_PAUSE_SECONDS)
        context.seek(0)
        try:
            answer = requests.put(url, data=context, headers={"x-ms-blob-type": "BlockBlob"}, timeout=600)
        except requests.RequestException as error:
            problem = type(error).__name__
            continue
        if answer.status_code == 201:
            return
        problem = f"{answer.status_code} {answer.reason}"
        if answer.status_code < 500:
            break
    advice = "Check the connection to the registry's storage, then run `pulumi up` again."
    raise ServiceError("upload the build context of", request.name, problem, advice)


def _follow(request: BuildRequest, run_id: str, image: str) -> None:
    named = f"{image.partition(':')[0]} as run {run_id}"
    deadline = time.monotonic() + TIMEOUT_SECONDS + 300
    log = _Log(request, run_id)
    while True:
        properties = azure.get(f"{request.registry_id}/runs/{run_id}", api_version=API_VERSION)["properties"]
        log.show(final=properties["status"] in FINAL)
        if properties["status"] == "Succeeded":
            return
        if properties["status"] in FINAL:
            reason = properties.get("runErrorMessage") or properties["status"]
            tail = "\n".join(f"    {line}" for line in log.lines[-LOG_TAIL_LINES:])
            raise ServiceError(
                "build the image",
                named,
                f"{reason}. The end of its log:\n{tail}",
                f"The whole log: az acr task logs --registry {azure.name_of(request.registry_id)} --run-id {run_id}. "
                "Correct the cause, then run `pulumi up` again.",
            )
        if time.monotonic() > deadline:
            raise ServiceError(
                "build the image",
                named,
                f"it is still '{properties['status']}'",
                "ACR goes on building; run `pulumi up` again to take it over.",
            )
        time.sleep(POLL_SECONDS)


class _Log:
    """The run's log, a blob that grows. A courtesy: the run's status decides."""

    def __init__(self, request: BuildRequest, run_id: str) -> None:
        self.lines: list[str] = []
        self._request, self._run_id, self._read, self._rest = request, run_id, 0, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end inside a character

    def show(self, final: bool) -> None:
        content = self._fetch()
        self._read += len(content)
        text = self._rest + self._decoder.decode(content, final=final)
        whole, _, self._rest = (text, "", "") if final else text.rpartition("\n")
        lines = [line.rstrip() for line in whole.splitlines() if line.strip()]
        self.lines += lines
        for line in build_log.worth_showing(lines):
            self._request.progress(line)

    def _fetch(self) -> bytes:
        try:
            run = f"{self._request.registry_id}/runs/{self._run_id}"
            link: Any = azure.post(run, "listLogSasUrl", api_version=API_VERSION)["logLink"]
            answer = requests.get(link, headers={"Range": f"bytes={self._read}-"}, timeout=30)
        except (requests.RequestException, ServiceError, KeyError):
            return b""
        if answer.status_code == 206:
            return answer.content
        return answer.content[self._read :] if answer.status_code == 200 else b""
