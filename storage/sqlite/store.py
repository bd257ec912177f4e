"""SQLite as the store: one process, one connection, one thread; each verb is one transaction.

Every transaction takes the write lock first (`BEGIN IMMEDIATE`) and is durable when it is answered
(`synchronous=FULL`); see `storage.sqlite.writer`. What a transaction decides, it decides by SQL that would hold under
PostgreSQL too: conditional updates, unique indexes, checks. The ports with their promises are `bot.ports.Store`; the
money itself moves in `storage.verbs.books`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any

from sqlite_utils import Database

from bot.domain.limits import EVERYWHERE, Level, Plan, Rule, RuleKind, Rules, Spender, Standing
from bot.domain.records import (
    Act,
    Approve,
    Change,
    Choice,
    End,
    Figures,
    NewRun,
    Offer,
    OfferKind,
    OfferState,
    RunChanges,
    Wish,
)
from bot.domain.runs import (
    COST_CHECKS_S,
    IN_FLIGHT,
    MOVES,
    STATE_OF_ENDING,
    TERMINAL,
    Delivery,
    Ending,
    Notice,
    Run,
    RunState,
    VeoRequest,
)
from bot.errors import AskLater, OfferGone, require
from bot.log import get_logger
from storage.sqlite.writer import Writer
from storage.verbs import books

log = get_logger("veo.storage")


def names_of(text: str) -> tuple[str, ...]:
    """A stored list of names. Raises ValueError, TypeError where it is none."""
    names = json.loads(text)
    if not all(isinstance(name, str) for name in names):
        raise TypeError("a name is a text")
    return tuple(names)


_CONVERTED: dict[str, Callable[[Any], object]] = {
    "state": RunState,
    "ending": Ending,
    "notice": Notice,
    "delivery": Delivery,
    "overdue": bool,
    "unknown_told": bool,
    "lookup_fresh": bool,
    "direct": bool,
    "plain": bool,
    "in_line": bool,
    "roles": names_of,
    "request": lambda text: VeoRequest.of(json.loads(text)),
}
_RUN_FIELDS = tuple(field.name for field in fields(Run))
_WISH = tuple(field.name for field in fields(Wish))
_GIVEN = (
    *_WISH,
    *("run_id", "price_u", "callback_token", "state", "state_at", "created_at", "due_at"),
    *("member_scope", "member_period"),
)
_NEW_RUN = f"INSERT INTO run ({', '.join(_GIVEN)}) VALUES ({', '.join(f':{name}' for name in _GIVEN)})"
_UNTOUCHED: dict[str, Any] = dict.fromkeys(
    _RUN_FIELDS
) | {  # what a run is at first, beside what is given: the columns' defaults
    **dict.fromkeys(("charged_u", "refunded_u", "tries", "posts", "cost_checks", "delivery_tries", "uploads"), 0),
    "unclear_posts": 0,
    "overdue": False,
    "unknown_told": False,
    "plain": False,
    "in_line": False,
    "direct": False,
    "delivery": Delivery.NONE,
}
_RUN = f"SELECT {', '.join(_RUN_FIELDS)} FROM run_view"
_OPEN = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT | {RunState.RESERVED}))
_ENDED = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
# What was woken is due since for ever; of what is due since a start, what was ordered comes first.
_DUE = "SELECT run_id FROM run WHERE due_at <= :now ORDER BY due_at, state = 'reserved' LIMIT :limit"
_NEXT_IN_LINE = (
    "SELECT run_id FROM run WHERE in_line = 1 ORDER BY created_at, run_id LIMIT max(0, min(:limit, :total_max - "
    f"(SELECT count(*) FROM run WHERE state IN ({_OPEN}) AND in_line = 0 AND parked_at IS NULL AND NOT overdue)))"
)
_PARKED_S = 3600.0  # so long a run whose row cannot be read is left alone
_RULE = "SELECT server, subject, kind, period, limit_u, in_flight FROM rule"
_PUT_RULE = (
    "INSERT INTO rule (server, subject, kind, period, limit_u, in_flight, act_id) "
    "VALUES (:server, :subject, :kind, :period, :limit_u, :in_flight, :act_id) "
    "ON CONFLICT (server, subject, kind) DO UPDATE SET period = excluded.period, "
    "limit_u = excluded.limit_u, in_flight = excluded.in_flight, act_id = excluded.act_id"
)
_CHANGE_RULE = (
    "INSERT INTO rule_change (act_id, server, subject, kind, period, limit_u, in_flight, in_force) "
    "VALUES (:act_id, :server, :subject, :kind, :period, :limit_u, :in_flight, :in_force)"
)
_LIFT_RULE = "DELETE FROM rule WHERE server = :server AND subject = :subject AND kind = :kind"
_ACT = ", ".join(field.name for field in fields(Act))
_OFFER_DAYS_KEPT = 30.0
_ANSWER_KEPT_S = 86400.0


class UnreadableRow(Exception):
    """A run's row holds what this version of the program cannot read."""


