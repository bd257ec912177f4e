"""The sandbox Runflow can be controlled: by markers, by plans and over HTTP."""

import asyncio

import aiohttp
import pytest

from sandbox.runflow import MARKERS, RunflowSandbox, Switches
from sandbox.runflow.switches import changed
from tests.sandbox.runflow_client import START, Lab, Mailbox, until


def test_every_marker_sets_switches_that_exist() -> None:
    """Every marker's switches are valid; an unknown switch or an invalid value is refused with a sentence."""
    for changes in MARKERS.values():
        assert changed(Switches(), changes) != Switches()
    for wrong in ({"nswf": True}, {"nsfw": 1}, {"end": "finished"}, {"run_s": "4"}, {"post_429": True}):
        with pytest.raises(ValueError, match="switch"):
            changed(Switches(), wrong)


async def test_markers_override_plans_and_plans_override_global_switches(lab: Lab) -> None:
    """A plan applies to one client_ref, including its retries; all others get the global switches."""
    lab.box.switches.end = "failed"
    lab.box.next_run(end="empty", before="500")
    assert [(await lab.post(ref="a")).status for _ in range(2)] == [500, 201]
    await lab.created("x [cancelled]", "b")
    await lab.created(ref="c")
    assert [run.switches.end for run in lab.box.runs.values()] == ["empty", "cancelled", "failed"]


async def test_the_control_plane_works_over_http(slow_lab: Lab, mailbox: Mailbox) -> None:
    """Other programs can change switches, plans and the clock, end runs, and read requests and runs."""
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
    """Open runs, scheduled retries and hanging requests end with the sandbox."""
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
        await until(lambda: asyncio.all_tasks() <= before)  # the mailbox needs a moment to notice the closed connection
