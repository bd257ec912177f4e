"""The Runflow sandbox keeps what it promises, asked over real TCP by clients that share no code with it."""

import asyncio
import hashlib
import hmac
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from sandbox.clock import Clock
from sandbox.runflow import MARKERS, RunflowSandbox, Switches
from sandbox.runflow.callbacks import sign
from sandbox.runflow.clip import STORED, ClipSpec, clip
from sandbox.runflow.switches import changed

KEY = {"Authorization": "Bearer rf_live_sandbox"}
ADMIN = {"Authorization": "Bearer rf_svc_sandbox"}
CREATE = "/v1/models/google/veo3.1/runs"
START = 1_800_000_000.0


@dataclass
class Got:
    """An answer, read to its end."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Lab:
    """A sandbox, a client of it and a time that stands still unless it is advanced."""

    box: RunflowSandbox
    clock: Clock
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Got:
        url = path if path.startswith("http") else self.box.url + path
        headers = KEY if headers is None else headers
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **more) as response:
            return Got(response.status, response.headers, await response.read())

    async def post(self, prompt: str = "a red fox", ref: str | None = "r1", **more: Any) -> Got:
        options = more.pop("options", {})
        reference = {} if ref is None else {"client_ref": ref}
        return await self.call("POST", CREATE, json={"input": {"prompt": prompt, **options}, **reference, **more})

    async def created(self, prompt: str = "a red fox", ref: str | None = "r1", **more: Any) -> str:
        got = await self.post(prompt, ref, **more)
        assert got.status == 201, got.content
        return str(got.json["id"])

    async def read(self, run_id: str) -> Any:
        got = await self.call("GET", f"/v1/runs/{run_id}")
        assert got.status == 200, got.content
        return got.json

    async def clip_url(self, prompt: str = "a red fox", **more: Any) -> str:
        record = await self.read(await self.created(prompt, **more))
        return str(record["output"]["outputs"][0]["url"])

    async def fetch(self, url: str, method: str = "GET", **headers: str) -> Got:
        return await self.call(method, url, headers)


@asynccontextmanager
async def laboratory(**options: Any) -> AsyncIterator[Lab]:
    clock = Clock(lambda: START)
    switches = options.pop("switches", None) or Switches(clip="stored")
    async with (
        RunflowSandbox(clock=clock, switches=switches, **options) as box,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        yield Lab(box, clock, session)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with laboratory() as made:
        yield made


@pytest.fixture
async def slow_lab() -> AsyncIterator[Lab]:
    async with laboratory(queue_s=10.0, run_s=60.0) as made:
        yield made


@dataclass
class Mailbox:
    """Where callbacks arrive: what came, and what is answered."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    came: list[tuple[bytes, Any]] = field(default_factory=list)
    silent: bool = False

    async def take(self, request: web.Request) -> web.Response:
        self.came.append((await request.read(), request.headers))
        if self.silent:
            await asyncio.sleep(0.2)
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    @property
    def payloads(self) -> list[Any]:
        return [json.loads(body) for body, _ in self.came]

    @property
    def signatures(self) -> list[str | None]:
        return [headers.get("Runflow-Signature") for _, headers in self.came]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    app = web.Application()
    app.router.add_post("/callbacks", box.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks"
    yield box
    await runner.cleanup()


def expected_signature(body: bytes, key: str = "whsec_sandbox") -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what a sandbox has received sets no event
        await asyncio.sleep(0.002)


# The clock.


async def test_advancing_wakes_exactly_those_whose_time_has_come() -> None:
    """A sleeper goes on when the clock passes its time, and not before."""
    clock = Clock(lambda: START)
    early, late = (asyncio.create_task(clock.sleep_until(START + at)) for at in (10, 20))
    await asyncio.sleep(0)
    clock.advance(10)
    await asyncio.wait_for(early, 1)
    assert not late.done()
    clock.advance(10)
    await asyncio.wait_for(late, 1)
    assert clock.now() == START + 20
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_the_clock_runs_by_itself() -> None:
    """Without advancing, a sleeper waits the real time."""
    clock = Clock()
    until = clock.now() + 0.02
    await clock.sleep_until(until)
    assert clock.now() >= until


# Creating and reading.


async def test_a_new_run_is_queued_and_comes_back_whole(lab: Lab) -> None:
    """201 with the full run object, ids of version 7 that rise, and what was sent unchanged."""
    first = (await lab.post(metadata={"job": "é"}, options={"seed": 7})).json
    second = (await lab.post(ref="r2")).json
    assert first["status_code"] == "queued"
    assert first["cost"] is None
    assert first["output"] is None
    assert (first["client_ref"], first["metadata"]) == ("r1", {"job": "é"})
    assert first["input"] == {"prompt": "a red fox", "seed": 7}
    assert first["created_at"].endswith("Z")
    assert UUID(first["id"]).version == 7
    assert first["id"] < second["id"]
    assert list(lab.box.runs) == [first["id"], second["id"]]


async def test_a_run_walks_through_its_states_by_the_clock(slow_lab: Lab) -> None:
    """Queued, dispatching, running, succeeded: each when its time has come, with cost and output at the end only."""
    run_id = await slow_lab.created(options={"seed": 7, "resolution": "1080p", "aspect_ratio": "9:16"})
    seen = []
    for seconds in (9, 1, 6, 54):
        before = await slow_lab.read(run_id)
        seen.append(before["status_code"])
        assert (before["cost"], before["output"], before["completed_at"]) == (None, None, None)
        slow_lab.clock.advance(seconds)
    after = await slow_lab.read(run_id)
    assert [*seen, after["status_code"]] == ["queued", "queued", "dispatching", "running", "succeeded"]
    assert after["duration_ms"] == 70_000
    output = after["output"]
    assert (output["nsfw_detected"], output["seed"]) == (False, 7)
    entry = output["outputs"][0]
    assert (entry["type"], entry["width"], entry["height"], entry["duration"]) == ("video", 1080, 1920, 8)


@pytest.mark.parametrize(
    ("states", "expected"),
    [("skip", ["queued"] * 4), ("back", ["dispatching", "running", "queued", "running"])],
)
async def test_states_may_be_skipped_or_go_back(slow_lab: Lab, states: Any, expected: list[str]) -> None:
    """The switch for jumping states gives exactly these statuses on the way."""
    slow_lab.box.switches.states = states
    run_id = await slow_lab.created()
    slow_lab.clock.advance(10)
    seen = []
    for _ in range(4):
        seen.append((await slow_lab.read(run_id))["status_code"])
        slow_lab.clock.advance(15)
    assert seen == expected


async def test_equal_posts_make_two_paid_runs(lab: Lab) -> None:
    """There is no idempotency: the same client_ref twice is bought twice."""
    await lab.created(options={"generate_audio": False})
    await lab.created(options={"generate_audio": False})
    assert lab.box.posts("r1") == 2
    assert [run.posts for run in lab.box.runs.values()] == [2, 2]
    assert sum(run.charged for run in lab.box.runs.values()) == Decimal("3.20")


@pytest.mark.parametrize(
    ("resolution", "audio", "prices"),
    [
        ("720p", False, ["0.80", "1.20", "1.60"]),
        ("1080p", False, ["0.80", "1.20", "1.60"]),
        ("720p", True, ["1.60", "2.40", "3.20"]),
        ("1080p", True, ["1.60", "2.40", "3.20"]),
        ("4k", False, ["1.60", "2.40", "3.20"]),
        ("4k", True, ["2.40", "3.60", "4.80"]),
    ],
)
async def test_the_price_ladder(lab: Lab, resolution: str, audio: bool, prices: list[str]) -> None:
    """The cost of 4, 6 and 8 s is decimal text from the table, and the balance falls by it."""
    before = (await lab.call("GET", "/v1/billing/balance")).json["balance_cents"]
    shown = []
    for duration in ("4s", "6s", "8s"):
        options = {"resolution": resolution, "generate_audio": audio, "duration": duration}
        shown.append((await lab.read(await lab.created(options=options)))["cost"])
    assert shown == prices
    after = (await lab.call("GET", "/v1/billing/balance")).json
    assert after == {"balance_cents": before - int(100 * sum(map(Decimal, prices))), "currency": "USD"}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"duration": 8}, "duration"),
        ({"duration": "8"}, "duration"),
        ({"resolution": "4K"}, "resolution"),
        ({"aspect_ratio": "1:1"}, "aspect_ratio"),
        ({"safety_tolerance": 4}, "safety_tolerance"),
        ({"safety_tolerance": "7"}, "safety_tolerance"),
        ({"generate_audio": "true"}, "generate_audio"),
        ({"auto_fix": 1}, "auto_fix"),
        ({"seed": "7"}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": None}, "seed"),
        ({"negative_prompt": 1}, "negative_prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"duration": []}, "duration"),
    ],
)
async def test_a_wrong_input_value_is_named_and_makes_no_run(lab: Lab, options: dict[str, object], name: str) -> None:
    """422 with one entry for the field, whatever the field."""
    got = await lab.post(options=options)
    assert got.status == 422
    assert [error["loc"] for error in got.json["errors"]] == [["body", "input", name]]
    assert not lab.box.runs


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["input"]),
        ({"input": "a fox"}, ["input"]),
        ({"input": {}}, ["input", "prompt"]),
        ({"input": {"prompt": "x"}, "prompt": "x"}, ["prompt"]),
        ({"input": {"prompt": "x"}, "client_ref": None}, ["client_ref"]),
        ({"input": {"prompt": "x"}, "client_ref": "x" * 256}, ["client_ref"]),
        ({"input": {"prompt": "x"}, "metadata": "x"}, ["metadata"]),
        ({"input": {"prompt": "x"}, "callback_url": "ftp://example.test"}, ["callback_url"]),
        ({"input": {"prompt": "x"}, "callback_url": "https://[x"}, ["callback_url"]),
        ({"input": {"prompt": "x"}, "callback_url": "https://example.test/" + "x" * 2048}, ["callback_url"]),
    ],
)
async def test_a_wrong_body_is_named_and_makes_no_run(lab: Lab, body: object, path: list[str]) -> None:
    """422 for what is wrong around the input, unknown keys included."""
    got = await lab.call("POST", CREATE, json=body)
    assert (got.status, [error["loc"] for error in got.json["errors"]]) == (422, [["body", *path]])
    assert not lab.box.runs