def database_path(url: str) -> str:
    """The file named by `sqlite:///relative` or `sqlite:////absolute`."""
    return url.removeprefix("sqlite:///")


def open_store(url: str, *, executor: Executor | None = None) -> SqliteStore:
    """Open the one writer of the database, creating or migrating it.

    `executor` runs the transactions one after the other; by default a thread of the store's own.
    Raises DatabaseError with a sentence where the file cannot be used, and then leaves it untouched.
    """
    return SqliteStore(Writer(database_path(url), executor))


class SqliteStore:
    """`bot.ports.Store` on one SQLite file. Close it with `await close()`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def close(self) -> None:
        await self._writer.close()

    # Before a run: money, rules, questions

    async def admit(self, new: NewRun, plan: Plan) -> Run:
        return await self._writer.write(lambda db: _admit(db, new, plan))

    async def offer(self, offer: Offer, new: NewRun, plan: Plan) -> Offer | Run:
        def job(db: Database) -> Offer | Run:
            if known := _runs(db, "origin = :origin", {"origin": new.wish.origin}):
                return known[0]
            db.execute("SAVEPOINT would_it")  # whoever is asked whether to pay is not refused afterwards
            try:
                _admit(db, new, plan)
            finally:
                db.execute("ROLLBACK TO would_it")
                db.execute("RELEASE would_it")
            return _keep(db, offer)

        return await self._writer.write(job)

    async def keep(self, offer: Offer) -> Offer:
        return await self._writer.write(lambda db: _keep(db, offer))

    async def offer_of(self, offer_id: str) -> Offer | None:
        return await self._writer.read(lambda db: _offer(db, offer_id))

    async def ask(self, offer_id: str, *, now: float, pause_s: float) -> list[Offer]:
        return await self._writer.write(lambda db: _ask(db, offer_id, now, pause_s))

    async def asked(self, offer_id: str, message: str) -> Offer:
        def job(db: Database) -> Offer:
            db.execute("UPDATE offer SET message = :message WHERE offer_id = :id", {"message": message, "id": offer_id})
            return _one_offer(db, offer_id)

        return await self._writer.write(job)

    async def take(self, offer_id: str, new: NewRun, plan: Plan, *, approve: Approve | None) -> Run:
        def job(db: Database) -> Run:
            offer = _offer(db, offer_id)
            if offer is not None and offer.run_id is not None:
                return _get(db, offer.run_id)
            _unanswered(db, offer_id, new.now)
            act_id = None
            if approve is not None:
                levels = plan(_rules_for(db, new.wish.server, new.wish.spender.scopes))
                act_id = _act(db, approve([books.standing(db, level, new.wish.server) for level in levels]))
            run = _admit(db, new, plan, approved=approve is not None)
            db.execute(
                "UPDATE offer SET state = 'taken', run_id = :run, act_id = :act WHERE offer_id = :id",
                {"run": run.run_id, "act": act_id, "id": offer_id},
            )
            return run

        return await self._writer.write(job)

    async def withdraw(self, offer_id: str) -> bool:
        def job(db: Database) -> bool:
            db.execute("DELETE FROM offer WHERE offer_id = ? AND kind = 'confirm' AND state = 'open'", [offer_id])
            return _offer(db, offer_id) is None

        return await self._writer.write(job)

    async def deny(self, offer_id: str, act: Act) -> Offer:
        def job(db: Database) -> Offer:
            if _is_known(db, act):
                return _one_offer(db, offer_id)
            _unanswered(db, offer_id, act.at)
            db.execute(
                "UPDATE offer SET state = 'denied', act_id = :act WHERE offer_id = :id",
                {"act": _act(db, act), "id": offer_id},
            )
            return _one_offer(db, offer_id)

        return await self._writer.write(job)

    async def rules(self, server: str) -> Rules:
        return await self._writer.read(lambda db: _rules(db, server))

    async def decide(self, act: Act, decision: Callable[[Rules], Change]) -> Rules:
        def job(db: Database) -> Rules:
            if _is_known(db, act):
                return _rules(db, act.server)
            change = decision(_rules(db, act.server))
            act_id = _act(db, replace(act, detail=change.detail))
            for sql, rules in ((_PUT_RULE, change.put), (_LIFT_RULE, change.lift)):
                for rule in rules:
                    row = {**asdict(rule), "act_id": act_id, "in_force": int(sql == _PUT_RULE)}
                    db.execute(sql, row)
                    db.execute(_CHANGE_RULE, row)
            return _rules(db, act.server)

        return await self._writer.write(job)

    async def grant(self, server: str, plan: Callable[[Rules], Level], amount_u: int, act: Act) -> Standing:
        def job(db: Database) -> Standing:
            level = plan(_rules(db, server))
            if not _is_known(db, act):
                told = replace(act, verb="grant", subject=level.scope, amount_u=amount_u)
                books.grant(db, level, amount_u, act, _act(db, told))
            return books.standing(db, level, server)

        return await self._writer.write(job)

    async def refund(self, run_id: str, amount: Callable[[Run], int], plan: Callable[[Rules], Level], act: Act) -> Run:
        def job(db: Database) -> Run:
            run = _get(db, run_id)
            if _is_known(db, act):
                return run
            if run.refunded_u:
                raise OfferGone("refund.already")
            level, amount_u = plan(_rules(db, run.server)), amount(run)
            act_id = _act(db, replace(act, verb="refund", subject=f"run:{run_id}", amount_u=amount_u))
            books.grant(db, level, amount_u, act, act_id, refund_of=run_id)
            return _get(db, run_id)

        return await self._writer.write(job)

    async def release(self, run: Run, act: Act, end: End) -> Run | None:
        require(run.releasable, "evidence settles any other run")

        def job(db: Database) -> Run | None:
            current = _get(db, run.run_id)
            if _is_known(db, act):
                return current
            if not current.releasable:  # evidence came first
                return None
            return _settle(db, current, end, act.at, actor=act.actor, act_id=_act(db, act))

        return await self._writer.write(job)

    async def answer_to(self, origin: str) -> str | None:
        def job(db: Database) -> str | None:
            found = db.execute("SELECT said FROM answer WHERE origin = ?", [origin]).fetchone()
            return None if found is None else str(found[0])

        return await self._writer.read(job)

    async def keep_answer(self, origin: str, said: str, *, now: float) -> bool:
        def job(db: Database) -> bool:
            db.execute("DELETE FROM answer WHERE at < ?", [now - _ANSWER_KEPT_S])
            sql = "INSERT INTO answer (origin, at, said) VALUES (?, ?, ?) ON CONFLICT (origin) DO NOTHING"
            return db.execute(sql, [origin, now, said]).rowcount > 0

        return await self._writer.write(job)

    async def acts(self, server: str, limit: int) -> list[Act]:
        latest = "ORDER BY act_id DESC LIMIT :limit"
        sql = f"SELECT {_ACT} FROM act WHERE server = :server {latest}"
        if server == EVERYWHERE:
            here = f"SELECT * FROM (SELECT * FROM act WHERE server = :server {latest})"
            elsewhere = f"SELECT * FROM (SELECT * FROM act WHERE member != '' AND server != :server {latest})"
            sql = f"SELECT {_ACT} FROM ({here} UNION ALL {elsewhere}) {latest}"
        return await self._writer.read(
            lambda db: [Act(**row) for row in db.query(sql, {"server": server, "limit": limit})]
        )

    async def standings(self, who: Spender, plan: Plan) -> list[Standing]:
        return await self._writer.read(
            lambda db: [books.standing(db, level, who.server) for level in plan(_rules_for(db, who.server, who.scopes))]
        )

    async def check(self) -> None:
        # SQLite does not write a value that is there already, so each check has a value of its own.
        sql = (
            "INSERT INTO installation (name, value) VALUES ('checked', randomblob(8)) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        await self._writer.write(lambda db: db.execute(sql))

    # The run's way

    async def claim_due(self, now: float, *, lease_until: float, limit: int, total_max: int) -> list[Run]:
        def job(db: Database) -> list[Run]:
            db.execute("UPDATE run SET reply_to = NULL, reply_until = NULL WHERE reply_until <= :now", {"now": now})
            # However much is due: of those in line there are no more than free places, and each takes one once.
            line = db.execute(_NEXT_IN_LINE, {"limit": limit, "total_max": total_max}).fetchall()
            next_ = [_claim(db, run_id, now, lease_until) for (run_id,) in line]
            due = db.execute(_DUE, {"now": now, "limit": limit - len(line)}).fetchall()
            claimed = [_claim(db, run_id, now, lease_until) for (run_id,) in due] + next_
            return [run for run in claimed if run is not None]

        return await self._writer.write(job)

    async def next_due(self) -> float | None:
        sql = (
            "SELECT min(due) AS due FROM (SELECT min(due_at) AS due FROM run WHERE due_at IS NOT NULL "
            "UNION ALL SELECT min(reply_until) FROM run WHERE reply_until IS NOT NULL) AS nearest"
        )
        due: float | None = await self._writer.read(lambda db: _one(db, sql, {})["due"])
        return due

    async def recover(self, now: float, *, deadline_s: float) -> int:
        def job(db: Database) -> int:
            # A cost is asked for when it is due, unless the clock was set and that is out of sight.
            ended = f"state IN ({_ENDED}) AND delivery NOT IN ('pending', 'sending') AND due_at <= :far"
            soonest = "CASE in_line WHEN 1 THEN :given_up ELSE :now END"
            sql = f"UPDATE run SET due_at = {soonest} WHERE due_at > {soonest} AND due_at > :now AND NOT ({ended})"
            db.execute(sql, {"now": now, "far": now + COST_CHECKS_S[-1], "given_up": now + deadline_s})
            return int(_one(db, "SELECT count(*) AS n FROM run WHERE due_at IS NOT NULL", {})["n"])

        return await self._writer.write(job)

    async def forget_first_tries(self, before: float) -> None:
        doubtful = "due_at IS NOT NULL AND delivery = 'sending'"  # the first is what has an index
        sql = f"UPDATE run SET first_try_at = :before WHERE {doubtful} AND first_try_at > :before"
        await self._writer.write(lambda db: db.execute(sql, {"before": before}))

    async def wake(self, callback_token: str, candidate_id: str | None) -> str | None:
        def job(db: Database) -> str | None:
            rows = list(
                db.query(
                    "UPDATE run SET due_at = CASE WHEN due_at IS NOT NULL THEN 0.0 END, "
                    "candidate_id = CASE WHEN provider_id IS NULL THEN coalesce(:candidate, candidate_id) "
                    "ELSE candidate_id END WHERE callback_token = :token RETURNING run_id",
                    {"candidate": candidate_id, "token": callback_token},
                )
            )
            return str(rows[0]["run_id"]) if rows else None

        return await self._writer.write(job)

    async def begin_submit(self, run: Run, *, now: float, total_max: int) -> Run | None:
        def job(db: Database) -> Run | None:
            return _guarded(
                db,
                run,
                RunState.SUBMITTING,
                {"state_at": now, "posted_at": now, "posts": run.posts + 1, "empty_since": None},
                # A callback may have named the run of an earlier POST meanwhile: that is looked at first.
                "AND coalesce(candidate_id, '') = coalesce(:seen_candidate, '') "
                # Those that asked earlier go first: each older one that still waits counts as a taken place.
                f"AND (SELECT count(*) FROM run AS other WHERE other.state IN ({_OPEN}) AND (other.state != 'reserved' "
                "OR (other.created_at, other.run_id) < (run.created_at, run.run_id)) "
                "AND other.parked_at IS NULL AND NOT other.overdue) < :total_max",
                {"total_max": total_max, "seen_candidate": run.candidate_id},
            )

        return await self._writer.write(job)

    async def advance(self, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
        require(state not in TERMINAL or state == run.state, "an end is reached by settle alone")
        moved = {"state_at": now} if state != run.state else {}
        return await self._writer.write(lambda db: _guarded(db, run, state, {**moved, **changes}))

    async def settle(self, run: Run, end: End, *, now: float) -> Run | None:
        require(not run.terminal, "a run ends once")
        absent = end.ending == Ending.FAILED and end.cost_u == 0
        require(run.state != RunState.UNKNOWN or absent, "evidence leads to another state first")

        return await self._writer.write(lambda db: _settle(db, run, end, now))

    async def correct(self, run: Run, cost_u: int, *, now: float) -> Run:
        def job(db: Database) -> Run:
            current = _get(db, run.run_id)
            require(current.terminal, "a cost is corrected only after the end")
            if current.cost_u is None:
                db.execute("UPDATE run SET cost_u = :cost WHERE run_id = :id", {"cost": cost_u, "id": run.run_id})
                if difference_u := cost_u - current.charged_u:
                    books.adjust_holds(db, run.run_id, difference_u, now, "Runflow named the cost later")
                if current.refunded_u > cost_u:  # what was given back is at most what was taken
                    books.take_back(db, run.run_id, current.refunded_u - cost_u, now)
            return _get(db, run.run_id)

        return await self._writer.write(job)

    async def looked_up(self, run_id: str, *, fresh: bool) -> None:
        sql = "UPDATE run SET lookup_fresh = :fresh WHERE run_id = :id AND lookup_fresh IS NULL"
        await self._writer.write(lambda db: db.execute(sql, {"fresh": int(fresh), "id": run_id}))

    async def lookup_proven(self) -> bool:
        sql = (
            "SELECT lookup_fresh FROM run WHERE lookup_fresh IS NOT NULL AND posted_at > 0 "
            "ORDER BY posted_at DESC LIMIT 3"
        )
        return await self._writer.read(lambda db: db.execute(sql).fetchall() == [(1,)] * 3)

    async def figures(self) -> Figures:
        def job(db: Database) -> dict[str, int]:
            (flying,) = db.execute(f"SELECT count(*) FROM run WHERE state IN ({_OPEN})").fetchone()
            (unknown,) = db.execute("SELECT count(*) FROM run WHERE state = 'unknown' AND state_at > 0").fetchone()
            (parked,) = db.execute("SELECT count(*) FROM run WHERE parked_at IS NOT NULL").fetchone()
            (overdue,) = db.execute("SELECT count(*) FROM run WHERE overdue = 1 AND state = 'running'").fetchone()
            return {"open": flying, "unknown": unknown, "overdue": overdue, "unreadable": parked}

        return Figures(**await self._writer.read(job), lookup_proven=await self.lookup_proven())

    # Reading

    async def get(self, run_id: str) -> Run | None:
        found = await self._writer.read(lambda db: _runs(db, "run_id = :id", {"id": run_id}))
        return found[0] if found else None

    async def latest(self, member: str, limit: int) -> list[Run]:
        where = "member = :member ORDER BY created_at DESC, run_id LIMIT :limit"
        return await self._writer.read(lambda db: _readable(db, where, {"member": member, "limit": limit}))

    async def media_key(self) -> bytes:
        sql = "SELECT value FROM installation WHERE name = 'media_key'"
        return await self._writer.read(lambda db: bytes(_one(db, sql, {})["value"]))


# Admission


def _admit(db: Database, new: NewRun, plan: Plan, *, approved: bool = False) -> Run:
    if known := db.execute("SELECT run_id FROM run WHERE origin = ?", [new.wish.origin]).fetchone():
        return _get(db, known[0])
    who = new.wish.spender
    scopes = who.scopes
    levels = plan(_rules_for(db, who.server, scopes))
    books.check_flights(db, levels)
    where = books.opened(db, scopes, levels, new.now)
    run = _insert_run(db, new, levels[-1].scope, where.member_period)
    books.hold(db, new, where, approved=approved)
    return run


def _rules_for(db: Database, server: str, scopes: Sequence[str]) -> Rules:
    """Those of the rules that can concern these scopes: a server may have some for each of thousands of members."""
    marks = ", ".join("?" * len(scopes))
    sql = f"{_RULE} WHERE (server IN (?, ?) AND subject IN ({marks})) OR (server = ? AND kind = 'allow')"
    return _rules_of(db.execute(sql, [server, EVERYWHERE, *scopes, server]).fetchall())


def _rules(db: Database, server: str) -> Rules:
    return _rules_of(db.execute(f"{_RULE} WHERE server IN (?, ?)", [server, EVERYWHERE]).fetchall())


def _rules_of(rows: Iterable[tuple[Any, ...]]) -> Rules:
    return Rules(
        Rule(server=server, subject=subject, kind=RuleKind(kind), period=period, limit_u=limit_u, in_flight=in_flight)
        for server, subject, kind, period, limit_u, in_flight in rows
    )


def _is_known(db: Database, act: Act) -> bool:
    """Whether the request that the act answers had its effect before."""
    return bool(act.origin) and bool(db.execute("SELECT 1 FROM act WHERE origin = ?", [act.origin]).fetchone())


def _act(db: Database, act: Act) -> int:
    """Keep what an admin did; the act's number."""
    row = asdict(act)
    columns = ", ".join(row)
    marks = ", ".join(f":{name}" for name in row)
    return int(db.execute(f"INSERT INTO act ({columns}) VALUES ({marks}) RETURNING act_id", row).fetchone()[0])


