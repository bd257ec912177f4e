"""Every sentence that a member reads, from the row and the ledger alone: pure.

What members wrote and what Runflow said is put into code spans, where neither mentions nor markdown nor
links work. Public texts say nothing of anybody's money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate

from bot.domain.limits import EVERYWHERE, Over, OverLimit, Rule, RuleKind, Rules, Standing, WrongChannel
from bot.domain.money import PriceTable, usd
from bot.domain.records import Act, Choice, Link, Offer
from bot.domain.report import Group, Report
from bot.domain.runs import Delivery, Ending, Notice, Run, RunState, VeoRequest, blocked_by_policy
from bot.domain.untrusted import strip_controls
from bot.domain.video_files import MP4, VideoFormat
from bot.errors import AskLater, Refusal

MESSAGE_CHARS_MAX = 2000  # Discord docs, Create Message
PROMPT_SHOWN_CHARS = 300
REASON_SHOWN_CHARS = 300


def quoted(text: str, longest: int) -> str:
    """Outside text as one code span."""
    line = " ".join(strip_controls(text).replace("`", "'").split())
    return f"`{line if len(line) <= longest else line[: longest - 1] + '…'}`" if line else "` `"


REST = "-# and {:,} more"
REST_IN_FILE = "-# and {:,} more, in the file"
REST_TOO_LARGE = "-# and {:,} more, too many for a file here"


def cut(text: str, longest: int, rest: str = REST) -> tuple[str, int]:
    """As many whole lines as fit, with a word on how many are left out; and that number."""
    if len(text) <= longest:
        return text, 0
    lines = text.split("\n")
    room = longest - len(rest.format(len(lines))) - 1
    kept = lines[: fitting(lines, room)] or [f"{lines[0][: room - 1]}…"]  # or one that is too long by itself
    left = len(lines) - len(kept)
    return "\n".join([*kept, rest.format(left)] if left else kept), left


def fitting(lines: Sequence[str], longest: int) -> int:
    """How many of the lines fit, from the first on."""
    ends = accumulate(len(line) + 1 for line in lines)
    return sum(end - 1 <= longest for end in ends)


def unmarked(text: str, names: Mapping[str, str]) -> str:
    """A text of ours as it reads outside of Discord: names or ids for mentions, and times in UTC."""

    def plain(found: re.Match[str]) -> str:
        sort, number = found["sort"], found["number"]
        if sort == "t:":
            return datetime.fromtimestamp(int(number), UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{'#' if sort == '#' else '@'}{names.get(f'discord:{number}', number)}"

    return _MARKED.sub(plain, strip_controls(text)).replace("**", "")


_MARKED = re.compile(r"<(?P<sort>@&|@|#|t:)(?P<number>\d+)(?::\w)?>")


def when(at: float, style: str = "R") -> str:
    """A moment as Discord shows it live in the reader's own time (Discord docs, Message Formatting)."""
    return f"<t:{int(at)}:{style}>"


def options_line(request: VeoRequest) -> str:
    parts = [
        f"{request.seconds} s",
        request.resolution,
        request.aspect_ratio,
        "with sound" if request.generate_audio else "silent",
    ]
    if request.seed is not None:
        parts.append(f"seed {request.seed}")
    return " · ".join(parts)


def all_options(request: VeoRequest) -> str:
    """Every option but the prompt, as the card shows them."""
    lines = [options_line(request)]
    if request.negative_prompt:
        lines.append(f"without {quoted(request.negative_prompt, 100)}")
    lines.append(f"safety tolerance {request.safety_tolerance} of 6 · auto-fix {'on' if request.auto_fix else 'off'}")
    return "\n".join(lines)


def took(milliseconds: int) -> str:
    seconds = round(milliseconds / 1000)
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60} s"


def mention(name: str) -> str:
    """A person, place or role, from its opaque name or from a scope, as Discord shows it by name."""
    sort, _, rest = name.partition(":")
    number = rest.rpartition(":")[2]
    return {"member": f"<@{number}>", "channel": f"<#{number}>", "role": f"<@&{number}>"}.get(sort, f"`{number}`")


