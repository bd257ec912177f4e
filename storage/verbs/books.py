"""The money inside one transaction: levels held, holds resolved, differences booked, limits raised.

Every function takes a transaction that has locked the books (`storage.dialect.lock_books`), and leaves budget and
ledger in agreement. A budget row holds the runs of its scope that were asked for between its bounds, all of them and
no others, whatever limits and zones came and went meanwhile: a row that is opened late takes over the runs of before,
and one that is open is written until its period ends. To open one may be dear, so it is done once: with the limit that
counts by it, or, for those of the settings, with the first wish, and it stays open where that is refused.

What admins add on top of a limit, a grant or a refund, counts for what is asked for in their own server, in the period
in which they did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.domain.limits import EVERYWHERE, Level, OverLimit, Standing, TooManyInFlight
from bot.domain.money import Kind, settle
from bot.domain.records import Act, End, NewRun
from bot.errors import require
from storage.dialect import Rows, Transaction, among
from storage.verbs.rows import named

COST_GIVEN = "cost by Runflow"  # the end of the reason of an entry that was made by a known cost

# The guard of every limit, in SQL that decides alone: no row changed means that nothing was held.
RESERVE = """
    UPDATE budget SET held_u = held_u + :price_u
    WHERE scope = :scope AND period_key = :key AND (held_u + spent_u + :price_u <= :bound_u OR :bound_u IS NULL)"""
_LET_GO = "UPDATE budget SET held_u = held_u - :price_u WHERE scope = :scope AND period_key = :key"
_ENTER = """
    INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id)
    VALUES (:run_id, :scope, :key, :kind, :amount_u, :at, :actor, :reason, :act_id)"""

# Which runs belong to a scope, by its sort; `:name` is the rest of it. Of a role's, those from some time on.
_BELONGS = {
    "total": "1 = 1",
    "server": "run.server = :name",
    "channel": "run.budget_channel = :name",
    "role": (
        "run.run_id IN (SELECT had.run_id FROM run_role AS had WHERE had.role = :name AND had.created_at >= {since})"
    ),
    "member": "run.member = :name",
}

# Those of them that are under way. Of a server, channel, role or member all are looked at that are not older than the
# oldest run under way anywhere: those of some hours at most, which have their indexes by time.
_UNENDED = "run.ended_at IS NULL AND run.state != 'unknown' AND run.parked_at IS NULL AND run.overdue = 0"
_OLDEST = f"(SELECT run.created_at FROM run WHERE {_UNENDED} ORDER BY run.created_at LIMIT 1)"
_UNDER_WAY = {
    "total": f"run WHERE {_UNENDED}",
    "server": f"run WHERE run.server = :name AND run.created_at >= {_OLDEST} AND {_UNENDED}",
    "channel": f"run WHERE run.budget_channel = :name AND run.created_at >= {_OLDEST} AND {_UNENDED}",
    "role": (
        "run_role AS had JOIN run ON run.run_id = had.run_id "
        f"WHERE had.role = :name AND had.created_at >= {_OLDEST} AND {_UNENDED}"
    ),
    "member": f"run WHERE run.member = :name AND run.created_at >= {_OLDEST} AND {_UNENDED}",
}

# The entries of a level that was not open yet: those of its runs of that period, as their members' levels have them.
# Each of the two kinds has its index. What is held is the hold of a run that has no end.
_ENTRIES = """
    FROM run JOIN ledger_entry AS entry ON entry.run_id = run.run_id AND entry.scope = run.member_scope
         AND entry.period_key = run.member_period
         AND (entry.kind = 'hold' OR entry.kind != 'hold' AND entry.kind IN ('post', 'void', 'adjust'))
    WHERE {belongs} AND run.created_at >= :since AND run.created_at < :until"""
_SUMS = """
    coalesce(sum(CASE WHEN entry.kind = 'hold' AND run.ended_at IS NULL THEN entry.amount_u END), 0) AS held_u,
    coalesce(sum(CASE WHEN entry.kind IN ('post', 'adjust') THEN entry.amount_u END), 0) AS spent_u"""
_NEW_BOOK = """
    INSERT INTO budget (scope, period_key, starts_at, resets_at, held_u, spent_u)
    VALUES (:scope, :key, :starts, :resets, :held_u, :spent_u)"""
# Run by run, as the indexes of the entries are sorted: with many that is written twice as fast.
_TAKE_OVER = """
    INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id)
    SELECT entry.run_id, :scope, :key, entry.kind, entry.amount_u, entry.at, entry.actor, entry.reason, entry.act_id
    {entries} ORDER BY entry.run_id, entry.entry_id"""


# Runs at a time


def ask_flights(tx: Transaction, levels: Sequence[Level]) -> list[tuple[Level, int, Rows]]:
    """Ask how many runs are under way on each level that limits them: the level, its limit, the answer up to that."""
    asked = []
    for level in levels:
        if level.in_flight_max is not None:
            sort, _, name = level.scope.partition(":")
            counted = f"SELECT count(*) FROM (SELECT 1 FROM {_UNDER_WAY[sort]} LIMIT :most) AS flying"
            flying = tx.execute(counted, {"name": name, "most": level.in_flight_max})
            asked.append((level, level.in_flight_max, flying))
    return asked


def check_flights(asked: Iterable[tuple[Level, int, Rows]]) -> None:
    """Raise TooManyInFlight where a level has as many runs under way as it may."""
    for level, most, answer in asked:
        (flying,) = answer.fetchone()
        if flying >= most:
            raise TooManyInFlight(level, flying)


# Periods


@dataclass(frozen=True, kw_only=True)
class Book:
    """What a level holds and has spent in one period."""

    key: str  # under which the period is kept
    held_u: int
    spent_u: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Where a run is written: the periods of its levels, in their order, and every other open one of its scopes."""

    levels: Sequence[Level]
    books: Sequence[Book]  # of the levels' periods
    others: Sequence[tuple[str, str]]  # scope and key
    extras: Sequence[Extra]  # on top of the levels' limits
    new: bool  # whether a period was opened only now

    @property
    def member_period(self) -> str:
        return self.books[-1].key


