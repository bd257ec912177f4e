"""Every catalogue is whole and fits everywhere; and the checks that say so find each fault."""

from __future__ import annotations

import asyncio
import gettext
import io
import json
import subprocess
import sys
import textwrap
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path

import discord
import pytest
from babel.messages.mofile import write_mo
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po
from discord import app_commands

from bot.domain.languages import LANGUAGES
from bot.domain.models import VeoRequest
from bot.domain.records import Link
from bot.domain.runs import Ending, Notice
from bot.texts import Languages
from bot.texts.cldr import notation
from bot.views.runs import notice
from cogs.acknowledge import Acknowledger
from cogs.client import log_in, new_client
from cogs.context import Speaker
from cogs.render import MARKUP, MESSAGE_CHARS_MAX, content
from sandbox.discord import DiscordSandbox
from sandbox.discord.spec import Spec
from tests import catalogues
from tests.catalogues import COMMAND_CHARS_MAX, SAME, begin, commands, is_reviewed, paths, problems, size, update
from tests.harness import ROOT, WAIT_S, openapi
from tests.test_runs import a_run
from tests.test_texts import marked
from tests.words import SPEAKER

OURS = ["de", "fr", "es", "pt-BR", "ja"]
NBSP, NARROW = "\u00a0", "\u202f"
LONG = a_run(
    member="discord:" + "9" * 20,
    channel="discord:" + "9" * 20,
    run_id="a" * 26,
    request=VeoRequest(prompt="W" * 6000, negative_prompt="W" * 6000, resolution="4k", auto_fix=False, seed=2**53 - 1),
    failure_code="W" * 100,
    failure_message="W" * 6000,
    seed_used=2**53 - 1,
    took_ms=10**9,
    uploads=3,
)


def test_every_catalogue_is_whole() -> None:
    """Complete, nothing left over, the CLDR's plural forms, every placeholder, no English left, nothing too long."""
    assert [line for path in paths() for line in problems(path)] == []


def test_the_catalogues_are_as_make_texts_writes_them(tmp_path: Path) -> None:
    """Nobody's next `make texts` changes what they did not translate."""
    for path in paths():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    update(tmp_path)
    for path in (*paths(), catalogues.TEMPLATE):
        assert (tmp_path / path.name).read_text() == path.read_text(), f"{path.name}: run make texts"


def test_the_readme_names_the_languages_that_no_native_speaker_has_read() -> None:
    """Who reads one of them knows why it may sound odd."""
    readme = (ROOT / "README.md").read_text()
    unread = [catalogues.locale_of(path).english_name for path in paths() if not is_reviewed(path)]
    assert [name for name in unread if str(name) not in readme] == []


def test_a_language_that_is_offered_has_a_catalogue_or_none_has() -> None:
    """An admin chooses among the languages that are there."""
    names = {path.stem for path in paths()}
    assert not names or {"en", *names} == {{"en-US": "en", "es-ES": "es"}.get(name, name) for name in LANGUAGES}


