"""Amounts of dollars, and how a run is settled. What may be spent is in `bot.domain.limits`.

Pure and exact: integer micro-dollars (`*_u`, $1 = 1,000,000) everywhere, no float, no clock, no I/O.
The store calls these decisions inside the transaction that acts on them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, DecimalException
from enum import StrEnum
from typing import Literal

from bot.errors import BadAmount
from bot.facts import Code, Quote

USD_U = 1_000_000
AMOUNT_MAX_U = 10**9 * USD_U  # a billion dollars: beyond it an amount is a mistake, and sums stay within 64 bits


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
