"""Outside text before people read it: no letter that turns other words round, nothing that a spreadsheet runs.

Pure. What was written is kept and sent to Veo as it is; only what is shown goes through here.
"""

from __future__ import annotations

import re
import unicodedata

# Marks, embeddings, overrides and isolates (Unicode Annex 9, 2): they turn round what stands beside the text, too.
_TURNING = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# Letters and marks that are drawn as nothing although they are neither spaces nor format characters.
_UNDRAWN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
)
_UNDRAWN_SORTS = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")
# A formula at the beginning of a cell, whatever it is that a spreadsheet splits cells at.
_FORMULA = re.compile('(^|[;,|\t\r\n])([\\s"]*)(?=[=+@\uff1d\uff0b\uff0d\uff20-])')


def upright(text: str) -> str:
    """The text without anything that changes the direction of what is read."""
    return text.translate(_TURNING)


def printable(text: str) -> str:
    """The same with a space for each control character but line ends and tabs: for terminals, too.

    And for each half of a pair of surrogates, which nothing can be encoded with.
    """
    keep, drop = ("\n", "\t"), ("Cc", "Cs")
    return "".join(" " if unicodedata.category(it) in drop and it not in keep else it for it in upright(text))


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing at all: spaces, format characters, and letters that look like neither."""
    return all(letter in _UNDRAWN or unicodedata.category(letter) in _UNDRAWN_SORTS for letter in text)


def as_cell(text: str) -> str:
    """A text for a cell of a CSV file, with an apostrophe before whatever a spreadsheet would run.

    Also where it splits cells at semicolons, tabs or lines instead of commas.
    """
    marked = _FORMULA.sub(r"\1\2'", upright(text))
    return f"'{marked}" if marked.startswith(FORMULA_STARTS) else marked
