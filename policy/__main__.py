"""What `python -m pulumi.policy` runs: the rules as a CrossGuard pack.

It runs in an environment of its own, see docs/promotion.md, "Policy". Levels come from policy/levels/<environment>.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pulumi_policy  # type: ignore[import-not-found] # only in the pack's own environment
from pulumi_policy import deserialize
from pulumi_policy import policy as servicer

from policy.rules import RULES, Rule
from policy.subject import Subject, marked

# The library hands rules the values of secrets in plain, indistinguishable from other texts. Ours need to tell them apart
# and must not see them, so the wire format is kept and `marked` reads it. Pinned in requirements.txt; tests run the real engine.
servicer.deserialize_properties = lambda props, proxy_secrets=False: (
    deserialize.deserialize_properties(props, proxy_secrets) if proxy_secrets else props
)


def _policy(rule: Rule) -> pulumi_policy.Policy:
    level = getattr(pulumi_policy.EnforcementLevel, rule.default.upper())
    schema = pulumi_policy.PolicyConfigSchema(properties=rule.settings) if rule.settings else None
    common = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": level,
        "config_schema": schema,
    }
    if rule.stack_check:
        return pulumi_policy.StackValidationPolicy(validate=_of_stack(rule), **common)
    return pulumi_policy.ResourceValidationPolicy(validate=_of_resource(rule), **common)


def _of_resource(rule: Rule) -> Callable[..., None]:
    def validate(args: Any, report: Callable[..., None]) -> None:
        assert rule.check
        for problem in rule.check(_subject(args), args.get_config()):
            report(_text(rule, problem))

    return validate


def _of_stack(rule: Rule) -> Callable[..., None]:
    def validate(args: Any, report: Callable[..., None]) -> None:
        assert rule.stack_check
        urns: dict[int, str] = {}
        subjects = []
        for resource in args.resources:
            subject = _subject(resource)
            subjects.append(subject)
            urns[id(subject)] = resource.urn
        for subject, problem in rule.stack_check(subjects, args.get_config()):
            report(_text(rule, problem), urns[id(subject)])

    return validate


def _subject(resource: Any) -> Subject:
    plain = deserialize.serialize_properties(resource.props)
    return Subject(resource.resource_type, resource.name, marked(plain), bool(resource.opts and resource.opts.protect))


def _text(rule: Rule, problem: str) -> str:
    return f"{problem}. Fix: {rule.remedy}"


pulumi_policy.PolicyPack(
    name="aml-edge",
    enforcement_level=pulumi_policy.EnforcementLevel.MANDATORY,
    policies=[_policy(rule) for rule in RULES],
)
