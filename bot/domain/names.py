"""What a posted file is called, after the words of its prompt. Pure."""

from __future__ import annotations

import re
import unicodedata

SLUG_CHARS_MAX = 40
_WORD = re.compile(r"[a-z0-9]+")
_ARTICLES = ("a", "an", "the")


def file_name(prompt: str, run_id: str) -> str:
    """`red-fox-in-falling-snow-<run id>.mp4`: ASCII letters, digits, hyphens; of other scripts `veo-<run id>.mp4`."""
    return f"{slug(prompt) or 'veo'}-{run_id}.mp4"


def slug(prompt: str) -> str:
    """The first words of a prompt as far as they fit, without accents; empty where it has none in Latin letters."""
    letters = unicodedata.normalize("NFKD", prompt[:1000]).encode("ascii", "ignore").decode().lower()
    words = _WORD.findall(letters.replace("'", ""))
    kept = ""
    for word in words[1:] if words[:1] and words[0] in _ARTICLES and words[1:] else words:
        longer = f"{kept}-{word}" if kept else word
        if len(longer) > SLUG_CHARS_MAX:
            return kept or word[:SLUG_CHARS_MAX]
        kept = longer
    return kept
