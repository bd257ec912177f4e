"""The way of a run, each verb inside one transaction: claimed, submitted, moved on, ended, corrected.

A run that is handed in is its caller's last view of it. A move is one UPDATE that names what was seen, so that of
several callers the first moves the run, whatever locks the database takes; see `as_seen`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace

from bot.domain.lookup import PROOF_RUNS
from bot.domain.models import VeoRequest
from bot.domain.records import Act, Claimed, End, NewRun, Recovered, RunChanges, Sweep, Woken
from bot.domain.runs import (
    CARD_STOPS_S,
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
from bot.errors import OfferGone, require
from bot.log import get_logger
from storage.dialect import Transaction, lock_books, lock_places, skip_locked
from storage.verbs import books
from storage.verbs.line import free_places, is_empty, next_in_line
from storage.verbs.rows import (
    ENDED,
    RETURNING_RUN,
    UnreadableRow,
    get_run,
    insert_act,
    moved_run,
    readable_runs_where,
    runs_where,
    under_way,
)

log = get_logger("veo.storage")

_AHEAD_S = 3600.0  # where a list is asked for a run even longer after its order, it is only proven anew
_PARKED_S = 3600.0  # so long a run whose row cannot be read is left alone


# Who is looked at next


def claim_due(
    tx: Transaction, now: float, *, lease_until: float, limit: int, total_max: int, sweep: Sweep | None = None
) -> Claimed:
    """See `bot.ports.Runs.claim_due`."""
    lock_places(tx)
    last_cards = end_cards(tx, now, limit)
    line = next_in_line(tx, free_places(tx, total_max))
    # Of what is due at one moment what was ordered comes first.
    sql = "SELECT run_id, in_line FROM run WHERE due_at <= :now ORDER BY due_at, state = 'reserved' LIMIT :limit"
    found = tx.execute(sql + skip_locked(tx), {"now": now, "limit": limit}).fetchall()
    due = [run_id for run_id, _ in found]
    early, left = _early(tx, now, limit - len(due), sweep)
    number = 0 if sweep is None else sweep.number
    claimed = [claim(tx, run_id, now, lease_until, number) for run_id in (*line, *due, *early)]
    waits = not is_empty(tx)
    return Claimed(
        runs=[run for run in claimed if run is not None],
        paced=len(due) + len(early),
        due_at=now if waits and None in claimed else next_due(tx),  # one that was parked has left its place
        line_waits=waits,
        line_moved=bool(line) or any(in_line for _, in_line in found),
        sweep=left,
        last_cards=last_cards,
    )


def start(tx: Transaction, new: NewRun) -> dict[str, object]:
    """Where a new run starts: its order begun where that follows at once, or in line where no place is free."""
    if new.order is None:
        return {"state": RunState.RESERVED, "due_at": new.now}
    lock_places(tx)
    if not is_empty(tx) or free_places(tx, new.order.places) <= 0:
        return {"state": RunState.RESERVED, "due_at": new.order.give_up_at, "in_line": True, "tries": 1}
    if new.order.begin_until is None:
        return {"state": RunState.RESERVED, "due_at": new.now}
    return {"state": RunState.SUBMITTING, "due_at": new.order.begin_until, "posts": 1, "posted_at": new.now}


def end_cards(tx: Transaction, now: float, limit: int) -> list[Run]:
    """Forget the reply addresses that are no longer valid, and of those that hardly are no more than `limit`.

    The latter's runs, as they were, where there is something left to say on their cards.
    """
    ended = f"SELECT run_id FROM run WHERE reply_until <= :now{skip_locked(tx)}"
    tx.execute(f"UPDATE run SET reply_to = NULL, reply_until = NULL WHERE run_id IN ({ended})", {"now": now})
    soon = f"SELECT run_id FROM run WHERE reply_until <= :soon ORDER BY reply_until LIMIT :limit{skip_locked(tx)}"
    ending = [run_id for (run_id,) in tx.execute(soon, {"soon": now + CARD_STOPS_S, "limit": limit}).fetchall()]
    runs = [run for run_id in ending for run in readable_runs_where(tx, "run_id = :id", {"id": run_id})]
    for run_id in ending:
        tx.execute("UPDATE run SET reply_to = NULL, reply_until = NULL WHERE run_id = :id", {"id": run_id})
    return [run for run in runs if not run.told]


def _early(tx: Transaction, now: float, limit: int, sweep: Sweep | None) -> tuple[list[str], Sweep | None]:
    """Of the runs of a sweep that are not due yet those that are due next, and what is left of the sweep."""
    if sweep is None or limit <= 0:
        return [], sweep
    after = max(sweep.after, now)
    sql = (
        "SELECT run_id, due_at FROM run WHERE due_at >= :after AND due_at > :now AND due_at <= :until "
        f"AND swept != :number AND in_line = 0 AND NOT ({_OVER}) ORDER BY due_at LIMIT :limit{skip_locked(tx)}"
    )
    values = {"after": after, "now": now, "until": sweep.until, "number": sweep.number, "limit": limit}
    found = tx.execute(sql, values).fetchall()
    left = replace(sweep, after=found[-1][1]) if len(found) == limit else None
    return [run_id for run_id, _ in found], left


def claim(tx: Transaction, run_id: str, now: float, lease_until: float, number: int = 0) -> Run | None:
    """Lease a run, as looked at since the start of this number.

    One whose row cannot be read is parked: it waits, takes no place, and is counted.
    """
    try:
        run = get_run(tx, run_id)
    except UnreadableRow as error:
        values = {"later": now + _PARKED_S, "now": now, "id": run_id, "number": number}
        moved = "UPDATE run SET due_at = :later, in_line = 0, swept = :number"
        if tx.execute(f"{moved}, parked_at = :now WHERE run_id = :id AND parked_at IS NULL", values).rowcount:
            log.error("row parked until a version of this program can read it", run=run_id, reason=str(error))
        else:
            tx.execute(f"{moved} WHERE run_id = :id", values)
        return None
    sql = "UPDATE run SET due_at = :until, in_line = 0, parked_at = NULL, swept = :number WHERE run_id = :id"
    tx.execute(sql, {"until": lease_until, "id": run_id, "number": number})
    return replace(run, due_at=lease_until, in_line=False)


def next_due(tx: Transaction) -> float | None:
    """When the next run is due or a reply address ends; None where nothing is left to do."""
    sql = (
        "SELECT min(due) AS due FROM (SELECT min(due_at) AS due FROM run WHERE due_at IS NOT NULL "
        "UNION ALL SELECT min(reply_until) - :early FROM run WHERE reply_until IS NOT NULL) AS nearest"
    )
    due: float | None = tx.execute(sql, {"early": CARD_STOPS_S}).fetchone()[0]
    return due


# A run that is over is looked at when its cost is due to be asked for, and not before.
_OVER = f"state IN ({ENDED}) AND delivery NOT IN ('pending', 'sending')"


def recover(tx: Transaction, now: float, *, deadline_s: float) -> Recovered:
    """See `bot.ports.Runs.recover`."""
    # Out of sight, because the clock was set: a cost is asked for within a day, and who waits in line has a deadline.
    soonest = "CASE in_line WHEN 1 THEN :given_up ELSE :now END"
    far = now + max(deadline_s, COST_CHECKS_S[-1])
    sql = f"UPDATE run SET due_at = {soonest} WHERE due_at > :given_up AND (in_line = 1 OR due_at > :far)"
    tx.execute(sql, {"now": now, "far": far, "given_up": now + deadline_s})
    number = _next_start(tx)
    open_runs, until = tx.execute("SELECT count(*), max(due_at) FROM run WHERE due_at IS NOT NULL").fetchone()
    return Recovered(open_runs=open_runs, sweep=Sweep(number=number, after=now, until=until or now))


def _next_start(tx: Transaction) -> int:
    """The number of this start, which none before had."""
    sql = (
        "INSERT INTO installation (name, value) VALUES ('starts', :first) "
        "ON CONFLICT (name) DO UPDATE SET value = :number"
    )
    found = tx.execute("SELECT value FROM installation WHERE name = 'starts'").fetchone()
    number = 1 if found is None else int(found[0]) + 1
    tx.execute(sql, {"first": str(number).encode(), "number": str(number).encode()})
    return number


def forget_first_tries(tx: Transaction, before: float) -> None:
    """See `bot.ports.Runs.forget_first_tries`."""
    doubtful = "due_at IS NOT NULL AND delivery = 'sending'"  # the first is what has an index
    sql = f"UPDATE run SET first_try_at = :before WHERE {doubtful} AND first_try_at > :before"
    tx.execute(sql, {"before": before})


def wake(tx: Transaction, callback_token: str, candidate_id: str | None) -> Woken | None:
    """See `bot.ports.Runs.wake`."""
    sql = "SELECT run_id FROM run WHERE callback_token = :token"
    found = tx.execute(sql, {"token": callback_token}).fetchone()
    if found is None:
        return None
    (run_id,) = found
    if candidate_id is not None:
        named = "provider_id IS NULL AND coalesce(candidate_id, '') != :candidate"
        sql = f"UPDATE run SET candidate_id = :candidate WHERE run_id = :id AND {named}"
        tx.execute(sql, {"candidate": candidate_id, "id": run_id})
    try:
        return Woken(run_id=run_id, run=get_run(tx, run_id))
    except UnreadableRow:
        return Woken(run_id=run_id, run=None)


# Moves


def move(
    tx: Transaction,
    run: Run,
    state: RunState,
    changes: Mapping[str, object],
    condition: str = "",
    values: Mapping[str, object] | None = None,
) -> Run | None:
    """Move a run if it still stands where the caller saw it; None, and nothing changed, if it does not.

    One statement writes the row and gives what it says from then on.
    """
    require(state == run.state or state in MOVES[run.state], f"illegal move {run.state} -> {state}")
    assignments = "".join(f", {name} = :{name}" for name in changes if name != "in_line")
    seen, seen_values = as_seen(run)
    update = f"UPDATE run SET in_line = :in_line, state = :to_state{assignments} WHERE {seen}{condition}"
    moved = {"in_line": False, **changes, **(values or {}), **seen_values, "to_state": state}
    return moved_run(tx.execute(f"{update} {RETURNING_RUN}", moved), run)


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
    if _waits(tx, run.run_id) and run.run_id not in next_in_line(tx, free_places(tx, total_max)):
        return None
    changes = {"state_at": now, "posted_at": now, "posts": run.posts + 1, "empty_since": None}
    condition = f" AND {_CANDIDATE_SEEN} AND {_PLACES_TAKEN} < :total_max"
    seen = {"total_max": total_max, "seen_candidate": run.candidate_id, "asked_at": run.created_at}
    return move(tx, run, RunState.SUBMITTING, changes, condition, seen)


def _waits(tx: Transaction, run_id: str) -> bool:
    """Whether the run is in line, whatever its caller saw."""
    return tx.execute("SELECT 1 FROM run WHERE run_id = :id AND in_line = 1", {"id": run_id}).fetchone() is not None


# Of those that are to be ordered, each with a place by then, the ones that asked earlier go first where places have
# become fewer. None is counted on beyond `:total_max`.
_OLDER = "(other.created_at, other.run_id) < (:asked_at, :seen_id)"
_TAKEN = f"other.in_line = 0 AND other.run_id != :seen_id AND (other.state != 'reserved' OR {_OLDER})"
_THERE = f"SELECT 1 FROM run AS other WHERE {under_way('other')} AND {_TAKEN} LIMIT :total_max"
_PLACES_TAKEN = f"(SELECT count(*) FROM ({_THERE}) AS taken)"


def advance(tx: Transaction, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
    """See `bot.ports.Runs.advance`."""
    require(state not in TERMINAL or state == run.state, "an end is reached by settle alone")
    moved = {"state_at": now} if state != run.state else {}
    return move(tx, run, state, {**moved, **changes})


# Ends


def settle(tx: Transaction, run: Run, end: End, *, now: float, lease_until: float | None = None) -> Run | None:
    """See `bot.ports.Runs.settle`."""
    require(not run.terminal, "a run ends once")
    absent = end.ending == Ending.FAILED and end.cost_u == 0
    require(run.state != RunState.UNKNOWN or absent, "evidence leads to another state first")
    lock_books(tx)
    is_tried = lease_until is not None
    first_try = {"due_at": lease_until, "delivery_tries": 1, "first_try_at": now} if is_tried else None
    return end_run(tx, run, end, now, instead=first_try)


def end_run(
    tx: Transaction,
    run: Run,
    end: End,
    now: float,
    *,
    act: Act | None = None,
    instead: Mapping[str, object] | None = None,
) -> Run | None:
    """Move a run to its end, resolve its holds and make its result due for delivery, or what is given `instead`.

    `act`: by which an admin ends it. None, and nothing changed, where it does not stand any more where the caller saw
    it.
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
        **(instead or {}),
    }
    seen = f" AND (provider_id IS NOT NULL OR {_CANDIDATE_SEEN})"
    state = STATE_OF_ENDING[end.ending]
    if move(tx, run, state, changes, seen, {"seen_candidate": run.candidate_id}) is None:
        return None
    actor, act_id = ("bot", None) if act is None else (act.actor, insert_act(tx, act))
    succeeded = state == RunState.SUCCEEDED
    books.resolve_holds(tx, run.run_id, end, succeeded=succeeded, now=now, actor=actor, act_id=act_id)
    return get_run(tx, run.run_id)


