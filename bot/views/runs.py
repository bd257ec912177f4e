"""Runs as their members see them: the card, the message in the channel, the receipt, the history, the quota."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.limits import Standing
from bot.domain.models import VeoRequest
from bot.domain.queue import Turn
from bot.domain.records import Link
from bot.domain.runs import Delivery, Ending, Notice, Run, RunState, blocked_by_policy
from bot.domain.video_files import MP4, VideoFormat
from bot.facts import Code, Duration, Fact, Moment, Named, Ordinal, Quote, Strong, Text, Url, Usd, text
from bot.views import Action, Figure, Tone, View

PROMPT_CHARS = 300
CARD_PROMPT_CHARS = 1000
LIST_PROMPT_CHARS = 60
REASON_CHARS = 300
_DEFAULT = VeoRequest(prompt="")


def options(request: VeoRequest) -> Text:
    """Length and picture of a video, and whatever else was chosen: `8 s · 720p · no sound`."""
    parts: list[Fact] = [Duration(request.seconds), request.resolution]
    if request.aspect_ratio != _DEFAULT.aspect_ratio:
        parts.append(request.aspect_ratio)
    if not request.generate_audio:
        parts.append(text("option.silent"))
    if request.seed is not None:
        parts.append(text("option.seed", seed=str(request.seed)))
    if request.negative_prompt:
        parts.append(text("option.without", words=Quote(request.negative_prompt, 100)))
    if request.safety_tolerance != _DEFAULT.safety_tolerance:
        parts.append(text("option.tolerance", tolerance=request.safety_tolerance))
    if not request.auto_fix:
        parts.append(text("option.no_auto_fix"))
    return dotted(*parts)


def dotted(*parts: Fact) -> Text:
    """Short facts in one line, with dots between them."""
    return text("dotted", parts=tuple(parts))


# The card, for the caller alone


def card(run: Run, standings: Sequence[Standing], turn: Turn | None = None, *, last: bool = False) -> View:
    """Where a run stands, with options, price, and what is left. The state is the title.

    `turn`: where it stands in line, and when it is expected. `last`: the card is not updated any more.
    """
    figures = [
        Figure(label=text("label.options"), lines=(options(run.request),), wide=True),
        Figure(label=text("label.price"), lines=(text("is", fact=Usd(run.price_u)),)),
        Figure(label=text("label.limit"), lines=(left_text(standings[-1]),)),
    ]
    if warnings := nearly_used(standings, run.server):
        figures.append(Figure(label=text("label.nearly_used"), lines=tuple(warnings), wide=True))
    return View(
        title=title(run, turn),
        quote=Quote(run.request.prompt, CARD_PROMPT_CHARS),
        lines=(*_progress(run, turn), *([text("card.stops")] if last else ())),
        figures=tuple(figures),
        small=(text("run_id", id=Code(run.run_id)),),
        actions=(cancel_button(run),) if run.in_line else (),
        tone=_tone(run),
    )


def title(run: Run, turn: Turn | None = None) -> Text:
    """The state of a run as the title of its card, in line with its place: `In line · 4th`."""
    if run.in_line and turn is not None and turn.place:
        return text("place.in_line", place=Ordinal(turn.place))
    return text(f"card.{_title(run)}")


def _progress(run: Run, turn: Turn | None) -> list[Text]:
    expected = turn_lines(turn)
    return expected if run.in_line and expected else [*status(run), *expected]


def turn_lines(turn: Turn | None) -> list[Text]:
    """When a run is expected, as far as that is known."""
    if turn is None:
        return []
    latest = Moment(turn.ready_p80_at, "clock")
    if turn.starts_at is None:
        return [text("turn.at_work", ready=Moment(turn.ready_p50_at), latest=latest)]
    return [text("turn.waiting", starts=Moment(turn.starts_at), latest=latest)]


def cancel_button(run: Run) -> Action:
    """Under the card of a run that was not ordered yet."""
    return Action(verb="cancel", about=run.run_id, label=text("button.cancel"))


def _title(run: Run) -> str:
    if run.terminal:
        return f"ended.{run.ending or Ending.FAILED}"
    if run.state == RunState.RESERVED and run.in_line:
        return "in_line"
    if run.state == RunState.RUNNING:
        return "overdue" if run.overdue else "at_veo" if run.provider_status in _WAITING else "running"
    return str(run.state)


_WAITING = (None, "queued", "dispatching")  # words of Runflow's for a run that it has not begun


def _tone(run: Run) -> Tone:
    if run.terminal:
        return Tone.GOOD if run.shows_video else Tone.BAD
    return Tone.WAITING if run.state == RunState.UNKNOWN else Tone.NEUTRAL


def status(run: Run) -> list[Text]:
    """Where a run stands, with its member's money: private."""
    if run.withdrawn:
        return [text("ended.withdrawn")]
    if run.terminal:
        return [*_ended(run), charge(run)]
    match run.state:
        case RunState.RESERVED if run.posts == 0 and run.tries > 0:
            return [text("status.in_line", since=Moment(run.created_at, "clock"))]
        case RunState.RESERVED if run.unclear_posts > 0 and run.tries == 0:
            return [text("status.sent_again")]
        case RunState.RESERVED if run.posts > 0:
            return [text("status.retrying")]
        case RunState.AMBIGUOUS:
            return [text("status.ambiguous")]
        case RunState.UNKNOWN:
            return [text("status.unknown"), text("status.held", amount=Usd(run.price_u))]
        case RunState.RUNNING:
            since = Moment(run.provider_status_at or run.state_at, "clock")
            news = [text("status.waiting" if run.provider_status in _WAITING else "status.running", since=since)]
            return [*news, text("status.overdue")] if run.overdue else news
        case _:
            return [text("status.sending")]


