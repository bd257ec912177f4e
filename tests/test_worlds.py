"""Simulated worlds (`tests.worlds`): a fixed list, those that once went wrong, and some that must go wrong.

`make worlds` lives new ones: here an unrelated change meets the same worlds as the change before it.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.guards import BROKEN, Replaced, run_without
from tests.worlds import live

WORLDS = 28
WORLDS_A_TEST = 7
# Worlds in which something was found once, and what.
KEPT = {
    0: "a run left unknown for want of a proof, in a world whose list shows everything",
    128: "a store that goes down between an order and its answer",
    204: "death while the store is being closed",
    788305749: "a disk that fails at the end of a refused wish, so that its transaction stayed open",
    1002401: "a clock that was set by days between two starts, and a cost that was named two hours late",
    5006738: "a clock set back twice, and a bot started anew that took an old post for one of moments ago",
    1296: "an order that arrives late, is listed later still, and one old answer of the list",
}

STEPS, DELIVERER, RUN = "bot.services.steps:Steps", "bot.services.delivery:Deliverer", "bot.domain.runs:Run"
LOOKUP = "bot.domain.lookup"
GUARDS = [
    Replaced(
        "an unclear post is not refused",
        f"{STEPS}._mark_ambiguous",
        """
async def without(self, run, answer):
    return await self._store.settle(run, End(ending=Ending.FAILED, cost_u=0), now=self._clock.now())
""",
    ),
    Replaced(
        "an unclear post is not repeated at once",
        f"{STEPS}._mark_ambiguous",
        """
async def without(self, run, answer):
    now = self._clock.now()
    changes = RunChanges(due_at=now, tries=0, unclear_posts=run.unclear_posts + 1)
    return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)
""",
    ),
    Replaced(
        "an intent that was cut off may have been sent",
        f"{STEPS}._resume_submission",
        """
async def without(self, run):
    changes = RunChanges(tries=0, unclear_posts=run.unclear_posts + 1)
    return await self._store.advance(run, RunState.RESERVED, now=self._clock.now(), changes=changes)
""",
    ),
    Replaced("the settle delay", f"{LOOKUP}:EmptyLookup.counts", "property(lambda self: True)"),
    Replaced("what arrives late is to be seen too", f"{LOOKUP}:EMPTY_COUNTS_SHARE", "0.5"),
    Replaced(
        "one empty answer is not enough", f"{LOOKUP}:EmptyLookup.is_confirmed", "property(lambda self: self.counts)"
    ),
    Replaced(
        "only a proven look-up repeats a post",
        f"{LOOKUP}:decide",
        """
def without(lookup):
    proven = lookup.list_is_proven or not lookup.is_unknown
    return original(EmptyLookup(**vars(lookup) | {"list_is_proven": proven}))
""",
    ),
    Replaced(
        "only a proven look-up gives back",
        f"{LOOKUP}:decide",
        """
def without(lookup):
    proven = lookup.list_is_proven or lookup.is_unknown
    return original(EmptyLookup(**vars(lookup) | {"list_is_proven": proven}))
""",
    ),
    Replaced(
        "a proof is a run that was shown in time",
        "bot.services.search:Search._shows_in_time",
        "lambda self, run, later_s=0.0: self._clock.within(run.posted_at, 99 * self._limits.settle_s)",
    ),
    Replaced("three unclear posts at most", f"{LOOKUP}:UNCLEAR_POSTS_MAX", "99"),
    Replaced("a named run carries our reference", "bot.services.search:is_ours", "lambda seen, run: True"),
    Replaced(
        "a post in doubt is looked for",
        f"{DELIVERER}._found",
        """
async def without(self, attempt):
    return None
""",
    ),
    Replaced(
        "the intent to post is on disk before it",
        f"{DELIVERER}._advance",
        """
async def without(self, attempt, changes):
    if changes.keys() == {"delivery", "last_try_at", "post_handle"}:
        changes = {name: value for name, value in changes.items() if name != "delivery"}
    return await original(self, attempt, changes)
""",
    ),
    Replaced(
        "a repeat has the handle of the first",
        f"{DELIVERER}._handle",
        """
async def without(self, attempt, clip):
    return await attempt.front.prepare(attempt.run, clip)
""",
    ),
    Replaced(
        "the handle is kept with the intent",
        f"{DELIVERER}._advance",
        """
async def without(self, attempt, changes):
    return await original(self, attempt, {name: value for name, value in changes.items() if name != "post_handle"})
""",
    ),
    Replaced(
        "an unseen history proves nothing",
        f"{DELIVERER}._repeat_is_seen",
        "lambda self, attempt: attempt.run.first_try_at is not None",
    ),
    Replaced(
        "a doubtful post is not repeated elsewhere",
        f"{DELIVERER}._after_failure",
        """
def without(self, attempt, error):
    now, run = self._clock.now(), attempt.run
    closed_s = self._clock.elapsed(run.first_try_at or now)
    if isinstance(error, PlaceClosed) and not run.direct and closed_s >= CLOSED_S:
        anew = RunChanges(delivery_tries=0, first_try_at=None, uploads=0, post_handle=None)
        return RunChanges(direct=True, delivery=Delivery.PENDING, due_at=now) | anew
    return original(self, attempt, error)
""",
    ),
    Replaced(
        "doubt lasts as long as a post may arrive",
        f"{DELIVERER}._found",
        """
