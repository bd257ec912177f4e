"""Ways in which programs that sell metered work are known to fail, each turned into a promise that is tested here.

`FAILURES` names them all with their tests. Where a whole bot is quickly had the test goes over TCP; else it is the
core over a real database, with a Runflow and a wall of posts on a script and a clock that jumps.

In one piece, because `FAILURES` is the list of all of them, and is checked to be whole.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from bot import runflow
from bot.domain.limits import OverLimit, Policy, RuleKind, Standing, TooManyInFlight
from bot.domain.models import DURATIONS, RESOLUTIONS, VeoRequest
from bot.domain.money import USD_U, to_micro
from bot.domain.periods import PeriodKind
from bot.domain.prices import PriceTable
from bot.domain.queue import Turn
from bot.domain.records import Accepted, Admin, End, Link, NotSent, Offer, Page, Refused, RunChanges, Unclear, Wanted
from bot.domain.runs import EMPTY_S, Delivery, Ending, Notice, Observation, Run, RunState
from bot.errors import BadRequest, InvariantError, OfferGone, PlaceGone, SettingsError, StoreDown, TooLarge, Unreadable
from bot.facts import Usd
from bot.media import Media
from bot.ports import Provider
from bot.services.administration import Administration
from bot.services.admission import Admission, Answer, AskFirst
from bot.services.delivery import Deliverer
from bot.services.engine import Engine
from bot.settings import PRICES_USD_PER_SECOND as PRICES
from bot.views.account import history, receipt
from bot.views.levels import left_text
from bot.views.runs import card, charge, details, notice, status
from sandbox.runflow import RunflowSandbox
from sandbox.runflow import Switches as RunflowSwitches
from sandbox.runflow.switches import Fault
from storage import Archive, SqliteStore, check_books
from storage.verbs import books
from tests import parts
from tests.harness import API_KEY, ROOT, WAIT_S, Scene, notice_of, read, scene
from tests.money import Inline, Result, dump, store_at, wish
from tests.parts import HandClock, NoDesk, core
from tests.words import refuses, said, shown

FAILURES: dict[str, tuple[str, ...]] = {
    "a limit looked at in one step and counted in another": (
        "test_a_burst_passes_no_limit",
        "test_a_burst_passes_no_number_of_runs_at_a_time",
    ),
    "who was never seen before is not counted": ("test_a_first_wish_opens_its_books_and_is_counted_in_them",),
    "a price cut down to what is left instead of refused": ("test_a_price_above_the_rest_is_refused_whole",),
    "money reserved for ever, until a limit is used up by nothing": ("test_what_was_not_billed_uses_nothing_up",),
    "a way out that forgets to give the reservation back": (
        "test_every_way_out_resolves_the_hold",
        "test_one_function_alone_resolves_holds",
    ),
    "a task that is cancelled where only errors were expected": (
        "test_a_wish_cancelled_at_any_await_is_a_whole_run_or_nothing",
        "test_a_cancelled_wish_spoils_nothing_for_those_beside_it",
    ),
    "money given back that was never taken": (
        "test_what_was_never_held_gives_nothing_back",
        "test_the_books_cannot_hold_less_than_nothing",
    ),
    "a success whose price is missing is free": (
        "test_a_success_without_a_cost_is_charged_as_quoted",
        "test_a_setting_without_a_price_is_not_sold",
    ),
    "no limits while the store of the limits is down": (
        "test_while_the_books_cannot_be_reached_nothing_is_sold",
        "test_a_broken_store_refuses_every_way_to_a_run",
    ),
    "a limit that exists and is asked by nobody": (
        "test_every_limit_of_the_operators_is_felt_in_the_channel",
        "test_every_limit_of_the_admins_is_felt_in_the_channel",
    ),
    "an estimate below the price of a dearer setting, and a balance below zero": (
        "test_every_setting_is_quoted_at_no_less_than_its_bill",
        "test_a_bill_above_its_quote_leaves_nothing_but_never_less",
    ),
    "sums of fractions that drift": (
        "test_three_tenths_are_exactly_spent",
        "test_no_amount_is_a_float_anywhere",
        "test_the_database_takes_whole_amounts_only",
    ),
    "a count that outlives its period": ("test_a_new_period_starts_at_nothing_whatever_is_under_way",),
    "charged for what failed": ("test_a_failed_video_costs_nothing_and_says_so",),
    "given back twice": (
        "test_a_refund_is_given_once_however_many_admins_press",
        "test_a_hold_is_given_back_once_however_many_ends_are_seen",
    ),
    "given back in one of several counts": ("test_all_levels_agree_on_what_is_spent_and_left",),
    "a filtered video taken for a finished one": ("test_a_success_without_a_video_is_told_as_filtered",),
    "our own patience taken for the provider's verdict": ("test_time_alone_ends_no_run_and_frees_no_money",),
    "what is charged is not what was ordered": ("test_whatever_has_a_price_is_part_of_the_order",),
    "a success that came late, told as a failure": ("test_a_late_video_is_delivered_after_all",),
    "one failed look that ends a paid run": ("test_no_failed_look_ends_a_run",),
    "an open order repeated at the start": ("test_an_order_cut_off_by_a_kill_is_not_repeated",),
    "paid work forgotten at a restart": ("test_a_video_made_during_a_kill_is_delivered",),
    "paid, made, and stuck at the posting": (
        "test_a_file_that_discord_refuses_arrives_as_a_link",
        "test_a_video_without_a_place_is_kept",
    ),
    "words of a refund that the books know nothing of": ("test_words_about_money_say_what_the_ledger_says",),
    "the last work done again, or lost, at each start": (
        "test_starts_repeat_nothing",
        "test_a_kill_in_the_middle_of_posting_loses_nothing",
    ),
    "a notification that comes twice counts twice": ("test_a_callback_counts_once_however_often_it_comes",),
    "two processes that both answer": ("test_a_second_bot_on_the_same_books_is_refused",),
}


def test_every_known_failure_has_its_tests() -> None:
    """The list above and the tests below name each other, and each test says what it promises."""
    listed = [name for names in FAILURES.values() for name in names]
    here = {name for name in globals() if name.startswith("test_")} - {"test_every_known_failure_has_its_tests"}
    assert len(FAILURES) == 28
    assert all(FAILURES.values())
    assert sorted(listed) == sorted(here)
    assert all(globals()[name].__doc__ for name in here)


# The core in this process

FOX = "a red fox in falling snow"
PRICE_U = 3_200_000  # of the settings that are not named otherwise
PRICE_TABLE = PriceTable({name: {sort: Decimal(text) for sort, text in each.items()} for name, each in PRICES.items()})
ADA = Admin(server="discord:2", actor="discord:9", name="Ada")
LEVELS = ("total", "server:discord:2", "channel:discord:3", "role:discord:4", "member:discord:1")


class Time(HandClock):
    def __init__(self) -> None:
        super().__init__(1_800_000_000.0)


def seen(run_id: str, ending: Ending | None = None, cost_u: int | None = None) -> Observation:
    """What Runflow says of a run."""
    status = "running" if ending is None else "succeeded"
    return Observation(
        provider_id=f"rf-{run_id}", client_ref=f"veo-{run_id}", status=status, ending=ending, cost_u=cost_u
    )


def accepts(run: Run) -> Accepted | Refused | NotSent | Unclear:
    return Accepted(observation=seen(run.run_id))


def finishes(run: Run) -> Accepted | Refused | NotSent | Unclear:
    return Accepted(observation=seen(run.run_id, Ending.VIDEO, PRICE_U))


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way that a run can take: Runflow's answer to the order, then the end and its bill."""

    answer: Callable[[Run], Accepted | Refused | NotSent | Unclear] = accepts
    ending: Ending | None = None
    cost_u: int | None = None
    later_s: float = 0.0  # that pass while the order has no good answer
    released: bool = False  # by an admin's word

    @property
    def charge_u(self) -> int:
        """What the run is charged by the rules of the product."""
        if self.cost_u is None:
            return PRICE_U if self.ending in (Ending.VIDEO, Ending.PARTIAL, Ending.NSFW, Ending.EMPTY) else 0
        return self.cost_u


