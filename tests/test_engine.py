"""What the engine promises of a run, whatever Runflow, the front and the store do meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.domain.limits import Standing
from bot.domain.records import Accepted, Claimed, End, NewRun, NotSent, Order, Refused, RunChanges, Unclear, Wanted
from bot.domain.runs import Delivery, Ending, Notice, Observation, Run, RunState
from bot.errors import ClipUnavailable, PlaceClosed, PostFailed, StoreDown, Unreadable
from bot.services.delivery import GIVE_UP_TRIES, POSTS_AT_ONCE, TRANSFERS_AT_ONCE, WAITING_MAX
from bot.services.engine import STEPS_MAX
from bot.services.pace import LEASE_S
from bot.services.steps import MOVES_AT_ONCE
from tests.engine_bench import DAY_S, Bench, seen, started
from tests.harness import WAIT_S
from tests.money import wish
from tests.parts import NO_LIMITS


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with started(tmp_path) as made:
        yield made


async def test_a_card_that_fails_never_breaks_off_the_order(bench: Bench) -> None:
    """Whatever the front raises while the POST is under way, its answer is taken."""

    def broken(run: Run, standings: list[Standing]) -> None:
        raise TypeError("not what the library expected")

    bench.script.card = broken
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    assert (bench.script.submitted, run.posts) == (1, 1)


async def test_a_store_that_is_down_is_told_with_growing_pauses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure, the second, the fourth and so on; once it is back, what waits goes on."""
    down = 0

    async def claim(*_: object, **__: object) -> list[Run]:
        nonlocal down
        down += 1
        raise StoreDown

    monkeypatch.setattr("bot.services.engine.STORE_PAUSE_S", 0.001)
    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "claim_due", claim)
        bench.engine.look()
        async with asyncio.timeout(WAIT_S):
            while down < 100:  # noqa: ASYNC110 - counted by the engine's own tries
                await asyncio.sleep(0.005)
    told = [record for record in caplog.records if "store down" in str(record.msg)]
    assert len(told) == down.bit_length()
    await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)


async def test_a_card_shows_where_every_level_stands(bench: Bench) -> None:
    """The whole bot, the server, the channel and, last, the member: each with the run held, later charged."""
    seen_: list[tuple[str, list[tuple[str, int, int]]]] = []

    def card(run: Run, standings: list[Standing]) -> None:
        seen_.append((run.state, [(each.scope, each.held_u, each.spent_u) for each in standings]))

    bench.script.card = card
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    await bench.until(run, lambda row: row.delivery == Delivery.DELIVERED)
    scopes = ["total", "server:discord:2", "channel:discord:3", "member:discord:1"]
    assert seen_[0] == (RunState.RUNNING, [(scope, 3_200_000, 0) for scope in scopes])
    await comes(bench, run, lambda _: len(seen_) > 1)
    assert (RunState.SUCCEEDED, [(scope, 0, 3_200_000) for scope in scopes]) in seen_


async def test_a_new_run_is_looked_at_at_once(bench: Bench) -> None:
    """Nobody has to wake the loop: what is admitted while it sleeps is ordered by itself."""
    for _ in range(5):  # each answer comes behind what the loop asks for: then it sleeps, for nothing is due
        assert await bench.store.history(Wanted(member="discord:1"), 1) == []
    ordered = asyncio.Event()
    bench.script.card = lambda run, standings: ordered.set()
    await bench.admit()
    async with asyncio.timeout(WAIT_S):
        await ordered.wait()


async def test_deliveries_that_hang_stop_nobody_else(bench: Bench) -> None:
    """With every transfer stalled a new run is still ordered and settled."""
    bench.script.stall = asyncio.Event()
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    for number in range(40):
        await bench.until(await bench.admit(str(number)), lambda row: row.terminal)
    assert bench.script.posts == []
    bench.script.stall.set()
    for run in await bench.store.history(Wanted(member="discord:1"), 100):
        await bench.until(run, lambda row: row.delivery == Delivery.DELIVERED)
        bench.time.at += 1.0
    assert len(bench.script.posts) == 40


