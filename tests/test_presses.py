"""Buttons under videos and refusals, and the form that changes a wish: over TCP, on the limit of whoever presses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness import Json, Scene, labels_of, notice_of, read, scene, status_of

FOX = "a red fox in falling snow"
CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}


def orders(world: Scene) -> list[Json]:
    """What was ordered, in this order."""
    return [dict(run.input) for run in world.runflow.runs.values()]


async def made(world: Scene, prompt: str = FOX, **options: Any) -> Json:
    """A video in the channel, asked for by Bo."""
    used = await world.veo(prompt, **options)
    message = await world.end_of(used)
    await world.card(used, "in the channel")
    return message


async def test_a_result_says_two_lines_and_carries_two_rows(world: Scene) -> None:
    """Who it is for and from which words; then how to make the same again, with the prices on the buttons."""
    message = await made(world, seed=42, **CHEAP)
    head, small = message["content"].split("\n")
    assert head == f"<@{world.member().id}>, here's your video! “{FOX}”"
    assert small.startswith("-# 4 s · 720p · no sound · seed 42 · Video `")
    [clip] = message["attachments"]
    run_id = notice_of(message)[0]  # type: ignore[index] # it is a result
    assert clip["filename"] == f"red-fox-in-falling-snow-{run_id}.mp4"
    rows = [[each["label"] for each in row["components"]] for row in message["components"]]
    assert rows == [["Again · $0.80", "Change", "Same seed", "Final 1080p · $0.80"], ["Receipt", "Delete"]]


async def test_again_makes_another_take_with_a_new_seed_also_after_a_restart(world: Scene) -> None:
    message = await made(world, seed=42, **CHEAP)
    await world.kill()
    await world.start()
    again = await world.press(message, "Again")
    second = await world.end_of(again)
    await world.card(again, "in the channel")
    first, other = orders(world)
    assert "seed" not in other
    assert other == {name: value for name, value in first.items() if name != "seed"}
    assert second["id"] != message["id"]
    assert labels_of(second)[0] == "Again · $0.80"
    assert world.rows("SELECT sum(charged_u) AS u FROM run_view WHERE charged_u > 0") == [{"u": 1_600_000}]


async def test_final_is_the_same_in_the_next_better_quality_and_says_what_that_means(world: Scene) -> None:
    message = await made(world, seed=42, **CHEAP)
    final = await world.press(message, "Final 1080p")
    card = await world.card(final, "in the channel")
    assert "similar, not equal" in card
    assert [(each["resolution"], each["seed"]) for each in orders(world)] == [("720p", 42), ("1080p", 42)]
    better = world.posts()[-1]
    dear = await world.press(better, "Final 4k · $1.60")
    await world.card(dear, "in the channel")
    assert not any(label.startswith("Final") for label in labels_of(world.posts()[-1]))


async def test_somebody_elses_video_is_made_anew_on_ones_own_limit(tmp_path: Path) -> None:
    """Dana pays for what Dana presses, the title says whose it is, and Bo's seed stays Bo's choice."""
    async with scene(tmp_path, QUOTA_USER_USD="0.80") as world:
        message = await made(world, **CHEAP)
        again = await world.press(message, "Again", member="Dana")
        card = await again.wait(lambda each: "in the channel" in status_of(each))
        assert status_of(card).startswith("Your own version · Done\n")
        paid = world.rows("SELECT member, charged_u FROM run_view ORDER BY created_at")
        assert [row["charged_u"] for row in paid] == [800_000, 800_000]
        assert paid[1]["member"] == f"discord:{world.member('Dana').id}"
        refused = read(
            await (await world.press(world.posts()[-1], "Again")).wait(lambda each: bool(each["components"]))
        )
        assert "you have nothing left" in refused["content"]
        form = await world.modal_of(await world.press(message, "Change", member="Dana"))
        assert form["title"] == "Make your own version"


async def test_a_double_press_is_one_video(world: Scene) -> None:
    message = await made(world, **CHEAP)
    presses = await asyncio.gather(*(world.press(message, "Again") for _ in range(3)))
    told = [read(await each.wait(lambda shown: bool(shown["components"])))["content"] for each in presses]
    assert sorted("double press" in each for each in told) == [False, True, True]
    await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM run WHERE delivery = 'delivered') WHERE n = 2")
    assert len(orders(world)) == 2


async def test_a_price_that_rose_is_asked_about_and_one_that_fell_is_not(tmp_path: Path) -> None:
    """The button said $0.80; at $1.20 nothing is held before a yes, at $0.60 the video is made for that."""
    rows = '{{"720p": {0}, "1080p": {0}, "4k": {0}}}'

    def prices(silent: str) -> str:
        return rows.format(f'{{"silent": "{silent}", "audio": "0.40"}}')

    async with scene(tmp_path, PRICE_USD_PER_SECOND=prices("0.20")) as world:
        message = await made(world, **CHEAP)
        await world.stop()
        await world.start(PRICE_USD_PER_SECOND=prices("0.30"))
        again = await world.press(message, "Again · $0.80")
        question = await world.answer_to(again)
        assert "Make this for $1.20?" in question["content"]
        assert len(orders(world)) == 1
        await world.press(question, "Make it · $1.20")
        await world.until("SELECT 1 FROM run WHERE price_u = 1200000 AND delivery = 'delivered'")
        await world.stop()
        await world.start(PRICE_USD_PER_SECOND=prices("0.15"))
        await world.press(world.posts()[0], "Again · $0.80", member="Dana")
        await world.until("SELECT 1 FROM run WHERE price_u = 600000 AND delivery = 'delivered'")


# The form


async def test_the_form_has_all_nine_options_with_prices_and_makes_what_it_says(world: Scene) -> None:
    message = await made(world, seed=7, negative_prompt="people", **CHEAP)
    opened = await world.press(message, "Change")
    form = await world.modal_of(opened)
    assert form["title"] == "Change your video"
    parts = {each["component"]["custom_id"]: each["component"] for each in form["components"]}
    assert list(parts) == ["prompt", "negative_prompt", "film", "shape", "seed"]
    assert (parts["prompt"]["value"], parts["negative_prompt"]["value"]) == (FOX, "people")
    assert not parts["seed"].get("value"), "another take has another seed"
    films = {each["label"]: each for each in parts["film"]["options"]}
    assert len(films) == 18
    assert [label for label, each in films.items() if each.get("default")] == ["4 s · 720p · no sound"]
    assert films["8 s · 4k · with sound"]["description"] == "$4.80"
    assert len(parts["shape"]["options"]) == 24
    sent = await world.submit(
        opened,
        prompt="a blue fox",
        negative_prompt="",
        film=films["6 s · 1080p · with sound"]["value"],
        shape=next(each["value"] for each in parts["shape"]["options"] if "9:16" in each["label"]),
        seed="-5",
    )
    await world.card(sent, "in the channel")
    assert orders(world)[1] == {
        "prompt": "a blue fox",
        "duration": "6s",
        "resolution": "1080p",
        "aspect_ratio": "9:16",
        "generate_audio": True,
        "auto_fix": True,
        "safety_tolerance": "1",
        "seed": -5,
    }


async def test_same_seed_opens_the_form_with_it_and_what_is_untouched_stays(world: Scene) -> None:
    message = await made(world, seed=7, aspect_ratio="9:16", safety_tolerance="2", auto_fix=False, **CHEAP)
    sent = await world.submit(await world.press(message, "Same seed"), prompt="a blue fox")
    await world.card(sent, "in the channel")
    first, second = orders(world)
    assert second == first | {"prompt": "a blue fox"}


async def test_each_opening_is_a_form_of_its_own_and_works_after_a_restart(world: Scene) -> None:
    message = await made(world, **CHEAP)
    first, second = [await world.press(message, "Change") for _ in range(2)]
    names = [(await world.modal_of(each))["custom_id"] for each in (first, second)]
    assert len(set(names)) == 2
    await world.kill()
    await world.start()
    await world.card(await world.submit(second, prompt="a blue fox"), "in the channel")
    assert orders(world)[1]["prompt"] == "a blue fox"


async def test_a_form_that_is_refused_loses_nothing(world: Scene) -> None:
    """A seed that is none is said; the next form has all that was typed, and the price is asked above the threshold."""
    message = await made(world, **CHEAP)
    sent = await world.submit(await world.press(message, "Change"), prompt="a blue fox", seed="lucky")
    refused = await world.answer_to(sent)
    assert "“lucky” isn't a seed" in refused["content"]
    assert "> a blue fox" in refused["content"]
    opened = await world.press(refused, "Change")
    form = await world.modal_of(opened)
    films = {each["label"]: each["value"] for each in form["components"][2]["component"]["options"]}
    again = await world.submit(opened, film=films["8 s · 4k · with sound"], seed="12")
    question = read(await again.wait(lambda each: "Make this for $4.80?" in read(each)["content"]))
    await world.press(question, "Make it")
    await world.until("SELECT 1 FROM run WHERE price_u = 4800000 AND delivery = 'delivered'")
    assert (orders(world)[1]["prompt"], orders(world)[1]["seed"]) == ("a blue fox", 12)


# Where there is no video


@pytest.mark.parametrize(
    ("marker", "says", "offers"),
    [
        ("empty", "usually a content filter", ["Without sound · $1.60", "Change", "Receipt"]),
        ("failed", "couldn't be made", ["Try again · $3.20", "Change", "Receipt"]),
        ("cancelled", "cancelled at Veo", ["Try again · $3.20", "Change", "Receipt"]),
        ("policy", "content rules said no", ["Change", "Receipt"]),
        ("nsfw", "flagged", ["Change", "Receipt"]),
    ],
)
async def test_an_end_without_a_video_is_one_line_for_all_and_the_rest_for_those_whom_it_concerns(
    world: Scene, marker: str, says: str, offers: list[str]
) -> None:
    used = await world.veo(f"{FOX} [{marker}]")
    post = await world.end_of(used)
    assert post["content"] == f"<@{world.member().id}>, your video couldn't be made."
    assert labels_of(post) == ["Details"]
    card = await used.wait(lambda each: "harged" in status_of(each))
    assert says in status_of(card)
    assert labels_of(card) == offers
    for member in ("Bo", "Ada"):  # its member, and who manages the server
        told = read(
            await (await world.press(post, "Details", member=member)).wait(lambda each: bool(each["components"]))
        )
        assert told["flags"] & 64
        assert says in told["content"]
        assert "harged" in told["content"]
        assert labels_of(told) == (offers if member == "Bo" else [])
    assert "Only the member" in (await world.answer_to(await world.press(post, "Details", member="Dana")))["content"]


async def test_a_card_stays_that_of_the_new_video_when_the_old_one_is_told_late(world: Scene) -> None:
    posting = rf"/channels/{world.channel.id}/messages"
    world.discord.fault("POST", posting, status=503)
    world.discord.fault("POST", posting, only_delay=True, delay_s=1.5)
    card = await (await world.veo(f"{FOX} [failed]")).wait(lambda each: "harged" in status_of(each))
    world.runflow.switches.run_s = 60.0
    again = await world.press(card, "Try again")
    await again.wait(lambda each: "Making" in status_of(each))
    assert again.message is not None
    assert again.message["id"] == card["id"]
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered' AND delivery_tries = 2 AND reply_to IS NULL")
    assert await world.told("veo-quota", by="Bo")
    assert "Making" in status_of(again.message)


async def test_without_sound_after_an_audio_filter(world: Scene) -> None:
    used = await world.veo(f"{FOX} [empty]")
    await world.end_of(used)
    card = await used.wait(lambda each: "harged" in status_of(each))
    await world.press(card, "Without sound")
    await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM run WHERE delivery = 'delivered') WHERE n = 2")
    assert [each["generate_audio"] for each in orders(world)] == [True, False]


# Refusals, and words that are kept


async def test_a_refusal_offers_the_nearest_that_fits_and_keeps_the_prompt(tmp_path: Path) -> None:
    long = f"{FOX}, {'very ' * 80}slowly"
    async with scene(tmp_path, QUOTA_USER_USD="3.00") as world:
        used = await world.veo(long)
        refused = await world.answer_to(used)
        assert labels_of(refused) == [
            "6 s · $2.40", "No sound · $1.60", "4 s · $1.60", "Change", "Show my prompt",
        ]  # fmt: skip
        whole = await (await world.press(refused, "Show my prompt")).wait(lambda each: bool(each["attachments"]))
        async with aiohttp.ClientSession() as session, session.get(whole["attachments"][0]["url"]) as reply:
            assert await reply.text() == long
        await world.press(refused, "6 s · $2.40")
        await world.until("SELECT 1 FROM run WHERE price_u = 2400000 AND delivery = 'delivered'")
        assert orders(world)[0]["prompt"] == long


async def test_words_are_there_for_a_day_after_a_no_and_after_the_time_to_answer(world: Scene) -> None:
    declined = await world.veo(FOX, resolution="4k")
    await world.press(await world.answer_to(declined), "Not now")
    kept = read(await declined.wait(lambda each: "Okay, not made." in read(each)["content"]))
    assert labels_of(kept) == ["Make it · $4.80", "Change"]
    await world.press(kept, "Make it · $4.80")  # says what it costs, so it asks nothing
    await world.until("SELECT 1 FROM run WHERE price_u = 4800000 AND delivery = 'delivered'")
    expired = await world.veo(FOX, resolution="4k")
    question = await world.answer_to(expired)
    await world.stop()
    world.change("UPDATE offer SET expires_at = expires_at - 3600 WHERE state = 'open'")
    await world.start()
    await world.press(question, "Make it")
    late = read(await expired.wait(lambda each: "expired. Nothing was charged" in read(each)["content"]))
    assert len(orders(world)) == 1
    form = await world.modal_of(await world.press(late, "Change"))
    assert form["components"][0]["component"]["value"] == FOX
    await world.stop()
    world.change("UPDATE offer SET expires_at = expires_at - 172800")
    await world.start()
    await world.press(late, "Make it")
    await world.whispered("Bo", "more than a day ago")
    await world.veo(FOX, resolution="4k")
    await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM offer) WHERE n = 1")


# Delete, and names of other versions


async def test_its_member_or_a_moderator_deletes_a_message_and_nobody_else(world: Scene) -> None:
    message = await made(world, **CHEAP)
    told = await world.answer_to(await world.press(message, "Delete", member="Dana"))
    assert "Only the member who made a video" in told["content"]
    assert message["id"] in world.seen()
    assert "/veo-show" in (await world.answer_to(await world.press(message, "Delete")))["content"]
    assert message["id"] not in world.seen()
    shown = await world.shown(run=notice_of(message)[0])  # type: ignore[index] # it is a result
    assert shown["attachments"]
    other = await made(world, **CHEAP)
    await world.answer_to(await world.press(other, "Delete", member="Ada"))
    assert other["id"] not in world.seen()
    assert len(orders(world)) == 2


async def test_a_message_is_deleted_only_once_it_is_known_to_stand(world: Scene) -> None:
    """While the bot looks for a message whose answer was lost, it would miss one that is gone, and post it again."""
    posting = rf"/channels/{world.channel.id}/messages"
    world.discord.fault("POST", posting, cut="after")
    world.discord.fault("GET", posting, only_delay=True, delay_s=2.0)
    message = await world.end_of(await world.veo(FOX, **CHEAP))
    await asyncio.gather(*(world.press(message, "Delete", member=member) for member in ("Bo", "Ada")))
    for member in ("Bo", "Ada"):
        await world.whispered(member, "I'm still posting it. Try again in a minute.")
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered' AND delivery_tries = 2")
    assert "/veo-show" in (await world.answer_to(await world.press(message, "Delete")))["content"]
    assert world.posts() == []


@pytest.mark.parametrize("custom_id", ["veo:remix3:abc", "veo:again:nosuchrun:800000", "veo:make:none:0:1", "veo:yes"])
async def test_names_of_no_button_of_this_version_get_a_sentence(world: Scene, custom_id: str) -> None:
    await world.press(await world.forge(("Old", custom_id)), "Old")
    await world.whispered("Bo", "/veo")
    assert orders(world) == []


# Messages of the version before


async def test_buttons_of_the_version_before_still_work(tmp_path: Path) -> None:
    """A question and a result as that version posted them: pressed now, they do what they say."""
    async with scene(tmp_path, QUOTA_USER_USD="20.00") as world:
        asked = await world.veo(FOX, resolution="4k")
        await world.answer_to(asked)
        await made(world, **CHEAP)
        (offer,) = world.rows("SELECT offer_id FROM offer")
        (run,) = world.rows("SELECT run_id FROM run")
        said = {"title": "Make this for $4.80?", "description": f"> `{FOX}`", "color": 15844367}
        yes, no = f"veo:yes:{offer['offer_id']}:0", f"veo:no:{offer['offer_id']}"
        question = await world.forge(("Make it · $4.80", yes), ("Not now", no), content="", embeds=[said])
        content = f"<@1>, here's your video!\n> `{FOX}`\n-# Video `{run['run_id']}`"
        result = await world.forge(("Receipt", f"veo:receipt:{run['run_id']}"), content=content)
        receipt = await world.answer_to(await world.press(result, "Receipt"))
        assert "$0.80 charged, as quoted" in receipt["content"]
        await world.press(question, "Make it")
        await world.until("SELECT 1 FROM run WHERE price_u = 4800000 AND delivery = 'delivered'")
        shown = await world.discord.wait_message(world.channel, lambda each: "### Done" in read(each)["content"])
        assert (shown["content"], shown["embeds"]) == ("", [])


async def test_an_approved_request_is_told_on_the_card_of_the_request_and_a_denied_one_too(tmp_path: Path) -> None:
    """While the card can be edited, it says how the video goes, or that an admin said no; nobody else reads that."""
    async with scene(tmp_path, QUOTA_USER_USD="0.80") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        general = world.discord.world.channel("general")
        for label, said in (("Approve", "in the channel"), ("Deny", "An admin said no to this video")):
            used = await world.veo(FOX)
            await world.press(await world.answer_to(used), "Ask an admin")
            request = await world.discord.wait_message(general, lambda each: "Deny" in labels_of(each))
            await world.press(request, label, member="Ada")
            await used.wait(lambda each, said=said: said in read(each)["content"])  # type: ignore[misc] # see PEP 484
        assert all("said no" not in each["content"] for each in world.discord.messages(world.channel))


# Questions that are answered elsewhere, later, or twice


async def test_a_question_is_answered_where_its_limits_hold(tmp_path: Path) -> None:
    """Of another server it is not even listed; a press of it there, however it came about, starts nothing."""
    async with scene(tmp_path, DISCORD_SERVERS="*") as world:
        await world.answer_to(await world.veo(FOX, member="Dana", resolution="4k"))
        (offer,) = world.rows("SELECT offer_id FROM offer")
        quota = await world.answer_to(await world.use("veo-quota", by="Dana", place="lobby"))
        assert "Open" not in labels_of(quota)
        names = [(verb, f"veo:{verb}:{offer['offer_id']}:0") for verb in ("yes", "ask")]
        stray = await world.forge(*names, place="lobby")
        for verb, _ in names:
            await world.press(stray, verb, member="Dana")
            await world.whispered("Dana", "belongs to another server", "lobby")
        assert orders(world) == []


async def test_a_price_that_rises_before_the_yes_is_asked_about_again(tmp_path: Path) -> None:
    """What a question or a request said is not what it costs by now: nothing is held, and an approval is refused."""
    rows = '{{"720p": {0}, "1080p": {0}, "4k": {0}}}'
    async with scene(tmp_path, QUOTA_CONFIRM_ABOVE_USD="0.50", QUOTA_USER_USD="1.00") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        used = await world.veo(FOX, **CHEAP)
        question = await world.answer_to(used)
        over = await world.veo(FOX, member="Cem")
        await world.press(await world.answer_to(over), "Ask an admin", member="Cem")
        general = world.discord.world.channel("general")
        asked = await world.discord.wait_message(general, lambda each: "Deny" in labels_of(each))
        await world.stop()
        await world.start(PRICE_USD_PER_SECOND=rows.format('{"silent": "0.25", "audio": "0.50"}'))
        await world.press(question, "Make it · $0.80")
        again = read(await used.wait(lambda each: "Make this for $1.00?" in read(each)["content"]))
        await world.press(asked, "Approve", member="Ada")
        await world.whispered("Ada", "That video costs $4.00 by now.", "general")
        assert orders(world) == []
        await world.press(again, "Make it · $1.00")
        await world.until("SELECT 1 FROM run WHERE price_u = 1000000 AND delivery = 'delivered'")
        assert len(orders(world)) == 1


async def test_a_form_is_sent_once_for_each_opening(world: Scene) -> None:
    """Also where a client shows it as failed and lets it be sent again."""
    opened = await world.press(await made(world, **CHEAP), "Change")
    form = await world.modal_of(opened)
    first = await world.discord.submit(opened, {"prompt": "a blue fox"})
    opened.modal = form  # as a client that shows it again
    second = await world.discord.submit(opened, {"prompt": "a blue fox"})
    told = [read(await each.wait(lambda shown: bool(read(shown)["content"])))["content"] for each in (first, second)]
    [refused] = [each for each in told if "That form was already sent" in each]
    assert "> a blue fox" in refused, "a client that sends it again may have shown it as failed"
    await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM run WHERE delivery = 'delivered') WHERE n = 2")
    assert [each["prompt"] for each in orders(world)] == [FOX, "a blue fox"]


async def test_what_was_declined_or_denied_is_found_in_the_quota_until_it_is_made(tmp_path: Path) -> None:
    """Its card is gone with the next reload of the client; the words are not."""
    async with scene(tmp_path, QUOTA_USER_USD="0.80") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        used = await world.veo(FOX)
        await world.press(await world.answer_to(used), "Ask an admin")
        general = world.discord.world.channel("general")
        asked = await world.discord.wait_message(general, lambda each: "Deny" in labels_of(each))
        await world.press(asked, "Deny", member="Ada")
        await used.wait(lambda each: "said no" in read(each)["content"])
        await world.kill()
        await world.start()
        quota = await world.answer_to(await world.use("veo-quota", by="Bo"))
        assert f"“{FOX}” wasn't made. I keep it for a day." in quota["content"]
        kept = await world.answer_to(await world.press(quota, "Open"))
        assert f"> {FOX}" in kept["content"]
        form = await world.modal_of(await world.press(kept, "Change"))
        assert form["components"][0]["component"]["value"] == FOX
        refused = await world.answer_to(await world.veo("a blue fox"))
        await world.press(refused, labels_of(refused)[0])
        await world.until("SELECT 1 FROM run WHERE price_u = 800000 AND delivery = 'delivered'")
        listed = await world.answer_to(await world.use("veo-quota", by="Bo"))
        assert "a blue fox" not in listed["content"]


async def test_a_video_that_is_shown_elsewhere_can_be_made_anew_there(tmp_path: Path) -> None:
    """By anybody who sees it, on their own limit; one whose words Discord refused, by its member alone."""
    async with scene(tmp_path, DISCORD_SERVERS="*") as world:
        message = await world.end_of(await world.veo(FOX, member="Dana", **CHEAP))
        run_id = notice_of(message)[0]  # type: ignore[index] # it is a result
        shown = await world.shown(by="Dana", place="lobby", run=run_id)
        again = await world.press(shown, "Again", member="Eli")
        await world.card(again, "Your own version")
        await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM run WHERE delivery = 'delivered') WHERE n = 2")
        await world.stop()
        world.change("UPDATE run SET plain = 1")
        await world.start()
        await world.press(message, "Again")
        await world.whispered("Bo", "can't make another from that video")


async def test_a_question_that_was_answered_on_its_copy_says_so(world: Scene) -> None:
    """The first press counts; the buttons of the other card do nothing, and say that."""
    used = await world.veo(FOX, resolution="4k")
    question = await world.answer_to(used)
    quota = await world.answer_to(await world.use("veo-quota", by="Bo"))
    copy = await world.answer_to(await world.press(quota, "Open"))
    await world.press(copy, "Make it")
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
    await world.press(question, "Not now")
    await used.wait(lambda each: "already answered" in read(each)["content"])
    assert len(orders(world)) == 1
