"""Draws the clips: real H.264 and AAC videos that show the text of the prompt.

The picture is drawn once. Each frame only moves a soft light and a progress bar over its three YUV planes, so eight
seconds of video take a fraction of a second. Without PyAV or Pillow, every run gets the same committed clip: 8 s,
16:9, with sound.
"""

import bisect
import colorsys
import hashlib
import itertools
import math
import operator
import random
import tempfile
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

try:
    import av
    from PIL import Image, ImageDraw, ImageFilter, ImageFont
except ImportError:  # optional: no wheels on some platforms, and not in the production image
    CAN_DRAW = False
else:
    CAN_DRAW = True

STORED = Path(__file__).with_name("clip.mp4")
FRAMES_PER_S = 24
ENCODER = (("preset", "superfast"), ("crf", "27"), ("g", "48"), ("tune", "zerolatency"))
AUDIO_BITS_PER_S = 48_000
LONG_SIDE, SHORT_SIDE = 1280, 720
MARGIN = 96
TEXT_SIZES = (64, 52, 42, 34, 27, 22)
LIGHT_SIZE = 360
LIGHT_LUMA = 235
LINE_LUMA = 225
NO_COLOUR = 128
LINE_HEIGHT = 6
LINE_ABOVE_BOTTOM = 72
SPACING = 14
SAMPLES_PER_S = 48_000
SAMPLES_PER_FRAME = 1024
TONE_FADE_S = 0.5
PROMPT_SHOWN_CHARS = 2000


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """The content of a clip. ``caption`` is the small text at the bottom; ``seed`` decides how the light moves."""

    prompt: str
    caption: str
    duration_s: int
    portrait: bool
    audio: bool
    seed: str


def clip(spec: ClipSpec | None) -> bytes:
    """An MP4 with its index in front: the stored clip for None or if drawing isn't possible.

    To be quick, it always has 1280x720 pixels (720x1280), so a 1080p or 4k run reports a larger size than its clip
    has. It takes a fraction of a second of CPU time, so don't call this in an event loop.
    """
    if spec is None or not CAN_DRAW:
        return STORED.read_bytes()
    width, height = (SHORT_SIDE, LONG_SIDE) if spec.portrait else (LONG_SIDE, SHORT_SIDE)
    with tempfile.TemporaryDirectory() as folder:  # moving the index to the front needs a real file
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            video = container.add_stream("libx264", rate=FRAMES_PER_S)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.options = dict(ENCODER)
            sound = container.add_stream("aac", rate=SAMPLES_PER_S, layout="mono") if spec.audio else None
            if sound is not None:
                sound.bit_rate = AUDIO_BITS_PER_S
            _encode_video(spec, container, video, _picture(spec, width, height))
            if sound is not None:
                _encode_sound(spec, container, sound)
        return path.read_bytes()