async def test_unknown_input_keys_are_ignored_unless_switched(lab: Lab) -> None:
    """An input field that the model does not have is let through at first, and refused by the switch."""
    assert (await lab.post(options={"sync_mode": True})).status == 201
    lab.box.switches.unknown_input = "refused"
    assert (await lab.post(options={"sync_mode": True})).json["errors"][0]["loc"] == ["body", "input", "sync_mode"]


async def test_a_bad_value_may_come_to_light_late(lab: Lab) -> None:
    """Switched to late, a wrong value gives a run that fails at validation and costs nothing."""
    lab.box.switches.bad_value = "late"
    lab.box.switches.strict_veo = True
    for options, name in (({"duration": "9s"}, "duration"), ({"resolution": "4k", "duration": "4s"}, "duration")):
        record = await lab.read(await lab.created(options=options))
        assert record["status_code"] == "failed"
        assert (record["failure_code"], record["failure_stage_code"]) == ("INPUT_VALIDATION_FAILED", "preprocess")
        assert name in record["failure_message"]
    assert all(run.charged == 0 for run in lab.box.runs.values())


async def test_bodies_that_are_no_json_object_are_400_and_large_ones_413(lab: Lab) -> None:
    """Broken JSON, a list and a megabyte are each refused as what they are."""
    assert (await lab.call("POST", CREATE, data=b'{"input":')).status == 400
    assert (await lab.call("POST", CREATE, json=[])).status == 400
    assert (await lab.call("POST", CREATE, data=io.BytesIO(b" " * 1_100_000))).status == 413


# Keys and errors.


