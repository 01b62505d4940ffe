"""One reading sent to a module on its device and its score looked at, by the direct method that the edge module runtime serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from components.edge.probe import differences
from components.services.errors import MethodError, RolloutError, ServiceError
from components.services.hub import Hub

METHOD = "score"
_PAUSE_SECONDS = 2.0
_CALL_SECONDS = 30  # the runtime gives one message 25


def run(hub: Hub, device_id: str, module: str, probe: Mapping[str, Any], progress: Callable[[str], None]) -> None:
    """`probe`: {reading, expect, timeoutSeconds}. A module that does not answer yet is asked again until the time is over: scoring
    changes nothing.

    Raises RolloutError when the module answers with a failure or with something else than is expected, or not at all.
    """
    started, told = time.monotonic(), False
    while True:
        try:
            answer = hub.invoke(device_id, module, METHOD, probe["reading"], _CALL_SECONDS)
            break
        except MethodError as error:
            raise RolloutError("probe the module of", device_id, f"{module} {error.answer}", _WRONG) from None
        except ServiceError as error:
            if time.monotonic() - started > probe["timeoutSeconds"]:
                answer = f"{module} gave no answer within {probe['timeoutSeconds']} s: {error.answer}"
                raise RolloutError("probe the module of", device_id, answer, _SILENT) from None
            if not told:
                progress(f"probing {module}: it does not answer yet")
                told = True
        time.sleep(_PAUSE_SECONDS)
    wrong = [*differences(probe["expect"], answer)] if probe.get("expect") is not None else []
    if wrong:
        text = f"{module} answered the probe otherwise than expected: {'; '.join(wrong)}"
        raise RolloutError("probe the module of", device_id, text, _WRONG)
    progress("the probe was answered as expected" if probe.get("expect") is not None else "the probe was answered")


_WRONG = "Correct the script, the model or aml-edge:deployment.verify.probe, then run `pulumi up` again."
_SILENT = (
    "Only images with this project's edge module runtime answer probes; one that was built by an older version must be built anew. "
    "A slow model may need a larger aml-edge:deployment.verify.probe.timeoutSeconds."
)
