"""How long videos took lately, by what makes them slow or quick. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from bot.domain.models import VeoRequest

KEPT = 20  # of each kind
KNOWN_FROM = 3  # fewer say nothing
EARLIER = 0.9  # a run may end before it is noticed, so what is learned would never get shorter by itself

Kind = tuple[str, str, bool]


class Lengths:
    """The latest lengths of each kind of video, in seconds from the order to the end that was noticed."""

    def __init__(self, lengths: Iterable[tuple[VeoRequest, float]] = ()) -> None:
        self._of: dict[Kind, deque[float]] = {}
        for request, seconds in lengths:
            self.add(request, seconds)

    def add(self, request: VeoRequest, seconds: float) -> None:
        """Learn how long the latest took."""
        if seconds >= 0:
            self._of.setdefault(_kind(request), deque(maxlen=KEPT)).append(seconds)

    def shortest_s(self, request: VeoRequest) -> float | None:
        """Before so many seconds such a run has hardly ever ended; None: not known."""
        known = self._known(request)
        return min(known) * EARLIER if known else None

    def longest_s(self, request: VeoRequest) -> float | None:
        """After so many seconds such a run has nearly always ended; None: not known."""
        known = self._known(request)
        return max(known) if known else None

    def _known(self, request: VeoRequest) -> deque[float] | None:
        found = self._of.get(_kind(request))
        return found if found is not None and len(found) >= KNOWN_FROM else None


def _kind(request: VeoRequest) -> Kind:
    return request.duration, request.resolution, request.generate_audio