def level_name(scope: str) -> str:
    """What a level is called towards a member whom it concerns."""
    match scope.partition(":")[0]:
        case "total":
            return "the whole bot"
        case "server":
            return "this server"
        case "member":
            return "you"
        case "role":
            return f"the pool of {mention(scope)}"
        case _:
            return mention(scope)


def left_line(standing: Standing) -> str:
    """`$6.80 of $10.00 left, resets in 8 days`."""
    if standing.left_u is None or standing.limit_u is None:
        return f"no limit, {usd(standing.spent_u)} spent"
    return f"{usd(standing.left_u)} of {usd(standing.limit_u)} left, resets {when(standing.resets_at)}"


def nearly_used(standings: Sequence[Standing]) -> str:
    """The levels of which four fifths are used; empty where there are none. Figures only of the member's own."""
    lines = []
    for standing in standings:
        if standing.nearly_used and standing.limit_u:
            share = 100 * (standing.held_u + standing.spent_u) // standing.limit_u
            own = standing.scope.startswith("member:")
            lines.append(
                f"You have used {share} % of your limit."
                if own
                else f"Four fifths of the limit of {level_name(standing.scope)} are used."
            )
    return "\n".join(lines)


def plain(error: Refusal) -> str:
    """A refusal that has nothing to do with a price."""
    if isinstance(error, WrongChannel):
        return f"{error} Use it in {' '.join(mention(f'channel:{each}') for each in error.channels[:10])}."
    if isinstance(error, AskLater):
        return f"{error} You can ask again {when(error.until)}."
    return str(error)


def refused(error: Refusal, request: VeoRequest, prices: PriceTable, left_u: int | None) -> str:
    """Why a wish was not carried out and what would work instead. `left_u`: what fits into every level."""
    if not isinstance(error, OverLimit):
        return plain(error)
    standing, own = error.standing, error.scope.startswith("member:")
    whose = "your limit" if own else f"the limit of {level_name(error.scope)}"
    cheapest = min(price_u for price_u, _ in prices.variants(request))
    if standing.limit_u is not None and standing.limit_u < cheapest:  # the next period would not help
        whom = "an admin" if error.admins_can_raise else "whoever runs this bot"
        return (
            f"**Not started.** {whose[:1].upper()}{whose[1:]} is {usd(standing.limit_u)}, and the cheapest setting "
            f"costs {usd(cheapest)}. Ask {whom} to raise it. Nothing was charged."
        )
    resets = f"{when(standing.resets_at, 'f')} ({when(standing.resets_at)})"
    lines = [f"**Not started: over {whose}.** {error} It resets {resets}."]
    if own and standing.held_u:
        lines.append(f"{usd(standing.held_u)} of it is held for runs under way, and freed if they are not charged.")
    if fitting := prices.cheapest_that_fits(request, cheapest if left_u is None else left_u):
        price_u, variant = fitting
        lines.append(f"What would fit: {options_line(variant)} for {usd(price_u)}.")
    else:
        lines.append(f"Even the cheapest setting costs {usd(cheapest)}, so nothing fits until then.")
    return "\n".join([*lines, "Nothing was charged."])


# Questions


def question_title(offer: Offer) -> str:
    return f"Film this for {usd(offer.choices[0].price_u)}?"


def choice_label(choice: Choice, wish: VeoRequest) -> str:
    """A cheaper setting as a button says it: what is different, and the price."""
    changes = []
    if choice.request.generate_audio != wish.generate_audio:
        changes.append("silent")
    if choice.request.resolution != wish.resolution:
        changes.append(choice.request.resolution)
    if choice.request.duration != wish.duration:
        changes.append(f"{choice.request.seconds} s")
    return f"{', '.join(changes).capitalize()} for {usd(choice.price_u)}"


def request_of(offer: Offer, over: Sequence[Over]) -> str:
    """A member's request as the admins see it: for what, what is left of the limits that it passes, what a yes adds."""
    adds = [
        f"{usd(each.standing.left_u or 0)} of {usd(each.standing.limit_u or 0)} left of {_limit_name(each.scope)} this "
        f"{each.standing.period.kind}: adds **{usd(each.over_u)}**"
        for each in over
    ]
    once = f"-# Approve makes exactly this video, once, and leaves no budget behind. Ends {when(offer.expires_at)}."
    head = "\n".join(_request(offer))
    return "\n".join([head, cut("\n".join(adds), MESSAGE_CHARS_MAX - len(head) - len(once) - 2)[0], once])


