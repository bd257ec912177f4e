"""The loops of the bot live and end together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bot.app import supervise
from bot.errors import InvariantError, SettingsError, StoreDown
from tests.harness import WAIT_S, scene


class Loops:
    """Loops that note how they end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended: list[str] = []

    async def lives(self, name: str) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended.append(name)

    async def fails(self, error: Exception) -> None:
        await self.begun.wait()
        raise error


async def test_loops_end_together_when_the_bot_is_stopped() -> None:
    """A stop is waited for until each has cleaned up, and stays a stop."""
    loops = Loops()
    task = asyncio.create_task(supervise(engine=loops.lives("engine"), sweep=loops.lives("sweep")))
    await loops.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(loops.ended) == ["engine", "sweep"]


async def test_the_error_of_one_loop_ends_all_and_is_raised_as_it_is() -> None:
    """With its own cause, which is what the operator is told."""
    loops = Loops()
    error = StoreDown()
    error.__cause__ = OSError("disk full")
    with pytest.raises(StoreDown) as raised:
        await supervise(engine=loops.lives("engine"), gateway=loops.fails(error))
    assert raised.value is error
    assert str(raised.value.__cause__) == "disk full"
    assert loops.ended == ["engine"]


async def test_a_loop_that_just_ends_is_noticed() -> None:
    """None of them is meant to: a bot that hears nobody any more does not stay."""
    loops = Loops()

    async def ends() -> None:
        await loops.begun.wait()

    with pytest.raises(InvariantError, match="the gateway loop has ended by itself"):
        await supervise(engine=loops.lives("engine"), gateway=ends())
    assert loops.ended == ["engine"]


async def test_a_second_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One error can be raised; the other is not lost."""

    async def fails_at_its_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("not closed")

    async def refused() -> None:
        await asyncio.sleep(0)
        raise SettingsError("refused")

    loops: dict[str, Coroutine[Any, Any, None]] = {"gateway": refused(), "engine": fails_at_its_end()}
    with caplog.at_level(logging.ERROR), pytest.raises(SettingsError):
        await supervise(**loops)
    assert "OSError('not closed')" in caplog.text


async def test_the_bot_does_not_outlive_one_of_its_loops(tmp_path: Path) -> None:
    """The real process, one loop of which fails: it ends with the trace, and the next one goes on."""
    async with scene(tmp_path, before="import bot.app\nbot.app.SWEEP_S = 'never'\n", start=False) as world:
        with suppress(AssertionError, TimeoutError):  # mostly it stops while it starts
            await world.start()
        assert world.bot is not None
        async with asyncio.timeout(WAIT_S):
            assert await world.bot.wait() == 1
        assert "TypeError" in world.log
        world.bot, world.before = None, ""
        await world.start()
        await world.end_of(await world.veo())
