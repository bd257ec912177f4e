"""What members are shown fits what Discord takes: every card and form, in every language, at its longest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.limits import Level, OverLimit, Standing
from bot.domain.models import VeoRequest
from bot.domain.periods import Period
from bot.domain.queue import Turn
from bot.domain.records import Choice, Offer, OfferKind, Open, Page, Wanted, Wish
from bot.domain.runs import TERMINAL, Delivery, Ending, Notice, RunState
from bot.errors import BadRequest, NotAllowed
from bot.texts import Languages, Words
from bot.views import View
from bot.views.account import history, quota, receipt
from bot.views.runs import card, details, notice
from bot.views.wishes import denied, not_made, question, refused, request, sent
from cogs import forms, render
from cogs.render import CARD_CHARS_MAX, LABEL_CHARS_MAX, MARKUP, MESSAGE_CHARS_MAX
from sandbox.discord.components import walk
from sandbox.discord.spec import Spec
from tests.catalogues import PRICES, paths
from tests.harness import openapi
from tests.test_runs import a_run

COMPONENTS_MAX = 40  # Discord docs, Components Reference
ID = "discord:" + "9" * 20
HOSTILE = "<@1> **`#_~|[]" * 430  # escaped it is nearly twice as long
WISH = VeoRequest(
    prompt=HOSTILE,
    negative_prompt=HOSTILE,
    duration="6s",
    resolution="4k",
    aspect_ratio="9:16",
    safety_tolerance="6",
    auto_fix=False,
    seed=-(2**53) + 1,
)
RUN = a_run(
    run_id="a" * 16,
    member=ID,
    server=ID,
    channel=ID,
    request=WISH,
    price_u=7_999_123_456,
    charged_u=7_999_123_457,
    refunded_u=7_999_123_457,
    failure_code="W" * 100,
    failure_message=HOSTILE,
    seed_used=2**53 - 1,
    take="yours",
    uploads=3,
)
MONTH = Period(kind="month", key="m", starts_at=0.0, resets_at=2e9)


def standing(scope: str) -> Standing:
    return Standing(
        scope=scope,
        period=MONTH,
        limit_u=999_999_999_999,
        held_u=900_000_000_001,
        spent_u=99_000_000_001,
        granted_u=1,
    )


STANDINGS = [standing(f"{sort}:{ID}") for sort in ("server", "channel", "role", "role", "role", "member")]
TURN = Turn(place=100_000, starts_at=2e9, ready_p50_at=2e9, ready_p80_at=2e9)
CHOICES = tuple(
    Choice(request=replace(WISH, duration=each), price_u=7_999_123_456) for each in ("8s", "6s", "4s", "4s")
)


def offer(kind: OfferKind) -> Offer:
    wish = Wish(
        origin=ID,
        member=ID,
        member_name="B",
        server=ID,
        channel=ID,
        budget_channel=ID,
        roles=(),
        request=WISH,
        take="final",
    )
    return Offer(offer_id="a" * 16, kind=kind, wish=wish, choices=CHOICES, expires_at=2e9, over=f"server:{ID}")


def cards() -> Iterator[tuple[str, View]]:
    """Every card, each with all that it may have on it."""
    for state, ending in product(RunState, (*Ending, None)):
        if (state in TERMINAL) == (ending is not None):
            run = replace(RUN, state=state, ending=ending, delivery=Delivery.UNDELIVERABLE, overdue=True)
            yield f"card {state} {ending}", card(run, STANDINGS, PRICES, TURN, last=True)
            yield f"details {state} {ending}", details(run, PRICES, own=True)
            yield f"receipt {state} {ending}", receipt(run)
    yield "in line", card(replace(RUN, in_line=True), STANDINGS, PRICES, TURN, last=True)
    confirm, asked, draft = (offer(kind) for kind in OfferKind)
    yield "question", question(confirm, STANDINGS[-1])
    yield "not made", not_made(confirm, BadRequest("question.expired").text, PRICES)
    over = OverLimit(Level(scope=f"server:{ID}", period=MONTH, limit_u=1), 7_999_123_456, STANDINGS[-1])
    yield "over", refused(over, draft.wish, PRICES, asked)
    yield "refused", refused(NotAllowed("access.paused"), draft.wish, PRICES, draft)
    yield "store down", refused(NotAllowed("store.down"), draft.wish, PRICES, None)
    yield "sent", sent(asked)
    yield "denied", denied(asked)
    page = Page(
        runs=[replace(RUN, state=RunState.SUCCEEDED, ending=Ending.VIDEO)] * 8,
        newer_than=(1.5e9, "a" * 16),
        older_than=(1.5e9, "a" * 16),
    )
    yield "history", history(page, Wanted(member=ID))
    yield (
        "quota",
        quota(
            STANDINGS,
            ID,
            Open(
                runs=[RUN] * 5,
                offers=[confirm, replace(asked, offer_id="b" * 16), replace(asked, offer_id="c" * 16, asked_at=1.0)],
            ),
            1,
            lambda offer: offer.asked_at is None,
        ),
    )


def languages() -> list[tuple[str, Words]]:
    found = Languages()
    return [(locale, found.words(locale, MARKUP)) for locale in ("en-US", *(path.stem for path in paths()))]


async def test_every_card_fits_in_every_language() -> None:
    """Texts, labels, buttons and parts, by Discord's numbers and by its own description."""
    path = openapi()
    spec = None if path is None else Spec(path)
    for (locale, words), (name, view) in product(languages(), list(cards())):
        parts = render.card(view, words).to_components()  # type: ignore[no-untyped-call] # as the library has it
        shown = [part for _, part in walk(parts)]
        where = f"{name} in {locale}"
        assert sum(len(part.get("content") or "") for part in shown) <= CARD_CHARS_MAX, where
        assert len(shown) <= COMPONENTS_MAX, where
        lines = [line for part in shown for line in (part.get("content") or "").split("\n")]
        wanted = [*map(words.say, view.lines), *(f"-# {words.say(each)}" for each in view.small)]
        assert [line for line in "\n".join(wanted).split("\n") if line not in lines] == [], where  # the quote is cut
        labels = [part["label"] for part in shown if part["type"] == 2]
        assert all(0 < len(label) <= LABEL_CHARS_MAX and "…" not in label for label in labels), (where, labels)
        names = [part["custom_id"] for part in shown if "custom_id" in part]
        assert len(names) == len(set(names)), where
        assert all(len(each) <= 100 for each in names), where
        assert "{" not in "".join(part.get("content") or "" for part in shown), where
        if spec is not None:
            body = {"content": None, "embeds": [], "components": parts, "flags": 1 << 15}
            template = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
            assert spec.check_request("PATCH", template, body) is None, where


