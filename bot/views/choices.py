"""What commands offer to choose from, where its name says more than its value."""

from __future__ import annotations

from bot.domain.models import DURATIONS, Duration, VeoRequest
from bot.domain.prices import PriceTable
from bot.facts import Text, Usd, text


def durations(prices: PriceTable) -> dict[Duration, Text]:
    """The lengths of a video, each with the least that it costs."""
    variants = list(prices.variants(VeoRequest(prompt="")))
    least_u = {each: min(price_u for price_u, video in variants if video.duration == each) for each in DURATIONS}
    return {
        duration: text("choice.duration", count=int(duration.removesuffix("s")), price=Usd(price_u))
        for duration, price_u in least_u.items()
    }
