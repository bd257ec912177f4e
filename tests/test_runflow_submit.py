"""Submitting a run to Runflow over real TCP: what is sent, and what each answer says about money."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import AspectRatio, Duration, Resolution, SafetyTolerance, VeoRequest
from bot.errors import SettingsError, Unreadable
from bot.runflow.client import MODEL_PATH
from tests.runflow_lab import (
    ID,
    REF,
    Json,
    Lab,
    a_record,
    a_run,
    connected,
    laboratory,
    reply,
    serving,
    submitted,
)


async def test_every_option_and_nothing_else_is_sent(lab: Lab) -> None:
    """Defaults are sent explicitly; seed, negative prompt and callback address only if there are any."""
    await lab.bought()
    (sent,) = lab.box.received
    assert (sent.method, sent.path) == ("POST", MODEL_PATH)
    assert sent.body == {
        "input": {
            "prompt": "a red fox",
            "duration": "8s",
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "generate_audio": True,
            "auto_fix": True,
            "safety_tolerance": "4",
        },
        "client_ref": REF,
        "metadata": {"client_ref": REF},
    }


async def test_with_a_public_url_each_run_has_a_callback_address(tmp_path: Path) -> None:
    """The callback goes to the unguessable path of the run."""
    async with laboratory(tmp_path, public_url="https://bot.example") as lab:
        lab.box.switches.callback_lost = True
        await lab.bought()
        body = lab.box.received[0].body
        assert isinstance(body, dict)
        assert body["callback_url"] == f"https://bot.example/callbacks/runflow/{'t' * 32}"


@settings(max_examples=25, deadline=None)
@given(
    wishes=st.lists(
        st.builds(
            VeoRequest,
            prompt=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(str.strip),
            duration=st.sampled_from(Duration.__args__),  # type: ignore[attr-defined] # typeshed hides a Literal's values
            resolution=st.sampled_from(Resolution.__args__),  # type: ignore[attr-defined] # the same
            aspect_ratio=st.sampled_from(AspectRatio.__args__),  # type: ignore[attr-defined] # the same
            generate_audio=st.booleans(),
            negative_prompt=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
            seed=st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
            auto_fix=st.booleans(),
            safety_tolerance=st.sampled_from(SafetyTolerance.__args__),  # type: ignore[attr-defined] # the same
        ),
        min_size=1,
        max_size=5,
    )
)
async def test_any_request_arrives_unchanged(wishes: list[VeoRequest]) -> None:
    """A strict Runflow receives and accepts exactly what was asked for, without null fields."""
    switches = {"callback_lost": True}
    async with laboratory(Path("unused"), switches=switches) as lab:
        for number, wish in enumerate(wishes):
            plain = replace(wish, prompt=wish.prompt.replace("[", "("))  # the sandbox reads markers in brackets
            await lab.bought(a_run(plain, run_id=f"run{number}"))
            body = lab.box.received[-1].body
            assert isinstance(body, dict)
            expected = {name: value for name, value in plain.options.items() if value is not None}
            assert body["input"] == expected
            assert {name: type(value) for name, value in body["input"].items()} == {
                name: type(value) for name, value in expected.items()
            }


async def test_each_submission_has_a_connection_of_its_own() -> None:
    """A POST never uses a connection that the other side may just have closed."""
    ports: list[Any] = []

    async def accept(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername"))
        return web.json_response(a_record(), status=201)

    async with serving(accept) as server, connected(server.url) as client:
        for _ in range(3):
            assert isinstance(await client.submit(a_run()), Accepted)
    assert len(set(ports)) == 3


@pytest.mark.parametrize("status", [200, 201, 202, 207, 299])
async def test_any_2xx_with_a_run_is_accepted(status: int) -> None:
    """The id may be called `id` or `run_id`; everything else in the record is optional."""
    for name in ("id", "run_id"):
        answer = await submitted(reply(status, json.dumps({name: ID}).encode()))
        assert isinstance(answer, Accepted)
        assert answer.observation.provider_id == ID
        assert answer.observation.ending is None


async def test_the_accepted_run_is_the_one_that_was_made(lab: Lab) -> None:
    """The observation of a new run has its id and our reference; it is queued, without cost and without an ending."""
    answer = await lab.client.submit(a_run())
    assert isinstance(answer, Accepted)
    (made,) = lab.box.runs.values()
    seen = answer.observation
    assert (seen.provider_id, seen.client_ref, seen.request_id) == (made.id, REF, made.request_id)
    assert (seen.status, seen.ending, seen.cost_u) == ("queued", None, None)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"code":"SOME_CODE","message":"Not like this","errors":null}', "SOME_CODE", "Not like this"),
        (b'{"error":{"code":"SOME_CODE","message":"Not like this"}}', "SOME_CODE", "Not like this"),
        (b'{"message":"Not like this","surplus":[1]}', "HTTP_{}", "Not like this"),
        (b" Not like\r\n\tthis\x00 ", "HTTP_{}", "Not like this"),
        (b"\xff\xfeodd", "HTTP_{}", "\ufffd\ufffdodd"),
        (b"", "HTTP_{}", "no reason given"),
        (b'{"code":7,"message":["x"],"error":"y"}', "HTTP_{}", "x"),
        (b'{"code":7,"message":{},"error":[[]]}', "HTTP_{}", "no reason given"),
        (b'{"error":{"code":"SOME_CODE"}}', "SOME_CODE", "no reason given"),
        (b'{"detail":"Not this prompt"}', "HTTP_{}", "Not this prompt"),
        (b'{"error":"Not like this"}', "HTTP_{}", "Not like this"),
        (b'{"error":{"detail":["Not like this","nor that"]}}', "HTTP_{}", "Not like this; nor that"),
        (b'{"errors":["Not like this","nor that","Not like this"]}', "HTTP_{}", "Not like this; nor that"),
        (b'{"errors":[{"title":"Odd","detail":"Not like this"}]}', "HTTP_{}", "Not like this"),
        (
            b'{"detail":[{"loc":["body","input","prompt"],"msg":"too long","type":"t","input":"x"}]}',
            "HTTP_{}",
            "too long (prompt)",
        ),
        (b'{"errors":{"seed":["too large"],"x":"odd"}}', "HTTP_{}", "too large; odd (seed)"),
        (b'{"detail":{"code":"SOME_CODE","message":"Not like this"}}', "SOME_CODE", "Not like this"),
        (b'{"message":"{\\"detail\\":[{\\"msg\\":\\"Not like this\\"}]}"}', "HTTP_{}", "Not like this"),
        (b'{"id":"req-1","type":"about:blank","status":"odd"}', "HTTP_{}", "no reason given"),
        (b'["Not like this"]', "HTTP_{}", "Not like this"),
        (b"[]", "HTTP_{}", "[]"),
    ],
)
async def test_a_refusal_has_a_code_and_one_line_of_text(body: bytes, code: str, message: str) -> None:
    """These statuses bought nothing; whatever form the body has, the reason is one line of text."""
    statuses = iter(asked := (400, 401, 402, 403, 404, 413, 422))

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses), body=body)

    async with serving(refuse) as server, connected(server.url) as client:
        for status in asked:
            assert await client.submit(a_run()) == Refused(code=code.format(status), message=message)
        assert len(server.requests) == len(asked)


@pytest.mark.parametrize("form", ["flat", "nested"])
@pytest.mark.parametrize("name", [*VeoRequest(prompt="").options, "callback_url", "metadata", "client_ref"])
async def test_a_refused_field_is_named(lab: Lab, form: Any, name: str) -> None:
    """A 422 names the field that is not accepted, in whichever form its entries come."""
    lab.box.switches.error_body, lab.box.switches.refuse_field = form, name
    for items in ("loc", "field"):
        lab.box.switches.error_items = items
        answer = await lab.client.submit(a_run(run_id=items))
        assert answer == Refused(code="validation_error", message=f"The request is not valid ({name})")
        assert lab.box.posts(f"veo-{items}") == 1
    assert len(lab.box.runs) == 0


PAGES = [
    (b"<!doctype html><title>Just a moment...</title>", "text/html; charset=utf-8"),
    (b"\xef\xbb\xbf\r\n <html>", "application/octet-stream"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "application/xml"),
    (b"", "text/html"),
]


@pytest.mark.parametrize(("page", "kind"), PAGES)
@pytest.mark.parametrize("status", [401, 403, 404, 405, 451])
async def test_a_web_page_instead_of_json_is_an_outage(
    status: int, page: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The page of a CDN, a proxy or a maintenance says nothing about key, order, run or list: each is tried again."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(status=status, body=page, headers={"Content-Type": kind, "Retry-After": "9"})

    async with serving(show) as server, connected(server.url) as client:
        await client.check_key()
        assert "the key is not checked" in caplog.text
        answer = await client.submit(a_run())
        assert isinstance(answer, NotSent)
        assert answer.wait_s == pytest.approx(9.0, abs=1.0)
        for question in (client.read(ID), client.find(REF)):
            with pytest.raises(Unreadable) as told:
                await question
            assert told.value.wait_s == pytest.approx(9.0, abs=1.0)


async def test_json_labelled_as_html_is_still_an_answer() -> None:
    """The body decides, not its Content-Type."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403, body=b'{"code":"PERMISSION_DENIED","message":"no"}', content_type="text/html")

    async with serving(refuse) as server, connected(server.url) as client:
        assert await client.submit(a_run()) == Refused(code="PERMISSION_DENIED", message="no")
        with pytest.raises(SettingsError):
            await client.check_key()


