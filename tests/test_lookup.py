"""What an order is worth that is not found (`bot.domain.lookup`): every case, and what must never be."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.lookup import (
    ABSENT_S,
    EMPTY_APART_SHARE,
    EMPTY_COUNTS_SHARE,
    FRESH_SHARE,
    LOOKUP_SHARES,
    Silence,
    Verdict,
    judge,
    next_look_s,
)

SETTLE_S = 120.0
COUNTS_S, APART_S = EMPTY_COUNTS_SHARE * SETTLE_S, EMPTY_APART_SHARE * SETTLE_S
SECONDS = st.floats(0, 1e7, allow_nan=False)
WAIT, AGAIN, UNKNOWN, NEVER = Verdict.WAIT, Verdict.SEND_AGAIN, Verdict.UNKNOWN, Verdict.NEVER_ARRIVED

SILENCES = st.builds(
    Silence,
    held=st.booleans(),
    settle_s=st.floats(0.01, 1e6),
    waited_s=SECONDS,
    passed_s=SECONDS,
    empty_s=st.none() | SECONDS,
    repeatable=st.booleans(),
    proven=st.booleans(),
)


def silence(*, held: bool, confirmed: bool, long_ago: bool, repeatable: bool, proven: bool) -> Silence:
    passed_s = ABSENT_S if long_ago else ABSENT_S - 1
    empty_s = APART_S if confirmed else APART_S - 0.01
    return Silence(
        held=held,
        settle_s=SETTLE_S,
        waited_s=COUNTS_S,
        passed_s=passed_s,
        empty_s=empty_s,
        repeatable=repeatable,
        proven=proven,
    )


NO, YES = False, True
# Held, confirmed, long ago, repeatable, proven; None: either.
ROWS: list[tuple[tuple[bool | None, ...], Verdict]] = [
    ((None, NO, None, None, None), WAIT),
    ((YES, YES, NO, None, None), WAIT),
    ((YES, YES, YES, None, NO), WAIT),
    ((YES, YES, YES, None, YES), NEVER),
    ((NO, YES, None, YES, YES), AGAIN),
    ((NO, YES, None, YES, NO), UNKNOWN),
    ((NO, YES, None, NO, None), UNKNOWN),
]


@pytest.mark.parametrize("case", list(product((NO, YES), repeat=5)), ids=str)
def test_every_case_has_its_one_verdict(case: tuple[bool, bool, bool, bool, bool]) -> None:
    """Nothing before a second answer, nothing final without a proof."""
    held, confirmed, long_ago, repeatable, proven = case
    (verdict,) = [
        verdict for row, verdict in ROWS if all(told in (None, is_) for told, is_ in zip(row, case, strict=True))
    ]
    asked = silence(held=held, confirmed=confirmed, long_ago=long_ago, repeatable=repeatable, proven=proven)
    assert judge(asked) == verdict


@given(SILENCES)
def test_without_a_proof_nothing_is_bought_again_or_given_back(asked: Silence) -> None:
    """Whatever the times."""
    assert asked.proven or judge(asked) in (WAIT, UNKNOWN)


@given(SILENCES)
def test_one_empty_answer_decides_nothing(asked: Silence) -> None:
    """The first that counts, and any that follows it too closely, only make us look again."""
    assert judge(asked) == WAIT or (asked.empty_s or 0.0) >= EMPTY_APART_SHARE * asked.settle_s > 0


@given(SILENCES)
def test_there_is_always_a_next_look(asked: Silence) -> None:
    """In the future, and for an order in doubt within half a settle delay behind the first answer that counts."""
    look_s = next_look_s(asked)
    assert (look_s is None) == asked.held
    if look_s is not None and judge(asked) == WAIT:
        assert look_s > 0
        assert look_s <= max(LOOKUP_SHARES) * asked.settle_s


def test_looks_come_in_order_and_the_last_two_are_apart() -> None:
    """So the plan ends with an answer that counts, and another that confirms it."""
    assert list(LOOKUP_SHARES) == sorted(set(LOOKUP_SHARES))
    assert LOOKUP_SHARES[-1] - LOOKUP_SHARES[-2] > EMPTY_APART_SHARE
    assert LOOKUP_SHARES[-2] == EMPTY_COUNTS_SHARE
    assert FRESH_SHARE > EMPTY_APART_SHARE
