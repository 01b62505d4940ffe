"""`python -m localazure.edge CONFIG_TOML [--parent PID]`: one simulated IoT Edge device, in the foreground, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path

from localazure.edge.config import ConfigError, load
from localazure.edge.containers import ContainerError
from localazure.edge.device import Device

_PR_SET_PDEATHSIG = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m localazure.edge", description=__doc__)
    parser.add_argument("config", type=Path, help="the device's config.toml")
    parser.add_argument("--parent", type=int, help="stop when this process, which started us, ends in whatever way")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=os.environ.get("LOCALAZURE_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stdout,
    )
    for chatty in ("paho", "httpx", "urllib3", "docker", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("azure").setLevel(logging.ERROR)  # its warnings come to us as exceptions, too, and we log those
    if arguments.parent:
        _end_with(arguments.parent)
    try:
        asyncio.run(_run(arguments.config))
    except (ConfigError, ContainerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(path: Path) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Device(load(path)).run(stop)
    # Threads may still pull an image or wait for Docker's events; all that must be kept is on disk by now.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _end_with(parent: int) -> None:
    """SIGTERM to us when the parent dies, even by SIGKILL: no device without its daemon."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
