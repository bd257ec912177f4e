"""Rate limits as Discord applies them: a number of requests per window, reported in response headers.

Docs: Rate Limits. Each combination of route and major parameter has a bucket of its own. Interaction and webhook
routes don't count towards the global limit.
"""

import hashlib
from collections.abc import Mapping

from sandbox.clock import Clock
from sandbox.discord.switches import Switches

MAJOR = ("channel_id", "guild_id", "webhook_token", "interaction_token")


class Buckets:
    """Counts requests in fixed windows, each of which starts with its first request."""

    def __init__(self, *, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}  # (start, used)

    def take(self, bucket: str, route: str, params: Mapping[str, str]) -> tuple[dict[str, str], float | None]:
        """Count a request; return its reply's headers, and how long to wait if the bucket was exhausted (else None)."""
        major = next((params[name] for name in MAJOR if name in params), "")
        limit, remaining, reset_at = self._count(bucket, f"{route}:{major}")
        after_s = max(reset_at - self._clock.now(), 0.001)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(remaining, 0)),
            "X-RateLimit-Reset": f"{reset_at:.3f}",
            "X-RateLimit-Reset-After": f"{after_s:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(route.encode()).hexdigest()[:32],
        }
        return headers, after_s if remaining < 0 else None

    def take_global(self) -> float | None:
        """Count a request with the bot token; return the seconds to wait if the global limit is exceeded, else None."""
        _, remaining, reset_at = self._count("global", "")
        return max(reset_at - self._clock.now(), 0.001) if remaining < 0 else None

    def _count(self, bucket: str, key: str) -> tuple[int, int, float]:
        limit, window_s = self._switches.buckets[bucket]
        now = self._clock.now()
        start, used = self._windows.get((bucket, key), (now, 0))
        if now >= start + window_s:
            start, used = now, 0
        if used <= limit:
            used += 1
        self._windows[bucket, key] = (start, used)
        return limit, limit - used, start + window_s
