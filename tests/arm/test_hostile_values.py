"""Microsoft's own requests with values replaced by what does not belong there: refused or taken, never a crash."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.arm.bodies import make_dependencies
from tests.arm.cloud import Cloud
from tests.arm.examples import SERVED

STRANGE: tuple[Any, ...] = (
    *(None, 5, -1, 2**70, 1.5, True, "", "x" * 3000, "\0", "\U0001f600", "../../etc", [], [[]], [None], [5, "x"]),
    *({}, {"a": {}}, {"": ""}, {"$x": 1}),
)
# One example of each operation: bodies of the others are much alike.
BY_OPERATION = {one["operation"]: one for one in SERVED if one.get("body")}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("hostile") / "azure"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"arm": {"throttling": False}}))
    running = Cloud(folder, delay=0)
    running.start()
    running.make_group()
    make_dependencies(running)
    yield running
    running.stop()
    running.http.close()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be replaced: the whole of it, each member, each member of those."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    result = copy.deepcopy(value)
    holder = result
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = new
    return result


@pytest.mark.parametrize("operation", sorted(BY_OPERATION))
def test_strange_values(cloud: Cloud, operation: str) -> None:
    example = BY_OPERATION[operation]
    chance = random.Random(operation)
    url = re.sub(r"^/subscriptions/[^/]+", cloud.subscription, example["url"])
    url = re.sub(r"(?i)/resourcegroups/[^/]+/", "/resourceGroups/rg/", url)
    text = json.dumps(example["body"]).replace("00000000-0000-0000-0000-000000000000", cloud.instance.tenant_id)
    body = json.loads(text)
    found = list(places(body))
    for path in chance.sample(found, min(12, len(found))):
        for new in chance.sample(STRANGE, 5):
            sent = replaced(body, path, new)
            answer = cloud.request(example["method"], url, sent, query={"api-version": example["version"]})
            assert answer.status_code < 500 or answer.status_code == 501, (path, new, answer.text)
