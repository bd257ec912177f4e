"""The sandbox Runflow signs, sends, retries and breaks callbacks."""

import asyncio
import hashlib
import json
from datetime import datetime
from typing import Any

import pytest

from sandbox.runflow.callbacks import sign
from tests.sandbox.runflow_client import START, Lab, Mailbox, expected_signature, laboratory, until

VECTOR_SECRET = "whsec_local_example_key_0001"
VECTOR_A = (
    b'{"event":"run.completed","run_id":"0198c0de-7a11-7c3e-8f00-000000000001","status":"succeeded","output":'
    b'{"outputs":[{"url":"https://cdn.example.test/v/1.mp4?X-Sig=abc","type":"video","width":1280,"height":720,'
    b'"duration":8}],"nsfw_detected":false,"seed":null,"timing":{"inference_ms":61250}},"duration_ms":63500,'
    b'"created_at":"2026-01-15T10:00:00.000000+00:00","completed_at":"2026-01-15T10:01:03.500000+00:00",'
    b'"metadata":{"job":"j-42"}}'
)
VECTOR_B = (
    '{"event":"run.failed","run_id":"0198c0de-7a11-7c3e-8f00-000000000002","status":"failed","output":null,'
    '"duration_ms":1200,"created_at":"2026-01-15T10:00:00+00:00","completed_at":"2026-01-15T10:00:01.200000+00:00",'
    '"metadata":{"note":"café"}}'
).encode()


def test_signatures_match_the_worked_vectors() -> None:
    """Signing gives the expected values, and three common mistakes give other, known values."""
    assert (len(VECTOR_A), len(VECTOR_B)) == (434, 240)
    assert hashlib.sha256(VECTOR_A).hexdigest() == "6d98b68e704fd438e191a1fea2dc29232f1445b0594d83ee499c1a37561fd2e2"
    assert sign(VECTOR_SECRET, VECTOR_A) == "89c9d189ceaf9af4f066b3246b71cc7e184894ad368d8cf4e7062eec0551fba8"
    assert sign(VECTOR_SECRET, VECTOR_B) == "726f9b220d0d2128ae82f630a6ca57789c173b11bbc390a9226d8611a4e2436c"
    stripped = sign(VECTOR_SECRET.removeprefix("whsec_"), VECTOR_A)
    assert stripped == "bdb57832ca3a81af7e21dbc32daed953854fca605aa9dd782c66787a3982628c"
    newline = sign(VECTOR_SECRET, VECTOR_A + b"\n")
    assert newline == "2e24e826f5f80ea18e333cfbdebae5a07b2d5dc14b833ac0a1e3c05ff5e33fdf"
    escaped = sign(VECTOR_SECRET, VECTOR_B.replace("é".encode(), b"\\u00e9"))
    assert escaped == "88e70857a95020c29e8d0f329b49e13381ae2ecf3242728eab34b22a804cfeb3"


async def test_a_callback_is_signed_over_its_raw_bytes(lab: Lab, mailbox: Mailbox) -> None:
    """One callback follows the end, with the documented fields, unchanged metadata and no cost."""
    run_id = await lab.created(callback_url=mailbox.url, metadata={"note": "café"})
    await lab.box.idle()
    [(body, headers)] = mailbox.received
    assert headers["Runflow-Signature"] == expected_signature(body)
    assert headers["Runflow-Request-Id"] == lab.box.runs[run_id].request_id
    assert headers["Content-Type"] == "application/json"
    assert "café".encode() in body
    payload = json.loads(body)
    assert list(payload) == [
        "event", "run_id", "status", "output", "duration_ms", "created_at", "completed_at", "metadata"
    ]  # fmt: skip
    assert (payload["event"], payload["run_id"], payload["status"]) == ("run.completed", run_id, "succeeded")
    assert payload["completed_at"].endswith("+00:00")
    assert datetime.fromisoformat(payload["completed_at"]).timestamp() == START
    assert (await lab.fetch(payload["output"]["outputs"][0]["url"])).status == 200


async def test_callbacks_are_unsigned_without_a_secret(mailbox: Mailbox) -> None:
    """No signing secret, no signature header."""
    async with laboratory(callback_secret=None) as lab:
        await lab.created(callback_url=mailbox.url)
        await lab.box.idle()
    assert mailbox.signatures == [None]


