"""What it means that an order is not found (`bot.domain.lookup`): every case, and what must never happen."""

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
    Decision,
    EmptyLookup,
    decide,
    next_look_s,
)

SETTLE_S = 120.0
COUNTS_S, APART_S = EMPTY_COUNTS_SHARE * SETTLE_S, EMPTY_APART_SHARE * SETTLE_S
SECONDS = st.floats(0, 1e7, allow_nan=False)
WAIT, AGAIN, UNKNOWN, NEVER = Decision.WAIT, Decision.SEND_AGAIN, Decision.UNKNOWN, Decision.NEVER_ARRIVED

LOOKUPS = st.builds(
    EmptyLookup,
    is_unknown=st.booleans(),
    settle_s=st.floats(0.01, 1e6),
    watched_s=SECONDS,
    elapsed_s=SECONDS,
    since_empty_s=st.none() | SECONDS,
    may_resend=st.booleans(),
    list_is_proven=st.booleans(),
)


def empty_lookup(*, unknown: bool, confirmed: bool, long_ago: bool, may_resend: bool, proven: bool) -> EmptyLookup:
    return EmptyLookup(
        is_unknown=unknown,
        settle_s=SETTLE_S,
        watched_s=COUNTS_S,
        elapsed_s=ABSENT_S if long_ago else ABSENT_S - 1,
        since_empty_s=APART_S if confirmed else APART_S - 0.01,
        may_resend=may_resend,
        list_is_proven=proven,
    )


NO, YES = False, True
# Unknown already, confirmed, long ago, may be sent again, list is proven; None: either.
ROWS: list[tuple[tuple[bool | None, ...], Decision]] = [
    ((None, NO, None, None, None), WAIT),
    ((YES, YES, NO, None, None), WAIT),
    ((YES, YES, YES, None, NO), WAIT),
    ((YES, YES, YES, None, YES), NEVER),
    ((NO, YES, None, YES, YES), AGAIN),
    ((NO, YES, None, YES, NO), UNKNOWN),
    ((NO, YES, None, NO, None), UNKNOWN),
]


@pytest.mark.parametrize("case", list(product((NO, YES), repeat=5)), ids=str)
def test_every_case_has_one_decision(case: tuple[bool, bool, bool, bool, bool]) -> None:
    """Nothing before a second answer, nothing final without a proof."""
    unknown, confirmed, long_ago, may_resend, proven = case
    (expected,) = [
        decision for row, decision in ROWS if all(cell in (None, value) for cell, value in zip(row, case, strict=True))
    ]
    lookup = empty_lookup(unknown=unknown, confirmed=confirmed, long_ago=long_ago, may_resend=may_resend, proven=proven)
    assert decide(lookup) == expected


@given(LOOKUPS)
def test_without_a_proof_nothing_is_bought_again_or_given_back(lookup: EmptyLookup) -> None:
    """Whatever the times."""
    assert lookup.list_is_proven or decide(lookup) in (WAIT, UNKNOWN)


@given(LOOKUPS)
def test_one_empty_answer_decides_nothing(lookup: EmptyLookup) -> None:
    """The first that counts, and any that follows it too closely, only make us look again."""
    assert decide(lookup) == WAIT or (lookup.since_empty_s or 0.0) >= EMPTY_APART_SHARE * lookup.settle_s > 0


@given(LOOKUPS)
def test_there_is_always_a_next_look(lookup: EmptyLookup) -> None:
    """In the future, and for an order in doubt within half a settle delay after the first answer that counts."""
    look_s = next_look_s(lookup)
    assert (look_s is None) == lookup.is_unknown
    if look_s is not None and decide(lookup) == WAIT:
        assert look_s > 0
        assert look_s <= max(LOOKUP_SHARES) * lookup.settle_s


def test_looks_come_in_order_and_the_last_two_are_apart() -> None:
    """So the plan ends with an answer that counts, and another that confirms it."""
    assert list(LOOKUP_SHARES) == sorted(set(LOOKUP_SHARES))
    assert LOOKUP_SHARES[-1] - LOOKUP_SHARES[-2] > EMPTY_APART_SHARE
    assert LOOKUP_SHARES[-2] == EMPTY_COUNTS_SHARE
    assert FRESH_SHARE > EMPTY_APART_SHARE
