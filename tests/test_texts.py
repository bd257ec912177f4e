"""Every sentence for people is in the catalogue, with its figures, and nothing below the edges has one of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from hypothesis import given
from hypothesis import strategies as st

from bot import errors
from bot.domain.languages import LANGUAGES
from bot.facts import Code, Duration, Fact, Moment, Named, Quote, Strong, Text, Url, Usd, text
from bot.texts import Languages, Words
from bot.texts.cldr import CldrNotation
from bot.texts.messages import MESSAGES, Plural
from bot.texts.notation import American
from bot.views.choices import durations
from cogs.render import LETTERS, MARKUP
from tests.catalogues import PRICES, begin, commands, extracted
from tests.harness import ROOT
from tests.words import ENGLISH

REFUSALS = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, errors.VeoError)}
REFUSALS |= {"CannotPost", "NotHere", "TooOften", "NoSuchVideo"}
CODED = ("errors.py", "limits.py", "admission.py", "servers.py")  # where errors have one code each
BELOW = (
    *("bot/domain", "bot/services", "bot/views", "bot/facts.py", "bot/ports.py", "bot/errors.py", "bot/media.py"),
    *("bot/runflow", "storage"),
)
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|WHERE|PRAGMA|AND|ALTER)\b")


def files(*roots: str) -> Iterator[Path]:
    for root in roots:
        path = ROOT / root
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def placeholders(message: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(message) if name is not None}


def needed(key: str) -> set[str]:
    """The figures that a text needs, without the commands that its words name."""
    message = MESSAGES[key]
    forms = (message.one, message.other) if isinstance(message, Plural) else (message,)
    names = {name for form in forms for name in placeholders(form) if not name.startswith("/")}
    return names | ({"count"} if isinstance(message, Plural) else set())


class Use:
    """One place in the code where a text is made: which keys it may have, and which figures it brings."""

    def __init__(self, path: Path, call: ast.Call, key: ast.expr) -> None:
        self.place = f"{path.relative_to(ROOT)}:{call.lineno}"
        self.patterns = [_pattern(each) for each in _choices(key)]
        self.figures = {each.arg for each in call.keywords if each.arg}
        self.open = any(each.arg is None for each in call.keywords)  # **facts

    def keys(self) -> set[str]:
        return {key for key in MESSAGES for pattern in self.patterns if pattern.fullmatch(key)}


def _is_key(given: ast.expr) -> bool:
    """Whether it is known, at least in part, before the program runs."""
    first = _choices(given)[0]
    return isinstance(first, ast.JoinedStr) or (isinstance(first, ast.Constant) and isinstance(first.value, str))


def _choices(key: ast.expr) -> list[ast.expr]:
    if isinstance(key, ast.IfExp):
        return [*_choices(key.body), *_choices(key.orelse)]
    return [key]


def _pattern(key: ast.expr) -> re.Pattern[str]:
    """What a key may be: itself, or anything in the place of what is only known at run time."""
    if isinstance(key, ast.Constant):
        return re.compile(re.escape(str(key.value)))
    if isinstance(key, ast.JoinedStr):
        parts = [re.escape(str(each.value)) if isinstance(each, ast.Constant) else ".+" for each in key.values]
        return re.compile("".join(parts))
    return re.compile(".+")


def uses() -> list[Use]:
    found = []
    for path in files("bot", "cogs", "storage"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if ast.unparse(call.func) == "super().__init__" and path.name in CODED:
                name = "text"  # an error that has one code
            if name in {"text", *REFUSALS} and path.name != "facts.py" and _is_key(call.args[0]):
                found.append(Use(path, call, call.args[0]))
    return found


USES = [use for use in uses() if any(pattern.pattern != ".+" for pattern in use.patterns)]


def test_every_text_that_is_used_exists_with_its_figures() -> None:
    """A key that is misspelt, and a figure that its words need and nobody gives, are found without showing it."""
    assert len(USES) > 150
    for use in USES:
        assert use.keys(), use.place
        for key in sorted(use.keys()):
            assert use.open or needed(key) <= use.figures | {"parts"}, f"{use.place}: {key} needs {needed(key)}"


def strings() -> set[str]:
    """Every string in the code outside of the messages."""
    trees = [ast.parse(path.read_text()) for path in files("bot", "cogs", "storage") if path.name != "messages.py"]
    return {
        each.value
        for tree in trees
        for each in ast.walk(tree)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def test_every_text_is_used() -> None:
    """What nobody reads is not translated either."""
    patterns = [pattern for use in USES for pattern in use.patterns if pattern.pattern != ".+"]
    known = strings()
    for key in MESSAGES:
        if key.startswith(("command.", "choice.")):
            continue  # see the next test
        assert key in known or any(pattern.fullmatch(key) for pattern in patterns), f"{key} is not used"


def shown_of(part: dict[str, Any]) -> Iterator[str]:
    """What Discord shows of a command, its options and choices; no choice that is its own bare value."""
    yield part.get("description", "")
    yield from (each["name"] for each in part.get("choices", ()) if not re.fullmatch(r"\d\S*", each["name"]))
    for each in part.get("options", ()):
        yield from shown_of(each)


def test_every_description_and_choice_is_a_message() -> None:
    """Each option and each choice in words has some of ours, and there are none without an option."""
    lengths = {ENGLISH.say(each) for each in durations(PRICES).values()}
    shown = {words for each in commands() for words in shown_of(each)} - set(LANGUAGES.values())
    written = {str(message) for key, message in MESSAGES.items() if key.startswith(("command.", "choice."))}
    assert shown == written - {str(MESSAGES["choice.duration"])} | lengths


@pytest.mark.parametrize("key", MESSAGES)
def test_every_text_can_be_said(key: str) -> None:
    """In English, with figures of every kind, in the markup of messages and in plain letters; and it is no riddle."""
    facts: dict[str, Fact] = dict.fromkeys(needed(key), Usd(3_200_000))
    if key == "dotted":
        facts = {"parts": (Usd(1), Quote("*x*"), Duration(3.0))}
    if isinstance(MESSAGES[key], Plural):
        facts["count"] = 2
    for markup in (MARKUP, LETTERS):
        shown = Languages().words(None, markup).say(Text(key, facts))
        assert shown.strip() == shown != ""
        assert "{" not in shown
    message = MESSAGES[key]
    for form in (message.one, message.other) if isinstance(message, Plural) else (message,):
        assert not re.search(r"[*`<>]|-#|\(s\)", form), "markup is the front's, and plurals are forms"


def translated(change: str = "«{}»", locale: str = "de") -> Catalog:
    """A catalogue in which every message is changed in the same way."""
    catalogue = Catalog(locale=locale)
    for message in extracted():
        said = tuple(change.format(form) for form in (message if isinstance(message, tuple) else (message,)))
        if isinstance(message, tuple):
            said = {1: said[1:], 2: said, 3: (*said, said[1])}[catalogue.num_plurals]
        catalogue.add(message, said if isinstance(message, tuple) else said[0])
    return catalogue


def marked(folder: Path, name: str, change: str = "«{}»") -> Path:
    """That catalogue as a translator's file in the folder."""
    path = begin(name, folder)
    header = path.read_text()
    body = BytesIO()
    write_po(body, translated(change, name.replace("-", "_")), width=0, omit_header=True)
    path.write_text(f"{header}\n{body.getvalue().decode()}")
    return path


