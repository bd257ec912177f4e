"""The acts of admins: one table of what each does to the rules, and the figures that it is kept with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

from bot.domain.limits import Rule, RuleKind
from bot.domain.periods import PeriodKind
from bot.errors import BadRequest
from bot.facts import Named


class Verb(StrEnum):
    """What was done, as the log keeps it for ever."""

    SET_LIMIT = "limit set"
    SET_MEMBER_LIMIT = "member limit set"
    LIFT_LIMIT = "limit lifted"
    LIFT_MEMBER_LIMIT = "member limit lifted"
    GRANT = "grant"
    BLOCK = "block"
    UNBLOCK = "unblock"
    ALLOW = "allow"
    DISALLOW = "disallow"
    PAUSE = "pause"
    RESUME = "resume"
    REQUESTS_HERE = "requests here"
    REQUESTS_OFF = "requests off"
    SERVER_ON = "server on"
    SERVER_OFF = "server off"
    LANGUAGE = "language set"
    AUTOMATIC_LANGUAGE = "language automatic"
    REFUND = "refund"
    RELEASE = "release"
    APPROVE = "request approved"
    DENY = "request denied"


@dataclass(frozen=True, kw_only=True)
class RuleAct:
    """An act that puts one rule in force, or lifts one."""

    kind: RuleKind
    puts: bool
    missing: str = ""  # the code of the refusal where there is no rule to lift


RULE_ACTS: dict[Verb, RuleAct] = {
    Verb.BLOCK: RuleAct(kind=RuleKind.BLOCK, puts=True),
    Verb.UNBLOCK: RuleAct(kind=RuleKind.BLOCK, puts=False, missing="unblock.not_blocked"),
    Verb.ALLOW: RuleAct(kind=RuleKind.ALLOW, puts=True),
    Verb.DISALLOW: RuleAct(kind=RuleKind.ALLOW, puts=False, missing="disallow.not_listed"),
    Verb.PAUSE: RuleAct(kind=RuleKind.PAUSE, puts=True),
    Verb.RESUME: RuleAct(kind=RuleKind.PAUSE, puts=False, missing="resume.not_paused"),
    Verb.LIFT_LIMIT: RuleAct(kind=RuleKind.LIMIT, puts=False, missing="limit.none_to_remove"),
    Verb.LIFT_MEMBER_LIMIT: RuleAct(kind=RuleKind.EACH, puts=False, missing="limit.none_to_remove"),
}


def change_of(verb: Verb, server: str, subject: str, find: Callable[[str, RuleKind], Rule | None]) -> tuple[Rule, bool]:
    """The rule that an act of `RULE_ACTS` is about, and whether it is put in force; `find` looks among those that are.

    Raises BadRequest where there is none of that server's to lift.
    """
    act = RULE_ACTS[verb]
    if act.puts:
        return Rule(server=server, subject=subject, kind=act.kind), True
    rule = find(subject, act.kind)
    if rule is None or rule.server != server:
        raise BadRequest(act.missing, who=Named(subject))
    return rule, False


@dataclass(frozen=True, kw_only=True)
class Detail:
    """The figures of an act. What an act says nothing of is None."""

    amount_u: int | None = None  # granted, refunded, released, or the price of an approved video
    period: PeriodKind | None = None  # of a limit of dollars
    limit_u: int | None = None  # beside a period: None is no limit
    in_flight: int | None = None  # videos in the works at a time
    language: str | None = None
    adds: tuple[tuple[str, int], ...] = ()  # by how much an approval passes which limits, each by its scope

    @classmethod
    def of_rule(cls, rule: Rule) -> Detail:
        """What a limit says."""
        return cls(period=rule.period, limit_u=rule.limit_u, in_flight=rule.in_flight)

    def to_json(self) -> str:
        """As it is kept: what is None is left out."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in (None, ())})

    @classmethod
    def of(cls, kept: str) -> Detail | None:
        """What was kept; None where that is a sentence, as versions before 0.2 kept it, or nothing."""
        try:
            found = json.loads(kept)
            adds = tuple((str(scope), int(over_u)) for scope, over_u in found.pop("adds", ()))
            return cls(adds=adds, **found)
        except (ValueError, TypeError, AttributeError):
            return None
