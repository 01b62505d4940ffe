"""One running copy of the local Azure: its folder, its loopback address, its ports, its identifiers.

An instance owns one loopback address `127.0.0.N` and listens on it with fixed ports, so that clones and tests run side by
side (the device SDK has port 8883 hard-coded, and Docker trusts registries in 127.0.0.0/8 without a certificate).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import socket
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

ARM_PORT = 20443  # ARM, tokens, Azure ML and blobs: one TLS listener
IDENTITY_PORT = 20080  # the managed-identity endpoint, plain http as on a virtual machine
MQTT_PORT = 8883  # azure-iot-device has it hard-coded
HUB_PORTS = range(20500, 20700)  # one TLS listener a hub
REGISTRY_PORTS = range(20700, 20900)  # one docker-registry a container registry

CLOUD_NAME = "AzureLocal"


class InstanceError(Exception):
    """The instance's folder or address cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Instance:
    """Everything that must stay the same over restarts. `folder` is absolute; ids are lower-case UUIDs."""

    folder: Path
    address: str
    subscription_id: str
    tenant_id: str
    signing_key: str
    """Signs tokens and blob SAS; never leaves the folder."""

    @property
    def arm_url(self) -> str:
        """Base URL of ARM, without a slash at its end."""
        return f"https://{self.address}:{ARM_PORT}"

    @property
    def identity_url(self) -> str:
        return f"http://{self.address}:{IDENTITY_PORT}/msi/token"

    @property
    def app_service_url(self) -> str:
        """The managed identity again, as App Service offers it."""
        return f"http://{self.address}:{IDENTITY_PORT}/msi/app-service"

    @property
    def identity_header(self) -> str:
        """What App Service puts into IDENTITY_HEADER: who knows it runs on this machine."""
        return hmac.new(self.signing_key.encode(), b"identity header", hashlib.sha256).hexdigest()

    @property
    def database(self) -> Path:
        return self.folder / "azure.db"

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def pki(self) -> Path:
        """ca.pem, ca.key, server.pem (chain), server.key, ca-bundle.pem (the system's CAs and ours)."""
        return self.folder / "pki"

    @property
    def ca(self) -> Path:
        return self.pki / "ca.pem"

    @property
    def ca_bundle(self) -> Path:
        return self.pki / "ca-bundle.pem"


def default_folder() -> Path:
    """`$LOCALAZURE_HOME`, else `.local/azure` below the working directory."""
    return Path(os.environ.get("LOCALAZURE_HOME") or ".local/azure").absolute()


def load(folder: Path) -> Instance | None:
    """The instance that was made in `folder`, or None."""
    try:
        stored = json.loads((folder / "instance.json").read_text())
    except FileNotFoundError:
        return None
    return Instance(folder=folder.absolute(), **stored)


def load_or_create(folder: Path) -> Instance:
    """The instance of `folder`; a new one gets a loopback address on which nobody listens, see `_free_address`."""
    existing = load(folder)
    if existing:
        return existing
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    instance = Instance(
        folder=folder.absolute(),
        address=_free_address(folder),
        subscription_id=str(uuid.uuid4()),
        tenant_id=str(uuid.uuid4()),
        signing_key=secrets.token_hex(32),
    )
    stored = {key: value for key, value in asdict(instance).items() if key != "folder"}
    draft = folder / f"instance.json.{secrets.token_hex(4)}"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(stored, indent=2) + "\n")
    try:
        os.link(draft, folder / "instance.json")  # fails if a concurrent bring-up was faster: then theirs counts
    except FileExistsError:
        return load_or_create(folder)
    finally:
        draft.unlink(missing_ok=True)
    return instance


def _free_address(folder: Path) -> str:
    """Each search begins where this user's last one ended: an address whose instance does not listen yet, or is down for a moment,
    comes to another instance only after all others have. The first search of a user begins at a number drawn from the folder's path."""
    with _last_number() as file:
        last = file.read() if file else b""
        first = int(last) if last.isdigit() else uuid.uuid5(uuid.NAMESPACE_URL, folder.absolute().as_uri()).int % 250
        for step in range(1, 251):
            number = 2 + (first - 2 + step) % 250
            if number == 53:  # systemd-resolved
                continue
            address = f"127.0.0.{number}"
            if all(_can_bind(address, port) for port in (ARM_PORT, IDENTITY_PORT, MQTT_PORT)):
                if file:
                    with contextlib.suppress(OSError):  # a full disk: the next search begins where this one did
                        file.truncate(0)
                        file.write(b"%d" % number)
                return address
    raise InstanceError(
        f"no loopback address 127.0.0.2 .. 127.0.0.251 has the ports {ARM_PORT}, {IDENTITY_PORT} and {MQTT_PORT} free; "
        "stop another local Azure ('make down' in its clone) or what listens on all addresses at one of these ports"
    )


@contextlib.contextmanager
def _last_number() -> Iterator[FileIO | None]:
    """The file of the last number that was given, for one process at a time; None for a user without a cache folder."""
    with contextlib.ExitStack() as stack:
        try:
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "localazure"
            cache.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((cache / "last-address").open("ab+", buffering=0))
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
        except (OSError, RuntimeError):  # not writable, no locks there, no home
            yield None
        else:
            yield file


def _can_bind(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
