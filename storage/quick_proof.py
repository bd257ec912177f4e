"""Shows in a few passes that no row breaks an invariant of the ledger, where that is so.

The queries of `storage.invariants.LEDGER` find each row that breaks a sentence; for that they sort and join all entries
a dozen times. Here every hold is looked at once, with its run, its level and its end, and then every level with what
came together on it. It rests on a whole file that is guarded as this program makes it: that no hold and no end is there
twice is the word of their unique indexes.

What passes here breaks none of those sentences. What does not pass may be right all the same, and the queries decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from storage.invariants import CHARGED, ENDED, GIVEN_BACK, STORY
from storage.verbs.books import COST_GIVEN


class Connection(Protocol):
    """What is needed of a database: sqlite_utils' or Python's own."""

    def execute(self, sql: str, /) -> Iterable[tuple[int, ...]]: ...


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What the members of all runs have on hold and were charged."""

    held_u: int
    charged_u: int


_NEW_TAKEN = """
    CREATE TEMPORARY TABLE taken (
        scope TEXT, period_key TEXT, holds INTEGER, ends INTEGER, held_u INTEGER, posted_u INTEGER,
        own INTEGER, own_held_u INTEGER, own_posted_u INTEGER, faults INTEGER, PRIMARY KEY (scope, period_key)
    ) WITHOUT ROWID"""

# The kinds of entries that are neither a hold nor its end. There are few, and an index finds them.
_OTHER = "entry.kind != 'hold' AND entry.kind IN ('adjust', 'grant', 'refund')"
_ADJUSTED = "SELECT entry.run_id FROM ledger_entry AS entry WHERE entry.kind != 'hold' AND entry.kind = 'adjust'"
_REFUNDED = "SELECT entry.run_id FROM ledger_entry AS entry WHERE entry.kind != 'hold' AND entry.kind = 'refund'"

_FOREIGN = """
    CASE substr(hold.scope, 1, instr(hold.scope, ':'))
        WHEN '' THEN hold.scope != 'total'
        WHEN 'server:' THEN substr(hold.scope, 8) != run.server
        WHEN 'channel:' THEN substr(hold.scope, 9) != run.budget_channel
        WHEN 'member:' THEN substr(hold.scope, 8) != run.member
        WHEN 'role:' THEN NOT EXISTS (
            SELECT 1 FROM run_role AS had WHERE had.role = substr(hold.scope, 6)
               AND had.created_at = run.created_at AND had.run_id = hold.run_id)
        ELSE 1 END"""
# An end that follows from what the run says alone is the same on each of its levels, and charges what it should. One
# that was adjusted later is compared with the others of its run.
_UNLIKE_ITS_RUN = f"""
    CASE WHEN coalesce(run.cost_u, 0) = 0 AND run.state != 'succeeded' THEN done.kind != 'void'
         ELSE done.kind != 'post' OR done.amount_u != coalesce(run.cost_u, run.price_u) END
    OR run.cost_u IS NULL AND done.reason LIKE '%, {COST_GIVEN}'"""
_WRONG = f"""
    hold.amount_u IS NOT run.price_u OR hold.at IS NOT run.created_at
    OR level.scope IS NULL OR level.resets_at > 0 AND NOT (
        run.created_at >= level.starts_at AND run.created_at < level.resets_at)
    OR {_FOREIGN}
    OR CASE WHEN {ENDED} THEN
            done.at IS NOT run.ended_at OR NOT done.amount_u BETWEEN 0 AND hold.amount_u
            OR done.kind = 'void' AND done.amount_u != hold.amount_u
            OR ({_UNLIKE_ITS_RUN}) AND NOT EXISTS ({_ADJUSTED} AND entry.run_id = hold.run_id)
        ELSE done.kind IS NOT NULL OR run.ended_at IS NOT NULL END
    OR hold.act_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM act WHERE act.act_id = hold.act_id)
    OR done.act_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM act WHERE act.act_id = done.act_id)"""
_OWN = "hold.scope IS run.member_scope AND hold.period_key IS run.member_period"
# The entries come in the order in which they were made, like the runs: so both are read from beginning to end.
_TAKE = f"""
    INSERT INTO taken
    SELECT hold.scope, hold.period_key, 1, done.kind IS NOT NULL, iif(done.kind IS NULL, hold.amount_u, 0),
           iif(done.kind IS 'post', done.amount_u, 0), {_OWN}, iif({_OWN} AND done.kind IS NULL, hold.amount_u, 0),
           iif({_OWN} AND done.kind IS 'post', done.amount_u, 0), coalesce({_WRONG}, 1)
    FROM ledger_entry AS hold NOT INDEXED LEFT JOIN run ON run.run_id = hold.run_id
    LEFT JOIN budget AS level ON level.scope = hold.scope AND level.period_key = hold.period_key
    LEFT JOIN ledger_entry AS done ON done.run_id = hold.run_id AND done.scope = hold.scope
         AND done.period_key = hold.period_key AND done.kind IN ('post', 'void')
    WHERE hold.kind = 'hold'
    ON CONFLICT (scope, period_key) DO UPDATE SET
        holds = holds + 1, ends = ends + excluded.ends, held_u = held_u + excluded.held_u,
        posted_u = posted_u + excluded.posted_u, own = own + excluded.own,
        own_held_u = own_held_u + excluded.own_held_u, own_posted_u = own_posted_u + excluded.own_posted_u,
        faults = faults + excluded.faults"""