@pytest.mark.parametrize("status", [400, 402, 413, 414, 422, 431])
async def test_a_page_with_a_status_about_the_order_refuses_it(status: int) -> None:
    """The same order would be refused again, whoever sent the page."""
    answer = await submitted(reply(status, b"<html><body><h1>Nope</h1></body></html>", "Content-Type: text/html"))
    assert answer == Refused(code=f"HTTP_{status}", message="no reason given")


@pytest.mark.parametrize("form", ["flat", "nested", "text", "html", "empty"])
@pytest.mark.parametrize(
    ("switch", "status"),
    [({"auth": "401"}, 401), ({"auth": "403"}, 403), ({"no_credit_after": 0}, 402), ({"refuse_field": "seed"}, 422)],
)
async def test_refusals_of_the_sandbox_buy_nothing(lab: Lab, form: Any, switch: Json, status: int) -> None:
    """One POST, no run, a code and a sentence, in every form that an error body can have."""
    for name, value in ({"error_body": form, "error_items": "null"} | switch).items():
        setattr(lab.box.switches, name, value)
    answer = await lab.client.submit(a_run())
    assert (lab.box.posts(REF), len(lab.box.runs)) == (1, 0)
    if form == "html" and status in (401, 403):  # a page may be anybody's
        assert isinstance(answer, NotSent)
        return
    assert isinstance(answer, Refused)
    assert answer.message == "no reason given" if form in ("html", "empty") else " " in answer.message
    if form not in ("flat", "nested"):
        assert answer.code == f"HTTP_{status}"


