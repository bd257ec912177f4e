"""The catalogue of models: which options each takes. Today there is one, Google Veo 3.1. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Duration = Literal["4s", "6s", "8s"]
Resolution = Literal["720p", "1080p", "4k"]
AspectRatio = Literal["16:9", "9:16"]
SafetyTolerance = Literal["1", "2", "3", "4", "5", "6"]

DURATIONS: tuple[Duration, ...] = get_args(Duration)
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
SEED_MAX = 2**53 - 1  # the largest integer that a Discord option can hold


@dataclass(frozen=True, kw_only=True)
class VeoRequest:
    """One wish, field by field the input schema of `google/veo3.1` (docs.runflow.io /models/google/veo3.1).

    The defaults are sent explicitly, because leaving out a field that has a price may buy it.
    """

    prompt: str
    duration: Duration = "8s"
    resolution: Resolution = "720p"
    aspect_ratio: AspectRatio = "16:9"
    generate_audio: bool = True
    negative_prompt: str | None = None
    seed: int | None = None
    auto_fix: bool = True
    safety_tolerance: SafetyTolerance = "4"
    others: tuple[tuple[str, object], ...] = ()  # options that only a newer version of this program knows

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> VeoRequest:
        """The request of these options. Raises TypeError without a prompt."""
        known = {name: stored[name] for name in _OPTIONS if name in stored}
        return cls(**known, others=tuple((name, value) for name, value in stored.items() if name not in known))

    @property
    def options(self) -> dict[str, object]:
        """Every option by its name, those that this program does not know as they were asked for."""
        return {name: getattr(self, name) for name in _OPTIONS} | dict(self.others)

    @property
    def seconds(self) -> int:
        return int(self.duration.removesuffix("s"))


_OPTIONS = tuple(field.name for field in fields(VeoRequest) if field.name != "others")
