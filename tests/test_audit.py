"""The audit finds each kind of breach in a broken database, and none in a healthy one, beside whatever writes it.

In one piece, because each breach is an entry of one list that names all invariants.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlite_utils import Database

from bot.domain.limits import Level, Policy, Rule, RuleKind
from bot.domain.periods import Period, PeriodKind
from bot.domain.records import Act, Choice, End, Offer, OfferKind, RunChanges
from bot.domain.runs import Ending, Run, RunState
from bot.errors import DatabaseError
from storage import SqliteStore, check_books, open_store
from storage.audit import MADE, POINTS, WHOLE, prove
from storage.invariants import INVARIANTS, LEDGER
from storage.quick_proof import quick_proof
from storage.sqlite import migrations
from tests.money import PRICE_U, lift_rule, new_run, put_rule, wish
from tests.words import refuses

MONTH = Period(kind="month", key="2026-11", starts_at=0.0, resets_at=30.0)
DAY = Period(kind="day", key="2026-11-01", starts_at=0.0, resets_at=10.0)
MEMBER = Level(scope="member:discord:1", period=MONTH, limit_u=20 * PRICE_U)
LEVELS = [
    Level(scope="total", period=MONTH, limit_u=None),
    Level(scope="server:discord:2", period=MONTH, limit_u=100 * PRICE_U),
    Level(scope="channel:discord:3", period=MONTH, limit_u=None),
    Level(scope="role:discord:4", period=MONTH, limit_u=50 * PRICE_U),
    MEMBER,
]
A_DAY_TOO = Level(scope="server:discord:2", period=DAY, limit_u=60 * PRICE_U)
SOMEBODY = {"member": "discord:9", "server": "discord:8", "channel": "discord:7", "budget_channel": "discord:7"}
ELSEWHERE = [
    Level(scope=scope, period=MONTH, limit_u=None)
    for scope in ("total", "server:discord:8", "channel:discord:7", "member:discord:9")
]

BALANCE = "each level's held and spent are what its entries add up to"
ENDS = "an ended run has exactly one post or void for each of its holds, and any other run has none"
PAIRS = "every run holds its price once on each level, also its member's, and every entry but a grant has its run"
HELD = "nothing is posted, given back or adjusted where nothing was held"
POSTS = "a post never exceeds its hold, and a void gives back all of it"
STORY = "all levels of a run tell the same story: as many entries of each kind, over the same amounts"
SCOPES = "a run is held on every level of its scopes in whose period it was asked for, and on no other"
ROLES = "a run's roles are listed for their pools, with the time of its asking, all of them and no others"
ACTS = "every grant and refund is above 0 and named in an act by the same actor, and every rule has its act"
GIVEN = "every grant, refund and release is in the ledger, once and with its amount"
RULES = "every rule is what the last act on it made of it"
BACK = "what is given back of a run is never more than what it was charged"
REFUNDS = "a refund is for its run's member, of an ended run, once, and at most what it was charged by then"
OFFERS = "a taken offer has one run, of its own, for the same member, place and request, at a price that was offered"
QUESTIONS = "a question is its member's own, of the wish that it keeps, and knows what was said to it"
COST = "a run whose cost is known is charged exactly that, and one whose cost is not as if it had none"
TIMES = "a hold is of the moment in which its run was asked for, and its end of that in which the run ended"
STATE = "a run has the state of its ending, and none before its end"
LOOKED = "a run that is not over or not delivered will be looked at again"


@dataclass(frozen=True)
class Breach:
    """Statements that break a healthy database, and the sentence that must be said of it."""

    name: str
    sentence: str
    sql: Sequence[str]


ENTRY = "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id) VALUES "
AGAIN = (
    "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id) "
    "SELECT run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id FROM ledger_entry"
)
LIFTED = "INSERT INTO rule (server, subject, kind, act_id) VALUES ('discord:2', 'member:discord:6', 'block', 4)"
WAITS = "offer_id = 'offer-waits'"
STATE_OF = "UPDATE offer SET state"
ASKED_TWICE = (
    "INSERT INTO offer (offer_id, kind, origin, server, member, wish, choices, expires_at, over, asked_at) "
    "SELECT 'again', kind, 'again', server, member, wish, choices, expires_at, over, asked_at FROM offer "
    f"WHERE {WAITS}"
)
TWICE = (
    "INSERT INTO offer (offer_id, kind, origin, server, member, wish, choices, expires_at, over, state, run_id) "
    "SELECT 'again', kind, 'again', server, member, wish, choices, expires_at, over, state, run_id FROM offer "
    "WHERE run_id = 'run-agreed'"
)
BREACHES = [
    Breach("held too much", BALANCE, ["UPDATE budget SET held_u = held_u + 1 WHERE scope = 'total'"]),
    Breach("spent too little", BALANCE, ["UPDATE budget SET spent_u = spent_u - 1 WHERE scope LIKE 'member:%'"]),
    Breach("an excess without its entry", BALANCE, ["UPDATE budget SET spent_u = spent_u + 1 WHERE scope = 'total'"]),
    Breach("a leaked hold", BALANCE, ["UPDATE budget SET held_u = held_u + 1000000"]),
    Breach("a level is lost", BALANCE, ["DELETE FROM budget WHERE scope = 'total'"]),
    Breach("an entry is lost", BALANCE, ["DELETE FROM ledger_entry WHERE kind = 'adjust' AND scope = 'total'"]),
    Breach("a grant is lost", GIVEN, ["DELETE FROM ledger_entry WHERE kind = 'grant'"]),
    Breach("a refund is lost", GIVEN, ["DELETE FROM ledger_entry WHERE kind = 'refund'"]),
    Breach("a grant is booked twice", GIVEN, [f"{AGAIN} WHERE kind = 'grant'"]),
    Breach("a grant is more than its act says", GIVEN, ["UPDATE ledger_entry SET amount_u = 9 WHERE kind = 'grant'"]),
    Breach(
        "a refund is less than its act says",
        GIVEN,
        ["UPDATE ledger_entry SET amount_u = 4 WHERE kind = 'refund' AND run_id = 'run-below'"],
    ),
    Breach("an act does not say what it gave", GIVEN, ["UPDATE act SET amount_u = NULL WHERE verb = 'grant'"]),
    Breach("an act that gave nothing says that it did", GIVEN, ["UPDATE act SET amount_u = 5 WHERE verb = 'set'"]),
    Breach(
        "a grant on an act that gave nothing",
        GIVEN,
        ["UPDATE ledger_entry SET act_id = (SELECT act_id FROM act WHERE verb = 'set') WHERE kind = 'grant'"],
    ),
    Breach(
        "a grant on the act of another's",
        GIVEN,
        ["UPDATE act SET subject = 'member:discord:9' WHERE verb = 'grant'"],
    ),
    Breach(
        "a grant on an approval",
        GIVEN,
        [
            "UPDATE act SET amount_u = 9 WHERE verb = 'request approved'",
            f"{ENTRY} (NULL, 'member:discord:1', '2026-11', 'grant', 9, 5.0, 'ada', '', "
            "(SELECT act_id FROM act WHERE verb = 'request approved'))",
        ],
    ),
    Breach("a refund on the act of another run's", GIVEN, ["UPDATE act SET subject = 'run:x' WHERE verb = 'refund'"]),
    Breach("an entry is changed", BALANCE, ["UPDATE ledger_entry SET amount_u = 1 WHERE kind = 'post'"]),
    Breach(
        "an entry in another period",
        BALANCE,
        ["UPDATE ledger_entry SET period_key = '2026-12' WHERE run_id = 'run-open' AND scope = 'total'"],
    ),
    Breach("no end of an ended run", ENDS, ["DELETE FROM ledger_entry WHERE run_id = 'run-even' AND kind = 'post'"]),
    Breach(
        "no end on one level",
        ENDS,
        ["DELETE FROM ledger_entry WHERE run_id = 'run-even' AND kind = 'post' AND period_key = '2026-11-01'"],
    ),
    Breach("two posts", ENDS, [f"{ENTRY} ('run-even', 'total', '2026-11', 'post', 0, 9.0, 'bot', '', NULL)"]),
    Breach("a post and a void", ENDS, [f"{ENTRY} ('run-even', 'total', '2026-11', 'void', 5, 9.0, 'bot', '', NULL)"]),
    Breach("an end of an open run", ENDS, [f"{ENTRY} ('run-open', 'total', '2026-11', 'void', 5, 9.0, '', '', NULL)"]),
    Breach(
        "an end of an unknown run",
        ENDS,
        [f"{ENTRY} ('run-unknown', 'total', '2026-11', 'post', 5, 9.0, 'bot', '', NULL)"],
    ),
    Breach("a run without a hold", PAIRS, ["DELETE FROM ledger_entry WHERE run_id = 'run-open'"]),
    Breach(
        "a run without a hold on its member",
        PAIRS,
        ["DELETE FROM ledger_entry WHERE run_id = 'run-open' AND scope LIKE 'member:%'"],
    ),
    Breach("a hold below the price", PAIRS, ["UPDATE run SET price_u = price_u + 1 WHERE run_id = 'run-open'"]),
    Breach(
        "a level holds less",
        PAIRS,
        ["UPDATE ledger_entry SET amount_u = amount_u - 1 WHERE kind = 'hold' AND scope = 'total'"],
    ),
    Breach("held twice", PAIRS, [f"{ENTRY} ('run-open', 'total', '2026-11', 'hold', {PRICE_U}, 9.0, 'bot', '', NULL)"]),
    Breach("entries without a run", PAIRS, ["DELETE FROM run WHERE run_id = 'run-void'"]),
    Breach("a refund of nothing", PAIRS, ["UPDATE ledger_entry SET run_id = NULL WHERE kind = 'refund'"]),
    Breach("a grant to a run", PAIRS, ["UPDATE ledger_entry SET run_id = 'run-even' WHERE kind = 'grant'"]),
    Breach(
        "given back without a hold",
        HELD,
        ["DELETE FROM ledger_entry WHERE run_id = 'run-void' AND kind = 'hold' AND scope = 'total'"],
    ),
    Breach(
        "adjusted in another period",
        HELD,
        ["UPDATE ledger_entry SET period_key = '2026-12' WHERE kind = 'adjust' AND scope = 'total'"],
    ),
    Breach(
        "a post above its hold",
        POSTS,
        ["UPDATE ledger_entry SET amount_u = amount_u + 1 WHERE run_id = 'run-even' AND kind = 'post'"],
    ),
    Breach("a post below zero", POSTS, ["UPDATE ledger_entry SET amount_u = -1 WHERE kind = 'post'"]),
    Breach("a void of a part", POSTS, ["UPDATE ledger_entry SET amount_u = amount_u - 1 WHERE kind = 'void'"]),
    Breach(
        "one level was charged more",
        STORY,
        ["UPDATE ledger_entry SET amount_u = 4 WHERE amount_u = 5 AND scope = 'total'"],
    ),
    Breach(
        "one level was posted and the others given back",
        STORY,
        ["UPDATE ledger_entry SET kind = 'post' WHERE run_id = 'run-void' AND kind = 'void' AND scope = 'total'"],
    ),
    Breach(
        "one level lacks an adjust",
        STORY,
        ["DELETE FROM ledger_entry WHERE run_id = 'run-above' AND kind = 'adjust' AND period_key = '2026-11-01'"],
    ),
    Breach(
        "one level has an adjust of nothing more",
        STORY,
        [f"{ENTRY} ('run-above', 'total', '2026-11', 'adjust', 0, 9.0, 'bot', '', NULL)"],
    ),
    *(
        Breach(
            f"{scope} lacks a run",
            SCOPES,
            [f"DELETE FROM ledger_entry WHERE run_id = 'run-even' AND scope = '{scope}' AND period_key = '{key}'"],
        )
        for scope, key in [*((level.scope, "2026-11") for level in LEVELS), ("server:discord:2", "2026-11-01")]
    ),
    *(
        Breach(
            f"{scope} has a stranger's run",
            SCOPES,
            [f"{ENTRY} ('run-elsewhere', '{scope}', '2026-11', 'hold', {PRICE_U}, 0.0, 'bot', '', NULL)"],
        )
        for scope in ("server:discord:2", "channel:discord:3", "role:discord:4", "member:discord:1")
    ),
    Breach(
        "a period was opened without its runs",
        SCOPES,
        ["INSERT INTO budget (scope, period_key, starts_at, resets_at) VALUES ('total', '2026-11-01', 0.0, 10.0)"],
    ),
    Breach(
        "a period lacks the run of its first moment",
        SCOPES,
        [
            "INSERT INTO budget (scope, period_key, starts_at, resets_at) VALUES ('total', '2026-11-01', 5.0, 9.0)",
            "UPDATE run SET created_at = 5.0 WHERE run_id = 'run-even'",
        ],
    ),
    Breach(
        "a level has a run of another time",
        SCOPES,
        ["UPDATE budget SET starts_at = 2.5 WHERE scope = 'total' AND period_key = '2026-11'"],
    ),
    Breach("a role is not listed", ROLES, ["DELETE FROM run_role WHERE run_id = 'run-late'"]),
    Breach(
        "a role is listed that nobody had",
        ROLES,
        ["INSERT INTO run_role SELECT 'discord:5', created_at, run_id FROM run WHERE run_id = 'run-even'"],
    ),
    Breach("a role is listed at another time", ROLES, ["UPDATE run_role SET created_at = 1 WHERE run_id = 'run-late'"]),
    Breach("a run forgets its roles", ROLES, ["UPDATE run SET roles = '[]' WHERE run_id = 'run-even'"]),
    Breach("a grant of nothing", ACTS, ["UPDATE ledger_entry SET amount_u = 0 WHERE kind = 'grant'"]),
    Breach("a refund below zero", ACTS, ["UPDATE ledger_entry SET amount_u = -1 WHERE kind = 'refund'"]),
    Breach("a grant that nobody made", ACTS, ["UPDATE ledger_entry SET act_id = NULL WHERE kind = 'grant'"]),
    Breach("a refund whose act is lost", ACTS, ["UPDATE ledger_entry SET act_id = 99 WHERE kind = 'refund'"]),
    Breach("a grant by somebody else", ACTS, ["UPDATE ledger_entry SET actor = 'bot' WHERE kind = 'grant'"]),
    Breach(
        "a grant by nobody",
        ACTS,
        [
            "UPDATE ledger_entry SET actor = '' WHERE kind = 'grant'",
            "UPDATE act SET actor = '' WHERE verb IN ('grant', 'request approved')",
        ],
    ),
    Breach("a rule whose act is lost", ACTS, ["UPDATE rule SET act_id = 99"]),
    Breach("a rule of nobody", ACTS, ["UPDATE act SET actor = '' WHERE act_id IN (SELECT act_id FROM rule)"]),
    Breach("a rule is raised by nobody", RULES, ["UPDATE rule SET limit_u = 2 WHERE kind = 'limit'"]),
    Breach("a rule counts another period", RULES, ["UPDATE rule SET period = 'day' WHERE kind = 'limit'"]),
    Breach("a rule lets more at a time", RULES, ["UPDATE rule SET in_flight = 9 WHERE kind = 'limit'"]),
    Breach("a rule is lifted by nobody", RULES, ["DELETE FROM rule WHERE kind = 'limit'"]),
    Breach(
        "a rule is put on somebody else", RULES, ["UPDATE rule SET subject = 'role:discord:5' WHERE kind = 'limit'"]
    ),
    Breach("a rule is put in another server", RULES, ["UPDATE rule SET server = 'discord:8' WHERE kind = 'block'"]),
    Breach("a rule is said to be of an older act", RULES, ["UPDATE rule SET act_id = 1 WHERE kind = 'limit'"]),
    Breach("a lifted rule is back", RULES, [LIFTED]),
    Breach("a rule that no act made", RULES, [LIFTED.replace("'member:discord:6'", "'member:discord:7'")]),
    Breach("a change of a rule is lost", RULES, ["DELETE FROM rule_change WHERE act_id = 2"]),
    Breach(
        "a refund to somebody else",
        REFUNDS,
        ["UPDATE ledger_entry SET scope = 'member:discord:9' WHERE kind = 'refund'"],
    ),
    Breach("a refund of the server's", REFUNDS, ["UPDATE ledger_entry SET scope = 'total' WHERE kind = 'refund'"]),
    Breach("a refund before the end", REFUNDS, ["UPDATE run SET state = 'running' WHERE run_id = 'run-even'"]),
    Breach("a refund of an open run", REFUNDS, ["UPDATE ledger_entry SET run_id = 'run-open' WHERE kind = 'refund'"]),
    Breach(
        "a second refund",
        REFUNDS,
        [f"{ENTRY} ('run-even', 'member:discord:1', '2026-11', 'refund', 1, 9.0, 'ada', '', 1)"],
    ),
    Breach(
        "a refund above the charge",
        REFUNDS,
        ["UPDATE ledger_entry SET amount_u = 6 WHERE run_id = 'run-below' AND kind = 'refund'"],
    ),
    Breach(
        "a refund of what another period counts",
        REFUNDS,
        [
            "UPDATE ledger_entry SET period_key = '2026-10', entry_id = -entry_id WHERE run_id = 'run-below' "
            "AND scope = 'member:discord:1' AND kind = 'post'",
        ],
    ),
    Breach(
        "a refund before the charge",
        REFUNDS,
        ["UPDATE ledger_entry SET entry_id = -1 WHERE run_id = 'run-even' AND kind = 'refund'"],
    ),
    Breach(
        "more is given back than was charged in the end",
        BACK,
        ["DELETE FROM ledger_entry WHERE run_id = 'run-cheaper' AND kind = 'refund' AND amount_u < 0"],
    ),
    Breach(
        "more is taken back than was given",
        BACK,
        ["UPDATE ledger_entry SET amount_u = amount_u - 8 WHERE kind = 'refund' AND amount_u < 0"],
    ),
    Breach(
        "a period has no end in sight",
        SCOPES,
        ["UPDATE budget SET resets_at = 9e9 WHERE scope = 'total'"],
    ),
    Breach("an offer's run is lost", OFFERS, ["DELETE FROM run WHERE run_id = 'run-agreed'"]),
    Breach("a taken offer made no run", OFFERS, ["UPDATE offer SET run_id = NULL WHERE state = 'taken'"]),
    Breach("a denied offer made a run", OFFERS, ["UPDATE offer SET state = 'denied' WHERE state = 'taken'"]),
    Breach("an offer's run is another's", OFFERS, ["UPDATE offer SET run_id = 'run-even' WHERE state = 'taken'"]),
    Breach("one run of two offers", OFFERS, [TWICE]),
    *(
        Breach(f"another {name} than offered", OFFERS, [f"UPDATE run SET {name} = 'x' WHERE run_id = 'run-agreed'"])
        for name in ("origin", "member", "server", "channel", "budget_channel")
    ),
    Breach("another price than offered", OFFERS, ["UPDATE run SET price_u = 2 WHERE run_id = 'run-agreed'"]),
    Breach(
        "the price of another choice",
        OFFERS,
        ["UPDATE run SET price_u = 2000000 WHERE run_id = 'run-agreed'"],
    ),
    Breach(
        "another request than offered",
        OFFERS,
        ["UPDATE run SET request = json_set(request, '$.prompt', 'a cat') WHERE run_id = 'run-agreed'"],
    ),
    Breach(
        "an option that was not asked for",
        OFFERS,
        ["UPDATE run SET request = json_set(request, '$.seed', 7) WHERE run_id = 'run-asked'"],
    ),
    *(
        Breach(f"a question of another {name}", QUESTIONS, [f"UPDATE offer SET {name} = 'discord:8' WHERE {which}"])
        for name in ("member", "server")
        for which in ("offer_id = 'offer-waits'", "offer_id = 'offer-denied'")
    ),
    *(
        Breach(f"a question keeps {name}", QUESTIONS, [f"UPDATE offer SET {sql} WHERE offer_id = 'offer-waits'"])
        for name, sql in {
            "where to reply": "wish = json_set(wish, '$.reply_to', 'a secret')",
            "another wish": "wish = json_set(wish, '$.request.seed', 9)",
            "another choice": "choices = json_set(choices, '$[0].request.prompt', 'a cat')",
            "no choice": "choices = '[]'",
            "a price of nothing": "choices = json_set(choices, '$[0].price_u', 0)",
            "a price that is no number": "choices = json_set(choices, '$[0].price_u', '3.20')",
        }.items()
    ),
    Breach("a question is answered before it is asked", QUESTIONS, [f"{STATE_OF} = 'denied' WHERE {WAITS}"]),
    Breach(
        "a request is taken by nobody", QUESTIONS, ["UPDATE offer SET act_id = NULL WHERE offer_id = 'offer-asked'"]
    ),
    Breach("a request is denied by nobody", QUESTIONS, ["UPDATE offer SET act_id = NULL WHERE state = 'denied'"]),
    Breach("an open request has an answer", QUESTIONS, [f"UPDATE offer SET act_id = 1 WHERE {WAITS}"]),
    Breach("a member's own yes has an admin's act", QUESTIONS, ["UPDATE offer SET act_id = 1 WHERE kind = 'confirm'"]),
    Breach("a member's own question is denied", QUESTIONS, [f"{STATE_OF} = 'denied' WHERE kind = 'confirm'"]),
    Breach("a member's own question is replaced", QUESTIONS, [f"{STATE_OF} = 'replaced' WHERE kind = 'confirm'"]),
    Breach("two open requests of a member", QUESTIONS, [ASKED_TWICE]),
    Breach("a denied request is gone", QUESTIONS, ["DELETE FROM offer WHERE state = 'denied'"]),
    Breach("a denied request is open again", QUESTIONS, [f"{STATE_OF} = 'open', act_id = NULL WHERE state = 'denied'"]),
    Breach(
        "an approved request is open again",
        QUESTIONS,
        [f"{STATE_OF} = 'open', act_id = NULL, run_id = NULL WHERE offer_id = 'offer-asked'"],
    ),
    Breach(
        "a request is answered by another's act",
        QUESTIONS,
        ["UPDATE act SET member = 'discord:9' WHERE verb LIKE 'request%'"],
    ),
    Breach("a cost is taken away", COST, ["UPDATE run SET cost_u = NULL WHERE run_id = 'run-above'"]),
    Breach(
        "a cost as large as the price is taken away", COST, ["UPDATE run SET cost_u = NULL WHERE run_id = 'run-even'"]
    ),
    Breach("a cost of a free run is taken away", COST, ["UPDATE run SET cost_u = NULL WHERE run_id = 'run-free'"]),
    Breach("a cost named later is taken away", COST, ["UPDATE run SET cost_u = NULL WHERE run_id = 'run-dearer'"]),
    Breach("a hold of another time", TIMES, ["UPDATE ledger_entry SET at = 2.0 WHERE run_id = 'run-open'"]),
    Breach("a run asked for at another time", TIMES, ["UPDATE run SET created_at = 0.5 WHERE run_id = 'run-open'"]),
    Breach(
        "a post of another time", TIMES, ["UPDATE ledger_entry SET at = 9.0 WHERE kind = 'post' AND scope = 'total'"]
    ),
    Breach("a void of another time", TIMES, ["UPDATE ledger_entry SET at = 2.5 WHERE kind = 'void'"]),
    Breach("a run that ended at another time", TIMES, ["UPDATE run SET ended_at = 4.0 WHERE run_id = 'run-even'"]),
    Breach("a state of another time", TIMES, ["UPDATE run SET state_at = 2.0 WHERE run_id = 'run-even'"]),
    *(
        Breach(f"{name} is {sql}", STATE, [f"UPDATE run SET {sql} WHERE run_id = 'run-{name}'"])
        for name, sql in (
            ("even", "state = 'failed'"),
            ("even", "ending = 'failed'"),
            ("below", "state = 'cancelled'"),
            ("void", "state = 'succeeded'"),
            ("dearer", "ending = 'video'"),
            ("open", "ending = 'nsfw'"),
            ("even", "ending = NULL"),
            ("even", "ending = 'lost'"),
        )
    ),
    Breach("another cost", COST, ["UPDATE run SET cost_u = cost_u + 1 WHERE run_id = 'run-even'"]),
    Breach("a free video", COST, ["UPDATE run SET cost_u = 0 WHERE run_id = 'run-guessed'"]),
    Breach("a forgotten run", LOOKED, ["UPDATE run SET due_at = NULL WHERE run_id = 'run-open'"]),
    Breach("a forgotten unknown run", LOOKED, ["UPDATE run SET due_at = NULL WHERE run_id = 'run-unknown'"]),
    Breach(
        "a result before the end",
        LOOKED,
        ["UPDATE run SET notice = 'result', delivery = 'delivered' WHERE run_id = 'run-open'"],
    ),
    Breach("a forgotten delivery", LOOKED, ["UPDATE run SET due_at = NULL WHERE run_id = 'run-even'"]),
]


def act(verb: str, member: str = "") -> Act:
    done = Act(
        at=5.0, server="discord:2", actor="ada", actor_name="Ada", verb=verb, subject=MEMBER.scope, member=member
    )
    return replace(done, origin=f"press {uuid4()}")


async def a_run(store: SqliteStore, name: str, levels: Sequence[Level] = LEVELS, **changes: Any) -> Run:
    admitted = await store.admit(new_run(name, now=0.0, **changes), lambda _: list(levels))
    begun = await store.begin_submit(admitted, now=1.0, total_max=99)
    assert begun is not None
    return begun


async def an_unknown_run(store: SqliteStore, name: str) -> Run:
    lost = await store.advance(await a_run(store, name), RunState.AMBIGUOUS, now=2.0, changes=RunChanges())
    assert lost is not None
    unknown = await store.advance(lost, RunState.UNKNOWN, now=3.0, changes=RunChanges())
    assert unknown is not None
    return unknown


async def refund(store: SqliteStore, name: str) -> None:
    await store.refund(f"run-{name}", lambda run: run.charged_u, lambda _: MEMBER, act("refund"))


def offer(name: str, kind: OfferKind, *prices_u: int) -> Offer:
    """A question about the wish, and about shorter videos at the further prices."""
    asked = wish(name)
    choices = [Choice(request=asked.request, price_u=prices_u[0])]
    choices += [Choice(request=replace(asked.request, duration="4s"), price_u=price_u) for price_u in prices_u[1:]]
    return Offer(offer_id=f"offer-{name}", kind=kind, wish=asked, choices=tuple(choices), expires_at=9.0)


async def fill(store: SqliteStore) -> None:
    """Everything that money can go through, on all levels, one of which is opened late."""
    rule = Rule(server="discord:2", subject="role:discord:4", kind=RuleKind.LIMIT, period="month", limit_u=1)
    await put_rule(store, rule, act("set"))
    await put_rule(store, replace(rule, in_flight=2), act("set"))
    blocked = Rule(server="discord:2", subject="member:discord:5", kind=RuleKind.BLOCK)
    await put_rule(store, blocked, act("block"))
    unblocked = replace(blocked, subject="member:discord:6")
    await put_rule(store, unblocked, act("block"))
    await lift_rule(store, unblocked, act("unblock"))
    await an_unknown_run(store, "unknown")
    await a_run(store, "elsewhere", ELSEWHERE, roles=(), **SOMEBODY)
    ends = {
        "even": End(ending=Ending.VIDEO, cost_u=PRICE_U),
        "below": End(ending=Ending.NSFW, cost_u=5),
        "above": End(ending=Ending.VIDEO, cost_u=3 * PRICE_U),
        "free": End(ending=Ending.EMPTY, cost_u=0),
        "void": End(ending=Ending.FAILED),
        "guessed": End(ending=Ending.VIDEO),
        "cheaper": End(ending=Ending.VIDEO),
        "dearer": End(ending=Ending.CANCELLED),
    }
    for name, end in {**ends, "open": None}.items():
        changes = RunChanges(provider_id=f"job-{name}")
        run = await store.advance(await a_run(store, name), RunState.RUNNING, now=2.0, changes=changes)
        assert run is not None
        if end is not None:
            run = await store.settle(run, end, now=3.0)
            assert run is not None
        if name in ("even", "below", "cheaper"):
            await refund(store, name)  # of the cheaper one more than it costs in the end
        if name in ("cheaper", "dearer"):
            await store.correct(run, 7, now=4.0)
    given_up = await an_unknown_run(store, "given-up")
    assert await store.release(given_up, act("release"), End(ending=Ending.FAILED))
    await store.grant("discord:2", lambda _: MEMBER, 2 * PRICE_U, act("grant"))
    await a_run(store, "late", [*LEVELS[:-1], A_DAY_TOO, MEMBER])
    await offers(store)
    await store.close()


async def offers(store: SqliteStore) -> None:
    """One that was agreed to, one that an admin let go over the limit, one denied, one that waits."""
    agreed = offer("agreed", OfferKind.CONFIRM, 2 * PRICE_U, PRICE_U)
    await store.offer(agreed, new_run("agreed", price_u=2 * PRICE_U, now=4.0), lambda _: LEVELS)
    shorter = new_run("agreed", now=4.0, request=agreed.choices[1].request)
    await store.take("offer-agreed", shorter, lambda _: LEVELS, approve=None)
    for name in ("asked", "denied", "waits"):
        await store.keep(offer(name, OfferKind.REQUEST, 40 * PRICE_U), now=4.0)
    dear = new_run("asked", price_u=40 * PRICE_U, now=5.0)
    await store.take("offer-asked", dear, lambda _: LEVELS, approve=lambda _: act("request approved"))
    await store.deny("offer-denied", act("request denied"))
    await store.ask("offer-waits", now=8.0, pause_s=1.0)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "veo.db"
    loop = asyncio.new_event_loop()
    loop.run_until_complete(fill(open_store(f"sqlite:///{path}")))
    loop.close()
    return path


@pytest.fixture
def healthy(filled: Path, tmp_path: Path) -> Path:
    """A database of the test's own with all those runs in it."""
    return Path(shutil.copy(filled, tmp_path / "healthy.db"))