async def test_a_hint_that_cannot_be_read_hides_nothing(bench: Bench) -> None:
    """A callback that names somebody else's run does not keep the list from being asked."""
    bench.script.answers = [Unclear(reason="HTTP 500")]

    def forbidden(provider_id: str) -> Observation | None:
        raise Unreadable("HTTP 403")

    bench.script.record = forbidden
    run = await bench.admit()
    await bench.until(run, lambda row: row.state == RunState.AMBIGUOUS)
    await bench.engine.wake(run.callback_token, "somebody-elses")
    bench.script.listed = [seen(run, "running")]
    await bench.until(run, lambda row: row.state == RunState.RUNNING)


async def test_a_run_that_a_callback_names_during_its_refusal_is_adopted(bench: Bench) -> None:
    """The POST is refused, but while it was under way a callback named a run with our reference: that one counts."""
    made: list[Run] = []

    async def refuse(run: Run) -> Refused:
        made.append(run)
        await bench.engine.wake(run.callback_token, f"rf-{run.run_id}")
        return Refused(code="HTTP_403", message="no")

    bench.script.submit = refuse  # type: ignore[method-assign]
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
    run = await bench.admit()
    row = await bench.until(run, lambda row: row.state not in (RunState.RESERVED, RunState.SUBMITTING))
    assert (row.state, row.provider_id, len(made)) == (RunState.RUNNING, f"rf-{run.run_id}", 1)


async def test_a_run_that_only_a_forged_callback_names_is_given_up(bench: Bench) -> None:
    """What was named is looked at, is none of ours, and the refusal stands."""
    looked: list[str] = []

    async def refuse(run: Run) -> Refused:
        await bench.engine.wake(run.callback_token, "rf-forged")
        return Refused(code="HTTP_403", message="no")

    def record(name: str) -> Observation | None:
        looked.append(name)
        return seen("somebody-elses", "running")

    bench.script.submit = refuse  # type: ignore[method-assign]
    bench.script.record = record
    run = await bench.admit()
    row = await bench.until(run, lambda row: row.terminal)
    assert (row.state, row.failure_code, row.charged_u) == (RunState.FAILED, "HTTP_403", 0)
    assert "rf-forged" in looked


async def test_a_run_that_is_named_while_it_is_looked_for_is_not_given_up(bench: Bench) -> None:
    """The last empty answer and the callback come at one moment: the run is adopted, not told as never arrived."""
    run = await bench.admit()
    await bench.until(run, lambda row: row.state == RunState.RUNNING)
    for number in range(3):  # the list proves itself
        await bench.store.looked_up(run.run_id, fresh=True)
        other = await bench.admit(f"proof {number}")
        bench.script.listed = [seen(other, "running")]
        await bench.until(other, lambda row: row.state == RunState.RUNNING)
        await bench.store.looked_up(other.run_id, fresh=True)
    bench.script.listed = []
    bench.script.answers = [Unclear(reason="HTTP 500")]
    lost = await bench.admit("lost")
    await bench.until(lost, lambda row: row.state == RunState.AMBIGUOUS)
    bench.time.at += 3601  # too late to be sent again
    await bench.until(lost, lambda row: row.empty_since is not None)
    bench.time.at += 100
    await bench.until(lost, lambda row: row.state == RunState.UNKNOWN)
    bench.time.at += DAY_S
    asked = 0

    async def find(client_ref: str) -> list[Observation]:
        nonlocal asked
        if client_ref == lost.client_ref:
            asked += 1
            bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
            await bench.engine.wake(lost.callback_token, f"rf-{lost.run_id}")
        return []

    bench.script.find = find  # type: ignore[method-assign]
    row = await bench.until(lost, lambda row: row.state != RunState.UNKNOWN)
    assert (row.state, row.provider_id, asked) == (RunState.RUNNING, f"rf-{lost.run_id}", 1)


