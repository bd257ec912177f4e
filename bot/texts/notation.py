"""How a language writes amounts, numbers, days and lists: American English by itself, others by `bot.texts.cldr`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Protocol


class Notation(Protocol):
    """One language's way to write figures."""

    def number(self, number: int) -> str:
        """`1,000`."""
        ...

    def usd(self, amount: Decimal) -> str:
        """`$3.20`: at least two decimals, more only where they say something."""
        ...

    def whole_usd(self, amount: Decimal) -> str:
        """`$3`, as on an axis."""
        ...

    def day(self, day: date) -> str:
        """`Nov 26`: a day whose year is known."""
        ...

    def ordinal_form(self, number: int) -> str:
        """Which of English's forms of a place in a row it takes, `one`, `two`, `few` or `other`, as the CLDR says."""
        ...

    def sequence(self, parts: Sequence[str]) -> str:
        """`#lab, #general, and #takes`."""
        ...


class American:
    """The same as the CLDR's for `en_US`, of which Babel would keep 7 MB in memory."""

    def number(self, number: int) -> str:
        return f"{number:,}"

    def usd(self, amount: Decimal) -> str:
        decimals = -int(amount.normalize().as_tuple().exponent)
        return _dollars(amount, max(2, decimals))

    def whole_usd(self, amount: Decimal) -> str:
        return _dollars(amount, 0)

    def day(self, day: date) -> str:
        return f"{_MONTHS[day.month - 1]} {day.day}"

    def ordinal_form(self, number: int) -> str:
        is_teen = number % 100 in (11, 12, 13)
        return "other" if is_teen else {1: "one", 2: "two", 3: "few"}.get(number % 10, "other")

    def sequence(self, parts: Sequence[str]) -> str:
        *first, last = parts or [""]
        if len(first) < 2:
            return " and ".join(parts)
        return f"{', '.join(first)}, and {last}"


def _dollars(amount: Decimal, decimals: int) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{decimals}f}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
