"""What every store promises (`bot.ports.Store`), and what the SQLite one promises beside it.

A second store joins the contract by one more entry in `SHELVES`.

In one piece, because it is one contract: a store passes all of it or is none.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import random
import re
import secrets
import sqlite3
import string
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from bot.domain.limits import EVERYWHERE, Level, OverLimit, Rule, RuleKind, Rules, Spender, Standing, TooManyInFlight
from bot.domain.models import DURATIONS, RESOLUTIONS, SEED_MAX, VeoRequest
from bot.domain.periods import Period
from bot.domain.records import Act, Change, Choice, End, NewRun, Offer, OfferKind, RunChanges, Sweep, Wanted, Woken
from bot.domain.runs import IN_FLIGHT, MOVES, STATE_OF_ENDING, TERMINAL, Delivery, Ending, Notice, Run, RunState
from bot.errors import InvariantError, NotAllowed, StoreDown
from bot.ports import Store
from storage import SqliteStore, check_books, open_store
from storage.dialect import Transaction
from storage.sqlite.writer import Writer
from tests.money import PRICE_U, Dump, Inline, dump, empty_books, home, lift_rule, new_run, only_opened, put_rule

S = RunState
NOVEMBER = Period(kind="month", key="2026-11", starts_at=0.0, resets_at=1000.0)
DECEMBER = Period(kind="month", key="2026-12", starts_at=1000.0, resets_at=2000.0)
TODAY = Period(kind="day", key="2026-11-22", starts_at=0.0, resets_at=33.0)
TOMORROW = Period(kind="day", key="2026-11-23", starts_at=33.0, resets_at=66.0)
BO = Spender(member="bo", server="1", channel="11", roles=("99", "100"))
ACT = Act(at=9.0, server="1", actor="ada", actor_name="Ada", verb="grant", subject="member:bo", reason="a good reason")


class Ledger(Store, Protocol):
    """Both ports of the one store."""


class Shelf(Protocol):
    """One kind of store in one place, and what a test must see of it from outside."""

    def open(self, executor: Executor) -> Ledger:
        """The store, opened or opened again; `executor` runs its transactions."""
        ...

    async def close(self, store: Ledger) -> None: ...

    def dump(self) -> Dump:
        """Every committed row of every table, read beside the store."""
        ...

    def audit(self) -> list[str]:
        """One line for each broken invariant."""
        ...


class SqliteShelf:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "veo.db"
        self.url = f"sqlite:///{self.path}"
        self.path.write_bytes(empty_books())

    def open(self, executor: Executor) -> Ledger:
        return open_store(self.url, executor=executor)

    async def close(self, store: Ledger) -> None:
        assert isinstance(store, SqliteStore)
        await store.close()

    def dump(self) -> Dump:
        return dump(self.path)

    def audit(self) -> list[str]:
        return check_books(self.url)


SHELVES: dict[str, Callable[[Path], Shelf]] = {"sqlite": SqliteShelf}


def member_level(
    member: str = "bo", limit_u: int | None = None, period: Period = NOVEMBER, in_flight_max: int | None = None
) -> Level:
    return Level(scope=f"member:{member}", period=period, limit_u=limit_u, in_flight_max=in_flight_max)


def total_level(limit_u: int | None = None, period: Period = NOVEMBER) -> Level:
    return Level(scope="total", period=period, limit_u=limit_u)


def wish(name: str = "1", *, price_u: int = PRICE_U, now: float = 0.0, **changes: object) -> NewRun:
    """A run of Bo's that is ready for the books, everything about it named after `name`."""
    place = {"member": "bo", "server": "1", "channel": "a thread", "budget_channel": "11", "roles": BO.roles}
    return new_run(name, price_u=price_u, now=now, **{**place, **changes})


@pytest.fixture(params=SHELVES)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    return SHELVES[request.param](tmp_path)


@pytest.fixture
def thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


@pytest.fixture
async def store(shelf: Shelf, thread: ThreadPoolExecutor) -> AsyncIterator[Ledger]:
    """An open store, whose books balance when the test is over."""
    opened = shelf.open(thread)
    yield opened
    await shelf.close(opened)
    assert shelf.audit() == []


async def admitted(store: Ledger, name: str = "1", *levels: Level, **changes: Any) -> Run:
    return await store.admit(wish(name, **changes), lambda _: list(levels or [member_level()]))


async def running(store: Ledger, name: str = "1", *levels: Level, **changes: object) -> Run:
    """A run that Runflow has under the id `job-<name>`."""
    run = await store.begin_submit(await admitted(store, name, *levels, **changes), now=1.0, total_max=1000)
    assert run is not None
    moved = await store.advance(run, S.RUNNING, now=2.0, changes=RunChanges(provider_id=f"job-{name}", due_at=5.0))
    assert moved is not None
    return moved


async def ended(store: Ledger, name: str = "1", end: End | None = None, **changes: object) -> Run:
    run = await store.settle(await running(store, name, **changes), end or End(ending=Ending.VIDEO), now=3.0)
    assert run is not None
    return run


async def stand(store: Ledger, level: Level) -> Standing:
    """Where a level stands."""
    (standing,) = await store.standings(BO, lambda _: [level])
    return standing


async def books(store: Ledger, level: Level) -> tuple[int, int]:
    """What is held and spent on a level."""
    standing = await stand(store, level)
    return standing.held_u, standing.spent_u