UNBILLED = {
    "refused": Way(answer=lambda run: Refused(code="HTTP_402", message="no credit")),
    "failed": Way(ending=Ending.FAILED),
    "failed for nothing": Way(ending=Ending.FAILED, cost_u=0),
    "cancelled": Way(ending=Ending.CANCELLED),
    "never sent": Way(answer=lambda run: NotSent(reason="no route"), later_s=4000.0),
    "released": Way(answer=lambda run: Unclear(reason="HTTP 500"), later_s=200.0, released=True),
    "finished for nothing": Way(ending=Ending.VIDEO, cost_u=0),
}
BILLED = {
    "finished": Way(ending=Ending.VIDEO, cost_u=PRICE_U),
    "finished without a bill": Way(ending=Ending.VIDEO),
    "finished for less": Way(ending=Ending.VIDEO, cost_u=1_000_001),
    "finished for more": Way(ending=Ending.VIDEO, cost_u=2 * PRICE_U),
    "finished in part": Way(ending=Ending.PARTIAL, cost_u=1_600_000),
    "flagged": Way(ending=Ending.NSFW, cost_u=PRICE_U),
    "empty": Way(ending=Ending.EMPTY, cost_u=PRICE_U),
    "failed after work": Way(ending=Ending.FAILED, cost_u=400_000),
    "cancelled after work": Way(ending=Ending.CANCELLED, cost_u=400_000),
}


@dataclass
class Script:
    """Runflow as a test wants it; it may be changed while the engine runs."""

    way: Way = field(default_factory=Way)
    submitted: list[Run] = field(default_factory=list)

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        self.submitted.append(run)
        return self.way.answer(run)

    async def read(self, provider_id: str) -> Observation | None:
        return seen(provider_id.removeprefix("rf-"), self.way.ending, self.way.cost_u)

    async def find(self, client_ref: str) -> list[Observation]:
        return []

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"clip")

    async def link(self, provider_id: str) -> str:
        return "https://files.example/clip.mp4"


@dataclass
class Wall(NoDesk):
    """The front: what was posted, in order. `refusing` is raised for a file."""

    refusing: Exception | None = None
    posts: list[tuple[Run, Path | Link | None]] = field(default_factory=list)

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None: ...

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        if self.refusing is not None and isinstance(clip, Path):
            raise self.refusing
        self.posts.append((run, clip))
        return f"discord:3/{len(self.posts)}"


@dataclass
class Till:
    """The counter, the admins' desk and the engine over one store."""

    admission: Admission
    administration: Administration
    engine: Engine
    deliverer: Deliverer
    store: SqliteStore
    policy: Policy
    script: Script
    wall: Wall
    time: Time
    path: Path

    @property
    def database(self) -> sqlite3.Connection:
        """The store's own connection."""
        return self.store.writer.connection

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What is committed, read beside the store."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, values).fetchall()

    async def ask(self, name: str, **changes: object) -> Run:
        made = await self.admission.ask(wish(name, **changes))
        assert isinstance(made, Run)
        return made

    async def until(self, run: Run, holds: Callable[[Run], bool]) -> Run:
        """Wake the run until its row is as wanted."""
        async with asyncio.timeout(WAIT_S):
            while True:
                row = await self.store.get(run.run_id)
                assert row is not None
                if holds(row):
                    return row
                if row.provider_status == "succeeded" and not row.terminal:  # read again, for a clip may still come
                    self.time.at += EMPTY_S
                await self.engine.wake(run.callback_token, None)
                await asyncio.sleep(0.002)

    async def live(self, name: str, way: Way) -> Run:
        """A run that takes this way to its end and is told."""
        self.script.way = way
        run = await self.ask(name)
        if way.later_s:
            await self.until(run, lambda row: row.posts > 0 and row.state != RunState.SUBMITTING)
            self.time.at += way.later_s
        if way.released:
            await self.until(run, lambda row: row.empty_since is not None)
            self.time.at += way.later_s
            await self.until(run, lambda row: row.state == RunState.UNKNOWN and not row.delivery_open)
            await self.administration.refund(ADA, run.run_id, "nobody can tell")
        return await self.until(run, lambda row: row.terminal and not row.delivery_open)

    async def limit_every_level(self, amount: str) -> None:
        """The same limit on the whole bot, the server, the channel, a role's pool and the member."""
        for scope in LEVELS:
            admin = replace(ADA, server="*") if scope == "total" else ADA
            await self.administration.set_limit(
                admin, scope, RuleKind.LIMIT, amount=amount, period=None, in_flight=None
            )

    async def standings(self) -> list[Standing]:
        return await self.admission.standings(wish("any").spender)


@asynccontextmanager
async def till(
    folder: Path,
    *,
    limit: str = "1000",
    prices: PriceTable = PRICE_TABLE,
    provider: Provider | None = None,
    executor: Executor | None = None,
    running: bool = True,
    confirm_above_u: int = 1000 * USD_U,
    **policy: object,
) -> AsyncIterator[Till]:
    """The core with a limit for each member; afterwards the books are checked."""
    script, wall, time = Script(), Wall(), Time()
    path = folder / "veo.db"
    store = store_at(path, executor)
    rules = Policy(
        member_limit_u=to_micro(Decimal(limit)),
        server_ceiling_u=None,
        total_ceiling_u=None,
        period="month",
        zone=ZoneInfo("UTC"),
        runs_per_member=1000,
    )
    rules = replace(rules, **policy)  # type: ignore[arg-type]  # a test names the fields that matter to it
    services = core(
        store=store,
        archive=Archive(f"sqlite:///{path}"),
        provider=provider or script,
        prices=prices,
        policy=rules,
        clock=time,
        clips=Media(folder / "media", key=b"k" * 32, keep_s=86400.0, public_url=None, now=time.now),
        confirm_above_u=confirm_above_u,
    )
    engine = services.engine
    made = Till(
        services.admission, services.administration, engine, services.deliverer, store, rules, script, wall, time, path
    )
    try:
        if running:
            async with parts.running(engine, wall):
                yield made
        else:
            yield made
    finally:
        await store.close()
    assert check_books(f"sqlite:///{path}") == []


