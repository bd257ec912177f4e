"""Decides when a run moves; `bot.services.steps` moves it.

The run's row is the state machine and `due_at` the only timer. What is known to have news goes straight to its step: a
run that was just admitted, one that a callback is about, one whose turn has come. All others wait until they are due,
and so many of them are looked at in a second. There is no queue, task or timer for a run that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from bot.domain.limits import Standing
from bot.domain.records import Order, Sweep
from bot.domain.runs import CARD_STOPS_S, Run
from bot.errors import StoreDown
from bot.log import bind, get_logger
from bot.ports import Clock, Front, Runs
from bot.services.cards import LineCards
from bot.services.pace import LEASE_S, LOOKS_AT_ONCE, Limits, LookRate
from bot.services.steps import Moved, Steps

log = get_logger("veo.engine")

Step = Callable[[Front, Run, Moved], Coroutine[Any, Any, Run | None]]

STEPS_MAX = 512  # under way at one moment, most of which wait for a transfer; more wait as ids
STOP_GRACE_S = 5.0  # how long running steps may take to finish at shutdown
CLOCK_SETTLE_S = 1.0  # after the clock was set: steps may still write times by the old clock for this long
STORE_PAUSE_S = 1.0  # while the store is down
AGAIN_S = 5.0  # until a step that the store could not keep is taken again


class Engine:
    """The one mover of runs: `recover` once, then `run` until it is cancelled."""

    def __init__(self, *, store: Runs, limits: Limits, clock: Clock, steps: Steps, line: LineCards) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._steps = steps
        self._line = line
        self._rate = LookRate(limits.looks_per_s, LOOKS_AT_ONCE)
        self._front: Front | None = None
        self._woken = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None  # which wakes the loop when the next run is due
        self._line_waits = False  # whether runs wait for a place, as far as is known
        self._sweep: Sweep | None = None  # what is left of the look at everything after a start
        self._busy: dict[str, bool] = {}  # run id -> whether it was woken again while its step was under way
        self._timed: set[str] = set()  # those of them whose delivery has taken longer than its lease
        self._tasks: set[asyncio.Task[None]] = set()  # one for each busy run
        self._next: dict[str, None] = {}  # ids of runs that are to be looked at as soon as a step has ended
        self._clock_set_at: float | None = None  # the last setting of the clock that the timers follow
        self._old_tasks: set[asyncio.Task[None]] | None = None  # those that began before it; None: all is adjusted
        self._old_until = 0.0

    # What the services and the web server call

    def order(self, now: float) -> Order:
        """How to begin the order of a run that is admitted now. Call `begin` as soon as the run is written."""
        at_once = self._front is not None and len(self._tasks) < STEPS_MAX and self._steps.has_room
        return Order(
            places=self._limits.runs_total,
            begin_until=now + LEASE_S if at_once else None,
            give_up_at=now + self._limits.deadline_s,
        )

    def begin(self, run: Run, standings: list[Standing]) -> None:
        """Take the first step of a run that was just admitted, with which its levels stand as given."""
        self._line.take_card(run)
        if run.in_line:
            self._line_waits = True
            self._woken.set()  # a place may have become free at this moment
            self._line.add(run, standings)
        elif self._front is None:
            self._woken.set()
        else:
            self._start(self._front, run.run_id, run, partial(self._steps.begin, standings=standings))

    def cancelled(self) -> None:
        """A run ended by its member's word: it has left the line, or its place."""
        self._line.moved()
        self._woken.set()

    def look(self) -> None:
        """A run is due that was not: look for it now."""
        self._woken.set()

    async def wake(self, callback_token: str, candidate_id: str | None) -> bool:
        """Look at the token's run now. False: no run has this token. Raises StoreDown."""
        woken = await self._store.wake(callback_token, candidate_id)
        if woken is None:
            return False
        run = woken.run
        if run is not None and run.due_at is not None:
            self._steps.announce(run)
            self._take(run.run_id, run)
        return True

    # What the composition starts

    async def recover(self) -> None:
        """Find what has something left to do: once, before `run`. Raises StoreDown."""
        recovered = await self._store.recover(self._clock.now(), deadline_s=self._limits.deadline_s)
        self._sweep, self._line_waits = recovered.sweep, True
        self._line.moved()
        await self._steps.remember()
        log.info("recovered", open_runs=recovered.open_runs)

    async def run(self, front: Front) -> None:
        """Move every open run, and all that come, until this is cancelled; then let steps end that are under way."""
        self._front = front
        line = asyncio.create_task(self._line.run(front), name="line")
        try:
            self._fill()
            await self._loop(front)
        finally:
            line.cancel()
            await self._finish_steps()

    async def _finish_steps(self) -> None:
        """Wait a moment: a POST that is let finish now need not be looked for at the next start."""
        self._next.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # The loop, for what is due

    async def _loop(self, front: Front) -> None:
        failures = 0  # in a row
        while True:
            try:
                self._woken.clear()
                await self._tick(front)
            except Exception as error:
                failures += 1
                first_or_doubled = failures & (failures - 1) == 0  # the first, the second, the fourth and so on
                if first_or_doubled and isinstance(error, StoreDown):
                    log.error("store down; nothing moves until it is back", error=str(error.__cause__))
                elif first_or_doubled:
                    log.exception("engine failed to look at its runs; it tries again")
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                failures = 0
                await self._woken.wait()

    async def _tick(self, front: Front) -> None:
        """Begin the steps that are due, and set the timer for the next."""
        now = self._clock.now()
        await self._adjust_to_clock(front, now)
        room = STEPS_MAX - len(self._tasks)
        if room <= 0:
            return  # the first step that ends wakes the loop
        claimed = await self._store.claim_due(
            now,
            lease_until=now + LEASE_S,
            limit=min(room, self._rate.free()),
            total_max=self._limits.runs_total,
            sweep=self._sweep,
        )
        self._rate.use(claimed.paced)
        self._sweep, self._line_waits = claimed.sweep, claimed.line_waits
        self._line.stop(claimed.last_cards)
        if claimed.line_moved and claimed.line_waits:
            self._line.moved()
        for run in claimed.runs:
            if run.run_id in self._busy and run.delivery_open:
                self._timed.add(run.run_id)
            else:
                self._take(run.run_id, run)
        self._set_timer(claimed.due_at)
        if self._sweep is not None or (claimed.due_at is not None and claimed.due_at <= now):
            self._set_timer(now + self._rate.wait_s)  # there was no room for all that is due

    def _set_timer(self, due_at: float | None) -> None:
        """Wake the loop when the next run is due, and soon where the clock was set."""
        now = self._clock.now()
        wait_s = None if due_at is None else max(0.0, due_at - now)
        if self._clock.set_at != self._clock_set_at or self._old_tasks is not None:
            wait_s = min(CLOCK_SETTLE_S, CLOCK_SETTLE_S if wait_s is None else wait_s)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._woken.set)

    def _wake_by(self, due_at: float | None) -> None:
        """Wake the loop by that time, if it would sleep longer."""
        if due_at is None:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, due_at - self._clock.now())
        if self._timer is None or self._timer.cancelled() or when < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(when, self._woken.set)

    async def _adjust_to_clock(self, front: Front, now: float) -> None:
        """After the clock was set, look at all open runs: what was due in an hour may be due in a day by now.

        And once more when the steps of before are over, because they may have written times by the old clock.
        """
        loop_time = asyncio.get_running_loop().time()
        if self._clock.set_at != self._clock_set_at:
            self._clock_set_at = self._clock.set_at
            self._old_tasks, self._old_until = set(self._tasks), loop_time + CLOCK_SETTLE_S
            await self._reset_timers(front, now)
        elif self._old_tasks is not None and loop_time >= self._old_until and not self._old_tasks & self._tasks:
            await self._reset_timers(front, now)
            self._old_tasks = None

    async def _reset_timers(self, front: Front, now: float) -> None:
        """Look at all open runs, and take no post in doubt for a recent one: when it was begun nobody can tell."""
        self._sweep = (await self._store.recover(now, deadline_s=self._limits.deadline_s)).sweep
        await self._store.forget_first_tries(now - front.repeat_s)

    # Steps

    def _take(self, run_id: str, run: Run | None) -> None:
        """Take the run's step now, or after the one that is under way, or as soon as there is room for one more."""
        if run_id in self._busy:
            self._busy[run_id] = True
        elif self._front is None or len(self._tasks) >= STEPS_MAX:
            self._next[run_id] = None
        else:
            self._start(self._front, run_id, run)

    def _start(self, front: Front, run_id: str, run: Run | None, step: Step | None = None) -> None:
        """Begin a step in a task of its own. `run`: as it was just read; None: it is read first."""
        if run_id in self._busy:
            self._busy[run_id] = True
            return
        self._busy[run_id] = False
        task = asyncio.create_task(
            self._take_steps(front, run_id, run, step or self._steps.take), name=f"step {run_id}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._tasks) >= STEPS_MAX:
            self._woken.set()
        self._tasks.discard(task)
        self._fill()

    def _fill(self) -> None:
        """Begin the steps that waited for room."""
        while self._front is not None and self._next and len(self._tasks) < STEPS_MAX:
            run_id = next(iter(self._next))
            del self._next[run_id]
            self._start(self._front, run_id, None)

    async def _take_steps(self, front: Front, run_id: str, run: Run | None, step: Step) -> None:
        """Take this step of the run, and then the next for as often as it was woken or moved meanwhile."""
        bind(run=run_id)
        moved = False  # whether the step before found that somebody else had moved it
        after: Run | None = None
        try:
            while True:
                self._busy[run_id] = False  # first: what wakes it from here on is news to the row that is read
                current = run or await self._store.get(run_id)
                if current is None:
                    break
                bind(member=current.member, server=current.server)
                after = await step(front, current, self._follow)
                self._follow(current, after)
                run, step = None, self._steps.take
                if not self._busy[run_id] and (after is not None or moved):
                    break
                moved = after is None
            self._take_in_time(run_id, after)
        except Exception as error:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            if isinstance(cause, StoreDown):  # its row says what is next, whenever it was to be due
                log.error("step not kept: the store is down")
                asyncio.get_running_loop().call_later(AGAIN_S, self._take, run_id, None)
            else:
                log.exception("step failed")
            self._woken.set()
        finally:
            self._timed.discard(run_id)
            del self._busy[run_id]

    def _take_in_time(self, run_id: str, after: Run | None) -> None:
        """Take a run when its delivery says, where its row has a lease in the place of that time."""
        if run_id in self._timed and (after is None or after.due_at is not None):
            due_at = None if after is None else after.due_at
            wait_s = 0.0 if due_at is None else max(0.0, due_at - self._clock.now())
            asyncio.get_running_loop().call_later(wait_s, self._take, run_id, None)

    def _follow(self, before: Run, after: Run | None) -> None:
        """Wake the loop for what a step has made due: the run itself, and those that wait for its place."""
        if after is not None and after.in_line:
            self._line_waits = True
        if after is not None and after.in_line != before.in_line:
            self._line.moved()
        frees_place = after is not None and before.takes_place and not after.takes_place
        if after is None or (frees_place and self._line_waits) or self._clock.set_at != self._clock_set_at:
            self._woken.set()
        else:
            self._wake_by(after.due_at)
            self._wake_by(None if after.reply_until is None else after.reply_until - CARD_STOPS_S)
