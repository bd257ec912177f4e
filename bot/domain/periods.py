"""Calendar periods: days, weeks and months as the clocks of a zone show them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

PeriodKind = Literal["day", "week", "month"]


@dataclass(frozen=True, kw_only=True)
class Period:
    """One calendar period: a hold belongs to the period in which it was taken."""

    kind: PeriodKind
    key: str  # `2026-11`, `2026-W47`, `2026-11-22`
    starts_at: float  # unix seconds
    resets_at: float


def period_at(now: float, kind: PeriodKind, zone: ZoneInfo) -> Period:
    """The calendar day, week (from Monday) or month around `now`, as the clocks of `zone` show it."""
    # By the whole second: a fraction just before midnight would be rounded into the next day. And by the whole minute
    # since a time from which on no zone differs from another by seconds, so that one answer serves for many requests.
    return _period_at(now // 60 * 60 if now >= _WHOLE_MINUTES_FROM else now // 1, kind, zone)


_WHOLE_MINUTES_FROM = datetime(1973, 1, 1, tzinfo=UTC).timestamp()  # tz database: Liberia was the last, in 1972


@lru_cache(maxsize=64)
def _period_at(now: float, kind: PeriodKind, zone: ZoneInfo) -> Period:
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    if kind == "day":
        key, first, following = today.isoformat(), today, today + timedelta(days=1)
    elif kind == "week":
        year, week, weekday = today.isocalendar()
        first = today - timedelta(days=weekday - 1)
        key, following = f"{year}-W{week:02d}", first + timedelta(days=7)
    else:
        key, first = f"{today.year}-{today.month:02d}", today.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    starts_at, resets_at = (datetime.combine(day, time(), zone).timestamp() for day in (first, following))
    return Period(kind=kind, key=key, starts_at=starts_at, resets_at=resets_at)
