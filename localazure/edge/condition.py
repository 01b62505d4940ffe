"""The WHERE clause of a route: read once, evaluated for each message.

The language is the routing query language of IoT Hub and IoT Edge (learn.microsoft.com, "IoT Hub message routing query syntax"):
`=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`, AND, OR, NOT, parentheses, texts in either quotes, numbers, true, false, null, undefined,
`$systemProperty`, `$body.a.b[0]`, `{$escaped}`, application properties by bare name, and the functions of `expressions.py`. Arithmetic,
`||` and `??` are refused, as everything else that is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from localazure.edge import expressions
from localazure.edge.expressions import COMPARISONS, UNDEFINED, Expression, Readable, RouteError

MAX_LENGTH = 4096
MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>0[xX][0-9a-fA-F]+|-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<escaped>\{\$[A-Za-z_][^{}]*\})
    | (?P<system>\$[A-Za-z_][\w-]*(?:(?:\.[A-Za-z_][\w-]*)|\[\d+\])*)
    | (?P<name>[A-Za-z_][\w.-]*)
    | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE | re.DOTALL,
)
_LITERALS = {"true": True, "false": False, "null": None, "undefined": UNDEFINED}


def compile_condition(text: str) -> Callable[[Readable], bool]:
    """A predicate: only what is true takes a message. Raises RouteError."""
    if len(text) > MAX_LENGTH:
        raise RouteError(f"the condition has {len(text)} signs, more than {MAX_LENGTH}")
    expression = _Parser(_tokens(text)).whole()
    return lambda message: expression.value(message) is True


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match or match.lastgroup is None:
            raise RouteError(
                f"the condition cannot be read from sign {position + 1} on: {text[position : position + 20]!r}"
            )
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return [*tokens, _Token("end", "", end)]


class _Parser:
    """Recursive descent; comparisons bind tightest, then NOT, AND, OR."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._or()
        if self._peek().kind != "end":
            raise self._wrong("the end or an operator")
        return expression

    def _or(self) -> Expression:
        parts = [self._and()]
        while self._word("OR"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else expressions.disjunction(parts)

    def _and(self) -> Expression:
        parts = [self._not()]
        while self._word("AND"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else expressions.conjunction(parts)

    def _not(self) -> Expression:
        negations = 0
        while self._word("NOT"):
            negations += 1
        expression = self._comparison()
        # Two are as good as four (NOT makes undefined of what is no boolean), and nobody can build a tower of them.
        for _ in range(negations % 2 or (2 if negations else 0)):
            expression = expressions.negation(expression)
        return expression

    def _comparison(self) -> Expression:
        left = self._value()
        while self._peek().kind == "sign" and self._peek().text in COMPARISONS:
            sign = self._take().text
            left = expressions.comparison(sign, left, self._value())
        return left

    def _value(self) -> Expression:
        token = self._peek()
        if token.kind == "sign" and token.text == "(":
            return self._parenthesis()
        if token.kind in ("sign", "end"):
            raise self._wrong("a value")
        self._take()
        if token.kind == "number":
            number = int(token.text, 16) if token.text[:2] in ("0x", "0X") else token.text
            return expressions.constant(float(number))
        if token.kind == "text":
            return expressions.constant(expressions.unescape(token.text[1:-1]))
        if token.kind in ("system", "escaped"):
            return expressions.dollar_property(token.text.strip("{}")[1:], token.kind == "escaped")
        return self._name(token)

    def _parenthesis(self) -> Expression:
        self._enter()
        expression = self._or()
        self._expect(")")
        self._depth -= 1
        return expression

    def _name(self, token: _Token) -> Expression:
        if token.text.lower() in _LITERALS:
            return expressions.constant(_LITERALS[token.text.lower()])
        if token.text.upper() in ("AND", "OR", "NOT"):
            raise RouteError(f"{token.text} at sign {token.at + 1} needs an expression before it")
        if self._peek().text != "(" or self._peek().kind != "sign":
            return expressions.application_property(token.text)
        return expressions.call(token.text, self._arguments())

    def _arguments(self) -> list[Expression]:
        self._enter()
        arguments: list[Expression] = []
        while self._peek().text != ")" or self._peek().kind != "sign":
            if arguments:
                self._expect(",")
            arguments.append(self._or())
        self._take()
        self._depth -= 1
        return arguments

    def _enter(self) -> None:
        """Past an opening parenthesis."""
        self._take()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RouteError(f"the condition is nested deeper than {MAX_DEPTH} levels")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _word(self, word: str) -> bool:
        token = self._peek()
        if token.kind == "name" and token.text.upper() == word:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if self._peek().kind != "sign" or self._peek().text != sign:
            raise self._wrong(f"'{sign}'")
        self._next += 1

    def _wrong(self, wanted: str) -> RouteError:
        token = self._peek()
        found = repr(token.text) if token.kind != "end" else "the end of the condition"
        return RouteError(f"at sign {token.at + 1} of the condition: expected {wanted}, found {found}")