@pytest.fixture
def german(tmp_path: Path) -> Words:
    """A language that is known by its marks."""
    with (tmp_path / "de.po").open("wb") as file:
        write_po(file, translated())
    return Languages(tmp_path).words("de", MARKUP)


def test_another_language_is_a_file_beside_the_others(german: Words, tmp_path: Path) -> None:
    """Its words, its plural forms and its way to write amounts; English for a language that nobody wrote."""
    assert german.say(text("question.declined")) == "«Okay, not made.»"
    assert german.say(text("flights.member", count=1)).startswith("«You already have a video")
    assert german.say(text("flights.member", count=1234)).startswith("«You already have 1.234 videos")
    assert german.say(text("title.question", price=Usd(3_200_000))) == "«Make this for 3,20\u00a0$?»"
    assert german.say(text("charge.refunded", charge=text("charge.none"), amount=Duration(125.0))) == (
        "««Nothing was charged», «2 min» «5 s» refunded by an admin»"
    )
    for other in ("fr", "xx-YY", "", None, "../de", "de-DE-x-y", "de-AT"):
        shown = Languages(tmp_path).words(other, MARKUP).say(text("question.declined"))
        assert shown == ("«Okay, not made.»" if other == "de-AT" else "Okay, not made.")


@pytest.mark.parametrize(
    ("name", "locale"),
    [
        ("pt-BR", "pt-BR"), ("pt_BR", "pt-BR"), ("zh-TW", "zh-TW"), ("zh_Hans_CN", "zh-CN"), ("en-GB", "en-GB"),
        ("es", "es-ES"),
    ],
)  # fmt: skip
def test_a_language_is_found_however_its_file_is_spelled(tmp_path: Path, name: str, locale: str) -> None:
    """As Discord writes it, or as translators do."""
    with (tmp_path / f"{name}.po").open("wb") as file:
        write_po(file, translated())
    assert Languages(tmp_path).words(locale, MARKUP).say(text("question.declined")) == "«Okay, not made.»"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("de.po", b"\xff\xfe\x00 no UTF-8"),
        ("de.po", b'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=rubbish!;\\n"\nmsgid "a"\nmsgstr "b"\n'),
        ("de.po", b'msgid "Okay, not made.'),
        ("README.po", b'msgid "a"\nmsgstr "b"\n'),
        ("de.po", None),  # a folder
    ],
    ids=["not UTF-8", "plural rule", "cut off", "no language", "folder"],
)
def test_a_broken_catalogue_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes | None
) -> None:
    """The bot starts all the same, and English stands for the language."""
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    languages = Languages(tmp_path)
    assert languages.words("de", MARKUP).say(text("question.declined")) == "Okay, not made."
    assert name in caplog.text


