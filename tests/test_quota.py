"""What may be spent, where and by whom: which levels follow from rules and settings, and what a refusal says.

In one piece, because each refusal is worded by the levels that are tested above it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.limits import (
    EVERYWHERE,
    TOTAL,
    Level,
    OverLimit,
    Policy,
    Rule,
    RuleKind,
    Rules,
    Spender,
    Standing,
    TooManyInFlight,
    check_access,
)
from bot.domain.money import AMOUNT_MAX_U, USD_U
from bot.domain.periods import PeriodKind, period_at
from bot.domain.records import Choice, Offer, OfferKind
from bot.errors import NotAllowed, OverQuota, TooManyRuns
from bot.facts import Usd
from bot.views import View
from bot.views.wishes import refused
from tests.money import wish
from tests.parts import PRICES
from tests.words import said, shown

K = RuleKind
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
MONTH = period_at(NOW, "month", ZoneInfo("UTC"))
DAY = period_at(NOW, "day", ZoneInfo("UTC"))
KINDS: tuple[PeriodKind, ...] = ("day", "week", "month")
BO = Spender(member="discord:1", server="discord:2", channel="discord:3", roles=("discord:100", "discord:9"))
ME, SERVER, CHANNEL = "member:discord:1", "server:discord:2", "channel:discord:3"
SHARED = [TOTAL, SERVER, CHANNEL]
POOLS = ["role:discord:9", "role:discord:100"]
AMOUNTS = st.integers(0, AMOUNT_MAX_U)


def policy(
    member: int | None = 10, server: int | None = None, total: int | None = None, period: PeriodKind = "month"
) -> Policy:
    """The settings of an operator, in whole dollars."""
    member_u, server_u, total_u = (None if each is None else each * USD_U for each in (member, server, total))
    return Policy(
        member_limit_u=member_u,
        server_ceiling_u=server_u,
        total_ceiling_u=total_u,
        period=period,
        zone=ZoneInfo("UTC"),
        runs_per_member=3,
    )


def limit(
    subject: str,
    usd_: int | None,
    period: PeriodKind = "month",
    *,
    flights: int | None = None,
    kind: RuleKind = K.LIMIT,
) -> Rule:
    """A limit in whole dollars; None: expressly without one."""
    limit_u = None if usd_ is None else usd_ * USD_U
    return Rule(server=BO.server, subject=subject, kind=kind, period=period, limit_u=limit_u, in_flight=flights)


def each(role: str, usd_: int | None, period: PeriodKind = "month", *, flights: int | None = None) -> Rule:
    """What each member with a role may spend."""
    return limit(f"role:{role}", usd_, period, flights=flights, kind=K.EACH)


def flights(subject: str, most: int, kind: RuleKind = K.LIMIT) -> Rule:
    """A rule of runs at a time alone."""
    return Rule(server=BO.server, subject=subject, kind=kind, in_flight=most)


def bar(subject: str, kind: RuleKind, server: str = BO.server) -> Rule:
    return Rule(server=server, subject=subject, kind=kind)


def levels(*rules: Rule, by: Policy | None = None, who: Spender = BO) -> list[Level]:
    return (by or policy()).levels(who, NOW)(Rules(rules))


def level_of(scope: str, *rules: Rule, by: Policy | None = None) -> Level:
    """The one level of a scope."""
    (found,) = [each_ for each_ in levels(*rules, by=by) if each_.scope == scope]
    return found


RULES = st.lists(
    st.builds(
        Rule,
        server=st.just(BO.server),
        subject=st.sampled_from([*SHARED, *POOLS, ME, "role:discord:7", "member:discord:8", "channel:discord:5"]),
        kind=st.sampled_from([K.LIMIT, K.EACH, K.REQUEST_CHANNEL, K.SERVER_ENABLED]),
        period=st.sampled_from(KINDS),
        limit_u=st.none() | st.integers(0, 50),
        in_flight=st.none() | st.integers(0, 5),
    )
    | st.builds(flights, st.sampled_from([*SHARED, *POOLS, ME]), st.integers(0, 5))
)


class TestSpenders:
    def test_a_thread_is_charged_to_its_channel(self) -> None:
        """A wish counts where its budget is, wherever the video is posted, with the roles of its asking."""
        asked = wish("1", channel="discord:77", budget_channel="discord:3", roles=("discord:4",))
        assert asked.spender == Spender(
            member="discord:1", server="discord:2", channel="discord:3", roles=("discord:4",)
        )

    def test_the_scopes_stand_in_one_order(self) -> None:
        """The whole bot, the server, the channel, the roles by the number of their ids, the member."""
        assert BO.scopes == (*SHARED, *POOLS, ME)

    @given(st.permutations(["discord:9", "discord:10", "discord:99", "discord:100", "discord:1000"]))
    def test_no_order_of_the_roles_changes_that(self, roles: list[str]) -> None:
        """Ids differ in length: they are ordered as numbers, however Discord lists them."""
        who = replace(BO, roles=tuple(roles))
        ids = [int(scope.rpartition(":")[2]) for scope in who.scopes if scope.startswith("role:")]
        assert ids == [9, 10, 99, 100, 1000]


class TestLevels:
    def test_without_rules_the_settings_are_the_levels(self) -> None:
        """Every shared level keeps its books without a limit, and the member has everybody's."""
        assert levels() == [
            *(Level(scope=scope, period=MONTH, limit_u=None) for scope in SHARED),
            Level(scope=ME, period=MONTH, limit_u=10 * USD_U, in_flight_max=3),
        ]

    def test_each_limit_is_on_its_own_level(self) -> None:
        """Limits of the bot, the server, the channel, two pools and the member, each in its place."""
        scopes = [*SHARED, *POOLS, ME]
        found = levels(*(limit(scope, number) for number, scope in reversed(list(enumerate(scopes, 1)))))
        assert [(each_.scope, each_.limit_u) for each_ in found] == [
            (scope, number * USD_U) for number, scope in enumerate(scopes, 1)
        ]

    @given(rules=RULES, by=st.builds(policy, st.just(1), *[st.none() | st.just(9)] * 2, st.sampled_from(KINDS)))
    def test_whatever_the_rules_the_order_is_the_same(self, rules: list[Rule], by: Policy) -> None:
        """No rule puts a level out of its place or adds one that is not the spender's, and the member comes last."""
        scopes = [each_.scope for each_ in levels(*rules, by=by)]
        places = [BO.scopes.index(scope) for scope in scopes]
        assert places == sorted(places)
        assert {*SHARED, ME} <= set(scopes)
        assert scopes.count(ME) == 1
        assert scopes[-1] == ME

    @given(RULES)
    def test_no_level_stands_twice_in_one_period(self, rules: list[Rule]) -> None:
        """A run is held once in each period of a scope."""
        found = [
            (each_.scope, each_.period.key) for each_ in levels(*rules, by=policy(server=5, total=9, period="week"))
        ]
        assert len(found) == len(set(found))

    @pytest.mark.parametrize("period", KINDS)
    def test_a_limit_counts_by_its_own_period(self, period: PeriodKind) -> None:
        """An admin's day stands beside the operator's month, in the operator's time zone."""
        by = replace(policy(), zone=ZoneInfo("Pacific/Auckland"))
        assert level_of(CHANNEL, limit(CHANNEL, 5, period), by=by).period == period_at(NOW, period, by.zone)
        assert level_of(ME, limit(ME, 5, period), by=by).period == period_at(NOW, period, by.zone)

    def test_a_rule_of_runs_alone_says_nothing_of_dollars(self) -> None:
        """Where only runs at a time are limited, the level keeps what it had of money."""
        by = policy(server=20)
        assert level_of(SERVER, flights(SERVER, 2), by=by) == Level(
            scope=SERVER, period=MONTH, limit_u=None, ceiling_u=20 * USD_U, in_flight_max=2
        )
        assert level_of(ME, flights(ME, 2)) == Level(scope=ME, period=MONTH, limit_u=10 * USD_U, in_flight_max=2)

    def test_no_limit_and_nobody_are_two_things(self) -> None:
        """A rule may say that there is no limit, and it may say zero."""
        assert level_of(CHANNEL, limit(CHANNEL, None)).limit_u is None
        assert level_of(CHANNEL, limit(CHANNEL, 0)).limit_u == 0
        assert level_of(ME, limit(ME, None)).limit_u is None
        assert level_of(ME, limit(ME, 0)).limit_u == 0

    def test_the_rules_of_others_do_not_matter(self) -> None:
        """Limits of another member, channel or role change nothing."""
        others = [limit("member:discord:8", 1), limit("channel:discord:8", 1), limit("role:discord:8", 1)]
        assert levels(*others, each("discord:8", 1)) == levels()


