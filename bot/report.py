"""What was spent in a span of time, by member, role, channel and day; and the same runs as CSV.

Pure and exact like the ledger: integer micro-dollars, no clock, no I/O. The store brings the facts; members,
roles and channels stay opaque names such as `discord:123`, which the front turns into words.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from zoneinfo import ZoneInfo

from bot.ledger import period_at, plain_usd
from bot.runs import TERMINAL, Ending, RunState
from bot.texts import as_cell

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
    """The report of the runs created in the span; others among `facts` are left out.

    Members, roles and channels come by what they spent, most first; a run counts under each role of its member.
    Days are all those of the span as the clocks of `zone` show them, in order, also those with nothing.
    """
    runs = sorted(
        (fact for fact in facts if since <= fact.created_at < until), key=lambda fact: (fact.created_at, fact.run_id)
    )
    ended = [fact for fact in runs if fact.ended]
    unlike_quote_u = [fact.cost_u - fact.price_u for fact in ended if fact.cost_u not in (None, fact.price_u)]
    waits_s = [fact.wait_s for fact in ended if fact.gave_video and fact.wait_s is not None]
    names = {fact.member: fact.member_name for fact in runs}  # the newest run comes last and names the member
    return Report(
        since=since,
        until=until,
        runs=len(runs),
        open=len(runs) - len(ended),
        videos=sum(fact.gave_video for fact in runs),
        ended=len(ended),
        spent_u=sum(fact.charged_u for fact in runs),
        held_u=sum(fact.price_u for fact in runs if not fact.ended),
        refunded_u=sum(fact.refunded_u for fact in runs),
        off_quote=len(unlike_quote_u),
        off_quote_u=sum(unlike_quote_u),
        wait_median_s=median(waits_s) if waits_s else None,
        members=_groups(runs, lambda fact: (fact.member,), names),
        roles=_groups(runs, lambda fact: fact.roles, {}),
        channels=_groups(runs, lambda fact: (fact.channel,), {}),
        days=_days(runs, since, until, zone),
    )


def report_csv(facts: Iterable[RunFact], name_of: Callable[[str], str]) -> str:
    """One line a run, oldest first, below a line with the names of the columns.

    `name_of` gives the words for a channel or a role. No text in it is taken for a formula by a spreadsheet.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for fact in sorted(facts, key=lambda fact: (fact.created_at, fact.run_id)):
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
    return table.getvalue()


def _group(key: str, name: str, runs: Iterable[RunFact]) -> Group:
    counted = tuple(runs)
    return Group(
        key=key,
        name=name,
        runs=len(counted),
        videos=sum(fact.gave_video for fact in counted),
        spent_u=sum(fact.charged_u for fact in counted),
    )


def _groups(
    runs: Iterable[RunFact], keys_of: Callable[[RunFact], Iterable[str]], names: Mapping[str, str]
) -> tuple[Group, ...]:
    found: defaultdict[str, list[RunFact]] = defaultdict(list)
    for fact in runs:
        for key in set(keys_of(fact)):
            found[key].append(fact)
    groups = (_group(key, names.get(key, key), members) for key, members in found.items())
    return tuple(sorted(groups, key=lambda group: (-group.spent_u, group.key)))


def _days(runs: Iterable[RunFact], since: float, until: float, zone: ZoneInfo) -> tuple[Group, ...]:
    keys: list[str] = []
    ends: list[float] = []
    start = since
    while start < until:  # from midnight to midnight, whether 23, 24 or 25 hours lie between them
        day = period_at(start, "day", zone)
        keys.append(day.key)
        ends.append(day.resets_at)
        start = day.resets_at
    found: list[list[RunFact]] = [[] for _ in keys]
    for fact in runs:
        found[bisect_right(ends, fact.created_at)].append(fact)
    return tuple(_group(key, key, members) for key, members in zip(keys, found, strict=True))
