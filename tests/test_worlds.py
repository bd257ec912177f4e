"""Simulated worlds (`tests.worlds`): new ones each time, those that once went wrong, and copies that must go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.guards import guard

SECONDS = 60.0
WORLDS_MIN = 300
# Worlds in which something was found once, and what.
KEPT = {
    0: "a run left unknown for want of a proof, in a world whose list shows everything",
    128: "a store that goes down between an order and its answer",
    204: "death while the store is being closed",
    1296: "an order that arrives late, is listed later still, and one old answer of the list",
}

ENGINE, DELIVERY, RUNS, SQLITE = "bot/engine.py", "bot/delivery.py", "bot/runs.py", "storage/sqlite.py"
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
    guard(
        "the settle delay",
        ENGINE,
        "        if now >= posted_at + EMPTY_COUNTS_SHARE * settle_s:\n",
        "        if True:\n",
    ),
    guard(
        "what arrives late is to be seen too",
        RUNS,
        "EMPTY_COUNTS_SHARE = 1.0 + FRESH_SHARE",
        "EMPTY_COUNTS_SHARE = 0.5",
    ),
    guard("one empty answer is not enough", RUNS, "EMPTY_ANSWERS_MIN = 2", "EMPTY_ANSWERS_MIN = 1"),
    guard(
        "only a proven look-up repeats a post",
        ENGINE,
        "and not self._is_late(run) and await self._store.lookup_proven():",
        "and not self._is_late(run):",
    ),
    guard(
        "only a proven look-up gives back",
        ENGINE,
        "now - posted_at >= ABSENT_S and await self._store.lookup_proven():",
        "now - posted_at >= ABSENT_S:",
    ),
    guard(
        "a proof is a run that was shown in time",
        ENGINE,
        "posted_at <= FRESH_SHARE * self._limits.settle_s",
        "posted_at <= 99 * self._limits.settle_s",
    ),
    guard("three unclear posts at most", RUNS, "UNCLEAR_POSTS_MAX = 3", "UNCLEAR_POSTS_MAX = 99"),
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
        "RunChanges(delivery=Delivery.SENDING, last_try_at=now)",
        "RunChanges(last_try_at=now)",
    ),
    guard(
        "a nonce that is fixed by the run", RUNS, '{self.notice}{place}"', '{self.notice}{place}{self.delivery_tries}"'
    ),
    guard(
        "an unseen history proves nothing",
        DELIVERY,
        "self._clock.now() - run.first_try_at < REPEAT_S",
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
        "last_try_at is None or begun_at - last_try_at < NONCE_S",
        "False",
    ),
    guard(
        "the clip of a flagged run is not posted",
        RUNS,
        "(Ending.VIDEO, Ending.PARTIAL)",
        "(Ending.VIDEO, Ending.PARTIAL, Ending.NSFW)",
    ),
    guard(
        "a result is due with its end",
        SQLITE,
        '        "delivery": Delivery.PENDING,\n',
        '        "delivery": Delivery.NONE,\n',
    ),
    guard("one wish is one run", SQLITE, "        return _get(db, known[0])\n", "        pass\n"),
    guard(
        "a missing cost is asked for again",
        RUNS,
        "return self.ended_at + COST_CHECKS_S[self.cost_checks] if self.cost_checks < len(COST_CHECKS_S) else None",
        "return None",
    ),
    guard(
        "who waits for a turn is looked at again",
        ENGINE,
        "return await self._stay(run, due_at=due_at, tries=run.tries + 1)\n        async with",
        "return await self._stay(run, due_at=None, tries=run.tries + 1)\n        async with",
    ),
]


def live_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The worlds, on the code in that folder alone."""
    return subprocess.run(
        [sys.executable, "-m", "tests.worlds", "--jobs", "1", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
