"""Where clips may be fetched from: public https and Runflow itself, nothing inside the network."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import ClipUnavailable
from bot.runflow import is_public
from bot.runflow.clips import REDIRECTS_MAX
from bot.runflow.public_net import PublicResolver
from sandbox.runflow.clip import STORED
from tests.runflow_lab import (
    KEY,
    Handler,
    Lab,
    anonymous_tls,
    fetched_from,
    left_in,
    no_such_place,
    on_the_internet,
    redirecting,
    replying,
    serving,
    the_clip,
)

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "169.254.1.1", "100.64.0.1", "100.127.255.254", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "64:ff9b::a00:1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1",
    "192.0.0.192", "192.0.0.8",  # protocol assignments (RFC 6890), one of them a cloud's metadata service
    "64:ff9b:1:a00:0:100::", "64:ff9b:1:a:0:1::", "64:ff9b:1:0:a:0:800:0",  # after 48, 56 and 64 bits
    "64:ff9b::", "64:ff9b:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo of 10.0.0.1
    "64:ff9b:1::a00:1",  # the translation prefix for local use (RFC 8215)
    "::127.0.0.1", "::a9fe:a9fe",  # IPv4-compatible (RFC 4291, 2.5.5.1)
    "::ffff:0:7f00:1",  # IPv4-translated (RFC 2765)
    "fec0::1",  # site-local (RFC 3879)
]  # fmt: skip


@pytest.mark.parametrize("location", ["/moved.mp4?s=1", "{own}/moved.mp4?s=1", "moved.mp4", "?again=1"])
async def test_redirects_within_runflow_are_followed_a_few_times(tmp_path: Path, location: str) -> None:
    """Up to three redirects lead to the clip, relative or absolute; a fourth is too many."""
    server = await fetched_from(tmp_path, redirecting(location, REDIRECTS_MAX))
    assert (tmp_path / "veo-abc234.mp4").read_bytes() == STORED.read_bytes()
    assert len(server.requests) == 1 + REDIRECTS_MAX + 1
    (tmp_path / "veo-abc234.mp4").unlink()
    with pytest.raises(ClipUnavailable, match="redirects too often"):
        await fetched_from(tmp_path, redirecting(location, REDIRECTS_MAX + 1))
    assert left_in(tmp_path) == []


async def test_redirects_of_the_sandbox_are_checked(lab: Lab) -> None:
    """A redirect on its own host is followed, one into the private network is not."""
    provider_id = await lab.bought()
    lab.box.switches.url_place = "redirect"
    assert await lab.fetched(provider_id) == STORED.read_bytes()
    (lab.folder / "media" / "veo-abc234.mp4").unlink()
    for place in ("redirect-private", "private", "plain"):
        lab.box.switches.url_place = place
        with pytest.raises(ClipUnavailable, match="neither public https nor Runflow's own"):
            await lab.client.fetch(provider_id, lab.folder / "veo-abc234.mp4")
        assert left_in(lab.folder) == []


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_the_network_is_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, metadata, multicast, reserved: also embedded in IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::808:808",
        "64:ff9b:1:ffff::808:808",
        "64:ff9b:1:808:8:800::",
        "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
    ],
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """Clips may come from what the Internet routes."""
    assert is_public(address)


async def test_no_private_ip_address_is_fetched_from(tmp_path: Path) -> None:
    """Https does not make a private address public, neither in the record nor in a redirect."""
    for host in PRIVATE:
        if "%" in host:
            continue
        address = f"https://{f'[{host}]' if ':' in host else host}/clip.mp4"
        for named, file in ((address, the_clip), ("{own}/clip.mp4", redirecting(address))):
            with pytest.raises(ClipUnavailable, match="neither public https"):
                await fetched_from(tmp_path, file, named)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1",
     "127.0.0.1.", "0", "0.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "user:pw@127.0.0.1",
     "１２７.0.0.1", "127。0。0。1"],
)  # fmt: skip
async def test_no_spelling_of_this_machine_is_connected_to(tmp_path: Path, host: str) -> None:
    """As a number, by name or in an odd notation: no connection to ourselves is opened."""
    async with replying(b"") as inside:
        address = f"https://{host}:{inside.port}/clip.mp4"
        for named, file in ((address, the_clip), ("{own}/clip.mp4", redirecting(address))):
            with pytest.raises(ClipUnavailable):
                await fetched_from(tmp_path, file, named)
        assert inside.connections == 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:{port}/x.mp4", "http://localhost:{port}/x.mp4", "http://[::1]:{port}/x", "http://1.1.1.1/x",
     "http://cdn.runflow.io/x.mp4"],
)  # fmt: skip
async def test_plain_http_is_for_runflows_own_address_alone(tmp_path: Path, address: str) -> None:
    """Plain http to another port or host is refused, directly and by redirect, without a connection."""
    async with replying(b"") as other:
        address = address.format(port=other.port)
        for named, file in ((address, the_clip), ("{own}/clip.mp4", redirecting(address))):
            with pytest.raises(ClipUnavailable, match="neither public https"):
                await fetched_from(tmp_path, file, named)
        assert other.connections == 0


class SystemNames:
    """Answers in the place of the operating system's resolver."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        ends = {True: ("", 0, 0, 0), False: ("",)}
        return [
            (kinds[":" in each], socket.SOCK_STREAM, 6, "", (each, port, *ends[":" in each][2:]))
            for each in self._addresses
        ]


