"""Outgoing connections: through the proxy in the environment, and with a certificate authority of the operator's."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from asyncio import StreamReader, StreamWriter
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness import scene


def make_ca(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate, and a TLS context that serves it."""
    key, certificate = folder / "key.pem", folder / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


async def relay(reader: StreamReader, writer: StreamWriter, port: int, first: bytes = b"") -> None:
    """Copy bytes both ways between a connection and a port of this machine."""

    async def pump(source: StreamReader, target: StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        target.close()

    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    far_writer.write(first)
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="nothing here makes certificates")
async def test_the_proxy_and_the_ca_are_used_for_discord_and_runflow(tmp_path: Path) -> None:
    """None of the names resolves, so everything came through the proxy; Runflow's certificate is of the CA."""
    certificate, context = make_ca(tmp_path, "runflow.example")
    asked: set[str] = set()
    async with scene(tmp_path, start=False) as world, AsyncExitStack() as stack:
        discord, runflow = (urlsplit(each) for each in (world.environment["DISCORD_API_URL"], world.runflow.url))
        gateway = urlsplit(world.environment["DISCORD_GATEWAY_URL"])
        ports = {"discord.example": discord.port, "gateway.example": gateway.port}

        async def front(reader: StreamReader, writer: StreamWriter) -> None:
            assert runflow.port is not None
            await relay(reader, writer, runflow.port)

        tls = await stack.enter_async_context(await asyncio.start_server(front, "127.0.0.1", 0, ssl=context))
        ports["runflow.example"] = tls.sockets[0].getsockname()[1]

        async def proxy(reader: StreamReader, writer: StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.decode().split(" ", 2)
            host = urlsplit(target if "://" in target else f"//{target}").hostname or ""
            asked.add(f"{method == 'CONNECT'} {host}")
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                head = b""
            await relay(reader, writer, ports[host] or 0, head)

        way = await stack.enter_async_context(await asyncio.start_server(proxy, "127.0.0.1", 0))
        address = f"http://me:hunter2@127.0.0.1:{way.sockets[0].getsockname()[1]}"
        await world.start(
            DISCORD_API_URL=f"http://discord.example:1{discord.path}",
            DISCORD_GATEWAY_URL=f"ws://gateway.example:1{gateway.path}",
            RUNFLOW_API_URL="https://runflow.example",
            HTTP_PROXY=address,
            HTTPS_PROXY=address,
            SSL_CERT_FILE=str(certificate),
            PYTHONUNBUFFERED="1",  # in a process of its own, for the CAs are read once
        )
        await world.veo("a red fox")
        await world.until("SELECT 1 FROM run_view WHERE state = 'running'")
        assert asked == {"False discord.example", "False gateway.example", "True runflow.example"}
        assert "hunter2" not in world.log
        await world.stop()
