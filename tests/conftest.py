"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import Scene, scene


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Scene]:
    """Both sandboxes and a started bot with quick rhythms and generous limits."""
    async with scene(tmp_path) as started:
        yield started
