"""What the settings' models share: frozen, camelCase in the stack file, no unknown keys; and the types of plain values."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from components.settings.problems import Finding, refuse, refuse_all

_ENV_NAME = re.compile(r"[^+#$.\s]+")


class SettingsModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_default=True)


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        refuse("must be a whole number", "write it as digits, without quotes")
    if isinstance(value, str) and not re.fullmatch(r"-?\d+", value.strip()):
        refuse("must be a whole number", "write it as digits, without quotes")
    return value


def _env(env: dict[str, Any]) -> dict[str, Any]:
    findings = []
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            rule = "the name of a variable holds no + # $ . and no blanks: edgeAgent keeps it as a key of its twin"
            findings.append(Finding(rule, "rename it", (name,)))
        if not isinstance(value, bool | int | float | str):
            rule = "must be text, a number or true/false: a module's environment holds plain values"
            findings.append(Finding(rule, "write lists and objects as JSON text", (name,)))
    if findings:
        refuse_all(findings)
    return env


Whole = Annotated[int, BeforeValidator(_whole)]
Tags = dict[str, str]
Env = Annotated[dict[str, Any], AfterValidator(_env)]