async def test_each_notice_is_told_once(bench: Bench) -> None:
    """Known, unknown, known and unknown again: the channel hears of it a single time."""
    run = await bench.admit()
    await bench.until(run, lambda row: row.state == RunState.RUNNING)
    for _ in range(2):
        bench.script.record = lambda name: None
        await bench.until(run, lambda row: row.provider_status == "missing")
        bench.time.at += 61
        await bench.until(run, lambda row: row.state == RunState.UNKNOWN and row.delivery == Delivery.DELIVERED)
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
        await bench.until(run, lambda row: row.state == RunState.RUNNING)
    assert bench.script.posts == [(Notice.UNKNOWN, False)]


async def test_a_clip_that_runflow_no_longer_gives_is_told_as_lost(bench: Bench) -> None:
    """Tried for a day, then said without the clip: a member is never left with "on its way"."""
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    bench.script.fetching = ClipUnavailable("every address for it was refused")
    run = await bench.admit()
    await bench.until(run, lambda row: row.delivery_tries > 1)
    bench.time.at += DAY_S + 1
    await bench.until(run, lambda row: row.delivery_tries > 3)  # the bot may have been down that day
    assert bench.script.posts == []
    told = await bench.until(run, lambda row: row.delivery == Delivery.UNDELIVERABLE)
    assert told.message is not None
    assert bench.script.posts == [(Notice.RESULT, False)]


async def test_a_message_that_is_refused_for_a_week_is_given_up(bench: Bench) -> None:
    """Then the run says so itself and costs no further upload."""
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    bench.script.posting = PostFailed("HTTP 400 code 50035")
    run = await bench.admit()
    await bench.until(run, lambda row: row.delivery_tries > 1)
    bench.time.at += 7 * DAY_S + 1
    given_up = await bench.until(run, lambda row: row.delivery == Delivery.UNDELIVERABLE)
    assert given_up.delivery_tries == GIVE_UP_TRIES
    assert given_up.due_at is None
    assert given_up.charged_u == 3_200_000