async def test_server_errors_are_retried_after_one_and_two_seconds(lab: Lab, mailbox: Mailbox) -> None:
    """There are three attempts, 1 s and 2 s apart, and all are recorded."""
    mailbox.answers = [500, 503, 500, 500]
    run_id = await lab.created(callback_url=mailbox.url)
    counts = []
    for seconds in (0.9, 0.1, 1.9, 0.1, 60):
        await lab.box.idle()
        counts.append(len(mailbox.received))
        lab.clock.advance(seconds)
    assert counts == [1, 1, 2, 2, 3]
    await lab.box.idle()
    [record] = (await lab.call("GET", f"/v1/runs/{run_id}/callback")).json
    assert (record["status_code"], record["attempt_count"], record["max_attempts"]) == ("failed", 3, 3)
    assert [attempt["status_code"] for attempt in record["attempts"]] == [500, 503, 500]
    assert record["request_id"] == lab.box.runs[run_id].request_id
    assert len({body for body, _ in mailbox.received}) == 1


async def test_a_network_error_is_retried_and_a_refusal_is_not(lab: Lab, mailbox: Mailbox) -> None:
    """A refused connection counts as a network error; a 404 is final unless switched."""
    unreachable = await lab.created(callback_url="http://127.0.0.1:9/callbacks")
    mailbox.answers = [404]
    refused = await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    lab.box.switches.callback_retry_on = "non-2xx"
    mailbox.answers = [404, 204]
    retried = await lab.created(callback_url=mailbox.url)
    for _ in range(3):
        await lab.box.idle()
        lab.clock.advance(2)
    records = {
        run_id: (await lab.call("GET", f"/v1/runs/{run_id}/callback")).json[0]
        for run_id in (unreachable, refused, retried)
    }
    assert [record["attempt_count"] for record in records.values()] == [3, 1, 2]
    assert [record["status_code"] for record in records.values()] == ["failed", "failed", "succeeded"]
    assert records[unreachable]["attempts"][0]["status_code"] is None
    assert "Connect" in records[unreachable]["attempts"][0]["error_message"]


async def test_a_receiver_that_does_not_answer_times_out(lab: Lab, mailbox: Mailbox) -> None:
    """A timeout counts as a network error and is retried."""
    lab.box.switches.callback_timeout_s = 0.05
    mailbox.silent = True
    run_id = await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    mailbox.silent = False
    lab.clock.advance(1)
    await lab.box.idle()
    [record] = (await lab.call("GET", f"/v1/runs/{run_id}/callback")).json
    assert [attempt["status_code"] for attempt in record["attempts"]] == [None, 204]
    assert "Timeout" in record["attempts"][0]["error_message"]


async def test_callbacks_of_two_runs_can_arrive_out_of_order(lab: Lab, mailbox: Mailbox) -> None:
    """A delayed callback arrives after that of a later run."""
    lab.box.next_run(callback_delay_s=30)
    first = await lab.created(ref="a", callback_url=mailbox.url)
    second = await lab.created(ref="b", callback_url=mailbox.url)
    await lab.box.idle()
    lab.clock.advance(30)
    await lab.box.idle()
    assert [payload["run_id"] for payload in mailbox.payloads] == [second, first]


@pytest.mark.parametrize(
    ("marker", "count"), [("lost", 0), ("twice", 2), ("storm", 10), ("stale", 2), ("early", 1), ("event", 1)]
)
async def test_callbacks_can_be_lost_and_repeated(lab: Lab, mailbox: Mailbox, marker: str, count: int) -> None:
    """The marker decides how many callbacks arrive, and each is signed correctly."""
    run_id = await lab.created(f"x [{marker}]", callback_url=mailbox.url)
    await lab.box.idle()
    assert len(mailbox.received) == count
    assert mailbox.signatures == [expected_signature(body) for body, _ in mailbox.received]
    assert {payload["run_id"] for payload in mailbox.payloads} <= {run_id}
    events = [payload["event"] for payload in mailbox.payloads]
    assert events == {"stale": ["run.completed", "run.running"], "event": ["run.x"]}.get(
        marker, ["run.completed"] * count
    )


