"""What a clock that anybody may set is trusted with: by itself, and by the real bot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import SystemClock
from tests.harness import scene


class Machine:
    """A wall clock and the machine's own time."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0
        self.clock = SystemClock(wall=lambda: self.wall, steady=lambda: self.steady)

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def set(self, by_s: float) -> None:
        self.wall += by_s


def test_before_it_is_set_a_difference_is_what_it_seems() -> None:
    machine = Machine()
    before = machine.wall - 500.0
    machine.run(100.0)
    clock = machine.clock
    assert clock.elapsed(before) == 600.0
    assert clock.watched(before) == 100.0
    assert (clock.within(before, 601.0), clock.within(before, 600.0)) == (True, False)
    assert clock.set_at is None


@pytest.mark.parametrize("by_s", [-3600.0, 3600.0, 86_400.0, -3.0])
def test_what_was_before_it_was_set_is_no_measure(by_s: float) -> None:
    machine = Machine()
    clock = machine.clock
    before = clock.now()
    machine.run(10.0)
    machine.set(by_s)
    clock.now()
    machine.run(7.0)
    assert clock.elapsed(before) == clock.watched(before) == 7.0
    assert not clock.within(before, 1e9)
    after = clock.now()
    machine.run(5.0)
    assert clock.elapsed(after) == 5.0
    assert clock.within(after, 6.0) == (by_s > -7.0)  # what it shows for the second time is no moment of its own


def test_slewing_is_not_setting() -> None:
    machine = Machine()
    for _ in range(100):
        machine.run(60.0)
        machine.set(0.5)
        machine.clock.now()
    assert machine.clock.set_at is None


@given(st.lists(st.tuples(st.floats(0, 1e5), st.sampled_from([0.0, -1e4, 1e4, -60.0, 86_400.0])), max_size=9))
def test_never_more_has_passed_than_what_the_machine_has_run(steps: list[tuple[float, float]]) -> None:
    """Whatever is set, and whenever it is noticed: a delay is never cut short, and a span never thought short."""
    machine = Machine()
    noted = [(machine.clock.now(), machine.steady)]
    for seconds, by_s in steps:
        machine.run(seconds)
        machine.set(by_s)
        noted.append((machine.clock.now(), machine.steady))
    for wall, steady in noted:
        passed = machine.steady - steady
        assert machine.clock.elapsed(wall) <= passed + 1e-3
        assert machine.clock.watched(wall) <= passed + 1e-3
        assert not machine.clock.within(wall, passed - 1e-3)


# The bot as a whole

CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}
# The bot alone reads this clock: its machine's, and so many seconds more as stand in a file.
CLOCK = """
import time
from bot.clock import SystemClock
real = time.time
def shown():
    with open({file!r}) as file:
        return real() + float(file.read() or 0)
time.time = shown
SystemClock.__init__.__defaults__ = (shown, *SystemClock.__init__.__defaults__[1:])
"""


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    (tmp_path / "clock").write_text("0")
    return tmp_path / "clock"


def reading(clock: Path) -> str:
    """What a bot that reads this clock runs first."""
    return CLOCK.format(file=str(clock))


@pytest.mark.parametrize("by_s", [-7200, -86_400 * 40, 86_400])
async def test_a_clock_that_is_set_stops_no_run_and_ends_none(tmp_path: Path, clock: Path, by_s: int) -> None:
    """What is under way is looked at on time, what is overdue by the new clock alone is not told so."""
    async with scene(tmp_path, queue_s=0.5, run_s=1.0, PUBLIC_URL="", before=reading(clock)) as world:
        await world.veo("a red fox", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        clock.write_text(str(by_s))
        # Not by the card: by a clock that was set forward, the token of a click that had no card yet may have run out.
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        [post] = world.posts()
        assert post["attachments"]


async def test_a_clock_that_is_set_forward_cuts_no_delay_short(tmp_path: Path, clock: Path) -> None:
    """An order in doubt is not given up, nor sent again, because a machine learned what day it is."""
    async with scene(tmp_path, runflow={"before": "500"}, RUNFLOW_SETTLE_S="60", before=reading(clock)) as world:
        await world.veo("a red fox", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'ambiguous'")
        clock.write_text("172800")
        await world.veo("a blue fox", **CHEAP)  # which lets the bot look at its clock
        await world.until("SELECT 1 FROM run WHERE tries > 0 OR due_at > 172800 + posted_at")
        await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM run WHERE state = 'ambiguous') WHERE n = 2")
        assert world.rows("SELECT DISTINCT state FROM run") == [{"state": "ambiguous"}]
        assert world.posts() == []


@pytest.mark.parametrize("ahead_s", [300, 1200, -1200])
async def test_a_clock_that_is_not_discords_doubles_no_message_and_moves_the_card(
    tmp_path: Path, clock: Path, ahead_s: int
) -> None:
    """The message whose answer was lost is found by Discord's own ids; the card goes on by ours."""
    clock.write_text(str(ahead_s))
    async with scene(tmp_path, discord={"nonce_window_s": 0.0}, before=reading(clock)) as world:
        world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", cut="after")
        used = await world.veo("a red fox", **CHEAP)
        await world.end_of(used)
        await world.kill()
        clock.write_text(str(ahead_s + 600))
        await world.start()
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        assert len(world.posts()) == 1
        await world.card(await world.veo("a blue fox", **CHEAP), "in the channel")