def broken(path: Path, statements: Sequence[str]) -> str:
    """The address of a copy of a database that something got past all its guards."""
    copy = path.with_name("broken.db")
    shutil.copy(path, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        guards = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE type = 'trigger' OR sql LIKE 'CREATE UNIQUE INDEX one_%'"
        ).fetchall()
        for kind, name, _ in guards:
            connection.execute(f"DROP {kind} {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
        for _, _, sql in guards:
            with suppress(sqlite3.IntegrityError):  # what is there twice
                connection.execute(sql)
    return f"sqlite:///{copy}"


def altered(path: Path, *statements: str) -> str:
    """The address of a copy of a database whose file was changed in these ways."""
    copy = path.with_name("altered.db")
    shutil.copy(path, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{copy}"


def emptied(path: Path, name: str) -> str:
    """The address of a copy of a database one index of which is as it should be, and empty."""
    copy = path.with_name("emptied.db")
    shutil.copy(path, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [name]).fetchone()
        connection.execute(f"DROP INDEX {name}")
        never = "0" if " WHERE " not in sql else f"0 AND {sql.split(' WHERE ')[1]}"
        connection.execute(f"{sql.split(' WHERE ')[0]} WHERE {never}")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", [sql, name])
    return f"sqlite:///{copy}"


def test_healthy_books_balance(healthy: Path) -> None:
    """Runs in every position, extras, a release, offers: there is nothing to say, and the file is only read."""
    before = healthy.read_bytes()
    assert check_books(f"sqlite:///{healthy}") == []
    assert check_books(broken(healthy, [])) == []
    assert healthy.read_bytes() == before


def test_a_row_that_cannot_be_read_has_no_roles_to_compare(healthy: Path) -> None:
    """What a newer program, or nobody, wrote there breaks no sentence; its holds are proven all the same."""
    for roles in ("7", '[{"id": "1"}]', '["discord:4", 7]'):
        assert check_books(broken(healthy, [f"UPDATE run SET roles = '{roles}' WHERE run_id = 'run-even'"])) == []


def test_it_says_how_much_it_proved(healthy: Path) -> None:
    """The rows that were looked at, and the money, as everybody can count it."""
    proof = prove(f"sqlite:///{healthy}")
    with closing(sqlite3.connect(healthy)) as connection:
        rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in proof.counts}
    assert set(proof.counts) == {"run", "ledger_entry", "budget", "act", "rule", "offer"}
    assert proof.counts == rows
    assert (proof.breaches, proof.invariants) == ([], len(INVARIANTS))
    charged_u = PRICE_U + 5 + 3 * PRICE_U + 0 + PRICE_U + 7 + 7
    held_u = PRICE_U * 5 + 40 * PRICE_U
    assert (proof.charged_u, proof.held_u) == (charged_u, held_u)


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        *((name, f"DROP INDEX {name}") for name in ("run_due", "one_hold", "one_period", "act_of_server")),
        *((name, f"DROP TRIGGER {name}") for name in ("ledger_only_grows", "acts_are_kept", "rule_changes_are_kept")),
        ("installation", "DROP TABLE installation"),
    ],
)
def test_what_the_file_lacks_is_found(healthy: Path, name: str, statement: str) -> None:
    """A guard or an index that is not there guards and finds nothing, whatever the rows say."""
    assert f"{MADE}: {name} is missing" in check_books(altered(healthy, statement))


