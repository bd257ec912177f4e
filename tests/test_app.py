"""The loops of the bot live and end together."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bot.app import supervise
from bot.errors import InvariantError, SettingsError, StoreDown
from tests.harness import ROOT, WAIT_S, scene


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


ASKED = """
import pathlib, signal, sys
def tell(*_):
    pathlib.Path({file!r}).write_text(" ".join(sys.modules))
signal.signal(signal.SIGUSR1, tell)
"""
# Each takes megabytes, and is for a moment of the start, for what is seldom asked for, or for other commands.
SELDOM = ("pydantic", "pydantic_settings", "dotenv", "sqlite_utils", "click", "PIL", "babel", "statistics")


async def test_the_bot_at_rest_keeps_nothing_of_what_is_seldom_needed(tmp_path: Path) -> None:
    """Neither what read its settings, nor what migrates a database that is up to date, draws charts or knows German."""
    told, code = tmp_path / "modules", tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(ASKED.format(file=str(told)))
    async with scene(tmp_path, PYTHONPATH=f"{code}:{ROOT}") as world:  # with a process that imports for itself
        await world.stop()
        await world.start()
        assert world.bot is not None
        files = Path(f"/proc/{world.bot.pid}/maps")
        if files.exists():  # libraries that are no longer named would still be here
            loaded = files.read_text()
            assert "_sqlite3" in loaded
            assert not [name for name in ("pydantic_core", "PIL/_imaging") if name in loaded]
        world.bot.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(WAIT_S):
            while not told.exists() or not (modules := set(told.read_text().split())):  # noqa: ASYNC110 - it writes it
                await asyncio.sleep(0.01)
        assert {"bot.app", "sqlite3", "discord"} <= modules
        assert modules.isdisjoint(SELDOM)
