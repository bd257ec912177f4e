"""The money inside one transaction: levels held, holds resolved, differences booked, limits raised.

Every function takes the database of a transaction that has the write lock, and leaves budget and ledger in agreement.
A budget row holds the runs of its scope that were asked for between its bounds, all of them and no others, whatever
limits and zones came and went meanwhile: a row that is opened late takes over the runs of before, and one that is
open is written until its period ends.

What admins add on top of a limit, a grant or a refund, counts for what is asked for in their own server, in the period
in which they did it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.domain.limits import EVERYWHERE, Level, OverLimit, Standing, TooManyInFlight
from bot.domain.money import Kind, settle
from bot.domain.records import Act, End, NewRun
from bot.errors import require

OPEN = "'ambiguous', 'reserved', 'running', 'submitting'"

COST_GIVEN = "cost by Runflow"  # the end of the reason of an entry that was made by a known cost

# The guard of every limit, in SQL that decides alone: no row changed means that nothing was held.
RESERVE = """
    UPDATE budget SET held_u = held_u + :price_u,
        limit_u = CASE WHEN limit_u IS NULL OR :bound_u IS NULL THEN NULL
                       WHEN :bound_u > limit_u THEN :bound_u ELSE limit_u END
    WHERE scope = :scope AND period_key = :key AND (held_u + spent_u + :price_u <= :bound_u OR :bound_u IS NULL)"""
_ENTER = """
    INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id)
    VALUES (:run_id, :scope, :key, :kind, :amount_u, :at, :actor, :reason, :act_id)"""

# Which runs belong to a scope, by its sort; `:name` is the rest of it.
_BELONGS = {
    "total": "1",
    "server": "run.server = :name",
    "channel": "run.budget_channel = :name",
    "role": "EXISTS (SELECT 1 FROM json_each(run.roles) WHERE value = :name)",
    "member": "run.member = :name",
}


def check_flights(db: Database, levels: Sequence[Level]) -> None:
    """Raise TooManyInFlight where a level has as many runs under way as it may."""
    for level in levels:
        if level.in_flight_max is not None:
            sort, _, name = level.scope.partition(":")
            sql = f"SELECT count(*) FROM run WHERE {_BELONGS[sort]} AND state IN ({OPEN})"
            (flying,) = db.execute(f"{sql} AND parked_at IS NULL AND NOT overdue", {"name": name}).fetchone()
            if flying >= level.in_flight_max:
                raise TooManyInFlight(level, flying)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Where a run is written: the periods of its levels, in their order, and every other open one of its scopes."""

    levels: Sequence[Level]
    keys: list[str]  # of the levels' periods
    others: list[tuple[str, str]]  # scope and key

    @property
    def member_period(self) -> str:
        return self.keys[-1]


def opened(db: Database, scopes: Sequence[str], levels: Sequence[Level], now: float) -> Opened:
    """The periods of a run that is asked for at `now`; those that were not open yet are opened.

    A period is open by its bounds: one of the same name whose bounds are others, because the operator has moved to
    another zone, is another period. A wish may be a moment late, and belong to one that is over.
    """
    marks = ", ".join("?" * len(scopes))
    sql = (
        "SELECT scope, starts_at, resets_at, period_key FROM budget "
        f"WHERE scope IN ({marks}) AND starts_at <= ? AND resets_at > ?"
    )
    found = {(scope, *bounds): key for scope, *bounds, key in db.execute(sql, [*scopes, now, now]).fetchall()}
    keys = []
    for level in levels:
        key = found.pop((level.scope, level.period.starts_at, level.period.resets_at), None)
        keys.append(open_period(db, level) if key is None else key)
    return Opened(levels=levels, keys=keys, others=[(scope, key) for (scope, *_), key in found.items()])


def hold(db: Database, new: NewRun, where: Opened, *, approved: bool = False) -> None:
    """Reserve the price of a run that is written already, on every level and in every other open period of its scopes.

    One that an admin approved passes the limits of admins, which stay as they are. Raises OverLimit with the first
    level that refused; the caller's transaction then undoes the rest.
    """
    server, levels = new.wish.server, where.levels
    entry = _entry(run_id=new.run_id, kind=Kind.HOLD, amount_u=new.price_u, at=new.now, reason="admitted")
    entry["price_u"] = new.price_u
    rows = []
    for level, key, extra_u in zip(levels, where.keys, _extras_u(db, server, levels), strict=True):
        approved_u = 0
        if approved:
            stands = standing(db, level, server)
            approved_u = stands.held_u + stands.spent_u + new.price_u
        rows.append({**entry, "scope": level.scope, "key": key, "bound_u": level.bound(extra_u, approved_u)})
    rows += [{**entry, "scope": scope, "key": key, "bound_u": None} for scope, key in where.others]
    for place, row in enumerate(rows):
        if db.execute(RESERVE, row).rowcount == 0:
            raise OverLimit(levels[place], new.price_u, standing(db, levels[place], server))
    db.conn.executemany(_ENTER, rows)