def test_the_commands_fit_in_every_language_at_once(tmp_path: Path) -> None:
    """Discord counts each field in its longest language, and checks the rest of what we register, too."""
    longer = tmp_path / "longer"
    longer.mkdir()
    for name in OURS:
        marked(longer, name)
    for folder in (catalogues.FOLDER, longer):
        every = commands(folder)
        assert {each["name"]: size(each) for each in every if size(each) > COMMAND_CHARS_MAX} == {}
        if description := openapi():
            breaches = Spec(description).check_request("PUT", "/applications/{application_id}/commands", every)
            assert breaches is None
    (veo,) = (each for each in commands(longer) if each["name"] == "veo")
    assert set(veo["description_localizations"]) == {"de", "fr", "es-ES", "pt-BR", "ja"}
    duration = next(each for each in veo["options"] if each["name"] == "duration")
    assert duration["choices"][0]["name_localizations"]["fr"] == f"«4 s · from 0,80{NBSP}$US»"


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('msgstr "«Okay, not made.»"', 'msgstr ""', "is not translated"),
        ('msgid "Okay, not made."', 'msgid "Okay, nothing."', "is left over"),
        ('msgid "Okay, not made."', 'msgid "Okay, nothing."', "is missing"),
        ('msgid "Okay, not made."', '#, fuzzy\nmsgid "Okay, not made."', "is fuzzy"),
        ('msgstr "«Okay, not made.»"', 'msgstr "Okay, not made."', "reads as in English"),
        ('msgstr "«Make this for {price}?»"', 'msgstr "«Make this?»"', "needs the placeholders"),
        ('msgstr "«Make this for {price}?»"', 'msgstr "«Make this for {price!r}?»"', "needs the placeholders"),
        ('msgstr "«Make this for {price}?»"', 'msgstr "«Make this for {price?»"', "expected '}'"),
        ('msgstr[1] "«{count} videos at a time»"', 'msgstr[1] "«Videos at a time»"', "needs the placeholders"),
        ('msgstr[1] "«{count} videos at a time»"', 'msgstr[1] ""', "is not translated"),
        ('msgstr[1] "«{count} videos at a time»"\n', "", "is not translated"),
        ("nplurals=2", "nplurals=3", "its header needs Plural-Forms"),
        ('"X-Reviewed: no\\n"\n', "", "X-Reviewed"),
        ('msgstr "«Not now»"', f'msgstr "{"«Nicht jetzt»" * 8}"', "has 104 characters, at most 80"),
        ('msgstr "«Limit one member»"', f'msgstr "{"«Ein Mitglied»" * 8}"', "has 112 characters, at most 100"),
        ('msgstr "«Make it · {price}»"', f'msgstr "«Machen · {{price}}{"!" * 60}»"', "at most 80"),
    ],
)
def test_each_fault_is_found(tmp_path: Path, old: str, new: str, fault: str) -> None:
    """The checks above have teeth, and bite no sound catalogue."""
    path = marked(tmp_path, "de")
    assert problems(path) == []
    changed(path, old, new)
    assert fault in "\n".join(problems(path))


def test_what_reads_alike_in_both_is_said_to(tmp_path: Path) -> None:
    """And a change of the messages does not take that word from it."""
    path = marked(tmp_path, "de")
    changed(path, 'msgid "Prompt"\nmsgstr "«Prompt»"', f'# {SAME}\nmsgid "Prompt"\nmsgstr "Prompt"')
    update(tmp_path)
    assert problems(path) == []


def test_a_new_catalogue_is_begun_and_brought_up_to_date(tmp_path: Path) -> None:
    """With what is to be translated, the rule of its plurals and its own header; and no guess."""
    begun = [begin(name, tmp_path) for name in OURS]
    update(tmp_path)
    for path in begun:
        assert not is_reviewed(path)
        assert {line.rpartition(" is ")[2] for line in problems(path)} == {"not translated"}
    changed(tmp_path / "de.po", 'msgid "Okay, not made."\nmsgstr ""', 'msgid "Okay, nothing made."\nmsgstr "Gut."')
    changed(tmp_path / "de.po", '"X-Reviewed: no\\n"', '"X-Reviewed: yes\\n"\n"Last-Translator: Ada\\n"')
    update(tmp_path)
    text = (tmp_path / "de.po").read_text()
    assert "Gut." not in text
    assert is_reviewed(tmp_path / "de.po")
    assert "Last-Translator: Ada" in text


