"""What comes before a run: the question about its price, the refusal and what would fit, the request to the admins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import NoneType

from bot.domain.limits import Over, OverLimit, Standing, most_u
from bot.domain.models import VeoRequest
from bot.domain.prices import PriceTable
from bot.domain.records import Choice, Offer, OfferKind, Wish
from bot.errors import BadRequest, Refusal
from bot.facts import Code, Fact, Moment, Named, Quote, Strong, Text, Usd, text
from bot.views import Action, Style, Tone, View
from bot.views.details import detail_text
from bot.views.levels import left_text, level_text
from bot.views.runs import CARD_PROMPT_CHARS, dotted, options

REQUEST_PROMPT_CHARS = 300
WHOLE_PROMPT_CHARS = 3000

# A price that is to be agreed to


def question(offer: Offer, standing: Standing) -> View:
    """The price, with what would be cheaper. `standing`: the member's own level."""
    asked, *cheaper = offer.choices
    price = Usd(asked.price_u)
    actions = [Action(verb="yes", about=f"{offer.offer_id}:0", label=text("button.make", price=price), style="success")]
    actions += [
        Action(verb="yes", about=f"{offer.offer_id}:{place}", label=_variant(choice, asked.request))
        for place, choice in enumerate(cheaper, start=1)
    ]
    return View(
        title=text("title.question", price=price),
        quote=_own_words(offer),
        lines=(
            *([text(f"take.{offer.wish.take}")] if offer.wish.take else []),
            dotted(options(asked.request), left_text(standing)),
            text("question.expires", when=Moment(offer.expires_at)),
        ),
        actions=tuple(actions),
        more=(_change(offer), Action(verb="no", about=offer.offer_id, label=text("button.not_now"))),
        tone=Tone.WAITING,
    )


def _variant(choice: Choice, wish: VeoRequest) -> Text:
    """Another setting as a button says it: what is different, and the price."""
    changes: list[Fact] = []
    if choice.request.generate_audio != wish.generate_audio:
        changes.append(text("button.silent" if wish.generate_audio else "button.sound"))
    if choice.request.resolution != wish.resolution:
        changes.append(choice.request.resolution)
    if choice.request.duration != wish.duration:
        changes.append(text("button.seconds", count=choice.request.seconds))
    return dotted(*changes, Usd(choice.price_u))


def _own_words(offer: Offer) -> Quote:
    return Quote(offer.choices[0].request.prompt, CARD_PROMPT_CHARS)


def _change(offer: Offer) -> Action:
    return Action(verb="edit", about=offer.offer_id, label=text("button.change"))


def not_made(offer: Offer, said: Text, prices: PriceTable) -> View:
    """A question that came to nothing, by a no or by its time: its words are still there, and so are its buttons."""
    price_u = prices.quote(offer.wish.request)
    make = _make(offer, 0, price_u, text("button.make", price=Usd(price_u)), "secondary")
    return View(title=said, quote=_own_words(offer), actions=(make, _change(offer), *_whole_prompt(offer)))


def _make(offer: Offer, place: int, price_u: int, label: Text, style: Style) -> Action:
    return Action(verb="make", about=f"{offer.offer_id}:{place}:{price_u}", label=label, style=style)


def _whole_prompt(offer: Offer) -> tuple[Action, ...]:
    """The way to all of a prompt of which the card shows only a part."""
    if len(offer.wish.request.prompt) <= CARD_PROMPT_CHARS:
        return ()
    return (Action(verb="prompt", about=offer.offer_id, label=text("button.prompt")),)


def still_open(offer: Offer, standing: Standing) -> View:
    """A question or a request once more, for a member whose card is gone."""
    if offer.kind == OfferKind.CONFIRM:
        return question(offer, standing)
    if offer.asked_at is not None:
        return replace(sent(offer), actions=_whole_prompt(offer))
    return View(
        title=text("title.over_limit"),
        quote=_own_words(offer),
        lines=(text("question.expires", when=Moment(offer.expires_at)),),
        actions=_ways_on(None, offer),
        more=(_change(offer), *_whole_prompt(offer)),
        tone=Tone.WAITING,
    )


# A refusal


def refused(error: Refusal, wish: Wish, prices: PriceTable, draft: Offer | None) -> View:
    """Why a wish was not carried out, and what gets its member on. `draft`: what is kept of it."""
    if draft is None:  # then nothing else keeps its words
        whole = Quote(wish.request.prompt, WHOLE_PROMPT_CHARS)
        return View(title=text("title.not_made"), quote=whole, lines=(error.text,), tone=Tone.BAD)
    lines = _over(error, wish, prices, draft.choices[1:]) if isinstance(error, OverLimit) else [error.text]
    return View(
        title=text("title.over_limit" if isinstance(error, OverLimit) else "title.not_made"),
        quote=_own_words(draft),
        lines=tuple(lines),
        actions=_ways_on(error, draft),
        more=(_change(draft), *_whole_prompt(draft)),
        tone=Tone.BAD,
    )


