"""The clock of the sandboxes follows real time, and can be moved forward."""

import asyncio

import pytest

from sandbox.clock import Clock
from tests.sandbox.runflow_client import START


async def test_advancing_wakes_exactly_the_sleepers_that_are_due() -> None:
    """A sleeper wakes up when the clock reaches its time, and not before."""
    clock = Clock(lambda: START)
    early, late = (asyncio.create_task(clock.sleep_until(START + at)) for at in (10, 20))
    await asyncio.sleep(0)
    clock.advance(10)
    await asyncio.wait_for(early, 1)
    assert not late.done()
    clock.advance(10)
    await asyncio.wait_for(late, 1)
    assert clock.now() == START + 20
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_the_clock_runs_by_itself() -> None:
    """If nobody advances the clock, a sleeper waits in real time."""
    clock = Clock()
    until = clock.now() + 0.02
    await clock.sleep_until(until)
    assert clock.now() >= until