@pytest.mark.parametrize("name", OURS)
def test_plural_forms_are_the_categories_of_the_cldr(tmp_path: Path, name: str) -> None:
    """As many, in its order; the rule in the header chooses as the CLDR does."""
    path = marked(tmp_path, name)
    locale = catalogues.locale_of(path)
    order = [each for each in ("zero", "one", "two", "few", "many") if each in locale.plural_form.tags] + ["other"]
    assert get_plural(str(locale))[0] == len(order)
    with path.open("rb") as file:
        catalogue = read_po(file)
    for message in catalogue:
        if isinstance(message.id, tuple):
            message.string = tuple(order)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    translations = gettext.GNUTranslations(compiled)
    for count in (*range(200), 999_999, 10**6, 10**6 + 1, 2 * 10**6):
        chosen = translations.ngettext("and {count} more", "and {count} more", count)
        assert chosen == locale.plural_form(count), count


@pytest.mark.parametrize(
    ("locale", "small", "large", "number"),
    [
        ("en-US", "$1,234.50", "$12,345.00", "1,234"),
        ("de", f"1.234,50{NBSP}$", f"12.345,00{NBSP}$", "1.234"),
        ("fr", f"1{NARROW}234,50{NBSP}$US", f"12{NARROW}345,00{NBSP}$US", f"1{NARROW}234"),
        ("es-ES", f"1234,50{NBSP}US$", f"12.345,00{NBSP}US$", "1234"),
        ("es", f"1234,50{NBSP}US$", f"12.345,00{NBSP}US$", "1234"),
        ("es-419", f"USD{NBSP}1,234.50", f"USD{NBSP}12,345.00", "1,234"),
        ("pt-BR", f"US${NBSP}1.234,50", f"US${NBSP}12.345,00", "1.234"),
        ("ja", "$1,234.50", "$12,345.00", "1,234"),
        ("en-GB", "US$1,234.50", "US$12,345.00", "1,234"),
    ],
)
def test_amounts_are_written_as_browsers_write_them(locale: str, small: str, large: str, number: str) -> None:
    """The same as `Intl.NumberFormat` of Node 20 says."""
    ours = notation(locale)
    assert [ours.usd(Decimal("1234.5")), ours.usd(Decimal(12345)), ours.number(1234)] == [small, large, number]
    assert ours.whole_usd(Decimal(1234)) == small.replace(",50", "").replace(".50", "")


@pytest.mark.parametrize(
    ("locale", "spoken"),
    [
        ("de", "de"), ("de-AT", "de"), ("es-ES", "es"), ("es-419", "es"), ("pt-BR", "pt-BR"), ("pt-PT", None),
        ("en-GB", None), ("en-US", None), ("ko", None), ("", None), (None, None), ("../de", None), ("de-DE-x-y", None),
        ("x" * 99, None),
    ],
)  # fmt: skip
def test_a_locale_speaks_its_language(tmp_path: Path, locale: str | None, spoken: str | None) -> None:
    """English where nobody wrote it."""
    for name in OURS:
        marked(tmp_path, name, "«{}» " + name)
    said = Languages(tmp_path).words(locale, MARKUP).say(catalogues.longest("question.declined"))
    assert said == (f"«Okay, not made.» {spoken}" if spoken else "Okay, not made.")


