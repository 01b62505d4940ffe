"""What a query or a condition says, as a tree; the parser makes it, `query_values.py` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


class QuerySyntaxError(ValueError):
    """The text is not in the language. The message says what was found, and where (characters from 0)."""


class _Undefined:
    """The value of a property that is not there."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED = _Undefined()
Primitive: TypeAlias = str | float | bool | _Undefined | None


@dataclass(frozen=True)
class Constant:
    value: Primitive


@dataclass(frozen=True)
class Path:
    """`tags.building` is `("tags", "building")`."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Defined:
    path: Path


@dataclass(frozen=True)
class Not:
    operand: Expression


@dataclass(frozen=True)
class Logic:
    """`and` or `or` of two or more."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True)
class Comparison:
    """`operator` is one of = != < > <= >=."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Arithmetic:
    """`operator` is one of + - * / %."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Member:
    """`IN`, or with `negated` `NIN`."""

    operand: Expression
    items: tuple[Constant, ...]
    negated: bool


Expression: TypeAlias = Constant | Path | Defined | Not | Logic | Comparison | Arithmetic | Member


@dataclass(frozen=True)
class Aggregate:
    """`function` is count, avg, sum, min or max; `path` is None for count."""

    function: str
    path: Path | None
    alias: str


@dataclass(frozen=True)
class Column:
    path: Path
    alias: str


@dataclass(frozen=True)
class Select:
    """`columns` is empty for `*`; `source` is devices, devices.modules or devices.jobs."""

    columns: tuple[Column | Aggregate, ...]
    source: str
    where: Expression | None
    group_by: tuple[Path, ...]
    top: int | None

    @property
    def aggregated(self) -> bool:
        return any(isinstance(column, Aggregate) for column in self.columns)
