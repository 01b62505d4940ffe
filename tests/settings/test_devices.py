"""Devices from the stack file and from CSV files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.settings import Settings, SettingsError

Load = Callable[..., Settings]


def refused(load_with: Load, text: str | bytes, root: Path) -> list[str]:
    """`rule` of every problem that a file has."""
    (root / "devices.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        load_with(devices=[{"csv": "devices.csv"}])
    assert {problem.key for problem in caught.value.problems} == {"aml-edge:devices[0]"}
    assert all(problem.fix for problem in caught.value.problems)
    return [problem.rule.removeprefix("devices.csv ") for problem in caught.value.problems]


def test_a_file_beside_devices_of_the_stack_file(load_with: Load, root: Path) -> None:
    text = "id,tags.site,status,keyGeneration,existing\nb,lab,disabled,2,\n\n,,,,\nc,,,,false\nd\n"
    (root / "lab.csv").write_text(text)
    (root / "more.csv").write_text("id\ne\n")
    devices = load_with(devices=[{"id": "a"}, {"csv": "lab.csv"}, {"id": "z"}, {"csv": "more.csv"}]).devices
    assert [device.id for device in devices] == ["a", "b", "c", "d", "z", "e"]
    assert (devices[1].tags, devices[1].status, devices[1].key_generation) == ({"site": "lab"}, "disabled", 2)
    assert (devices[2].tags, devices[2].status, devices[2].key_generation) == ({}, "enabled", 1)


@pytest.mark.parametrize(
    "text",
    [
        "id,tags.site\na,Genève\n".encode("utf-8-sig"),
        "id;tags.site\r\na;Genève\r\n".encode(),
        ' id , tags.site \n a , "Genève" \n'.encode(),
        "tags.site,id\nGenève,a".encode(),
    ],
    ids=["spreadsheet, byte order mark", "spreadsheet, semicolons", "blanks", "other order, no last newline"],
)
def test_forms_that_programs_write(load_with: Load, root: Path, text: bytes) -> None:
    (root / "devices.csv").write_bytes(text)
    (device,) = load_with(devices=[{"csv": "devices.csv"}]).devices
    assert (device.id, {key: value.strip('" ') for key, value in device.tags.items()}) == ("a", {"site": "Genève"})


def test_cells_keep_commas_quotes_and_lines(load_with: Load, root: Path) -> None:
    (root / "devices.csv").write_text('id,tags.a,tags.b\na,"x, y","say ""hi"""\n"b","two\nlines",\n')
    assert [device.tags for device in load_with(devices=[{"csv": "devices.csv"}]).devices] == [
        {"a": "x, y", "b": 'say "hi"'},
        {"a": "two\nlines"},
    ]


def test_every_problem_of_every_row_at_once(load_with: Load, root: Path) -> None:
    text = (
        'id,status,keyGeneration,existing,tags.a\nok,,,,\na b,,,,\n"c",off,0,,"two\nlines"\n,,,,x\nok,,,,\n'
        f"d,,x,maybe,{'y' * 5000}\ne,,,,,,\n"
    )
    assert refused(load_with, text, root) == [
        'line 3, id = "a b": a device id is 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ \'',
        'line 4, status = "off": must be one of enabled, disabled',
        'line 4, keyGeneration = "0": must be at least 1',
        "line 6, id: must be set",
        'line 8, existing = "maybe": must be true or false',
        'line 8, keyGeneration = "x": must be a whole number',
        "line 8, tags.a: is 5000 bytes long; the hub accepts 4096 in one value",
        "line 9: has 7 cells, the first line names 5 columns",
        "line 7, id: 'ok' is in line 2 already",
    ]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ["line 1: there is no column id"]),
        ("tags.site\nlab\n", ["line 1: there is no column id"]),
        ("id,tag.site\na,lab\n", ["line 1: there is no column 'tag.site'"]),
        ("id,keygeneration\n", ["line 1: there is no column 'keygeneration' (did you mean 'keyGeneration'?)"]),
        ("id,tags.\n", ["line 1: there is no column 'tags.'"]),
        ("id,id\n", ["line 1: 2 columns are called 'id'"]),
        ("id,tags.managedBy\na,me\n", ["line 2, tags.managedBy: marks the devices that this program made"]),
        ("id,tags.a.b\na,x\n", ["line 2, tags[\"a.b\"]: has a key that is empty or holds a dot"]),
        ("id,tags.deviceFleet\na,me\n", ["line 2, tags.deviceFleet: marks the devices of aml-edge:fleetDevices"]),
        ("id,tags.ownDeployment\na,me\n", ["line 2, tags.ownDeployment: marks the devices that have a deployment"]),
        ("id,tags.site\n", ["has no device"]),
        (f'id,tags.site\na,"{"x" * 140_000}\n', ["cannot be read as CSV"]),
        (b"id\n\xff\n", ["is not UTF-8"]),
    ],
)  # fmt: skip
def test_files_that_are_refused(load_with: Load, root: Path, text: str | bytes, rules: list[str]) -> None:
    found = refused(load_with, text, root)
    assert len(found) == len(rules), found
    for rule, expected in zip(found, rules, strict=True):
        assert rule.startswith(expected)


def test_a_file_that_is_not_there(load_with: Load) -> None:
    with pytest.raises(SettingsError, match=r"aml-edge:devices\[1\]: there is no file none\.csv\n.*first line is: id"):
        load_with(devices=[{"id": "a"}, {"csv": "none.csv"}])


@pytest.mark.parametrize("entry", [{"csv": "x", "id": "a"}, {"csv": 1}, {"csv": None}])
def test_csv_stands_alone(load_with: Load, entry: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="csv stands alone"):
        load_with(devices=[entry])


def test_twenty_devices_have_a_deployment_each_and_more_are_a_fleet(load_with: Load, root: Path) -> None:
    assert len(load_with(devices=[{"id": f"d{number}"} for number in range(20)]).devices) == 20
    (root / "devices.csv").write_text("id\n" + "".join(f"d{number}\n" for number in range(20)))
    with pytest.raises(SettingsError, match=r"aml-edge:devices: 21 devices .* the most is 20\n.*aml-edge:fleet"):
        load_with(devices=[{"csv": "devices.csv"}, {"id": "one-more"}])
    assert len(load_with(devices=[], fleetDevices=[{"csv": "devices.csv"}]).fleet_devices) == 20


def test_ids_are_compared_across_the_list_and_its_files(load_with: Load, root: Path) -> None:
    (root / "one.csv").write_text("id\na\nb\n")
    (root / "two.csv").write_text("id\nb\n")
    with pytest.raises(SettingsError) as caught:
        load_with(devices=[{"id": "a"}, {"csv": "one.csv"}, {"csv": "two.csv"}])
    assert [problem.rule for problem in caught.value.problems] == [
        "2 devices have the id 'a'",
        "2 devices have the id 'b'",
    ]
