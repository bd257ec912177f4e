"""The real bot on the chat page: what a member does with the mouse and the keyboard, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from tests.harness import WAIT_S, scene
from tests.test_page import CHROMIUM, QUIET, line_of

WAIT_MS = WAIT_S * 1000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


async def test_a_member_makes_changes_and_finds_videos_with_mouse_and_keyboard(tmp_path: Path) -> None:
    """`/veo`, then `Again`, `Change` with its form, the quota, and a video found by words of its prompt."""
    async with (
        scene(tmp_path, QUOTA_USER_USD="20.00") as world,
        async_playwright() as player,
        await player.chromium.launch(executable_path=CHROMIUM, args=QUIET) as browser,
    ):
        page = await browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(WAIT_MS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(f"{world.discord.url}/?as=Bo&channel=video-lab")
        await page.locator("#intro section").first.wait_for()

        async def send(line: str) -> None:
            await line_of(page).fill(line)
            await page.keyboard.press("Enter")
            if " " not in line:  # so far only the command was picked
                await page.keyboard.press("Enter")

        results = page.locator("#messages > li").filter(has=page.locator("video"))
        await send("/veo prompt:a red fox duration:4s")
        await expect(results).to_have_count(1, timeout=WAIT_MS)
        await results.last.get_by_role("button", name="Again · $1.60").click()
        await expect(results).to_have_count(2, timeout=WAIT_MS)
        await results.last.get_by_role("button", name="Change").click()
        form = page.get_by_role("dialog", name="Change your video")
        await form.get_by_label("Prompt").fill("a blue fox")
        await form.get_by_role("button", name="Submit").click()
        await expect(results).to_have_count(3, timeout=WAIT_MS)
        await expect(results.last).to_contain_text("“a blue fox”")
        await send("/veo-quota")
        await expect(page.locator("#messages > li").last).to_contain_text("$15.20 left of $20.00 this month")
        assert [run.input["prompt"] for run in world.runflow.runs.values()] == ["a red fox", "a red fox", "a blue fox"]
        assert faults == []
