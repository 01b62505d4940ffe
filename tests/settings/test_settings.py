"""Every setting: what is taken, what is refused and how that reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pydantic import ValidationError

from components.edge import manifest
from components.edge.fingerprint import hash_named
from components.edge.validate import validate
from components.settings import BUILDERS, MODES, Settings, SettingsError, files, load, load_from_pulumi
from components.settings.base import SettingsModel

Load = Callable[..., Settings]
Refused = Callable[..., str]
PROJECT = Path(__file__).parents[2]


def test_only_the_models_path_must_be_set(load_with: Load) -> None:
    settings = load_with()
    assert (settings.registry.sku, settings.hub.sku, settings.hub.units) == ("Basic", "S1", 1)
    assert (settings.model.path, settings.model.name) == ("scoring/model.pkl", "model")
    assert (settings.image.builder, settings.image.mode) == ("azureml", "containerImage")
    assert (settings.image.script, settings.image.conda_file) == ("scoring/score.py", "scoring/myenv.yml")
    assert [device.id for device in settings.devices] == ["edge-1"]
    assert (settings.deployment.module, settings.deployment.on_failure) == ("scorer", "rollback")
    assert settings.deployment.verify.timeout_seconds == 300
    assert settings.role_assignments is False


def test_the_models_path_must_be_set(root: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"1\. aml-edge:model\.path: must be set\n.*set --path aml-edge:model\.path scoring/model"
    ):
        load({}, root=root)


def test_settings_cannot_be_changed(load_with: Load) -> None:
    with pytest.raises(ValidationError):
        load_with().hub.units = 5


def test_values_arrive_as_json_text_under_full_keys(root: Path) -> None:
    settings = load(
        {
            "aml-edge:model": '{"path": "scoring/model.pkl", "tags": {"area": "iot"}}',
            "aml-edge:devices": '[{"id": "a", "tags": {"site": "lab"}}, {"id": "A"}]',
            "aml-edge:hub": '{"sku": "S2", "units": 3}',
            "aml-edge:roleAssignments": "true",
            "azure-native:location": "westeurope",
            "pulumi:tags": "{}",
        },
        root=root,
    )
    assert settings.model.tags == {"area": "iot"}
    assert [device.id for device in settings.devices] == ["a", "A"]
    assert (settings.hub.sku, settings.hub.units, settings.role_assignments) == ("S2", 3, True)


REF = f"acr.azurecr.io/anomaly@sha256:{'a' * 64}"
GOOD: list[dict[str, Any]] = [
    {"workspace": {"friendlyName": "Lab", "description": "d"}},
    {"registry": {"sku": "Premium"}},
    {"hub": {"sku": "F1", "units": 1}},
    {"hub": {"sku": "S1", "units": 200}},
    {"hub": {"sku": "S3", "units": "10"}},
    {"model": {"path": "scoring", "name": "a" + "._-9" * 63 + "zz"}},
    {"model": {"path": "scoring/model.pkl", "framework": "ScikitLearn", "frameworkVersion": "1.5", "keepVersions": 1}},
    {"model": {"path": "scoring/model.pkl", "retain": True}, "models": [{"path": "scoring", "name": "all"}]},
    {"image": {"name": "a.b-c"}},
    {"image": {"name": "a" * 32}},
    {"image": {"tags": {"area": "iot"}, "description": "d"}},
    {"image": {"builder": "acr", "platform": "linux/arm64"}},
    {"image": {"builder": "docker", "platform": "linux/arm64"}},
    {"image": {"builder": "azureml", "platform": "linux/amd64"}},
    {"image": {"builder": "none", "ref": REF, "platform": "linux/arm64"}},
    {"devices": []},
    {"devices": [{"id": "aZ9-:.+%_#*?!(),=@;$'"}, {"id": "x" * 128}]},
    {"devices": [{"id": "a", "tags": {"site": "x" * 4096}}]},
    {"deployment": {"module": "m2-x_Y"}},
    {"deployment": {"env": {"A": "x", "B": 1, "C": 1.5, "D": False, "e-f": ""}}},
    {"deployment": {"createOptions": {"HostConfig": {"Memory": 536870912}}}},
    {"deployment": {"status": "stopped", "restartPolicy": "never", "imagePullPolicy": "never", "startupOrder": 5}},
    {"deployment": {"routes": {}}},
    {"deployment": {"routes": {"up": "FROM /messages/modules/scorer/* INTO $upstream"}}},
    {"deployment": {"routes": {"up": {"route": "FROM /* INTO $upstream", "priority": 9, "timeToLiveSecs": 0}}}},
    {"deployment": {"timeToLiveSecs": 0, "runtimeVersion": "1.5.21"}},
    {
        "deployment": {
            "edgeAgent": {"env": {"RuntimeLogLevel": "debug"}},
            "edgeHub": {"image": "x/hub:1", "createOptions": {}},
        }
    },
    {"deployment": {"verify": {"timeoutSeconds": 10}, "onFailure": "keep"}},
    {"deployment": {"verify": {"timeoutSeconds": 3600}}},
    {"deployment": {"verify": {"probe": {"reading": {"a": 1}, "expect": {"anomaly": True}, "timeoutSeconds": 5}}}},
    {"deployment": {"verify": {"probe": {"reading": [1]}}}},
    {"roleAssignments": True},
]


@pytest.mark.parametrize("values", GOOD, ids=json.dumps)
def test_what_is_taken(load_with: Load, values: dict[str, Any]) -> None:
    settings = load_with(**values)
    rendered = manifest.render(
        {**settings.deployment.for_manifest(), "image": f"h.example/x@sha256:{'0' * 64}"},  # type: ignore[typeddict-item]
        {},
    )
    assert validate(rendered) == []


LONG = {f"k{number}": "x" * 4000 for number in range(3)}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("deployment.verify.probe.reading", {"deployment": {"verify": {"probe": {"expect": 1}}}}, "must be set"),
    (
        "deployment.verify.probe",
        {"deployment": {"verify": {"enabled": False, "probe": {"reading": 1}}}},
        "which is off",
    ),
    ("deployment.verify.probe", {"deployment": {"status": "stopped", "verify": {"probe": {"reading": 1}}}}, "not run"),
    ("workspace.name", {"workspace": {"name": "x"}}, "no such setting"),
    ("workspace.friendlyName", {"workspace": {"friendlyName": 5}}, "must be text"),
    ("registry.sku", {"registry": {"sku": "basic"}}, "must be one of Basic, Standard, Premium (did you mean 'Basic'?)"),
    ("registry.skus", {"registry": {"skus": "Basic"}}, "did you mean 'sku'?"),
    ("registry", {"registry": "Basic"}, "must be an object"),
    ("registry", {"registry": ["Basic"]}, "write it as an object of existing, enableAdminUser, sku"),
    ("registry", {"registry": "[1]"}, "must be an object"),
    ("hub.sku", {"hub": {"sku": "B1"}}, "Standard or Free tier"),
    ("hub.sku", {"hub": {"sku": "S4"}}, "must be one of F1, S1, S2, S3"),
    ("hub.units", {"hub": {"units": 0}}, "must be at least 1"),
    ("hub.units", {"hub": {"sku": "F1", "units": 2}}, "a hub of F1 has at most 1 units"),
    ("hub.units", {"hub": {"sku": "S2", "units": 201}}, "a hub of S2 has at most 200 units"),
    ("hub.units", {"hub": {"sku": "S3", "units": 11}}, "a hub of S3 has at most 10 units"),
    ("hub.units", {"hub": {"units": True}}, "whole number"),
    ("hub.units", {"hub": {"units": 1.5}}, "whole number"),
    ("hub.units", {"hub": {"units": "two"}}, "whole number"),
    ("model.path", {"model": {}}, "must be set"),
    ("model.path", {"model": {"path": 5}}, "must be text"),
    ("model.path", {"model": {"path": "scoring/none.pkl"}}, "there is no file or folder"),
    ("model.name", {"model": {"path": "scoring/model.pkl", "name": "-a"}}, "no name of an Azure ML model"),
    ("model.name", {"model": {"path": "scoring/model.pkl", "name": "a b"}}, "no name of an Azure ML model"),
    ("model.name", {"model": {"path": "scoring/model.pkl", "name": "a" * 256}}, "no name of an Azure ML model"),
    ("model.tags.n", {"model": {"path": "scoring/model.pkl", "tags": {"n": 1}}}, "must be text"),
    ("model.tags", {"model": {"path": "scoring/model.pkl", "tags": ["area"]}}, "write {area: ...}"),
    ("model.tags", {"model": {"path": "scoring/model.pkl", "tags": "area"}}, "must be an object"),
    ("image.tags", {"image": {"tags": yaml.safe_load("{area, iot}")}}, "write {area: ..., iot: ...}"),
    ("image.tags", {"image": {"tags": yaml.safe_load("{area: iot, type}")}}, "write {type: ...}"),
    ("model.frameworkVersion", {"model": {"path": "scoring/model.pkl", "frameworkVersion": "1"}}, "with the framework"),
    ("model.keepVersions", {"model": {"path": "scoring/model.pkl", "keepVersions": 0}}, "must be at least 1"),
    ("models[0].path", {"models": [{"name": "x"}]}, "set --path aml-edge:models[0].path"),
    ("models[0].name", {"models": [{"path": "scoring/model.pkl"}]}, "2 models have the name 'model'"),
    ("models", {"models": {"path": "scoring/model.pkl"}}, "must be a list"),
    ("models[0].existing", {"models": [{"existing": "m"}]}, "set aml-edge:workspace.existing"),
    ("model.nam", {"model": {"path": "scoring/model.pkl", "nam": "x"}}, "did you mean 'name'?"),
    ("image.name", {"image": {"name": "ab"}}, "3 to 32 lower-case"),
    ("image.name", {"image": {"name": "a" * 33}}, "3 to 32 lower-case"),
    ("image.name", {"image": {"name": "Anomaly"}}, "3 to 32 lower-case"),
    ("image.name", {"image": {"name": "-ab"}}, "3 to 32 lower-case"),
    ("image.name", {"image": {"name": "abc-"}}, "3 to 32 lower-case"),
    ("image.name", {"image": {"name": "abc\n"}}, "3 to 32 lower-case"),
    ("image.builder", {"image": {"builder": "kaniko"}}, "must be one of azureml, acr, docker"),
    ("image.builder", {"image": {"builder": "azurml"}}, "did you mean 'azureml'?"),
    ("image.platform", {"image": {"builder": "acr", "platform": "arm64"}}, "must be one of linux/amd64, linux/arm64"),
    ("image.platform", {"image": {"builder": "acr", "platform": "linux/amr64"}}, "did you mean"),
    ("image.platform", {"image": {"platform": "linux/arm64"}}, "azureml makes images for linux/amd64 only"),
    (
        "image.platform",
        {"image": {"mode": "package", "platform": "linux/arm64"}},
        "Fix: use image.builder acr or docker",
    ),
    ("image.mode", {"image": {"mode": "containerimage"}}, "did you mean 'containerImage'?"),
    ("image.script", {"image": {"script": "score.py"}}, "there is no file"),
    ("image.condaFile", {"image": {"condaFile": "myenv.yml"}}, "there is no file"),
    ("image.condafile", {"image": {"condafile": "myenv.yml"}}, "did you mean 'condaFile'?"),
    ("image.tags.v", {"image": {"tags": {"v": True}}}, "must be text"),
    ("devices", {"devices": {"id": "a"}}, "must be a list"),
    ("devices", {"devices": "edge-1"}, "must be a list"),
    ("devices", {"devices": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, "2 devices have the id 'a'"),
    ("devices[1].id", {"devices": [{"id": "a"}, {"id": "a b"}]}, "a device id is"),
    ("devices[0].id", {"devices": [{"id": ""}]}, "a device id is"),
    ("devices[0].id", {"devices": [{"id": "x" * 129}]}, "a device id is"),
    ("devices[0].id", {"devices": [{"id": "ä"}]}, "a device id is"),
    ("devices[0].id", {"devices": [{}]}, "must be set"),
    ("devices[0]", {"devices": ["edge-1"]}, "must be an object"),
    ("devices[0].tag", {"devices": [{"id": "a", "tag": {}}]}, "did you mean 'tags'?"),
    ('devices[0].tags["a b"]', {"devices": [{"id": "a", "tags": {"a b": "x"}}]}, "blank"),
    ("devices[0].tags.v", {"devices": [{"id": "a", "tags": {"v": "x" * 4097}}]}, "4096"),
    ("devices[0].tags", {"devices": [{"id": "a", "tags": LONG}]}, "8192"),
    ("deployment.module", {"deployment": {"module": "$edgeHub"}}, "a module name is"),
    ("deployment.module", {"deployment": {"module": "edgeAgent"}}, "a module name is"),
    ("deployment.module", {"deployment": {"module": "a b"}}, "a module name is"),
    ("deployment.env.A", {"deployment": {"env": {"A": ["x"]}}}, "plain values"),
    ("deployment.env.A", {"deployment": {"env": {"A": None}}}, "plain values"),
    ('deployment.env["A.B"]', {"deployment": {"env": {"A.B": "x"}}}, "name of a variable"),
    ("deployment.env.A", {"deployment": {"env": {"A": "x" * 4097}}}, "4096"),
    ("deployment.createOptions", {"deployment": {"createOptions": "{}"}}, "must be an object"),
    ("deployment", {"deployment": {"createOptions": {"a": "x" * 33000}}}, "32768"),
    ("deployment.status", {"deployment": {"status": "paused"}}, "running, stopped"),
    ("deployment.restartPolicy", {"deployment": {"restartPolicy": "alway"}}, "did you mean 'always'?"),
    ("deployment.imagePullPolicy", {"deployment": {"imagePullPolicy": "always"}}, "on-create, never"),
    ("deployment.startupOrder", {"deployment": {"startupOrder": -1}}, "at least 0"),
    ("deployment.startupOrder", {"deployment": {"startupOrder": 4294967296}}, "at most 4294967295"),
    ("deployment.routes.r.route", {"deployment": {"routes": {"r": "FROM x"}}}, "INTO <sink>"),
    ("deployment.routes.r.route", {"deployment": {"routes": {"r": {"priority": 1}}}}, "must be set"),
    (
        "deployment.routes.r.priority",
        {"deployment": {"routes": {"r": {"route": "FROM /* INTO $upstream", "priority": 10}}}},
        "at most 9",
    ),
    (
        "deployment.routes.r.timeToLiveSecs",
        {"deployment": {"routes": {"r": {"route": "FROM /* INTO $upstream", "timeToLiveSecs": -1}}}},
        "at least 0",
    ),
    (
        "deployment.routes.r",
        {"deployment": {"routes": {"r": "FROM /messages/modules/x/* INTO $upstream"}}},
        "route-module",
    ),
    ("deployment.routes.r", {"deployment": {"routes": {"r": 5}}}, "must be an object"),
    ("deployment.timeToLiveSecs", {"deployment": {"timeToLiveSecs": -1}}, "at least 0"),
    ("deployment.runtimeVersion", {"deployment": {"runtimeVersion": 1.5}}, "must be text"),
    ("deployment.runtimeVersion", {"deployment": {"runtimeVersion": "latest"}}, "not a version"),
    ("deployment.edgeHub.image", {"deployment": {"edgeHub": {"image": "A B"}}}, "image reference"),
    ("deployment.edgeHub.env.A", {"deployment": {"edgeHub": {"env": {"A": {}}}}}, "plain values"),
    ("deployment.edgeHub.status", {"deployment": {"edgeHub": {"status": "running"}}}, "no such setting"),
    ("deployment.verify.timeoutSeconds", {"deployment": {"verify": {"timeoutSeconds": 9}}}, "at least 10"),
    ("deployment.verify.timeoutSeconds", {"deployment": {"verify": {"timeoutSeconds": 3601}}}, "at most 3600"),
    ("deployment.verify.timeout", {"deployment": {"verify": {"timeout": 60}}}, "did you mean 'timeoutSeconds'?"),
    ("deployment.onFailure", {"deployment": {"onFailure": "stop"}}, "rollback, keep"),
    ("roleAssignments", {"roleAssignments": "maybe"}, "must be true or false"),
    ("deploymnt", {"deploymnt": "x"}, "did you mean 'deployment'?"),
    ("zzz", {"zzz": "x"}, "known here: workspace, registry"),
]


@pytest.mark.parametrize(
    ("key", "values", "said"), BAD, ids=[f"{key}-{number}" for number, (key, _, _) in enumerate(BAD)]
)
def test_what_is_refused(problem: Refused, key: str, values: dict[str, Any], said: str) -> None:
    assert said in problem(key, **values)


def test_the_folder_of_a_model_must_hold_a_file(problem: Refused, root: Path) -> None:
    (root / "empty").mkdir()
    (root / "empty.pkl").touch()
    assert "holds no file" in problem("model.path", model={"path": "empty"})
    assert "empty" in problem("model.path", model={"path": "empty.pkl"})


def test_a_file_name_that_is_no_model_name_asks_for_one(problem: Refused, root: Path) -> None:
    (root / "_model.pkl").write_bytes(b"x")
    assert "aml-edge:model.name best_model" in problem("model.name", model={"path": "_model.pkl"})


def test_absolute_paths_are_taken_as_written(load_with: Load, root: Path) -> None:
    path = str(root / "scoring" / "model.pkl")
    assert load_with(model={"path": path}).model.path == path


@pytest.mark.parametrize("builder", [builder for builder in BUILDERS if builder != "none"])
@pytest.mark.parametrize("mode", MODES)
def test_every_builder_takes_either_mode_so_that_the_builder_alone_switches_a_stack(
    load_with: Load, builder: str, mode: str
) -> None:
    image = load_with(image={"builder": builder, "mode": mode}).image
    assert (image.builder, image.mode) == (builder, mode)


def test_files_of_the_image_must_be_there(problem: Refused) -> None:
    assert "no file or folder" in problem("image.dependencies[0]", image={"dependencies": ["none.py"]})
    assert "no file" in problem("image.dockerfile", image={"dockerfile": "none.j2"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM {{ base_image }}\n{% if %}\n", "line 2: "),
        ("FROM {{ base_imag }}\n", "did you mean 'base_image'?"),
        (b"FROM \xff\n", "not text"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused(
    problem: Refused, root: Path, text: str | bytes, said: str
) -> None:
    (root / "own.j2").write_bytes(text.encode() if isinstance(text, str) else text)
    assert said in problem("image.dockerfile", image={"dockerfile": "own.j2"})


def test_the_projects_own_template_asks_for_what_there_is() -> None:
    assert not [*files.check_template(PROJECT / "scoring/Dockerfile.j2")]


@pytest.mark.parametrize("empty", ["", " "])
def test_what_a_variable_that_nobody_set_leaves_is_refused(load_with: Load, empty: str) -> None:
    """Empty is neither the project's folder (a model of it all) nor "make another"."""
    with pytest.raises(SettingsError) as caught:
        load_with(
            workspace={"existing": empty},
            registry={"existing": empty},
            hub={"existing": empty},
            model={"path": empty},
            image={"script": empty, "condaFile": empty, "dockerfile": empty, "dependencies": [empty]},
        )
    keys = [found.key.removeprefix("aml-edge:") for found in caught.value.problems if "not be empty" in found.rule]
    image = ["image.script", "image.condaFile", "image.dockerfile", "image.dependencies[0]"]
    assert sorted(keys) == sorted(["workspace.existing", "registry.existing", "hub.existing", "model.path", *image])


