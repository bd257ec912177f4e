"""Rows read as the records that the ports speak in, and records written as rows.

What is stored as JSON is read tolerantly: options and fields of a newer program are kept or passed over. A run's row
that cannot be read at all raises UnreadableRow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any

from bot.domain.models import VeoRequest
from bot.domain.records import Act, Choice, NewRun, Offer, OfferKind, OfferState, Wish
from bot.domain.runs import IN_FLIGHT, TERMINAL, Delivery, Ending, Notice, Run, RunState, card_of
from storage.dialect import Rows, Transaction


class UnreadableRow(Exception):
    """A run's row holds what this version of the program cannot read."""


OPEN = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT | {RunState.RESERVED}))
ENDED = ", ".join(f"'{state}'" for state in sorted(TERMINAL))


def under_way(run: str = "run") -> str:
    """The condition on a run's row, by the name of its table, that it is in line or takes a place at the provider."""
    return f"{run}.state IN ({OPEN}) AND {run}.parked_at IS NULL AND {run}.overdue = 0"


def named(found: Rows) -> list[dict[str, Any]]:
    """Every row by the names of its columns."""
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


# Runs


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
    "can_post": bool,
    "roles": names_of,
    "request": lambda text: VeoRequest.of(json.loads(text)),
}
_RUN_FIELDS = tuple(field.name for field in fields(Run))
_RUN = f"SELECT {', '.join(_RUN_FIELDS)} FROM run_view"
_POSTED = "entry.scope = run.member_scope AND entry.period_key = run.member_period AND entry.kind IN ('post', 'adjust')"
_SUM = "(SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry WHERE entry.run_id = run.run_id"
_COMPUTED = {  # as `run_view` says
    "charged_u": f"{_SUM} AND entry.kind != 'hold' AND {_POSTED})",
    "refunded_u": f"{_SUM} AND entry.kind != 'hold' AND entry.kind = 'refund')",
}
_CONVERTED_MOVED = {name: convert for name, convert in _CONVERTED.items() if name not in ("request", "roles")}
_MOVED_FIELDS = (*(name for name in _RUN_FIELDS if name not in ("request", "roles")), "request", "roles")
RETURNING_RUN = f"RETURNING {', '.join(_COMPUTED.get(name, name) for name in _MOVED_FIELDS[:-2])}"
_WISH = tuple(field.name for field in fields(Wish))
_GIVEN = (
    *_WISH,
    *("run_id", "price_u", "callback_token", "state", "state_at", "created_at", "due_at"),
    *("member_scope", "member_period", "tries", "in_line", "posts", "posted_at"),
)
_NEW_RUN = f"INSERT INTO run ({', '.join(_GIVEN)}) VALUES ({', '.join(f':{name}' for name in _GIVEN)})"
_AT_FIRST = {"tries": 0, "in_line": False, "posts": 0, "posted_at": None}
_NEW_ROLE = "INSERT INTO run_role (role, created_at, run_id) VALUES (:role, :created_at, :run_id)"
# What a run is at first, beside what is given: the columns' defaults.
_COUNTS = ("charged_u", "refunded_u", "tries", "posts", "cost_checks", "delivery_tries", "uploads", "unclear_posts")
_FLAGS = ("overdue", "unknown_told", "plain", "in_line", "direct")
_UNTOUCHED: dict[str, Any] = {
    **dict.fromkeys(_RUN_FIELDS),
    **dict.fromkeys(_COUNTS, 0),
    **dict.fromkeys(_FLAGS, False),
    "delivery": Delivery.NONE,
}


def runs_where(tx: Transaction, where: str, values: Mapping[str, object]) -> list[Run]:
    """The runs of which this holds. Raises UnreadableRow where one of them cannot be read."""
    return [_run_of(row) for row in tx.execute(f"{_RUN} WHERE {where}", values).fetchall()]


def readable_runs_where(tx: Transaction, where: str, values: Mapping[str, object]) -> list[Run]:
    """The same without those that cannot be read: one bad row takes no list away."""
    found = []
    for row in tx.execute(f"{_RUN} WHERE {where}", values).fetchall():
        with suppress(UnreadableRow):
            found.append(_run_of(row))
    return found


def get_run(tx: Transaction, run_id: str) -> Run:
    """The run of this id, which is there."""
    (run,) = runs_where(tx, "run_id = :run_id", {"run_id": run_id})
    return run


def ask_run_of_origin(tx: Transaction, origin: str) -> Rows:
    """Ask for the run that this wish made before."""
    return tx.execute(f"{_RUN} WHERE origin = :origin", {"origin": origin})


def read_run(asked: Rows) -> Run | None:
    """What was asked for; None where there is none. Raises UnreadableRow."""
    row = asked.fetchone()
    return None if row is None else _run_of(row)


def moved_run(answer: Rows, seen: Run) -> Run | None:
    """The run that an UPDATE with `RETURNING_RUN` has moved, as it stands now; None where it moved none.

    What never changes is taken from where the run was `seen` before.
    """
    row = answer.fetchone()
    return None if row is None else _run_of((*row, seen.request, seen.roles), _MOVED_FIELDS, _CONVERTED_MOVED)