def decided_request(offer: Offer) -> str:
    """The same once it takes no answer any more, with what was said to it."""
    answer = offer.answer
    if answer is None:
        outcome = "Replaced by a newer request."
    elif offer.run_id is None:
        outcome = f"Denied by {mention(f'member:{answer.actor}')}."
    else:
        outcome = f"Approved by {mention(f'member:{answer.actor}')}: {answer.detail} · run `{offer.run_id}`."
    return "\n".join([*_request(offer), outcome])


def _request(offer: Offer) -> list[str]:
    choice = offer.choices[0]
    return [
        f"{mention('member:' + offer.wish.member)} asks for a video over {_limit_name(offer.over)}.",
        f"> {quoted(choice.request.prompt, PROMPT_SHOWN_CHARS)}",
        f"{options_line(choice.request)} · **{usd(choice.price_u)}** · in {mention('channel:' + offer.wish.channel)}",
    ]


def _limit_name(scope: str) -> str:
    """Whose limit it is, in the words of a request."""
    return "their own limit" if scope.startswith("member:") else f"the limit of {level_name(scope)}"


# The card, for the caller alone


def status(run: Run) -> str:
    """Where a run stands, in one or two sentences, with money: private."""
    match run.state:
        case RunState.RESERVED if run.posts == 0 and run.tries > 0:
            return f"Waiting for its turn: other videos came first, since {when(run.created_at)}."
        case RunState.RESERVED if run.unclear_posts > 0 and run.tries == 0:
            return "The order did not arrive at Runflow; it is sent again."
        case RunState.RESERVED if run.posts > 0:
            return "Runflow does not take it right now; it is tried again by itself."
        case RunState.RESERVED | RunState.SUBMITTING:
            return "Understood. It is being handed to Runflow."
        case RunState.AMBIGUOUS:
            return (
                "Runflow gave no clear answer, so the bot is finding out whether it took the order. "
                "It is not ordered twice."
            )
        case RunState.UNKNOWN:
            return (
                f"Nobody knows yet whether Runflow took the order. {usd(run.price_u)} stays held and nothing is "
                "charged until that is known; the bot goes on looking."
            )
        case RunState.RUNNING:
            return _running(run)
        case _:
            return f"{_ended(run)} {charge(run)}".strip()


def _running(run: Run) -> str:
    since = when(run.provider_status_at or run.state_at)
    text = {
        "queued": f"Queued at Runflow, since {since}.",
        "dispatching": f"Being handed to the model, since {since}.",
        "running": f"Filming, since {since}.",
    }.get(run.provider_status or "", f"At Runflow, since {since}.")
    return f"{text} It takes longer than expected; it is still watched." if run.overdue else text


def _ended(run: Run) -> str:
    place = "your direct messages" if run.direct else "the channel"
    place = f"in {place}" if run.delivery == Delivery.DELIVERED else f"on its way into {place}"
    match run.ending:
        case Ending.VIDEO | Ending.PARTIAL if run.delivery == Delivery.UNDELIVERABLE:
            return "Finished, but the video could not be posted. `/veo-show` tries it again, also in another channel."
        case Ending.VIDEO | Ending.PARTIAL:
            return f"Finished: the video is {place}."
        case Ending.NSFW:
            return "Finished, but flagged as not safe for work, so it is not shown."
        case Ending.EMPTY:
            return "Runflow reports success, but there is no video: that is how a filtered one looks."
        case Ending.CANCELLED:
            return "Cancelled at Runflow."
        case _:
            return "It failed."


def charge(run: Run) -> str:
    """What an ended run was charged and why: the receipt, derived from the ledger."""
    if run.charged_u == 0:
        return "Nothing was charged: Runflow did not bill it." if run.cost_u == 0 else "Nothing was charged."
    if run.cost_u is None:
        said = f"Charged {usd(run.charged_u)}, as quoted; corrected should Runflow name another cost."
    elif run.charged_u != run.price_u:
        said = f"Charged {usd(run.charged_u)}, which is what Runflow billed; the quote was {usd(run.price_u)}."
    else:
        said = f"Charged {usd(run.charged_u)}."
    return f"{said} An admin gave you {usd(run.refunded_u)} again." if run.refunded_u else said


