"""The builders `docker` and `acr` against a real local Azure, a real registry and a real Docker engine."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from components.services import registry
from components.services.builders import acr, docker_engine, tagged
from components.services.builders.context import build_context, recipe
from components.services.errors import ServiceError
from tests.builders.place import BUILDERS, RUNTIME, SCRIPT, TEMPLATE, Gate, Place
from tests.services.cloud import environment
from tests.support import image_names

pytestmark = pytest.mark.docker

BASE = os.environ.get("LOCALAZURE_BASE_IMAGE", "aml-edge/base:local")
FROM_BASE = "FROM {{ base_image }}\n"


def two_stages(command: str) -> str:
    """A template that runs a command and yet makes a tiny image."""
    return f"FROM {{{{ base_image }}}} AS work\nRUN {command}\nFROM scratch\nCOPY --from=work /etc/hostname /\n"


@pytest.fixture(params=BUILDERS)
def builder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_is_built_once(place: Place, builder: str, fingerprint: str) -> None:
    first = place.build(builder, place.request(fingerprint))
    assert first.made
    assert first.image_id == fingerprint
    assert first.ref == f"{place.credentials.login_server}/tiny@{place.digest(fingerprint)}"
    place.progress.clear()
    with place.cloud.azure.traffic() as seen:
        again = place.build(builder, place.request(fingerprint))
    assert again == replace(first, made=False)
    assert seen[0].changes == []
    assert place.progress == [f"the registry has fingerprint {fingerprint} already"]


@pytest.mark.parametrize(("one", "other"), [("docker", "acr"), ("acr", "docker")])
def test_either_finds_what_the_other_built(place: Place, fingerprint: str, one: str, other: str) -> None:
    first = place.build(one, place.request(fingerprint))
    with place.cloud.azure.traffic() as seen:
        assert place.build(other, place.request(fingerprint)) == replace(first, made=False)
    assert seen[0].changes == []


def test_both_make_the_same_image(place: Place) -> None:
    built = [place.build(name, place.request(f"same-{name}")) for name in BUILDERS]
    assert place.contents(built[0]) == place.contents(built[1])
    settings = [place.configuration(image)["config"] for image in built]
    assert settings[0].get("Env") == settings[1].get("Env")
    assert settings[0].get("Cmd") == settings[1].get("Cmd")


def test_what_is_staged_is_what_was_hashed(place: Place, builder: str, fingerprint: str) -> None:
    place.write("score.py", SCRIPT_CRLF).chmod(0o600)
    place.write("lib/tool.sh", "#!/bin/sh\r\n").chmod(0o700)
    place.write("lib/notes.txt", "left out")
    place.write("lib/__pycache__/x.pyc", "left out")
    place.write("lib/.amlignore", "*.txt\n!keep.txt\n")
    place.write("lib/keep.txt", "kept")
    (place.folder / "lib/tool").symlink_to("tool.sh")
    (place.folder / "model.bin").write_bytes(b"\x80\x02\r\n\0")
    image = place.build(builder, place.request(fingerprint, dependencies=[place.folder / "lib"]))
    contents = place.contents(image)
    here = {name: found for name, found in contents.items() if name.startswith(("app/", "models/"))}
    permissions = 0o777
    assert {name: (mode & permissions, content) for name, (mode, content) in here.items()} == {
        "app/score.py": (0o644, SCRIPT_CRLF.replace("\r\n", "\n").encode()),
        "app/runtime/__main__.py": (0o644, b""),
        "app/lib/tool.sh": (0o755, b"#!/bin/sh\n"),
        "app/lib/tool": (0o777, b"-> tool.sh"),
        "app/lib/keep.txt": (0o644, b"kept"),
        "models/numbers/2/model.bin": (0o644, b"\x80\x02\r\n\0"),
    }


SCRIPT_CRLF = "def init():\r\n    pass\r\n\r\n\r\ndef run(data):\r\n    return data\r\n"


STAGES = """\
FROM {{ base_image }} AS environment
COPY requirements.txt /
FROM environment AS models
COPY models/ /models/
FROM models
COPY app/ /app/
"""
"""As the project's own template, without an environment."""


def test_an_edited_script_changes_the_last_layer_only(place: Place, builder: str, fingerprint: str) -> None:
    place.write("Dockerfile.j2", STAGES)
    one = place.build(builder, place.request(fingerprint))
    place.write("score.py", "def init():\n    pass\n\n\ndef run(data):\n    return 2\n")
    two = place.build(builder, place.request(f"{fingerprint}-2"))
    before, after = place.layers(one), place.layers(two)
    assert len(before) == 3
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
    assert {name for name in place.contents(two) if name.startswith(("app/", "models/"))} == {
        "models/numbers/2/model.bin",
        "app/score.py",
        "app/runtime/__main__.py",
    }


