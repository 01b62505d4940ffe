"""What is wrong with the settings, said so that a user can mend it: the key, the value, the rule, the fix; all of it at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NoReturn, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

NAMESPACE = "aml-edge"

# What users may have filled with secrets: named in a problem, never shown.
_HIDDEN = {"env", "createOptions", "password", "desired"}
_SHOWN_CHARACTERS = 80

# For the few settings without a default.
_EXAMPLES = {
    "address": "contoso.azurecr.io",
    "image": "mcr.microsoft.com/azureiotedge-diagnostics:1.6",
    "path": "scoring/model.pkl",
    "id": "edge-1",
    "route": "'FROM /messages/* INTO $upstream'",
}

# Pydantic's types of mistakes -> rule and fix, where they hang on nothing else.
_NUMBER = ("must be a number", "write it as digits, without quotes or units: 0.98")
_BOOL = ("must be true or false", "{setting} true")
_SIMPLE = {
    "string_type": ("must be text", "write the value in quotes in the stack file"),
    "string_too_short": ("must not be empty", "{setting} <value>"),
    "list_type": ("must be a list", "write it as a list in the stack file: [...]"),
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "int_parsing_size": ("is far too large", "{setting} 1"),
}

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One wrong setting. `key` is a path that `pulumi config set --path` takes; `value` is None where nothing is set or shown."""

    key: str
    value: str | None
    rule: str
    fix: str

    def __str__(self) -> str:
        given = f" = {self.value}" if self.value is not None else ""
        return f"{self.key}{given}: {self.rule}\n     Fix: {self.fix}"


class SettingsError(Exception):
    """The stack's settings cannot be used; the text is the numbered list of all problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"the stack's settings have {count}; nothing was changed"]
        lines += [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Finding:
    """A broken rule inside one setting; `inside` leads to the part that breaks it. `{key}` in the fix becomes its key."""

    rule: str
    fix: str
    inside: Location = ()


def refuse(rule: str, fix: str) -> NoReturn:
    """Fail the validation of a setting for one broken rule."""
    refuse_all([Finding(rule, fix)])


def refuse_all(findings: Iterable[Finding]) -> NoReturn:
    """Fail the validation of a setting for several broken rules."""
    raise PydanticCustomError("settings", "refused", {"findings": list(findings)})


def from_pydantic(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Problems in the order in which the model lists its settings."""
    for detail in error.errors(include_url=False):
        location = tuple(detail["loc"])
        if detail["type"] != "extra_forbidden":
            location = _as_written(model, location)
        if detail["type"] == "settings":
            for finding in detail["ctx"]["findings"]:
                inside = (*location, *finding.inside)
                value = None if finding.inside else _shown(inside, detail["input"])
                yield Problem(key(inside), value, finding.rule, finding.fix.replace("{key}", key(inside)))
        elif detail["type"] == "extra_forbidden":
            yield _unknown(location, _fields(model, location[:-1]))
        else:
            rule, fix = _rule(detail, location, model)
            value = None if detail["type"] == "missing" else _shown(location, detail["input"])
            yield Problem(key(location), value, rule, fix)


def wrong_places(error: ValidationError) -> Iterator[tuple[Location, Location]]:
    """What to leave out to be rid of each mistake, and the object that lacks something then: a wrong value, or an object that lacks one."""
    for detail in error.errors(include_url=False):
        location = tuple(detail["loc"])
        findings = detail["ctx"]["findings"] if detail["type"] == "settings" else [Finding("", "")]
        for finding in findings:
            place = (*location, *finding.inside)
            owner = place[:-1] or place
            yield (owner if detail["type"] == "missing" else place), owner


def key(location: Location) -> str:
    """`aml-edge:devices[0].tags["a b"]`: the syntax of `pulumi config set --path`."""
    first, *rest = location or ("",)
    text = f"{NAMESPACE}:{first}"
    for step in rest:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("-", "_").isidentifier():
            text += f".{step}"
        else:
            text += f'["{step}"]'
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def _unknown(location: Location, known: list[str]) -> Problem:
    name = str(location[-1])
    rule = f"there is no such setting{did_you_mean(name, known)}"
    path = "--path " if len(location) > 1 else ""
    return Problem(
        key(location), None, rule, f"pulumi config rm {path}'{key(location)}'; known here: {', '.join(known)}"
    )


def _rule(detail: ErrorDetails, location: Location, model: type[BaseModel]) -> tuple[str, str]:
    context: dict[str, Any] = detail.get("ctx", {})
    setting = f"pulumi config set --path '{key(location)}'"
    if location and location[-1] == "password":  # never in plain text
        rule = "must be set" if detail["type"] == "missing" else "must be text that is not empty"
        return rule, f"pulumi config set --path --secret '{key(location)}'"
    if detail["type"] in _SIMPLE:
        rule, fix = _SIMPLE[detail["type"]]
        return rule, fix.format(setting=setting)
    match detail["type"]:
        case "missing":
            return "must be set", f"{setting} {_EXAMPLES.get(str(location[-1]), '<value>')}"
        case "literal_error":
            choices = [str(choice) for choice in get_args(_annotation(model, location))]
            meant = did_you_mean(str(detail["input"]), choices)
            return f"must be one of {', '.join(choices)}{meant}", f"{setting} {choices[0]}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}", f"{setting} {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}", f"{setting} {context['le']}"
        case "model_type" | "model_attributes_type" | "dict_type" | "mapping_type":
            known = _fields(model, location)
            return "must be an object", f"write it as an object{' of ' + ', '.join(known) if known else ''}"
    return detail["msg"], "correct the value in the stack file"


def _shown(location: Location, value: Any) -> str | None:
    if value is None:
        return None
    if _HIDDEN & set(map(str, location)) or isinstance(value, dict | list | BaseModel):
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    found = _annotation(model, location)
    if isinstance(found, type) and issubclass(found, BaseModel):
        return [field.alias or name for name, field in found.model_fields.items()]
    return []


def _annotation(model: type[BaseModel], location: Location) -> Any:
    """The type that the settings have at a location: through models by their keys, through lists and maps by any."""
    found: Any = model
    for step in location:
        if isinstance(found, type) and issubclass(found, BaseModel):
            fields = {field.alias or name: field for name, field in found.model_fields.items()}
            found = fields[str(step)].annotation if step in fields else None
        else:
            found = get_args(found)[-1] if get_args(found) else None
        found = _without_none(found)
    return found


def _as_written(model: type[BaseModel], location: Location) -> Location:
    """Where a default is refused, pydantic names the field (`conda_file`) and not its key (`condaFile`)."""
    written: Location = ()
    for step in location:
        found = _annotation(model, written)
        named = isinstance(found, type) and issubclass(found, BaseModel)
        field = found.model_fields.get(str(step)) if named else None
        written += ((field and field.alias) or step,)
    return written


def _without_none(annotation: Any) -> Any:
    arguments = get_args(annotation)
    if NoneType in arguments:
        return next(argument for argument in arguments if argument is not NoneType)
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _without_none(arguments[0])
    return annotation