def _acts(db: Database, where: str, values: Mapping[str, object]) -> list[Act]:
    return [Act(**row) for row in db.query(f"SELECT {_ACT} FROM act WHERE {where}", dict(values))]


def _keep(db: Database, offer: Offer) -> Offer:
    """Write an offer whose wish made none yet; old ones that came to nothing go."""
    db.execute(
        "DELETE FROM offer WHERE state = 'open' AND expires_at < :old",
        {"old": offer.expires_at - 86400 * _OFFER_DAYS_KEPT},
    )
    wish = vars(_without_reply(offer.wish)) | {"request": offer.wish.request.options}
    db.execute(
        "INSERT INTO offer (offer_id, kind, origin, server, member, wish, choices, expires_at, over) VALUES "
        "(:id, :kind, :origin, :server, :member, :wish, :choices, :expires_at, :over) ON CONFLICT (origin) DO NOTHING",
        {
            "id": offer.offer_id,
            "kind": offer.kind,
            "origin": offer.wish.origin,
            "server": offer.wish.server,
            "member": offer.wish.member,
            "wish": json.dumps(wish),
            "choices": json.dumps([vars(choice) | {"request": choice.request.options} for choice in offer.choices]),
            "expires_at": offer.expires_at,
            "over": offer.over,
        },
    )
    return _offers(db, "origin = :origin", {"origin": offer.wish.origin})[0]


