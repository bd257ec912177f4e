"""Prices that are asked about, requests to admins, receipts: every button, over TCP, also after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.harness import WAIT_S, Json, Scene, labels_of, read, scene, status_of

FOX = "a red fox in falling snow"
DEAR = {"resolution": "4k"}  # $4.80


def told_in(world: Scene, channel: str, text: str) -> list[Json]:
    return [each for each in world.discord.messages(world.discord.world.channel(channel)) if text in each["content"]]


async def test_a_dear_wish_is_asked_about_first_and_offers_what_is_cheaper(world: Scene) -> None:
    """Above the threshold nothing is held until the caller agrees; then exactly the quote is."""
    interaction = await world.veo(FOX, **DEAR)
    question = await world.answer_to(interaction)
    assert question["flags"] & 64
    title, quote, asked, expires = question["content"].split("\n")
    assert (title, quote) == ("### Make this for $4.80?", f"> {FOX}")
    assert asked == "8 s · 4k · $100.00 left this month"
    assert expires.startswith("Expires <t:")
    cheaper = ["No sound · $3.20", "1080p · $3.20", "6 s · $3.60"]
    assert labels_of(question) == ["Make it · $4.80", *cheaper, "Change", "Not now"]
    assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": 0}]
    assert world.runflow.runs == {}
    await world.press(question, "Make it")
    message = await world.end_of(interaction)
    assert len(message["attachments"]) == 1
    card = await interaction.wait(lambda each: "in the channel" in status_of(each))
    assert labels_of(card) == []
    assert world.rows("SELECT price_u FROM run") == [{"price_u": 4_800_000}]


async def test_whoever_waits_in_line_sees_their_place_and_can_cancel_for_nothing(tmp_path: Path) -> None:
    """Nobody else hears of it, those behind move up, and once a video is being made it is too late."""
    async with scene(tmp_path, runflow={"end": "never"}, RUNS_IN_FLIGHT_TOTAL="1") as world:
        await world.veo("first")
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        second, third = await world.veo("second"), await world.veo("third", member="Cem")
        assert "Expected to start <t:" in await world.card(second, "In line · 2nd")  # Bo has one under way, Cem none
        assert "usually ready by <t:" in await world.card(third, "In line · 1st")
        waiting = await third.wait(lambda each: "1st" in status_of(each))
        assert labels_of(waiting) == ["Cancel"]
        await asyncio.gather(*(world.press(waiting, "Cancel", member="Cem") for _ in range(2)))
        card = await third.wait(lambda each: "Cancelled" in status_of(each))
        assert status_of(card) == (
            "Cancelled\nYou cancelled it before it was made.\nNothing was charged · $100.00 left this month"
        )
        assert "Cancel" not in labels_of(card)
        assert "Expected to start" in await world.card(second, "In line · 1st")
        moved_up = await second.wait(lambda each: "1st" in status_of(each))
        world.discord.fault("PATCH", r"/webhooks/.+", status=404, code=10008, times=10**6)  # its card stays as it is
        (job,) = world.runflow.runs
        await world.runflow.finish(job, end="succeeded")
        await world.until("SELECT 1 FROM run WHERE state = 'running' AND posts = 1 AND request LIKE '%second%'")
        await world.press(moved_up, "Cancel")
        await world.whispered("Bo", "It's already being made, so I can't cancel it.")
        ended = world.rows("SELECT state, cost_u FROM run WHERE member_name = 'Cem'")
        assert ended == [{"state": "cancelled", "cost_u": 0}]
        assert not told_in(world, "video-lab", "third")
        (held,) = world.rows("SELECT held_u FROM budget WHERE scope LIKE 'member:%' ORDER BY held_u LIMIT 1")
        assert held == {"held_u": 0}


async def last_edit(world: Scene, token: str, *, is_answered: bool) -> None:
    """Wait until the latest edit of this interaction's card is on its way, or has arrived."""

    def status() -> int | None:
        return [each.status for each in world.discord.requests if token in each.path][-1]

    async with asyncio.timeout(WAIT_S):
        while is_answered == (status() is None):  # noqa: ASYNC110 - the bot sends it, and the sandbox answers
            await asyncio.sleep(0.01)


