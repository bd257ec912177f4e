"""What comes before a run: the question about its price, the refusal and what would fit, the request to the admins."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.limits import Over, OverLimit, Standing, most_u
from bot.domain.models import VeoRequest
from bot.domain.prices import PriceTable
from bot.domain.records import Choice, Offer, Wish
from bot.errors import Refusal
from bot.facts import Code, Fact, Moment, Named, Quote, Strong, Text, Usd, text
from bot.views import Action, Figure, Tone, View
from bot.views.details import detail_text
from bot.views.runs import CARD_PROMPT_CHARS, PROMPT_CHARS, dotted, left_text, level_text, options

# A price that is to be agreed to


def question(offer: Offer, standing: Standing) -> View:
    """The price, with what would be cheaper. `standing`: the member's own level."""
    asked, *cheaper = offer.choices
    price = Usd(asked.price_u)
    actions = [Action(verb="yes", about=f"{offer.offer_id}:0", label=text("button.make", price=price), style="success")]
    actions += [
        Action(verb="yes", about=f"{offer.offer_id}:{place}", label=_cheaper(choice, asked.request))
        for place, choice in enumerate(cheaper, start=1)
    ]
    return View(
        title=text("title.question", price=price),
        quote=Quote(asked.request.prompt, CARD_PROMPT_CHARS),
        figures=(
            Figure(label=text("label.options"), lines=(options(asked.request),), wide=True),
            Figure(label=text("label.limit"), lines=(left_text(standing),)),
            Figure(label=text("label.expires"), lines=(text("is", fact=Moment(offer.expires_at)),)),
        ),
        actions=(*actions, Action(verb="no", about=offer.offer_id, label=text("button.not_now"))),
        tone=Tone.WAITING,
    )


def _cheaper(choice: Choice, wish: VeoRequest) -> Text:
    """A cheaper setting as a button says it: what is different, and the price."""
    changes: list[Fact] = []
    if choice.request.generate_audio != wish.generate_audio:
        changes.append(text("button.silent"))
    if choice.request.resolution != wish.resolution:
        changes.append(choice.request.resolution)
    if choice.request.duration != wish.duration:
        changes.append(text("button.seconds", count=choice.request.seconds))
    return dotted(*changes, Usd(choice.price_u))


def declined() -> View:
    """After the member's no to a price."""
    return View(lines=(text("question.declined"),))


# A refusal


def refused(error: Refusal, wish: Wish, prices: PriceTable, left_u: int | None, offer: Offer | None = None) -> View:
    """Why a wish was not carried out, and what would work instead.

    `left_u`: what fits into every level. `offer`: the request that can be put to the admins.
    """
    if not isinstance(error, OverLimit):
        return View(lines=(error.text,), tone=Tone.BAD)
    actions = [] if offer is None else [Action(verb="ask", about=offer.offer_id, label=_ASK, style="primary")]
    return View(lines=tuple(_over(error, wish, prices, left_u)), actions=tuple(actions), tone=Tone.BAD)


_ASK = text("button.ask")


def _over(error: OverLimit, wish: Wish, prices: PriceTable, left_u: int | None) -> list[Text]:
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
    if fitting := prices.cheapest_that_fits(request, cheapest_u if left_u is None else left_u):
        price_u, variant = fitting
        return [*lines, text("over.fits", options=options(variant), price=Usd(price_u))]
    return [*lines, text("over.nothing_fits", cheapest=Usd(cheapest_u))]


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


def sent() -> View:
    """What the member reads once the admins have the request."""
    return View(lines=(text("request.sent"),))


def denied(offer: Offer) -> View:
    """What the member is told of a no: no word of money, for it may be public."""
    return View(lines=(text("request.denied", member=Named(f"member:{offer.wish.member}")),))


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
    return Quote(offer.choices[0].request.prompt, PROMPT_CHARS)


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
