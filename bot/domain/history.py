"""How long videos took lately, by what makes them slow or quick. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.domain.models import VeoRequest

KEPT = 20  # of each kind
KNOWN_FROM = 3  # fewer say nothing
EARLIER = 0.9  # a run may end before it is noticed, so what is learned would never get shorter by itself

USUAL_FROM = 5  # fewer of a kind say less about it than more of a wider kind

Kind = tuple[str, str, bool]  # resolution, length, sound


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How long such videos take: half of them, and four of five, take no longer."""

    p50_s: float
    p80_s: float


UNHEARD_OF = Usual(p50_s=90.0, p80_s=180.0)  # before anything is known


class Lengths:
    """The latest lengths of each kind of video, in seconds from the order to the end that was noticed."""

    def __init__(self, lengths: Iterable[tuple[VeoRequest, float]] = ()) -> None:
        self._of: dict[Kind, deque[float]] = {}
        for request, seconds in lengths:
            self.add(request, seconds)

    def add(self, request: VeoRequest, seconds: float) -> None:
        """Learn how long the latest took."""
        if seconds >= 0:
            self._of.setdefault(kind_of(request), deque(maxlen=KEPT)).append(seconds)

    def shortest_s(self, request: VeoRequest) -> float | None:
        """Before so many seconds such a run has hardly ever ended; None: not known."""
        known = self._known(request)
        return min(known) * EARLIER if known else None

    def longest_s(self, request: VeoRequest) -> float | None:
        """After so many seconds such a run has nearly always ended; None: not known."""
        known = self._known(request)
        return max(known) if known else None

    def usual(self, kind: Kind | None) -> Usual:
        """How long such a run takes; where too little is known of its kind, what is known of a wider one."""
        for length in range(0 if kind is None else len(kind), -1, -1):
            alike = [lately for each, lately in self._of.items() if kind is None or each[:length] == kind[:length]]
            known = [seconds for lately in alike for seconds in lately]
            if len(known) >= USUAL_FROM:
                known.sort()
                return Usual(p50_s=_share(known, 50), p80_s=_share(known, 80))
        return UNHEARD_OF

    def _known(self, request: VeoRequest) -> deque[float] | None:
        found = self._of.get(kind_of(request))
        return found if found is not None and len(found) >= KNOWN_FROM else None


def _share(known: list[float], per_cent: int) -> float:
    """The value that so many of a hundred do not pass, of a list in order."""
    return known[-(-len(known) * per_cent // 100) - 1]


def kind_of(request: VeoRequest) -> Kind:
    """What makes such a video slow or quick, what matters most first."""
    return request.resolution, request.duration, request.generate_audio


def kind_in(options: Mapping[str, Any]) -> Kind:
    """The same of a request by its stored options."""
    get = options.get
    return get("resolution", _USUAL[0]), get("duration", _USUAL[1]), get("generate_audio", _USUAL[2])


_USUAL = kind_of(VeoRequest(prompt=""))