@asynccontextmanager
async def real_runflow(**switches: Any) -> AsyncIterator[tuple[RunflowSandbox, runflow.Runflow]]:
    """The sandbox Runflow and the bot's own client, connected over TCP."""
    async with (
        RunflowSandbox(api_key=API_KEY, switches=RunflowSwitches(clip="stored", **switches)) as box,
        runflow.connect(api_url=box.url, api_key=API_KEY, public_url=None, clip_bytes_max=10**8) as client,
    ):
        yield box, client


def every_setting() -> Iterator[VeoRequest]:
    """Each combination of what has a price."""
    for duration, resolution, audio in product(DURATIONS, RESOLUTIONS, (True, False)):
        yield VeoRequest(prompt=FOX, duration=duration, resolution=resolution, generate_audio=audio)


# Limits


async def test_a_burst_passes_no_limit(tmp_path: Path) -> None:
    """Of twenty wishes in the same moment exactly the five that the limit pays for start."""
    async with scene(tmp_path, runflow={"end": "never"}, QUOTA_USER_USD="16.00") as world:
        asked = await asyncio.gather(*(world.veo(f"fox {number}") for number in range(20)))
        answers = await asyncio.gather(*(each.wait(lambda m: bool(read(m)["content"])) for each in asked))
        assert Counter("and you have" in read(answer)["content"] for answer in answers) == {True: 15, False: 5}
        assert world.rows("SELECT count(*) AS runs FROM run") == [{"runs": 5}]
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 5 * PRICE_U, "spent_u": 0}]


async def test_a_burst_passes_no_number_of_runs_at_a_time(tmp_path: Path) -> None:
    """Of twenty wishes in the same moment no more start than may run at a time."""
    async with till(tmp_path, runs_per_member=5) as bench:
        made = await asyncio.gather(*(bench.ask(str(number)) for number in range(20)), return_exceptions=True)
        assert Counter(map(type, made)) == {Run: 5, TooManyInFlight: 15}


async def test_a_first_wish_opens_its_books_and_is_counted_in_them(tmp_path: Path) -> None:
    """With no row about anybody yet, the first wishes are held against each limit like all later ones."""
    async with till(tmp_path, limit="4.00", server_ceiling_u=5 * PRICE_U, running=False) as bench:
        with pytest.raises(OverLimit):
            await bench.ask("dear", request=VeoRequest(prompt=FOX, resolution="4k"))
        assert bench.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [(0, 0)]
        asked = [bench.ask(f"{who}-{n}", member=f"discord:new-{who}") for who, n in product(range(7), range(2))]
        made = await asyncio.gather(*asked, return_exceptions=True)
        assert Counter(map(type, made)) == {Run: 5, OverLimit: 9}
        held = dict(bench.rows("SELECT scope, held_u FROM budget"))
        assert (held["total"], held["server:discord:2"]) == (5 * PRICE_U, 5 * PRICE_U)
        assert {amount_u for scope, amount_u in held.items() if scope.startswith("member:")} == {0, PRICE_U}


async def test_a_price_above_the_rest_is_refused_whole(tmp_path: Path) -> None:
    """One micro-dollar short is too short: the wish is refused with its full price, and nothing at all is written."""
    async with till(tmp_path, limit="6.399999", running=False) as bench:
        await bench.ask("1")
        before = dump(bench.path)
        with pytest.raises(OverLimit):
            await bench.ask("2")
        assert dump(bench.path) == before


async def test_every_limit_of_the_operators_is_felt_in_the_channel(tmp_path: Path) -> None:
    """What the settings say of member, server, whole bot and runs at a time refuses a `/veo`, each by name."""
    async with scene(
        tmp_path,
        runflow={"end": "never"},
        DISCORD_SERVERS="*",
        QUOTA_USER_USD="4.00",
        QUOTA_GUILD_USD="6.00",
        QUOTA_TOTAL_USD="7.00",
    ) as world:
        lobby = world.discord.world.channel("lobby")
        dana = world.discord.world.member("Dana", lobby.server)
        await world.card(await world.veo(FOX), "In the works")
        assert "over the limit of this server" in await refusal(world)
        assert "you have $0.80 left" in await refusal(world, duration="4s")
        await world.card(await world.discord.invoke(dana, lobby, "veo", {"prompt": FOX}), "In the works")
        cheap = {"prompt": FOX, "duration": "4s", "generate_audio": False}
        answer = await world.answer_to(await world.discord.invoke(dana, lobby, "veo", cheap))
        assert "over the limit of the whole bot" in answer["content"]
        await world.stop()
        await world.start(QUOTA_TOTAL_USD="", QUOTA_RUNS_IN_FLIGHT="1")
        answer = await world.answer_to(await world.discord.invoke(dana, lobby, "veo", cheap))
        assert "You already have a video in the works" in answer["content"]
        assert len(world.runflow.runs) == 2


async def test_every_limit_of_the_admins_is_felt_in_the_channel(world: Scene) -> None:
    """A limit of nothing on any level refuses the very next `/veo`, and only until it is lifted."""
    editors = next(role for role in world.discord.world.servers[0].roles if role.name == "Editors")
    cem = world.member("Cem")
    levels: list[tuple[str, dict[str, Any], str]] = [
        ("limit", {}, "the limit of this server is 0"),
        ("limit", {"channel": world.channel}, f"the limit of <#{world.channel.id}> is 0"),
        ("limit", {"role": editors, "pool": True}, f"the limit of everyone with <@&{editors.id}> together is 0"),
        ("limit", {"role": editors}, "You don't have a budget for videos here"),
        ("limit", {"member": cem}, "You don't have a budget for videos here"),
        ("bot", {}, "the limit of the whole bot is 0"),
    ]
    for group, options, sentence in levels:
        verb = {"limit": ("limit set", "limit lift"), "bot": ("bot limit", "bot lift")}[group]
        await world.act(verb[0], amount="0", **options)
        assert sentence in await refusal(world, member="Cem")
        await world.act(verb[1], **options)
    assert world.rows("SELECT * FROM run") == []
    await world.end_of(await world.veo(FOX, member="Cem"))
    assert len(world.runflow.runs) == 1


async def refusal(world: Scene, **options: Any) -> str:
    return str((await world.answer_to(await world.veo(FOX, **options)))["content"])


# Holds


async def test_what_was_not_billed_uses_nothing_up(tmp_path: Path) -> None:
    """A limit for one run at a time outlives any number of runs that were not billed, whatever became of them."""
    async with till(tmp_path, limit="3.20") as bench:
        for number in range(3):
            for name, way in UNBILLED.items():
                await bench.live(f"{name} {number}", way)
        assert {each.held_u + each.spent_u for each in await bench.standings()} == {0}
        await bench.live("last", BILLED["finished"])
        with pytest.raises(OverLimit):
            await bench.ask("one more")


