"""The admins' log as CSV: one act a line, with its names and figures in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from bot.domain.records import Act
from bot.domain.untrusted import as_cell

ACT_COLUMNS = (
    *("at", "actor", "actor_name", "act", "server", "server_name", "subject", "subject_name", "member"),
    *("detail", "reason"),
)


def write_acts(
    acts: Iterator[Act],
    table: TextIO,
    name_of: Callable[[str], str],
    detail_of: Callable[[Act], str],
    bytes_max: int,
) -> tuple[int, int]:
    """Write acts as CSV up to so many bytes; how many there are, and how many were written."""
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    writer.writerow(ACT_COLUMNS)
    found = written = 0
    for found, act in enumerate(acts, start=1):
        if written + 1 < found:
            continue  # the table is full; the rest is only counted
        name = act.subject.partition(":")[2]
        at = datetime.fromtimestamp(act.at, UTC).isoformat(timespec="seconds")
        texts = (act.actor, act.actor_name, act.verb, act.server, act.server_name, act.subject, name_of(name))
        writer.writerow((at, *map(as_cell, (*texts, act.member, detail_of(act), act.reason))))
        text = line.getvalue()
        bytes_max -= len(text.encode())
        if bytes_max >= 0:
            table.write(text)
            written = found
            line.seek(0)
            line.truncate()
    return found, written
