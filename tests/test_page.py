"""The chat page works for a person at the keyboard, in a real browser with the real sandbox.

The file is long because every test needs the browser of its fixtures, which is started once for all of them.
"""

import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from sandbox.clock import Clock
from sandbox.discord import DiscordSandbox
from sandbox.runflow import MARKERS
from sandbox.runflow.clip import CAN_DRAW, STORED, ClipSpec, clip
from tests.page_bot import COMPONENTS_V2, EPHEMERAL, VEO, PageBot, page_bot

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000  # so slow a busy machine may be; nothing that comes is waited for so long
expect.set_options(timeout=PATIENCE_MS)
REPLY, DEFER, UPDATE, CHOICES, MODAL = 4, 5, 7, 8, 9
FORM = {
    "title": "Change this video",
    "custom_id": "change:1",
    "components": [
        {"type": 10, "content": "Nothing is charged **before** you press Submit."},
        {
            "type": 18,
            "label": "Prompt",
            "description": "What the video shows",
            "component": {"type": 4, "style": 2, "custom_id": "p", "value": "a red fox", "min_length": 3},
        },
        {
            "type": 18,
            "label": "Length",
            "component": {
                "type": 3,
                "custom_id": "length",
                "options": [{"label": f"{s} s", "value": s, "default": s == "8"} for s in ("4", "6", "8")],
            },
        },
        {
            "type": 18,
            "label": "Shape",
            "component": {
                "type": 21,
                "custom_id": "shape",
                "options": [{"label": each, "value": each, "default": each == "16:9"} for each in ("16:9", "9:16")],
            },
        },
        {"type": 18, "label": "Rephrase", "component": {"type": 23, "custom_id": "fix", "default": True}},
    ],
}
LIMIT = {
    "name": "veo-admin",
    "description": "Rules",
    "options": [
        {
            "name": "limit",
            "type": 2,
            "description": "Limits",
            "options": [
                {
                    "name": "set",
                    "type": 1,
                    "description": "Set one",
                    "options": [
                        {"name": "who", "type": 6, "description": "Whose", "required": True},
                        {"name": "where", "type": 7, "description": "Where", "channel_types": [0]},
                        {"name": "hard", "type": 5, "description": "No approvals"},
                    ],
                }
            ],
        }
    ],
}

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.asyncio(loop_scope="module"),
]


