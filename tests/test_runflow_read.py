"""Reading, finding and the key over real TCP: every end of a run, and every bad moment of Runflow."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.domain.models import VeoRequest
from bot.domain.runs import Ending
from bot.errors import SettingsError, Unreadable
from tests.harness import free_port
from tests.runflow_lab import ID, KEY, REF, Json, Lab, a_run, connected, laboratory, serving
from tests.words import refuses, said


@pytest.mark.parametrize(
    ("switches", "ending", "cost_u"),
    [
        ({}, Ending.VIDEO, 3_200_000),
        ({"end": "partial_succeeded"}, Ending.PARTIAL, 3_200_000),
        ({"end": "empty"}, Ending.EMPTY, 3_200_000),
        ({"end": "missing"}, Ending.EMPTY, 3_200_000),
        ({"nsfw": True}, Ending.NSFW, 3_200_000),
        ({"nsfw": None}, Ending.VIDEO, 3_200_000),
        ({"nsfw": True, "end": "partial_succeeded"}, Ending.NSFW, 3_200_000),
        ({"end": "failed"}, Ending.FAILED, None),
        ({"end": "errored"}, Ending.FAILED, None),
        ({"end": "policy"}, Ending.FAILED, None),
        ({"end": "failed", "failed_cost": "0.40"}, Ending.FAILED, 400_000),
        ({"end": "cancelled"}, Ending.CANCELLED, None),
        ({"end": "cancelled", "record_cancelled": "cancelled"}, Ending.CANCELLED, None),
        ({"cost_after_s": 60.0}, Ending.VIDEO, None),
        ({"cost": "3.2000001"}, Ending.VIDEO, 3_200_000),
        ({"cost": "0"}, Ending.VIDEO, 0),
    ],
)
async def test_every_end_is_read(lab: Lab, switches: Json, ending: Ending, cost_u: int | None) -> None:
    """Each ending of a run, with both key spellings of the record, and its cost in whole micro-dollars."""
    for keys in ("code", "plain"):
        lab.box.next_run(record_keys=keys, **switches)
        seen = await lab.client.read(await lab.bought(a_run(run_id=keys)))
        assert seen is not None
        assert (seen.ending, seen.cost_u) == (ending, cost_u)
        assert seen.client_ref == f"veo-{keys}"


async def test_an_unfinished_run_has_no_ending(tmp_path: Path) -> None:
    """Queued, dispatching, running and an unknown status all mean: not over."""
    async with laboratory(tmp_path, queue_s=10.0, run_s=100.0) as lab:
        ids = [await lab.bought(a_run(run_id="first"))]
        lab.box.next_run(odd_status="reticulating")
        ids.append(await lab.bought(a_run(run_id="second")))
        seen = []
        for seconds in (0, 10, 50):
            lab.box.clock.advance(seconds)
            for provider_id in ids:
                observed = await lab.client.read(provider_id)
                assert observed is not None
                assert observed.ending is None
                seen.append(observed.status)
        assert seen == ["queued", "queued", "dispatching", "dispatching", "running", "reticulating"]


async def test_seed_duration_and_failure_are_read(tmp_path: Path) -> None:
    """A success has the used seed and the time it took, a failure its code and text."""
    async with laboratory(tmp_path, run_s=61.25) as lab:
        done = await lab.bought(a_run(VeoRequest(prompt="x", seed=7), run_id="done"))
        lab.box.next_run(end="policy")
        broken = await lab.bought(a_run(run_id="broken"))
        lab.box.clock.advance(100)
        success, failure = await lab.client.read(done), await lab.client.read(broken)
        assert success is not None
        assert (success.seed_used, success.took_ms, success.failure_code) == (7, 61_250, None)
        assert failure is not None
        assert failure.failure_code == "PROVIDER_ERROR"
        assert "usage guidelines" in str(failure.failure_message)


@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504", "reset", "truncated", "no-body"])
async def test_a_run_that_cannot_be_read_is_unreadable(lab: Lab, fault: Any) -> None:
    """Runflow's bad moment says nothing about the run; the next read is right again."""
    provider_id = await lab.bought()
    lab.box.switches.read, lab.box.switches.read_fault_times = fault, 100
    with pytest.raises(Unreadable):
        await lab.client.read(provider_id)
    lab.box.switches.read = ""
    seen = await lab.client.read(provider_id)
    assert seen is not None
    assert seen.ending == Ending.VIDEO


