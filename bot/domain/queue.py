"""The line of runs that wait for a place at the provider: who is next, and when that will be. Pure.

Two ranks, computed from the rows alone, make the order fair. A run's rank inside its server counts its member's runs
that are under way there and those that wait before it. Its rank among the servers counts the runs of its server that
are under way and those that come before it by the first rank. If ranks are equal, the older run goes first. So the
member and the server with the least under way go first, and taking a run changes no other run's rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import NamedTuple

from bot.domain.history import Kind, Usual

LEFT_MIN_S = 10.0  # a run that has taken longer than usual ends at any moment
SHIFT_S, SHIFT_SHARE = 60.0, 0.2  # an expected time that moves by less than both is not worth an edit

Busy = Mapping[tuple[str, str], int]  # by server and member: how many runs have a place
UsualOf = Callable[[Kind | None], Usual]


class Waiting(NamedTuple):
    """A run in line."""

    created_at: float
    run_id: str
    server: str
    member: str
    kind: Kind | None = None  # None: not asked for, or it cannot be read
    has_card: bool = False  # whether it is shown somewhere where it stands


class Placed(NamedTuple):
    """A run that has a place."""

    server: str
    member: str
    since: float | None  # when it was ordered last; None: it is about to be
    kind: Kind | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """Those who wait, in the order in which they come, and those who have a place."""

    waiting: Sequence[Waiting]
    placed: Sequence[Placed]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A run's place in line, and when it is expected to start and to be ready."""

    place: int  # 1: it is the next; 0: it has left the line
    starts_at: float | None  # None: it has left the line
    ready_p50_at: float
    ready_p80_at: float  # four of five are ready by then


def busy_of(placed: Iterable[Placed]) -> Busy:
    """How many places each member has in each server."""
    return Counter((each.server, each.member) for each in placed)


def fair_order(
    heads: Iterable[Waiting], follower: Callable[[Waiting], Waiting | None], busy: Busy
) -> Iterator[Waiting]:
    """Those who wait, one after the other in the fair order.

    `heads`: of each member in each server the run that waits longest; `follower` gives the one behind it, if there is
    one.
    """
    of_server = Counter[str]()
    for (server, _), count in busy.items():
        of_server[server] += count
    lines: dict[str, list[tuple[int, Waiting]]] = {}  # of each server, by the ranks inside it
    for head in heads:
        lines.setdefault(head.server, []).append((busy.get((head.server, head.member), 0), head))
    for line in lines.values():
        heapify(line)
    servers = [(of_server[server], line[0][1]) for server, line in lines.items()]
    heapify(servers)
    while servers:
        server_rank, run = servers[0]
        yield run
        line, behind = lines[run.server], follower(run)
        if behind is None:
            heappop(line)
        else:
            heapreplace(line, (line[0][0] + 1, behind))
        if line:
            heapreplace(servers, (server_rank + 1, line[0][1]))
        else:
            heappop(servers)


def in_order(waiting: Iterable[Waiting], busy: Busy) -> list[Waiting]:
    """All who wait in the fair order; those of one member in one server are given together, the oldest first."""
    behind: dict[str, Waiting] = {}
    heads: list[Waiting] = []
    before: Waiting | None = None
    for run in waiting:
        if before is not None and (before.server, before.member) == (run.server, run.member):
            behind[before.run_id] = run
        else:
            heads.append(run)
        before = run
    return list(fair_order(heads, lambda run: behind.get(run.run_id), busy))


def first(heads: Iterable[Waiting], follower: Callable[[Waiting], Waiting | None], busy: Busy, count: int) -> list[str]:
    """The ids of the first so many; see `fair_order`."""
    return [run.run_id for run in islice(fair_order(heads, follower, busy), count)]


# When


def turn_at_work(since: float, usual: Usual, now: float) -> Turn:
    """What to expect of a run that was ordered at that time."""
    ready = [now + _left_s(each_s, since, now) for each_s in (usual.p50_s, usual.p80_s)]
    return Turn(place=0, starts_at=None, ready_p50_at=ready[0], ready_p80_at=ready[1])


def turns(line: Line, *, places: int, usual: UsualOf, now: float) -> dict[str, Turn]:
    """What to expect of each who waits and has a card: each place is taken by the next in line when it is free."""
    kinds = {each.kind for each in line.placed} | {each.kind for each in line.waiting}
    lasts = {kind: usual(kind) for kind in kinds}
    free_p50 = _places([_left_s(lasts[each.kind].p50_s, each.since, now) for each in line.placed], places, now)
    free_p80 = _places([_left_s(lasts[each.kind].p80_s, each.since, now) for each in line.placed], places, now)
    found = {}
    for place, run in enumerate(line.waiting, 1):
        starts_at, lasts_s = free_p50[0], lasts[run.kind]
        ready_p50_at, ready_p80_at = starts_at + lasts_s.p50_s, free_p80[0] + lasts_s.p80_s
        heapreplace(free_p50, ready_p50_at)
        heapreplace(free_p80, ready_p80_at)
        if run.has_card:
            found[run.run_id] = Turn(
                place=place, starts_at=starts_at, ready_p50_at=ready_p50_at, ready_p80_at=ready_p80_at
            )
    return found


def is_news(shown: Turn | None, turn: Turn, now: float) -> bool:
    """Whether a card is to say where its run stands now: another place, or quite another time."""
    if shown is None or shown.place != turn.place:
        return True
    left_s = max(shown.ready_p50_at - now, SHIFT_S)
    return abs(turn.ready_p50_at - shown.ready_p50_at) > min(SHIFT_S, SHIFT_SHARE * left_s)


def _left_s(lasts_s: float, since: float | None, now: float) -> float:
    return lasts_s if since is None else max(LEFT_MIN_S, lasts_s - max(0.0, now - since))


def _places(left_s: Sequence[float], places: int, now: float) -> list[float]:
    """When each place is free: of more runs than places the last ones to end make room."""
    ends = sorted(now + each for each in left_s)
    ends = ends[max(0, len(ends) - places) :]
    return [now] * (max(1, places) - len(ends)) + ends  # sorted, which is a heap
