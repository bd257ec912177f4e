"""The scenarios of the demo: what goes wrong in each, and the outcome it must have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The switches and settings that one demo run starts with, and the outcome it must have."""

    outcome: str
    about: str
    runflow: Mapping[str, Any] = field(default_factory=dict)  # switches of the sandbox Runflow
    discord: Mapping[str, Any] = field(default_factory=dict)  # switches of the sandbox Discord
    bot: Mapping[str, str] = field(default_factory=dict)  # settings of the bot


SCENARIOS = {
    "callback": Scenario(outcome="delivered", about="a callback reports the end of the run"),
    "polling": Scenario(outcome="delivered", about="there are no callbacks, so the bot polls", bot={"PUBLIC_URL": ""}),
    "nsfw": Scenario(outcome="nsfw", about="the video is flagged, so it isn't posted", runflow={"nsfw": True}),
    "failed": Scenario(outcome="failed", about="the run fails and costs nothing", runflow={"end": "failed"}),
    "cancelled": Scenario(
        outcome="cancelled", about="somebody cancels the run at Runflow", runflow={"end": "cancelled"}
    ),
    "partial": Scenario(
        outcome="delivered",
        about="Runflow does only part of the work; the video is posted anyway",
        runflow={"end": "partial_succeeded"},
    ),
    "quota": Scenario(outcome="refused", about="the price is over the limit", bot={"QUOTA_USER_USD": "1.00"}),
    "confirm": Scenario(
        outcome="delivered", about="the member confirms the price first", bot={"QUOTA_CONFIRM_ABOVE_USD": "1.00"}
    ),
    "too-large": Scenario(
        outcome="delivered",
        about="the file is over the upload limit, so a link is posted",
        runflow={"file_bytes": 12 * MIB},
    ),
    "slow": Scenario(
        outcome="delivered", about="the interaction token expires before the end", discord={"token_life_s": 1.0}
    ),
    "lost-callback": Scenario(outcome="delivered", about="the callback never arrives", runflow={"callback_lost": True}),
    "after-500": Scenario(
        outcome="delivered", about="Runflow takes the order but answers with an error", runflow={"after": "500"}
    ),
    "before-500": Scenario(
        outcome="unknown", about="the order fails, and nobody can tell if a run exists", runflow={"before": "500"}
    ),
}
