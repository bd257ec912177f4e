"""The control plane under ``/control/``, for people and programs that use the sandbox over HTTP.

===========================================  ==============================================================
``GET`` / ``PATCH /control/switches``        the global switches; PATCH changes the ones it names
``POST /control/next-run``                   switches for the next run only
``POST /control/clock`` ``{"advance_s": n}`` moves the clock forward
``GET /control/received``                    every request; with ``?client_ref=``, the number of its POSTs
``GET /control/runs``                        every run with its charge
``POST /control/runs/{id}/finish``           ends a run now, with the switches in the body
===========================================  ==============================================================
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.runflow.switches import Switches, changed, listed

if TYPE_CHECKING:
    from sandbox.runflow.server import RunflowSandbox


def control_routes(sandbox: "RunflowSandbox") -> list[web.RouteDef]:
    """The routes that control this sandbox. They need no key; an invalid request gets 400 with a sentence."""

    async def switches(request: web.Request) -> web.Response:
        return web.json_response(listed(sandbox.switches))

    async def change(request: web.Request) -> web.Response:
        for name, value in (await _changes(request)).items():
            setattr(sandbox.switches, name, value)
        return web.json_response(listed(sandbox.switches))

    async def next_run(request: web.Request) -> web.Response:
        changes = await _changes(request)
        sandbox.next_run(**changes)
        return web.json_response(changes)

    async def clock(request: web.Request) -> web.Response:
        seconds = (await _object(request)).get("advance_s")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            raise web.HTTPBadRequest(text="advance_s must be a number of seconds, 0 or more")
        sandbox.clock.advance(seconds)
        return web.json_response({"now": sandbox.clock.now()})

    async def received(request: web.Request) -> web.Response:
        reference = request.query.get("client_ref")
        if reference is not None:
            return web.json_response({"client_ref": reference, "posts": sandbox.posts(reference)})
        return web.json_response([asdict(entry) for entry in sandbox.received])

    async def runs(request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "id": run.id,
                    "client_ref": run.client_ref,
                    "status": run.status,
                    "charged_usd": str(run.charged),
                }
                for run in sandbox.runs.values()
            ]
        )

    async def finish(request: web.Request) -> web.Response:
        run_id = request.match_info["id"]
        if run_id not in sandbox.runs:
            raise web.HTTPNotFound(text="There's no run with this id")
        await sandbox.finish(run_id, **await _changes(request))
        return web.json_response({"id": run_id, "status": sandbox.runs[run_id].status})

    return [
        web.get("/control/switches", switches),
        web.patch("/control/switches", change),
        web.post("/control/next-run", next_run),
        web.post("/control/clock", clock),
        web.get("/control/received", received),
        web.get("/control/runs", runs),
        web.post("/control/runs/{id}/finish", finish),
    ]


async def _changes(request: web.Request) -> Mapping[str, object]:
    body = await _object(request)
    try:
        changed(Switches(), body)
    except ValueError as problem:
        raise web.HTTPBadRequest(text=str(problem)) from None
    return body


async def _object(request: web.Request) -> Mapping[str, object]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="The body must be a JSON object")
    return body
