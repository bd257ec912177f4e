"""Orders that surely bought nothing and may be sent again: Runflow was not reached, or asked to wait."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp.abc import ResolveResult

from bot.domain.records import Accepted, NotSent
from bot.errors import Unreadable
from bot.runflow.replies import RateLimitPause
from tests.harness import free_port
from tests.runflow_lab import (
    ID,
    REF,
    Lab,
    a_run,
    connected,
    reply,
    serving,
    submitted,
    the_clip,
)


@pytest.mark.parametrize("status", [407, 511])
async def test_a_proxy_that_wants_something_first_means_not_sent(status: int) -> None:
    """Runflow never saw the order."""
    assert isinstance(await submitted(reply(status, b"<html>sign in</html>")), NotSent)


@pytest.mark.parametrize(
    "address",
    ["https://me:pw@runflow.invalid", "http://[::1", "ftp://runflow.invalid", "http://" + "a" * 64 + ".example"],
)
async def test_nothing_is_sent_to_an_invalid_address(address: str) -> None:
    """What the library refuses before it connects bought nothing."""
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(connected(address))
        except ValueError:
            return  # it does not even start
        assert isinstance(await client.submit(a_run()), NotSent)


async def test_nothing_is_sent_while_a_name_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs until the timeout bought nothing."""

    async def hang(*_: object, **__: object) -> list[ResolveResult]:
        await asyncio.sleep(5)
        return []

    monkeypatch.setattr("bot.runflow.client.SUBMIT_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    monkeypatch.setattr(aiohttp.resolver.ThreadedResolver, "resolve", hang)
    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", hang)
    async with connected("http://runflow.invalid") as client:
        assert isinstance(await client.submit(a_run()), NotSent)


async def test_nothing_is_sent_where_nobody_listens() -> None:
    """A refused connection bought nothing; the order may be repeated at once."""
    async with connected(f"http://127.0.0.1:{free_port()}") as client:
        answer = await client.submit(a_run())
    assert isinstance(answer, NotSent)
    assert answer.wait_s is None


async def test_nothing_is_sent_to_a_name_without_an_address() -> None:
    """A host that does not resolve got no request."""
    async with connected("http://runflow.invalid") as client:
        assert isinstance(await client.submit(a_run()), NotSent)


async def test_nothing_is_sent_without_a_tls_connection() -> None:
    """If TLS fails, no byte of the request was sent."""
    async with serving(the_clip) as server:
        async with connected(f"https://127.0.0.1:{server.port}") as client:
            assert isinstance(await client.submit(a_run()), NotSent)
        assert server.requests == []


async def test_nothing_is_sent_if_connecting_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not accept the connection got no request."""
    monkeypatch.setattr("bot.runflow.client.SUBMIT_TIMEOUT", aiohttp.ClientTimeout(total=5, sock_connect=0.1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:  # a full queue of connections that nobody accepts: the next one waits
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with connected(f"http://127.0.0.1:{port}") as client:
                assert isinstance(await client.submit(a_run()), NotSent)
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        (["Retry-After: 7"], 7.0),
        (["Retry-After: 0.5"], 0.5),
        (["Retry-After: 86400"], 120.0),
        (["Retry-After: -1"], None),
        (["Retry-After: soon"], None),
        (["Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"], None),
        (["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1"], None),
    ],
)
async def test_a_429_means_wait(headers: list[str], wait_s: float | None) -> None:
    """Nothing was bought; a `Retry-After` in seconds is kept, up to two minutes."""
    answer = await submitted(reply(429, b'{"code":"RATE_LIMITED","message":"later"}', *headers))
    assert isinstance(answer, NotSent)
    assert answer.wait_s == wait_s


async def test_a_429_of_the_sandbox_buys_nothing(lab: Lab) -> None:
    """Told to wait twice, then accepted: three POSTs, one run."""
    lab.box.switches.post_429, lab.box.switches.retry_after = 2, "0.05"
    for _ in range(2):
        answer = await lab.client.submit(a_run())
        assert isinstance(answer, NotSent)
        assert answer.wait_s == 0.05
        await asyncio.sleep(0.06)
    assert isinstance(await lab.client.submit(a_run()), Accepted)
    assert (lab.box.posts(REF), len(lab.box.runs)) == (3, 1)


async def test_after_a_429_nothing_is_sent_until_the_wait_is_over(lab: Lab) -> None:
    """One 429 holds for every call: no order and no look-up is sent meanwhile."""
    lab.box.switches.post_429, lab.box.switches.retry_after = 1, "30"
    assert isinstance(await lab.client.submit(a_run()), NotSent)
    answer = await lab.client.submit(a_run())
    assert isinstance(answer, NotSent)
    assert answer.wait_s == pytest.approx(30.0, abs=1.0)
    for question in (lab.client.read(ID), lab.client.find(REF)):
        with pytest.raises(Unreadable) as told:
            await question
        assert told.value.wait_s == pytest.approx(30.0, abs=1.0)
    assert (lab.box.posts(REF), len(lab.box.runs)) == (1, 0)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1e9"}, 1.0),
        ({"Retry-After": "99999"}, 120.0),
        ({"Retry-After": "Thu, 26 Nov 2026 12:00:40 GMT", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}, 40.0),
        ({"Retry-After": "Thu, 26 Nov 2026 11:00:00 GMT", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 99 Nov 2026 11:00:00 GMT", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}, 1.0),
        ({}, 1.0),
    ],
    ids=str,
)
async def test_retry_after_may_be_seconds_or_a_date(headers: dict[str, str], wait_s: float) -> None:
    """A date counts from the `Date` of the reply; without either the pause is ours."""
    pause = RateLimitPause()
    pause.update(429, headers)
    assert pause.left_s() == pytest.approx(wait_s, abs=0.1)
    pause.update(200, headers)
    assert pause.left_s() == pytest.approx(wait_s, abs=0.1)


async def test_a_burst_of_429s_counts_once_and_the_next_one_doubles_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls under way together are refused together; only a call after the pause makes the next pause longer."""
    monkeypatch.setattr("bot.runflow.replies.PAUSE_FIRST_S", 0.05)
    pause = RateLimitPause()
    for _ in range(9):
        pause.update(429, {})
    assert pause.left_s() <= 0.05
    await asyncio.sleep(0.06)
    pause.update(429, {})
    assert 0.05 < pause.left_s() <= 0.1
