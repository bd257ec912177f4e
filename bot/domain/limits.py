"""What may be spent, where and by whom: rules, the levels that follow from them, and where each level stands.

Pure: the store reads the rules and calls these decisions inside the transaction that acts on them.

A run is held on every level that it belongs to, all or nothing, always in this order: the whole bot, the server,
the channel, the pools of the member's roles by their ids, the member. A level's limit comes from

    the whole bot   the owner's limit, below QUOTA_TOTAL_USD
    the server      its admins' limit, below QUOTA_GUILD_USD
    the channel     its admins' limit
    a role's pool   its admins' limit, shared by all who have the role
    the member      an own limit, else the best of the roles' member limits, else QUOTA_USER_USD

A server's rules hold for what is asked for in that server; a member's books are one over all servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from bot.domain.periods import Period, PeriodKind, period_at
from bot.domain.runs import Run
from bot.errors import NotAllowed, OverQuota, TooManyRuns
from bot.facts import Named, Text, Usd, text

TOTAL = "total"  # the scope of the whole bot
EVERYWHERE = "*"  # in the place of a server: a rule of the operator's, for the whole bot
WARN_PERCENT = 80  # of a limit, from which on a level is said to be nearly used up
CHANNELS_NAMED_MAX = 10  # of those in which /veo may be used, to somebody who tried elsewhere
_A_MONTH_OF = {"day": 210, "week": 30, "month": 7}  # 30 days : 30/7 weeks : 1 month, in whole sevenths


def server_scope(server: str) -> str:
    return f"server:{server}"


def channel_scope(channel: str) -> str:
    return f"channel:{channel}"


def role_scope(role: str) -> str:
    return f"role:{role}"


def member_scope(member: str) -> str:
    return f"member:{member}"


@dataclass(frozen=True, kw_only=True)
class Spender:
    """Who spends, and where: what decides which levels a run is held on."""

    member: str
    server: str
    channel: str  # the one that is charged: of a thread, its parent
    roles: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run) -> Spender:
        """The spender of a run, with the roles of when it was asked for."""
        return cls(member=run.member, server=run.server, channel=run.budget_channel, roles=run.roles)

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every scope that the spending belongs to, in the order of the levels."""
        pools = (role_scope(role) for role in sorted(self.roles, key=_by_id))
        places = (TOTAL, server_scope(self.server), channel_scope(self.channel))
        return (*places, *pools, member_scope(self.member))


def _by_id(name: str) -> tuple[int, str]:
    """Numbers in a name by their value: ids differ in length."""
    digits = name.rpartition(":")[2]
    return (int(digits) if digits.isdecimal() else 0, name)


class RuleKind(StrEnum):
    """What a rule says of its subject."""

    LIMIT = "limit"  # what it may spend; of a role: what all who have it may spend together, its pool
    EACH = "each"  # of a role: what each member with it may spend
    ALLOW = "allow"  # a role or channel that may use /veo; where one is named, no other of its sort may
    BLOCK = "block"  # a member that may not; from the operator: a server in which nobody may
    PAUSE = "pause"  # a server, or the whole bot, in which nobody may now
    SERVER_ENABLED = "on"  # a server that the operator switched on
    REQUEST_CHANNEL = "desk"  # the channel to which requests of members over their limit go
    LANGUAGE = "language"  # of the public messages in a server


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One decision of an admin's, in force until it is lifted."""

    server: str  # whose admins made it; EVERYWHERE: the operator
    subject: str  # a scope
    kind: RuleKind
    period: PeriodKind | None = None  # None: the rule says nothing of dollars
    limit_u: int | None = None  # beside a period: None is no limit, 0 is nobody
    in_flight: int | None = None  # runs at a time; None: the rule says nothing of them
    language: str | None = None  # of LANGUAGE alone


def limit_text(limit_u: int | None, period: PeriodKind) -> Text:
    """A limit of dollars: `$25.00 a week`, or none."""
    return text("limit.none") if limit_u is None else text(f"limit.per_{period}", amount=Usd(limit_u))