@pytest.mark.parametrize("name", [*UNBILLED, *BILLED])
async def test_every_way_out_resolves_the_hold(tmp_path: Path, name: str) -> None:
    """However a run ends, each of its holds has one end of its own, and by what was billed."""
    way = (UNBILLED | BILLED)[name]
    async with till(tmp_path) as bench:
        await bench.limit_every_level("100")
        run = await bench.live("1", way)
        assert run.charged_u == way.charge_u
        holds = "SELECT count(*) FROM ledger_entry WHERE kind = 'hold'"
        ends = "SELECT count(*), count(DISTINCT scope) FROM ledger_entry WHERE kind IN ('post', 'void')"
        assert bench.rows(holds) == [(len(LEVELS),)]
        assert bench.rows(ends) == [(len(LEVELS), len(LEVELS))]
        assert bench.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [(0, way.charge_u)]


def test_one_function_alone_resolves_holds() -> None:
    """What is held grows in one statement, shrinks in one, and in one more where nothing was entered for it yet."""
    text = "".join(path.read_text() for path in sources())
    assert sorted(re.findall(r"held_u = held_u - (:\w+)", text)) == [":hold_u", ":price_u"]
    assert text.count("_LET_GO") == 2
    assert len(re.findall(r"held_u = held_u \+ :price_u", text)) == 1
    users = [path.name for path in sources() if "resolve_holds(" in path.read_text()]
    assert sorted(users) == ["books.py", "runs.py"]


class Later(Inline):
    """Runs each job so many turns of the loop later, in order, as a disk does that takes its time."""

    turns = 0

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        if self.turns == 0:
            return super().submit(fn, *args, **kwargs)
        done: Future[Result] = Future()

        def job(left: int) -> None:
            if left:
                asyncio.get_running_loop().call_soon(job, left - 1)
                return
            try:
                done.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - an executor hands every error to its future
                done.set_exception(error)

        job(self.turns)
        return done


@pytest.mark.parametrize("verb", ["ask", "confirm", "approve"])
async def test_a_wish_cancelled_at_any_await_is_a_whole_run_or_nothing(tmp_path: Path, verb: str) -> None:
    """Wherever its task is cancelled, a wish either is a run that goes its way by itself, or left no trace."""
    disk = Later()
    above_u = 0 if verb == "confirm" else 1000 * USD_U
    limit = "3.20" if verb == "approve" else "1000"
    made: list[bool] = []
    async with till(tmp_path, limit=limit, executor=disk, confirm_above_u=above_u) as bench:
        await bench.administration.set_request_channel(ADA, "channel:discord:3")
        if verb == "approve":
            await bench.live("before", BILLED["finished"])
        bench.script.way = replace(BILLED["finished"], answer=finishes)  # at once: no pause passes by itself here
        ((runs,),) = bench.rows("SELECT count(*) FROM run")
        disk.turns = 3
        over = False
        while not over:
            way = await asked(bench, verb, str(len(made)))
            await settled()
            task = asyncio.create_task(way)
            for _ in made:
                await asyncio.sleep(0)
            over = task.done()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            ((written,),) = bench.rows("SELECT count(*) FROM run")
            made.append(written > runs)
            runs = written
            async with asyncio.timeout(WAIT_S):
                while bench.rows("SELECT 1 FROM run WHERE due_at IS NOT NULL"):  # noqa: ASYNC110 - nobody wakes it
                    await asyncio.sleep(0.001)
            assert len(bench.wall.posts) == runs
            assert bench.rows("SELECT sum(held_u) FROM budget") in ([(0,)], [(None,)])
            assert check_books(f"sqlite:///{bench.path}") == []
    assert made == sorted(made), "from some await on it is too late to be nothing"
    assert Counter(made).keys() == {False, True}
    assert sum(made) > 1, "also where its caller never heard of it"


async def settled() -> None:
    """Let the engine come to rest."""
    for _ in range(200):
        await asyncio.sleep(0)


async def asked(bench: Till, verb: str, name: str) -> Any:
    """The way to a run that is not walked yet."""
    if verb == "ask":
        return bench.ask(name)
    if verb == "confirm":
        offer = await bench.admission.ask(wish(name))
        assert isinstance(offer, Offer)
        return bench.admission.confirm(Answer(offer_id=offer.offer_id), "discord:1")
    with pytest.raises(AskFirst) as refused:
        await bench.admission.ask(wish(name))
    return bench.admission.approve(refused.value.offer.offer_id, ADA)


async def test_a_cancelled_wish_spoils_nothing_for_those_beside_it(tmp_path: Path) -> None:
    """Wishes that share a commit with one whose task is gone are answered, and each is written once."""
    disk = Inline()
    async with till(tmp_path, executor=disk, running=False) as bench:
        disk.gather()
        tasks = [asyncio.create_task(bench.ask(str(number))) for number in range(5)]
        await settled()
        tasks[0].cancel()
        tasks[3].cancel()
        await settled()
        disk.go()
        async with asyncio.timeout(WAIT_S):
            made = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in made].count(Run) == 3
        assert bench.rows("SELECT count(*), sum(price_u) FROM run") == [(5, 5 * PRICE_U)]
        assert bench.rows("SELECT DISTINCT held_u FROM budget") == [(5 * PRICE_U,)]
        again = await bench.ask("0")  # whose caller never heard of it: the same wish is the same run
        assert bench.rows("SELECT count(*) FROM run") == [(5,)]
        assert again.origin == "origin-0"


async def test_what_was_never_held_gives_nothing_back(tmp_path: Path) -> None:
    """Questions that were declined, denied or too late, and runs that nobody knows, move no money at all."""
    async with till(tmp_path, limit="4.00", confirm_above_u=4_000_000) as bench:
        await bench.live("1", BILLED["finished"])
        await bench.administration.set_request_channel(ADA, "channel:discord:3")
        before = (await bench.standings(), bench.rows("SELECT * FROM ledger_entry"))
        with pytest.raises(AskFirst) as first:
            await bench.ask("2")
        await bench.admission.deny(first.value.offer.offer_id, ADA)
        with pytest.raises(OfferGone):
            await bench.admission.deny(first.value.offer.offer_id, ADA)
        with pytest.raises(AskFirst) as second:
            await bench.ask("3", request=VeoRequest(prompt=FOX, resolution="4k"))
        bench.time.at += 2 * 86400.0
        with pytest.raises(OfferGone):
            await bench.admission.approve(second.value.offer.offer_id, ADA)
        with pytest.raises(BadRequest):
            await bench.administration.refund(ADA, "no-such-run", "a mistake")
        failed = End(ending=Ending.FAILED)
        with pytest.raises(InvariantError):
            books.resolve_holds(bench.database, "no-such-run", failed, succeeded=False, now=bench.time.at)
        assert (await bench.standings(), bench.rows("SELECT * FROM ledger_entry")) == before


async def test_the_books_cannot_hold_less_than_nothing(tmp_path: Path) -> None:
    """Should everything else fail, the database itself refuses a level below zero and a second end of a hold."""
    async with till(tmp_path) as bench:
        await bench.live("1", UNBILLED["failed"])
    with closing(sqlite3.connect(tmp_path / "veo.db")) as connection:
        for change in ("held_u = held_u - 1", "spent_u = spent_u - 1"):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                connection.execute(f"UPDATE budget SET {change}")
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            connection.execute(
                "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
                "SELECT run_id, scope, period_key, 'post', amount_u, at, actor, reason FROM ledger_entry "
                "WHERE kind = 'void'"
            )