def _ended(run: Run) -> list[Text]:
    if run.shows_video:
        place = "member" if run.direct else "channel"
        where = {Delivery.DELIVERED: place, Delivery.UNDELIVERABLE: "nowhere"}.get(run.delivery, f"soon_{place}")
        return [text(f"posted.{where}")]
    return [text(f"ended.{run.ending or Ending.FAILED}")]


def charge(run: Run) -> Text:
    """What an ended run was charged, as the ledger has it."""
    if run.charged_u == 0:
        return text("charge.none")
    charged = Usd(run.charged_u)
    if run.cost_u is None:
        line = text("charge.estimated", amount=charged)
    elif run.charged_u != run.price_u:
        line = text("charge.differs", amount=charged, quote=Usd(run.price_u))
    else:
        line = text("charge.as_quoted", amount=charged)
    return text("charge.refunded", charge=line, amount=Usd(run.refunded_u)) if run.refunded_u else line


# The message in the channel


def notice(run: Run, *, link: Link | None, lost: bool, video_format: VideoFormat = MP4, link_fits: bool = True) -> View:
    """The message in the channel: what happened and what to try next; never a word of money.

    `link`: what comes with it in place of a file. `lost`: nothing comes with it, so a video that was made could not be
    had. `link_fits`: the address is not too long to be posted.
    """
    lines: list[Text] = []
    if run.direct:
        lines.append(text("notice.direct", channel=Named(f"channel:{run.channel}")))
    if not run.plain:
        lines += _reasons(run)
    if run.notice == Notice.RESULT and run.shows_video and lost:
        lines.append(text("notice.lost"))
    if link is not None:
        shown = link_lines(link, could_not_attach=run.uploads > 0)
        lines += shown if link_fits else [shown[0], text("link.too_long")]
    else:
        lines += format_lines(video_format)
    facts = [_made(run)] if run.notice == Notice.RESULT and run.shows_video and not run.plain else []
    return View(
        title=text(f"headline.{_headline(run)}", member=Named(f"member:{run.member}")),
        quote=None if run.plain else Quote(run.request.prompt, PROMPT_CHARS),
        lines=tuple(lines),
        small=(*facts, marker(run)),
        actions=(receipt_button(run),),
    )


