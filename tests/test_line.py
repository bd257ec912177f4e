"""The line of those who wait for a place: whose turn it is, where everybody stands, and that waiting costs nothing."""

from __future__ import annotations

import asyncio
import heapq
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.history import UNHEARD_OF, Lengths, Usual, kind_of
from bot.domain.limits import Level
from bot.domain.models import Resolution, VeoRequest
from bot.domain.periods import period_at
from bot.domain.queue import Line, Placed, Turn, Waiting, is_news, turns
from bot.domain.records import End, Order, RunChanges
from bot.domain.runs import Delivery, Ending, Run, RunState
from bot.errors import OfferGone
from storage import check_books
from storage.sqlite.transaction import SqliteTransaction
from storage.verbs import line as verbs
from tests.core import UTC
from tests.engine_bench import Bench, seen, started
from tests.money import Inline, empty_books, home, new_run, store_at, wish, work_of

S = RunState
T0 = 1_800_000_000.0
_ROW = (
    "INSERT INTO run (run_id, origin, member, server, channel, request, price_u, member_scope, member_period, state, "
    "state_at, created_at, due_at, callback_token, in_line, provider_id) VALUES "
    "(:id, :id, :member, :server, '3', '{}', 1, '', '', :state, 0, :at, 9, :id, :in_line, :provider)"
)


def reference(rows: Sequence[tuple[str, str, float, str, bool]]) -> list[str]:
    """The fair order, said as plainly as it can be: rows of server, member, time, id and whether it waits."""
    at_work = [row for row in rows if not row[4]]
    ranked = []
    for server in {row[0] for row in rows}:
        inside = []
        for member in {row[1] for row in rows if row[0] == server}:
            busy = sum(row[:2] == (server, member) for row in at_work)
            mine = sorted(row[2:4] for row in rows if row[:2] == (server, member) and row[4])
            inside += [(busy + index, at, run_id) for index, (at, run_id) in enumerate(mine)]
        busy = sum(row[0] == server for row in at_work)
        ranked += [(busy + index, at, run_id) for index, (_, at, run_id) in enumerate(sorted(inside))]
    return [run_id for _, _, run_id in sorted(ranked)]


@pytest.fixture(scope="module")
def books() -> Iterator[sqlite3.Connection]:
    """Books in memory, in which a test writes what rows it likes."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(empty_books().replace(b"\x02\x02", b"\x01\x01", 1))  # a journal needs a file
    connection.execute("PRAGMA foreign_keys = OFF")
    yield connection
    connection.close()


def write(books: sqlite3.Connection, rows: Sequence[tuple[str, str, float, str, bool]]) -> SqliteTransaction:
    books.execute("DELETE FROM run")
    values = [
        {
            "server": server,
            "member": member,
            "at": at,
            "id": run_id,
            "in_line": waits,
            "state": "reserved" if waits else "running",
            "provider": None if waits else run_id,
        }
        for server, member, at, run_id, waits in rows
    ]
    books.executemany(_ROW, values)
    return SqliteTransaction(books)


ROWS = st.lists(
    st.tuples(st.sampled_from("ST U"), st.sampled_from("abcd"), st.sampled_from((1.0, 2.0, 3.0, 4.0)), st.booleans()),
    max_size=30,
)


class TestOrder:
    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(drawn=ROWS, count=st.integers(0, 12))
    def test_it_is_that_of_the_plain_reference(
        self, books: sqlite3.Connection, drawn: list[tuple[str, str, float, bool]], count: int
    ) -> None:
        """All of it, and as much of its beginning as there are places; those who are first change no other's turn."""
        rows = [(*row[:3], f"run-{number}", row[3]) for number, row in enumerate(drawn)]
        tx, wanted = write(books, rows), reference(rows)
        assert [run.run_id for run in verbs.line(tx, 0.0).waiting] == wanted
        assert verbs.next_in_line(tx, count) == wanted[:count]
        taken = dict.fromkeys(wanted[:count], False)
        after = [(*row[:4], taken.get(row[3], row[4])) for row in rows]
        assert reference(after) == wanted[count:]

    def test_a_first_wish_comes_before_any_second_one_of_its_server(self, books: sqlite3.Connection) -> None:
        rows = [("S", "flood", float(number), f"flood-{number}", True) for number in range(50)]
        rows += [("S", "late", 99.0, "late", True), ("S", "flood", 0.0, "at-work", False)]
        assert verbs.next_in_line(write(books, rows), 1) == ["late"]

    def test_five_thousand_are_put_in_order_in_time(self, books: sqlite3.Connection) -> None:
        """In less than 60 ms of computing; and who is next is found without a look at all who wait."""
        rows = [(f"S{n % 50}", f"m{n % 700}", float(n * 7919 % 5000), f"run-{n}", n >= 20) for n in range(5020)]
        tx, took = write(books, rows), []
        for _ in range(3):
            began = time.thread_time()
            found = verbs.line(tx, 0.0)
            took.append(time.thread_time() - began)
        assert len(found.waiting) == 5000
        assert min(took) < 0.06, took
        steps = {}
        for waiting in (50, 5000):
            tx, steps[waiting] = write(books, [("S", "m", float(n), f"run-{n}", True) for n in range(waiting)]), 0

            def step(count: int = waiting) -> None:
                steps[count] += 1

            books.set_progress_handler(step, 10)
            assert verbs.next_in_line(tx, 1) == ["run-0"]
            books.set_progress_handler(None, 10)
        assert steps[5000] <= steps[50] + 5, steps


