"""What it is worth that Runflow does not show an order of ours: the most delicate decision here, as one table, pure.

An order without a clear answer may have bought a run, so it is looked for under our reference. Sent again too soon it
would be paid twice, and given back wrongly it would be paid by nobody. Nothing is documented of how soon Runflow's list
shows what has arrived. So an empty look-up counts only late, only with another one behind it, and for what is final
only where the list has proven that it shows what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOOKUP_SHARES = (1 / 8, 1 / 2, 1.0, 1.5, 2.0)  # of the settle delay, counted from the unclear POST
FRESH_SHARE = 1 / 2  # a look-up that has proven itself shows a run so much of the settle delay after it arrived
EMPTY_COUNTS_SHARE = 1.0 + FRESH_SHARE  # an empty one counts from then on: what arrived late is to be seen as well
EMPTY_APART_SHARE = 1 / 4  # and it takes another one so much later, for one may be an old answer
UNCLEAR_POSTS_MAX = 3  # POSTs without a clear answer that one run may have
ABSENT_S = 86400.0  # after the last of them: so long it may still turn up before it is given back


class Verdict(StrEnum):
    """What is to be done about a run that was not found."""

    WAIT = "look again"
    SEND_AGAIN = "send the order again"
    UNKNOWN = "tell that nobody knows, and hold its money"
    NEVER_ARRIVED = "give its money back"


@dataclass(frozen=True, kw_only=True)
class Silence:
    """A clean look-up that does not show the run, and what else is known of it. Times are seconds."""

    held: bool  # it was told as unknown before
    settle_s: float  # within which Runflow shows what has arrived
    waited_s: float  # since its POST, in which somebody could have looked
    passed_s: float  # since its POST, by every clock
    empty_s: float | None  # since a look-up first counted; None: none has
    repeatable: bool  # its order may be sent again: not too often, not too late, and no callback says that it arrived
    proven: bool  # the look-up has shown the latest runs that were surely there

    @property
    def counts(self) -> bool:
        """Whether this look-up says anything: what arrived late would be seen by now, too."""
        return self.waited_s >= EMPTY_COUNTS_SHARE * self.settle_s

    @property
    def is_confirmed(self) -> bool:
        """Whether it says so for the second time, and not too soon after the first."""
        return self.empty_s is not None and self.empty_s >= EMPTY_APART_SHARE * self.settle_s


def judge(silence: Silence) -> Verdict:
    """What the silence is worth."""
    if not silence.is_confirmed:
        return Verdict.WAIT
    if silence.held:
        return Verdict.NEVER_ARRIVED if silence.passed_s >= ABSENT_S and silence.proven else Verdict.WAIT
    return Verdict.SEND_AGAIN if silence.repeatable and silence.proven else Verdict.UNKNOWN


def next_look_s(silence: Silence) -> float | None:
    """In how many seconds to look again; None: in the rhythm of runs that are under way."""
    if silence.held:
        return None
    if silence.empty_s is None and not silence.counts:
        looks_s = [share * silence.settle_s - silence.waited_s for share in LOOKUP_SHARES]
        return next(look_s for look_s in looks_s if look_s > 0)
    return FRESH_SHARE * silence.settle_s - (silence.empty_s or 0.0)
