"""Records and lists of any form: what is read from them, and what is not believed."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack, suppress

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.records import Accepted, Unclear
from bot.domain.runs import Ending
from bot.errors import ClipUnavailable, Unreadable
from bot.runflow import observe
from bot.runflow.records import clip_address
from tests.runflow_lab import (
    ANYTHING,
    COST_MAX_U,
    ENDINGS,
    ID,
    REF,
    SCALARS,
    TEXTS,
    Json,
    a_record,
    a_run,
    connected,
    reply,
    replying,
    serving,
)


@pytest.mark.parametrize(
    ("cost", "cost_u"),
    [
        ('"3.20"', 3_200_000), ("3", 3_000_000), ("3.2", 3_200_000), ("0.1234565", 123_457), ('"0.0000004"', 0),
        ("0", 0), ('"4.800000"', 4_800_000), ("1000000000", COST_MAX_U),
        ("null", None), ('"-1"', None), ("-0.01", None), ('"abc"', None), ('""', None), ('"NaN"', None),
        ("NaN", None), ("Infinity", None), ('"-Infinity"', None), ("true", None), ("[3.2]", None), ("{}", None),
        ('"$3.20"', None), ('"3,20"', None), ("1000000001", None), ('"1e999999999"', None), ('"sNaN"', None),
    ],
)  # fmt: skip
async def test_a_cost_is_exact_or_ignored(cost: str, cost_u: int | None) -> None:
    """Text or number, rounded to the micro-dollar; anything that is no amount of dollars counts as missing."""
    body = json.dumps(a_record(cost="COST")).replace('"COST"', cost).encode()
    async with replying(reply(200, body)) as server, connected(server.url) as client:
        seen = await client.read(ID)
    assert seen is not None
    assert (seen.cost_u, seen.ending) == (cost_u, Ending.VIDEO)


@pytest.mark.parametrize(
    ("said", "inference", "took_ms"),
    [
        (63_500, 61_250, 63_500), (None, 61_250, 61_250), (-5000, 61_250, 61_250), (-5000, -1, None), (0, None, None),
        (10**12, 61_250, 61_250), (10**12, 2**62, None), (True, "x", None), ("-1", [], None),
        (604_800_000, None, 604_800_000),
    ],
)  # fmt: skip
def test_an_impossible_duration_is_ignored(said: object, inference: object, took_ms: int | None) -> None:
    """No run takes less than no time, or longer than a week."""
    record = a_record(duration_ms=said)
    record["output"]["timing"] = {"inference_ms": inference}
    seen = observe(record)
    assert seen is not None
    assert seen.took_ms == took_ms


@pytest.mark.parametrize(
    ("where", "code", "message"),
    [
        ({"failure_code": "A", "failure_message": "a real person"}, "A", "a real person"),
        ({"failure_message": [{"msg": "a real person", "type": "policy"}]}, "policy", "a real person"),
        ({"failure_message": ["a real person", {"detail": "and a child"}]}, None, "a real person; and a child"),
        ({"failure_message": {"detail": [{"loc": ["prompt"], "msg": "a real person"}]}}, None, "a real person"),
        ({"failure_message": {"text": "a real person"}}, None, "a real person"),
        ({"failure_message": None, "error": {"code": "A", "message": "a real person"}}, "A", "a real person"),
        ({"failure_message": "", "error": "a real person"}, None, "a real person"),
        ({"failure_code": "A", "errors": [{"message": "a real person"}]}, "A", "a real person"),
        ({"detail": [{"msg": "a real person", "type": "content_policy_violation", "url": "x"}]},
         "content_policy_violation", "a real person"),
        ({"output": {"error": {"code": "A", "message": "a real person"}}}, "A", "a real person"),
        ({"failure_message": '{"detail":"a real person","error_type":"bad_request"}'}, None, "a real person"),
        ({"failure_message": 7, "error": [], "errors": {}, "detail": [[[[[[[["x"]]]]]]]]}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_the_reason_of_a_failed_run_is_found(where: Json, code: str | None, message: str | None) -> None:
    """A text, a list or an object, in any of the places where APIs put it, becomes one line."""
    seen = observe({"id": ID, "status_code": "failed", "output": None} | where)
    assert seen is not None
    assert (seen.ending, seen.failure_code, seen.failure_message) == (Ending.FAILED, code, message)


@pytest.mark.parametrize("key", ["status_code", "status"])
@pytest.mark.parametrize(
    ("word", "ending"),
    [*((word, kinds) for word, kinds in ENDINGS.items()), ("queued", {None}), ("dispatching", {None})],
)
def test_a_status_is_read_in_any_case(key: str, word: str, ending: set[Ending | None]) -> None:
    """The ending does not depend on the spelling, and the status is kept in lower case."""
    for spelled in (word.upper(), word.title(), f" {word.capitalize()}\n"):
        record = a_record(**{key: spelled})
        if key == "status":
            del record["status_code"]
        seen = observe(record)
        assert seen is not None
        assert seen.status == word
        assert seen.ending in ending


ODD_FLAGS: list[tuple[object, str]] = [
    ("true", "str true"), ("True", "str True"), ("false", "str false"), ("", "str"), ("no\nERROR forged", "str"),
    ("\u202eeslaf", "str"), (0, "int 0"), (1, "int 1"), (0.25, "Decimal 0.25"), ([], "list"), ([False], "list"),
    ({}, "dict"), ({"nsfw_detected": False}, "dict"), (float("nan"), "Decimal NaN"),
]  # fmt: skip


@pytest.mark.parametrize(("flag", "told"), ODD_FLAGS)
@pytest.mark.parametrize("place", ["output", "entry", "record"])
async def test_any_flag_but_false_and_null_withholds_the_clip(
    flag: object, told: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The clip is withheld, one log line tells the operator, and there is no link."""
    record = a_record()
    where = {"output": record["output"], "entry": record["output"]["outputs"][0], "record": record}[place]
    where["nsfw_detected"] = flag
    async with replying(reply(200, json.dumps(record).encode())) as server, connected(server.url) as client:
        seen = await client.read(ID)
        assert seen is not None
        assert seen.ending == Ending.NSFW
        (line,) = caplog.records
        assert line.levelno == logging.ERROR
        assert line.msg == {"event": "clip withheld: undocumented nsfw_detected", "provider_id": ID, "value": told}
        with pytest.raises(ClipUnavailable):
            await client.link(ID)