def _extras_u(db: Database, server: str, levels: Sequence[Level]) -> list[int]:
    """What this server's admins, and the operator, added on top of each level's limit in its period."""
    marks = ", ".join("?" * len(levels))
    sql = (
        "SELECT entry.scope, act.at, entry.amount_u FROM ledger_entry AS entry JOIN act USING (act_id) "
        f"WHERE entry.scope IN ({marks}) AND entry.at >= ? AND entry.kind IN ('grant', 'refund') "
        "AND act.server IN (?, ?)"
    )
    since = min(level.period.starts_at for level in levels)
    found = db.execute(sql, [*(level.scope for level in levels), since, server, EVERYWHERE]).fetchall()
    return [
        sum(
            amount_u
            for scope, at, amount_u in found
            if scope == level.scope and level.period.starts_at <= at < level.period.resets_at
        )
        for level in levels
    ]


def open_period(db: Database, level: Level) -> str:
    """Open a level's period, with the runs that it has already, where it is not open; its key."""
    if row := _row_of(db, level):
        return row[0]
    key = _free_key(db, level)
    lacking = _of_period(db, level)
    db.execute(
        "INSERT INTO budget (scope, period_key, starts_at, resets_at, held_u, spent_u, excess_u, limit_u) "
        "VALUES (:scope, :key, :starts, :resets, :held_u, :spent_u, :excess_u, "
        "CASE WHEN :bound_u IS NULL THEN NULL ELSE max(:bound_u, :held_u + :spent_u) END)",
        {**_bounds(level), "key": key, "bound_u": level.bound(0), **_sums(lacking)},
    )
    db.conn.executemany(_ENTER, [{**entry, "scope": level.scope, "key": key} for entry in lacking])
    return key


def _row_of(db: Database, level: Level) -> tuple[str, int, int] | None:
    """Key, held and spent of a level's period, which is known by its bounds; None where it is not open."""
    sql = (
        "SELECT period_key, held_u, spent_u FROM budget "
        "WHERE scope = :scope AND starts_at = :starts AND resets_at = :resets"
    )
    row: tuple[str, int, int] | None = db.execute(sql, _bounds(level)).fetchone()
    return row


def _bounds(level: Level) -> dict[str, Any]:
    return {"scope": level.scope, "starts": level.period.starts_at, "resets": level.period.resets_at}