@pytest.mark.parametrize("builder", ["docker", "acr"])
def test_what_only_conda_can_install_is_refused_for_builders_without_it(
    load_with: Load, problem: Refused, root: Path, builder: str
) -> None:
    (root / "scoring/myenv.yml").write_text("dependencies: [python=3.11, mkl, cudatoolkit=11.8, pip]\n")
    said = problem("image.condaFile", image={"builder": builder})
    assert "asks for mkl, cudatoolkit, which pip cannot install" in said
    assert "Fix: use image.builder azureml" in said
    assert load_with(image={"builder": "azureml"})


def test_keys_are_named_as_they_are_written(problem: Refused, root: Path) -> None:
    assert "did you mean 'condaFile'?" in problem("image.conda_file", image={"conda_file": "scoring/myenv.yml"})
    (root / "scoring/myenv.yml").unlink()
    assert "there is no file" in problem("image.condaFile")


def test_every_problem_of_every_dependency_at_once(load_with: Load, root: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_with(image={"dependencies": ["none.py", "scoring/score.py", "gone"]})
    assert [found.key for found in caught.value.problems] == [f"aml-edge:image.dependencies[{i}]" for i in range(3)]


def test_the_base_image_is_an_image_reference(load_with: Load, problem: Refused) -> None:
    assert load_with(image={"baseImage": "python:3.12-slim"}).image.base_image == "python:3.12-slim"
    assert "not an image reference" in problem("image.baseImage", image={"baseImage": "Not An Image"})


def test_at_least_three_images_are_kept(load_with: Load, problem: Refused) -> None:
    image = load_with(image={"keepImages": 5, "retain": True}).image
    assert (image.keep_images, image.retain) == (5, True)
    assert (load_with(image={}).image.keep_images, load_with(image={}).image.retain) == (3, False)
    assert "3 or more" in problem("image.keepImages", image={"keepImages": 2})
    assert "whole number" in problem("image.keepImages", image={"keepImages": "all"})


def test_dependencies_do_not_meet_each_other_in_the_image(root: Path, problem: Refused) -> None:
    for name in ("scoring/score.py", "a/util.py", "b/util.py", "a/main.py", "edge_runtime/x.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()

    def refused(*dependencies: str) -> str:
        index = len(dependencies) - 1
        return problem(f"image.dependencies[{index}]", image={"dependencies": list(dependencies)})

    (root / "b/score.py").touch()
    assert "which is the script" in refused("b/score.py")
    assert "which is the name of a/util.py already" in refused("a/util.py", "b/util.py")
    assert "Azure ML's driver" in refused("a/main.py")
    assert "edge module runtime's" in refused("edge_runtime")


@pytest.mark.parametrize(
    "name", ["my model.pkl", "modèle.pkl", "100%.pkl", "a+b.pkl", "a#b.pkl", "folder/my model.pkl"]
)
def test_a_model_that_azureml_core_cannot_upload_is_refused(problem: Refused, root: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"weights")
    told = problem("model.path", model={"path": name.partition("/")[0], "name": "odd"})
    assert f"not {name!r}" in told
    assert "rename" in told


def test_a_promoted_image_is_named_by_digest(load_with: Load, problem: Refused) -> None:
    assert load_with(image={"ref": REF, "fingerprint": "f"}).image.ref == REF
    assert "make promote" in problem("image.ref", image={"ref": "acr.azurecr.io/anomaly:latest"})


def test_a_promoted_model_must_be_the_one_in_the_image(load_with: Load, problem: Refused, root: Path) -> None:
    path = "scoring/model.pkl"
    right = hash_named(root / path)
    assert load_with(model={"path": path, "contentHash": right}).model.content_hash == right
    other = {"path": path, "contentHash": "0" * 64}
    assert "holds another model" in problem("model.contentHash", model=other)
    settings = load_with(model=other, image={"ref": REF})
    assert settings.model.content_hash == "0" * 64, (
        "the workspace may have it: main goes on while a promoted stack stays"
    )


EXISTING = {"workspace": {"existing": "ml"}, "hub": {"existing": "hub"}, "registry": {"existing": "acr"}}


def test_what_exists_needs_no_file_and_keeps_its_name(load_with: Load) -> None:
    settings = load_with(**EXISTING, model={"existing": "best_model:3"}, devices=[{"id": "edge-1", "existing": True}])
    assert (settings.model.path, settings.model.name) == (None, "best_model")
    assert settings.devices[0].existing


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("devices[0].existing", {"devices": [{"id": "a", "existing": True}]}, "set aml-edge:hub.existing"),
        ("model.existing", {"model": {"existing": "m"}}, "set aml-edge:workspace.existing"),
        ("model.existing", {"model": {"existing": "m:x"}}, "best_model:3"),
        ("registry.enableAdminUser", {"registry": {"enableAdminUser": True}}, "leave it out"),
        (
            "model.path",
            {"workspace": {"existing": "ml"}, "model": {"existing": "m"}, "image": {"builder": "docker"}},
            "needs the model's file",
        ),
    ],
)
def test_what_exists_must_hang_together(problem: Refused, key: str, values: dict[str, Any], said: str) -> None:
    assert said in problem(key, **values)