async def test_a_name_with_only_private_addresses_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads inside is refused; of a mixed answer only the public addresses are used."""
    resolver = PublicResolver()
    monkeypatch.setattr(socket, "getaddrinfo", SystemNames("10.0.0.1", "169.254.169.254", "127.0.0.1"))
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve("inside.example", 443)
    monkeypatch.setattr(socket, "getaddrinfo", SystemNames("10.0.0.1", "8.8.8.8", "192.168.0.1"))
    assert [each["host"] for each in await resolver.resolve("mixed.example", 443)] == ["8.8.8.8"]
    await resolver.close()


async def test_a_public_file_host_never_sees_the_key(tmp_path: Path) -> None:
    """A clip comes from https elsewhere, also over a redirect to a second host, and no header carries the key."""

    async def cdn_answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/second":
            return await the_clip(request)
        return web.Response(status=302, headers={"Location": f"https://second.example:{request.url.port}/second"})

    async with serving(cdn_answer, tls=anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as cdn:
        address = f"https://first.example:{cdn.port}/first?X-Sig=1"
        await fetched_from(tmp_path, no_such_place, address, outside=on_the_internet())
    assert (tmp_path / "veo-abc234.mp4").read_bytes() == STORED.read_bytes()
    assert [request.host.partition(":")[0] for request in cdn.requests] == ["first.example", "second.example"]
    for request in cdn.requests:
        assert "Authorization" not in request.headers
        assert KEY not in str(request.headers)


@pytest.mark.parametrize(
    "location",
    ["https://10.0.0.1/x", "http://second.example/x", "https://[::1]/x", "//127.0.0.1/x", "file:///etc/passwd"],
)
async def test_a_public_file_host_cannot_lead_inside(tmp_path: Path, location: str) -> None:
    """Each redirect is checked, whichever host sends it."""
    async with serving(redirecting(location), tls=anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as cdn:
        address = f"https://first.example:{cdn.port}/first"
        with pytest.raises(ClipUnavailable, match="neither public https"):
            await fetched_from(tmp_path, no_such_place, address, outside=on_the_internet())
    assert left_in(tmp_path) == []


def test_any_address_is_a_clip_or_unavailable(tmp_path: Path) -> None:
    """Whatever text a record or a redirect has as the address: the clip or ClipUnavailable, and no crash."""
    pieces = ["https://", "http://", "127.0.0.1", "first.example", "[", "]", ":", "@", "/", "?", "#", "%", "\\", "..",
              "99999", "é", "\x00", "\r\n", " ", "x", "::1", "-"]  # fmt: skip
    texts = st.lists(st.sampled_from(pieces) | st.text(max_size=3), max_size=8).map("".join)

    async def fetch(file: Handler, address: str = "{own}/clip.mp4") -> None:
        with pytest.raises(ClipUnavailable):
            await fetched_from(tmp_path, file, address, outside=on_the_internet())
        assert left_in(tmp_path) == []

    with asyncio.Runner() as runner:

        @settings(max_examples=60, deadline=None)
        @given(address=st.builds(lambda scheme, rest: scheme + rest, st.sampled_from(["https://", "http://"]), texts))
        def named_by_the_record(address: str) -> None:
            runner.run(fetch(no_such_place, address.replace("{", "{{").replace("}", "}}")))

        @settings(max_examples=60, deadline=None)
        @given(location=texts)
        def named_by_a_redirect(location: str) -> None:
            async def redirect(request: web.Request) -> web.Response:
                headers = {"Location": location.encode("utf-8", "replace").decode().translate({0: 95, 10: 95, 13: 95})}
                return web.Response(status=302, headers=headers)

            runner.run(fetch(redirect))

        named_by_the_record()
        named_by_a_redirect()


async def test_no_address_appears_in_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error nor the log shows the signature of an address or the key."""

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    with caplog.at_level(logging.DEBUG, logger="veo"):
        for named, file in (("http://10.0.0.1/x?X-Sig=abc", the_clip), ("{own}/x?X-Sig=abc", hang_up)):
            with pytest.raises(ClipUnavailable) as told:
                await fetched_from(tmp_path, file, named)
            assert "X-Sig" not in f"{told.value!r} {told.value.__cause__!r} {caplog.text}"
            assert KEY not in f"{told.value!r} {caplog.text}"
