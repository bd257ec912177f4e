"""When runs are looked at: rarely where callbacks tell of ends, from their usual end on where nobody does."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.history import KEPT, KNOWN_FROM, Lengths
from bot.domain.models import VeoRequest
from bot.domain.runs import Ending, Run, RunState
from bot.services.pace import Limits, Schedule
from tests.parts import LIMITS, HandClock
from tests.runflow_lab import a_run

T0 = 1_800_000_000.0
FOX = VeoRequest(prompt="a red fox")


class Watched:
    """A schedule, its clock, and runs that are looked at when it says so."""

    def __init__(self, *, callbacks: bool, seed: int = 1, limits: Limits = LIMITS) -> None:
        self.clock = HandClock(T0)
        self.schedule = Schedule(replace(limits, callbacks=callbacks), self.clock, random.Random(seed))
        self.runs = 0

    def run(self, takes_s: float, *, calls_back: bool = False, request: VeoRequest = FOX) -> int:
        """Let a run take so long; how often it was read, the reading of its end included."""
        self.runs += 1
        begun = self.clock.at
        run = replace(
            running(str(self.runs), request),
            created_at=begun,
            posted_at=begun,
            state_at=begun,
            provider_status_at=begun,
        )
        looks = 0
        due_at = begun + self.schedule.first_look_s(run)
        while due_at < begun + takes_s:
            self.clock.at = due_at
            looks += 1
            run = replace(run, tries=run.tries + 1)
            due_at += self.schedule.look_s(run)
        self.clock.at = begun + takes_s if calls_back else due_at
        if calls_back:
            self.schedule.announce(run)
        ended = replace(run, state=RunState.SUCCEEDED, ending=Ending.VIDEO, ended_at=self.clock.at)
        self.late_s = self.clock.at - begun - takes_s
        self.schedule.learn(ended)
        return looks + 1


def running(name: str, request: VeoRequest) -> Run:
    return replace(a_run(), run_id=f"run-{name}", request=request, tries=0, posts=1)


@pytest.mark.parametrize("seed", range(20))
def test_with_callbacks_a_run_of_three_minutes_is_read_three_times_at_most(seed: int) -> None:
    """Whether or not it is known how long such runs take; and one whose callback is lost a minute late or so."""
    watched = Watched(callbacks=True, seed=seed)
    assert [watched.run(180.0, calls_back=True) <= 3 for _ in range(8)] == [True] * 8
    assert watched.run(180.0, calls_back=True) == 1
    watched.run(180.0)
    assert 0 < watched.late_s < 75.0


@pytest.mark.parametrize("seed", range(20))
def test_polled_runs_are_read_from_their_usual_end_on(seed: int) -> None:
    """A run of three minutes is read twelve times at most, its end noticed as soon as by polls from its start."""
    watched = Watched(callbacks=False, seed=seed)
    first = watched.run(180.0)
    assert 15 <= first <= 21
    for _ in range(KNOWN_FROM):
        watched.run(180.0)
    assert watched.run(180.0) <= 12
    assert watched.late_s < 17.0
    assert watched.run(100.0) == 1  # quicker than any before: noticed when the quickest usually ends
    assert watched.run(180.0) <= 12
    assert watched.run(20.0, request=replace(FOX, resolution="4k")) > 3  # another kind, of which nothing is known


def test_where_no_callback_comes_runs_are_polled() -> None:
    """One end that no callback told of, and the next are noticed as quickly as ever, until a callback comes again."""
    watched = Watched(callbacks=True)
    watched.run(30.0)
    assert watched.late_s > 60.0
    for _ in range(3):
        watched.run(30.0)
        assert watched.late_s < 17.0
    watched.run(30.0, calls_back=True)
    assert watched.run(180.0, calls_back=True) <= 3


def test_a_callback_behind_the_end_brings_the_trust_back() -> None:
    """A look may come a moment before the callback."""
    watched = Watched(callbacks=True)
    watched.run(30.0)
    ended = replace(running("late", FOX), state=RunState.SUCCEEDED, ending=Ending.VIDEO, ended_at=watched.clock.at)
    watched.schedule.announce(ended)
    assert watched.run(170.0, calls_back=True) <= 3


def test_without_an_address_no_callback_is_expected() -> None:
    """Whatever somebody sends there."""
    watched = Watched(callbacks=False)
    watched.schedule.announce(running("forged", FOX))
    watched.run(60.0)
    assert watched.late_s < 17.0


@given(st.lists(st.floats(0.0, 4000.0), max_size=3 * KEPT))
def test_what_is_known_of_a_kind_are_its_latest_lengths(lengths: Iterable[float]) -> None:
    """Too few say nothing; of many only the latest count, and none of another kind."""
    seconds = list(lengths)
    known = Lengths((FOX, each) for each in seconds)
    latest = seconds[-KEPT:]
    if len(latest) < KNOWN_FROM:
        assert (known.shortest_s(FOX), known.longest_s(FOX)) == (None, None)
    else:
        assert known.longest_s(FOX) == max(latest)
        assert (known.shortest_s(FOX) or 0.0) <= min(latest)
    for other in (replace(FOX, duration="4s"), replace(FOX, resolution="4k"), replace(FOX, generate_audio=False)):
        assert known.shortest_s(other) is None
    assert known.longest_s(replace(FOX, prompt="an otter", seed=7)) == known.longest_s(FOX)
