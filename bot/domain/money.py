"""What a run costs: amounts, prices, periods and settlement. What may be spent is in `bot.domain.limits`.

Pure and exact: integer micro-dollars (`*_u`, $1 = 1,000,000) everywhere, no float, no clock, no I/O.
The store calls these decisions inside the transaction that acts on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, DecimalException
from enum import StrEnum
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from bot.domain.runs import DURATIONS, RESOLUTIONS, Resolution, VeoRequest
from bot.errors import BadAmount, SettingsError
from bot.facts import Code, Quote

USD_U = 1_000_000
AMOUNT_MAX_U = 10**9 * USD_U  # a billion dollars: beyond it an amount is a mistake, and sums stay within 64 bits

PeriodKind = Literal["day", "week", "month"]


class Kind(StrEnum):
    """The kinds of ledger entry. Entries are only ever added."""

    HOLD = "hold"  # reserved when the run was admitted
    POST = "post"  # the hold became a charge of this amount; what it leaves of the hold is free again
    VOID = "void"  # the hold was given back whole
    ADJUST = "adjust"  # the real cost became known and differs by this amount, up or down
    GRANT = "grant"  # an admin's extra on top of a limit, for one period
    REFUND = "refund"  # the same, given to the member of a run for what it was charged


def to_micro(amount: Decimal) -> int:
    """Dollars as whole micro-dollars, the seventh decimal rounded half up.

    Raises ValueError for what is no amount: negative, not finite, or above a billion dollars.
    """
    if not amount.is_finite() or not 0 <= amount <= AMOUNT_MAX_U // USD_U:
        raise ValueError(f"{amount} is not an amount of dollars")
    return int(amount.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP) * USD_U)


_PLAIN = re.compile(r"\d+(\.\d{1,6})?")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d{1,6})?")  # 1,000.50 and 12,345,678
_COMMA = re.compile(r"\d+,(\d{1,2}|\d{4,6})")  # 10,50; three digits behind it could be thousands
_TWO_WAYS = re.compile(r"(\d{1,3})[.,](\d{3})")  # a thousand here, a fraction there
_EUROPEAN = re.compile(r"\d{1,3}(\.\d{3})+,\d{1,6}")  # 1.000,50


def parse_amount(text: str) -> int:
    """An amount of dollars as a person types it, in micro-dollars: `10`, `$10.25`, `10,50`, `1,000.50`, `7 USD`.

    Raises BadAmount for what is not an amount, or could be read in two ways.
    """
    text = " ".join(text.split())
    shown = Quote(text, 40)
    plain = re.sub(r"^\$|^USD\b|\bUSD$|\$$", "", text.upper()).strip()
    if not plain.isascii():
        raise BadAmount("amount.unreadable", amount=shown)
    if plain.startswith("-"):
        raise BadAmount("amount.negative", amount=shown)
    if two := _TWO_WAYS.fullmatch(plain):
        whole, fraction = int("".join(two.groups())), two[2].rstrip("0").ljust(2, "0")
        exact = f"{two[1]}.{fraction}{'0' if len(fraction) == 3 else ''}"  # no three digits, which would be two again
        raise BadAmount("amount.two_ways", amount=shown, one=Code(str(whole)), other=Code(exact))
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    elif _EUROPEAN.fullmatch(plain):
        plain = plain.replace(".", "").replace(",", ".")
    elif _COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    if not _PLAIN.fullmatch(plain):
        raise BadAmount("amount.unreadable", amount=shown)
    try:
        return to_micro(Decimal(plain))
    except ValueError:
        raise BadAmount("amount.too_large", amount=shown) from None


def parse_cost(text: str) -> int | None:
    """Runflow's `cost`, a decimal string in USD, in micro-dollars; None where it is not an amount."""
    try:
        return to_micro(Decimal(text))
    except (DecimalException, ValueError):
        return None