def _without_reply(wish: Wish) -> Wish:
    """The address of its card is a secret that outlives its use; the answer brings one of its own."""
    return replace(wish, reply_to=None, reply_until=None)


def _offer(db: Database, offer_id: str) -> Offer | None:
    found = _offers(db, "offer_id = :id", {"id": offer_id})
    return found[0] if found else None


def _one_offer(db: Database, offer_id: str) -> Offer:
    return _offers(db, "offer_id = :id", {"id": offer_id})[0]


def _offers(db: Database, where: str, values: Mapping[str, object]) -> list[Offer]:
    rows = list(db.query(f"SELECT * FROM offer WHERE {where} ORDER BY asked_at", dict(values)))
    return [_offer_of(db, row) for row in rows]


def _offer_of(db: Database, row: Mapping[str, Any]) -> Offer:
    stored = json.loads(row["wish"])
    wish = {name: stored[name] for name in _WISH if name in stored}
    wish |= {"request": VeoRequest.of(wish["request"]), "roles": tuple(wish["roles"])}
    return Offer(
        offer_id=row["offer_id"],
        kind=OfferKind(row["kind"]),
        wish=Wish(**wish),
        choices=tuple(
            Choice(request=VeoRequest.of(each["request"]), price_u=each["price_u"])
            for each in json.loads(row["choices"])
        ),
        expires_at=row["expires_at"],
        over=row["over"],
        state=OfferState(row["state"]),
        run_id=row["run_id"],
        asked_at=row["asked_at"],
        message=row["message"],
        answer=None if row["act_id"] is None else _acts(db, "act_id = :id", {"id": row["act_id"]})[0],
    )