@pytest.mark.parametrize("body", [b"", b"plain words", b'{"code":"SOME_CODE","message":"no","id":"req-1"}'])
async def test_statuses_that_surely_bought_nothing_are_refusals(body: bytes) -> None:
    """Redirects but for 303, and refusals of the request itself: Runflow did not carry it out, so no hold is needed."""
    moved, refused = (300, 301, 302, 305, 307, 308), (405, 406, 410, 411, 412, 414, 415, 417, 421, 426, 428, 431, 451)
    statuses = iter((*moved, *refused))

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses), body=body, headers={"Location": "https://elsewhere.example/"})

    async with serving(refuse) as server, connected(server.url) as client:
        for status in (*moved, *refused):
            answer = await client.submit(a_run())
            assert isinstance(answer, Refused), status
            assert answer.code == ("SOME_CODE" if b"SOME_CODE" in body and status in refused else f"HTTP_{status}")
        assert len(server.requests) == len(moved) + len(refused)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504", "reset", "truncated", "no-body"])
async def test_a_broken_answer_is_unclear_and_not_repeated(lab: Lab, moment: str, fault: Any) -> None:
    """Nobody can see from outside whether the run was made, so it is unclear, after one POST."""
    setattr(lab.box.switches, moment, fault)
    assert isinstance(await lab.client.submit(a_run()), Unclear)
    assert (lab.box.posts(REF), len(lab.box.runs)) == (1, 0 if moment == "before" else 1)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_no_answer_in_time_is_unclear(lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The read timeout of a submission does not mean that nothing was bought."""
    monkeypatch.setattr("bot.runflow.client.SUBMIT_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    setattr(lab.box.switches, moment, "timeout")
    assert isinstance(await lab.client.submit(a_run()), Unclear)
    assert lab.box.posts(REF) == 1


@pytest.mark.parametrize(
    "answer",
    [
        *(reply(status, json.dumps(a_record()).encode()) for status in (304, 405, 408, 409, 410, 425, 500, 503, 520)),
        reply(303, b"", "Location: /elsewhere"),
        *(reply(status, b"", f"Location: https://a.example/v1/runs/{ID}") for status in (301, 302, 307)),
        *(reply(status, b"") for status in (423, 424, 444, 499, 501, 502, 504, 505, 521)),
        *(
            reply(201, body)
            for body in (
                b"", b"{}", b"[]", b"null", b'"id"', b'{"id":', b'{"id":null}', b'{"id":7}', b'{"id":""}',
                b'{"id":"../x"}', b'{"id":"a/b"}', b'{"id":"' + b"a" * 101 + b'"}', b"<html></html>", b"\xff\xff",
                b"[" * 100_000, b'{"id":"a","cost":' + b"9" * 5000 + b"}",
            )
        ),
        reply(201, b'{"id":"' + b"a" * 50 + b'","x":"' + b"x" * (9 * 1024 * 1024) + b'"}'),
        reply(201, json.dumps(a_record()).encode(), "Content-Encoding: gzip"),
        reply(201, json.dumps(a_record()).encode(), "Content-Encoding: br"),
        reply(201, json.dumps(a_record()).encode()).replace(b"Content-Length: ", b"Content-Length: 9"),
        b"",
        b"HTTP/1.1 201 Cre",
        b"HTTP/1.1 201 Created\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=lambda answer: answer[:40].decode(errors="replace").split("\r\n")[0] or "nothing",
)  # fmt: skip
async def test_any_other_answer_is_unclear(answer: bytes) -> None:
    """Without a run and without a documented refusal nobody knows what was bought; the POST is not repeated."""
    assert isinstance(await submitted(answer), Unclear)


@pytest.mark.parametrize(
    "number", [b"1e99999999999999999999", b"1e1000000", b'"9e999999"', b"-1e-99999999999999999999"]
)
async def test_an_absurd_number_does_not_crash(number: bytes) -> None:
    """A run with a number that cannot be an amount is read or unclear; nothing raises."""
    body = b'{"id":"%s","status_code":"succeeded","cost":%s}' % (ID.encode(), number)
    answer = await submitted(reply(201, body))
    assert isinstance(answer, Accepted | Unclear)
    if isinstance(answer, Accepted):
        assert answer.observation.cost_u in (None, 0)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 400\r\n\r\n{"])
async def test_a_reset_after_sending_is_unclear(answer: bytes) -> None:
    """A connection that is reset after the request was sent says nothing about the run."""
    assert isinstance(await submitted(answer, reset=True), Unclear)