@dataclass
class Desk:
    """A browser, and a sandbox with a bot. ``faults`` collects the errors and warnings of the browser's console."""

    discord: DiscordSandbox
    clock: Clock
    bot: PageBot
    browser: Browser
    faults: list[str] = field(default_factory=list)

    async def open_page(self, who: str = "Ada", channel: str = "general", **look: Any) -> Page:
        """Open a new page as this member, and wait until it has loaded."""
        context = await self.browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | look)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        await page.goto(f"{self.discord.url}/?as={who}&channel={channel}")
        await page.locator("#intro section, #messages li >> nth=0").first.wait_for()
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    async def send(self, page: Page, line: str) -> dict[str, Any]:
        """Type a whole command line, send it, and return the interaction that the bot receives."""
        await line_of(page).fill(line)
        await page.keyboard.press("Enter")
        if " " not in line:  # so far only the command was picked
            await page.keyboard.press("Enter")
        return await self.bot.next_interaction()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests, because it starts slowly; each page has a context of its own."""
    async with async_playwright() as player:
        opened = await player.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser) -> AsyncIterator[Desk]:
    """A sandbox with a bot, and a browser for it."""
    clock = Clock()
    async with DiscordSandbox(clock=clock) as discord, page_bot(discord) as bot:
        yield Desk(discord, clock, bot, browser)
        for context in browser.contexts:
            await context.close()


def line_of(page: Page) -> Any:
    """The message field."""
    return page.get_by_role("combobox", name="Message", exact=True)


def labelled(page: Page, option: str) -> Any:
    """The field of an option."""
    return page.get_by_label(re.compile(rf"^{option}\*?$"))


def options_of(interaction: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each["value"] for each in interaction["data"].get("options", [])}


async def test_the_command_list_filters_and_works_by_keyboard(desk: Desk) -> None:
    """`/` lists the commands, typing filters them, arrows move, Enter accepts and sends, Escape cancels."""
    page = await desk.open_page()
    await page.keyboard.type("/")  # the field has the focus from the start
    shown = page.get_by_role("option")
    await expect(shown).to_contain_text(["/veo", "/veo-quota", "/veo-show", "/help"])
    await page.keyboard.type("veo")
    await expect(shown).to_have_count(3)
    await page.keyboard.press("ArrowDown")
    await expect(shown.nth(1)).to_have_attribute("aria-selected", "true")
    active = await line_of(page).get_attribute("aria-activedescendant")
    assert active == await shown.nth(1).get_attribute("id")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("form", name="/veo-quota")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(line_of(page)).to_be_focused()
    await page.keyboard.type("/veo-q")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert (await desk.bot.next_interaction())["data"]["name"] == "veo-quota"
    await expect(line_of(page)).to_be_focused()


async def test_options_are_built_from_the_registered_command_and_arrive_typed(desk: Desk) -> None:
    """Text, choices, booleans and integers have fields of their own kind and reach the bot with their types."""
    page = await desk.open_page()
    await page.keyboard.type("/veo")
    await page.keyboard.press("Enter")
    prompt = labelled(page, "prompt")
    await expect(prompt).to_be_focused()
    assert await prompt.get_attribute("maxlength") == "2000"
    await page.keyboard.type("a red fox")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("in snow")
    await expect(labelled(page, "seed")).to_have_count(0)  # optional ones start as chips
    for name in ("seed", "generate_audio", "duration"):
        await page.get_by_role("button", name=f"+ {name}").click()
    await labelled(page, "seed").fill("42")
    await labelled(page, "generate_audio").fill("False")
    await labelled(page, "duration").fill("6")
    await page.get_by_role("option", name="6s").click()
    await expect(page.locator(".option label")).to_have_text(["prompt*", "duration", "generate_audio", "seed"])
    await page.get_by_role("button", name="Send").click()
    given = options_of(await desk.bot.next_interaction())
    assert given == {"prompt": "a red fox\nin snow", "duration": "6s", "generate_audio": False, "seed": 42}
    assert type(given["generate_audio"]) is bool


async def test_a_command_line_works_as_well(desk: Desk) -> None:
    """Options are recognized by their registered names; other colons are part of the text."""
    page = await desk.open_page()
    given = options_of(await desk.send(page, "/veo prompt:a clock at 12:30, ratio:none generate_audio:true seed:7"))
    assert given == {"prompt": "a clock at 12:30, ratio:none", "generate_audio": True, "seed": 7}
    given = options_of(await desk.send(page, "/veo a red fox duration:4s"))
    assert given == {"prompt": "a red fox", "duration": "4s"}


async def test_an_invalid_option_is_explained_beside_its_field(desk: Desk) -> None:
    """An integer out of range, a wrong choice and a missing text aren't sent but explained; a corrected one is sent."""
    page = await desk.open_page()
    await line_of(page).fill("/veo prompt:a red fox seed:4294967296")
    await page.keyboard.press("Enter")
    seed = labelled(page, "seed")
    await expect(page.get_by_role("alert").filter(has_text="seed must be between 0 and 4294967295")).to_be_visible()
    await expect(seed).to_have_attribute("aria-invalid", "true")
    await expect(seed).to_be_focused()
    await seed.fill("4294967295")
    await page.keyboard.press("Enter")
    assert options_of(await desk.bot.next_interaction())["seed"] == 4294967295
    for line, sentence in {
        "/veo prompt:x seed:soon": "'soon' isn't a valid value for seed.",
        "/veo prompt:x duration:5s": "duration must be one of: 4s, 6s, 8s.",
        "/veo seed:3": "prompt is required.",
    }.items():
        await page.keyboard.press("Escape")
        await line_of(page).fill(line)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    assert desk.bot.interactions.empty()


async def test_text_without_a_command_gets_a_hint(desk: Desk) -> None:
    """The page explains that only commands work."""
    page = await desk.open_page()
    await page.keyboard.type("hello?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").filter(has_text="only commands work")).to_be_visible()