def _ways_on(error: Refusal | None, draft: Offer) -> tuple[Action, ...]:
    """What can be made instead, or be tried again, and whom to ask. Without an error: a limit refused it."""
    wish, *fits = draft.choices
    actions = [
        _make(draft, place, choice.price_u, _variant(choice, wish.request), "success" if place == 1 else "secondary")
        for place, choice in enumerate(fits, start=1)
    ]
    if draft.kind == OfferKind.REQUEST:
        actions.append(Action(verb="ask", about=draft.offer_id, label=text("button.ask"), style="primary"))
    if not isinstance(error, (OverLimit, BadRequest, NoneType)):
        again = text("button.remake.retry", price=Usd(wish.price_u))
        actions.append(_make(draft, 0, wish.price_u, again, "secondary"))
    return tuple(actions)


def _over(error: OverLimit, wish: Wish, prices: PriceTable, fits: Sequence[Choice]) -> list[Text]:
    standing, request, price = error.standing, wish.request, Usd(error.price_u)
    sort = "own" if error.scope.startswith("member:") else "shared"
    level = level_text(error.scope, wish.server)
    cheapest_u = min(price_u for price_u, _ in prices.variants(request))
    if standing.limit_u is not None and standing.limit_u < cheapest_u:  # the next period would not help
        whom = "admin" if error.admins_can_raise else "owner"
        ask = text(f"over.ask_{whom}")
        if standing.limit_u == 0:
            return [text(f"over.nobody.{sort}", level=level), ask]
        facts: dict[str, Fact] = {"limit": Usd(standing.limit_u), "cheapest": Usd(cheapest_u), "level": level}
        return [text(f"over.too_low.{sort}", **facts), ask]
    resets = Moment(standing.resets_at, "time")
    which = sort if sort == "shared" or standing.left_u else "own_nothing_left"
    lines = [text(f"over_limit.{which}", price=price, left=Usd(standing.left_u or 0), level=level, resets=resets)]
    if sort == "own" and standing.held_u:
        lines.append(text("over.held", held=Usd(standing.held_u)))
    return lines if fits else [*lines, text("over.nothing_fits", cheapest=Usd(cheapest_u))]


# A request to the admins


def request(offer: Offer, over: Sequence[Over]) -> View:
    """A member's request as the admins see it: for what, which limits it passes, and what a yes adds."""
    adds_u = most_u(over)
    approve = text("button.approve_more", amount=Usd(adds_u)) if adds_u else text("button.approve")
    return View(
        title=_asked(offer),
        quote=_prompt(offer),
        lines=(_wanted(offer), *(_adds(each, offer.wish.server) for each in over)),
        small=(text("request.once", expires=Moment(offer.expires_at)),),
        actions=(
            # What Approve says that it adds is in its name, so that it never adds more.
            Action(verb="approve", about=f"{offer.offer_id}:{adds_u}", label=approve, style="success"),
            Action(verb="deny", about=offer.offer_id, label=text("button.deny"), style="danger"),
        ),
        tone=Tone.WAITING,
    )


def decided(offer: Offer) -> View:
    """The same once it takes no answer any more, with the answer."""
    answer = offer.answer
    if answer is None:
        outcome = text("request.was_replaced")
    else:
        key = "request.was_denied" if offer.run_id is None else "request.was_approved"
        outcome = text(key, admin=Named(f"member:{answer.actor}"))
        if offer.run_id is not None and (detail := detail_text(answer)) is not None:
            outcome = dotted(outcome, detail)
    small = () if offer.run_id is None else (text("run_id", id=Code(offer.run_id)),)
    return View(title=_asked(offer), quote=_prompt(offer), lines=(_wanted(offer), outcome), small=small)


def sent(offer: Offer) -> View:
    """What the member reads once the admins have the request."""
    return View(title=text("title.request"), quote=_own_words(offer), lines=(text("request.sent"),), tone=Tone.WAITING)


def denied(offer: Offer) -> View:
    """What only the member reads when an admin says no."""
    return View(
        title=text("request.denied"),
        quote=_own_words(offer),
        lines=(text("charge.none"),),
        actions=(_change(offer), *_whole_prompt(offer)),
        tone=Tone.BAD,
    )


def whose(scope: str, server: str) -> Text:
    """Whose limit it is, in the words of a request."""
    if scope == f"role:{server}":
        return text("whose.everyone")
    return text(f"whose.{scope.partition(':')[0]}", who=Named(scope))


def _asked(offer: Offer) -> Text:
    price = Strong(Usd(offer.choices[0].price_u))
    return text(
        "request.asked",
        member=Named(f"member:{offer.wish.member}"),
        price=price,
        whose=whose(offer.over, offer.wish.server),
    )


def _prompt(offer: Offer) -> Quote:
    return Quote(offer.choices[0].request.prompt, REQUEST_PROMPT_CHARS)


def _wanted(offer: Offer) -> Text:
    return dotted(
        options(offer.choices[0].request), text("request.place", channel=Named(f"channel:{offer.wish.channel}"))
    )


def _adds(over: Over, server: str) -> Text:
    standing = over.standing
    return text(
        f"request.adds.{standing.period.kind}",
        left=Usd(standing.left_u or 0),
        limit=Usd(standing.limit_u or 0),
        whose=whose(over.scope, server),
        amount=Strong(Usd(over.over_u)),
    )