async def test_every_message_fits_in_every_language() -> None:
    """A result with all its buttons, and the request to the admins."""
    for locale, words in languages():
        for kind, ending, direct in product(Notice, Ending, (True, False)):
            run = replace(RUN, notice=kind, ending=ending, direct=direct)
            view = notice(run, PRICES, link=None, lost=True)
            assert len(render.content(view, words)) <= MESSAGE_CHARS_MAX, (locale, kind, ending)
            assert render.buttons(view, words) is not None
        view = request(offer(OfferKind.REQUEST), [])
        assert len(render.content(view, words)) <= MESSAGE_CHARS_MAX, locale


async def test_every_form_fits_in_every_language() -> None:
    """What is sent to open one, by Discord's own description."""
    path = openapi()
    spec = None if path is None else Spec(path)
    wish = replace(WISH, prompt="W" * 4000, negative_prompt="W" * 4000)
    for (locale, words), title in product(languages(), ("form.title", "form.title.yours", "form.title.new")):
        made = forms.form(
            wish, PRICES, name=render.form_id("offer", "a" * 16, 2**63), title=title, prompt_max_chars=2000, words=words
        ).to_dict()
        assert len(made["title"]) <= 45, (locale, made["title"])
        for label in made["components"]:
            assert len(label["label"]) <= 45, (locale, label["label"])
            options = label["component"].get("options", [])
            assert len(options) <= 25
            assert all(len(each["label"]) <= 100 and len(each.get("description", "")) <= 100 for each in options)
        if spec is not None:
            template = "/interactions/{interaction_id}/{interaction_token}/callback"
            assert spec.check_request("POST", template, {"type": 9, "data": made}) is None, locale


@given(st.text(min_size=1, max_size=300))
def test_a_prompt_is_shown_as_it_is(prompt: str) -> None:
    """Whatever is in it: with the backslashes taken away it reads as written, and nothing in it is marked up."""
    line = render.one_line(prompt, 300)
    shown = render.escaped(line)
    assert render.unmarked(shown, {}) == line.replace("**", "")
    assert discord.utils.escape_mentions(shown) == shown or "@" in line
    assert not any(mark in shown.replace("\\" + mark, "") for mark in "*_~`|<>[]#@")


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("look at https://evil.example/x", r"look at https:\/\/evil.example\/x"),
        ("<@1> and @everyone", r"\<\@1\> and \@everyone"),
        ("- a list", r"\- a list"),
        ("1. first", r"1\. first"),
        ("# loud", r"\# loud"),
        ("**bold** `code` ||spoiler||", r"\*\*bold\*\* \`code\` \|\|spoiler\|\|"),
    ],
)
def test_nothing_in_a_prompt_is_acted_on(prompt: str, shown: str) -> None:
    assert render.escaped(prompt) == shown
