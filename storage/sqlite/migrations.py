"""The numbered steps forward. A database that is newer than this program, or somebody else's, is refused.

sqlite-utils takes them and keeps the record of it. What was taken is also read here without the library: it costs 3 MB,
which a bot that starts on a database that is up to date does without. The SQL of the steps stands in
`storage.sqlite.schema`.
"""

from __future__ import annotations

import secrets
import sqlite3
from functools import cache
from typing import TYPE_CHECKING

from bot.errors import DatabaseError
from storage.sqlite import schema
from storage.sqlite.transaction import immediate

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

OURS = "veo-bot"  # the name under which the record has our steps
RECORD = "_sqlite_migrations"


def step_1_runs_and_ledger(db: Database) -> None:
    """Runs, budgets, the ledger, and the key with which media links are signed."""
    db.executescript(schema.SCHEMA_1)
    db.execute("INSERT INTO installation VALUES ('media_key', :key)", {"key": secrets.token_bytes(32)})


def step_2_levels_rules_and_acts(db: Database) -> None:
    """Levels above the member, what admins decide, questions that wait for a yes, and grants in the ledger."""
    db.executescript(schema.SCHEMA_2)


def step_3_what_the_look_up_is_worth(db: Database) -> None:
    """What unclear POSTs and empty look-ups a run has had, and whether its messages go to its member alone."""
    db.executescript(schema.SCHEMA_3)


def step_4_extras_of_a_server(db: Database) -> None:
    """What a server's admins add counts in their server; the operator's log names it."""
    db.executescript(schema.SCHEMA_4)


def step_5_one_request_a_member(db: Database) -> None:
    """A request knows when it was put to the admins, what they said, and whether another took its place."""
    db.executescript(schema.SCHEMA_5)


def step_6_one_act_for_one_request(db: Database) -> None:
    """Every act carries its origin."""
    db.executescript(schema.SCHEMA_6)


def step_7_refunds_within_the_charge(db: Database) -> None:
    """Nothing is given back that was not taken, also where the cost was named later."""
    db.executescript(schema.SCHEMA_7)


def step_8_periods_by_their_bounds(db: Database) -> None:
    """A period that another zone cuts out otherwise is another one."""
    db.executescript(schema.SCHEMA_8)


def step_9_what_an_act_did(db: Database) -> None:
    """Rules and extras can be proven by the acts that made them."""
    db.executescript(schema.SCHEMA_9)


def step_10_one_bad_row(db: Database) -> None:
    """A run that cannot be read is parked."""
    db.executescript(schema.SCHEMA_10)


def step_11_roles_by_name(db: Database) -> None:
    """A role's pool finds its runs by an index."""
    db.executescript(schema.SCHEMA_11)


def step_12_budgets_without_limits(db: Database) -> None:
    """A level's row says what is held and spent, and no more. Needs foreign keys not to be enforced meanwhile."""
    db.executescript(schema.SCHEMA_12)


def step_13_what_a_front_needs(db: Database) -> None:
    """What a front has to know of a run to post its ends."""
    db.executescript(schema.SCHEMA_13)


def step_14_runs_of_a_level(db: Database) -> None:
    """A level finds its runs, and those of them that are under way, by indexes of their own."""
    db.executescript(schema.SCHEMA_14)


def step_15_starts_without_writing(db: Database) -> None:
    """A start finds what it has to look at without writing every row."""
    db.executescript(schema.SCHEMA_15)


def step_16_a_server_s_language(db: Database) -> None:
    """A rule for the language of public messages in a server. Needs foreign keys not to be enforced meanwhile."""
    db.executescript(schema.SCHEMA_16)


def step_17_a_fair_line(db: Database) -> None:
    """Who is next in line is found by the members who wait, however many runs of theirs do."""
    db.executescript(schema.SCHEMA_17)


def step_18_wishes_kept_for_a_day(db: Database) -> None:
    """A refused wish is kept. Needs foreign keys not to be enforced meanwhile."""
    db.executescript(schema.SCHEMA_18)


STEPS = (
    step_1_runs_and_ledger,
    step_2_levels_rules_and_acts,
    step_3_what_the_look_up_is_worth,
    step_4_extras_of_a_server,
    step_5_one_request_a_member,
    step_6_one_act_for_one_request,
    step_7_refunds_within_the_charge,
    step_8_periods_by_their_bounds,
    step_9_what_an_act_did,
    step_10_one_bad_row,
    step_11_roles_by_name,
    step_12_budgets_without_limits,
    step_13_what_a_front_needs,
    step_14_runs_of_a_level,
    step_15_starts_without_writing,
    step_16_a_server_s_language,
    step_17_a_fair_line,
    step_18_wishes_kept_for_a_day,
)


def refuse_what_is_not_ours(connection: sqlite3.Connection, path: str) -> None:
    """Raise DatabaseError, having changed nothing, for a foreign database or one newer than this program."""
    taken = applied(connection)
    if not taken and _table_names(connection):
        raise DatabaseError("database.foreign", path=path)
    if newer := sorted(set(taken) - _known()):
        raise DatabaseError("database.newer", path=path, step=newer[-1])


def applied(connection: sqlite3.Connection) -> list[str]:
    """The names of the steps that made this database; none of an empty one, or of another program's."""
    if RECORD not in _table_names(connection):
        return []
    # As the library asks: all of each row, so that a damaged record is noticed.
    rows = connection.execute(f"SELECT * FROM {RECORD} WHERE migration_set = ? ORDER BY rowid", [OURS])
    at = [column[0] for column in rows.description].index("name")
    return [row[at] for row in rows.fetchall()]


def is_up_to_date(connection: sqlite3.Connection) -> bool:
    """Whether no step is left to be taken."""
    return _known() <= set(applied(connection))


def migrate(connection: sqlite3.Connection) -> None:
    """Take the steps that are left, all in one transaction, on a connection that does not begin any by itself."""
    from sqlite_utils import Database  # noqa: PLC0415 - see above

    db = Database(connection, strict=True, execute_plugins=False, recursive_triggers=False)
    connection.execute("PRAGMA foreign_keys = OFF")  # while tables are made anew to which others point
    with immediate(connection):
        steps().apply(db)


def steps() -> Migrations:
    """The steps, as the library takes them."""
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415 - see above

    ours = Migrations(OURS)
    for step in STEPS:
        ours()(step)
    return ours


def _known() -> set[str]:
    return {step.__name__ for step in STEPS}


def _table_names(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}


@cache
def whole_schema() -> dict[str, str]:
    """Every table, index, trigger and view of ours by its name, as all steps make them."""
    from sqlite_utils import Database  # noqa: PLC0415 - see above

    db = Database(memory=True, execute_plugins=False)
    try:
        steps().apply(db)
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
