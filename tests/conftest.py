"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import Scene, scene
from tests.runflow_lab import Lab, laboratory
from tests.web_site import SECRETS, Site, web_site

# The same examples at each run, and no verdict on how long a busy machine takes for one: what is red is the change.
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
settings.register_profile("fixed", deadline=None, suppress_health_check=_SLOW, derandomize=True, database=None)
settings.register_profile("new", deadline=None, suppress_health_check=_SLOW)  # `make worlds`
settings.load_profile("fixed")

# What one process compiled is there for the next, whatever the surroundings say: there are hundreds of them, and each
# worker would spend twice as long on the compiling of the tests as on all else that it does before the first.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The tests' folders are in memory where there is room: killing a process loses nothing that was written, on a disk or
# not, and hundreds of small databases are written through to wherever they are.
MEMORY, MEMORY_MIN_BYTES = Path("/dev/shm"), 2 * 2**30
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_MIN_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Scene]:
    """Both sandboxes and a started bot with quick rhythms and generous limits."""
    async with scene(tmp_path) as started:
        yield started


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """The sandbox Runflow with its time standing still, and the client connected to it."""
    async with laboratory(tmp_path) as made:
        yield made


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Both web servers, with two callback secrets."""
    async with web_site(tmp_path, SECRETS) as made:
        yield made


@pytest.fixture
async def unsigned_site(tmp_path: Path) -> AsyncIterator[Site]:
    """Both web servers, without callback secrets: the address of a callback is its only protection."""
    async with web_site(tmp_path, []) as made:
        yield made