async def without(self, attempt):
    found = await original(self, attempt)
    attempt.doubtful = attempt.doubtful and attempt.unseen
    return found
""",
    ),
    Replaced(
        "the clip of a flagged run is not posted",
        f"{RUN}.shows_video",
        "property(lambda self: original.fget(self) or self.ending == Ending.NSFW)",
    ),
    Replaced(
        "a result is due with its end",
        "storage:SqliteStore.settle",
        """
async def without(self, run, end, *, now, lease_until=None):
    settled = await original(self, run, end, now=now, lease_until=lease_until)
    return settled and await self.advance(settled, settled.state, now=now, changes={"delivery": "none"})
""",
    ),
    Replaced(
        "one wish is one run",
        "storage:SqliteStore.admit",
        """
async def without(self, new, plan):
    from dataclasses import replace
    again = replace(new.wish, origin=f"{new.wish.origin}/{new.run_id}")
    return await original(self, replace(new, wish=again), plan)
""",
    ),
    Replaced("a missing cost is asked for again", f"{RUN}.cost_check_s", "property(lambda self: None)"),
    Replaced(
        "who waits for a turn is looked at again",
        f"{STEPS}._wait_in_line",
        """
async def without(self, run, *, give_up_at):
    changes = RunChanges(due_at=None, tries=run.tries + 1)
    return await self._store.advance(run, run.state, now=self._clock.now(), changes=changes)
""",
    ),
]


# What is about one sort of trouble is found soonest where there is much of it.
THEMES = {
    "what arrives late is to be seen too": "orders",
    "one empty answer is not enough": "orders",
    "three unclear posts at most": "orders",
    "a proof is a run that was shown in time": "list",
    "an unseen history proves nothing": "posting",
    "a doubtful post is not repeated elsewhere": "posting",
    "the intent to post is on disk before it": "posting",
    "doubt lasts as long as a post may arrive": "posting",
    "a repeat has the handle of the first": "posting",
}
# The world that noticed when this list was made: from there on the search starts. A change of the code makes other
# worlds, and the search longer; `python -m tests.noticed` makes the list anew.
NOTICED_BY = {
    "an unclear post is not repeated at once": 1,
    "an intent that was cut off may have been sent": 73,
    "the settle delay": 62,
    "what arrives late is to be seen too": 38,
    "one empty answer is not enough": 105,
    "only a proven look-up repeats a post": 75,
    "only a proven look-up gives back": 3,
    "a proof is a run that was shown in time": 43,
    "three unclear posts at most": 4,
    "a named run carries our reference": 14,
    "a post in doubt is looked for": 5,
    "the intent to post is on disk before it": 208,
    "a repeat has the handle of the first": 712,
    "the handle is kept with the intent": 30,
    "an unseen history proves nothing": 37,
    "a doubtful post is not repeated elsewhere": 110,
    "doubt lasts as long as a post may arrive": 712,
    "the clip of a flagged run is not posted": 2,
    "one wish is one run": 4,
    "a missing cost is asked for again": 12,
    "who waits for a turn is looked at again": 61,
}


@pytest.mark.parametrize("first", range(1000, 1000 + WORLDS, WORLDS_A_TEST))
def test_in_fixed_worlds_nothing_is_lost_and_nothing_comes_twice(first: int) -> None:
    """The same worlds at each run; one that goes wrong tells its seed and story."""
    for seed in range(first, first + WORLDS_A_TEST):
        outcome = live(seed)
        assert outcome.breaches == [], "\n".join([*outcome.story, f"seed {outcome.seed}"])


@pytest.mark.parametrize("seed", KEPT)
def test_what_went_wrong_once_goes_right(seed: int) -> None:
    """Seeds of worlds in which something was found; a change of the code makes other worlds of them, as good as any."""
    outcome = live(seed)
    assert outcome.breaches == [], "\n".join(outcome.story)


async def test_a_seed_is_one_world() -> None:
    """The same seed tells the same story, word for word, also in another process with other hashes."""
    told = await run_without([], "tests.worlds", "--seed", "4")
    outcome = await asyncio.to_thread(live, 4)  # it has an event loop of its own
    assert told == (0, "\n".join(outcome.story) + "\n", "")
    assert outcome.lives > 1


async def worlds_without(guard: Replaced) -> tuple[int, str, str]:
    """Worlds lived without the guard, up to the first that goes wrong: exit code, its story, and errors."""
    theme = ("--theme", THEMES[guard.name]) if guard.name in THEMES else ()
    first = str(NOTICED_BY.get(guard.name, 0))
    return await run_without([guard], "tests.worlds", "--jobs", "1", "--worlds", "1000", "--first", first, *theme)


@pytest.mark.timeout(300)  # where the code has changed and its world with it, up to a thousand are lived
@pytest.mark.parametrize("guard", GUARDS, ids=str)
async def test_without_any_one_guard_a_world_goes_wrong(guard: Replaced) -> None:
    """Each guard taken out of the code alone is noticed within a thousand worlds."""
    code, story, errors = await worlds_without(guard)
    assert (code, errors) == (1, ""), f"nothing was noticed without {guard.name}"
    assert "the world broke" not in story, story  # a world that went wrong, not a stand-in that does not fit
    assert BROKEN.search(story) is None, story


def test_every_theme_and_world_is_of_a_guard() -> None:
    """A guard that is renamed takes them along."""
    assert {each.name for each in GUARDS} >= THEMES.keys() | NOTICED_BY.keys()