async def test_a_cancelled_card_is_not_put_in_line_again_by_an_edit_that_was_under_way(tmp_path: Path) -> None:
    async with scene(tmp_path, runflow={"end": "never"}, RUNS_IN_FLIGHT_TOTAL="1") as world:
        await world.veo("first")
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        ahead, mine = await world.veo("second", member="Cem"), await world.veo("third")
        card = await mine.wait(lambda each: "2nd" in status_of(each))
        world.discord.fault("PATCH", rf"/webhooks/.+{mine.token}/.+", only_delay=True, delay_s=1.0)
        await world.press(await ahead.wait(lambda each: "1st" in status_of(each)), "Cancel", member="Cem")
        await last_edit(world, mine.token, is_answered=False)
        await world.press(card, "Cancel")
        await last_edit(world, mine.token, is_answered=True)
        await mine.wait(lambda each: "Cancelled" in status_of(each))


async def test_a_cheaper_setting_is_filmed_at_its_own_price(world: Scene) -> None:
    """The button that says 6 s for $3.60 films six seconds and holds that."""
    interaction = await world.veo(FOX, **DEAR)
    await world.press(await world.answer_to(interaction), "6 s · $3.60")
    await world.end_of(interaction)
    (run,) = world.runflow.runs.values()
    assert (run.input["duration"], run.input["resolution"]) == ("6s", "4k")
    assert world.rows("SELECT price_u FROM run") == [{"price_u": 3_600_000}]


async def test_a_yes_is_good_once_for_its_owner_and_survives_a_restart(world: Scene) -> None:
    """Pressed after a restart, twice, it makes one run; nobody else sees the question at all."""
    interaction = await world.veo(FOX, **DEAR)
    question = await world.answer_to(interaction)
    await world.kill()
    await world.start()
    first, second = await asyncio.gather(world.press(question, "Make it"), world.press(question, "6 s · $3.60"))
    assert first.acknowledged_after_s is not None
    assert second.acknowledged_after_s is not None
    await world.end_of(interaction)
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
    assert len(world.runflow.runs) == 1
    assert len(world.posts()) == 1


async def test_a_yes_that_comes_too_late_costs_nothing(world: Scene) -> None:
    """After some minutes the price is to be asked for again."""
    interaction = await world.veo(FOX, **DEAR)
    question = await world.answer_to(interaction)
    await world.stop()
    world.change("UPDATE offer SET expires_at = unixepoch() - 1")
    await world.start()
    await world.press(question, "Make it")
    answer = await interaction.wait(lambda each: "question has expired" in read(each)["content"])
    assert read(answer)["content"] == f"### That question has expired. Nothing was charged.\n> {FOX}"
    assert world.rows("SELECT * FROM run") == []


async def test_no_means_no(world: Scene) -> None:
    """Not now: the question goes, and nothing was held."""
    interaction = await world.veo(FOX, **DEAR)
    await world.press(await world.answer_to(interaction), "Not now")
    answer = await interaction.wait(lambda each: "Okay" in read(each)["content"])
    assert read(answer)["content"] == f"### Okay, not made.\n> {FOX}"
    assert answer["embeds"] == []
    assert not {"Not now", "No sound · $3.20"} & set(labels_of(answer))
    assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": 0}]
    assert world.rows("SELECT state FROM offer") == [{"state": "withdrawn"}]
    assert world.runflow.runs == {}


async def test_who_could_not_pay_is_not_asked(tmp_path: Path) -> None:
    """A question whose yes would be refused is not put: the refusal comes at once."""
    async with scene(tmp_path, QUOTA_USER_USD="4.00") as world:
        answer = await world.answer_to(await world.veo(FOX, **DEAR))
        assert "and you have" in answer["content"]
        assert not any(each.startswith("Make it") for each in labels_of(answer))
        assert world.rows("SELECT kind, state FROM offer") == [{"kind": "draft", "state": "open"}]
        assert world.rows("SELECT * FROM run") == []


