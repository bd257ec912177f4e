"""What admins may do: limits, extras, who may ask at all, pauses, refunds, reports. Each act is kept with its actor.

A server's admins rule what is asked for in their server, below the operator's ceilings; the acts on the whole bot are
those whose `Admin.server` is EVERYWHERE, and the front lets only the application's owner or team have such an Admin.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal, TextIO

from bot.domain.limits import EVERYWHERE, TOTAL, Level, Policy, Rule, RuleKind, Rules, Spender, Standing, server_scope
from bot.domain.money import AMOUNT_MAX_U, PeriodKind, parse_amount, usd
from bot.domain.records import Act, Admin, Change, End
from bot.domain.report import Report, make_report, tabled
from bot.domain.runs import Ending, Run
from bot.domain.untrusted import as_cell
from bot.errors import BadAmount, BadRequest, Refusal, StoreDown
from bot.log import get_logger
from bot.ports import Archive, Clock, Rulebook

log = get_logger("veo.admin")

DAY_S = 86400.0
REASON_CHARS_MAX = 300
_LENGTH: dict[PeriodKind, int] = {"day": 1, "week": 2, "month": 3}
NO_LIMIT = frozenset({"none", "no limit", "unlimited"})


class Administration:
    """The acts of admins. Each raises a Refusal with one sentence where it cannot be done, and changes nothing then."""

    def __init__(
        self, *, books: Rulebook, archive: Archive, policy: Policy, clock: Clock, look: Callable[[], None]
    ) -> None:
        self._books = books
        self._archive = archive
        self._policy = policy
        self._clock = clock
        self._look = look

    async def once(self, admin: Admin, do: Callable[[], Awaitable[str]]) -> str:
        """Carry out what an admin asks for; the same request again, in whatever way it comes twice, is not.

        It gets the answer of the first time, also where that was a refusal. Raises StoreDown.
        """
        if (said := await self._books.answer_to(admin.origin)) is not None:
            return said
        try:
            said = await do()
        except StoreDown:
            raise
        except Refusal as refusal:
            said = str(refusal)
        try:
            await self._books.keep_answer(admin.origin, said, now=self._clock.now())
        except StoreDown as error:  # the act is kept, so it is not told as one that is not
            log.warning("answer not kept", origin=admin.origin, error=str(error.__cause__))
        return said

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
            raise BadRequest("Name an amount of dollars, a number of runs at a time, or both; nothing was changed.")
        if amount is None and period is not None:
            raise BadRequest("A period needs an amount beside it; nothing was changed.")
        unlimited = amount is not None and amount.strip().lower() in NO_LIMIT
        limit_u = None if amount is None or unlimited else parse_amount(amount)

        def decision(rules: Rules) -> Change:
            rule = rules.get(subject, kind) or Rule(server=admin.server, subject=subject, kind=kind)
            if in_flight is not None:
                rule = replace(rule, in_flight=in_flight)
            if amount is not None:
                rule = replace(rule, limit_u=limit_u, period=period or rule.period or self._policy.period)
            self._check_ceilings(rule)
            return Change(put=(rule,), detail=_said(rule))

        rules = await self._books.decide(self._act(admin, f"{_NOUN[kind]} set", subject), decision)
        rule = rules.get(subject, kind)
        return rule or Rule(server=admin.server, subject=subject, kind=kind)

    async def lift_limit(self, admin: Admin, subject: str, kind: Literal[RuleKind.LIMIT, RuleKind.EACH]) -> Rules:
        """Take a limit away; the rules that are left."""
        return await self._lift(admin, subject, kind, f"{_NOUN[kind]} lifted")

    async def grant(self, admin: Admin, subject: str, spender: Spender | None, amount: str, reason: str) -> Standing:
        """Allow so much more in the present period, for what is asked for in the admin's server.

        `spender`: the member, where the subject is one.
        """
        amount_u = parse_amount(amount)
        if amount_u == 0:
            raise BadAmount("A grant of nothing changes nothing; name an amount above 0.")
        act = self._act(admin, "grant", subject, usd(amount_u), reason)

        def level(rules: Rules) -> Level:
            found = self._limited(subject, spender, rules)
            if found.limit_u is None:
                raise BadRequest("There is no limit that an extra could be added to; nothing was changed.")
            if found.limit_u == 0:
                raise BadRequest("The limit is $0.00: nobody may, whatever is added. Set another first.")
            if found.limit_u + amount_u > AMOUNT_MAX_U:
                raise BadAmount(f"{usd(amount_u)} is more than can be added; name a smaller amount.")
            return found

        return await self._books.grant(admin.server, level, amount_u, act)

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

    # Who may ask

    async def block(self, admin: Admin, subject: str, reason: str) -> None:
        """Let a member ask for nothing more in this server."""
        await self._put(admin, subject, RuleKind.BLOCK, "block", reason)

    async def unblock(self, admin: Admin, subject: str) -> None:
        await self._lift(admin, subject, RuleKind.BLOCK, "unblock")

    async def allow(self, admin: Admin, subject: str) -> None:
        """Let this role or channel use /veo, and from now on no other of its sort that is not allowed too."""
        await self._put(admin, subject, RuleKind.ALLOW, "allow")

    async def disallow(self, admin: Admin, subject: str) -> Rules:
        """Take a role or channel from those that may use /veo; the rules that are left."""
        return await self._lift(admin, subject, RuleKind.ALLOW, "disallow")

    async def pause(self, admin: Admin, reason: str) -> None:
        """Admit nothing more from this moment on; what runs goes on and is delivered."""
        await self._put(admin, _all_of(admin), RuleKind.PAUSE, "pause", reason)

    async def resume(self, admin: Admin) -> None:
        await self._lift(admin, _all_of(admin), RuleKind.PAUSE, "resume")

    async def set_desk(self, admin: Admin, channel: str | None) -> None:
        """Take the requests of members over their limit in this channel, or in none."""

        def decision(rules: Rules) -> Change:
            old = tuple(rule for rule in rules if rule.kind == RuleKind.DESK and rule.subject != channel)
            if channel is None:
                if not old:
                    raise BadRequest("No requests are taken in this server; nothing was changed.")
                return Change(lift=old)
            return Change(lift=old, put=(Rule(server=admin.server, subject=channel, kind=RuleKind.DESK),))

        verb = "requests off" if channel is None else "requests here"
        await self._books.decide(self._act(admin, verb, channel or _all_of(admin)), decision)

    async def switch(self, admin: Admin, server: str, name: str, *, on: bool, by_setting: bool) -> None:
        """Switch /veo on or off in a server, whatever the settings say; for the operator.

        `name`: what people call the server. `by_setting`: the settings have it on. Raises BadRequest where it is so
        already.
        """
        operator = replace(admin, server=EVERYWHERE, server_name=name)
        subject = server_scope(server)

        def decision(rules: Rules) -> Change:
            named, barred = rules.get(subject, RuleKind.ON), rules.get(subject, RuleKind.BLOCK)
            is_on = barred is None and (by_setting or named is not None)
            if is_on == on:
                raise BadRequest(f"`/veo` is {'on' if on else 'off'} in that server already. Nothing was changed.")
            put = [RuleKind.ON] if on and not by_setting else [RuleKind.BLOCK] if by_setting and not on else []
            return Change(
                put=tuple(Rule(server=EVERYWHERE, subject=subject, kind=kind) for kind in put),
                lift=tuple(rule for rule in (barred if on else named,) if rule is not None),
            )

        await self._books.decide(self._act(operator, f"server {'on' if on else 'off'}", subject), decision)

    async def switched(self, server: str) -> bool | None:
        """Whether the operator switched the server on or off; None: neither, so the settings decide."""
        rules = await self._books.rules(EVERYWHERE)
        if rules.get(server_scope(server), RuleKind.BLOCK):
            return False
        return True if rules.get(server_scope(server), RuleKind.ON) else None

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
            raise BadRequest(
                "That run is still under way; it is charged only what Runflow bills in the end. "
                "Should it never end, this releases it once it is overdue."
            )
        now = self._clock.now()
        act = self._act(admin, "refund", f"run:{run_id}", usd(run.charged_u), reason, member=run.member)
        refunded = await self._books.refund(
            run_id,
            _charge_of,
            lambda rules: self._policy.member_level(Spender.of(run), rules, now),
            act,
        )
        log.info("refunded", run=run_id, amount_u=refunded.refunded_u, actor=admin.actor)
        return refunded

    async def _run_of(self, admin: Admin, run_id: str) -> Run:
        """The run, to an admin of the server that it was asked for in. Raises BadRequest to any other."""
        run = await self._books.get(run_id)
        if run is None or admin.server not in (run.server, EVERYWHERE):
            raise BadRequest("No run of this server has that id; `/veo-admin report` lists them as CSV.")
        return run

    async def _release(self, admin: Admin, run: Run, reason: str) -> Run:
        end = End(ending=Ending.FAILED, failure_code="RELEASED", failure_message="an admin gave it up")
        held = f"{usd(run.price_u)} held"
        act = self._act(admin, "release", f"run:{run.run_id}", held, reason, member=run.member)
        released = await self._books.release(run, act, end)
        if released is None:
            raise BadRequest("Something became known of that run at this moment; look at it again.")
        log.warning("released", run=run.run_id, state=run.state, actor=admin.actor)
        self._look()
        return released

    async def report(self, admin: Admin, days: int, table: TextIO, name_of: Callable[[str], str]) -> Report:
        """What was spent in the last `days` calendar days, today included; the runs themselves are written to `table`.

        `name_of` gives the words for a channel or a role; it is called in another thread. Raises StoreDown.
        """
        until = self._clock.now()
        today = self._policy.period_of("day", until)
        since = self._policy.period_of("day", today.starts_at - (days - 1) * DAY_S + DAY_S / 2).starts_at
        return await self._archive.facts(
            None if admin.server == EVERYWHERE else admin.server,
            since,
            until,
            lambda facts: make_report(tabled(facts, table, name_of), since=since, until=until, zone=self._policy.zone),
        )

    async def acts(self, admin: Admin, limit: int) -> list[Act]:
        """What was done here, newest first; to the operator also what was done to members in any server."""
        return await self._books.acts(admin.server, limit)

    async def write_acts(
        self, admin: Admin, table: TextIO, name_of: Callable[[str], str], *, bytes_max: int
    ) -> tuple[int, int]:
        """Write all of these as CSV, as many as fit into so many bytes; how many there are, and how many were written.

        `name_of` is as in `report`. Raises StoreDown.
        """
        return await self._archive.acts(admin.server, lambda acts: _write_acts(acts, table, name_of, bytes_max))

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
                f"{usd(rule.limit_u)} per {rule.period} is above the operator's ceiling of {usd(ceiling_u)} per "
                f"{self._policy.period}; name at most that. Nothing was changed."
            )

    async def _put(self, admin: Admin, subject: str, kind: RuleKind, verb: str, reason: str = "") -> Rules:
        rule = Rule(server=admin.server, subject=subject, kind=kind)
        return await self._books.decide(self._act(admin, verb, subject, reason=reason), lambda _: Change(put=(rule,)))

    async def _lift(self, admin: Admin, subject: str, kind: RuleKind, verb: str) -> Rules:
        def decision(rules: Rules) -> Change:
            rule = rules.get(subject, kind)
            if rule is None or rule.server != admin.server:
                raise BadRequest("There is nothing to lift; nothing was changed.")
            return Change(lift=(rule,))

        return await self._books.decide(self._act(admin, verb, subject), decision)

    def _act(
        self, admin: Admin, verb: str, subject: str, detail: str = "", reason: str = "", *, member: str = ""
    ) -> Act:
        """`member`: whose affairs it touches, where the subject does not say so."""
        log.info("act by an admin", verb=verb, server=admin.server, actor=admin.actor, subject=subject)
        return Act(
            at=self._clock.now(),
            server=admin.server,
            actor=admin.actor,
            actor_name=admin.name,
            verb=verb,
            subject=subject,
            detail=detail,
            reason=reason[:REASON_CHARS_MAX],
            server_name=admin.server_name,
            origin=admin.origin,
            member=member or (subject.removeprefix("member:") if subject.startswith("member:") else ""),
        )


ACT_COLUMNS = (
    *("at", "actor", "actor_name", "act", "server", "server_name", "subject", "subject_name", "member"),
    *("detail", "reason"),
)


def _write_acts(acts: Iterator[Act], table: TextIO, name_of: Callable[[str], str], bytes_max: int) -> tuple[int, int]:
    """Write acts as CSV up to so many bytes; how many there are, and how many were written."""
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    writer.writerow(ACT_COLUMNS)
    found = written = 0
    for found, act in enumerate(acts, start=1):
        if written + 1 < found:
            continue  # the table is full; the rest is only counted
        name = act.subject.partition(":")[2]
        at = datetime.fromtimestamp(act.at, UTC).isoformat(timespec="seconds")
        texts = (act.actor, act.actor_name, act.verb, act.server, act.server_name, act.subject, name_of(name))
        writer.writerow((at, *map(as_cell, (*texts, act.member, act.detail, act.reason))))
        text = line.getvalue()
        bytes_max -= len(text.encode())
        if bytes_max >= 0:
            table.write(text)
            written = found
            line.seek(0)
            line.truncate()
    return found, written


_NOUN = {RuleKind.LIMIT: "limit", RuleKind.EACH: "member limit"}


def _charge_of(run: Run) -> int:
    """What there is to refund. Raises BadRequest where that is nothing."""
    if run.charged_u == 0:
        raise BadRequest("That run was not charged, so there is nothing to refund.")
    return run.charged_u


def _all_of(admin: Admin) -> str:
    """Everything that this admin rules."""
    return TOTAL if admin.server == EVERYWHERE else server_scope(admin.server)


def _said(rule: Rule) -> str:
    """A limit in words, as the acts keep it."""
    parts = (
        []
        if rule.period is None
        else [f"{'no limit' if rule.limit_u is None else usd(rule.limit_u)} per {rule.period}"]
    )
    return ", ".join(parts + ([] if rule.in_flight is None else [f"{rule.in_flight} runs at a time"]))
