"""What an operator's Prometheus asks for: the figures of the store as gauges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bot.domain.records import Figures


class Metrics:
    """Reads the figures anew for each scrape. It keeps nothing, and shares no registry with anybody."""

    def __init__(self, figures: Callable[[], Awaitable[Figures]]) -> None:
        self._figures = figures

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The page, and its content type: the best that `accept` names. Raises StoreDown."""
        registry = CollectorRegistry()
        registry.register(_Gauges(await self._figures()))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


class _Gauges(Collector):
    """One reading of the figures."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        figures = self._figures
        yield GaugeMetricFamily("veo_runs_open", "Runs with something left to do.", figures.open)
        yield GaugeMetricFamily("veo_runs_unknown", "Orders of which nobody knows what became.", figures.unknown)
        yield GaugeMetricFamily("veo_runs_overdue", "Runs past their deadline without an end.", figures.overdue)
        yield GaugeMetricFamily("veo_runs_unreadable", "Runs that this version cannot read.", figures.unreadable)
        yield GaugeMetricFamily(
            "veo_lookup_proven", "1 if Runflow's list has shown the latest runs in time.", int(figures.lookup_proven)
        )
