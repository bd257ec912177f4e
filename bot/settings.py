"""Every setting of the bot: its type, group, default, unit and meaning, and the values of one bot.

`bot.settings_reader` reads and checks them, `bot.settings_docs` prints them. Nothing here knows what the values are
used for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # What these are once they are read. The reader has a type with a check for each of the names.
    DatabaseUrl = str
    HttpUrl = str
    GatewayUrl = str
    Host = str
    Zone = str
    Secret = str
    Port = int
    Megabytes = int
    PromptChars = int
    RunsOfMember = int
    RunsInTotal = int
    Seconds = float
    Days = float
    Usd = Decimal
    Servers = tuple[str, ...]
    CallbackSecrets = tuple[str, ...]

DATABASE_URL = "sqlite:///data/veo.db"
# Upper bounds. 720p without audio: docs.runflow.io /models/google/veo3.1; everything else: what fal.ai publishes.
PRICES_USD_PER_SECOND = {
    "720p": {"silent": "0.20", "audio": "0.40"},
    "1080p": {"silent": "0.20", "audio": "0.40"},
    "4k": {"silent": "0.40", "audio": "0.60"},
}

DISCORD, RUNFLOW, WEB, STORAGE, MONEY, RUNS = "Discord", "Runflow", "Web server", "Storage", "Money", "Runs"
GROUP, MEANING, UNIT = "group", "meaning", "unit"  # of a field's metadata


def _about(group: str, meaning: str, unit: str = "") -> Mapping[str, str]:
    return {GROUP: group, MEANING: meaning, UNIT: unit}


def _prices() -> dict[str, dict[str, Decimal]]:
    return {name: {sort: Decimal(usd) for sort, usd in each.items()} for name, each in PRICES_USD_PER_SECOND.items()}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one bot; printing them shows no secret."""

    discord_token: Secret = field(
        repr=False, metadata=_about(DISCORD, "bot token, from the application's page in Discord's Developer Portal")
    )
    discord_servers: Servers = field(
        default=(),
        metadata=_about(
            DISCORD,
            "servers where /veo works; *: every server; empty: the servers owned by the application's owner",
            "ids",
        ),
    )
    discord_api_url: HttpUrl | None = field(
        default=None, metadata=_about(DISCORD, "base URL of the REST API; empty: Discord's own")
    )
    discord_gateway_url: GatewayUrl | None = field(
        default=None, metadata=_about(DISCORD, "gateway URL; empty: Discord's own")
    )

    runflow_api_key: Secret = field(repr=False, metadata=_about(RUNFLOW, "API key, from Runflow's dashboard"))
    runflow_api_url: HttpUrl = field(
        default="https://api.runflow.io", metadata=_about(RUNFLOW, "base URL of Runflow's API")
    )
    runflow_callback_secrets: CallbackSecrets = field(
        default=(),
        repr=False,
        metadata=_about(
            RUNFLOW,
            "signing secrets of callbacks, newest first; empty: signatures are not checked, and only the unguessable "
            "address of each run protects it",
        ),
    )
    runflow_settle_s: Seconds = field(
        default=120.0,
        metadata=_about(
            RUNFLOW,
            "how long to wait, after a submission without a clear answer, before a look-up that finds nothing may "
            "count",
            "seconds",
        ),
    )

    public_url: HttpUrl | None = field(
        default=None,
        metadata=_about(
            WEB,
            "address at which the Internet reaches the web server; empty: no callbacks, runs are only polled, and "
            "links to large videos are Runflow's own",
        ),
    )
    web_host: Host = field(default="127.0.0.1", metadata=_about(WEB, "address that the web server listens on"))
    web_port: Port = field(default=8080, metadata=_about(WEB, "port that the web server listens on; 0: any free one"))

    operator_host: Host = field(
        default="127.0.0.1", metadata=_about(WEB, "address for health checks and metrics; keep it private")
    )
    operator_port: Port = field(
        default=8081, metadata=_about(WEB, "port for health checks and metrics; 0: any free one")
    )

    database_url: DatabaseUrl = field(
        default=DATABASE_URL,
        metadata=_about(STORAGE, "database file; three slashes: relative to the working directory; four: absolute"),
    )
    media_dir: Path = field(
        default=Path("data/media"), metadata=_about(STORAGE, "folder for clips on their way to Discord")
    )
    media_keep_days: Days = field(
        default=7.0,
        metadata=_about(
            STORAGE,
            "how long a clip that is too large to attach is kept, and how long its link works",
            "days",
        ),
    )
    clip_max_mb: Megabytes = field(
        default=500,
        metadata=_about(STORAGE, "largest clip to download; for a larger one there is only Runflow's link", "MB"),
    )

    quota_user_usd: Usd = field(
        default=Decimal("10.00"),
        metadata=_about(
            MONEY,
            "each member's limit per period, across all servers; 0: nobody, unless an admin sets a limit for them",
            "USD",
        ),
    )
    quota_guild_usd: Usd | None = field(
        default=None,
        metadata=_about(
            MONEY,
            "each server's limit per period, and the most that its admins can set; empty: no limit",
            "USD",
        ),
    )
    quota_total_usd: Usd | None = field(
        default=None,
        metadata=_about(
            MONEY,
            "the whole bot's limit per period, and the most that anybody can set; empty: no limit",
            "USD",
        ),
    )
    quota_period: Literal["day", "week", "month"] = field(
        default="month",
        metadata=_about(
            MONEY,
            "calendar period of these limits: day, week (from Monday) or month; limits set by admins may have their "
            "own",
        ),
    )
    quota_timezone: Zone = field(default="UTC", metadata=_about(MONEY, "time zone whose midnight starts a period"))
    quota_confirm_above_usd: Usd = field(
        default=Decimal("3.20"),
        metadata=_about(MONEY, "a higher price needs the member's confirmation first", "USD"),
    )
    price_usd_per_second: dict[str, dict[str, Usd]] = field(
        default_factory=_prices,
        metadata=_about(
            MONEY,
            "silent and audio price of each resolution, as decimal strings; use upper bounds, because this amount is "
            "held",
            "JSON, USD per second of video",
        ),
    )

    prompt_max_chars: PromptChars = field(
        default=2000, metadata=_about(RUNS, "longest prompt that is accepted", "characters")
    )
    quota_runs_in_flight: RunsOfMember = field(
        default=3, metadata=_about(RUNS, "runs that one member may have at a time; more are refused")
    )
    runs_in_flight_total: RunsInTotal = field(
        default=20, metadata=_about(RUNS, "runs that the whole bot may have at a time; more wait in line")
    )
    poll_interval_s: Seconds = field(
        default=3.0, metadata=_about(RUNS, "first pause between two polls of a run", "seconds")
    )
    poll_interval_max_s: Seconds = field(
        default=15.0,
        metadata=_about(
            RUNS,
            "longest pause between two polls of a run; where callbacks come, it is looked at a quarter as often",
            "seconds",
        ),
    )
    run_deadline_s: Seconds = field(
        default=3600.0,
        metadata=_about(
            RUNS,
            "after this long a run is reported as overdue; the bot still watches it and keeps its hold until it has "
            "ended",
            "seconds",
        ),
    )
