"""What the settings' models share: frozen, camelCase in the stack file, no unknown keys; and the types of plain values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo
from pydantic.alias_generators import to_camel

from components.settings.problems import Finding, refuse, refuse_all

_ENV_NAME = re.compile(r"[^+#$.\s]+")


class SettingsModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_default=True)


def file_setting(check: Callable[[Path], Iterator[Finding]]) -> AfterValidator:
    """A path, kept as it was written (relative to the project's folder), whose file passes `check`."""

    def validator(value: str, info: ValidationInfo) -> str:
        root: Path = (info.context or {}).get("root") or Path.cwd()
        if findings := list(check(root / _named(value))):
            refuse_all(findings)
        return value

    return AfterValidator(validator)


def _named(value: str) -> str:
    """Empty text is what a template leaves for a variable that nobody set. As a path it would be the whole project's folder, as the
    name of what exists it would be "make another"."""
    if not value.strip():
        refuse("must not be empty", "fill it in, or take the key out of the stack file")
    return value


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


def _tags(value: Any) -> Any:
    """YAML reads `{area, iot}`, a set in Microsoft's documentation, as an object of nothings."""
    names = [str(name) for name in value] if isinstance(value, list | tuple | set | dict) else []
    bare = names if not isinstance(value, dict) else [str(name) for name, text in value.items() if text is None]
    if isinstance(value, str) or bare:
        example = ", ".join(f"{name}: ..." for name in bare[:3]) or "area: iot"
        refuse("must be an object: a tag has a name and a value", f"write {{{example}}}")
    return value


Named = Annotated[str, AfterValidator(_named)]
Whole = Annotated[int, BeforeValidator(_whole)]
Tags = Annotated[dict[str, str], BeforeValidator(_tags)]
Env = Annotated[dict[str, Any], AfterValidator(_env)]
