"""What a member asked for before: readings that go by the member's own rows, however many others there are."""

from __future__ import annotations

import json
from contextlib import suppress

from bot.domain.records import DRAFT_LIFE_S, Offer, Open, Wanted
from bot.domain.runs import Ending, Run
from storage.dialect import Transaction
from storage.verbs.rows import offers_where, readable_runs_where

UNREADABLE_MAX = 8  # rows on a page that another version wrote, in whose place others are shown
_VIDEO = f"ending IN ('{Ending.VIDEO}', '{Ending.PARTIAL}')"
_OLDEST = "(SELECT min(created_at) FROM run WHERE ended_at IS NULL)"


def history(tx: Transaction, wanted: Wanted, limit: int) -> list[Run]:
    """See `bot.ports.Members.history`."""
    values: dict[str, object] = {"member": wanted.member, "rows": limit + UNREADABLE_MAX}
    where, order = ["member = :member"], "created_at DESC, run_id"
    if wanted.server is not None:
        where.append("server || '' = :server")  # so that the index of the server's runs is of no use
        values["server"] = wanted.server
    if wanted.videos:
        where.append(_VIDEO)
    if wanted.older_than is not None:
        where.append("created_at <= :at AND (created_at < :at OR run_id > :run_id)")
        values["at"], values["run_id"] = wanted.older_than
    if wanted.newer_than is not None:
        where.append("created_at >= :at AND (created_at > :at OR run_id < :run_id)")
        values["at"], values["run_id"] = wanted.newer_than
        order = "created_at, run_id DESC"
    found = readable_runs_where(tx, f"{' AND '.join(where)} ORDER BY {order} LIMIT :rows", values)[:limit]
    return found if wanted.newer_than is None else found[::-1]


def prompts(tx: Transaction, member: str, typed: str, *, searched: int, limit: int) -> list[tuple[str, str]]:
    """See `bot.ports.Members.prompts`."""
    words = _plain(typed)
    # The rows that cannot have them are seen as they are stored; to read each one would take ten times as long.
    plain = [word for word in words.split() if word.isascii() and word.isalnum()]
    sql = (
        f"SELECT run_id, request FROM run WHERE member = :member AND {_VIDEO} "
        "ORDER BY created_at DESC, run_id LIMIT :searched"
    )
    found: list[tuple[str, str]] = []
    for run_id, request in tx.execute(sql, {"member": member, "searched": searched}):
        stored = request.casefold()
        if words == run_id or all(word in stored for word in plain):
            with suppress(ValueError, TypeError, LookupError, RecursionError):  # another version wrote it
                prompt = str(json.loads(request)["prompt"])
                if words == run_id or words in _plain(prompt):
                    found.append((run_id, prompt))
            if len(found) == limit:
                break
    return found


def _plain(words: str) -> str:
    return " ".join(words.split()).casefold()


def open_of(tx: Transaction, member: str, server: str, *, now: float, limit: int) -> Open:
    """See `bot.ports.Members.open_of`."""
    values = {"member": member, "server": server, "limit": limit}
    open_runs = f"member = :member AND created_at >= {_OLDEST} AND ended_at IS NULL"
    runs = readable_runs_where(tx, f"{open_runs} ORDER BY created_at DESC, run_id LIMIT :limit", values)
    return Open(runs=runs, offers=_kept_offers(tx, values | {"since": now - DRAFT_LIFE_S}))


def _kept_offers(tx: Transaction, values: dict[str, object]) -> list[Offer]:
    """Those of which nothing came yet: what can still be answered comes first."""
    where = "member = :member AND server = :server AND expires_at > :since AND state != 'taken'"
    return offers_where(tx, where, values, order="expires_at DESC LIMIT :limit")
