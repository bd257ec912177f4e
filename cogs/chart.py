"""The chart of the spend report: dollars per day as a small picture. It knows nothing of Discord.

It brings its own background, so that it reads the same on Discord's dark and light themes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain, count

from PIL import Image, ImageDraw, ImageFont

from bot.domain.money import USD_U
from bot.domain.report import Group
from bot.facts import Usd, text
from bot.texts import Words

WIDTH, HEIGHT = 640, 240
BACKGROUND = (30, 31, 38)
GRID = (50, 52, 62)
BASELINE = (96, 100, 114)
TEXT = (176, 180, 192)
EMPHASIS = (244, 245, 250)
BAR = (84, 104, 214)
HIGHEST_BAR = (128, 152, 255)
TEXT_SIZE = 13
TOP, BOTTOM = 38, 204  # of the highest gridline and the baseline; above and below is room for words
EDGE = 28  # free on the right: half the name of the last day
AXIS_GAP = 10  # between words and what they name
DAY_GAP = 14  # between the names of two days
BAR_SHARE = 0.72  # of the room that a day has
BAR_WIDTH_MAX = 56
CORNER = 3
FINE = 4  # bars are painted so many times as large, and made smaller again
LINES_MAX = 5  # above the baseline
STEP_MIN_U = USD_U // 100
DAY_STEPS = (1, 2, 7, 14, 28)  # from one named day to the next: whole weeks where they stand closer


def spend_chart(days: Sequence[Group], words: Words) -> bytes:
    """A PNG of WIDTH x HEIGHT pixels: one bar a day, in the order given, where `key` is the date.

    A bar is as high as what was spent, to the nearest pixel; the highest is labelled with its amount. As many days
    are named as fit beside each other, the last one always.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.font = ImageFont.load_default(TEXT_SIZE)
    amounts_u = [day.spent_u for day in days]
    highest_u = max([0, *amounts_u])
    step_u = grid_step_u(highest_u)
    top_u = step_u * -(-highest_u // step_u)
    left = _draw_grid(draw, range(0, top_u + 1, step_u), words)
    if days:
        room = (WIDTH - EDGE - left) / len(days)
        middles = [left + room * (place + 0.5) for place in range(len(days))]
        _draw_days(draw, [words.day(date.fromisoformat(day.key)) for day in days], middles, room)
    if highest_u > 0:
        heights = [_height(amount_u, top_u) for amount_u in amounts_u]
        highest = amounts_u.index(highest_u)
        _paint_bars(image, middles, heights, room, BAR)
        _paint_bars(image, middles[highest : highest + 1], heights[highest : highest + 1], room, HIGHEST_BAR)
        _draw_amount(draw, words.fact(Usd(highest_u)), middles[highest], BOTTOM - heights[highest], left)
    else:
        draw.text(((left + WIDTH - EDGE) / 2, (TOP + BOTTOM) / 2), words.say(text("chart.nothing")), TEXT, anchor="mm")
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def grid_step_u(highest_u: int) -> int:
    """The smallest round amount (1, 2 or 5 and zeros, from a cent) of which LINES_MAX reach up to `highest_u`."""
    steps_u: Iterator[int] = (digit * STEP_MIN_U * 10**zeros for zeros in count() for digit in (1, 2, 5))
    return next(step_u for step_u in steps_u if step_u * LINES_MAX >= highest_u)


def _height(amount_u: int, top_u: int) -> int:
    """Pixels above the baseline, rounded half up; what was spent at all is seen."""
    return max(1, (2 * amount_u * (BOTTOM - TOP) + top_u) // (2 * top_u)) if amount_u > 0 else 0


def _draw_grid(draw: ImageDraw.ImageDraw, amounts_u: range, words: Words) -> float:
    """A line with its amount for each of `amounts_u`, from zero up. Returns where the lines begin."""
    whole = all(amount_u % USD_U == 0 for amount_u in amounts_u)
    labels = [words.usd(amount_u, whole=whole) for amount_u in amounts_u]
    left = EDGE + max(map(draw.textlength, labels))
    for label, amount_u in zip(labels, amounts_u, strict=True):
        y = BOTTOM - _height(amount_u, amounts_u[-1])
        draw.line((left, y, WIDTH - EDGE, y), BASELINE if amount_u == 0 else GRID)
        draw.text((left - AXIS_GAP, y), label, TEXT, anchor="rm")
    return left


def _draw_days(draw: ImageDraw.ImageDraw, names: Sequence[str], middles: Sequence[float], room: float) -> None:
    """The names of the last day and of every so many before it, never one on another."""
    needed = max(map(draw.textlength, names)) + DAY_GAP
    steps = chain(DAY_STEPS, (DAY_STEPS[-1] * 2**doubled for doubled in count(1)))
    step = next(step for step in steps if step * room >= needed)
    for place in range(len(names) - 1, -1, -step):
        draw.text((middles[place], BOTTOM + AXIS_GAP), names[place], TEXT, anchor="mt")


def _paint_bars(
    image: Image.Image, middles: Sequence[float], heights: Sequence[int], room: float, colour: tuple[int, int, int]
) -> None:
    """Bars that stand on the baseline, with soft corners and sides, so that all look as wide as they are."""
    mask = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    draw = ImageDraw.Draw(mask)
    half = min(BAR_WIDTH_MAX, room * BAR_SHARE) / 2
    for middle, height in zip(middles, heights, strict=True):
        if height:
            left, right = round((middle - half) * FINE), round((middle + half) * FINE)
            draw.rounded_rectangle(
                (left, (BOTTOM - height) * FINE, max(left, right - 1), BOTTOM * FINE - 1),
                radius=min(CORNER, height / 2, half / 2) * FINE,
                fill=255,
                corners=(True, True, False, False),
            )
    image.paste(colour, mask=mask.resize(image.size, Image.Resampling.BOX))


def _draw_amount(draw: ImageDraw.ImageDraw, word: str, middle: float, y: int, left: float) -> None:
    """Write the amount of the bar that ends at `y` above it and within the picture."""
    half = draw.textlength(word) / 2
    middle = max(left + half, min(middle, WIDTH - AXIS_GAP - half))
    # The rim keeps a gridline from running through the amount.
    draw.text((middle, y - AXIS_GAP // 2), word, EMPHASIS, anchor="mb", stroke_width=3, stroke_fill=BACKGROUND)
