"""The verifier's decision: has the device taken over the deployment, is it still at it, or has it failed?

The rules follow Azure/iotedge `doc/reported_states_during_deployment.md` ("How these fields relate when applying a deployment"),
the codes `DeploymentStatusCode.cs`, the restarts `RestartPolicyManager.cs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "healthy", "failed"]

_EDGE_HUB = "edgeHub"
_DESCRIPTION_CHARACTERS = 300

# The agent never looks again at a manifest that it cannot read or whose schema it does not know; only a new one changes that.
_FINAL_CODES = {
    400: "the device cannot read the manifest (400)",
    412: "the device does not know the manifest's schema version (412)",
}
_NOT_CONNECTED_CODES = {
    406: "edgeAgent is not running (406)",  # written at shutdown; also what an agent that is being updated leaves
    417: "the device has not received any deployment yet (417)",  # every new device says so
}


@dataclass(frozen=True)
class Verdict:
    """`waiting` may become either of the others; `failed` is final: only another manifest helps. `modules` maps edgeHub and every
    module that was asked for to a line about it."""

    state: State
    reason: str
    modules: Mapping[str, str] = field(default_factory=dict)


def judge(
    desired_version: int,
    desired: Mapping[str, Any],
    reported: Mapping[str, Any],
    module_names: Iterable[str] | None = None,
) -> Verdict:
    """The verdict about one deployment.

    `desired_version` is the `$version` of edgeAgent's desired properties after our manifest was applied, `desired` and `reported`
    are the properties of the `$edgeAgent` twin, `module_names` the modules that matter (all desired ones when left out).
    """
    names = list(desired.get("modules") or {}) if module_names is None else list(module_names)
    seen = reported.get("lastDesiredVersion")
    code, description = _status(reported, desired)
    if seen is None or int(seen) < int(desired_version):
        return Verdict("waiting", _not_received(desired_version, seen, code))
    if int(seen) > int(desired_version):
        return Verdict("failed", f"another deployment (version {int(seen)}) replaced version {int(desired_version)}")
    if code in _FINAL_CODES:
        return Verdict("failed", _with(_FINAL_CODES[code], description))
    if code in _NOT_CONNECTED_CODES:
        return Verdict("waiting", _NOT_CONNECTED_CODES[code])
    findings = {name: _module(name, desired, reported) for name in [_EDGE_HUB, *names]}
    return _conclude(code, description, findings)


def describe(verdict: Verdict) -> str:
    """One line of progress. It changes only with the state: it holds no time, no counter and no port."""
    modules = ", ".join(f"{name} {line}" for name, line in verdict.modules.items())
    return f"{verdict.state}: {verdict.reason}" + (f" ({modules})" if modules else "")


@dataclass(frozen=True)
class _Finding:
    state: State
    line: str


def _conclude(code: int | None, description: str, findings: Mapping[str, _Finding]) -> Verdict:
    lines = {name: finding.line for name, finding in findings.items()}
    if code != 200:
        # 500 is not final: a pull that takes longer than a minute is reported so, and the agent goes on trying.
        said = "the device could not apply everything yet" if code == 500 else "the device has not said how it went"
        return Verdict("waiting", _with(f"{said} ({code})" if code is not None else said, description), lines)
    failed = [name for name, finding in findings.items() if finding.state == "failed"]
    if failed:
        return Verdict("failed", f"{' and '.join(failed)} will not run", lines)
    pending = [name for name, finding in findings.items() if finding.state == "waiting"]
    if pending:
        return Verdict("waiting", f"for {' and '.join(pending)}", lines)
    return Verdict("healthy", "the device runs what was asked for", lines)


def _module(name: str, desired: Mapping[str, Any], reported: Mapping[str, Any]) -> _Finding:
    section = "systemModules" if name == _EDGE_HUB else "modules"
    wanted = (desired.get(section) or {}).get(name)
    if wanted is None:
        return _Finding("failed", "is not in the desired properties")
    module = (reported.get(section) or {}).get(name)
    if module is None:  # a new module is reported once its container exists
        return _Finding("waiting", "not created yet")
    image, running_image = (
        _tagged(wanted["settings"]["image"]),
        (module.get("settings") or {}).get("image") or "no image",
    )
    if _tagged(running_image) != image:  # the old container stays until the new image is there
        return _Finding("waiting", f"still has {running_image}")
    return _runtime_status(wanted, module)


def _runtime_status(wanted: Mapping[str, Any], module: Mapping[str, Any]) -> _Finding:
    status, now = wanted.get("status", "running"), module.get("runtimeStatus") or "unknown"
    if now == status:
        return _Finding("healthy", now)
    exit_code = module.get("exitCode")
    line = f"{now} (exit code {int(exit_code)})" if exit_code is not None and now not in ("running", "unknown") else now
    if status == "running" and _stays_down(now, wanted.get("restartPolicy", "always")):
        return _Finding("failed", f"{line}, and its restart policy {wanted.get('restartPolicy')!r} leaves it so")
    return _Finding("waiting", line)


def _stays_down(now: str, restart_policy: str) -> bool:
    """Whether edgeAgent will leave a module in that status. It restarts `always` modules in any, the others but `never` after a
    failure. A `failed` module of a restarting policy (its restarts are used up, or a restart is due) is left to the deadline."""
    if restart_policy == "never":
        return now in ("failed", "dead", "stopped")
    return restart_policy in ("on-failure", "on-unhealthy") and now == "stopped"


def _status(reported: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[int | None, str]:
    status = reported.get("lastDesiredStatus") or {}
    code = status.get("code")
    return (int(code) if code is not None else None), _safe(str(status.get("description") or ""), desired)


def _safe(description: str, desired: Mapping[str, Any]) -> str:
    """The device's text on one line, without the registry passwords, at most 300 characters."""
    logins = ((desired.get("runtime") or {}).get("settings") or {}).get("registryCredentials") or {}
    for login in logins.values():
        if password := login.get("password"):
            description = description.replace(str(password), "***")
    line = " ".join(description.split())
    return line if len(line) <= _DESCRIPTION_CHARACTERS else line[: _DESCRIPTION_CHARACTERS - 3] + "..."


def _not_received(desired_version: int, seen: Any, code: int | None) -> str:
    before = _NOT_CONNECTED_CODES.get(code) if code is not None else None
    if before is None:
        before = "it has never reported" if seen is None else f"it last reported version {int(seen)}"
    return f"the device has not taken up version {int(desired_version)}; {before}"


def _with(said: str, description: str) -> str:
    return f"{said}: {description}" if description else said


def _tagged(image: str) -> str:
    """The reference as edgeAgent completes it: `:latest` where neither tag nor digest is given."""
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"