def _ask(db: Database, offer_id: str, now: float, pause_s: float) -> list[Offer]:
    """Put a request to the admins; those that it replaces."""
    offer = _unanswered(db, offer_id, now)
    if offer.asked_at is not None:
        return []
    same = "kind = 'request' AND offer.server = :server AND offer.member = :member"
    values = {"server": offer.wish.server, "member": offer.wish.member}
    sql = f"SELECT max(at) FROM offer JOIN act USING (act_id) WHERE {same} AND state = 'denied'"
    (denied_at,) = db.execute(sql, values).fetchone()
    if denied_at is not None and denied_at > now - pause_s:
        raise AskLater(denied_at + pause_s)
    replaced = _offers(db, f"{same} AND state = 'open' AND asked_at IS NOT NULL", values)
    for each in replaced:
        db.execute("UPDATE offer SET state = 'replaced' WHERE offer_id = :id", {"id": each.offer_id})
    db.execute("UPDATE offer SET asked_at = :now WHERE offer_id = :id", {"now": now, "id": offer_id})
    return [replace(each, state=OfferState.REPLACED) for each in replaced]


def _unanswered(db: Database, offer_id: str, now: float) -> Offer:
    """The offer, if it still waits for its answer. Raises OfferGone."""
    offer = _offer(db, offer_id)
    if offer is not None and offer.state == OfferState.REPLACED:
        raise OfferGone("request.replaced")
    if offer is None or offer.state != OfferState.OPEN:
        raise OfferGone("request.answered")
    if offer.expires_at <= now:
        raise OfferGone("question.expired")
    return offer


