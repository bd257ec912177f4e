"""What a clock that anybody may set is trusted with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import SystemClock


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