_SUMS = """
    SELECT coalesce(sum(own_held_u), 0), coalesce(sum(own_posted_u), 0) + (
        SELECT coalesce(sum(entry.amount_u), 0) FROM ledger_entry AS entry JOIN run USING (run_id)
        WHERE entry.kind != 'hold' AND entry.kind = 'adjust' AND entry.scope = run.member_scope
          AND entry.period_key = run.member_period)
    FROM taken"""

# How many runs were asked for in a level's period.
_RUNS = """
    CASE substr(scope, 1, instr(scope, ':'))
        WHEN '' THEN (SELECT count(*) FROM run WHERE created_at >= starts_at AND created_at < resets_at)
        WHEN 'server:' THEN (SELECT count(*) FROM run WHERE server = substr(scope, 8)
                             AND created_at >= starts_at AND created_at < resets_at)
        WHEN 'channel:' THEN (SELECT count(*) FROM run WHERE budget_channel = substr(scope, 9)
                              AND created_at >= starts_at AND created_at < resets_at)
        WHEN 'role:' THEN (SELECT count(*) FROM run_role WHERE role = substr(scope, 6)
                           AND created_at >= starts_at AND created_at < resets_at)
        WHEN 'member:' THEN (SELECT count(*) FROM run WHERE member = substr(scope, 8)
                             AND created_at >= starts_at AND created_at < resets_at)
        ELSE 0 END"""

# Each finds something only where a sentence may be broken.
_DOUBTS = {
    "every hold": (
        "SELECT 1 FROM taken WHERE faults > 0",
        "SELECT 1 WHERE (SELECT coalesce(sum(own), 0) FROM taken) != (SELECT count(*) FROM run)",
        f"""SELECT 1 WHERE (SELECT count(*) FROM ledger_entry) != (SELECT coalesce(sum(holds + ends), 0) FROM taken)
                + (SELECT count(*) FROM ledger_entry AS entry WHERE {_OTHER})""",
        f"SELECT 1 FROM run WHERE {ENDED} AND state_at != ended_at",
    ),
    "every level": (
        f"""SELECT 1 FROM budget LEFT JOIN taken USING (scope, period_key)
            LEFT JOIN (SELECT entry.scope, entry.period_key, sum(entry.amount_u) AS adjusted_u
                       FROM ledger_entry AS entry WHERE entry.kind != 'hold' AND entry.kind = 'adjust'
                       GROUP BY 1, 2) AS adjusted USING (scope, period_key)
            WHERE budget.held_u != coalesce(taken.held_u, 0)
               OR budget.spent_u != coalesce(taken.posted_u, 0) + coalesce(adjusted_u, 0)
               OR resets_at - starts_at > 32 * 86400 OR resets_at > 0 AND coalesce(holds, 0) != {_RUNS}""",
    ),
    "every adjustment, grant and refund": (
        f"""SELECT 1 FROM ledger_entry AS entry LEFT JOIN run ON run.run_id = entry.run_id
            LEFT JOIN budget AS level ON level.scope = entry.scope AND level.period_key = entry.period_key
            LEFT JOIN act ON act.act_id = entry.act_id
            WHERE {_OTHER} AND (
                level.scope IS NULL OR (entry.act_id IS NOT NULL) != (act.act_id IS NOT NULL)
                OR iif(entry.kind = 'grant', entry.run_id IS NOT NULL, run.run_id IS NULL)
                OR entry.kind = 'adjust' AND NOT EXISTS (
                    SELECT 1 FROM ledger_entry AS hold WHERE hold.run_id = entry.run_id AND hold.scope = entry.scope
                       AND hold.period_key = entry.period_key AND hold.kind = 'hold'))""",
        STORY.format(of=f" AND run_id IN ({_ADJUSTED})"),
        CHARGED.format(of=f" AND run_id IN ({_ADJUSTED})"),
        GIVEN_BACK.format(of=f" AND run_id IN ({_REFUNDED})"),
    ),
    # As many as are named are listed, each of them once, and no others: then the same are.
    "every role": (
        """SELECT 1 FROM run WHERE json_array_length(roles) != (
               SELECT count(DISTINCT had.role) FROM json_each(run.roles) AS role JOIN run_role AS had
               ON had.role = role.value AND had.created_at = run.created_at AND had.run_id = run.run_id)""",
        """SELECT 1 WHERE (SELECT count(*) FROM run_role)
               != (SELECT coalesce(sum(json_array_length(roles)), 0) FROM run)""",
    ),
}


def quick_proof(db: Connection, part: Callable[[str], None]) -> Sums | None:
    """What is held and charged, where no row breaks a sentence about the ledger; None where some may.

    `part` is called with the name of each part before it is checked.
    """
    part("every hold and its end")
    db.execute(_NEW_TAKEN)
    db.execute(_TAKE)
    for name, queries in _DOUBTS.items():
        part(name)
        if any(_finds(db, query) for query in queries):
            return None
    ((held_u, charged_u),) = db.execute(_SUMS)
    return Sums(held_u=held_u, charged_u=charged_u)


def _finds(db: Connection, query: str) -> bool:
    return any(True for _ in db.execute(f"SELECT 1 FROM ({query}) LIMIT 1"))