def cancel(tx: Transaction, run_id: str, member: str, *, now: float) -> Run:
    """See `bot.ports.Admissions.cancel`."""
    lock_books(tx)
    run = find(tx, run_id)
    if run is None or run.member != member:
        raise OfferGone("question.not_yours")
    if run.withdrawn:
        return run
    ended = None
    if run.state == RunState.RESERVED and run.unclear_posts == 0 and run.candidate_id is None:
        nobody_is_told = {"due_at": None, "notice": None, "delivery": Delivery.NONE}
        ended = end_run(tx, run, End(ending=Ending.CANCELLED, cost_u=0), now, instead=nobody_is_told)
    if ended is None:
        raise OfferGone("cancel.too_late")
    return ended


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


# What is learned from ends


def lengths(tx: Transaction, limit: int) -> list[tuple[VeoRequest, float]]:
    """See `bot.ports.Runs.lengths`; the oldest first, so that the latest is what is learned last."""
    sql = (
        "SELECT request, ended_at - posted_at, state, ending FROM run WHERE created_at > 0 "
        "ORDER BY created_at DESC LIMIT :limit"
    )
    found = []
    for request, seconds, state, ending in tx.execute(sql, {"limit": limit}).fetchall():
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            if state == RunState.SUCCEEDED and ending in (Ending.VIDEO, Ending.PARTIAL) and seconds is not None:
                found.append((VeoRequest.of(json.loads(request)), float(seconds)))
    return found[::-1]


