"""What admins decide, each verb inside one transaction: rules, extras, refunds, releases, and the acts behind them.

An act whose origin is known had its effect before: it changes nothing, and is answered with what is there now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from bot.domain.limits import EVERYWHERE, Level, Plan, Rule, RuleKind, Rules, Spender, Standing
from bot.domain.records import Act, Change, End
from bot.domain.runs import Run
from bot.errors import OfferGone, require
from storage.dialect import Rows, Transaction, among, lock_books, skip_locked
from storage.verbs import books
from storage.verbs.rows import acts_where, get_run, insert_act
from storage.verbs.runs import end_run

_RULE = "SELECT server, subject, kind, period, limit_u, in_flight, language FROM rule"
_PUT_RULE = (
    "INSERT INTO rule (server, subject, kind, period, limit_u, in_flight, language, act_id) "
    "VALUES (:server, :subject, :kind, :period, :limit_u, :in_flight, :language, :act_id) "
    "ON CONFLICT (server, subject, kind) DO UPDATE SET period = excluded.period, limit_u = excluded.limit_u, "
    "in_flight = excluded.in_flight, language = excluded.language, act_id = excluded.act_id"
)
_CHANGE_RULE = (
    "INSERT INTO rule_change (act_id, server, subject, kind, period, limit_u, in_flight, language, in_force) "
    "VALUES (:act_id, :server, :subject, :kind, :period, :limit_u, :in_flight, :language, :in_force)"
)
_LIFT_RULE = "DELETE FROM rule WHERE server = :server AND subject = :subject AND kind = :kind"
_ANSWER_KEPT_S = 86400.0


# Rules


def rules(tx: Transaction, server: str, about: str | None = None) -> Rules:
    """See `bot.ports.Rulebook.rules`."""
    values = {"server": server, "everywhere": EVERYWHERE}
    sql = f"{_RULE} WHERE server IN (:server, :everywhere)"
    if about is None:
        return read_rules(tx.execute(sql, values))
    return read_rules(tx.execute(f"{sql} AND subject = :about", {**values, "about": about}))


def ask_rules_for(tx: Transaction, server: str, scopes: Sequence[str]) -> Rows:
    """Ask for those of the rules that can concern these scopes: a server may have some for each of many members."""
    marks, values = among(scopes)
    sql = (
        f"{_RULE} WHERE (server IN (:server, :everywhere) AND subject IN ({marks})) "
        "OR (server = :server AND kind = 'allow')"
    )
    return tx.execute(sql, {**values, "server": server, "everywhere": EVERYWHERE})


def read_rules(asked: Rows) -> Rules:
    """What was asked for."""
    return Rules(
        Rule(
            server=server,
            subject=subject,
            kind=RuleKind(kind),
            period=period,
            limit_u=limit_u,
            in_flight=in_flight,
            language=language,
        )
        for server, subject, kind, period, limit_u, in_flight, language in asked.fetchall()
    )


def standings(tx: Transaction, who: Spender, plan: Plan) -> list[Standing]:
    """See `bot.ports.Reading.standings`."""
    return books.standings(tx, plan(read_rules(ask_rules_for(tx, who.server, who.scopes))), who.server)


def decide(tx: Transaction, act: Act, decision: Callable[[Rules], Change]) -> Rules:
    """See `bot.ports.Rulebook.decide`."""
    lock_books(tx)
    before = rules(tx, act.server)
    if is_known(tx, act):
        return before
    change = decision(before)
    act_id = insert_act(tx, replace(act, detail=change.detail))
    for sql, changed in ((_PUT_RULE, change.put), (_LIFT_RULE, change.lift)):
        for rule in changed:
            row = {**asdict(rule), "act_id": act_id, "in_force": int(sql == _PUT_RULE)}
            tx.execute(sql, row)
            tx.execute(_CHANGE_RULE, row)
    after = rules(tx, act.server)
    books.open_books(tx, change.opens(after))
    return after


# Acts on money


def grant(tx: Transaction, server: str, plan: Callable[[Rules], Level], amount_u: int, act: Act) -> Standing:
    """See `bot.ports.Rulebook.grant`."""
    lock_books(tx)
    level = plan(rules(tx, server))
    if not is_known(tx, act):
        kept = replace(act, verb="grant", subject=level.scope, amount_u=amount_u)
        books.grant(tx, level, amount_u, act, insert_act(tx, kept))
    (standing,) = books.standings(tx, [level], server)
    return standing


def refund(tx: Transaction, run_id: str, amount: Callable[[Run], int], plan: Callable[[Rules], Level], act: Act) -> Run:
    """See `bot.ports.Rulebook.refund`."""
    lock_books(tx)
    run = get_run(tx, run_id)
    if is_known(tx, act):
        return run
    check_not_refunded(run)
    level, amount_u = plan(rules(tx, run.server)), amount(run)
    act_id = insert_act(tx, replace(act, verb="refund", subject=f"run:{run_id}", amount_u=amount_u))
    books.grant(tx, level, amount_u, act, act_id, refund_of=run_id)
    return get_run(tx, run_id)


def check_not_refunded(run: Run) -> None:
    """Raise OfferGone where the charge was given back before."""
    if run.refunded_u:
        raise OfferGone("refund.already")


def release(tx: Transaction, run: Run, act: Act, end: End) -> Run | None:
    """See `bot.ports.Rulebook.release`."""
    require(run.releasable, "evidence settles any other run")
    lock_books(tx)
    current = get_run(tx, run.run_id)
    if is_known(tx, act):
        return current
    if not current.releasable:  # evidence came first
        return None
    return end_run(tx, current, end, act.at, act=act)


# What was done and said


def is_known(tx: Transaction, act: Act) -> bool:
    """Whether the request that the act answers had its effect before."""
    if not act.origin:
        return False
    return bool(tx.execute("SELECT 1 FROM act WHERE origin = :origin", {"origin": act.origin}).fetchone())


def acts(tx: Transaction, server: str, limit: int) -> list[Act]:
    """See `bot.ports.Rulebook.acts`."""
    latest = "ORDER BY act_id DESC LIMIT :limit"
    values = {"server": server, "limit": limit}
    if server != EVERYWHERE:
        return acts_where(tx, f"server = :server {latest}", values)
    here = f"SELECT * FROM (SELECT * FROM act WHERE server = :server {latest}) AS here"
    elsewhere = f"SELECT * FROM (SELECT * FROM act WHERE member != '' AND server != :server {latest}) AS elsewhere"
    return acts_where(tx, f"1 = 1 {latest}", values, f"({here} UNION ALL {elsewhere}) AS listed")


def answer_to(tx: Transaction, origin: str) -> str | None:
    """See `bot.ports.Rulebook.answer_to`."""
    found = tx.execute("SELECT said FROM answer WHERE origin = :origin", {"origin": origin}).fetchone()
    return None if found is None else str(found[0])


def keep_answer(tx: Transaction, origin: str, said: str, *, now: float) -> bool:
    """See `bot.ports.Rulebook.keep_answer`."""
    forget_answers(tx, now)
    sql = "INSERT INTO answer (origin, at, said) VALUES (:origin, :at, :said) ON CONFLICT (origin) DO NOTHING"
    return tx.execute(sql, {"origin": origin, "at": now, "said": said}).rowcount > 0


def press(tx: Transaction, button: str, origin: str, *, now: float, within_s: float) -> bool:
    """See `bot.ports.Admissions.press`."""
    forget_answers(tx, now)
    sql = """INSERT INTO answer (origin, at, said) VALUES (:button, :now, :origin)
        ON CONFLICT (origin) DO UPDATE SET at = :now, said = :origin
        WHERE said = :origin OR at NOT BETWEEN :since AND :now"""
    values = {"button": button, "origin": origin, "now": now, "since": now - within_s}
    return tx.execute(sql, values).rowcount > 0


def forget_answers(tx: Transaction, now: float) -> None:
    """Drop what was said so long ago that nobody asks for it twice."""
    old = f"SELECT origin FROM answer WHERE at < :old{skip_locked(tx)}"
    tx.execute(f"DELETE FROM answer WHERE origin IN ({old})", {"old": now - _ANSWER_KEPT_S})
