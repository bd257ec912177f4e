"""The form in which a member changes a wish: all nine options in the five fields that Discord allows.

A form's name is all that comes back with it, so it works after a restart. It is another one each time that it is
opened: phones fill in what was typed before under the same name (discord-api-docs issue 7554).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

import discord

from bot.domain.models import DURATIONS, RESOLUTIONS, SEED_MAX, AspectRatio, SafetyTolerance, VeoRequest
from bot.domain.prices import PriceTable
from bot.errors import BadRequest
from bot.facts import Quote, text
from bot.texts import Words
from bot.views.runs import dotted
from cogs.render import LETTERS

INPUT_CHARS_MAX = 4000  # Discord docs, Components Reference, Text Input
_INTEGER = re.compile(r"-?\d{1,16}", re.ASCII)
_PROMPT, _NEGATIVE, _FILM, _SHAPE, _SEED = "prompt", "negative_prompt", "film", "shape", "seed"


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What a member sent with a form: the wish, and the price that stood beside what they chose."""

    request: VeoRequest
    shown_u: int | None
    problem: BadRequest | None = None  # what in it cannot be used; the rest is kept


def form(
    request: VeoRequest, prices: PriceTable, *, name: str, title: str, prompt_max_chars: int, words: Words
) -> discord.ui.Modal:
    """A form with a wish filled in. Raises BadRequest for one whose words are too long for Discord's forms."""
    longest = min(prompt_max_chars, INPUT_CHARS_MAX)
    if max(len(request.prompt), len(request.negative_prompt or "")) > INPUT_CHARS_MAX:
        raise BadRequest("form.too_long", longest=INPUT_CHARS_MAX)
    letters = words.marked(LETTERS)
    made = discord.ui.Modal(title=letters.say(text(title)), custom_id=name, timeout=None)
    fields: dict[str, discord.ui.Item[Any]] = {
        _PROMPT: _input(_PROMPT, request.prompt, longest, required=True),
        _NEGATIVE: _input(_NEGATIVE, request.negative_prompt or "", longest),
        _FILM: discord.ui.Select(custom_id=_FILM, options=list(_films(request, prices, letters))),
        _SHAPE: discord.ui.Select(custom_id=_SHAPE, options=list(_shapes(request, letters))),
        _SEED: _input(_SEED, "" if request.seed is None else str(request.seed), 20, short=True),
    }
    for field, component in fields.items():
        hint = letters.say(text(f"form.hint.{field}")) if field in _HINTED else None
        made.add_item(
            discord.ui.Label(text=letters.say(text(f"form.label.{field}")), description=hint, component=component)
        )
    made.stop()  # the library keeps nothing of it; `cogs.presses` hears of what is sent
    return made


_HINTED = (_NEGATIVE, _SEED)


def _input(
    field: str, value: str, longest: int, *, required: bool = False, short: bool = False
) -> discord.ui.TextInput[Any]:
    return discord.ui.TextInput(
        custom_id=field,
        style=discord.TextStyle.short if short else discord.TextStyle.paragraph,
        default=value or None,
        required=required,
        max_length=max(longest, len(value)),  # what is filled in is never refused before it can be shortened
    )


def _films(request: VeoRequest, prices: PriceTable, words: Words) -> Iterator[discord.SelectOption]:
    """Length, size and sound in one choice, each with its price, which travels with it."""
    for duration, resolution, audio in product(DURATIONS, RESOLUTIONS, (True, False)):
        film = replace(request, duration=duration, resolution=resolution, generate_audio=audio)
        price_u = prices.quote(film)
        sound = text("form.sound" if audio else "option.silent")
        yield discord.SelectOption(
            label=words.say(dotted(text("duration.seconds", count=film.seconds), resolution, sound)),
            description=words.usd(price_u),
            value=f"{duration}/{resolution}/{int(audio)}/{price_u}",
            default=film == request,
        )


def _shapes(request: VeoRequest, words: Words) -> Iterator[discord.SelectOption]:
    """Picture, filter and whether Veo may rephrase, in one choice."""
    for aspect, tolerance, fix in product(get_args(AspectRatio), get_args(SafetyTolerance), (True, False)):
        shape = replace(request, aspect_ratio=aspect, safety_tolerance=tolerance, auto_fix=fix)
        picture = text("form.landscape" if aspect == "16:9" else "form.portrait", ratio=aspect)
        yield discord.SelectOption(
            label=words.say(dotted(picture, text("option.tolerance", tolerance=tolerance))),
            description=words.say(text("form.auto_fix" if fix else "option.no_auto_fix")),
            value=f"{aspect}/{tolerance}/{int(fix)}",
            default=shape == request,
        )


def read(data: Mapping[str, Any]) -> Filled:
    """What was sent with the form. Raises BadRequest for choices that it does not have."""
    values = dict(_values(data.get("components")))
    duration, resolution, audio, price = _parts(values, _FILM, 4)
    aspect_ratio, tolerance, auto_fix = _parts(values, _SHAPE, 3)
    request = VeoRequest.of(
        {
            _PROMPT: values.get(_PROMPT, ""),
            _NEGATIVE: values.get(_NEGATIVE) or None,
            "duration": duration,
            "resolution": resolution,
            "generate_audio": audio == "1",
            "aspect_ratio": aspect_ratio,
            "safety_tolerance": tolerance,
            "auto_fix": auto_fix == "1",
        }
    )
    seed = values.get(_SEED, "").strip()
    if seed and not (_INTEGER.fullmatch(seed) and abs(int(seed)) <= SEED_MAX):
        problem = BadRequest("seed.unreadable", seed=Quote(seed, 30), largest=str(SEED_MAX))
        return Filled(request=request, shown_u=None, problem=problem)
    if seed:
        request = replace(request, seed=int(seed))
    return Filled(request=request, shown_u=int(price) if price.isdecimal() else None)


def _values(parts: object) -> Iterator[tuple[str, str]]:
    """Each field's value by its name, wherever in the form it stands."""
    for part in parts if isinstance(parts, list) else [parts]:
        if not isinstance(part, Mapping):
            continue
        if "custom_id" in part:
            values = part.get("values") or [part.get("value")]
            yield str(part["custom_id"]), str(values[0] or "")
        yield from _values(part.get("components"))
        yield from _values(part.get("component"))


def _parts(values: Mapping[str, str], field: str, count: int) -> list[str]:
    parts = values.get(field, "").split("/")
    if len(parts) != count:
        raise BadRequest("option.not_offered", options=field)
    return parts