def receipt_button(run: Run) -> Action:
    """Under a result: what it cost, for those whom it concerns."""
    return Action(verb="receipt", about=run.run_id, label=text("button.receipt"))


def marker(run: Run) -> Text:
    """The last line of a message about a run: by it the message is found again."""
    kind = run.notice or Notice.RESULT
    return text("run_id" if kind == Notice.RESULT else f"run_id.{kind}", id=Code(run.run_id))


def _headline(run: Run) -> str:
    if run.notice in (Notice.UNKNOWN, Notice.OVERDUE):
        return str(run.notice)
    return str(run.ending or Ending.FAILED)


def _made(run: Run) -> Text:
    """What can be said of a video that was made, for those who want another like it."""
    facts: list[Fact] = [options(run.request)]
    if run.seed_used is not None and run.seed_used != run.request.seed:
        facts.append(text("option.seed", seed=str(run.seed_used)))
    if run.took_ms is not None:
        facts.append(text("took", time=Duration(run.took_ms / 1000)))
    return dotted(*facts)


def _reasons(run: Run) -> list[Text]:
    """Why there is no video, and what to try next."""
    if run.notice == Notice.UNKNOWN:
        return [text("next.unknown")]
    if run.notice == Notice.OVERDUE or run.shows_video:
        return []
    said = run.failure_message if run.failure_code not in OUR_CODES else None
    reason = [text("notice.reason", reason=Quote(said, REASON_CHARS))] if said else []
    return [*reason, text(f"next.{_next_step(run)}")]


def _next_step(run: Run) -> str:
    if run.ending != Ending.FAILED:
        return str(run.ending)
    code = (run.failure_code or "").upper()
    if blocked_by_policy(run.failure_code, run.failure_message):
        return "policy"
    if code in OPERATOR_CODES:
        return "operator"
    return f"failed.{code.lower()}" if code in OUR_CODES else "failed"


OUR_CODES = frozenset({"UNREACHABLE", "NO_TURN", "NEVER_ARRIVED"})
OPERATOR_CODES = frozenset(
    {
        "UNAUTHORIZED",
        "INSUFFICIENT_CREDIT",
        "PERMISSION_DENIED",
        "EMAIL_NOT_VERIFIED",
        "ORGANIZATION_MEMBERSHIP_REQUIRED",
        "ROLE_UNRESOLVED",
        "IMPERSONATION_READ_ONLY",
        # The address, the key or the way to Runflow; 400, 413, 414 and 422 are about what was asked for.
        *(f"HTTP_{status}" for status in (300, 301, 302, 305, 307, 308, 401, 402, 403, 404, 405, 406, 410, 411, 412)),
        *(f"HTTP_{status}" for status in (415, 416, 417, 418, 421, 426, 428, 431, 451)),
    }
)


def link_lines(link: Link, *, could_not_attach: bool = False) -> list[Text]:
    """What comes in place of a clip that the channel does not take as a file."""
    lines = [text("link.could_not_attach" if could_not_attach else "link.too_large")]
    lines += format_lines(link.video_format)
    if link.expires_at is None:
        lines.append(text("link.of_provider"))
    else:
        lines.append(text("link.ours", until=Moment(link.expires_at)))
    return [*lines, text("is", fact=Url(link.url))]


def format_lines(video_format: VideoFormat) -> list[Text]:
    """What a member should know about a video that is not a usual MP4."""
    return [] if video_format == MP4 else [text(f"format.{video_format.name}")]


# Receipt, history, quota


def receipt(run: Run) -> View:
    """What a run costs its member, and by which rule: private."""
    first = charge(run) if run.terminal else text("receipt.held", amount=Usd(run.price_u))
    quoted = text("receipt.quoted", amount=Usd(run.price_u), when=Moment(run.created_at, "time"))
    return View(
        title=text("title.receipt"),
        quote=Quote(run.request.prompt, LIST_PROMPT_CHARS),
        lines=(options(run.request), quoted, first, text(f"rule.{_rule(run)}")),
        small=(text("run_id", id=Code(run.run_id)),),
    )


