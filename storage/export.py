"""Writes every ledger entry as CSV or as JSON lines: read-only, in one snapshot, also beside a running bot."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Literal, TextIO

from bot.domain.money import plain_usd
from bot.domain.untrusted import as_cell
from storage.sqlite.snapshot import snapshot

Format = Literal["csv", "jsonl"]

DAY_S = 86400.0
COLUMNS = (
    *("entry_id", "at", "run_id", "scope", "period", "kind", "amount_usd"),
    *("actor", "actor_name", "reason", "act", "member_name", "quote_usd", "cost_usd"),
)
_AMOUNTS = ("amount_usd", "quote_usd", "cost_usd")
_ENTRIES = """
    SELECT entry_id, entry.at, entry.run_id, entry.scope, entry.period_key AS period, entry.kind,
           entry.amount_u AS amount_usd, entry.actor, act.actor_name, entry.reason, act.verb AS act,
           run.member_name, run.price_u AS quote_usd, run.cost_u AS cost_usd
    FROM ledger_entry AS entry LEFT JOIN run USING (run_id) LEFT JOIN act USING (act_id)
    WHERE (entry.at >= :since OR :since IS NULL) AND (entry.at < :until OR :until IS NULL)
    ORDER BY entry_id"""


def export_entries(url: str, out: TextIO, form: Format, *, first: date | None = None, last: date | None = None) -> None:
    """Write the entries made from the day `first` to the day `last`, both included and in UTC, in their order.

    Amounts are exact decimals of dollars. As CSV no text is taken for a formula by a spreadsheet, and what there is
    not is an empty cell; as JSON it is null. Raises DatabaseError, having written nothing, where there is no database
    of ours to read.
    """
    span = {
        "since": None if first is None else _midnight(first),
        "until": None if last is None else _midnight(last) + DAY_S,
    }
    with snapshot(url) as db:
        write = _csv(out) if form == "csv" else _json(out)
        for row in db.query(_ENTRIES, span):
            for name in _AMOUNTS:
                row[name] = None if row[name] is None else plain_usd(row[name])
            row["at"] = datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="milliseconds")
            write(row)


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


def _csv(out: TextIO) -> Callable[[Mapping[str, Any]], object]:
    writer = csv.writer(out)  # its line ends stay "\r\n": with "\n" alone it would not quote a lone "\r"
    writer.writerow(COLUMNS)
    return lambda row: writer.writerow([_cell(name, row[name]) for name in COLUMNS])


def _cell(name: str, value: object) -> object:
    """A text in which a cell may begin like a formula is marked as text; an amount below zero stays a number."""
    return as_cell(value) if name not in _AMOUNTS and isinstance(value, str) else value


def _json(out: TextIO) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: out.write(f"{json.dumps(row)}\n")
