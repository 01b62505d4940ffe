"""One `docker-registry` process: its configuration, its start, its restart when it dies, its end with the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
from pathlib import Path

import httpx

_log = logging.getLogger(__name__)

_START_SECONDS = 15.0
_RESTART_SECONDS = (0.2, 1.0, 5.0)  # the last one repeats


class RegistryUnavailableError(Exception):
    """docker-registry is missing or does not start; the message has its last words."""


class RegistryProcess:
    """docker-registry on a Unix socket inside its folder: nobody but the folder's owner reaches it, and it needs no password.

    The folder holds `config.yml`, `data/`, `registry.sock`, `registry.log`.
    """

    def __init__(self, folder: Path, http_secret: str) -> None:
        self.folder = folder
        self._http_secret = http_secret
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._directory: int | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def socket(self) -> str:
        """Through the folder's descriptor, because a socket's path is limited to 107 bytes and a clone may lie deeper."""
        assert self._directory is not None, "not started"
        return f"/proc/self/fd/{self._directory}/registry.sock"

    async def start(self) -> None:
        """Return once it answers. Raises RegistryUnavailableError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_configuration()
        if self._directory is None:
            self._directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        await self._launch()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"docker-registry {self.folder.name}")

    async def stop(self) -> None:
        if self._supervisor:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        await self._end()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def _write_configuration(self) -> None:
        configuration = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
                "maintenance": {"uploadpurging": {"enabled": True, "age": "24h", "interval": "24h", "dryrun": False}},
            },
            # Relative Location headers, as ACR sends them: the registry need not know the address its users see.
            "http": {
                "net": "unix",
                "addr": "registry.sock",
                "secret": self._http_secret,
                "relativeurls": True,
                "headers": {"X-Content-Type-Options": ["nosniff"]},
            },
        }
        path = self.folder / "config.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(configuration, indent=2))  # JSON is YAML

    async def _launch(self) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            raise RegistryUnavailableError(
                f"cannot start the container registry '{self.folder.name}': docker-registry is not on PATH; "
                "install the Debian/Ubuntu package 'docker-registry' (make up does it for root)"
            )
        (self.folder / "registry.sock").unlink(missing_ok=True)
        with (self.folder / "registry.log").open("wb") as log:
            # --pdeathsig: a daemon that is killed takes its registries with it, so that none is ever orphaned.
            self._process = await asyncio.create_subprocess_exec(
                "setpriv",
                "--pdeathsig",
                "KILL",
                program,
                "serve",
                "config.yml",
                cwd=self.folder,
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._answering()
        except TimeoutError as error:
            await self._end()
            raise RegistryUnavailableError(self._failure(f"did not answer within {_START_SECONDS:.0f} s")) from error

    async def _answering(self) -> None:
        assert self._process is not None
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=self.socket)) as client:
            while True:
                if self._process.returncode is not None:
                    raise RegistryUnavailableError(self._failure(f"ended with code {self._process.returncode}"))
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("http://registry/v2/")).status_code == httpx.codes.OK:
                        return
                await asyncio.sleep(0.02)

    async def _supervise(self) -> None:
        failures = 0
        while True:
            if self.pid and self._process:
                code = await self._process.wait()
                _log.error(
                    "container registry '%s': docker-registry ended with code %s; restarting", self.folder.name, code
                )
            await asyncio.sleep(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
            try:
                await self._launch()
                failures = 0
            except (RegistryUnavailableError, OSError):
                failures += 1
                _log.exception("container registry '%s': restart failed, trying again", self.folder.name)

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _failure(self, what: str) -> str:
        log = self.folder / "registry.log"
        words = log.read_text(errors="replace")[-1500:].strip() if log.exists() else ""
        return f"cannot start the container registry '{self.folder.name}': docker-registry {what}; its log {log} ends with: {words}"


def _environment() -> dict[str, str]:
    """Nothing of ours: any REGISTRY_* variable would change the configuration."""
    return {"PATH": os.environ.get("PATH", os.defpath), "OTEL_TRACES_EXPORTER": "none"}