def test_a_failing_build_says_why_leaves_nothing_and_can_be_repeated(
    place: Place, builder: str, fingerprint: str
) -> None:
    place.write("myenv.yml", "dependencies: [pip, {pip: [aml-edge-no-such-package==1.2.3]}]\n")
    bad = place.request(fingerprint, base_image=BASE, dockerfile=TEMPLATE)
    with pytest.raises(ServiceError, match="No matching distribution found for aml-edge-no-such-package") as caught:
        place.build(builder, bad)
    assert "run `pulumi up` again" in caught.value.advice
    assert len(caught.value.answer.splitlines()) < 30
    assert place.digest(fingerprint) is None
    place.write("myenv.yml", "dependencies: [pip]\n")
    assert place.build(builder, place.request(fingerprint)).made


def test_another_python_is_refused_in_words(place: Place, builder: str, fingerprint: str) -> None:
    place.write("myenv.yml", "dependencies: [python=3.7, pip]\n")
    with pytest.raises(ServiceError, match=r"the conda file pins python 3\.7, the base image has 3\.\d+"):
        place.build(builder, place.request(fingerprint, base_image=BASE, dockerfile=TEMPLATE))


def test_what_only_conda_has_is_refused_before_the_build(place: Place, builder: str, fingerprint: str) -> None:
    place.write("myenv.yml", "dependencies: [python=3.11, mkl, cudatoolkit=11.3]\n")
    with (
        place.cloud.azure.traffic() as seen,
        pytest.raises(ServiceError, match=r"mkl, cudatoolkit.*image\.builder azureml"),
    ):
        place.build(builder, place.request(fingerprint))
    assert [line for line in seen[0].changes if "listBuildSourceUploadUrl" not in line] == []
    assert not place.progress


def test_a_base_image_that_is_not_there_is_named(place: Place, builder: str, fingerprint: str) -> None:
    place.write("Dockerfile.j2", FROM_BASE)
    missing = f"{place.credentials.login_server}/nobody/has:this"
    with pytest.raises(ServiceError, match="nobody/has") as caught:
        place.build(builder, place.request(fingerprint, base_image=missing))
    assert "manifest" in str(caught.value) or "unauthorized" in str(caught.value)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("FROM {{ base_imgae }}\n", "'base_imgae' is undefined"),
        ("FROM x\n{% if python %}\n", r"Dockerfile\.j2 line 2: "),
    ],
)
def test_a_wrong_template_is_refused_before_the_build(
    place: Place, builder: str, fingerprint: str, template: str, words: str
) -> None:
    place.write("Dockerfile.j2", template)
    with pytest.raises(ServiceError, match=words) as caught:
        place.build(builder, place.request(fingerprint))
    assert "it knows base_image, python" in caught.value.advice


def test_a_template_knows_what_it_needs(place: Place, fingerprint: str) -> None:
    line = "# {{ base_image }} {{ python }} {{ app_root }} {{ script }}"
    line += " {% for m in models %}{{ m.name }}/{{ m.version }}/{{ m.file }}{% endfor %}\n"
    place.write("Dockerfile.j2", line)
    place.write("myenv.yml", "dependencies: [python=3.11]\n")
    request = place.request(fingerprint)
    with build_context(request, recipe(request), compressed=False) as context, tarfile.open(fileobj=context) as tar:
        dockerfile = tar.extractfile("Dockerfile")
        assert dockerfile is not None
        assert dockerfile.read() == b"# scratch 3.11 /var/azureml-app score.py numbers/2/model.bin\n"


def test_the_same_sources_are_packed_into_the_same_bytes(place: Place, fingerprint: str) -> None:
    def packed(compressed: bool) -> bytes:
        request = place.request(fingerprint)
        with build_context(request, recipe(request), compressed=compressed) as context:
            return context.read()

    before = {compressed: packed(compressed) for compressed in (False, True)}
    for path in place.folder.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700 if path.is_dir() else 0o640)
    assert {compressed: packed(compressed) for compressed in (False, True)} == before


def test_the_registry_s_password_is_nowhere(place: Place, builder: str, fingerprint: str) -> None:
    password = place.credentials.password
    image = place.build(builder, place.request(fingerprint))
    assert password not in place.said
    assert password not in str(place.configuration(image))
    assert not any(password.encode() in content for _, content in place.contents(image).values())


def test_lines_of_the_log_come_while_it_builds(place: Place, builder: str, fingerprint: str) -> None:
    came: list[str] = []
    with Gate() as gate:

        def progress(line: str) -> None:
            came.append(line.strip())
            if came[-1] == f"{fingerprint} one":
                gate.open()

        place.write("Dockerfile.j2", two_stages(f"echo {fingerprint} one; {gate.command}; echo two words"))
        place.build(builder, place.request(fingerprint, base_image=BASE, progress=progress))
    assert "two words" in came


