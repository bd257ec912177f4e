"""Runflow and Discord as scripts: what they do with a request, and how an answer to it fails to come.

They stand in the ports of the engine. What they do happens on the world's timeline, whoever waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bot.domain.limits import Standing
from bot.domain.queue import Turn
from bot.domain.records import Accepted, Link, NotSent, Refused, Unclear
from bot.domain.runs import Ending, Notice, Observation, Run
from bot.errors import (
    ClipTooBig,
    ClipUnavailable,
    HistoryClosed,
    PlaceClosed,
    PlaceGone,
    PostFailed,
    StoreDown,
    TooLarge,
    Unreadable,
)
from bot.services.engine import Engine
from tests.parts import NoDesk

if TYPE_CHECKING:
    from tests.world import World

Result = TypeVar("Result")

NEVER = 1e12  # no end of a run is so far away
SETTLE_S = 120.0
MEMBERS = ("ada", "bo", "cem")
CHANNELS = ("lab", "den")
UNEXPECTED = "not what the library expected"  # what the front may raise beside everything that is promised
SUBMIT_TIMEOUT_S = 60.0
REPEAT_S = 120.0  # so long a front that sees repeats at all sees one


class NeverSent(Exception):
    """No byte of the request went out."""


class Broken(Exception):
    """The request went out, and no answer came back."""


@dataclass(kw_only=True)
class Job:
    """A run as Runflow has it."""

    job_id: str
    run: Run
    made_at: float
    ends_at: float
    ending: Ending
    cost_u: int | None  # as it is named; None: never
    cost_at: float
    listed_at: float  # from then on the list shows it
    seen_from: float  # before that its own record answers 404
    hidden: tuple[float, float]  # and in between again
    clip: str  # "fine", "large" for an upload, "huge" for our disk
    hiccup: bool = False  # whether the list has left it out once, although it had it

    @property
    def billed_u(self) -> int:
        if self.cost_u is not None:
            return self.cost_u
        return self.run.price_u if self.ending in (Ending.VIDEO, Ending.PARTIAL, Ending.NSFW, Ending.EMPTY) else 0


@dataclass(frozen=True, kw_only=True)
class Message:
    """Something that the bot posted."""

    run_id: str
    notice: Notice | None
    handle: str
    place: str
    at: float
    clip: str  # "file", "link" or ""
    name: str


class Runflow:
    """`bot.ports.Provider` to a process; what it does happens in the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        world = self._world
        draw = world.chance

        def order() -> Accepted | Refused | NotSent | Unclear:
            if world.bad(0.04):
                world.tell(f"POST of {run.run_id} is refused")
                return Refused(code="HTTP_422", message="no")
            if world.bad(0.06):
                return NotSent(reason="HTTP 429", wait_s=draw.choice((None, 1.0, 120.0)))
            job = self._make(run)
            world.tell(f"POST of {run.run_id} makes {job.job_id}: {job.ending} in {job.ends_at - world.now:.0f} s")
            return Accepted(observation=self._observation(job))

        try:
            return await world.send(
                order,
                to="runflow" if world.out("runflow") else "runflow orders",
                late_max_s=SETTLE_S,
                give_up_s=SUBMIT_TIMEOUT_S,
                trouble=world.order_trouble,
            )
        except NeverSent:
            return NotSent(reason="refused")
        except Broken as error:
            world.posts_of[run.run_id] += 1
            world.tell(f"POST of {run.run_id} has no answer ({error})")
            return Unclear(reason=str(error))

    def _make(self, run: Run) -> Job:
        world, draw = self._world, self._world.chance
        now = world.now
        takes_s = draw.uniform(0, 200 if world.theme == "list" else 50) + draw.choice(
            (0.3, *(draw.uniform(5, 200) for _ in range(4)), draw.uniform(200, 2000))
        )
        ending = draw.choice((Ending.VIDEO,) * 6 + tuple(Ending))
        lag_s = {
            "fresh": draw.uniform(0, 0.49 * SETTLE_S),
            "slow": draw.choice((draw.uniform(0.55, 0.8), draw.uniform(0.55, 0.8), draw.uniform(2.0, 5.0))) * SETTLE_S,
            "never": 1e12,
        }[world.list_lag]
        cost_u: int | None = run.price_u
        if ending in (Ending.FAILED, Ending.CANCELLED):
            cost_u = draw.choice((0, 0, None, run.price_u))
        elif draw.random() < 0.2:
            cost_u = draw.choice((None, run.price_u // 2, run.price_u * 5 // 4, 0))
        endless = world.theme == "any" and random.Random(f"{world.seed}/{len(world.jobs)}").random() < 0.06
        ends_at = NEVER if endless else now + takes_s
        hidden_at = now + draw.uniform(0, 300)
        job = Job(
            job_id=f"job-{len(world.jobs) + 1}",
            run=run,
            made_at=now,
            ends_at=ends_at,
            ending=ending,
            cost_u=cost_u,
            cost_at=ends_at + (draw.uniform(1, 7000) if draw.random() < 0.2 else 0.0),
            listed_at=now + lag_s,
            seen_from=now + (draw.uniform(0, 20) if draw.random() < 0.2 else 0.0),
            hidden=(hidden_at, hidden_at + 100) if draw.random() < 0.03 else (0.0, 0.0),
            clip="huge" if world.theme == "posting" else draw.choice(("fine", "fine", "fine", "fine", "large", "huge")),
        )
        world.jobs[job.job_id] = job
        self._plan_callbacks(job)
        return job

    def _plan_callbacks(self, job: Job) -> None:
        world, draw = self._world, self._world.chance
        copies = draw.choice((0, 1, 1, 2, 3)) if world.callbacks else 0
        for _ in range(copies if job.ends_at < NEVER else 0):
            late_s = draw.choice((0.05, 1.0, draw.expovariate(1 / 100)))
            world.timeline.after(job.ends_at - world.now + late_s, lambda: self._call_back(job, job.job_id))
        if draw.random() < 0.15:  # somebody who has seen the address names other runs
            named = draw.choice(("job-1", "job-2", "nonsense"))
            world.timeline.after(draw.uniform(0, 200), lambda: self._call_back(job, named))

    def _call_back(self, job: Job, named: str) -> None:
        life = self._world.life
        if life is None or life.loop.dying:
            return
        self._world.tell(f"callback for {job.run.run_id} names {named}")

        async def wake(engine: Engine) -> None:
            with suppress(StoreDown):
                await engine.wake(job.run.callback_token, named)

        life.loop.create_task(wake(life.engine))

    def _observation(self, job: Job) -> Observation:
        over = self._world.now >= job.ends_at
        return Observation(
            provider_id=job.job_id,
            client_ref=job.run.client_ref,
            status="ended" if over else "running",
            ending=job.ending if over else None,
            cost_u=job.cost_u if self._world.now >= job.cost_at else None,
        )

    async def read(self, provider_id: str) -> Observation | None:
        world = self._world

        def record() -> Observation | None:
            job = world.jobs.get(provider_id)
            if job is None or world.now < job.seen_from or world.within(job.hidden):
                return None
            return self._observation(job)

        return await self._get(record, "runflow")

    async def find(self, client_ref: str) -> list[Observation]:
        world = self._world

        def listed() -> list[Observation]:
            jobs = [job for job in world.jobs.values() if job.run.client_ref == client_ref]
            shown = [job for job in jobs if world.now >= job.listed_at]
            if shown and not shown[0].hiccup and world.bad(world.hiccups):
                shown[0].hiccup = True
                return []
            return [self._observation(job) for job in shown]

        return await self._get(listed, "runflow list")

    async def _get(self, effect: Callable[[], Result], to: str) -> Result:
        world = self._world
        if world.out("runflow"):
            to = "runflow"
        try:
            trouble = 0.4 if world.theme == "posting" else 0.12
            return await world.send(effect, to=to, late_max_s=1.0, give_up_s=30.0, trouble=trouble)
        except (NeverSent, Broken):
            raise Unreadable("no answer", world.chance.choice((None, None, 30.0))) from None

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        world = self._world
        record = await self.read(provider_id)
        if record is None or world.bad(0.15):
            raise ClipUnavailable("the download broke off")
        job = world.jobs[provider_id]
        await asyncio.sleep(world.chance.choice((0.5, 5.0, 100.0)))
        if job.clip == "huge":
            raise ClipTooBig("it is too large")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"clip" if job.clip == "fine" else b"a large clip")

    async def link(self, provider_id: str) -> str:
        if await self.read(provider_id) is None:
            raise ClipUnavailable("no such run")
        return f"https://files.example/{provider_id}"


class Handles(StrEnum):
    """What kind of front there is, by the handles of its posts."""

    FIXED = "fixed"  # by the notice, as a nonce is; a message is found by what it says
    UPLOADED = "uploaded"  # anew with each upload; a message is found, and a repeat seen, by nothing else
    FORGOTTEN = "forgotten"  # the same, and no repeat is seen as one


class Front(NoDesk):
    """`bot.ports.Front` to a process: channels and direct messages of a scripted Discord."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.repeat_s = 0.0 if world.handles == Handles.FORGOTTEN else REPEAT_S

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None:
        world = self._world
        if world.bad(0.02):
            raise TypeError(UNEXPECTED)
        with suppress(NeverSent, Broken):
            await world.send(lambda: None, to="discord", late_max_s=5.0, give_up_s=300.0, trouble=0.12)

    def _place(self, run: Run) -> str:
        return run.member if run.direct else run.channel

    def _enter(self, place: str) -> None:
        if self._world.now >= self._world.gone_at[place]:
            raise PlaceGone("unknown channel")
        if self._world.within(self._world.closed[place]):
            raise PlaceClosed("missing permission")

    async def prepare(self, run: Run, clip: Path | Link | None) -> str:
        world = self._world
        if world.handles == Handles.FIXED:
            return f"{run.run_id} {run.notice} {self._place(run)}"
        large = self._is_large(clip)

        def upload() -> str:
            if large:
                raise TooLarge("413")
            world.uploads += 1
            return f"upload-{world.uploads}"

        return await self._ask(upload)

    def _is_large(self, clip: Path | Link | None) -> bool:
        return isinstance(clip, Path) and clip.read_bytes() != b"clip"

    async def find(self, run: Run) -> str | None:
        world, place = self._world, self._place(run)

        def history() -> str | None:
            self._enter(place)
            if not run.direct and world.within(world.unseen[place]):
                raise HistoryClosed("no history")
            for message in world.messages:
                said = (message.run_id, message.notice, message.place) == (run.run_id, run.notice, place)
                if said if world.handles == Handles.FIXED else message.handle == run.post_handle:
                    return message.name
            return None

        return await self._ask(history)

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        world, place = self._world, self._place(run)
        large = self._is_large(clip)
        kind = {True: "file", False: "link"}[isinstance(clip, Path)] if clip is not None else ""
        seen_s = -1.0 if world.handles == Handles.FORGOTTEN else world.repeat_seen_s

        def create() -> str:
            self._enter(place)
            for message in world.messages:
                if message.handle == handle and world.now - message.at <= seen_s:
                    return message.name
            if large:
                raise TooLarge("413")
            name = f"{place}/{len(world.messages) + 1}"
            world.tell(f"{run.notice} of {run.run_id} stands in {name} with {kind!r}")
            world.messages.append(
                Message(
                    run_id=run.run_id,
                    notice=run.notice,
                    handle=handle,
                    place=place,
                    at=world.now,
                    clip=kind,
                    name=name,
                )
            )
            return name

        return await self._ask(create)

    async def _ask(self, effect: Callable[[], Result]) -> Result:
        try:
            return await self._world.send(
                effect, to="discord", late_max_s=60.0, give_up_s=60.0, trouble=self._world.post_trouble
            )
        except (NeverSent, Broken) as error:
            raise PostFailed(str(error)) from None
