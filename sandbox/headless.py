"""The demo without a page: one member uses `/veo` once, and every message of the channel becomes a JSON object."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.discord import CommandRefused, DiscordSandbox, Interaction
from sandbox.runflow import RunflowSandbox
from sandbox.stage import API_KEY, DemoFailed, Stage

RESULT_TIMEOUT_S = 90.0
CHUNK_BYTES = 1024 * 1024
INTEGER_OPTION, BOOLEAN_OPTION = 4, 5  # docs: Application Commands, Application Command Option Type
EPHEMERAL, LOADING = 1 << 6, 1 << 7
CLIP = re.compile(r"[a-z0-9-]+-([a-z2-7]+)\.mp4")
NOTICE = re.compile(r"veo:(?:receipt|details):([a-z2-7]+)(?::(result|unknown))?")
CARD = re.compile(r"^-# Video `[a-z2-7]+`$", re.MULTILINE)
TEXT, BUTTON = 10, 2  # docs: Components Reference, Component Types
LINK = re.compile(r"^https?://\S+$", re.MULTILINE)

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a headless run ended, as the channel shows it."""

    outcome: str
    run_id: str | None = None
    cost_usd: str | None = None
    message_id: str | None = None
    video_url: str | None = None


async def use_veo(stage: Stage, options: Mapping[str, object], show: Callable[[Json], None]) -> Result:
    """Use `/veo` as a member and wait for the result; `show` receives each message as the channel shows it."""
    watching = asyncio.create_task(_show_messages(stage.discord, show))
    try:
        async with asyncio.timeout(RESULT_TIMEOUT_S):
            return await _use_veo(stage, options)
    except TimeoutError:
        raise DemoFailed(
            f"There was no result within {RESULT_TIMEOUT_S:.0f} seconds. Look for an error in the bot's log above."
        ) from None
    except CommandRefused as error:
        raise DemoFailed(f"The command was not sent: {error}", 2) from None
    finally:
        watching.cancel()


def typed_options(discord: DiscordSandbox, prompt: str, pairs: Sequence[str]) -> dict[str, object]:
    """The options of `/veo` from `NAME=VALUE` pairs, with the types that the bot registered; DemoFailed if wrong."""
    types = {option["name"]: option["type"] for option in discord.registered("veo")["options"]}
    options: dict[str, object] = {"prompt": prompt}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in types:
            raise DemoFailed(f"--option {pair!r} isn't NAME=VALUE, where NAME is one of: {', '.join(types)}.", 2)
        if types[name] == BOOLEAN_OPTION and value.lower() in ("true", "false"):
            options[name] = value.lower() == "true"
        elif types[name] == INTEGER_OPTION and re.fullmatch(r"-?\d+", value):
            options[name] = int(value)
        else:
            options[name] = value  # the sandbox refuses it if it doesn't fit
    return options


async def download(url: str, out: Path) -> None:
    """Save the posted video as `out`, which appears only once it is complete."""
    part = out.with_name(out.name + ".part")
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        if reply.status != 200:
            raise DemoFailed(f"The posted video can't be downloaded: its URL answers with HTTP status {reply.status}.")
        try:
            with part.open("wb") as file:
                async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                    file.write(chunk)
            part.replace(out)
        except OSError as error:
            raise DemoFailed(f"The video can't be saved as {out}: {error.strerror}. Choose another --out.", 2) from None


