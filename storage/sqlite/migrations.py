"""The numbered steps forward. A database that is newer than this program, or somebody else's, is refused.

The SQL of the steps stands in `storage.sqlite.schema`.
"""

from __future__ import annotations

import secrets
from functools import cache

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from bot.errors import DatabaseError
from storage.sqlite import schema

steps = Migrations("veo-bot")


@steps()
def step_1_runs_and_ledger(db: Database) -> None:
    """Runs, budgets, the ledger, and the key with which media links are signed."""
    db.executescript(schema.SCHEMA_1)
    db.execute("INSERT INTO installation VALUES ('media_key', :key)", {"key": secrets.token_bytes(32)})


@steps()
def step_2_levels_rules_and_acts(db: Database) -> None:
    """Levels above the member, what admins decide, questions that wait for a yes, and grants in the ledger."""
    db.executescript(schema.SCHEMA_2)


@steps()
def step_3_what_the_look_up_is_worth(db: Database) -> None:
    """What unclear POSTs and empty look-ups a run has had, and whether its messages go to its member alone."""
    db.executescript(schema.SCHEMA_3)


@steps()
def step_4_extras_of_a_server(db: Database) -> None:
    """What a server's admins add counts in their server; the operator's log names it."""
    db.executescript(schema.SCHEMA_4)


@steps()
def step_5_one_request_a_member(db: Database) -> None:
    """A request knows when it was put to the admins, what they said, and whether another took its place."""
    db.executescript(schema.SCHEMA_5)


@steps()
def step_6_one_act_for_one_request(db: Database) -> None:
    """Every act carries its origin."""
    db.executescript(schema.SCHEMA_6)


@steps()
def step_7_refunds_within_the_charge(db: Database) -> None:
    """Nothing is given back that was not taken, also where the cost was named later."""
    db.executescript(schema.SCHEMA_7)


@steps()
def step_8_periods_by_their_bounds(db: Database) -> None:
    """A period that another zone cuts out otherwise is another one."""
    db.executescript(schema.SCHEMA_8)


@steps()
def step_9_what_an_act_did(db: Database) -> None:
    """Rules and extras can be proven by the acts that made them."""
    db.executescript(schema.SCHEMA_9)


@steps()
def step_10_one_bad_row(db: Database) -> None:
    """A run that cannot be read is parked."""
    db.executescript(schema.SCHEMA_10)


@steps()
def step_11_roles_by_name(db: Database) -> None:
    """A role's pool finds its runs by an index."""
    db.executescript(schema.SCHEMA_11)


@steps()
def step_12_budgets_without_limits(db: Database) -> None:
    """A level's row says what is held and spent, and no more. Needs foreign keys not to be enforced meanwhile."""
    db.executescript(schema.SCHEMA_12)


@steps()
def step_13_what_a_front_needs(db: Database) -> None:
    """What a front has to know of a run to post its ends."""
    db.executescript(schema.SCHEMA_13)


@steps()
def step_15_starts_without_writing(db: Database) -> None:
    """A start finds what it has to look at without writing every row."""
    db.executescript(schema.SCHEMA_15)


def refuse_what_is_not_ours(db: Database, path: str) -> None:
    """Raise DatabaseError, having changed nothing, for a foreign database or one newer than this program."""
    names = set(db.table_names())
    applied = {step.name for step in steps.applied(db)}
    if names and not applied:
        raise DatabaseError("database.foreign", path=path)
    if newer := sorted(applied - known_steps()):
        raise DatabaseError("database.newer", path=path, step=newer[-1])


@cache
def known_steps() -> frozenset[str]:
    """The names of all steps."""
    db = Database(memory=True, execute_plugins=False)
    try:
        return frozenset(step.name for step in steps.pending(db))
    finally:
        db.close()


@cache
def whole_schema() -> dict[str, str]:
    """Every table, index, trigger and view of ours by its name, as all steps make them."""
    db = Database(memory=True, execute_plugins=False)
    try:
        steps.apply(db)
        return schema_of(db)
    finally:
        db.close()


def schema_of(db: Database) -> dict[str, str]:
    """What a database holds of tables, indexes, triggers and views, in words that do not differ by who wrote them."""
    found = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {
        name: " ".join(sql.replace('"', "").split())
        for name, sql in found
        if not name.startswith(("sqlite_", "_sqlite_migrations"))
    }