async def test_keys_are_checked_everywhere_but_at_the_health_check(lab: Lab) -> None:
    """401 without the key, 403 for an administrator's act with the wrong one, 200 for health without any."""
    run_id = await lab.created()
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "rf_live_sandbox"}, {"x-api-key": "x"}):
        got = await lab.call("GET", f"/v1/runs/{run_id}", headers)
        assert (got.status, got.json["code"]) == (401, "UNAUTHORIZED")
    assert (await lab.call("GET", "/v1/health", {})).json == {"status": "ok"}
    assert (await lab.call("GET", "/v1/auth/me")).status == 200
    refused = await lab.call("POST", f"/v1/admin/runs/{run_id}/cancellation", json={"reason": None})
    assert (refused.status, refused.json["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/runs/0198c0de-7a11-7c3e-8f00-000000000001", "RUN_NOT_FOUND"),
        ("POST", "/v1/models/google/veo3.1/fast/runs", "NOT_FOUND"),
        ("POST", "/v1/run/google/veo3.1", "NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_404(lab: Lab, method: str, path: str, code: str) -> None:
    """Unknown runs, other models and older addresses are 404 with a code."""
    got = await lab.call(method, path)
    assert (got.status, got.json["code"]) == (404, code)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("flat", rb'\{"code": "validation_error", "message": .*"errors": \[\{"loc"'),
        ("nested", rb'\{"error": \{"code": "validation_error"'),
        ("text", rb"The request is not valid$"),
        ("html", rb"<html>"),
        ("empty", rb"$"),
    ],
)
async def test_errors_come_in_every_form(lab: Lab, form: Any, expected: bytes) -> None:
    """The error body takes the form of the switch, the status stays."""
    lab.box.switches.error_body = form
    got = await lab.post(options={"seed": "x"})
    assert got.status == 422
    assert re.match(expected, got.content)


@pytest.mark.parametrize("name", ["prompt", "auto_fix", "callback_url", "client_ref"])
async def test_any_field_can_be_refused(lab: Lab, name: str) -> None:
    """422 for a field on demand, its items in both forms or absent."""
    lab.box.switches.refuse_field = name
    assert (await lab.post()).json["errors"][0]["loc"][-1] == name
    lab.box.switches.error_items = "field"
    assert (await lab.post()).json["errors"][0]["field"].split(".")[-1] == name
    lab.box.switches.error_items = "null"
    assert (await lab.post()).json["errors"] is None


async def test_every_request_is_kept_without_its_key(lab: Lab) -> None:
    """Method, path, query, headers and body are there to be checked; the key is not."""
    await lab.created()
    await lab.call("GET", "/v1/runs", params={"limit": "1"})
    post, get = lab.box.received
    assert (post.method, post.path, post.headers["Authorization"]) == ("POST", CREATE, "***")
    assert post.body == {"input": {"prompt": "a red fox"}, "client_ref": "r1"}
    assert (get.method, get.path, get.query, get.body) == ("GET", "/v1/runs", {"limit": "1"}, None)


# Outcomes.


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
    """Each end has its status, its failure text and its price; a failed run is not billed."""
    run_id = await lab.created(f"a red fox {marker}")
    record = await lab.read(run_id)
    assert record["status_code"] == status
    assert (text is None) == (record["failure_message"] is None)
    assert text is None or text in record["failure_message"]
    assert lab.box.runs[run_id].charged == Decimal(charged)
    assert (record["output"] is None) == (status in ("failed", "errored", "canceled"))


async def test_outputs_may_be_empty_or_missing_and_nsfw_has_three_values(lab: Lab) -> None:
    """A success without outputs, without the key, flagged, and not checked at all."""
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


async def test_a_run_may_never_end_or_show_an_unknown_status(slow_lab: Lab) -> None:
    """Never means never, until the test ends it; an unknown status lasts as long as the run."""
    never = await slow_lab.created("x [never]")
    unknown = await slow_lab.created("x [unknown]")
    slow_lab.clock.advance(20)
    assert (await slow_lab.read(unknown))["status_code"] == "reticulating"
    slow_lab.clock.advance(86_400)
    assert (await slow_lab.read(never))["status_code"] == "running"
    assert (await slow_lab.read(unknown))["status_code"] == "succeeded"
    await slow_lab.box.finish(never)
    assert (await slow_lab.read(never))["status_code"] == "succeeded"


async def test_the_cost_may_come_later(lab: Lab) -> None:
    """A late cost is null until its time, while the balance has paid at once."""
    run_id = await lab.created("x [late-cost]")
    assert (await lab.read(run_id))["cost"] is None
    assert lab.box.runs[run_id].charged == Decimal("3.20")
    lab.clock.advance(60)
    assert (await lab.read(run_id))["cost"] == "3.20"


async def test_records_can_be_spelled_the_other_way(lab: Lab) -> None:
    """The documented second spellings of cancelled and of the code keys are there by switch."""
    lab.box.switches.record_cancelled = "cancelled"
    lab.box.switches.record_keys = "plain"
    assert (await lab.read(await lab.created("x [cancelled]")))["status"] == "cancelled"
    assert (await lab.read(await lab.created("x [failed]")))["failure_stage"] == "dispatch"


async def test_finishing_ends_a_run_at_once_with_a_chosen_outcome(slow_lab: Lab, mailbox: Mailbox) -> None:
    """A test decides when and how a run ends, and its callback has arrived when that returns."""
    run_id = await slow_lab.created(callback_url=mailbox.url)
    other = await slow_lab.created(callback_url=mailbox.url)
    await slow_lab.box.finish(run_id, end="failed")
    assert [payload["event"] for payload in mailbox.payloads] == ["run.failed"]
    assert slow_lab.box.runs[run_id].status == "failed"
    await slow_lab.box.finish_all()
    assert mailbox.payloads[-1]["run_id"] == other
    await slow_lab.box.finish(run_id, end="succeeded")
    assert slow_lab.box.runs[run_id].status == "failed"
    assert len(mailbox.came) == 2


