"""The operator's web server over real TCP: health, readiness and metrics."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.domain.records import RunChanges
from bot.domain.runs import Run, RunState
from bot.web import operator
from bot.web.operator import Readiness
from tests.web_site import Site, store_down


async def test_healthz_is_about_the_process_alone(site: Site) -> None:
    """`/healthz` is 200 as long as the process answers, whatever else is down."""
    site.parts["discord"] = site.parts["database"] = False
    with store_down(site.folder):
        status, _, body = await site.ask("/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True})


@pytest.mark.parametrize(("discord", "database"), [(True, True), (True, False), (False, True), (False, False)])
async def test_readyz_names_each_part(site: Site, discord: bool, database: bool) -> None:
    """`/readyz` is 200 only if every part would work now."""
    site.parts.update(discord=discord, database=database)
    status, _, body = await site.ask("/readyz")
    assert status == (200 if discord and database else 503)
    assert json.loads(body) == {"discord": discord, "database": database}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
async def test_health_is_not_on_the_public_port(site: Site, path: str) -> None:
    """And callbacks are not on the operator's."""
    assert (await site.request("GET", path))[0] == 404
    assert (await site.ask("/callbacks/runflow/x"))[0] == 404


async def test_readiness_is_checked_at_most_once_in_two_seconds(site: Site) -> None:
    """However many ask, the disk is written once; the gateway, which costs nothing, is asked each time."""
    asked, up = [0], [True]

    async def keeps() -> bool:
        asked[0] += 1
        await asyncio.sleep(0)
        return asked[0] == 1

    ready = Readiness(gateway=lambda: up[0], checks={"database": keeps}, now=site.clock.now)
    assert await asyncio.gather(*(ready() for _ in range(20))) == [{"discord": True, "database": True}] * 20
    up[0] = False
    site.clock.at += operator.RESULTS_KEPT_S - 0.1
    assert await ready() == {"discord": False, "database": True}
    site.clock.at += 0.2
    assert await ready() == {"discord": False, "database": False}
    assert asked == [2]


async def test_a_check_that_hangs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as failed after some seconds, and the caller gets an answer."""
    monkeypatch.setattr(operator, "CHECK_TIMEOUT_S", 0.05)
    never = asyncio.Event()

    async def hangs() -> bool:
        return await never.wait()

    assert await Readiness(gateway=lambda: True, checks={"media": hangs})() == {"discord": True, "media": False}


async def test_metrics_are_gauges(site: Site) -> None:
    """`/metrics` counts open and unknown runs, which should be zero, and says whether the look-up has proven itself."""
    run: Run | None = await site.a_run()
    await site.a_run()
    for state in (RunState.AMBIGUOUS, RunState.UNKNOWN):
        assert run is not None
        if state == RunState.AMBIGUOUS:
            run = await site.store.begin_submit(run, now=site.clock.now(), total_max=9)
            assert run is not None
        run = await site.store.advance(run, state, now=site.clock.now(), changes=RunChanges())
    status, headers, body = await site.ask("/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    gauges = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert gauges == [
        "veo_runs_open 1.0",
        "veo_runs_unknown 1.0",
        "veo_runs_overdue 0.0",
        "veo_runs_unreadable 0.0",
        "veo_lookup_proven 0.0",
    ]
    with store_down(site.folder):
        assert (await site.ask("/metrics"))[0] == 503
