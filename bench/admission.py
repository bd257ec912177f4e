"""What it costs to admit a run, with every rule, limit, hold, ledger entry and check, beside a bare reserve.

    .venv/bin/python -m bench.admission [folder]

The baseline is one transaction of three plain statements, on tables of its own: a guarded UPDATE of a budget, an
INSERT of a ledger entry, an INSERT of a run. Its rows are ours, with the same keys, indexes and checks; `small rows`
shows the same for tables with a primary key and no more. All run in turns in the writer's thread with full durability,
on a database that holds 20,000 runs; the figures are medians. The second half is `store.admit` from 32 tasks at once,
beside the same calls one after the other. The folder is to be on a disk, as `/var/tmp` is: in memory a commit costs
nothing, so that there is nothing to share.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from statistics import median
from zoneinfo import ZoneInfo

from bot.domain.limits import Level, Plan, Policy, Rule, RuleKind, Rules, check_access
from bot.domain.models import VeoRequest
from bot.domain.records import Act, Change, NewRun, Wish
from storage import SqliteStore, check_books, open_store
from storage.dialect import Transaction, among
from storage.sqlite.transaction import immediate
from storage.verbs.admissions import admit

RUNS = 20_000  # that the database holds already, half of them in each month
MEMBERS = 500
ROUNDS = 40
EACH = 8  # transactions of a sort in each round
TASKS = 32

# In the first month a run is held on its member's level alone, in the second on five.
ONE, FIVE = (datetime(2026, month, 15, tzinfo=UTC).timestamp() for month in (10, 11))
SERVER, CHANNEL, ROLE = "discord:2000000000000000002", "discord:3000000000000000003", "discord:4000000000000000004"
POLICY = Policy(
    member_limit_u=10**12,
    server_ceiling_u=10**14,
    total_ceiling_u=10**15,
    period="month",
    zone=ZoneInfo("Europe/Berlin"),
    runs_per_member=1000,
)
chance = random.Random(1)  # noqa: S311 - the same members in the same order each time
snowflakes = itertools.count(1_500_000_000_000_000_000, 2**22)  # ids of interactions: they grow with time
Asked = tuple[NewRun, Plan]


def member(number: int) -> str:
    return f"discord:{10**18 + number}"


def ask(now: float) -> Asked:
    """A wish of one of the members, with the plan of its month."""
    wish = Wish(
        origin=f"discord:{next(snowflakes)}",
        member=member(chance.randrange(MEMBERS)),
        member_name="Bo",
        server=SERVER,
        channel=CHANNEL,
        budget_channel=CHANNEL,
        roles=(ROLE,),
        request=VeoRequest(prompt="a red fox walks through fresh snow at dawn, filmed from a low angle"),
        reply_to=f"{chance.getrandbits(64)}:{chance.randbytes(80).hex()}",
        reply_until=now + 840.0,
        upload_limit_bytes=10 * 2**20,
    )
    new = NewRun(
        wish=wish,
        run_id=chance.randbytes(8).hex(),
        price_u=3_200_000,
        callback_token=chance.randbytes(16).hex(),
        now=now,
    )

    def alone(rules: Rules) -> list[Level]:
        check_access(wish.spender, rules)
        return [POLICY.member_level(wish.spender, rules, now)]

    return new, alone if now == ONE else POLICY.admission(wish.spender, now)


# Every run has ended, was charged its price and is delivered.
OVER = """
INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason)
    SELECT run_id, scope, period_key, 'post', amount_u, at, 'bot', 'video, cost by Runflow' FROM ledger_entry;
UPDATE budget SET spent_u = held_u, held_u = 0;
UPDATE run SET state = 'succeeded', ended_at = created_at, ending = 'video', cost_u = price_u, notice = 'result',
    delivery = 'delivered', due_at = NULL, reply_to = NULL, reply_until = NULL, provider_id = 'job_' || run_id
