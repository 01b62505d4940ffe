"""One attempt at a run: the context for the engine, the build, the push."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localazure.builds import settings
from localazure.builds.log import BuildError, BuildLog
from localazure.registry.distribution import Distribution
from localazure.registry.tasks import context, history
from localazure.registry.tasks.engine import LABEL, Agent, Login
from localazure.registry.tasks.interrupt import Interrupt
from localazure.registry.tasks.names import ImageName
from localazure.registry.tasks.request import BuildRequest

Json = dict[str, Any]
InThread = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Attempt:
    run_id: str
    request: BuildRequest
    login_server: str
    login: Login
    """The registry's, for pulls and the push."""
    images: list[ImageName]
    source: Path | None
    work: Path
    """A folder to be made and used; the caller removes it."""
    owner: str
    """Of the service: tells its layers on the engine from those of others."""

    @property
    def mark(self) -> str:
        return f"{self.owner}-{self.work.name}"

    @property
    def label(self) -> str:
        return f"{LABEL}={self.mark}"


async def build(
    attempt: Attempt,
    log: BuildLog,
    interrupt: Interrupt,
    registry: Callable[[], Distribution],
    in_thread: InThread,
) -> list[Json]:
    """The images as `outputImages` shows them; empty without a push. Raises BuildError, BuildEnded."""
    if attempt.source is None:
        raise BuildError(
            f"failed to download the source {attempt.request.sourceLocation}: the blob does not exist; upload the tar.gz to the "
            "uploadUrl of listBuildSourceUploadUrl first, and schedule the run within a day"
        )
    agent = Agent(log, interrupt, attempt.mark)
    try:
        image, pip = await in_thread(_build, attempt, agent, log, interrupt)
        if not attempt.request.isPushEnabled or not attempt.images:
            return []
        return await _push(attempt, agent, image, pip, registry, in_thread)
    finally:
        await in_thread(agent.discard)


def _build(attempt: Attempt, agent: Agent, log: BuildLog, interrupt: Interrupt) -> tuple[str, dict[str, str]]:
    """The image's id, and the settings of pip that its history holds."""
    request = attempt.request
    given = {argument.name: argument.value for argument in request.arguments}
    proxies = settings.forwarded(os.environ, settings.PROXIES)
    pip = {key: value for key, value in settings.forwarded(os.environ, settings.PIP).items() if key not in given}
    attempt.work.mkdir(parents=True)
    assert attempt.source
    tar = attempt.work / "context.tar"
    declared = context.prepare(attempt.source, request.dockerFilePath, tar, attempt.label, pip)
    interrupt.check()
    log.line(f"Building {', '.join(map(str, attempt.images)) or 'an image without a name'}")
    if declared:
        log.line(f"Taken from the service's environment, not kept in the image: {', '.join(declared)}")
    held = {name: pip[name] for name in declared}
    logins = dict(request.logins())
    if request.credentials.sourceRegistry.loginMode == "Default":
        logins[attempt.login_server] = attempt.login
    image = agent.build(tar, request, {**proxies, **held, **given}, logins)
    tar.unlink()
    return image, held


async def _push(
    attempt: Attempt,
    agent: Agent,
    image: str,
    pip: dict[str, str],
    registry: Callable[[], Distribution],
    in_thread: InThread,
) -> list[Json]:
    repositories: dict[str, list[str]] = {}
    for name in attempt.images:
        repositories.setdefault(name.repository, []).append(name.reference)
    outputs: list[Json] = []
    for repository, tags in repositories.items():
        location = f"{attempt.login_server}/{repository}"
        # An image gets its tags when what we put into it is out again; the draft is gone by then.
        draft = await in_thread(agent.push, image, location, f"draft-{attempt.work.name}", attempt.login)
        async with registry() as content:
            digest = await history.publish(content, repository, draft, tags, attempt.label, pip)
        outputs += [
            {"registry": attempt.login_server, "repository": repository, "tag": tag, "digest": digest} for tag in tags
        ]
    return outputs
