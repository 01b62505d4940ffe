"""The settings of devices, one by one in the stack file or as the rows of a CSV file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, WrapValidator, field_validator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from components.edge import identity_mark, limits
from components.edge.names import DEVICE_ID_RULE, is_device_id
from components.settings.base import SettingsModel, Tags, Whole
from components.settings.problems import NAMESPACE, Finding, did_you_mean, from_pydantic, refuse, refuse_all

_COLUMNS = ("id", "existing", "status", "keyGeneration")
DEPLOYMENTS_MAX = 20
"""How many devices have a deployment each. A hub of one unit takes 20 configuration operations a minute (IoT Hub quotas), Pulumi
verifies four at a time, and a failed one goes back by two more operations."""

_TAG = "tags."
_MEND = "correct the file"


class DeviceSettings(SettingsModel):
    id: str
    existing: bool = False
    """Whether somebody else made the identity. It is looked up, never changed and never deleted; its deployment is ours."""
    status: Literal["enabled", "disabled"] = "enabled"
    """A disabled device cannot connect; its identity, keys and deployment stay."""
    key_generation: Whole = Field(default=1, ge=1)
    """One more than before rotates the keys: the primary becomes the secondary, and a new primary is made."""
    tags: Tags = Field(default_factory=dict)
    """Tags of the device's twin."""

    @field_validator("id")
    @classmethod
    def _id(cls, device_id: str) -> str:
        if not is_device_id(device_id):
            refuse(DEVICE_ID_RULE, "choose another id, for example edge-1")
        return device_id

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: Tags) -> Tags:
        findings = [
            Finding(message, "shorten or rename it", path) for path, _, message in limits.excesses(tags) if path
        ]
        findings += [Finding(says, "rename it", (tag,)) for tag, says in identity_mark.TAGS.items() if tag in tags]
        if (size := limits.twin_size(tags)) > limits.TAGS_SIZE_LIMIT:
            findings.append(
                Finding(f"are {size} bytes by the hub's count; it keeps {limits.TAGS_SIZE_LIMIT}", "shorten them")
            )
        if findings:
            refuse_all(findings)
        return tags


def read_csv(path: Path, name: str) -> tuple[DeviceSettings, ...]:
    """The devices of a CSV file, one a row; `name` is what messages call the file.

    The first line names the columns: `id`, and any of `existing`, `status`, `keyGeneration`, `tags.<name>`. UTF-8, separated by
    commas or, as some spreadsheets write it, by semicolons. An empty cell leaves its setting out; empty lines are passed over.

    Raises:
        PydanticCustomError: with a Finding for everything wrong in any line; for use in a validator of a setting.
    """
    try:
        header, *rows = [*_lines(_text(path, name))] or [(1, [])]
    except csv.Error as error:  # say, a quote that nothing closes
        refuse(
            f"{name} cannot be read as CSV: {error}", "correct the file: a cell that begins with a quote ends with one"
        )
    findings = list(_bad_columns(name, header[1]))
    if findings:
        refuse_all(findings)
    devices = []
    for line, cells in rows:
        try:
            devices.append((line, _device(header[1], cells)))
        except ValidationError as error:
            findings += _bad_cells(f"{name} line {line}", error)
        except ValueError as error:
            findings.append(Finding(f"{name} line {line}: {error}", _MEND))
    findings += _doubled(name, devices)
    if not rows:  # more likely an export that went wrong than the wish to delete every device
        findings.append(Finding(f"{name} has no device", "write a device a row, or take the file out of the list"))
    if findings:
        refuse_all(findings)
    return tuple(device for _, device in devices)


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        refuse(f"there is no file {name}", "write it; its first line is: id,tags.site")
    except UnicodeDecodeError:
        refuse(f"{name} is not UTF-8", "save it as CSV in UTF-8")
    except OSError as error:
        refuse(f"{name} cannot be read: {error.strerror}", "name a file that can be read")


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of every row that is not empty."""
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    start = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield start, [cell.strip() for cell in cells]
        start = reader.line_num + 1


def _bad_columns(name: str, columns: list[str]) -> Iterator[Finding]:
    if "id" not in columns:
        yield Finding(f"{name} line 1: there is no column id", "name the columns in the first line: id,tags.site")
    for column, count in Counter(columns).items():
        if count > 1:
            yield Finding(f"{name} line 1: {count} columns are called {column!r}", "rename or remove one")
        if column not in _COLUMNS and not (column.startswith(_TAG) and column != _TAG):
            known = (*_COLUMNS, f"{_TAG}<name>")
            meant = did_you_mean(column, known)
            yield Finding(
                f"{name} line 1: there is no column {column!r}{meant}", f"rename it; known: {', '.join(known)}"
            )


def _bad_cells(place: str, error: ValidationError) -> Iterator[Finding]:
    for problem in from_pydantic(error, DeviceSettings):
        value = f" = {problem.value}" if problem.value else ""
        fix = _MEND if problem.fix.startswith("pulumi config") else problem.fix
        yield Finding(f"{place}, {problem.key.removeprefix(f'{NAMESPACE}:')}{value}: {problem.rule}", fix)


def _doubled(name: str, devices: list[tuple[int, DeviceSettings]]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for line, device in devices:
        if first.setdefault(device.id, line) != line:
            rule = f"{name} line {line}, id: {device.id!r} is in line {first[device.id]} already"
            yield Finding(rule, "give every device an id of its own")


def _device(columns: list[str], cells: list[str]) -> DeviceSettings:
    if len(cells) > len(columns):
        raise ValueError(f"has {len(cells)} cells, the first line names {len(columns)} columns")
    given: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=False):
        if not cell:
            continue
        if column.startswith(_TAG):
            given.setdefault("tags", {})[column.removeprefix(_TAG)] = cell
        else:
            given[column] = cell
    return DeviceSettings.model_validate(given)


def _entry(value: Any, device: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """A device as it stands in the list, or the devices of the file that `csv` names."""
    if not isinstance(value, Mapping) or "csv" not in value:
        return device(value)
    if len(value) > 1 or not isinstance(value["csv"], str):
        refuse("csv stands alone and is the path of a file", "write `- csv: devices.csv`; its columns hold the rest")
    root: Path = (info.context or {}).get("root") or Path.cwd()
    return read_csv(root / value["csv"], value["csv"])


def _flat(entries: list[Any]) -> list[DeviceSettings]:
    """The devices of the list and of its files. Those of one source were compared already."""
    files = [entry for entry in entries if isinstance(entry, tuple)]
    sources = [[entry for entry in entries if not isinstance(entry, tuple)], *files]
    doubled = Counter(device_id for source in sources for device_id in {device.id for device in source})
    findings = [
        Finding(f"{count} devices have the id {device_id!r}", "give every device an id of its own")
        for device_id, count in doubled.items()
        if count > 1
    ]
    if findings:
        refuse_all(findings)
    return [device for entry in entries for device in (entry if isinstance(entry, tuple) else (entry,))]


Devices = Annotated[list[Annotated[DeviceSettings, WrapValidator(_entry)]], AfterValidator(_flat)]