# Runs


def _one(db: Database, sql: str, values: Mapping[str, object]) -> dict[str, Any]:
    return next(iter(db.query(sql, dict(values))))


def _runs(db: Database, where: str, values: Mapping[str, object]) -> list[Run]:
    return [_run_of(row) for row in db.execute(f"{_RUN} WHERE {where}", dict(values)).fetchall()]


def _readable(db: Database, where: str, values: Mapping[str, object]) -> list[Run]:
    """Those of the runs whose rows can be read: one that cannot takes no list away."""
    found = []
    for row in db.execute(f"{_RUN} WHERE {where}", dict(values)).fetchall():
        with suppress(UnreadableRow):
            found.append(_run_of(row))
    return found


def _get(db: Database, run_id: str) -> Run:
    return _runs(db, "run_id = :id", {"id": run_id})[0]


def _claim(db: Database, run_id: str, now: float, lease_until: float) -> Run | None:
    """Lease a run. One whose row cannot be read is parked: it waits, takes no place, and is counted."""
    try:
        run = _get(db, run_id)
    except UnreadableRow as error:
        sql = "UPDATE run SET due_at = :later, in_line = 0, parked_at = :now WHERE run_id = :id AND parked_at IS NULL"
        values = {"later": now + _PARKED_S, "now": now, "id": run_id}
        if db.execute(sql, values).rowcount:
            log.error("run parked until a version that can read it is started", reason=str(error))
        else:
            db.execute("UPDATE run SET due_at = :later, in_line = 0 WHERE run_id = :id", values)
        return None
    sql = "UPDATE run SET due_at = :until, in_line = 0, parked_at = NULL WHERE run_id = :id"
    db.execute(sql, {"until": lease_until, "id": run_id})
    return replace(run, due_at=lease_until, in_line=False)


