"""The catalogues of translators: brings them up to date with the messages, and tells what is wrong with one.

`make texts` runs it; `make texts NEW=it` begins a catalogue.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any, cast

import discord
from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.plurals import get_plural
from babel.messages.pofile import PoFileError, read_po, write_po
from discord import app_commands

from bot.domain.prices import PriceTable
from bot.facts import Fact, Text, Usd
from bot.settings import PRICES_USD_PER_SECOND
from bot.texts import Languages, Words
from bot.texts.commands import pack_translations, unpack_translations
from bot.texts.messages import MESSAGES, OPERATOR, Plural, slot_of
from bot.views import choices
from cogs.account import Account
from cogs.admin import Admins
from cogs.context import Speaker
from cogs.describe import localized
from cogs.render import LETTERS
from cogs.veo import Veo
from tests.harness import ROOT

FOLDER = ROOT / "bot" / "texts"
TEMPLATE = FOLDER / "veo.pot"
KEYWORDS = {"_": None, "plural": (1, 2)}
SAME = "same as English"  # a translator's comment on a message that reads alike in both
COMMAND_CHARS_MAX = 8000  # Discord docs, Application Command Structure: each field at its longest language
WIDTH = 110
PRICES = PriceTable(
    {each: {name: Decimal(price) for name, price in named.items()} for each, named in PRICES_USD_PER_SECOND.items()}
)
TEMPLATE_HEADER = """\
# What veo-bot says. Translators begin with "make texts NEW=<language>": see CONTRIBUTING.md.
msgid ""
msgstr ""
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"""
HEADER = """\
# {name} for veo-bot.
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: {plurals}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"X-Reviewed: no\\n"
"""
Id = str | tuple[str, ...]


def paths(folder: Path = FOLDER) -> list[Path]:
    """Every catalogue."""
    return sorted(folder.glob("*.po"))


def locale_of(path: Path) -> Locale:
    return Locale.parse(path.stem.replace("-", "_"))


def is_reviewed(path: Path) -> bool:
    """Whether a native speaker has read it. Raises ValueError where its header does not say."""
    found = re.search(r'^"X-Reviewed: (yes|no)\\n"$', path.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path.name}: its header says neither X-Reviewed: yes nor X-Reviewed: no")
    return found[1] == "yes"


# The template


@cache
def extracted() -> dict[Id, list[str]]:
    """The messages as Babel finds them, each with what is noted for translators and where it is shown."""
    found = extract_from_file("python", FOLDER / "messages.py", keywords=KEYWORDS, comment_tags=["_note:"])
    notes: dict[Id, list[str]] = {}
    for _, message, comments, _ in found:
        notes.setdefault(message, []).extend(each.removeprefix("_note:").strip() for each in comments)
    for key, english in MESSAGES.items():
        if (id_ := _id(english)) in notes:
            slot = slot_of(key)
            good = f", better {slot.good}" if slot.good else ""
            notes[id_].append(key if slot.characters == 2000 else f"{key} (at most {slot.characters} characters{good})")
    return notes


def _id(message: str | Plural) -> Id:
    return (message.one, message.other) if isinstance(message, Plural) else message


def template() -> Catalog:
    """What is to be translated."""
    catalogue = Catalog()
    for message, notes in extracted().items():
        catalogue.add(message, auto_comments=notes)
    return catalogue


def _read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=str(locale_of(path)), abort_invalid=True)


def _write(path: Path, header: str, catalogue: Catalog) -> None:
    body = BytesIO()
    write_po(body, catalogue, width=WIDTH, omit_header=True, ignore_obsolete=True)
    path.write_text(f"{header.rstrip()}\n\n{body.getvalue().decode().strip()}\n")


def update(folder: Path = FOLDER) -> None:
    """Write the template, and in each catalogue what the messages are now; guessing none, and keeping its header."""
    _write(folder / TEMPLATE.name, TEMPLATE_HEADER, template())
    for path in paths(folder):
        catalogue = _read(path)
        catalogue.update(template(), no_fuzzy_matching=True)
        _write(path, path.read_text().partition("\n\n")[0], catalogue)


def begin(name: str, folder: Path = FOLDER) -> Path:
    """Begin the catalogue of a language such as `de` or `pt-BR`."""
    path = folder / f"{name}.po"
    locale = locale_of(path)
    count, rule = get_plural(str(locale))[:2]
    header = HEADER.format(name=locale.english_name, language=locale, plurals=f"nplurals={count}; plural={rule};")
    with path.open("x") as file:
        file.write(header)
    return path


# What is wrong with a catalogue


def problems(path: Path) -> list[str]:
    """One line for each fault of a catalogue; none: it can be used."""
    try:
        catalogue = _read(path)
        is_reviewed(path)
    except (PoFileError, ValueError) as error:
        return [str(error)]
    found = [*_whole(catalogue, path), *(each for message in catalogue if message.id for each in _faults(message))]
    words = Languages(path.parent).words(path.stem, LETTERS)
    return [f"{path.name}: {each}" for each in (*found, *(() if found else too_long(words)))]


def _whole(catalogue: Catalog, path: Path) -> Iterator[str]:
    wanted, got = set(extracted()), {message.id for message in catalogue if message.id}
    yield from (f"{id_!r} is missing" for id_ in wanted - got)
    yield from (f"{id_!r} is left over" for id_ in got - wanted)
    count, rule = get_plural(str(locale_of(path)))[:2]
    if f'"Plural-Forms: nplurals={count}; plural={rule};\\n"' not in path.read_text():
        yield f"its header needs Plural-Forms: nplurals={count}; plural={rule};"
    for message in catalogue:
        if isinstance(message.id, tuple) and len(_forms(message.string)) != count:
            yield f"{message.id!r} needs {count} forms"


def _faults(message: Message) -> Iterator[str]:
    """What is wrong with one message: the first form goes by the English singular, all others by its plural."""
    english, said = _forms(message.id), _forms(message.string)
    if message.fuzzy:
        yield f"{message.id!r} is fuzzy"
    if not all(said):
        yield f"{message.id!r} is not translated"
        return
    for place, form in enumerate(said):
        wanted = english[0 if place == 0 and len(said) > 1 else -1]
        try:
            if placeholders(form) != placeholders(wanted):
                yield f"{form!r} needs the placeholders of {wanted!r}"
                return
        except ValueError as error:
            yield f"{form!r}: {error}"
            return
    letters = any(re.search(r"[^\W\d_]", re.sub(r"{[^}]*}", "", form)) for form in english)
    if letters and set(said) & set(english) and not any(SAME in comment for comment in message.user_comments):
        yield f'{message.id!r} reads as in English: if that is right, put "# {SAME}" above it'


def _forms(message: object) -> tuple[str, ...]:
    return tuple(map(str, message)) if isinstance(message, list | tuple) else (str(message or ""),)


def placeholders(form: str) -> set[tuple[str, str, str]]:
    """The names in braces, with what stands behind them there, which is nothing in ours."""
    parsed = Formatter().parse(form)
    return {(name, spec or "", how or "") for _, name, spec, how in parsed if name is not None}


# What is too long

_LONGEST: dict[str, Fact] = {
    # The dearest video that a price can be set for, to the micro-dollar.
    **dict.fromkeys(("price", "amount"), Usd(7_999_123_456)),
    "count": 10_000,
    "resolution": "1080p",
}


def longest(key: str) -> Text:
    """A message with figures as long as they come."""
    named = {name for form in _forms(_id(MESSAGES[key])) for name, *_ in placeholders(form) if name[:1] != "/"}
    facts: dict[str, Fact] = {name: _LONGEST.get(name, "W" * 120) for name in named | {"count"}}
    return Text(key, facts)


def too_long(words: Words, *, good: bool = False) -> list[str]:
    """The messages that do not fit where they are shown; `good`: that a phone cuts."""
    found = []
    for key in MESSAGES.keys() - OPERATOR.keys() - {"dotted"}:
        slot = slot_of(key)
        most = slot.good if good else slot.characters
        if most is not None and len(shown := words.say(longest(key))) > most:
            found.append(f"{key}: {shown!r} has {len(shown)} characters, at most {most}")
    return sorted(found)


def commands(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """What is registered of the commands, with the default prices, in every language of the folder."""
    languages = Languages(folder)
    speaker, settings = Speaker(languages), SimpleNamespace(prompt_max_chars=6000, prices=PRICES)
    nobody = cast("Any", None)
    cogs = (
        Veo(cast("Any", settings), nobody, nobody, speaker),
        Account(nobody, nobody, nobody, nobody, nobody, speaker),
        Admins(nobody, nobody, nobody, speaker),
    )
    tree = app_commands.CommandTree(discord.Client(intents=discord.Intents.none()))
    translations = unpack_translations(pack_translations(languages, choices.durations(PRICES).values()))
    every = [each for cog in cogs for each in cog.__cog_app_commands__ if each.parent is None]
    return [localized(each.to_dict(tree), translations) for each in every]


def size(part: dict[str, Any]) -> int:
    """How many characters a command counts: names, descriptions and values, each in the language it is longest in."""
    own = sum(
        max(map(len, (str(part.get(name, "")), *(part.get(f"{name}_localizations") or {}).values())))
        for name in ("name", "description", "value")
    )
    return own + sum(map(size, (*part.get("options", ()), *part.get("choices", ()))))


def main(new: Sequence[str]) -> None:
    """Bring all up to date, then tell what is wrong, and what could be better."""
    for name in new:
        begin(name)
    update()
    for path in paths():
        hints = too_long(Languages().words(path.stem, LETTERS), good=True)
        for line in (*problems(path), *(f"{path.name}: better shorter: {hint}" for hint in hints)):
            print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