class TestPools:
    def test_a_pool_is_there_only_where_it_is_set(self) -> None:
        """Of the roles that a member has, those with a limit of their own are pools; no others are."""
        pool = limit("role:discord:100", 7)
        assert [each_.scope for each_ in levels(pool)] == [*SHARED, "role:discord:100", ME]
        assert level_of("role:discord:100", pool) == Level(scope="role:discord:100", period=MONTH, limit_u=7 * USD_U)

    def test_a_role_of_others_is_no_pool(self) -> None:
        """Who has not the role does not spend from it."""
        assert levels(limit("role:discord:100", 7), who=replace(BO, roles=())) == levels()

    def test_a_member_limit_by_role_is_no_pool(self) -> None:
        """What each member with a role may spend is not shared, and a pool is nobody's own limit."""
        assert [each_.scope for each_ in levels(each("discord:9", 7))] == [*SHARED, ME]
        assert level_of(ME, limit("role:discord:9", 7)).limit_u == 10 * USD_U

    def test_a_role_can_have_both(self) -> None:
        """A pool of $50 of which each member may take $5."""
        found = levels(limit("role:discord:9", 50), each("discord:9", 5))
        assert [(each_.scope, each_.limit_u) for each_ in found[-2:]] == [
            ("role:discord:9", 50 * USD_U),
            (ME, 5 * USD_U),
        ]


