"""The sandbox Discord works with unmodified discord.py."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import discord
import pytest
import yarl
from discord import app_commands, ui

from sandbox.discord import DiscordSandbox
from tests.sandbox.discord_client import mp4


@asynccontextmanager
async def library(
    sandbox: DiscordSandbox,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[discord.Interaction, str], Awaitable[None]],
) -> AsyncIterator[discord.Client]:
    """A client of discord.py with the command /veo and the menu of a message, "Use", which both run ``command``."""
    monkeypatch.setattr(discord.http.Route, "BASE", sandbox.api_url)
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(sandbox.gateway_url))
    client = discord.Client(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
    tree = app_commands.CommandTree(client)

    @tree.command(name="veo", description="Make a video")
    async def veo(interaction: discord.Interaction, prompt: str) -> None:
        await command(interaction, prompt)

    @tree.context_menu(name="Use")
    async def use(interaction: discord.Interaction, message: discord.Message) -> None:
        await command(interaction, message.content)

    async def setup() -> None:
        await tree.sync()

    monkeypatch.setattr(client, "setup_hook", setup)
    async with client:
        running = asyncio.create_task(client.start(sandbox.token))
        await sandbox.bot_ready()
        yield client
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_discord_py_logs_in_defers_edits_and_posts_a_file_once(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything the bot does works, a repeated nonce posts nothing new, and no reply breaks the description."""
    seen: list[discord.Message] = []

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.edit_original_response(content=f"Working on {prompt}")
        assert isinstance(interaction.channel, discord.TextChannel)
        for _ in range(2):
            file = discord.File(io.BytesIO(b"x" * 300_000), "veo-1.mp4")
            seen.append(await interaction.channel.send("Done", file=file, nonce="run-1"))
        await interaction.followup.send("And more", ephemeral=True)

    world = sandbox.world
    lab, bo = world.channel("video-lab"), world.member("Bo")
    async with library(sandbox, monkeypatch, command):
        interaction = await sandbox.invoke(bo, lab, "veo", {"prompt": "a cat"})
        await interaction.acknowledged()
        message = await interaction.wait(lambda each: each["content"] == "Working on a cat")
        posted = await sandbox.wait_message(lab, lambda each: bool(each["attachments"]))
        await sandbox.wait_until(lambda: len(sandbox.messages(lab, bo)) == 3)

    assert message["flags"] == 64
    assert [each["flags"] for each in interaction.history] == [64 | 128, 64]
    assert [each.id for each in seen] == [int(posted["id"])] * 2
    assert posted["attachments"][0]["size"] == 300_000
    assert posted["attachments"][0]["content_type"] == "video/mp4"
    assert sandbox.messages(lab) == [posted]
    assert interaction.acknowledged_after_s is not None
    assert interaction.acknowledged_after_s < 3
    assert sandbox.violations == []


@pytest.mark.parametrize("how", ["cut", "4000", "op 7", "op 9"])
async def test_discord_py_resumes_and_misses_nothing(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """After a lost connection the client resumes, and an interaction sent meanwhile still reaches it."""

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        await interaction.response.send_message(prompt)

    world = sandbox.world
    async with library(sandbox, monkeypatch, command):
        match how:
            case "op 7":
                sandbox.reconnect_gateway()
            case "op 9":
                sandbox.invalidate_session(resumable=True)
            case _:
                await sandbox.drop_gateway(None if how == "cut" else int(how))
        interaction = await sandbox.invoke(world.member("Bo"), world.channel("general"), "veo", {"prompt": "hi"})
        await interaction.acknowledged()
        assert sandbox.gateway_counts == (1, 1)


async def test_discord_py_posts_a_layout_with_a_video_and_receives_presses(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card with components V2 is returned as the API does, and a press on it runs the library's callback."""

    class Card(ui.LayoutView):
        def __init__(self) -> None:
            super().__init__()
            gallery: ui.MediaGallery[Card] = ui.MediaGallery(discord.MediaGalleryItem("attachment://veo 1.mp4"))
            button: ui.Button[Card] = ui.Button(label="Again", custom_id="again")
            button.callback = self.again  # type: ignore[method-assign] # as the library's docs do
            row: ui.ActionRow[Card] = ui.ActionRow(button)
            self.add_item(ui.Container(ui.TextDisplay("Your video"), gallery, row))

        async def again(self, interaction: discord.Interaction) -> None:
            self.clear_items()
            self.add_item(ui.TextDisplay("Pressed"))
            await interaction.response.edit_message(view=self, attachments=[])

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        file = discord.File(io.BytesIO(mp4(720, 1280)), "veo 1.mp4")
        await interaction.response.send_message(view=Card(), file=file)

    world = sandbox.world
    bo, channel = world.member("Bo"), world.channel("general")
    async with library(sandbox, monkeypatch, command):
        used = await sandbox.invoke(bo, channel, "veo", {"prompt": "hi"})
        await used.acknowledged()
        shown = used.message
        assert shown is not None
        pressed = await sandbox.press(bo, shown["id"], "again")
        await pressed.acknowledged()

    text, gallery, row = shown["components"][0]["components"]
    assert text["content"] == "Your video"
    media = gallery["items"][0]["media"]
    assert media["url"].startswith(f"{sandbox.url}/attachments/{channel.id}/")
    assert (media["width"], media["height"], media["content_type"]) == (720, 1280, "video/mp4")
    assert row["components"][0]["custom_id"] == "again"
    ids = [text["id"], gallery["id"], row["id"], row["components"][0]["id"]]
    assert len(set(ids)) == 4
    assert pressed.message is not None
    assert pressed.message["components"][0]["content"] == "Pressed"
    assert pressed.message["attachments"] == []
    assert sandbox.violations == []


async def test_discord_py_reads_menus_and_forms_and_forwards(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context menu's message, a form's answers and presets, and a forward are what the library makes of real ones."""

    class Form(ui.Modal, title="Change"):
        prompt: "ui.Label[Form]" = ui.Label(text="Prompt", component=ui.TextInput(custom_id="prompt"))
        size: "ui.Label[Form]" = ui.Label(
            text="Size",
            component=ui.Select(
                custom_id="size",
                required=True,
                options=[discord.SelectOption(label="4 s"), discord.SelectOption(label="8 s", default=True)],
            ),
        )

        async def on_submit(self, interaction: discord.Interaction) -> None:
            prompt, size = self.prompt.component, self.size.component
            assert isinstance(prompt, ui.TextInput)
            assert isinstance(size, ui.Select)
            await interaction.response.send_message(f"{prompt.value}, {size.values[0]}, {interaction.locale.value}")
            answer = await interaction.original_response()
            await answer.forward(answer.channel)

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        form = Form()
        assert isinstance(form.prompt.component, ui.TextInput)
        form.prompt.component.default = prompt
        await interaction.response.send_modal(form)

    world = sandbox.world
    bo, lab = world.member("Bo"), world.channel("video-lab")
    sandbox.set_locale(bo, "pt-BR")
    async with library(sandbox, monkeypatch, command):
        said = sandbox.say(world.member("Cem"), lab, "a red fox")
        used = await sandbox.use_menu(bo, lab, "Use", said["id"])
        await used.acknowledged()
        sent = await sandbox.submit(used, {})
        await sent.acknowledged()
        forward = await sandbox.wait_message(lab, lambda each: "message_snapshots" in each)
    assert sent.message is not None
    assert sent.message["content"] == "a red fox, 8 s, pt-BR"
    assert forward["message_snapshots"][0]["message"]["content"] == sent.message["content"]
    assert sandbox.violations == []