def test_what_cannot_be_proven_is_not_said_to_hold(healthy: Path) -> None:
    """Where rows cannot be read at all, that is said, and nothing of them."""
    proof = prove(altered(healthy, "DROP VIEW run_view"))
    assert proof.breaches == [
        f"{MADE}: run_view is missing",
        "its rows cannot be proven: no such table: run_view",
    ]
    assert (proof.invariants, proof.counts) == (0, {})


@pytest.mark.parametrize(
    ("name", "statements"),
    [
        ("run_due", ["DROP INDEX run_due", "CREATE INDEX run_due ON run (due_at) WHERE due_at IS NULL"]),
        ("one_hold", ["DROP INDEX one_hold", "CREATE INDEX one_hold ON ledger_entry (run_id)"]),
        (
            "acts_are_kept",
            ["DROP TRIGGER acts_are_kept", "CREATE TRIGGER acts_are_kept BEFORE DELETE ON act BEGIN SELECT 1; END"],
        ),
        ("rule", ["ALTER TABLE rule ADD COLUMN colour TEXT"]),
    ],
)
def test_what_the_file_has_otherwise_is_found(healthy: Path, name: str, statements: Sequence[str]) -> None:
    """A guard by its name alone is none."""
    assert check_books(altered(healthy, *statements)) == [f"{MADE}: {name} is another"]


