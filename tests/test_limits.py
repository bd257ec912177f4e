"""What a limit promises: whoever asks at once, whenever it was set, and whatever is answered twice.

In one piece, because its last part takes each guard of the first parts out again.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest

from bot.domain.acts import Detail, Verb
from bot.domain.limits import EVERYWHERE, TOTAL, Level, OverLimit, Plan, RuleKind, Spender, TooManyInFlight, most_u
from bot.domain.models import Duration, VeoRequest
from bot.domain.periods import PeriodKind, period_at
from bot.domain.records import Admin, End, Offer, OfferState
from bot.domain.runs import Ending, Run, RunState
from bot.errors import AskLater, BadAmount, BadRequest, NotAllowed, OfferGone, OverQuota, Refusal
from bot.services.admission import CONFIRM_LIFE_S, DENIAL_PAUSE_S, REQUEST_LIFE_S, AddsMore, Answer, AskFirst, CostsMore
from storage import check_books
from storage.verbs.books import RESERVE
from tests.core import ADA, NOON, SERVER, UTC, Bot
from tests.money import PRICE_U, dump, new_run, only_opened, wish

Answered = TypeVar("Answered")
NOVEMBER = period_at(NOON, "month", UTC)
DAY_S = 86400.0
THREADS = 8
BO, AL, CY = "discord:1", "discord:11", "discord:12"
EVE = Admin(server=SERVER, actor="discord:91", name="Eve")
SORTS = ("total", "server", "channel", "role", "member")
SCOPES = {
    "server": "server:discord:2",
    "channel": "channel:discord:3",
    "role": "role:discord:4",
    "member": "member:discord:1",
}


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    """One whose books balance when the test is over."""
    started = Bot(tmp_path / "veo.db")
    yield started
    await started.close()


async def at_once(asks: Sequence[Callable[[], Coroutine[Any, Any, Answered]]]) -> list[Answered | Refusal]:
    """What each was answered, asked from many tasks in each of many threads, which start together."""
    start, answers = threading.Barrier(THREADS), dict[int, list[Answered | BaseException]]()

    def some(thread: int) -> None:
        async def ask() -> list[Answered | BaseException]:
            return await asyncio.gather(*(each() for each in asks[thread::THREADS]), return_exceptions=True)

        start.wait()
        answers[thread] = asyncio.run(ask())

    def everybody() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(some, range(THREADS)))

    await asyncio.to_thread(everybody)
    found: list[Answered | Refusal] = []
    for place in range(len(asks)):
        answer = answers[place % THREADS][place // THREADS]
        if isinstance(answer, BaseException) and not isinstance(answer, Refusal):
            raise answer
        found.append(answer)
    return found


def fixed(*levels: Level) -> Plan:
    """These levels, whatever the rules."""
    return lambda _: list(levels)


async def test_of_200_at_once_exactly_5_are_admitted(bot: Bot) -> None:
    """Many threads and tasks ask for the room of five: five have it, each other is told so, the books say five."""
    plan = fixed(Level(scope=SCOPES["member"], period=NOVEMBER, limit_u=5 * PRICE_U + PRICE_U // 2))
    asks = [lambda n=n: bot.store.admit(new_run(str(n), now=NOON), plan) for n in range(200)]
    answers = await at_once(asks)
    refusals = [each for each in answers if isinstance(each, OverLimit)]
    assert (len(refusals), sum(isinstance(each, Run) for each in answers)) == (195, 5)
    assert {refusal.scope for refusal in refusals} == {SCOPES["member"]}
    assert {(refusal.price_u, refusal.standing.left_u) for refusal in refusals} == {(PRICE_U, PRICE_U // 2)}
    assert bot.rows("SELECT scope, held_u, spent_u FROM budget") == [(SCOPES["member"], 5 * PRICE_U, 0)]
    assert bot.rows("SELECT count(*) FROM run") == [(5,)]


@pytest.mark.parametrize("narrow", SORTS)
async def test_of_200_at_once_the_narrowest_of_five_levels_admits_exactly_5(bot: Bot, narrow: str) -> None:
    """Whichever level has room for five, the 195 others hear its name, and no level counts a run that was not made."""

    def asking(n: int) -> Callable[[], Coroutine[Any, Any, Run]]:
        one_server = narrow in ("server", "channel", "role")
        who = Spender(
            member=BO if narrow == "member" else f"discord:10{n % 7}",
            server=SERVER if one_server else f"discord:20{n % 3}",
            channel="discord:3" if narrow == "channel" else f"discord:30{n % 6}",
            roles=("discord:4",) if narrow == "role" else (f"discord:40{n % 2}",),
        )
        levels = [
            Level(scope=scope, period=NOVEMBER, limit_u=(5 if sort == narrow else 200) * PRICE_U)
            for sort, scope in zip(SORTS, who.scopes, strict=True)
        ]
        new = new_run(
            str(n), now=NOON, member=who.member, server=who.server, budget_channel=who.channel, roles=who.roles
        )
        return lambda: bot.store.admit(new, fixed(*levels))

    answers = await at_once([asking(n) for n in range(200)])
    runs = [each for each in answers if isinstance(each, Run)]
    refused = Counter(each.scope for each in answers if isinstance(each, OverLimit))
    assert len(runs) == 5
    assert refused == {{"total": "total", **SCOPES}[narrow]: 195}
    held = Counter(scope for run in runs for scope in Spender.of(run).scopes)
    assert dict(bot.rows("SELECT scope, held_u FROM budget WHERE held_u > 0")) == {
        scope: count * PRICE_U for scope, count in held.items()
    }
    assert bot.rows("SELECT count(*) FROM ledger_entry") == [(25,)]


@pytest.mark.parametrize(
    ("zone", "kind", "midnight"),
    [
        ("Europe/Berlin", "day", "2026-10-25T23:00Z"),  # behind a day of 25 hours
        ("Europe/Berlin", "week", "2026-03-29T22:00Z"),  # behind a week that lacks an hour
        ("Europe/Berlin", "month", "2026-10-31T23:00Z"),
        ("Africa/Cairo", "day", "2026-04-23T22:00Z"),  # there is no midnight: the clocks go on to one
    ],
)
async def test_around_the_end_of_a_period_each_has_its_own_5(
    bot: Bot, zone: str, kind: PeriodKind, midnight: str
) -> None:
    """Of wishes from both sides of midnight that arrive together, five are admitted in each of the two periods."""
    ends = datetime.fromisoformat(midnight).timestamp()
    times = [ends - 0.001, ends]
    periods = [period_at(at, kind, ZoneInfo(zone)) for at in times]
    assert (periods[0].resets_at, periods[1].starts_at) == (ends, ends)

    def asking(n: int) -> Callable[[], Coroutine[Any, Any, Run]]:
        period = periods[n % 2]
        member = Level(scope=SCOPES["member"], period=period, limit_u=5 * PRICE_U)
        plan = fixed(Level(scope="total", period=period, limit_u=None), member)
        return lambda: bot.store.admit(new_run(str(n), now=times[n % 2]), plan)

    asks = [asking(n) for n in range(200)]
    random.Random(zone).shuffle(asks)
    answers = await at_once(asks)
    assert Counter(each.created_at for each in answers if isinstance(each, Run)) == {ends - 0.001: 5, ends: 5}
    assert sum(isinstance(each, OverLimit) for each in answers) == 190
    rows = bot.rows("SELECT scope, period_key, held_u FROM budget ORDER BY 1 DESC, 2")
    assert rows == [(scope, it.key, 5 * PRICE_U) for scope in ("total", SCOPES["member"]) for it in periods]


@pytest.mark.parametrize("begin", [None, "BEGIN IMMEDIATE"], ids=["each its own", "in transactions"])
async def test_the_guard_is_sql_alone(bot: Bot, begin: str | None) -> None:
    """Two connections in two threads, without any of our code around the statement, hold exactly five."""
    await bot.store.admit(new_run("1", now=NOON), fixed(Level(scope=SCOPES["member"], period=NOVEMBER, limit_u=None)))
    values = {"scope": SCOPES["member"], "key": NOVEMBER.key, "price_u": PRICE_U, "bound_u": 6 * PRICE_U}
    start = threading.Barrier(2)

    def hold_100_times() -> int:
        with closing(sqlite3.connect(bot.path, timeout=30, isolation_level=None)) as connection:
            start.wait()
            held = 0
            for _ in range(100):
                if begin:
                    connection.execute(begin)
                held += connection.execute(RESERVE, values).rowcount
                if begin:
                    connection.execute("COMMIT")
            return held

    both = await asyncio.gather(asyncio.to_thread(hold_100_times), asyncio.to_thread(hold_100_times))
    assert sum(both) == 5
    assert bot.rows("SELECT held_u FROM budget") == [(6 * PRICE_U,)]
    with closing(sqlite3.connect(bot.path)) as connection:  # no run stands behind these five
        connection.execute("UPDATE budget SET held_u = :price_u", values)
        connection.commit()


async def test_a_limit_that_is_cut_and_raised_counts_from_its_commit_on(bot: Bot) -> None:
    """While 200 ask and some runs fail, no hold ever passes the limit in force; after the last cut none is taken."""
    scope = SCOPES["server"]
    watch = """
        CREATE TEMP TABLE held (sum_u INTEGER, limit_u INTEGER);
        CREATE TEMP TRIGGER watch AFTER UPDATE ON main.budget
            WHEN new.held_u > old.held_u AND new.scope = 'server:discord:2'
        BEGIN
            INSERT INTO held SELECT new.held_u + new.spent_u, limit_u FROM main.rule WHERE subject = new.scope;
        END;"""
    await bot.limit(scope, "8")
    bot.store.writer.connection.executescript(watch)

    async def ask(n: int) -> Run | None:
        run = await bot.run(member=f"discord:10{n % 9}")
        if n % 2:
            return run
        return await bot.store.settle(run, End(ending=Ending.FAILED), now=NOON)

    async def step(n: int) -> Run | None:
        if n % 10:
            return await ask(n)
        await bot.limit(scope, ("3", "8")[n // 10 % 2])
        return None

    answers = await at_once([partial(step, n) for n in range(220)])
    refused = [each for each in answers if isinstance(each, OverLimit)]
    assert {each.scope for each in refused} == {scope}
    holds = await bot.store.writer.read(lambda tx: tx.execute("SELECT sum_u, limit_u FROM held").fetchall())
    assert len(holds) == sum(isinstance(each, Run) for each in answers)
    assert {limit_u for _, limit_u in holds} <= {3 * PRICE_U, 8 * PRICE_U}
    assert [hold for hold in holds if hold[0] > hold[1]] == []
    await bot.limit(scope, "8")
    await at_once([bot.run for _ in range(20)])
    assert (await bot.stands(scope)).held_u == 8 * PRICE_U
    await bot.limit(scope, "2")
    late = await at_once([bot.run for _ in range(50)])
    assert {type(each) for each in late} == {OverLimit}
    assert (await bot.stands(scope)).held_u == 8 * PRICE_U


async def test_a_daily_limit_set_in_mid_month_counts_the_day_so_far(bot: Bot) -> None:
    """It counts what its member spent that day before it was set and no more; lifted, the month has everything."""
    bot.member_limit_u = 9 * PRICE_U
    await bot.store.close()
    bot.open()
    await bot.run()
    bot.wall.at += DAY_S
    await bot.ended()
    await bot.run()
    await bot.limit(SCOPES["member"], "3", "day")
    today = await bot.stands(SCOPES["member"])
    assert (today.period.key, today.held_u, today.spent_u) == ("2026-11-11", PRICE_U, PRICE_U)
    await bot.run()
    with pytest.raises(OverLimit) as refusal:
        await bot.run()
    assert refusal.value.standing.period.kind == "day"
    bot.wall.at += DAY_S
    assert (await bot.stands(SCOPES["member"])).left_u == 3 * PRICE_U
    for _ in range(3):
        await bot.run()
    with pytest.raises(OverLimit):
        await bot.run()
    await bot.admins.change(ADA, Verb.LIFT_LIMIT, SCOPES["member"])
    month = await bot.stands(SCOPES["member"])
    assert (month.period.key, month.held_u, month.spent_u) == ("2026-11", 6 * PRICE_U, PRICE_U)
    await bot.run("8s")
    with pytest.raises(OverLimit) as refusal:
        await bot.run()
    assert refusal.value.standing.period.kind == "month"


async def test_a_pool_set_in_mid_period_counts_its_roles_earlier_runs(bot: Bot) -> None:
    """A pool starts with what those with the role spent before it; who has not the role is no part of it."""
    await bot.ended()
    await bot.run(member=AL, roles=("discord:40", "discord:4"))
    await bot.run(member=CY, roles=())
    await bot.limit(SCOPES["role"], "3")
    pool = await bot.stands(SCOPES["role"])
    assert (pool.held_u, pool.spent_u, pool.left_u) == (PRICE_U, PRICE_U, PRICE_U)
    await bot.run(member="discord:13")
    with pytest.raises(OverLimit) as refusal:
        await bot.run(member=BO)
    assert refusal.value.scope == SCOPES["role"]
    await bot.run(member=BO, roles=("discord:40",))
    assert (await bot.stands(SCOPES["role"])).held_u == 2 * PRICE_U


@pytest.fixture
async def careful(tmp_path: Path) -> AsyncIterator[Bot]:
    """A bot that asks before each run."""
    started = Bot(tmp_path / "veo.db", confirm_above_u=0)
    yield started
    await started.close()


async def offered(bot: Bot, duration: Duration = "4s") -> Offer:
    offer = await bot.ask(duration)
    assert isinstance(offer, Offer)
    assert bot.rows("SELECT sum(held_u), sum(spent_u) FROM budget") == [(0, 0)]
    return offer


async def test_a_yes_pressed_20_times_at_once_is_one_run(careful: Bot) -> None:
    """Every press is answered with the same run, held once, at the price that was shown."""
    offer = await offered(careful)
    answer = Answer(offer_id=offer.offer_id)
    runs = await at_once([lambda: careful.admission.confirm(answer, BO) for _ in range(20)])
    assert {run.run_id for run in runs if isinstance(run, Run)} == {
        run_id for (run_id,) in careful.rows("SELECT run_id FROM run")
    }
    assert len(runs) == sum(isinstance(run, Run) for run in runs)
    assert (await careful.stands(SCOPES["member"])).held_u == PRICE_U == offer.choices[0].price_u


async def test_a_yes_outlives_a_restart_and_new_prices(careful: Bot) -> None:
    """At doubled prices it is to be asked again, and holds nothing; at lower ones it is good for what it said, once."""
    offer = await offered(careful, "8s")
    cheaper = next(place for place, choice in enumerate(offer.choices) if choice.request.duration == "4s")
    await careful.store.close()
    careful.per_second = "0.50"
    careful.open()
    before = dump(careful.path)
    with pytest.raises(CostsMore) as more:
        await careful.admission.confirm(Answer(offer_id=offer.offer_id, choice=cheaper), BO)
    assert more.value.choice == offer.choices[cheaper]
    assert dump(careful.path) == before
    await careful.store.close()
    careful.per_second = "0.01"
    careful.open()
    run = await careful.admission.confirm(Answer(offer_id=offer.offer_id, choice=cheaper), BO)
    assert (run.price_u, run.request) == (PRICE_U, offer.choices[cheaper].request)
    await careful.store.close()
    careful.open()
    assert await careful.admission.confirm(Answer(offer_id=offer.offer_id), BO) == run
    assert (await careful.stands(SCOPES["member"])).held_u == PRICE_U


async def test_only_the_member_who_was_asked_can_say_yes(careful: Bot) -> None:
    """Another member's press is refused and changes nothing, as often as it comes."""
    offer = await offered(careful)
    before = dump(careful.path)
    pressed = await at_once([lambda: careful.admission.confirm(Answer(offer_id=offer.offer_id), AL) for _ in range(20)])
    assert {type(each) for each in pressed} == {OfferGone}
    assert dump(careful.path) == before
    assert (await careful.admission.confirm(Answer(offer_id=offer.offer_id), BO)).member == BO