async def test_the_engine_outlives_a_row_that_it_cannot_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble with one look at the table is logged and tried again; the loop never ends by itself."""
    claim, failed = bench.store.claim_due, 0

    async def broken(now: float, **more: Any) -> Claimed:
        nonlocal failed
        failed += 1
        if failed == 1:
            raise TypeError("a field of a newer version")
        return await claim(now, **more)

    monkeypatch.setattr("bot.services.engine.STORE_PAUSE_S", 0.001)
    bench.store.claim_due = broken  # type: ignore[method-assign] # the one way to a row that cannot be read
    bench.engine.look()
    run = await bench.admit()
    await bench.until(run, lambda row: row.state == RunState.RUNNING)
    async with asyncio.timeout(WAIT_S):
        while failed < 2:  # noqa: ASYNC110 - counted by the engine's own tries
            await asyncio.sleep(0.005)


async def test_a_reply_address_is_dropped_when_it_dies(bench: Bench) -> None:
    """A token that Discord no longer honours is gone from the row, whatever the run still waits for."""
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    assert run.reply_to == "card 1:r"
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
    bench.time.at += 901
    forgotten = await bench.until(run, lambda row: row.reply_to is None)
    assert (forgotten.state, forgotten.reply_until) == (RunState.RUNNING, None)


async def test_answers_at_one_moment_count_as_one(bench: Bench) -> None:
    """However often a run is woken, an empty look-up says that it is absent only together with a later one."""
    for number in range(3):
        old = await bench.until(await bench.admit(f"old {number}"), lambda row: row.state == RunState.RUNNING)
        await bench.store.looked_up(old.run_id, fresh=True)
    assert await bench.store.lookup_proven()
    bench.script.answers = [Unclear(reason="HTTP 500")]
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.AMBIGUOUS)
    bench.time.at += 1.5 * 120.0
    first = await bench.until(run, lambda row: row.empty_since is not None)
    again = await bench.until(run, lambda row: row.tries >= first.tries + 3)
    assert (again.state, again.posts) == (RunState.AMBIGUOUS, 1)
    bench.time.at += 60.0
    await bench.until(run, lambda row: row.state == RunState.RUNNING)
    assert bench.script.submitted == 5


async def test_what_is_known_by_now_is_not_told_as_unknown(bench: Bench) -> None:
    """A notice that could not be posted yet is dropped where the run is found meanwhile."""
    bench.script.answers = [Unclear(reason="HTTP 500")]
    bench.script.posting = PlaceClosed("missing permission")
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.AMBIGUOUS)
    bench.time.at += 1.5 * 120.0
    await bench.until(run, lambda row: row.empty_since is not None)
    bench.time.at += 60.0
    await bench.until(run, lambda row: row.state == RunState.UNKNOWN and row.delivery == Delivery.PENDING)
    bench.script.listed = [seen(run, "running")]
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
    found = await bench.until(run, lambda row: row.state == RunState.RUNNING)
    assert found.delivery == Delivery.NONE
    bench.script.posting = None
    await bench.until(run, lambda row: row.tries > found.tries)
    assert bench.script.posts == []


async def test_unknown_overdue_and_unknown_again_are_two_messages(bench: Bench) -> None:
    """Unknown, then overdue, then unknown again: two messages, and the run is watched all the same."""
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    await bench.until(run, lambda row: row.provider_status == "missing")
    bench.time.at += 61
    row = await bench.until(run, lambda row: row.state == RunState.UNKNOWN and row.delivery == Delivery.DELIVERED)
    assert row.unknown_told
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
    await bench.until(run, lambda row: row.state == RunState.RUNNING)
    bench.time.at += 2 * 3600.0
    await bench.until(run, lambda row: row.overdue and row.delivery == Delivery.DELIVERED)
    for _ in range(2):
        bench.script.record = lambda name: None
        await bench.until(run, lambda row: row.provider_status == "missing")
        bench.time.at += 61
        await bench.until(run, lambda row: row.state == RunState.UNKNOWN)
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
        await bench.until(run, lambda row: row.state == RunState.RUNNING and row.provider_status == "running")
    assert [notice for notice, _ in bench.script.posts] == [Notice.UNKNOWN, Notice.OVERDUE]
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    await bench.until(run, lambda row: row.delivery == Delivery.DELIVERED and row.terminal)
    assert [notice for notice, _ in bench.script.posts] == [Notice.UNKNOWN, Notice.OVERDUE, Notice.RESULT]


async def test_a_success_without_a_clip_is_read_again_before_it_is_believed(bench: Bench) -> None:
    """The clip that comes a moment later is posted; where none comes, the run is told as empty."""
    answers: dict[str, Ending] = {}

    def record(name: str) -> Observation:
        run_id = name.removeprefix("rf-")
        return seen(run_id, "succeeded", answers.get(run_id, Ending.EMPTY))

    bench.script.record = record
    early = await bench.until(await bench.admit("1"), lambda row: row.provider_status == "succeeded")
    never = await bench.until(await bench.admit("2"), lambda row: row.provider_status == "succeeded")
    assert (early.terminal, never.terminal) == (False, False)
    answers[early.run_id] = Ending.VIDEO
    bench.time.at += 3.0
    row = await bench.until(early, lambda row: row.delivery == Delivery.DELIVERED)
    assert row.ending == Ending.VIDEO
    assert bench.script.posts == [(Notice.RESULT, True)]
    bench.time.at += 3.0
    row = await bench.until(never, lambda row: row.terminal)
    assert row.ending == Ending.EMPTY


async def comes(bench: Bench, run: Run, holds: Callable[[Run], bool], within_s: float = 5.0) -> None:
    """Wait until the run's row is as wanted, without waking it."""
    async with asyncio.timeout(within_s):
        while not holds(await bench.store.get(run.run_id) or run):  # noqa: ASYNC110 - the store has no signal for it
            await asyncio.sleep(0.005)


async def proven(bench: Bench) -> None:
    """Three runs that the list has shown in time: from then on it is not asked for each."""
    for number in range(3):
        old = await bench.until(await bench.admit(f"proof {number}"), lambda row: row.state == RunState.RUNNING)
        await bench.store.looked_up(old.run_id, fresh=True)
    assert await bench.store.lookup_proven()


