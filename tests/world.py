"""One simulated world: what kind it is, its time and its troubles, what its members do, and its processes in turn."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

from bot.domain.limits import Level, Policy
from bot.domain.models import VeoRequest
from bot.domain.periods import period_at
from bot.domain.records import End, Offer, RunChanges, Wish
from bot.domain.runs import Delivery, Ending, Run, RunState
from bot.errors import Refusal
from bot.services.admission import Answer
from storage import SqliteStore, open_store
from storage.verbs.rows import UnreadableRow
from tests.checks import check_cancelled, check_money, check_runs
from tests.life import DAY_S, Life
from tests.money import Inline, new_run
from tests.outside import CHANNELS, MEMBERS, NEVER, REPEAT_S, Broken, Handles, Job, Message, NeverSent
from tests.virtual import Died, Timeline, VirtualLoop

Result = TypeVar("Result")

EPOCH = 1_796_082_000.0  # 30 November 2026, 23:40 UTC: a month ends soon
CANCELS = 0.2  # so many of the wishes are taken back where that is possible
THEMES = ("orders", "list", "posting")
_RUNS = "SELECT * FROM run_view WHERE origin LIKE 'wish-%' ORDER BY created_at"


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
        self.runs_of: dict[str, set[str]] = {}  # by wish
        self.cancelled: set[str] = set()  # runs that their members were told to be cancelled
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
            self.runs_of.setdefault(wish.origin, set()).add(made.run_id)
            if random.Random(f"{self.seed}/{wish.origin}/cancel").random() < CANCELS:
                await self._cancel(life, made)
        except UnreadableRow:
            self.tell(f"{wish.origin} of {wish.member} is a run that cannot be read")
        except Refusal as refusal:
            self.tell(f"{wish.origin} of {wish.member} is refused: {type(refusal).__name__}")

    async def _cancel(self, life: Life, run: Run) -> None:
        """Somebody changes their mind, sooner or later."""
        draw = random.Random(f"{self.seed}/{run.run_id}/cancel")
        await asyncio.sleep(draw.choice((0.0, draw.uniform(0, 2), draw.uniform(0, 900))))
        for _ in range(draw.choice((1, 1, 2))):
            cancelled = await life.admission.cancel(run.run_id, run.member)
            self.cancelled.add(cancelled.run_id)
            self.tell(f"{run.run_id} is cancelled")

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
            check_money(self)
            if self.breaches:
                return self.breaches
            self.timeline.pass_by(self.chance.choice((0.5, 5.0, 60.0, self.chance.uniform(60, 2000))))
        check_money(self)
        check_runs(self)
        check_cancelled(self)
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