def _encode_video(
    spec: ClipSpec, container: "av.container.OutputContainer", stream: "av.VideoStream", picture: "Image.Image"
) -> None:
    """Encode every frame: the still picture, a light that moves over it, and the progress bar."""
    width, height = picture.size
    still = [
        Image.frombuffer("L", (plane.line_size, plane.height), bytes(plane), "raw", "L", 0, 1)
        for plane in av.VideoFrame.from_image(picture).reformat(format="yuv420p").planes
    ]
    chance = random.Random(spec.seed)
    turn, phase = chance.choice((-1, 1)), chance.random()
    light = _light()
    frames = spec.duration_s * FRAMES_PER_S
    for number in range(frames):
        share = number / (frames - 1)
        angle = 2 * math.pi * (phase + turn * share)
        center = (width * (0.5 + 0.34 * math.cos(angle)), height * (0.5 + 0.3 * math.sin(angle)))
        luma, *chroma = (plane.copy() for plane in still)
        luma.paste(LIGHT_LUMA, (round(center[0] - LIGHT_SIZE / 2), round(center[1] - LIGHT_SIZE / 2)), light)
        done = (width - 2 * MARGIN) * share
        for plane, scale, fill in ((luma, 1, LINE_LUMA), *((plane, 2, NO_COLOUR) for plane in chroma)):
            box = (MARGIN, height - LINE_ABOVE_BOTTOM, MARGIN + done, height - LINE_ABOVE_BOTTOM + LINE_HEIGHT)
            left, top, right, bottom = (int(edge) // scale for edge in box)
            plane.paste(fill, (left, top, right, bottom))
        frame = av.VideoFrame(width, height, "yuv420p")
        for target, plane in zip(frame.planes, (luma, *chroma), strict=True):
            target.update(plane.tobytes())
        frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_S)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _encode_sound(spec: ClipSpec, container: "av.container.OutputContainer", stream: "av.AudioStream") -> None:
    """Encode a soft chord as long as the video, fading in and out."""
    root = 110 + 11 * (_digest(spec.prompt)[0] % 12)
    # Whole numbers of Hz, so that one second loops without a click.
    parts = ((root, 0.10), (root * 3 // 2, 0.06), (root * 2, 0.05), (root * 5 // 2, 0.03))
    turn = 2 * math.pi / SAMPLES_PER_S
    second = array("f", [sum(a * math.sin(turn * f * n) for f, a in parts) for n in range(SAMPLES_PER_S)])
    endless = second + second[:SAMPLES_PER_FRAME]
    total = spec.duration_s * SAMPLES_PER_S
    fade = round(TONE_FADE_S * SAMPLES_PER_S)
    for begin in range(0, total, SAMPLES_PER_FRAME):
        count = min(SAMPLES_PER_FRAME, total - begin)
        start = begin % SAMPLES_PER_S
        samples = endless[start : start + count]
        if begin < fade or begin + count > total - fade:
            loudness = (min(1.0, n / fade, (total - n) / fade) for n in range(begin, begin + count))
            samples = array("f", map(operator.mul, samples, loudness))
        frame = av.AudioFrame(format="fltp", layout="mono", samples=count)
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES_PER_S, begin, Fraction(1, SAMPLES_PER_S)
        frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _picture(spec: ClipSpec, width: int, height: int) -> "Image.Image":
    """The still picture: a gradient derived from the prompt, the prompt, the caption, and an empty progress bar."""
    picture = _gradient(spec.prompt, width, height)
    small = _font(22)
    font, text = _fitted(spec.prompt, width - 2 * MARGIN, height - 2 * MARGIN - 110)
    shadow = Image.new("L", picture.size, 0)
    place = (MARGIN, (height - 90) // 2)
    ImageDraw.Draw(shadow).multiline_text((place[0], place[1] + 3), text, 150, font, "lm", spacing=SPACING)
    picture.paste((8, 10, 24), (0, 0), shadow.filter(ImageFilter.GaussianBlur(7)))
    pen = ImageDraw.Draw(picture)
    pen.multiline_text(place, text, (248, 248, 250), font, "lm", spacing=SPACING)
    line = height - LINE_ABOVE_BOTTOM
    pen.text((MARGIN, line - 22), spec.caption, (214, 218, 228), small, "ls")
    pen.text((width - MARGIN, line - 22), "sandbox", (214, 218, 228), small, "rs")
    pen.rectangle((MARGIN, line, width - MARGIN - 1, line + LINE_HEIGHT - 1), (70, 74, 92))
    return picture


def _gradient(prompt: str, width: int, height: int) -> "Image.Image":
    seed = _digest(prompt)
    hue = seed[1] / 256
    corners = Image.new("RGB", (3, 3))
    for index in range(9):
        shade = seed[2 + index] / 256
        tone = colorsys.hsv_to_rgb((hue + 0.16 * (index % 3 + index // 3) / 4) % 1, 0.55, 0.30 + 0.26 * shade)
        corners.putpixel((index % 3, index // 3), tuple(round(255 * part) for part in tone))
    return corners.resize((width, height), Image.Resampling.BICUBIC)


def _light() -> "Image.Image":
    """The opacity of the moving light: highest in the middle, zero at the edge."""
    radial = Image.radial_gradient("L").resize((LIGHT_SIZE, LIGHT_SIZE))
    return radial.point([max(0, round(70 * (1 - value / 180) ** 2)) if value < 180 else 0 for value in range(256)])


def _fitted(prompt: str, width: int, height: int) -> "tuple[ImageFont.FreeTypeFont, str]":
    """The largest font in which the wrapped prompt fits, and its lines; cut off if even the smallest is too large."""
    text = _drawable(prompt)
    for size in TEXT_SIZES:
        font = _font(size)
        lines = _wrapped(text, font.getlength, width)
        room = height // (size + SPACING + size // 5)
        if len(lines) <= room and all(font.getlength(line) <= width for line in lines):
            return font, "\n".join(lines)
    return font, "\n".join([*lines[: room - 1], "…"])


def _font(size: int) -> "ImageFont.FreeTypeFont":
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "the scalable font needs Pillow with FreeType"
    return font


def _wrapped(text: str, length: Callable[[str], float], width: int) -> list[str]:
    """Wrap text to lines of at most ``width`` pixels; a longer word is broken."""
    lines, line = [], ""
    for word in text.split():
        if line and length(f"{line} {word}") > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
        while length(line) > width:
            fits = bisect.bisect([*itertools.accumulate(map(length, line))], width) or 1
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line]


def _drawable(prompt: str) -> str:
    """The prompt without the characters that the built-in font can't draw."""
    font = _font(24)
    unknown = bytes(font.getmask("\uffff"))
    shown = prompt[:PROMPT_SHOWN_CHARS].encode(errors="ignore").decode()
    missing = {mark for mark in set(shown) if not mark.isspace() and bytes(font.getmask(mark)) == unknown}
    kept = "".join(mark for mark in shown if mark not in missing)
    return " ".join(kept.split()) or "(this font can't draw the prompt)"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