class Rules:
    """The rules that one server has, with those of the operator's."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = {(rule.subject, rule.kind): rule for rule in rules}

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def get(self, subject: str, kind: RuleKind) -> Rule | None:
        return self._rules.get((subject, kind))

    def language(self, server: str) -> str | None:
        """The language of public messages there; None if no admin chose one."""
        rule = self.get(server_scope(server), RuleKind.LANGUAGE)
        return None if rule is None else rule.language

    def subjects(self, kind: RuleKind, sort: str = "") -> list[str]:
        """The subjects with a rule of this kind, of one sort such as `role:` or of any."""
        return [subject for subject, each in self._rules if each == kind and subject.startswith(sort)]


@dataclass(frozen=True, kw_only=True)
class Level:
    """One limit that a run is held against. Every level keeps its books, also without a limit."""

    scope: str  # `member:discord:123`
    period: Period
    limit_u: int | None  # None: no limit; 0: nobody may
    ceiling_u: int | None = None  # the operator's bound, which no grant of an admin raises
    in_flight_max: int | None = None  # runs at a time

    def bound(self, granted_u: int, approved_u: int = 0) -> int | None:
        """What may be held and spent in all; None: no limit. A limit of 0 is nobody, whatever was granted on top.

        `approved_u`: as much as an admin approved, which passes the limits that admins make, and only those.
        """
        bounds = [] if self.limit_u is None else [self.limit_u + granted_u if self.limit_u else 0]
        if self.scope != TOTAL:
            bounds = [max(bound_u, approved_u) for bound_u in bounds]
        return min([*bounds, *([] if self.ceiling_u is None else [self.ceiling_u])], default=None)


Plan = Callable[[Rules], list[Level]]  # from the rules in force to the levels of one run, in their order


def no_levels(_: Rules) -> list[Level]:
    """The plan of what concerns no level."""
    return []


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the operator's settings say; rules are made below them."""

    member_limit_u: int | None
    server_ceiling_u: int | None
    total_ceiling_u: int | None
    period: PeriodKind
    zone: ZoneInfo
    runs_per_member: int

    def levels(self, who: Spender, now: float) -> Plan:
        """The levels of what `who` asks for at `now`."""

        def plan(rules: Rules) -> list[Level]:
            pools = (role_scope(role) for role in sorted(who.roles, key=_by_id))
            return [
                *self.level(TOTAL, rules, now),
                *self.level(server_scope(who.server), rules, now),
                *self.level(channel_scope(who.channel), rules, now),
                *(each for pool in pools if rules.get(pool, RuleKind.LIMIT) for each in self.level(pool, rules, now)),
                self.member_level(who, rules, now),
            ]

        return plan

    def admission(self, who: Spender, now: float) -> Plan:
        """The same for one who may ask at all. Raises NotAllowed."""
        levels = self.levels(who, now)

        def plan(rules: Rules) -> list[Level]:
            check_access(who, rules)
            return levels(rules)

        return plan

    def level(self, scope: str, rules: Rules, now: float) -> list[Level]:
        """A shared scope's levels: one, or two where limit and ceiling count by different periods."""
        rule = rules.get(scope, RuleKind.LIMIT)
        ceiling_u = self.ceiling_u(scope)
        kind = self.period if rule is None or rule.period is None else rule.period
        own = Level(
            scope=scope,
            period=self.period_of(kind, now),
            limit_u=None if rule is None or rule.period is None else rule.limit_u,
            ceiling_u=ceiling_u if kind == self.period else None,
            in_flight_max=None if rule is None else rule.in_flight,
        )
        if ceiling_u is None or kind == self.period:
            return [own]
        ceiling = Level(scope=scope, period=self.period_of(self.period, now), limit_u=None, ceiling_u=ceiling_u)
        return [ceiling, own]

    def member_level(self, who: Spender, rules: Rules, now: float) -> Level:
        """The member's own limit, else the best of the roles', else everybody's."""
        own = rules.get(member_scope(who.member), RuleKind.LIMIT)
        roles = [rule for role in who.roles if (rule := rules.get(role_scope(role), RuleKind.EACH))]
        money = own if own and own.period else max((rule for rule in roles if rule.period), key=_worth, default=None)
        flights = [rule.in_flight for rule in roles if rule.in_flight is not None]
        if own and own.in_flight is not None:
            flights = [own.in_flight]
        return Level(
            scope=member_scope(who.member),
            period=self.period_of(money.period if money and money.period else self.period, now),
            limit_u=money.limit_u if money else self.member_limit_u,
            in_flight_max=max(flights, default=self.runs_per_member),
        )

    def limited(self, changed: Iterable[Rule], rules: Rules, now: float) -> list[Level]:
        """The levels on which these limits count, or no longer count; `rules`: those in force since then.

        What each member of a role may spend counts on the levels of those members, which are not among them.
        """
        subjects = dict.fromkeys(rule.subject for rule in changed if rule.kind == RuleKind.LIMIT)
        return [level for subject in subjects for level in self._levels_of(subject, rules, now)]

    def _levels_of(self, subject: str, rules: Rules, now: float) -> list[Level]:
        if subject.startswith("member:"):
            who = Spender(member=subject.removeprefix("member:"), server="", channel="")
            return [self.member_level(who, rules, now)]
        if subject.startswith("role:") and rules.get(subject, RuleKind.LIMIT) is None:
            return []  # a pool is there only where it is limited
        return self.level(subject, rules, now)

    def ceiling_u(self, scope: str) -> int | None:
        if scope == TOTAL:
            return self.total_ceiling_u
        return self.server_ceiling_u if scope.startswith("server:") else None

    def period_of(self, kind: PeriodKind, now: float) -> Period:
        return period_at(now, kind, self.zone)


