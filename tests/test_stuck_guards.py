"""Without any one of its guards a story of `tests.test_stuck` goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests import harness, test_stuck
from tests.guards import BROKEN, Replaced
from tests.harness import scene

STORE = "storage:SqliteStore"
DELIVERER = "bot.services.delivery:Deliverer"
CUTS = [
    (
        Replaced(
            "a bad row is parked",
            f"{STORE}.claim_due",
            """
async def without(self, now, **limits):
    claimed = await original(self, now, **limits)
    parked = "SELECT count(*) FROM run WHERE parked_at IS NOT NULL"
    if await self.writer.read(lambda tx: tx.execute(parked).fetchone()[0]):
        raise ValueError("a row cannot be read")
    return claimed
""",
        ),
        partial(test_stuck.test_a_row_that_cannot_be_read_stops_no_other, state="running", damage="roles = '7'"),
    ),
    (
        Replaced(
            "an overdue run takes no place",
            "storage.verbs.runs:free_places",
            """
def without(tx, total_max):
    (overdue,) = tx.execute("SELECT count(*) FROM run WHERE overdue = 1 AND state = 'running'").fetchone()
    return original(tx, total_max) - overdue
""",
        ),
        partial(test_stuck.test_a_run_without_an_end_frees_its_place, marker="never"),
    ),
    (
        Replaced(
            "an admin may release what has no end",
            "bot.domain.runs:Run.releasable",
            "property(lambda self: self.state == RunState.UNKNOWN)",
        ),
        partial(test_stuck.test_a_run_without_an_end_frees_its_place, marker="unknown-for-ever"),
    ),
    (
        Replaced("a wish ends by its deadline", "bot.services.pace:Schedule.time_left_s", "lambda self, run: 1e9"),
        test_stuck.test_a_wish_that_waits_past_the_deadline_costs_nothing,
    ),
    (
        Replaced(
            "those in line have no timer",
            "bot.services.steps:Steps._wait_in_line",
            """
async def without(self, run, *, give_up_at):
    now = self._clock.now()
    changes = RunChanges(due_at=now + 0.1, tries=run.tries + 1)
    return await self._store.advance(run, run.state, now=now, changes=changes)
""",
        ),
        test_stuck.test_who_waits_for_a_place_costs_nothing_and_comes_in_turn,
    ),
    (
        Replaced(
            "a free place lets the next one in",
            f"{STORE}.claim_due",
            """
async def without(self, now, **limits):
    return await original(self, now, **limits | {"total_max": 0})
""",
        ),
        test_stuck.test_who_waits_for_a_place_costs_nothing_and_comes_in_turn,
    ),
    (
        Replaced("after so many uploads a link", "bot.services.delivery:UPLOADS_MAX", "10**6"),
        test_stuck.test_what_cannot_be_uploaded_becomes_a_link,
    ),
    (
        Replaced(
            "a place that takes no file takes a link",
            f"{DELIVERER}._after_failure",
            """
def without(self, attempt, error):
    attempt.uploading = attempt.uploading and not isinstance(error, PostRefused)
    return original(self, attempt, error)
""",
        ),
        test_stuck.test_a_file_that_is_refused_in_any_words_becomes_a_link,
    ),
    (
        Replaced(
            "what is shown has its own transfers",
            f"{DELIVERER}.shown",
            """
def without(self, run, limit_bytes):
    self._shows = self._transfers._places
    return original(self, run, limit_bytes)
""",
        ),
        test_stuck.test_a_video_is_shown_again_while_deliveries_hang,
    ),
    (
        Replaced(
            "a refusal is no trouble of the moment",
            "cogs.front:DiscordFront.post",
            """
async def without(self, run, clip, handle):
    try:
        return await original(self, run, clip, handle)
    except PostRefused as refusal:
        raise PostFailed(str(refusal)) from None
""",
        ),
        test_stuck.test_a_message_that_is_refused_in_any_words_comes_to_its_member_alone,
    ),
]


@pytest.mark.parametrize(("guard", "story"), CUTS, ids=[str(guard) for guard, _ in CUTS])
async def test_without_any_one_guard_something_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: Replaced, story: Callable[[Path], Awaitable[None]]
) -> None:
    """Each of them, taken out of the bot alone, is noticed by its story."""
    monkeypatch.setattr(harness, "WAIT_S", 2.0)
    monkeypatch.setattr(test_stuck, "scene", partial(scene, before=guard.code))
    with pytest.raises((AssertionError, TimeoutError)):
        await story(tmp_path)
    log = (tmp_path / "bot.log").read_text()  # what went wrong is what the story tells of, not the stand-in
    assert BROKEN.search(log) is None, log