def test_what_acts_on_our_rows_and_is_not_ours_is_found(healthy: Path) -> None:
    """A trigger could change what the books say; another table is its owner's affair."""
    added = "CREATE TRIGGER gift AFTER INSERT ON run BEGIN UPDATE budget SET spent_u = 0; END"
    assert check_books(altered(healthy, added)) == [f"{MADE}: gift is unknown"]
    assert check_books(altered(healthy, "CREATE TABLE notes (text TEXT)")) == []


@pytest.mark.parametrize("name", ["run_due", "entry_of_run", "budget_current"])
def test_an_emptied_index_is_found(healthy: Path, name: str) -> None:
    """Through an index that lost its rows nothing comes due and nothing is counted, though all of it is there."""
    found = check_books(emptied(healthy, name))
    assert any(line.startswith(f"{WHOLE}: ") and line.endswith(f"missing from index {name}") for line in found), found


def test_a_damaged_page_is_found(healthy: Path) -> None:
    """A page that cannot be read is said, and not that every invariant holds."""
    copy = altered(healthy)
    file = Path(copy.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry_of_run'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as damaged:
        damaged.seek((page - 1) * size + size - 40)
        damaged.write(b"\xff" * 40)
    with refuses(DatabaseError, "malformed"):
        check_books(copy)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rule SET act_id = 99",
        "UPDATE offer SET act_id = 99 WHERE kind = 'request'",
        "DELETE FROM budget WHERE scope = 'total'",
        "DELETE FROM run WHERE run_id = 'run-agreed'",
    ],
)
def test_what_points_nowhere_is_found(healthy: Path, statement: str) -> None:
    """What a row names by its key is there."""
    found = check_books(altered(healthy, statement))
    assert any(line.startswith(f"{POINTS}: {{") for line in found), found