async def test_a_silent_runflow_is_unreadable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read gives up after its timeout."""
    provider_id = await lab.bought()
    monkeypatch.setattr("bot.runflow.client.READ_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    lab.box.switches.read = lab.box.switches.list_fault = "timeout"
    with pytest.raises(Unreadable):
        await lab.client.read(provider_id)
    with pytest.raises(Unreadable):
        await lab.client.find(REF)


async def test_a_429_on_a_read_carries_its_wait(lab: Lab) -> None:
    """`Retry-After` of a read is kept, up to two minutes."""
    provider_id = await lab.bought()
    lab.box.switches.read_429, lab.box.switches.retry_after = 1, "600"
    for _ in range(2):
        with pytest.raises(Unreadable) as told:
            await lab.client.read(provider_id)
        assert told.value.wait_s == pytest.approx(120.0, abs=1.0)
    assert lab.asked(f"/v1/runs/{provider_id}") == 1


async def test_an_unknown_run_is_none(lab: Lab) -> None:
    """404 is an answer; what cannot be an id is not even asked for."""
    assert await lab.client.read(ID) is None
    assert lab.asked("/v1/runs/") == 1
    for odd in ("", ".", "..", "a/b", "a?b", "a b", "é", "a" * 101, "a\n"):
        assert await lab.client.read(odd) is None
    assert lab.asked("/v1/") == 1


async def test_a_redirected_read_is_not_followed(lab: Lab) -> None:
    """The key does not travel to another address."""

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{lab.box.url}/v1/runs/{ID}"})

    async with serving(redirect) as server, connected(server.url) as client:
        with pytest.raises(Unreadable):
            await client.read(ID)
    assert lab.box.received == []


@pytest.mark.parametrize(("names", "status"), [("next", 400), ("next_pq", 422)])
@pytest.mark.parametrize("understood", ["both", "eq", "plain", "none", "ignored"])
async def test_our_runs_are_found_whichever_filter_runflow_understands(
    lab: Lab, understood: Any, names: Any, status: Any
) -> None:
    """Exactly the runs with our reference, oldest first, even if the filter is refused or ignored."""
    lab.box.switches.list_filter, lab.box.switches.cursor_names = understood, names
    lab.box.switches.list_filter_status = status
    first = await lab.bought()
    for other in ("abc2345", "abc23", "ABC234"):
        await lab.bought(a_run(run_id=other))
    lab.box.clock.advance(1)
    second = await lab.bought()
    assert [seen.provider_id for seen in await lab.client.find(REF)] == [first, second]
    assert await lab.client.find("veo-nobody") == []


async def test_a_list_that_lags_is_empty_and_then_right(lab: Lab) -> None:
    """A run that is not listed yet gives an empty list, not an error; later it is there."""
    lab.box.switches.list_lag_s = 30.0
    provider_id = await lab.bought()
    assert await lab.client.find(REF) == []
    lab.box.clock.advance(30)
    assert [seen.provider_id for seen in await lab.client.find(REF)] == [provider_id]


@pytest.mark.parametrize("understood", ["both", "none"])
@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504", "reset", "truncated", "no-body"])
async def test_a_list_that_fails_proves_nothing(lab: Lab, understood: Any, fault: Any) -> None:
    """An answer that is no list never counts as an empty one."""
    await lab.bought()
    lab.box.switches.list_fault, lab.box.switches.list_filter = fault, understood
    with pytest.raises(Unreadable):
        await lab.client.find(REF)


async def test_a_second_list_that_fails_proves_nothing(lab: Lab) -> None:
    """If the filter is refused and the plain list fails too, nothing is known."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=422 if "q" in request.query else 429, headers={"Retry-After": "9"})

    async with serving(refuse) as server, connected(server.url) as client:
        with pytest.raises(Unreadable) as told:
            await client.find(REF)
        assert told.value.wait_s == 9.0
        assert len(server.requests) == 2


async def test_a_refused_key_stops_the_start_and_is_not_shown(lab: Lab) -> None:
    """401 and 403 stop the start with a sentence that names the setting; a good key passes."""
    await lab.client.check_key()
    for status in ("401", "403"):
        lab.box.switches.auth = status
        with refuses(SettingsError, "RUNFLOW_API_KEY") as told:
            await lab.client.check_key()
        assert status in said(told.value)
        assert KEY not in said(told.value)


async def test_an_outage_does_not_stop_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """If Runflow cannot be reached, nothing is known about the key."""
    async with connected(f"http://127.0.0.1:{free_port()}") as client:
        with caplog.at_level(logging.WARNING):
            await client.check_key()
    assert "cannot be reached" in caplog.text
    assert KEY not in caplog.text