@pytest.mark.parametrize(
    "wrong", ["Fertig für {pfad}", "Fertig {", "{0} {}", "{price!r} {/veo} {member}", "{price:d} {member}", "nichts"]
)
def test_a_translation_that_cannot_be_filled_in_is_english(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    """One message with a wrong placeholder costs that message its translation, and nobody an answer."""
    catalogue = translated()
    catalogue[str(MESSAGES["title.question"])].string = wrong
    with (tmp_path / "de.po").open("wb") as file:
        write_po(file, catalogue)
    words = Languages(tmp_path).words("de", MARKUP)
    assert words.say(text("title.question", price=Usd(3_200_000))) == "Make this for 3,20\u00a0$?"
    assert words.say(text("question.declined")) == "«Okay, not made.»"
    assert "placeholders differ" in caplog.text


@given(
    number=st.integers(-(10**15), 10**15),
    day=st.dates(),
    parts=st.lists(st.text(max_size=3), max_size=5),
)
def test_american_figures_are_those_of_the_cldr(number: int, day: date, parts: list[str]) -> None:
    """What is written without Babel is what Babel would write."""
    ours, theirs = American(), CldrNotation(Locale("en", "US"))
    assert ours.number(number) == theirs.number(number)
    assert ours.ordinal_form(abs(number)) == theirs.ordinal_form(abs(number))
    assert ours.usd(Decimal(number).scaleb(-6)) == theirs.usd(Decimal(number).scaleb(-6))
    assert ours.whole_usd(Decimal(number)) == theirs.whole_usd(Decimal(number))
    assert ours.day(day) == theirs.day(day)
    assert ours.sequence(parts) == theirs.sequence(parts)


@pytest.mark.parametrize("locale", [None, "en-US", "en_US", "en", "nl", "tlh", "x" * 99, "en-GB", "en-AU", "en-IN"])
def test_a_locale_without_a_catalogue_is_written_as_with_other_catalogues(tmp_path: Path, locale: str | None) -> None:
    """Whether Babel is asked or not."""
    with (tmp_path / "fr.po").open("wb") as file:
        write_po(file, translated())
    alone, among = (Languages(folder).words(locale, MARKUP) for folder in (None, tmp_path))
    facts: list[Fact] = [1_234_567, Usd(1_234_500_001), Duration(125), ("a", "b", "c")]
    assert [alone.fact(fact) for fact in facts] == [among.fact(fact) for fact in facts]


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        (Usd(0), "$0.00"), (Usd(1_234_500_000), "$1,234.50"), (Usd(123_456), "$0.123456"), (Usd(-5), "-$0.000005"),
        (Duration(8.2), "8 s"), (Duration(0), "0 s"), (Duration(59.6), "1 min"), (Duration(125), "2 min 5 s"),
        (Duration(1023), "17 min"), (Duration(7500), "2 h 5 min"), (Duration(90_000), "25 h"),
        (Moment(5.9), "<t:5:R>"), (Moment(5, "clock"), "<t:5:t>"), (Named("member:discord:7"), "<@7>"),
        (Named("role:discord:7"), "<@&7>"), (Named("channel:discord:7"), "<#7>"), (Named("server:discord:7"), "`7`"),
        (Quote("a `b`\n<@1>"), r"“a \`b\` \<\@1\>”"), (Quote("abcd", 3), "“ab…”"),
        (Code("x"), "`x`"), (Url("https://a"), "https://a"),
        (Strong(Usd(1_000_000)), "**$1.00**"), (("a", 1234), "a and 1,234"), (text("option.silent"), "no sound"),
    ],
    ids=str,
)  # fmt: skip
def test_figures_read_as_people_write_them(fact: Fact, shown: str) -> None:
    assert Languages().words("en-US", MARKUP).fact(fact) == shown


def test_nothing_below_the_edges_has_a_sentence_of_its_own() -> None:
    """Facts below, words above: there is no string with blanks and a full stop but in logs and remarks of ours."""
    for path in files(*BELOW):
        for line, sentence in sentences(ast.parse(path.read_text())):
            raise AssertionError(f"{path.relative_to(ROOT)}:{line}: {sentence!r} belongs to bot/texts")


def sentences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings that read like one, with their lines; not what is documented, logged or demanded of our own code."""
    ours = {id(each) for node in ast.walk(tree) for each in _not_for_people(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in ours:
            continue
        words = node.value if isinstance(node.value, str) else ""
        if not SQL.search(words) and re.search(r"[A-Za-z]\S* \S.*[a-z)](\.|!|\?)(\s|$)", words, re.DOTALL):
            yield node.lineno, words


def _not_for_people(node: ast.AST) -> Iterator[ast.AST]:
    """The strings in a docstring, a log call, or an error that nobody reads but the log."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ("require", "InvariantError") or (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "log"
        ):
            yield from ast.walk(node)


def test_a_sentence_in_the_wrong_place_is_found() -> None:
    """The scan has teeth."""
    tree = ast.parse(
        'def f():\n    """Doc. It is fine."""\n    log.info("a b.")\n    raise Refusal(f"Not {x} now. Ask.")'
    )
    assert [line for line, _ in sentences(tree)] == [4]