def test_a_period_ends_before_the_moment_of_its_reset(healthy: Path) -> None:
    """Whoever asks at that moment belongs to the next one."""
    before = "INSERT INTO budget (scope, period_key, starts_at, resets_at) VALUES ('total', '2026-10', -9.0, 0.0)"
    assert check_books(broken(healthy, [before])) == []


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.name)
def test_every_breach_is_found(healthy: Path, breach: Breach) -> None:
    """Each way to break the books is reported under its sentence, with the row that breaks it."""
    found = check_books(broken(healthy, breach.sql))
    assert any(line.startswith(f"{breach.sentence}: {{") for line in found), found


def test_healthy_books_are_proven_quickly(healthy: Path) -> None:
    """In few passes, which come to the same sums as a look at each run."""
    with closing(sqlite3.connect(healthy)) as connection:
        sums = quick_proof(connection, lambda part: None)
    assert sums is not None
    proof = prove(f"sqlite:///{healthy}")
    assert (sums.held_u, sums.charged_u) == (proof.held_u, proof.charged_u)


def test_an_entry_points_to_an_act_that_is_there(healthy: Path) -> None:
    """Also the end of a hold that has an act of its own."""
    entry = "WHERE run_id = 'run-even' AND scope = 'total' AND kind"
    acts = [
        f"UPDATE ledger_entry SET act_id = {act_id} {entry} = '{kind}'" for act_id, kind in ((1, "hold"), (99, "post"))
    ]
    assert any(line.startswith(f"{POINTS}: ") for line in check_books(broken(healthy, acts)))


