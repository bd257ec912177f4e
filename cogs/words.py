"""Every sentence that a member reads, from the row and the ledger alone: pure.

What members wrote and what Runflow said is put into code spans, where neither mentions nor markdown nor
links work. Public texts say nothing of anybody's money.
"""

from __future__ import annotations

from bot.errors import Refusal
from bot.ledger import OverLimit, PriceTable, Standing, usd
from bot.media import Link
from bot.runs import Delivery, Ending, Notice, Run, RunState, VeoRequest, blocked_by_policy

MESSAGE_CHARS_MAX = 2000  # Discord docs, Create Message
PROMPT_SHOWN_CHARS = 300
REASON_SHOWN_CHARS = 300


def quoted(text: str, longest: int) -> str:
    """Outside text as one code span."""
    line = " ".join(text.replace("`", "'").split())
    return f"`{line if len(line) <= longest else line[: longest - 1] + '…'}`" if line else "` `"


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


def left_line(standing: Standing) -> str:
    """`$6.80 of $10.00 left, resets in 8 days`."""
    if standing.left_u is None or standing.limit_u is None:
        return f"no limit, {usd(standing.spent_u)} spent"
    return f"{usd(standing.left_u)} of {usd(standing.limit_u)} left, resets {when(standing.resets_at)}"


def refused(error: Refusal, request: VeoRequest, prices: PriceTable) -> str:
    """Why a wish was not carried out and what would work instead."""
    if not isinstance(error, OverLimit):
        return str(error)
    standing = error.standing
    left_u = standing.left_u or 0
    resets = f"{when(standing.resets_at, 'f')} ({when(standing.resets_at)})"
    lines = [f"**Not started: over your limit.** {error} It resets {resets}."]
    cheapest = min(price_u for price_u, _ in prices.variants(request))
    if standing.limit_u is not None and standing.limit_u < cheapest:  # the next period would not help
        return (
            f"**Not started.** Your limit is {usd(standing.limit_u)}, and the cheapest setting costs {usd(cheapest)}. "
            "Ask whoever runs this bot to raise it. Nothing was charged."
        )
    if standing.held_u:
        lines.append(f"{usd(standing.held_u)} of it is held for runs under way, and freed if they are not charged.")
    if fitting := prices.cheapest_that_fits(request, left_u):
        price_u, variant = fitting
        lines.append(f"What would fit: {options_line(variant)} for {usd(price_u)}.")
    else:
        lines.append(f"Even the cheapest setting costs {usd(cheapest)}, so nothing fits until then.")
    return "\n".join([*lines, "Nothing was charged."])


# The card, for the caller alone


def status(run: Run) -> str:
    """Where a run stands, in one or two sentences, with money: private."""
    match run.state:
        case RunState.RESERVED if run.posts == 0 and run.tries > 0:
            return f"Waiting for its turn: other videos came first, since {when(run.created_at)}."
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
    place = "in the channel" if run.delivery == Delivery.DELIVERED else "on its way into the channel"
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
        return f"Charged {usd(run.charged_u)}, as quoted; corrected should Runflow name another cost."
    if run.charged_u != run.price_u:
        return f"Charged {usd(run.charged_u)}, which is what Runflow billed; the quote was {usd(run.price_u)}."
    return f"Charged {usd(run.charged_u)}."


# The messages in the channel


def marker(run: Run) -> str:
    """The last line of a message about a run: by it the message is found again."""
    kind = {Notice.UNKNOWN: " · unknown", Notice.OVERDUE: " · overdue"}.get(run.notice or Notice.RESULT, "")
    return f"-# Run `{run.run_id}`{kind}"


def announcement(run: Run, mention: str, *, link: Link | None, lost: bool) -> str:
    """The message in the channel: what happened, what to try next; never a word of money.

    `lost`: nothing comes with it, so a video that was made could not be had.
    """
    lines = [f"{mention} {_headline(run)}", f"> {quoted(run.request.prompt, PROMPT_SHOWN_CHARS)}", *_details(run)]
    if run.notice == Notice.RESULT and run.shows_video and lost:
        lines.append("But Runflow does not give the clip out, and did not for a day. `/veo-show` tries it again.")
    rest = MESSAGE_CHARS_MAX - len("\n".join([*lines, marker(run)])) - 1
    if link is not None:
        lines.append(too_large(link, rest))
    return "\n".join([*lines, marker(run)])


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
    if run.failure_message:
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
        case Ending.FAILED if run.failure_code in _OPERATOR_CODES:
            return "That is for whoever runs this bot to mend; tell them."
        case Ending.FAILED if run.failure_code == "UNREACHABLE":
            return "Runflow could not be reached in time; start it again later."
        case _:
            return "Start it again, or change an option."


_OPERATOR_CODES = frozenset(
    {
        "UNAUTHORIZED",
        "INSUFFICIENT_CREDIT",
        "PERMISSION_DENIED",
        "EMAIL_NOT_VERIFIED",
        "ORGANIZATION_MEMBERSHIP_REQUIRED",
        "ROLE_UNRESOLVED",
        "IMPERSONATION_READ_ONLY",
        "HTTP_401",
        "HTTP_402",
        "HTTP_403",
        "HTTP_404",
    }
)


def too_large(link: Link, longest: int) -> str:
    """What stands for a clip that the channel does not take as a file, in at most `longest` characters."""
    if link.expires_at is None:
        life = "This is Runflow's own link, which ends soon, mostly within a day"
    else:
        life = f"The link ends {when(link.expires_at)}"
    text = f"The file is too large to attach here. {life}; `/veo-show` gives a new one.\n{link.url}"
    if len(text) > longest:
        return "The file is too large to attach here, and so is its link. Whoever runs this bot can set PUBLIC_URL."
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


def quota(standing: Standing, runs: list[Run]) -> str:
    """Used, held, left and the reset, then the latest runs."""
    if standing.limit_u is None or standing.left_u is None:
        head = f"**No limit.** Used {usd(standing.spent_u)}, held {usd(standing.held_u)}"
    else:
        head = (
            f"**{usd(standing.left_u)} left** of {usd(standing.limit_u)}. "
            f"Used {usd(standing.spent_u)}, held {usd(standing.held_u)} for runs under way"
        )
    head += f". Resets {when(standing.resets_at, 'f')} ({when(standing.resets_at)})."
    return "\n".join([head, *(["", *map(history_line, runs)] if runs else [])])
