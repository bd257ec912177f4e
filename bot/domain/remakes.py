"""What a button under a video makes of the wish that it came from. Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from bot.domain.models import DURATIONS, RESOLUTIONS, Resolution, VeoRequest
from bot.domain.runs import Run


class Remake(StrEnum):
    """The ways in which a run's wish is asked for once more."""

    AGAIN = "again"  # another take: the same with a new seed
    FINAL = "final"  # the same prompt and seed in the next better quality: similar, not equal
    SILENT = "silent"  # the same without sound
    RETRY = "retry"  # exactly the same


def remake(run: Run, how: Remake) -> VeoRequest | None:
    """The wish that a press makes; None where there is no such way from this run."""
    request = run.request
    if (
        request.resolution not in RESOLUTIONS or request.duration not in DURATIONS
    ):  # from a newer version: no price here
        return None
    match how:
        case Remake.AGAIN:
            return replace(request, seed=None)
        case Remake.RETRY:
            return request
        case Remake.SILENT:
            return replace(request, generate_audio=False) if request.generate_audio else None
        case Remake.FINAL:
            better = _better(request.resolution)
            return None if better is None else replace(request, resolution=better, seed=seed_of(run))


def seed_of(run: Run) -> int | None:
    """The seed that made the video: Runflow's word, else the member's; None where nobody knows it."""
    return run.request.seed if run.seed_used is None else run.seed_used


def _better(resolution: Resolution) -> Resolution | None:
    better = RESOLUTIONS[RESOLUTIONS.index(resolution) + 1 :]
    return better[0] if better else None