def _free_key(db: Database, level: Level) -> str:
    """The period's name, with a number where one of that name was cut out otherwise before."""
    sql = "SELECT period_key FROM budget WHERE scope = ? AND (period_key = ? OR period_key GLOB ? || '#*')"
    taken = {key for (key,) in db.execute(sql, [level.scope, level.period.key, level.period.key]).fetchall()}
    names = (level.period.key, *(f"{level.period.key}#{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if name not in taken)


def _of_period(db: Database, level: Level) -> list[dict[str, Any]]:
    """The entries of the runs that belong into a level's period, as their members' levels have them."""
    sort, _, name = level.scope.partition(":")
    cursor = db.execute(
        "SELECT entry.run_id, entry.kind, entry.amount_u, entry.at, entry.actor, entry.reason, entry.act_id "
        "FROM run JOIN ledger_entry AS entry ON entry.run_id = run.run_id AND entry.scope = run.member_scope "
        "AND entry.period_key = run.member_period AND (entry.kind = 'hold' "  # each of the two kinds has its index
        "OR entry.kind != 'hold' AND entry.kind IN ('post', 'void', 'adjust')) "
        f"WHERE {_BELONGS[sort]} AND run.created_at >= :starts AND run.created_at < :resets ORDER BY entry.entry_id",
        {"name": name, **_bounds(level)},
    )
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _sums(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What these entries add up to in a budget row."""
    done = {entry["run_id"] for entry in entries if entry["kind"] in (Kind.POST, Kind.VOID)}
    adjusts = [entry["amount_u"] for entry in entries if entry["kind"] == Kind.ADJUST]
    posts = [entry["amount_u"] for entry in entries if entry["kind"] == Kind.POST]
    holds = [entry["amount_u"] for entry in entries if entry["kind"] == Kind.HOLD and entry["run_id"] not in done]
    excess_u = sum(amount for amount in adjusts if amount > 0)
    return {"held_u": sum(holds), "spent_u": sum(posts) + sum(adjusts), "excess_u": excess_u}


def standing(db: Database, level: Level, server: str) -> Standing:
    """Where a level stands for what is asked for in this server.

    One that was not opened yet stands at what its runs of this period come to.
    """
    if row := _row_of(db, level):
        _, held_u, spent_u = row
    else:
        sums = _sums(_of_period(db, level))
        held_u, spent_u = sums["held_u"], sums["spent_u"]
    (extra_u,) = _extras_u(db, server, [level])
    return Standing(
        scope=level.scope,
        period=level.period,
        limit_u=level.bound(extra_u),
        held_u=held_u,
        spent_u=spent_u,
        granted_u=extra_u if level.limit_u else 0,
    )


def resolve_holds(
    db: Database,
    run_id: str,
    end: End,
    *,
    succeeded: bool,
    now: float,
    actor: str = "bot",
    act_id: int | None = None,
) -> None:
    """Turn every hold of a run into its one post or void: the only place where a hold is resolved."""
    holds = _holds(db, run_id)
    require(holds, f"run {run_id} has no hold")
    reason = f"{end.ending}, {COST_GIVEN if end.cost_u is not None else 'no cost given'}"
    for hold_ in holds:
        done = settle(hold_u=hold_["amount_u"], cost_u=end.cost_u, succeeded=succeeded)
        amount_u = done.posted_u if done.kind == Kind.POST else hold_["amount_u"]
        entry = _entry(run_id=run_id, kind=done.kind, amount_u=amount_u, at=now, reason=reason, actor=actor)
        db.execute(_ENTER, {**entry, "scope": hold_["scope"], "key": hold_["key"], "act_id": act_id})
        db.execute(
            "UPDATE budget SET held_u = held_u - :hold_u, spent_u = spent_u + :posted_u "
            "WHERE scope = :scope AND period_key = :key",
            {**hold_, "hold_u": hold_["amount_u"], "posted_u": done.posted_u},
        )
        if done.adjust_u:
            _adjust(db, run_id, hold_, done.adjust_u, now, "the cost is above the hold")


def adjust_holds(db: Database, run_id: str, difference_u: int, now: float, reason: str) -> None:
    """Book a difference to the real cost on every level where the run was held."""
    for hold_ in _holds(db, run_id):
        _adjust(db, run_id, hold_, difference_u, now, reason)


def _adjust(db: Database, run_id: str, hold_: Mapping[str, Any], amount_u: int, now: float, reason: str) -> None:
    """Book a difference where a hold was taken; an excess raises `excess_u` as well."""
    entry = _entry(run_id=run_id, kind=Kind.ADJUST, amount_u=amount_u, at=now, reason=reason)
    db.execute(_ENTER, {**entry, "scope": hold_["scope"], "key": hold_["key"]})
    db.execute(
        "UPDATE budget SET spent_u = spent_u + :amount_u, excess_u = excess_u + :excess_u "
        "WHERE scope = :scope AND period_key = :key",
        {"scope": hold_["scope"], "key": hold_["key"], "amount_u": amount_u, "excess_u": max(0, amount_u)},
    )


def grant(db: Database, level: Level, amount_u: int, act: Act, act_id: int, *, refund_of: str | None = None) -> None:
    """Allow so much more on a level, for what is asked for in the act's server; as a run's refund, or for nothing."""
    key = open_period(db, level)
    kind = Kind.GRANT if refund_of is None else Kind.REFUND
    entry = _entry(run_id=refund_of, kind=kind, amount_u=amount_u, at=act.at, reason=act.reason, actor=act.actor)
    db.execute(_ENTER, {**entry, "scope": level.scope, "key": key, "act_id": act_id})


def take_back(db: Database, run_id: str, amount_u: int, now: float) -> None:
    """Take so much of a run's refund back, where and when it was given: the run was charged less in the end."""
    sql = (
        "SELECT entry.scope, entry.period_key AS key, entry.act_id, act.at FROM ledger_entry AS entry "
        "JOIN act USING (act_id) WHERE run_id = :id AND kind != 'hold' AND kind = 'refund' AND entry.amount_u > 0"
    )
    (given,) = db.query(sql, {"id": run_id})
    entry = _entry(
        run_id=run_id,
        kind=Kind.REFUND,
        amount_u=-amount_u,
        at=max(now, given.pop("at")),  # never before the act by which it is found
        reason="Runflow billed less than was refunded",
    )
    db.execute(_ENTER, {**entry, **given})


def _holds(db: Database, run_id: str) -> list[dict[str, Any]]:
    sql = "SELECT scope, period_key, amount_u FROM ledger_entry WHERE run_id = :id AND kind = 'hold' ORDER BY entry_id"
    return [
        {"scope": scope, "key": key, "amount_u": amount_u}
        for scope, key, amount_u in db.execute(sql, {"id": run_id}).fetchall()
    ]


def _entry(
    *, run_id: str | None, kind: Kind, amount_u: int, at: float, reason: str, actor: str = "bot"
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "kind": kind,
        "amount_u": amount_u,
        "at": at,
        "actor": actor,
        "reason": reason,
        "act_id": None,
    }