def test_everything_wrong_is_reported_at_once_in_the_order_of_the_stack_file(root: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(
            {
                "model": {"path": "none", "name": "a b", "tag": {}},
                "image": {"builder": "x", "mode": "y", "script": "none.py", "condaFile": "none.yml"},
                "devices": [{"id": "a b"}, {"id": "x"}, {"id": "x"}],
                "deployment": {"module": "a b", "routes": {"r": "FROM"}, "env": {"A.B": "x"}, "onFailure": "z"},
                "hub": "no object",
                "imgae": "x",
            },
            root=root,
        )
    keys = [found.key.removeprefix("aml-edge:") for found in caught.value.problems]
    assert sorted(keys) == sorted(
        [
            "hub",
            "model.path",
            "model.name",
            "model.tag",
            "image.builder",
            "image.mode",
            "image.script",
            "image.condaFile",
            "devices[0].id",
            "devices",
            "deployment.module",
            "deployment.routes.r.route",
            'deployment.env["A.B"]',
            "deployment.onFailure",
            "imgae",
        ]
    )
    assert str(caught.value).startswith("the stack's settings have 15 problems; nothing was changed\n  1. aml-edge:")
    assert "\n  15. aml-edge:" in str(caught.value)


def test_a_wrong_setting_hides_no_rule_between_others(root: Path) -> None:
    """Those need every setting to be right, and the wrong one elsewhere must not cost a second try."""
    with pytest.raises(SettingsError) as caught:
        load(
            {
                "model": {"path": "scoring/model.pkl"},
                "image": {"name": "X"},
                "registry": {"enableAdminUser": True},
                "devices": [{"id": "a", "existing": True}],
                "deployment": {"modules": {"scorer": {"image": "server/a:1"}, "b": {"image": "B A D"}}},
            },
            root=root,
        )
    keys = {found.key.removeprefix("aml-edge:") for found in caught.value.problems}
    assert keys == {
        "image.name",
        "registry.enableAdminUser",
        "devices[0].existing",
        "deployment.modules.b.image",
        "deployment",
    }


def test_values_that_may_be_secret_are_not_shown(load_with: Load) -> None:
    secret = "hunter2"
    with pytest.raises(SettingsError) as caught:
        load_with(
            deployment={
                "env": {"A": [secret], "B.C": secret},
                "createOptions": secret,
                "edgeAgent": {"env": secret, "createOptions": {"Env": [secret * 2000]}},
            }
        )
    assert len(caught.value.problems) == 4
    assert secret not in str(caught.value)
    for deployment in ({"createOptions": {"Env": [secret * 5000]}}, f'{{"env": {{"A": "{secret}"}}'):
        with pytest.raises(SettingsError) as caught:
            load_with(deployment=deployment)
        assert secret not in str(caught.value)


def test_long_values_are_cut(problem: Refused) -> None:
    assert len(problem("image.builder", image={"builder": "x" * 10_000})) < 400


def test_the_committed_stack_file_is_valid() -> None:
    stack = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())["config"]
    settings = load(stack, root=PROJECT)
    assert (settings.model.name, settings.image.name) == ("best_model", "anomaly")
    assert {"builder", "mode"} <= stack["aml-edge:image"].keys()


def test_the_project_declares_every_key_with_the_same_default() -> None:
    declared = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())["config"]
    fields = {field.alias or name for name, field in Settings.model_fields.items()}
    assert declared.keys() == fields
    defaults = {key: entry["default"] for key, entry in declared.items()}
    given = {**defaults, "model": {"path": "scoring/model.pkl"}}
    assert load(given, root=PROJECT) == load({"model": {"path": "scoring/model.pkl"}}, root=PROJECT)


def test_what_each_object_may_hold_is_in_its_description() -> None:
    declared = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())["config"]
    for name, field in Settings.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, SettingsModel):
            description = declared[field.alias or name]["description"]
            missing = [
                inner.alias
                for inner in annotation.model_fields.values()
                if inner.alias and inner.alias not in description
            ]
            assert missing == []


def test_the_program_reads_misspelt_keys_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    config = {"aml-edge:model": '{"path": "scoring/model.pkl"}', "azure-native:location": "westeurope"}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(config))
    assert load_from_pulumi().model.path == "scoring/model.pkl"
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({**config, "aml-edge:divices": "[]"}))
    with pytest.raises(pulumi.RunError, match=r"aml-edge:divices: there is no such setting .did you mean 'devices'"):
        load_from_pulumi()
