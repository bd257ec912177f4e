"""What admins may do: limits, extras, who may ask at all, pauses, refunds, reports. Each act is kept with its actor.

A server's admins rule what is asked for in their server, below the operator's ceilings; the acts on the whole bot are
those whose `Admin.server` is EVERYWHERE, and the front lets only the application's owner or team have such an Admin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, TextIO

from bot.domain.act_table import write_acts
from bot.domain.acts import Detail, Verb, change_of
from bot.domain.limits import (
    EVERYWHERE,
    TOTAL,
    Level,
    Policy,
    Rule,
    RuleKind,
    Rules,
    Spender,
    Standing,
    limit_text,
    server_scope,
)
from bot.domain.money import AMOUNT_MAX_U, parse_amount
from bot.domain.periods import PeriodKind
from bot.domain.records import Act, Admin, Change, End
from bot.domain.report import Report, days_of, write_runs
from bot.domain.runs import Ending, Run
from bot.errors import BadAmount, BadRequest, StoreDown
from bot.facts import Named, Text, Usd
from bot.log import get_logger
from bot.ports import Archive, Clock, Rulebook

log = get_logger("veo.admin")

DAY_S = 86400.0
REASON_CHARS_MAX = 300
_LENGTH: dict[PeriodKind, int] = {"day": 1, "week": 2, "month": 3}
NO_LIMIT = frozenset({"none", "no limit", "unlimited"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """What was decided about a server as a whole."""

    switched: bool | None  # whether the operator switched it on or off; None: neither, so the settings decide
    language: str | None  # of public messages there; None: the one that Discord names for the server


class Administration:
    """The acts of admins. Each raises a Refusal where it cannot be done, and changes nothing then."""

    def __init__(
        self, *, books: Rulebook, archive: Archive, policy: Policy, clock: Clock, look: Callable[[], None]
    ) -> None:
        self._books = books
        self._archive = archive
        self._policy = policy
        self._clock = clock
        self._look = look

    @property
    def total_ceiling(self) -> Text | None:
        """What the settings let the whole bot spend; None: no limit."""
        ceiling_u = self._policy.total_ceiling_u
        return None if ceiling_u is None else limit_text(ceiling_u, self._policy.period)

    async def once(self, admin: Admin, do: Callable[[], Awaitable[str]]) -> str:
        """Carry out what an admin asks for; a request that comes twice gets the answer of the first time.

        `do` gives the answer, also where that is a refusal. Raises StoreDown.
        """
        if (said := await self._books.answer_to(admin.origin)) is not None:
            return said
        said = await do()
        try:
            await self._books.keep_answer(admin.origin, said, now=self._clock.now())
        except StoreDown as error:  # the act is kept, so it is not reported as failed
            log.warning("answer not kept", origin=admin.origin, error=str(error.__cause__))
        return said

    async def change(self, admin: Admin, verb: Verb, subject: str | None = None, reason: str = "") -> Rules:
        """Do what `RULE_ACTS` says; the rules that are in force afterwards. `subject` None: all that this admin rules.

        Raises BadRequest where there is nothing to lift.
        """
        about = subject or _all_of(admin)

        def decision(rules: Rules) -> Change:
            rule, puts = change_of(verb, admin.server, about, rules.get)
            return Change(put=(rule,)) if puts else Change(lift=(rule,))

        return await self._decide(self._act(admin, verb, about, reason=reason), decision)

    # Limits

    async def set_limit(
        self,
        admin: Admin,
        subject: str,
        kind: Literal[RuleKind.LIMIT, RuleKind.EACH],
        *,
        amount: str | None,
        period: PeriodKind | None,
        in_flight: int | None,
    ) -> Rule:
        """Limit dollars, runs at a time, or both; what is not named stays as it is by then."""
        if amount is None and in_flight is None:
            raise BadRequest("limit.nothing_named")
        if amount is None and period is not None:
            raise BadRequest("limit.period_alone")
        unlimited = amount is not None and amount.strip().lower() in NO_LIMIT
        limit_u = None if amount is None or unlimited else parse_amount(amount)

        def decision(rules: Rules) -> Change:
            rule = rules.get(subject, kind) or Rule(server=admin.server, subject=subject, kind=kind)
            if in_flight is not None:
                rule = replace(rule, in_flight=in_flight)
            if amount is not None:
                rule = replace(rule, limit_u=limit_u, period=period or rule.period or self._policy.period)
            self._check_ceilings(rule)
            return Change(put=(rule,), detail=Detail.of_rule(rule).to_json())

        verb = Verb.SET_LIMIT if kind == RuleKind.LIMIT else Verb.SET_MEMBER_LIMIT
        rules = await self._decide(self._act(admin, verb, subject), decision)
        rule = rules.get(subject, kind)
        return rule or Rule(server=admin.server, subject=subject, kind=kind)

    async def grant(self, admin: Admin, subject: str, spender: Spender | None, amount: str, reason: str) -> Standing:
        """Allow so much more in the present period, for what is asked for in the admin's server.

        `spender`: the member, where the subject is one.
        """
        amount_u = parse_amount(amount)
        if amount_u == 0:
            raise BadAmount("grant.nothing")
        act = self._act(admin, Verb.GRANT, subject, Detail(amount_u=amount_u), reason)

        def level(rules: Rules) -> Level:
            found = self._limited(subject, spender, rules)
            if found.limit_u is None:
                raise BadRequest("grant.no_limit", who=Named(subject))
            if found.limit_u == 0:
                raise BadRequest("grant.zero_limit", who=Named(subject))
            if found.limit_u + amount_u > AMOUNT_MAX_U:
                raise BadAmount("grant.too_large", amount=Usd(amount_u))
            return found

        standing = await self._books.grant(admin.server, level, amount_u, act)
        _log(act)
        return standing

    async def rules(self, server: str) -> Rules:
        """The server's rules and the operator's."""
        return await self._books.rules(server)

    async def standing(self, admin: Admin, subject: str, spender: Spender | None) -> list[Standing]:
        """Where one level stands now: two lines where its limit and the operator's ceiling have other periods."""
        now = self._clock.now()
        who = spender or Spender(member="", server=admin.server, channel="")

        def plan(rules: Rules) -> list[Level]:
            if spender is not None:
                return [self._policy.member_level(spender, rules, now)]
            return self._policy.level(subject, rules, now)

        rules = await self._books.rules(admin.server)
        return await self._books.standings(who, lambda _: plan(rules))

    # Where to ask, and in which servers

    async def set_request_channel(self, admin: Admin, channel: str | None) -> None:
        """Take the requests of members over their limit in this channel, or in none."""

        def decision(rules: Rules) -> Change:
            old = tuple(rule for rule in rules if rule.kind == RuleKind.REQUEST_CHANNEL and rule.subject != channel)
            if channel is None:
                if not old:
                    raise BadRequest("requests.off_already")
                return Change(lift=old)
            return Change(lift=old, put=(Rule(server=admin.server, subject=channel, kind=RuleKind.REQUEST_CHANNEL),))

        verb = Verb.REQUESTS_OFF if channel is None else Verb.REQUESTS_HERE
        await self._decide(self._act(admin, verb, channel or _all_of(admin)), decision)

    async def switch(self, admin: Admin, server: str, name: str, *, on: bool, by_setting: bool) -> None:
        """Switch /veo on or off in a server, whatever the settings say; for the operator.

        `name`: what people call the server. `by_setting`: the settings have it on. Raises BadRequest where it is so
        already.
        """
        operator = replace(admin, server=EVERYWHERE, server_name=name)
        subject = server_scope(server)

        def decision(rules: Rules) -> Change:
            named, barred = rules.get(subject, RuleKind.SERVER_ENABLED), rules.get(subject, RuleKind.BLOCK)
            is_on = barred is None and (by_setting or named is not None)
            if is_on == on:
                raise BadRequest("switch.on_already" if on else "switch.off_already")
            put = (
                [RuleKind.SERVER_ENABLED]
                if on and not by_setting
                else [RuleKind.BLOCK]
                if by_setting and not on
                else []
            )
            return Change(
                put=tuple(Rule(server=EVERYWHERE, subject=subject, kind=kind) for kind in put),
                lift=tuple(rule for rule in (barred if on else named,) if rule is not None),
            )

        await self._decide(self._act(operator, Verb.SERVER_ON if on else Verb.SERVER_OFF, subject), decision)

    async def place(self, server: str) -> Place:
        """What was decided about the server as a whole."""
        rules = await self._books.rules(server, about=server_scope(server))
        barred, named = (rules.get(server_scope(server), kind) for kind in (RuleKind.BLOCK, RuleKind.SERVER_ENABLED))
        return Place(switched=False if barred else True if named else None, language=rules.language(server))

    async def set_language(self, admin: Admin, language: str | None) -> None:
        """Set the language of public messages in the server; None: the one that Discord names for it."""
        subject = server_scope(admin.server)

        def decision(rules: Rules) -> Change:
            if language is not None:
                rule = Rule(server=admin.server, subject=subject, kind=RuleKind.LANGUAGE, language=language)
                return Change(put=(rule,), detail=Detail(language=language).to_json())
            if (chosen := rules.get(subject, RuleKind.LANGUAGE)) is None:
                raise BadRequest("language.automatic_already")
            return Change(lift=(chosen,))

        verb = Verb.AUTOMATIC_LANGUAGE if language is None else Verb.LANGUAGE
        await self._decide(self._act(admin, verb, subject), decision)

    # Runs

    async def refund(self, admin: Admin, run_id: str, reason: str) -> Run:
        """Give the member back what a run was charged, or release the hold of an unknown or overdue one.

        The refund is an extra of the member's present period. What Runflow billed is gone, so the levels above the
        member go on counting it.
        """
        run = await self._run_of(admin, run_id)
        if run.releasable:
            return await self._release(admin, run, reason)
        if not run.terminal:
            raise BadRequest("refund.in_the_works")
        now = self._clock.now()
        detail = Detail(amount_u=run.charged_u)
        act = self._act(admin, Verb.REFUND, f"run:{run_id}", detail, reason, member=run.member)
        refunded = await self._books.refund(
            run_id,
            _charge_of,
            lambda rules: self._policy.member_level(Spender.of(run), rules, now),
            act,
        )
        _log(act)
        return refunded

    async def _run_of(self, admin: Admin, run_id: str) -> Run:
        """The run, to an admin of the server that it was asked for in. Raises BadRequest to any other."""
        run = await self._books.get(run_id)
        if run is None or admin.server not in (run.server, EVERYWHERE):
            raise BadRequest("run.not_here")
        return run

    async def _release(self, admin: Admin, run: Run, reason: str) -> Run:
        end = End(ending=Ending.FAILED, failure_code="RELEASED", failure_message="an admin gave it up")
        detail = Detail(amount_u=run.price_u)
        act = self._act(admin, Verb.RELEASE, f"run:{run.run_id}", detail, reason, member=run.member)
        released = await self._books.release(run, act, end)
        if released is None:
            raise BadRequest("refund.just_changed")
        _log(act)
        self._look()
        return released

    async def report(
        self, admin: Admin, days: int, table: TextIO, name_of: Callable[[str], str], *, bytes_max: int
    ) -> Report:
        """What was spent in the last `days` calendar days, today included; the runs themselves are written to `table`.

        `name_of` gives the words for a channel or a role; it is called in another thread. A table that becomes larger
        than `bytes_max` breaks off behind that, for nobody takes it any more. Raises StoreDown.
        """
        until = self._clock.now()
        today = self._policy.period_of("day", until)
        since = self._policy.period_of("day", today.starts_at - (days - 1) * DAY_S + DAY_S / 2).starts_at
        return await self._archive.report(
            None if admin.server == EVERYWHERE else admin.server,
            days_of(since, until, self._policy.zone),
            lambda runs: write_runs(runs, table, name_of, bytes_max),
        )

    async def acts(self, admin: Admin, limit: int) -> list[Act]:
        """What was done here, newest first; to the operator also what was done to members in any server."""
        return await self._books.acts(admin.server, limit)

    async def write_acts(
        self,
        admin: Admin,
        table: TextIO,
        name_of: Callable[[str], str],
        detail_of: Callable[[Act], str],
        *,
        bytes_max: int,
    ) -> tuple[int, int]:
        """Write all of these as CSV, as many as fit into so many bytes; how many there are, and how many were written.

        `name_of` is as in `report`, and `detail_of` puts an act's figures into words. Raises StoreDown.
        """
        return await self._archive.acts(
            admin.server, lambda acts: write_acts(acts, table, name_of, detail_of, bytes_max)
        )

    # Small helpers

    def _limited(self, subject: str, spender: Spender | None, rules: Rules) -> Level:
        now = self._clock.now()
        if spender is not None:
            return self._policy.member_level(spender, rules, now)
        return self._policy.level(subject, rules, now)[-1]

    def _check_ceilings(self, rule: Rule) -> None:
        """Refuse a limit that the operator's would not let anybody reach."""
        ceilings = [self._policy.total_ceiling_u, *([] if rule.subject == TOTAL else [self._policy.server_ceiling_u])]
        ceiling_u = min((each for each in ceilings if each is not None), default=None)
        if ceiling_u is None or rule.limit_u is None or rule.period is None:
            return
        if _LENGTH[rule.period] <= _LENGTH[self._policy.period] and rule.limit_u > ceiling_u:
            raise BadAmount(
                "limit.above_ceiling",
                limit=limit_text(rule.limit_u, rule.period),
                ceiling=limit_text(ceiling_u, self._policy.period),
            )

    async def _decide(self, act: Act, decision: Callable[[Rules], Change]) -> Rules:
        """Keep what is decided by the rules as they are then, with the act. Raises what the decision raises.

        A limit that comes or goes may count by a period that nobody counted by. It is opened with it, so that nobody
        who asks waits for that.
        """
        changed = ""

        def noted(rules: Rules) -> Change:
            nonlocal changed
            change = decision(rules)
            changed = change.detail
            rules_changed = (*change.put, *change.lift)
            return replace(change, opens=lambda after: self._policy.limited(rules_changed, after, act.at))

        rules = await self._books.decide(act, noted)
        _log(replace(act, detail=changed or act.detail))
        return rules

    def _act(
        self,
        admin: Admin,
        verb: Verb,
        subject: str,
        detail: Detail | None = None,
        reason: str = "",
        *,
        member: str = "",
    ) -> Act:
        """`member`: whose affairs it touches, where the subject does not say so."""
        return Act(
            at=self._clock.now(),
            server=admin.server,
            actor=admin.actor,
            actor_name=admin.name,
            verb=verb,
            subject=subject,
            detail=detail.to_json() if detail else "",
            reason=reason[:REASON_CHARS_MAX],
            server_name=admin.server_name,
            origin=admin.origin,
            member=member or (subject.removeprefix("member:") if subject.startswith("member:") else ""),
        )


def _log(act: Act) -> None:
    """An act that is kept; what was refused is not one."""
    facts = {"verb": act.verb, "server": act.server, "actor": act.actor, "subject": act.subject}
    log.info("act by an admin", **facts, detail=act.detail, reason=act.reason)


def _charge_of(run: Run) -> int:
    """What there is to refund. Raises BadRequest where that is nothing."""
    if run.charged_u == 0:
        raise BadRequest("refund.not_charged")
    return run.charged_u


def _all_of(admin: Admin) -> str:
    """Everything that this admin rules."""
    return TOTAL if admin.server == EVERYWHERE else server_scope(admin.server)
