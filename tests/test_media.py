"""Clips on disk: links that expire and cannot be forged or extended, and when clips are deleted."""

from __future__ import annotations

import base64
import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError, MediaError
from bot.media import Media

START = 1_800_000_000.0
KEEP_S = 1000.0
NAME, OTHER = "veo-abc234.mp4", "veo-xyz567.mp4"
KEY = b"k" * 32


@dataclass
class Folder:
    """A folder with clips in it, and a clock."""

    folder: Path
    now: float = START
    media: Media = field(init=False)

    def __post_init__(self) -> None:
        self.media = self.opened()

    def opened(self, *, key: bytes = KEY, public_url: str | None = "https://bot.example") -> Media:
        return Media(self.folder, key=key, keep_s=KEEP_S, public_url=public_url, now=lambda: self.now)

    def put(self, name: str, *, age_s: float = 0.0) -> Path:
        path = self.folder / name
        path.write_bytes(b"video")
        os.utime(path, (self.now - age_s, self.now - age_s))
        return path

    def token(self, name: str = NAME) -> str:
        """The token of a fresh link."""
        link = self.media.link(name)
        assert link is not None
        beginning, token, end = link.url.rsplit("/", 2)
        assert (beginning, end) == ("https://bot.example/media", name)
        assert link.expires_at == int(self.now + KEEP_S)
        return token


@pytest.fixture
def clips(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.put(NAME)
    made.put(OTHER)
    return made


def test_a_link_leads_to_its_clip(clips: Folder) -> None:
    """A new link finds exactly the clip that it names, also after a restart with the same key."""
    token = clips.token()
    assert clips.media.find(token, NAME) == clips.folder / NAME == clips.media.path(NAME)
    assert clips.opened().find(token, NAME) == clips.folder / NAME


def test_a_link_expires_at_its_second(clips: Folder) -> None:
    """It is valid until the moment that it names, and not at it or after it."""
    token = clips.token()
    clips.now = START + KEEP_S - 0.001
    assert clips.media.find(token, NAME) is not None
    for later in (0.0, 1.0, 1e9):
        clips.now = START + KEEP_S + later
        assert clips.media.find(token, NAME) is None


def test_a_clip_is_kept_as_long_as_its_latest_link(clips: Folder) -> None:
    """A new link keeps the sweep from deleting the clip before that link expires."""
    clips.now = START + KEEP_S - 1
    token = clips.token()
    clips.now = START + 2 * KEEP_S - 1.5
    clips.media.sweep()
    assert clips.media.find(token, NAME) is not None
    assert not (clips.folder / OTHER).exists()
    clips.now = START + 2 * KEEP_S
    clips.media.sweep()
    assert clips.media.find(token, NAME) is None
    assert not (clips.folder / NAME).exists()


def test_no_altered_link_finds_anything(clips: Folder) -> None:
    """A changed character, another clip's name, another key and a later expiry are all refused."""
    token = clips.token()
    for place, letter in enumerate(token):
        altered = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        assert clips.media.find(altered, NAME) is None
    assert clips.media.find(token, OTHER) is None
    assert clips.opened(key=b"K" * 32).find(token, NAME) is None
    octets = base64.urlsafe_b64decode(token)
    prolonged = struct.pack(">Q", int(START + KEEP_S) + 1) + octets[8:]
    assert clips.media.find(base64.urlsafe_b64encode(prolonged).decode(), NAME) is None
    endless = struct.pack(">Q", 2**64 - 1) + octets[8:]
    assert clips.media.find(base64.urlsafe_b64encode(endless).decode(), NAME) is None


@pytest.mark.parametrize(
    "name",
    ["", NAME.upper(), "veo-.mp4", "veo-abc018.mp4", f"{NAME}\n", f"{NAME}.part", f"../{NAME}", f"x/{NAME}",
     "../../etc/passwd", "veo-../../x.mp4", "veo-abc234.mp4/", "/etc/passwd", "veo-abc234\0.mp4", "veo-äbc.mp4",
     "veo.db"],
)  # fmt: skip
def test_only_names_of_clips_are_looked_up(clips: Folder, name: str) -> None:
    """No other name is looked for on disk, whatever the token."""
    assert clips.media.find(clips.token(), name) is None
    with pytest.raises(InvariantError):
        clips.media.path(name)


def test_a_deleted_clip_or_a_folder_is_not_found(clips: Folder) -> None:
    """A valid link to a clip that was deleted, or to a folder of that name, finds nothing."""
    token = clips.token()
    clips.media.discard(NAME)
    assert clips.media.find(token, NAME) is None
    (clips.folder / NAME).mkdir()
    assert clips.media.find(token, NAME) is None
    clips.media.discard("veo-never.mp4")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    token=st.text(max_size=40) | st.text("AZaz09-_", min_size=32, max_size=32),
    name=st.text(max_size=20) | st.just(NAME),
)
def test_no_guess_finds_anything(clips: Folder, token: str, name: str) -> None:
    """Any token and any name: nothing is found, and nothing raises."""
    assert clips.media.find(token, name) is None


