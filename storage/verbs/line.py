"""The line of runs that wait for a place, as the rows have it. The order in it is `bot.domain.queue`'s."""

from __future__ import annotations

import json
from contextlib import suppress

from bot.domain.history import Kind, kind_in
from bot.domain.queue import Busy, Line, Placed, Waiting, busy_of, first, in_order
from storage.dialect import Transaction
from storage.verbs.rows import under_way

PLACED = f"{under_way()} AND in_line = 0"  # in line no more, and not yet out of its place

# Of each member in each server the run that waits longest: a search or two of the index for each, whatever else waits.
_OLDEST = "ORDER BY server, member, created_at, run_id LIMIT 1"
_NEXT = (
    "coalesce("
    f"(SELECT run_id FROM run WHERE in_line = 1 AND server = head.server AND member > head.member {_OLDEST}), "
    f"(SELECT run_id FROM run WHERE in_line = 1 AND server > head.server {_OLDEST}))"
)
_HEADS = (
    "WITH RECURSIVE head (run_id, server, member, created_at) AS ("
    f"SELECT * FROM (SELECT run_id, server, member, created_at FROM run WHERE in_line = 1 {_OLDEST}) AS start "
    "UNION ALL SELECT found.run_id, found.server, found.member, found.created_at "
    f"FROM head JOIN run AS found ON found.run_id = {_NEXT}) "
    "SELECT created_at, run_id, server, member FROM head"
)
_FOLLOWER = (
    "SELECT created_at, run_id, server, member FROM run WHERE in_line = 1 AND server = :server AND member = :member "
    "AND (created_at, run_id) > (:created_at, :run_id) ORDER BY created_at, run_id LIMIT 1"
)


def is_empty(tx: Transaction) -> bool:
    """Whether nobody waits."""
    return tx.execute("SELECT 1 FROM run WHERE in_line = 1 LIMIT 1").fetchone() is None


def free_places(tx: Transaction, total_max: int) -> int:
    """How many of so many places neither a run at the provider has nor one that was let out of the line."""
    taken = f"SELECT 1 FROM run WHERE {PLACED} LIMIT :total_max"
    (count,) = tx.execute(f"SELECT count(*) FROM ({taken}) AS taken", {"total_max": total_max}).fetchone()
    return total_max - int(count)


def next_in_line(tx: Transaction, limit: int) -> list[str]:
    """The runs whose turn it is, no more than so many."""
    if limit <= 0 or is_empty(tx):
        return []

    def follower(run: Waiting) -> Waiting | None:
        row = tx.execute(_FOLLOWER, run._asdict()).fetchone()
        return None if row is None else Waiting(*row)

    heads = [Waiting(*row) for row in tx.execute(_HEADS).fetchall()]
    return first(heads, follower, _busy(tx), limit)


def _busy(tx: Transaction) -> Busy:
    found = tx.execute(f"SELECT server, member, count(*) FROM run WHERE {PLACED} GROUP BY server, member").fetchall()
    return {(server, member): count for server, member, count in found}


def line(tx: Transaction, now: float) -> Line:
    """See `bot.ports.Runs.line`."""
    placed = [
        Placed(server, member, since, _kind(request))
        for server, member, since, request in tx.execute(
            "SELECT server, member, CASE state WHEN 'reserved' THEN NULL ELSE posted_at END, request "
            f"FROM run WHERE {PLACED}"
        ).fetchall()
    ]
    waiting = [
        Waiting(created_at, run_id, server, member, _kind(request), reply_until is not None and reply_until > now)
        for created_at, run_id, server, member, request, reply_until in tx.execute(
            "SELECT created_at, run_id, server, member, request, reply_until FROM run WHERE in_line = 1 "
            "ORDER BY server, member, created_at, run_id"
        ).fetchall()
    ]
    return Line(waiting=in_order(waiting, busy_of(placed)), placed=placed)


def _kind(request: str) -> Kind | None:
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return kind_in(json.loads(request))
    return None