async def test_autocomplete_choices_can_be_selected(desk: Desk) -> None:
    """An autocomplete option asks the bot while the member types; the selected choice sends its value."""
    page = await desk.open_page()
    await line_of(page).fill("/veo-show run:fo")
    await page.keyboard.press("Tab")
    interaction = await desk.bot.next_interaction()
    assert interaction["type"] == 4
    assert interaction["data"]["options"][0] == {"name": "run", "type": 3, "value": "fo", "focused": True}
    await desk.bot.answer(interaction, CHOICES, {"choices": [{"name": "a red fox, today", "value": "0198"}]})
    await expect(page.get_by_role("option", name="a red fox, today")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(labelled(page, "run")).to_have_value("a red fox, today")
    await page.keyboard.press("Enter")
    assert options_of(await desk.bot.next_interaction()) == {"run": "0198"}


async def test_a_private_card_replaces_thinking_and_only_its_caller_sees_it(desk: Desk) -> None:
    """The caller of a private deferral sees "is thinking", then the card with its parts; others see nothing."""
    ada, bo = await desk.open_page("Ada"), await desk.open_page("Bo")
    interaction = await desk.send(ada, "/veo prompt:a red fox")
    await desk.bot.answer(interaction, DEFER, {"flags": EPHEMERAL})
    message = ada.locator(".message")
    await expect(message).to_contain_text(["Ada used /veo"])
    await expect(message.locator(".thinking")).to_contain_text("Veo Bot is thinking")
    embed = {
        "title": "Your video",
        "color": 0x2ECC71,
        "fields": [{"name": "Price", "value": "**$3.20**", "inline": True}],
        "footer": {"text": "Run 0198"},
    }
    await desk.bot.edit(interaction, {"embeds": [embed]})
    await expect(message.locator(".thinking")).to_have_count(0)
    await expect(message.locator(".embed h2")).to_have_text("Your video")
    await expect(message.locator(".embed dd strong")).to_have_text("$3.20")
    await desk.bot.post("general", {"content": "for all"})
    await expect(bo.locator(".message")).to_have_count(1)
    await expect(bo.locator(".message .text")).to_have_text("for all")
    await message.get_by_role("button", name="Dismiss message").click()
    await expect(message).to_have_count(1)
    await expect(message.locator(".text")).to_have_text("for all")


async def test_a_silent_bot_is_reported(desk: Desk) -> None:
    """After the deadline the caller sees the error that Discord would show, and can dismiss it."""
    page = await desk.open_page()
    await desk.send(page, "/veo-quota")
    desk.clock.advance(3.1)
    note = page.locator(".note")
    await expect(note).to_contain_text("The application did not respond")
    await note.get_by_role("button", name="Dismiss message").click()
    await expect(note).to_have_count(0)


async def test_a_button_reaches_the_bot_and_a_failed_press_is_reported(desk: Desk) -> None:
    """A press arrives with its id, the update replaces the message in place, and the focus stays."""
    page = await desk.open_page()
    buttons = [
        {"type": 2, "style": 1, "label": "Again", "custom_id": "again"},
        {"type": 2, "style": 2, "label": "Off", "custom_id": "off", "disabled": True},
    ]
    await desk.bot.post("general", {"content": "Ready", "components": [{"type": 1, "components": buttons}]})
    await expect(page.get_by_role("button", name="Off")).to_be_disabled()
    again = page.get_by_role("button", name="Again")
    await again.focus()
    await page.keyboard.press("Enter")
    interaction = await desk.bot.next_interaction()
    assert (interaction["type"], interaction["data"]["custom_id"]) == (3, "again")
    await desk.bot.answer(interaction, UPDATE, {"content": "Once more"})
    await expect(page.locator(".message .text")).to_have_text("Once more (edited)")
    await expect(again).to_be_focused()
    await again.click()
    await desk.bot.next_interaction()
    desk.clock.advance(3.1)
    await expect(page.locator(".note")).to_contain_text("This interaction failed")


async def test_a_posted_video_plays_in_place(desk: Desk) -> None:
    """An attached MP4, a link to one, and one in a gallery of components V2 play with the right aspect ratio."""
    page = await desk.open_page()
    posted = await desk.bot.post("general", {"content": "here's your video!"}, STORED)
    url = posted["attachments"][0]["url"]
    await desk.bot.post("general", {"content": f"too large to attach: {url}"})
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://clip.mp4"}}]}
    box = {"type": 17, "accent_color": 0x3498DB, "components": [{"type": 10, "content": "**Done**"}, gallery]}
    await desk.bot.post("general", {"flags": COMPONENTS_V2, "components": [box]}, STORED)
    videos = page.locator("video")
    await expect(videos).to_have_count(3)
    for number in range(3):
        video = videos.nth(number)
        assert await video.get_attribute("preload") == "metadata"
        await video.evaluate("video => { video.muted = true; return video.play(); }")
        await page.wait_for_function("n => document.querySelectorAll('video')[n].currentTime > 0.1", arg=number)
        size = await video.bounding_box()
        assert size is not None
        assert size["width"] / size["height"] == pytest.approx(16 / 9, rel=0.02)
    assert desk.faults == []


@pytest.mark.skipif(not CAN_DRAW, reason="portrait clips are drawn with PyAV")
async def test_a_portrait_video_keeps_its_shape_and_other_files_are_cards(desk: Desk, tmp_path: Path) -> None:
    """A portrait video keeps its aspect ratio and fits the window; another file is a card with its size."""
    page = await desk.open_page()
    film = tmp_path / "tall.mp4"
    film.write_bytes(clip(ClipSpec(prompt="tall", caption="", duration_s=4, portrait=True, audio=False, seed="1")))
    await desk.bot.post("general", {"content": "portrait"}, film)
    player = page.locator("video")
    await expect(player).to_have_count(1)
    size = await player.bounding_box()
    assert size is not None
    assert size["height"] <= 401
    assert size["width"] / size["height"] == pytest.approx(9 / 16, rel=0.02)
    notes = tmp_path / "notes.txt"
    notes.write_bytes(b"x" * 2048)
    await desk.bot.post("general", {"content": "notes"}, notes)
    await expect(page.locator(".file")).to_contain_text(["notes.txt2 KB"])


async def test_a_card_of_components_is_drawn_and_works(desk: Desk) -> None:
    """Containers, sections, galleries, files, spoilers, buttons and menus show, and what is chosen reaches the bot."""
    page = await desk.open_page()
    target = desk.discord.say(desk.discord.world.member("Ada"), desk.discord.world.channel("general"), "jump here")
    place = f"https://discord.com/channels/{desk.discord.world.servers[0].id}/{target['channel_id']}/{target['id']}"
    options = [{"label": f"Fox {number}", "value": str(number)} for number in range(3)]
    card = {
        "type": 17,
        "accent_color": 0x3498DB,
        "components": [
            {"type": 10, "content": f"### In line\n> <@{desk.discord.world.owner.id}> **fox**\n-# by <t:0:d>"},
            {
                "type": 9,
                "components": [{"type": 10, "content": "Sooner?"}],
                "accessory": {"type": 2, "style": 2, "label": "Draft", "custom_id": "draft"},
            },
            {"type": 14, "divider": True, "spacing": 2},
            {
                "type": 12,
                "items": [{"media": {"url": "attachment://clip.mp4"}, "description": "A fox", "spoiler": True}],
            },
            {"type": 1, "components": [{"type": 2, "style": 5, "label": "Open", "url": place}]},
            {"type": 1, "components": [{"type": 3, "custom_id": "pick", "placeholder": "Again…", "options": options}]},
        ],
    }
    await desk.bot.post("general", {"flags": COMPONENTS_V2, "components": [card]}, STORED)
    described = {
        "attachments": [{"id": 0, "description": "A chart"}],
        "embeds": [{"image": {"url": "attachment://clip.mp4"}}],
    }
    await desk.bot.post("general", described, STORED)
    await expect(page.get_by_role("img", name="A chart")).to_have_count(1)
    box = page.locator(".container")
    await expect(box).to_have_css("border-left-color", "rgb(52, 152, 219)")
    await expect(box.get_by_role("heading", name="In line")).to_be_visible()
    await expect(box.locator("blockquote .mention.mine")).to_have_text("@Ada")
    await box.get_by_role("button", name="Spoiler").click()
    await expect(box.get_by_label("A fox")).to_be_visible()
    await box.get_by_role("button", name="Draft").click()
    interaction = await desk.bot.next_interaction()
    assert interaction["data"]["custom_id"] == "draft"
    await desk.bot.answer(interaction, REPLY, {"content": "A draft, then"})
    await expect(page.locator(".origin .preview")).to_have_text("In line fox by Sooner?")  # a reply to the card
    menu = box.get_by_role("combobox", name="Again…")
    await menu.focus()
    for key in ("ArrowDown", "ArrowDown", "Escape", "Enter", "ArrowDown"):
        await page.keyboard.press(key)
    assert desk.bot.interactions.empty()  # moving and closing choose nothing
    await page.keyboard.press("Enter")
    assert (await desk.bot.next_interaction())["data"]["values"] == ["1"]
    await expect(menu).to_have_text("Fox 1")
    await box.get_by_role("link", name="Open").click()
    await expect(page.locator(".message.found")).to_contain_text("jump here")
    assert desk.faults == []


async def test_a_form_keeps_what_was_entered_until_the_bot_has_it(desk: Desk) -> None:
    """Presets show and come back, refused values and a silent bot leave it open, Escape closes first lists, then it."""
    await desk.bot.register(VEO, {"name": "Use as prompt", "type": 3})
    page, elsewhere = await desk.open_page(), await desk.open_page()
    await desk.bot.post("general", {"content": "a cat"})
    form = page.get_by_role("dialog", name="Change this video")
    await page.locator(".message").click(button="right")
    await page.get_by_role("menuitem", name="Use as prompt").click()
    asked = await desk.bot.next_interaction()
    assert asked["data"]["resolved"]["messages"][asked["data"]["target_id"]]["content"] == "a cat"
    await desk.bot.answer(asked, MODAL, FORM)
    prompt = form.get_by_label("Prompt")
    await expect(prompt).to_be_focused()
    await expect(form.locator(".counter")).to_have_text("9/4000")
    await expect(form.get_by_role("combobox", name="Length")).to_have_text("8 s")
    await prompt.fill("a")
    await form.get_by_role("button", name="Submit").click()
    await expect(form.get_by_role("alert").filter(has_text="Prompt takes 3 to 4000 characters.")).to_be_visible()
    await prompt.fill("a dog")
    await form.get_by_role("combobox", name="Length").press("ArrowUp")
    await page.keyboard.press("Escape")
    await expect(form.get_by_role("option")).to_have_count(0)
    await form.get_by_label("9:16").check()
    await form.get_by_role("button", name="Submit").click()
    await desk.bot.next_interaction()
    desk.clock.advance(3.1)
    await expect(form.get_by_role("alert").filter(has_text="Something went wrong. Try again.")).to_be_visible()
    await form.get_by_role("button", name="Submit").click()
    sent = await desk.bot.next_interaction()
    given = [part["component"].get("value", part["component"].get("values")) for part in sent["data"]["components"][1:]]
    assert given == ["a dog", ["8"], "9:16", True]
    await desk.bot.answer(sent, REPLY, {"content": "Changed", "flags": EPHEMERAL})
    await expect(form).to_have_count(0)
    await page.locator(".message").first.hover()
    await page.get_by_role("button", name="Message actions").first.click()
    await page.keyboard.press("Enter")
    await desk.bot.answer(await desk.bot.next_interaction(), MODAL, FORM)
    await expect(form).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(form).to_have_count(0)
    await expect(elsewhere.get_by_role("dialog")).to_have_count(0)  # a form opens only where it was asked for
    assert desk.bot.interactions.empty()


async def test_enter_in_a_list_picks_and_never_sends(desk: Desk) -> None:
    """Nothing is chosen at first, only channels of the right kind are offered, and the whole command is named."""
    await desk.bot.register(LIMIT)
    page = await desk.open_page()
    await page.keyboard.type("/veo-admin")
    await page.keyboard.press("Enter")
    who, shown = labelled(page, "who"), page.get_by_role("option")
    await expect(who).to_have_value("")
    await expect(shown).to_have_text(["@Veo Bot", "@Ada", "@Bo", "@Cem", "@Dana"])
    await page.keyboard.type("bo")
    await expect(shown).to_have_text(["@Bo", "@Veo Bot"])
    await page.keyboard.press("Enter")
    await expect(who).to_have_value("@Bo")
    await page.keyboard.type("whe")
    await page.keyboard.press("Enter")
    await expect(shown).to_have_text(["#general", "#video-lab", "#read-only", "#no-files"])  # no threads
    await page.keyboard.press("Escape")
    await page.keyboard.press("Enter")
    await expect(shown).to_have_count(4)
    await page.keyboard.type("lab")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="+ hard").click()
    await expect(labelled(page, "hard")).to_have_value("")
    await page.get_by_role("button", name="Remove hard").click()
    assert desk.bot.interactions.empty()
    await page.keyboard.press("Enter")  # behind the last pill
    interaction = await desk.bot.next_interaction()
    given = options_of({"data": interaction["data"]["options"][0]["options"][0]})
    world = desk.discord.world
    assert given == {"who": world.member("Bo").id, "where": world.channel("video-lab").id}
    await desk.bot.answer(interaction, DEFER)
    await desk.bot.edit(interaction, {"content": "Done"})
    await page.reload()
    await expect(page.locator(".origin")).to_have_text("AAda used /veo-admin limit set")
    await expect(page.locator(".message .text")).to_have_text("Done")  # the first edit isn't one


