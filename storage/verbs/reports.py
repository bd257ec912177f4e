"""What is read in bulk, and what an operator watches.

A report is added up by the database. For the while that takes it keeps a table of its own, which nobody else sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache

from bot.domain.limits import EVERYWHERE
from bot.domain.records import Act, Figures
from bot.domain.report import GROUPS_MAX, Day, Group, Ranking, Report, ReportedRun, ranking
from storage.dialect import Transaction
from storage.verbs.rows import ACT_COLUMNS, ENDED, OPEN, names_of
from storage.verbs.runs import lookup_proven

_NEW_REPORTED = """
    CREATE TEMPORARY TABLE reported (
        day TEXT, server TEXT, member TEXT, channel TEXT, roles TEXT, ended BIGINT, video BIGINT, price_u BIGINT,
        cost_u BIGINT, charged_u BIGINT, refunded_u BIGINT, wait_s REAL)"""
# The days come first, so that the runs of each are found by the time of their asking.
_REPORTED = f"""
    INSERT INTO reported
    WITH day (day, starts_at, ends_at) AS (VALUES {{days}})
    SELECT day.day, run.server, run.member, run.budget_channel, run.roles,
           CASE WHEN run.state IN ({ENDED}) THEN 1 ELSE 0 END,
           CASE WHEN run.state IN ({ENDED}) AND run.ending IN ('video', 'partial') THEN 1 ELSE 0 END,
           run.price_u, run.cost_u, run.charged_u, run.refunded_u, run.ended_at - run.created_at
    FROM day CROSS JOIN run_view AS run
    WHERE run.created_at >= day.starts_at AND run.created_at < day.ends_at{{there}}"""
_COUNTS = "count(*) AS runs, coalesce(sum(video), 0) AS videos, coalesce(sum(charged_u), 0) AS spent_u"
_TOTALS = f"""
    SELECT {_COUNTS}, coalesce(sum(ended), 0), coalesce(sum(CASE WHEN ended = 0 THEN price_u END), 0),
           coalesce(sum(refunded_u), 0), count(CASE WHEN ended = 1 AND cost_u != price_u THEN 1 END),
           coalesce(sum(CASE WHEN ended = 1 THEN cost_u - price_u END), 0)
    FROM reported"""
_WAITS = """
    SELECT wait_s FROM (
        SELECT wait_s, row_number() OVER (ORDER BY wait_s) AS place, count(*) OVER () AS waits
        FROM reported WHERE video = 1 AND wait_s IS NOT NULL) AS waited
    WHERE place IN ((waits + 1) / 2, (waits + 2) / 2)"""
_RUNS = (
    "SELECT run_id, created_at, member, member_name, budget_channel, roles, state, ending, price_u, charged_u, "
    "refunded_u, ended_at, server FROM run_view WHERE created_at >= :since AND created_at < :until"
)
_ACTS = f"SELECT {', '.join(ACT_COLUMNS)} FROM act"
_ROLE_SETS_KEPT = 8192  # that were read; the runs of one member say the same


# Reports


def report(tx: Transaction, server: str | None, days: Sequence[Day]) -> Report:
    """What the runs of these days add up to; None: of all servers."""
    tx.execute(_NEW_REPORTED)
    there = "" if server is None else " AND run.server = :server"
    values: dict[str, object] = {"server": server}
    for number, day in enumerate(days):
        values |= {f"day_{number}": day.key, f"starts_{number}": day.starts_at, f"ends_{number}": day.ends_at}
    marks = ", ".join(f"(:day_{number}, :starts_{number}, :ends_{number})" for number in range(len(days)))
    tx.execute(_REPORTED.format(days=marks, there=there), values)
    runs, videos, spent_u, ended, held_u, refunded_u, off_quote, off_quote_u = tx.execute(_TOTALS).fetchone()
    waits = [wait_s for (wait_s,) in tx.execute(_WAITS)]
    made = Report(
        since=days[0].starts_at,
        until=days[-1].ends_at,
        runs=runs,
        open=runs - ended,
        videos=videos,
        ended=ended,
        spent_u=spent_u,
        held_u=held_u,
        refunded_u=refunded_u,
        off_quote=off_quote,
        off_quote_u=off_quote_u,
        wait_median_s=sum(waits) / len(waits) if waits else None,
        members=_top(tx, "member"),
        roles=_roles(tx),
        channels=_top(tx, "channel"),
        days=_days(tx, days),
    )
    tx.execute("DROP TABLE reported")
    return made


def _top(tx: Transaction, sort: str) -> Ranking:
    """The members or channels that spent most."""
    sql = (
        f"SELECT {sort}, {_COUNTS}, count(*) OVER () AS found FROM reported "
        f"GROUP BY {sort} ORDER BY spent_u DESC, {sort} LIMIT :most"
    )
    rows = tx.execute(sql, {"most": GROUPS_MAX}).fetchall()
    groups = tuple(_group(*row) for *row, _ in rows)
    return Ranking(groups=groups, others=rows[0][-1] - len(groups) if rows else 0)


def _roles(tx: Transaction) -> Ranking:
    """The roles whose members spent most: read by the roles that runs have together, of which there are few.

    The name of a server is also that of the role that everybody in it has.
    """
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for server, text, *counted in tx.execute(f"SELECT server, roles, {_COUNTS} FROM reported GROUP BY server, roles"):
        for role in set(_roles_of(text, server)):
            counts[role] = [mine + more for mine, more in zip(counts[role], counted, strict=True)]
    return ranking(_group(role, *counted) for role, counted in counts.items())


def _roles_of(text: str, server: str) -> tuple[str, ...]:
    """The stored roles but the one that everybody has; none where they cannot be read."""
    with suppress(ValueError, TypeError):
        return tuple(role for role in names_of(text) if role != server)
    return ()


def _days(tx: Transaction, days: Sequence[Day]) -> tuple[Group, ...]:
    found = {day: counted for day, *counted in tx.execute(f"SELECT day, {_COUNTS} FROM reported GROUP BY day")}
    return tuple(_group(day.key, *found.get(day.key, (0, 0, 0))) for day in days)


def _group(key: str, runs: int, videos: int, spent_u: int) -> Group:
    return Group(key=key, runs=runs, videos=videos, spent_u=spent_u)


def reported_runs(tx: Transaction, server: str | None, since: float, until: float) -> Iterator[ReportedRun]:
    """The runs that were asked for in that time, oldest first; None: in all servers."""
    there = "" if server is None else " AND server = :server"
    rows = tx.execute(f"{_RUNS}{there} ORDER BY created_at, run_id", {"server": server, "since": since, "until": until})
    roles_of = lru_cache(_ROLE_SETS_KEPT)(_roles_of)
    for row in rows:
        yield ReportedRun._make((*row[:5], roles_of(row[5], row[12]), *row[6:12]))


# The log


def acts(tx: Transaction, server: str) -> Iterator[Act]:
    """All that admins did there, newest first; EVERYWHERE: on the whole bot, and to members in any server."""
    elsewhere = " OR member != ''" if server == EVERYWHERE else ""
    rows = tx.execute(f"{_ACTS} WHERE server = :server{elsewhere} ORDER BY act_id DESC", {"server": server})
    return (Act(**dict(zip(ACT_COLUMNS, row, strict=True))) for row in rows)


# What an operator watches


def figures(tx: Transaction) -> Figures:
    """See `bot.ports.Archive.figures`."""
    counted = {
        "open": f"ended_at IS NULL AND state IN ({OPEN})",
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
