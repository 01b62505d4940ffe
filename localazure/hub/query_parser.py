"""The parser of IoT Hub's query language, and of the expressions in it.

The grammar is that of learn.microsoft.com/azure/iot-hub/iot-hub-devguide-query-language: `SELECT [TOP n] list FROM source [WHERE condition]
[GROUP BY attributes]`, and for twins the one function IS_DEFINED. Names of functions and key words are read in any case. A name that is no
word goes into double brackets: `configurations.[[my-id]].status`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from localazure.hub.query_tokens import Token, tokens
from localazure.hub.query_tree import (
    UNDEFINED,
    Aggregate,
    Arithmetic,
    Column,
    Comparison,
    Constant,
    Defined,
    Expression,
    Logic,
    Member,
    Not,
    Path,
    Primitive,
    QuerySyntaxError,
    Select,
)

Operand: TypeAlias = Callable[[], Expression]

SOURCES = ("devices", "devices.modules", "devices.jobs")
_AGGREGATES = ("count", "avg", "sum", "min", "max")
_CONSTANTS: dict[str, Primitive] = {"true": True, "false": False, "null": None, "undefined": UNDEFINED}
_RESERVED = {*_CONSTANTS, "select", "from", "where", "group", "by", "top", "as", "and", "or", "not", "in", "nin"}
_COMPARISONS = ("=", "!=", "<>", "<", ">", "<=", ">=")
_MAX_DEPTH = 64


def parse_query(text: str) -> Select:
    """Raises QuerySyntaxError."""
    parser = Parser(text)
    select = _select(parser)
    parser.end()
    return select


def parse_condition(text: str) -> Expression:
    """What may stand after WHERE. Raises QuerySyntaxError."""
    parser = Parser(text)
    expression = parser.expression()
    parser.end()
    return expression


class Parser:
    """One token ahead, recursive descent."""

    def __init__(self, text: str) -> None:
        self._tokens = list(tokens(text))
        self._next = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._next]

    def keyword(self, *words: str) -> str | None:
        """Take one of these words if it is next."""
        found = self.token.text.lower()
        if self.token.kind == "name" and found in words:
            self._next += 1
            return found
        return None

    def sign(self, *signs: str) -> str | None:
        """Take one of these signs if it is next."""
        found = self.token
        if found.kind == "sign" and found.text in signs:
            self._next += 1
            return found.text
        return None

    def need(self, found: str | None, wanted: str) -> str:
        if found is None:
            raise self.unexpected(wanted)
        return found

    def end(self) -> None:
        if self.token.kind != "end":
            raise self.unexpected("the end")

    def unexpected(self, wanted: str) -> QuerySyntaxError:
        found = "the end" if self.token.kind == "end" else repr(self.token.text[:40])
        return QuerySyntaxError(f"expected {wanted}, found {found} at {self.token.start}")

    def name(self, wanted: str = "a name") -> str:
        """A word that is not reserved, or one in brackets."""
        found = self.token
        if found.kind != "bracketed" and (found.kind != "name" or found.text.lower() in _RESERVED):
            raise self.unexpected(wanted)
        self._next += 1
        return found.text

    def path(self) -> Path:
        parts = [self.name("the name of a property")]
        while self.sign("."):
            found = self.token
            if found.kind not in ("name", "bracketed"):
                raise self.unexpected("a name after the dot")
            self._next += 1
            parts.append(found.text)
        return Path(tuple(parts))

    def integer(self) -> int:
        found = self.token
        if found.kind != "number" or not found.text.isdigit():
            raise self.unexpected("a whole number")
        self._next += 1
        return int(found.number)

    def expression(self) -> Expression:
        return self._logic("or", lambda: self._logic("and", self._negation))

    def _logic(self, word: str, operand: Operand) -> Expression:
        operands = [operand()]
        while self.keyword(word):
            operands.append(operand())
        return Logic(word, tuple(operands)) if len(operands) > 1 else operands[0]

    def _negation(self) -> Expression:
        if self.keyword("not"):
            return Not(self._deeper(self._negation))
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._sum()
        operator = self.sign(*_COMPARISONS)
        if operator:
            return Comparison("!=" if operator == "<>" else operator, left, self._sum())
        word = self.keyword("in", "nin")
        return Member(left, self._array(), word == "nin") if word else left

    def _sum(self) -> Expression:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/", "%"), self._factor))

    def _chain(self, operators: tuple[str, ...], operand: Operand) -> Expression:
        result = operand()
        length = 0
        while operator := self.sign(*operators):
            length += 1
            if length > _MAX_DEPTH:
                raise QuerySyntaxError(f"more than {_MAX_DEPTH} operations in a row at {self.token.start}")
            result = Arithmetic(operator, result, operand())
        return result

    def _factor(self) -> Expression:
        if self.sign("("):
            inner = self._deeper(self.expression)
            self.need(self.sign(")"), "')'")
            return inner
        constant = self._constant()
        if constant:
            return constant
        path = self.path()
        if self.token.kind == "sign" and self.token.text == "(":
            return self._function(path)
        return path

    def _function(self, name: Path) -> Expression:
        if [part.lower() for part in name.parts] != ["is_defined"]:
            raise QuerySyntaxError(
                f"{'.'.join(name.parts)[:40]} at {self.token.start}: the only function is IS_DEFINED"
            )
        self.need(self.sign("("), "'('")
        path = self.path()
        self.need(self.sign(")"), "')'")
        return Defined(path)

    def _constant(self) -> Constant | None:
        found = self.token
        if found.kind == "string":
            self._next += 1
            return Constant(found.text)
        if found.kind == "number":
            self._next += 1
            return Constant(found.number)
        if found.kind == "sign" and found.text == "-" and self._tokens[self._next + 1].kind == "number":
            self._next += 2
            return Constant(-self._tokens[self._next - 1].number)
        word = self.keyword(*_CONSTANTS)
        return Constant(_CONSTANTS[word]) if word else None

    def _array(self) -> tuple[Constant, ...]:
        self.need(self.sign("["), "'[' and a list of constants")
        items: list[Constant] = []
        while not items or self.sign(","):
            constant = self._constant()
            if constant is None:
                raise self.unexpected("a constant")
            items.append(constant)
        self.need(self.sign("]"), "']'")
        return tuple(items)

    def _deeper(self, rule: Operand) -> Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise QuerySyntaxError(f"nested deeper than {_MAX_DEPTH} levels at {self.token.start}")
        result = rule()
        self._depth -= 1
        return result


def _select(parser: Parser) -> Select:
    parser.need(parser.keyword("select"), "SELECT")
    top = parser.integer() if parser.keyword("top") else None
    columns = () if parser.sign("*") else _columns(parser)
    parser.need(parser.keyword("from"), "FROM")
    source = ".".join(parser.path().parts).lower()
    if source not in SOURCES:
        raise QuerySyntaxError(f"FROM {source[:40]}: the sources are {', '.join(SOURCES)}")
    where = parser.expression() if parser.keyword("where") else None
    group_by: list[Path] = []
    if parser.keyword("group"):
        parser.need(parser.keyword("by"), "BY")
        group_by.append(parser.path())
        while parser.sign(","):
            group_by.append(parser.path())
    select = Select(columns, source, where, tuple(group_by), top)
    _check_groups(select)
    return select


def _columns(parser: Parser) -> tuple[Column | Aggregate, ...]:
    columns = [_column(parser)]
    while parser.sign(","):
        columns.append(_column(parser))
    aliases = [column.alias for column in columns]
    if len(set(aliases)) < len(aliases):
        raise QuerySyntaxError(f"two columns have one name in {', '.join(aliases)[:80]}")
    return tuple(columns)


def _column(parser: Parser) -> Column | Aggregate:
    path = parser.path()
    function = path.parts[0].lower() if len(path.parts) == 1 else ""
    if function in _AGGREGATES and parser.sign("("):
        of = None if function == "count" else parser.path()
        parser.need(parser.sign(")"), "')'")
        parser.need(parser.keyword("as"), f"AS and a name for {function}()")
        return Aggregate(function, of, parser.name())
    return Column(path, parser.name() if parser.keyword("as") else path.parts[-1])


def _check_groups(select: Select) -> None:
    if not select.aggregated:
        if select.group_by:
            raise QuerySyntaxError("GROUP BY needs an aggregation such as COUNT() AS number in the list")
        return
    for column in select.columns:
        if isinstance(column, Column) and column.path not in select.group_by:
            raise QuerySyntaxError(f"{'.'.join(column.path.parts)[:80]} is neither aggregated nor in GROUP BY")