async def test_older_messages_load_and_addresses_of_messages_are_followed(desk: Desk) -> None:
    """Messages load page by page; an address leads to its message in any channel; a wrong name or address says so."""
    world = desk.discord.world
    general = world.channel("general")
    first, *_ = [desk.discord.say(world.member("Ada"), general, f"number {number}") for number in range(60)]
    page = await desk.open_page(channel="video-lab")
    address = f"https://discord.com/channels/{general.guild_id}/{general.id}"
    await desk.bot.post("video-lab", {"content": f"see {address}/{first['id']} and {address}/1"})
    await page.get_by_role("link", name="#general › message").first.click()
    await expect(page.locator(".message.found")).to_have_text(re.compile("number 0"))
    await expect(page.locator(".message")).to_have_count(60)
    await page.get_by_role("button", name="video-lab").click()
    await page.get_by_role("link", name="#general › message").last.click()
    await expect(page.locator("#notice")).to_have_text("That message doesn't exist any more.")
    await page.goto(f"{desk.discord.url}/?as=Zed&channel=general")
    await expect(page.locator("#notice")).to_have_text("There's no member called “Zed” here. You're chatting as Ada.")
    await expect(page.locator(".message")).to_have_count(50)
    await page.get_by_role("button", name="Load older messages").click()
    await expect(page.locator(".message")).to_have_count(60)


