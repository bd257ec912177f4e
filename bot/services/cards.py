"""Keeps members' cards up to date: one edit of a card at a time, and never more for those in line than they can bear.

A run's own steps show what becomes of it. Those who wait in line have none: when the line moves, one reading says where
all of them stand, and cards on which that is news are edited, a few in a second, each with the latest there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any
from weakref import WeakValueDictionary

from bot.domain.limits import Policy, Spender, Standing
from bot.domain.queue import Turn, is_news, turns
from bot.domain.runs import Run, card_of
from bot.errors import StoreDown
from bot.log import get_logger
from bot.ports import Clock, Front, Runs
from bot.services.pace import Limits, Schedule

log = get_logger("veo.engine")

PROGRESS_TIMEOUT_S = 10.0
EDITS_PER_S = 5.0  # of cards that are edited because others moved
FOLLOWED_MAX = 1000  # cards that are kept up to date: at so many edits in a second more would never be
LOOK_PAUSE_S = 0.25  # at least, between two readings of the line
LOOK_SHARE = 20.0  # so many times as long as it took to read a line, the next reading waits
STORE_PAUSE_S = 1.0  # while the store is down


class Cards:
    """Shows runs on their cards while Discord lets us; whatever becomes of that, the runs go on."""

    def __init__(self, *, store: Runs, policy: Policy, schedule: Schedule, clock: Clock) -> None:
        self._store = store
        self._policy = policy
        self._schedule = schedule
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of the cards being shown

    async def show(
        self,
        front: Front,
        run: Run,
        standings: list[Standing] | None = None,
        turn: Turn | None = None,
        *,
        last: bool = False,
    ) -> None:
        """Show the run as it was just read, or as it stands once nobody else is at its card.

        `standings`: where its levels stand, if that was just read. `last`: it was read, and the store forgot its card,
        some time ago.
        """
        if run.reply_to is None or not self._lives(run):
            return
        async with self.alone(run.reply_to) as waited:
            now = await self._read(run.run_id) if waited or last else run
            if now is not None and last:
                now = replace(now, reply_to=run.reply_to, reply_until=run.reply_until)
            if now is not None and self._lives(now):
                standings = None if waited else standings
                turn = turn if now.in_line == run.in_line else None
                await self._edit(front, now, standings, turn, last=last and not now.told)

    async def show_in_line(self, front: Front, run_id: str, turn: Turn, standings: list[Standing] | None) -> None:
        """Show where a run stands in line, if it still does."""
        run = await self._read(run_id)
        if run is not None and run.in_line:
            await self.show(front, run, standings, turn)

    @asynccontextmanager
    async def alone(self, reply_to: str) -> AsyncIterator[bool]:
        """Show something on this card, in this block, while nobody else does; whether others had to be waited for."""
        card = card_of(reply_to)
        lock = self._locks.get(card)
        waits = lock is not None  # it is kept by those alone who have it or wait for it
        if lock is None:
            lock = self._locks[card] = asyncio.Lock()
        async with lock:
            yield waits

    async def _read(self, run_id: str) -> Run | None:
        try:
            return await self._store.get(run_id)
        except Exception as error:  # noqa: BLE001 - the store is down, or nobody can read the row
            log.warning("run not shown", run=run_id, error=type(error).__name__)
            return None

    def _lives(self, run: Run) -> bool:
        return run.reply_to is not None and run.reply_until is not None and run.reply_until > self._clock.now()

    async def _edit(
        self, front: Front, run: Run, standings: list[Standing] | None, turn: Turn | None, *, last: bool
    ) -> None:
        try:
            async with asyncio.timeout(PROGRESS_TIMEOUT_S):
                if standings is None:
                    levels = self._policy.levels(Spender.of(run), self._clock.now())
                    standings = await self._store.standings(Spender.of(run), levels)
                await front.show_progress(run, standings, turn or self._schedule.turn(run), last=last)
        except Exception as error:
            trace = None if isinstance(error, (TimeoutError, StoreDown)) else error
            log.warning("progress not shown", error=type(error).__name__, exc_info=trace)


class LineCards:
    """Shows those in line where they stand, and says on a card that it stops; `run` does the work."""

    def __init__(self, *, store: Runs, limits: Limits, schedule: Schedule, clock: Clock, cards: Cards) -> None:
        self._store = store
        self._limits = limits
        self._schedule = schedule
        self._clock = clock
        self._cards = cards
        self._woken = asyncio.Event()
        self._moved = False  # whether the line is another one than was read last
        self._read_again_at = 0.0  # by the loop's time, not before
        self._new: dict[str, list[Standing]] = {}  # run id -> its standings, of those that have just got in line
        self._shown: dict[str, Turn] = {}  # what the cards of those in line say
        self._to_show: dict[str, Turn] = {}  # what they are to say, in the order in which they are edited
        self._last: list[Run] = []  # whose cards stop
        self._edits: set[asyncio.Task[None]] = set()

    def add(self, run: Run, standings: list[Standing]) -> None:
        """A run has just got in line, with which its levels stand as given: its card is the next to be shown."""
        self._new[run.run_id] = standings
        self.moved()

    def moved(self) -> None:
        """Somebody has left the line, or got in it."""
        self._moved = True
        self._woken.set()

    def stop(self, runs: list[Run]) -> None:
        """These cards are updated a last time."""
        self._last += runs
        if runs:
            self._woken.set()

    def take_card(self, run: Run) -> None:
        """A new run is on its card, on which nobody else's stops any more."""
        if run.reply_to is not None:
            card = card_of(run.reply_to)
            self._last = [each for each in self._last if each.reply_to is None or card_of(each.reply_to) != card]

    async def run(self, front: Front) -> None:
        """Show what there is to show until this is cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                try:
                    await self._work(front)
                except Exception as error:
                    if not isinstance(error, StoreDown):
                        log.exception("line not shown")
                    await asyncio.sleep(STORE_PAUSE_S)
                    self._woken.set()
        finally:
            for edit in self._edits:
                edit.cancel()

    async def _work(self, front: Front) -> None:
        loop = asyncio.get_running_loop()
        while self._moved or self._last or self._to_show:
            if self._moved and loop.time() >= self._read_again_at:
                await self._read(front)
            if self._last:
                run = self._last.pop(0)
                self._begin(self._cards.show(front, run, turn=self._shown.get(run.run_id), last=True), run.run_id)
            elif self._to_show:
                run_id = next(iter(self._to_show))
                self._show(front, run_id, self._to_show.pop(run_id))
            elif self._moved:
                await asyncio.sleep(max(0.0, self._read_again_at - loop.time()))
                continue
            await asyncio.sleep(1 / EDITS_PER_S)

    async def _read(self, front: Front) -> None:
        """Find where everybody stands, and on which cards that is news."""
        loop, now = asyncio.get_running_loop(), self._clock.now()
        self._moved, began = False, loop.time()
        try:
            line = await self._store.line(now)
        except BaseException:
            self._moved = True
            raise
        found = turns(line, places=self._limits.runs_total, usual=self._schedule.usual, now=now)
        self._read_again_at = loop.time() + max(LOOK_PAUSE_S, LOOK_SHARE * (loop.time() - began))
        new, self._new = self._new, {}
        # A card further back says its place when its run gets in line, and again once it is among these.
        found = dict(islice(found.items(), FOLLOWED_MAX)) | {each: found[each] for each in new if each in found}
        self._shown = {run_id: turn for run_id, turn in self._shown.items() if run_id in found}
        for run_id, standings in new.items():
            if run_id in found:
                self._show(front, run_id, found[run_id], standings)
        news = {run_id: turn for run_id, turn in found.items() if is_news(self._shown.get(run_id), turn, now)}
        first = {run_id: news[run_id] for run_id in self._to_show if run_id in news}
        self._to_show = first | news

    def _show(self, front: Front, run_id: str, turn: Turn, standings: list[Standing] | None = None) -> None:
        self._shown[run_id] = turn
        self._begin(self._cards.show_in_line(front, run_id, turn, standings), run_id)

    def _begin(self, edit: Coroutine[Any, Any, None], run_id: str) -> None:
        task = asyncio.create_task(edit, name=f"card {run_id}")
        self._edits.add(task)
        task.add_done_callback(self._edits.discard)