def _run_of(row: tuple[Any, ...]) -> Run:
    """Raises UnreadableRow for one that another version of this program, or nobody, wrote so."""
    values: dict[str, Any] = dict(zip(_RUN_FIELDS, row, strict=True))
    try:
        for name, convert in _CONVERTED.items():
            if values[name] is not None:
                values[name] = convert(values[name])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UnreadableRow(f"run={values['run_id']} cannot be read: {name} ({type(error).__name__})") from error
    return Run(**values)


def _insert_run(db: Database, new: NewRun, member_scope: str, member_period: str) -> Run:
    """Write a run; it is answered as it would be read back."""
    run = Run(
        **_UNTOUCHED
        | vars(new.wish)
        | {
            "run_id": new.run_id,
            "price_u": new.price_u,
            "callback_token": new.callback_token,
            "state": RunState.RESERVED,
            "state_at": new.now,
            "created_at": new.now,
            "due_at": new.now,
        }
    )
    row = vars(run) | {
        "roles": json.dumps(run.roles),
        "request": json.dumps(run.request.options),
        "member_scope": member_scope,
        "member_period": member_period,
    }
    db.execute(_NEW_RUN, row)
    return run


def _settle(db: Database, run: Run, end: End, now: float, **by: Any) -> Run | None:
    """End a run and resolve its holds; `by`: whose act it was, where it was one."""
    state = STATE_OF_ENDING[end.ending]
    ended = {
        **asdict(end),
        "state_at": now,
        "ended_at": now,
        "due_at": now,
        "tries": 0,
        "notice": Notice.RESULT,
        "delivery": Delivery.PENDING,
        "delivery_tries": 0,
        "first_try_at": None,
        "direct": False,
    }
    # A callback may have named a run meanwhile: that is looked at before it is given up.
    seen = "AND (provider_id IS NOT NULL OR coalesce(candidate_id, '') = coalesce(:seen_candidate, ''))"
    if _guarded(db, run, state, ended, seen, {"seen_candidate": run.candidate_id}) is None:
        return None
    books.resolve_holds(db, run.run_id, end, succeeded=state == RunState.SUCCEEDED, now=now, **by)
    return _get(db, run.run_id)


def _guarded(
    db: Database,
    run: Run,
    state: RunState,
    changes: Mapping[str, object],
    condition: str = "",
    values: Mapping[str, object] | None = None,
) -> Run | None:
    """Move a run if it still stands where the caller saw it; None, and nothing changed, if it does not."""
    require(state == run.state or state in MOVES[run.state], f"illegal move {run.state} -> {state}")
    assignments = "".join(f", {name} = :{name}" for name in changes if name != "in_line")
    rows = list(
        db.query(
            f"UPDATE run SET in_line = :in_line, state = :to_state{assignments} WHERE run_id = :guard_id "
            f"AND state = :guard_state AND delivery = :guard_delivery {condition} RETURNING run_id",
            {
                "in_line": False,
                **changes,
                **(values or {}),
                "to_state": state,
                "guard_id": run.run_id,
                "guard_state": run.state,
                "guard_delivery": run.delivery,
            },
        )
    )
    return _get(db, run.run_id) if rows else None
