"""What a run is: its states and moves, its names, and the pauses between two looks at it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.models import VeoRequest
from bot.domain.pauses import PAUSE_MAX_S, growing_pause, polling_pause
from bot.domain.runs import (
    COST_CHECKS_S,
    IN_FLIGHT,
    MOVES,
    STATE_OF_ENDING,
    TERMINAL,
    Delivery,
    Ending,
    Run,
    RunState,
    blocked_by_policy,
)

S = RunState
SECONDS = st.floats(0.01, 100_000, allow_nan=False)
TRIES = st.integers(0, 1_000_000)


def a_run(**changes: object) -> Run:
    """A run as it is right after its admission."""
    run = Run(
        run_id="abcdefghijklmnop",
        origin="discord:1",
        member="discord:2",
        member_name="Bo",
        server="discord:3",
        channel="discord:4",
        budget_channel="discord:4",
        roles=("discord:5",),
        request=VeoRequest(prompt="a red fox"),
        price_u=3_200_000,
        charged_u=0,
        refunded_u=0,
        state=S.RESERVED,
        state_at=0.0,
        created_at=0.0,
        due_at=0.0,
        tries=0,
        posts=0,
        posted_at=None,
        unclear_posts=0,
        empty_since=None,
        lookup_fresh=None,
        callback_token="token",
        candidate_id=None,
        provider_id=None,
        provider_request_id=None,
        provider_status=None,
        provider_status_at=None,
        unknown_told=False,
        plain=False,
        post_handle=None,
        in_line=False,
        uploads=0,
        overdue=False,
        ended_at=None,
        ending=None,
        cost_u=None,
        cost_checks=0,
        cost_checked_at=None,
        seed_used=None,
        took_ms=None,
        failure_code=None,
        failure_message=None,
        notice=None,
        delivery=Delivery.NONE,
        delivery_tries=0,
        first_try_at=None,
        last_try_at=None,
        direct=False,
        message=None,
        reply_to=None,
        reply_until=None,
        upload_limit_bytes=None,
        post_limit_bytes=None,
        locale=None,
        place_locale=None,
        can_post=True,
        take=None,
    )
    return replace(run, **changes)  # type: ignore[arg-type]  # a test names the fields that matter to it


class TestStates:
    def test_moves_are_known_for_every_state(self) -> None:
        """Every state has its line in the table, and no move is one that stays."""
        assert set(MOVES) == set(RunState)
        assert all(state not in moves for state, moves in MOVES.items())

    def test_an_end_is_for_ever(self) -> None:
        """Exactly succeeded, failed and cancelled have no moves; unknown is no end."""
        assert {S.SUCCEEDED, S.FAILED, S.CANCELLED} == TERMINAL
        assert all(not MOVES[state] for state in TERMINAL)

    def test_every_state_can_come_to_an_end(self) -> None:
        """From every state some way leads to an end, so that no hold is stuck by the table itself."""
        for state in RunState:
            reached, new = {state}, {state}
            while new:
                new = {after for each in new for after in MOVES[each]} - reached
                reached |= new
            assert reached & TERMINAL, state

    def test_only_what_was_looked_for_is_submitted_again(self) -> None:
        """A POST begins from reserved alone; doubt may lead back there, and what was told as unknown never."""
        assert {state for state, moves in MOVES.items() if S.SUBMITTING in moves} == {S.RESERVED}
        assert {state for state, moves in MOVES.items() if S.RESERVED in moves} == {S.SUBMITTING, S.AMBIGUOUS}

    def test_doubt_is_no_end(self) -> None:
        """A run whose POST was unclear is found, unknown or sent again; what is unknown can fail without a record."""
        assert MOVES[S.AMBIGUOUS] == {S.RUNNING, S.UNKNOWN, S.RESERVED}
        assert MOVES[S.UNKNOWN] == {S.RUNNING, S.FAILED}

    def test_what_takes_a_place_at_runflow(self) -> None:
        """Runs that may be at work there count as in flight; waiting, unknown and ended ones do not."""
        assert {S.SUBMITTING, S.AMBIGUOUS, S.RUNNING} == IN_FLIGHT

    def test_every_ending_has_its_end_state(self) -> None:
        """Each ending leads to an end, and whatever Runflow calls a success is one, clip or not."""
        assert set(STATE_OF_ENDING) == set(Ending)
        assert set(STATE_OF_ENDING.values()) == TERMINAL
        assert {ending for ending, state in STATE_OF_ENDING.items() if state == S.SUCCEEDED} == {
            Ending.VIDEO,
            Ending.PARTIAL,
            Ending.NSFW,
            Ending.EMPTY,
        }


class TestRun:
    def test_names_derive_from_the_run(self) -> None:
        """Reference and file carry the run id, by which a lost run and a posted video are found again."""
        assert a_run(run_id="abc").client_ref == "veo-abc"
        assert a_run(run_id="abc").file_name == "veo-abc.mp4"

    @pytest.mark.parametrize("state", list(RunState))
    def test_terminal_is_what_the_table_says(self, state: RunState) -> None:
        """A run is over exactly in a state without moves."""
        assert a_run(state=state).terminal == (not MOVES[state])

    def test_only_a_clip_is_shown(self) -> None:
        """A whole or partial video is shown; what was flagged, empty, failed or cancelled never is."""
        assert {ending for ending in (*Ending, None) if a_run(ending=ending).shows_video} == {
            Ending.VIDEO,
            Ending.PARTIAL,
        }

    @pytest.mark.parametrize(
        ("upload", "post", "attachable"),
        [(None, None, None), (5, None, 5), (None, 5, 5), (9, 5, 5), (5, 9, 5), (0, 9, 0)],
    )
    def test_a_posted_file_obeys_the_smaller_limit(
        self, upload: int | None, post: int | None, attachable: int | None
    ) -> None:
        """That of the place, where the member's own is larger; where none is known it is found out by trying."""
        assert a_run(upload_limit_bytes=upload, post_limit_bytes=post).attachable_bytes == attachable

    def test_delivery_is_open_until_it_is_decided(self) -> None:
        """Pending and sending want attention; none, delivered and undeliverable do not."""
        assert {each for each in Delivery if a_run(delivery=each).delivery_open} == {Delivery.PENDING, Delivery.SENDING}

    @pytest.mark.parametrize(("duration", "seconds"), [("4s", 4), ("6s", 6), ("8s", 8)])
    def test_seconds_are_those_of_the_duration(self, duration: str, seconds: int) -> None:
        """`8s` is eight seconds."""
        assert VeoRequest(prompt="p", duration=duration).seconds == seconds  # type: ignore[arg-type]  # from the table

    @pytest.mark.parametrize(
        ("code", "message", "blocked"),
        [
            ("CONTENT_POLICY", None, True),
            (None, "Blocked by SAFETY filters", True),
            ("x", "violates our Usage Guidelines", True),
            ("TIMEOUT", "the provider did not answer", False),
            (None, None, False),
        ],
    )
    def test_a_block_is_told_from_a_breakdown(self, code: str | None, message: str | None, blocked: bool) -> None:
        """Words of code or message, in any case, say that repeating the same prompt is pointless."""
        assert blocked_by_policy(code, message) == blocked