def ask_open_periods(tx: Transaction, scopes: Sequence[str], now: float) -> Rows:
    """Ask for the periods of these scopes that are open at `now`.

    A period is open by its bounds: one of the same name whose bounds are others, because the operator has moved to
    another zone, is another period.
    """
    marks, values = among(scopes)
    sql = (
        "SELECT scope, starts_at, resets_at, period_key, held_u, spent_u FROM budget "
        f"WHERE scope IN ({marks}) AND starts_at <= :now AND resets_at > :now"
    )
    return tx.execute(sql, {**values, "now": now})


def opened(tx: Transaction, levels: Sequence[Level], open_periods: Rows, extras: Rows) -> Opened:
    """The periods of a run's levels, opened where they were not open yet, and the other open ones in which it counts.

    A wish may be a moment late, and belong to a period that is over.
    """
    found = {
        (scope, *bounds): Book(key=key, held_u=held_u, spent_u=spent_u)
        for scope, *bounds, key, held_u, spent_u in open_periods.fetchall()
    }
    mine = [found.pop((level.scope, level.period.starts_at, level.period.resets_at), None) for level in levels]
    lacking = [level for level, book in zip(levels, mine, strict=True) if book is None]
    return Opened(
        levels=levels,
        books=_filled(mine, open_books(tx, lacking)),
        others=[(scope, book.key) for (scope, *_), book in found.items()],
        extras=read_extras(extras),
        new=bool(lacking),
    )