async def test_a_member_over_the_limit_asks_and_gets_exactly_that_once(tmp_path: Path) -> None:
    """The request goes to the admins' channel and says what a yes adds; Approve makes that video, once."""
    async with scene(tmp_path, QUOTA_USER_USD="4.00") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        await world.end_of(await world.veo(FOX))
        refused = await world.veo("a blue fox", aspect_ratio="9:16")
        answer = await world.answer_to(refused)
        assert labels_of(answer) == ["No sound · 4 s · $0.80", "Ask an admin", "Change"]
        await world.press(answer, "Ask an admin")
        sent = await refused.wait(lambda each: "The admins have your request" in read(each)["content"])
        assert labels_of(sent) == []
        (request,) = told_in(world, "general", "would like a video")
        assert "$3.20" in request["content"]
        assert "Adds **$2.40** to their own limit: $0.80 of $4.00 left this month." in request["content"]
        assert labels_of(request) == ["Approve +$2.40", "Deny"]
        assert "9:16" in request["content"]
        assert request["mentions"] == []
        pressed = await asyncio.gather(*(world.press(request, "Approve", member="Ada") for _ in range(3)))
        assert len(pressed) == 3
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered' AND run_id IN (SELECT run_id FROM offer)")
        assert len(world.runflow.runs) == 2
        (run,) = [each for each in world.runflow.runs.values() if each.input["prompt"] == "a blue fox"]
        assert run.input["aspect_ratio"] == "9:16"
        assert world.rows("SELECT 1 FROM ledger_entry WHERE kind = 'grant'") == []
        (decided,) = told_in(world, "general", "Approved by")
        assert decided["components"] == []
        adds = "$3.20 · adds $2.40 beyond the member's limit"
        assert f"Approved by <@{world.member('Ada').id}> · {adds}" in decided["content"]
        assert "Expires" not in decided["content"]
        assert f"approved a request of <@{world.member().id}> · {adds}" in await world.act("log")


async def test_a_request_is_answered_by_admins_alone_and_a_denial_is_told(tmp_path: Path) -> None:
    """A member's press changes nothing; Deny is told to the member alone, on the card, and nothing in the channel."""
    async with scene(tmp_path, QUOTA_USER_USD="1.00") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        refused = await world.veo(FOX)
        await world.press(await world.answer_to(refused), "Ask an admin")
        await refused.wait(lambda each: "The admins have your request" in read(each)["content"])
        (request,) = told_in(world, "general", "would like a video")
        await world.press(request, "Approve", member="Cem")
        async with asyncio.timeout(WAIT_S):
            while True:
                shown = world.discord.messages(world.discord.world.channel("general"), world.member("Cem"))
                if any("Only people who can manage this server" in each["content"] for each in shown):
                    break
                await asyncio.sleep(0.01)
        await world.press(request, "Deny", member="Ada")
        told = await refused.wait(lambda each: "An admin said no to this video" in read(each)["content"])
        assert told["flags"] & 64
        assert read(told)["content"] == f"### An admin said no to this video\n> {FOX}\nNothing was charged"
        assert labels_of(told) == ["Change"]
        assert world.seen() == []
        assert world.runflow.runs == {}
        assert world.rows("SELECT state FROM offer") == [{"state": "denied"}]


async def test_a_request_that_would_add_more_by_now_is_asked_again(tmp_path: Path) -> None:
    """The button never adds more than it says: it says so, shows the new figure, and the second press is good."""
    async with scene(tmp_path, QUOTA_USER_USD="4.00") as world:
        await world.act("requests", channel=world.discord.world.channel("general"))
        await world.end_of(await world.veo(FOX))
        await world.press(await world.answer_to(await world.veo("a blue fox")), "Ask an admin")
        request = await world.discord.wait_message(world.discord.world.channel("general"), lambda _: True)
        await world.end_of(await world.veo(FOX, duration="4s", generate_audio=False))
        await world.press(request, "Approve +$2.40", member="Ada")
        fresh = await world.discord.wait_message(
            world.discord.world.channel("general"), lambda each: labels_of(each)[:1] == ["Approve +$3.20"]
        )
        assert "Adds **$3.20** to their own limit: $0.00 of $4.00 left" in fresh["content"]
        assert len(world.runflow.runs) == 2
        await world.press(fresh, "Approve +$3.20", member="Ada")
        await world.until("SELECT 1 FROM offer WHERE state = 'taken'")


async def test_a_new_request_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """One open request a member: the older message loses its buttons; after a no none is put for an hour."""
    async with scene(tmp_path, QUOTA_USER_USD="0") as world:
        general = world.discord.world.channel("general")
        await world.act("requests", channel=general)
        for prompt in ("a red fox", "a blue fox", "a green fox"):
            await world.press(await world.answer_to(await world.veo(prompt)), "Ask an admin")
            last = await world.discord.wait_message(general, lambda each, said=prompt: said in each["content"])  # type: ignore[misc] # its default says the type
        for prompt in ("a red fox", "a blue fox"):
            old = await world.discord.wait_message(
                general,
                lambda each, said=prompt: said in each["content"] and "Replaced by a newer" in each["content"],  # type: ignore[misc] # as above
            )
            assert old["components"] == []
        await world.press(last, "Deny", member="Ada")
        await world.until("SELECT 1 FROM offer WHERE state = 'denied'")
        await world.press(await world.answer_to(await world.veo("once more")), "Ask an admin")
        await world.whispered("Bo", "An admin said no to your last request. You can ask again <t:")
        assert len(world.discord.messages(general)) == 3
        assert world.runflow.runs == {}


