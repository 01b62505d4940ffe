"""Whether a module's answer to a probe is the expected one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

_SHOWN_CHARACTERS = 200


def differences(expected: Any, answer: Any, path: str = "") -> Iterator[str]:
    """What of `expected` the answer does not say; nothing when it is as expected.

    Objects may hold more than is expected of them, at any depth; lists and plain values must be the same. Numbers are compared with a
    relative tolerance of one in a million, since a device's processor may round otherwise.
    """
    if isinstance(expected, Mapping) and isinstance(answer, Mapping):
        for key, value in expected.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in answer:
                yield f"{inner}: expected {_shown(value)}, and the answer lacks it"
            else:
                yield from differences(value, answer[key], inner)
    elif isinstance(expected, list) and isinstance(answer, list) and len(expected) == len(answer):
        for number, (one, other) in enumerate(zip(expected, answer, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif not _same(expected, answer):
        yield f"{path or 'the answer'}: expected {_shown(expected)}, came {_shown(answer)}"


def _same(expected: Any, answer: Any) -> bool:
    if isinstance(expected, bool) or isinstance(answer, bool):
        return expected is answer
    if isinstance(expected, int | float) and isinstance(answer, int | float):
        return math.isclose(expected, answer, rel_tol=1e-6, abs_tol=1e-9)
    return bool(expected == answer)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
