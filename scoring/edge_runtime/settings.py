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
    run: float
    score: float
    drain: float
    give_up: float
    token: float

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SettingsError."""
        read = _Reader(environment)
        root = Path(environment.get("AML_APP_ROOT") or "/var/azureml-app").absolute()
        settings = cls(
            app_root=root,
            script=read.script(root),
            input=read.name("AML_INPUT", "amlInput"),
            output=read.name("AML_OUTPUT", "amlOutput"),
            error_output=read.name("AML_ERROR_OUTPUT", "amlError"),
            workers=int(read.number("WORKER_COUNT", 1, 1, 64, whole=True)),
            start=read.number("AML_START_SECONDS", 120, 1, 3600),
            run=read.number("AML_RUN_SECONDS", 10, 0.1, 3600),
            score=read.number("AML_SCORE_SECONDS", 25, 0.1, 3600),
            drain=read.number("AML_DRAIN_SECONDS", 6, 0, 600),
            give_up=read.number("AML_GIVE_UP_SECONDS", 120, 1, 86400),
            token=read.number("AML_TOKEN_SECONDS", 3600, 5, 86400),
        )
        _raise(read.problems)
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


class _Reader:
    """Collects what is wrong, so that all of it can be said at once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._environment = environment

    def name(self, key: str, default: str) -> str:
        value = self._environment.get(key) or default
        if set(value) & set("/#+"):
            self.problems.append(f"{key} is {value!r}: the name of a module's input or output has none of / # +")
        return value

    def number(self, key: str, default: float, least: float, most: float, *, whole: bool = False) -> float:
        text = self._environment.get(key) or str(default)
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most or (whole and not value.is_integer()):
            kind = "a whole number" if whole else "a number"
            self.problems.append(f"{key} is {text!r}: must be {kind} from {least:g} to {most:g}")
            return default
        return value

    def script(self, root: Path) -> Path:
        """What Azure ML names, else azureml-core's driver, else the user's script."""
        named = self._environment.get("AZUREML_ENTRY_SCRIPT")
        candidates = [root / named] if named else [root / "main.py", root / "score.py"]
        for path in candidates:
            if path.is_file():
                return path
        self.problems.append(f"AML_APP_ROOT {root} holds no {' and no '.join(path.name for path in candidates)}")
        return candidates[-1]


def _raise(problems: list[str]) -> None:
    if problems:
        raise SettingsError("; ".join(problems))