@pytest.mark.parametrize(("flag", "ending"), [(True, Ending.NSFW), (False, Ending.VIDEO), (None, Ending.VIDEO)])
async def test_documented_flags_are_not_logged(flag: object, ending: Ending, caplog: pytest.LogCaptureFixture) -> None:
    """True, false and null mean what the model page says."""
    record = a_record()
    record["output"]["nsfw_detected"] = flag
    async with replying(reply(200, json.dumps(record).encode())) as server, connected(server.url) as client:
        seen = await client.read(ID)
    assert seen is not None
    assert (seen.ending, caplog.records) == (ending, [])


@pytest.mark.parametrize(
    ("output", "address"),
    [
        ({"outputs": [{"url": "https://a/1"}]}, "https://a/1"),
        ({"outputs": [{"type": "image", "url": "https://a/x"}, {"type": "video", "url": "https://a/2"}]}, "https://a/2"),
        ({"outputs": [{"type": "video", "url": None}, {"type": None, "url": "https://a/3"}]}, "https://a/3"),
        ({"outputs": [7, None, "https://a/x", [], {}, {"url": "https://a/4", "width": "?"}]}, "https://a/4"),
        ({"outputs": None, "video": {"url": "https://a/5"}}, "https://a/5"),
        ({"url": "https://a/6", "video": "https://a/x"}, "https://a/6"),
        ({"outputs": [{"type": "image/png", "url": "https://a/x"}, {"type": "video/mp4", "url": "https://a/7"}]}, "https://a/7"),
        ({"outputs": [{"type": "VIDEO", "url": "https://a/8"}]}, "https://a/8"),
        ({"outputs": [{"type": " Video/WebM; codecs=vp9", "url": "HTTPS://a/9"}]}, "HTTPS://a/9"),
        ({"outputs": [{"type": "", "url": "https://a/10"}]}, "https://a/10"),
        ({"outputs": [{"type": "video_thumbnail", "url": "https://a/x"}, {"type": 1, "url": "https://a/x"}]}, None),
        ({"outputs": [{"type": "audio", "url": "https://a/x"}]}, None),
        ({"outputs": [{"type": "video", "url": "ftp://a/x"}]}, None),
        ({"outputs": "https://a/x"}, None),
        ({"outputs": []}, None),
        ([], None),
        (None, None),
    ],
)  # fmt: skip
async def test_the_clip_is_the_first_output_that_may_be_a_video(output: object, address: str | None) -> None:
    """A video or an entry without a type, else the older places; a success without any of them is empty."""
    body = json.dumps(a_record(output=output, surplus={"keys": [1]})).encode()
    async with replying(reply(200, body)) as server, connected(server.url) as client:
        seen = await client.read(ID)
        assert seen is not None
        assert seen.ending == (Ending.VIDEO if address else Ending.EMPTY)
        if address:
            assert await client.link(ID) == address
        else:
            with pytest.raises(ClipUnavailable):
                await client.link(ID)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ([a_record()], [ID]),
        ({"items": [a_record()]}, [ID]),
        ({"data": [a_record()], "next_pq": None}, [ID]),
        ({"items": [1, None, "x", [], {}, {"id": None}, {"client_ref": REF}, a_record()]}, [ID]),
        ({"items": [a_record(client_ref=None, metadata={"client_ref": REF})]}, [ID]),
        ({"items": [a_record(client_ref="veo-other", metadata={"client_ref": REF})]}, []),
        ({"items": [a_record(client_ref=[REF], metadata=[REF])]}, []),
        ({"items": []}, []),
        ([a_record(client_ref="veo-other", metadata=None)] * 99, []),
        ([a_record(client_ref="veo-other", metadata=None)] * 100, None),
        ([a_record(client_ref="veo-other", metadata=None)] * 99 + [a_record()], [ID]),
        (
            {"items": [a_record(id="b", created_at="2026-01-15T10:00:01Z"),
                       a_record(id="a", created_at="2026-01-15T10:00:00.5+00:00")]},
            ["a", "b"],
        ),
        ({"items": None}, None),
        ({"items": {}}, None),
        ({}, None),
        (None, None),
        ("items", None),
    ],
)  # fmt: skip
async def test_both_forms_of_a_list_are_read(body: object, found: list[str] | None) -> None:
    """A bare array or a page. Entries that are no records are skipped; a full page without our run is not empty."""
    async with replying(reply(200, json.dumps(body).encode())) as server, connected(server.url) as client:
        if found is None:
            with pytest.raises(Unreadable):
                await client.find(REF)
        else:
            assert [seen.provider_id for seen in await client.find(REF)] == found


