"""``GET /v1/runs``: filters, sorting and pages.

Two filter grammars are supported. One is documented: ``status_code:succeeded AND created_at>2026-04-01``
(docs.runflow.io /concepts/requests). Clients use the other one: ``client_ref.EQ:'token'``.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sandbox.runflow.faults import Refusal
from sandbox.runflow.run import SandboxRun
from sandbox.runflow.switches import Switches

LIMIT_MAX = 500
LIMIT_DEFAULT = 50
CONDITION = re.compile(
    r"\s*(?P<negated>NOT\s+)?(?P<field>[a-z_]+)(?P<operator>\.EQ:|>=|<=|[:=><])"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s'\"]+)(?:\s+(?P<joint>AND|OR)\s+(?=\S)|\s*$)"
)
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        ".EQ:": operator.eq,
        ":": operator.eq,
        "=": operator.eq,
        ">": operator.gt,
        "<": operator.lt,
        ">=": operator.ge,
        "<=": operator.le,
    }
)

Test = Callable[[SandboxRun], bool]


def page(
    runs: Sequence[SandboxRun], query: Mapping[str, str], switches: Switches
) -> tuple[list[SandboxRun], dict[str, str | None]]:
    """The runs of one page, newest first unless ``sort_by`` says otherwise, and the page's cursors by name."""
    limit = query.get("limit", str(LIMIT_DEFAULT))
    if not limit.isdecimal() or not 1 <= int(limit) <= LIMIT_MAX:
        raise Refusal(422, f"limit should be 1 to {LIMIT_MAX}")
    order = query.get("sort_by", "-created_at")
    if order not in ("created_at", "-created_at", "created_at:asc", "created_at:desc"):
        raise Refusal(422, "sort_by should be created_at or -created_at")
    wanted = _filter(query.get("q", ""), switches)
    # Ids increase in order of creation, even within a millisecond.
    newest_first = order.startswith("-") or order.endswith(":desc")
    found = sorted((run for run in runs if wanted(run)), key=lambda run: run.id, reverse=newest_first)
    begin, end = _window(found, query, int(limit), newest_first=newest_first)
    names = ("next_pq", "prev_pq") if switches.cursor_names == "next_pq" else ("next", "previous")
    shown = found[begin:end]
    cursors = {
        names[0]: shown[-1].id if shown and end < len(found) else None,
        names[1]: shown[0].id if shown and begin > 0 else None,
    }
    if switches.cursor_names == "next":
        cursors["first"] = None
    return shown, cursors


def _window(
    found: Sequence[SandboxRun], query: Mapping[str, str], limit: int, *, newest_first: bool
) -> tuple[int, int]:
    """Where the page starts and ends: after the cursor's run, or with ``from_prev`` before it."""
    cursor = query.get("pq", "")
    if not cursor:
        return 0, limit
    if query.get("from_prev", "").lower() in ("true", "1"):
        end = sum((run.id > cursor) if newest_first else (run.id < cursor) for run in found)
        return max(0, end - limit), end
    begin = sum((run.id >= cursor) if newest_first else (run.id <= cursor) for run in found)
    return begin, begin + limit


def _filter(text: str, switches: Switches) -> Test:
    """Parse a filter. NOT binds tighter than AND, and AND tighter than OR; there are no parentheses."""
    if not text or switches.list_filter == "ignored":
        return lambda run: True
    alternatives: list[list[Test]] = [[]]
    position = 0
    joint: str | None = "AND"
    while joint is not None:
        match = CONDITION.match(text, position)
        if match is None:
            raise Refusal(switches.list_filter_status, f"q: syntax error at character {position + 1}")
        alternatives[-1].append(_condition(match, switches))
        position, joint = match.end(), match["joint"]
        if joint == "OR":
            alternatives.append([])
    return lambda run: any(all(test(run) for test in tests) for tests in alternatives)


def _condition(match: re.Match[str], switches: Switches) -> Test:
    field, sign, value = match["field"], match["operator"], match["value"].strip("'\"")
    form = "eq" if sign == ".EQ:" else "plain"
    if switches.list_filter not in ("both", form):
        raise Refusal(switches.list_filter_status, f"q: the operator {sign!r} is not supported")
    compare, negated = OPERATORS[sign], bool(match["negated"])
    if field == "created_at":
        moment = _moment(value, switches)
        return lambda run: compare(run.created_at, moment) != negated
    if field not in ("client_ref", "status_code"):
        raise Refusal(switches.list_filter_status, f"q: there is no filter on {field!r}")
    return lambda run: compare((run.client_ref or "") if field == "client_ref" else run.status, value) != negated


def _moment(value: str, switches: Switches) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Refusal(switches.list_filter_status, f"q: {value!r} is not a date") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