class TestAdmission:
    @given(
        request_=st.builds(
            VeoRequest,
            prompt=st.text(string.printable + "狐🦊\0'\"é"),
            duration=st.sampled_from(DURATIONS),
            resolution=st.sampled_from(RESOLUTIONS),
            aspect_ratio=st.sampled_from(("16:9", "9:16")),
            generate_audio=st.booleans(),
            negative_prompt=st.none() | st.text(string.printable),
            seed=st.none() | st.integers(0, SEED_MAX),
            auto_fix=st.booleans(),
            safety_tolerance=st.sampled_from(("1", "6")),
        ),
        reply=st.sampled_from([(None, None), ("address", 900.5)]),
        limits=st.tuples(*[st.none() | st.integers(1, 2**40)] * 2),
        locales=st.tuples(*[st.sampled_from([None, "de", "pt-BR"])] * 2),
        can_post=st.booleans(),
        name=st.text(string.printable + "狐🦊\0'\"é"),
        roles=st.lists(st.integers(0, 2**63).map("discord:{}".format), unique=True).map(tuple),
    )
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_a_wish_is_kept_word_for_word(
        self,
        shelf: Shelf,
        request_: VeoRequest,
        reply: tuple[str | None, float | None],
        limits: tuple[int | None, int | None],
        locales: tuple[str | None, str | None],
        can_post: bool,
        name: str,
        roles: tuple[str, ...],
    ) -> None:
        """Whatever was asked for is read back as it was, by another opening of the same books."""
        new = wish(
            secrets.token_hex(8),
            request=request_,
            member_name=name,
            roles=roles,
            reply_to=reply[0],
            reply_until=reply[1],
            upload_limit_bytes=limits[0],
            post_limit_bytes=limits[1],
            locale=locales[0],
            place_locale=locales[1],
            can_post=can_post,
            now=7.25,
        )
        first = shelf.open(Inline())
        run = await first.admit(new, lambda _: [member_level()])
        await shelf.close(first)
        second = shelf.open(Inline())
        assert await second.get(run.run_id) == run
        await shelf.close(second)
        for each in fields(new.wish):
            assert getattr(run, each.name) == getattr(new.wish, each.name)
        assert (run.run_id, run.price_u, run.callback_token) == (new.run_id, new.price_u, new.callback_token)
        assert (run.reply_to, run.reply_until) == reply
        assert (run.upload_limit_bytes, run.post_limit_bytes, run.can_post) == (*limits, can_post)
        assert run.created_at == run.state_at == run.due_at == 7.25
        assert (run.state, run.delivery, run.charged_u, run.refunded_u) == (S.RESERVED, Delivery.NONE, 0, 0)
        assert (run.tries, run.posts, run.cost_u, run.ending, run.notice) == (0, 0, None, None, None)

    async def test_half_a_character_is_kept_too(self, store: Ledger) -> None:
        """A prompt that was cut in the middle of an emoji is no reason to fail: it is read back as it came."""
        cut = VeoRequest(prompt="a red fox \ud83e", negative_prompt="\udd8a")
        run = await admitted(store, "1", request=cut)
        assert run.request == cut
        assert await store.get(run.run_id) == run

    async def test_a_new_member_gets_books_with_the_first_hold(self, store: Ledger, shelf: Shelf) -> None:
        """A level that nobody used yet stands at nothing, is not written by reading, and holds the price after it."""
        level, before = member_level(limit_u=3 * PRICE_U), shelf.dump()
        standing = await stand(store, level)
        assert standing == Standing(scope=level.scope, period=NOVEMBER, limit_u=3 * PRICE_U, held_u=0, spent_u=0)
        assert shelf.dump() == before
        await admitted(store, "1", level)
        assert await stand(store, level) == replace(standing, held_u=PRICE_U)

    async def test_the_same_origin_gives_the_same_run(self, store: Ledger, shelf: Shelf) -> None:
        """A wish that arrives twice makes one run and one hold, even where limits or bars would refuse a second."""
        level = member_level(limit_u=PRICE_U, in_flight_max=1)
        run = await admitted(store, "1", level)
        before = shelf.dump()
        again = wish("2", origin=run.origin, price_u=9 * PRICE_U)
        assert await store.admit(again, lambda _: [level]) == run

        def barred(rules: Rules) -> list[Level]:
            raise NotAllowed("The bot is paused.")

        assert await store.admit(again, barred) == run
        assert shelf.dump() == before

    async def test_what_the_plan_raises_is_the_answer(self, store: Ledger, shelf: Shelf) -> None:
        """Who may not ask is refused by the plan's own words, and nothing is written."""
        before = shelf.dump()

        def barred(rules: Rules) -> list[Level]:
            raise NotAllowed("The bot is paused.")

        with pytest.raises(NotAllowed, match="is paused"):
            await store.admit(wish(), barred)
        assert shelf.dump() == before

    async def test_the_plan_is_made_of_the_rules_in_force(self, store: Ledger) -> None:
        """It sees the server's and the operator's rules that can concern the spender, as they are at that moment."""
        mine = [
            Rule(server="1", subject="server:1", kind=RuleKind.LIMIT, period="day", limit_u=5, in_flight=2),
            Rule(server="1", subject="role:99", kind=RuleKind.EACH, period="week"),
            Rule(server="1", subject="member:bo", kind=RuleKind.BLOCK),
            Rule(server="1", subject="role:7", kind=RuleKind.ALLOW),  # bars those who have it not
            Rule(server="1", subject="channel:7", kind=RuleKind.ALLOW),
            Rule(server=EVERYWHERE, subject="total", kind=RuleKind.PAUSE),
        ]
        others = [
            Rule(server="1", subject="role:7", kind=RuleKind.EACH, period="week"),
            Rule(server="1", subject="member:ann", kind=RuleKind.BLOCK),
            Rule(server="2", subject="member:bo", kind=RuleKind.LIMIT, period="day", limit_u=1),
            Rule(server="2", subject="role:8", kind=RuleKind.ALLOW),
        ]
        for each in (*mine, *others):
            await put_rule(store, replace(each, in_flight=9), replace(ACT, verb="set"))  # replaced by the next
            await put_rule(store, each, replace(ACT, verb="set"))
        seen: list[list[Rule]] = []

        def plan(rules: Rules) -> list[Level]:
            seen.append(list(rules))
            return [member_level()]

        await store.admit(wish(), plan)
        await lift_rule(store, Rule(server="1", subject="member:bo", kind=RuleKind.BLOCK), replace(ACT, verb="lift"))
        await store.standings(BO, plan)
        for found, expected in zip(seen, (mine, [each for each in mine if each.kind != RuleKind.BLOCK]), strict=True):
            assert sorted(found, key=repr) == sorted(expected, key=repr)

    async def test_a_reading_comes_behind_what_was_asked_before_it(self, store: Ledger) -> None:
        """Asked in the same breath as a wish, but after it, a reading sees the run that the wish made."""
        run, seen = await asyncio.gather(admitted(store), store.get("run-1"))
        assert seen == run

    async def test_the_same_origin_at_once_gives_one_run(self, store: Ledger) -> None:
        """Twenty copies of one wish at the same time are all answered with one run."""
        level = member_level(in_flight_max=3)
        wishes = [wish(str(n), origin="the one") for n in range(20)]
        runs = await asyncio.gather(*(store.admit(each, lambda _: [level]) for each in wishes))
        assert len({run.run_id for run in runs}) == 1
        assert await books(store, member_level()) == (PRICE_U, 0)

    @pytest.mark.parametrize("refusing", range(6))
    async def test_a_refusal_names_the_level_and_writes_nothing(
        self, store: Ledger, shelf: Shelf, refusing: int
    ) -> None:
        """Whichever level is full, nothing is held on any other, no limit is stored and no run is made."""
        scopes = BO.scopes
        await admitted(store, "1", *(Level(scope=scope, period=NOVEMBER, limit_u=2 * PRICE_U) for scope in scopes))
        before = shelf.dump()
        levels = [
            Level(scope=scope, period=NOVEMBER, limit_u=2 * PRICE_U - 1 if place == refusing else 5 * PRICE_U)
            for place, scope in enumerate(scopes)
        ]
        with pytest.raises(OverLimit) as refusal:
            await admitted(store, "2", *levels)
        assert refusal.value.scope == scopes[refusing]
        assert refusal.value.price_u == PRICE_U
        standing = refusal.value.standing
        assert (standing.held_u, standing.spent_u, standing.left_u) == (PRICE_U, 0, PRICE_U - 1)
        assert shelf.dump() == before

    async def test_the_first_full_level_is_the_one_named(self, store: Ledger) -> None:
        """Levels are asked in their order, so that everybody is told the same reason."""
        with pytest.raises(OverLimit) as refusal:
            await admitted(store, "1", total_level(0), member_level(limit_u=0))
        assert refusal.value.scope == "total"

    async def test_a_refused_wish_may_be_asked_again(self, store: Ledger) -> None:
        """A refusal leaves no trace of its origin: the same wish is admitted once there is room."""
        with pytest.raises(OverLimit):
            await admitted(store, "1", member_level(limit_u=PRICE_U - 1))
        assert (await admitted(store, "1", member_level(limit_u=PRICE_U))).state == S.RESERVED

    @pytest.mark.parametrize(("limit_u", "admits"), [(None, True), (0, False), (PRICE_U - 1, False), (PRICE_U, True)])
    async def test_a_limit_is_exact(self, store: Ledger, limit_u: int | None, admits: bool) -> None:
        """No limit lets everybody, zero nobody, and a price fits exactly up to the last micro-dollar."""
        if admits:
            await admitted(store, "1", member_level(limit_u=limit_u))
        else:
            with pytest.raises(OverLimit):
                await admitted(store, "1", member_level(limit_u=limit_u))
        assert await books(store, member_level()) == (PRICE_U * admits, 0)

    @pytest.mark.parametrize(("before", "after"), [(5, 1), (None, 1), (1, 1)], ids=["cut", "set", "kept"])
    async def test_a_lowered_limit_counts_at_once(self, store: Ledger, before: int | None, after: int) -> None:
        """A limit that is cut or set in the middle of a period counts what was held before it."""
        limit_u = None if before is None else before * PRICE_U
        await admitted(store, "1", member_level(limit_u=limit_u))
        with pytest.raises(OverLimit) as refusal:
            await admitted(store, "2", member_level(limit_u=after * PRICE_U))
        assert refusal.value.standing.limit_u == after * PRICE_U
        assert await books(store, member_level()) == (PRICE_U, 0)

    @pytest.mark.parametrize("cost_u", [PRICE_U, 2 * PRICE_U])
    async def test_a_lowered_limit_counts_what_is_spent(self, store: Ledger, cost_u: int) -> None:
        """A limit that is cut in the middle of a period counts the charges of before, also those beyond it."""
        before, after = member_level(limit_u=9 * PRICE_U), member_level(limit_u=2 * PRICE_U - 1)
        await store.settle(await running(store, "1", before), End(ending=Ending.VIDEO, cost_u=cost_u), now=3.0)
        with pytest.raises(OverLimit) as refusal:
            await admitted(store, "2", after)
        assert refusal.value.standing.left_u == max(0, 2 * PRICE_U - 1 - cost_u)
        assert await books(store, after) == (0, cost_u)

    @pytest.mark.parametrize("raised", [2, None])
    async def test_a_raised_limit_counts_at_once(self, store: Ledger, raised: int | None) -> None:
        """A limit that is raised or lifted in the middle of a period makes room at once, also after a cut."""
        await admitted(store, "1", member_level(limit_u=PRICE_U))
        with pytest.raises(OverLimit):
            await admitted(store, "2", member_level(limit_u=0))
        await admitted(store, "2", member_level(limit_u=None if raised is None else raised * PRICE_U))
        assert await books(store, member_level()) == (2 * PRICE_U, 0)

    @pytest.mark.parametrize("at_once", [20, 200])
    async def test_of_many_at_once_exactly_as_many_as_fit(self, store: Ledger, shelf: Shelf, at_once: int) -> None:
        """With room for five, five of any crowd are admitted, the rest refused, and the books say five."""
        levels = (total_level(5 * PRICE_U + PRICE_U // 2), member_level())
        answers = await asyncio.gather(
            *(admitted(store, str(n), *levels) for n in range(at_once)), return_exceptions=True
        )
        assert sum(isinstance(answer, Run) for answer in answers) == 5
        assert sum(isinstance(answer, OverLimit) for answer in answers) == at_once - 5
        assert await books(store, levels[0]) == await books(store, levels[1]) == (5 * PRICE_U, 0)
        assert len(shelf.dump()["run"]) == 5

    async def test_members_runs_at_a_time_are_limited(self, store: Ledger, shelf: Shelf) -> None:
        """At the limit of open runs the next is refused in words, nothing is written, and others are not concerned."""
        level = member_level(in_flight_max=3)
        answers = await asyncio.gather(*(admitted(store, str(n), level) for n in range(20)), return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, TooManyInFlight)]
        assert (len(refusals), len(shelf.dump()["run"])) == (17, 3)
        assert "count=3" in str(refusals[0])
        assert await books(store, level) == (3 * PRICE_U, 0)
        await admitted(store, "ann", member_level("ann", in_flight_max=1), member="ann")

    @pytest.mark.parametrize(
        ("scope", "stranger"),
        [
            ("total", None),
            ("server:1", {"server": "2"}),
            ("channel:11", {"budget_channel": "12"}),
            ("role:99", {"roles": ("9", "100", "999")}),
            ("member:bo", {"member": "ann"}),
        ],
    )
    async def test_runs_at_a_time_are_limited_on_every_level(
        self, store: Ledger, shelf: Shelf, scope: str, stranger: dict[str, str] | None
    ) -> None:
        """Each level counts the open runs that belong to it, in whatever period they began, and no others."""
        last_month = Period(kind="month", key="2026-10", starts_at=-9.0, resets_at=0.0)
        await admitted(store, "1", member_level(period=last_month), now=-5.0)
        await admitted(store, "2")
        if stranger is not None:
            await admitted(store, "stranger", member_level(stranger.get("member", "bo")), **stranger)
        level = Level(scope=scope, period=NOVEMBER, limit_u=None, in_flight_max=2)
        behind = [] if scope == "member:bo" else [member_level()]
        before = shelf.dump()
        with pytest.raises(TooManyInFlight) as refusal:
            await admitted(store, "3", level, *behind)
        assert refusal.value.scope == scope
        assert shelf.dump() == before
        await admitted(store, "3", replace(level, in_flight_max=3), *behind)

    @pytest.mark.parametrize("state", list(RunState))
    async def test_what_counts_as_under_way(self, store: Ledger, state: RunState) -> None:
        """A run takes its member's place from the hold to the end; an unknown one, like an ended one, takes none."""
        await in_state(store, state)
        if state in IN_FLIGHT | {S.RESERVED}:
            with pytest.raises(TooManyInFlight):
                await admitted(store, "2", member_level(in_flight_max=1))
        else:
            await admitted(store, "2", member_level(in_flight_max=1))

    async def test_a_hold_belongs_to_the_period_it_was_taken_in(self, store: Ledger) -> None:
        """December starts empty while November's hold is open, and November's run is charged to November."""
        november, december = (member_level(limit_u=PRICE_U, period=period) for period in (NOVEMBER, DECEMBER))
        run = await running(store, "1", november)
        assert await books(store, december) == (0, 0)
        await admitted(store, "2", december, now=1000.0)
        await store.settle(run, End(ending=Ending.VIDEO, cost_u=PRICE_U), now=1001.0)
        assert await books(store, november) == (0, PRICE_U)
        assert await books(store, december) == (PRICE_U, 0)

    async def test_a_wish_that_comes_late_counts_in_its_own_period(self, store: Ledger) -> None:
        """One of November that reaches the books behind the first of December is held in November alone."""
        await admitted(store, "1", member_level(period=DECEMBER), now=1000.0)
        await admitted(store, "2", member_level(), now=999.9)
        assert await books(store, member_level()) == await books(store, member_level(period=DECEMBER)) == (PRICE_U, 0)

    async def test_a_daily_limit_can_stand_beside_a_monthly_one(self, store: Ledger) -> None:
        """A run held against two periods of its member is charged once in each, and shown as charged once."""
        today = member_level(limit_u=2 * PRICE_U, period=TODAY)
        month = member_level(limit_u=9 * PRICE_U)
        run = await store.settle(await running(store, "1", month, today), End(ending=Ending.VIDEO), now=3.0)
        assert run is not None
        assert await books(store, today) == await books(store, month) == (0, PRICE_U)
        assert run.charged_u == PRICE_U
        corrected = await store.correct(run, PRICE_U // 2, now=4.0)
        assert await books(store, today) == await books(store, month) == (0, PRICE_U // 2)
        assert corrected.charged_u == PRICE_U // 2


class TestLevelsThatComeAndGo:
    """The books of a level do not depend on when somebody set a limit on it."""

    @pytest.mark.parametrize("scope", BO.scopes)
    async def test_a_level_opened_late_has_the_runs_of_before(self, store: Ledger, shelf: Shelf, scope: str) -> None:
        """Open, charged, corrected, given back and beyond its hold: what its period has had counts from the start."""
        await running(store, "open")
        await ended(store, "charged", End(ending=Ending.VIDEO, cost_u=7))
        await store.correct(await ended(store, "corrected"), 11, now=4.0)
        await ended(store, "failed", End(ending=Ending.FAILED))
        await ended(store, "beyond", End(ending=Ending.VIDEO, cost_u=PRICE_U + 13))
        level = Level(scope=scope, period=TODAY, limit_u=3 * PRICE_U + 31)
        before, expected = shelf.dump(), (PRICE_U, PRICE_U + 31)
        assert await books(store, level) == expected  # also before it is opened
        assert shelf.dump() == before
        with pytest.raises(OverLimit):
            await admitted(store, "2", replace(level, limit_u=3 * PRICE_U + 30), member_level())
        assert only_opened(before, shelf.dump())
        assert await books(store, level) == expected
        await admitted(store, "2", level, member_level())
        assert await books(store, level) == (2 * PRICE_U, PRICE_U + 31)

    async def test_what_happens_later_reaches_a_level_opened_late(self, store: Ledger) -> None:
        """A run that was taken over is settled and corrected there as on its own levels, once."""
        run = await running(store, "1")
        await admitted(store, "2", total_level(), member_level())
        settled = await store.settle(run, End(ending=Ending.VIDEO), now=3.0)
        assert await books(store, total_level()) == await books(store, member_level()) == (PRICE_U, PRICE_U)
        assert settled is not None
        assert (await store.correct(settled, 7, now=4.0)).charged_u == 7
        assert await books(store, total_level()) == await books(store, member_level()) == (PRICE_U, 7)

    @pytest.mark.parametrize("outside", [{"now": -0.1}, {"now": 1000.0}, {"server": "2"}])
    async def test_a_level_opened_late_has_no_others(self, store: Ledger, outside: dict[str, Any]) -> None:
        """Runs of before the period, of behind it and of another server stay out."""
        everywhere = Period(kind="week", key="2026-W47", starts_at=-99.0, resets_at=5000.0)
        await admitted(store, "1", member_level(period=everywhere), **outside)
        level = Level(scope="server:1", period=NOVEMBER, limit_u=PRICE_U)
        assert await books(store, level) == (0, 0)
        await admitted(store, "2", level, member_level())
        assert await books(store, level) == (PRICE_U, 0)

    async def test_a_period_goes_on_counting_without_its_limit(self, store: Ledger) -> None:
        """A run that is limited by the day counts in the open month too, whose limit finds it when it comes back."""
        await admitted(store, "1", member_level(limit_u=5 * PRICE_U))
        await admitted(store, "2", member_level(limit_u=5 * PRICE_U, period=TODAY))
        await admitted(store, "3", member_level(limit_u=5 * PRICE_U, period=TOMORROW), now=40.0)
        assert await books(store, member_level()) == (3 * PRICE_U, 0)
        assert await books(store, member_level(period=TODAY)) == (2 * PRICE_U, 0)
        with pytest.raises(OverLimit):
            await admitted(store, "4", member_level(limit_u=4 * PRICE_U - 1), now=41.0)
        await admitted(store, "4", member_level(limit_u=4 * PRICE_U), now=41.0)

    async def test_a_limit_that_is_not_asked_refuses_nobody(self, store: Ledger) -> None:
        """The month that is only counted may go beyond the limit that it once had."""
        await admitted(store, "1", member_level(limit_u=PRICE_U))
        await admitted(store, "2", member_level(limit_u=5 * PRICE_U, period=TODAY))
        assert await books(store, member_level()) == (2 * PRICE_U, 0)

    async def test_an_extra_makes_room_in_its_period_alone(self, store: Ledger, shelf: Shelf) -> None:
        """A grant is on top of the limit, is shown as part of it, ends with the period, and no ceiling yields to it."""
        level = member_level(limit_u=PRICE_U)
        await admitted(store, "1", level)
        with pytest.raises(OverLimit):
            await admitted(store, "2", level)
        standing = await store.grant("1", lambda _: level, PRICE_U, ACT)
        assert standing == await stand(store, level)
        assert (standing.limit_u, standing.granted_u, standing.left_u) == (2 * PRICE_U, PRICE_U, PRICE_U)
        with pytest.raises(OverLimit):
            await admitted(store, "2", replace(level, ceiling_u=2 * PRICE_U - 1))
        await admitted(store, "2", level)
        october = Period(kind="month", key="2026-10", starts_at=-31.0, resets_at=NOVEMBER.starts_at)
        for other in (DECEMBER, october):
            assert (await stand(store, replace(level, period=other))).limit_u == PRICE_U
        assert await store.acts("1", 9) == [replace(ACT, amount_u=PRICE_U)]
        assert shelf.audit() == []

    async def test_a_grant_opens_the_books_of_its_level(self, store: Ledger) -> None:
        """Also where nobody has spent yet, and where others have on levels that were never opened."""
        await admitted(store, "1")
        pool = Level(scope="role:99", period=NOVEMBER, limit_u=1)
        await store.grant("1", lambda _: pool, 2 * PRICE_U - 1, ACT)
        assert await books(store, pool) == (PRICE_U, 0)
        await admitted(store, "2", pool, member_level())
        with pytest.raises(OverLimit):
            await admitted(store, "3", pool, member_level())


async def in_state(store: Ledger, state: RunState, name: str = "1") -> Run:
    """A run that came to `state` by legal moves alone."""
    endings = {S.SUCCEEDED: Ending.VIDEO, S.FAILED: Ending.FAILED, S.CANCELLED: Ending.CANCELLED}
    if state in endings:
        return await ended(store, name, End(ending=endings[state]))
    run: Run | None = await admitted(store, name)
    if state != S.RESERVED:
        assert run is not None
        run = await store.begin_submit(run, now=1.0, total_max=1000)
    for step in {S.AMBIGUOUS: [S.AMBIGUOUS], S.UNKNOWN: [S.AMBIGUOUS, S.UNKNOWN], S.RUNNING: [S.RUNNING]}.get(
        state, []
    ):
        assert run is not None
        changes = RunChanges(provider_id=f"job-{name}") if step == S.RUNNING else RunChanges()
        run = await store.advance(run, step, now=2.0, changes=changes)
    assert run is not None
    assert run.state == state
    return run


async def claimed(
    store: Ledger, now: float, *, until: float = 1e6, limit: int = 9, sweep: Sweep | None = None
) -> list[Run]:
    """What is due by now, or early in a sweep, leased."""
    return (await store.claim_due(now, lease_until=until, limit=limit, total_max=99, sweep=sweep)).runs


async def next_due(store: Ledger, now: float = 0.0) -> float | None:
    """When the next run is due or a reply address ends, asked by somebody who takes nothing."""
    return (await store.claim_due(now, lease_until=1e6, limit=0, total_max=0)).due_at


class TestDueRuns:
    async def test_the_longest_waiting_come_first(self, store: Ledger) -> None:
        """Due runs are handed out in the order of their due times, no more than asked for, none before its time."""
        for name, due in (("a", 50.0), ("b", 10.0), ("c", 30.0), ("d", 20.0), ("e", 60.5)):
            await admitted(store, name, now=due)
        first = await claimed(store, 60.0, limit=3)
        assert [run.run_id for run in first] == ["run-b", "run-d", "run-c"]
        rest = await claimed(store, 60.0, limit=3)
        assert [run.run_id for run in rest] == ["run-a"]

    async def test_a_claimed_run_is_leased(self, store: Ledger) -> None:
        """Nobody gets a claimed run again before the lease ends, and from then on somebody does."""
        await admitted(store)
        found = await store.claim_due(0.0, lease_until=90.0, limit=9, total_max=99)
        (run,) = found.runs
        assert (run.due_at, found.due_at, found.paced, found.line_waits) == (90.0, 90.0, 1, False)
        assert await store.get(run.run_id) == run
        assert await claimed(store, 89.9, until=180.0) == []
        assert len(await claimed(store, 90.0, until=180.0)) == 1

    async def test_claims_at_once_share_the_runs(self, store: Ledger) -> None:
        """Each due run goes to exactly one of many who ask at the same time."""
        for n in range(20):
            await admitted(store, str(n))
        claims = await asyncio.gather(*(claimed(store, 0.0, limit=3) for _ in range(10)))
        assert sorted(run.run_id for claim in claims for run in claim) == sorted(f"run-{n}" for n in range(20))

    async def test_the_next_due_time_is_the_nearest(self, store: Ledger) -> None:
        """It is that of a run or of a reply address, whichever comes first; none where nothing is left to do."""
        assert await next_due(store) is None
        run = await running(store, "1", reply_to="address", reply_until=900.0)
        assert await next_due(store) == 5.0
        run = await stayed(store, run, due_at=1000.0)
        assert await next_due(store) == 840.0
        run = await stayed(store, run, due_at=None)
        assert await next_due(store) == 840.0
        await claimed(store, 900.0)
        assert await next_due(store) is None
        await stayed(store, run, due_at=7.0)

    async def test_reply_addresses_are_dropped_in_time(self, store: Ledger, shelf: Shelf) -> None:
        """A minute before its end an address is handed out a last time; from then on it is nowhere in the books."""
        for name, until in (("a", 70.0), ("b", 70.1), ("over", 69.0), ("dead", 10.0)):
            run = await admitted(store, name, reply_to=f"secret-{name}", reply_until=until)
            await stayed(store, run, due_at=500.0)
        over = await store.get("run-over")
        assert over is not None
        ended_ = await store.settle(over, End(ending=Ending.FAILED, cost_u=0), now=9.0)
        assert ended_ is not None
        await stayed(store, ended_, due_at=None)
        found = await store.claim_due(10.0, lease_until=1e6, limit=9, total_max=99)
        assert found.runs == []
        assert [(run.run_id, run.reply_to) for run in found.last_cards] == [("run-a", "secret-a")]
        kept = {run.run_id: (run.reply_to, run.reply_until) for run in await store.history(Wanted(member="bo"), 9)}
        assert kept.pop("run-b") == ("secret-b", 70.1)
        assert set(kept.values()) == {(None, None)}
        assert not {"secret-a", "secret-over", "secret-dead"} & set(re.findall(r"secret-\w+", repr(shelf.dump())))

    async def test_a_card_is_that_of_the_latest_wish_on_it(self, store: Ledger) -> None:
        """A run or a question takes it from the runs that its member had on it before, and from nobody else."""
        for name, member, card in (("a", "bo", "x:1"), ("b", "bo", "xx:1"), ("c", "di", "x:1"), ("d", "bo", "y:1")):
            level = member_level(member)
            await admitted(store, name, level, member=member, reply_to=card, reply_until=900.0)
        await admitted(store, "e", member="bo", reply_to="x:2", reply_until=900.0)
        asked = question("f")
        await store.keep(replace(asked, wish=replace(asked.wish, member="bo", reply_to="y:2")), now=1.0)
        runs = [await store.get(f"run-{name}") for name in "abcde"]
        assert [run and (run.reply_to, run.reply_until) for run in runs] == [
            *((None, None), ("xx:1", 900.0), ("x:1", 900.0), (None, None), ("x:2", 900.0)),
        ]

    async def test_a_claimed_run_carries_no_dead_address(self, store: Ledger) -> None:
        """An address that ended by now is gone from the very runs that are handed out."""
        await admitted(store, "1", reply_to="secret", reply_until=10.0)
        (run,) = await claimed(store, 10.0)
        assert (run.reply_to, run.reply_until) == (None, None)

    async def test_a_start_looks_at_everything_once(self, store: Ledger) -> None:
        """Leased, waiting and overdue runs are looked at after a start, due or not; what is done stays quiet."""
        for name, due_at in (("leased", 500.0), ("far", 90_000.0), ("same", 500.0), ("late", 1.0)):
            await stayed(store, await running(store, name), due_at=due_at)
        await stayed(store, await ended(store, "done"), due_at=None)
        recovered = await store.recover(100.0, deadline_s=3600.0)
        assert recovered.open_runs == 4
        sweep: Sweep | None = recovered.sweep
        looked: list[str] = []
        while sweep is not None:
            found = await store.claim_due(100.0, lease_until=190.0, limit=2, total_max=99, sweep=sweep)
            assert found.paced == len(found.runs) <= 2
            looked += [run.run_id for run in found.runs]
            for run in found.runs:
                await stayed(store, run, due_at=run.due_at and run.due_at + len(looked))  # still within the sweep
            sweep = found.sweep
        assert looked[0] == "run-late"
        assert sorted(looked) == ["run-far", "run-late", "run-leased", "run-same"]

    async def test_each_start_looks_anew(self, store: Ledger) -> None:
        """What the start before has looked at is looked at again, and nobody looks early without a start."""
        await stayed(store, await running(store), due_at=500.0)
        for _ in range(2):
            sweep = (await store.recover(100.0, deadline_s=3600.0)).sweep
            assert len(await claimed(store, 100.0, until=400.0, sweep=sweep)) == 1
            assert await claimed(store, 100.0, sweep=sweep) == []
            assert await claimed(store, 100.0) == []

    async def test_a_start_writes_only_what_is_out_of_sight(self, store: Ledger, shelf: Shelf) -> None:
        """A run that was due before the start, or will be soon, keeps its time; one due in days was timed wrongly."""
        for name, due_at in (("1", 1.0), ("2", 4000.0), ("3", 200_000.0)):
            await stayed(store, await running(store, name), due_at=due_at)
        await store.recover(100.0, deadline_s=3600.0)
        runs = [await store.get(f"run-{name}") for name in ("1", "2", "3")]
        assert [run and run.due_at for run in runs] == [1.0, 4000.0, 100.0]

    @pytest.mark.parametrize(("delivery", "first_try_at"), [(Delivery.SENDING, 40.0), (Delivery.PENDING, 100.0)])
    async def test_a_post_in_doubt_is_no_recent_one_once_the_clock_was_set(
        self, store: Ledger, delivery: Delivery, first_try_at: float
    ) -> None:
        """Only where nobody knows whether it happened: it was begun by `before` then; an older one stays as it is."""
        for name, at in (("1", 100.0), ("2", 7.0)):
            run = await ended(store, name)
            changes = RunChanges(delivery=delivery, first_try_at=at)
            assert await store.advance(run, run.state, now=100.0, changes=changes) is not None
        await store.forget_first_tries(40.0)
        found = [await store.get(f"run-{name}") for name in ("1", "2")]
        assert [run and run.first_try_at for run in found] == [first_try_at, 7.0]


async def stayed(store: Ledger, run: Run, *, due_at: float | None) -> Run:
    """The run as it stands, to be looked at next at `due_at`; never again once its result is delivered."""
    changes = RunChanges(due_at=due_at)
    if due_at is None:
        changes["delivery"] = Delivery.DELIVERED
    stays = await store.advance(run, run.state, now=9.0, changes=changes)
    assert stays is not None
    return stays


class TestWaking:
    async def test_an_unknown_token_wakes_nobody(self, store: Ledger, shelf: Shelf) -> None:
        """A forged address changes nothing at all."""
        await admitted(store)
        before = shelf.dump()
        assert await store.wake("forged", "job") is None
        assert shelf.dump() == before

    async def test_a_callback_gives_its_run(self, store: Ledger, shelf: Shelf) -> None:
        """The token's run, and no other, as it stands; nothing is written where nothing new is named."""
        waiting, other = await running(store, "1"), await running(store, "2")
        before = shelf.dump()
        assert await store.wake("token-1", None) == Woken(run_id=waiting.run_id, run=waiting)
        assert await store.wake("token-2", "job-7") == Woken(run_id=other.run_id, run=other)
        assert shelf.dump() == before

    async def test_a_named_id_is_kept_while_there_is_none(self, store: Ledger) -> None:
        """The latest id that a callback names is a candidate until the run has its own; none erases it."""
        run = await in_state(store, S.AMBIGUOUS)
        for named, kept in (("job-x", "job-x"), (None, "job-x"), ("job-y", "job-y")):
            woken = await store.wake("token-1", named)
            found = await store.get(run.run_id)
            assert woken == Woken(run_id=run.run_id, run=found)
            assert found is not None
            assert (found.candidate_id, found.provider_id, found.state) == (kept, None, S.AMBIGUOUS)
        await store.advance(run, S.RUNNING, now=5.0, changes=RunChanges(provider_id="job-1"))
        await store.wake("token-1", "job-forged")
        found = await store.get(run.run_id)
        assert found is not None
        assert (found.candidate_id, found.provider_id) == ("job-y", "job-1")

    async def test_an_ended_run_stays_quiet(self, store: Ledger, shelf: Shelf) -> None:
        """A late or repeated callback for a run with nothing left to do finds its address and changes nothing."""
        run = await stayed(store, await ended(store), due_at=None)
        before = shelf.dump()
        assert await store.wake(run.callback_token, "job-9") == Woken(run_id=run.run_id, run=run)
        assert shelf.dump() == before
        assert await claimed(store, 1e9) == []


class TestSubmitting:
    async def test_the_intent_is_on_disk_before_the_request(self, store: Ledger) -> None:
        """A begun POST is counted and dated, and read back so by anybody."""
        run = await store.begin_submit(await admitted(store), now=4.0, total_max=1)
        assert run is not None
        assert (run.state, run.state_at, run.posts, run.posted_at) == (S.SUBMITTING, 4.0, 1, 4.0)
        assert await store.get(run.run_id) == run

    async def test_a_run_that_a_callback_named_is_looked_at_first(self, store: Ledger, shelf: Shelf) -> None:
        """Whoever has not seen the candidate may not POST; whoever has, may."""
        run = await admitted(store)
        await store.wake(run.callback_token, "job-1")
        before = shelf.dump()
        assert await store.begin_submit(run, now=4.0, total_max=1) is None
        assert shelf.dump() == before
        seen = await store.get(run.run_id)
        assert seen is not None
        assert await store.begin_submit(seen, now=4.0, total_max=1) is not None

    async def test_a_look_up_is_proven_by_its_last_three_runs(self, store: Ledger) -> None:
        """Each of them was shown in time; the first word on a run counts, and one that was late spoils the proof."""
        proven = []
        for number, fresh in enumerate([True, True, True, False, True, True, True]):
            run = await store.begin_submit(await admitted(store, str(number)), now=float(number + 1), total_max=99)
            assert run is not None
            proven.append(await store.lookup_proven())
            await store.looked_up(run.run_id, fresh=fresh)
            await store.looked_up(run.run_id, fresh=not fresh)
        assert [*proven, await store.lookup_proven()] == [False, False, False, True, False, False, False, True]

    async def test_a_clock_that_was_ahead_proves_no_list_for_long(self, store: Ledger) -> None:
        """Three proofs from the future are worth nothing once a run of today is asked for, whatever comes of that."""
        for fresh in (False, True):
            for number, now in enumerate([9e6, 9e6 + 1, 9e6 + 2, 8.0]):
                name = f"{fresh} {number}"
                run = await store.begin_submit(await admitted(store, name), now=now + fresh, total_max=99)
                assert run is not None
                await store.looked_up(run.run_id, fresh=fresh or number < 3)
                assert await store.lookup_proven() == (number == 2)

    async def test_each_post_is_counted(self, store: Ledger) -> None:
        """A run that surely bought nothing goes back to the line, and its next POST is its second."""
        run: Run | None = await admitted(store)
        for posts, now in ((1, 4.0), (2, 8.0)):
            assert run is not None
            run = await store.begin_submit(run, now=now, total_max=1)
            assert run is not None
            assert (run.posts, run.posted_at) == (posts, now)
            run = await store.advance(run, S.RESERVED, now=now, changes=RunChanges())
        assert await books(store, member_level()) == (PRICE_U, 0)

    async def test_a_run_is_begun_once(self, store: Ledger, shelf: Shelf) -> None:
        """Of many who begin the same run at once one may POST; the others are told no and change nothing."""
        run = await admitted(store)
        begun = await asyncio.gather(*(store.begin_submit(run, now=1.0, total_max=9) for _ in range(9)))
        assert sum(each is not None for each in begun) == 1
        before = shelf.dump()
        assert await store.begin_submit(run, now=2.0, total_max=9) is None
        assert shelf.dump() == before

    @pytest.mark.parametrize("state", list(RunState))
    async def test_what_takes_a_place(self, store: Ledger, state: RunState) -> None:
        """The whole bot's places are taken by what may be at work at Runflow; unknown and ended runs take none."""
        await in_state(store, state, "older")
        younger = await admitted(store, "younger", now=10.0)
        begun = await store.begin_submit(younger, now=11.0, total_max=1)
        assert (begun is None) == (state in IN_FLIGHT | {S.RESERVED})
        assert (await store.begin_submit(younger, now=11.0, total_max=2) is None) == (begun is not None)

    async def test_first_come_first_served(self, store: Ledger, shelf: Shelf) -> None:
        """A free place goes to the run that was asked for first, whoever asks for the place first."""
        runs = [await admitted(store, name, now=now) for name, now in (("b", 2.0), ("a", 2.0), ("c", 1.0))]
        before = shelf.dump()
        line = [runs[2], runs[1], runs[0]]  # by time, and by name where the time is the same
        assert [await store.begin_submit(run, now=3.0, total_max=1) for run in line[1:]] == [None, None]
        assert shelf.dump() == before
        for run in line:
            begun = await store.begin_submit(run, now=4.0, total_max=1)
            assert begun is not None
            await store.settle(begun, End(ending=Ending.FAILED), now=5.0)

    async def test_the_places_are_never_passed(self, store: Ledger) -> None:
        """Of fifty that begin at once exactly as many are in flight as there are places."""
        runs = [await admitted(store, str(n), now=float(n)) for n in range(50)]
        random.Random(1).shuffle(runs)
        begun = await asyncio.gather(*(store.begin_submit(run, now=60.0, total_max=7) for run in runs))
        assert {run.created_at for run in begun if run} <= set(map(float, range(7)))
        for run in sorted(runs, key=lambda each: each.created_at):
            await store.begin_submit(run, now=61.0, total_max=7)
        states = [run.state for run in await store.history(Wanted(member="bo"), 99)]
        assert (states.count(S.SUBMITTING), states.count(S.RESERVED)) == (7, 43)


class TestAdvancing:
    async def test_a_step_writes_what_it_names_and_nothing_else(self, store: Ledger) -> None:
        """State, its time and the named columns change, and the answer is the run as it now stands."""
        run = await in_state(store, S.SUBMITTING)
        changes = RunChanges(
            due_at=8.0,
            tries=3,
            provider_id="job",
            provider_request_id="request",
            provider_status="IN_QUEUE",
            provider_status_at=7.5,
        )
        after = await store.advance(run, S.RUNNING, now=7.0, changes=changes)
        assert after == replace(run, state=S.RUNNING, state_at=7.0, **changes)
        assert await store.get(run.run_id) == after

    async def test_staying_keeps_the_time_of_the_state(self, store: Ledger) -> None:
        """A look that moves nothing is no move: `state_at` says since when the state holds."""
        run = await running(store)
        after = await store.advance(run, run.state, now=50.0, changes=RunChanges(tries=4, overdue=True))
        assert after == replace(run, tries=4, overdue=True)

    @pytest.mark.parametrize(
        "changes",
        [{"state": S.SUBMITTING}, {"delivery": Delivery.SENDING}, {"run_id": "run-9"}],
        ids=["another state", "another delivery", "no such run"],
    )
    async def test_a_stale_view_changes_nothing(self, store: Ledger, shelf: Shelf, changes: dict[str, Any]) -> None:
        """Who saw another state or delivery than there is, or a run that is not, gets None, and every row stays."""
        stale = replace(await running(store), **changes)
        before = shelf.dump()
        assert await store.advance(stale, stale.state, now=9.0, changes=RunChanges(tries=9)) is None
        assert await store.advance(stale, S.RUNNING, now=9.0, changes=RunChanges(tries=9)) is None
        assert await store.settle(stale, End(ending=Ending.FAILED), now=9.0) is None
        assert shelf.dump() == before

    async def test_two_deliveries_begin_once(self, store: Ledger) -> None:
        """Of many who take up the same notice at once, one may post it."""
        run = await ended(store)
        changes = RunChanges(delivery=Delivery.SENDING, delivery_tries=1, first_try_at=9.0)
        begun = await asyncio.gather(*(store.advance(run, run.state, now=9.0, changes=changes) for _ in range(9)))
        assert sum(each is not None for each in begun) == 1

    @pytest.mark.parametrize(("state", "to"), list(product(RunState, RunState)), ids=str)
    async def test_only_legal_moves_are_made(self, store: Ledger, shelf: Shelf, state: RunState, to: RunState) -> None:
        """Each pair of states: a move of the table is made, any other, and any to an end, is refused unwritten."""
        run = await in_state(store, state)
        changes = RunChanges(provider_id="job-1") if to == S.RUNNING else RunChanges(tries=1)
        if to == state or (to in MOVES[state] and to not in TERMINAL):
            moved = await store.advance(run, to, now=9.0, changes=changes)
            assert moved is not None
            assert moved.state == to
        else:
            before = shelf.dump()
            with pytest.raises(InvariantError):
                await store.advance(run, to, now=9.0, changes=changes)
            assert shelf.dump() == before

    async def test_notices_are_kept(self, store: Ledger) -> None:
        """What is due in the channel, how often it was tried and the message it became are read back."""
        run = await running(store)
        due = RunChanges(notice=Notice.OVERDUE, delivery=Delivery.PENDING, overdue=True)
        pending = await store.advance(run, run.state, now=9.0, changes=due)
        assert pending == replace(run, notice=Notice.OVERDUE, delivery=Delivery.PENDING, overdue=True)
        done = RunChanges(delivery=Delivery.DELIVERED, message="m-1", due_at=None, cost_checks=1)
        delivered = await store.advance(pending, run.state, now=9.0, changes=done)
        assert delivered == replace(pending, delivery=Delivery.DELIVERED, message="m-1", due_at=None, cost_checks=1)
        await stayed(store, delivered, due_at=8.0)


class TestSettling:
    @pytest.mark.parametrize("cost_u", [None, 0, 1, PRICE_U - 1, PRICE_U, PRICE_U + 1, 5 * PRICE_U])
    @pytest.mark.parametrize("ending", list(Ending))
    async def test_every_end_is_charged_by_its_cost(
        self, store: Ledger, shelf: Shelf, ending: Ending, cost_u: int | None
    ) -> None:
        """However a run ends, its levels give the hold back and count the cost, or the estimate of a success."""
        levels = (total_level(9 * PRICE_U), member_level(limit_u=PRICE_U))
        run = await running(store, "1", *levels)
        end = End(
            ending=ending, cost_u=cost_u, seed_used=7, took_ms=8, failure_code="CODE", failure_message="what was wrong"
        )
        settled = await store.settle(run, end, now=20.5)
        charged_u = cost_u if cost_u is not None else PRICE_U * (STATE_OF_ENDING[ending] == S.SUCCEEDED)
        assert settled == replace(
            run,
            state=STATE_OF_ENDING[ending],
            state_at=20.5,
            ended_at=20.5,
            due_at=20.5,
            ending=ending,
            cost_u=cost_u,
            charged_u=charged_u,
            seed_used=7,
            took_ms=8,
            failure_code="CODE",
            failure_message="what was wrong",
            notice=Notice.RESULT,
            delivery=Delivery.PENDING,
        )
        assert [await books(store, level) for level in levels] == [(0, charged_u)] * 2
        assert shelf.audit() == []

    async def test_the_result_takes_the_place_of_an_earlier_notice(self, store: Ledger) -> None:
        """A run that was told to be overdue is delivered afresh: its tries and their times begin anew."""
        run = await running(store)
        told = RunChanges(
            notice=Notice.OVERDUE, delivery=Delivery.DELIVERED, delivery_tries=3, first_try_at=8.0, tries=5
        )
        told["message"] = "m-1"
        overdue = await store.advance(run, run.state, now=9.0, changes=told)
        assert overdue is not None
        settled = await store.settle(overdue, End(ending=Ending.VIDEO), now=10.0)
        assert settled is not None
        assert (settled.notice, settled.delivery, settled.due_at) == (Notice.RESULT, Delivery.PENDING, 10.0)
        assert (settled.delivery_tries, settled.first_try_at, settled.tries) == (0, None, 0)

    async def test_a_run_ends_once(self, store: Ledger, shelf: Shelf) -> None:
        """A second end from the same view is answered with None, and not one entry is added."""
        run = await running(store)
        assert await store.settle(run, End(ending=Ending.VIDEO, cost_u=7), now=3.0) is not None
        before = shelf.dump()
        for ending in (Ending.VIDEO, Ending.FAILED):
            assert await store.settle(run, End(ending=ending, cost_u=9), now=4.0) is None
        assert shelf.dump() == before

    async def test_an_ended_run_is_not_ended_again(self, store: Ledger, shelf: Shelf) -> None:
        """From the view of its end no further end is a legal move, also not the same one; the books stay."""
        run = await ended(store)
        before = shelf.dump()
        for ending in (Ending.FAILED, Ending.VIDEO, Ending.EMPTY):
            with pytest.raises(InvariantError):
                await store.settle(run, End(ending=ending, cost_u=9), now=4.0)
        assert shelf.dump() == before

    @pytest.mark.parametrize("seed", range(5))
    async def test_ends_that_race_leave_one(self, store: Ledger, seed: int) -> None:
        """Of many different ends at the same moment exactly one is booked, and the books are its books."""
        run = await running(store)
        chance = random.Random(seed)
        ends = [
            End(ending=chance.choice(list(Ending)), cost_u=chance.choice([None, 0, 5, 2 * PRICE_U])) for _ in range(12)
        ]
        answers = await asyncio.gather(*(store.settle(run, end, now=3.0) for end in ends))
        (winner,) = [answer for answer in answers if answer is not None]
        assert await store.get(run.run_id) == winner
        assert await books(store, member_level()) == (0, winner.charged_u)

    async def test_a_failed_start_gives_everything_back(self, store: Ledger) -> None:
        """A run that never reached Runflow, or was refused there, ends without a charge and frees its place."""
        level = member_level(limit_u=PRICE_U)
        waiting = await store.settle(await admitted(store, "1", level), End(ending=Ending.FAILED, cost_u=0), now=3.0)
        begun = await store.begin_submit(await admitted(store, "2", level), now=4.0, total_max=1)
        assert begun is not None
        refused = await store.settle(begun, End(ending=Ending.FAILED, cost_u=0), now=5.0)
        assert waiting is not None
        assert refused is not None
        assert waiting.charged_u == refused.charged_u == 0
        assert (await stand(store, level)).left_u == PRICE_U

    @pytest.mark.parametrize("state", [S.RESERVED, S.SUBMITTING, S.UNKNOWN])
    async def test_what_a_callback_named_meanwhile_is_not_given_up(
        self, store: Ledger, shelf: Shelf, state: RunState
    ) -> None:
        """Whoever has not seen the candidate may not end a run that has no id; whoever has, may."""
        run = await in_state(store, state)
        await store.wake(run.callback_token, "job-1")
        before = shelf.dump()
        end = End(ending=Ending.FAILED, cost_u=0)
        assert await store.settle(run, end, now=9.0) is None
        assert shelf.dump() == before
        seen = await store.get(run.run_id)
        assert seen is not None
        assert await store.settle(seen, end, now=9.0) is not None

    async def test_an_admins_word_ends_what_is_unknown(self, store: Ledger, shelf: Shelf) -> None:
        """Its hold is given back on every level by the admin's name, the act is kept, and a second word is none."""
        run = await in_state(store, S.UNKNOWN)
        word = replace(ACT, verb="release")
        end = End(ending=Ending.FAILED, failure_code="RELEASED")
        released = await store.release(run, word, end)
        assert released is not None
        assert (released.state, released.charged_u, released.failure_code) == (S.FAILED, 0, "RELEASED")
        assert (released.notice, released.delivery) == (Notice.RESULT, Delivery.PENDING)
        assert await books(store, member_level()) == (0, 0)
        assert await store.acts("1", 9) == [word]
        assert "'void', 1000000, 9.0, 'ada'" in repr(shelf.dump()["ledger_entry"])
        before = shelf.dump()
        assert await store.release(run, word, end) is None
        assert shelf.dump() == before

    async def test_evidence_comes_before_an_admins_word(self, store: Ledger, shelf: Shelf) -> None:
        """A run that was found meanwhile is not ended by who saw it unknown, and no act is kept of that."""
        run = await in_state(store, S.UNKNOWN)
        found = await store.advance(run, S.RUNNING, now=5.0, changes=RunChanges(provider_id="job-1"))
        assert found is not None
        before = shelf.dump()
        assert await store.release(run, ACT, End(ending=Ending.FAILED)) is None
        with pytest.raises(InvariantError):
            await store.release(found, ACT, End(ending=Ending.FAILED))
        assert shelf.dump() == before

    @pytest.mark.parametrize("state", [S.AMBIGUOUS, S.UNKNOWN])
    async def test_doubt_is_not_an_end(self, store: Ledger, shelf: Shelf, state: RunState) -> None:
        """A run that may have been bought keeps its hold: no end can be booked without its own record.

        Only one that is unknown may turn out never to have arrived, which costs nothing.
        """
        run = await in_state(store, state)
        before = shelf.dump()
        absent = {(Ending.FAILED, 0)} if state == S.UNKNOWN else set()
        for ending, cost_u in {(ending, cost_u) for ending in Ending for cost_u in (None, 0, 1)} - absent:
            with pytest.raises(InvariantError):
                await store.settle(run, End(ending=ending, cost_u=cost_u), now=9.0)
        assert shelf.dump() == before
        assert await books(store, member_level()) == (PRICE_U, 0)

    async def test_an_excess_counts_and_blocks_no_more_than_it_is(self, store: Ledger) -> None:
        """A cost above the limit is booked in full, nothing fits beside it, and a raised limit counts it."""
        level = member_level(limit_u=2 * PRICE_U)
        await store.settle(await running(store, "1", level), End(ending=Ending.VIDEO, cost_u=3 * PRICE_U), now=3.0)
        standing = await stand(store, level)
        assert (standing.held_u, standing.spent_u, standing.left_u) == (0, 3 * PRICE_U, 0)
        with pytest.raises(OverLimit):
            await admitted(store, "2", level)
        with pytest.raises(OverLimit):
            await admitted(store, "2", member_level(limit_u=4 * PRICE_U - 1))
        await admitted(store, "2", member_level(limit_u=4 * PRICE_U))


class TestCorrecting:
    @pytest.mark.parametrize("cost_u", [0, 1, PRICE_U, PRICE_U + 1, 5 * PRICE_U])
    @pytest.mark.parametrize("ending", list(Ending))
    async def test_the_late_cost_is_what_is_charged(
        self, store: Ledger, shelf: Shelf, ending: Ending, cost_u: int
    ) -> None:
        """Up or down from the estimate or from nothing, each level ends at the cost, in the period of the hold."""
        levels = (total_level(9 * PRICE_U), member_level(limit_u=PRICE_U))
        run = await store.settle(await running(store, "1", *levels), End(ending=ending), now=3.0)
        assert run is not None
        corrected = await store.correct(run, cost_u, now=40.0)
        assert corrected == replace(run, cost_u=cost_u, charged_u=cost_u)
        assert [await books(store, level) for level in levels] == [(0, cost_u)] * 2
        assert shelf.audit() == []

    async def test_a_cost_is_corrected_once(self, store: Ledger, shelf: Shelf) -> None:
        """A second cost, by whatever view and at the same moment, changes nothing and is answered with the run."""
        run = await ended(store)
        answers = await asyncio.gather(*(store.correct(run, cost_u, now=9.0) for cost_u in (5, 6, 5, 0)))
        assert {answer.charged_u for answer in answers} == {5}
        before = shelf.dump()
        assert await store.correct(answers[0], 7, now=10.0) == answers[0]
        assert shelf.dump() == before

    async def test_a_correction_starts_from_what_was_charged(self, store: Ledger) -> None:
        """Also by the view of before the end, the difference is that to the books and not to what was seen."""
        run = await running(store)
        await store.settle(run, End(ending=Ending.VIDEO), now=3.0)
        assert (await store.correct(run, 5, now=9.0)).charged_u == 5
        assert await books(store, member_level()) == (0, 5)

    async def test_a_known_cost_is_not_corrected(self, store: Ledger, shelf: Shelf) -> None:
        """A cost that came with the end is the truth, also when it was zero."""
        for name, cost_u in (("1", 0), ("2", 5)):
            run = await ended(store, name, End(ending=Ending.VIDEO, cost_u=cost_u))
            before = shelf.dump()
            assert await store.correct(run, 9, now=9.0) == run
            assert shelf.dump() == before

    async def test_an_open_run_has_no_cost_to_correct(self, store: Ledger, shelf: Shelf) -> None:
        """Before the end there is only the hold."""
        run = await running(store)
        before = shelf.dump()
        with pytest.raises(InvariantError):
            await store.correct(run, 5, now=9.0)
        assert shelf.dump() == before

    async def test_a_correction_goes_to_the_period_of_the_hold(self, store: Ledger) -> None:
        """A cost that is named in December for November's run is November's."""
        run = await ended(store)
        await admitted(store, "2", member_level(period=DECEMBER), now=1000.0)
        await store.correct(run, 5 * PRICE_U, now=1001.0)
        assert await books(store, member_level()) == (0, 5 * PRICE_U)
        assert await books(store, member_level(period=DECEMBER)) == (PRICE_U, 0)


class TestReading:
    async def test_the_latest_runs_come_newest_first(self, store: Ledger) -> None:
        """Only the member's own, no more than asked for."""
        for name, member, now in (("a", "bo", 1.0), ("b", "bo", 3.0), ("c", "ann", 9.0), ("d", "bo", 2.0)):
            await admitted(store, name, member_level(member), member=member, now=now)
        assert [run.run_id for run in await store.history(Wanted(member="bo"), 2)] == ["run-b", "run-d"]
        assert [run.run_id for run in await store.history(Wanted(member="bo"), 9)] == ["run-b", "run-d", "run-a"]
        assert await store.history(Wanted(member="nobody"), 9) == []

    async def test_what_is_not_there_is_none(self, store: Ledger) -> None:
        """A run id that nobody made is answered with None."""
        assert await store.get("run-9") is None


class TestCancelledCallers:
    async def test_a_transaction_outlives_its_caller(
        self, store: Ledger, shelf: Shelf, thread: ThreadPoolExecutor
    ) -> None:
        """Who is cancelled while the store is busy gets no answer, but what was asked for is done."""
        run = await running(store)
        free = threading.Event()
        busy = thread.submit(free.wait)
        callers = [
            asyncio.create_task(store.settle(run, End(ending=Ending.VIDEO, cost_u=5), now=3.0)),
            asyncio.create_task(admitted(store, "2")),
        ]
        await asyncio.sleep(0.01)
        for caller in callers:
            caller.cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        free.set()
        assert await asyncio.wrap_future(busy)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2
        settled, second = await store.get("run-1"), await store.get("run-2")
        assert settled is not None
        assert second is not None
        assert (settled.state, settled.charged_u, second.state) == (S.SUCCEEDED, 5, S.RESERVED)
        assert await books(store, member_level()) == (PRICE_U, 5)

    async def test_a_refusal_that_nobody_hears_is_no_trouble(
        self, store: Ledger, thread: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where the caller is gone by the time that the limit refuses, nothing is logged about it."""
        free = threading.Event()
        busy = thread.submit(free.wait)
        caller = asyncio.create_task(admitted(store, "1", member_level(limit_u=0)))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        del caller
        free.set()
        assert await asyncio.wrap_future(busy)
        assert await store.get("run-1") is None  # behind the refusal
        await asyncio.sleep(0)
        gc.collect()  # where asyncio tells of errors that nobody asked for
        assert caplog.records == []

    @pytest.mark.parametrize("seed", range(8))
    async def test_no_moment_of_cancelling_loses_anything(self, store: Ledger, shelf: Shelf, seed: int) -> None:
        """Wishes cancelled at random moments are admitted whole or not at all, and may be asked for again."""
        chance = random.Random(seed)
        level = member_level(limit_u=30 * PRICE_U)
        callers = []
        for n in range(40):
            callers.append(asyncio.create_task(admitted(store, str(n), level)))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() / 1000)
            chance.choice(callers).cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        await store.history(Wanted(member="bo"), 1)  # behind all that was queued before it
        known = {run.run_id: run for run in await store.history(Wanted(member="bo"), 99)}
        for answer in answers:
            assert isinstance(answer, Run | OverLimit | asyncio.CancelledError)
            assert not isinstance(answer, Run) or known[answer.run_id] == answer
        assert await books(store, level) == (len(known) * PRICE_U, 0)
        assert shelf.audit() == []
        again = await asyncio.gather(*(admitted(store, str(n), level) for n in range(40)), return_exceptions=True)
        assert sum(isinstance(answer, Run) for answer in again) == 30
        assert await books(store, level) == (30 * PRICE_U, 0)


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[tuple[SqliteStore, SqliteShelf]]:
    shelf = SqliteShelf(tmp_path)
    store = open_store(shelf.url)
    yield store, shelf
    await store.close()


READERS = (
    "offer_of",
    "answer_to",
    "rules",
    "acts",
    "standings",
    "lengths",
    "line",
    "get",
    "history",
    "prompts",
    "open_of",
    "lookup_proven",
)
WRITERS = (
    *("admit", "offer", "keep", "ask", "asked", "take", "deny", "withdraw", "drop", "cancel", "decide", "grant"),
    "keep_answer",
    *("press", "refund", "release", "claim_due", "recover", "wake", "begin_submit", "advance", "settle", "correct"),
    *("looked_up", "check", "forget_first_tries"),
)


def question(name: str = "1") -> Offer:
    return Offer(
        offer_id=f"offer-{name}",
        kind=OfferKind.CONFIRM,
        wish=wish(name).wish,
        choices=(Choice(request=wish(name).wish.request, price_u=PRICE_U),),
        expires_at=600.0,
    )


class Again(Writer):
    """Undoes each transaction once, and runs it again."""

    async def write(self, work: Callable[[Transaction], Any]) -> Any:
        def twice(tx: Transaction) -> Any:
            tx.execute("SAVEPOINT once")
            work(tx)
            tx.execute("ROLLBACK TO once")
            tx.execute("RELEASE once")
            return work(tx)

        return await super().write(twice)


async def every_verb(store: SqliteStore) -> dict[str, Callable[[], Any]]:
    """A call of each verb, on books in which it finds something to do."""
    run, waiting, doubted = (
        await running(store),
        await admitted(store, "2", now=1.0),
        await in_state(store, S.UNKNOWN, "4"),
    )
    over = await ended(store, "5", End(ending=Ending.VIDEO, cost_u=PRICE_U))
    await store.keep(question("6"), now=1.0)
    levels = [Level(scope=scope, period=NOVEMBER, limit_u=9 * PRICE_U, in_flight_max=9) for scope in BO.scopes]
    rule_ = Rule(server="1", subject="member:bo", kind=RuleKind.REQUEST_CHANNEL)
    lifted = replace(rule_, kind=RuleKind.BLOCK)
    return {
        "admit": lambda: admitted(store, "3", *levels),
        "offer": lambda: store.offer(question("3"), wish("3"), lambda _: levels),
        "keep": lambda: store.keep(question("3"), now=1.0),
        "offer_of": lambda: store.offer_of("offer-6"),
        "ask": lambda: store.ask("offer-6", now=5.0, pause_s=9.0),
        "asked": lambda: store.asked("offer-6", "message"),
        "take": lambda: store.take("offer-6", wish("6"), lambda _: levels, approve=lambda _: ACT),
        "drop": lambda: store.drop("offer-3"),
        "withdraw": lambda: store.withdraw("offer-6"),
        "cancel": lambda: store.cancel(waiting.run_id, waiting.member, now=9.0),
        "deny": lambda: store.deny("offer-6", ACT),
        "answer_to": lambda: store.answer_to("origin-1"),
        "keep_answer": lambda: store.keep_answer("origin-1", "said", now=9.0),
        "press": lambda: store.press("button", "origin-1", now=9.0, within_s=5.0),
        "rules": lambda: store.rules("1"),
        "decide": lambda: store.decide(ACT, lambda _: Change(put=(rule_,), lift=(lifted,))),
        "grant": lambda: store.grant("1", lambda _: levels[0], 1, ACT),
        "refund": lambda: store.refund(over.run_id, lambda _: 1, lambda _: levels[-1], ACT),
        "release": lambda: store.release(doubted, ACT, End(ending=Ending.FAILED)),
        "acts": lambda: store.acts("1", 9),
        "standings": lambda: store.standings(BO, lambda _: levels),
        "claim_due": lambda: store.claim_due(9.0, lease_until=99.0, limit=9, total_max=99),
        "lengths": lambda: store.lengths(9),
        "line": lambda: store.line(9.0),
        "recover": lambda: store.recover(9.0, deadline_s=3600.0),
        "forget_first_tries": lambda: store.forget_first_tries(9.0),
        "wake": lambda: store.wake("token-1", "job"),
        "begin_submit": lambda: store.begin_submit(waiting, now=9.0, total_max=9),
        "advance": lambda: store.advance(run, run.state, now=9.0, changes=RunChanges(tries=1)),
        "settle": lambda: store.settle(run, End(ending=Ending.VIDEO), now=9.0),
        "correct": lambda: store.correct(over, 5, now=9.0),
        "get": lambda: store.get("run-1"),
        "looked_up": lambda: store.looked_up("run-1", fresh=True),
        "lookup_proven": store.lookup_proven,
        "check": store.check,
        "history": lambda: store.history(Wanted(member="bo", server="guild", older_than=(1.0, "run-1")), 9),
        "prompts": lambda: store.prompts("bo", "fox", searched=9, limit=9),
        "open_of": lambda: store.open_of("bo", "discord:1", now=0.0, limit=9),
    }


async def together(executor: Inline, *verbs: Coroutine[Any, Any, object]) -> list[object]:
    """The answers, or errors, of verbs that reach the writer while it is busy with something else."""
    executor.gather()
    tasks = [asyncio.create_task(verb) for verb in verbs]
    await asyncio.sleep(0)
    executor.go()
    return await asyncio.gather(*tasks, return_exceptions=True)


class TestSqlite:
    """What only the store on SQLite promises, or can be made to fail."""

    async def test_an_answer_is_on_the_disk(self, sqlite_store: tuple[SqliteStore, SqliteShelf]) -> None:
        """Commits are durable when they are answered (SQLite docs, PRAGMA synchronous), and references are checked."""
        store, _ = sqlite_store
        pragmas = ("synchronous", "journal_mode", "foreign_keys")
        values = [store.writer.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        assert values == [2, "wal", 1]

    async def test_without_its_file_nothing_is_sold(self, sqlite_store: tuple[SqliteStore, SqliteShelf]) -> None:
        """A store whose connection is gone refuses every verb with StoreDown, and the books stay as they were."""
        store, shelf = sqlite_store
        run, over = await running(store), await ended(store, "2")
        before = shelf.dump()
        store.writer.connection.close()
        verbs: list[Callable[[], Any]] = [
            lambda: admitted(store, "3"),
            lambda: store.claim_due(9.0, lease_until=99.0, limit=9, total_max=99),
            lambda: store.lengths(9),
            lambda: store.recover(9.0, deadline_s=3600.0),
            lambda: store.forget_first_tries(9.0),
            lambda: store.wake("token-1", None),
            lambda: store.begin_submit(replace(run, state=S.RESERVED), now=9.0, total_max=9),
            lambda: store.advance(run, run.state, now=9.0, changes=RunChanges(tries=1)),
            lambda: store.settle(run, End(ending=Ending.VIDEO), now=9.0),
            lambda: store.correct(over, 5, now=9.0),
            lambda: store.get("run-1"),
            lambda: store.looked_up("run-1", fresh=True),
            store.lookup_proven,
            lambda: store.history(Wanted(member="bo"), 9),
            lambda: stand(store, member_level()),
            lambda: store.release(replace(run, state=S.UNKNOWN), ACT, End(ending=Ending.FAILED)),
            lambda: store.offer(question("4"), wish("4"), lambda _: [member_level()]),
            lambda: store.keep(question("4"), now=1.0),
            lambda: store.offer_of("offer-4"),
            lambda: store.ask("offer-4", now=1.0, pause_s=9.0),
            lambda: store.asked("offer-4", "message"),
            lambda: store.take("offer-4", wish("4"), lambda _: [member_level()], approve=None),
            lambda: store.deny("offer-4", ACT),
            lambda: store.answer_to("origin-4"),
            lambda: store.keep_answer("origin-4", "said", now=9.0),
            lambda: store.press("button", "origin-4", now=9.0, within_s=5.0),
            lambda: store.rules("1"),
            lambda: put_rule(store, Rule(server="1", subject="member:bo", kind=RuleKind.BLOCK), ACT),
            lambda: lift_rule(store, Rule(server="1", subject="member:bo", kind=RuleKind.BLOCK), ACT),
            lambda: store.grant("1", lambda _: member_level(limit_u=1), 1, ACT),
            lambda: store.refund("run-2", lambda _: 1, lambda _: member_level(limit_u=1), ACT),
            lambda: store.acts("1", 9),
            store.media_key,
        ]
        for verb in verbs:
            with pytest.raises(StoreDown):
                await verb()
        assert shelf.dump() == before

    async def test_a_full_disk_writes_nothing_half(self, sqlite_store: tuple[SqliteStore, SqliteShelf]) -> None:
        """Where a page is missing the whole transaction is undone; with room again the same wish is admitted."""
        store, shelf = sqlite_store
        await admitted(store, "0")
        pages = store.writer.connection.execute("PRAGMA page_count").fetchone()[0]
        store.writer.connection.execute(f"PRAGMA max_page_count = {pages}")
        big, levels = VeoRequest(prompt="x" * 1500), (total_level(), member_level())
        answers, dumps = [], [shelf.dump()]
        for n in range(1, 20):
            answers.append(await asyncio.gather(admitted(store, str(n), *levels, request=big), return_exceptions=True))
            dumps.append(shelf.dump())
        fitted = len(dumps[-1]["run"]) - 1
        assert 0 < fitted < 19
        assert [type(answer) for (answer,) in answers] == [Run] * fitted + [StoreDown] * (19 - fitted)
        assert all(dump == dumps[fitted] for dump in dumps[fitted:])
        assert shelf.audit() == []
        store.writer.connection.execute("PRAGMA max_page_count = 1000000")
        await admitted(store, "19", *levels, request=big)
        assert await books(store, total_level()) == ((fitted + 2) * PRICE_U, 0)  # with the one of before it was opened

    async def test_a_crowd_shares_one_commit(self, tmp_path: Path) -> None:
        """What has queued up behind a busy disk is committed once; who is refused among it takes nobody along."""
        shelf, executor = SqliteShelf(tmp_path), Inline()
        store = open_store(shelf.url, executor=executor)
        statements: list[str] = []
        store.writer.connection.set_trace_callback(statements.append)
        level = member_level(limit_u=2 * PRICE_U)
        answers = await together(
            executor,
            admitted(store, "1", level),
            admitted(store, "2", level, price_u=3 * PRICE_U),
            admitted(store, "3", level, price_u=0),
            admitted(store, "4", level),
            admitted(store, "5", level),
        )
        assert [type(answer) for answer in answers] == [Run, OverLimit, sqlite3.IntegrityError, Run, OverLimit]
        assert [sql for sql in statements if sql.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
        assert {row[0] for row in shelf.dump()["run"]} == {"run-1", "run-4"}
        assert await books(store, level) == (2 * PRICE_U, 0)
        await store.close()
        assert shelf.audit() == []

    async def test_where_the_shared_commit_breaks_each_has_its_own(self, tmp_path: Path) -> None:
        """A wish for which the disk has no room is refused alone: what fits beside it is done, and done once."""
        shelf, executor = SqliteShelf(tmp_path), Inline()
        store = open_store(shelf.url, executor=executor)
        waiting = await admitted(store, "0")
        pages = store.writer.connection.execute("PRAGMA page_count").fetchone()[0]
        store.writer.connection.execute(f"PRAGMA max_page_count = {pages}")
        answers = await together(
            executor,
            store.begin_submit(waiting, now=1.0, total_max=1),
            admitted(store, "1", request=VeoRequest(prompt="x" * 90_000)),
            store.wake("token-0", "job"),
        )
        assert [type(answer) for answer in answers] == [Run, StoreDown, Woken]
        run = await store.get("run-0")
        assert run is not None
        assert (run.state, run.posts, run.candidate_id) == (S.SUBMITTING, 1, "job")
        assert [row[0] for row in shelf.dump()["run"]] == ["run-0"]
        await store.close()
        assert shelf.audit() == []

    async def test_a_locked_database_is_a_store_that_is_down(
        self, sqlite_store: tuple[SqliteStore, SqliteShelf]
    ) -> None:
        """While another program holds the write lock nothing is admitted; afterwards everything goes on."""
        store, shelf = sqlite_store
        store.writer.connection.execute("PRAGMA busy_timeout = 1")
        with closing(sqlite3.connect(shelf.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreDown):
                await admitted(store)
            other.execute("ROLLBACK")
        assert (await admitted(store)).state == S.RESERVED

    async def test_a_bug_in_a_transaction_undoes_all_of_it(self, sqlite_store: tuple[SqliteStore, SqliteShelf]) -> None:
        """What the checks of the schema refuse is raised as the error that it is, and nothing of it stays."""
        store, shelf = sqlite_store
        await running(store, "1")
        unnamed = await in_state(store, S.SUBMITTING, "2")
        before = shelf.dump()
        with pytest.raises(sqlite3.IntegrityError):
            await store.advance(unnamed, S.RUNNING, now=9.0, changes=RunChanges())
        with pytest.raises(sqlite3.IntegrityError):
            await store.advance(unnamed, S.RUNNING, now=9.0, changes=RunChanges(provider_id="job-1"))
        with pytest.raises(sqlite3.IntegrityError):
            await admitted(store, "3", price_u=0)
        assert shelf.dump() == before

    @pytest.mark.parametrize("verb", [*READERS, *WRITERS])
    async def test_no_verb_reads_the_whole_history(
        self, sqlite_store: tuple[SqliteStore, SqliteShelf], verb: str
    ) -> None:
        """Each write takes the lock first, and every statement finds its rows by an index, whatever has piled up."""
        store, _ = sqlite_store
        verbs = await every_verb(store)
        statements: list[str] = []
        connection = store.writer.connection
        connection.set_trace_callback(lambda sql: statements.append(sql.strip()))
        await verbs[verb]()
        connection.set_trace_callback(None)
        # Behind a new act SQLite looks for rows that lack it, but only while some are known to lack one.
        explained = [sql for sql in statements if re.match("SELECT|UPDATE|DELETE|INSERT (?!INTO act )", sql)]
        plans = [row[3] for sql in explained for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
        assert verb == "check" or any(plan.startswith("SEARCH") for plan in plans)
        assert verb in READERS or statements[0] == "BEGIN IMMEDIATE"  # a reader that turns writer can fail
        made = {plan.split()[-1] for plan in plans if plan.startswith(("CO-ROUTINE", "MATERIALIZE"))}  # subqueries
        scans = {plan for plan in plans if plan.startswith("SCAN") and plan.split()[1] not in made}
        assert scans <= {"SCAN run USING INDEX run_unended", "SCAN run USING INDEX run_in_line"}  # for the first of it

    @pytest.mark.parametrize("verb", WRITERS)
    async def test_a_verb_may_be_run_again_from_its_start(self, tmp_path: Path, verb: str) -> None:
        """Where its transaction was undone the second time answers and writes what the first would have."""
        dumps, answers = [], []
        for kind in (Writer, Again):
            shelf = SqliteShelf(tmp_path)
            store = SqliteStore(kind(str(shelf.path), Inline()))
            answer = await (await every_verb(store))[verb]()
            answers.append(list(answer) if isinstance(answer, Rules) else answer)
            await store.close()
            dumps.append({name: rows for name, rows in shelf.dump().items() if name != "installation"})
        assert answers[0] == answers[1]
        assert dumps[0] == dumps[1]

    def test_every_verb_is_among_these(self) -> None:
        """A new verb of a port is not forgotten by the tests above."""
        verbs = {name for name in dir(Ledger) if inspect.iscoroutinefunction(getattr(Ledger, name))}
        assert verbs == {*READERS, *WRITERS}


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of verbs against a model that knows nothing but the rules of the money.

    `views` are what callers may still hold in hand: runs as they once were. The model has one dict for each
    run, and derives what every level holds and has spent from them alone.
    """

    views = Bundle("views")
    shelf_kind: Callable[[Path], Shelf] = SqliteShelf
    levels_seen: set[tuple[str, Period]]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.home = ExitStack()
        folder = self.home.enter_context(home())
        self.shelf = type(self).shelf_kind(folder)
        self.store = self.shelf.open(Inline())
        self.now, self.period, self.runs = 0.0, NOVEMBER, dict[str, dict[str, Any]]()
        self.levels_seen = set()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.loop.run_until_complete(self.shelf.close(self.store))
            self.home.close()
            self.loop.close()

    def expected(self, scope: str, key: str) -> tuple[int, int]:
        mine = [run for run in self.runs.values() if run["key"] == key and scope in ("total", run["scope"])]
        return sum(run["price_u"] for run in mine if not run["over"]), sum(run["charged_u"] for run in mine)

    def current(self, view: Run) -> dict[str, Any] | None:
        """The model of the run, if the view is not stale."""
        run = self.runs[view.run_id]
        return run if (run["state"], run["delivery"]) == (view.state, view.delivery) else None

    def keep(self, run: Run | None, model: dict[str, Any] | None, **changes: Any) -> Any:
        """Store and model agree whether there was a move, and where it led."""
        assert (run is None) == (model is None)
        if run is None or model is None:
            return multiple()
        model.update(changes, state=changes.get("state", run.state))
        assert (run.state, run.delivery) == (model["state"], model["delivery"])
        assert (run.charged_u, run.cost_u) == (model["charged_u"], model["cost_u"])
        return run

    @rule(
        target=views,
        member=st.sampled_from(["ann", "bo"]),
        price_u=st.integers(1, 5),
        limit_u=st.none() | st.integers(0, 20),
        total_u=st.none() | st.integers(10, 40),
    )
    def admit(self, member: str, price_u: int, limit_u: int | None, total_u: int | None) -> Any:
        self.now += 1
        name, levels = (
            str(len(self.runs)),
            [total_level(total_u, self.period), member_level(member, limit_u, self.period, in_flight_max=4)],
        )
        new = wish(name, member=member, price_u=price_u, now=self.now)
        taken = [run for run in self.runs.values() if run["scope"] == levels[1].scope]
        busy = sum(run["state"] in IN_FLIGHT | {S.RESERVED} for run in taken) >= 4
        full = [
            level.scope
            for level in levels
            if level.limit_u is not None and sum(self.expected(level.scope, self.period.key)) + price_u > level.limit_u
        ]
        before = self.shelf.dump()
        try:
            run = self.loop.run_until_complete(self.store.admit(new, lambda _: levels))
        except TooManyInFlight as refusal:
            refused_by = [f"runs of {refusal.scope}"]
        except OverLimit as refusal:
            refused_by = [refusal.scope]
        else:
            refused_by = []
        assert refused_by == ([f"runs of {levels[1].scope}"] if busy else full[:1])
        if refused_by:
            assert only_opened(before, self.shelf.dump())
            return multiple()
        self.levels_seen |= {(level.scope, self.period) for level in levels}
        self.runs[run.run_id] = model = {"key": self.period.key, "scope": levels[1].scope, "price_u": price_u}
        model |= {"created": self.now, "delivery": Delivery.NONE, "charged_u": 0, "cost_u": None, "over": False}
        return self.keep(run, model, state=S.RESERVED)

    @rule(target=views, view=views)
    def begin_submit(self, view: Run) -> Any:
        if view.state != S.RESERVED:
            return multiple()
        model, places = self.current(view), 0
        for run in self.runs.values():
            older = run["state"] == S.RESERVED and run["created"] < self.runs[view.run_id]["created"]
            places += run["state"] in IN_FLIGHT or older
        begun = self.loop.run_until_complete(self.store.begin_submit(view, now=self.now, total_max=4))
        return self.keep(begun, model if places < 4 else None, state=S.SUBMITTING)

    @rule(target=views, view=views, choice=st.integers(0, 9), delivery=st.sampled_from(Delivery))
    def advance(self, view: Run, choice: int, delivery: Delivery) -> Any:
        ways = [*sorted(MOVES[view.state] - TERMINAL - {S.SUBMITTING}), view.state]
        to = ways[choice % len(ways)]
        changes = RunChanges(delivery=delivery)
        if to == S.RUNNING:
            changes["provider_id"] = f"job-{view.run_id}"
        moved = self.loop.run_until_complete(self.store.advance(view, to, now=self.now, changes=changes))
        return self.keep(moved, self.current(view), state=to, delivery=delivery)

    @rule(target=views, view=views, ending=st.sampled_from(Ending), cost_u=st.none() | st.integers(0, 9))
    def settle(self, view: Run, ending: Ending, cost_u: int | None) -> Any:
        state = STATE_OF_ENDING[ending]
        if state not in MOVES[view.state] or view.state == S.UNKNOWN:
            return multiple()
        estimate_u = view.price_u if state == S.SUCCEEDED else 0
        done = self.loop.run_until_complete(self.store.settle(view, End(ending=ending, cost_u=cost_u), now=self.now))
        changes = {"state": state, "delivery": Delivery.PENDING, "over": True, "cost_u": cost_u}
        model = self.current(view)
        return self.keep(done, model, **changes, charged_u=estimate_u if cost_u is None else cost_u)

    @rule(target=views, view=views)
    def release(self, view: Run) -> Any:
        if view.state != S.UNKNOWN:
            return multiple()
        done = self.loop.run_until_complete(self.store.release(view, ACT, End(ending=Ending.FAILED)))
        return self.keep(done, self.current(view), state=S.FAILED, delivery=Delivery.PENDING, over=True)

    @rule(target=views, view=views, cost_u=st.integers(0, 9))
    def correct(self, view: Run, cost_u: int) -> Any:
        model = self.runs[view.run_id]
        if not model["over"]:
            return multiple()
        if model["cost_u"] is None:
            model |= {"cost_u": cost_u, "charged_u": cost_u}
        return self.keep(self.loop.run_until_complete(self.store.correct(view, cost_u, now=self.now)), model)

    @rule()
    def roll_over(self) -> None:
        number, starts_at = int(self.period.key[-2:]) + 1, self.period.resets_at
        self.period = Period(kind="month", key=f"2026-{number:02d}", starts_at=starts_at, resets_at=starts_at + 1000)
        self.now = starts_at

    @rule()
    def open_again(self) -> None:
        self.loop.run_until_complete(self.shelf.close(self.store))
        self.store = self.shelf.open(Inline())

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.shelf.audit() == []
        for scope, period in self.levels_seen:
            stands = books(self.store, Level(scope=scope, period=period, limit_u=None))
            assert self.loop.run_until_complete(stands) == self.expected(scope, period.key)


@pytest.mark.parametrize("kind", SHELVES.values(), ids=SHELVES)
def test_any_sequence_of_verbs_keeps_the_books(kind: Callable[[Path], Shelf]) -> None:
    """Random verbs, stale views, refusals, corrections, period ends and reopenings agree with a small model."""

    class Machine(StoreMachine):
        shelf_kind = staticmethod(kind)

    run_state_machine_as_test(Machine, settings=settings(max_examples=20, stateful_step_count=30))
