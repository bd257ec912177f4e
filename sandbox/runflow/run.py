"""A run: its timeline, its price, and its form in the API and in callbacks.

Its state is computed from its switches and the clock, so it can never be out of date.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

from sandbox.clock import Clock
from sandbox.runflow.schema import DEFAULTS
from sandbox.runflow.switches import Switches

MODEL = "google/veo3.1"
STATUSES = ("queued", "dispatching", "running", "succeeded", "failed", "canceled", "partial_succeeded")
SIZES = MappingProxyType({"720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)})

# USD per second of video: (without sound, with sound). docs.runflow.io /models/google/veo3.1 has the first one; the
# others are from fal.ai/models/fal-ai/veo3.1, which has the same base price.
PRICES = MappingProxyType(
    {
        "720p": (Decimal("0.20"), Decimal("0.40")),
        "1080p": (Decimal("0.20"), Decimal("0.40")),
        "4k": (Decimal("0.40"), Decimal("0.60")),
    }
)

# end -> (failure_code, failure_stage_code, failure_message). Only INPUT_VALIDATION_FAILED and the two stages are
# documented (docs.runflow.io /concepts/errors). The policy text is Vertex AI's message for a blocked prompt.
FAILURES = MappingProxyType(
    {
        "failed": ("PROVIDER_ERROR", "dispatch", "The provider could not make this video."),
        "errored": ("PROVIDER_ERROR", "dispatch", "The provider could not make this video."),
        "policy": (
            "PROVIDER_ERROR",
            "dispatch",
            "Veo could not generate videos because the input text violates Vertex AI's usage guidelines. If you "
            "think this was an error, send feedback. Support codes: 58061214",
        ),
        "provider": (
            "PROVIDER_ERROR",
            "dispatch",
            json.dumps({"detail": "The runner went away", "error_type": "runner_disconnected"}),
        ),
        "invalid": ("INPUT_VALIDATION_FAILED", "preprocess", "A value of the input is not allowed."),
    }
)

EVENTS = MappingProxyType(
    {
        "succeeded": "run.completed",
        "partial_succeeded": "run.partial_succeeded",
        "cancelled": "run.cancelled",
        "failed": "run.failed",
    }
)


@dataclass(kw_only=True, eq=False)
class SandboxRun:
    """A run. Its ``switches`` determine its outcome, and can be changed until it ends."""

    id: str
    request_id: str
    input: Mapping[str, object]
    client_ref: str | None
    metadata: Mapping[str, object] | None
    callback_url: str | None
    switches: Switches
    overrides: Mapping[str, object]
    """The switches that the prompt's markers and the control plane set for this run only."""
    clock: Clock = field(repr=False)
    queue_s: float
    run_s: float
    created_at: float
    post_counts: Counter[str | None] = field(repr=False)
    failure_message: str | None = None
    ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        never = self.switches.end == "never"
        self.ends_at = float("inf") if never else self.created_at + self.queue_s + self.run_s

    @property
    def posts(self) -> int:
        """How many POSTs had this run's ``client_ref``, including those that failed."""
        return self.post_counts[self.client_ref]

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.clock.now() >= self.ends_at

    @property
    def status(self) -> str:
        """The current status, as spelled in the API."""
        return self._end_status(self.switches.record_cancelled) if self.ended else self._status_before_end()

    @property
    def cost(self) -> str | None:
        """The cost that the API currently reports: USD as decimal text, or None."""
        if not self.ended:
            return None
        if not self.succeeded:
            return self.switches.failed_cost
        return self.full_cost if self.clock.now() >= self.ends_at + self.switches.cost_after_s else None

    @property
    def charged(self) -> Decimal:
        """The USD that this run has taken from the balance, whether or not the API reports them yet."""
        if not self.ended:
            return Decimal(0)
        return Decimal(self.full_cost if self.succeeded else self.switches.failed_cost or 0)

    @property
    def full_cost(self) -> str:
        """The cost in USD if this run succeeds."""
        if self.switches.cost is not None:
            return self.switches.cost
        silent, with_audio = PRICES[str(self.option("resolution"))]
        per_second = with_audio if self.option("generate_audio") else silent
        return str(per_second * self.duration_s)

    @property
    def duration_s(self) -> int:
        """The length of the clip."""
        return int(str(self.option("duration")).removesuffix("s"))

    @property
    def size(self) -> tuple[int, int]:
        """The width and height that the API reports."""
        width, height = SIZES[str(self.option("resolution"))]
        return (width, height) if self.option("aspect_ratio") == "16:9" else (height, width)

    @property
    def succeeded(self) -> bool:
        """Whether it ends, or will end, in success and is billed, even without a usable output."""
        return self.switches.end in ("succeeded", "partial_succeeded", "empty", "missing")

    def option(self, name: str) -> object:
        """An input field, or its default if it wasn't sent or is invalid."""
        value = self.input.get(name, DEFAULTS.get(name))
        return DEFAULTS.get(name) if self.switches.end == "invalid" else value

    def end_now(self) -> None:
        """End the run at this moment."""
        if self.switches.end == "never":
            self.switches.end = "succeeded"
        self.ends_at = min(self.ends_at, self.clock.now())

    def cancel(self) -> bool:
        """Cancel the run; False if it has already ended. A run that has started is billed."""
        if self.ended:
            return False
        if self.clock.now() >= self.created_at + self.queue_s:
            self.switches.failed_cost = self.full_cost
        self.switches.end = "cancelled"
        self.ends_at = self.clock.now()
        return True

    def record(self, url: str, *, as_queued: bool = False) -> dict[str, object]:
        """The run object of the API reference, with ``url`` as the URL of its output."""
        ended = self.ended and not as_queued
        code, stage, message = self._failure() if ended else (None, None, None)
        started = not as_queued and self.clock.now() >= self.created_at + self.queue_s
        plain = self.switches.record_keys == "plain"
        return {
            "id": self.id,
            "model_id": MODEL,
            "target_type": "model",
            "org_id": "0198c0de-0000-7000-8000-000000000001",
            ("status" if plain else "status_code"): "queued" if as_queued else self.status,
            "source_code": "api",
            "input": dict(self.input),
            "output": self.output(url) if ended else None,
            "duration_ms": self._duration_ms() if ended else None,
            "cost": None if as_queued else self.cost,
            "cost_breakdown": None,
            "batch_id": None,
            "client_ref": self.client_ref,
            "request_id": self.request_id,
            "created_at": _zulu(self.created_at),
            "started_at": _zulu(self.created_at + self.queue_s) if started else None,
            "completed_at": _zulu(self.ends_at) if ended else None,
            "callback_url": self.callback_url,
            "metadata": self.metadata,
            "has_logs": False,
            "has_node_runs": False,
            "failure_code": code,
            "failure_message": message,
            ("failure_stage" if plain else "failure_stage_code"): stage,
        }

    def callback(self, url: str, spelling: Switches) -> dict[str, object]:
        """The callback's payload (docs.runflow.io /models/google/veo3.1, /concepts/callbacks)."""
        status = self._end_status(spelling.callback_cancelled)
        output: object = self.output(url)
        if status in ("failed", "errored") and spelling.callback_failure_output == "envelope":
            code, stage, message = self._failure()
            output = {"error": {"code": code, "stage": stage, "message": message}}
        event = EVENTS.get("cancelled" if status == "canceled" else status, "run.failed")
        return {
            "event": spelling.callback_event or event,
            "run_id": spelling.callback_run_id or self.id,
            "status": status,
            "output": output,
            "duration_ms": self._duration_ms(),
            "created_at": _isoformat(self.created_at),
            "completed_at": _isoformat(self.ends_at),
            "metadata": self.metadata,
        }

    def stale_callback(self) -> dict[str, object]:
        """The payload of a callback with an older status; the docs don't promise any order."""
        return {
            "event": "run.running",
            "run_id": self.id,
            "status": "running",
            "output": None,
            "duration_ms": None,
            "created_at": _isoformat(self.created_at),
            "completed_at": None,
            "metadata": self.metadata,
        }

    def output(self, url: str) -> dict[str, object] | None:
        """The normalized output (docs.runflow.io /models/google/veo3.1), or None if the run doesn't succeed."""
        if not self.succeeded:
            return None
        width, height = self.size
        entry = {"type": "video", "url": url, "width": width, "height": height, "duration": self.duration_s}
        output: dict[str, object] = {
            "outputs": [] if self.switches.end == "empty" else [entry],
            "nsfw_detected": self.switches.nsfw,
            "seed": self.input.get("seed"),
            "timing": {"inference_ms": round(self.run_s * 1000)},
        }
        if self.switches.end == "missing":
            del output["outputs"]
        return output

    def _status_before_end(self) -> str:
        switches, age = self.switches, self.clock.now() - self.created_at
        running = switches.odd_status or "running"
        steps = [(self.queue_s, "dispatching"), (self.queue_s + self.run_s * 0.1, running)]
        if switches.states == "back":
            steps += [(self.queue_s + self.run_s * 0.4, "queued"), (self.queue_s + self.run_s * 0.7, running)]
        passed = [status for begins, status in steps if age >= begins and switches.states != "skip"]
        return passed[-1] if passed else "queued"

    def _end_status(self, cancelled: str) -> str:
        end = self.switches.end
        if end == "cancelled":
            return cancelled
        if end in ("errored", "partial_succeeded"):
            return end
        return "failed" if end in FAILURES else "succeeded"

    def _failure(self) -> tuple[str | None, str | None, str | None]:
        code, stage, message = FAILURES.get(self.switches.end, (None, None, None))
        return code, stage, self.failure_message or message

    def _duration_ms(self) -> int:
        return round((self.ends_at - self.created_at) * 1000)


class Ids:
    """Generates increasing UUIDs of version 7; the same seed and times give the same UUIDs."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._last = 0

    def next(self) -> str:
        """A new id (RFC 9562, section 5.7: 48 bits of milliseconds, version, 74 random bits, variant)."""
        stamp = int(self._clock.now() * 1000) << 12 | self._random.getrandbits(8)
        self._last = stamp = max(stamp, self._last + 1)
        digits = f"{stamp >> 12:012x}7{stamp & 0xFFF:03x}{0x8 | self._random.getrandbits(2):x}"
        digits += f"{self._random.getrandbits(60):015x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _zulu(at: float) -> str:
    return _isoformat(at).replace("+00:00", "Z")


def _isoformat(at: float) -> str:
    return _moment(at).isoformat(timespec="microseconds")