async def test_cancelling_needs_the_administrator_and_bills_work_done(slow_lab: Lab, mailbox: Mailbox) -> None:
    """201 on a change, 200 on a run that had ended; a queued run is free, one at work is billed."""
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


# Callbacks.

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
    """The signer gives the published values, and the values of three wrong methods for these wrong inputs only."""
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
    """One callback after the end, with the documented fields, the metadata unchanged and no cost."""
    run_id = await lab.created(callback_url=mailbox.url, metadata={"note": "café"})
    await lab.box.idle()
    [(body, headers)] = mailbox.came
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
    """Three attempts in all, 1 s and 2 s apart; the record tells each of them."""
    mailbox.answers = [500, 503, 500, 500]
    run_id = await lab.created(callback_url=mailbox.url)
    counts = []
    for seconds in (0.9, 0.1, 1.9, 0.1, 60):
        await lab.box.idle()
        counts.append(len(mailbox.came))
        lab.clock.advance(seconds)
    assert counts == [1, 1, 2, 2, 3]
    await lab.box.idle()
    [record] = (await lab.call("GET", f"/v1/runs/{run_id}/callback")).json
    assert (record["status_code"], record["attempt_count"], record["max_attempts"]) == ("failed", 3, 3)
    assert [attempt["status_code"] for attempt in record["attempts"]] == [500, 503, 500]
    assert record["request_id"] == lab.box.runs[run_id].request_id
    assert len({body for body, _ in mailbox.came}) == 1


async def test_a_network_error_is_retried_and_a_refusal_is_not(lab: Lab, mailbox: Mailbox) -> None:
    """Nobody listening counts as a network error; a 404 is final unless the switch says otherwise."""
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


async def test_a_receiver_that_does_not_answer_is_given_up_in_time(lab: Lab, mailbox: Mailbox) -> None:
    """A silent receiver counts as a network error once its time is over, and is tried again."""
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


async def test_callbacks_of_two_runs_may_be_swapped(lab: Lab, mailbox: Mailbox) -> None:
    """A delayed callback comes after that of a run that ended later."""
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
async def test_callbacks_may_be_lost_and_repeated(lab: Lab, mailbox: Mailbox, marker: str, count: int) -> None:
    """So many callbacks arrive, and each is rightly signed."""
    run_id = await lab.created(f"x [{marker}]", callback_url=mailbox.url)
    await lab.box.idle()
    assert len(mailbox.came) == count
    assert mailbox.signatures == [expected_signature(body) for body, _ in mailbox.came]
    assert {payload["run_id"] for payload in mailbox.payloads} <= {run_id}
    events = [payload["event"] for payload in mailbox.payloads]
    assert events == {"stale": ["run.completed", "run.running"], "event": ["run.x"]}.get(
        marker, ["run.completed"] * count
    )


async def test_an_early_callback_arrives_before_the_post_is_answered(slow_lab: Lab, mailbox: Mailbox) -> None:
    """While the POST is still held back its callback is there, and it does not come again."""
    slow_lab.box.switches.reply_delay_s = 5
    posting = asyncio.create_task(slow_lab.post("x [early]", callback_url=mailbox.url))
    await until(lambda: bool(mailbox.came))
    await asyncio.sleep(0.01)
    assert not posting.done()
    slow_lab.clock.advance(5)
    assert (await posting).json["id"] == mailbox.payloads[0]["run_id"]
    await slow_lab.box.idle()
    assert len(mailbox.came) == 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("missing", lambda body: None),
        ("wrong", lambda body: expected_signature(body, "whsec_sandboxx")),
        ("upper", lambda body: expected_signature(body).upper()),
        ("altered", lambda body: expected_signature(body.removesuffix(b"\n"))),
    ],
)
async def test_signatures_can_be_spoilt(lab: Lab, mailbox: Mailbox, form: Any, expected: Any) -> None:
    """Each way to spoil a signature gives a value that the right method would not."""
    lab.box.switches.callback_signature = form
    await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    [(body, _)] = mailbox.came
    assert mailbox.signatures == [expected(body)]
    assert mailbox.signatures != [expected_signature(body)]


async def test_the_newest_secret_signs_and_the_one_before_by_switch(lab: Lab, mailbox: Mailbox) -> None:
    """A new secret is shown once and signs from then on; during a rotation the older one may sign too."""
    got = await lab.call("POST", "/v1/callback-secrets", json={"label": "rotation"})
    fresh = got.json["plain_secret"]
    assert (got.status, fresh[:6]) == (201, "whsec_")
    await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    lab.box.switches.callback_signature = "second"
    await lab.created(callback_url=mailbox.url)
    await lab.box.idle()
    bodies = [body for body, _ in mailbox.came]
    assert mailbox.signatures == [expected_signature(bodies[0], fresh), expected_signature(bodies[1])]
    assert (await lab.call("POST", "/v1/callback-secrets", json={"label": "x" * 256})).status == 422


async def test_failed_callbacks_may_carry_an_envelope_and_other_names(lab: Lab, mailbox: Mailbox) -> None:
    """Output on failure is null or an error envelope; cancelled has two spellings; a stranger's id can be sent."""
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


async def test_a_redelivery_sends_again_but_not_while_one_is_under_way(slow_lab: Lab, mailbox: Mailbox) -> None:
    """422 before the end and during a delivery; then the same bytes, or rebuilt ones with a fresh address."""
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
    bodies = [body for body, _ in mailbox.came]
    assert bodies[0] == bodies[1] == bodies[2] != bodies[3]
    records = (await slow_lab.call("GET", f"/v1/runs/{run_id}/callback")).json
    assert [record["is_automatic"] for record in records] == [True, False, False]


# Replies that go wrong.


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504"])
async def test_a_post_may_fail_before_or_after_buying(lab: Lab, moment: str, fault: str) -> None:
    """The same answer with and without a run behind it; the next POST works."""
    setattr(lab.box.switches, moment, fault)
    assert (await lab.post()).status == int(fault)
    assert len(lab.box.runs) == (moment == "after")
    assert (await lab.post()).status == 201
    assert lab.box.posts("r1") == 2