@pytest.mark.parametrize(
    "more",
    [
        {"next": "abc"}, {"next_pq": "abc"}, {"next_cursor": "abc"}, {"nextCursor": "abc"}, {"has_more": True},
        {"hasMore": "true"}, {"cursor": "abc"}, {"next_page_token": "abc"}, {"next_page": 2}, {"truncated": True},
        {"meta": {"next_cursor": "abc"}}, {"pagination": {"has_next": True}}, {"links": {"next": {"href": "/v1/x"}}},
        {"pageInfo": {"hasNextPage": True, "endCursor": "abc"}}, {"has_more": True, "next": None},
    ],
)  # fmt: skip
async def test_a_list_with_more_pages_does_not_count_as_empty(more: Json) -> None:
    """Without our run such a page proves nothing; with our run it is as good as any."""
    for entries, ours in (
        ([], False),
        ([a_record(client_ref="veo-other", metadata=None)], False),
        ([a_record()], True),
    ):
        body = json.dumps({"items": entries} | more).encode()
        async with replying(reply(200, body)) as server, connected(server.url) as client:
            if ours:
                assert len(await client.find(REF)) == 1
            else:
                with pytest.raises(Unreadable):
                    await client.find(REF)


@pytest.mark.parametrize(
    "end",
    [
        {"next": None}, {"next_pq": ""}, {"next_cursor": False}, {"has_more": False}, {"hasMore": "false"},
        {"has_more": False, "cursor": "of this page"}, {"pageInfo": {"hasNextPage": False, "endCursor": "abc"}},
        {"next": []}, {"first": "abc", "previous": "abc", "prev_pq": "abc"}, {"links": {"self": "x", "next": None}},
    ],
)  # fmt: skip
async def test_a_list_without_more_pages_counts_as_empty(end: Json) -> None:
    """The look-up was complete."""
    async with (
        replying(reply(200, json.dumps({"items": []} | end).encode())) as server,
        connected(server.url) as client,
    ):
        assert await client.find(REF) == []


async def test_a_list_with_a_next_link_does_not_count_as_empty() -> None:
    """RFC 8288, as lists of bare arrays do it."""
    answer = reply(200, b"[]", 'Link: <https://a.example/v1/runs?page=2>; rel="next"')
    async with replying(answer) as server, connected(server.url) as client:
        with pytest.raises(Unreadable):
            await client.find(REF)