def test_nothing_that_breaks_a_sentence_passes_the_quick_proof(healthy: Path) -> None:
    """Whichever cell of a run, an entry, a level or a role says something else: one above it, or what another row says.

    What the schema itself refuses, or a row that points nowhere, is found before.
    """
    chance, broken_ones, passed = random.Random(7), 0, 0
    with closing(sqlite3.connect(altered(healthy).removeprefix("sqlite:///"), isolation_level=None)) as connection:
        for name in ("ledger_only_grows", "ledger_keeps_all"):
            connection.execute(f"DROP TRIGGER {name}")
        for table, column in cells(connection):
            for _ in range(8):
                connection.execute("BEGIN")
                with suppress(sqlite3.IntegrityError):
                    alter(connection, table, column, chance)
                    told = [*LEDGER.values(), "PRAGMA foreign_key_check"]
                    breaks = any(connection.execute(query).fetchone() for query in told)
                    sums = quick_proof(connection, lambda part: None)
                    assert not breaks or sums is None, f"{table}.{column}"
                    broken_ones, passed = broken_ones + breaks, passed + (sums is not None)
                connection.execute("ROLLBACK")
    assert broken_ones > 100
    assert passed > 100


def cells(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every column of the tables that the ledger is proven by."""
    tables = ("run", "ledger_entry", "budget", "run_role")
    return [(name, row[1]) for name in tables for row in connection.execute(f"PRAGMA table_info({name})").fetchall()]


def alter(connection: sqlite3.Connection, table: str, column: str, chance: random.Random) -> None:
    """Let one row say something else there, or be gone."""
    keys = ", ".join({"run_role": ["role", "run_id"]}.get(table, ["rowid"]))
    rows = connection.execute(f"SELECT {keys}, {column} FROM {table} ORDER BY 1, 2").fetchall()
    (*key, old), (*_, other) = chance.choice(rows), chance.choice(rows)
    here = " AND ".join(f"{name} = ?" for name in keys.split(", "))
    if chance.random() < 0.1:
        connection.execute(f"DELETE FROM {table} WHERE {here}", key)
        return
    new = chance.choice([other, None, old + 1 if isinstance(old, int | float) else f"{old}1", 0, ""])
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {here}", [new, *key])


def test_a_watcher_is_told_what_is_looked_at(healthy: Path) -> None:
    """The file, then every part of the rows, each at least once."""
    parts: list[str] = []
    prove(f"sqlite:///{healthy}", parts.append)
    assert parts[:2] == ["the file", "every hold and its end"]
    assert "every role" in parts
    parts.clear()
    prove(broken(healthy, ["UPDATE budget SET held_u = held_u + 1 WHERE scope = 'total'"]), parts.append)
    assert set(parts) >= set(INVARIANTS)


def test_a_stop_in_the_middle_of_a_part_is_obeyed(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement over the whole ledger is not waited for."""
    monkeypatch.setattr("storage.audit.STEPS", 100)
    told: list[str] = []

    def stop(part: str) -> None:
        told.append(part)
        if told.count("every hold and its end") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(f"sqlite:///{healthy}", stop)
    assert told[-1] == "every hold and its end"


def test_no_invariant_goes_unproven() -> None:
    """Every sentence of the audit has a breach above that it must find."""
    assert {breach.sentence for breach in BREACHES} == set(INVARIANTS)


def test_a_line_names_the_row(healthy: Path) -> None:
    """A line carries what is stored and what the entries say, so that the row can be found."""
    (line,) = check_books(broken(healthy, ["UPDATE budget SET held_u = held_u + 1 WHERE scope = 'member:discord:9'"]))
    assert '"scope": "member:discord:9"' in line
    assert f'"held_u": {PRICE_U + 1}' in line
    assert f'"held_by_entries": {PRICE_U}' in line


@pytest.mark.parametrize("kind", ["day", "week", "month"])
async def test_another_time_zone_breaks_no_books(kind: PeriodKind, tmp_path: Path) -> None:
    """Levels whose periods begin and end at other times from now on keep their runs, and get those that they lack."""
    at = datetime(2026, 10, 31, 15, tzinfo=UTC).timestamp()  # a Saturday
    url = f"sqlite:///{tmp_path}/veo.db"
    for turn, name in enumerate(["UTC", "Pacific/Auckland", "America/Los_Angeles", "UTC", "Asia/Tokyo"] * 4):
        policy = Policy(
            member_limit_u=100 * PRICE_U,
            server_ceiling_u=None,
            total_ceiling_u=None,
            period=kind,
            zone=ZoneInfo(name),
            runs_per_member=99,
        )
        store = open_store(url)
        new = new_run(f"{turn}", now=at + turn * 4 * 3600.0)
        await store.admit(new, policy.levels(new.wish.spender, new.now))
        if turn % 3 == 0:
            await store.grant("discord:2", partial(policy.member_level, new.wish.spender, now=new.now), 1, act("grant"))
        await store.close()
        assert check_books(url) == []


async def test_the_audit_works_beside_a_writer(healthy: Path) -> None:
    """An open writer is not disturbed, its commits are seen, and what it has not committed yet is not."""
    url = f"sqlite:///{healthy}"
    store = open_store(url)
    await a_run(store, "new", ELSEWHERE, roles=(), **SOMEBODY)
    assert check_books(url) == []
    store.writer.connection.execute("BEGIN IMMEDIATE")
    store.writer.connection.execute("UPDATE budget SET held_u = held_u + 1 WHERE scope = 'total'")
    assert check_books(url) == []
    store.writer.connection.execute("COMMIT")
    assert len(check_books(url)) == 1
    await a_run(store, "newer", ELSEWHERE, roles=(), **SOMEBODY)
    await store.close()


async def test_what_a_dead_writer_left_is_read_and_stays(healthy: Path, tmp_path: Path) -> None:
    """After a kill the commits that stand in the log alone are audited too, and neither file is touched."""
    store, left = open_store(f"sqlite:///{healthy}"), tmp_path / "left"
    await a_run(store, "new", ELSEWHERE, roles=(), **SOMEBODY)
    store.writer.connection.execute("UPDATE budget SET held_u = held_u + 1 WHERE scope = 'total'")
    left.mkdir()
    files = {name: Path(shutil.copy(tmp_path / name, left)) for name in ("healthy.db", "healthy.db-wal")}
    await store.close()
    before = {name: path.read_bytes() for name, path in files.items()}
    assert len(check_books(f"sqlite:///{files['healthy.db']}")) == 1
    assert {name: path.read_bytes() for name, path in files.items()} == before


def test_there_is_nothing_to_audit_yet(tmp_path: Path) -> None:
    """Before the first start a sentence says so, and no file is made."""
    with refuses(DatabaseError, "no database at"):
        check_books(f"sqlite:///{tmp_path}/veo.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 99], ids=["empty", "garbage"])
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes) -> None:
    """An unreadable file is no healthy database: a sentence names it, and it stays as it is."""
    path = tmp_path / "veo.db"
    path.write_bytes(content)
    with refuses(DatabaseError, r"veo\.db cannot be read"):
        check_books(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_foreign_books_are_not_audited(tmp_path: Path) -> None:
    """Another program's database is not read as ours."""
    path = tmp_path / "veo.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE guestbook (name TEXT)")
    with refuses(DatabaseError, "another program"):
        check_books(f"sqlite:///{path}")


def test_books_of_an_older_version_wait_for_its_first_start(tmp_path: Path) -> None:
    """What the bot will bring up to date is not judged by rules that it does not know yet."""
    path = tmp_path / "veo.db"
    with closing(sqlite3.connect(path)) as connection:
        migrations.steps().apply(Database(connection), stop_before="step_2_levels_rules_and_acts")
    with refuses(DatabaseError, r"as an older version left it; start the bot once"):
        check_books(f"sqlite:///{path}")
