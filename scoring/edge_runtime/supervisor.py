"""The container's first process: the scoring server and the bridge live and end together."""

from __future__ import annotations

import importlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping

from .scorer import Scorer
from .server import ScoringServer
from .settings import EdgeIdentity, Settings, SettingsError

log = logging.getLogger("edge_runtime")

STOPPED, SERVER_DIED, MISCONFIGURED, EDGE_FAILED, NOT_HEALTHY = range(5)

_LOOK_SECONDS = 0.2


def main(environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or until a half of it fails; returns the exit code."""
    _log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings, identity = Settings.read(environment), EdgeIdentity.read(environment)
        if identity:  # without IoT Edge there need be no MQTT client
            importlib.import_module(f"{__package__}.bridge")
    except (SettingsError, ImportError) as error:
        log.error("cannot start: %s", error)
        return MISCONFIGURED
    server = ScoringServer(settings, environment, as_module=identity is not None)
    try:
        code = _until_healthy(server, settings, stop)
        return _serve(server, settings, identity, stop) if code is None else code
    finally:
        server.stop()
        log.info("stopped")


def _until_healthy(server: ScoringServer, settings: Settings, stop: threading.Event) -> int | None:
    """None when it is; else the exit code."""
    end = time.monotonic() + settings.start
    while not stop.is_set():
        if server.exit_code is not None:
            log.error("the scoring server ended with code %d while it started; its log says why", server.exit_code)
            return SERVER_DIED
        if server.healthy():
            log.info("the scoring server is healthy")
            return None
        if time.monotonic() > end:
            log.error("the scoring server was not healthy within %g s", settings.start)
            return NOT_HEALTHY
        stop.wait(_LOOK_SECONDS)
    return STOPPED


def _serve(server: ScoringServer, settings: Settings, identity: EdgeIdentity | None, stop: threading.Event) -> int:
    if identity is None:
        log.info("not an IoT Edge module: serving HTTP only")
    bridge = None
    if identity:
        from .bridge import Bridge

        bridge = Bridge(settings, identity, Scorer(settings.run, settings.score))
        bridge.start()
    drain = 0.0
    try:
        while not stop.wait(_LOOK_SECONDS):
            if server.exit_code is not None:
                log.error("the scoring server died with code %d", server.exit_code)
                return SERVER_DIED
            if bridge and bridge.failed:
                log.error("%s", bridge.failed)
                return EDGE_FAILED
        drain = settings.drain
        return STOPPED
    finally:
        if bridge:
            bridge.stop(drain)


def _log_to_stderr() -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)sZ %(levelname)s edge_runtime %(message)s"
    )