class TestMembers:
    def test_the_own_limit_comes_before_all_others(self) -> None:
        """Also where a role or the setting would allow more."""
        assert level_of(ME, limit(ME, 1), each("discord:9", 99), by=policy(50)).limit_u == USD_U

    def test_the_roles_come_before_the_setting(self) -> None:
        """Also where the setting would allow more."""
        assert level_of(ME, each("discord:9", 1), by=policy(50)).limit_u == USD_U
        assert level_of(ME, each("discord:9", 1), by=policy(None)).limit_u == USD_U

    @pytest.mark.parametrize(
        ("one", "other", "best"),
        [
            (each("discord:9", 3), each("discord:100", 4), "other"),
            (each("discord:9", 4), each("discord:100", 3), "one"),
            (each("discord:9", 0), each("discord:100", 1), "other"),
            (each("discord:9", None), each("discord:100", 999), "one"),
            (each("discord:9", None, "day"), each("discord:100", 999), "one"),
            (each("discord:9", 2, "day"), each("discord:100", 59), "one"),  # 60 in 30 days
            (each("discord:9", 2, "day"), each("discord:100", 61), "other"),
            (each("discord:9", 7, "week"), each("discord:100", 29), "one"),  # 30 in 30 days
            (each("discord:9", 7, "week"), each("discord:100", 31), "other"),
            (each("discord:9", 2, "day"), each("discord:100", 13, "week"), "one"),  # 14 in a week
            (each("discord:9", 2, "day"), each("discord:100", 15, "week"), "other"),
        ],
    )
    def test_the_best_is_what_allows_most_in_a_month(self, one: Rule, other: Rule, best: str) -> None:
        """Amounts of different periods are compared by what comes together in 30 days; no limit is the most."""
        rule = one if best == "one" else other
        for rules in ([one, other], [other, one]):
            found = level_of(ME, *rules)
            assert (found.limit_u, found.period.kind) == (rule.limit_u, rule.period)

    @given(st.lists(st.tuples(st.integers(1, 9), AMOUNTS, st.sampled_from(KINDS)), min_size=1))
    def test_no_role_would_allow_more_than_the_best(self, each_of: list[tuple[int, int, PeriodKind]]) -> None:
        """Of any roles with limits, none is worth more in 30 days than the one that counts."""
        days = {"day": 1, "week": 7, "month": 30}
        rules = [replace(each(f"discord:{role}", 0, period), limit_u=limit_u) for role, limit_u, period in each_of]
        who = replace(BO, roles=tuple(f"discord:{role}" for role in range(1, 10)))
        found = levels(*rules, who=who)[-1]
        in_force = {rule.subject: rule for rule in rules}.values()
        assert found.limit_u is not None
        # limit x 30 / days, without a division
        assert all(
            found.limit_u * days[rule.period or "month"] >= (rule.limit_u or 0) * days[found.period.kind]
            for rule in in_force
        )

    def test_a_limit_of_runs_leaves_the_dollars_to_the_roles(self) -> None:
        """An own rule that names only runs at a time does not take a role's dollars away, nor the other way round."""
        found = level_of(ME, flights(ME, 9), each("discord:9", 4, flights=5))
        assert (found.limit_u, found.in_flight_max) == (4 * USD_U, 9)
        found = level_of(ME, limit(ME, 2), each("discord:9", 4, flights=5))
        assert (found.limit_u, found.in_flight_max) == (2 * USD_U, 5)
        found = level_of(ME, flights("role:discord:9", 5, K.EACH), each("discord:100", 4))
        assert (found.limit_u, found.in_flight_max) == (4 * USD_U, 5)

    @pytest.mark.parametrize(
        ("rules", "most"),
        [
            ([], 3),
            ([each("discord:9", 1, flights=1)], 1),
            ([each("discord:9", 1, flights=1), each("discord:100", 1, flights=7)], 7),
            ([each("discord:9", 1, flights=0)], 0),
            ([each("discord:9", 1, flights=7), flights(ME, 2)], 2),
            ([flights(ME, 0)], 0),
            ([flights("role:discord:8", 9, K.EACH)], 3),
        ],
    )
    def test_runs_at_a_time_follow_the_same_order(self, rules: list[Rule], most: int) -> None:
        """The own number, else the largest of the roles', else the setting; zero is nobody."""
        assert level_of(ME, *rules).in_flight_max == most


