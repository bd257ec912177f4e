"""What members find again: their videos page by page and by their words, what is left, and what waits; over TCP."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from bot.domain.records import Wanted
from bot.services.finder import PAGE_RUNS, SEARCHED_MAX
from sandbox.discord import Interaction
from sandbox.discord.components import walk
from storage import check_books, open_store
from storage.sqlite.store import database_path
from tests.harness import Json, Scene, buttons_of, labels_of, notice_of, read, scene

CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}
FOX = "a red fox in falling snow"


def copies(world: Scene, count: int, prompt: str = "Copy {n} of\na Blue Heron") -> None:
    """The stopped bot's latest run again and again, each earlier than the one before, with all that belongs to it."""
    assert world.bot is None
    with closing(sqlite3.connect(database_path(world.database_url))) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(run)")]
        (latest,) = connection.execute("SELECT run_id FROM run ORDER BY created_at DESC LIMIT 1").fetchone()
        changed = {
            "run_id": "'copy' || :n",
            "origin": "origin || :n",
            "callback_token": "callback_token || :n",
            "provider_id": "provider_id || :n",
            "provider_request_id": "NULL",
            "created_at": "created_at - (:n + 3) / 4 * 0.0001",  # four at a time were asked for at the same moment
            "request": "json_set(request, '$.prompt', :prompt)",
        }
        chosen = ", ".join(changed.get(name, name) for name in names)
        entry = "scope, period_key, kind, amount_u, actor, reason"
        asked_at = "(SELECT created_at FROM run WHERE run_id = 'copy' || :n)"
        for n in range(1, count + 1):
            values = {"n": n, "prompt": prompt.format(n=n), "latest": latest}
            connection.execute(f"INSERT INTO run SELECT {chosen} FROM run WHERE run_id = :latest", values)
            connection.execute(
                f"INSERT INTO ledger_entry (run_id, at, {entry}) SELECT 'copy' || :n, "
                f"CASE kind WHEN 'hold' THEN {asked_at} ELSE at END, {entry} FROM ledger_entry WHERE run_id = :latest",
                values,
            )
            connection.execute(
                f"INSERT INTO run_role SELECT role, {asked_at}, 'copy' || :n FROM run_role WHERE run_id = :latest",
                values,
            )
        connection.execute("UPDATE budget SET spent_u = spent_u * (:count + 1) WHERE spent_u > 0", {"count": count})


async def answer(used: Interaction, said: str = "") -> Json:
    """The card for the caller alone that says this."""
    return read(await used.wait(lambda each: bool(each["components"]) and said in read(each)["content"]))


async def turn(world: Scene, card: Json, way: str) -> Json:
    """Press `Newer` or `Older` on a page, and return the one that comes in its place."""
    pressed = await world.press(card, way)
    return read(await pressed.wait(lambda each: read(each)["content"] != card["content"]))


def ids(card: Json) -> list[str]:
    """The videos on a page of the history, in their order."""
    return [line.rpartition("`")[0].rpartition("`")[2] for line in card["content"].splitlines() if line.endswith("`")]


async def test_the_history_turns_its_pages_for_ever_and_posts_what_is_picked(tmp_path: Path) -> None:
    """Each video once, newest first, forth and back, also after a restart and with newer ones; for whom it is meant."""
    async with scene(tmp_path, QUOTA_USER_USD="9999.00") as world:
        await world.card(await world.veo(FOX, **CHEAP), "in the channel")
        await world.stop()
        copies(world, 20)
        world.change("UPDATE run SET state = 'failed', ending = 'failed', delivery = 'none' WHERE run_id = 'copy3'")
        await world.start()
        order = [row["run_id"] for row in world.rows("SELECT run_id FROM run ORDER BY created_at DESC, run_id")]

        used = await world.use("veo-history", by="Bo")
        first = await answer(used, "Your videos")
        assert first["flags"] & 64
        assert first["content"].count("“Copy") == PAGE_RUNS - 1
        assert "posted · $0.80" in first["content"]
        assert (ids(first), labels_of(first)) == (order[:8], ["Older"])
        await world.kill()
        await world.start()
        await world.card(await world.veo("a newer one", **CHEAP), "in the channel")
        pages, card = [ids(first)], first
        while "Older" in labels_of(card):
            card = await turn(world, card, "Older")
            pages.append(ids(card))
        assert [each for page in pages for each in page] == order
        back = await turn(world, card, "Newer")
        assert (ids(back), labels_of(back)) == (pages[1], ["Newer", "Older"])
        newest = world.rows("SELECT run_id FROM run ORDER BY created_at DESC LIMIT 1")[0]["run_id"]
        aligned = await turn(world, back, "Newer")
        assert (ids(aligned), labels_of(aligned)) == (pages[0], ["Newer", "Older"])
        top = await turn(world, aligned, "Newer")
        assert (ids(top), labels_of(top)) == ([newest, *order[:7]], ["Older"])

        (menu,) = [each for _, each in walk(top["components"]) if "options" in each]
        assert [each["value"] for each in menu["options"]] == [each for each in ids(top) if each != "copy3"]
        assert menu["options"][1]["label"] == FOX
        assert menu["options"][1]["description"].endswith(" · 4 s · 720p · no sound")
        before = world.seen()
        await world.select(top, FOX)
        await world.whispered("Bo", "Posted.")
        (posted,) = [each for each in world.discord.messages(world.channel) if each["id"] not in before][-1:]
        assert f"“{FOX}”" in posted["content"]

        only = await answer(await world.use("veo-history", by="Bo", videos=True))
        assert "copy3" not in ids(only)
        assert "No videos yet" in (await answer(await world.use("veo-history", by="Dana")))["content"]
        theirs = await world.told("veo-history", by="Dana", member=world.member())
        assert theirs.startswith("Only those who manage this server")
        managed = await answer(await world.use("veo-history", by="Ada", member=world.member()))
        assert managed["content"].startswith(f"### <@{world.member().id}>'s videos in this server")
        assert ids(managed) == ids(top)
        assert not [each for _, each in walk(managed["components"]) if "options" in each]
        # What a button carries is no word to take: whoever sends it with another's name is asked who they are.
        data = {"component_type": 2, "custom_id": buttons_of(managed)[0]["custom_id"], "id": 1}
        own = await answer(await world.use("veo-history", by="Dana"))
        world.discord.forge_press(world.member("Dana"), own["id"], data)
        await world.whispered("Dana", "Only those who manage this server")