# The store


async def test_while_the_books_cannot_be_reached_nothing_is_sold(world: Scene) -> None:
    """A running bot that loses its database refuses in a sentence, and sells again once it is back."""
    change_schema(world, "ALTER TABLE budget RENAME TO elsewhere")
    try:
        assert "can't reach my records right now, so nothing was started" in await refusal(world)
        assert world.rows("SELECT * FROM run") == []
        assert [each for each in world.runflow.received if each.method == "POST"] == []
    finally:
        change_schema(world, "ALTER TABLE elsewhere RENAME TO budget")
    await world.end_of(await world.veo(FOX))


def change_schema(world: Scene, sql: str) -> None:
    """What an operator should never do beside a running bot."""
    with closing(sqlite3.connect(world.database_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("PRAGMA legacy_alter_table = ON")  # names inside other tables and views stay as they are
        connection.execute(sql)


@pytest.mark.parametrize("fault", ["read-only", "closed"])
async def test_a_broken_store_refuses_every_way_to_a_run(tmp_path: Path, fault: str) -> None:
    """Wish, agreed price, approved request: each is refused as such, and Runflow hears of none."""
    async with till(tmp_path, limit="3.20", confirm_above_u=1_600_000) as bench:
        await bench.administration.set_request_channel(ADA, "channel:discord:3")
        question = await bench.admission.ask(wish("1"))
        assert isinstance(question, Offer)
        with pytest.raises(AskFirst) as refused:
            await bench.admission.ask(wish("2", request=VeoRequest(prompt=FOX, resolution="4k")))
        if fault == "closed":
            bench.database.close()
        else:
            bench.database.execute("PRAGMA query_only = ON")
        cheap = VeoRequest(prompt=FOX, duration="4s", generate_audio=False)
        ways = (
            bench.admission.ask(wish("3")),
            bench.admission.ask(wish("4", request=cheap)),
            bench.admission.confirm(Answer(offer_id=question.offer_id), "discord:1"),
            bench.admission.approve(refused.value.offer.offer_id, ADA),
        )
        for way in ways:
            with pytest.raises(StoreDown, match=r"store\.down"):
                await way
        assert bench.script.submitted == []
        assert bench.rows("SELECT * FROM run") == []
        assert bench.rows("SELECT * FROM ledger_entry") == []


# Prices


async def test_a_success_without_a_cost_is_charged_as_quoted(tmp_path: Path) -> None:
    """A figure that is missing makes nothing free, and a limit counts it."""
    async with till(tmp_path, limit="3.20") as bench:
        run = await bench.live("1", Way(ending=Ending.VIDEO, cost_u=None))
        assert (run.cost_u, run.charged_u) == (None, PRICE_U)
        assert said(charge(run)).startswith("$3.20 charged, as quoted")
        with pytest.raises(OverLimit):
            await bench.ask("2", request=VeoRequest(prompt=FOX, duration="4s", generate_audio=False))


@pytest.mark.parametrize("prices", [{}, {"silent": "0.40"}, {"silent": "0.40", "audio": "0"}, {"audio": "0.60"}])
def test_a_setting_without_a_price_is_not_sold(prices: dict[str, str]) -> None:
    """The bot does not start with a price table in which anything that can be asked for is missing or free."""
    table = {name: {sort: Decimal(text) for sort, text in each.items()} for name, each in PRICES.items()}
    assert PriceTable(table).quote(VeoRequest(prompt=FOX, resolution="4k")) > 0
    table["4k"] = {sort: Decimal(text) for sort, text in prices.items()}
    with refuses(SettingsError, "PRICE_USD_PER_SECOND"):
        PriceTable(table)


async def test_every_setting_is_quoted_at_no_less_than_its_bill(tmp_path: Path) -> None:
    """For each combination that members can choose, what is held covers what Runflow takes for it."""
    async with real_runflow() as (box, client), till(tmp_path, provider=client) as bench:
        settings = list(every_setting())
        assert len(settings) == len(DURATIONS) * len(RESOLUTIONS) * 2
        for number, request in enumerate(settings):
            run = await bench.ask(str(number), request=request)
            ended = await bench.until(run, lambda row: row.terminal and not row.delivery_open)
            assert ended.cost_u is not None
            assert 0 < ended.cost_u <= ended.price_u, request
        billed = sum((each.charged for each in box.runs.values()), Decimal(0))
        assert bench.rows("SELECT DISTINCT spent_u FROM budget") == [(to_micro(billed),)]
        assert bench.rows("SELECT * FROM ledger_entry WHERE kind = 'adjust'") == []  # nothing was above its hold


async def test_a_bill_above_its_quote_leaves_nothing_but_never_less(tmp_path: Path) -> None:
    """What Runflow takes beyond the quote counts in full, shows a rest of zero, and lets nothing more through."""
    async with till(tmp_path, limit="5.00") as bench:
        run = await bench.live("1", BILLED["finished for more"])
        (*_, own) = await bench.standings()
        assert (run.charged_u, own.spent_u, own.left_u) == (6_400_000, 6_400_000, 0)
        assert said(left_text(own)) == "nothing left this month"
        with pytest.raises(OverLimit):
            await bench.ask("2", request=VeoRequest(prompt=FOX, duration="4s", generate_audio=False))


async def test_three_tenths_are_exactly_spent(tmp_path: Path) -> None:
    """Three times $0.10 is $0.30 to the last digit, and a bill of many digits is rounded once and then exact."""
    tenth = PriceTable({name: dict.fromkeys(("silent", "audio"), Decimal("0.0125")) for name in RESOLUTIONS})
    async with till(tmp_path, limit="0.30", prices=tenth) as bench:
        for number in range(3):
            assert (await bench.live(str(number), BILLED["finished without a bill"])).charged_u == 100_000
        (*_, own) = await bench.standings()
        assert (own.spent_u, own.left_u) == (300_000, 0)
        with pytest.raises(OverLimit):
            await bench.ask("4")
    bill = '{"id":"0198c0de-7a11-7c3e-8f00-000000000001","status_code":"failed","cost":"0.00054999999999995"}'
    record = runflow.observe(json.loads(bill))
    assert record is not None
    assert record.cost_u == 550


def sources() -> list[Path]:
    """The program's own files, in order."""
    return sorted(path for name in ("bot", "cogs", "storage") for path in (ROOT / name).rglob("*.py"))


def test_no_amount_is_a_float_anywhere() -> None:
    """In the whole program no name of an amount is typed as a float, divided, or multiplied by a fraction."""
    found = [f"{path.name}:{fault}" for path in sources() for fault in float_money(path.read_text())]
    assert found == []
    for fault in ("a_u: float = 1", "b = a_u / 2", "b = 0.5 * run.a_u", "def f(a_u: float): ...", "b = float(a_u)"):
        assert len(list(float_money(fault))) == 1, fault
    assert len(list(float_money("SHARE = 0.8\nb = SHARE * (a_u or 0)"))) == 1
    assert list(float_money("b_u: int = 100 * a_u // 3\nwait_s: float = 0.5 * 2")) == []


def float_money(text: str) -> Iterator[str]:
    """Where an amount meets a float: line and code."""
    tree = ast.parse(text)
    fractions = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and _is_float(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if name.endswith("_u"):
                bad = "float" in ast.unparse(annotation)
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if name.endswith("_u"):
                bad = "float" in ast.unparse(annotation)
            case ast.BinOp(op=ast.Div()):
                bad = _has_money(node)
            case ast.BinOp():
                named = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                bad = _has_money(node) and (any(map(_is_float, ast.walk(node))) or bool(named & fractions))
            case ast.Call(func=ast.Name(id="float")):
                bad = _has_money(node)
            case _:
                continue
        if bad:
            yield f"{node.lineno}: {ast.unparse(node)}"


def _is_float(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, float)


def _has_money(node: ast.AST) -> bool:
    names = (each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in ast.walk(node))
    return any(name.endswith("_u") for name in names)


async def test_the_database_takes_whole_amounts_only(tmp_path: Path) -> None:
    """Every column of an amount is an integer in a strict table, so a fraction cannot be stored."""
    async with till(tmp_path) as bench:
        await bench.live("1", BILLED["finished"])
        await bench.administration.set_limit(ADA, LEVELS[-1], RuleKind.LIMIT, amount="5", period="day", in_flight=None)
    amounts = 0
    with closing(sqlite3.connect(tmp_path / "veo.db")) as connection:
        tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'").fetchall()
        for table, strict in tables:
            for column, kind in connection.execute("SELECT name, type FROM pragma_table_info(?)", [table]).fetchall():
                if not column.endswith("_u"):
                    continue
                amounts += 1
                assert (strict, kind) == (1, "INTEGER"), f"{table}.{column}"
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() != (0,)
                with pytest.raises(sqlite3.IntegrityError, match=r"cannot store REAL|never changed"):
                    connection.execute(f"UPDATE {table} SET {column} = 0.5")
    assert amounts >= 8


# Periods


@pytest.mark.parametrize("kind", get_args(PeriodKind))
async def test_a_new_period_starts_at_nothing_whatever_is_under_way(tmp_path: Path, kind: PeriodKind) -> None:
    """A run asked for before the reset is charged there, and after the reset the whole limit can be spent at once."""
    async with till(tmp_path, limit="3.20", period=kind) as bench:
        bench.script.way = Way()
        period = bench.policy.period_of(kind, bench.time.at)
        bench.time.at = period.resets_at - 1.0
        old = await bench.until(await bench.ask("old"), lambda row: row.state == RunState.RUNNING)
        with pytest.raises(OverLimit):
            await bench.ask("too much")
        bench.time.at = period.resets_at
        assert {(each.held_u, each.spent_u, each.left_u) for each in await bench.standings()} >= {(0, 0, PRICE_U)}
        new = await bench.ask("new")
        bench.script.way = BILLED["finished"]
        for run in (old, new):
            await bench.until(run, lambda row: row.terminal and not row.delivery_open)
        following = bench.policy.period_of(kind, bench.time.at)
        assert following.key != period.key
        assert bench.rows("SELECT period_key, spent_u FROM budget WHERE scope LIKE 'member:%' ORDER BY 1") == [
            (period.key, PRICE_U),
            (following.key, PRICE_U),
        ]
        with pytest.raises(OverLimit):
            await bench.ask("too much again")


# What was charged, given back and said


async def test_a_failed_video_costs_nothing_and_says_so(tmp_path: Path) -> None:
    """The whole price is free again, the channel hears that there is no video, the card that nothing was charged."""
    async with scene(tmp_path, QUOTA_USER_USD="3.20") as world:
        for marker in ("failed", "errored", "cancelled"):
            interaction = await world.veo(f"{FOX} [{marker}]")
            assert (await world.end_of(interaction))["content"].endswith(", your video couldn't be made.")
            assert "\nNothing was charged · " in await world.card(interaction, "harged")
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": 0}]


async def test_a_refund_is_given_once_however_many_admins_press(tmp_path: Path) -> None:
    """Of ten refunds of one run in the same moment one is carried out, and the others are told."""
    async with till(tmp_path, limit="3.20") as bench:
        run = await bench.live("1", BILLED["finished"])
        admins = [replace(ADA, actor=f"discord:{number}") for number in range(10)]
        given = await asyncio.gather(
            *(bench.administration.refund(admin, run.run_id, "upside down") for admin in admins),
            return_exceptions=True,
        )
        assert Counter(map(type, given)) == {Run: 1, OfferGone: 9}
        assert bench.rows("SELECT kind, amount_u FROM ledger_entry WHERE act_id IS NOT NULL") == [("refund", PRICE_U)]
        (*_, own) = await bench.standings()
        assert (own.granted_u, own.left_u) == (PRICE_U, PRICE_U)


async def test_a_hold_is_given_back_once_however_many_ends_are_seen(tmp_path: Path) -> None:
    """An admin's word and several readings of the end, all at once, make one end with one void on each level."""
    async with till(tmp_path, limit="9.60", running=False) as bench:
        await bench.ask("still held")
        seen_running, unknown = [await begun(bench, name) for name in ("failed", "unknown")]
        end = End(ending=Ending.FAILED, cost_u=0)
        ended = await asyncio.gather(*(bench.store.settle(seen_running, end, now=bench.time.at) for _ in range(5)))
        assert Counter(map(type, ended)) == {Run: 1, type(None): 4}
        unclear = await bench.store.advance(unknown, RunState.UNKNOWN, now=bench.time.at, changes={})
        assert unclear is not None
        released = await asyncio.gather(
            *(bench.administration.refund(ADA, unknown.run_id, "nobody can tell") for _ in range(5)),
            return_exceptions=True,
        )
        assert Counter(map(type, released)) == {Run: 1, BadRequest: 4}
        assert await bench.store.advance(unclear, RunState.RUNNING, now=bench.time.at, changes={}) is None
        voids = "SELECT run_id, scope, count(*) FROM ledger_entry WHERE kind = 'void' GROUP BY 1, 2"
        assert {count for _, _, count in bench.rows(voids)} == {1}
        assert bench.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [(PRICE_U, 0)]


async def begun(bench: Till, name: str) -> Run:
    """A run that Runflow has, as one of several readers sees it."""
    submitting = await bench.store.begin_submit(await bench.ask(name), now=bench.time.at, total_max=10)
    assert submitting is not None
    changes: RunChanges = {"provider_id": f"rf-{name}"}
    moved = await bench.store.advance(submitting, RunState.RUNNING, now=bench.time.at, changes=changes)
    assert moved is not None
    return moved


async def test_all_levels_agree_on_what_is_spent_and_left(tmp_path: Path) -> None:
    """After ends of every kind each level from the whole bot to the member shows the same: spent and left make all."""
    async with till(tmp_path) as bench:
        await bench.limit_every_level("100")
        for name, way in (UNBILLED | BILLED).items():
            await bench.live(name, way)
            spent_u = sum(run.charged_u for run in await bench.store.history(Wanted(member="discord:1"), 100))
            standings = await bench.standings()
            assert [each.scope for each in standings] == list(LEVELS)
            assert {(each.held_u, each.spent_u, each.left_u) for each in standings} == {
                (0, spent_u, 100 * USD_U - spent_u)
            }, name
        assert spent_u == sum(way.charge_u for way in BILLED.values())


async def test_a_success_without_a_video_is_told_as_filtered(tmp_path: Path) -> None:
    """Empty, missing or flagged: never shown as ready, charged what Runflow took, told what to try."""
    sentences = {
        "empty": "usually a content filter",
        "missing": "usually a content filter",
        "nsfw": "flagged as not safe for work, so I can't show it",
    }
    async with real_runflow() as (box, client), till(tmp_path, provider=client) as bench:
        for name, sentence in sentences.items():
            run = await bench.ask(name, request=VeoRequest(prompt=f"{FOX} [{name}]"))
            ended = await bench.until(run, lambda row: row.terminal and not row.delivery_open)
            (told, clip) = bench.wall.posts[-1]
            assert (told.run_id, clip) == (run.run_id, None)
            assert shown(notice(told, PRICE_TABLE, link=None, lost=False)).endswith("your video couldn't be made.")
            text = shown(details(ended, PRICE_TABLE, own=True))
            assert sentence in text
            assert "Try other words" in text
            assert ended.charged_u == to_micro(list(box.runs.values())[-1].charged)
        assert len(bench.wall.posts) == len(sentences)


async def test_time_alone_ends_no_run_and_frees_no_money(tmp_path: Path) -> None:
    """A run that is late by a year and one whose order had no answer stay open, held and charged nothing."""
    async with till(tmp_path) as bench:
        bench.script.way = Way()
        late = await bench.until(await bench.ask("late"), lambda row: row.state == RunState.RUNNING)
        bench.script.way = Way(answer=lambda run: Unclear(reason="no answer within 60 s"))
        unclear = await bench.until(await bench.ask("unclear"), lambda row: row.state == RunState.AMBIGUOUS)
        bench.time.at += 86400.0
        await bench.until(unclear, lambda row: row.empty_since is not None)  # one empty answer says nothing
        for days in (1, 30, 365):
            bench.time.at += days * 86400.0
            for run in (late, unclear):
                await bench.until(run, lambda row: row.delivery == Delivery.DELIVERED and row.tries > 1)
        states = [(await bench.store.get(run.run_id)) for run in (late, unclear)]
        assert [run and run.state for run in states] == [RunState.RUNNING, RunState.UNKNOWN]
        assert [run and run.notice for run in states] == [Notice.OVERDUE, Notice.UNKNOWN]
        assert bench.rows("SELECT DISTINCT kind FROM ledger_entry") == [("hold",)]
        assert bench.rows("SELECT held_u, spent_u FROM budget WHERE scope = 'total'") == [(2 * PRICE_U, 0)]
        assert len(bench.script.submitted) == 2


async def test_whatever_has_a_price_is_part_of_the_order(tmp_path: Path) -> None:
    """Length, size and sound stand in each order as they were quoted, also where they are what Runflow would assume."""
    async with real_runflow(end="never") as (box, client), till(tmp_path, provider=client) as bench:
        for number, request in enumerate(every_setting()):
            run = await bench.ask(str(number), request=request)
            await bench.until(run, lambda row: row.state == RunState.RUNNING)
            ordered = list(box.runs.values())[-1].input
            assert (ordered["duration"], ordered["resolution"], ordered["generate_audio"]) == (
                request.duration,
                request.resolution,
                request.generate_audio,
            )


async def test_a_late_video_is_delivered_after_all(tmp_path: Path) -> None:
    """Told as late once, then posted with its clip and charged once, however long it took."""
    async with till(tmp_path) as bench:
        bench.script.way = Way()
        run = await bench.until(await bench.ask("1"), lambda row: row.state == RunState.RUNNING)
        bench.time.at += 30 * 86400.0
        await bench.until(run, lambda row: row.overdue and row.delivery == Delivery.DELIVERED)
        bench.script.way = BILLED["finished"]
        ended = await bench.until(run, lambda row: row.terminal and not row.delivery_open)
        assert [(told.notice, clip is not None) for told, clip in bench.wall.posts] == [
            (Notice.OVERDUE, False),
            (Notice.RESULT, True),
        ]
        assert (ended.state, ended.charged_u) == (RunState.SUCCEEDED, PRICE_U)


@pytest.mark.parametrize("fault", [each for each in get_args(Fault) if each not in ("", "timeout")])
async def test_no_failed_look_ends_a_run(tmp_path: Path, fault: str) -> None:
    """Whatever a look at a run meets, an error, a cut line or half an answer, the run stays and is delivered later."""
    async with (
        real_runflow(read=fault, read_fault_times=1_000_000) as (box, client),
        till(tmp_path, provider=client) as bench,
    ):
        run = await bench.ask("1")
        tried = await bench.until(run, lambda row: row.tries >= 5)
        assert tried.state == RunState.RUNNING
        assert bench.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [(PRICE_U, 0)]
        with pytest.raises(Unreadable):
            await client.read(str(tried.provider_id))
        box.switches.read = ""
        ended = await bench.until(run, lambda row: row.terminal and not row.delivery_open)
        assert (ended.ending, ended.charged_u, len(box.runs)) == (Ending.VIDEO, PRICE_U, 1)


def money(amount_u: int) -> str:
    return said("is", fact=Usd(amount_u))


async def test_words_about_money_say_what_the_ledger_says(tmp_path: Path) -> None:
    """Card, receipt and history name exactly what the entries of the run add up to, for every way to an end."""
    async with till(tmp_path) as bench:
        bench.script.way = Way()
        held = await bench.until(await bench.ask("held"), lambda row: row.state == RunState.RUNNING)
        assert "$3.20 on hold, nothing charged yet." in shown(receipt(held))
        assert "$3.20 on hold" in shown(history(Page(runs=[held]), Wanted(member="")))
        for name, way in (UNBILLED | BILLED).items():
            run = await bench.live(name, way)
            ((booked_u,),) = bench.rows(
                "SELECT coalesce(sum(amount_u), 0) FROM ledger_entry WHERE kind IN ('post', 'adjust') "
                "AND scope = 'member:discord:1' AND run_id = ?",
                run.run_id,
            )
            private = (
                card(run, await bench.standings(), PRICE_TABLE),
                details(run, PRICE_TABLE, own=True),
                receipt(run),
            )
            for text in map(shown, private):
                assert (f"{money(booked_u)} charged" in text) == (booked_u > 0), text
                assert ("Nothing was charged" in text) == (booked_u == 0), text
            assert (money(booked_u) if booked_u else "not charged") in shown(
                history(Page(runs=[run]), Wanted(member=""))
            )
            assert "refunded" not in shown(receipt(run))
            if booked_u:
                back = await bench.administration.refund(ADA, run.run_id, "upside down")
                assert f", {money(booked_u)} refunded by an admin" in shown(receipt(back))
                refunds = "SELECT amount_u FROM ledger_entry WHERE kind = 'refund' AND run_id = ?"
                assert bench.rows(refunds, run.run_id) == [(booked_u,)]


# Restarts, posts and callbacks

NONCE_LIFE_S = 600.0  # beyond it Discord itself notices no repeated post


def orders(world: Scene) -> Counter[str]:
    """How often each run was ordered at Runflow."""
    return Counter({str(run.client_ref): run.posts for run in world.runflow.runs.values()})


def uploads(world: Scene) -> int:
    """How often a message was posted in the channel, whatever became of it."""
    path = f"/channels/{world.channel.id}/messages"
    return sum((each.method, each.path) == ("POST", path) for each in world.discord.requests)


async def quiet(world: Scene) -> None:
    """Wait until no run has anything left to do."""
    async with asyncio.timeout(WAIT_S):
        while world.rows("SELECT 1 FROM run WHERE due_at IS NOT NULL"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


def one_of_each(world: Scene) -> None:
    """One order, one charge, one post."""
    assert list(orders(world).values()) == [1]
    assert len(world.posts()) == 1
    assert notice_of(world.posts()[0])
    assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": PRICE_U}]


async def test_an_order_cut_off_by_a_kill_is_not_repeated(tmp_path: Path) -> None:
    """Killed between the order and its answer, the bot finds at its next start what was bought, and buys no more."""
    async with scene(tmp_path) as world:
        world.runflow.switches.reply_delay_s = 30.0
        await world.veo(FOX)
        async with asyncio.timeout(WAIT_S):
            while not world.runflow.runs:  # noqa: ASYNC110 - the sandbox has no signal for it
                await asyncio.sleep(0.01)
        assert world.rows("SELECT state, provider_id FROM run") == [{"state": "submitting", "provider_id": None}]
        await world.kill()
        world.runflow.switches.reply_delay_s = 0.0
        await world.start()
        await quiet(world)
        one_of_each(world)


async def test_a_video_made_during_a_kill_is_delivered(tmp_path: Path) -> None:
    """Finished while no bot was there and its callback lost for good, it is in the channel after the next start."""
    async with scene(tmp_path, runflow={"end": "never", "callback_lost": True}) as world:
        await world.card(await world.veo(FOX), "In the works")
        await world.kill()
        await world.runflow.finish(next(iter(world.runflow.runs)), end="succeeded")
        await world.start()
        await quiet(world)
        one_of_each(world)
        assert len(world.posts()[0]["attachments"]) == 1


async def test_a_file_that_discord_refuses_arrives_as_a_link(tmp_path: Path) -> None:
    """Refused as too large after all was paid, the video is one message with a link, and shown again on demand."""
    sizes = {"upload_limit": 1000, "announced_upload_limit": 10_000_000}
    async with scene(tmp_path, discord=sizes) as world:
        interaction = await world.veo(FOX)
        message = await world.end_of(interaction)
        run_id = await world.run_id(interaction)
        assert "/media/" in message["content"]
        assert message["attachments"] == []
        await quiet(world)
        one_of_each(world)
        assert f"veo-{run_id}.mp4" in (await world.shown(run=run_id))["content"]
        assert list(orders(world).values()) == [1]


async def test_a_video_without_a_place_is_kept(tmp_path: Path) -> None:
    """Where its channel is gone, or takes no file and no link either, the clip can still be had by its run."""
    async with till(tmp_path) as bench:
        bench.wall.refusing = PlaceGone()
        run = await bench.live("1", BILLED["finished"])
        assert (run.delivery, run.charged_u) == (Delivery.UNDELIVERABLE, PRICE_U)
        assert "`/veo-show` tries again" in "\n".join(map(said, status(run)))
        async with bench.deliverer.shown(run, None) as path:
            assert path is not None
            assert path.read_bytes() == b"clip"
        bench.wall.refusing = TooLarge()
        linked = await bench.live("2", BILLED["finished"])
        assert linked.delivery == Delivery.DELIVERED
        assert [clip for _, clip in bench.wall.posts] == [Link(url="https://files.example/clip.mp4", expires_at=None)]
        assert len(bench.script.submitted) == 2


async def test_starts_repeat_nothing(world: Scene) -> None:
    """What was delivered is neither ordered, posted nor charged again, however often the bot is killed and started."""
    await world.end_of(await world.veo(FOX))
    await quiet(world)
    for _ in range(2):
        await world.kill()
        world.discord.clock.advance(NONCE_LIFE_S)
        await world.start()
        await quiet(world)
    one_of_each(world)
    assert uploads(world) == 1


async def test_a_kill_in_the_middle_of_posting_loses_nothing(world: Scene) -> None:
    """Killed while Discord had not answered the post yet, the bot posts at its next start what is not there."""
    world.discord.fault("POST", f"/channels/{world.channel.id}/messages", status=503, delay_s=30)
    await world.veo(FOX)
    async with asyncio.timeout(WAIT_S):
        while uploads(world) == 0:  # noqa: ASYNC110 - the sandbox has no signal for it
            await asyncio.sleep(0.01)
    assert world.rows("SELECT delivery FROM run") == [{"delivery": "sending"}]
    assert world.posts() == []
    await world.kill()
    await world.start()
    await quiet(world)
    one_of_each(world)


async def test_a_callback_counts_once_however_often_it_comes(tmp_path: Path) -> None:
    """Ten at once and three long after the end make one charge, one order and one post."""
    async with scene(tmp_path, runflow={"callback_duplicates": 9, "callback_concurrent": True}) as world:
        await world.end_of(await world.veo(FOX))
        await world.runflow.idle()
        await quiet(world)
        (run,) = world.runflow.runs.values()
        before = world.rows("SELECT * FROM ledger_entry")
        world.discord.clock.advance(NONCE_LIFE_S)
        for _ in range(3):
            assert await redelivered(world, run.id) == 202
        await quiet(world)
        assert world.rows("SELECT * FROM ledger_entry") == before
        one_of_each(world)
        assert uploads(world) == 1


async def redelivered(world: Scene, run_id: str) -> int:
    """The status with which the bot takes one more copy of a run's callback."""
    import aiohttp

    from sandbox.runflow.callbacks import sign
    from tests.harness import SECRET

    url = world.runflow.runs[run_id].callback_url
    assert url is not None
    body = json.dumps({"event": "run.completed", "run_id": run_id, "status": "succeeded"}).encode()
    headers = {"Runflow-Signature": sign(SECRET, body)}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as reply:
        return reply.status


async def test_a_second_bot_on_the_same_books_is_refused(world: Scene) -> None:
    """It stops with a sentence before it answers anybody, and the first goes on as if nothing had been."""
    identified, _ = world.discord.gateway_counts
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "run",
        cwd=world.folder,
        env=world.environment | {"WEB_PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WAIT_S):
        output, _ = await second.communicate()
    assert second.returncode == 2
    assert b"is in use by process" in output
    assert world.discord.gateway_counts[0] == identified
    await world.end_of(await world.veo(FOX))
    await quiet(world)
    one_of_each(world)