class TestCeilings:
    @pytest.mark.parametrize("scope", [TOTAL, SERVER])
    def test_a_ceiling_stands_without_any_rule(self, scope: str) -> None:
        """The operator's limits of the whole bot and of each server hold also where nobody made a rule."""
        found = level_of(scope, by=policy(server=20, total=20))
        assert found == Level(scope=scope, period=MONTH, limit_u=None, ceiling_u=20 * USD_U)

    @pytest.mark.parametrize("scope", [TOTAL, SERVER])
    def test_a_limit_of_the_same_period_shares_its_level(self, scope: str) -> None:
        """Limit and ceiling are two bounds of one level."""
        found = level_of(scope, limit(scope, 8, flights=4), by=policy(server=20, total=20))
        assert found == Level(scope=scope, period=MONTH, limit_u=8 * USD_U, ceiling_u=20 * USD_U, in_flight_max=4)

    @pytest.mark.parametrize("scope", [TOTAL, SERVER])
    def test_a_limit_of_another_period_stands_behind_its_ceiling(self, scope: str) -> None:
        """The ceiling of the month first, then the limit of the day; neither takes the other's bound."""
        found = levels(limit(scope, 8, "day", flights=4), by=policy(server=20, total=20))
        assert [each_ for each_ in found if each_.scope == scope] == [
            Level(scope=scope, period=MONTH, limit_u=None, ceiling_u=20 * USD_U),
            Level(scope=scope, period=DAY, limit_u=8 * USD_U, in_flight_max=4),
        ]

    def test_without_a_ceiling_a_limit_stands_alone(self) -> None:
        """Whatever its period."""
        assert level_of(SERVER, limit(SERVER, 8, "day")) == Level(scope=SERVER, period=DAY, limit_u=8 * USD_U)

    def test_channels_pools_and_members_have_none(self) -> None:
        """They are below their server's anyway."""
        found = levels(limit(CHANNEL, 8), limit(POOLS[0], 8), by=policy(server=20, total=20))
        assert {each_.scope: each_.ceiling_u for each_ in found if each_.scope not in (TOTAL, SERVER)} == {
            CHANNEL: None,
            POOLS[0]: None,
            ME: None,
        }

    @pytest.mark.parametrize(
        ("limit_u", "ceiling_u", "granted_u", "bound_u"),
        [
            (None, None, 0, None),
            (None, None, 5, None),
            (10, None, 0, 10),
            (10, None, 5, 15),
            (0, None, 5, 0),
            (1, None, 5, 6),
            (0, 20, 5, 0),
            (None, 20, 0, 20),
            (None, 20, 5, 20),
            (10, 20, 5, 15),
            (10, 20, 15, 20),
            (30, 20, 0, 20),
            (10, 0, 5, 0),
        ],
    )
    def test_a_grant_raises_the_limit_and_never_the_ceiling(
        self, limit_u: int | None, ceiling_u: int | None, granted_u: int, bound_u: int | None
    ) -> None:
        """What may be held and spent in all is the limit with its extras, and at most the ceiling."""
        level = Level(scope=SERVER, period=MONTH, limit_u=limit_u, ceiling_u=ceiling_u)
        assert level.bound(granted_u) == bound_u


