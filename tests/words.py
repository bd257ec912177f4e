"""English, as a member in Discord reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from bot.errors import VeoError
from bot.facts import Fact, Text, text
from bot.texts import Languages
from bot.views import View
from cogs.context import Speaker
from cogs.render import MARKUP, content

Refused = TypeVar("Refused", bound=VeoError)

SPEAKER = Speaker(Languages())
ENGLISH = Languages().words(None, MARKUP)


@contextmanager
def refuses(kind: type[Refused], words: str) -> Iterator[pytest.ExceptionInfo[Refused]]:
    """Like pytest.raises, for an error whose words fit a pattern."""
    with pytest.raises(kind) as caught:
        yield caught
    assert re.search(words, said(caught.value)), said(caught.value)


def shown(view: View) -> str:
    """A view as the text of a message."""
    return content(view, ENGLISH)


def said(of: VeoError | Text | str, **facts: Fact) -> str:
    """The words of an error, of a text, or of a text by its key."""
    if isinstance(of, VeoError):
        of = of.text
    return ENGLISH.say(text(of, **facts) if isinstance(of, str) else of)
