"""`image.platform`: an image is for the platform that was asked for, whichever machine builds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.services import azure
from components.services.builders import acr, stages
from components.services.builders.context import hashes, recipe
from components.services.errors import ServiceError
from tests.builders.place import BUILDERS, Place
from tests.builders.test_builders import BASE
from tests.builders.test_life import Stack

pytestmark = pytest.mark.docker

ARM64, AMD64 = "linux/arm64", "linux/amd64"
NO_PROGRAM = """\
FROM scratch
COPY app/ /app/
RUN ["/app/tool"]
"""
"""What a foreign program is to an engine, on machines of any kind."""


STAGES = "FROM {{ base_image }} AS models\nCOPY models/ /models/\nFROM models\nCOPY app/ /app/\n"


def bare(fingerprint: str) -> str:
    """No step runs, so that no engine needs to know the platform. Engines up to 20.10 confuse the platforms of cached layers on `scratch`;
    these are nobody else's."""
    return f"FROM scratch\nCOPY models/ /{fingerprint}/\n"


@pytest.fixture(params=BUILDERS)
def builder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def runs(place: Place) -> list[dict[str, Any]]:
    listed = azure.get(f"{place.registry_id}/runs", api_version=acr.API_VERSION)["value"]
    return [run["properties"] for run in listed]


def test_the_image_is_for_the_platform(place: Place, fingerprint: str) -> None:
    """The engine's own first; ACR then builds on it, stage by stage."""
    place.write("Dockerfile.j2", bare(fingerprint))
    base = place.build("docker", place.request(f"{fingerprint}-base", platform=ARM64))
    place.write("Dockerfile.j2", STAGES)
    quick = place.build("acr", place.request(fingerprint, platform=ARM64, base_image=base.ref))
    assert [run["platform"] for run in runs(place)[:2]] == [{"os": "linux", "architecture": "arm64"}] * 2
    for made in map(place.configuration, (base, quick)):
        assert (made["os"], made["architecture"]) == ("linux", "arm64")


def test_platforms_share_no_stage(place: Place, fingerprint: str) -> None:
    place.write("Dockerfile.j2", STAGES)
    request = place.request(fingerprint)
    made = recipe(request)
    (stage, _) = stages.split(made.dockerfile, hashes(request, made))
    assert acr._kept(request, stage) == f"tiny-models:{stage.key}", "as it always was"
    assert acr._kept(replace(request, platform=ARM64), stage) == f"tiny-models:{stage.key}-arm64"


def test_a_base_image_of_another_platform_is_refused_and_nothing_is_pushed(
    place: Place, builder: str, fingerprint: str
) -> None:
    place.write("Dockerfile.j2", f"FROM --platform={AMD64} {{{{ base_image }}}}\nCOPY models/ /models/\n")
    with pytest.raises(ServiceError, match=ARM64) as caught:
        place.build(builder, place.request(fingerprint, platform=ARM64, base_image=BASE))
    assert AMD64 in caught.value.answer
    if builder == "docker":
        assert f"docker pull --platform linux/arm64 {BASE}" in caught.value.advice
    assert place.digest(fingerprint) is None


def test_an_engine_that_cannot_run_its_programs_says_what_to_do(place: Place, fingerprint: str) -> None:
    place.write("Dockerfile.j2", NO_PROGRAM)
    place.write("tool", f"no program {fingerprint}").chmod(0o755)
    request = place.request(fingerprint, platform=ARM64, dependencies=[place.folder / "tool"])
    with pytest.raises(ServiceError, match="exec format error") as caught:
        place.build("docker", request)
    assert "binfmt --install arm64" in caught.value.advice
    assert "image.builder acr" in caught.value.advice
    assert place.digest(fingerprint) is None


def test_the_resource_builds_for_what_its_sources_say(place: Place, fingerprint: str) -> None:
    """Its state has no other input for it: one from before there was a choice shows no change."""
    place.write("Dockerfile.j2", bare("amd64" + fingerprint))
    stack = Stack(place, f"p{fingerprint[:8]}")
    amd = stack.up("f1")["ref"]
    assert not stack.changes
    place.write("Dockerfile.j2", bare("arm64" + fingerprint))
    arm = stack.up("f2", sources={"platform": ARM64})["ref"]
    found = [place.architecture(ref) for ref in (amd, arm)]
    assert found == ["amd64", "arm64"]
