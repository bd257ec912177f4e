"""Answers interactions within Discord's three seconds: all that came together, before the work that any of them brings.

Discord counts the seconds from the click, and an acknowledgement is quick to send. What follows from one takes longer,
and would hold up the acknowledgements of those who clicked at the same moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import discord

from bot.log import get_logger

log = get_logger("veo.discord")

ALREADY_ACKNOWLEDGED = 40060
WAIT_S = 0.3  # nobody's work waits longer for the acknowledgements of others, and none counts longer as on its way
FEW = 8  # so many at once hold each other up too little to wait for
_ANSWERED = frozenset(
    {
        discord.InteractionType.application_command,
        discord.InteractionType.component,
        discord.InteractionType.modal_submit,
    }
)


class Acknowledger:
    """Acknowledges interactions. Report each one with `arrived` as soon as it comes in."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._open: dict[int, float] = {}  # when each arrived that is not acknowledged yet, by the loop's time
        self._calm = asyncio.Event()  # from when all are acknowledged until more than a few are open
        self._calm.set()

    def arrived(self, interaction: discord.Interaction) -> None:
        """Count it as open until it is acknowledged, or for `wait_s`: a press of no button of ours never is."""
        if interaction.type not in _ANSWERED:
            return
        now = asyncio.get_running_loop().time()
        while self._open and next(iter(self._open.values())) < now - self._wait_s:
            self._close(next(iter(self._open)))
        self._open[interaction.id] = now
        if len(self._open) > FEW:
            self._calm.clear()

    def _close(self, interaction_id: int) -> None:
        self._open.pop(interaction_id, None)
        if not self._open:
            self._calm.set()

    async def acknowledge(
        self, interaction: discord.Interaction, *, ephemeral: bool, update: bool = False
    ) -> int | None:
        """Answer before any work, and return once others who came with it are answered too; the answer's message's id.

        `update`: of a press, whose own message is the answer. None when it was too late: nothing is shown then, so
        nothing may be started.
        """
        try:
            message_id = await _acknowledge(interaction, ephemeral=ephemeral, update=update)
        finally:
            self._close(interaction.id)
        if not self._calm.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    await self._calm.wait()
        return message_id

    async def open(self, interaction: discord.Interaction, form: discord.ui.Modal) -> None:
        """Answer with a form."""
        try:
            await interaction.response.send_modal(form)
        except discord.NotFound:
            _log_lateness(interaction)
        finally:
            self._close(interaction.id)


async def _acknowledge(interaction: discord.Interaction, *, ephemeral: bool, update: bool) -> int | None:
    try:
        reply = await _defer(interaction, ephemeral=ephemeral, update=update)
    except discord.NotFound:
        _log_lateness(interaction)
        return None
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:  # our own repeat of an answer that had arrived
            raise
        reply = None
    if update and interaction.message is not None:
        return interaction.message.id
    if reply is not None and reply.message_id is not None:
        return reply.message_id
    return (await interaction.original_response()).id


def _log_lateness(interaction: discord.Interaction) -> None:
    lag = (discord.utils.utcnow() - interaction.created_at).total_seconds()
    log.warning("interaction came too late to be answered", lag_s=round(lag, 1), by="this machine's clock")


async def _defer(
    interaction: discord.Interaction, *, ephemeral: bool, update: bool
) -> discord.InteractionCallbackResponse[discord.Client] | None:
    try:
        return await interaction.response.defer(ephemeral=ephemeral, thinking=not update)
    except (aiohttp.ClientError, OSError):  # it may have arrived anyway: then the repeat gets error 40060
        return await interaction.response.defer(ephemeral=ephemeral, thinking=not update)
