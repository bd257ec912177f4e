"""What it means that the provider's list does not show an order of ours: the most delicate decision here. Pure.

An order without a clear answer may have bought a run, so we look for it under our reference. Sent again too early it
would be paid for twice; given up wrongly it would leave a bill that nobody pays. The provider does not document how
soon its list shows a new run. So an empty answer counts only a while after the POST and only once a later one confirms
it, and a final decision also needs proof that the list shows what exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOOKUP_SHARES = (1 / 8, 1 / 2, 1.0, 1.5, 2.0)  # when to look: shares of the settle delay after the unclear POST
FRESH_SHARE = 1 / 2  # a proven list shows a run within this share of the settle delay after the run arrived
PROOF_RUNS = 3  # so many runs in turn that a list has shown in time prove it
EMPTY_COUNTS_SHARE = 1.0 + FRESH_SHARE  # an empty answer counts from then on: even a late arrival would be shown
EMPTY_APART_SHARE = 1 / 4  # the confirming answer comes at least this much later: a single one may be outdated
UNCLEAR_POSTS_MAX = 3  # POSTs without a clear answer that one run may have
ABSENT_S = 86400.0  # after the last of them: until then the run may still turn up


class Decision(StrEnum):
    """What to do about a run that was not found."""

    WAIT = "look again"
    SEND_AGAIN = "send the order again"
    UNKNOWN = "say that nobody knows, and keep its money held"
    NEVER_ARRIVED = "give its money back"


@dataclass(frozen=True, kw_only=True)
class EmptyLookup:
    """A readable answer that does not show the run, and what else is known about it. Times are seconds."""

    is_unknown: bool  # its state is unknown already
    settle_s: float  # within this time the provider lists what has arrived
    watched_s: float  # since its POST, counting only time in which this process could look
    elapsed_s: float  # since its POST, by the clock
    since_empty_s: float | None  # since the first empty answer that counted; None: there was none
    may_resend: bool  # not sent too often, not past its deadline, and no callback says that it arrived
    list_is_proven: bool  # the list showed the latest runs that we know exist soon after their POSTs

    @property
    def counts(self) -> bool:
        """Whether this answer says anything: by now even a late arrival would be shown."""
        return self.watched_s >= EMPTY_COUNTS_SHARE * self.settle_s

    @property
    def is_confirmed(self) -> bool:
        """Whether an earlier answer that counted said the same, long enough ago."""
        return self.since_empty_s is not None and self.since_empty_s >= EMPTY_APART_SHARE * self.settle_s


def decide(lookup: EmptyLookup) -> Decision:
    """What to do after this answer."""
    if not lookup.is_confirmed:
        return Decision.WAIT
    if lookup.is_unknown:
        over = lookup.elapsed_s >= ABSENT_S and lookup.list_is_proven
        return Decision.NEVER_ARRIVED if over else Decision.WAIT
    return Decision.SEND_AGAIN if lookup.may_resend and lookup.list_is_proven else Decision.UNKNOWN


def next_look_s(lookup: EmptyLookup) -> float | None:
    """In how many seconds to look again; None: as often as at a run that is being made."""
    if lookup.is_unknown:
        return None
    if lookup.since_empty_s is None and not lookup.counts:
        looks_s = [share * lookup.settle_s - lookup.watched_s for share in LOOKUP_SHARES]
        return next(look_s for look_s in looks_s if look_s > 0)
    return FRESH_SHARE * lookup.settle_s - (lookup.since_empty_s or 0.0)
