"""Puts facts into words, in the reader's language: the only place with sentences for people.

`Languages` finds the catalogues (`<language>.po` beside this file) and loads each when it is first spoken; `Words`
speaks one of them in the markup of one front. English is what the messages themselves are written in, and what a
missing translation falls back to. Amounts, numbers and plural forms are those of the Unicode CLDR.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

from bot.domain.untrusted import strip_controls
from bot.facts import Code, Duration, Fact, Moment, Named, Ordinal, Quote, Strong, Text, Url, Usd, text
from bot.log import get_logger
from bot.texts.messages import MESSAGES, Plural
from bot.texts.notation import American, Notation

log = get_logger("veo.texts")

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


class Language(NamedTuple):
    """What is spoken, and how figures are written in it."""

    notation: Notation
    translations: gettext.NullTranslations


class Words:
    """One language in the markup of one front; the language is loaded when it first says something."""

    def __init__(self, language: Callable[[], Language], markup: Markup) -> None:
        self._language = language
        self._markup = markup

    @property
    def _notation(self) -> Notation:
        return self._language().notation

    def marked(self, markup: Markup) -> Words:
        """The same language in another markup."""
        return Words(self._language, markup)

    def say(self, text: Text) -> str:
        """The text with its figures. Raises KeyError where the text or one of its figures is missing."""
        if text.key == "dotted":
            return " · ".join(map(self.fact, text.facts["parts"]))  # type: ignore[arg-type]  # a tuple, see bot.views
        message = MESSAGES[text.key]
        if isinstance(message, Plural):
            count = text.facts["count"]
            number = count if isinstance(count, int) else 0
            template = self._language().translations.ngettext(message.one, message.other, number)
        else:
            template = self._language().translations.gettext(message)
        return template.format_map(_Figures(self, text.facts))

    def fact(self, fact: Fact) -> str:
        """One figure in words."""
        match fact:
            case str():
                return fact
            case int() | Ordinal():
                return self._number(fact)
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

    def _number(self, number: int | Ordinal) -> str:
        if isinstance(number, int):
            return self._notation.number(number)
        return self.say(text(f"ordinal.{self._notation.ordinal_form(number.number)}", number=number.number))

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
        """Find `<language>.po` in the folder, by default the one of this package; such as `de.po` or `pt-BR.po`.

        Each is read when its words are first needed. One that cannot be read, and a translation that lacks a figure,
        is left out then with a line in the log.
        """
        self._paths: dict[str, Path] = {}
        for path in sorted((folder or Path(__file__).parent).glob("*.po")):
            if name := _name_of(path.stem):
                self._paths[name] = path
            else:
                log.warning("language left out: no language has the name of its file", file=path.name)
        self._catalogues: dict[Path, gettext.NullTranslations | None] = {}  # None: it cannot be read
        self._loaded: dict[str, Language] = {_ENGLISH: Language(American(), gettext.NullTranslations())}
        self._loading = Lock()

    @property
    def names(self) -> list[str]:
        """Every language that has a catalogue: `de`, `pt-BR`."""
        return list(self._paths)

    def words(self, locale: str | None, markup: Markup) -> Words:
        """The words of a locale as platforms write it (`de`, `pt-BR`); English where there is no catalogue."""
        return Words(partial(self._language, self._spoken(locale)), markup)

    def is_loaded(self, locale: str | None) -> bool:
        """Whether the words of this locale are there at once."""
        return self._spoken(locale) in self._loaded

    def load(self, locale: str | None) -> None:
        """Load the words of a locale, which can take 50 ms; in any thread."""
        self._language(self._spoken(locale))

    def _spoken(self, locale: str | None) -> str:
        """The locale if it is spoken, and English if it is not. Other Englishes write figures in ways of their own."""
        name = _name_of(locale or "")
        spoken = name is not None and (self._path(name) is not None or name.startswith("en-"))
        return name if name is not None and spoken and name != "en-US" else _ENGLISH

    def _path(self, name: str) -> Path | None:
        return self._paths.get(name) or self._paths.get(name.partition("-")[0])

    def _language(self, name: str) -> Language:
        if name not in self._loaded:
            with self._loading:
                if name not in self._loaded:
                    self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Language:
        from bot.texts import cldr  # noqa: PLC0415 - see there

        path, translations = self._path(name), gettext.NullTranslations()
        if path is not None:
            if path not in self._catalogues:
                self._catalogues[path] = cldr.read_catalogue(path)
            if (found := self._catalogues[path]) is None:
                return self._loaded[_ENGLISH]
            translations = found
        return Language(cldr.notation(name), translations)


_ENGLISH = "en"
_LOCALE = re.compile(r"([a-z]{2,3})(?:-[a-z]{4})?(?:-([a-z]{2}|[0-9]{3}))?")


def _name_of(locale: str) -> str | None:
    """`pt-BR` of `pt_BR`, `zh-CN` of `zh_Hans_CN`; None for what is no locale."""
    found = _LOCALE.fullmatch(locale.replace("_", "-").lower())
    if found is None:
        return None
    language, region = found.groups()
    return f"{language}-{region.upper()}" if region else str(language)
