"""What admins and the operator see: what their acts did, the rules in force, the log, the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bot.domain.acts import Verb
from bot.domain.languages import LANGUAGES
from bot.domain.limits import EVERYWHERE, TOTAL, Rule, RuleKind, Rules, Standing, limit_text
from bot.domain.records import Act
from bot.domain.report import Ranking, Report
from bot.domain.runs import Run
from bot.facts import Code, Duration, Fact, Moment, Named, Quote, Strong, Text, Usd, text
from bot.views import Figure, Tone, View
from bot.views.details import detail_text, limit_of

REASON_CHARS = 100
SERVER_NAME_CHARS = 60
TOP_GROUPS = 5
ALLOWED_NAMED_MAX = 20

# Limits


def who(subject: str, kind: RuleKind = RuleKind.LIMIT, *, server: str = "") -> Text:
    """Whom a rule is about: `each member with @Editors`, `this server`. `server`: where it is read."""
    sort, _, name = subject.partition(":")
    if sort == "role" and kind != RuleKind.ALLOW:
        if name == server:  # the role that everybody has
            sort = "everyone_each" if kind == RuleKind.EACH else "everyone_pool"
        else:
            sort = "role_each" if kind == RuleKind.EACH else "role_pool"
    return text(f"who.{sort}", name=Named(subject))


def limit_words(rule: Rule) -> Text:
    """What a limit says: `$25.00 a month, 2 videos at a time`."""
    return limit_of(rule.period is not None, rule.limit_u, rule.period or "month", rule.in_flight)


def limit_set(rule: Rule, standings: Sequence[Standing]) -> View:
    """What was set, and where that leaves the one it is about."""
    about = who(rule.subject, rule.kind, server=rule.server)
    lines = []
    if rule.period is not None and rule.limit_u:
        lines.append(text("done.limit", who=about, limit=limit_text(rule.limit_u, rule.period)))
    elif rule.period is not None and rule.limit_u == 0:
        lines.append(text("done.nothing", who=about))
    elif rule.period is not None:
        left = _still_bounds(rule.subject, standings)
        lines.append(text("done.ceiling_stays", who=about, limit=left) if left else text("done.no_limit", who=about))
    if rule.in_flight is not None:
        lines.append(text("done.in_flight", who=about, count=rule.in_flight))
    for standing in standings:
        used_u = standing.held_u + standing.spent_u
        if standing.granted_u:
            lines.append(text("done.extra", extra=Usd(standing.granted_u), left=Usd(standing.left_u or 0)))
        elif standing.limit_u and used_u > standing.limit_u:
            lines.append(text("done.already_over", used=Usd(used_u)))
    return View(lines=tuple(lines), tone=Tone.GOOD)


def _still_bounds(subject: str, standings: Sequence[Standing]) -> Text | None:
    """The ceiling of the settings that holds for a subject without a limit of its own."""
    own = next((each for each in standings if each.scope == subject and each.limit_u is not None), None)
    return None if own is None or own.limit_u is None else limit_text(own.limit_u, own.period.kind)


def limit_removed(
    subject: str, kind: RuleKind, rules: Iterable[Rule], standings: Sequence[Standing], server: str
) -> View:
    """What bounds a subject now that one of its limits is gone."""
    about = who(subject, kind, server=server)
    lines = [
        *(rule_line(rule, server) for rule in rules),
        *(standing_line(subject, each, server) for each in standings),
    ]
    if not lines:
        lines = [text("done.defaults_apply")]
    return View(lines=(text("done.limit_removed", who=about), *lines), tone=Tone.GOOD)


def limits(subject: str, rules: Iterable[Rule], standings: Sequence[Standing], server: str) -> View:
    """Where a level stands, and the rules that are in force."""
    lines = [standing_line(subject, each, server) for each in standings]
    return View(lines=(*lines, *(rule_line(rule, server) for rule in rules)))


def standing_line(subject: str, standing: Standing, server: str) -> Text:
    """Where a level stands, with all its figures."""
    facts: dict[str, Fact] = {
        "who": Strong(who(subject, server=server)),
        "left": Usd(standing.left_u or 0),
        "limit": Usd(standing.limit_u or 0),
        "used": Usd(standing.spent_u),
        "held": Usd(standing.held_u),
        "extra": Usd(standing.granted_u),
        "resets": Moment(standing.resets_at),
    }
    kind = standing.period.kind
    if standing.limit_u is None:
        return text(f"stands.unlimited.{kind}", **facts)
    return text(f"stands.{'extra' if standing.granted_u else 'limited'}.{kind}", **facts)


def rule_line(rule: Rule, server: str) -> Text:
    """One rule in force."""
    about = who(rule.subject, rule.kind, server=server)
    if rule.kind in (RuleKind.LIMIT, RuleKind.EACH):
        return text("limit_in_force", who=about, limit=limit_words(rule))
    if rule.language is not None:
        return text("public_language", language=LANGUAGES.get(rule.language, rule.language))
    return text(f"in_force.{rule.kind}", who=about)


def granted(subject: str, amount_u: int, standing: Standing, server: str) -> View:
    """What was added, and where that leaves the one it was added for."""
    return View(
        lines=(
            text("done.granted", who=who(subject, server=server), amount=Usd(amount_u)),
            standing_line(subject, standing, server),
        ),
        tone=Tone.GOOD,
    )


# Who may ask, and where


def changed(verb: Verb, subject: str, rules: Rules, *, everywhere: bool = False) -> View:
    """What an act on a rule did."""
    sort = subject.partition(":")[0]
    about = Named(subject)
    if verb == Verb.DISALLOW:
        left = tuple(map(Named, rules.subjects(RuleKind.ALLOW, f"{sort}:")[:ALLOWED_NAMED_MAX]))
        line = text(f"disallowed.{sort}" if left else f"disallowed_last.{sort}", who=about, others=left)
    elif verb == Verb.ALLOW:
        line = text(f"allowed.{sort}", who=about)
    else:
        line = text(f"did_everywhere.{verb}" if everywhere else f"did.{verb}", who=about)
    return View(lines=(line,), tone=Tone.GOOD)


def requests_go_to(channel: str | None) -> View:
    """Where members' requests go from now on, by its scope."""
    line = text("done.requests off") if channel is None else text("done.requests here", channel=Named(channel))
    return View(lines=(line,), tone=Tone.GOOD)