async def test_the_first_of_no_and_yes_counts(careful: Bot) -> None:
    """A yes that comes behind a no films nothing; a no behind a yes takes nothing back; and no is the member's own."""
    no, yes = await offered(careful, "8s"), await offered(careful, "8s")
    with pytest.raises(OfferGone, match=r"question\.not_yours"):
        await careful.admission.withdraw(no.offer_id, AL)
    assert await careful.admission.withdraw(no.offer_id, BO)
    with pytest.raises(OfferGone, match=r"question\.expired"):
        await careful.admission.confirm(Answer(offer_id=no.offer_id), BO)
    assert await careful.admission.withdraw(no.offer_id, BO)  # pressed twice
    run = await careful.admission.confirm(Answer(offer_id=yes.offer_id), BO)
    assert not await careful.admission.withdraw(yes.offer_id, BO)
    assert await careful.admission.confirm(Answer(offer_id=yes.offer_id), BO) == run
    assert (await careful.stands(SCOPES["member"])).held_u == run.price_u


async def test_a_price_is_good_for_its_time_and_no_longer(careful: Bot) -> None:
    """A second before its end a yes counts; from its end on it is refused, and nothing is written."""
    first, second = await offered(careful), await offered(careful)
    careful.wall.at += CONFIRM_LIFE_S - 1.0
    await careful.admission.confirm(Answer(offer_id=first.offer_id), BO)
    careful.wall.at += 1.0
    before = dump(careful.path)
    with pytest.raises(OfferGone):
        await careful.admission.confirm(Answer(offer_id=second.offer_id), BO)
    assert dump(careful.path) == before


