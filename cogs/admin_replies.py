"""How `/veo-admin` answers: at once, each act once, to the caller alone, and long answers whole as files."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from tempfile import TemporaryFile
from typing import Any

import discord

from bot.domain.acts import Verb
from bot.domain.records import Act, Admin
from bot.domain.report import Group, Report
from bot.errors import Refusal, StoreDown
from bot.facts import text
from bot.services.administration import Administration
from bot.texts import Words
from bot.views import View
from bot.views import admins as views
from bot.views.details import detail_text
from cogs import answers, render
from cogs.acknowledge import Acknowledger
from cogs.context import Speaker
from cogs.servers import Servers

ACTS_SHOWN = 20
REST_CHARS_MAX = 200  # for the line about the acts that are not shown
CHART, TABLE, LOG = "spend.png", "veo-report.csv", "veo-log.csv"

Do = Callable[[Admin], Awaitable[View]]


class AdminReplies:
    """Carries out what admins ask for and shows them what came of it."""

    def __init__(
        self, administration: Administration, servers: Servers, acknowledger: Acknowledger, speaker: Speaker
    ) -> None:
        self._administration = administration
        self._servers = servers
        self._acknowledger = acknowledger
        self._speaker = speaker

    async def change(
        self,
        interaction: discord.Interaction,
        verb: Verb,
        subject_of: Callable[[], str],
        reason: str = "",
        *,
        everywhere: bool = False,
    ) -> None:
        """Put one rule in force, or lift it; `subject_of` says whose, and may refuse."""

        async def do(admin: Admin) -> View:
            subject = subject_of()
            rules = await self._administration.change(admin, verb, subject, reason)
            return views.changed(verb, subject, rules, everywhere=everywhere)

        await self.act(interaction, do, everywhere=everywhere)

    async def act(self, interaction: discord.Interaction, do: Do, *, everywhere: bool = False) -> None:
        """Answer at once, act once, and show what came of it to the caller alone."""
        words = self._speaker.reader(interaction)

        async def carry_out(admin: Admin) -> str:
            return await self._administration.once(admin, lambda: _in_words(do, admin, words))

        await self._reply(interaction, carry_out, words, everywhere=everywhere)

    async def answer(self, interaction: discord.Interaction, do: Do, *, everywhere: bool = False) -> None:
        """Answer at once, then show what was asked for, to the caller alone."""
        words = self._speaker.reader(interaction)
        await self._reply(interaction, lambda admin: _in_words(do, admin, words), words, everywhere=everywhere)

    async def _reply(
        self,
        interaction: discord.Interaction,
        say: Callable[[Admin], Awaitable[str]],
        words: Words,
        *,
        everywhere: bool,
    ) -> None:
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        try:
            said = await say(await self._servers.admin(interaction, everywhere=everywhere))
        except Refusal as refusal:
            said = words.say(refusal.text)
        await answers.say(interaction, said, words)

    async def log(self, interaction: discord.Interaction, *, everywhere: bool) -> None:
        """Show the latest acts, and all of them in a file where there are more."""
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        words = self._speaker.reader(interaction)
        with TemporaryFile() as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as table:  # a mark for spreadsheets
            try:
                admin = await self._servers.admin(interaction, everywhere=everywhere)
                acts = await self._administration.acts(admin, ACTS_SHOWN)
                lines = [words.say(views.act_line(act, admin.server)) for act in acts]
                shown = render.fitting(lines, render.MESSAGE_CHARS_MAX - REST_CHARS_MAX)
                found = kept = len(acts)
                if found == ACTS_SHOWN or shown < found:
                    names = await _names(interaction, everywhere=everywhere)
                    found, kept = await self._administration.write_acts(
                        admin, table, names, _plain_details(words), bytes_max=interaction.filesize_limit
                    )
            except Refusal as refusal:
                await interaction.edit_original_response(content=words.say(refusal.text))
                return
            table.flush()

            def message(left_out: Sequence[answers.Attachment]) -> dict[str, Any]:
                rest = views.rest_of_acts(found - shown, found - (0 if left_out else kept))
                small = [f"-# {words.say(each)}" for each in rest]
                return {"content": "\n".join([*lines[:shown], *small]) or words.say(text("log.none"))}

            files = [answers.attachment(LOG, raw)] if found > shown else []
            await answers.send(interaction, files, message)

    async def report(self, interaction: discord.Interaction, days: int, *, everywhere: bool) -> None:
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        words = self._speaker.reader(interaction)
        with TemporaryFile() as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as table:  # a mark for spreadsheets
            try:
                admin = await self._servers.admin(interaction, everywhere=everywhere)
                names = await _names(interaction, everywhere=everywhere)
                report = await self._administration.report(
                    admin, days, table, names, bytes_max=interaction.filesize_limit
                )
            except Refusal as refusal:
                await interaction.edit_original_response(content=words.say(refusal.text))
                return
            table.flush()
            picture = io.BytesIO(await asyncio.to_thread(_draw, report.days, words))
            files = [answers.attachment(CHART, picture), answers.attachment(TABLE, raw)]
            await answers.send(interaction, files, lambda left_out: {"embed": _report_embed(report, left_out, words)})


async def _in_words(do: Do, admin: Admin, words: Words) -> str:
    """What an act comes to, also where it is refused. Raises StoreDown, for nothing is known then."""
    try:
        view = await do(admin)
    except StoreDown:
        raise
    except Refusal as refusal:
        view = View(lines=(refusal.text,))
    return render.content(view, words)


def _plain_details(words: Words) -> Callable[[Act], str]:
    """Put the figures of an act into words without markup, for a table."""

    def detail_of(act: Act) -> str:
        found = detail_text(act)
        return "" if found is None else words.marked(render.LETTERS).say(found)

    return detail_of


def _draw(days: Sequence[Group], words: Words) -> bytes:
    from cogs import chart  # noqa: PLC0415 - Pillow takes 4 MB, and few bots ever draw a chart

    return chart.spend_chart(days, words)


def _report_embed(report: Report, left_out: Sequence[answers.Attachment], words: Words) -> discord.Embed:
    missing = {each.name for each in left_out}
    view = views.report(report, chart_left_out=CHART in missing, table_left_out=TABLE in missing)
    embed = render.embed(view, words)
    return embed if CHART in missing else embed.set_image(url=f"attachment://{CHART}")


async def _names(interaction: discord.Interaction, *, everywhere: bool) -> Callable[[str], str]:
    """What people call a role or channel, by its opaque name; that name again where nobody knows."""
    names = await answers.names_in(interaction.client, None if everywhere else interaction.guild_id)
    return lambda name: names.get(name, name)
