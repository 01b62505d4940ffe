"""Does what the message says: sleep, fail, die, or answer at length."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any


def init() -> None:
    pass


def run(input_data: str) -> dict[str, Any]:
    order = json.loads(input_data)
    time.sleep(order.get("ms", 0) / 1000)
    if order.get("fail"):
        raise ValueError("as told")
    if order.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {**order, "pid": os.getpid(), "padding": "x" * order.get("bytes", 0)}