async def test_hostile_messages_stay_text(desk: Desk) -> None:
    """HTML in a message is shown as typed and never runs; only the markdown of chat clients is rendered."""
    page = await desk.open_page()
    hostile = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script>"
    embed = {"title": hostile, "url": "javascript:document.title='owned'", "description": hostile}
    body = {
        "content": f"{hostile} [x](javascript:alert(1)) **bold** `<b>code</b>` https://[ \\*plain\\*",
        "embeds": [embed],
    }
    await desk.bot.post("general", body)
    menu = {"type": 3, "custom_id": hostile, "placeholder": hostile, "options": [{"label": hostile, "value": "x"}]}
    press = {"type": 2, "style": 1, "label": hostile[:80], "custom_id": "x"}
    rows = [{"type": 1, "components": [each]} for each in (menu, press)]
    box = {"type": 17, "components": [{"type": 10, "content": f"# {hostile}"}, *rows]}
    await desk.bot.post("general", {"flags": COMPONENTS_V2, "components": [box]})
    await page.get_by_role("combobox", name=hostile).click()
    await expect(page.get_by_role("option", name=hostile)).to_be_visible()
    text = page.locator(".message .text").first
    await expect(text).to_contain_text(hostile)
    await expect(text).to_contain_text("[x](javascript:alert(1)) bold <b>code</b> https://[ *plain*")
    await expect(text.locator("strong")).to_have_text("bold")
    await expect(text.locator("code")).to_have_text("<b>code</b>")
    await expect(page.locator(".message :is(img, script, b, a)")).to_have_count(0)
    assert "owned" not in await page.title()
    assert desk.faults == []


