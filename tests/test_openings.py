"""A period is opened once: whoever is refused leaves it open, and nobody after them sums the runs that it had."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from bot.domain.acts import Verb
from bot.domain.limits import EVERYWHERE, Level, OverLimit, RuleKind
from bot.domain.periods import Period
from bot.domain.records import Choice, Offer, OfferKind
from bot.domain.runs import Run
from bot.errors import StoreDown
from storage import SqliteStore, check_books, open_store
from tests.core import ADA, SERVER, Bot
from tests.money import PRICE_U, Inline, dump, empty_books, new_run, only_opened, wish, work_of

MONTH = Period(kind="month", key="2026-11", starts_at=0.0, resets_at=1000.0)
WEEK = Period(kind="week", key="2026-W47", starts_at=0.0, resets_at=500.0)
MEMBER = Level(scope="member:discord:1", period=MONTH, limit_u=None)
SCOPES = ("total", "server:discord:2", "channel:discord:3", "role:discord:4", "member:discord:1")
Ask = Callable[[SqliteStore, str], Awaitable[object]]


def full(scope: str) -> list[Level]:
    """The levels of a wish, of which that one is limited to less than it holds, by a period that is not open yet."""
    return [Level(scope=scope, period=WEEK, limit_u=1), MEMBER]


async def books(path: Path, runs: int) -> SqliteStore:
    """Books in which nobody counts by the week."""
    path.write_bytes(empty_books())
    store = open_store(f"sqlite:///{path}", executor=Inline())
    for number in range(runs):
        await store.admit(new_run(f"before {number}", now=1.0), lambda _: [MEMBER])
    return store


def question(name: str) -> Offer:
    wish = new_run(name, now=2.0).wish
    choices = (Choice(request=wish.request, price_u=PRICE_U),)
    return Offer(offer_id=f"offer {name}", kind=OfferKind.CONFIRM, wish=wish, choices=choices, expires_at=600.0)


async def admit(store: SqliteStore, name: str, scope: str = "total") -> object:
    return await store.admit(new_run(name, now=2.0), lambda _: full(scope))


async def offer(store: SqliteStore, name: str) -> object:
    return await store.offer(question(name), new_run(name, now=2.0), lambda _: full("total"))


async def take(store: SqliteStore, name: str) -> object:
    await store.keep(question(name), now=1.0)
    return await store.take(f"offer {name}", new_run(name, now=2.0), lambda _: full("total"), approve=None)


VERBS: dict[str, Ask] = {"admit": admit, "offer": offer, "take": take}


@pytest.mark.parametrize("scope", SCOPES)
async def test_who_is_refused_again_costs_the_same_whatever_the_period_has(tmp_path: Path, scope: str) -> None:
    """The first refusal sums and takes over the runs of the period; for those after it they might not be there."""
    costs = {}
    for runs in (2, 200):
        store = await books(tmp_path / f"{runs}.db", runs)
        with pytest.raises(OverLimit), work_of(store) as first:
            await admit(store, "first", scope)
        with pytest.raises(OverLimit), work_of(store) as second:
            await admit(store, "second", scope)
        with work_of(store) as looked:
            (standing, _) = await store.standings(new_run("", now=2.0).wish.spender, lambda _: full(scope))
        assert standing.held_u == runs * PRICE_U
        await store.close()
        costs[runs] = first[0], second[0] + looked[0]
    assert costs[200][0] > 10 * costs[2][0]
    assert costs[200][1] <= 1.5 * costs[2][1] + 1


@pytest.mark.parametrize("verb", VERBS)
async def test_what_was_opened_for_a_refused_wish_stays(tmp_path: Path, verb: str) -> None:
    """The period is there with its runs, nothing else was written, and a restart finds it so."""
    path = tmp_path / "veo.db"
    store = await books(path, 3)
    if verb == "take":
        await store.keep(question("refused"), now=1.0)
    before = dump(path)
    with pytest.raises(OverLimit) as refusal:
        await VERBS[verb](store, "refused")
    assert (refusal.value.scope, refusal.value.standing.held_u) == ("total", 3 * PRICE_U)
    after = dump(path)
    assert only_opened(before, after)
    assert [row[:2] for row in after["budget"] if row not in before["budget"]] == [("total", WEEK.key)]
    await store.close()
    store = open_store(f"sqlite:///{path}", executor=Inline())
    with pytest.raises(OverLimit):
        await VERBS[verb](store, "refused")
    assert dump(path) == after
    await store.close()
    assert check_books(f"sqlite:///{path}") == []


async def test_a_question_leaves_its_periods_open_and_holds_nothing(tmp_path: Path) -> None:
    """Whoever is asked whether to pay has every level open by then, at what it had before."""
    store = await books(tmp_path / "veo.db", 3)
    levels = [Level(scope=scope, period=WEEK, limit_u=None) for scope in SCOPES]
    await store.offer(question("asked"), new_run("asked", now=2.0), lambda _: levels)
    with work_of(store) as looked:
        stands = await store.standings(new_run("", now=2.0).wish.spender, lambda _: levels)
    assert [each.held_u for each in stands] == [3 * PRICE_U] * 5
    assert {row[0] for row in dump(tmp_path / "veo.db")["budget"] if row[1] == WEEK.key} == set(SCOPES)
    assert looked[0] < 20
    await store.close()
    assert check_books(f"sqlite:///{tmp_path / 'veo.db'}") == []


async def test_who_comes_together_with_a_refused_one_shares_what_was_opened(tmp_path: Path) -> None:
    """In one commit: the first is refused and opens the period, the second is held in it, the third is refused."""
    path = tmp_path / "veo.db"
    await (await books(path, 3)).close()
    executor = Inline()
    store = open_store(f"sqlite:///{path}", executor=executor)
    room = [Level(scope="total", period=WEEK, limit_u=4 * PRICE_U), MEMBER]
    executor.gather()
    asked = [
        asyncio.create_task(admit(store, "1")),
        asyncio.create_task(store.admit(new_run("2", now=2.0), lambda _: room)),
        asyncio.create_task(store.admit(new_run("3", now=2.0), lambda _: room)),
    ]
    await asyncio.sleep(0)
    executor.go()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OverLimit, Run, OverLimit]
    (standing, _) = await store.standings(new_run("", now=2.0).wish.spender, lambda _: room)
    assert standing.held_u == 4 * PRICE_U
    await store.close()
    assert check_books(f"sqlite:///{path}") == []


@pytest.mark.parametrize("scope", SCOPES)
async def test_who_asks_after_a_limit_came_or_went_sums_nothing(tmp_path: Path, scope: str) -> None:
    """Its period is open with the act: who is refused then, or looks where they stand, costs the same for 90 runs as 3.

    And so when it goes, and the month counts again, by which nobody has counted this month.
    """
    costs = {}
    for runs in (3, 90):
        bot = Bot(tmp_path / f"{runs}.db", member_limit_u=None)
        admin = replace(ADA, server=EVERYWHERE if scope == "total" else SERVER)
        limit = partial(bot.admins.set_limit, admin, scope, RuleKind.LIMIT, in_flight=None)
        await limit(amount="none", period="day")
        for _ in range(runs):
            await bot.ended()
        await limit(amount="0.50", period="week")
        with work_of(bot.store) as limited:
            with pytest.raises(OverLimit) as refusal:
                await bot.run()
            standing = await bot.stands(scope)
        assert refusal.value.standing == standing
        assert (standing.period.kind, standing.spent_u) == ("week", runs * PRICE_U)
        await bot.admins.change(admin, Verb.LIFT_LIMIT, scope)
        with work_of(bot.store) as lifted:
            await bot.run()
            stands = await bot.admission.standings(wish("").spender)
        assert {(each.period.kind, each.spent_u) for each in stands} == {("month", runs * PRICE_U)}
        costs[runs] = limited[0] + lifted[0]
        await bot.close()
    assert costs[90] <= 1.2 * costs[3] + 1


class Torn:
    """Stands where the writer's connection is; from one statement on nothing gets through any more."""

    def __init__(self, connection: sqlite3.Connection, statements: int) -> None:
        self.connection = connection
        self.left = statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        return self._through(self.connection.execute, statement)

    def executemany(self, *statement: Any) -> sqlite3.Cursor:
        return self._through(self.connection.executemany, statement)

    def _through(self, execute: Callable[..., sqlite3.Cursor], statement: tuple[Any, ...]) -> sqlite3.Cursor:
        self.left -= 1
        if self.left < 0:
            raise sqlite3.OperationalError("disk I/O error")
        return execute(*statement)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_crash_leaves_all_of_an_opening_or_nothing(tmp_path: Path, verb: str) -> None:
    """Wherever a refused wish breaks off, the period is there with all of its runs, or as if nobody had asked."""
    path = tmp_path / "veo.db"
    store = await books(path, 3)
    if verb == "take":
        await store.keep(question("refused"), now=1.0)
    await store.close()
    whole, broken = path.read_bytes(), 0
    while True:
        path.write_bytes(whole)
        before = dump(path)

        def torn(connection: sqlite3.Connection, statements: int = broken) -> sqlite3.Connection:
            return cast("sqlite3.Connection", Torn(connection, statements))

        store = open_store(f"sqlite:///{path}", executor=Inline(), through=torn)
        with pytest.raises((StoreDown, OverLimit)) as answer:
            await VERBS[verb](store, "refused")
        await store.close()
        after = dump(path)
        assert check_books(f"sqlite:///{path}") == []
        if isinstance(answer.value, OverLimit):
            assert only_opened(before, after)
            assert before != after
            break
        assert after == before
        broken += 1
    assert broken > 10