def _run_of(
    row: tuple[Any, ...],
    names: Sequence[str] = _RUN_FIELDS,
    converted: Mapping[str, Callable[[Any], object]] = _CONVERTED,
) -> Run:
    """Raises UnreadableRow for one that another version of this program, or nobody, wrote so."""
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    try:
        for name, convert in converted.items():
            if values[name] is not None:
                values[name] = convert(values[name])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UnreadableRow(f"run={values['run_id']} cannot be read: {name} ({type(error).__name__})") from error
    return Run(**values)


def insert_run(tx: Transaction, new: NewRun, member_scope: str, member_period: str, start: Mapping[str, object]) -> Run:
    """Write a run, with where it starts; it is answered as it would be read back."""
    given = {
        **vars(new.wish),
        "run_id": new.run_id,
        "price_u": new.price_u,
        "callback_token": new.callback_token,
        "state_at": new.now,
        "created_at": new.now,
        **start,
    }
    run = Run(**_UNTOUCHED | given)
    level = {"member_scope": member_scope, "member_period": member_period}
    as_text = {"roles": json.dumps(run.roles), "request": json.dumps(run.request.options)}
    tx.execute(_NEW_RUN, _AT_FIRST | given | level | as_text)
    had = [{"role": role, "created_at": new.now, "run_id": run.run_id} for role in dict.fromkeys(run.roles)]
    tx.executemany(_NEW_ROLE, had)
    return run


_CARD_LIFE_S = 3600.0  # a run that was asked for earlier has no card any more


def free_card(tx: Transaction, wish: Wish, now: float) -> None:
    """Let the member's earlier runs forget the card that the wish is put on: it shows the wish from now on."""
    if wish.reply_to is None:
        return
    on_it = "substr(reply_to, 1, length(:card)) = :card"
    sql = (
        f"UPDATE run SET reply_to = NULL, reply_until = NULL WHERE member = :member AND created_at > :since AND {on_it}"
    )
    tx.execute(sql, {"member": wish.member, "since": now - _CARD_LIFE_S, "card": f"{card_of(wish.reply_to)}:"})


# Offers

_NEW_OFFER = (
    "INSERT INTO offer (offer_id, kind, origin, server, member, wish, choices, expires_at, over) VALUES "
    "(:id, :kind, :origin, :server, :member, :wish, :choices, :expires_at, :over) ON CONFLICT (origin) DO NOTHING"
)


def without_reply(wish: Wish) -> Wish:
    """The wish as an offer keeps it. The address of its card is a secret; the answer brings one of its own."""
    return replace(wish, reply_to=None, reply_until=None)


def insert_offer(tx: Transaction, offer: Offer) -> None:
    """Write an offer whose wish made none yet; where it made one, that one stays."""
    wish = vars(without_reply(offer.wish)) | {"request": offer.wish.request.options}
    values = {
        "id": offer.offer_id,
        "kind": offer.kind,
        "origin": offer.wish.origin,
        "server": offer.wish.server,
        "member": offer.wish.member,
        "wish": json.dumps(wish),
        "choices": json.dumps([vars(choice) | {"request": choice.request.options} for choice in offer.choices]),
        "expires_at": offer.expires_at,
        "over": offer.over,
    }
    tx.execute(_NEW_OFFER, values)


def offers_where(tx: Transaction, where: str, values: Mapping[str, object], order: str = "asked_at") -> list[Offer]:
    """The offers of which this holds, by default in the order in which they were put to the admins."""
    found = named(tx.execute(f"SELECT * FROM offer WHERE {where} ORDER BY {order}", values))
    return [_offer_of(tx, row) for row in found]


def find_offer(tx: Transaction, offer_id: str) -> Offer | None:
    return next(iter(offers_where(tx, "offer_id = :id", {"id": offer_id})), None)


def get_offer(tx: Transaction, offer_id: str) -> Offer:
    """The offer of this id, which is there."""
    (offer,) = offers_where(tx, "offer_id = :id", {"id": offer_id})
    return offer


def _offer_of(tx: Transaction, row: Mapping[str, Any]) -> Offer:
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
        answer=None if row["act_id"] is None else acts_where(tx, "act_id = :id", {"id": row["act_id"]})[0],
    )


# Acts

ACT_COLUMNS: Sequence[str] = tuple(field.name for field in fields(Act))
_ACT = ", ".join(ACT_COLUMNS)
_NEW_ACT = f"INSERT INTO act ({_ACT}) VALUES ({', '.join(f':{name}' for name in ACT_COLUMNS)}) RETURNING act_id"


def insert_act(tx: Transaction, act: Act) -> int:
    """Keep what an admin did; the act's number."""
    return int(tx.execute(_NEW_ACT, asdict(act)).fetchone()[0])


def acts_where(tx: Transaction, where: str, values: Mapping[str, object], table: str = "act") -> list[Act]:
    """The acts of which this holds."""
    return [Act(**row) for row in named(tx.execute(f"SELECT {_ACT} FROM {table} WHERE {where}", values))]
