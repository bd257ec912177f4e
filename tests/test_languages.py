"""A server in another language reads that language alone: a catalogue with marks, and the marks on every message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import write_po

from tests.harness import Scene, labels_of, read, scene
from tests.test_texts import translated

LANGUAGE = """
from pathlib import Path
from bot import texts
original = texts.Languages.__init__
texts.Languages.__init__ = lambda self: original(self, Path({folder!r}))
"""
MARKED = re.compile(r"«[^«»]*»")
# What members wrote, names, times, amounts and addresses are nobody's words.
FIGURES = re.compile(r"“[^”]*”|`[^`]*`|<[^<>]*>|https?://\S+|\d+p\b|\d[\d.,]*\s?(USD|\$)?")


def unmarked(words: str) -> str:
    """The letters that stand outside of every mark, and are no figure."""
    words = FIGURES.sub("", words)
    while MARKED.search(words):
        words = MARKED.sub("", words)
    return "".join(re.findall(r"[^\W\d_]+", words))


def words_of(message: Mapping[str, Any]) -> Iterator[str]:
    """Everything that people read in a message: its text, its embeds, its buttons; not what the prompt quotes."""
    yield from (line for line in read(message)["content"].splitlines() if not line.startswith("> "))
    for embed in message["embeds"]:
        yield embed.get("title", "")
        yield from (line for line in embed.get("description", "").splitlines() if not line.startswith("> "))
        yield embed.get("footer", {}).get("text", "")
        for each in embed.get("fields", ()):
            yield from (each["name"], each["value"])
    yield from labels_of(message)


def read_by(world: Scene, *members: str) -> Iterator[str]:
    """What stands in the places of the story, for all and for these members alone."""
    for place in ("video-lab", "general"):
        for member in members:
            for message in world.discord.messages(world.discord.world.channel(place), world.member(member)):
                if message["author"]["bot"]:
                    yield from words_of(message)


@pytest.fixture
def language(tmp_path: Path) -> str:
    """What makes the bot's process speak a language in which every message is marked."""
    folder = tmp_path / "languages"
    folder.mkdir()
    with (folder / "de.po").open("wb") as file:
        write_po(file, translated())
    return LANGUAGE.format(folder=str(folder))


def german(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"locale": "de", "guild_locale": "de"} if "locale" in payload else payload


@pytest.mark.parametrize(
    ("words", "left"),
    [("«Made for «`x` y»» <@7> 3,20 $", ""), ("«Made» for", "for"), ("Made «for»", "Made"), ("`x` <t:5:R> “y”", "")],
)
def test_words_outside_of_every_mark_are_found(words: str, left: str) -> None:
    """The check below has teeth."""
    assert unmarked(words) == left


async def test_a_server_reads_its_language_alone(tmp_path: Path, language: str) -> None:
    """Questions, cards, results, refusals, requests, the log: no sentence of another language among them."""
    async with scene(tmp_path, before=language, QUOTA_USER_USD="5.00", CONFIRM_ABOVE_USD="3.50") as world:
        with world.discord.altered_events(german):
            await told_every_way(world)
        shown = [words for words in read_by(world, "Bo", "Ada") if words]
        assert len(shown) > 30
        command = world.discord.registered("veo")
        assert command["description_localizations"] == {"de": f"«{command['description']}»"}
        for option in command["options"]:
            said = f"«{option['description']}»"
            assert option["description_localizations"] == ({"de": said} if len(said) <= 100 else {})
            assert "«" not in option["name"]
        lengths = next(option["choices"] for option in command["options"] if option["name"] == "duration")
        assert [each["name_localizations"]["de"] for each in lengths] == [
            "«4 s · from 0,80\u00a0$»", "«6 s · from 1,20\u00a0$»", "«8 s · from 1,60\u00a0$»",
        ]  # fmt: skip
        await world.stop()
        await world.start()
        assert len(world.logged("commands registered")) == 1  # at the next start nothing differs
        assert [words for words in shown if unmarked(words)] == []


async def answered(world: Scene, command: str, **options: Any) -> None:
    used = await world.use(command, **options)
    await used.wait(lambda each: bool(read(each)["content"] or each["embeds"]))


