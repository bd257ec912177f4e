"""The figures of what an admin did."""

from __future__ import annotations

from bot.domain.acts import Detail
from bot.domain.languages import LANGUAGES
from bot.domain.records import Act
from bot.facts import Fact, Quote, Text, Usd, text

SENTENCE_CHARS = 100


def detail_text(act: Act) -> Text | None:
    """The figures of an act; None where there are none."""
    found = Detail.of(act.detail)
    if found is None:
        return text("is", fact=Quote(act.detail, SENTENCE_CHARS)) if act.detail else None
    parts: list[Fact] = []
    if found.amount_u is not None:
        parts.append(Usd(found.amount_u))
    if found.period is not None or found.in_flight is not None:
        parts.append(limit_of(found.period is not None, found.limit_u, found.period or "month", found.in_flight))
    if found.language is not None:
        parts.append(LANGUAGES.get(found.language, found.language))
    parts += [text(f"adds.{scope.partition(':')[0]}", amount=Usd(over_u)) for scope, over_u in found.adds]
    return text("dotted", parts=tuple(parts)) if parts else None


def limit_of(has_amount: bool, limit_u: int | None, period: str, in_flight: int | None) -> Text:
    """What a limit says of dollars, of videos at a time, or of both."""
    amount = text("limit.none") if limit_u is None else text(f"limit.per_{period}", amount=Usd(limit_u))
    if in_flight is None:
        return amount
    flights = text("limit.in_flight", count=in_flight)
    return text("limit.both", amount=amount, in_flight=flights) if has_amount else flights