async def test_a_run_alone_takes_five_commits_and_no_look_at_the_table(bench: Bench) -> None:
    """Admitted with its intent, adopted, ended, to be posted now, delivered; nothing else is written or looked for."""
    await proven(bench)
    claims = wrote = changes = 0
    claim, connection = bench.store.claim_due, bench.store.writer.connection

    async def counted(now: float, **more: Any) -> Claimed:
        nonlocal claims
        claims += 1
        return await claim(now, **more)

    def spoken(sql: str) -> None:
        nonlocal wrote, changes
        if sql == "COMMIT":
            wrote, changes = wrote + (connection.total_changes > changes), connection.total_changes

    await asyncio.sleep(0.05)  # the loop has seen what the last step made due
    bench.store.claim_due = counted  # type: ignore[method-assign] # to count
    changes = connection.total_changes
    connection.set_trace_callback(spoken)
    run = await bench.admit("alone")
    await comes(bench, run, lambda row: row.state == RunState.RUNNING)
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    assert await bench.engine.wake(run.callback_token, f"rf-{run.run_id}")
    await comes(bench, run, lambda row: row.delivery == Delivery.DELIVERED)
    connection.set_trace_callback(None)
    assert (wrote, claims, bench.script.submitted) == (5, 0, 4)


async def test_what_a_dead_process_was_about_to_order_is_not_ordered_by_a_repeated_click(bench: Bench) -> None:
    """It died between the commit and the POST: the run is looked for, and the same click once more changes nothing."""
    asked = wish("1", reply_to="r", reply_until=bench.time.at + 900)
    order = Order(places=100, begin_until=bench.time.at + 90, give_up_at=bench.time.at + 3600)
    new = NewRun(wish=asked, run_id="dead", price_u=3_200_000, callback_token="t", now=bench.time.at, order=order)
    died = await bench.store.admit(new, NO_LIMITS.admission(asked.spender, bench.time.at))
    assert (died.state, died.posts) == (RunState.SUBMITTING, 1)
    again = await bench.admission.ask(asked)
    assert isinstance(again, Run)
    assert again.run_id == "dead"
    await asyncio.sleep(0.05)
    assert bench.script.submitted == 0
    row = await bench.until(again, lambda row: row.state != RunState.SUBMITTING)
    assert (row.state, row.posts, row.unclear_posts, bench.script.submitted) == (RunState.AMBIGUOUS, 1, 1, 0)


async def test_a_flood_of_callbacks_is_worked_off_a_few_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for few steps the others wait as ids, each once however often it is called, and none is lost."""
    runs = [await bench.until(await bench.admit(str(n)), lambda row: row.state == RunState.RUNNING) for n in range(60)]
    monkeypatch.setattr("bot.services.engine.STEPS_MAX", 5)
    reading = most = reads = 0

    async def read(provider_id: str) -> Observation | None:
        nonlocal reading, most, reads
        reading, reads = reading + 1, reads + 1
        most = max(most, reading)
        await asyncio.sleep(0.002)
        reading -= 1
        return seen(provider_id.removeprefix("rf-"), "succeeded", Ending.VIDEO)

    bench.script.read = read  # type: ignore[method-assign]
    await asyncio.gather(*(bench.engine.wake(run.callback_token, None) for run in runs * 3))
    for run in runs:
        await comes(bench, run, lambda row: row.delivery == Delivery.DELIVERED)
    assert most <= 5
    assert reads <= 60 + 5  # who is called again during its step looks once more
    assert sorted(bench.script.posts) == [(Notice.RESULT, True)] * 60


async def test_a_callback_whose_step_cannot_be_kept_is_taken_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is down for a moment just then: nobody waits for the next look, which may be minutes away."""
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    monkeypatch.setattr("bot.services.engine.AGAIN_S", 0.01)
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    settle, down = bench.store.settle, 3

    async def failing(run: Run, end: End, **more: Any) -> Run | None:
        nonlocal down
        down -= 1
        if down >= 0:
            raise StoreDown
        return await settle(run, end, **more)

    bench.store.settle = failing  # type: ignore[method-assign]
    assert await bench.engine.wake(run.callback_token, None)
    await comes(bench, run, lambda row: row.delivery == Delivery.DELIVERED)
    assert down == -1


