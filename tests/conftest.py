"""For all rooms: property tests as Hypothesis itself runs them in CI.

No example has a deadline and slow generation is no failure (the machine may be busy), and every run has the same examples.
"""

from __future__ import annotations

from hypothesis import settings

settings.load_profile("ci")
