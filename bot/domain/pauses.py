"""How long to wait before the next try, in seconds. Pure; chance is passed in."""

from __future__ import annotations

import random

PAUSE_MAX_S = 3600.0  # the longest pause between two looks at a run without an end


def jittered(chance: random.Random, pause_s: float) -> float:
    """The pause, give or take ten per cent, so that many runs do not ask at the same moment."""
    return pause_s * chance.uniform(0.9, 1.1)


def growing_pause(first_s: float, tries: int, longest_s: float) -> float:
    """Seconds to wait after this many failed tries: doubling each time, never above `longest_s`."""
    return min(first_s * 2.0 ** min(tries, 40), longest_s)


def polling_pause(*, age_s: float, tries: int, first_s: float, longest_s: float, deadline_s: float) -> float:
    """Seconds until the next look at a run without an end.

    They grow from `first_s` to `longest_s`. Past `deadline_s` they double up to an hour, and it is looked at for ever,
    because only the provider's own record ends a run.
    """
    if age_s < deadline_s:
        return min(first_s * 1.3 ** min(tries, 40), longest_s)
    return min(max(longest_s, age_s - deadline_s), PAUSE_MAX_S)
