"""Runflow's API over HTTP: submits runs, reads and finds them, and downloads their clips. Make it with `connect`.

It never logs the key or an address, and never sends the key to another host.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import Observation, Run
from bot.errors import ClipUnavailable, SettingsError, Unreadable
from bot.log import get_logger
from bot.runflow.clips import ClipDownloader
from bot.runflow.public_net import PublicResolver
from bot.runflow.records import (
    clip_address,
    has_client_ref,
    has_next_page,
    is_flagged,
    is_run_id,
    observe,
    parse_json,
    run_records,
    undocumented_flag,
)
from bot.runflow.replies import (
    REPLY_ERRORS,
    RateLimitPause,
    is_foreign_page,
    read_body,
    retry_after_s,
    submission_outcome,
)

log = get_logger("veo.runflow")

MODEL_PATH = "/v1/models/google/veo3.1/runs"
SUBMIT_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
READ_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
LIST_LIMIT = 100  # runs in one reply of the list; a full reply without ours proves nothing


class Runflow:
    """`bot.ports.Provider` over HTTP.

    `submitting` must open a new connection for each request and trace it, see `connect`: on a reused one that the other
    side has just closed, nobody could tell whether the run was bought.
    """

    def __init__(
        self,
        *,
        api_url: str,
        api_key: str,
        public_url: str | None,
        reading: aiohttp.ClientSession,
        submitting: aiohttp.ClientSession,
        downloader: ClipDownloader,
    ) -> None:
        self._api_url = api_url
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._public_url = public_url
        self._reading = reading
        self._submitting = submitting
        self._downloader = downloader
        self._pause = RateLimitPause()

    async def check_key(self) -> None:
        """Raise SettingsError if Runflow refuses the key. An outage says nothing about the key; it is logged."""
        try:
            status, _, _ = await self._get("/v1/auth/me")
        except Unreadable as error:
            log.warning("Runflow cannot be reached yet, so the key is not checked", reason=str(error))
            return
        if status in (401, 403):
            raise SettingsError("start.runflow_key", url=self._api_url, status=str(status))

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        """POST the run once. It is never repeated here: Runflow documents no idempotency key."""
        if wait_s := self._pause.left_s():
            return NotSent(reason="rate-limited by Runflow", wait_s=wait_s)
        connection = _Connection()
        try:
            async with self._submitting.post(
                self._api_url + MODEL_PATH,
                json=self._submission(run),
                headers=self._authorization,
                timeout=SUBMIT_TIMEOUT,
                allow_redirects=False,
                trace_request_ctx=connection,
            ) as response:
                self._pause.update(response.status, response.headers)
                return submission_outcome(response.status, response.headers, await read_body(response))
        except REPLY_ERRORS as error:
            if not connection.opened:  # no byte of the request was sent
                return NotSent(reason=f"Runflow cannot be reached ({type(error).__name__})")
            return Unclear(reason=f"no answer that can be read ({type(error).__name__})")

    def _submission(self, run: Run) -> dict[str, Any]:
        """The body of the POST. Options with a default are sent too, so that the default is never left to Runflow."""
        optional = ("seed", "negative_prompt")
        options = run.request.options
        body: dict[str, Any] = {
            "input": {name: value for name, value in options.items() if name not in optional or value is not None},
            "client_ref": run.client_ref,
            "metadata": {"client_ref": run.client_ref},
        }
        if self._public_url is not None:
            body["callback_url"] = f"{self._public_url}/callbacks/runflow/{run.callback_token}"
        return body

    async def read(self, provider_id: str) -> Observation | None:
        """What the run's own record says; None if Runflow has no such run. Raises Unreadable."""
        record = await self._record(provider_id)
        if record is None:
            return None
        if (flag := undocumented_flag(record)) is not None:
            log.error("clip withheld: undocumented nsfw_detected", provider_id=provider_id, value=flag)
        return observe(record)

    async def find(self, client_ref: str) -> list[Observation]:
        """The runs with this reference, oldest first. Raises Unreadable where the list cannot tell.

        If Runflow refuses the filter, the newest LIST_LIMIT runs are searched.
        """
        wanted = quote(f"client_ref.EQ:'{client_ref}'", safe="")
        status, headers, body = await self._get(f"/v1/runs?q={wanted}&limit={LIST_LIMIT}")
        if status in (400, 422):
            status, headers, body = await self._get(f"/v1/runs?limit={LIST_LIMIT}")
        if not 200 <= status < 300:
            raise Unreadable(f"the list answered HTTP {status}", retry_after_s(headers))
        page = parse_json(body)
        listed = run_records(page)
        ours = [record for record in listed if has_client_ref(record, client_ref)]
        if not ours and (len(listed) >= LIST_LIMIT or has_next_page(page, headers.get("Link", ""))):
            raise Unreadable("the list ends before it could show the run")
        ours.sort(key=lambda record: str(record.get("created_at") or ""))
        return [observation for observation in map(observe, ours) if observation is not None]

    async def link(self, provider_id: str) -> str:
        """The clip's address, freshly signed: Runflow signs it each time the run is read. Raises ClipUnavailable."""
        record = await self._record(provider_id)
        address = None if record is None or is_flagged(record) else clip_address(record)
        if address is None:
            raise ClipUnavailable("the run has no clip")
        return address

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        """Download the run's clip to `path`, from the `address` that a reading just gave, or from a fresh one.

        Raises ClipUnavailable, Unreadable.
        """
        given = [address] if address is not None else []

        async def next_address() -> str:
            return given.pop() if given else await self.link(provider_id)

        await self._downloader.download(next_address, path)

    async def _record(self, provider_id: str) -> dict[str, Any] | None:
        if not is_run_id(provider_id):
            return None
        status, headers, body = await self._get(f"/v1/runs/{provider_id}")
        if status == 404:
            return None
        if not 200 <= status < 300:
            raise Unreadable(f"the run answered HTTP {status}", retry_after_s(headers))
        record = parse_json(body)
        if not isinstance(record, dict) or observe(record) is None:
            raise Unreadable("the run's record has no id")
        return record

    async def _get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        if wait_s := self._pause.left_s():
            raise Unreadable("rate-limited by Runflow", wait_s)
        try:
            async with self._reading.get(
                URL(self._api_url + path, encoded=True),
                headers=self._authorization,
                timeout=READ_TIMEOUT,
                allow_redirects=False,
            ) as response:
                self._pause.update(response.status, response.headers)
                status, headers, body = response.status, response.headers, await read_body(response)
        except REPLY_ERRORS as error:
            raise Unreadable(f"Runflow cannot be read ({type(error).__name__})") from error
        if is_foreign_page(headers, body):
            raise Unreadable(f"answered by a web page, not by Runflow (HTTP {status})", retry_after_s(headers))
        return status, headers, body