@pytest.fixture
async def desk(bot: Bot) -> Bot:
    """A bot whose admins take requests."""
    await bot.admins.set_request_channel(ADA, "channel:discord:77")
    return bot


def approving(bot: Bot, offer: Offer, admin: Admin) -> Callable[[], Coroutine[Any, Any, Offer]]:
    return lambda: bot.admission.approve(offer.offer_id, admin)


async def test_a_request_approved_20_times_at_once_is_one_run_and_one_act(desk: Bot) -> None:
    """Two admins press at once: one run that passes each full level, one act that says by how much, and no extra."""
    await desk.limit(SCOPES["server"], "3")
    await desk.limit(SCOPES["channel"], "50")
    await desk.limit(SCOPES["member"], "2")
    await desk.ended()
    await desk.run(member=AL)
    offer = await desk.request("8s")
    answers = await at_once([approving(desk, offer, admin) for admin in (ADA, EVE) * 10])
    assert len({each.run_id for each in answers if isinstance(each, Offer)}) == 1
    assert all(isinstance(each, Offer) for each in answers)
    assert desk.rows("SELECT detail, member FROM act WHERE verb = 'request approved'") == [
        (Detail(amount_u=2 * PRICE_U, adds=((SCOPES["server"], PRICE_U), (SCOPES["member"], PRICE_U))).to_json(), BO)
    ]
    assert desk.rows("SELECT 1 FROM ledger_entry WHERE kind = 'grant'") == []
    for sort, left_u in (("server", 0), ("member", 0), ("channel", 46 * PRICE_U)):
        assert (await desk.stands(SCOPES[sort])).left_u == left_u
    with pytest.raises(OverLimit):
        await desk.run()


