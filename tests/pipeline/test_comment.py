"""Comments of recorded previews (tests/pipeline/record.py) against the golden ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import comment, run
from pipeline.comment import Context, render
from pipeline.diagnostics import Violation
from pipeline.preview import parse
from tests.pipeline.record import COMMENTS, PREVIEWS
from tests.support import ROOT
from tests.waiting import PATIENCE

NAMES = sorted(path.stem for path in PREVIEWS.glob("*.json"))


def recorded(name: str) -> str:
    return (PREVIEWS / f"{name}.json").read_text()


def shown(name: str, **context: Any) -> str:
    return render(parse(recorded(name)), Context("dev", **context))


@pytest.mark.parametrize("name", NAMES)
def test_comment(name: str) -> None:
    """Where a change is meant: UPDATE_COMMENTS=1 writes the golden ones from the recorded previews."""
    golden = COMMENTS / f"{name}.md"
    made = shown(name)
    if os.environ.get("UPDATE_COMMENTS"):
        golden.write_text(made)
    assert made == golden.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_no_provider_and_no_placeholder_of_an_unknown(name: str) -> None:
    made = shown(name)
    for word in ("__provider", "__createBeforeDelete", "gASV", "04da6b54-80e4-46f7-96ec-b56ff0331ba9"):
        assert word not in made


def test_a_recorded_preview_holds_what_must_not_be_shown() -> None:
    """So that the test above can fail."""
    assert "__provider" in recorded("edited-script")
    assert "04da6b54-80e4-46f7-96ec-b56ff0331ba9" in recorded("edited-script")


def test_totals_are_the_engines() -> None:
    assert "3 to be replaced, 1 to be deleted, 1 to be updated, 1 to be created, 13 unchanged" in shown("key-vault")


def test_an_edited_script_names_the_script_and_the_device() -> None:
    made = shown("edited-script")
    assert "| 🟡 update | `image` | ModelImage | `script` |" in made
    assert "device `edge-1`" in made
    assert "CAUTION" not in made


FLEET = {
    "layered": False,
    "targetCondition": "tags.environment='plant'",
    "priority": 10,
    "deployment": {"module": "scorer", "image": "r.io/anomaly@sha256:" + "a" * 64},
    "registries": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": ""},
    "rollout": {"waves": ["tags.wave='pilot'", "tags.wave='rest'"], "wave": 1},
}


def fleet(details: list[str], **after: Any) -> str:
    step = {
        "op": "update",
        "urn": "urn:pulumi:dev::aml-edge::pulumi-python:dynamic/edge:FleetDeployment::plant",
        "oldState": {"custom": True, "inputs": FLEET},
        "newState": {"custom": True, "inputs": {**FLEET, **after}},
        "detailedDiff": {path: {"kind": "update", "inputDiff": True} for path in details},
    }
    return render(parse(json.dumps({"steps": [step], "changeSummary": {"update": 1}})), Context("dev"))


def test_a_fleet_names_its_devices_and_its_wave() -> None:
    made = fleet(["rollout.wave"], rollout={**FLEET["rollout"], "wave": 2})  # type: ignore[dict-item]
    reach = "devices where `tags.environment='plant'`, priority `10`, wave 2 of 2: `tags.wave='rest'`"
    assert f"| 🟡 update | `plant` | FleetDeployment | {reach} |" in made
    assert "| `rollout.wave` | `1` | `2` |" in made


def test_a_fleet_with_another_condition_and_another_image_shows_both() -> None:
    new = {**FLEET["deployment"], "image": "r.io/anomaly@sha256:" + "b" * 64}  # type: ignore[dict-item]
    made = fleet(["targetCondition", "deployment.image"], targetCondition="", deployment=new, rollout=None)
    assert "no devices (its target condition is empty), priority `10` |" in made
    assert "| `targetCondition` | `tags.environment='plant'` | *empty* |" in made
    assert "+image: r.io/anomaly@sha256:bbbb" in made
    assert "| `deployment.image` |" not in made, "the manifest's differences say it"


def test_devices_that_leave_a_fleet_are_warned_of() -> None:
    step: dict[str, Any] = {
        "op": "update",
        "urn": "urn:pulumi:dev::aml-edge::pulumi-python:dynamic/edge:DeviceFleet::fleet-devices",
        "oldState": {"custom": True, "inputs": {"devices": {f"line-{number}": {"tags": {}} for number in range(6)}}},
        "newState": {"custom": True, "inputs": {"devices": {"line-0": {"tags": {"a": "b"}}}}},
    }
    made = render(parse(json.dumps({"steps": [step], "changeSummary": {"update": 1}})), Context("dev"))
    assert "5 devices will be **deleted** (`line-1`, `line-2`, `line-3`, `line-4`, …): loses their keys" in made
    step["newState"] = step["oldState"]
    assert "CAUTION" not in render(parse(json.dumps({"steps": [step]})), Context("dev"))


def test_a_hub_sku_is_one_change() -> None:
    made = shown("hub-sku")
    assert "1 to be updated" in made
    assert "| `sku.name` | `S1` | `S2` |" in made


def test_replacing_the_workspace_warns_at_the_top() -> None:
    made = shown("key-vault")
    warning = made.index("> [!CAUTION]")
    assert warning < made.index("| 🔴 replace")
    assert "**`ml`** (machinelearningservices Workspace) will be **replaced** because of `keyVault`" in made
    assert "**`mlvault`** (keyvault Vault) will be **deleted**" in made
    assert "`mlvault2`" not in made[: made.index("| 🔴 replace")], "creating is no danger"


def test_removing_a_device_warns() -> None:
    made = shown("device-removed")
    assert "**`edge-1-identity`** (DeviceIdentity) will be **deleted**: loses the device's keys" in made


def test_a_protected_resource_is_named_as_such() -> None:
    document = json.loads(recorded("destroy"))
    for step in document["steps"]:
        if step["urn"].endswith("IotHubResource::hub"):
            step["oldState"]["protect"] = True
    made = render(parse(json.dumps(document)), Context("dev"))
    assert "**`hub`** (iothub IotHubResource) will be **deleted**: protected: the update will refuse" in made


def test_a_failed_preview_shows_its_error() -> None:
    made = shown("bad-settings")
    assert made.splitlines()[1].startswith("### Preview of `dev`: **failed**")
    assert 'aml-edge:registry.sku = "Gold": must be one of Basic, Standard, Premium' in made


def test_violations_stand_before_the_changes() -> None:
    violations = [
        Violation("images-by-digest-only", "mandatory", "edge-1-deployment", "no tag, @team"),
        Violation("b-advice", "advisory", "hub", "consider"),
    ]
    made = shown("edited-script", violations=violations)
    assert made.splitlines()[1] == "### Preview of `dev`: **1 policy violation**; 2 to be updated, 16 unchanged"
    assert made.index("⛔ `images-by-digest-only` on `edge-1-deployment`") < made.index("| 🟡 update")
    assert "@team" not in made, "a comment calls nobody"


def test_the_environment_is_shown_by_its_packages_where_the_files_are_there(tmp_path: Path) -> None:
    head, base = tmp_path / "head", tmp_path / "base"
    for folder, package in ((head, "numpy=2.1"), (base, "numpy=1.26")):
        (folder / "scoring").mkdir(parents=True)
        (folder / "scoring" / "myenv.yml").write_text(
            f"dependencies: [python=3.11, {package}, {{pip: [joblib==1.4]}}]\n"
        )
    made = shown("environment", head=head, base=base)
    assert "+`numpy=2.1`" in made
    assert "-`numpy=1.26`" in made
    assert "joblib" not in made


def test_the_same_input_gives_the_same_bytes_in_any_order() -> None:
    document = json.loads(recorded("key-vault"))
    document["steps"].reverse()
    assert render(parse(json.dumps(document)), Context("dev")) == shown("key-vault")


def test_a_mutation_that_drops_the_warning_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comment, "_losses", lambda preview: "")
    assert shown("key-vault") != (COMMENTS / "key-vault.md").read_text()


def _command(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "comment", "--stack", "dev", *arguments],
        input=text,
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def test_the_command(tmp_path: Path) -> None:
    said = tmp_path / "preview.txt"
    said.write_text("Policies:\n    - [mandatory]  no-tags  (t:i:T: hub)\n      text of it\n")
    done = _command(recorded("hub-sku"), "--diagnostics", str(said))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!-- aml-edge preview dev -->\n")
    assert "⛔ `no-tags` on `hub`: text of it" in done.stdout
    lost = _command(recorded("hub-sku"), "--diagnostics", str(tmp_path / "nosuch"))
    assert (lost.returncode, lost.stdout) == (1, ""), "no comment rather than one without the violations"
    assert "Traceback" not in lost.stderr


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "error: no Pulumi.yaml\n"])
def test_no_preview_at_all_is_a_comment_too(text: str, tmp_path: Path) -> None:
    said = tmp_path / "preview.txt"
    said.write_text("error: could not read the state, password=hunter2\n")
    done = _command(text, "--diagnostics", str(said))
    assert done.returncode == 0
    assert "**failed**" in done.stdout
    assert "could not read the state" in done.stdout
    assert "hunter2" not in done.stdout


def test_a_preview_that_its_policies_failed_is_a_failed_one(tmp_path: Path) -> None:
    """Its JSON has no word of it, its exit code does."""
    said = tmp_path / "preview.txt"
    said.write_text("error: policy pack failed to start\n")
    done = _command(recorded("hub-sku"), "--diagnostics", str(said), "--exit-code", "1")
    assert "### Preview of `dev`: **failed**; until then 1 to be updated" in done.stdout
    assert "error: policy pack failed to start" in done.stdout


URN = "urn:pulumi:dev::aml-edge::azure-native:iothub:IotHubResource::hub"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"steps": {"op": "create"}}',
        '{"steps": [null]}',
        '{"steps": [], "diagnostics": "x"}',
        '{"steps": [], "changeSummary": {"create": "x"}}',
        json.dumps({"steps": [{"op": "update", "urn": URN, "newState": {"inputs": {"a": "DEEP"}}}]}).replace(
            '"DEEP"', "[" * 600 + "]" * 600
        ),
    ],
)
def test_what_pulumi_never_writes_is_a_comment_too(text: str) -> None:
    made = run.write("dev", text, "the engine died", 1, Path(), None)
    assert "**failed**" in made
    assert "the engine died" in made


def test_no_part_of_a_preview_breaks_out_of_its_place() -> None:
    evil = "a|`b ``c <script>x</script> @octocat [x](http://evil) </details> \ud800\u202e --> \n## H"
    state = {"inputs": {evil: evil}, "custom": True}
    operations = ("replace", "delete", "update", "create", evil)
    urn = f"urn:pulumi:dev::aml-edge::azure-native:iot:{evil}::{evil}"
    steps = [
        {"op": one, "urn": urn, "oldState": state, "newState": state, "replaceReasons": [evil, 1]} for one in operations
    ]
    made = run.write("dev", json.dumps({"steps": steps, "changeSummary": {}}), "", 0, Path(), None)
    made.encode()
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", made)
    assert "c <script>" in made, "in a code span it stays as it is"
    for word in ("<script>", "@octocat", "[x]", "\n## H", "\u202e"):
        assert word not in outside
    for line in made.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 5)


@pytest.mark.parametrize("secret", ["[secret]", {"4dabf18193072939515e22adb298388d": "1b47", "value": "hunter2"}])
@pytest.mark.parametrize("sides", [("newState",), ("oldState", "newState")])
def test_settings_that_are_encrypted_do_not_look_removed(sides: tuple[str, ...], secret: Any) -> None:
    plain = {"inputs": {"deployment": {"image": "r.io/x"}, "deviceId": "edge-1"}, "custom": True}
    hidden = {"inputs": {"deployment": secret, "deviceId": "edge-1"}, "custom": True}
    step = {"op": "update", "urn": URN, "oldState": plain, "newState": plain, **dict.fromkeys(sides, hidden)}
    made = run.write("dev", json.dumps({"steps": [step]}), "", 0, Path(), None)
    assert "are encrypted" in made
    assert "device `edge-1`" in made
    assert "-image" not in made
    assert "hunter2" not in made


def test_a_comment_fits_whatever_was_said() -> None:
    steps = [
        {
            "op": "replace",
            "urn": f"{URN}{'`' * 300}{index}",
            "oldState": {},
            "newState": {},
            "replaceReasons": ["`" * 300],
        }
        for index in range(400)
    ]
    said = "\n".join(f"- [mandatory]  {'`' * 3000}{index}  (t: n)\n      {'@`' * 900}" for index in range(50))
    document = {"steps": steps, "diagnostics": [{"severity": "error", "message": "`" * 30_000}]}
    for text in (json.dumps(document), "no JSON"):
        assert len(run.write("dev", text, said + "`" * 30_000, 1, Path(), None)) <= comment.LIMIT