@asynccontextmanager
async def connect(
    *,
    api_url: str,
    api_key: str,
    public_url: str | None,
    clip_bytes_max: int,
    proxy_for: Callable[[str], str | None] = lambda _: None,
) -> AsyncIterator[Runflow]:
    """A client whose connections are closed at the end of the block. `proxy_for` names the proxy for an address."""
    proxy = proxy_for(api_url)
    async with (
        aiohttp.ClientSession(proxy=proxy) as reading,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), proxy=proxy, trace_configs=[_connection_tracing()]
        ) as submitting,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=PublicResolver())) as outside,
    ):
        downloader = ClipDownloader(
            own_origin=URL(api_url).origin(),
            bytes_max=clip_bytes_max,
            inside=reading,
            outside=outside,
            proxy_for=proxy_for,
        )
        yield Runflow(
            api_url=api_url,
            api_key=api_key,
            public_url=public_url,
            reading=reading,
            submitting=submitting,
            downloader=downloader,
        )


@dataclass
class _Connection:
    """Whether the connection of one submission was opened, so that the request may have been sent."""

    opened: bool = False


def _connection_tracing() -> aiohttp.TraceConfig:
    """Tells a request's `_Connection` when its connection is open."""

    async def opened(_: object, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.opened = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(opened)
    return tracing
