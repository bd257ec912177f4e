"""The sandbox Runflow lists runs with filters, sorting and pages."""

from typing import Any

import pytest

from sandbox.runflow.switches import changed
from tests.sandbox.runflow_client import Lab


async def listed(lab: Lab, **query: str) -> list[str]:
    got = await lab.call("GET", "/v1/runs", params=query)
    assert got.status == 200, got.content
    return [item["client_ref"] for item in got.json["items"]]


async def test_both_filter_grammars_are_supported(lab: Lab) -> None:
    """Runs are found by client_ref, status and time, alone or combined."""
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
async def test_an_invalid_filter_is_refused(lab: Lab, text: str) -> None:
    """It gets 422, not a list of all runs."""
    assert (await lab.call("GET", "/v1/runs", params={"q": text})).status == 422


async def test_a_filter_grammar_can_be_refused_or_ignored(lab: Lab) -> None:
    """Either grammar can be switched off, with 422 or 400, and filters can be ignored."""
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


async def test_the_list_can_lag_or_fail(lab: Lab) -> None:
    """A new run appears in the list after the lag; a fault of the list doesn't affect reads."""
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
async def test_pages_lead_forward_and_back(lab: Lab, names: Any, forward: str, back: str) -> None:
    """Cursors with either name lead through every run once, and back, even if new runs appear meanwhile."""
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
    """The limit is 1 to 500, the sort order must be known, and ``fields`` selects the fields of the items."""
    await lab.created()
    for query in ({"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"sort_by": "cost"}):
        assert (await lab.call("GET", "/v1/runs", params=query)).status == 422
    got = await lab.call("GET", "/v1/runs", params={"fields": "id,client_ref"})
    assert [set(item) for item in got.json["items"]] == [{"id", "client_ref"}]
    assert "partial_succeeded" in (await lab.call("GET", "/v1/runs/statuses")).json
