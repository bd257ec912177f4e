"""The shelf of clips: links that expire and cannot be forged or prolonged, and what is thrown away when."""

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
class Shelf:
    """A folder with clips in it, and the time."""

    folder: Path
    now: float = START
    media: Media = field(init=False)

    def __post_init__(self) -> None:
        self.media = self.opened()

    def opened(self, *, key: bytes = KEY, public_url: str | None = "https://bot.example") -> Media:
        return Media(self.folder, key=key, keep_s=KEEP_S, public_url=public_url, now=lambda: self.now)

    def put(self, name: str, *, age_s: float = 0.0) -> Path:
        path = self.folder / name
        path.write_bytes(b"film")
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
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path)
    made.put(NAME)
    made.put(OTHER)
    return made


def test_a_link_leads_to_its_clip(shelf: Shelf) -> None:
    """A fresh link finds exactly the clip that it names, also after a restart with the same key."""
    token = shelf.token()
    assert shelf.media.find(token, NAME) == shelf.folder / NAME == shelf.media.path(NAME)
    assert shelf.opened().find(token, NAME) == shelf.folder / NAME


def test_a_link_dies_at_its_second(shelf: Shelf) -> None:
    """Valid until the moment that it tells, and not at it or after it."""
    token = shelf.token()
    shelf.now = START + KEEP_S - 0.001
    assert shelf.media.find(token, NAME) is not None
    for later in (0.0, 1.0, 1e9):
        shelf.now = START + KEEP_S + later
        assert shelf.media.find(token, NAME) is None


def test_a_clip_lives_as_long_as_its_latest_link(shelf: Shelf) -> None:
    """Making a link keeps the clip from being swept before that link ends."""
    shelf.now = START + KEEP_S - 1
    token = shelf.token()
    shelf.now = START + 2 * KEEP_S - 1.5
    shelf.media.sweep()
    assert shelf.media.find(token, NAME) is not None
    assert not (shelf.folder / OTHER).exists()
    shelf.now = START + 2 * KEEP_S
    shelf.media.sweep()
    assert shelf.media.find(token, NAME) is None
    assert not (shelf.folder / NAME).exists()


def test_no_altered_link_finds_anything(shelf: Shelf) -> None:
    """Each changed character, another clip's name, another key and a later expiry are all refused."""
    token = shelf.token()
    for place, letter in enumerate(token):
        altered = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        assert shelf.media.find(altered, NAME) is None
    assert shelf.media.find(token, OTHER) is None
    assert shelf.opened(key=b"K" * 32).find(token, NAME) is None
    octets = base64.urlsafe_b64decode(token)
    prolonged = struct.pack(">Q", int(START + KEEP_S) + 1) + octets[8:]
    assert shelf.media.find(base64.urlsafe_b64encode(prolonged).decode(), NAME) is None
    endless = struct.pack(">Q", 2**64 - 1) + octets[8:]
    assert shelf.media.find(base64.urlsafe_b64encode(endless).decode(), NAME) is None


@pytest.mark.parametrize(
    "name",
    ["", NAME.upper(), "veo-.mp4", "veo-abc018.mp4", f"{NAME}\n", f"{NAME}.part", f"../{NAME}", f"x/{NAME}",
     "../../etc/passwd", "veo-../../x.mp4", "veo-abc234.mp4/", "/etc/passwd", "veo-abc234\0.mp4", "veo-äbc.mp4",
     "veo.db"],
)  # fmt: skip
def test_only_names_of_clips_lead_anywhere(shelf: Shelf, name: str) -> None:
    """No other name is looked for on disk, whatever the token."""
    assert shelf.media.find(shelf.token(), name) is None
    with pytest.raises(InvariantError):
        shelf.media.path(name)


def test_what_is_gone_or_no_file_is_not_found(shelf: Shelf) -> None:
    """A valid link to a clip that was thrown away, or to a folder of that name, finds nothing."""
    token = shelf.token()
    shelf.media.discard(NAME)
    assert shelf.media.find(token, NAME) is None
    (shelf.folder / NAME).mkdir()
    assert shelf.media.find(token, NAME) is None
    shelf.media.discard("veo-never.mp4")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    token=st.text(max_size=40) | st.text("AZaz09-_", min_size=32, max_size=32),
    name=st.text(max_size=20) | st.just(NAME),
)
def test_nothing_guessed_is_found(shelf: Shelf, token: str, name: str) -> None:
    """Any token and any name: nothing is found, and nothing raises."""
    assert shelf.media.find(token, name) is None