async def _use_veo(stage: Stage, options: Mapping[str, object]) -> Result:
    world = stage.discord.world
    channel = world.channel("video-lab")
    interaction = await stage.discord.invoke(world.member("Bo"), channel, "veo", options)
    await interaction.acknowledged()
    posted = asyncio.create_task(stage.discord.wait_message(channel, _is_result, timeout=RESULT_TIMEOUT_S))
    refused = asyncio.create_task(interaction.wait(_is_refusal, timeout=RESULT_TIMEOUT_S))
    confirmed = asyncio.create_task(_confirm_price(stage.discord, interaction))
    try:
        await asyncio.wait({posted, refused}, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            return Result(outcome="refused")
        return await _read_result(stage, interaction, posted.result())
    finally:
        for task in (posted, refused, confirmed):
            task.cancel()
        await asyncio.gather(posted, refused, confirmed, return_exceptions=True)


async def _confirm_price(discord: DiscordSandbox, interaction: Interaction) -> None:
    """If the bot asks to confirm the price, press the first button, which is yes."""
    question = await interaction.wait(lambda message: _yes_of(message) is not None, timeout=RESULT_TIMEOUT_S)
    await discord.press(interaction.member, question["id"], str(_yes_of(question)))


def _yes_of(message: Mapping[str, Any]) -> str | None:
    """The custom id of the button that agrees to a price."""
    names = [str(each.get("custom_id")) for each in _parts(message["components"])]
    return next((name for name in names if name.startswith("veo:yes:")), None)


def _parts(components: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for each in components:
        yield each
        yield from _parts(each.get("components", ()))


def _text_of(message: Mapping[str, Any]) -> str:
    """What a person reads in a message, whether it is its content or in components."""
    shown = [each["content"] for each in _parts(message["components"]) if each["type"] == TEXT]
    return "\n".join([message["content"], *shown]).strip()


def _is_result(message: Mapping[str, Any]) -> bool:
    return not message["flags"] & EPHEMERAL and _notice_of(message) is not None


def _notice_of(message: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """The run that a message is about, and whether it is its result; None of any other message."""
    names = (NOTICE.fullmatch(str(each.get("custom_id"))) for each in _parts(message["components"]))
    found = next(filter(None, names), None)
    return None if found is None else (found[1], found[2])


def _is_refusal(message: Mapping[str, Any]) -> bool:
    """Whether the bot answered with neither the card of a run nor a question."""
    shown = _text_of(message)
    return bool(shown) and CARD.search(shown) is None and _yes_of(message) is None


async def _read_result(stage: Stage, interaction: Interaction, message: Mapping[str, Any]) -> Result:
    """Read the outcome from the posted message, and the cost from Runflow."""
    found = _notice_of(message)
    assert found is not None
    run_id, kind = found
    clips = [each["url"] for each in message["attachments"] if CLIP.fullmatch(each["filename"])]
    links = LINK.findall(message["content"])
    runs = [run for run in stage.runflow.runs.values() if run.client_ref == f"veo-{run_id}"]
    record = await _fetch_run(stage.runflow, runs[0].id) if runs else {}
    if clips or links:
        outcome = "delivered"
    elif kind == "unknown":
        outcome = "unknown"
    elif (record.get("output") or {}).get("nsfw_detected"):
        outcome = "nsfw"
    else:
        outcome = "cancelled" if record.get("status_code") in ("canceled", "cancelled") else "failed"
    with suppress(TimeoutError):  # the bot edits the card right after the post, if the token is still valid
        known = len(interaction.history)
        await interaction.wait(lambda _: len(interaction.history) > known, timeout=0.5)
    return Result(
        outcome=outcome,
        run_id=run_id,
        cost_usd=record.get("cost"),
        message_id=message["id"],
        video_url=(clips or links or [None])[0],
    )


async def _fetch_run(runflow: RunflowSandbox, run_id: str) -> Json:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as session,
        session.get(f"{runflow.url}/v1/runs/{run_id}") as reply,
    ):
        record: Json = await reply.json()
        return record


async def _show_messages(discord: DiscordSandbox, show: Callable[[Json], None]) -> None:
    """Pass on each new or changed message, in the order in which the channel shows them."""
    subscription = discord.subscribe()
    try:
        async for event in subscription:
            if event["type"] in ("message_created", "message_updated"):
                show(_describe(event["type"], event["message"]))
    finally:
        subscription.close()


def _describe(kind: str, message: Mapping[str, Any]) -> Json:
    """The parts of a message that a person would see."""
    described: Json = {
        "shown": "new" if kind == "message_created" else "changed",
        "to": "caller" if message["flags"] & EPHEMERAL else "channel",
        "message_id": message["id"],
    }
    if message["flags"] & LOADING:
        described["thinking"] = True
    if shown := _text_of(message):
        described["text"] = shown
    if buttons := [each.get("label") for each in _parts(message["components"]) if each["type"] == BUTTON]:
        described["buttons"] = buttons
    if message["attachments"]:
        described["files"] = [{"name": each["filename"], "bytes": each["size"]} for each in message["attachments"]]
    return described
