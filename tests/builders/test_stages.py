"""Which Dockerfiles can be built stage by stage, and what counts for a stage."""

from __future__ import annotations

import pytest

from components.services.builders.stages import split
from tests.builders.place import TEMPLATE, TINY

CONTENT = {"requirements.txt": "r", "models": "m", "app": "a"}
THREE = """\
# comment
ARG X=1
FROM base@sha256:0 AS environment
COPY requirements.txt /
RUN pip install

FROM environment AS models
COPY models/a/1/ /a
from models
COPY app/ ./
"""


def keys(dockerfile: str, **changes: str) -> list[str]:
    return [stage.key for stage in split(dockerfile, {**CONTENT, **changes})]


def test_the_stages_stand_on_each_other() -> None:
    environment, models, image = split(THREE, CONTENT)
    assert [environment.name, models.name, image.name] == ["environment", "models", ""]
    assert [environment.parts, models.parts, image.parts] == [("requirements.txt",), ("models",), ("app",)]
    assert environment.on("") == "# comment\nARG X=1\n" + environment.text
    assert models.on("r/x@sha256:1").endswith("FROM r/x@sha256:1 AS models\nCOPY models/a/1/ /a\n")
    assert image.on("r/y@sha256:2").endswith("from r/y@sha256:2\nCOPY app/ ./\n")


def test_what_reaches_a_stage_counts_for_it_and_those_after_it() -> None:
    before = keys(THREE)
    assert len(set(before)) == 3

    def changed(dockerfile: str = THREE, **content: str) -> list[bool]:
        return [one != other for one, other in zip(before, keys(dockerfile, **content), strict=True)]

    assert changed() == [False, False, False]
    assert changed(app="x") == [False, False, True]
    assert changed(models="x") == [False, True, True]
    assert changed(**{"requirements.txt": "x"}) == [True, True, True]
    assert changed(THREE.replace("sha256:0", "sha256:9")) == [True, True, True]
    assert changed(THREE.replace("X=1", "X=2")) == [True, True, True]
    assert changed(THREE.replace("COPY app/ ./", "COPY app/ /x")) == [False, False, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("COPY models/a/1/ /a", "COPY . /a"),
        ("COPY models/a/1/ /a", "COPY --from=environment /x /a"),
        ("COPY models/a/1/ /a", 'COPY ["models", "/a"]'),
        ("RUN pip install", "RUN --mount=type=bind,source=app pip install"),
        ("RUN pip install", "RUN <<EOF\nFROM x\nEOF"),
        ("FROM environment AS models", "FROM other AS models"),
        ("FROM environment AS models", "FROM environment"),
        ("FROM environment AS models", "FROM --platform=linux/amd64 environment AS models"),
    ],
)
def test_another_dockerfile_is_built_in_one_go(old: str, new: str) -> None:
    assert old in THREE
    (whole,) = split(THREE.replace(old, new), CONTENT)
    assert whole.on("") == THREE.replace(old, new)
    assert whole.parts == tuple(CONTENT)


def test_the_projects_template_has_three() -> None:
    assert TEMPLATE.read_text().count("\nFROM ") == 3
    assert len(split(TINY, CONTENT)) == 1
