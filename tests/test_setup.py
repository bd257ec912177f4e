"""`setup.sh` on machines of every kind, played by stand-ins for python, pip and uv on an otherwise empty PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

NO_PYTHON = (
    "setup: Python 3.11 or newer is needed and was not found; install it, or name it with PYTHON=/path/to/python."
)
TOOLS = ("sh", "cat", "cksum", "dirname", "rm", "env")


class Machine:
    """A folder with the project's set-up and a PATH that holds only what is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "path"
        self.path.mkdir()
        (folder / "requirements").mkdir()
        for name in ("run", "clips", "dev"):
            (folder / "requirements" / f"{name}.txt").write_text("# nothing, so that nothing is downloaded\n")
        shutil.copy(ROOT / "setup.sh", folder)
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self.path / name).symlink_to(found)

    def put(self, name: str, script: str) -> None:
        """A command of this machine: a script, logged when it is called."""
        file = self.path / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.folder}/calls\n{script}\n')
        file.chmod(0o755)

    def setup(self, goal: str = "demo") -> subprocess.CompletedProcess[str]:
        home = {"PATH": str(self.path), "HOME": os.environ.get("HOME", "/"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return subprocess.run(
            ["sh", "setup.sh", goal], cwd=self.folder, env=home, capture_output=True, text=True, check=False
        )

    @property
    def calls(self) -> str:
        return (self.folder / "calls").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


REAL = f'exec {sys.executable} "$@"'
MANAGED = f"""case "$*" in
*ensurepip*) echo "ensurepip is not available" >&2; exit 1;;
"-m pip install"*) echo "error: externally-managed-environment" >&2; exit 1;;
esac
{REAL}"""


def test_a_python_without_ensurepip_whose_pip_refuses_is_enough(machine: Machine) -> None:
    """Debian's python3 as it comes: the environment is made all the same, beside nothing else."""
    machine.put("python3", MANAGED)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert (machine.folder / ".venv" / "bin" / "python").exists()
    assert "-m venv --without-pip .venv" in machine.calls
    assert "-m pip --python .venv/bin/python install" in machine.calls
    assert machine.calls.count("--require-hashes") == 2


def test_the_second_time_is_quick_and_a_change_is_noticed(machine: Machine) -> None:
    """What is installed is compared with what is asked for, not assumed."""
    machine.put("python3", REAL)
    assert machine.setup().returncode == 0
    before = machine.calls
    assert machine.setup().stdout == ""
    assert " install " not in machine.calls.removeprefix(before)
    (machine.folder / "requirements" / "run.txt").write_text("# changed\n")
    assert machine.setup().returncode == 0
    assert " install " in machine.calls.removeprefix(before)


def test_uv_is_used_where_it_is(machine: Machine) -> None:
    """With uv neither pip nor venv is asked."""
    machine.put("python3", REAL)
    machine.put("uv", f'[ "$1" = venv ] && exec {sys.executable} -m venv --without-pip .venv; exit 0')
    done = machine.setup("test")
    assert done.returncode == 0, done.stderr
    assert "uv venv" in machine.calls
    assert "--require-hashes -r requirements/dev.txt" in machine.calls
    assert "-m pip" not in machine.calls


def test_a_newer_python_is_found_beside_an_old_one(machine: Machine) -> None:
    """python3 too old, python3.13 there: the one that will do is taken."""
    machine.put("python3", "exit 1")
    machine.put("python3.13", REAL)
    assert machine.setup().returncode == 0


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        (
            None,
            NO_PYTHON,
        ),
        (
            "exit 1",
            NO_PYTHON,
        ),
        (
            f'case "$*" in *"import pip"*) exit 1;; esac\n{REAL}',
            "setup: pip 22.3 or newer (or uv) is needed for python3; install or upgrade one of them.",
        ),
    ],
    ids=["no python", "an old python", "no pip"],
)
def test_what_is_missing_is_said_in_one_sentence(machine: Machine, python: str | None, sentence: str) -> None:
    """Exit code 2, what is missing, what to do."""
    if python is not None:
        machine.put("python3", python)
    done = machine.setup()
    assert (done.returncode, done.stderr) == (2, sentence + "\n")
    assert not (machine.folder / ".venv").exists()


def test_a_platform_without_the_clip_maker_still_works(machine: Machine) -> None:
    """The sandbox then plays its bundled clip; the rest is installed."""
    machine.put("python3", f'case "$*" in *clips.txt*) exit 1;; esac\n{REAL}')
    done = machine.setup()
    assert done.returncode == 0
    assert "no clip maker for this platform" in done.stdout
