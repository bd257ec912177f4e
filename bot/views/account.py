"""A member's account: what is left, what each video cost and why, and what was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bot.domain.limits import Standing
from bot.domain.records import Key, Offer, Open, Page, Wanted
from bot.domain.runs import Delivery, Ending, Run, RunState
from bot.facts import Code, Moment, Named, Quote, Strong, Text, Usd, text
from bot.views import Action, Entry, Figure, Menu, Option, View
from bot.views.levels import level_text, nearly_used
from bot.views.runs import charge, dotted
from bot.views.runs import options as options_of

LIST_PROMPT_CHARS = 60
MENU_CHARS = 100  # Discord docs, Components Reference, String Select
BAR_PARTS, USED, LEFT = 10, "▰", "▱"
RECEIPT_PROMPT_CHARS = 3000  # all of it, as far as fits


def receipt(run: Run) -> View:
    """What a run costs its member, and by which rule: private."""
    first = charge(run) if run.terminal else text("receipt.held", amount=Usd(run.price_u))
    quoted = text("receipt.quoted", amount=Usd(run.price_u), when=Moment(run.created_at, "time"))
    return View(
        title=text("title.receipt"),
        quote=Quote(run.request.prompt, RECEIPT_PROMPT_CHARS),
        lines=(options_of(run.request), quoted, first, text(f"rule.{_rule(run)}")),
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


def history(page: Page, wanted: Wanted, *, own: bool = True) -> View:
    """A page of a member's runs with what each cost, newest first; their `own` videos can be posted again from it."""
    entries = [line for run in page.runs for line in history_lines(run)]
    whose = text("title.history_of", member=Named(f"member:{wanted.member}"))
    none = text("history.no_videos" if wanted.videos else "history.none") if own else text("history.none_here")
    turns = [
        Action(verb="history", about=_turn(way, key, wanted), label=text(f"button.turn.{way}"))
        for way, key in (("newer", page.newer_than), ("older", page.older_than))
        if key is not None
    ]
    return View(
        title=text("title.history") if own else whose,
        lines=tuple(entries) or (none,),
        actions=tuple(turns),
        menu=_post_again(page.runs) if own else None,
    )


def _turn(way: str, key: Key, wanted: Wanted) -> str:
    """What a button brings back, so that it goes on from there whatever has come since."""
    at, run_id = key
    return f"{way}:{at!r}:{run_id}:{int(wanted.videos)}:{wanted.member}"


def turned(about: Sequence[str]) -> Wanted | None:
    """Which runs a button to another page wants; None where its name is none of ours."""
    try:
        way, at, run_id, videos, *member = about
        key = float(at), run_id
    except ValueError:
        return None
    wanted = Wanted(member=":".join(member), videos=videos == "1")
    return replace(wanted, older_than=key) if way == "older" else replace(wanted, newer_than=key)


def _post_again(runs: Sequence[Run]) -> Menu | None:
    options = [
        Option(
            value=run.run_id,
            label=text("is", fact=Quote(run.request.prompt, MENU_CHARS)),
            note=dotted(Moment(run.created_at, "date"), options_of(run.request)),
        )
        for run in runs
        if run.shows_video
    ]
    return Menu(verb="show", label=text("select.post_again"), options=tuple(options)) if options else None


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
        text(
            "history.details", day=Moment(run.created_at, "date"), options=options_of(run.request), id=Code(run.run_id)
        ),
    ]


def _state(run: Run) -> str:
    if run.shows_video:
        known = {Delivery.DELIVERED: "posted", Delivery.UNDELIVERABLE: "undeliverable"}
        return known.get(run.delivery, "on_its_way")
    return str(run.ending or run.state)


# What is left, and what is open


def quota(
    standings: Sequence[Standing], server: str, opened: Open, price_u: int, is_open: Callable[[Offer], bool]
) -> View:
    """Every limit that concerns the member, their own first, then what is in the works and what waits for an answer.

    `price_u`: of a video such as the member makes.
    """
    *shared, own = standings
    lines = [
        *_own(own),
        *_how_many(standings, price_u),
        *_resets(own),
        *(_shared(each, server) for each in shared if each.limit_u is not None),
        *nearly_used(standings[:-1], server),
    ]
    working = tuple(map(_in_the_works, opened.runs))
    return View(
        title=text("title.quota"),
        lines=tuple(lines),
        figures=(Figure(label=text("quota.in_the_works"), lines=working),) if working else (),
        entries=tuple(_waiting(offer, is_open=is_open(offer)) for offer in opened.offers),
    )


def _own(standing: Standing) -> list[Text]:
    kind = standing.period.kind
    if standing.limit_u is None or standing.left_u is None:
        return [text(f"quota.unlimited.{kind}", used=Usd(standing.spent_u))]
    used, limit = Usd(standing.spent_u), Usd(standing.limit_u)
    if standing.left_u:
        left = Strong(Usd(standing.left_u))
        lines = [text(f"quota.left.{kind}", bar=_bar(standing.left_u, standing.limit_u), left=left, limit=limit)]
    else:
        lines = [text(f"quota.nothing_left.{kind}", used=used, limit=limit)]
    if standing.held_u:
        lines.append(text("quota.held", held=Usd(standing.held_u)))
    if standing.granted_u:
        lines.append(text("quota.extra", extra=Usd(standing.granted_u)))
    return lines


def _bar(left_u: int, limit_u: int) -> str:
    """How much is used; neither empty nor full while that is not the whole truth."""
    used = BAR_PARTS * (limit_u - left_u) // limit_u
    used = max(used, 1) if left_u < limit_u else used
    return USED * used + LEFT * (BAR_PARTS - used)


def _how_many(standings: Sequence[Standing], price_u: int) -> list[Text]:
    """For how many more videos the tightest limit is enough, where one is and it is for any."""
    left_u = min((each.left_u for each in standings if each.left_u is not None), default=0)
    count = left_u // price_u
    return [text("quota.about", count=count, price=Usd(price_u))] if count else []


def _resets(standing: Standing) -> list[Text]:
    resets = Moment(standing.resets_at)
    return [text("quota.resets", when=Moment(standing.resets_at, "time"), relative=resets)]


def _in_the_works(run: Run) -> Text:
    return text(
        "quota.run",
        prompt=Quote(run.request.prompt, LIST_PROMPT_CHARS),
        state=text(f"state.{_state(run)}"),
        place=Named(f"channel:{run.channel}"),
        since=Moment(run.created_at),
    )


def _waiting(offer: Offer, *, is_open: bool) -> Entry:
    """A wish of which nothing came yet; its card may be gone, so it can be shown anew."""
    sort = "asked" if offer.asked_at is not None else str(offer.kind)
    if not is_open:
        sort = "kept"
    line = text(
        f"quota.offer.{sort}",
        prompt=Quote(offer.wish.request.prompt, LIST_PROMPT_CHARS),
        price=Usd(offer.choices[0].price_u),
        expires=Moment(offer.expires_at),
    )
    return Entry(line=line, action=Action(verb="open", about=offer.offer_id, label=text("button.open")))


def _shared(standing: Standing, server: str) -> Text:
    return text(
        f"quota.shared.{standing.period.kind}",
        level=level_text(standing.scope, server),
        left=Usd(standing.left_u or 0),
        limit=Usd(standing.limit_u or 0),
        resets=Moment(standing.resets_at),
    )
