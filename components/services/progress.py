"""What the user sees while a provider works. Pulumi shows each line that a dynamic provider prints."""

from __future__ import annotations

import sys
import threading

_lock = threading.Lock()  # four provider threads share one standard output


def say(resource: str, text: str) -> None:
    """One line `resource: text`. Never pass secrets."""
    with _lock:
        sys.stdout.write(f"{resource}: {text}\n")
        sys.stdout.flush()
