"""What is shown, as data: cards, notices, questions, receipts, lists. Every front renders these in its own way.

A view says what is on it and in which order: keys of texts with their figures, and what can be pressed. It knows no
language and no markup. `runs` shows runs to members, with `buttons` under them, `account` what they have left and what
they made, `wishes` what comes before a run, `admins` what admins see.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bot.facts import Quote, Text

ActionVerb = Literal[
    "yes", "no", "ask", "approve", "deny", "receipt", "details", "delete", "cancel",
    "again", "final", "silent", "retry", "make", "change", "seed", "edit", "prompt", "open", "history", "show",
]  # fmt: skip

Style = Literal["primary", "success", "danger", "secondary"]


class Tone(StrEnum):
    """What a view feels like; a front may colour it so."""

    NEUTRAL = "neutral"
    WAITING = "waiting"  # for an answer or for news
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something to press. What it is about travels with it, so that a press still works after a restart."""

    verb: ActionVerb
    about: str
    label: Text
    style: Style = "secondary"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something in a list, with what can be pressed beside it."""

    line: Text
    action: Action


@dataclass(frozen=True, kw_only=True)
class Option:
    """Something to pick from a menu."""

    value: str
    label: Text
    note: Text


@dataclass(frozen=True, kw_only=True)
class Menu:
    """A list out of which one is picked, which is what its verb is about then."""

    verb: ActionVerb
    label: Text
    options: tuple[Option, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A labelled fact, or a short list of them."""

    label: Text
    lines: tuple[Text, ...]
    wide: bool = False  # it needs a line of its own


@dataclass(frozen=True, kw_only=True)
class View:
    """One thing that is shown. Parts that are empty are not there."""

    title: Text | None = None
    quote: Quote | None = None  # what a member wrote
    lines: tuple[Text, ...] = ()
    figures: tuple[Figure, ...] = ()
    small: tuple[Text, ...] = ()  # small print, last of what is only read
    entries: tuple[Entry, ...] = ()
    menu: Menu | None = None
    actions: tuple[Action, ...] = ()
    more: tuple[Action, ...] = ()  # in a row of their own, below the others
    tone: Tone = Tone.NEUTRAL