async def test_suggestions_are_the_members_own_and_a_video_is_found_by_its_words(tmp_path: Path) -> None:
    """By words anywhere, whatever their capitals, the latest first, no more than Discord takes; a fault gives none."""
    fault = (
        "from bot.services.finder import Finder as F\n"
        "real = F.suggestions\n"
        "async def suggestions(self, member, typed):\n"
        "    if typed == 'fault':\n"
        "        raise RuntimeError\n"
        "    return await real(self, member, typed)\n"
        "F.suggestions = suggestions\n"
    )
    async with scene(tmp_path, start=False, before=fault, QUOTA_USER_USD="9999.00") as world:
        await world.start()
        await world.card(await world.veo(f"{FOX}, {'very ' * 80}", member="Bo", **CHEAP), "in the channel")
        await world.stop()
        copies(world, 40)
        await world.start()
        every = await world.autocomplete("veo-show", "run", "")
        assert len(every) == 25
        assert every[0]["name"].startswith(FOX)
        assert len(every[0]["name"]) == 100
        assert [each["value"] for each in every[1:4]] == ["copy1", "copy2", "copy3"]
        found = await world.autocomplete("veo-show", "run", "7 OF a blue")
        assert [each["value"] for each in found] == ["copy7", "copy17", "copy27", "copy37"]
        assert found[0]["name"] == "Copy 7 of a Blue Heron"
        assert [each["value"] for each in await world.autocomplete("veo-show", "run", "copy9")] == ["copy9"]
        assert await world.autocomplete("veo-show", "run", "fox", by="Dana") == []
        assert await world.autocomplete("veo-show", "run", "fault") == []

        shown = await world.shown(run="red FOX in")
        run_id = every[0]["value"]
        assert f"First posted here: https://discord.com/channels/{world.channel.guild_id}/" in shown["content"]
        assert notice_of(shown) is None
        ours, notices = ({each["custom_id"] for each in buttons_of(each)} for each in (shown, world.posts()[0]))
        assert ours - notices == {f"veo:receipt:{run_id}:shown"}
        world.discord.delete_message(world.posts()[0]["id"])
        (attached,) = (await world.shown())["attachments"]
        assert attached["filename"] == f"red-fox-in-falling-snow-very-very-very-{run_id}.mp4"
        receipt = await answer(await world.press(shown, "Receipt"))
        assert "### Receipt" in receipt["content"]
        await world.card(await world.press(shown, "Again", member="Dana"), "in the channel")


async def test_any_message_is_a_prompt(tmp_path: Path) -> None:
    """Its words are in the form, as far as it takes them; what is sent makes a video as any other does."""
    async with scene(tmp_path, PROMPT_MAX_CHARS="100") as world:
        said = world.discord.say(world.member("Dana"), world.channel, f"{FOX}\n**slowly** {'x' * 90}")
        opened = await world.context_menu("Use as /veo prompt", said)
        form = await world.modal_of(opened)
        assert form["title"] == "Make a video"
        prompt = form["components"][0]["component"]["value"]
        assert prompt == said["content"][:100]
        await world.kill()
        await world.start()
        films = {each["label"]: each["value"] for each in form["components"][2]["component"]["options"]}
        sent = await world.submit(opened, prompt=FOX, film=films["4 s · 720p · no sound"])
        assert "Done" in await world.card(sent, "in the channel")
        assert [each.input["prompt"] for each in world.runflow.runs.values()] == [FOX]
        (row,) = world.rows("SELECT member, take FROM run")
        assert row == {"member": f"discord:{world.member().id}", "take": None}
        blank = world.discord.say(world.member("Dana"), world.channel, "\u200b")
        used = await world.context_menu("Use as /veo prompt", blank)
        assert (await answer(used))["content"] == "That message has no text."
        puts = [each for each in world.discord.requests if each.method == "PUT"]
        assert len(puts) == 1, "a restart registers nothing anew"