# What members gain by it


async def served(path: Path, asked: list[tuple[str, str]], places: int, lasts_s: float) -> dict[str, list[float]]:
    """How long each of these wishes waits, by server, and when all is over under ``: all asked for at once."""
    store = store_at(path, Inline())
    level = Level(scope="total", period=period_at(T0, "month", UTC), limit_u=None)
    order = Order(places=places, begin_until=None, give_up_at=T0 + 1e6)
    for number, (server, member) in enumerate(asked):
        new = new_run(f"{number:03}", now=T0 + number / 1e6, server=server, member=member)
        mine = replace(level, scope=f"member:{member}")
        await store.admit(replace(new, order=order), lambda _, mine=mine: [level, mine])  # type: ignore[misc]
    ends: list[tuple[float, str, Run]] = []
    waits: dict[str, list[float]] = {}
    now = T0 + 1.0
    while True:
        for run in (await store.claim_due(now, lease_until=T0 + 1e6, limit=places, total_max=places)).runs:
            begun = await store.begin_submit(run, now=now, total_max=places)
            assert begun is not None
            there = RunChanges(provider_id=f"job-{run.run_id}", due_at=T0 + 1e6)
            at_work = await store.advance(begun, S.RUNNING, now=now, changes=there)
            assert at_work is not None
            waits.setdefault(run.server, []).append(now - T0 - 1.0)
            heapq.heappush(ends, (now + lasts_s, run.run_id, at_work))
        assert len(ends) <= places
        if not ends:
            break
        now, _, run = heapq.heappop(ends)
        done = await store.settle(run, End(ending=Ending.VIDEO, cost_u=run.price_u), now=now)
        assert done is not None
        await store.advance(done, done.state, now=now, changes=RunChanges(delivery=Delivery.DELIVERED, due_at=None))
    await store.close()
    assert check_books(f"sqlite:///{path}") == []
    return waits | {"": [now - T0 - 1.0]}