async def told_every_way(world: Scene) -> None:
    """A story in which the bot says most of what it has to say."""
    general = world.discord.world.channel("general")
    await world.act("requests", channel=general)
    question = await world.answer_to(await world.veo("a fox", duration="8s", resolution="4k"))
    await world.press(question, "«Not now")
    await world.veo("a red fox", duration="4s", seed=7, negative_prompt="rain")
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
    await world.veo("a fox [nsfw]", duration="4s", generate_audio=False)
    await world.until("SELECT count(*) AS n FROM run WHERE delivery = 'delivered' HAVING count(*) = 2")
    await world.veo("a fox [failed]", duration="4s", generate_audio=False)
    await world.until("SELECT count(*) AS n FROM run WHERE delivery = 'delivered' HAVING count(*) = 3")
    for prompt, answer in (("a blue fox", "«Approve"), ("a green fox", "«Deny")):
        refused = await world.veo(prompt, duration="8s")
        await world.press(await world.answer_to(refused), "«Ask an admin")
        await world.until("SELECT 1 FROM offer WHERE kind = 'request' AND state = 'open' AND message IS NOT NULL")
        request = next(each for each in reversed(world.discord.messages(general)) if each["components"])
        await world.press(request, answer, member="Ada")
        await world.until(
            "SELECT count(*) FROM offer HAVING count(*) FILTER (WHERE kind = 'request' AND state = 'open') = 0"
        )
    await world.until("SELECT count(*) AS n FROM run WHERE delivery = 'delivered' HAVING count(*) = 4")
    for command in ("veo-quota", "veo-history"):
        await answered(world, command, by="Bo")
    bo = world.member()
    for command, options in (
        ("limit set", {"member": bo, "amount": "7"}),
        ("grant", {"amount": "1", "member": bo, "reason": "ein Geburtstag"}),
        ("grant", {"amount": "0", "member": bo}),
        ("limit show", {}),
        ("access block", {"member": bo, "reason": "spam"}),
        ("access unblock", {"member": bo}),
        ("report", {}),
        ("log", {}),
        ("bot pause", {}),
    ):
        await answered(world, f"veo-admin {command}", by="Ada", **options)
    await world.answer_to(await world.veo("while it is paused"))


async def test_admins_choose_the_language_of_what_everybody_reads(tmp_path: Path, language: str) -> None:
    """In a server whose Discord is English: German for all, English for each alone, as each act is kept and told.

    And a post is found again after its language is gone: killed before it noted its post, and started without the
    catalogue, the bot does not post the video a second time.
    """
    async with scene(tmp_path, before=language) as world:
        assert await world.act("language", language="automatic") == "The language is already automatic."
        done, private = "Messages that everyone here sees", "What I tell someone privately is in their own language."
        assert await world.act("language", language="de") == f"Done. {done} are in Deutsch now.\n{private}"
        assert "messages for everyone are in Deutsch" in await world.act("limit show")
        await world.veo("a red fox", duration="4s")
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        public, private_ones = (
            world.discord.messages(world.channel),
            world.discord.messages(world.channel, world.member()),
        )
        (post,) = public
        assert [words for words in words_of(post) if unmarked(words)] == []
        (card,) = (each for each in private_ones if each["flags"] & 64)
        assert "«" not in "".join(words_of(card))
        (run,) = world.rows("SELECT locale, place_locale FROM run")
        assert run == {"locale": "en-US", "place_locale": "de"}
        automatic = f"Done. {done} follow this server's language in Discord.\n{private}"
        assert await world.act("language", language="automatic") == automatic
        log = await world.act("log")
        assert "made the language automatic: this server" in log.splitlines()[0]
        assert "chose the language: this server · Deutsch" in log.splitlines()[1]
        await world.kill()
        long_ago = "first_try_at = first_try_at - 3600, last_try_at = last_try_at - 3600"
        world.change(f"UPDATE run SET delivery = 'sending', message = NULL, due_at = 0, {long_ago}")
        sent, asked = len(world.seen()), len(world.discord.requests)
        world.before = ""
        await world.start()
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        assert len(world.seen()) == sent
        since = world.discord.requests[asked:]
        assert not any(each.method == "POST" and each.path.endswith("/messages") for each in since)