async def test_who_waits_for_a_place_is_shown_so_and_begun_when_one_is_free(tmp_path: Path) -> None:
    """Written in line with the wish, with its card, and ordered by the end of the run before it, not by a timer."""
    async with started(tmp_path, runs_total=1) as bench:
        cards: list[tuple[str, bool]] = []
        bench.script.card = lambda run, standings: cards.append((run.origin, run.in_line))
        first = await bench.until(await bench.admit("1"), lambda row: row.state == RunState.RUNNING)
        second = await bench.admit("2")
        assert (second.state, second.in_line, second.posts) == (RunState.RESERVED, True, 0)
        await comes(bench, second, lambda _: (second.origin, True) in cards)
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
        assert await bench.engine.wake(first.callback_token, None)
        await comes(bench, second, lambda row: row.posts == 1)


async def test_a_place_is_free_before_the_video_that_had_it_is_posted(tmp_path: Path) -> None:
    """The next in line is ordered when the run has ended, however long its clip takes."""
    async with started(tmp_path, runs_total=1) as bench:
        bench.script.stall = asyncio.Event()
        first = await bench.until(await bench.admit("1"), lambda row: row.state == RunState.RUNNING)
        second = await bench.admit("2")
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
        assert await bench.engine.wake(first.callback_token, None)
        await comes(bench, second, lambda row: row.posts == 1)
        assert bench.script.posts == []
        bench.script.stall.set()
        await comes(bench, first, lambda row: row.delivery == Delivery.DELIVERED)