@pytest.mark.parametrize("members", [1, 100])
async def test_a_flood_in_one_server_is_not_felt_in_the_others(members: int) -> None:
    """Behind 100 videos of one server the six of each of five others wait a quarter as long, and all ends as soon."""
    small = [(f"small-{n % 5}", f"small-{n}") for n in range(30)]
    asked = [("big", f"big-{n % members}") for n in range(100)] + small
    with home() as folder:
        waits = await served(folder / "veo.db", asked, 4, 5.0)
    first_come = [5.0 * (number // 4) for number in range(len(asked))]
    (over,) = waits.pop("")
    assert over == first_come[-1] + 5.0
    assert sum(map(len, waits.values())) == len(asked)
    waited = [wait for server, each in waits.items() if server != "big" for wait in each]
    assert mean(waited) <= mean(first_come[100:]) / 4, mean(waited)


# When


class TestExpectations:
    def test_a_kind_that_is_little_known_is_judged_by_a_wider_one(self) -> None:
        def fox(resolution: Resolution = "720p", **more: object) -> VeoRequest:
            return replace(VeoRequest(prompt="a fox", resolution=resolution), **more)  # type: ignore[arg-type]

        known = Lengths([(fox(), float(seconds)) for seconds in (50, 10, 30, 20, 40)])
        assert known.usual(kind_of(fox())) == Usual(p50_s=30.0, p80_s=40.0)
        known.add(fox(generate_audio=False), 1000.0)
        assert known.usual(kind_of(fox(generate_audio=False))) == Usual(p50_s=30.0, p80_s=50.0)
        assert known.usual(kind_of(fox("4k"))) == known.usual(None) == Usual(p50_s=30.0, p80_s=50.0)
        assert Lengths([(fox(), 5.0)] * 4).usual(kind_of(fox())) == UNHEARD_OF

    @pytest.mark.parametrize(
        ("since", "places", "wanted"),
        [
            ([], 2, [(0, 100, 200), (0, 100, 200), (100, 200, 400)]),  # free places are taken at once
            ([40], 1, [(60, 160, 360), (160, 260, 560)]),  # the place is free when the run there is over
            ([150, None], 2, [(10, 110, 250), (100, 200, 400), (110, 210, 450)]),  # overdue: in ten seconds
            ([40, 80], 1, [(60, 160, 360)]),  # of more runs than places the last to end makes room
        ],
    )
    def test_each_place_is_taken_by_the_next(
        self, since: list[float | None], places: int, wanted: list[tuple[float, ...]]
    ) -> None:
        placed = [Placed("S", "m", None if age is None else T0 - age, None) for age in since]
        waiting = [Waiting(1.0, f"run-{number}", "S", "m", None, has_card=True) for number in range(len(wanted))]
        usual = Usual(p50_s=100.0, p80_s=200.0)
        found = turns(Line(waiting=waiting, placed=placed), places=places, usual=lambda _: usual, now=T0)
        said = [(turn.starts_at or 0.0, turn.ready_p50_at, turn.ready_p80_at) for turn in found.values()]
        assert [tuple(at - T0 for at in each) for each in said] == [tuple(map(float, each)) for each in wanted]
        assert [turn.place for turn in found.values()] == list(range(1, len(wanted) + 1))

    def test_a_card_is_edited_for_another_place_or_quite_another_time(self) -> None:
        shown = Turn(place=2, starts_at=T0, ready_p50_at=T0 + 1000.0, ready_p80_at=T0 + 2000.0)
        news = [
            is_news(shown, replace(shown, place=place, ready_p50_at=T0 + ready_s), now)
            for place, ready_s, now in (
                *((2, 1000.0, T0), (2, 1060.0, T0), (2, 1060.1, T0), (1, 1000.0, T0)),
                *((2, 1020.0, T0 + 900.0), (2, 979.0, T0 + 900.0)),
            )
        ]
        assert news == [False, False, True, True, False, True]
        assert is_news(None, shown, T0)


# On cards


async def comes(bench: Bench, what: object, said: list[object]) -> None:
    async with asyncio.timeout(5):
        while what not in said:  # noqa: ASYNC110 - said by the engine's own tasks
            await asyncio.sleep(0.005)


async def in_turn(bench: Bench, *names: str) -> list[Run]:
    """Wishes one after the other."""
    line = []
    for name in names:
        bench.time.at += 0.001
        line.append(await bench.admit(name))
    return line


async def test_cards_say_where_they_stand_when_that_changes_and_once_that_they_stop(tmp_path: Path) -> None:
    """Each newcomer at once; the others when one leaves the line; the last word comes at minute fourteen."""
    async with started(tmp_path, runs_total=1) as bench:
        said: list[object] = []

        async def show(run: Run, standings: object, turn: Turn | None = None, *, last: bool = False) -> None:
            said.append((run.origin, turn and turn.place, last))
            if turn is not None:
                assert (turn.starts_at is not None) == run.in_line
                assert bench.time.at < turn.ready_p50_at < turn.ready_p80_at

        bench.front.show_progress = show
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
        first = await bench.until(await bench.admit("1"), lambda row: row.state == S.RUNNING)
        line = await in_turn(bench, "2", "3", "4")
        for place, run in enumerate(line, 1):
            await comes(bench, (run.origin, place, False), said)
        before = len(said)
        cancelled = await bench.admission.cancel(line[0].run_id, line[0].member)
        assert (cancelled.state, cancelled.ending, cancelled.withdrawn) == (S.CANCELLED, Ending.CANCELLED, True)
        assert (cancelled.delivery, cancelled.due_at, cancelled.charged_u) == (Delivery.NONE, None, 0)
        await comes(bench, ("origin-4", 2, False), said)
        assert said[before:] == [("origin-3", 1, False), ("origin-4", 2, False)]
        bench.time.at += 839.8
        bench.engine.look()
        await asyncio.sleep(0.05)
        assert not [each for each in said if each[2]]  # type: ignore[index]
        bench.time.at += 0.3
        bench.engine.look()
        await comes(bench, ("origin-4", 2, True), said)
        stopped = [each for each in said if each[2]]  # type: ignore[index]
        assert sorted(stopped, key=str) == [("origin-1", 0, True), ("origin-3", 1, True), ("origin-4", 2, True)]
        assert (row := await bench.store.get(first.run_id)) is not None
        assert row.reply_to is None


async def test_a_card_shows_the_latest_wish_that_was_put_on_it(tmp_path: Path) -> None:
    """What is shown of the wish before it comes first, where that is on its way, or not at all."""
    async with started(tmp_path, runs_total=1) as bench:
        said, go = list[object](), asyncio.Event()

        async def show(run: Run, standings: object, turn: Turn | None = None, *, last: bool = False) -> None:
            said.append((run.origin, run.in_line))
            await go.wait()

        bench.front.show_progress = show
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
        go.set()
        await bench.until(await bench.admit("1"), lambda row: row.state == S.RUNNING)
        old = await bench.admit("2")
        await comes(bench, ("origin-2", True), said)
        go.clear()
        cancelled = await bench.admission.cancel(old.run_id, old.member)
        edits = [asyncio.create_task(bench.cards.show(bench.front, run)) for run in (cancelled, old)]
        await comes(bench, ("origin-2", False), said)
        before = len(said)
        await bench.admission.ask(wish("3", reply_to="card 2:new", reply_until=bench.time.at + 900))
        go.set()
        await asyncio.gather(*edits)
        await comes(bench, ("origin-3", True), said)
        assert said[before:] == [("origin-3", True)]
        row = await bench.store.get(old.run_id)
        assert row is not None
        assert (row.reply_to, row.reply_until) == (None, None)


async def test_a_flood_of_waiting_cards_is_edited_a_few_in_a_second(tmp_path: Path) -> None:
    """However many places have changed, what is newest is shown, and nothing is read for those who only wait."""
    async with started(tmp_path, runs_total=1) as bench:
        said: list[tuple[str, int]] = []

        async def show(run: Run, standings: object, turn: Turn | None = None, *, last: bool = False) -> None:
            said.append((run.origin, turn.place if turn is not None else 0))

        bench.front.show_progress = show
        await bench.until(await bench.admit("0"), lambda row: row.state == S.RUNNING)
        line = await in_turn(bench, *map(str, range(1, 41)))
        async with asyncio.timeout(5):
            while len(said) < 41:  # noqa: ASYNC110 - said by the engine's own tasks
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.3)
        said.clear()
        with work_of(bench.store) as work:
            await asyncio.sleep(0.3)
        assert (work, said) == ([0], [])
        began = asyncio.get_running_loop().time()
        for run in line[:3]:
            await bench.admission.cancel(run.run_id, run.member)
        await asyncio.sleep(1.0)
        took = asyncio.get_running_loop().time() - began
        assert 2 <= len(said) <= 5 * took + 2
        assert said[-1][1] == int(said[-1][0].removeprefix("origin-")) - 3


# Cancelling


async def test_only_what_surely_was_not_ordered_can_be_cancelled(tmp_path: Path) -> None:
    """By its member alone; a second time is the same; its holds are given back, and nobody else is told."""
    path = tmp_path / "veo.db"
    store = store_at(path, Inline())
    level = Level(scope="member:discord:1", period=period_at(T0, "month", UTC), limit_u=None)

    async def admitted(name: str) -> Run:
        return await store.admit(new_run(name, now=T0), lambda _: [level])

    async def at(state: RunState, name: str, **changes: object) -> Run:
        run: Run | None = await store.begin_submit(await admitted(name), now=T0 + 1, total_max=99)
        assert run is not None
        return await moved(run, state, **changes)

    async def moved(run: Run, state: RunState, **changes: object) -> Run:
        after = await store.advance(run, state, now=T0 + 2, changes=RunChanges(**changes))  # type: ignore[typeddict-item]
        assert after is not None
        return after

    waiting = await moved(await admitted("waiting"), S.RESERVED, in_line=True)
    with pytest.raises(OfferGone, match=r"question\.not_yours"):
        await store.cancel(waiting.run_id, "discord:9", now=T0 + 3)
    free = [waiting, await admitted("due"), await at(S.RESERVED, "to be sent again")]
    for run in free:
        done = await store.cancel(run.run_id, run.member, now=T0 + 3)
        assert (done.withdrawn, done.cost_u, done.notice, done.in_line) == (True, 0, None, False)
        assert await store.cancel(run.run_id, run.member, now=T0 + 4) == done
        assert await store.begin_submit(run, now=T0 + 5, total_max=99) is None
    named = await admitted("named")
    await store.wake(named.callback_token, "job")
    doubted = await moved(await at(S.AMBIGUOUS, "doubted", unclear_posts=1), S.RESERVED)
    bought = [named, doubted, await at(S.RUNNING, "running", provider_id="job-1")]
    begun = await store.begin_submit(await admitted("sent"), now=T0 + 1, total_max=99)
    assert begun is not None
    for run in (*bought, begun):
        with pytest.raises(OfferGone, match=r"cancel\.too_late"):
            await store.cancel(run.run_id, run.member, now=T0 + 3)
    assert (await store.line(T0)).waiting == []
    await store.close()
    assert check_books(f"sqlite:///{path}") == []


async def test_a_run_in_line_is_begun_only_in_its_turn(tmp_path: Path) -> None:
    """Whoever woke it, and whatever its caller saw."""
    store = store_at(tmp_path / "veo.db", Inline())
    level = Level(scope="member:discord:1", period=period_at(T0, "month", UTC), limit_u=None)
    order = Order(places=1, begin_until=T0 + 90, give_up_at=T0 + 900)
    first, second, third = [
        await store.admit(replace(new_run(name, now=T0 + at), order=order), lambda _: [level])
        for at, name in enumerate("123")
    ]
    assert (first.state, second.in_line, third.in_line) == (S.SUBMITTING, True, True)
    stale = replace(third, in_line=False)
    assert [await store.begin_submit(run, now=T0 + 5, total_max=1) for run in (second, third)] == [None, None]
    assert [await store.begin_submit(run, now=T0 + 5, total_max=2) for run in (third, stale)] == [None, None]
    assert await store.begin_submit(second, now=T0 + 5, total_max=2) is not None
    await store.close()