async def test_chat_markdown_is_rendered(desk: Desk) -> None:
    """Quotes, subtext, code blocks, masked links, mentions and relative times look as in chat clients."""
    page = await desk.open_page("Bo")
    bo, at = desk.discord.world.member("Bo").id, int(desk.clock.now()) + 7200
    lines = [
        f"<@{bo}> *soft* ~~gone~~ __under__ snake_case_name",
        "> quoted **word**",
        "-# small [docs](<https://example.org/a>)",
        "```py\n**not bold** <t:1:R>\n```",
        f"ends <t:{at}:R>, on <t:{at}:D>",
    ]
    await desk.bot.post("general", {"content": "\n".join(lines)})
    message = page.locator(".message")
    await expect(message).to_have_class(re.compile("mentions-me"))
    await expect(message.locator(".mention.mine")).to_have_text("@Bo")
    await expect(message.locator("em")).to_have_text("soft")
    await expect(message.locator("blockquote strong")).to_have_text("word")
    await expect(message.locator(".subtext a")).to_have_attribute("href", "https://example.org/a")
    await expect(message.locator("pre code")).to_have_text("**not bold** <t:1:R>\n")
    await expect(message.locator("time[data-relative]")).to_have_text("in 2 hours")
    desk.clock.advance(3600)
    await desk.bot.post("general", {"content": "an hour later"})  # shows the page the new time
    await expect(message.first.locator("time[data-relative]")).to_have_text("in 1 hour")
    await page.get_by_text("Languages").click()
    await page.get_by_label("Language of Aurora Studio").select_option("ja")
    await page.get_by_label("Language of Bo").select_option("de")
    await expect(message.first.locator("time[data-relative]")).to_have_text("in 1 Stunde")
    assert desk.discord.world.servers[0].locale == "ja"


