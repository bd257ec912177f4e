"""Simulated worlds (`tests.worlds`): a fixed list, those that once went wrong, and copies that must go wrong.

`make worlds` lives new ones: here an unrelated change meets the same worlds as the change before it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.guards import Guard, copy_of_the_code, guard, run_copy
from tests.worlds import live

TESTS = ("forks.py", "guards.py", "money.py", "outside.py", "parts.py", "virtual.py", "worlds.py")
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

ENGINE, DELIVERY, RUNS, VERBS_OF_RUNS, ADMISSIONS = (
    "bot/services/engine.py",
    "bot/services/delivery.py",
    "bot/domain/runs.py",
    "storage/verbs/runs.py",
    "storage/verbs/admissions.py",
)
LOOKUP = "bot/domain/lookup.py"
GUARDS = [
    guard(
        "an unclear post is not refused",
        ENGINE,
        "                changes = RunChanges(due_at=now + first, tries=0, unclear_posts=run.unclear_posts + 1)\n",
        "                end = End(ending=Ending.FAILED, cost_u=0)\n"
        "                return await self._store.settle(run, end, now=now)\n",
    ),
    guard(
        "an unclear post is not repeated at once",
        ENGINE,
        "return await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=changes)",
        "return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)",
    ),
    guard(
        "an intent that was cut off may have been sent",
        ENGINE,
        "            doubted = await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=changes)\n",
        "            return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)\n",
    ),
    guard("the settle delay", LOOKUP, "return self.waited_s >= EMPTY_COUNTS_SHARE * self.settle_s", "return True"),
    guard(
        "what arrives late is to be seen too",
        LOOKUP,
        "EMPTY_COUNTS_SHARE = 1.0 + FRESH_SHARE",
        "EMPTY_COUNTS_SHARE = 0.5",
    ),
    guard(
        "one empty answer is not enough",
        LOOKUP,
        "return self.empty_s is not None and self.empty_s >= EMPTY_APART_SHARE * self.settle_s",
        "return self.counts",
    ),
    guard(
        "only a proven look-up repeats a post",
        LOOKUP,
        "if silence.repeatable and silence.proven else",
        "if silence.repeatable else",
    ),
    guard(
        "only a proven look-up gives back",
        LOOKUP,
        "if silence.passed_s >= ABSENT_S and silence.proven else",
        "if silence.passed_s >= ABSENT_S else",
    ),
    guard(
        "a proof is a run that was shown in time",
        ENGINE,
        "FRESH_SHARE * self._limits.settle_s - later_s",
        "99 * self._limits.settle_s",
    ),
    guard("three unclear posts at most", LOOKUP, "UNCLEAR_POSTS_MAX = 3", "UNCLEAR_POSTS_MAX = 99"),
    guard(
        "a named run carries our reference",
        ENGINE,
        "seen if seen is not None and seen.client_ref == run.client_ref else None",
        "seen",
    ),
    guard(
        "a post in doubt is looked for",
        DELIVERY,
        "        if not attempt.doubtful:\n",
        "        if True:\n",
    ),
    guard(
        "the intent to post is on disk before it",
        DELIVERY,
        "RunChanges(delivery=Delivery.SENDING, last_try_at=now, ",
        "RunChanges(last_try_at=now, ",
    ),
    guard(
        "a repeat has the handle of the first",
        DELIVERY,
        "if attempt.doubtful and attempt.run.post_handle is not None:",
        "if False:",
    ),
    guard("the handle is kept with the intent", DELIVERY, ", post_handle=handle)", ")"),
    guard(
        "an unseen history proves nothing",
        DELIVERY,
        "self._clock.within(first_try_at, attempt.repeat_s)",
        "True",
    ),
    guard(
        "a doubtful post is not repeated elsewhere",
        DELIVERY,
        "closed_for_long = closed and not doubtful and",
        "closed_for_long = closed and",
    ),
    guard(
        "doubt lasts as long as a post may arrive",
        DELIVERY,
        "attempt.doubtful = not arrived",
        "attempt.doubtful = False",
    ),
    guard(
        "the clip of a flagged run is not posted",
        RUNS,
        "(Ending.VIDEO, Ending.PARTIAL)",
        "(Ending.VIDEO, Ending.PARTIAL, Ending.NSFW)",
    ),
    guard(
        "a result is due with its end",
        VERBS_OF_RUNS,
        '        "delivery": Delivery.PENDING,\n',
        '        "delivery": Delivery.NONE,\n',
    ),
    guard(
        "one wish is one run",
        ADMISSIONS,
        "    if run := read_run(known):\n",
        "    if (run := read_run(known)) and False:\n",
    ),
    guard(
        "a missing cost is asked for again",
        RUNS,
        "return COST_CHECKS_S[self.cost_checks] if self.cost_checks < len(COST_CHECKS_S) else None",
        "return None",
    ),
    guard(
        "who waits for a turn is looked at again",
        ENGINE,
        "RunChanges(in_line=True, due_at=now + left_s,",
        "RunChanges(due_at=None,",
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
# The world that noticed when this list was made: from there on the search starts.
NOTICED_BY = {
    "an unclear post is not repeated at once": 1,
    "an intent that was cut off may have been sent": 52,
    "the settle delay": 2,
    "what arrives late is to be seen too": 7,
    "one empty answer is not enough": 37,
    "only a proven look-up repeats a post": 75,
    "only a proven look-up gives back": 3,
    "a proof is a run that was shown in time": 6,
    "three unclear posts at most": 4,
    "a named run carries our reference": 43,
    "a post in doubt is looked for": 5,
    "the intent to post is on disk before it": 154,
    "an unseen history proves nothing": 29,
    "a doubtful post is not repeated elsewhere": 9,
    "the clip of a flagged run is not posted": 2,
    "one wish is one run": 4,
    "a missing cost is asked for again": 8,
    "doubt lasts as long as a post may arrive": 539,
    "a repeat has the handle of the first": 540,
    "the handle is kept with the intent": 3,
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


async def test_a_seed_is_one_world(tmp_path: Path) -> None:
    """The same seed tells the same story, word for word, also in another process with other hashes."""
    copy_of_the_code(tmp_path, [], TESTS)
    told = await run_copy(tmp_path, "tests.worlds", "--seed", "4")
    outcome = await asyncio.to_thread(live, 4)  # it has an event loop of its own
    assert told == (0, "\n".join(outcome.story) + "\n", "")
    assert outcome.lives > 1


@pytest.mark.timeout(300)  # where the code has changed and its world with it, up to a thousand are lived
@pytest.mark.parametrize("without", GUARDS, ids=str)
async def test_without_any_one_guard_a_world_goes_wrong(tmp_path: Path, without: Guard) -> None:
    """Each guard taken out of the code alone is noticed within a thousand worlds."""
    copy_of_the_code(tmp_path, without.cuts, TESTS)
    theme = ("--theme", THEMES[without.name]) if without.name in THEMES else ()
    first = str(NOTICED_BY.get(without.name, 0))
    code, story, errors = await run_copy(
        tmp_path, "tests.worlds", "--jobs", "1", "--worlds", "1000", "--first", first, *theme
    )
    assert (code, errors) == (1, ""), f"nothing was noticed without {without.name}"
    assert "the world broke" not in story, story  # a world that went wrong, not a copy that is broken


def test_every_theme_and_world_is_of_a_guard() -> None:
    """A guard that is renamed takes them along."""
    assert {each.name for each in GUARDS} >= THEMES.keys() | NOTICED_BY.keys()
