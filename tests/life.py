"""One process of a simulated world: the shipped parts on virtual time, over a disk on which anything may fail."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bot.clock import SystemClock
from bot.domain.prices import PriceTable
from bot.errors import StoreDown
from bot.media import Media
from bot.services.pace import Limits
from storage import SqliteStore, open_store
from tests.money import Inline
from tests.outside import SETTLE_S, Front, Runflow
from tests.parts import core, running
from tests.virtual import VirtualLoop

if TYPE_CHECKING:
    from tests.world import World

Result = TypeVar("Result")

DEADLINE_S = 1500.0
DAY_S = 86400.0
PRICES = PriceTable(
    {name: {"silent": Decimal("0.2"), "audio": Decimal("0.4")} for name in ("720p", "1080p")}
    | {"4k": {"silent": Decimal("0.4"), "audio": Decimal("0.6")}}
)


class Disk(Executor):
    """Runs the store's jobs at once, and stands between them and the file: any statement may fail or be the last."""

    def __init__(self, world: World, loop: VirtualLoop) -> None:
        self._inline = Inline()
        self._world = world
        self._loop = loop
        self.connection: sqlite3.Connection | None = None
        self._fuse: int | None = None  # so many statements of this transaction still get through
        self._kills = self._after = False

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        if self._loop.dying:
            raise RuntimeError("the process is gone")
        return self._inline.submit(fn, *args, **kwargs)

    def stand_before(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Take the place of the connection for whoever uses it."""
        self.connection = connection
        return cast("sqlite3.Connection", self)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self.connection is not None:
            self.connection.close()

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
                callbacks=world.callbacks,
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
                async with running(self.engine, Front(self.world)):
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
        self.disk.close()
        with suppress(OSError):  # it may have died while it closed it
            self.store.writer.let_go()