async def test_an_intent_is_dated_when_its_order_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While all steps hang on slow answers a wish is only kept; its intent is written when its turn has come."""
    monkeypatch.setattr("bot.services.steps.MOVES_AT_ONCE", 2)
    async with started(tmp_path) as bench:
        answered = asyncio.Event()

        async def slow(run: Run) -> Accepted:
            await answered.wait()
            return Accepted(observation=seen(run, "running"))

        bench.script.submit = slow  # type: ignore[method-assign]
        assert (
            await bench.store.history(Wanted(member="discord:1"), 1) == []
        )  # by the time of its answer the engine is at work
        first = [await bench.admit(str(number)) for number in range(2)]
        assert [(run.state, run.posts) for run in first] == [(RunState.SUBMITTING, 1)] * 2
        late = await bench.admit("late")
        assert (late.state, late.posts, late.posted_at) == (RunState.RESERVED, 0, None)
        bench.time.at += 100.0
        answered.set()
        await comes(bench, late, lambda row: row.state == RunState.RUNNING)
        row = await bench.store.get(late.run_id)
        assert row is not None
        assert (row.posts, row.posted_at) == (1, bench.time.at)


async def test_who_was_put_in_line_by_a_step_is_begun_when_a_place_is_free(tmp_path: Path) -> None:
    """An order that could not be sent finds its place taken later, and has one as soon as that is free."""
    async with started(tmp_path, runs_total=1) as bench:
        first = await bench.until(await bench.admit("1"), lambda row: row.state == RunState.RUNNING)
        lost = RunChanges(due_at=bench.time.at + 1000)
        assert await bench.store.advance(first, RunState.UNKNOWN, now=bench.time.at, changes=lost) is not None
        bench.script.answers = [NotSent(reason="429", wait_s=60.0)]
        second = await bench.admit("2")
        await comes(bench, second, lambda row: row.posts == 1 and row.state == RunState.RESERVED)
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "running")
        await bench.until(first, lambda row: row.state == RunState.RUNNING)
        bench.time.at += 61.0
        bench.engine.look()
        await comes(bench, second, lambda row: row.in_line)
        bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
        assert await bench.engine.wake(first.callback_token, None)
        await comes(bench, second, lambda row: row.posts == 2, within_s=1.5)  # the next look is three seconds away


async def test_a_run_that_cannot_be_read_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    """It is parked when it is due, and who waits in line is begun then, not when the hour or the deadline is over."""
    async with started(tmp_path, runs_total=1) as bench:
        first = await bench.until(await bench.admit("1"), lambda row: row.state == RunState.RUNNING)
        second = await bench.admit("2")
        await asyncio.sleep(0.1)  # the loop has seen that it waits
        with closing(sqlite3.connect(tmp_path / "veo.db")) as beside, beside:
            (kept,) = beside.execute("SELECT request FROM run WHERE run_id = ?", [first.run_id]).fetchone()
            beside.execute("UPDATE run SET request = '[]' WHERE run_id = ?", [first.run_id])
        bench.time.at += 300.0
        bench.engine.look()
        await comes(bench, second, lambda row: row.posts == 1)
        with closing(sqlite3.connect(tmp_path / "veo.db")) as beside, beside:
            beside.execute("UPDATE run SET request = ? WHERE run_id = ?", [kept, first.run_id])


async def test_a_post_that_outlasts_its_lease_is_followed_by_its_pause(bench: Bench) -> None:
    """It is found due meanwhile, and is not begun once more at the moment in which it fails."""
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    await asyncio.sleep(0.05)  # no step is under way for which the callback would be news
    bench.script.stall = asyncio.Event()
    bench.script.posting = PostFailed("no answer")
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    assert await bench.engine.wake(run.callback_token, None)
    await comes(bench, run, lambda row: row.delivery == Delivery.SENDING)
    claimed = bench.time.at + LEASE_S + 1.0
    bench.time.at = claimed
    bench.engine.look()
    await comes(bench, run, lambda row: row.due_at == claimed + LEASE_S)
    bench.script.stall.set()
    await comes(bench, run, lambda row: row.uploads == 1)
    await asyncio.sleep(0.05)
    row = await bench.store.get(run.run_id)
    assert row is not None
    assert (row.uploads, row.delivery_tries) == (1, 1)


async def test_a_try_that_found_the_line_full_counts_for_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was asked, so the ten minutes in which a closed place may open again have not begun."""
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    monkeypatch.setattr("bot.services.delivery.WAITING_MAX", 0)
    bench.script.record = lambda name: seen(name.removeprefix("rf-"), "succeeded", Ending.VIDEO)
    assert await bench.engine.wake(run.callback_token, None)
    await comes(bench, run, lambda row: row.terminal and row.delivery_tries == 0 and row.first_try_at is None)
    bench.time.at += 700.0
    bench.script.posting = PlaceClosed("archived")
    monkeypatch.undo()
    bench.engine.look()
    await comes(bench, run, lambda row: row.delivery_tries == 1 and row.delivery == Delivery.PENDING)
    row = await bench.store.get(run.run_id)
    assert row is not None
    assert (row.direct, row.first_try_at) == (False, bench.time.at)


async def test_a_first_try_that_died_with_its_process_counts_for_nothing(bench: Bench) -> None:
    """It was counted with the end of the run; hours later the place is closed for a moment, and is waited for."""
    run = await bench.until(await bench.admit(), lambda row: row.state == RunState.RUNNING)
    end = End(ending=Ending.VIDEO, cost_u=3_200_000)
    died = await bench.store.settle(run, end, now=bench.time.at, lease_until=bench.time.at + LEASE_S)
    assert died is not None
    assert died.delivery_tries == 1
    bench.time.at += 7200.0
    bench.script.posting = PlaceClosed("archived")
    bench.engine.look()
    await comes(bench, run, lambda row: row.delivery_tries == 2 and row.delivery == Delivery.PENDING)
    row = await bench.store.get(run.run_id)
    assert row is not None
    assert (row.direct, row.first_try_at) == (False, bench.time.at)


def test_deliveries_that_wait_leave_steps_for_everything_else() -> None:
    """However long both lines are: those of all moves that there may be at once."""
    assert 2 * WAITING_MAX + TRANSFERS_AT_ONCE + POSTS_AT_ONCE + MOVES_AT_ONCE <= STEPS_MAX
