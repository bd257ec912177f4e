"""What was spent in a span of time, by member, role, channel and day; and the same runs as CSV.

Pure and exact like the ledger: integer micro-dollars, no clock, no I/O but the table that it is given. The store brings
the facts; members, roles and channels stay opaque names such as `discord:123`, which the front turns into words.
"""

from __future__ import annotations

import csv
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO
from zoneinfo import ZoneInfo

from bot.domain.money import plain_usd
from bot.domain.periods import period_at
from bot.domain.runs import TERMINAL, Ending, RunState
from bot.domain.untrusted import as_cell

COLUMNS = (
    *("run_id", "created_at", "member", "member_name", "channel", "channel_name", "roles", "state", "ending"),
    *("quote_usd", "charged_usd", "refunded_usd", "wait_s"),
)


@dataclass(frozen=True, kw_only=True)
class RunFact:
    """What the report needs to know of one run."""

    run_id: str
    member: str
    member_name: str  # as it was shown when the run was asked for
    channel: str
    roles: tuple[str, ...]  # the member's, at that moment
    created_at: float
    ended_at: float | None
    state: RunState
    ending: Ending | None
    price_u: int  # the quote, which is what was held
    charged_u: int  # what the ledger has posted for it so far; a refund takes nothing off it
    cost_u: int | None  # what Runflow says it cost; None: not said (yet)
    refunded_u: int  # what of that an admin gave its member again

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def gave_video(self) -> bool:
        return self.ended and self.ending in (Ending.VIDEO, Ending.PARTIAL)

    @property
    def wait_s(self) -> float | None:
        """How long the member waited for the end; None while there is none."""
        return None if self.ended_at is None else self.ended_at - self.created_at


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one member, role, channel or day."""

    key: str  # `discord:123`, or the day `2026-11-22`
    name: str  # the key again where only the front knows a better one
    runs: int
    videos: int
    spent_u: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was asked for from `since` up to, not including, `until`."""

    since: float
    until: float
    runs: int
    open: int  # those without an end yet
    videos: int
    ended: int
    spent_u: int  # what was charged, with what was refunded later: Runflow billed it all the same
    held_u: int  # the quotes of the open runs
    refunded_u: int
    off_quote: int  # ended runs whose known cost differs from their quote
    off_quote_u: int  # by how much, all together; below zero where Runflow billed less
    wait_median_s: float | None  # of the runs that gave a video
    members: tuple[Group, ...]
    roles: tuple[Group, ...]
    channels: tuple[Group, ...]
    days: tuple[Group, ...]

    @property
    def success_rate(self) -> float | None:
        """The share of the ended runs that gave a video; None where none has ended."""
        return self.videos / self.ended if self.ended else None


def make_report(facts: Iterable[RunFact], *, since: float, until: float, zone: ZoneInfo) -> Report:
    """The report of the runs created in the span; others among `facts` are left out. It looks at each once.

    Members, roles and channels come by what they spent, most first; a run counts under each role of its member.
    Days are all those of the span as the clocks of `zone` show them, in order, also those with nothing.
    """
    day_keys, day_ends = _days(since, until, zone)
    days = [_Count() for _ in day_keys]
    members, roles, channels = (defaultdict[str, _Count](_Count) for _ in range(3))
    names: dict[str, tuple[float, str, str]] = {}  # when and on which run a member was last called so
    waits_s = array("d")
    total = _Count()
    ended = held_u = refunded_u = off_quote = off_quote_u = 0
    for fact in facts:
        if not since <= fact.created_at < until:
            continue
        day = days[bisect_right(day_ends, fact.created_at)]
        for count in (total, day, members[fact.member], channels[fact.channel], *(roles[it] for it in set(fact.roles))):
            count.add(fact)
        names[fact.member] = max(names.get(fact.member, _UNNAMED), (fact.created_at, fact.run_id, fact.member_name))
        refunded_u += fact.refunded_u
        if not fact.ended:
            held_u += fact.price_u
            continue
        ended += 1
        if fact.cost_u is not None and fact.cost_u != fact.price_u:
            off_quote += 1
            off_quote_u += fact.cost_u - fact.price_u
        if fact.gave_video and fact.wait_s is not None:
            waits_s.append(fact.wait_s)
    return Report(
        since=since,
        until=until,
        runs=total.runs,
        open=total.runs - ended,
        videos=total.videos,
        ended=ended,
        spent_u=total.spent_u,
        held_u=held_u,
        refunded_u=refunded_u,
        off_quote=off_quote,
        off_quote_u=off_quote_u,
        wait_median_s=_median(waits_s),
        members=_ranked(members, {member: name for member, (_, _, name) in names.items()}),
        roles=_ranked(roles, {}),
        channels=_ranked(channels, {}),
        days=tuple(count.group(key, key) for key, count in zip(day_keys, days, strict=True)),
    )


def _median(of: Sequence[float]) -> float | None:
    from statistics import median  # noqa: PLC0415 - half a megabyte for something that is seldom asked for

    return median(of) if of else None


def tabled(facts: Iterable[RunFact], table: TextIO, name_of: Callable[[str], str]) -> Iterator[RunFact]:
    """The same facts, each written as a line of CSV on its way, below a line with the names of the columns.

    `name_of` gives the words for a channel or a role. No text in it is taken for a formula by a spreadsheet.
    """
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for fact in facts:
        # Each role by itself: where the spreadsheet splits cells at `;`, each of them begins one.
        roles = ";".join(as_cell(name_of(role)) for role in fact.roles)
        texts = (fact.member, fact.member_name, fact.channel, name_of(fact.channel))
        writer.writerow(
            (
                as_cell(fact.run_id),
                datetime.fromtimestamp(fact.created_at, UTC).isoformat(timespec="seconds"),
                *map(as_cell, texts),
                roles,
                fact.state.value,
                fact.ending.value if fact.ending else "",
                plain_usd(fact.price_u),
                plain_usd(fact.charged_u),
                plain_usd(fact.refunded_u),
                "" if fact.wait_s is None else f"{fact.wait_s:.1f}",
            )
        )
        yield fact


class _Count:
    """Runs under one key, added up."""

    __slots__ = ("runs", "spent_u", "videos")

    def __init__(self) -> None:
        self.runs = self.videos = self.spent_u = 0

    def add(self, fact: RunFact) -> None:
        self.runs += 1
        self.videos += fact.gave_video
        self.spent_u += fact.charged_u

    def group(self, key: str, name: str) -> Group:
        return Group(key=key, name=name, runs=self.runs, videos=self.videos, spent_u=self.spent_u)


_UNNAMED = (float("-inf"), "", "")


def _ranked(counts: Mapping[str, _Count], names: Mapping[str, str]) -> tuple[Group, ...]:
    groups = (count.group(key, names.get(key, key)) for key, count in counts.items())
    return tuple(sorted(groups, key=lambda group: (-group.spent_u, group.key)))


def _days(since: float, until: float, zone: ZoneInfo) -> tuple[list[str], list[float]]:
    """The days of the span, and when each ends."""
    keys: list[str] = []
    ends: list[float] = []
    start = since
    while start < until:  # from midnight to midnight, whether 23, 24 or 25 hours lie between them
        day = period_at(start, "day", zone)
        keys.append(day.key)
        ends.append(day.resets_at)
        start = day.resets_at
    return keys, ends
