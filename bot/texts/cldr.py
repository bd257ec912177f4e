"""Other languages than American English: their catalogues, and their figures by the Unicode CLDR.

Babel knows the CLDR, and takes 7 MB for it: it is imported when the first such language is met.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from string import Formatter

from babel import Locale, UnknownLocaleError
from babel.dates import format_skeleton
from babel.lists import format_list
from babel.messages.catalog import Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_currency, format_decimal

from bot.log import get_logger
from bot.texts.messages import MARKERS, MESSAGES
from bot.texts.notation import Notation

log = get_logger("veo.texts")

ENGLISH = Locale("en", "US")


class CldrNotation:
    """`Notation` of a locale."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    def number(self, number: int) -> str:
        return format_decimal(number, locale=self._locale)

    def usd(self, amount: Decimal) -> str:
        return format_currency(amount, "USD", locale=self._locale, decimal_quantization=False)

    def whole_usd(self, amount: Decimal) -> str:
        return format_currency(amount, "USD", "¤#,##0", locale=self._locale, currency_digits=False)

    def day(self, day: date) -> str:
        return format_skeleton("MMMd", day, locale=self._locale)

    def sequence(self, parts: Sequence[str]) -> str:
        return format_list(parts, style="unit", locale=self._locale)


def language(
    locale: str | None, catalogues: Mapping[str, gettext.NullTranslations]
) -> tuple[Notation, gettext.NullTranslations]:
    """How a locale writes figures, and its translations; English where there is no catalogue."""
    found = _parse(locale)
    for name in (str(found), found.language):
        if translations := catalogues.get(name):
            return CldrNotation(found), translations
    return CldrNotation(found if found.language == "en" else ENGLISH), gettext.NullTranslations()


def _parse(locale: str | None) -> Locale:
    try:
        return Locale.parse((locale or "").replace("_", "-"), sep="-")
    except (UnknownLocaleError, ValueError, TypeError):
        return ENGLISH


def read_catalogues(paths: Iterable[Path]) -> dict[str, gettext.NullTranslations]:
    """The catalogues by their locales. One that cannot be read is left out with a line in the log."""
    found: dict[str, gettext.NullTranslations] = {}
    for path in paths:
        try:
            locale = Locale.parse(path.stem.replace("_", "-"), sep="-")
            found[str(locale)] = _catalogue(path, locale)
        except (OSError, ValueError, SyntaxError, LookupError, UnknownLocaleError, PoFileError) as error:
            log.warning("language left out: its file cannot be read", file=path.name, reason=str(error))
    return found


def _catalogue(path: Path, locale: Locale) -> gettext.GNUTranslations:
    """The translations of a file, without those that cannot be filled in: English stands for these."""
    with path.open("rb") as file:
        catalogue = read_po(file, locale=str(locale), abort_invalid=True)
    markers = [str(MESSAGES[key]) for key in MARKERS]
    translated = {id_: each.string for id_ in markers if (each := catalogue.get(id_)) is not None and each.string}
    if len({translated.get(id_, id_) for id_ in markers}) < len(markers):
        log.warning("translations left out: they must differ", file=path.name, messages=markers)
        for id_ in translated:
            catalogue.delete(id_)
    for each in [each for each in catalogue if each.id and not _fits(each)]:
        catalogue.delete(each.id, each.context)
        log.warning("translation left out: its placeholders differ", file=path.name, message=each.id)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _fits(message: Message) -> bool:
    """Whether every form of a translation can be filled in, and none of the figures is lost."""
    try:
        wanted, got = _placeholders(message.id), _placeholders(message.string)
    except ValueError:  # a brace too many or too few
        return False
    return wanted == got


def _placeholders(forms: object) -> set[tuple[str, str, str]]:
    """The names in braces of a message, with what stands behind them there, which is nothing in ours."""
    parsed = [Formatter().parse(str(form)) for form in (forms if isinstance(forms, list | tuple) else (forms,)) if form]
    return {(name, spec or "", how or "") for parts in parsed for _, name, spec, how in parts if name is not None}
