"""What was spent in a span of time, by member, role, channel and day; and the same runs as CSV.

Pure and exact like the ledger: integer micro-dollars, no clock, no I/O but the table that it is given. The store adds
up and brings the runs; members, roles and channels stay opaque names such as `discord:123`, which the front turns into
words.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TextIO
from zoneinfo import ZoneInfo

from bot.domain.money import plain_usd
from bot.domain.periods import period_at
from bot.domain.untrusted import as_cell

COLUMNS = (
    *("run_id", "created_at", "member", "member_name", "channel", "channel_name", "roles", "state", "ending"),
    *("quote_usd", "charged_usd", "refunded_usd", "wait_s"),
)
GROUPS_MAX = 20  # of members, roles or channels in a report: those that spent most
_TEXTS_KEPT = 8192  # that were made for a table, for the runs that say the same
_BLOCK_CHARS = 8192  # of a table are written at once


class ReportedRun(NamedTuple):
    """What the table says of one run."""

    run_id: str
    created_at: float
    member: str
    member_name: str  # as it was shown when the run was asked for
    channel: str
    roles: tuple[str, ...]  # the member's, at that moment
    state: str
    ending: str | None
    price_u: int  # the quote, which is what was held
    charged_u: int  # what the ledger has posted for it so far; a refund takes nothing off it
    refunded_u: int  # what of that an admin gave its member again
    ended_at: float | None


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day of a span, or what of it lies within the span."""

    key: str  # `2026-11-22`
    starts_at: float
    ends_at: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one member, role, channel or day."""

    key: str  # `discord:123`, or the day `2026-11-22`
    runs: int
    videos: int
    spent_u: int


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The groups that spent most, most first, and how many others there are."""

    groups: tuple[Group, ...]
    others: int


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
    members: Ranking
    roles: Ranking  # a run counts under each role of its member
    channels: Ranking
    days: tuple[Group, ...]  # all of them in their order, also those with nothing

    @property
    def success_rate(self) -> float | None:
        """The share of the ended runs that gave a video; None where none has ended."""
        return self.videos / self.ended if self.ended else None


def ranking(groups: Iterable[Group]) -> Ranking:
    """The groups in the order of a report, those that spent as much by their keys."""
    ranked = sorted(groups, key=lambda group: (-group.spent_u, group.key))
    return Ranking(groups=tuple(ranked[:GROUPS_MAX]), others=max(0, len(ranked) - GROUPS_MAX))


def days_of(since: float, until: float, zone: ZoneInfo) -> list[Day]:
    """The days from `since` up to, not including, `until`, as the clocks of `zone` show them; one at least."""
    days: list[Day] = []
    while not days or days[-1].ends_at < until:  # from midnight to midnight, whether 23, 24 or 25 hours lie between
        start = days[-1].ends_at if days else since
        day = period_at(start, "day", zone)
        days.append(Day(key=day.key, starts_at=start, ends_at=min(day.resets_at, until)))
    return days


def write_runs(runs: Iterable[ReportedRun], table: TextIO, name_of: Callable[[str], str], bytes_max: int) -> None:
    """Write runs as CSV, each as a line below a line with the names of the columns.

    `name_of` gives the words for a channel or a role. No text in it is taken for a formula by a spreadsheet. A table
    that has become larger than `bytes_max` is of no use, and its rest is not written.
    """
    block = io.StringIO(newline="")
    writer = csv.writer(block)
    writer.writerow(COLUMNS)
    cell, dollars = lru_cache(_TEXTS_KEPT)(as_cell), lru_cache(_TEXTS_KEPT)(plain_usd)
    named = lru_cache(_TEXTS_KEPT)(lambda name: as_cell(name_of(name)))
    # Each role by itself: where the spreadsheet splits cells at `;`, each of them begins one.
    listed = lru_cache(_TEXTS_KEPT)(lambda roles: ";".join(map(named, roles)))
    for run in runs:
        writer.writerow(
            (
                as_cell(run.run_id),
                datetime.fromtimestamp(run.created_at, UTC).isoformat(timespec="seconds"),
                *(cell(run.member), cell(run.member_name), cell(run.channel), named(run.channel), listed(run.roles)),
                *(cell(run.state), cell(run.ending or "")),
                *(dollars(run.price_u), dollars(run.charged_u), dollars(run.refunded_u)),
                "" if run.ended_at is None else f"{run.ended_at - run.created_at:.1f}",
            )
        )
        if block.tell() >= _BLOCK_CHARS:
            bytes_max -= _move(block, table)
            if bytes_max < 0:
                return
    _move(block, table)


def _move(block: io.StringIO, table: TextIO) -> int:
    """Write what has gathered in the block into the table; how many bytes that is."""
    text = block.getvalue()
    table.write(text)
    block.seek(0)
    block.truncate()
    return len(text.encode())