def test_without_an_address_there_is_no_link(shelf: Shelf) -> None:
    """PUBLIC_URL unset: no link of our own can be given."""
    assert shelf.opened(public_url=None).link(NAME) is None


def test_the_sweep_takes_what_is_old_and_ours(shelf: Shelf) -> None:
    """Clips and broken-off downloads older than they are kept go; young ones and other people's files stay."""
    for path in shelf.folder.iterdir():
        path.unlink()
    old = [shelf.put("veo-old234.mp4", age_s=KEEP_S + 1), shelf.put("veo-old567.mp4.0a1b2c3d.part", age_s=KEEP_S + 1)]
    kept = [
        shelf.put("veo-new234.mp4", age_s=KEEP_S - 1),
        shelf.put("veo-new567.mp4.0a1b2c3d.part", age_s=0),
        shelf.put("holiday.mp4", age_s=10 * KEEP_S),
        shelf.put(".gitkeep", age_s=10 * KEEP_S),
        *(
            shelf.put(name, age_s=10 * KEEP_S)
            for name in ("veo-bot.db", "veo-backup.db", "veo-old234.mp4.bak", "veo-x.part")
        ),
    ]
    shelf.media.sweep()
    assert [path.exists() for path in old] == [False, False]
    assert [path.exists() for path in kept] == [True] * 8


def test_the_sweep_is_not_stopped_by_what_vanishes(shelf: Shelf) -> None:
    """A name that is listed but gone when it is looked at, as under a delivery at the same moment, is passed over."""
    for path in shelf.folder.iterdir():
        path.unlink()
    (shelf.folder / "veo-gone234.mp4").symlink_to(shelf.folder / "nowhere")  # listed, and not there for `stat`
    old = shelf.put("veo-old234.mp4", age_s=KEEP_S + 1)
    shelf.media.sweep()
    assert not old.exists()


def test_a_shelf_that_was_never_used_can_be_swept(tmp_path: Path) -> None:
    """Before the first clip there is no folder, and nothing to throw away."""
    Shelf(tmp_path / "none").media.sweep()
    assert not (tmp_path / "none").exists()


def test_the_shelf_is_its_owners_alone(tmp_path: Path) -> None:
    """Made so, and made so where an older version left it open; what lies in it stays."""
    for folder in (tmp_path / "a" / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir(mode=0o755)
            (folder / NAME).write_bytes(b"film")
        shelf = Shelf(folder)
        shelf.media.prepare()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert shelf.media.takes_clips()
    assert [each.name for each in tmp_path.rglob("*.*")] == [NAME]


@pytest.mark.parametrize("place", ["file", "file/media", "/proc/nowhere", "/dev/null", "x" * 300, "loop/media"])
def test_a_folder_that_cannot_be_used_is_told_by_its_setting(tmp_path: Path, place: str) -> None:
    """One sentence that names MEDIA_DIR, where it leads and what is wrong with it."""
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "loop").symlink_to("loop")
    media = Shelf(tmp_path / place).media
    with pytest.raises(MediaError) as told:
        media.prepare()
    assert re.fullmatch(r"MEDIA_DIR \S+ cannot be used \([^)]+\); name a folder in which .+\.", str(told.value))
    assert not media.takes_clips()
    assert not media.holds(NAME)


def test_a_clip_that_cannot_be_kept_gets_no_link_of_ours(shelf: Shelf) -> None:
    """One that has vanished, or whose disk is read-only by now: there is Runflow's link."""
    (shelf.folder / NAME).unlink()
    assert shelf.media.link(NAME) is None
    (shelf.folder / OTHER).unlink()
    (shelf.folder / OTHER).mkdir()
    shelf.media.discard(OTHER)  # no trouble of whoever has just delivered it