class TestDocker:
    def test_a_wrong_password_is_an_error_of_the_push(
        self, place: Place, fingerprint: str, engine: docker.DockerClient
    ) -> None:
        right = place.credentials
        wrong = registry.Credentials(right.login_server, right.username, "wrong-password-canary")
        with pytest.raises(ServiceError, match="push the image") as caught:
            docker_engine._build_and_push(place.request(fingerprint), wrong)
        assert "wrong-password-canary" not in f"{caught.value}{place.said}"
        assert "unauthorized" in str(caught.value).lower()
        assert place.digest(fingerprint) is None
        assert not [tag for tag in image_names(engine, "RepoTags") if fingerprint in tag]

    def test_without_an_engine(self, place: Place, fingerprint: str, tmp_path: Path) -> None:
        with (
            environment({**place.cloud.azure.env, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}),
            pytest.raises(ServiceError, match="no Docker engine answers") as caught,
        ):
            place.build("docker", place.request(fingerprint))
        assert "image.builder acr builds in Azure without an engine" in caught.value.advice

    def test_a_login_in_the_package_index_is_refused(self, place: Place, fingerprint: str) -> None:
        with (
            environment({**place.cloud.azure.env, "PIP_INDEX_URL": "https://me:index-canary@packages.example/simple"}),
            pytest.raises(ServiceError, match="PIP_INDEX_URL holds a login") as caught,
        ):
            place.build("docker", place.request(fingerprint))
        assert "index-canary" not in str(caught.value)

    def test_no_name_is_left_on_the_engine(self, place: Place, fingerprint: str, engine: docker.DockerClient) -> None:
        place.build("docker", place.request(fingerprint))
        assert not [tag for tag in image_names(engine, "RepoTags") if fingerprint in tag]


class TestAcr:
    def test_a_run_that_was_left_is_taken_over(self, place: Place, fingerprint: str) -> None:
        with Gate() as gate:

            def progress(line: str) -> None:
                place.progress.append(line)
                if "taking over the build" in line:
                    gate.open()

            place.write("Dockerfile.j2", two_stages(f"{gate.command} # {fingerprint}"))
            request = place.request(fingerprint, base_image=BASE, progress=progress)
            image, made = f"tiny:{fingerprint}", recipe(request)
            with build_context(request, made, compressed=True, mark=image) as context:
                run_id = acr._schedule(request, context, image)  # and the program is killed
            with place.cloud.azure.traffic() as seen:
                assert place.build("acr", request).made
        assert f"taking over the build {run_id}" in place.said
        assert not [line for line in seen[0].changes if "scheduleRun" in line]

    def test_a_run_that_ended_meanwhile_is_not_made_again(
        self, place: Place, fingerprint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look for its image and the look for its run."""
        request = place.request(fingerprint)
        made = place.build("acr", request)
        monkeypatch.setattr(tagged, "trusted", lambda *_: None)  # the first look came too early
        with place.cloud.azure.traffic() as seen:
            assert place.build("acr", request).ref == made.ref
        assert not [line for line in seen[0].changes if "scheduleRun" in line]

    def test_only_the_stages_that_changed_are_built(
        self, place: Place, fingerprint: str, engine: docker.DockerClient
    ) -> None:
        place.write("Dockerfile.j2", STAGES)
        place.write("myenv.yml", f"dependencies: [pip, {{pip: [own-{fingerprint}]}}]\n")

        def runs(number: int) -> list[str]:
            place.progress.clear()
            built = place.build("acr", place.request(f"{fingerprint}-{number}"))
            assert [stage.partition(":")[0] for stage in built.stages] == ["tiny-environment", "tiny-models"]
            return [line.split()[2] for line in place.progress if line.startswith("ACR builds")]

        assert runs(1) == ["tiny-environment", "tiny-models", "tiny"]
        place.write("score.py", f"{SCRIPT}# edited\n")
        assert runs(2) == ["tiny"]
        place.write("model.bin", "other weights")
        assert runs(3) == ["tiny-models", "tiny"]
        place.write("myenv.yml", f"dependencies: [pip, {{pip: [other-{fingerprint}]}}]\n")
        assert runs(4) == ["tiny-environment", "tiny-models", "tiny"]
        server = place.credentials.login_server
        kept = image_names(engine, "RepoDigests")
        assert not [name for name in kept if name.startswith(f"{server}/tiny-")], "an agent forgets"

    def test_the_error_says_where_the_whole_log_is(self, place: Place, fingerprint: str) -> None:
        place.write("Dockerfile.j2", f"{FROM_BASE}RUN echo {fingerprint}; exit 3\n")
        with pytest.raises(ServiceError, match=fingerprint) as caught:
            place.build("acr", place.request(fingerprint, base_image=BASE))
        assert "az acr task logs --registry buildersregistry --run-id" in caught.value.advice
        assert "sig=" not in str(caught.value)

    def test_no_docker_engine_is_needed_here(self, place: Place, fingerprint: str, tmp_path: Path) -> None:
        with environment({**place.cloud.azure.env, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}):
            assert place.build("acr", place.request(fingerprint)).made


def test_the_runtime_of_the_project_is_staged_without_leftovers(place: Place, fingerprint: str) -> None:
    request = place.request(fingerprint, runtime=RUNTIME)
    with build_context(request, recipe(request), compressed=False) as context, tarfile.open(fileobj=context) as tar:
        names = tar.getnames()
    assert "app/edge_runtime/__main__.py" in names
    assert not [name for name in names if "__pycache__" in name]