def _rule(run: Run) -> str:
    """Which rule of the product decided about the charge."""
    if run.state == RunState.UNKNOWN:
        return "unknown"
    if not run.terminal:
        return "open"
    if run.withdrawn:
        return "withdrawn"
    if run.failure_code == "RELEASED":
        return "released" if run.provider_id is None else "released_overdue"
    if run.cost_u is None:
        return "estimated" if run.charged_u else "unbilled"
    if run.ending == Ending.NSFW and run.charged_u:
        return "flagged"
    if not run.shows_video and run.charged_u:
        return "work_done"
    return "above_quote" if run.charged_u > run.price_u else "billed"


def history(runs: Sequence[Run]) -> View:
    """The member's latest runs with what each cost, newest first."""
    entries = [line for run in runs for line in history_lines(run)]
    return View(title=text("title.history"), lines=tuple(entries) or (text("history.none"),))


def history_lines(run: Run) -> list[Text]:
    """One run in a list: private."""
    if not run.terminal:
        money = text("history.held", amount=Usd(run.price_u))
    elif run.charged_u:
        money = text("is" if run.cost_u is not None else "history.estimated", fact=Usd(run.charged_u))
    else:
        money = text("history.free")
    if run.refunded_u:
        money = text("history.refunded", charge=money, amount=Usd(run.refunded_u))
    state = text(f"state.{_state(run)}")
    return [
        text("history.entry", prompt=Quote(run.request.prompt, LIST_PROMPT_CHARS), state=state, money=money),
        text("history.details", day=Moment(run.created_at, "date"), options=options(run.request), id=Code(run.run_id)),
    ]


def _state(run: Run) -> str:
    if run.shows_video:
        known = {Delivery.DELIVERED: "posted", Delivery.UNDELIVERABLE: "undeliverable"}
        return known.get(run.delivery, "on_its_way")
    return str(run.ending or run.state)


def quota(standings: Sequence[Standing], runs: Sequence[Run], server: str) -> View:
    """Every limit that concerns the member, their own first, then the latest runs."""
    *shared, own = standings
    lines = [
        *_own(own),
        *(_shared(each, server) for each in shared if each.limit_u is not None),
        *nearly_used(standings, server),
    ]
    return View(lines=(*lines, *(line for run in runs for line in history_lines(run))))


def left_text(standing: Standing) -> Text:
    """`$6.80 left this month`."""
    if standing.left_u is None or standing.limit_u is None:
        return text("left.unlimited", used=Usd(standing.spent_u))
    if standing.left_u == 0:
        return text("left.nothing", limit=Usd(standing.limit_u), resets=Moment(standing.resets_at))
    return text("left.some", left=Usd(standing.left_u), limit=Usd(standing.limit_u), resets=Moment(standing.resets_at))


def _own(standing: Standing) -> list[Text]:
    kind = standing.period.kind
    if standing.limit_u is None or standing.left_u is None:
        lines = [text(f"quota.unlimited.{kind}", used=Usd(standing.spent_u))]
    else:
        used, limit = Usd(standing.spent_u), Usd(standing.limit_u)
        left = Strong(Usd(standing.left_u))
        if standing.left_u:
            lines = [text(f"quota.left.{kind}", left=left, used=used, limit=limit)]
        else:
            lines = [text(f"quota.nothing_left.{kind}", used=used, limit=limit)]
    if standing.held_u:
        lines.append(text("quota.held", held=Usd(standing.held_u)))
    if standing.granted_u:
        lines.append(text("quota.extra", extra=Usd(standing.granted_u)))
    resets = Moment(standing.resets_at)
    return [*lines, text("quota.resets", when=Moment(standing.resets_at, "time"), relative=resets)]


def _shared(standing: Standing, server: str) -> Text:
    return text(
        f"quota.shared.{standing.period.kind}",
        level=level_text(standing.scope, server),
        left=Usd(standing.left_u or 0),
        limit=Usd(standing.limit_u or 0),
        resets=Moment(standing.resets_at),
    )


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