def receipt(run: Run) -> str:
    """What a run costs its member, and by which rule: private."""
    lines = [
        f"**Receipt** for {quoted(run.request.prompt, 60)} · {options_line(run.request)}",
        f"Quote {usd(run.price_u)}, held {when(run.created_at, 'f')}.",
        f"{charge(run) if run.terminal else f'{usd(run.price_u)} is held and nothing is charged yet.'} {_rule(run)}",
    ]
    return "\n".join([*lines, f"-# Run `{run.run_id}`"])


def _rule(run: Run) -> str:
    """Which rule of the product decided about the charge."""
    if run.state == RunState.UNKNOWN:
        return (
            "Nobody can tell whether Runflow took the order, so it is held until that is known, and not ordered twice."
        )
    if not run.terminal:
        return "What Runflow bills in the end counts; a run that it does not bill is given back whole."
    if run.failure_code == "RELEASED" and run.provider_id is not None:
        return "Runflow told no end of it in time, and an admin gave the hold back."
    if run.failure_code == "RELEASED":
        return "Nobody could tell whether Runflow took the order, and an admin gave the hold back."
    if run.cost_u is None and run.charged_u:
        return "Runflow names no cost yet, and a success without one counts as quoted."
    if run.cost_u is None:
        return "A run that ends without a video and without a bill costs nothing."
    if run.ending == Ending.NSFW and run.charged_u:
        return "It was made, so Runflow billed it, although a flagged video is never shown."
    if not run.shows_video and run.charged_u:
        return "Runflow billed the work that was done."
    if run.charged_u > run.price_u:
        return "It cost more than was quoted: the difference is booked too, and whoever runs the bot is told."
    return "What Runflow bills is what counts."


# The messages in the channel


def marker(run: Run) -> str:
    """The last line of a message about a run: by it the message is found again."""
    kind = {Notice.UNKNOWN: " · unknown", Notice.OVERDUE: " · overdue"}.get(run.notice or Notice.RESULT, "")
    return f"-# Run `{run.run_id}`{kind}"


def announcement(run: Run, mention: str, *, link: Link | None, lost: bool, video_format: VideoFormat = MP4) -> str:
    """The message in the channel: what happened, what to try next; never a word of money.

    `lost`: nothing comes with it, so a video that was made could not be had.
    """
    said = [] if run.plain else [f"> {quoted(run.request.prompt, PROMPT_SHOWN_CHARS)}", *_details(run)]
    lines = [f"{mention} {_headline(run)}", *said]
    if run.direct:
        lines.append(f"It could not be posted in <#{run.channel.removeprefix('discord:')}>, so it comes to you alone.")
    if run.notice == Notice.RESULT and run.shows_video and lost:
        lines.append("But Runflow does not give the clip out, and did not for a day. `/veo-show` tries it again.")
    if note := format_note(video_format):
        lines.append(note)
    rest = MESSAGE_CHARS_MAX - len("\n".join([*lines, marker(run)])) - 1
    if link is not None:
        why = ("could not be attached here",) if run.uploads else ()
        lines.append(too_large(link, rest, *why))
    return "\n".join([*lines, marker(run)])


def format_note(video_format: VideoFormat) -> str:
    """What a member should know about a video that is not a usual MP4; empty for one that is."""
    return {
        "HEVC": "The video is HEVC: some devices cannot play it.",
        "WebM": "The file is WebM.",
        "Matroska": "The file is Matroska: download it to play it.",
        "QuickTime": "The file is QuickTime.",
        "AVI": "The file is AVI: download it to play it.",
    }.get(video_format.name, "")


def wordless(run: Run, mention: str, link: Link | None) -> str:
    """The message in the channel where a fault of ours keeps its own from being made."""
    there = f" {link.url}" if link is not None else ""
    sorry = "something went wrong on the bot's side with what was to stand here; `/veo-history` shows how it ended."
    return f"{mention} {sorry}{there}\n{marker(run)}"


