"""SQLite as the store: one process, one connection, one thread; each verb is one transaction.

Every transaction takes the write lock first (`BEGIN IMMEDIATE`) and is durable when it is answered
(`synchronous=FULL`); see `storage.sqlite.writer`. What a transaction decides stands in `storage.verbs`, and the ports
with their promises in `bot.ports.Store`.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from bot.domain.limits import Level, OverLimit, Plan, Rules, Spender, Standing
from bot.domain.models import VeoRequest
from bot.domain.queue import Line
from bot.domain.records import (
    Act,
    Approve,
    Change,
    Claimed,
    End,
    NewRun,
    Offer,
    Open,
    Recovered,
    RunChanges,
    Sweep,
    Wanted,
    Woken,
)
from bot.domain.runs import Run, RunState
from storage.sqlite.writer import Writer
from storage.verbs import admissions, line, members, reports, rows, rules, runs

Made = TypeVar("Made")


def database_path(url: str) -> str:
    """The file named by `sqlite:///relative` or `sqlite:////absolute`."""
    return url.removeprefix("sqlite:///")


def open_store(
    url: str,
    *,
    executor: Executor | None = None,
    through: Callable[[sqlite3.Connection], sqlite3.Connection] | None = None,
) -> SqliteStore:
    """Open the one writer of the database, creating or migrating it.

    `executor` runs the transactions one after the other; by default a thread of the store's own. `through` gives what
    stands between the store and its connection, such as a disk that fails.
    Raises DatabaseError with a sentence where the file cannot be used, and then leaves it untouched.
    """
    return SqliteStore(Writer(database_path(url), executor, through))


class SqliteStore:
    """`bot.ports.Store` on one SQLite file. Close it with `await close()`."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    async def close(self) -> None:
        await self.writer.close()

    # Wishes, questions and their money

    async def admit(self, new: NewRun, plan: Plan) -> Run:
        return _made(await self.writer.write(lambda tx: admissions.admit(tx, new, plan)))

    async def offer(self, offer: Offer, new: NewRun, plan: Plan) -> Offer | Run:
        made = await self.writer.write(lambda tx: admissions.offer(tx, offer, new, plan))
        return made if isinstance(made, Offer) else _made(made)

    async def keep(self, offer: Offer, *, now: float) -> Offer:
        return await self.writer.write(lambda tx: admissions.keep(tx, offer, now=now))

    async def offer_of(self, offer_id: str) -> Offer | None:
        return await self.writer.read(lambda tx: rows.find_offer(tx, offer_id))

    async def ask(self, offer_id: str, *, now: float, pause_s: float) -> list[Offer]:
        return await self.writer.write(lambda tx: admissions.ask(tx, offer_id, now=now, pause_s=pause_s))

    async def asked(self, offer_id: str, message: str) -> Offer:
        return await self.writer.write(lambda tx: admissions.asked(tx, offer_id, message))

    async def take(self, offer_id: str, new: NewRun, plan: Plan, *, approve: Approve | None) -> Run:
        return _made(await self.writer.write(lambda tx: admissions.take(tx, offer_id, new, plan, approve=approve)))

    async def drop(self, offer_id: str) -> None:
        await self.writer.write(lambda tx: admissions.drop(tx, offer_id))

    async def withdraw(self, offer_id: str) -> bool:
        return await self.writer.write(lambda tx: admissions.withdraw(tx, offer_id))

    async def cancel(self, run_id: str, member: str, *, now: float) -> Run:
        return await self.writer.write(lambda tx: runs.cancel(tx, run_id, member, now=now))

    async def deny(self, offer_id: str, act: Act) -> Offer:
        return await self.writer.write(lambda tx: admissions.deny(tx, offer_id, act))

    # What admins decide

    async def rules(self, server: str, about: str | None = None) -> Rules:
        return await self.writer.read(lambda tx: rules.rules(tx, server, about))

    async def standings(self, who: Spender, plan: Plan) -> list[Standing]:
        return await self.writer.read(lambda tx: rules.standings(tx, who, plan))

    async def decide(self, act: Act, decision: Callable[[Rules], Change]) -> Rules:
        return await self.writer.write(lambda tx: rules.decide(tx, act, decision))

    async def grant(self, server: str, plan: Callable[[Rules], Level], amount_u: int, act: Act) -> Standing:
        return await self.writer.write(lambda tx: rules.grant(tx, server, plan, amount_u, act))

    async def refund(self, run_id: str, amount: Callable[[Run], int], plan: Callable[[Rules], Level], act: Act) -> Run:
        return await self.writer.write(lambda tx: rules.refund(tx, run_id, amount, plan, act))

    async def release(self, run: Run, act: Act, end: End) -> Run | None:
        return await self.writer.write(lambda tx: rules.release(tx, run, act, end))

    async def answer_to(self, origin: str) -> str | None:
        return await self.writer.read(lambda tx: rules.answer_to(tx, origin))

    async def keep_answer(self, origin: str, said: str, *, now: float) -> bool:
        return await self.writer.write(lambda tx: rules.keep_answer(tx, origin, said, now=now))

    async def press(self, button: str, origin: str, *, now: float, within_s: float) -> bool:
        return await self.writer.write(lambda tx: rules.press(tx, button, origin, now=now, within_s=within_s))

    async def acts(self, server: str, limit: int) -> list[Act]:
        return await self.writer.read(lambda tx: rules.acts(tx, server, limit))

    # The way of a run

    async def claim_due(
        self, now: float, *, lease_until: float, limit: int, total_max: int, sweep: Sweep | None = None
    ) -> Claimed:
        return await self.writer.write(
            lambda tx: runs.claim_due(tx, now, lease_until=lease_until, limit=limit, total_max=total_max, sweep=sweep)
        )

    async def recover(self, now: float, *, deadline_s: float) -> Recovered:
        return await self.writer.write(lambda tx: runs.recover(tx, now, deadline_s=deadline_s))

    async def forget_first_tries(self, before: float) -> None:
        await self.writer.write(lambda tx: runs.forget_first_tries(tx, before))

    async def wake(self, callback_token: str, candidate_id: str | None) -> Woken | None:
        return await self.writer.write(lambda tx: runs.wake(tx, callback_token, candidate_id))

    async def begin_submit(self, run: Run, *, now: float, total_max: int) -> Run | None:
        return await self.writer.write(lambda tx: runs.begin_submit(tx, run, now=now, total_max=total_max))

    async def advance(self, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
        return await self.writer.write(lambda tx: runs.advance(tx, run, state, now=now, changes=changes))

    async def settle(self, run: Run, end: End, *, now: float, lease_until: float | None = None) -> Run | None:
        return await self.writer.write(lambda tx: runs.settle(tx, run, end, now=now, lease_until=lease_until))

    async def correct(self, run: Run, cost_u: int, *, now: float) -> Run:
        return await self.writer.write(lambda tx: runs.correct(tx, run, cost_u, now=now))

    async def line(self, now: float) -> Line:
        return await self.writer.read(lambda tx: line.line(tx, now))

    async def lengths(self, limit: int) -> list[tuple[VeoRequest, float]]:
        return await self.writer.read(lambda tx: runs.lengths(tx, limit))

    async def looked_up(self, run_id: str, *, fresh: bool) -> None:
        await self.writer.write(lambda tx: runs.looked_up(tx, run_id, fresh=fresh))

    async def lookup_proven(self) -> bool:
        return await self.writer.read(runs.lookup_proven)

    # Reading, and what an operator watches

    async def get(self, run_id: str) -> Run | None:
        return await self.writer.read(lambda tx: runs.find(tx, run_id))

    async def history(self, wanted: Wanted, limit: int) -> list[Run]:
        return await self.writer.read(lambda tx: members.history(tx, wanted, limit))

    async def prompts(self, member: str, typed: str, *, searched: int, limit: int) -> list[tuple[str, str]]:
        return await self.writer.read(lambda tx: members.prompts(tx, member, typed, searched=searched, limit=limit))

    async def open_of(self, member: str, server: str, *, now: float, limit: int) -> Open:
        return await self.writer.read(lambda tx: members.open_of(tx, member, server, now=now, limit=limit))

    async def check(self) -> None:
        mark = secrets.token_bytes(8)
        await self.writer.write(lambda tx: reports.check(tx, mark))

    async def media_key(self) -> bytes:
        return await self.writer.read(reports.media_key)


def _made(answer: Made | OverLimit) -> Made:
    """What a wish made. A refusal that was committed with the periods opened for it is raised only now."""
    if isinstance(answer, OverLimit):
        raise answer
    return answer
