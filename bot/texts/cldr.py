"""Other languages than American English: their catalogues, and their figures by the Unicode CLDR.

Babel knows the CLDR, and takes memory for it: it is imported when the first such language is spoken.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Sequence
from contextlib import suppress
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

log = get_logger("veo.texts")

ENGLISH = Locale("en", "US")


class CldrNotation:
    """`Notation` of a locale."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    def number(self, number: int) -> str:
        return format_decimal(number, locale=self._locale, group_separator=self._groups(number))

    def usd(self, amount: Decimal) -> str:
        groups = self._groups(amount)
        return _apart(
            format_currency(amount, "USD", locale=self._locale, decimal_quantization=False, group_separator=groups)
        )

    def whole_usd(self, amount: Decimal) -> str:
        amount = round(amount, 0)
        pattern = re.sub(r"\.0+", "", self._locale.currency_formats["standard"].pattern)
        groups = self._groups(amount)
        return _apart(
            format_currency(amount, "USD", pattern, locale=self._locale, currency_digits=False, group_separator=groups)
        )

    def day(self, day: date) -> str:
        return format_skeleton("MMMd", day, locale=self._locale)

    def ordinal_form(self, number: int) -> str:
        form = self._locale.ordinal_form(number)
        return form if form in ("one", "two", "few") else "other"

    def sequence(self, parts: Sequence[str]) -> str:
        return format_list(parts, style="standard", locale=self._locale)

    def _groups(self, number: Decimal | int) -> bool:
        """Whether thousands are set apart: Babel leaves the CLDR's minimumGroupingDigits out."""
        return str(self._locale) not in _GROUPED_LATE or not -_LATE < number < _LATE


_GROUPED_LATE = frozenset({"es", "es_ES"})  # of the locales that have catalogues, minimumGroupingDigits is 2 here
_LATE = 10_000


def _apart(amount: str) -> str:
    """The amount with a space between letters and digits, as the CLDR's currencySpacing has it and Babel has not."""
    return re.sub(r"(?<=[A-Z])(?=\d)", "\u00a0", amount)


def notation(name: str) -> CldrNotation:
    """How a locale such as `de-AT` writes figures; as its language does where nobody knows the region."""
    for each in (name, name.partition("-")[0]):
        with suppress(UnknownLocaleError, ValueError):
            return CldrNotation(Locale.parse(each, sep="-"))
    return CldrNotation(ENGLISH)


def read_catalogue(path: Path) -> gettext.NullTranslations | None:
    """The translations of a file; None, with a line in the log, where it cannot be read."""
    try:
        return _catalogue(path, Locale.parse(path.stem.replace("_", "-"), sep="-"))
    except (OSError, ValueError, SyntaxError, LookupError, UnknownLocaleError, PoFileError) as error:
        log.warning("language left out: its file cannot be read", file=path.name, reason=str(error))
        return None


def _catalogue(path: Path, locale: Locale) -> gettext.GNUTranslations:
    """The translations of a file, without those that cannot be filled in: English stands for these."""
    with path.open("rb") as file:
        catalogue = read_po(file, locale=str(locale), abort_invalid=True)
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
