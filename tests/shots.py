"""Draws every card as Discord's members see it: `make shots` writes the pictures of `docs/`.

One member asks for one video of each sort in the sandbox, with the real bot; the chat page draws what comes of it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from tests.harness import ROOT, Scene, read, scene
from tests.test_page import CHROMIUM, QUIET

FOLDER = ROOT / "docs"
FOX = "a red fox walks through fresh snow at dawn, low sun, soft wind"
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": {"width": 760, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 760, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
BEST = {"question": "Make this for", "line": "In line · ", "quota": "What you have left"}
COLOURS = 160
# The ways to end without a video.
ENDS: tuple[Mapping[str, Any], ...] = ({"nsfw": True}, {"end": "policy"}, {"end": "failed"}, {"end": "empty"})


async def draw(folder: Path) -> None:
    """Draw all cards, in each look, into the folder."""
    async with async_playwright() as player:
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            with tempfile.TemporaryDirectory() as data:
                async with scene(
                    Path(data),
                    QUOTA_USER_USD="40.00",
                    RUNS_IN_FLIGHT_TOTAL="1",
                    PUBLIC_URL="",
                    runflow={"clip": "drawn"},
                ) as world:
                    await _tell(world)
                    for look, settings in LOOKS.items():
                        await _shoot(browser, world, folder / f"cards-{look}.png", settings)
                    await _shoot_best(browser, world, folder)
                    await _shoot_form(browser, world, folder / "form.png")
        finally:
            await browser.close()
    for path in folder.glob("*.png"):
        with Image.open(path) as image:  # of flat colours, so few say as much in a third of the size
            image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


async def _tell(world: Scene) -> None:
    """Everything that a member may be shown, one after the other."""
    await world.act("requests", channel=world.discord.world.channel("general"))
    question = await world.answer_to(await world.veo(FOX, resolution="4k"))
    assert "Make this for" in question["content"]
    done = await world.veo(FOX, seed=42)
    result = await world.end_of(done)
    await world.card(done, "in the channel")
    await world.press(result, "Receipt")
    for end in ENDS:
        world.runflow.next_run(**end)
        used = await world.veo(FOX)
        post = await world.end_of(used)
        await used.wait(lambda each: "harged" in read(each)["content"])
    await world.press(post, "Details")
    await world.use("veo-history", by="Bo")
    quota = await world.use("veo-quota", by="Bo")
    await quota.wait(lambda each: "left" in read(each)["content"])
    world.runflow.next_run(run_s=3600.0)
    making = await world.veo(FOX)
    await world.card(making, "Making your video")
    await world.card(await world.veo("a blue fox"), "In line")
    await world.act("limit set", amount="0.50", member=world.member())
    refused = await world.answer_to(await world.veo(FOX))
    assert "limit" in refused["content"]


async def _shoot(browser: Browser, world: Scene, path: Path, look: Mapping[str, Any]) -> None:
    page = await _open(browser, world, look)
    messages = page.locator("#messages")
    box = await messages.bounding_box()
    assert box is not None
    await page.set_viewport_size({"width": look["viewport"]["width"], "height": int(box["height"]) + 250})
    await messages.screenshot(path=path)
    await page.context.close()


async def _shoot_best(browser: Browser, world: Scene, folder: Path) -> None:
    """Those that the README shows: a few cards by themselves, and the page with a video in it."""
    page = await _open(browser, world, LOOKS["light"])
    for name, text in BEST.items():
        await page.locator("#messages > li").filter(has_text=text).last.screenshot(path=folder / f"{name}.png")
    await page.set_viewport_size({"width": 1200, "height": 800})
    video = page.locator("#messages > li").filter(has_text="here's your video").first
    await video.evaluate("each => each.scrollIntoView({block: 'end'})")
    await page.wait_for_timeout(500)
    await page.screenshot(path=folder / "page.png")
    await page.context.close()


async def _shoot_form(browser: Browser, world: Scene, path: Path) -> None:
    page = await _open(browser, world, LOOKS["light"])
    await page.get_by_role("button", name="Change", exact=True).first.click()
    form = page.get_by_role("dialog")
    await form.wait_for()
    await form.screenshot(path=path)
    await page.context.close()


async def _open(browser: Browser, world: Scene, look: Mapping[str, Any]) -> Page:
    page = await (await browser.new_context(**look)).new_page()
    await page.goto(f"{world.discord.url}/?as=Bo&channel=video-lab")
    await page.locator("#messages li").last.wait_for()
    await page.wait_for_timeout(1000)  # pictures and videos load
    return page


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]) if sys.argv[1:] else FOLDER))