async def test_members_can_be_switched_and_outsiders_get_a_hint(desk: Desk) -> None:
    """Each member sees their own ephemeral messages; a member outside the server is offered others who are in it."""
    page = await desk.open_page()
    interaction = await desk.send(page, "/veo-quota")
    await desk.bot.answer(interaction, REPLY, {"content": "for Ada alone", "flags": EPHEMERAL})
    await expect(page.locator(".message").filter(has_text="for Ada alone")).to_be_visible()
    await page.get_by_role("radio", name="Bo").check(force=True)
    await expect(page.locator(".message").filter(has_text="for Ada alone")).to_have_count(0)
    await page.get_by_role("radio", name="Ada").check(force=True)
    await expect(page.locator(".message").filter(has_text="for Ada alone")).to_be_visible()
    await expect(page.get_by_role("radio", name="Cem Editors")).to_have_count(1)
    await page.get_by_role("button", name="lobby").click()
    await expect(page.get_by_text("Ada isn't in Elsewhere")).to_be_visible()
    await expect(line_of(page)).to_be_disabled()
    await page.get_by_role("button", name="Switch to Dana").click()
    interaction = await desk.send(page, "/help")
    assert interaction["member"]["user"]["global_name"] == "Dana"


async def test_channels_can_be_switched_by_keyboard_and_show_new_messages(desk: Desk) -> None:
    """Alt and an arrow key switch channels and threads; new messages are marked where the member can read them."""
    page = await desk.open_page()
    await desk.bot.post("lobby", {"content": "not for Ada"})
    await desk.bot.post("takes", {"content": "over here"})
    takes = page.get_by_role("button", name="takes (new messages)")
    await expect(takes).to_be_visible()
    await expect(page.get_by_role("button", name="lobby (new messages)")).to_have_count(0)
    await page.keyboard.press("Alt+ArrowDown")
    await expect(page.get_by_role("heading", level=1)).to_have_text("# video-lab")
    await page.keyboard.press("Alt+ArrowDown")
    await expect(page.get_by_role("heading", level=1)).to_have_text("↳ takes")
    await expect(page.locator(".message .text")).to_have_text("over here")
    await expect(takes).to_have_count(0)
    world = desk.discord.world
    cem, bo, lab = world.member("Cem").user, world.member("Bo").user, world.channel("video-lab")
    desk.discord.add_group("Friends", cem, bo)
    desk.discord.add_thread(lab, "secret", bo, private=True)
    said = await desk.bot.post("video-lab", {"content": "look"})
    desk.discord.react(world.member("Ada"), said["id"], "🎉")
    origin = {"type": 1, "channel_id": lab.id, "message_id": said["id"]}
    await desk.bot.post("takes", {"message_reference": origin})
    await expect(page.locator(".forward .text")).to_have_text("look")
    await page.get_by_role("button", name="video-lab").click()
    await expect(page.locator(".reaction")).to_have_text("🎉 1")
    await page.get_by_role("radio", name="Cem").check(force=True)
    await expect(page.get_by_role("button", name="Friends")).to_be_visible()
    await expect(page.get_by_role("button", name="secret")).to_have_count(0)
    await page.get_by_role("radio", name="Bo").check(force=True)
    await expect(page.get_by_role("button", name="secret")).to_be_visible()


async def test_help_offers_examples_and_explains_every_marker(desk: Desk) -> None:
    """The help says that nothing costs money, fills in the example that is clicked, and lists all markers."""
    page = await desk.open_page()
    intro = page.locator("#intro")
    await expect(intro).to_contain_text("nothing here costs money")
    await intro.get_by_role("button", name="a red fox trots").click()
    await page.keyboard.press("Enter")
    given = options_of(await desk.bot.next_interaction())
    assert given["duration"] == "4s"
    assert given["prompt"].startswith("a red fox trots")
    await intro.get_by_text("Make something go wrong").click()
    assert sorted(await intro.locator("dt").all_inner_texts()) == sorted(f"[{name}]" for name in MARKERS)
    await intro.get_by_role("button", name="Try [nsfw]").click()
    await expect(labelled(page, "prompt")).to_have_value("a red fox [nsfw]")


async def test_the_page_reports_a_lost_bot_or_sandbox_and_reconnects(desk: Desk) -> None:
    """The banner says which of the two is missing; after a restart the page reconnects by itself."""
    page = await desk.open_page()
    banner = page.locator("#banner")
    await expect(banner).to_be_hidden()
    await desk.discord.drop_gateway(4000)
    await expect(banner).to_contain_text("The bot isn't connected")
    port = int(desk.discord.url.rsplit(":", 1)[1])
    await desk.discord.__aexit__()
    await expect(banner).to_contain_text("The sandbox isn't running")
    async with DiscordSandbox(port=port):
        await expect(banner).to_contain_text("The bot isn't connected")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
