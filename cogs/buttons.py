"""Every button that the bot shows, by the name that tells what a press means.

The names are all that a press brings back, so buttons work for ever, also after a restart. A view here is never kept
by the library: `cogs.presses` answers the presses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import discord

from bot.domain.limits import Over, most_u
from bot.domain.money import usd
from bot.domain.records import Offer
from cogs import words

PREFIX = "veo"
Verb = Literal["yes", "no", "ask", "approve", "deny", "receipt"]
LABEL_CHARS_MAX = 80  # Discord docs, Components Reference, Button


def receipt(run_id: str) -> discord.ui.View:
    """Under a result: what it cost, for whom it concerns alone."""
    return _row(_button("receipt", run_id, "Receipt"))


def question(offer: Offer) -> discord.ui.View:
    """Under a price: yes, what would be cheaper, no."""
    asked, *cheaper = offer.choices
    yes = _button("yes", f"{offer.offer_id}:0", "Film it", style=discord.ButtonStyle.success)
    others = [
        _button("yes", f"{offer.offer_id}:{place}", words.choice_label(choice, asked.request))
        for place, choice in enumerate(cheaper, start=1)
    ]
    return _row(yes, *others, _button("no", offer.offer_id, "Not now"))


def request(offer: Offer) -> discord.ui.View:
    """Under a refusal that the server's admins can lift."""
    return _row(_button("ask", offer.offer_id, "Ask an admin", style=discord.ButtonStyle.primary))


def decision(offer: Offer, over: Sequence[Over]) -> discord.ui.View:
    """Under a request, for the admins. What Approve says that it adds is in its name, so that it never adds more."""
    adds_u = most_u(over)
    label = f"Approve +{usd(adds_u)}" if adds_u else "Approve"
    return _row(
        _button("approve", f"{offer.offer_id}:{adds_u}", label, style=discord.ButtonStyle.success),
        _button("deny", offer.offer_id, "Deny", style=discord.ButtonStyle.danger),
    )


def read(custom_id: str) -> tuple[Verb, list[str]] | None:
    """The verb of one of our buttons and what it is about; None for anything else."""
    prefix, _, rest = custom_id.partition(":")
    verb, *about = rest.split(":")
    known: tuple[Verb, ...] = ("yes", "no", "ask", "approve", "deny", "receipt")
    if prefix != PREFIX or not about:
        return None
    return next(((each, about) for each in known if each == verb), None)


def _button(
    verb: Verb, about: str, label: str, *, style: discord.ButtonStyle = discord.ButtonStyle.secondary
) -> discord.ui.Button[discord.ui.View]:
    return discord.ui.Button(label=label[:LABEL_CHARS_MAX], style=style, custom_id=f"{PREFIX}:{verb}:{about}")


def _row(*buttons: discord.ui.Button[discord.ui.View]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()  # a finished view is not kept
    return view
