"""Proves that the books balance: every invariant over the whole database, read-only, also beside a running bot."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from bot.errors import DatabaseError
from storage import migrations
from storage.sqlite import database_path

_REBUILT = """
    SELECT level.scope, level.period_key,
           coalesce(sum(CASE WHEN kind = 'hold' AND NOT EXISTS (
               SELECT 1 FROM ledger_entry AS done WHERE done.run_id = entry.run_id AND done.scope = entry.scope
                  AND done.period_key = entry.period_key AND done.kind IN ('post', 'void'))
               THEN amount_u END), 0) AS held_u,
           coalesce(sum(CASE WHEN kind IN ('post', 'adjust') THEN amount_u END), 0) AS spent_u,
           coalesce(sum(CASE WHEN kind = 'adjust' THEN max(amount_u, 0) END), 0) AS excess_u
    FROM (SELECT scope, period_key FROM budget UNION SELECT scope, period_key FROM ledger_entry) AS level
    LEFT JOIN ledger_entry AS entry USING (scope, period_key) GROUP BY 1, 2"""
_ENDED = "run.state IN ('succeeded', 'failed', 'cancelled')"

# Each query returns the rows that break the sentence.
INVARIANTS = {
    "each level's held, spent and excess are what its entries add up to": f"""
        SELECT rebuilt.scope, rebuilt.period_key, budget.held_u, budget.spent_u, budget.excess_u,
               rebuilt.held_u AS held_by_entries, rebuilt.spent_u AS spent_by_entries,
               rebuilt.excess_u AS excess_by_entries
        FROM ({_REBUILT}) AS rebuilt LEFT JOIN budget USING (scope, period_key)
        WHERE (budget.held_u, budget.spent_u, budget.excess_u)
              IS NOT (rebuilt.held_u, rebuilt.spent_u, rebuilt.excess_u)""",
    "held and spent stay within the limit and the recorded excess": """
        SELECT * FROM budget WHERE held_u + spent_u > limit_u + excess_u""",
    "an ended run has exactly one post or void for each of its holds, and any other run has none": f"""
        SELECT run.run_id, run.state, hold.scope, count(done.entry_id) AS ends
        FROM run JOIN ledger_entry AS hold ON hold.run_id = run.run_id AND hold.kind = 'hold'
        LEFT JOIN ledger_entry AS done ON done.run_id = hold.run_id AND done.scope = hold.scope
             AND done.period_key = hold.period_key AND done.kind IN ('post', 'void')
        GROUP BY hold.entry_id HAVING ends != ({_ENDED})""",
    "every run holds its price on at least one level, and every entry belongs to a run": """
        SELECT run.run_id AS run_id FROM run WHERE NOT EXISTS (
            SELECT 1 FROM ledger_entry AS hold WHERE hold.run_id = run.run_id AND hold.kind = 'hold'
               AND hold.amount_u = run.price_u)
        UNION ALL
        SELECT entry.run_id FROM ledger_entry AS entry LEFT JOIN run USING (run_id) WHERE run.run_id IS NULL""",
    "nothing is posted, given back or adjusted where nothing was held": """
        SELECT entry.* FROM ledger_entry AS entry WHERE kind != 'hold' AND NOT EXISTS (
            SELECT 1 FROM ledger_entry AS hold WHERE hold.run_id = entry.run_id AND hold.scope = entry.scope
               AND hold.period_key = entry.period_key AND hold.kind = 'hold')""",
    "a post never exceeds its hold": """
        SELECT post.* FROM ledger_entry AS post JOIN ledger_entry AS hold
            ON hold.run_id = post.run_id AND hold.scope = post.scope AND hold.period_key = post.period_key
               AND hold.kind = 'hold' AND post.kind = 'post'
        WHERE post.amount_u > hold.amount_u OR post.amount_u < 0""",
    "a run whose cost is known is charged exactly that": f"""
        SELECT run_id, cost_u, charged_u FROM run_view AS run
        WHERE {_ENDED} AND cost_u IS NOT NULL AND charged_u != cost_u""",
    "a run that is not over or not delivered will be looked at again": f"""
        SELECT run_id, state, delivery FROM run
        WHERE due_at IS NULL AND (NOT {_ENDED} OR delivery IN ('pending', 'sending'))""",
}


def check_books(url: str) -> list[str]:
    """One line for each row that breaks an invariant; empty when the books balance.

    Raises DatabaseError where there is no database of ours to read.
    """
    path = database_path(url)
    if not Path(path).is_file():
        raise DatabaseError(f"There is no database at {path} yet; it is made by the first start of the bot.")
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            db = Database(connection, execute_plugins=False, recursive_triggers=False)
            migrations.refuse_what_is_not_ours(db, path)
            connection.execute("BEGIN")  # one snapshot for all invariants, beside a bot that goes on writing
            return [
                f"{sentence}: {json.dumps(row)}" for sentence, query in INVARIANTS.items() for row in db.query(query)
            ]
    except sqlite3.Error as error:
        raise DatabaseError(f"The database {path} cannot be read ({error}).") from error