def _headline(run: Run) -> str:
    match run.notice:
        case Notice.UNKNOWN:
            return "it is not known whether Runflow took this order."
        case Notice.OVERDUE:
            return "this video takes longer than expected. It is still watched and will be posted here."
    match run.ending:
        case Ending.VIDEO:
            return "your video is ready."
        case Ending.PARTIAL:
            return "your video is ready; Runflow reports that only part of the work was done."
        case Ending.NSFW:
            return "your video was made but flagged as not safe for work, so it is not posted."
        case Ending.EMPTY:
            return "Runflow reports success but gave no video; that is how a filtered one looks."
        case Ending.CANCELLED:
            return "your video was cancelled at Runflow before it was done."
        case _:
            return "your video could not be made."


def _details(run: Run) -> list[str]:
    if run.notice == Notice.UNKNOWN:
        return [
            "Nothing is ordered twice. Should the video turn up it is posted here; `/veo-history` shows how it ends."
        ]
    if run.notice == Notice.OVERDUE:
        return []
    if run.shows_video:
        facts = [options_line(run.request)]
        if run.seed_used is not None and run.seed_used != run.request.seed:
            facts.append(f"seed {run.seed_used}")
        if run.took_ms is not None:
            facts.append(f"took {took(run.took_ms)}")
        return [f"-# {' · '.join(facts)}"]
    lines = []
    if run.failure_message and run.failure_code not in _OUR_CODES:
        lines.append(f"Runflow says: {quoted(run.failure_message, REASON_SHOWN_CHARS)}")
    return [*lines, f"{_next_step(run)} What it cost stands in `/veo-history`."]


def _next_step(run: Run) -> str:
    blocked = blocked_by_policy(run.failure_code, run.failure_message)
    match run.ending:
        case Ending.NSFW:
            return "Try another wording, or a stricter `safety_tolerance`."
        case Ending.EMPTY:
            return "Try another wording, or without sound: the sound is filtered on its own."
        case Ending.CANCELLED:
            return "Somebody with the Runflow account stopped it; ask them, or start it again."
        case Ending.FAILED if blocked:
            return "That reads like the content policy: change the prompt, the same one would be refused again."
        case Ending.FAILED if (run.failure_code or "").upper() in _OPERATOR_CODES:
            return "That is for whoever runs this bot to mend; tell them."
        case Ending.FAILED if run.failure_code in _OUR_CODES:
            return f"{_OUR_CODES[run.failure_code]}; start it again later."
        case _:
            return "Start it again, or change an option."


