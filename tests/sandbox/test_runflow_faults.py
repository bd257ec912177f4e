"""The sandbox Runflow breaks its replies in the way the switches say."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.sandbox.runflow_client import Lab, Mailbox, laboratory, until


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504"])
async def test_a_post_can_fail_before_or_after_it_creates_the_run(lab: Lab, moment: str, fault: str) -> None:
    """The error is the same with and without a run; the next POST works."""
    setattr(lab.box.switches, moment, fault)
    assert (await lab.post()).status == int(fault)
    assert len(lab.box.runs) == (moment == "after")
    assert (await lab.post()).status == 201
    assert lab.box.posts("r1") == 2


@pytest.mark.parametrize(("moment", "runs"), [("before", 0), ("after", 1)])
async def test_a_post_can_be_reset_or_never_answered(lab: Lab, mailbox: Mailbox, moment: str, runs: int) -> None:
    """Without a reply, the run exists or not, as the switch says; if it does, its callback is sent."""
    setattr(lab.box.switches, moment, "reset")
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionResetError)):
        await lab.post(callback_url=mailbox.url)
    setattr(lab.box.switches, moment, "timeout")
    waiting = asyncio.create_task(lab.post(ref="r2", callback_url=mailbox.url))
    await until(lambda: lab.box.posts("r2") == 1 and len(mailbox.received) == 2 * runs)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    waiting.cancel()
    await lab.box.idle()
    assert (len(lab.box.runs), len(mailbox.received)) == (2 * runs, 2 * runs)


async def test_a_reply_can_be_truncated_or_empty(lab: Lab) -> None:
    """201 with half of the JSON or no body, and the run exists."""
    half = await lab.post("x [after-truncated]", "r1")
    nothing = await lab.post("x [after-no-body]", "r2")
    assert (half.status, nothing.status, nothing.content) == (201, 201, b"")
    with pytest.raises(ValueError, match=r"char|delimiter|Unterminated|Expecting"):
        json.loads(half.content)
    assert [run.client_ref for run in lab.box.runs.values()] == ["r1", "r2"]


async def test_429_ends_after_the_given_number_of_posts(lab: Lab) -> None:
    """Each client_ref gets 429 that many times, without headers by default and with them if switched."""
    lab.box.switches.post_429 = 2
    refused = await lab.post()
    assert (refused.status, refused.json["code"]) == (429, "RATE_LIMITED")
    assert not [name for name in refused.headers if name.lower().startswith(("retry", "x-rate"))]
    lab.box.switches.retry_after = "7"
    lab.box.switches.rate_headers = True
    headers = (await lab.post()).headers
    assert (headers["Retry-After"], headers["X-RateLimit-Remaining"]) == ("7", "0")
    assert (await lab.post()).status == 201
    assert (await lab.post(ref="r2")).status == 429
    assert len(lab.box.runs) == 1


async def test_keys_can_be_refused_and_credit_can_run_out(lab: Lab) -> None:
    """Switches give 401 and 403; 402 comes after the given number of runs, and without balance."""
    lab.box.switches.no_credit_after = 1
    assert [(await lab.post()).status for _ in range(2)] == [201, 402]
    assert (await lab.post("x [403]")).status == 403
    lab.box.switches.auth = "401"
    assert (await lab.call("GET", "/v1/runs")).status == 401
    async with laboratory(balance_cents=100) as poor:
        assert [(await poor.post()).json.get("code") for _ in range(2)] == [None, "INSUFFICIENT_CREDIT"]
        assert poor.box.balance_usd == Decimal("-2.20")


async def test_reads_can_fail_for_a_while(lab: Lab) -> None:
    """A run's reads fail the given number of times, with 429 or a fault, then work; also for an existing run."""
    run_id = await lab.created("x [reads-fail]")
    path = f"/v1/runs/{run_id}"
    assert [(await lab.call("GET", path)).status for _ in range(4)] == [503, 503, 503, 200]
    lab.box.switches.read_429 = 1
    assert [(await lab.call("GET", path)).status for _ in range(2)] == [429, 200]
    lab.box.switches.read = "truncated"
    path = f"/v1/runs/{await lab.created()}"
    assert (await lab.call("GET", path)).status == 429
    half, whole = [await lab.call("GET", path) for _ in range(2)]
    assert (half.status, half.content[:7]) == (200, b'{"id": ')
    assert 0.4 < len(half.content) / len(whole.content) < 0.6


async def test_replies_can_be_slow_and_sent_in_pieces(lab: Lab) -> None:
    """A delayed reply in pieces is complete once the clock has moved, and not before."""
    lab.box.switches.reply_delay_s = 100
    lab.box.switches.drip_s = 10
    posting = asyncio.create_task(lab.post())
    await until(lambda: bool(lab.box.runs))
    await asyncio.sleep(0.01)
    assert not posting.done()
    lab.clock.advance(100)
    for _ in range(15):
        await asyncio.sleep(0.002)
        lab.clock.advance(1)
    assert (await posting).json["client_ref"] == "r1"


@pytest.mark.parametrize(("form", "status"), [("normal", 200), ("403", 403), ("404", 404), ("shape", 200)])
async def test_the_balance_can_be_refused(lab: Lab, form: Any, status: int) -> None:
    """The balance is returned, refused, not found, or has another format."""
    lab.box.switches.balance = form
    got = await lab.call("GET", "/v1/billing/balance")
    assert got.status == status
    assert ("balance_cents" in got.json) == (form == "normal")
