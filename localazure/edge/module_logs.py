"""GetModuleLogs: which modules, which lines, in which form. Pure.

Source: learn.microsoft.com/azure/iot-edge/how-to-retrieve-iot-edge-logs; Azure/iotedge `LogsRequestToOptionsMapper.cs` (ids are regular
expressions, in any case, for any part of a name), `LogMessageParser.cs` (`<level> timestamp text`, level 6 when there is none).
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
MAX_BYTES = 127_000  # a method's answer holds 128 KB
_LINE = re.compile(
    r"(<(?P<level>\d)>)?\s*((?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.\d{3} [+-]\d\d:\d\d)\s)?\s*(?P<text>.*)", re.DOTALL
)
_SPAN = re.compile(r"(\d+)\s*(d|day|h|hour|m|min|minute|s|sec|second)s?\b", re.IGNORECASE)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class LogsRequestError(Exception):
    """What the caller asked for makes no sense: status 400."""


@dataclass(frozen=True)
class Line:
    stream: str
    text: str


@dataclass(frozen=True)
class Filter:
    """`since` and `until` are seconds since 1970."""

    tail: int | None = None
    since: float | None = None
    until: float | None = None
    level: int | None = None
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True)
class LogsRequest:
    items: tuple[tuple[re.Pattern[str] | None, Filter], ...]
    """(module names, None for all; filter)."""
    gzipped: bool
    json: bool


def parse(request: Mapping[str, Any]) -> LogsRequest:
    """Keys in lower case. Raises LogsRequestError."""
    items = request.get("items")
    if not isinstance(items, list | dict) or not items:
        raise _bad("'items' must be a list of {id, filter}")
    listed = items if isinstance(items, list) else [items]
    parsed = []
    for item in listed:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"].strip():
            raise _bad("an item needs an 'id'")
        names = None if item["id"].lower() == "all" else _pattern(item["id"], "id", re.IGNORECASE)
        parsed.append((names, _filter(item.get("filter") or {})))
    encoding = _word(request, "encoding", ("none", "gzip"), "none")
    return LogsRequest(
        tuple(parsed), encoding == "gzip", _word(request, "contenttype", ("json", "text"), "text") == "json"
    )


def chosen(request: LogsRequest, names: Iterable[str]) -> dict[str, Filter]:
    """Module -> filter; the first item that matches a module counts."""
    found: dict[str, Filter] = {}
    for pattern, filter_ in request.items:
        for name in names:
            if pattern is None or pattern.search(name):
                found.setdefault(name, filter_)
    return found


def response(request: LogsRequest, filter_: Filter, origin: Mapping[str, str], lines: list[Line]) -> Json:
    """One module's part of the answer. `origin` has iothub, device and id (the module)."""
    kept = [line for line in lines if _passes(line, filter_)]
    if filter_.tail is not None:
        kept = kept[-filter_.tail :] if filter_.tail else []
    if request.json:
        text = json.dumps([_message(line, origin) for line in kept], ensure_ascii=False)
    else:
        text = "".join(f"{line.text}\n" for line in kept)
    data = gzip.compress(text.encode()) if request.gzipped else text.encode()
    if len(data) > MAX_BYTES:
        too_large = (
            f"The payload is too large for a direct method. GetModuleLogs supports up to {MAX_BYTES} bytes of logs. The current request "
            f"returned {len(data)} bytes.\nTry reducing the size of the logs by setting the 'tail', 'since' and 'from' fields in log "
            "options filter."
        )
        return {"id": origin["id"], "payloadBytes": None, "payload": too_large}
    if request.gzipped:
        return {"id": origin["id"], "payloadBytes": base64.b64encode(data).decode(), "payload": None}
    return {"id": origin["id"], "payloadBytes": None, "payload": text}


def _message(line: Line, origin: Mapping[str, str]) -> Json:
    level, stamp, text = _taken_apart(line.text)
    return {**origin, "stream": line.stream, "loglevel": level, "text": text, "timestamp": stamp}


def _passes(line: Line, filter_: Filter) -> bool:
    if filter_.level is None and filter_.pattern is None:
        return True
    level, _, text = _taken_apart(line.text)
    return filter_.level in (None, level) and (filter_.pattern is None or filter_.pattern.search(text) is not None)


def _taken_apart(text: str) -> tuple[int, str | None, str]:
    match = _LINE.match(text)
    assert match, "every part of the pattern is optional"
    stamp = datetime.fromisoformat(match["time"].replace(" ", "T", 1).replace(" ", "")) if match["time"] else None
    return int(match["level"] or 6), stamp.astimezone(UTC).isoformat() if stamp else None, match["text"]


def _filter(given: Any) -> Filter:
    if not isinstance(given, dict):
        raise _bad("'filter' must be an object")
    values = {key.lower(): value for key, value in given.items() if value is not None}
    tail, level = values.get("tail"), values.get("loglevel")
    if tail is not None and (not isinstance(tail, int) or isinstance(tail, bool) or tail < 0):
        raise _bad(f"'tail' must be a number, not {tail!r}")
    if level is not None and (not isinstance(level, int) or isinstance(level, bool)):
        raise _bad(f"'loglevel' must be a number, not {level!r}")
    regex = values.get("regex")
    return Filter(
        tail,
        _moment(values.get("since"), "since"),
        _moment(values.get("until"), "until"),
        level,
        _pattern(regex, "regex") if regex else None,
    )


def _moment(given: Any, name: str) -> float | None:
    """An RFC 3339 time, a UNIX time, or a span before now (`1 d`, `90 m`, `2 days 3 hours 2 minutes`)."""
    if given is None or given == "":
        return None
    text = str(given).strip()
    if re.fullmatch(r"\d+", text):
        return float(text)
    if _SPAN.sub("", text).strip(" ,") == "":
        return time.time() - sum(int(number) * _SECONDS[unit[0].lower()] for number, unit in _SPAN.findall(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _bad(f"'{name}' is not a time or a span: {text[:60]!r}") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _pattern(text: Any, name: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(text, flags)
    except (re.error, TypeError) as error:
        raise _bad(f"'{name}' is not a regular expression: {error}") from error


def _word(request: Mapping[str, Any], name: str, words: tuple[str, ...], default: str) -> str:
    given = request.get(name)
    word = default if given is None else str(given).lower()
    if word not in words:
        raise _bad(f"'{name}' must be one of {', '.join(words)}, not {given!r}")
    return word


def _bad(problem: str) -> LogsRequestError:
    return LogsRequestError(f"Error parsing command payload because of error - {problem}")