@pytest.mark.parametrize("scope", SCOPES.values())
@pytest.mark.parametrize("cost_u", [0, PRICE_U // 4, PRICE_U, None])
async def test_an_approval_leaves_no_budget_behind(desk: Bot, scope: str, cost_u: int | None) -> None:
    """Where a limit is $0, one video passes it; whether it fails or costs less, nobody can spend what it did not."""
    await desk.limit(scope, "0")
    offer = (await desk.request(), await desk.request())[1]
    made = await desk.admission.approve(offer.offer_id, ADA)
    run = await desk.store.get(made.run_id or "")
    assert run is not None
    assert (await desk.stands(scope)).held_u == PRICE_U
    run = await desk.moved(run, RunState.SUBMITTING, RunState.RUNNING)
    ending = Ending.FAILED if cost_u == 0 else Ending.VIDEO
    await desk.store.settle(run, End(ending=ending, cost_u=cost_u), now=desk.wall.at)
    stands = await desk.stands(scope)
    assert (stands.held_u, stands.left_u, stands.granted_u) == (0, 0, 0)
    assert stands.spent_u == (PRICE_U if cost_u is None else cost_u)
    for member in (BO, AL) if scope != SCOPES["member"] else (BO,):
        with pytest.raises(OverLimit):
            await desk.run(member=member)
    await desk.limit(scope, "2")  # what was approved is spent all the same
    assert (await desk.stands(scope)).left_u == 2 * PRICE_U - stands.spent_u


async def test_an_approval_passes_a_limit_that_was_cut_below_what_is_spent(desk: Bot) -> None:
    """It adds the price of its video and no more: what was spent over the limit is nobody's to pay off."""
    for _ in range(3):
        await desk.ended()
    await desk.limit(SCOPES["member"], "1")
    offer = await desk.request()
    (over,) = await desk.admission.passed(offer)
    assert over.over_u == PRICE_U
    await approving(desk, offer, ADA)()
    assert (await desk.stands(SCOPES["member"])).left_u == 0
    await desk.limit(SCOPES["member"], "4")
    assert (await desk.stands(SCOPES["member"])).left_u == 0


async def test_an_approval_never_adds_more_than_its_button_says(desk: Bot) -> None:
    """What was left when the request was put may be spent by now: then the admin is asked again."""
    await desk.limit(SCOPES["member"], "2")
    await desk.ended()
    offer = await desk.request("8s")
    told_u = most_u(await desk.admission.passed(offer))
    assert told_u == PRICE_U
    await desk.ended()
    before = dump(desk.path)
    with pytest.raises(AddsMore, match=r"request\.adds_more amount=Usd\(amount_u=2000000\)"):
        await desk.admission.approve(offer.offer_id, ADA, told_u)
    assert dump(desk.path) == before
    assert (await desk.admission.approve(offer.offer_id, ADA, 2 * PRICE_U)).run_id is not None


async def test_the_owners_limit_of_the_whole_bot_is_passed_by_nobody(desk: Bot) -> None:
    """It is the operator's, as a ceiling is: no admin of a server is asked, and no approval passes it."""
    await desk.limit(SCOPES["member"], "0")
    offer = await desk.request()
    owner = replace(ADA, server=EVERYWHERE)
    await desk.admins.set_limit(owner, TOTAL, RuleKind.LIMIT, amount="0.50", period=None, in_flight=None)
    with pytest.raises(OverQuota, match=r"request\.no_room"):
        await approving(desk, offer, ADA)()
    with pytest.raises(OverLimit) as refusal:
        await desk.ask()
    assert type(refusal.value) is OverLimit


async def test_a_member_has_one_open_request_and_waits_an_hour_after_a_no(desk: Bot) -> None:
    """A new one takes the place of the one before; after a denial none is put for an hour, in that server."""
    await desk.limit(SCOPES["member"], "0")
    who = wish("").spender
    offers = [await desk.request() for _ in range(3)]
    replaced = [(await desk.admission.put(each.offer_id, who)).replaced for each in (*offers, offers[-1])]
    assert [[each.offer_id for each in those] for those in replaced] == [
        [],
        [offers[0].offer_id],
        [offers[1].offer_id],
        [],
    ]
    for old in offers[:2]:
        with pytest.raises(OfferGone, match=r"request\.replaced"):
            await desk.admission.approve(old.offer_id, ADA)
        with pytest.raises(OfferGone):
            await desk.admission.put(old.offer_id, who)
    await desk.admission.deny(offers[2].offer_id, EVE)
    desk.wall.at += 60.0
    again = await desk.request()
    desk.wall.at += DENIAL_PAUSE_S - 61.0
    before = dump(desk.path)
    with pytest.raises(AskLater) as later:
        await desk.admission.put(again.offer_id, who)
    assert later.value.until == desk.wall.at + 1.0
    assert dump(desk.path) == before
    desk.wall.at += 1.0
    assert (await desk.admission.put(again.offer_id, who)).replaced == []
    with pytest.raises(OfferGone, match=r"question\.expired"):
        await desk.admission.put(again.offer_id, replace(who, member=AL))


async def test_an_approval_never_passes_the_operators_ceiling(tmp_path: Path) -> None:
    """A server that came to its ceiling while the admins thought: their yes is refused, and nothing is written."""
    bot = Bot(tmp_path / "veo.db", server_ceiling_u=3 * PRICE_U)
    await bot.admins.set_request_channel(ADA, "channel:discord:77")
    await bot.limit(SCOPES["member"], "1")
    await bot.ended()
    offer = await bot.request()
    await bot.run("8s", member=AL)
    before = dump(bot.path)
    answers = await at_once([approving(bot, offer, admin) for admin in (ADA, EVE) * 10])
    assert {type(each) for each in answers} == {OverQuota}
    assert all("request.no_room" in str(each) for each in answers)
    assert dump(bot.path) == before
    with pytest.raises(OverLimit) as refusal:  # where no admin can help, none is asked
        await bot.ask()
    assert type(refusal.value) is OverLimit
    await bot.close()


async def test_what_was_denied_is_never_approved(desk: Bot) -> None:
    """After a no, a yes is refused as often as it comes, and so is another no; nothing is written."""
    await desk.limit(SCOPES["member"], "0")
    offer = await desk.request()
    await desk.admission.deny(offer.offer_id, ADA)
    before = dump(desk.path)
    answers = await at_once([approving(desk, offer, admin) for admin in (ADA, EVE) * 10])
    assert {type(each) for each in answers} == {OfferGone}
    with pytest.raises(OfferGone):
        await desk.admission.deny(offer.offer_id, EVE)
    assert dump(desk.path) == before


async def test_of_a_yes_and_a_no_at_once_one_counts(desk: Bot) -> None:
    """Whichever of two admins was first, there is a run and a yes, or none and a no."""
    await desk.limit(SCOPES["member"], "0")
    for _ in range(10):
        offer = await desk.request()
        before = len(desk.rows("SELECT 1 FROM run"))

        async def deny(offer_id: str = offer.offer_id) -> Offer | Run:
            return await desk.admission.deny(offer_id, EVE)

        async def approve(offer_id: str = offer.offer_id) -> Offer | Run:
            return await desk.admission.approve(offer_id, ADA)

        await at_once([approve, deny] * 4)
        kept = await desk.store.offer_of(offer.offer_id)
        assert kept is not None
        made = len(desk.rows("SELECT 1 FROM run")) - before
        assert (kept.state, made) in ((OfferState.TAKEN, 1), (OfferState.DENIED, 0))
    verbs = Counter(verb for (verb,) in desk.rows("SELECT verb FROM act WHERE verb LIKE 'request %d'"))
    assert verbs.total() == 10
    assert verbs["request approved"] == len(desk.rows("SELECT 1 FROM run"))


async def test_a_request_waits_a_day(desk: Bot) -> None:
    """After its time a request is gone: a yes is refused, and nothing is written."""
    await desk.limit(SCOPES["member"], "0")
    offer = await desk.request()
    desk.wall.at += REQUEST_LIFE_S
    before = dump(desk.path)
    with pytest.raises(OfferGone):
        await approving(desk, offer, ADA)()
    assert dump(desk.path) == before


async def test_a_run_is_refunded_once(bot: Bot) -> None:
    """Twenty refunds at once are one: its member has the charge again, the levels above go on counting it."""
    await bot.limit(SCOPES["member"], "1")
    run = await bot.ended(cost_u=PRICE_U - 1)
    answers = await at_once([lambda: bot.admins.refund(ADA, run.run_id, "a poor fox") for _ in range(20)])
    assert Counter(type(each) for each in answers) == {Run: 1, OfferGone: 19}
    refunds = bot.rows("SELECT run_id, scope, amount_u FROM ledger_entry WHERE kind = 'refund'")
    assert refunds == [(run.run_id, SCOPES["member"], PRICE_U - 1)]
    assert (await bot.stands(SCOPES["member"])).left_u == PRICE_U
    assert (await bot.stands(SCOPES["server"])).spent_u == PRICE_U - 1
    assert bot.rows("SELECT count(*) FROM act WHERE verb = 'refund'") == [(1,)]
    before = dump(bot.path)
    with pytest.raises(OfferGone):
        await bot.admins.refund(EVE, run.run_id, "again")
    assert dump(bot.path) == before


@pytest.mark.parametrize("late_u", [0, PRICE_U // 4, PRICE_U, 2 * PRICE_U])
async def test_a_refund_and_a_cost_named_later_give_back_no_more_than_was_charged(bot: Bot, late_u: int) -> None:
    """Charged as quoted, refunded, and then billed otherwise: what is left is what the limit allows, and no more."""
    await bot.limit(SCOPES["member"], "3")
    run = await bot.ended()
    await bot.admins.refund(ADA, run.run_id, "a poor fox")
    assert (await bot.stands(SCOPES["member"])).left_u == 3 * PRICE_U
    bot.wall.at += 3600.0
    for _ in range(2):
        await bot.store.correct(run, late_u, now=bot.wall.at)
    now = await bot.store.get(run.run_id)
    assert now is not None
    assert (now.charged_u, now.refunded_u) == (late_u, min(late_u, PRICE_U))
    stands = await bot.stands(SCOPES["member"])
    assert stands.left_u == 3 * PRICE_U - max(0, late_u - PRICE_U)
    entries = bot.rows("SELECT amount_u, actor FROM ledger_entry WHERE kind = 'refund' ORDER BY entry_id")
    assert entries == [(PRICE_U, ADA.actor), *([(late_u - PRICE_U, "bot")] if late_u < PRICE_U else [])]
    with pytest.raises(Refusal):  # once, whatever is left of it
        await bot.admins.refund(EVE, run.run_id, "again")
    bot.wall.at = NOVEMBER.resets_at + 1.0
    assert (await bot.stands(SCOPES["member"])).left_u == 3 * PRICE_U


@pytest.mark.parametrize("way", [("day", "week"), ("day", "month"), ("month", "day"), ("week", "day")])
async def test_what_was_added_survives_a_change_of_the_limits_period(bot: Bot, way: Sequence[PeriodKind]) -> None:
    """A refund and a grant count in whatever period the limit has, as long as that contains their moment; and back."""
    scope, who = SCOPES["member"], wish("").spender
    await bot.limit(scope, "5", way[0])
    run = await bot.ended()
    await bot.admins.refund(ADA, run.run_id, "a poor fox")
    await bot.admins.grant(ADA, scope, who, "2", "")
    for period in (*way, *way):
        await bot.limit(scope, "5", period)
        stands = await bot.stands(scope)
        assert (stands.limit_u, stands.granted_u, stands.left_u) == (8 * PRICE_U, 3 * PRICE_U, 7 * PRICE_U)
    bot.wall.at += DAY_S
    for period in way:
        await bot.limit(scope, "5", period)
        stands = await bot.stands(scope)
        same = period_at(bot.wall.at - DAY_S, period, UTC) == period_at(bot.wall.at, period, UTC)
        assert stands.left_u == (7 * PRICE_U if same else 5 * PRICE_U)


@pytest.mark.parametrize("scope", SCOPES.values())
async def test_zero_is_nobody_whatever_was_added(bot: Bot, scope: str) -> None:
    """A grant, a refund: neither lets anybody past a limit of $0, and none is added to one."""
    who = wish("").spender if scope == SCOPES["member"] else None
    await bot.limit(scope, "5")
    run = await bot.ended()
    await bot.admins.grant(ADA, scope, who, "5", "")
    await bot.admins.refund(ADA, run.run_id, "a poor fox")
    await bot.limit(scope, "0")
    with pytest.raises(OverLimit):
        await bot.run()
    stands = await bot.stands(scope)
    assert (stands.limit_u, stands.granted_u, stands.left_u) == (0, 0, 0)
    with pytest.raises(BadRequest, match=r"grant\.zero_limit"):
        await bot.admins.grant(ADA, scope, who, "5", "")
    await bot.limit(scope, "1")
    assert (await bot.stands(scope)).left_u == (6 if scope == SCOPES["member"] else 5) * PRICE_U
    await bot.run()


async def test_an_unknown_run_is_released_once(bot: Bot) -> None:
    """An admin gives up what was never found: every level has its hold back, nothing is charged, one act says so."""
    await bot.limit(SCOPES["role"], "9")
    run = await bot.moved(await bot.run(), RunState.SUBMITTING, RunState.AMBIGUOUS, RunState.UNKNOWN)
    levels = await bot.admission.standings(Spender.of(run))
    assert [level.held_u for level in levels] == [PRICE_U] * 5
    answers = await at_once([lambda: bot.admins.refund(ADA, run.run_id, "lost") for _ in range(20)])
    assert Counter(type(each) for each in answers) == {Run: 1, BadRequest: 19}
    levels = await bot.admission.standings(Spender.of(run))
    assert [(level.held_u, level.spent_u, level.granted_u) for level in levels] == [(0, 0, 0)] * 5
    assert bot.rows("SELECT count(*) FROM act WHERE verb = 'release'") == [(1,)]


# Another zone in the middle of a period


ZONES = ("UTC", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu")


@pytest.mark.parametrize("period", ["day", "week", "month"])
@pytest.mark.parametrize("scope", [SCOPES["member"], SCOPES["server"], SCOPES["role"]])
async def test_another_zone_counts_what_belongs_to_its_periods(bot: Bot, scope: str, period: PeriodKind) -> None:
    """Whichever zone the operator names, each level stands at its runs between that zone's bounds, to the run."""
    chance = random.Random(f"{scope} {period}")
    bot.wall.at = datetime(2026, 11, 1, 9, 0, tzinfo=UTC).timestamp()  # a Sunday: day, week and month end around it
    asked: list[float] = []
    await bot.limit(scope, "40", period)
    for number in range(40):
        bot.wall.at += chance.choice((600.0, 3600.0, 5 * 3600.0))
        bot.move(ZoneInfo(chance.choice(ZONES)))
        of_now = period_at(bot.wall.at, period, bot.zone)
        count = sum(of_now.starts_at <= at < of_now.resets_at for at in asked)
        stands = await bot.stands(scope)
        assert (stands.held_u, stands.left_u) == (count * PRICE_U, 40 * PRICE_U - count * PRICE_U)
        await bot.run()
        asked.append(bot.wall.at)
        if number % 10 == 0:
            assert check_books(f"sqlite:///{bot.path}") == []


async def test_another_zone_passes_no_limit(bot: Bot) -> None:
    """Of a day that began earlier there, the runs of before count too; and back again they do not."""
    await bot.limit(SCOPES["member"], "2", "day")
    bot.wall.at = datetime(2026, 11, 10, 3, 0, tzinfo=UTC).timestamp()
    await bot.run()
    await bot.run()
    with pytest.raises(OverLimit):
        await bot.run()
    bot.wall.at = datetime(2026, 11, 10, 9, 30, tzinfo=UTC).timestamp()
    bot.move(ZoneInfo("Pacific/Kiritimati"))  # where the tenth began at ten in the morning of the ninth, and still is
    with pytest.raises(OverLimit):
        await bot.run()
    assert (await bot.stands(SCOPES["member"])).left_u == 0
    bot.move(ZoneInfo("America/New_York"))  # where it began at five
    assert (await bot.stands(SCOPES["member"])).left_u == 2 * PRICE_U
    await bot.run()
    bot.move(UTC)
    assert (await bot.stands(SCOPES["member"])).held_u == 3 * PRICE_U
    with pytest.raises(OverLimit):
        await bot.run()


# What is refused, with the reason, in a server with every sort of rule

Act = Callable[[Bot], Coroutine[Any, Any, Any]]
REFUSED: dict[str, tuple[Act, type[Refusal]]] = {
    "over an own limit": (lambda bot: bot.ask(), OverLimit),
    "over the best of what is left": (lambda bot: bot.ask("8s", member=AL), OverLimit),
    "over a channel's limit": (lambda bot: bot.ask(member=AL, budget_channel="discord:31"), OverLimit),
    "over a pool": (lambda bot: bot.ask(member=AL, roles=("discord:4", "discord:41")), OverLimit),
    "too many at a time": (lambda bot: bot.ask(member=CY), TooManyInFlight),
    "a member who is blocked": (lambda bot: bot.ask(member="discord:13"), NotAllowed),
    "none of the roles": (lambda bot: bot.ask(member=AL, roles=("discord:49",)), NotAllowed),
    "another channel": (lambda bot: bot.ask(member=AL, budget_channel="discord:39"), NotAllowed),
    "a server that is paused": (lambda bot: bot.ask(server="discord:5"), NotAllowed),
    "an empty prompt": (lambda bot: bot.ask(request=VeoRequest(prompt=" ")), BadRequest),
    "a long prompt": (lambda bot: bot.ask(request=VeoRequest(prompt="x" * 101)), BadRequest),
    "a yes to nothing": (lambda bot: bot.admission.confirm(Answer(offer_id="none"), BO), OfferGone),
    "an approval of nothing": (lambda bot: bot.admission.approve("none", ADA), OfferGone),
    "a denial of nothing": (lambda bot: bot.admission.deny("none", ADA), OfferGone),
    "an amount that is none": (lambda bot: bot.limit(SCOPES["member"], "ten"), BadAmount),
    "an amount that could be two": (lambda bot: bot.limit(SCOPES["member"], "1,000"), BadAmount),
    "a limit of nothing": (lambda bot: bot.limit(SCOPES["member"], None), BadRequest),
    "a period without an amount": (lambda bot: bot.limit(SCOPES["member"], None, "day", 1), BadRequest),
    "a limit above the ceiling": (lambda bot: bot.limit(SCOPES["server"], "91"), BadAmount),
    "an extra of nothing": (lambda bot: bot.admins.grant(ADA, SCOPES["channel"], None, "0", ""), BadAmount),
    "an extra on no limit": (lambda bot: bot.admins.grant(ADA, SCOPES["channel"], None, "1", ""), BadRequest),
    "an extra beyond measure": (
        lambda bot: bot.admins.grant(ADA, "channel:discord:31", None, "999999999.99999", ""),
        BadAmount,
    ),
    "lifting what is not there": (
        lambda bot: bot.admins.change(ADA, Verb.LIFT_MEMBER_LIMIT, "role:discord:9"),
        BadRequest,
    ),
    "unblocking one who is not": (lambda bot: bot.admins.change(ADA, Verb.UNBLOCK, SCOPES["member"]), BadRequest),
    "resuming what goes on": (lambda bot: bot.admins.change(ADA, Verb.RESUME), BadRequest),
    "a refund of no run": (lambda bot: bot.admins.refund(ADA, "none", ""), BadRequest),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_writes_nothing(tmp_path: Path, name: str) -> None:
    """Every table is as it was, byte for byte, whatever was refused and why, but for periods that were not open yet."""
    bot = Bot(tmp_path / "veo.db", server_ceiling_u=90 * PRICE_U)
    await bot.limit(SCOPES["member"], "1.50", "week")
    await bot.ended()
    await bot.limit(f"member:{AL}", "1.99")
    await bot.limit("channel:discord:31", "0.99")
    await bot.limit("role:discord:41", "0")
    await bot.run(member=CY)
    await bot.limit(f"member:{CY}", None, in_flight=1)
    await bot.admins.change(ADA, Verb.BLOCK, "member:discord:13", "spam")
    for subject in (SCOPES["role"], SCOPES["channel"], "channel:discord:31"):
        await bot.admins.change(ADA, Verb.ALLOW, subject)
    await bot.admins.change(Admin(server="discord:5", actor="discord:90", name="Ada"), Verb.PAUSE, reason="a break")
    act, refusal = REFUSED[name]
    before = dump(bot.path)
    with pytest.raises(refusal):
        await act(bot)
    after = dump(bot.path)
    assert only_opened(before, after)
    with pytest.raises(refusal):
        await act(bot)
    assert dump(bot.path) == after
    await bot.close()


async def test_a_refusal_that_admins_can_lift_keeps_the_request_alone(desk: Bot) -> None:
    """Where admins take requests a refusal writes one and nothing else, and for the same wish again no other."""
    await desk.limit(SCOPES["member"], "0")
    before = dump(desk.path)
    asked = [desk.admission.ask(wish("the one")) for _ in range(5)]
    refusals = await asyncio.gather(*asked, return_exceptions=True)
    assert len({refusal.offer.offer_id for refusal in refusals if isinstance(refusal, AskFirst)}) == 1
    assert all(isinstance(refusal, AskFirst) for refusal in refusals)
    after = dump(desk.path)
    assert len(after.pop("offer")) == 1
    assert before.pop("offer") == []
    assert only_opened(before, after)