OUTPUTS = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "outputs": st.lists(ANYTHING | st.fixed_dictionaries({}, optional={"url": TEXTS, "type": SCALARS}), max_size=3),
        "nsfw_detected": st.sampled_from([True, False, None]) | SCALARS,
        "seed": SCALARS,
        "url": SCALARS,
        "video": ANYTHING,
        "timing": ANYTHING,
    },
)
RECORDS = st.fixed_dictionaries(
    {"id": st.just(ID) | SCALARS},
    optional={
        "status_code": st.sampled_from(sorted(ENDINGS)) | ANYTHING,
        "status": st.sampled_from(sorted(ENDINGS)) | ANYTHING,
        "output": OUTPUTS,
        "cost": ANYTHING,
        "client_ref": ANYTHING,
        "metadata": ANYTHING,
        "error": ANYTHING,
        "errors": ANYTHING,
        "detail": ANYTHING,
        "duration_ms": ANYTHING,
        "failure_code": ANYTHING,
        "failure_message": ANYTHING,
        "request_id": ANYTHING,
        "created_at": ANYTHING,
    },
)


def holds_back(record: Json) -> bool:
    """Whether a flag of the record, its output or one of its entries is anything but false and null."""
    output = record.get("output")
    entries = output.get("outputs") if isinstance(output, dict) else None
    places = [record, output, *(entries if isinstance(entries, list) else [])]
    flags = [place.get("nsfw_detected") for place in places if isinstance(place, dict)]
    return any(json.dumps(flag) not in ("null", "false") for flag in flags)


def check_observation(record: Json) -> None:
    """Whatever a record says, the run has ended only if a documented status says so."""
    seen = observe(record)
    if seen is None:
        return
    assert seen.ending is None if seen.status not in ENDINGS else seen.ending in ENDINGS[seen.status]
    for name in ("status", "status_code"):
        said = record.get(name)
        if isinstance(said, str) and said in ENDINGS and ("status_code" not in record or name == "status_code"):
            assert seen.status == said.lower()
    output = record.get("output") if isinstance(record.get("output"), dict) else {}
    assert isinstance(output, dict)
    if seen.status in ("succeeded", "partial_succeeded"):
        flagged = holds_back(record)
        assert (seen.ending == Ending.NSFW) == flagged
        address = clip_address(record)
        assert (seen.ending == Ending.EMPTY) == (address is None and not flagged)
        assert address is None or address.startswith(("http://", "https://"))
    assert seen.cost_u is None or 0 <= seen.cost_u <= COST_MAX_U
    for number in (seen.seed_used, seen.took_ms):
        assert number is None or (type(number) is int and -(2**63) < number < 2**63)
    for text in (seen.status, seen.client_ref, seen.failure_code, seen.failure_message, seen.request_id):
        assert text is None or (text and text.isprintable() and len(text) <= 1000)


def test_any_record_read_over_tcp_is_an_observation_or_unreadable() -> None:
    """Records of any form, lists of them, and a POST answered with them: no other exception."""
    answer = b""

    async def say(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(serving(say)))
        client = runner.run(stack.enter_async_context(connected(server.url)))

        async def ask() -> None:
            for question in (client.read(ID), client.find(REF)):
                with suppress(Unreadable):
                    await question
            assert isinstance(await client.submit(a_run()), Accepted | Unclear)

        @settings(max_examples=120, deadline=None)
        @given(record=RECORDS)
        @example(record={"id": ID, "cost": "9e999999"})
        @example(
            record={"id": ID, "status_code": "succeeded", "output": {"outputs": [{"url": "https://a/", "type": 1}]}}
        )
        def of_any_record(record: Json) -> None:
            nonlocal answer
            check_observation(record)
            answer = json.dumps([record] if len(record) % 3 == 0 else record).encode()
            runner.run(ask())

        @settings(max_examples=60, deadline=None)
        @given(body=st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps(value).encode()))
        @example(body=b'{"items":[{"id":"a","client_ref":"veo-abc234","cost":1e9999999999999999999}]}')
        def of_any_bytes(body: bytes) -> None:
            nonlocal answer
            answer = body
            runner.run(ask())

        try:
            of_any_record()
            of_any_bytes()
        finally:
            runner.run(stack.aclose())