def _worth(rule: Rule) -> tuple[bool, int]:
    """How much a rule allows, by what comes together in a month; no limit is the most."""
    return rule.limit_u is None, (rule.limit_u or 0) * _A_MONTH_OF[rule.period or "month"]


def check_access(who: Spender, rules: Rules) -> None:
    """Raise NotAllowed where this member may not ask for anything here now."""
    if rules.get(TOTAL, RuleKind.PAUSE):
        raise NotAllowed("access.paused_everywhere")
    if rules.get(server_scope(who.server), RuleKind.PAUSE):
        raise NotAllowed("access.paused")
    if rules.get(member_scope(who.member), RuleKind.BLOCK):
        raise NotAllowed("access.blocked")
    roles = rules.subjects(RuleKind.ALLOW, "role:")
    if roles and not any(role_scope(role) in roles for role in who.roles):
        raise NotAllowed("access.role_needed")
    channels = rules.subjects(RuleKind.ALLOW, "channel:")
    if channels and channel_scope(who.channel) not in channels:
        raise NotAllowed("access.other_channel", channels=tuple(map(Named, channels[:CHANNELS_NAMED_MAX])))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one level stands in one period."""

    scope: str
    period: Period
    limit_u: int | None  # with what was granted on top
    held_u: int
    spent_u: int
    granted_u: int = 0  # of that limit

    @property
    def resets_at(self) -> float:
        return self.period.resets_at

    @property
    def left_u(self) -> int | None:
        """What can still be spent, never below zero; None where there is no limit."""
        return None if self.limit_u is None else max(0, self.limit_u - self.held_u - self.spent_u)

    def over_u(self, price_u: int) -> int:
        """By how much a price is more than what is left."""
        return 0 if self.left_u is None else max(0, price_u - self.left_u)

    @property
    def nearly_used(self) -> bool:
        """Whether so much is held and spent that it should be said."""
        return bool(self.limit_u) and 100 * (self.held_u + self.spent_u) >= WARN_PERCENT * (self.limit_u or 0)


@dataclass(frozen=True, kw_only=True)
class Over:
    """One limit that a price would pass, and by how much."""

    standing: Standing
    over_u: int

    @property
    def scope(self) -> str:
        return self.standing.scope


def over_limits(standings: Iterable[Standing], price_u: int) -> list[Over]:
    """The limits of a server's admins that a price does not fit into, in the order of the levels."""
    theirs = (each for each in standings if each.scope != TOTAL)
    return [Over(standing=each, over_u=over_u) for each in theirs if (over_u := each.over_u(price_u))]


def most_u(over: Iterable[Over]) -> int:
    """By how much the price passes a limit at most; 0 where it fits into each."""
    return max((each.over_u for each in over), default=0)


class OverLimit(OverQuota):
    """A level refused a hold."""

    def __init__(self, level: Level, price_u: int, standing: Standing) -> None:
        self.level = level
        self.price_u = price_u
        self.standing = standing
        # A limit that a server's admin made one of them can pass; the operator's, of the whole bot or a ceiling, not.
        self.admins_can_raise = level.scope != TOTAL and (
            level.ceiling_u is None
            or (level.limit_u is not None and level.ceiling_u - standing.held_u - standing.spent_u >= price_u)
        )
        super().__init__("over.limit", price=Usd(price_u))

    @property
    def scope(self) -> str:
        return self.level.scope


class TooManyInFlight(TooManyRuns):
    """As many runs as a level allows at a time are under way."""

    def __init__(self, level: Level, flying: int) -> None:
        self.scope = level.scope
        sort = level.scope.partition(":")[0]
        super().__init__(f"flights.{sort}" if level.in_flight_max else f"flights.none.{sort}", count=flying)
