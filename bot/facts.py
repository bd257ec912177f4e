"""What a sentence is made of: its key and its figures. Only `bot.texts` puts them into words, in the reader's language.

Everything below the edges speaks in these: an error, a card and a receipt say *what* is the case, and never how that
reads. How a person, a moment or somebody else's text is marked up is the front's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Usd:
    """An amount of dollars, in micro-dollars."""

    amount_u: int


@dataclass(frozen=True)
class Moment:
    """A point in time, in Unix seconds; shown as a distance from now, as a time of day, as a date, or as both."""

    at: float
    style: Literal["relative", "clock", "date", "time"] = "relative"


@dataclass(frozen=True)
class Duration:
    """A length of time, in seconds."""

    seconds: float


@dataclass(frozen=True)
class Ordinal:
    """A place in a row: `4th`."""

    number: int


@dataclass(frozen=True)
class Named:
    """Somebody or something by its opaque name in a scope: `member:discord:1`, `channel:…`, `role:…`, `server:…`."""

    scope: str


@dataclass(frozen=True)
class Quote:
    """Somebody else's text. It is shown as one, whatever it contains, cut at `longest` characters."""

    text: str
    longest: int = 300


@dataclass(frozen=True)
class Code:
    """A name of ours to copy or to type: a run's id, a setting."""

    text: str


@dataclass(frozen=True)
class Url:
    """An address to open."""

    url: str


@dataclass(frozen=True)
class Strong:
    """What the eye should find first."""

    fact: Fact


@dataclass(frozen=True)
class Text:
    """One sentence or label: the key of its words, and the figures that go into their placeholders."""

    key: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


Fact: TypeAlias = (
    "str | int | Usd | Moment | Duration | Ordinal | Named | Quote | Code | Url | Strong | Text | tuple[Fact, ...]"
)


def text(key: str, /, **facts: Fact) -> Text:
    """A text with its figures. Those that count something for the choice of a plural form are called `count`."""
    return Text(key, facts)