def language_chosen(language: str | None) -> View:
    """In which language everybody in a server is told from now on; None: in the one that its Discord names."""
    line = text("done.language automatic")
    if language is not None:
        line = text("done.language set", language=LANGUAGES[language])
    return View(lines=(line, text("done.language.private")), tone=Tone.GOOD)


def switched(name: Text, *, on: bool, by_setting: bool) -> View:
    """What switching a server on or off did. `by_setting`: the settings have it on."""
    lines = [text("done.server on" if on else "done.server off", server=name)]
    if not on and by_setting:
        lines.append(text("done.stays_off"))
    return View(lines=tuple(lines), tone=Tone.GOOD)


def server_name(server: str, name: str) -> Text:
    """A server by its name, as far as it is known, and by its id: names can be alike."""
    number = Code(server.rpartition(":")[2])
    return (
        text("server.named", name=Quote(name, SERVER_NAME_CHARS), id=number) if name else text("server.id", id=number)
    )


def refunded(run: Run, own: Standing) -> View:
    """What a refund or a release did. `own`: where the member's level stands now."""
    member = Named(f"member:{run.member}")
    if run.failure_code == "RELEASED" and not run.refunded_u:
        later = "done.release.unknown" if run.provider_id is None else "done.release.overdue"
        return View(lines=(text("done.release", amount=Usd(run.price_u), member=member), text(later)), tone=Tone.GOOD)
    lines = [text("done.refund", amount=Usd(run.refunded_u), member=member)]
    if own.limit_u == 0:
        lines.append(text("done.refund.no_limit"))
    return View(lines=(*lines, text("done.refund.paid")), tone=Tone.GOOD)


# The log


def act_line(act: Act, home: str) -> Text:
    """One act of the log of `home`, a server or EVERYWHERE: who did what when, to whom, and why."""
    parts: list[Fact] = [Moment(act.at, "time")]
    verb = act.verb if act.verb in set(Verb) else "other"
    parts.append(text(f"act.{verb}", who=Named(f"member:{act.actor}"), verb=act.verb, about=_about(act, home)))
    if act.server not in (home, EVERYWHERE):
        parts.append(text("in_server", server=server_name(act.server, act.server_name)))
    if (detail := detail_text(act)) is not None:
        parts.append(detail)
    if act.reason:
        parts.append(Quote(act.reason, REASON_CHARS))
    return text("dotted", parts=tuple(parts))