@pytest.mark.parametrize(("moment", "runs"), [("before", 0), ("after", 1)])
async def test_a_post_may_be_cut_off_or_never_answered(lab: Lab, mailbox: Mailbox, moment: str, runs: int) -> None:
    """A reset and a silence: no answer, and a run exactly where the switch says; it goes on and calls back."""
    setattr(lab.box.switches, moment, "reset")
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionResetError)):
        await lab.post(callback_url=mailbox.url)
    setattr(lab.box.switches, moment, "timeout")
    waiting = asyncio.create_task(lab.post(ref="r2", callback_url=mailbox.url))
    await until(lambda: lab.box.posts("r2") == 1 and len(mailbox.came) == 2 * runs)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    waiting.cancel()
    await lab.box.idle()
    assert (len(lab.box.runs), len(mailbox.came)) == (2 * runs, 2 * runs)


async def test_a_reply_may_be_truncated_or_empty(lab: Lab) -> None:
    """201 with half the JSON, or with nothing, and the run exists."""
    half = await lab.post("x [after-truncated]", "r1")
    nothing = await lab.post("x [after-no-body]", "r2")
    assert (half.status, nothing.status, nothing.content) == (201, 201, b"")
    with pytest.raises(ValueError, match=r"char|delimiter|Unterminated|Expecting"):
        json.loads(half.content)
    assert [run.client_ref for run in lab.box.runs.values()] == ["r1", "r2"]


async def test_429_passes_after_so_many_times(lab: Lab) -> None:
    """Each client_ref is refused so often, without any header first and with those of the switches then."""
    lab.box.switches.post_429 = 2
    refused = await lab.post()
    assert (refused.status, refused.json["code"]) == (429, "RATE_LIMITED")
    assert not [name for name in refused.headers if name.lower().startswith(("retry", "x-rate"))]
    lab.box.switches.retry_after = "7"
    lab.box.switches.rate_headers = True
    headers = (await lab.post()).headers
    assert (headers["Retry-After"], headers["X-RateLimit-Remaining"]) == ("7", "0")
    assert (await lab.post()).status == 201
    assert (await lab.post(ref="r2")).status == 429
    assert len(lab.box.runs) == 1


async def test_keys_and_credit_may_run_out(lab: Lab) -> None:
    """401 and 403 by switch for everything, 402 after so many runs and with an empty balance."""
    lab.box.switches.no_credit_after = 1
    assert [(await lab.post()).status for _ in range(2)] == [201, 402]
    assert (await lab.post("x [403]")).status == 403
    lab.box.switches.auth = "401"
    assert (await lab.call("GET", "/v1/runs")).status == 401
    async with laboratory(balance_cents=100) as poor:
        assert [(await poor.post()).json.get("code") for _ in range(2)] == [None, "INSUFFICIENT_CREDIT"]
        assert poor.box.balance_usd == Decimal("-2.20")


async def test_reads_may_fail_for_a_while(lab: Lab) -> None:
    """A run's reads are refused so many times, by 429 or by a fault, and work then; also under a run that exists."""
    run_id = await lab.created("x [reads-fail]")
    path = f"/v1/runs/{run_id}"
    assert [(await lab.call("GET", path)).status for _ in range(4)] == [503, 503, 503, 200]
    lab.box.switches.read_429 = 1
    assert [(await lab.call("GET", path)).status for _ in range(2)] == [429, 200]
    lab.box.switches.read = "truncated"
    path = f"/v1/runs/{await lab.created()}"
    assert (await lab.call("GET", path)).status == 429
    half, whole = [await lab.call("GET", path) for _ in range(2)]
    assert (half.status, half.content[:7]) == (200, b'{"id": ')
    assert 0.4 < len(half.content) / len(whole.content) < 0.6


async def test_replies_may_be_slow_and_fed_in_pieces(lab: Lab) -> None:
    """A delayed or dripping reply is whole once the clock has moved, and not there before."""
    lab.box.switches.reply_delay_s = 100
    lab.box.switches.drip_s = 10
    posting = asyncio.create_task(lab.post())
    await until(lambda: bool(lab.box.runs))
    await asyncio.sleep(0.01)
    assert not posting.done()
    lab.clock.advance(100)
    for _ in range(15):
        await asyncio.sleep(0.002)
        lab.clock.advance(1)
    assert (await posting).json["client_ref"] == "r1"


@pytest.mark.parametrize(("form", "status"), [("normal", 200), ("403", 403), ("404", 404), ("shape", 200)])
async def test_the_balance_may_be_withheld(lab: Lab, form: Any, status: int) -> None:
    """The balance is given, refused, absent or of another shape."""
    lab.box.switches.balance = form
    got = await lab.call("GET", "/v1/billing/balance")
    assert got.status == status
    assert ("balance_cents" in got.json) == (form == "normal")


# The list.


async def listed(lab: Lab, **query: str) -> list[str]:
    got = await lab.call("GET", "/v1/runs", params=query)
    assert got.status == 200, got.content
    return [item["client_ref"] for item in got.json["items"]]


async def test_both_filter_grammars_are_understood(lab: Lab) -> None:
    """A run is found by client_ref, status and time, alone and combined."""
    for ref, prompt in (("a", "x"), ("b", "x [failed]"), ("it's", "x")):
        await lab.created(prompt, ref)
        lab.clock.advance(60)
    moment = "2027-01-15T08:00:30Z"
    assert await listed(lab) == ["it's", "b", "a"]
    assert await listed(lab, sort_by="created_at") == ["a", "b", "it's"]
    assert await listed(lab, q="client_ref.EQ:'b'") == ["b"]
    assert await listed(lab, q="client_ref:b") == ["b"]
    assert await listed(lab, q='client_ref = "b"'.replace(" ", "")) == ["b"]
    assert await listed(lab, q="client_ref.EQ:'B'") == []
    assert await listed(lab, q=f"status_code:succeeded AND created_at>{moment}") == ["it's"]
    assert await listed(lab, q=f"created_at<={moment} OR status_code:failed") == ["b", "a"]
    assert await listed(lab, q="NOT client_ref:b AND created_at>2026-04-01") == ["it's", "a"]


