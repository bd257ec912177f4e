"""The documents say what is: every command in them is run, every link leads somewhere, every price is the table's."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from bot.domain.models import DURATIONS, Resolution, VeoRequest
from bot.domain.money import usd
from bot.domain.prices import PriceTable
from bot.settings import PRICES_USD_PER_SECOND, Settings
from tests.harness import ROOT, Scene
from tests.test_worlds import GUARDS

README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def run(command: str, folder: Path, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """A command as a person would give it: not as a part of the make that may have started the tests."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=plain, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project as it is committed or about to be, with the environment that is already there."""
    listed = run("git ls-files --cached --others --exclude-standard", ROOT).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def test_the_readme_holds_the_commands_that_are_tested_here() -> None:
    """A command that is added to the README needs its test."""
    assert COMMANDS == [
        "make demo",
        'make demo ARGS="--headless --out clip.mp4"',
        "make test",
        "install -m 600 .env.example .env",
        ".venv/bin/python -m bot run",
        "docker build -t veo-bot .",
        "docker run -d --name veo-bot --restart unless-stopped --env-file .env -v veo-data:/data "
        "-p 127.0.0.1:8080:8080 veo-bot",
    ]


def test_every_fault_in_the_docs_has_its_test() -> None:
    """Each row of the table of faults names tests that are there."""
    text = (ROOT / "docs" / "faults.md").read_text()
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", text)
    assert len(named) > 30
    for file, name in named:
        assert re.search(rf"def {name}\(", (ROOT / file).read_text()), f"{file} has no {name}"
    assert f"{len(GUARDS)} guards" in text.replace("Twenty-three", "23")
    for row in re.findall(r"^\|.*\|$", text.split("## When")[0], re.MULTILINE):
        assert row.count("|") == 5, row


def test_the_headless_demo_writes_the_clip(clone: Path) -> None:
    """The README's command delivers, in a copy of the project, through make."""
    done = run('make demo ARGS="--headless --out clip.mp4"', clone)
    assert done.returncode == 0, done.stderr
    assert '"outcome": "delivered"' in done.stdout.splitlines()[-1]
    assert (clone / "clip.mp4").stat().st_size > 10_000


def test_make_test_is_every_check_of_ci(clone: Path) -> None:
    """`make test` names format, lint, types, imports and tests, and `.ci/run` calls exactly it."""
    recipe = run("make --dry-run test", clone).stdout
    for check in ("ruff format --check", "ruff check", "mypy", "lint-imports", "pytest"):
        assert check in recipe
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


def test_the_copied_example_asks_for_the_two_secrets(clone: Path) -> None:
    """Following the README without filling in the secrets names both of them."""
    done = run("install -m 600 .env.example .env && env -i PATH=$PATH .venv/bin/python -m bot run", clone)
    assert done.returncode == 2
    assert "DISCORD_TOKEN" in done.stderr
    assert "RUNFLOW_API_KEY" in done.stderr


def test_the_image_holds_what_the_bot_needs_and_no_sandbox(tmp_path: Path) -> None:
    """What the Dockerfile copies starts by itself; the demo says that it is not part of it."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (\w+)/ \w+/$", dockerfile, re.MULTILINE):
        shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    started = run(f"{sys.executable} -m bot run", tmp_path)
    assert (started.returncode, "DISCORD_TOKEN is not set" in started.stderr) == (2, True)
    demo = run(f"{sys.executable} -m bot demo", tmp_path)
    assert demo.stderr == "This installation has no sandbox; run demo and sandbox from a checkout of the source.\n"
    assert demo.returncode == 2


def test_the_image_is_built_as_promised() -> None:
    """Two stages, hashed packages without the clip maker, an ordinary user, a health check, a volume."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert len(re.findall(r"^FROM ", dockerfile, re.MULTILINE)) == 2
    for promised in ("--require-hashes", "USER 10001", "HEALTHCHECK", "VOLUME /data", "sqlite:////data/veo.db"):
        assert promised in dockerfile
    names = set(re.findall(r"\b([A-Z]+_[A-Z_]+)=", dockerfile)) - {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert {name.removeprefix("IMAGE_").lower() for name in names} <= {each.name for each in fields(Settings)}
    assert "av==" not in (ROOT / "requirements" / "run.txt").read_text()


async def test_the_images_health_check_asks_the_operators_listener_without_a_proxy(world: Scene) -> None:
    """Docker passes the proxies of its own configuration on to every container."""
    code = re.search(r'CMD \["python", "-c", "(.*)"\]', (ROOT / "Dockerfile").read_text())
    assert code is not None

    async def healthy(port: str) -> bool:
        environment = {"OPERATOR_PORT": f"'{port}' # as docker --env-file keeps it"}
        environment |= dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
        check = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code[1]), cwd=ROOT, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        return await check.wait() == 0

    assert await healthy(world.operator_url.rpartition(":")[2])
    assert not await healthy(world.environment["WEB_PORT"])


@pytest.mark.parametrize("file", ["run", "clips", "dev"])
def test_locked_packages_have_hashes_and_no_address(file: str) -> None:
    """The same bytes everywhere, from whichever index the machine uses."""
    text = (ROOT / "requirements" / f"{file}.txt").read_text()
    packages = re.findall(r"^[a-z][^\n]*", text, re.MULTILINE)
    assert packages
    assert all("==" in each for each in packages)
    assert len(re.findall(r"^[a-z][^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(packages)
    assert "://" not in text


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_into_the_project_leads_somewhere(name: str) -> None:
    """No picture and no page is missing."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text()):
        assert (ROOT / target).exists(), target


def test_the_readmes_prices_are_the_tables() -> None:
    """What people read is what is held."""
    prices = PriceTable(Settings(discord_token="a", runflow_api_key="b").price_usd_per_second)
    assert set(PRICES_USD_PER_SECOND) == {"720p", "1080p", "4k"}
    rows: dict[str, Resolution] = {"720p, 1080p": "720p", "4k": "4k"}
    for label, resolution in rows.items():
        quotes = [
            usd(prices.quote(VeoRequest(prompt="x", duration=duration, resolution=resolution, generate_audio=audio)))
            for audio in (False, True)
            for duration in DURATIONS
        ]
        assert f"| {label} | {' | '.join(quotes)} |" in README
