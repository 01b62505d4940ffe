"""All rules. A rule is a pure function from a resource and its settings to what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy.rules import containers, deployments, images, secrets, state
from policy.subject import Settings, Subject

Check = Callable[[Subject, Settings], Iterable[str]]
StackCheck = Callable[[Sequence[Subject], Settings], Iterable[tuple[Subject, str]]]


@dataclass(frozen=True)
class Rule:
    name: str
    description: str
    remedy: str
    """What to do next; part of every violation's text."""
    check: Check | None = None
    stack_check: StackCheck | None = None
    """For what only all resources together tell."""
    default: str = "mandatory"
    """Its level where no level file is given."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """JSON schema of the settings that it knows."""


_NAMES = {"type": "array", "items": {"type": "string"}}
_REASONS = {"type": "object", "additionalProperties": {"type": "string", "minLength": 10}}

RULES: tuple[Rule, ...] = (
    Rule(
        "image-by-digest",
        "Devices run images by digest: a tag may be moved to another image that nobody reviewed.",
        "Write the image as name@sha256:..., for example the imageRef that the stack exports.",
        check=images.by_digest,
    ),
    Rule(
        "image-from-known-registry",
        "Devices pull from the stack's own registry or from one that was allowed.",
        "Bring the image into the stack's registry (image.ref imports it), or add its registry to `allow` in policy/levels.",
        stack_check=images.from_known_registry,
        settings={"allow": _NAMES},
    ),
    Rule(
        "no-secret-in-plain",
        "What looks like a secret is encrypted in the state.",
        "Take it from `pulumi config set --secret`, or name it in the resource's additional_secret_outputs.",
        check=secrets.in_plain,
        settings={"allow": _NAMES},
    ),
    Rule(
        "stateful-protected",
        "What cannot be made again is protected against deletion.",
        "Set `aml-edge:protect: true`; docs/promotion.md says how a protected stack is taken down.",
        check=state.protected,
        default="advisory",
    ),
    Rule(
        "no-build",
        "This stack runs what another stack has built and verified.",
        "Promote an image: make promote FROM=staging TO=prod; it sets image.ref.",
        check=images.not_built,
        default="disabled",
    ),
    Rule(
        "container-confined",
        "Containers do not get the host: no privileged mode, host network, host process space, devices or binds.",
        "Remove it from createOptions, or name the module with a reason under `exempt` in policy/levels.",
        check=containers.confined,
        settings={"exempt": _REASONS},
    ),
    Rule(
        "deployment-verified",
        "A deployment waits until the devices run it, and goes back to the last good one where they do not.",
        "Set deployment.onFailure to rollback, and do not turn deployment.verify off; give a fleet a rollout.",
        check=deployments.verified,
        default="advisory",
    ),
)
