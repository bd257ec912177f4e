"""Text from outside, made safe to show: nothing in it turns other text around, and no spreadsheet runs it.

What a member wrote is stored and sent to Veo unchanged; only what people see goes through here.
"""

from __future__ import annotations

import re
import unicodedata

# Unicode's bidi controls (Annex 9, 2): marks, embeddings, overrides and isolates. They reorder text around them too.
_BIDI_CONTROLS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# Letters and marks that are drawn as nothing although Unicode lists them as neither spaces nor format characters.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
)
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")
# The start of a formula in a cell, whichever separator a spreadsheet splits cells at.
_FORMULA = re.compile('(^|[;,|\t\r\n])([\\s"]*)(?=[=+@\uff1d\uff0b\uff0d\uff20-])')


def strip_bidi_controls(text: str) -> str:
    """The text without the characters that change the direction of what is read."""
    return text.translate(_BIDI_CONTROLS)


def strip_controls(text: str) -> str:
    """The text without bidi controls, and with a space for each other control character except line feed and tab.

    Lone surrogates count as such, for nothing can encode them. The result is safe to print on a terminal.
    """
    if text.isascii() and text.isprintable():  # most are, and have none
        return text
    keep, drop = ("\n", "\t"), ("Cc", "Cs")
    return "".join(
        " " if unicodedata.category(letter) in drop and letter not in keep else letter
        for letter in strip_bidi_controls(text)
    )


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: only spaces, format characters, and letters that are drawn as nothing."""
    return all(letter in _INVISIBLE or unicodedata.category(letter) in _INVISIBLE_CATEGORIES for letter in text)


def as_cell(text: str) -> str:
    """The text for a cell of a CSV file, with an apostrophe before anything that a spreadsheet would run as a formula.

    This holds even if the spreadsheet splits cells at semicolons, tabs or lines instead of commas.
    """
    if text.isascii() and text.isalnum():
        return text
    marked = _FORMULA.sub(r"\1\2'", strip_bidi_controls(text))
    return f"'{marked}" if marked.startswith(FORMULA_STARTS) else marked
