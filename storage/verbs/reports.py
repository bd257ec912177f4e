"""What is read in bulk, and what an operator watches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from bot.domain.limits import EVERYWHERE
from bot.domain.records import Act, Figures
from bot.domain.report import RunFact
from bot.domain.runs import Ending, RunState
from storage.dialect import Rows, Transaction
from storage.verbs.rows import ACT_COLUMNS, OPEN, names_of
from storage.verbs.runs import lookup_proven

_COLUMNS = (*(field.name for field in fields(RunFact)), "server")
_FACTS = (
    f"SELECT {', '.join('budget_channel' if name == 'channel' else name for name in _COLUMNS)} FROM run_view "
    "WHERE created_at >= :since AND created_at < :until"
)
_ACTS = f"SELECT {', '.join(ACT_COLUMNS)} FROM act"
Row = tuple[Any, ...]


def ask_facts(tx: Transaction, server: str | None, since: float, until: float) -> Rows:
    """Ask for the runs that were asked for in that time, oldest first; None: in all servers."""
    there = "" if server is None else " AND server = :server"
    values = {"server": server, "since": since, "until": until}
    return tx.execute(f"{_FACTS}{there} ORDER BY created_at, run_id", values)


def read_facts(rows: Iterable[Row]) -> Iterator[RunFact]:
    """The runs that were asked for. One that cannot be read is missing."""
    for row in rows:
        try:
            fact = _fact(row)
        except (ValueError, TypeError):
            continue
        yield fact


def _fact(row: Row) -> RunFact:
    values = dict(zip(_COLUMNS, row, strict=True))
    server = values.pop("server")  # which is also the name of the role that everybody in it has
    ending = values["ending"]
    return RunFact(
        **values
        | {
            "roles": tuple(role for role in names_of(values["roles"]) if role != server),
            "state": RunState(values["state"]),
            "ending": None if ending is None else Ending(ending),
        }
    )


def ask_acts(tx: Transaction, server: str) -> Rows:
    """Ask for all that admins did there, newest first; EVERYWHERE: on the whole bot, and to members in any server."""
    elsewhere = " OR member != ''" if server == EVERYWHERE else ""
    return tx.execute(f"{_ACTS} WHERE server = :server{elsewhere} ORDER BY act_id DESC", {"server": server})


def read_acts(rows: Iterable[Row]) -> Iterator[Act]:
    """The acts that were asked for."""
    return (Act(**dict(zip(ACT_COLUMNS, row, strict=True))) for row in rows)


def figures(tx: Transaction) -> Figures:
    """See `bot.ports.Archive.figures`."""
    counted = {
        "open": f"state IN ({OPEN})",
        "unknown": "state = 'unknown' AND state_at > 0",
        "overdue": "overdue = 1 AND state = 'running'",
        "unreadable": "parked_at IS NOT NULL",
    }
    asked = {name: tx.execute(f"SELECT count(*) FROM run WHERE {where}") for name, where in counted.items()}
    return Figures(**{name: found.fetchone()[0] for name, found in asked.items()}, lookup_proven=lookup_proven(tx))


# The installation


def media_key(tx: Transaction) -> bytes:
    """With which links to clips are signed; each installation has its own."""
    return bytes(tx.execute("SELECT value FROM installation WHERE name = 'media_key'").fetchone()[0])


def check(tx: Transaction, mark: bytes) -> None:
    """Keep this mark: SQLite does not write a value that is there already, so each check brings one of its own."""
    sql = (
        "INSERT INTO installation (name, value) VALUES ('checked', :mark) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    tx.execute(sql, {"mark": mark})