_OUR_CODES: dict[str | None, str] = {
    "UNREACHABLE": "Runflow could not be reached in time",
    "NO_TURN": "Too many videos were in line before it",
    "NEVER_ARRIVED": "The order never arrived at Runflow, as its own list shows",
}
_OPERATOR_CODES = frozenset(
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


def too_large(link: Link, longest: int, why: str = "is too large to attach here") -> str:
    """What stands for a clip that the channel does not take as a file, in at most `longest` characters."""
    if link.expires_at is None:
        life = "This is Runflow's own link, which ends soon, mostly within a day"
    else:
        life = f"The link ends {when(link.expires_at)}"
    what = f" {note}" if (note := format_note(link.video_format)) else ""
    text = f"The file {why}.{what} {life}; `/veo-show` gives a new one.\n{link.url}"
    if len(text) > longest:
        return f"The file {why}, and its link is too long. Whoever runs this bot can set PUBLIC_URL."
    return text


# Account


def history_line(run: Run) -> str:
    """One run in a list, in two lines: private."""
    if not run.terminal:
        money = f"{usd(run.price_u)} held"
    elif run.charged_u:
        money = usd(run.charged_u) + (" (estimated)" if run.cost_u is None else "")
    else:
        money = "not charged"
    word = run.ending.value if run.ending else run.state.value
    if run.ending in (Ending.VIDEO, Ending.PARTIAL):
        word = "posted" if run.delivery == Delivery.DELIVERED else "on its way"
        word = "not delivered" if run.delivery == Delivery.UNDELIVERABLE else word
    return (
        f"{quoted(run.request.prompt, 60)} {word} · {money}\n"
        f"-# {when(run.created_at, 'd')} · {options_line(run.request)} · `{run.run_id}`"
    )


def quota(standings: Sequence[Standing], runs: Sequence[Run]) -> str:
    """Every level that concerns the member, their own first: used, held, left, reset; then the latest runs."""
    *shared, own = standings
    lines = [_own_line(own), *(_shared_line(each) for each in shared if each.limit_u is not None)]
    if warning := nearly_used(standings):
        lines += ["", f"⚠ {warning}"]
    return "\n".join([*lines, *(["", *map(history_line, runs)] if runs else [])])


def _own_line(standing: Standing) -> str:
    resets = f"Resets {when(standing.resets_at, 'f')} ({when(standing.resets_at)})."
    if standing.limit_u is None or standing.left_u is None:
        return f"**No limit.** Used {usd(standing.spent_u)}, held {usd(standing.held_u)}. {resets}"
    extra = f", {usd(standing.granted_u)} of it extra" if standing.granted_u else ""
    return (
        f"**{usd(standing.left_u)} left** of {usd(standing.limit_u)}{extra}. "
        f"Used {usd(standing.spent_u)}, held {usd(standing.held_u)} for runs under way. {resets}"
    )


def _shared_line(standing: Standing) -> str:
    name = level_name(standing.scope)
    return (
        f"{name[:1].upper()}{name[1:]}: {usd(standing.left_u or 0)} left of {usd(standing.limit_u or 0)}, used "
        f"{usd(standing.spent_u)}, held {usd(standing.held_u)}, resets {when(standing.resets_at)}."
    )


def history(runs: Sequence[Run], longest: int) -> str:
    """Each run with its receipt, newest first, as many as fit."""
    text = ""
    for run in runs:
        entry = history_line(run) + (f"\n-# {charge(run)}" if run.terminal else "")
        if len(text) + len(entry) + 1 > longest:
            break
        text = f"{text}\n{entry}" if text else entry
    return text or "None yet. `/veo` makes the first one."


# Admins


def limit_words(rule: Rule) -> str:
    """What a limit says, such as `$25.00 per month, 2 runs at a time`."""
    parts = []
    if rule.period is not None:
        parts.append(f"{'no limit' if rule.limit_u is None else usd(rule.limit_u)} per {rule.period}")
    if rule.in_flight is not None:
        parts.append(f"{rule.in_flight} run{'' if rule.in_flight == 1 else 's'} at a time")
    return ", ".join(parts)


def rule_line(rule: Rule) -> str:
    """One rule in force, for admins."""
    who = "this server" if rule.subject.startswith("server:") else mention(rule.subject)
    who = "the whole bot" if rule.subject == "total" else who
    match rule.kind:
        case RuleKind.LIMIT if rule.subject.startswith("role:"):
            return f"{who}, shared by all with it: {limit_words(rule)}"
        case RuleKind.LIMIT:
            return f"{who}: {limit_words(rule)}"
        case RuleKind.EACH:
            return f"each member with {who}: {limit_words(rule)}"
        case RuleKind.ALLOW:
            return f"{who} may use `/veo`"
        case RuleKind.BLOCK:
            return f"{who} is blocked"
        case RuleKind.PAUSE:
            return f"{who} is paused"
        case RuleKind.ON:
            return f"{who} is switched on"
        case RuleKind.DESK:
            return f"requests go to {who}"


def standing_line(standing: Standing) -> str:
    """Where a level stands, with all its figures: for admins."""
    limit = "no limit" if standing.limit_u is None else f"{usd(standing.left_u or 0)} left of {usd(standing.limit_u)}"
    extra = f" ({usd(standing.granted_u)} extra)" if standing.granted_u else ""
    return (
        f"{limit}{extra} this {standing.period.kind}; used {usd(standing.spent_u)}, held {usd(standing.held_u)}, "
        f"resets {when(standing.resets_at)}"
    )


def more_lines(standings: Sequence[Standing]) -> list[str]:
    """What may still be spent where that is more than a limit says, for what was added on top of it."""
    return [
        f"With {usd(each.granted_u)} extra {usd(each.left_u or 0)} can still be spent this {each.period.kind}."
        for each in standings
        if each.granted_u
    ]


def applying(subject: str, rules: Sequence[Rule], standings: Sequence[Standing]) -> list[str]:
    """What still bounds a subject after one of its limits was lifted, for admins."""
    name = "this server" if subject.startswith("server:") else mention(subject)
    lines = [*map(rule_line, rules), *(f"{name}: {standing_line(each)}" for each in standings)]
    if subject.startswith("role:"):
        return lines[: len(rules)] or [f"nothing by {name}: an own limit, another role's, or everybody's"]
    if not standings:  # a member who is not here
        return lines or [f"{name}: the limit of their roles, or everybody's"]
    return lines


def allowed(subject: str, rules: Rules) -> str:
    """Which others of its sort may use `/veo` after a role or channel was taken from the list."""
    sort = subject.partition(":")[0]
    named = rules.subjects(RuleKind.ALLOW, f"{sort}:")
    if not named:
        return f"No {sort} is on it, so all may use `/veo`."
    return f"Those on it are {' '.join(map(mention, named[:20]))}."


def server_name(server: str, name: str) -> str:
    """A server by its name, as far as it is known, and by its id: names can be alike."""
    number = server.rpartition(":")[2]
    return f"{quoted(name, 60)} ({number})" if name else f"the server {number}"


def act_line(act: Act, home: str) -> str:
    """One act of the log of `home`, a server or EVERYWHERE: who did what when, to whom, and why."""
    who = mention(f"member:{act.actor}")
    sort, _, name = act.subject.partition(":")
    about = f"`{name}`" + (f" of {mention(f'member:{act.member}')}" if act.member else "")
    about = about if sort == "run" else mention(act.subject)
    if sort == "total":
        about = "the whole bot"
    if sort == "server":
        about = "this server" if name == home else server_name(name, act.server_name)
    parts = [f"{when(act.at, 'f')} {who} {act.verb}: {about}"]
    if act.server not in (home, EVERYWHERE):
        parts.append(f"in {server_name(act.server, act.server_name)}")
    parts += [act.detail] if act.detail else []
    parts += [quoted(act.reason, 100)] if act.reason else []
    return " · ".join(parts)


def rest_of_acts(left: int, missing: int) -> list[str]:
    """What a log says of the acts below its last line: how many there are, and of how many no file tells here."""
    if not left:
        return []
    if missing >= left:
        return [f"-# {left:,} older ones are too many for a file here."]
    whole = f" The {missing:,} oldest don't fit into it." if missing else ""
    return [f"-# {left:,} older, in the file.{whole}"]


def left_out(*, chart: bool, table: bool) -> str:
    """What a report says of the files that Discord does not take."""
    if chart and table:
        return "The chart and the table are too large for Discord here. Try fewer days."
    what = "chart" if chart else "table"
    return f"The {what} is too large for Discord here. Try fewer days to get it."


def report_fields(report: Report) -> list[tuple[str, str]]:
    """The report's fields, each a title and its lines."""
    rate = "no run has ended" if report.success_rate is None else f"{report.success_rate:.0%} of {report.ended}"
    wait = "none yet" if report.wait_median_s is None else took(round(1000 * report.wait_median_s))
    fields = [
        ("Spent", f"{usd(report.spent_u)}\n-# {usd(report.held_u)} held, {usd(report.refunded_u)} refunded"),
        ("Succeeded", f"{rate}\n-# {report.runs} asked for, {report.open} under way"),
        ("Median wait", wait),
        ("By member", _top(report.members, "member")),
        ("By role", _top(report.roles, "role")),
        ("By channel", _top(report.channels, "channel")),
    ]
    if report.off_quote:
        sign = "more" if report.off_quote_u > 0 else "less"
        runs = "1 video" if report.off_quote == 1 else f"{report.off_quote} videos"
        text = f"{runs} cost {usd(abs(report.off_quote_u))} {sign} than quoted in all."
        fields.append(("Billed otherwise than quoted", f"{text} Whoever runs the bot can mend PRICE_USD_PER_SECOND."))
    return fields


def _top(groups: Sequence[Group], sort: str, most: int = 5) -> str:
    lines = [
        f"{mention(f'{sort}:{group.key}')} {usd(group.spent_u)} · {group.videos}/{group.runs}"
        for group in groups[:most]
    ]
    if len(groups) > most:
        lines.append(f"-# and {len(groups) - most} more, in the file")
    return "\n".join(lines) or "-"
