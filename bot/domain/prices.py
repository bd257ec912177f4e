"""What a video costs before it is made, and what would cost less. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

from bot.domain.models import DURATIONS, RESOLUTIONS, VeoRequest
from bot.domain.money import to_micro
from bot.errors import SettingsError


class PriceTable:
    """The upper bound of what a request may cost, known before it is sent.

    `usd_per_second` maps each resolution to the prices `silent` and `audio`. Raises SettingsError
    unless it names exactly the model's resolutions: an option without a price would be free.
    """

    def __init__(self, usd_per_second: Mapping[str, Mapping[str, Decimal]]) -> None:
        self._per_second_u: dict[tuple[str, bool], int] = {}
        if set(usd_per_second) != set(RESOLUTIONS):
            raise SettingsError("prices.resolutions", needed=RESOLUTIONS, named=tuple(usd_per_second))
        for resolution, prices in usd_per_second.items():
            for name, audio in (("silent", False), ("audio", True)):
                price = prices.get(name)
                if price is None or len(prices) != 2 or not 0 < price <= 1000 or to_micro(price) == 0:
                    raise SettingsError("prices.missing", resolution=resolution)
                self._per_second_u[resolution, audio] = to_micro(price)

    def quote(self, request: VeoRequest) -> int:
        """The price of one run in micro-dollars: what is shown is what is held."""
        return self._per_second_u[request.resolution, request.generate_audio] * request.seconds

    def variants(self, request: VeoRequest) -> Iterator[tuple[int, VeoRequest]]:
        """Every way to make a video of the same prompt, with its price, in no particular order."""
        for duration in DURATIONS:
            for resolution in RESOLUTIONS:
                for audio in (True, False):
                    variant = replace(request, duration=duration, resolution=resolution, generate_audio=audio)
                    yield self.quote(variant), variant

    def nearest_that_fit(self, request: VeoRequest, left_u: int, count: int) -> list[tuple[int, VeoRequest]]:
        """The settings for the same prompt that fit into `left_u`, the nearest to the wish first.

        Nearer is what changes fewer options, then what leaves more of the wish, by its price. Of those alike in all
        but the resolution only one counts.
        """

        def rank(item: tuple[int, VeoRequest]) -> tuple[int, int, int]:
            price_u, variant = item
            return changes(variant), -price_u, -variant.seconds

        def changes(variant: VeoRequest) -> int:
            return sum(
                getattr(variant, name) != getattr(request, name)
                for name in ("duration", "resolution", "generate_audio")
            )

        found: dict[tuple[str, bool], tuple[int, VeoRequest]] = {}
        for price_u, variant in sorted(self.variants(request), key=rank):
            if (
                price_u <= left_u
                and variant != request
                and RESOLUTIONS.index(variant.resolution) <= RESOLUTIONS.index(request.resolution)
            ):
                found.setdefault((variant.duration, variant.generate_audio), (price_u, variant))
        return list(found.values())[:count]

    def cheaper(self, request: VeoRequest) -> list[tuple[int, VeoRequest]]:
        """Settings that cost less, each one step away from the wish: silent, at a lower resolution, shorter."""
        steps = [replace(request, generate_audio=False)]
        if request.resolution == "4k":
            steps.append(replace(request, resolution="1080p"))
        steps += [replace(request, duration=duration) for duration in reversed(DURATIONS)]
        price_u = self.quote(request)
        return [(self.quote(step), step) for step in steps if self.quote(step) < price_u]
