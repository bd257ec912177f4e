"""English, as a member in Discord reads it."""

from __future__ import annotations

from bot.errors import VeoError
from bot.facts import Fact, Text, text
from bot.texts import Languages
from bot.views import View
from cogs.context import Speaker
from cogs.render import MARKUP, content

SPEAKER = Speaker(Languages())
ENGLISH = Languages().words(None, MARKUP)


def shown(view: View) -> str:
    """A view as the text of a message."""
    return content(view, ENGLISH)


def said(of: VeoError | Text | str, **facts: Fact) -> str:
    """The words of an error, of a text, or of a text by its key."""
    if isinstance(of, VeoError):
        of = of.text
    return ENGLISH.say(text(of, **facts) if isinstance(of, str) else of)