@pytest.mark.parametrize("text", ["client_ref", "prompt:x", "client_ref:a AND", "created_at>soon", "client_ref:a b"])
async def test_a_filter_that_makes_no_sense_is_refused(lab: Lab, text: str) -> None:
    """422 rather than a list of everything."""
    assert (await lab.call("GET", "/v1/runs", params={"q": text})).status == 422


async def test_a_filter_form_may_be_refused_or_ignored(lab: Lab) -> None:
    """Either grammar can be switched off, with 422 or 400, and a filter can be without effect."""
    await lab.created(ref="a")
    await lab.created(ref="b")
    eq, plain = "client_ref.EQ:'a'", "client_ref:a"
    statuses: list[list[int]] = []
    for form in ("eq", "plain", "none"):
        lab.box.switches = changed(lab.box.switches, {"list_filter": form})
        statuses.append([(await lab.call("GET", "/v1/runs", params={"q": q})).status for q in (eq, plain)])
    assert statuses == [[200, 422], [422, 200], [422, 422]]
    lab.box.switches.list_filter_status = 400
    assert (await lab.call("GET", "/v1/runs", params={"q": eq})).status == 400
    lab.box.switches.list_filter = "ignored"
    assert await listed(lab, q=eq) == ["b", "a"]


async def test_the_list_may_lag_or_fail(lab: Lab) -> None:
    """A new run appears in the list after the lag; a list fault leaves reads alone."""
    lab.box.switches.list_lag_s = 30
    run_id = await lab.created()
    assert await listed(lab, q="client_ref:r1") == []
    lab.clock.advance(30)
    assert await listed(lab, q="client_ref:r1") == ["r1"]
    lab.box.switches.list_fault = "500"
    assert (await lab.call("GET", "/v1/runs")).status == 500
    assert (await lab.read(run_id))["id"] == run_id


@pytest.mark.parametrize(
    ("names", "forward", "back"), [("next", "next", "previous"), ("next_pq", "next_pq", "prev_pq")]
)
async def test_pages_lead_on_and_back(lab: Lab, names: Any, forward: str, back: str) -> None:
    """Cursors of either name lead through every run once, and back, though new runs appear meanwhile."""
    lab.box.switches.cursor_names = names
    for ref in "abcde":
        await lab.created(ref=ref)
    first = (await lab.call("GET", "/v1/runs", params={"limit": "2"})).json
    await lab.created(ref="f")
    second = (await lab.call("GET", "/v1/runs", params={"limit": "2", "pq": first[forward]})).json
    third = (await lab.call("GET", "/v1/runs", params={"limit": "2", "pq": second[forward]})).json
    query = {"limit": "2", "pq": third[back], "from_prev": "true"}
    again = (await lab.call("GET", "/v1/runs", params=query)).json
    pages = ["".join(item["client_ref"] for item in page["items"]) for page in (first, second, third, again)]
    assert pages == ["ed", "cb", "a", "cb"]
    assert third[forward] is None


