"""Wishes, the questions that come before them, and their money, each verb inside one transaction.

Every verb here locks the books first. Then it asks all that it decides by, reads the answers, and writes; what it
asks together travels together where the database is another machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.domain.limits import OverLimit, Plan
from bot.domain.records import DRAFT_LIFE_S, Act, Approve, NewRun, Offer, OfferState
from bot.domain.runs import Run
from bot.errors import AskLater, OfferGone, require
from storage.dialect import Transaction, lock_books, skip_locked
from storage.verbs import books
from storage.verbs.rows import (
    ask_run_of_origin,
    find_offer,
    free_card,
    get_offer,
    get_run,
    insert_act,
    insert_offer,
    insert_run,
    offers_where,
    read_run,
)
from storage.verbs.rules import ask_rules_for, is_known, read_rules, standings
from storage.verbs.runs import start

# Wishes


def admit(tx: Transaction, new: NewRun, plan: Plan) -> Run | OverLimit:
    """See `bot.ports.Admissions.admit`."""
    lock_books(tx)
    return _admit(tx, new, plan)


def _admit(tx: Transaction, new: NewRun, plan: Plan, *, approved: bool = False) -> Run | OverLimit:
    where = _where(tx, new, plan)
    if isinstance(where, Run):
        return where
    holds = _hold(tx, new, where, approved=approved)
    if isinstance(holds, OverLimit):
        return holds
    free_card(tx, new.wish, new.now)
    run = insert_run(tx, new, where.levels[-1].scope, where.member_period, start(tx, new))
    books.enter(tx, holds)
    if new.stands is not None:
        new.stands(books.standings_with(where, new))
    return run


def _where(tx: Transaction, new: NewRun, plan: Plan) -> books.Opened | Run:
    """Where a wish is to be held, all of it open by then; or the run that it made before."""
    scopes = new.wish.spender.scopes
    known, rules = ask_run_of_origin(tx, new.wish.origin), ask_rules_for(tx, new.wish.server, scopes)
    if run := read_run(known):
        return run
    levels = plan(read_rules(rules))
    flights = books.ask_flights(tx, levels)
    open_periods = books.ask_open_periods(tx, scopes, new.now)
    extras = books.ask_extras(tx, levels)
    books.check_flights(flights)
    return books.opened(tx, levels, open_periods, extras)


def _hold(
    tx: Transaction, new: NewRun, where: books.Opened, *, approved: bool = False
) -> Sequence[Mapping[str, object]] | OverLimit:
    """Reserve the price of a wish; see `books.hold`.

    A refusal is raised, and undoes the transaction; or it is handed back, where a period was opened for the wish, so
    that this is committed and the next wish finds it open.
    """
    try:
        return books.hold(tx, new, where, approved=approved)
    except OverLimit as refusal:
        if where.new:
            return refusal
        raise


# Questions


def offer(tx: Transaction, asked: Offer, new: NewRun, plan: Plan) -> Offer | Run | OverLimit:
    """See `bot.ports.Admissions.offer`."""
    lock_books(tx)
    where = _where(tx, new, plan)
    if isinstance(where, Run):
        return where
    would_hold = _hold(tx, new, where)  # whoever is asked whether to pay is not refused afterwards
    if isinstance(would_hold, OverLimit):
        return would_hold
    books.let_go(tx, would_hold)
    return _keep(tx, asked, new.now)


def keep(tx: Transaction, asked: Offer, *, now: float) -> Offer:
    """See `bot.ports.Admissions.keep`."""
    lock_books(tx)
    return _keep(tx, asked, now)


def _keep(tx: Transaction, asked: Offer, now: float) -> Offer:
    """Write an offer whose wish made none yet; those of which nothing came go with their time."""
    old = f"SELECT offer_id FROM offer WHERE state IN ('open', 'withdrawn') AND expires_at < :old{skip_locked(tx)}"
    tx.execute(f"DELETE FROM offer WHERE offer_id IN ({old})", {"old": now - DRAFT_LIFE_S})
    free_card(tx, asked.wish, now)
    insert_offer(tx, asked)
    (kept,) = offers_where(tx, "origin = :origin", {"origin": asked.wish.origin})
    return kept


def drop(tx: Transaction, offer_id: str) -> None:
    """See `bot.ports.Admissions.drop`."""
    lock_books(tx)
    unused = "state IN ('open', 'withdrawn') AND asked_at IS NULL"
    tx.execute(f"DELETE FROM offer WHERE offer_id = :id AND {unused}", {"id": offer_id})


def withdraw(tx: Transaction, offer_id: str) -> bool:
    """See `bot.ports.Admissions.withdraw`."""
    lock_books(tx)
    sql = "UPDATE offer SET state = 'withdrawn' WHERE offer_id = :id AND kind = 'confirm' AND state = 'open'"
    tx.execute(sql, {"id": offer_id})
    found = find_offer(tx, offer_id)
    return found is None or found.state == OfferState.WITHDRAWN


def ask(tx: Transaction, offer_id: str, *, now: float, pause_s: float) -> list[Offer]:
    """See `bot.ports.Admissions.ask`."""
    lock_books(tx)
    asked = unanswered(tx, offer_id, now)
    if asked.asked_at is not None:
        return []
    same = "kind = 'request' AND offer.server = :server AND offer.member = :member"
    values = {"server": asked.wish.server, "member": asked.wish.member}
    sql = f"SELECT max(at) FROM offer JOIN act USING (act_id) WHERE {same} AND state = 'denied'"
    (denied_at,) = tx.execute(sql, values).fetchone()
    if denied_at is not None and denied_at > now - pause_s:
        raise AskLater(denied_at + pause_s)
    replaced = offers_where(tx, f"{same} AND state = 'open' AND asked_at IS NOT NULL", values)
    for each in replaced:
        tx.execute("UPDATE offer SET state = 'replaced' WHERE offer_id = :id", {"id": each.offer_id})
    tx.execute("UPDATE offer SET asked_at = :now WHERE offer_id = :id", {"now": now, "id": offer_id})
    return [replace(each, state=OfferState.REPLACED) for each in replaced]


def asked(tx: Transaction, offer_id: str, message: str) -> Offer:
    """See `bot.ports.Admissions.asked`."""
    tx.execute("UPDATE offer SET message = :message WHERE offer_id = :id", {"message": message, "id": offer_id})
    return get_offer(tx, offer_id)


# Answers


def take(tx: Transaction, offer_id: str, new: NewRun, plan: Plan, *, approve: Approve | None) -> Run | OverLimit:
    """See `bot.ports.Admissions.take`."""
    lock_books(tx)
    taken = find_offer(tx, offer_id)
    if taken is not None and taken.run_id is not None:
        return get_run(tx, taken.run_id)
    unanswered(tx, offer_id, new.now)
    act = None if approve is None else approve(standings(tx, new.wish.spender, plan))
    run = _admit(tx, new, plan, approved=act is not None)
    if isinstance(run, OverLimit):
        return run
    act_id = None if act is None else insert_act(tx, act)
    _answer(tx, offer_id, "state = 'taken', run_id = :run, act_id = :act", {"run": run.run_id, "act": act_id})
    return run


def deny(tx: Transaction, offer_id: str, act: Act) -> Offer:
    """See `bot.ports.Admissions.deny`."""
    lock_books(tx)
    if not is_known(tx, act):
        unanswered(tx, offer_id, act.at)
        _answer(tx, offer_id, "state = 'denied', act_id = :act", {"act": insert_act(tx, act)})
    return get_offer(tx, offer_id)


def _answer(tx: Transaction, offer_id: str, answer: str, values: dict[str, object]) -> None:
    sql = f"UPDATE offer SET {answer} WHERE offer_id = :id AND state = 'open'"
    require(tx.execute(sql, {**values, "id": offer_id}).rowcount == 1, "a question is answered once")


def unanswered(tx: Transaction, offer_id: str, now: float) -> Offer:
    """The offer, if it still waits for its answer. Raises OfferGone."""
    found = find_offer(tx, offer_id)
    if found is not None and found.state == OfferState.REPLACED:
        raise OfferGone("request.replaced")
    if found is None or found.state == OfferState.WITHDRAWN:
        raise OfferGone("question.expired")
    if found.state != OfferState.OPEN:
        raise OfferGone("request.answered")
    if found.expires_at <= now:
        raise OfferGone("question.expired")
    return found
