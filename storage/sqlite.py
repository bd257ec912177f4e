"""SQLite as the store: one process, one connection, one thread; each verb is one transaction.

Every transaction takes the write lock first (`BEGIN IMMEDIATE`) and is durable when it is answered
(`synchronous=FULL`). What a transaction decides, it decides by SQL that would hold under PostgreSQL
too: conditional updates, unique indexes, checks. The port with its promises is `bot.ports.Store`.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database

from bot.errors import DatabaseError, StoreDown, TooManyRuns
from bot.ledger import Kind, Level, OverLimit, Standing, settle
from bot.ports import End, NewRun, RunChanges
from bot.runs import (
    IN_FLIGHT,
    MOVES,
    STATE_OF_ENDING,
    TERMINAL,
    Delivery,
    Ending,
    Notice,
    Run,
    RunState,
    VeoRequest,
)
from storage import migrations

Result = TypeVar("Result")

_CONVERTED: dict[str, Callable[[Any], object]] = {
    "state": RunState,
    "ending": Ending,
    "notice": Notice,
    "delivery": Delivery,
    "overdue": bool,
    "request": lambda text: VeoRequest(**json.loads(text)),
}
_RUN_FIELDS = tuple(field.name for field in fields(Run))
_OPEN = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT | {RunState.RESERVED}))


def database_path(url: str) -> str:
    """The file named by `sqlite:///relative` or `sqlite:////absolute`."""
    return url.removeprefix("sqlite:///")


def open_store(url: str, *, executor: Executor | None = None) -> SqliteStore:
    """Open the one writer of the database, creating or migrating it.

    `executor` runs the transactions one after the other; by default a thread of the store's own.
    Raises DatabaseError with a sentence where the file cannot be used, and then leaves it untouched.
    """
    return SqliteStore(database_path(url), executor or ThreadPoolExecutor(1, thread_name_prefix="store"))


class SqliteStore:
    """`bot.ports.Store` on one SQLite file. Close it with `await close()`."""

    def __init__(self, path: str, executor: Executor) -> None:
        self._executor = executor
        try:
            self._lock = _lock_out_others(path)
            try:
                self._db = executor.submit(_open, path).result()
            except BaseException:
                os.close(self._lock)
                executor.shutdown()
                raise
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError(
                f"The database {path} cannot be opened ({error}); check DATABASE_URL, the folder and the disk."
            ) from error

    async def close(self) -> None:
        await self._run(self._db.close)
        self._executor.shutdown()
        os.close(self._lock)

    async def _run(self, job: Callable[[], Result]) -> Result:
        """Run `job` in the store's thread; a cancelled caller never interrupts a transaction."""
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, job))
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StoreDown from error

    async def _write(self, job: Callable[[Database], Result]) -> Result:
        def transaction() -> Result:
            with immediate(self._db) as db:
                return job(db)

        return await self._run(transaction)

    async def _read(self, sql: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
        return await self._run(lambda: list(self._db.query(sql, dict(values))))

    # Admission

    async def admit(self, new: NewRun, levels: Sequence[Level], *, in_flight_max: int) -> Run:
        def job(db: Database) -> Run:
            if known := _runs(db, "origin = :origin", {"origin": new.origin}):
                return known[0]
            flying = _one(
                db,
                f"SELECT count(*) AS n FROM run WHERE member = :m AND state IN ({_OPEN})",
                {"m": new.member},
            )["n"]
            if flying >= in_flight_max:
                raise TooManyRuns(
                    f"You have {flying} runs under way, and {in_flight_max} at a time is the limit. "
                    "Nothing was started or charged; ask again when one of them is done."
                )
            for level in levels:
                _hold(db, level, new.price_u)
            _insert_run(db, new, levels[-1])
            for level in levels:
                _enter(db, new.run_id, level.scope, level.period.key, Kind.HOLD, new.price_u, new.now, "admitted")
            return _get(db, new.run_id)

        return await self._write(job)

    # The run's way

    async def claim_due(self, now: float, *, lease_until: float, limit: int) -> list[Run]:
        def job(db: Database) -> list[Run]:
            db.execute("UPDATE run SET reply_to = NULL, reply_until = NULL WHERE reply_until <= :now", {"now": now})
            due = list(
                db.query(
                    "SELECT run_id FROM run WHERE due_at <= :now ORDER BY due_at LIMIT :limit",
                    {"now": now, "limit": limit},
                )
            )
            for row in due:
                db.execute("UPDATE run SET due_at = :until WHERE run_id = :run_id", {**row, "until": lease_until})
            return [_get(db, row["run_id"]) for row in due]

        return await self._write(job)

    async def next_due(self) -> float | None:
        rows = await self._read(
            "SELECT min(due) AS due FROM (SELECT min(due_at) AS due FROM run WHERE due_at IS NOT NULL "
            "UNION ALL SELECT min(reply_until) FROM run WHERE reply_until IS NOT NULL) AS nearest",
            {},
        )
        due: float | None = rows[0]["due"]
        return due

    async def recover(self, now: float) -> int:
        def job(db: Database) -> int:
            db.execute("UPDATE run SET due_at = :now WHERE due_at > :now", {"now": now})
            return int(_one(db, "SELECT count(*) AS n FROM run WHERE due_at IS NOT NULL", {})["n"])

        return await self._write(job)

    async def wake(self, callback_token: str, candidate_id: str | None, now: float) -> str | None:
        def job(db: Database) -> str | None:
            rows = list(
                db.query(
                    "UPDATE run SET due_at = CASE WHEN due_at > :now THEN :now ELSE due_at END, "
                    "candidate_id = CASE WHEN provider_id IS NULL THEN coalesce(:candidate, candidate_id) "
                    "ELSE candidate_id END WHERE callback_token = :token RETURNING run_id",
                    {"now": now, "candidate": candidate_id, "token": callback_token},
                )
            )
            return str(rows[0]["run_id"]) if rows else None

        return await self._write(job)

    async def begin_submit(self, run: Run, *, now: float, total_max: int) -> Run | None:
        def job(db: Database) -> Run | None:
            return _guarded(
                db,
                run,
                RunState.SUBMITTING,
                {"state_at": now, "posted_at": now, "posts": run.posts + 1},
                # Those that asked earlier go first: each older one that still waits counts as a taken place.
                f"AND (SELECT count(*) FROM run AS other WHERE other.state IN ({_OPEN}) AND (other.state != 'reserved' "
                "OR (other.created_at, other.run_id) < (run.created_at, run.run_id))) < :total_max",
                {"total_max": total_max},
            )

        return await self._write(job)

    async def advance(self, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
        assert state not in TERMINAL or state == run.state, "an end is reached by settle alone"
        moved = {"state_at": now} if state != run.state else {}
        return await self._write(lambda db: _guarded(db, run, state, {**moved, **changes}))

    async def settle(self, run: Run, end: End, *, now: float) -> Run | None:
        assert not run.terminal, "a run ends once"

        def job(db: Database) -> Run | None:
            state = STATE_OF_ENDING[end.ending]
            ended = {
                **asdict(end),
                "state_at": now,
                "ended_at": now,
                "due_at": now,
                "tries": 0,
                "notice": Notice.RESULT,
                "delivery": Delivery.PENDING,
                "delivery_tries": 0,
                "first_try_at": None,
            }
            if _guarded(db, run, state, ended) is None:
                return None
            _resolve_holds(db, run.run_id, end, state == RunState.SUCCEEDED, now)
            return _get(db, run.run_id)

        return await self._write(job)

    async def correct(self, run: Run, cost_u: int, *, now: float) -> Run:
        def job(db: Database) -> Run:
            current = _get(db, run.run_id)
            assert current.terminal, "a cost is corrected only after the end"
            if current.cost_u is None:
                db.execute("UPDATE run SET cost_u = :cost WHERE run_id = :id", {"cost": cost_u, "id": run.run_id})
                if difference_u := cost_u - current.charged_u:
                    for hold in _entries(db, run.run_id, Kind.HOLD):
                        _adjust(db, hold, difference_u, now, "Runflow named the cost later")
            return _get(db, run.run_id)

        return await self._write(job)

    # Reading

    async def get(self, run_id: str) -> Run | None:
        found = await self._run(lambda: _runs(self._db, "run_id = :id", {"id": run_id}))
        return found[0] if found else None

    async def latest(self, member: str, limit: int) -> list[Run]:
        return await self._run(
            lambda: _runs(
                self._db,
                "member = :member ORDER BY created_at DESC, run_id LIMIT :limit",
                {"member": member, "limit": limit},
            )
        )

    async def standing(self, level: Level) -> Standing:
        return await self._run(lambda: _standing(self._db, level))

    async def media_key(self) -> bytes:
        rows = await self._read("SELECT value FROM installation WHERE name = 'media_key'", {})
        return bytes(rows[0]["value"])


@contextmanager
def immediate(db: Database) -> Iterator[Database]:
    """One transaction that holds the write lock from its first statement; any exception undoes all of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk may already have rolled back
            db.rollback()
        raise


def _lock_out_others(path: str) -> int:
    """Take the lock beside the database; the system drops it when the process dies, however it dies."""
    Path(path).resolve().parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 100).decode(errors="replace").strip() or "another process"
        os.close(lock)
        raise DatabaseError(
            f"The database {path} is in use by {owner}; stop that one first, or name another file in DATABASE_URL."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
    return lock


def _open(path: str) -> Database:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds tokens: for its owner alone
    db = Database(
        sqlite3.connect(path, timeout=5, check_same_thread=False),
        strict=True,
        execute_plugins=False,
        recursive_triggers=False,
    )
    try:
        migrations.refuse_what_is_not_ours(db, path)
        db.enable_wal()
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        with immediate(db):
            migrations.steps.apply(db)
    except BaseException:
        db.close()
        raise
    return db


def _one(db: Database, sql: str, values: Mapping[str, object]) -> dict[str, Any]:
    return next(iter(db.query(sql, dict(values))))


def _runs(db: Database, where: str, values: Mapping[str, object]) -> list[Run]:
    return [_run_of(row) for row in db.query(f"SELECT * FROM run_view WHERE {where}", dict(values))]


def _get(db: Database, run_id: str) -> Run:
    return _runs(db, "run_id = :id", {"id": run_id})[0]


def _run_of(row: Mapping[str, Any]) -> Run:
    values: dict[str, Any] = {name: row[name] for name in _RUN_FIELDS}
    for name, convert in _CONVERTED.items():
        if values[name] is not None:
            values[name] = convert(values[name])
    return Run(**values)


def _insert_run(db: Database, new: NewRun, member: Level) -> None:
    row = {
        **{field.name: getattr(new, field.name) for field in fields(new) if field.name not in ("request", "now")},
        "request": json.dumps(asdict(new.request)),
        "member_scope": member.scope,
        "member_period": member.period.key,
        "state": RunState.RESERVED,
        "state_at": new.now,
        "created_at": new.now,
        "due_at": new.now,
    }
    columns = ", ".join(row)
    db.execute(f"INSERT INTO run ({columns}) VALUES ({', '.join(f':{name}' for name in row)})", row)


def _guarded(
    db: Database,
    run: Run,
    state: RunState,
    changes: Mapping[str, object],
    condition: str = "",
    values: Mapping[str, object] | None = None,
) -> Run | None:
    """Move a run if it still stands where the caller saw it; None, and nothing changed, if it does not."""
    assert state == run.state or state in MOVES[run.state], f"illegal move {run.state} -> {state}"
    assignments = "".join(f", {name} = :{name}" for name in changes)
    rows = list(
        db.query(
            f"UPDATE run SET state = :to_state{assignments} WHERE run_id = :guard_id "
            f"AND state = :guard_state AND delivery = :guard_delivery {condition} RETURNING run_id",
            {
                **changes,
                **(values or {}),
                "to_state": state,
                "guard_id": run.run_id,
                "guard_state": run.state,
                "guard_delivery": run.delivery,
            },
        )
    )
    return _get(db, run.run_id) if rows else None


def _hold(db: Database, level: Level, price_u: int) -> None:
    """Reserve `price_u` on one level, or raise OverLimit; the caller's transaction then undoes the rest."""
    key = {"scope": level.scope, "period": level.period.key, "policy": level.limit_u}
    # A raised limit is stored, a lowered one is only compared with: it may lie below what is already spent.
    db.execute(
        "INSERT INTO budget (scope, period_key, limit_u) VALUES (:scope, :period, :policy) "
        "ON CONFLICT (scope, period_key) DO UPDATE SET limit_u = excluded.limit_u "
        "WHERE budget.limit_u IS NOT NULL "
        "AND (excluded.limit_u IS NULL OR excluded.limit_u > budget.limit_u)",
        key,
    )
    held = list(
        db.query(
            "UPDATE budget SET held_u = held_u + :price WHERE scope = :scope AND period_key = :period "
            "AND (held_u + spent_u + :price <= limit_u OR limit_u IS NULL) "
            "AND (held_u + spent_u + :price <= :policy OR :policy IS NULL) RETURNING held_u",
            {**key, "price": price_u},
        )
    )
    if not held:
        raise OverLimit(level.scope, price_u, _standing(db, level))


def _standing(db: Database, level: Level) -> Standing:
    rows = list(
        db.query(
            "SELECT held_u, spent_u FROM budget WHERE scope = :scope AND period_key = :period",
            {"scope": level.scope, "period": level.period.key},
        )
    )
    held_u, spent_u = (rows[0]["held_u"], rows[0]["spent_u"]) if rows else (0, 0)
    return Standing(limit_u=level.limit_u, held_u=held_u, spent_u=spent_u, resets_at=level.period.resets_at)


def _entries(db: Database, run_id: str, kind: Kind) -> list[dict[str, Any]]:
    return list(
        db.query(
            "SELECT * FROM ledger_entry WHERE run_id = :id AND kind = :kind ORDER BY entry_id",
            {"id": run_id, "kind": kind},
        )
    )


def _enter(
    db: Database, run_id: str, scope: str, period_key: str, kind: Kind, amount_u: int, at: float, reason: str
) -> None:
    db.execute(
        "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
        "VALUES (:run_id, :scope, :period_key, :kind, :amount_u, :at, 'bot', :reason)",
        {
            "run_id": run_id,
            "scope": scope,
            "period_key": period_key,
            "kind": kind,
            "amount_u": amount_u,
            "at": at,
            "reason": reason,
        },
    )


def _resolve_holds(db: Database, run_id: str, end: End, succeeded: bool, now: float) -> None:
    """Turn every hold of a run into its one post or void: the only place where a hold is resolved."""
    holds = _entries(db, run_id, Kind.HOLD)
    assert holds, f"run {run_id} has no hold"
    reason = f"{end.ending}, {'cost by Runflow' if end.cost_u is not None else 'no cost given'}"
    for hold in holds:
        done = settle(hold_u=hold["amount_u"], cost_u=end.cost_u, succeeded=succeeded)
        amount_u = done.posted_u if done.kind == Kind.POST else hold["amount_u"]
        _enter(db, run_id, hold["scope"], hold["period_key"], done.kind, amount_u, now, reason)
        db.execute(
            "UPDATE budget SET held_u = held_u - :hold, spent_u = spent_u + :posted "
            "WHERE scope = :scope AND period_key = :period",
            {
                "hold": hold["amount_u"],
                "posted": done.posted_u,
                "scope": hold["scope"],
                "period": hold["period_key"],
            },
        )
        if done.adjust_u:
            _adjust(db, hold, done.adjust_u, now, "the cost is above the hold")


def _adjust(db: Database, hold: Mapping[str, Any], amount_u: int, now: float, reason: str) -> None:
    """Book a difference to the real cost where the hold was taken; an excess raises `excess_u` as well."""
    _enter(db, hold["run_id"], hold["scope"], hold["period_key"], Kind.ADJUST, amount_u, now, reason)
    db.execute(
        "UPDATE budget SET spent_u = spent_u + :amount, excess_u = excess_u + :excess "
        "WHERE scope = :scope AND period_key = :period",
        {
            "amount": amount_u,
            "excess": max(0, amount_u),
            "scope": hold["scope"],
            "period": hold["period_key"],
        },
    )
