"""The sandbox Runflow ends runs in every way, with the right status, message and cost."""

from decimal import Decimal

import pytest

from tests.sandbox.runflow_client import ADMIN, Lab, Mailbox


@pytest.mark.parametrize(
    ("marker", "status", "text", "charged"),
    [
        ("", "succeeded", None, "3.20"),
        ("[failed]", "failed", "provider", "0"),
        ("[policy]", "failed", "usage guidelines", "0"),
        ("[provider]", "failed", "runner_disconnected", "0"),
        ("[invalid]", "failed", "not allowed", "0"),
        ("[errored]", "errored", "provider", "0"),
        ("[cancelled]", "canceled", None, "0"),
        ("[partial]", "partial_succeeded", None, "3.20"),
        ("[empty]", "succeeded", None, "3.20"),
        ("[dear]", "succeeded", None, "9.60"),
        ("[free]", "succeeded", None, "0"),
        ("[null-cost]", "succeeded", None, "3.20"),
        ("[failed-cost]", "failed", "provider", "0.40"),
    ],
)
async def test_markers_decide_how_a_run_ends(
    lab: Lab, marker: str, status: str, text: str | None, charged: str
) -> None:
    """Each outcome has its status, failure message and cost; a failed run is normally free."""
    run_id = await lab.created(f"a red fox {marker}")
    record = await lab.read(run_id)
    assert record["status_code"] == status
    assert (text is None) == (record["failure_message"] is None)
    assert text is None or text in record["failure_message"]
    assert lab.box.runs[run_id].charged == Decimal(charged)
    assert (record["output"] is None) == (status in ("failed", "errored", "canceled"))


async def test_outputs_can_be_empty_or_missing_and_nsfw_has_three_values(lab: Lab) -> None:
    """A success can have no outputs, no key for them, and be flagged, unflagged or unchecked."""
    outputs = {
        marker: (await lab.read(await lab.created(f"x [{marker}]")))["output"]
        for marker in ("empty", "missing", "nsfw", "nsfw-null", "unknown words")
    }
    assert outputs["empty"]["outputs"] == []
    assert "outputs" not in outputs["missing"]
    assert [outputs[marker]["nsfw_detected"] for marker in ("nsfw", "nsfw-null", "unknown words")] == [
        True,
        None,
        False,
    ]


async def test_a_run_can_never_end_or_have_an_unknown_status(slow_lab: Lab) -> None:
    """A run that never ends runs until a test ends it; an unknown status lasts until the run ends."""
    never = await slow_lab.created("x [never]")
    unknown = await slow_lab.created("x [unknown]")
    slow_lab.clock.advance(20)
    assert (await slow_lab.read(unknown))["status_code"] == "reticulating"
    slow_lab.clock.advance(86_400)
    assert (await slow_lab.read(never))["status_code"] == "running"
    assert (await slow_lab.read(unknown))["status_code"] == "succeeded"
    await slow_lab.box.finish(never)
    assert (await slow_lab.read(never))["status_code"] == "succeeded"


async def test_the_cost_can_come_later(lab: Lab) -> None:
    """A late cost is null at first, although the balance is charged at once."""
    run_id = await lab.created("x [late-cost]")
    assert (await lab.read(run_id))["cost"] is None
    assert lab.box.runs[run_id].charged == Decimal("3.20")
    lab.clock.advance(60)
    assert (await lab.read(run_id))["cost"] == "3.20"


async def test_records_can_use_the_other_documented_spelling(lab: Lab) -> None:
    """Switches select the second documented spelling of "canceled" and of the status and failure keys."""
    lab.box.switches.record_cancelled = "cancelled"
    lab.box.switches.record_keys = "plain"
    assert (await lab.read(await lab.created("x [cancelled]")))["status"] == "cancelled"
    assert (await lab.read(await lab.created("x [failed]")))["failure_stage"] == "dispatch"


async def test_finishing_ends_a_run_at_once_with_a_chosen_outcome(slow_lab: Lab, mailbox: Mailbox) -> None:
    """A test decides when and how a run ends; when ``finish`` returns, the callback has arrived."""
    run_id = await slow_lab.created(callback_url=mailbox.url)
    other = await slow_lab.created(callback_url=mailbox.url)
    await slow_lab.box.finish(run_id, end="failed")
    assert [payload["event"] for payload in mailbox.payloads] == ["run.failed"]
    assert slow_lab.box.runs[run_id].status == "failed"
    await slow_lab.box.finish_all()
    assert mailbox.payloads[-1]["run_id"] == other
    await slow_lab.box.finish(run_id, end="succeeded")
    assert slow_lab.box.runs[run_id].status == "failed"
    assert len(mailbox.received) == 2


async def test_canceling_needs_the_admin_key_and_bills_a_started_run(slow_lab: Lab, mailbox: Mailbox) -> None:
    """201 if it changes the run, 200 if that had ended; a queued run is free, a running one is billed."""
    queued = await slow_lab.created()
    got = await slow_lab.call("POST", f"/v1/admin/runs/{queued}/cancellation", ADMIN, json={"reason": "no"})
    assert got.status == 422
    got = await slow_lab.call("POST", f"/v1/admin/runs/{queued}/cancellation", ADMIN, json={"reason": None})
    assert (got.status, got.json["status_code"], got.json["cost"]) == (201, "canceled", None)
    running = await slow_lab.created(callback_url=mailbox.url)
    slow_lab.clock.advance(30)
    path = f"/v1/admin/runs/{running}/cancellation"
    assert [(await slow_lab.call("POST", path, ADMIN, json={})).status for _ in range(2)] == [201, 200]
    assert (await slow_lab.read(running))["cost"] == "3.20"
    await slow_lab.box.idle()
    slow_lab.clock.advance(600)
    await slow_lab.box.idle()
    assert [(item["event"], item["status"], item["output"]) for item in mailbox.payloads] == [
        ("run.cancelled", "cancelled", None)
    ]