class TestAccess:
    @pytest.mark.parametrize(
        ("rules", "code"),
        [
            ([bar(TOTAL, K.PAUSE, EVERYWHERE)], "access.paused_everywhere"),
            ([bar(SERVER, K.PAUSE)], "access.paused"),
            ([bar(ME, K.BLOCK)], "access.blocked"),
            ([bar("role:discord:7", K.ALLOW)], "access.role_needed"),
            ([bar("channel:discord:7", K.ALLOW)], "access.other_channel"),
            # The first reason in this order is the one that is told.
            ([bar(SERVER, K.PAUSE), bar(TOTAL, K.PAUSE, EVERYWHERE)], "access.paused_everywhere"),
            ([bar(ME, K.BLOCK), bar(SERVER, K.PAUSE)], "access.paused"),
            ([bar("role:discord:7", K.ALLOW), bar(ME, K.BLOCK)], "access.blocked"),
            ([bar("channel:discord:7", K.ALLOW), bar("role:discord:7", K.ALLOW)], "access.role_needed"),
            # One sort that is passed does not open the other.
            ([bar("role:discord:9", K.ALLOW), bar("channel:discord:7", K.ALLOW)], "access.other_channel"),
            ([bar("role:discord:7", K.ALLOW), bar(CHANNEL, K.ALLOW)], "access.role_needed"),
        ],
    )
    def test_who_may_not_is_told_why(self, rules: list[Rule], code: str) -> None:
        """Pauses, blocks and lists of roles and channels each have their own sentence of one line."""
        with pytest.raises(NotAllowed) as caught:
            check_access(BO, Rules(rules))
        assert caught.value.text.key == code
        assert re.fullmatch(r"[^\n]+\.", said(caught.value))

    @pytest.mark.parametrize(
        "rules",
        [
            [],
            [bar("server:discord:8", K.PAUSE)],
            [bar("member:discord:8", K.BLOCK)],
            [bar("role:discord:7", K.ALLOW), bar("role:discord:9", K.ALLOW)],
            [bar("channel:discord:7", K.ALLOW), bar(CHANNEL, K.ALLOW)],
            [bar("role:discord:100", K.ALLOW), bar(CHANNEL, K.ALLOW)],
            [bar("channel:discord:7", K.REQUEST_CHANNEL), bar(SERVER, K.SERVER_ENABLED, EVERYWHERE)],
            [limit("role:discord:7", 0), limit(ME, 0)],
        ],
        ids=["no rule", "another server", "another member", "a role", "the channel", "both", "no bar", "limits"],
    )
    def test_who_may_is_let_through(self, rules: list[Rule]) -> None:
        """One allowed role of a member's is enough, and what bars others bars nobody else."""
        check_access(BO, Rules(rules))

    def test_a_channel_is_allowed_with_its_threads(self) -> None:
        """What counts is the channel that is charged: of a thread its parent, never the thread's own id."""
        thread = wish("1", member=BO.member, channel="discord:77", budget_channel="discord:3").spender
        check_access(thread, Rules([bar("channel:discord:3", K.ALLOW)]))
        with pytest.raises(NotAllowed):
            check_access(thread, Rules([bar("channel:discord:77", K.ALLOW)]))

    def test_the_allowed_channels_are_named(self) -> None:
        """So that the front can say where to go."""
        rules = Rules([bar("channel:discord:7", K.ALLOW), bar("channel:discord:8", K.ALLOW)])
        with pytest.raises(NotAllowed) as caught:
            check_access(BO, rules)
        assert said(caught.value) == "Use `/veo` in <#7> and <#8>."

    def test_only_who_asks_is_checked(self) -> None:
        """Where a member stands can be seen by one who may not ask; a run can not be had."""
        rules = Rules([bar(ME, K.BLOCK)])
        assert policy().levels(BO, NOW)(rules) == levels()
        with pytest.raises(NotAllowed):
            policy().admission(BO, NOW)(rules)
        assert policy().admission(BO, NOW)(Rules()) == levels()