def test_without_a_public_url_there_is_no_link(clips: Folder) -> None:
    """Then members get a link from Runflow."""
    assert clips.opened(public_url=None).link(NAME) is None


def test_the_sweep_deletes_what_is_old_and_ours(clips: Folder) -> None:
    """Old clips and unfinished downloads are deleted; new ones and other people's files stay."""
    for path in clips.folder.iterdir():
        path.unlink()
    old = [clips.put("veo-old234.mp4", age_s=KEEP_S + 1), clips.put("veo-old567.mp4.0a1b2c3d.part", age_s=KEEP_S + 1)]
    kept = [
        clips.put("veo-new234.mp4", age_s=KEEP_S - 1),
        clips.put("veo-new567.mp4.0a1b2c3d.part", age_s=0),
        clips.put("holiday.mp4", age_s=10 * KEEP_S),
        clips.put(".gitkeep", age_s=10 * KEEP_S),
        *(
            clips.put(name, age_s=10 * KEEP_S)
            for name in ("veo-bot.db", "veo-backup.db", "veo-old234.mp4.bak", "veo-x.part")
        ),
    ]
    clips.media.sweep()
    assert [path.exists() for path in old] == [False, False]
    assert [path.exists() for path in kept] == [True] * 8


def test_the_sweep_goes_on_when_a_file_vanishes(clips: Folder) -> None:
    """A file that is listed but gone when it is looked at, as during a delivery, is skipped."""
    for path in clips.folder.iterdir():
        path.unlink()
    (clips.folder / "veo-gone234.mp4").symlink_to(clips.folder / "nowhere")  # listed, and not there for `stat`
    old = clips.put("veo-old234.mp4", age_s=KEEP_S + 1)
    clips.media.sweep()
    assert not old.exists()


def test_a_folder_that_does_not_exist_yet_can_be_swept(tmp_path: Path) -> None:
    """Before the first clip there is no folder and nothing to delete."""
    Folder(tmp_path / "none").media.sweep()
    assert not (tmp_path / "none").exists()


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It is made so, also where an older version left it open; the files in it stay."""
    for folder in (tmp_path / "a" / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir(mode=0o755)
            (folder / NAME).write_bytes(b"video")
        clips = Folder(folder)
        clips.media.prepare()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert clips.media.has_room()
    assert [each.name for each in tmp_path.rglob("*.*")] == [NAME]


@pytest.mark.parametrize("place", ["file", "file/media", "/proc/nowhere", "/dev/null", "x" * 300, "loop/media"])
def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path, place: str) -> None:
    """One sentence names MEDIA_DIR, its folder and what is wrong with it."""
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "loop").symlink_to("loop")
    media = Folder(tmp_path / place).media
    with pytest.raises(MediaError) as told:
        media.prepare()
    assert re.fullmatch(
        r"MEDIA_DIR \S+ cannot be used \([^)]+\); set it to a folder that the bot can write to, .+\.", str(told.value)
    )
    assert not media.has_room()
    assert not media.holds(NAME)


def test_a_clip_that_cannot_be_kept_gets_no_link_of_ours(clips: Folder) -> None:
    """A clip that has vanished, or whose disk is read-only now, gets a link from Runflow instead."""
    (clips.folder / NAME).unlink()
    assert clips.media.link(NAME) is None
    (clips.folder / OTHER).unlink()
    (clips.folder / OTHER).mkdir()
    clips.media.discard(OTHER)  # must not raise: its delivery is done
