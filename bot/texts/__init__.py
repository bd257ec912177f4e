"""Puts facts into words, in the reader's language: the only place with sentences for people.

`Languages` reads the catalogues (`<language>.po` beside this file) at the start; `Words` speaks one of them in the
markup of one front. English is what the messages themselves are written in, and what a missing translation falls back
to. Amounts, numbers and plural forms are those of the Unicode CLDR.
"""

from __future__ import annotations

import gettext
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from bot.domain.untrusted import strip_controls
from bot.facts import Code, Duration, Fact, Moment, Named, Quote, Strong, Text, Url, Usd, text
from bot.texts.messages import MESSAGES, Plural
from bot.texts.notation import American, Notation

ENGLISH = "en_US"
SECOND_UNIT_BELOW = 10  # of the largest unit of a duration: 9 min 5 s, but 17 min


class Markup(Protocol):
    """How a front marks up what it can show better than as plain letters."""

    def moment(self, moment: Moment) -> str: ...

    def named(self, scope: str) -> str: ...

    def quote(self, text: str, longest: int) -> str: ...

    def code(self, text: str) -> str: ...

    def command(self, name: str) -> str: ...

    def url(self, url: str) -> str: ...

    def strong(self, text: str) -> str: ...


class PlainMarkup:
    """No markup at all, for a terminal."""

    def moment(self, moment: Moment) -> str:
        """A moment in UTC."""
        return f"{datetime.fromtimestamp(moment.at, UTC):%Y-%m-%d %H:%M} UTC"

    def named(self, scope: str) -> str:
        return scope

    def quote(self, text: str, longest: int) -> str:
        line = " ".join(strip_controls(text).split())
        return repr(line if len(line) <= longest else f"{line[: longest - 1]}…")

    def code(self, text: str) -> str:
        return text

    def command(self, name: str) -> str:
        return name

    def url(self, url: str) -> str:
        return url

    def strong(self, text: str) -> str:
        return text


PLAIN = PlainMarkup()


class Words:
    """One language in the markup of one front."""

    def __init__(self, notation: Notation, translations: gettext.NullTranslations, markup: Markup) -> None:
        self._notation = notation
        self._translations = translations
        self._markup = markup

    def marked(self, markup: Markup) -> Words:
        """The same language in another markup."""
        return Words(self._notation, self._translations, markup)

    def say(self, text: Text) -> str:
        """The text with its figures. Raises KeyError where the text or one of its figures is missing."""
        if text.key == "dotted":
            return " · ".join(map(self.fact, text.facts["parts"]))  # type: ignore[arg-type]  # a tuple, see bot.views
        message = MESSAGES[text.key]
        if isinstance(message, Plural):
            count = text.facts["count"]
            number = count if isinstance(count, int) else 0
            template = self._translations.ngettext(message.one, message.other, number)
        else:
            template = self._translations.gettext(message)
        return template.format_map(_Figures(self, text.facts))

    def fact(self, fact: Fact) -> str:
        """One figure in words."""
        match fact:
            case str():
                return fact
            case int():
                return self._notation.number(fact)
            case Usd(amount_u):
                return self.usd(amount_u)
            case Moment():
                return self._markup.moment(fact)
            case Duration(seconds):
                return self._duration(round(seconds))
            case Named(scope):
                return self._markup.named(scope)
            case Quote(text, longest):
                return self._markup.quote(text, longest)
            case Code(text):
                return self._markup.code(text)
            case Url(url):
                return self._markup.url(url)
            case Strong(inner):
                return self._markup.strong(self.fact(inner))
            case Text():
                return self.say(fact)
            case _:
                return self._notation.sequence([self.fact(each) for each in fact])

    def command(self, name: str) -> str:
        """A command of ours, such as `/veo`."""
        return self._markup.command(name)

    def usd(self, amount_u: int, *, whole: bool = False) -> str:
        """`$3.20`: at least two decimals, more only where they say something; `whole`: none, as on an axis."""
        amount = Decimal(amount_u).scaleb(-6)
        return self._notation.whole_usd(amount) if whole else self._notation.usd(amount)

    def day(self, day: date) -> str:
        """`Nov 26`: a day whose year is known."""
        return self._notation.day(day)

    def _duration(self, seconds: int) -> str:
        """`8 s`, `2 min 5 s`, `17 min`: as exactly as anybody wants to know."""
        hours, rest = divmod(seconds, 3600)
        minutes, rest = divmod(rest, 60)
        counts = {"hours": hours, "minutes": minutes, "seconds": rest}
        named = [(unit, count) for unit, count in counts.items() if count] or [("seconds", 0)]
        said = [self.say(text(f"duration.{unit}", count=count)) for unit, count in named]
        return said[0] if named[0][1] >= SECOND_UNIT_BELOW else " ".join(said[:2])


class _Figures(dict[str, str]):
    """The figures of one text, each put into words when its placeholder is met."""

    def __init__(self, words: Words, facts: Mapping[str, Fact]) -> None:
        super().__init__()
        self._words = words
        self._facts = facts

    def __missing__(self, name: str) -> str:
        if name.startswith("/"):
            return self._words.command(name)
        return self._words.fact(self._facts[name])


class Languages:
    """The catalogues that were found, and the words for any locale."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read `<language>.po` in the folder, by default the one of this package; such as `de.po` or `pt-BR.po`.

        A file that cannot be read, and a translation that lacks a figure, is left out with a line in the log.
        """
        paths = sorted((folder or Path(__file__).parent).glob("*.po"))
        self._catalogues: dict[str, gettext.NullTranslations] = {}
        if paths:
            from bot.texts import cldr  # noqa: PLC0415 - see there

            self._catalogues = cldr.read_catalogues(paths)

    @property
    def locales(self) -> list[str]:
        """English, and every language that has a catalogue."""
        return [ENGLISH, *self._catalogues]

    def words(self, locale: str | None, markup: Markup) -> Words:
        """The words of a locale as platforms write it (`de`, `pt-BR`); English where there is no catalogue."""
        if not self._catalogues and not _is_other_english(locale or ""):
            return Words(American(), gettext.NullTranslations(), markup)
        from bot.texts import cldr  # noqa: PLC0415 - see there

        return Words(*cldr.language(locale, self._catalogues), markup)


def _is_other_english(locale: str) -> bool:
    """Whether it is an English that writes figures in a way of its own, such as that of Great Britain."""
    name = locale.replace("_", "-").lower()
    return name.startswith("en-") and name != "en-us"