"""


def _changed(change: Change, _: Rules) -> Change:
    return change


async def fill(store: SqliteStore) -> None:
    """A server with rules, and with runs that are over."""
    role, subjects = f"role:{ROLE}", [f"member:{member(number)}" for number in range(0, MEMBERS, 2)]
    rules = [Rule(server=SERVER, subject=each, kind=RuleKind.LIMIT, in_flight=1000) for each in subjects]
    rules += [Rule(server=SERVER, subject=role, kind=kind) for kind in (RuleKind.LIMIT, RuleKind.ALLOW)]
    for rule in rules:
        act = Act(at=ONE, server=SERVER, actor="discord:9", actor_name="Ada", verb="set", subject=rule.subject)
        change = Change(put=(rule,))
        await store.decide(act, partial(_changed, change))

    def runs(tx: Transaction) -> None:
        for number in range(RUNS):
            admit(tx, *ask(ONE if number < RUNS // 2 else FIVE))
        for sql in OVER.split(";"):
            tx.execute(sql)

    await store.writer.write(runs)
    await store.writer.write(add_baselines)


# The baselines

SMALL = """
CREATE TABLE small_budget (scope TEXT NOT NULL, period_key TEXT NOT NULL, held_u INTEGER NOT NULL,
                           PRIMARY KEY (scope, period_key));
CREATE TABLE small_ledger_entry (entry_id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, scope TEXT NOT NULL,
                                 period_key TEXT NOT NULL, kind TEXT NOT NULL, amount_u INTEGER NOT NULL,
                                 at REAL NOT NULL);
CREATE TABLE small_run (run_id TEXT PRIMARY KEY, member TEXT NOT NULL, price_u INTEGER NOT NULL, state TEXT NOT NULL,
                        created_at REAL NOT NULL);
INSERT INTO small_budget SELECT scope, period_key, held_u FROM budget;
INSERT INTO small_ledger_entry SELECT entry_id, run_id, scope, period_key, kind, amount_u, at FROM ledger_entry;
INSERT INTO small_run SELECT run_id, member, price_u, state, created_at FROM run
"""
SMALL_ROWS = {
    "run": ("run_id", "member", "price_u", "state", "created_at"),
    "ledger_entry": ("run_id", "scope", "period_key", "kind", "amount_u", "at"),
}
BARE_ROWS = {
    "run": (
        *SMALL_ROWS["run"],
        *("origin", "member_name", "server", "channel", "budget_channel", "roles", "request", "callback_token"),
        *("member_scope", "member_period", "state_at", "due_at", "reply_to", "reply_until", "upload_limit_bytes"),
    ),
    "ledger_entry": (*SMALL_ROWS["ledger_entry"], "actor", "reason"),
}


def add_baselines(tx: Transaction) -> None:
    """Tables of the baselines' own, with as many rows as ours have."""
    for sql in SMALL.split(";"):
        tx.execute(sql)
    ours = ("budget", "run", "ledger_entry")
    marks, names = among(ours)
    of_ours = f"tbl_name IN ({marks}) AND type IN ('table', 'index') AND sql IS NOT NULL"
    made = tx.execute(f"SELECT sql FROM sqlite_master WHERE {of_ours} ORDER BY type DESC", names)  # noqa: S608
    for (sql,) in made.fetchall():
        tx.execute(re.sub(r"\b(budget|run|ledger_entry)\b|(?<=INDEX )", r"bare_\1", sql))
    for name in ours:
        tx.execute(f"INSERT INTO bare_{name} SELECT * FROM {name}")  # noqa: S608 - our own tables


class Baseline:
    """The classic reserve on tables with this prefix."""

    def __init__(self, prefix: str, rows: dict[str, tuple[str, ...]]) -> None:
        self.held = (
            f"UPDATE {prefix}_budget SET held_u = held_u + :price_u "  # noqa: S608 - our own tables
            "WHERE scope = :member_scope AND period_key = :member_period AND held_u + :price_u <= :limit_u"
        )
        self.inserts = [
            f"INSERT INTO {prefix}_{name} ({', '.join(row)}) VALUES ({', '.join(f':{each}' for each in row)})"  # noqa: S608
            for name, row in rows.items()
        ]

    def rows(self, new: NewRun) -> list[dict[str, object]]:
        scope = {"member_scope": f"member:{new.wish.member}", "member_period": "2026-10", "price_u": new.price_u}
        scope["limit_u"] = POLICY.member_limit_u
        run = vars(new.wish) | vars(new) | scope | dict.fromkeys(("created_at", "state_at", "due_at"), new.now)
        run |= {"state": "reserved", "roles": json.dumps(new.wish.roles), "request": json.dumps(vars(new.wish.request))}
        entry = {"run_id": new.run_id, "scope": scope["member_scope"], "period_key": "2026-10", "kind": "hold"}
        return [scope, run, entry | {"amount_u": new.price_u, "at": new.now, "actor": "bot", "reason": "admitted"}]

    def reserve(self, tx: Transaction, rows: list[dict[str, object]]) -> None:
        scope, run, entry = rows
        assert tx.execute(self.held, scope).rowcount == 1
        tx.execute(self.inserts[0], run)
        tx.execute(self.inserts[1], entry)


