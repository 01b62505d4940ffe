"""How carefully devices are changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policy.subject import SECRET, UNKNOWN, Settings, Subject


def verified(subject: Subject, _settings: Settings) -> Iterator[str]:
    if "deployment" not in subject.props:
        return
    if "targetCondition" in subject.props:  # a fleet's
        if not subject.props.get("rollout"):
            yield "it has no rollout, so nobody waits for its devices"
        return
    verify = subject.props.get("verify")
    if verify not in (UNKNOWN, SECRET):
        enabled = verify.get("enabled", True) if isinstance(verify, Mapping) else False
        if enabled not in (True, UNKNOWN):
            yield "it is not verified on its devices"
    on_failure = subject.props.get("onFailure")
    if on_failure not in ("rollback", UNKNOWN):
        yield f"onFailure is {on_failure!r}"