# What a look-up is worth


def looked_up(tx: Transaction, run_id: str, *, fresh: bool) -> None:
    """See `bot.ports.Runs.looked_up`."""
    sql = "UPDATE run SET lookup_fresh = :fresh WHERE run_id = :id AND lookup_fresh IS NULL"
    tx.execute(sql, {"fresh": int(fresh), "id": run_id})
    # What was ordered so much later, and yet asked for before, was dated by a clock that was ahead. It would stay the
    # last word on the list until that time comes.
    later = "posted_at > (SELECT posted_at FROM run WHERE run_id = :id) + :ahead"
    values = {"id": run_id, "ahead": _AHEAD_S}
    tx.execute(f"UPDATE run SET lookup_fresh = NULL WHERE lookup_fresh IS NOT NULL AND {later}", values)


def lookup_proven(tx: Transaction) -> bool:
    """See `bot.ports.Runs.lookup_proven`."""
    asked = "lookup_fresh IS NOT NULL AND posted_at > 0"
    sql = f"SELECT lookup_fresh FROM run WHERE {asked} ORDER BY posted_at DESC LIMIT :runs"
    return tx.execute(sql, {"runs": PROOF_RUNS}).fetchall() == [(1,)] * PROOF_RUNS


# Reading


def find(tx: Transaction, run_id: str) -> Run | None:
    """The run of this id. Raises UnreadableRow."""
    return next(iter(runs_where(tx, "run_id = :run_id", {"run_id": run_id})), None)