def plain_usd(amount_u: int) -> str:
    """`3.20`: at least two decimals, more only where they say something."""
    sign, amount_u = ("-", -amount_u) if amount_u < 0 else ("", amount_u)
    cents, rest = divmod(amount_u, USD_U // 100)
    text = f"{sign}{cents // 100}.{cents % 100:02d}"
    return text + f"{rest:04d}".rstrip("0") if rest else text


def usd(amount_u: int) -> str:
    """`$3.20`, as people read it."""
    return f"-${plain_usd(-amount_u)}" if amount_u < 0 else f"${plain_usd(amount_u)}"


class PriceTable:
    """The upper bound of what a request may cost, known before it is sent.

    `usd_per_second` maps each resolution to the prices `silent` and `audio`. Raises SettingsError
    unless it names exactly the model's resolutions: an option without a price would be free.
    """

    def __init__(self, usd_per_second: Mapping[str, Mapping[str, Decimal]]) -> None:
        self._per_second_u: dict[tuple[str, bool], int] = {}
        if set(usd_per_second) != set(RESOLUTIONS):
            raise SettingsError(
                f"PRICE_USD_PER_SECOND must price exactly the resolutions {', '.join(RESOLUTIONS)}; "
                f"it names {', '.join(usd_per_second) or 'none'}."
            )
        for resolution, prices in usd_per_second.items():
            for name, audio in (("silent", False), ("audio", True)):
                price = prices.get(name)
                if price is None or len(prices) != 2 or not 0 < price <= 1000 or to_micro(price) == 0:
                    raise SettingsError(
                        f"PRICE_USD_PER_SECOND needs the prices silent and audio for {resolution}, "
                        'each a decimal string above 0 such as "0.40".'
                    )
                self._per_second_u[resolution, audio] = to_micro(price)

    def quote(self, request: VeoRequest) -> int:
        """The price of one run in micro-dollars: what is shown is what is held."""
        return self._per_second_u[request.resolution, request.generate_audio] * request.seconds

    def variants(self, request: VeoRequest) -> Iterator[tuple[int, VeoRequest]]:
        """Every way to film the same prompt, with its price, in no particular order."""
        for duration in DURATIONS:
            for resolution in RESOLUTIONS:
                for audio in (True, False):
                    variant = replace(request, duration=duration, resolution=resolution, generate_audio=audio)
                    yield self.quote(variant), variant

    def cheapest_that_fits(self, request: VeoRequest, left_u: int) -> tuple[int, VeoRequest] | None:
        """The cheapest setting for the same prompt if it fits into `left_u`, else None.

        Among equally cheap ones the closest to the wish: its resolution first, then more of a resolution.
        """

        def rank(item: tuple[int, VeoRequest]) -> tuple[int, bool, int]:
            price_u, variant = item
            resolution: Resolution = variant.resolution
            return price_u, resolution != request.resolution, -RESOLUTIONS.index(resolution)

        best = min(self.variants(request), key=rank)
        return best if best[0] <= left_u else None

    def cheaper(self, request: VeoRequest) -> list[tuple[int, VeoRequest]]:
        """Settings that cost less, each one step away from the wish: silent, at a lower resolution, shorter."""
        steps = [replace(request, generate_audio=False)]
        if request.resolution == "4k":
            steps.append(replace(request, resolution="1080p"))
        steps += [replace(request, duration=duration) for duration in reversed(DURATIONS)]
        price_u = self.quote(request)
        return [(self.quote(step), step) for step in steps if self.quote(step) < price_u]


@dataclass(frozen=True, kw_only=True)
class Period:
    """One calendar period: a hold belongs to the period in which it was taken."""

    kind: PeriodKind
    key: str  # `2026-11`, `2026-W47`, `2026-11-22`
    starts_at: float  # unix seconds
    resets_at: float


@lru_cache(maxsize=64)
def period_at(now: float, kind: PeriodKind, zone: ZoneInfo) -> Period:
    """The calendar day, week (from Monday) or month around `now`, as the clocks of `zone` show it."""
    # By the whole second: a fraction just before midnight would be rounded into the next day.
    today = datetime.fromtimestamp(now // 1, UTC).astimezone(zone).date()
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


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """How one hold is resolved: exactly one post or void, and an adjust where the cost is above the hold."""

    kind: Literal[Kind.POST, Kind.VOID]
    posted_u: int
    adjust_u: int


def settle(*, hold_u: int, cost_u: int | None, succeeded: bool) -> Settlement:
    """Resolve a hold by the cost that Runflow reports, whatever the end state.

    Without one a success is posted as estimated and anything else is given back; the truth
    that comes later is an adjust. A post never exceeds its hold.
    """
    if cost_u is None:
        cost_u = hold_u if succeeded else 0
    if cost_u == 0 and not succeeded:
        return Settlement(kind=Kind.VOID, posted_u=0, adjust_u=0)
    posted_u = min(cost_u, hold_u)
    return Settlement(kind=Kind.POST, posted_u=posted_u, adjust_u=cost_u - posted_u)