def open_books(tx: Transaction, levels: Sequence[Level]) -> list[Book]:
    """The period of each of these levels. One that is not open yet is opened, with the runs that it has already."""
    found = [read_book(asked) for asked in [ask_book(tx, level) for level in levels]]
    lacking = [level for level, book in zip(levels, found, strict=True) if book is None]
    asked = [(level, _ask_keys(tx, level), ask_unopened(tx, level)) for level in lacking]
    made = []
    for level, keys, before in asked:
        key = _free_key(level, {key for (key,) in keys.fetchall()})
        made.append(replace(_book_of(before.fetchone()), key=key))
    for level, book in zip(lacking, made, strict=True):
        tx.execute(_NEW_BOOK, {**_bounds(level), **vars(book)})
        entries, values = entries_of(level)
        tx.execute(_TAKE_OVER.format(entries=entries), {**values, "scope": level.scope, "key": book.key})
    return _filled(found, made)


def ask_book(tx: Transaction, level: Level) -> Rows:
    """Ask for the row of a level's period, which is known by its bounds."""
    sql = (
        "SELECT period_key, held_u, spent_u FROM budget "
        "WHERE scope = :scope AND starts_at = :starts AND resets_at = :resets"
    )
    return tx.execute(sql, _bounds(level))


def read_book(asked: Rows) -> Book | None:
    """What was asked for; None where the period is not open."""
    row = asked.fetchone()
    return None if row is None else _book_of(row)


def _book_of(row: Sequence[Any]) -> Book:
    key, held_u, spent_u = row
    return Book(key=key, held_u=held_u, spent_u=spent_u)


def _filled(found: Iterable[Book | None], lacking: Iterable[Book]) -> list[Book]:
    """The periods that were found, and the others in the places of those that were not."""
    rest = iter(lacking)
    return [next(rest) if book is None else book for book in found]


def _bounds(level: Level) -> dict[str, Any]:
    return {"scope": level.scope, "starts": level.period.starts_at, "resets": level.period.resets_at}


def _ask_keys(tx: Transaction, level: Level) -> Rows:
    """Ask for the keys of this level's periods that begin with this one's name."""
    sql = "SELECT period_key FROM budget WHERE scope = :scope AND period_key LIKE :key || '%'"
    return tx.execute(sql, {"scope": level.scope, "key": level.period.key})


