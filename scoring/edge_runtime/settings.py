"""The runtime's configuration, read once from the environment. See the package's docstring for each name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingsError(Exception):
    """The environment is incomplete or wrong; the message names every variable and what it should hold."""


@dataclass(frozen=True)
class Settings:
    """Times are in seconds."""

    app_root: Path
    script: Path
    input: str
    output: str
    error_output: str
    workers: int
    start: float
    attempt: float
    score: float
    drain: float
    give_up: float
    token: float

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SettingsError."""
        problems: list[str] = []
        root = Path(environment.get("AML_APP_ROOT") or "/var/azureml-app").absolute()

        def name(key: str, default: str) -> str:
            value = environment.get(key) or default
            if "/" in value or "#" in value or "+" in value:
                problems.append(f"{key} is {value!r}: the name of a module's input or output has none of / # +")
            return value

        def number(key: str, default: float, least: float, most: float) -> float:
            text = environment.get(key) or str(default)
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if not least <= value <= most:
                problems.append(f"{key} is {text!r}: must be a number from {least:g} to {most:g}")
            return value

        workers = number("WORKER_COUNT", 1, 1, 64)
        if workers != int(workers):
            problems.append("WORKER_COUNT must be a whole number")
        settings = cls(
            app_root=root,
            script=_script(root, environment, problems),
            input=name("AML_INPUT", "amlInput"),
            output=name("AML_OUTPUT", "amlOutput"),
            error_output=name("AML_ERROR_OUTPUT", "amlError"),
            workers=int(workers) if workers == workers else 1,
            start=number("AML_START_SECONDS", 120, 1, 3600),
            attempt=number("AML_ATTEMPT_SECONDS", 10, 0.1, 3600),
            score=number("AML_SCORE_SECONDS", 25, 0.1, 3600),
            drain=number("AML_DRAIN_SECONDS", 6, 0, 600),
            give_up=number("AML_GIVE_UP_SECONDS", 120, 1, 86400),
            token=number("AML_TOKEN_SECONDS", 3600, 5, 86400),
        )
        _raise(problems)
        return settings


@dataclass(frozen=True)
class EdgeIdentity:
    """Who this module is and where its edge hub and workload API are: edgeAgent's IOTEDGE_* variables."""

    hub: str
    """Host name of the IoT hub."""
    device: str
    module: str
    generation: str
    gateway: str
    """Host name under which the edge hub answers; its certificate is checked against this."""
    workload_uri: str
    api_version: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> EdgeIdentity | None:
        """None outside of IoT Edge, which is where IOTEDGE_WORKLOADURI is not set. Raises SettingsError."""
        if not environment.get("IOTEDGE_WORKLOADURI"):
            return None
        names = {
            "hub": "IOTEDGE_IOTHUBHOSTNAME",
            "device": "IOTEDGE_DEVICEID",
            "module": "IOTEDGE_MODULEID",
            "generation": "IOTEDGE_MODULEGENERATIONID",
            "gateway": "IOTEDGE_GATEWAYHOSTNAME",
            "workload_uri": "IOTEDGE_WORKLOADURI",
            "api_version": "IOTEDGE_APIVERSION",
        }
        problems = [
            f"{name} is not set: edgeAgent gives it to each module"
            for name in names.values()
            if not environment.get(name)
        ]
        scheme = environment.get("IOTEDGE_AUTHSCHEME") or "sasToken"
        if scheme.lower() != "sastoken":
            problems.append(f"IOTEDGE_AUTHSCHEME is {scheme!r}: only sasToken is supported")
        _raise(problems)
        return cls(**{field: environment[name] for field, name in names.items()})


def _script(root: Path, environment: Mapping[str, str], problems: list[str]) -> Path:
    """What Azure ML names, else azureml-core's driver, else the user's script."""
    named = environment.get("AZUREML_ENTRY_SCRIPT")
    candidates = [root / named] if named else [root / "main.py", root / "score.py"]
    for path in candidates:
        if path.is_file():
            return path
    problems.append(f"AML_APP_ROOT {root} holds no {' and no '.join(path.name for path in candidates)}")
    return candidates[-1]


def _raise(problems: list[str]) -> None:
    if problems:
        raise SettingsError("; ".join(problems))
