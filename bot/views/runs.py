"""Runs as their members see them: the card, the message in the channel, the details of an end without a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.limits import Standing
from bot.domain.models import VeoRequest
from bot.domain.prices import PriceTable
from bot.domain.queue import Turn
from bot.domain.records import Link
from bot.domain.remakes import seed_of
from bot.domain.runs import Delivery, Ending, Notice, Run, RunState
from bot.domain.video_files import MP4, VideoFormat
from bot.facts import Code, Duration, Fact, Moment, Named, Ordinal, Quote, Text, Url, Usd, text
from bot.views import Action, Tone, View, buttons
from bot.views.levels import left_text, nearly_used

PROMPT_CHARS = 200  # in the channel: the file is to be seen, not the words
CARD_PROMPT_CHARS = 240  # two or three lines of a phone
REASON_CHARS = 300
_DEFAULT = VeoRequest(prompt="")


def options(request: VeoRequest) -> Text:
    """Length and picture of a video, and whatever else was chosen: `8 s · 720p · no sound`."""
    rest = chosen_options(replace(request, duration=_DEFAULT.duration, resolution=_DEFAULT.resolution))
    return dotted(Duration(request.seconds), request.resolution, *rest)


def chosen_options(request: VeoRequest) -> list[Fact]:
    """The options that differ from their defaults."""
    parts: list[Fact] = []
    if request.duration != _DEFAULT.duration:
        parts.append(Duration(request.seconds))
    parts += [
        value
        for value, usual in (
            (request.resolution, _DEFAULT.resolution),
            (request.aspect_ratio, _DEFAULT.aspect_ratio),
        )
        if value != usual
    ]
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
    return parts


def dotted(*parts: Fact) -> Text:
    """Short facts in one line, with dots between them."""
    return text("dotted", parts=tuple(parts))


# The card, for the caller alone


def card(
    run: Run, standings: Sequence[Standing], prices: PriceTable, turn: Turn | None = None, *, last: bool = False
) -> View:
    """Where a run stands: what was chosen, its price with what is left, and what to press next.

    `turn`: where it stands in line, and when it is expected. `last`: the card is not updated any more.
    """
    chosen = chosen_options(run.request)
    money = charge(run) if run.terminal else text("is", fact=Usd(run.price_u))
    state = title(run, turn)
    return View(
        title=dotted(text("take.yours"), state) if run.take == "yours" else state,
        quote=Quote(run.request.prompt, CARD_PROMPT_CHARS),
        lines=(
            *([text("take.final")] if run.take == "final" else []),
            *_progress(run, turn),
            *([text("card.stops")] if last else []),
            *([dotted(*chosen)] if chosen else []),
            dotted(money, left_text(standings[-1])),
            *nearly_used(standings, run.server),
        ),
        small=(text("run_id", id=Code(run.run_id)),),
        actions=_next(run, prices),
        tone=_tone(run),
    )


def _next(run: Run, prices: PriceTable) -> tuple[Action, ...]:
    """What its member can press on the card."""
    if run.in_line:
        return (buttons.cancel(run),)
    return buttons.under_end(run, prices) if run.terminal and not run.shows_video else ()


def details(run: Run, prices: PriceTable, *, own: bool) -> View:
    """Why there is no video, what it cost, and what to try: for its member, and as far as that goes for admins."""
    return View(
        title=title(run),
        quote=Quote(run.request.prompt, CARD_PROMPT_CHARS),
        lines=(*status(run), charge(run) if run.terminal else text("receipt.held", amount=Usd(run.price_u))),
        small=(text("run_id", id=Code(run.run_id)),),
        actions=buttons.under_end(run, prices) if own and run.terminal and not run.shows_video else (),
        tone=_tone(run),
    )


def title(run: Run, turn: Turn | None = None) -> Text:
    """The state of a run as the title of its card, in line with its place: `In line · 4th`."""
    if run.in_line and turn is not None and turn.place:
        return text("place.in_line", place=Ordinal(turn.place))
    return text(f"card.{_state(run)}")


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


def _state(run: Run) -> str:
    if run.terminal:
        return f"ended.{run.ending or Ending.FAILED}"
    if run.state == RunState.RESERVED and run.in_line:
        return "in_line"
    if run.state == RunState.RUNNING:
        return "overdue" if run.overdue else "running"
    return str(run.state)


def _tone(run: Run) -> Tone:
    if run.terminal:
        return Tone.GOOD if run.shows_video else Tone.BAD
    return Tone.WAITING if run.state == RunState.UNKNOWN else Tone.NEUTRAL


def status(run: Run) -> list[Text]:
    """Where a run stands: private."""
    if run.withdrawn:
        return [text("ended.withdrawn")]
    if run.terminal:
        return _ended(run)
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
            # Whether Runflow has begun is looked at too seldom to tell it apart from having it in line.
            news = [text("status.running", since=Moment(run.state_at, "clock"))]
            return [*news, text("status.overdue")] if run.overdue else news
        case _:
            return [text("status.sending")]


def _ended(run: Run) -> list[Text]:
    if run.shows_video:
        place = "member" if run.direct else "channel"
        where = {Delivery.DELIVERED: place, Delivery.UNDELIVERABLE: "nowhere"}.get(run.delivery, f"soon_{place}")
        return [text(f"posted.{where}")]
    said = run.failure_message if run.failure_code not in OUR_CODES else None
    reason = [text("reason", reason=Quote(said, REASON_CHARS))] if said else []
    return [text(f"ended.{run.ending or Ending.FAILED}"), *reason, text(f"next.{_next_step(run)}")]


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


def notice(
    run: Run,
    prices: PriceTable,
    *,
    link: Link | None,
    lost: bool,
    video_format: VideoFormat = MP4,
    link_fits: bool = True,
) -> View:
    """The message in the channel. Of a video: what was asked for, and what makes another; else one neutral line.

    Never a word of money but on buttons. `link`: what comes with it in place of a file. `lost`: nothing comes with it,
    so a video that was made could not be had. `link_fits`: the address is not too long to be posted.
    """
    member = Named(f"member:{run.member}")
    title = text(f"headline.{_headline(run)}", member=member)
    direct = [text("notice.direct", channel=Named(f"channel:{run.channel}"))] if run.direct else []
    if not shows_result(run):
        return View(title=title, lines=tuple(direct), actions=(buttons.details(run),))
    if not run.plain:
        title = text("notice.with_prompt", headline=title, prompt=Quote(run.request.prompt, PROMPT_CHARS))
    lines = [*direct, *([text("notice.lost")] if lost else [])]
    if link is not None:
        shown = link_lines(link, could_not_attach=run.uploads > 0)
        lines += shown if link_fits else [shown[0], text("link.too_long")]
    else:
        lines += format_lines(video_format)
    makes, about = buttons.under_result(run, prices)
    return View(title=title, lines=tuple(lines), small=(made(run),), actions=makes, more=about)


def shown_again(
    run: Run,
    prices: PriceTable,
    *,
    link: Link | None = None,
    posted: tuple[str, str] | None = None,
    video_format: VideoFormat = MP4,
    link_fits: bool = True,
) -> View:
    """The message with a video that its member posts once more, as a file unless there is another way to it.

    `posted`: where its first message is, and the address of the clip in it. `link_fits`: see `notice`.
    """
    lines = format_lines(video_format)
    if posted is not None:
        jump, address = posted
        lines = [text("show.first_posted", url=Url(jump)), text("is", fact=Url(address))]
    elif link is not None:
        lines = link_lines(link)
        lines = lines if link_fits else [lines[0], text("link.too_long")]
    makes, about = buttons.under_result(run, prices, shown_again=True)
    return View(
        title=None if run.plain else text("is", fact=Quote(run.request.prompt, PROMPT_CHARS)),
        lines=tuple(lines),
        small=(made(run),),
        actions=makes,
        more=about,
    )


def shows_result(run: Run) -> bool:
    """Whether the run's notice brings a video, and not word of something else."""
    return (run.notice or Notice.RESULT) == Notice.RESULT and run.shows_video


def marks(run: Run) -> tuple[Action, ...]:
    """The buttons by which the run's notice is known among all messages: no other message has all of them.

    The version before this one had a receipt under every notice.
    """
    return buttons.about_result(run) if shows_result(run) else (buttons.details(run),)


def _headline(run: Run) -> str:
    if run.notice in (Notice.UNKNOWN, Notice.OVERDUE):
        return str(run.notice)
    return str(run.ending) if run.shows_video else "no_video"


def made(run: Run) -> Text:
    """What can be said of a video that was made, for those who want another like it."""
    facts: list[Fact] = [Duration(run.request.seconds), run.request.resolution]
    if not run.plain:
        facts += chosen_options(replace(run.request, duration=_DEFAULT.duration, resolution="720p", seed=None))
    if (seed := seed_of(run)) is not None:
        facts.append(text("option.seed", seed=str(seed)))
    return dotted(*facts, text("run_id", id=Code(run.run_id)))


def _next_step(run: Run) -> str:
    if run.ending != Ending.FAILED:
        return str(run.ending)
    code = (run.failure_code or "").upper()
    if buttons.is_blocked(run):
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
