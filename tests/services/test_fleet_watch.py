"""When a rollout is good enough."""

from __future__ import annotations

import pytest

from components.services.fleet_watch import Progress


@pytest.mark.parametrize(
    ("meant", "targeted", "applied", "succeeded", "share", "good"),
    [
        (12, 12, 12, 12, 1, True),
        (12, 12, 12, 11, 1, False),
        (12, 12, 12, 11, 0.9, True),
        (12, 12, 12, 10, 0.9, False),
        (12, 12, 11, 11, 0.9, False),  # the hub has not come to all of them
        (12, 11, 11, 11, 0.9, False),  # nor counted them
        (0, 0, 0, 0, 1, True),  # a condition that no device meets
        (50, 50, 50, 49, 0.98, True),
    ],
)
def test_a_rollout_is_good(meant: int, targeted: int, applied: int, succeeded: int, share: float, good: bool) -> None:
    assert Progress(meant, targeted, applied, succeeded, 0).good(share) is good