async def test_the_quota_is_a_bar_with_all_that_is_open(tmp_path: Path) -> None:
    """How many more videos; what is in the works; each question, which comes back with its buttons after a restart."""
    never = {"end": "never"}
    async with scene(tmp_path, runflow=never, QUOTA_USER_USD="10.00", QUOTA_CONFIRM_ABOVE_USD="1.00") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        new = (await answer(await world.use("veo-quota", by="Bo")))["content"].splitlines()
        assert new[0] == "### What you have left"
        assert new[1] == "▱▱▱▱▱▱▱▱▱▱ **$10.00** left of $10.00 this month"
        assert new[2] == "About 3 more videos at $3.20 each."
        assert len(new) == 4
        cheap = await world.veo("a red fox", **CHEAP)
        await world.card(cheap, "In the works")
        await world.answer_to(await world.veo("a blue heron"))
        await world.answer_to(await world.veo("a green frog", resolution="4k", duration="8s"))
        over = await world.veo("a gold fish", resolution="4k")
        await world.press(await world.answer_to(over), "Make it")
        await world.until("SELECT 1 FROM run WHERE price_u = 4800000")
        await world.answer_to(await world.veo("a white whale", resolution="4k"))
        await world.kill()
        await world.start()
        card = await answer(await world.use("veo-quota", by="Bo"))
        text = card["content"]
        assert "▰▰▰▰▰▱▱▱▱▱ **$4.40** left of $10.00 this month" in text
        assert "$5.60 on hold for videos in the works." in text
        assert "more video" not in text, "it would be none"
        assert f"**In the works**\n“a gold fish” in the works · <#{world.channel.id}> · <t:" in text
        assert "Make “a blue heron” for $3.20? Expires <t:" in text
        assert "Make “a green frog” for $4.80? Expires <t:" in text
        assert "“a white whale” for $4.80 is over a limit. You can ask an admin." in text
        assert [each["label"] for each in buttons_of(card)] == ["Open"] * 3
        named = {each["custom_id"] for each in buttons_of(card)}
        asked = {row["kind"]: row["offer_id"] for row in world.rows("SELECT kind, offer_id FROM offer ORDER BY rowid")}
        assert f"veo:open:{asked['request']}" in named

        async def opened(prompt: str) -> Json:
            sql = "SELECT offer_id FROM offer WHERE json_extract(wish, '$.request.prompt') = :prompt"
            (row,) = world.rows(sql, prompt=prompt)
            used = await world.discord.press(world.member(), card["id"], f"veo:open:{row['offer_id']}")
            return await answer(used, f"> {prompt}")

        question = await opened("a blue heron")
        assert labels_of(question)[0] == "Make it · $3.20"
        await world.press(question, "Make it")
        await world.until("SELECT 1 FROM run WHERE price_u = 3200000")
        assert "Expired" not in (late := await opened("a blue heron"))["content"]
        assert labels_of(late) == ["Make it · $3.20", "Change"]
        request = await opened("a white whale")
        assert "Ask an admin" in labels_of(request)
        await world.press(request, "Ask an admin")
        await world.whispered("Bo", "Asking the admins")
        again = await answer(await world.use("veo-quota", by="Bo"))
        assert "“a white whale” for $4.80: waiting for an admin." in again["content"]
        assert "blue heron” for" not in again["content"]


async def test_what_a_member_looks_for_is_found_by_an_index(tmp_path: Path) -> None:
    """However many runs others have, and however the page is asked for; and the books with copies still balance."""
    async with scene(tmp_path) as world:
        await world.card(await world.veo(FOX, **CHEAP), "in the channel")
        await world.stop()
        copies(world, 12)
        assert check_books(world.database_url) == []
    store = open_store(world.database_url)
    statements: list[str] = []
    store.writer.connection.set_trace_callback(statements.append)
    me = f"discord:{world.member().id}"
    key = (1.0, "a")
    for wanted in (
        Wanted(member=me),
        Wanted(member=me, older_than=key, videos=True),
        Wanted(member=me, newer_than=key, server=f"discord:{world.channel.guild_id}"),
    ):
        await store.history(wanted, PAGE_RUNS)
    await store.prompts(me, "fox", searched=SEARCHED_MAX, limit=25)
    await store.open_of(me, "discord:1", now=0.0, limit=5)
    store.writer.connection.set_trace_callback(None)
    plans = [
        [row[3] for row in store.writer.connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        for sql in statements
        if sql.startswith("SELECT")
    ]
    await store.close()
    assert len(plans) == 6
    for plan in plans:
        assert any("run_of_member (member=?" in step or "offer_of_member (member=?" in step for step in plan), plan
        assert not any(step.startswith("SCAN run") and "run_unended" not in step for step in plan), plan