# The measurements


async def transactions(store: SqliteStore) -> dict[str, float]:
    """Microseconds of each sort of transaction, in the writer's thread."""
    small, bare = Baseline("small", SMALL_ROWS), Baseline("bare", BARE_ROWS)
    found: dict[str, list[float]] = {"small": [], "bare": [], "one": [], "five": []}

    def in_turn(connection: sqlite3.Connection, name: str, works: Iterable[Callable[[Transaction], object]]) -> None:
        for work in works:
            began = time.perf_counter()
            with immediate(connection) as tx:
                work(tx)
            found[name].append((time.perf_counter() - began) * 1e6)

    def turns(_: Transaction) -> None:
        connection = store.writer.connection
        for name, base in (("small", small), ("bare", bare)):
            each = [base.rows(ask(ONE)[0]) for _ in range(EACH)]
            in_turn(connection, name, [partial(base.reserve, rows=rows) for rows in each])
        for name, now in (("one", ONE), ("five", FIVE)):
            asked = [ask(now) for _ in range(EACH)]
            in_turn(connection, name, [partial(admit, new=new, plan=plan) for new, plan in asked])

    for _ in range(ROUNDS):
        await store.writer.read(turns)
    return {name: median(times) for name, times in found.items()}


async def rates(store: SqliteStore) -> dict[str, float]:
    """Admissions in a second: one after the other, and from so many tasks at once."""
    found: dict[str, list[float]] = {}

    async def timed(name: str, now: float, tasks: int) -> None:
        asked = [ask(now) for _ in range(TASKS * 4 if tasks > 1 else TASKS)]
        waiting = iter(asked)

        async def member_asks() -> None:
            for each in waiting:
                await store.admit(*each)

        started = time.perf_counter()
        await asyncio.gather(*(member_asks() for _ in range(tasks)))
        found.setdefault(name, []).append(len(asked) / (time.perf_counter() - started))

    for _ in range(ROUNDS // 3):
        for month, now in (("one", ONE), ("five", FIVE)):
            await timed(f"{month} alone", now, 1)
            await timed(f"{month} together", now, TASKS)
    return {name: median(each) for name, each in found.items()}


def line(what: str, figure: str, ratio: float, bound: str = "", *, ok: bool = True) -> bool:
    print(f"  {what:<28}{figure:>14}{ratio:>8.2f}  {bound:<12}{'' if not bound else 'ok' if ok else 'NOT OK'}")
    return ok


async def measure(folder: str) -> bool:
    """Print the table; whether every bound holds."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        url = f"sqlite:///{inside}/veo.db"
        store = open_store(url)
        await fill(store)
        took, rate = await transactions(store), await rates(store)
        await store.close()
        assert check_books(url) == [], "what was measured kept no books"
    print(f"admission on a database of {RUNS} runs, fully durable; medians")
    line("bare reserve, small rows", f"{took['small']:.0f} us", took["small"] / took["bare"])
    line("bare reserve", f"{took['bare']:.0f} us", 1.0)
    held = []
    for name, said, most in (("one", "one level", 1.5), ("five", "five levels", 2.0)):
        ratio = took[name] / took["bare"]
        held.append(line(f"admission, {said}", f"{took[name]:.0f} us", ratio, f"<= {most}", ok=ratio <= most))
    for name, said, least in (("one", "one level", 4.0), ("five", "five levels", 2.5)):
        alone, together = rate[f"{name} alone"], rate[f"{name} together"]
        line(f"one at a time, {said}", f"{alone:.0f} /s", 1.0)
        ratio = together / alone
        held.append(line(f"{TASKS} at once, {said}", f"{together:.0f} /s", ratio, f">= {least}", ok=ratio >= least))
    return all(held)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(measure(*(sys.argv[1:2] or ["/var/tmp"]))) else 1)  # noqa: S108 - a folder of its own in it