async def test_light_and_dark_mode_are_accessible_and_fit(desk: Desk, scheme: Any, width: int) -> None:
    """No console errors, no horizontal scrolling, named controls, enough contrast, and the mode is remembered."""
    page = await desk.open_page(viewport={"width": width, "height": 780}, color_scheme=scheme)
    buttons = [
        {"type": 2, "style": style, "label": f"Style {style}", "custom_id": f"b{style}"} for style in range(1, 5)
    ]
    embed = {
        "title": "Card",
        "description": "x" * 300,
        "footer": {"text": "Run"},
        "fields": [{"name": "A", "value": "b"}],
    }
    ada = desk.discord.world.owner.id
    body = {"content": f"<@{ada}> `code` " + "long" * 60, "embeds": [embed]}
    await desk.bot.post("general", body | {"components": [{"type": 1, "components": buttons}]}, STORED)
    menu = {"type": 3, "custom_id": "m", "options": [{"label": "long" * 25, "value": "x", "description": "small"}]}
    section = {"type": 9, "components": [{"type": 10, "content": "long" * 60}], "accessory": buttons[0]}
    parts = [section, {"type": 10, "content": "-# small ||hidden|| <t:0:R>"}, {"type": 1, "components": [menu]}]
    await desk.bot.post("general", {"flags": COMPONENTS_V2, "components": [{"type": 17, "components": parts}]})
    await page.get_by_role("combobox", name="Choose").press("Enter")
    assert await page.evaluate(FAINT) == []
    await line_of(page).fill("/veo prompt:x seed:-1 duration:4s")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="seed")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate(
        "[...document.querySelectorAll('#scroll, .command')].every(e => e.scrollWidth <= e.clientWidth + 1)"
    )
    assert await page.evaluate(UNNAMED) == []
    assert await page.evaluate(FAINT) == []
    dark = page.get_by_role("button", name="Dark mode")
    await expect(dark).to_have_attribute("aria-pressed", str(scheme == "dark").lower())
    await dark.click()
    await page.reload()
    await expect(dark).to_have_attribute("aria-pressed", str(scheme != "dark").lower())
    # Browsers log the 400 that refuses the form.
    assert [each for each in desk.faults if "status of 400" not in each] == []


async def test_everything_can_be_reached_by_keyboard_with_a_visible_focus(desk: Desk) -> None:
    """Tab moves from the skip link through all regions, and the focus is always visible."""
    page = await desk.open_page()
    await expect(line_of(page)).to_be_focused()
    seen: set[str | None] = set()
    skip = page.get_by_role("link", name="Skip to the message field")
    for _ in range(30):
        await page.keyboard.press("Shift+Tab")
        seen.add(await page.evaluate("document.activeElement.closest('nav, header, #scroll, #composer')?.id"))
        assert await page.evaluate(FOCUS_SHOWN)
        if await skip.evaluate("link => link === document.activeElement"):
            break
    assert {"sidebar", "top", "scroll"} <= seen
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(line_of(page)).to_be_focused()


FOCUS_SHOWN = """() => [document.activeElement, document.activeElement.closest('label')]
  .some(e => e && getComputedStyle(e).outlineStyle !== 'none')"""
UNNAMED = """() => [...document.querySelectorAll('button, a, input, select, textarea, video, summary')]
  .filter(e => e.checkVisibility())
  .filter(e => ![e.getAttribute('aria-label'), e.textContent, e.labels?.[0]?.textContent].some(name => name?.trim()))
  .map(e => e.outerHTML)"""

# Texts with a contrast below 4.5:1 (WCAG 2.2, 1.4.3); avatars are left out, because the name is beside them.
FAINT = """() => {
  const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const over = (colours) => {
    paint.clearRect(0, 0, 1, 1);
    for (const each of colours) { paint.fillStyle = each; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility({ visibilityProperty: true })) continue;
    if (e.closest('.avatar, .unseen, :disabled, video')) continue;
    const layers = [];
    for (let up = e; up; up = up.parentElement) layers.unshift(getComputedStyle(up).backgroundColor);
    const back = light(over(['white', ...layers]));
    const front = light(over(['white', ...layers, getComputedStyle(e).color]));
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${e.className} ${e.textContent.slice(0, 40)}`);
  }
  return faint;
}"""


async def test_only_members_who_manage_the_server_see_its_commands(desk: Desk) -> None:
    """A command with default permissions is listed for the owner, but not for a member."""
    manage = {"name": "veo-admin", "description": "Rules of this server", "default_member_permissions": "32"}
    await desk.bot.register(VEO, manage)
    for member, listed in (("Ada", ["/veo", "/veo-admin"]), ("Bo", ["/veo"])):
        page = await desk.open_page(member)
        await page.keyboard.type("/veo")
        shown = page.get_by_role("option")
        await expect(shown).to_have_count(len(listed))
        await expect(shown).to_contain_text(listed)