async def test_an_early_callback_arrives_before_the_post_is_answered(slow_lab: Lab, mailbox: Mailbox) -> None:
    """The callback arrives while the POST is still waiting for its reply, and isn't sent again."""
    slow_lab.box.switches.reply_delay_s = 5
    posting = asyncio.create_task(slow_lab.post("x [early]", callback_url=mailbox.url))
    await until(lambda: bool(mailbox.received))
    await asyncio.sleep(0.01)
    assert not posting.done()
    slow_lab.clock.advance(5)
    assert (await posting).json["id"] == mailbox.payloads[0]["run_id"]
    await slow_lab.box.idle()
    assert len(mailbox.received) == 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("missing", lambda body: None),
        ("wrong", lambda body: expected_signature(body, "whsec_sandboxx")),
        ("upper", lambda body: expected_signature(body).upper()),
        ("altered", lambda body: expected_signature(body.removesuffix(b"\n"))),
    ],
)
async def test_signatures_can_be_wrong(lab: Lab, mailbox: Mailbox, form: Any, expected: Any) -> None:
    """Each kind of wrong signature differs from the right one."""
    lab.box.switches.callback_signature = form
    await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    [(body, _)] = mailbox.received
    assert mailbox.signatures == [expected(body)]
    assert mailbox.signatures != [expected_signature(body)]


async def test_the_newest_secret_signs_unless_the_second_is_selected(lab: Lab, mailbox: Mailbox) -> None:
    """A new secret is returned once and signs from then on; a switch selects the previous one, as in a rotation."""
    got = await lab.call("POST", "/v1/callback-secrets", json={"label": "rotation"})
    fresh = got.json["plain_secret"]
    assert (got.status, fresh[:6]) == (201, "whsec_")
    await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    lab.box.switches.callback_signature = "second"
    await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    bodies = [body for body, _ in mailbox.received]
    assert mailbox.signatures == [expected_signature(bodies[0], fresh), expected_signature(bodies[1])]
    assert (await lab.call("POST", "/v1/callback-secrets", json={"label": "x" * 256})).status == 422


async def test_callbacks_can_use_the_other_documented_spellings(lab: Lab, mailbox: Mailbox) -> None:
    """A failure has no output or an error envelope, "cancelled" two spellings, and the run id can be unknown."""
    await lab.created("x [failed]", callback_url=mailbox.url)
    await lab.box.idle()
    lab.box.switches.callback_failure_output = "envelope"
    lab.box.switches.callback_cancelled = "canceled"
    for marker in ("failed", "cancelled", "partial", "stranger"):
        await lab.created(f"x [{marker}]", callback_url=mailbox.url)
        await lab.box.idle()
    null, envelope, cancelled, partial, stranger = mailbox.payloads
    assert (null["event"], null["status"], null["output"]) == ("run.failed", "failed", None)
    assert envelope["output"]["error"]["code"] == "PROVIDER_ERROR"
    assert (cancelled["event"], cancelled["status"], cancelled["output"]) == ("run.cancelled", "canceled", None)
    assert (partial["event"], partial["status"]) == ("run.partial_succeeded", "partial_succeeded")
    assert stranger["run_id"] not in lab.box.runs


async def test_a_callback_can_be_redelivered_after_it_was_delivered(slow_lab: Lab, mailbox: Mailbox) -> None:
    """422 before the end and during a delivery; then the same bytes, or new ones with a newly signed URL."""
    run_id = await slow_lab.created(callback_url=mailbox.url)
    path = f"/v1/runs/{run_id}/callback-redeliveries"
    mailbox.answers = [500]
    refused = await slow_lab.call("POST", path)
    assert (refused.status, refused.json["error_type"]) == (422, "conflict")
    slow_lab.clock.advance(70)
    await slow_lab.box.idle()
    assert (await slow_lab.call("POST", path)).status == 422
    slow_lab.clock.advance(1)
    await slow_lab.box.idle()
    assert (await slow_lab.call("POST", path)).status == 201
    await slow_lab.box.idle()
    slow_lab.box.switches.redelivery = "rebuilt"
    assert (await slow_lab.call("POST", path)).status == 201
    await slow_lab.box.idle()
    bodies = [body for body, _ in mailbox.received]
    assert bodies[0] == bodies[1] == bodies[2] != bodies[3]
    records = (await slow_lab.call("GET", f"/v1/runs/{run_id}/callback")).json
    assert [record["is_automatic"] for record in records] == [True, False, False]