def test_catalogues_are_loaded_one_by_one_when_they_are_spoken(tmp_path: Path) -> None:
    """With English in use neither Babel nor any catalogue is; with German, German alone."""
    for name in OURS:
        marked(tmp_path, name)
    code = f"""
        import sys
        from pathlib import Path
        from bot.facts import Usd, text
        from bot.texts import PLAIN, Languages
        languages = Languages(Path({str(tmp_path)!r}))
        for locale in (None, "en-US", "ko", "xx"):
            assert languages.is_loaded(locale)
            assert languages.words(locale, PLAIN).fact(Usd(1)) == "$0.000001"
        german = languages.words("de", PLAIN)
        assert not languages.is_loaded("de")
        assert "babel" not in sys.modules
        assert german.say(text("question.declined")) == "«Okay, not made.»"
        assert languages.is_loaded("de") and not languages.is_loaded("fr")
        print([path.stem for path in languages._catalogues])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['de']\n"


def test_every_language_is_one_of_discord_s() -> None:
    """What is registered under another name would be refused."""
    assert set(LANGUAGES) <= {each.value for each in discord.Locale}


async def test_loading_is_left_to_another_thread(tmp_path: Path) -> None:
    """What is about to be spoken is loaded while the loop goes on, and nothing else is."""
    for name in OURS:
        marked(tmp_path, name)
    languages = Languages(tmp_path)
    await Speaker(languages).prepare("de", None, "es-419", "xx")
    assert [languages.is_loaded(locale) for locale in ("de", "es-419", "fr", "ja")] == [True, True, False, False]


def test_a_message_in_the_channel_fits_in_every_language(tmp_path: Path) -> None:
    """Whatever happened, with a prompt, a reason and names as long as they come, and with words of twice the length."""
    for name in OURS:
        marked(tmp_path, name, "{0} «{0}»")
    spoken = [(Languages(folder), path.stem) for folder in (catalogues.FOLDER, tmp_path) for path in paths(folder)]
    link = Link(url="https://clips.example/" + "x" * 200, expires_at=2e9)
    for languages, name in [(Languages(), "en-US"), *spoken]:
        words = languages.words(name, MARKUP)
        for told, ending, direct in product(Notice, Ending, (True, False)):
            told_run = replace(LONG, notice=told, ending=ending, direct=direct)
            for clip, lost in ((None, True), (None, False), (link, False)):
                shown = content(notice(told_run, catalogues.PRICES, link=clip, lost=lost), words)
                assert len(shown) <= MESSAGE_CHARS_MAX, (name, told, ending, shown)


@asynccontextmanager
async def registering() -> AsyncIterator[Callable[[dict[str, dict[str, str]]], Awaitable[bool]]]:
    """Registers a command and a menu of the same name, with these translations; whether anything had to be changed."""

    @app_commands.command(name="film", description="Make a video")
    @app_commands.choices(size=[app_commands.Choice(name="small", value="s")])
    @app_commands.describe(size="How large")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def command(interaction: discord.Interaction, size: str = "s") -> None:
        """Nobody uses it."""

    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def menu(interaction: discord.Interaction, message: discord.Message) -> None:
        """Nobody uses it."""

    async with (
        asyncio.timeout(WAIT_S),
        DiscordSandbox() as sandbox,
        new_client(sandbox.api_url, sandbox.gateway_url, acknowledger=Acknowledger(), speaker=SPEAKER) as client,
    ):
        client.tree.add_command(command)
        client.tree.add_command(app_commands.ContextMenu(name="film", callback=menu))
        await log_in(client, sandbox.token)

        async def register(translations: dict[str, dict[str, str]]) -> bool:
            before = len(sandbox.requests)
            changed = await client.sync_if_changed(zlib.compress(json.dumps(translations).encode()))
            methods = [each.method for each in sandbox.requests[before:]]
            assert methods == (["GET", "PUT"] if changed else ["GET"])
            return changed

        yield register


async def test_commands_are_registered_again_only_when_a_translation_changed() -> None:
    """A menu with a command's name is not taken for it, and what reads as the default is as good as none."""
    german = {"Make a video": {"de": "Ein Video machen"}, "small": {"de": "klein"}}
    stories: tuple[tuple[dict[str, dict[str, str]], bool], ...] = (
        ({}, True), ({}, False), (german, True), (german, False),
        (german | {"How large": {"de": "How large"}}, False),
        (german | {"small": {"de": "winzig"}}, True),
        (german | {"small": {"de": "winzig", "fr": "petit"}}, True),
        (german | {"small": {"fr": "petit", "de": "winzig"}}, False),
        ({"Make a video": {"de": "Film ab"}}, True), ({}, True), ({}, False),
    )  # fmt: skip
    async with registering() as register:
        for place, (translations, changes) in enumerate(stories):
            assert await register(translations) == changes, place