async def test_list_arguments_are_checked(lab: Lab) -> None:
    """The limit is 1 to 500, the order is known, and fields cut the items."""
    await lab.created()
    for query in ({"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"sort_by": "cost"}):
        assert (await lab.call("GET", "/v1/runs", params=query)).status == 422
    got = await lab.call("GET", "/v1/runs", params={"fields": "id,client_ref"})
    assert [set(item) for item in got.json["items"]] == [{"id", "client_ref"}]
    assert "partial_succeeded" in (await lab.call("GET", "/v1/runs/statuses")).json


# The file host.


async def test_a_file_is_served_whole_in_parts_and_by_head(lab: Lab) -> None:
    """The announced length is right, ranges give their bytes, HEAD gives none."""
    url, stored = await lab.clip_url(), STORED.read_bytes()
    whole = await lab.fetch(url)
    assert (whole.status, whole.headers["Content-Type"], whole.content) == (200, "video/mp4", stored)
    head = await lab.fetch(url, "HEAD")
    assert (head.status, int(head.headers["Content-Length"]), head.content) == (200, len(stored), b"")
    for text, part in (("bytes=0-9", stored[:10]), ("bytes=-5", stored[-5:]), ("bytes=100-", stored[100:])):
        got = await lab.fetch(url, Range=text)
        assert (got.status, got.content) == (206, part)
    assert got.headers["Content-Range"] == f"bytes 100-{len(stored) - 1}/{len(stored)}"
    beyond = await lab.fetch(url, Range=f"bytes={len(stored)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(stored)}")
    assert (await lab.fetch(url, Range="lines=1-2")).status == 200


async def test_an_address_that_is_altered_expired_or_shown_a_key_is_refused(lab: Lab) -> None:
    """403 for a wrong or old signature, 400 for a request that leaks an Authorization header."""
    run_id = await lab.created()
    url = (await lab.read(run_id))["output"]["outputs"][0]["url"]
    assert (await lab.fetch(url.replace("expires=18", "expires=19"))).status == 403
    assert (await lab.fetch(url[:-1] + ("0" if url[-1] != "0" else "1"))).status == 403
    assert (await lab.fetch(url + "é")).status == 403
    assert (await lab.fetch(url.partition("?")[0])).status == 403
    assert (await lab.fetch(url, **KEY)).status == 400
    lab.clock.advance(86_399)
    assert (await lab.fetch(url)).status == 200
    lab.clock.advance(1)
    assert (await lab.fetch(url)).status == 403
    fresh = (await lab.read(run_id))["output"]["outputs"][0]["url"]
    assert (await lab.fetch(fresh)).status == 200


@pytest.mark.parametrize(("fault", "status"), [("expired", 403), ("403", 403), ("404", 404), ("410", 410)])
async def test_a_refused_address_stays_refused_and_a_new_one_works(lab: Lab, fault: Any, status: int) -> None:
    """Only reading the run again helps, as many times as the switch says."""
    lab.box.switches.url_fault = fault
    lab.box.switches.url_fault_times = 2
    run_id = await lab.created()
    for expected in (status, status, 200):
        url = (await lab.read(run_id))["output"]["outputs"][0]["url"]
        assert [(await lab.fetch(url)).status for _ in range(2)] == [expected, expected]


async def test_addresses_may_point_elsewhere(lab: Lab) -> None:
    """A private address, a plain one elsewhere, a redirect to a private one and a harmless redirect."""
    assert (await lab.clip_url("x [private]")).startswith("http://10.11.12.13/")
    lab.box.switches.url_place = "plain"
    assert (await lab.clip_url()).startswith("http://files.runflow.invalid/")
    moved = await lab.fetch(await lab.clip_url("x [redirect-private]"))
    assert (moved.status, moved.headers["Location"][:23]) == (302, "http://169.254.169.254/")
    harmless = await lab.fetch(await lab.clip_url("x [redirect]"))
    assert (await lab.fetch(lab.box.url + harmless.headers["Location"])).content == STORED.read_bytes()


async def test_a_clip_may_be_another_sort_of_film(lab: Lab) -> None:
    """Each sort begins as its specification says, with its type, and holds what the usual clip holds."""
    stored = STORED.read_bytes()
    for film, head, media_type in (
        ("webm", b"\x1a\x45\xdf\xa3", "video/webm"),
        ("mkv", b"\x1a\x45\xdf\xa3", "video/x-matroska"),
        ("mov", stored[:8] + b"qt  ", "video/quicktime"),
        ("hevc", stored[:12], "video/mp4"),
        ("tail", stored, "video/mp4"),
    ):
        lab.box.switches.film = film  # type: ignore[assignment]
        got = await lab.fetch(await lab.clip_url())
        assert (got.status, got.headers["Content-Type"]) == (200, media_type)
        assert got.content.startswith(head)
        assert stored[-1000:] in got.content
        assert got.content != stored


async def test_downloads_may_break_in_every_way(lab: Lab) -> None:
    """Truncated is an error, short and zero look whole, HTML is no video; a fault that comes once is over then."""
    with pytest.raises(aiohttp.ClientPayloadError):
        await lab.fetch(await lab.clip_url("x [truncated]"))
    once = await lab.clip_url("x [truncated-once]")
    with pytest.raises(aiohttp.ClientPayloadError):
        await lab.fetch(once)
    size = STORED.stat().st_size
    assert len((await lab.fetch(once)).content) == size
    short = await lab.fetch(await lab.clip_url("x [short]"))
    assert (short.status, len(short.content), "Content-Length" in short.headers) == (200, size // 2, False)
    assert (await lab.fetch(await lab.clip_url("x [zero]"))).content == b""
    html = await lab.fetch(await lab.clip_url("x [html]"))
    assert (html.status, html.headers["Content-Type"].split(";")[0]) == (200, "text/html")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lab.fetch(await lab.clip_url("x [stall]")), 0.1)


async def test_head_and_range_can_be_switched_off(lab: Lab) -> None:
    """Without them HEAD is 405 and a range gives the whole file."""
    lab.box.switches.no_range = lab.box.switches.no_head = True
    url = await lab.clip_url()
    assert (await lab.fetch(url, "HEAD")).status == 405
    got = await lab.fetch(url, Range="bytes=0-9")
    assert (got.status, len(got.content)) == (200, STORED.stat().st_size)


async def test_a_padded_file_has_exactly_its_size_and_stays_playable(lab: Lab) -> None:
    """Padding is one free box behind the film; a huge file is announced without being stored."""
    av = pytest.importorskip("av")
    lab.box.switches.file_bytes = 300_000
    content = (await lab.fetch(await lab.clip_url())).content
    assert len(content) == 300_000
    with av.open(io.BytesIO(content)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 192
    huge = await lab.clip_url("x [huge]")
    assert (await lab.fetch(huge, "HEAD")).headers["Content-Length"] == "600000000"
    assert (await lab.fetch(huge, Range="bytes=599999990-")).content == bytes(10)
    edge = await lab.fetch(huge, Range=f"bytes={STORED.stat().st_size}-{STORED.stat().st_size + 7}")
    assert edge.content == (600_000_000 - STORED.stat().st_size).to_bytes(4, "big") + b"free"


# Clips.


def spec(**changes: Any) -> ClipSpec:
    given: dict[str, Any] = {
        "prompt": "a red fox",
        "caption": "4 s",
        "duration_s": 4,
        "portrait": False,
        "audio": True,
        "seed": "1",
    }
    return ClipSpec(**(given | changes))


@pytest.mark.parametrize(("duration_s", "portrait", "audio"), [(4, False, True), (6, True, True), (4, True, False)])
def test_a_clip_is_the_film_that_was_ordered(duration_s: int, portrait: bool, audio: bool) -> None:
    """H.264 of 24 frames a second and the right length and shape, AAC when wanted, index in front, below 1 MB."""
    av = pytest.importorskip("av")
    content = clip(spec(duration_s=duration_s, portrait=portrait, audio=audio))
    assert len(content) < 1_000_000
    assert content[4:8] == b"ftyp"
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with av.open(io.BytesIO(content)) as film:
        video = film.streams.video[0]
        assert (video.width, video.height) == ((720, 1280) if portrait else (1280, 720))
        assert (video.codec_context.name, video.average_rate) == ("h264", 24)
        sound = [stream.codec_context.name for stream in film.streams.audio]
        assert sound == (["aac"] if audio else [])
        frames = list(film.decode(video=0))
    assert len(frames) == 24 * duration_s
    assert bytes(frames[0].planes[0]) != bytes(frames[-1].planes[0])
    with av.open(io.BytesIO(content)) as film:
        for stream in film.streams:
            assert math.isclose(float(stream.duration * stream.time_base), duration_s, abs_tol=0.05)


def test_a_clip_repeats_for_its_run_and_differs_for_another() -> None:
    """The same order gives the same bytes; another seed or prompt gives others."""
    pytest.importorskip("av")
    quiet = spec(duration_s=1, audio=False)
    others = (replace(quiet, seed="2"), replace(quiet, prompt="a blue fox"))
    assert clip(quiet) == clip(quiet)
    assert len({clip(quiet), *map(clip, others)}) == 3


@pytest.mark.parametrize("prompt", ["", "x" * 2000, "word " * 400, "я 🦊 \ud800", "\x00\x07\n\té ß ñ"])
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    """No prompt, however long or strange, breaks the drawing."""
    pytest.importorskip("av")
    assert clip(spec(prompt=prompt, duration_s=1, audio=False))[4:8] == b"ftyp"


async def test_a_run_serves_a_clip_drawn_for_it_while_the_loop_goes_on() -> None:
    """The file has its run's options, and other requests are answered while it is drawn."""
    av = pytest.importorskip("av")
    async with laboratory(switches=Switches()) as lab:
        options = {"duration": "4s", "aspect_ratio": "9:16", "generate_audio": False}
        fetching = asyncio.create_task(lab.fetch(await lab.clip_url(options=options)))
        answered = 0
        while not fetching.done():
            assert (await lab.call("GET", "/v1/health")).status == 200
            answered += 1
        with av.open(io.BytesIO((await fetching).content)) as film:
            assert [stream.type for stream in film.streams] == ["video"]
            assert (film.streams.video[0].height, film.streams.video[0].frames) == (1280, 96)
    assert answered > 5


def test_the_stored_clip_stands_in_where_nothing_can_be_drawn() -> None:
    """Without PyAV every order gives the small committed clip: 8 s, 720p, with sound."""
    code = (
        "import sys; sys.modules['av'] = None; from sandbox.runflow.clip import *; "
        "order = ClipSpec(prompt='x', caption='x', duration_s=4, portrait=True, audio=False, seed='1'); "
        "sys.exit(0 if clip(order) == STORED.read_bytes() else 1)"
    )
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
    assert STORED.stat().st_size <= 105_000
    av = pytest.importorskip("av")
    with av.open(str(STORED)) as film:
        assert [stream.codec_context.name for stream in film.streams] == ["h264", "aac"]
        assert (film.streams.video[0].width, film.streams.video[0].frames) == (1280, 192)


# Steering.


def test_every_marker_sets_switches_that_exist() -> None:
    """A row of the marker table can be applied as it stands; a wrong name or value is refused with a sentence."""
    for changes in MARKERS.values():
        assert changed(Switches(), changes) != Switches()
    for wrong in ({"nswf": True}, {"nsfw": 1}, {"end": "finished"}, {"run_s": "4"}, {"post_429": True}):
        with pytest.raises(ValueError, match="switch"):
            changed(Switches(), wrong)


async def test_markers_win_over_the_plan_and_the_plan_over_the_global_switches(lab: Lab) -> None:
    """A plan speaks for one client_ref, retries included; everyone else has the global switches."""
    lab.box.switches.end = "failed"
    lab.box.next_run(end="empty", before="500")
    assert [(await lab.post(ref="a")).status for _ in range(2)] == [500, 201]
    await lab.created("x [cancelled]", "b")
    await lab.created(ref="c")
    assert [run.switches.end for run in lab.box.runs.values()] == ["empty", "cancelled", "failed"]


async def test_the_control_plane_does_the_same_over_http(slow_lab: Lab, mailbox: Mailbox) -> None:
    """Switches, plans, time, what was received, runs and their ends are at hand for other programs."""
    lab = slow_lab
    got = await lab.call("PATCH", "/control/switches", {}, json={"nsfw": True})
    assert (got.json["nsfw"], lab.box.switches.nsfw) == (True, True)
    assert (await lab.call("GET", "/control/switches", {})).json["end"] == "succeeded"
    for nonsense in ('{"nswf": true}', '{"end": 1}', "[]", "{"):
        assert (await lab.call("PATCH", "/control/switches", {}, data=nonsense)).status == 400
    await lab.call("POST", "/control/next-run", {}, json={"cost": "0.05"})
    run_id = await lab.created(callback_url=mailbox.url)
    assert (await lab.call("POST", "/control/clock", {}, json={"advance_s": 69})).json == {"now": START + 69}
    assert (await lab.call("POST", "/control/clock", {}, json={"advance_s": -1})).status == 400
    assert (await lab.call("GET", "/control/runs", {})).json[0]["status"] == "running"
    path = f"/control/runs/{run_id}/finish"
    assert (await lab.call("POST", path, {}, json={"end": "partial_succeeded"})).json["status"] == "partial_succeeded"
    assert [payload["run_id"] for payload in mailbox.payloads] == [run_id]
    assert (await lab.call("GET", "/control/runs", {})).json[0]["charged_usd"] == "0.05"
    assert (await lab.call("GET", "/control/received", {}, params={"client_ref": "r1"})).json["posts"] == 1
    assert [entry["method"] for entry in (await lab.call("GET", "/control/received", {})).json] == ["POST"]
    assert (await lab.call("POST", "/control/runs/x/finish", {})).status == 404


async def test_leaving_the_sandbox_leaves_no_task_behind(mailbox: Mailbox) -> None:
    """Runs that go on, retries that wait and requests that hang end with the sandbox."""
    before = asyncio.all_tasks()
    mailbox.answers = [500] * 10
    async with aiohttp.ClientSession() as session:
        async with RunflowSandbox(switches=Switches(clip="stored")) as box:
            lab = Lab(box, box.clock, session)
            await lab.created("x [never]", callback_url=mailbox.url)
            await lab.created("x", callback_url=mailbox.url)
            hanging = asyncio.create_task(lab.post("x [after-timeout]", "r3", callback_url=mailbox.url))
            await until(lambda: len(box.runs) == 3)
        with pytest.raises((aiohttp.ClientConnectionError, ConnectionResetError)):
            await hanging
    async with asyncio.timeout(1):
        await until(lambda: asyncio.all_tasks() <= before)  # the mailbox has to notice that it was left