class TestRules:
    def test_the_last_word_counts(self) -> None:
        """One subject has one rule of each kind."""
        rules = Rules([limit(ME, 1), bar(ME, K.BLOCK), limit(ME, 2)])
        assert sorted(rules, key=lambda rule: rule.kind) == [bar(ME, K.BLOCK), limit(ME, 2)]
        assert rules.get(ME, K.LIMIT) == limit(ME, 2)
        assert rules.get(ME, K.ALLOW) is None

    def test_subjects_are_found_by_kind_and_sort(self) -> None:
        """Roles and channels of one kind, apart or together."""
        rules = Rules([bar(CHANNEL, K.ALLOW), bar("role:discord:9", K.ALLOW), limit("role:discord:9", 1)])
        assert rules.subjects(K.ALLOW) == [CHANNEL, "role:discord:9"]
        assert rules.subjects(K.ALLOW, "role:") == ["role:discord:9"]
        assert rules.subjects(K.BLOCK) == []


class TestStandings:
    def standing(self, limit_u: int | None, held_u: int, spent_u: int) -> Standing:
        return Standing(scope=ME, period=MONTH, limit_u=limit_u, held_u=held_u, spent_u=spent_u)

    @given(limit_u=AMOUNTS, held_u=AMOUNTS, spent_u=AMOUNTS)
    def test_what_is_left_is_never_below_zero(self, limit_u: int, held_u: int, spent_u: int) -> None:
        """The limit minus what is held and spent, zero where an excess went beyond it."""
        assert self.standing(limit_u, held_u, spent_u).left_u == max(0, limit_u - held_u - spent_u)

    def test_no_limit_is_not_a_limit_of_zero(self) -> None:
        """Without a limit nothing can be said to be left; with a limit of zero nothing is."""
        assert self.standing(None, 5, 5).left_u is None
        assert self.standing(0, 0, 0).left_u == 0

    def test_it_ends_with_its_period(self) -> None:
        """The reset is that of the period in which it counts."""
        assert self.standing(None, 0, 0).resets_at == MONTH.resets_at

    @pytest.mark.parametrize(
        ("limit_u", "held_u", "spent_u", "nearly"),
        [
            (10_000_000, 0, 7_999_999, False),
            (10_000_000, 0, 8_000_000, True),
            (10_000_000, 8_000_000, 0, True),
            (10_000_000, 4_000_000, 3_999_999, False),
            (10_000_000, 4_000_000, 4_000_000, True),
            (10_000_000, 0, 99_000_000, True),
            (1, 0, 0, False),
            (0, 0, 0, False),
            (None, 0, 99_000_000, False),
        ],
    )
    def test_it_is_nearly_used_from_80_percent_on(
        self, limit_u: int | None, held_u: int, spent_u: int, nearly: bool
    ) -> None:
        """Exactly at four fifths of the limit, held and spent together; never where there is nothing to use."""
        assert self.standing(limit_u, held_u, spent_u).nearly_used == nearly

    @given(limit_u=st.integers(1, AMOUNT_MAX_U), off=st.integers(-2, 2))
    @example(limit_u=AMOUNT_MAX_U, off=0)
    def test_the_line_is_exact_for_every_limit(self, limit_u: int, off: int) -> None:
        """To the micro-dollar, up to a billion dollars."""
        used_u = max(0, limit_u * 4 // 5 + off)
        assert self.standing(limit_u, 0, used_u).nearly_used == (used_u * 5 >= limit_u * 4)


def refusal(level: Level, price_u: int = 3_200_000, *, held_u: int = 0, spent_u: int = 0) -> OverLimit:
    standing = Standing(scope=level.scope, period=level.period, limit_u=level.bound(0), held_u=held_u, spent_u=spent_u)
    return OverLimit(level, price_u, standing)


def card(refusal_: OverLimit) -> View:
    """A refusal as its member sees it, with what fits into what is left at that level."""
    asked = wish("fox")
    fits = PRICES.nearest_that_fit(asked.request, refusal_.standing.left_u or 0, 3)
    choices = [(PRICES.quote(asked.request), asked.request), *fits]
    draft = Offer(
        offer_id="draft",
        kind=OfferKind.DRAFT,
        wish=asked,
        choices=tuple(Choice(request=request, price_u=price_u) for price_u, request in choices),
        expires_at=NOW,
    )
    return refused(refusal_, asked, PRICES, draft)


class TestRefusals:
    def test_a_member_is_told_price_and_rest(self) -> None:
        """Of the own limit both figures are said, and everything is there for the front."""
        level = Level(scope=ME, period=MONTH, limit_u=4_000_000)
        told = refusal(level, held_u=1_000_000, spent_u=500_000)
        assert isinstance(told, OverQuota)
        assert (told.scope, told.level, told.price_u, told.standing.left_u) == (ME, level, 3_200_000, 2_500_000)
        assert re.findall(r"\$[\d.]+\d", shown(card(told))) == ["$3.20", "$2.50", "$1.00"]
        labels = [said(each.label) for each in card(told).actions]
        assert labels == ["6 s · $2.40", "No sound · $1.60", "4 s · $1.60"]

    @pytest.mark.parametrize("scope", [*SHARED, *POOLS])
    @given(limit_u=AMOUNTS, held_u=AMOUNTS, spent_u=AMOUNTS, price_u=st.integers(1, 10**7), ceiling=st.booleans())
    def test_a_shared_level_shows_no_figure_but_the_price(
        self, scope: str, limit_u: int, held_u: int, spent_u: int, price_u: int, ceiling: bool
    ) -> None:
        """What others may spend, hold and have left is not told: the sentence depends on the price alone."""
        bounds = {"limit_u": None, "ceiling_u": limit_u} if ceiling else {"limit_u": limit_u}
        level = Level(scope=scope, period=MONTH, **bounds)
        told = shown(card(refusal(level, price_u, held_u=held_u, spent_u=spent_u)))
        assert set(re.findall(r"\$[\d.,]+\d", told)) <= {
            said("is", fact=Usd(price_u)),
            "$0.80",
            said("is", fact=Usd(limit_u)),
        }

    @pytest.mark.parametrize(
        ("limit_u", "ceiling_u", "used_u", "can"),
        [
            (5, None, 5, True),
            (0, None, 0, True),
            (5, 100, 5, True),
            (5, 15, 5, True),  # just room for the price below the ceiling
            (5, 14, 5, False),
            (20, 14, 5, False),
            (None, 14, 5, False),
            (0, 0, 0, False),
            (5, 10, 11, False),
        ],
    )
    def test_admins_can_raise_what_is_not_the_operators(
        self, limit_u: int | None, ceiling_u: int | None, used_u: int, can: bool
    ) -> None:
        """An admin's limit can be raised as far as the price then fits below the ceiling; a ceiling cannot."""
        level = Level(scope=SERVER, period=MONTH, limit_u=limit_u, ceiling_u=ceiling_u)
        assert refusal(level, 10, spent_u=used_u).admins_can_raise == can
        assert refusal(level, 10, held_u=used_u).admins_can_raise == can

    @pytest.mark.parametrize(
        ("scope", "words"),
        [
            (ME, "You already have 4 videos in the works."),
            (TOTAL, "4 videos are in the works, and there's no room for more."),
            (SERVER, "This server already has 4 videos in the works."),
            (CHANNEL, "This channel already has 4 videos in the works."),
            (POOLS[0], "Your role already has 4 videos in the works."),
        ],
    )
    def test_too_many_runs_names_the_level(self, scope: str, words: str) -> None:
        """Whose limit it is, and what to do."""
        told = TooManyInFlight(Level(scope=scope, period=MONTH, limit_u=None, in_flight_max=2), 4)
        assert isinstance(told, TooManyRuns)
        assert told.scope == scope
        assert said(told) == f"{words} Try again when one is done."
        none = TooManyInFlight(Level(scope=scope, period=MONTH, limit_u=None, in_flight_max=0), 0)
        assert said(none).endswith((" Questions? Ask an admin.", " Try again later."))
