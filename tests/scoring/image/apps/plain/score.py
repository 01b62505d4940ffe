"""Does what the message says: sleep, fail, die, or answer at length."""

import json
import os
import signal
import time


def init():
    pass


def run(input_data):
    order = json.loads(input_data)
    time.sleep(order.get("ms", 0) / 1000)
    if order.get("fail"):
        raise ValueError("as told")
    if order.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {**order, "pid": os.getpid(), "padding": "x" * order.get("bytes", 0)}