def _free_key(level: Level, taken: set[str]) -> str:
    """The period's name, with a number where one of that name was cut out otherwise before."""
    names = (level.period.key, *(f"{level.period.key}#{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if name not in taken)


def entries_of(level: Level) -> tuple[str, dict[str, Any]]:
    """The entries of the runs that belong into a level's period, as the end of a SELECT, and its values."""
    sort, _, name = level.scope.partition(":")
    span = {"since": level.period.starts_at, "until": level.period.resets_at}
    return _ENTRIES.format(belongs=_BELONGS[sort].format(since=":since")), {"name": name, **span}


def ask_unopened(tx: Transaction, level: Level) -> Rows:
    """Ask for the row that a level's period would have, were it opened now."""
    entries, values = entries_of(level)
    return tx.execute(f"SELECT :key AS period_key, {_SUMS} {entries}", {**values, "key": level.period.key})


# Extras


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What was added on top of a limit: on which level, by which server's admins, and when."""

    scope: str
    server: str
    at: float
    amount_u: int


def ask_extras(tx: Transaction, levels: Sequence[Level]) -> Rows:
    """Ask for what was added on top of these levels' limits since the first of their periods began."""
    marks, values = among([level.scope for level in levels])
    sql = (
        "SELECT entry.scope, act.server, act.at, entry.amount_u FROM ledger_entry AS entry JOIN act USING (act_id) "
        f"WHERE entry.scope IN ({marks}) AND entry.at >= :since AND entry.kind IN ('grant', 'refund')"
    )
    return tx.execute(sql, {**values, "since": min(level.period.starts_at for level in levels)})


def read_extras(asked: Rows) -> list[Extra]:
    """What was asked for."""
    return [
        Extra(scope=scope, server=server, at=at, amount_u=amount_u) for scope, server, at, amount_u in asked.fetchall()
    ]


def extra_counts(extra: Extra, level: Level, server: str) -> bool:
    """Whether it adds to what may be asked for in this server: its admins gave it, or the operator, in that period."""
    here, then = extra.server in (server, EVERYWHERE), level.period.starts_at <= extra.at < level.period.resets_at
    return extra.scope == level.scope and here and then


def _extra_u(extras: Iterable[Extra], level: Level, server: str) -> int:
    return sum(extra.amount_u for extra in extras if extra_counts(extra, level, server))


# Holds


def reserve(tx: Transaction, row: Mapping[str, Any]) -> Rows:
    """Hold a price on one level within its bound. Where it does not fit, no row is changed."""
    return tx.execute(RESERVE, row)


def hold(tx: Transaction, new: NewRun, where: Opened, *, approved: bool = False) -> list[dict[str, Any]]:
    """Reserve the price of a run on every level and in every other open period of its scopes; the entries to make.

    One that an admin approved passes the limits of admins, which stay as they are. Raises OverLimit with the first
    level that refused. The transaction is to be undone then; where a period was opened in it, which is to be kept,
    what was reserved is given back here.
    """
    server, levels = new.wish.server, where.levels
    entry = _entry(run_id=new.run_id, kind=Kind.HOLD, amount_u=new.price_u, at=new.now, reason="admitted")
    entry["price_u"] = new.price_u
    rows = []
    for level, book in zip(levels, where.books, strict=True):
        approved_u = book.held_u + book.spent_u + new.price_u if approved else 0
        bound_u = level.bound(_extra_u(where.extras, level, server), approved_u)
        rows.append({**entry, "scope": level.scope, "key": book.key, "bound_u": bound_u})
    rows += [{**entry, "scope": scope, "key": key, "bound_u": None} for scope, key in where.others]
    fitted = [changed.rowcount > 0 for changed in [reserve(tx, row) for row in rows]]
    for level, book, fits in zip(levels, where.books, fitted[: len(levels)], strict=True):
        if not fits:
            if where.new:
                let_go(tx, [row for row, fits in zip(rows, fitted, strict=True) if fits])
            raise OverLimit(level, new.price_u, _standing(level, book, where.extras, server))
    return rows


def enter(tx: Transaction, holds: Sequence[Mapping[str, Any]]) -> None:
    """Make the entries of these holds, whose run is written by now."""
    tx.executemany(_ENTER, holds)


def let_go(tx: Transaction, holds: Sequence[Mapping[str, Any]]) -> None:
    """Give back what was reserved for holds that have no entries."""
    tx.executemany(_LET_GO, holds)


# Where levels stand


def standings(tx: Transaction, levels: Sequence[Level], server: str) -> list[Standing]:
    """Where each level stands for what is asked for in this server.

    One that was not opened yet stands at what its runs of this period come to.
    """
    asked, extras = [ask_book(tx, level) for level in levels], ask_extras(tx, levels)
    books = [read_book(each) for each in asked]
    lacking = [level for level, book in zip(levels, books, strict=True) if book is None]
    unopened = [ask_unopened(tx, level) for level in lacking]
    added, stands = read_extras(extras), _filled(books, [_book_of(each.fetchone()) for each in unopened])
    return [_standing(level, book, added, server) for level, book in zip(levels, stands, strict=True)]


def standings_with(where: Opened, new: NewRun) -> list[Standing]:
    """Where the levels of a run stand that was just held on them."""
    return [
        _standing(level, replace(book, held_u=book.held_u + new.price_u), where.extras, new.wish.server)
        for level, book in zip(where.levels, where.books, strict=True)
    ]


def _standing(level: Level, book: Book, extras: Iterable[Extra], server: str) -> Standing:
    extra_u = _extra_u(extras, level, server)
    return Standing(
        scope=level.scope,
        period=level.period,
        limit_u=level.bound(extra_u),
        held_u=book.held_u,
        spent_u=book.spent_u,
        granted_u=extra_u if level.limit_u else 0,
    )


# What becomes of a hold


def resolve_holds(
    tx: Transaction,
    run_id: str,
    end: End,
    *,
    succeeded: bool,
    now: float,
    actor: str = "bot",
    act_id: int | None = None,
) -> None:
    """Turn every hold of a run into its one post or void: the only place where a hold is resolved."""
    holds = _holds(tx, run_id)
    require(holds, f"run {run_id} has no hold")
    reason = f"{end.ending}, {COST_GIVEN if end.cost_u is not None else 'no cost given'}"
    for hold_ in holds:
        done = settle(hold_u=hold_["amount_u"], cost_u=end.cost_u, succeeded=succeeded)
        amount_u = done.posted_u if done.kind == Kind.POST else hold_["amount_u"]
        entry = _entry(run_id=run_id, kind=done.kind, amount_u=amount_u, at=now, reason=reason, actor=actor)
        tx.execute(_ENTER, {**entry, "scope": hold_["scope"], "key": hold_["key"], "act_id": act_id})
        tx.execute(
            "UPDATE budget SET held_u = held_u - :hold_u, spent_u = spent_u + :posted_u "
            "WHERE scope = :scope AND period_key = :key",
            {**hold_, "hold_u": hold_["amount_u"], "posted_u": done.posted_u},
        )
        if done.adjust_u:
            _adjust(tx, run_id, hold_, done.adjust_u, now, "the cost is above the hold")


def adjust_holds(tx: Transaction, run_id: str, difference_u: int, now: float, reason: str) -> None:
    """Book a difference to the real cost on every level where the run was held."""
    for hold_ in _holds(tx, run_id):
        _adjust(tx, run_id, hold_, difference_u, now, reason)


def _adjust(tx: Transaction, run_id: str, hold_: Mapping[str, Any], amount_u: int, now: float, reason: str) -> None:
    """Book a difference where a hold was taken."""
    entry = _entry(run_id=run_id, kind=Kind.ADJUST, amount_u=amount_u, at=now, reason=reason)
    tx.execute(_ENTER, {**entry, "scope": hold_["scope"], "key": hold_["key"]})
    tx.execute(
        "UPDATE budget SET spent_u = spent_u + :amount_u WHERE scope = :scope AND period_key = :key",
        {"scope": hold_["scope"], "key": hold_["key"], "amount_u": amount_u},
    )


def grant(tx: Transaction, level: Level, amount_u: int, act: Act, act_id: int, *, refund_of: str | None = None) -> None:
    """Allow so much more on a level, for what is asked for in the act's server; as a run's refund, or for nothing."""
    (book,) = open_books(tx, [level])
    kind = Kind.GRANT if refund_of is None else Kind.REFUND
    entry = _entry(run_id=refund_of, kind=kind, amount_u=amount_u, at=act.at, reason=act.reason, actor=act.actor)
    tx.execute(_ENTER, {**entry, "scope": level.scope, "key": book.key, "act_id": act_id})


def take_back(tx: Transaction, run_id: str, amount_u: int, now: float) -> None:
    """Take so much of a run's refund back, where and when it was given: the run was charged less in the end."""
    sql = (
        "SELECT entry.scope, entry.period_key AS key, entry.act_id, act.at FROM ledger_entry AS entry "
        "JOIN act USING (act_id) WHERE run_id = :id AND kind != 'hold' AND kind = 'refund' AND entry.amount_u > 0"
    )
    (given,) = named(tx.execute(sql, {"id": run_id}))
    entry = _entry(
        run_id=run_id,
        kind=Kind.REFUND,
        amount_u=-amount_u,
        at=max(now, given.pop("at")),  # never before the act by which it is found
        reason="Runflow billed less than was refunded",
    )
    tx.execute(_ENTER, {**entry, **given})


def _holds(tx: Transaction, run_id: str) -> list[dict[str, Any]]:
    sql = "SELECT scope, period_key AS key, amount_u FROM ledger_entry "
    return named(tx.execute(f"{sql} WHERE run_id = :id AND kind = 'hold' ORDER BY entry_id", {"id": run_id}))


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
