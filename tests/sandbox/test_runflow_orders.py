"""The sandbox Runflow creates runs and returns them, and refuses invalid requests and keys."""

import io
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.sandbox.runflow_client import CREATE, Lab


async def test_a_new_run_is_queued_and_returned_completely(lab: Lab) -> None:
    """201 with the full run object, increasing UUIDs of version 7, and the sent values unchanged."""
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


async def test_a_run_goes_through_its_statuses_by_the_clock(slow_lab: Lab) -> None:
    """Queued, dispatching, running, succeeded, each at its time; cost and output come only at the end."""
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
async def test_statuses_can_be_skipped_or_go_back(slow_lab: Lab, states: Any, expected: list[str]) -> None:
    """The switch ``states`` gives exactly these statuses before the end."""
    slow_lab.box.switches.states = states
    run_id = await slow_lab.created()
    slow_lab.clock.advance(10)
    seen = []
    for _ in range(4):
        seen.append((await slow_lab.read(run_id))["status_code"])
        slow_lab.clock.advance(15)
    assert seen == expected


async def test_equal_posts_create_two_paid_runs(lab: Lab) -> None:
    """There is no idempotency: the same client_ref twice creates and charges two runs."""
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
async def test_runs_cost_what_the_price_table_says(lab: Lab, resolution: str, audio: bool, prices: list[str]) -> None:
    """The cost of 4, 6 and 8 s is decimal text from the price table, and the balance decreases by it."""
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
async def test_an_invalid_input_value_is_reported_and_creates_no_run(
    lab: Lab, options: dict[str, object], name: str
) -> None:
    """422 with one entry, for the field at fault."""
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
async def test_an_invalid_body_is_reported_and_creates_no_run(lab: Lab, body: object, path: list[str]) -> None:
    """422 for errors outside the input, including unknown keys."""
    got = await lab.call("POST", CREATE, json=body)
    assert (got.status, [error["loc"] for error in got.json["errors"]]) == (422, [["body", *path]])
    assert not lab.box.runs


async def test_unknown_input_keys_are_ignored_unless_switched(lab: Lab) -> None:
    """An input field that the model doesn't have is ignored by default, and refused if switched."""
    assert (await lab.post(options={"sync_mode": True})).status == 201
    lab.box.switches.unknown_input = "refused"
    assert (await lab.post(options={"sync_mode": True})).json["errors"][0]["loc"] == ["body", "input", "sync_mode"]


async def test_an_invalid_value_can_fail_later(lab: Lab) -> None:
    """With ``late``, an invalid value creates a run that fails validation and costs nothing."""
    lab.box.switches.bad_value = "late"
    lab.box.switches.strict_veo = True
    for options, name in (({"duration": "9s"}, "duration"), ({"resolution": "4k", "duration": "4s"}, "duration")):
        record = await lab.read(await lab.created(options=options))
        assert record["status_code"] == "failed"
        assert (record["failure_code"], record["failure_stage_code"]) == ("INPUT_VALIDATION_FAILED", "preprocess")
        assert name in record["failure_message"]
    assert all(run.charged == 0 for run in lab.box.runs.values())


async def test_only_json_objects_of_limited_size_are_accepted(lab: Lab) -> None:
    """Invalid JSON and a list get 400, more than a megabyte gets 413."""
    assert (await lab.call("POST", CREATE, data=b'{"input":')).status == 400
    assert (await lab.call("POST", CREATE, json=[])).status == 400
    assert (await lab.call("POST", CREATE, data=io.BytesIO(b" " * 1_100_000))).status == 413


async def test_every_route_but_the_health_check_needs_a_key(lab: Lab) -> None:
    """401 without a valid key, 403 for an admin route with a normal key, 200 for the health check without a key."""
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
async def test_unknown_runs_and_routes_are_404(lab: Lab, method: str, path: str, code: str) -> None:
    """Unknown runs, other models and outdated routes get 404 with a code."""
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
async def test_errors_can_have_every_format(lab: Lab, form: Any, expected: bytes) -> None:
    """The error body has the selected format; the status stays."""
    lab.box.switches.error_body = form
    got = await lab.post(options={"seed": "x"})
    assert got.status == 422
    assert re.match(expected, got.content)


@pytest.mark.parametrize("name", ["prompt", "auto_fix", "callback_url", "client_ref"])
async def test_any_field_can_be_refused(lab: Lab, name: str) -> None:
    """The switch makes any field get 422, with error items in both formats or none."""
    lab.box.switches.refuse_field = name
    assert (await lab.post()).json["errors"][0]["loc"][-1] == name
    lab.box.switches.error_items = "field"
    assert (await lab.post()).json["errors"][0]["field"].split(".")[-1] == name
    lab.box.switches.error_items = "null"
    assert (await lab.post()).json["errors"] is None


async def test_every_request_is_recorded_without_its_key(lab: Lab) -> None:
    """Method, path, query, headers and body are recorded; the key is not."""
    await lab.created()
    await lab.call("GET", "/v1/runs", params={"limit": "1"})
    post, get = lab.box.received
    assert (post.method, post.path, post.headers["Authorization"]) == ("POST", CREATE, "***")
    assert post.body == {"input": {"prompt": "a red fox"}, "client_ref": "r1"}
    assert (get.method, get.path, get.query, get.body) == ("GET", "/v1/runs", {"limit": "1"}, None)