def _about(act: Act, home: str) -> Text:
    sort, _, name = act.subject.partition(":")
    if sort == "run":
        member = Named(f"member:{act.member}")
        return text("about.run_of" if act.member else "about.run", id=Code(name), member=member)
    if sort == "server" and name != home:
        return server_name(name, act.server_name)
    if sort != "role":
        return text(f"who.{sort}", name=Named(act.subject))
    if name == act.server:  # the role that everybody has
        return text("who.everyone_pool" if act.verb in (Verb.SET_LIMIT, Verb.GRANT) else "who.everyone_each")
    return text("is", fact=Named(act.subject))


def rest_of_acts(left: int, missing: int) -> list[Text]:
    """What a log says of the acts below its last line: how many there are, and of how many no file tells here."""
    if not left:
        return []
    if missing >= left:
        return [text("log.older_without_file", count=left)]
    lines = [text("log.older_in_file", count=left)]
    return [*lines, text("log.left_out_of_file", count=missing)] if missing else lines


# The report


def report(found: Report, *, chart_left_out: bool, table_left_out: bool) -> View:
    """What was spent, by whom and where. Left out: files that the place does not take."""
    rate = text("report.none_ended") if found.success_rate is None else _rate(found)
    wait = text("report.no_wait") if found.wait_median_s is None else text("is", fact=Duration(found.wait_median_s))
    money = text("report.held_and_refunded", held=Usd(found.held_u), refunded=Usd(found.refunded_u))
    figures = [
        Figure(label=text("report.spent"), lines=(text("is", fact=Usd(found.spent_u)), money)),
        Figure(label=text("report.succeeded"), lines=(rate, text("report.open", count=found.open, asked=found.runs))),
        Figure(label=text("report.wait"), lines=(wait,)),
        Figure(label=text("report.by_member"), lines=_top(found.members, "member")),
        Figure(label=text("report.by_role"), lines=_top(found.roles, "role")),
        Figure(label=text("report.by_channel"), lines=_top(found.channels, "channel")),
    ]
    if found.off_quote:
        key = "report.cost_more" if found.off_quote_u > 0 else "report.cost_less"
        line = text(key, count=found.off_quote, amount=Usd(abs(found.off_quote_u)))
        figures.append(Figure(label=text("report.off_quote"), lines=(line, text("report.mend_prices"))))
    if chart_left_out or table_left_out:
        what = "both" if chart_left_out and table_left_out else "chart" if chart_left_out else "table"
        figures.append(Figure(label=text("report.left_out"), lines=(text(f"report.left_out.{what}"),), wide=True))
    span = text("report.span", since=Moment(found.since, "date"), until=Moment(found.until, "date"))
    return View(title=text("title.report"), lines=(span,), figures=tuple(figures))


def _rate(found: Report) -> Text:
    return text("report.rate", percent=round(100 * (found.success_rate or 0.0)), count=found.ended)


def _top(ranking: Ranking, sort: str) -> tuple[Text, ...]:
    lines = [
        text("report.group", name=Named(f"{sort}:{group.key}"), spent=Usd(group.spent_u), count=group.videos)
        for group in ranking.groups[:TOP_GROUPS]
    ]
    if left := len(ranking.groups[TOP_GROUPS:]) + ranking.others:
        lines.append(text("more_in_file", count=left))
    return tuple(lines) or (text("report.nobody"),)


def total_set(rule: Rule, ceiling: Text | None) -> View:
    """What was set for the whole bot. `ceiling`: the limit of the settings, where there is one."""
    if rule.period is None or rule.limit_u is not None or ceiling is None:
        return limit_set(rule, [])
    shown = limit_set(replace(rule, period=None), [])
    return replace(shown, lines=(text("done.ceiling_stays", who=who(TOTAL), limit=ceiling), *shown.lines))


def total_removed(ceiling: Text | None) -> View:
    """After the whole bot's own limit was taken away. `ceiling`: the limit of the settings, where there is one."""
    left = text("done.no_ceiling") if ceiling is None else text("done.ceiling_applies", limit=ceiling)
    return View(lines=(text("done.limit_removed", who=who(TOTAL)), left), tone=Tone.GOOD)
