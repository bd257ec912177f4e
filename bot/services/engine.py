"""The loop that moves runs. It decides when a run is due; `bot.services.steps` does the work.

The run's row is the state machine and `due_at` the only timer: the loop sleeps until the nearest due row or a wake-up,
and takes each due run one step further. There is no queue, task or timer for a run that waits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bot.domain.runs import Run
from bot.errors import StoreDown
from bot.log import bind, get_logger
from bot.ports import Clock, Front, Runs
from bot.services.pace import STEPS_AT_ONCE, Limits, StepRate
from bot.services.steps import Steps

log = get_logger("veo.engine")

LEASE_S = 90.0  # a claimed run whose step came to nothing is due again after this
STOP_GRACE_S = 5.0  # how long running steps may take to finish at shutdown
CLOCK_SETTLE_S = 1.0  # after the clock was set: steps may still write times by the old clock for this long
STORE_PAUSE_S = 1.0  # while the store is down


class Engine:
    """The one mover of runs: `recover` once, then `run` until it is cancelled."""

    def __init__(self, *, store: Runs, limits: Limits, clock: Clock, steps: Steps) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._steps = steps
        self._rate = StepRate(limits.steps_per_s, STEPS_AT_ONCE)
        self._woken = asyncio.Event()
        self._busy: dict[str, bool] = {}  # run id -> whether it was woken again while its step was under way
        self._tasks: set[asyncio.Task[None]] = set()  # one for each busy run
        self._clock_set_at: float | None = None  # the last setting of the clock that the timers follow
        self._old_tasks: set[asyncio.Task[None]] | None = None  # those that began before it; None: all is adjusted
        self._old_until = 0.0

    # What the front and the web server call

    def look(self) -> None:
        """There may be a new run: look for it now."""
        self._woken.set()

    async def wake(self, callback_token: str, candidate_id: str | None) -> bool:
        """Look at the token's run now. False: no run has this token."""
        run_id = await self._store.wake(callback_token, candidate_id)
        if run_id is None:
            return False
        if run_id in self._busy:
            self._busy[run_id] = True
        self._woken.set()
        return True

    # What the composition starts

    async def recover(self) -> None:
        """Make every run due that has something left to do: once, before `run`. Raises StoreDown."""
        open_runs = await self._store.recover(self._clock.now(), deadline_s=self._limits.deadline_s)
        log.info("recovered", open_runs=open_runs)

    async def run(self, front: Front) -> None:
        """Move every open run, and all that come, until this is cancelled; then let steps end that are under way."""
        try:
            await self._loop(front)
        finally:
            await self._finish_steps()

    async def _finish_steps(self) -> None:
        """Wait a moment: a POST that is let finish now need not be looked for at the next start."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _loop(self, front: Front) -> None:
        failures = 0  # in a row
        while True:
            try:
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

    async def _tick(self, front: Front) -> None:
        """Begin the steps that are due, and wait until there may be more."""
        self._woken.clear()
        now = self._clock.now()
        await self._adjust_to_clock(front, now)
        free = min(STEPS_AT_ONCE - len(self._busy), self._rate.free())
        if free > 0:
            claimed = await self._store.claim_due(
                now, lease_until=now + LEASE_S, limit=free, total_max=self._limits.runs_total
            )
            self._rate.use(len(claimed))
            for run in claimed:
                self._begin(front, run)
            due = await self._store.next_due()
            if due is not None and self._rate.free() == 0:
                due = max(due, now + self._rate.wait_s)
        else:
            due = now + self._rate.wait_s  # a step that ends wakes the loop before that
        wait_s = None if due is None else max(0.0, due - self._clock.now())
        if self._clock.set_at != self._clock_set_at or self._old_tasks is not None:
            wait_s = min(CLOCK_SETTLE_S, CLOCK_SETTLE_S if wait_s is None else wait_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._woken.wait()

    async def _adjust_to_clock(self, front: Front, now: float) -> None:
        """After the clock was set, make open runs due: what was due in an hour may be due in a day by now.

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
        """Make open runs due, and take no post in doubt for a recent one: when it was begun cannot be told any more."""
        await self._store.recover(now, deadline_s=self._limits.deadline_s)
        await self._store.forget_first_tries(now - front.repeat_s)

    def _begin(self, front: Front, run: Run) -> None:
        """Begin the run's step, or take it again after the one that is under way."""
        if run.run_id in self._busy:
            self._busy[run.run_id] = True
            return
        self._busy[run.run_id] = False
        task = asyncio.create_task(self._take_steps(front, run), name=f"step {run.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_steps(self, front: Front, run: Run) -> None:
        """Take the run one step further, and again if it was woken meanwhile."""
        bind(run=run.run_id, member=run.member, server=run.server)
        current: Run | None = run
        try:
            while current is not None:
                self._busy[run.run_id] = False
                await self._steps.take(front, current)
                current = await self._store.get(run.run_id) if self._busy[run.run_id] else None
        except Exception as error:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            if isinstance(cause, StoreDown):  # the run is due again after its lease, and its row says what is next
                log.error("step not kept: the store is down", state=run.state)
            else:
                log.exception("step failed", state=run.state)
        finally:
            del self._busy[run.run_id]
            self._woken.set()
