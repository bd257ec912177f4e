"""The way of a run, each verb inside one transaction: claimed, submitted, moved on, ended, corrected.

A run that is handed in is its caller's last view of it. A move is one UPDATE that names what was seen, so that of
several callers the first moves the run, whatever locks the database takes; see `as_seen`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from bot.domain.records import Act, End, RunChanges
from bot.domain.runs import (
    COST_CHECKS_S,
    MOVES,
    STATE_OF_ENDING,
    TERMINAL,
    Delivery,
    Ending,
    Notice,
    Run,
    RunState,
)
from bot.errors import require
from bot.log import get_logger
from storage.dialect import Transaction, lock_books, lock_places, skip_locked
from storage.verbs import books
from storage.verbs.rows import ENDED, UnreadableRow, get_run, insert_act, readable_runs_where, runs_where, under_way

log = get_logger("veo.storage")

_PARKED_S = 3600.0  # so long a run whose row cannot be read is left alone


# Who is looked at next


def claim_due(tx: Transaction, now: float, *, lease_until: float, limit: int, total_max: int) -> list[Run]:
    """See `bot.ports.Runs.claim_due`."""
    lock_places(tx)
    drop_replies(tx, now)
    # However much is due: of those in line there are no more than free places, and each takes one once.
    line = next_in_line(tx, min(limit, free_places(tx, total_max)))
    next_ = [claim(tx, run_id, now, lease_until) for run_id in line]
    # What was woken is due since for ever; of what is due since a start, what was ordered comes first.
    sql = "SELECT run_id FROM run WHERE due_at <= :now ORDER BY due_at, state = 'reserved' LIMIT :limit"
    due = tx.execute(sql + skip_locked(tx), {"now": now, "limit": limit - len(line)}).fetchall()
    claimed = [claim(tx, run_id, now, lease_until) for (run_id,) in due] + next_
    return [run for run in claimed if run is not None]


def drop_replies(tx: Transaction, now: float) -> None:
    """Forget the reply addresses that are no longer valid."""
    ended = f"SELECT run_id FROM run WHERE reply_until <= :now{skip_locked(tx)}"
    tx.execute(f"UPDATE run SET reply_to = NULL, reply_until = NULL WHERE run_id IN ({ended})", {"now": now})


def free_places(tx: Transaction, total_max: int) -> int:
    """How many of so many places at the provider neither a run there has nor one that was let out of the line."""
    (taken,) = tx.execute(f"SELECT count(*) FROM run WHERE {under_way()} AND in_line = 0").fetchone()
    return max(0, total_max - int(taken))


def next_in_line(tx: Transaction, limit: int) -> list[str]:
    """The runs that have waited longest for a place."""
    sql = f"SELECT run_id FROM run WHERE in_line = 1 ORDER BY created_at, run_id LIMIT :limit{skip_locked(tx)}"
    return [run_id for (run_id,) in tx.execute(sql, {"limit": limit}).fetchall()]


def claim(tx: Transaction, run_id: str, now: float, lease_until: float) -> Run | None:
    """Lease a run. One whose row cannot be read is parked: it waits, takes no place, and is counted."""
    try:
        run = get_run(tx, run_id)
    except UnreadableRow as error:
        sql = "UPDATE run SET due_at = :later, in_line = 0, parked_at = :now WHERE run_id = :id AND parked_at IS NULL"
        values = {"later": now + _PARKED_S, "now": now, "id": run_id}
        if tx.execute(sql, values).rowcount:
            log.error("row parked until a version of this program can read it", run=run_id, reason=str(error))
        else:
            tx.execute("UPDATE run SET due_at = :later, in_line = 0 WHERE run_id = :id", values)
        return None
    sql = "UPDATE run SET due_at = :until, in_line = 0, parked_at = NULL WHERE run_id = :id"
    tx.execute(sql, {"until": lease_until, "id": run_id})
    return replace(run, due_at=lease_until, in_line=False)


def next_due(tx: Transaction) -> float | None:
    """See `bot.ports.Runs.next_due`."""
    sql = (
        "SELECT min(due) AS due FROM (SELECT min(due_at) AS due FROM run WHERE due_at IS NOT NULL "
        "UNION ALL SELECT min(reply_until) FROM run WHERE reply_until IS NOT NULL) AS nearest"
    )
    due: float | None = tx.execute(sql).fetchone()[0]
    return due


def recover(tx: Transaction, now: float, *, deadline_s: float) -> int:
    """See `bot.ports.Runs.recover`."""
    # A cost is asked for when it is due, unless the clock was set and that is out of sight.
    ended = f"state IN ({ENDED}) AND delivery NOT IN ('pending', 'sending') AND due_at <= :far"
    soonest = "CASE in_line WHEN 1 THEN :given_up ELSE :now END"
    sql = f"UPDATE run SET due_at = {soonest} WHERE due_at > {soonest} AND due_at > :now AND NOT ({ended})"
    tx.execute(sql, {"now": now, "far": now + COST_CHECKS_S[-1], "given_up": now + deadline_s})
    return int(tx.execute("SELECT count(*) FROM run WHERE due_at IS NOT NULL").fetchone()[0])


def forget_first_tries(tx: Transaction, before: float) -> None:
    """See `bot.ports.Runs.forget_first_tries`."""
    doubtful = "due_at IS NOT NULL AND delivery = 'sending'"  # the first is what has an index
    sql = f"UPDATE run SET first_try_at = :before WHERE {doubtful} AND first_try_at > :before"
    tx.execute(sql, {"before": before})


def wake(tx: Transaction, callback_token: str, candidate_id: str | None) -> str | None:
    """See `bot.ports.Runs.wake`."""
    sql = (
        "UPDATE run SET due_at = CASE WHEN due_at IS NOT NULL THEN 0.0 END, "
        "candidate_id = CASE WHEN provider_id IS NULL THEN coalesce(:candidate, candidate_id) "
        "ELSE candidate_id END WHERE callback_token = :token RETURNING run_id"
    )
    row = tx.execute(sql, {"candidate": candidate_id, "token": callback_token}).fetchone()
    return None if row is None else str(row[0])


# Moves


def move(
    tx: Transaction,
    run: Run,
    state: RunState,
    changes: Mapping[str, object],
    condition: str = "",
    values: Mapping[str, object] | None = None,
) -> Run | None:
    """Move a run if it still stands where the caller saw it; None, and nothing changed, if it does not."""
    require(state == run.state or state in MOVES[run.state], f"illegal move {run.state} -> {state}")
    assignments = "".join(f", {name} = :{name}" for name in changes if name != "in_line")
    seen, seen_values = as_seen(run)
    moved = tx.execute(
        f"UPDATE run SET in_line = :in_line, state = :to_state{assignments} WHERE {seen}{condition} RETURNING run_id",
        {"in_line": False, **changes, **(values or {}), **seen_values, "to_state": state},
    )
    return get_run(tx, run.run_id) if moved.fetchall() else None


def as_seen(run: Run) -> tuple[str, dict[str, object]]:
    """The condition that a run's row still says what the caller saw, and its values."""
    return "run_id = :seen_id AND state = :seen_state AND delivery = :seen_delivery", {
        "seen_id": run.run_id,
        "seen_state": run.state,
        "seen_delivery": run.delivery,
    }