class TestPauses:
    @given(first_s=SECONDS, tries=TRIES, longest_s=SECONDS)
    def test_a_growing_pause_doubles_up_to_its_bound(self, first_s: float, tries: int, longest_s: float) -> None:
        """It starts with the first pause, doubles with each try, never exceeds the longest and never overflows."""
        pause = growing_pause(first_s, tries, longest_s)
        assert growing_pause(first_s, 0, longest_s) == min(first_s, longest_s)
        assert 0 < pause <= longest_s
        assert growing_pause(first_s, tries + 1, longest_s) in (longest_s, pause * 2, pause)
        if tries < 40 and pause * 2 <= longest_s:
            assert growing_pause(first_s, tries + 1, longest_s) == pause * 2

    @given(age_s=SECONDS, tries=TRIES, first_s=SECONDS, longest_s=SECONDS, deadline_s=SECONDS)
    def test_polling_stays_within_its_bounds(
        self, age_s: float, tries: int, first_s: float, longest_s: float, deadline_s: float
    ) -> None:
        """Before the deadline from the first to the longest pause, after it an hour at most, and never none at all."""
        pause = polling_pause(age_s=age_s, tries=tries, first_s=first_s, longest_s=longest_s, deadline_s=deadline_s)
        if age_s < deadline_s:
            assert min(first_s, longest_s) <= pause <= longest_s
        else:
            assert min(longest_s, PAUSE_MAX_S) <= pause <= PAUSE_MAX_S

    @given(tries=st.integers(0, 100), first_s=st.floats(0.1, 10), longest_s=st.floats(10, 600))
    def test_polling_slows_down_with_each_look(self, tries: int, first_s: float, longest_s: float) -> None:
        """The pauses never shrink, start with the first one and reach the longest."""

        def pause(at: int) -> float:
            return polling_pause(age_s=1.0, tries=at, first_s=first_s, longest_s=longest_s, deadline_s=3600.0)

        assert pause(0) == first_s
        assert pause(tries) <= pause(tries + 1)
        assert pause(40) == longest_s

    def test_after_the_deadline_the_pauses_double(self) -> None:
        """Each look comes after as long as the run is overdue by then, at last every hour, for ever."""
        age_s, pauses = 3600.0, []
        for _ in range(14):
            pauses.append(polling_pause(age_s=age_s, tries=99, first_s=3.0, longest_s=15.0, deadline_s=3600.0))
            age_s += pauses[-1]
        assert pauses == [15.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, *[3600.0] * 5]

    def test_questions_for_a_cost_come_in_order(self) -> None:
        """Each lies behind the one before."""
        assert COST_CHECKS_S == (60.0, 600.0, 3600.0, 86400.0)
