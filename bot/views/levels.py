"""Where a member stands at the levels that bound them, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.limits import Standing
from bot.facts import Named, Text, Usd, text


def left_text(standing: Standing) -> Text:
    """`$6.80 left this month`."""
    if standing.left_u is None or standing.limit_u is None:
        return text("left.unlimited")
    kind = standing.period.kind
    return text(f"left.some.{kind}" if standing.left_u else f"left.nothing.{kind}", left=Usd(standing.left_u))


def level_text(scope: str, server: str) -> Text:
    """What a level is called towards a member whom it concerns; a server's own role is everybody's there."""
    if scope == f"role:{server}":
        return text("who.everyone_pool")
    return text(f"level.{scope.partition(':')[0]}", who=Named(scope))


def nearly_used(standings: Sequence[Standing], server: str) -> list[Text]:
    """The levels of which four fifths are used; figures only of the member's own."""
    lines = []
    for standing in standings:
        if standing.nearly_used and standing.limit_u:
            if standing.scope.startswith("member:"):
                used = Usd(standing.held_u + standing.spent_u)
                lines.append(text("nearly_used.own", used=used, limit=Usd(standing.limit_u)))
            else:
                lines.append(text("nearly_used.shared", level=level_text(standing.scope, server)))
    return lines