# A callback may have named a run meanwhile: that is looked at first.
_CANDIDATE_SEEN = "coalesce(candidate_id, '') = coalesce(:seen_candidate, '')"


def begin_submit(tx: Transaction, run: Run, *, now: float, total_max: int) -> Run | None:
    """See `bot.ports.Runs.begin_submit`."""
    lock_places(tx)
    changes = {"state_at": now, "posted_at": now, "posts": run.posts + 1, "empty_since": None}
    # Those that asked earlier go first: each older one that still waits counts as a taken place.
    places = (
        f"(SELECT count(*) FROM run AS other WHERE {under_way('other')} AND (other.state != 'reserved' "
        "OR (other.created_at, other.run_id) < (run.created_at, run.run_id)))"
    )
    condition = f" AND {_CANDIDATE_SEEN} AND {places} < :total_max"
    seen = {"total_max": total_max, "seen_candidate": run.candidate_id}
    return move(tx, run, RunState.SUBMITTING, changes, condition, seen)


def advance(tx: Transaction, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
    """See `bot.ports.Runs.advance`."""
    require(state not in TERMINAL or state == run.state, "an end is reached by settle alone")
    moved = {"state_at": now} if state != run.state else {}
    return move(tx, run, state, {**moved, **changes})


# Ends


def settle(tx: Transaction, run: Run, end: End, *, now: float) -> Run | None:
    """See `bot.ports.Runs.settle`."""
    require(not run.terminal, "a run ends once")
    absent = end.ending == Ending.FAILED and end.cost_u == 0
    require(run.state != RunState.UNKNOWN or absent, "evidence leads to another state first")
    lock_books(tx)
    return end_run(tx, run, end, now)


def end_run(tx: Transaction, run: Run, end: End, now: float, act: Act | None = None) -> Run | None:
    """Move a run to its end, make its result due for delivery and resolve its holds; `act`: by which an admin does it.

    None, and nothing changed, where it does not stand any more where the caller saw it.
    """
    changes = {
        **asdict(end),
        "state_at": now,
        "ended_at": now,
        "due_at": now,
        "tries": 0,
        "notice": Notice.RESULT,
        "delivery": Delivery.PENDING,
        "delivery_tries": 0,
        "first_try_at": None,
        "direct": False,
        "post_handle": None,
    }
    seen = f" AND (provider_id IS NOT NULL OR {_CANDIDATE_SEEN})"
    state = STATE_OF_ENDING[end.ending]
    if move(tx, run, state, changes, seen, {"seen_candidate": run.candidate_id}) is None:
        return None
    actor, act_id = ("bot", None) if act is None else (act.actor, insert_act(tx, act))
    succeeded = state == RunState.SUCCEEDED
    books.resolve_holds(tx, run.run_id, end, succeeded=succeeded, now=now, actor=actor, act_id=act_id)
    return get_run(tx, run.run_id)


def correct(tx: Transaction, run: Run, cost_u: int, *, now: float) -> Run:
    """See `bot.ports.Runs.correct`."""
    lock_books(tx)
    current = get_run(tx, run.run_id)
    require(current.terminal, "a cost is corrected only after the end")
    if not lacks_cost(current):
        return current
    tx.execute("UPDATE run SET cost_u = :cost WHERE run_id = :id", {"cost": cost_u, "id": run.run_id})
    if difference_u := cost_u - current.charged_u:
        books.adjust_holds(tx, run.run_id, difference_u, now, "Runflow named the cost later")
    if current.refunded_u > cost_u:  # what was given back is at most what was taken
        books.take_back(tx, run.run_id, current.refunded_u - cost_u, now)
    return get_run(tx, run.run_id)


def lacks_cost(run: Run) -> bool:
    """Whether the provider has not named what the run cost."""
    return run.cost_u is None


# What a look-up is worth


def looked_up(tx: Transaction, run_id: str, *, fresh: bool) -> None:
    """See `bot.ports.Runs.looked_up`."""
    sql = "UPDATE run SET lookup_fresh = :fresh WHERE run_id = :id AND lookup_fresh IS NULL"
    tx.execute(sql, {"fresh": int(fresh), "id": run_id})


def lookup_proven(tx: Transaction) -> bool:
    """See `bot.ports.Runs.lookup_proven`."""
    asked = "lookup_fresh IS NOT NULL AND posted_at > 0"
    sql = f"SELECT lookup_fresh FROM run WHERE {asked} ORDER BY posted_at DESC LIMIT 3"
    return tx.execute(sql).fetchall() == [(1,)] * 3


# Reading


def find(tx: Transaction, run_id: str) -> Run | None:
    """The run of this id. Raises UnreadableRow."""
    return next(iter(runs_where(tx, "run_id = :run_id", {"run_id": run_id})), None)


def latest(tx: Transaction, member: str, limit: int) -> list[Run]:
    """See `bot.ports.Admissions.latest`."""
    where = "member = :member ORDER BY created_at DESC, run_id LIMIT :limit"
    return readable_runs_where(tx, where, {"member": member, "limit": limit})
