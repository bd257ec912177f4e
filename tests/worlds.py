"""Whole worlds from seeds: the shipped engine, admission, ledger and store on virtual time, all else scripted.

One seed is one world: a few members, a Runflow, a Discord, a network and a disk in which anything may fail, stall, come
twice, late or out of order, and a process that may die between any two awaits and inside any transaction. When all is
calm again and nothing moves any more, the books must balance, every billed run must have arrived once or be honestly
accounted for, and nobody may have paid twice. What the scripts assume of the outside stands in `docs/faults.md`.

`python -m tests.worlds --help` tells how to run many of them, or one again with its story.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

from bot.clock import SystemClock
from bot.domain.limits import Level, Policy
from bot.domain.money import PriceTable, period_at
from bot.domain.records import End, Offer, RunChanges, Wish
from bot.domain.runs import Delivery, Ending, Notice, Run, RunState, VeoRequest
from bot.errors import Refusal, StoreDown
from bot.media import Media
from bot.services.admission import Answer
from bot.services.engine import Limits
from storage import SqliteStore, check_books, open_store
from storage.verbs.rows import UnreadableRow
from tests.money import Inline, home, new_run
from tests.outside import (
    NEVER,
    REPEAT_S,
    SETTLE_S,
    UNEXPECTED,
    Broken,
    Front,
    Handles,
    Job,
    Message,
    NeverSent,
    Runflow,
)
from tests.parts import core
from tests.virtual import Died, Timeline, VirtualLoop

Result = TypeVar("Result")

EPOCH = 1_796_082_000.0  # 30 November 2026, 23:40 UTC: a month ends soon
DEADLINE_S = 1500.0
DAY_S = 86400.0
THEMES = ("orders", "list", "posting")
MEMBERS = ("ada", "bo", "cem")
CHANNELS = ("lab", "den")
PRICES = PriceTable(
    {name: {"silent": Decimal("0.2"), "audio": Decimal("0.4")} for name in ("720p", "1080p")}
    | {"4k": {"silent": Decimal("0.4"), "audio": Decimal("0.6")}}
)


_RUNS = "SELECT * FROM run_view WHERE origin LIKE 'wish-%' ORDER BY created_at"


class Disk(Executor):
    """Runs the store's jobs at once, and stands between them and the file: any statement may fail or be the last."""

    def __init__(self, world: World, loop: VirtualLoop) -> None:
        self._inline = Inline()
        self._world = world
        self._loop = loop
        self.connection: sqlite3.Connection | None = None
        self._fuse: int | None = None  # so many statements of this transaction still get through
        self._kills = self._after = False

    def stand_before(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        self.connection = connection
        return cast("sqlite3.Connection", self)

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        if self._loop.dying:
            raise RuntimeError("the process is gone")
        return self._inline.submit(fn, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._through(sql, lambda connection: connection.execute(sql, *values))

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._through(sql, lambda connection: connection.executemany(sql, *values))

    def _through(self, sql: str, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> sqlite3.Cursor:
        assert self.connection is not None
        if self._loop.dying:
            raise sqlite3.OperationalError("the process is gone")
        if sql == "BEGIN IMMEDIATE":
            self._fuse, self._kills, self._after = self._world.fate_of_transaction()
        if self._fuse is not None and (self._fuse == 0 or (self._fuse < 0 and sql == "COMMIT")):
            self._fuse = None
            if self._kills:
                self._world.tell(f"killed {'behind' if self._after else 'before'} {sql.split(maxsplit=1)[0]}")
                if self._after:
                    statement(self.connection)
                self._loop.dying = True
            raise sqlite3.OperationalError("disk I/O error")
        if self._fuse is not None and self._fuse > 0:
            self._fuse -= 1
        return statement(self.connection)


class World:
    """Everything outside of the process, and the processes one after the other."""

    def __init__(self, seed: int, folder: Path, theme: str | None = None) -> None:
        self.seed = seed
        self._theme = theme
        self.folder = folder
        self.chance = random.Random(seed)
        self.timeline = Timeline()
        self.story: list[str] = []
        self.breaches: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.messages: list[Message] = []
        self.posts_of: Counter[str] = Counter()  # POSTs without a clear answer, by run
        self.lives = 0
        self.life: Life | None = None
        self.path = folder / "veo.db"
        self.url = f"sqlite:///{self.path}"
        self._draw()
        self.path.write_bytes(books(proven=self.list_lag == "fresh" and self.chance.random() < 0.8))

    def _draw(self) -> None:
        """What kind of world this is."""
        draw = self.chance
        self.rough = draw.choice((0.3, 1.0, 1.0, 2.0))
        self.calm_at = draw.uniform(900, 4000)
        self.kills_left = draw.randrange(6)
        # Some worlds are about one sort of trouble, and have little of any other.
        self.theme = draw.choice((*("any",) * len(THEMES), *THEMES))
        self.theme = self._theme or self.theme
        self.list_lag = draw.choice(("fresh", "fresh", "fresh", "slow", "never"))
        self.hiccups = draw.choice((0.0, 0.2, 0.9))  # how likely the list gives one old answer
        self.order_trouble = draw.choice((0.05, 0.2, 0.7))
        self.post_trouble = 0.2
        self.callbacks = draw.choice((True, True, True, False))
        self.repeat_seen_s = draw.uniform(REPEAT_S, 300)
        self.handles = random.Random(f"{self.seed}/front").choice((Handles.FIXED, *Handles))
        self.uploads = 0
        self.outages = [
            (who, start, start + draw.expovariate(1 / 900 if who == "runflow orders" else 1 / 500))
            for who in ("runflow", "runflow orders", "runflow list", "discord", "disk")
            for start in (draw.uniform(0, self.calm_at),)
            if draw.random() < 0.3
        ]
        # Of each place: when it is gone, when it is closed, when its history is.
        self.gone_at = {name: self._sometime(0.15) for name in (*CHANNELS, *MEMBERS)}
        self.closed = {name: self._window(0.25) for name in CHANNELS}
        self.closed |= {name: (0.0, 1e12) if draw.random() < 0.3 else (0.0, 0.0) for name in MEMBERS}
        self.unseen = {name: self._window(0.25) for name in CHANNELS}
        self.runs_total = draw.choice((1, 3, 20, 20))
        self.policy = Policy(
            member_limit_u=draw.choice((8_000_000, 20_000_000, 1_000_000_000)),
            server_ceiling_u=draw.choice((None, None, 20_000_000)),
            total_ceiling_u=draw.choice((None, None, 25_000_000)),
            period=draw.choice(("day", "month")),
            zone=ZoneInfo("UTC"),
            runs_per_member=draw.choice((2, 5)),
        )
        self.ahead_s = 0.0
        if self.theme != "any":
            self._narrow()
        else:
            self._plan_clock(random.Random(f"{self.seed}/clock"))
            self._plan_damage(random.Random(f"{self.seed}/rows"))
        for number in range(draw.randrange(2, 8) if self.theme == "any" else 7):
            self._plan_wish(number)

    def _plan_clock(self, draw: random.Random) -> None:
        """In some worlds the clock is wrong at first, or is set while it matters, by half a minute or by days."""

        def set_it(by_s: float) -> None:
            self.ahead_s += by_s
            self.tell(f"the clock is set by {by_s:+.0f} s")

        if draw.random() < 0.4:
            for _ in range(draw.randrange(1, 4)):
                by_s = draw.choice((-1, 1)) * draw.choice((30.0, 600.0, 3600.0, DAY_S, 3 * DAY_S))
                at = draw.choice((0.0, draw.uniform(0, self.calm_at), draw.uniform(0, self.calm_at)))
                self.timeline.after(at, lambda by_s=by_s: set_it(by_s))  # type: ignore[misc] # its default says the type

    def _plan_damage(self, draw: random.Random) -> None:
        """In some worlds a row cannot be read for a while, as after a release that was taken back."""
        if draw.random() < 0.3:
            at = draw.uniform(0, 0.8 * self.calm_at)
            self.timeline.after(at, lambda: self._damage(draw))

    def _damage(self, draw: random.Random) -> None:
        runs = [row["run_id"] for row in self.rows() if row["ended_at"] is None]
        if not runs or not self._write("UPDATE run SET roles = '7' WHERE run_id = ?", run_id := draw.choice(runs)):
            return
        self.tell(f"the row of {run_id} cannot be read any more")

        def mend() -> None:
            if self._write("UPDATE run SET roles = '[]' WHERE run_id = ?", run_id):
                self.tell(f"the row of {run_id} can be read again")
            else:
                self.timeline.after(1.0, mend)

        self.timeline.after(draw.uniform(60, 4000), mend)

    def _write(self, sql: str, *values: str) -> bool:
        """Change what is on the disk, beside the process; False while somebody else does."""
        try:
            with closing(sqlite3.connect(self.path, timeout=0)) as connection, connection:
                return connection.execute(sql, values).rowcount > 0
        except sqlite3.OperationalError:
            return False

    def _narrow(self) -> None:
        """Leave this world little trouble but that of its theme, and no limits."""
        self.rough, self.kills_left, self.order_trouble, self.post_trouble = 1.0, self.kills_left % 2, 0.05, 0.05
        self.policy = replace(
            self.policy, member_limit_u=None, server_ceiling_u=None, total_ceiling_u=None, runs_per_member=5
        )
        self.outages, self.runs_total = [], 20
        if self.theme == "orders":
            start = self.chance.uniform(0, 1000)
            self.outages = [("runflow orders", start, start + 3000)] if self.chance.random() < 0.5 else []
            self.list_lag, self.order_trouble, self.hiccups = "fresh", 0.8, 0.9
        elif self.theme == "list":
            self.list_lag, self.order_trouble, self.hiccups = "slow", 0.3, 0.0
        else:
            self.post_trouble = 0.7

    def _sometime(self, likely: float) -> float:
        return self.chance.uniform(60, 3000) if self.chance.random() < likely else 1e12

    def _window(self, likely: float) -> tuple[float, float]:
        start = self._sometime(likely)
        return start, start + self.chance.choice((120.0, 1500.0, 6000.0))

    # Chance and time

    @property
    def now(self) -> float:
        return self.timeline.now

    @property
    def wall(self) -> float:
        """What the machine's clock shows, which people and programs set."""
        return EPOCH + self.now + self.ahead_s

    @property
    def calm(self) -> bool:
        return self.now >= self.calm_at

    def tell(self, event: str) -> None:
        self.story.append(f"{self.now:11.2f} {event}")

    def bad(self, likely: float) -> bool:
        return not self.calm and self.chance.random() < likely * self.rough

    def out(self, who: str) -> bool:
        return any(name == who and start <= self.now < end for name, start, end in self.outages)

    def within(self, window: tuple[float, float]) -> bool:
        return window[0] <= self.now < window[1]

    def fate_of_transaction(self) -> tuple[int | None, bool, bool]:
        """How many statements still get through, whether that kills the process, and behind the last one or before."""
        if self.out("disk") and not self.calm:
            return self.chance.randrange(3), False, False
        if self.bad(0.006):
            return self.chance.randrange(-1, 12), False, False
        if self.kills_left and self.bad(0.003):
            self.kills_left -= 1
            return self.chance.randrange(-1, 12), True, self.chance.random() < 0.5
        return None, False, False

    async def send(
        self, effect: Callable[[], Result], *, to: str, late_max_s: float, give_up_s: float, trouble: float
    ) -> Result:
        """A request: what it does happens there in its own time, whoever waits. Raises NeverSent, Broken."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        reply: asyncio.Future[Result] = loop.create_future()
        draw, slow = self.chance, self.bad(0.05)
        there_s, back_s = (draw.uniform(0.01, 8.0 if slow else 0.5) for _ in range(2))
        fate = "fine"
        if self.out(to):
            fate = draw.choice(("refused", "lost", "lost"))
        elif self.bad(trouble):
            fate = draw.choice(("refused", "lost", "late", "mute", "mute"))
        if fate == "late":
            there_s = draw.uniform(1.0, late_max_s)
        ends_s = draw.choice((draw.uniform(0.05, 5.0), give_up_s))  # a reset, or silence until the patience is over

        def answer(result: Result | None, error: Exception | None) -> None:
            if reply.done() or loop.dying:
                return
            if error is None:
                reply.set_result(cast("Result", result))
            else:
                reply.set_exception(error)

        def arrive() -> None:
            try:
                result, error = effect(), None
            except Exception as refused:  # noqa: BLE001 - the answer may be an error of theirs
                result, error = None, refused
            if fate == "fine":
                self.timeline.after(back_s, lambda: answer(result, error))

        if fate in ("fine", "late", "mute"):
            self.timeline.after(there_s, arrive)
        if fate == "refused":
            self.timeline.after(draw.uniform(0.01, 10.0), lambda: answer(None, NeverSent()))
        elif fate != "fine":
            self.timeline.after(max(ends_s, there_s if fate == "mute" else 0.0), lambda: answer(None, Broken(fate)))
        return await reply

    # What members do

    def _plan_wish(self, number: int) -> None:
        draw = self.chance
        member, channel = draw.choice(MEMBERS), draw.choice(CHANNELS)
        request = VeoRequest(
            prompt=f"wish {number}",
            duration=draw.choice(("4s", "8s")),
            resolution=draw.choice(("720p", "720p", "4k")),
            generate_audio=draw.random() < 0.8,
        )
        at = draw.uniform(1, self.calm_at * 0.6)
        for copy in range(1 + (draw.random() < 0.15)):  # an event may come twice
            self.timeline.after(at + copy * draw.uniform(0, 0.2), lambda: self._ask(number, member, channel, request))

    def _ask(self, number: int, member: str, channel: str, request: VeoRequest) -> None:
        if self.life is None or self.life.loop.dying:
            self.tell(f"{member} asks for wish {number}, and nobody is there")
            return
        wish = Wish(
            origin=f"wish-{number}",
            member=member,
            member_name=member,
            server="server",
            channel=channel,
            budget_channel=channel,
            roles=(),
            request=request,
            reply_to=f"card {number}",
            reply_until=self.wall + 900,
            upload_limit_bytes=10,
        )
        self.life.loop.create_task(self._talk(self.life, wish))

    async def _talk(self, life: Life, wish: Wish) -> None:
        """One member's wish, and yes to whatever is asked back."""
        try:
            made = await life.admission.ask(wish)
            if isinstance(made, Offer):
                await asyncio.sleep(life.chance.uniform(1, 400))
                answer = Answer(offer_id=made.offer_id, choice=life.chance.randrange(len(made.choices)))
                made = await life.admission.confirm(answer, wish.member)
            self.tell(f"{wish.origin} of {wish.member} is run {made.run_id} at {made.price_u}")
        except UnreadableRow:
            self.tell(f"{wish.origin} of {wish.member} is a run that cannot be read")
        except Refusal as refusal:
            self.tell(f"{wish.origin} of {wish.member} is refused: {type(refusal).__name__}")

    # How it goes on and ends

    def run(self) -> list[str]:
        """Live until all is quiet; what went wrong."""
        while True:
            self.lives += 1
            life = self.life = Life(self)
            try:
                life.run()
                life.close()
            except Died:
                self.tell("the process died")
                life.bury()
            if life.quiet:
                break
            self.life = None
            self._check_money()
            if self.breaches:
                return self.breaches
            self.timeline.pass_by(self.chance.choice((0.5, 5.0, 60.0, self.chance.uniform(60, 2000))))
        self._check_money()
        self._check_runs()
        return self.breaches

    def breach(self, sentence: str) -> None:
        self.tell(f"BREACH {sentence}")
        self.breaches.append(sentence)

    def rows(self, sql: str = _RUNS) -> list[dict[str, Any]]:
        """What is on the disk, read beside the process."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def look_up_is_proven(self) -> bool:
        asked = "SELECT lookup_fresh FROM run WHERE lookup_fresh IS NOT NULL ORDER BY posted_at DESC LIMIT 3"
        return [row["lookup_fresh"] for row in self.rows(asked)] == [1, 1, 1]

    def goes_on_for_ever(self, row: dict[str, Any]) -> bool:
        """Whether the run has no end at Runflow, and all was done about that."""
        endless = any(job.run.run_id == row["run_id"] and job.ends_at >= NEVER for job in self.jobs.values())
        told = row["overdue"] and row["delivery"] not in ("none", "pending", "sending")
        return bool(endless and row["state"] == "running" and told)

    def _check_money(self) -> None:
        """What holds whenever one looks."""
        for line in check_books(self.url):
            self.breach(f"the books: {line}")
        billed = Counter(job.run.run_id for job in self.jobs.values())
        for run_id, times in billed.items():
            if times > 1:
                self.breach(f"run {run_id} was bought {times} times")
        for row in self.rows():
            jobs = [job for job in self.jobs.values() if job.run.run_id == row["run_id"]]
            booked_u = row["charged_u"] if row["ended_at"] is not None else row["price_u"]
            known = [job for job in jobs if row["cost_u"] is not None or job.cost_u is None]
            due_u = sum(min(job.billed_u, row["price_u"]) for job in known)
            if due_u > booked_u:
                self.breach(f"run {row['run_id']} was billed {due_u} and {booked_u} is booked")

    def _check_runs(self) -> None:
        """What holds in the end."""
        for row in self.rows():
            run_id, state = row["run_id"], RunState(row["state"])
            job = next((each for each in self.jobs.values() if each.run.run_id == run_id), None)
            if self.goes_on_for_ever(row):
                pass  # overdue, told as that, and its money is held until an admin says otherwise
            elif row["ended_at"] is None:
                shown = job is not None and job.listed_at <= self.now
                if state != RunState.UNKNOWN or shown or (job is None and self.look_up_is_proven()):
                    self.breach(f"run {run_id} is left {state}")
            elif job is None:
                if (row["ending"], row["charged_u"]) != (Ending.FAILED, 0):
                    self.breach(f"run {run_id} was never bought, and ended {row['ending']} at {row['charged_u']}")
            else:
                if row["ending"] != job.ending:
                    self.breach(f"run {run_id} ended {job.ending} at Runflow, and {row['ending']} here")
                if row["charged_u"] != job.billed_u:
                    self.breach(f"run {run_id} was billed {job.billed_u} and is charged {row['charged_u']}")
            self._check_messages(row)
            if self.posts_of[run_id] > 3:
                self.breach(f"run {run_id} had {self.posts_of[run_id]} POSTs without a clear answer")

    def _check_messages(self, row: dict[str, Any]) -> None:
        run_id, delivery = row["run_id"], Delivery(row["delivery"])
        told = [message for message in self.messages if message.run_id == run_id]
        results = [message for message in told if message.notice == Notice.RESULT]
        standing = [message for message in results if self.gone_at[message.place] > self.now]
        for notice, times in Counter((message.notice, message.place in MEMBERS) for message in told).items():
            if times > 1:
                self.breach(f"run {run_id}: {notice[0]} was posted {times} times")
        if len(standing) > 1:
            self.breach(f"run {run_id}: its result stands in {[message.place for message in standing]}")
        if delivery in (Delivery.PENDING, Delivery.SENDING) or (row["ended_at"] and delivery == Delivery.NONE):
            self.breach(f"run {run_id} is not delivered: {delivery}")
        if row["ended_at"] is None:
            return
        if delivery == Delivery.DELIVERED and not results:
            self.breach(f"run {run_id} is called delivered and was not posted")
        if delivery == Delivery.UNDELIVERABLE and not self._had_no_place(row):
            self.breach(f"run {run_id} was given up, although it could be posted")
        shows = Ending(row["ending"]) in (Ending.VIDEO, Ending.PARTIAL)
        for message in results:
            if bool(message.clip) != shows:
                self.breach(f"run {run_id} ended {row['ending']} and was posted with {message.clip!r}")

    def _had_no_place(self, row: dict[str, Any]) -> bool:
        troubled = [self.gone_at[row["channel"]] < 1e12, self.closed[row["channel"]][0] < 1e12]
        member = row["member"]
        return any(troubled) and (self.gone_at[member] < 1e12 or self.closed[member][1] > self.now)


class Life:
    """One process: the engine, its store and its admission, from one start to its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(f"{world.seed}/{world.lives}")
        kill = world.kills_left > 0 and not world.calm
        self.loop = VirtualLoop(world.timeline, steps_left=int(self.chance.expovariate(1 / 900)) + 1 if kill else None)
        self.loop.set_exception_handler(self._unhandled)
        self.disk = Disk(world, self.loop)
        self.quiet = False
        self.over: asyncio.Future[None] = self.loop.create_future()
        self.store: SqliteStore = open_store(world.url, executor=self.disk, through=self.disk.stand_before)
        self.clock = SystemClock(wall=lambda: world.wall, steady=lambda: world.now)
        media = Media(
            world.folder / "media",
            key=b"k" * 32,
            keep_s=7 * DAY_S,
            public_url=self.chance.choice((None, "https://veo.example")),
            now=self.clock.now,
        )
        provider = Runflow(world)
        services = core(
            store=self.store,
            provider=provider,
            prices=PRICES,
            policy=world.policy,
            limits=Limits(
                runs_total=world.runs_total,
                poll_first_s=5.0,
                poll_longest_s=40.0,
                deadline_s=DEADLINE_S,
                settle_s=SETTLE_S,
            ),
            clock=self.clock,
            chance=self.chance,
            clips=media,
            confirm_above_u=3_200_000,
        )
        self.engine, self.admission = services.engine, services.admission

    def run(self) -> None:
        """Until it dies, is stopped in order, or nothing is left to do."""
        world = self.world
        world.tell(f"process {world.lives} starts")
        if not world.calm and self.chance.random() < 0.2:
            world.timeline.after(self.chance.uniform(60, 3000), self._stop)
        world.timeline.after(600, self._look_for_quiet)
        self.loop.run_until_complete(self._main())

    async def _main(self) -> None:
        while True:
            try:
                async with self.engine.running(Front(self.world)):
                    await self.over
                return
            except StoreDown:  # the start needs its store; an operator starts it again
                await asyncio.sleep(5)

    def _stop(self) -> None:
        if not self.loop.dying and not self.over.done():
            self.world.tell("the process is told to stop")
            self.over.set_result(None)

    def _look_for_quiet(self) -> None:
        if self.loop.dying or self.over.done():
            return
        world = self.world
        if world.calm:
            left = [
                row
                for row in world.rows()
                if row["due_at"] is not None and not (self._stays_unknown(row) or world.goes_on_for_ever(row))
            ]
            if not left:
                self.quiet = True
                self.over.set_result(None)
                return
            if world.now > world.calm_at + 10 * DAY_S:
                for row in left:
                    world.breach(f"run {row['run_id']} hangs: {row['state']}, delivery {row['delivery']}")
                self.quiet = True
                self.over.set_result(None)
                return
        world.timeline.after(600 if world.now < world.calm_at + 7200 else 7200, self._look_for_quiet)

    def _stays_unknown(self, row: dict[str, Any]) -> bool:
        """Whether there is no more evidence to come: the list never shows it, or shows that there is nothing."""
        world = self.world
        if (
            row["state"] != "unknown"
            or row["delivery"] in ("pending", "sending")
            or world.now < world.calm_at + 1.2 * DAY_S
        ):
            return False
        job = next((job for job in world.jobs.values() if job.run.run_id == row["run_id"]), None)
        return not world.look_up_is_proven() if job is None else job.listed_at > world.now

    def _unhandled(self, _: object, context: dict[str, Any]) -> None:
        if not self.loop.dying:
            self.world.breach(f"nobody handled: {context.get('message')} {context.get('exception')!r}")

    def close(self) -> None:
        self.loop.run_until_complete(self.store.close())
        for task in asyncio.all_tasks(self.loop):
            if not task.done():
                task.cancel()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        left = asyncio.all_tasks(self.loop)
        if left:
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.close()

    def bury(self) -> None:
        """What the system does with a process that is gone."""
        self.loop.bury()
        assert self.disk.connection is not None
        self.disk.connection.close()
        with suppress(OSError):  # it may have died while it closed it
            self.store.writer.let_go()


@cache
def books(*, proven: bool) -> bytes:
    """A database that nobody has used yet, or one in which the look-up showed three runs, long ago."""

    async def before(store: SqliteStore) -> None:
        at = EPOCH - 100 * DAY_S
        level = Level(scope="member:old", period=period_at(at, "day", ZoneInfo("UTC")), limit_u=None)
        for number in range(3):
            new = new_run(f"old-{number}", now=at, member="old")
            run: Run | None = await store.admit(new, lambda _: [level])
            assert run is not None
            run = await store.begin_submit(run, now=at, total_max=9)
            assert run is not None
            run = await store.advance(run, RunState.RUNNING, now=at, changes=RunChanges(provider_id=f"old-{number}"))
            assert run is not None
            await store.looked_up(run.run_id, fresh=True)
            run = await store.settle(run, End(ending=Ending.VIDEO, cost_u=run.price_u), now=at)
            assert run is not None
            changes = RunChanges(delivery=Delivery.DELIVERED, due_at=None, message="old")
            await store.advance(run, run.state, now=at, changes=changes)

    async def make(path: Path) -> None:
        store = open_store(f"sqlite:///{path}", executor=Inline())
        if proven:
            await before(store)
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "veo.db"
        asyncio.run(make(path))
        return path.read_bytes()


class Witness(logging.Handler):
    """Hears what the process logs: part of the story, and a breach where it is an error that nobody expected."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.tell(f"  {record.getMessage()}")
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        dying = self._world.life is None or self._world.life.loop.dying
        expected = isinstance(error, StoreDown | UnreadableRow) or str(error) == UNEXPECTED
        if error is not None and not expected and not dying:
            self._world.breach(f"{record.getMessage()}: {error!r}")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    seed: int
    breaches: list[str]
    story: list[str]
    runs: int
    lives: int
    unknown: int
    bought: int


def live(seed: int, theme: str | None = None) -> Outcome:
    """One world, from its seed to its end; a theme makes another one of it."""
    with home() as folder:
        world = World(seed, folder, theme)
        witness = Witness(world)
        log = logging.getLogger("veo")
        log.addHandler(witness)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - a world that cannot be told is one that went wrong
            world.breach(f"the world broke: {error!r}")
        finally:
            log.removeHandler(witness)
            log.propagate = True
        rows = world.rows()
    return Outcome(
        seed=seed,
        breaches=world.breaches,
        story=world.story,
        runs=len(rows),
        lives=world.lives,
        unknown=sum(row["state"] == "unknown" for row in rows),
        bought=len(world.jobs),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Live many worlds; 1 and the story of the first that went wrong, where one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=None, help="the first seed; by default another one each time")
    parser.add_argument("--seed", type=int, default=None, help="this one alone, with its story")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--theme", choices=THEMES, default=None, help="only worlds about this sort of trouble")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        outcome = live(options.seed, options.theme)
        print(*outcome.story, *outcome.breaches, sep="\n")
        return 1 if outcome.breaches else 0
    first = random.SystemRandom().randrange(10**9) if options.first is None else options.first
    began, told = time.monotonic(), Tally()
    for outcome in lived(range(first, first + options.worlds), options.theme, options.jobs):
        told.add(outcome)
        if outcome.breaches:
            print(*outcome.story, f"seed {outcome.seed}: {outcome.breaches}", sep="\n")
            return 1
    print(told.line(time.monotonic() - began))
    return 0


def lived(seeds: Iterable[int], theme: str | None, jobs: int) -> Iterator[Outcome]:
    """The worlds of these seeds in turn, so many at a time."""
    if jobs == 1:
        yield from map(live, seeds, repeat(theme))
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(live, seeds, repeat(theme), chunksize=20)
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass
class Tally:
    """What many worlds came to."""

    sums: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.sums["worlds"] += 1
        self.sums["starts"] += outcome.lives
        self.sums["runs"] += outcome.runs
        self.sums["bought"] += outcome.bought
        self.sums["unknown"] += outcome.unknown

    def line(self, seconds: float) -> str:
        said = ", ".join(f"{count} {name}" for name, count in self.sums.items())
        return f"{said}: nothing went wrong; {self.sums['worlds'] / seconds:.0f} worlds a second"


if __name__ == "__main__":
    sys.exit(main())