async def test_an_approval_that_cannot_be_carried_out_is_said_and_changes_nothing(tmp_path: Path) -> None:
    """Paused, or as many runs as allowed: the admin hears why, the request stays, and no extra is granted."""
    async with scene(tmp_path, runflow={"end": "never"}, QUOTA_USER_USD="4.00", QUOTA_RUNS_IN_FLIGHT="2") as world:
        await world.act("requests", channel=world.channel)
        await world.card(await world.veo(FOX), "In the works")
        await world.press(await world.answer_to(await world.veo("a blue fox")), "Ask an admin")
        request = await world.discord.wait_message(world.channel, lambda each: "would like a video" in each["content"])
        await world.act("pause")
        await world.press(request, "Approve", member="Ada")
        await world.whispered("Ada", "The member can't use `/veo` there right now")
        await world.act("resume")
        await world.act("limit set", runs=1, member=world.member())
        await world.press(request, "Approve", member="Ada")
        await world.whispered("Ada", "Too many videos are in the works right now")
        assert world.rows("SELECT * FROM ledger_entry WHERE kind = 'grant'") == []
        assert world.rows("SELECT state FROM offer") == [{"state": "open"}]
        await world.act("limit lift", member=world.member())
        await world.press(request, "Approve", member="Ada")
        await world.until("SELECT 1 FROM offer WHERE state = 'taken'")


async def test_where_nobody_can_say_yes_nobody_is_asked(tmp_path: Path) -> None:
    """Without a channel for requests, or over the operator's own ceiling, there is no button."""
    async with scene(tmp_path, QUOTA_USER_USD="1.00") as world:
        assert "Ask an admin" not in labels_of(await world.answer_to(await world.veo(FOX)))
        await world.stop()
        await world.start(QUOTA_USER_USD="9.00", QUOTA_GUILD_USD="2.00")
        await world.act("requests", channel=world.discord.world.channel("general"))
        answer = await world.answer_to(await world.veo(FOX))
        assert "over the limit of this server" in answer["content"]
        assert "Ask an admin" not in labels_of(answer)


async def test_the_receipt_under_a_result_is_for_its_member_and_admins(world: Scene) -> None:
    """The button tells the rule and the charge to whom it concerns; to others that it does not."""
    message = await world.end_of(await world.veo(FOX))
    assert "$" not in message["content"]
    for member in ("Bo", "Ada"):
        await world.press(message, "Receipt", member=member)
        await world.whispered(member, "$3.20 charged, as quoted\nYou pay what Runflow billed.")
    await world.press(message, "Receipt", member="Cem")
    await world.whispered("Cem", "Only the member who asked for a video")


async def test_a_flagged_video_is_charged_and_the_receipt_says_why(world: Scene) -> None:
    """The rule of the product stands in the receipt: it was made, so it was billed."""
    interaction = await world.veo(f"{FOX} [nsfw]")
    await world.press(await interaction.wait(lambda each: "Receipt" in labels_of(each)), "Receipt")
    await world.whispered(
        "Bo", "$3.20 charged, as quoted\nIt was made and billed, even though a flagged video is never shown"
    )


async def test_four_fifths_are_said_quietly(tmp_path: Path) -> None:
    """The card warns once little is left, and /veo-quota shows it."""
    async with scene(tmp_path, QUOTA_USER_USD="4.00") as world:
        interaction = await world.veo(FOX)
        card = await interaction.wait(lambda each: "in the channel" in status_of(each))
        assert status_of(card).endswith("\nYou've used $3.20 of your $4.00.")
        quota = await world.discord.invoke(world.member(), world.channel, "veo-quota", {})
        text = read(await quota.wait(lambda each: bool(each["components"])))["content"]
        assert "▰▰▰▰▰▰▰▰▱▱ **$0.80** left of $4.00 this month" in text
