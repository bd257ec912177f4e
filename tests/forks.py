"""Processes that start with their imports done: forked from one that imported for all of them.

Half a second of imports for a story of fifty milliseconds is what a test of the real process mostly costs. What comes
of a fork is as real: a process with its own surroundings, folder, log and signals, which runs `python -m MODULE`.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

NUMBER = struct.Struct("!i")  # what is told of a fork: first its process id, and at its end the exit code


class Fork:
    """As much of `asyncio.subprocess.Process` as is needed of a process that is not our own child."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self.pid = pid
        self._told = told
        self._code: int | None = None
        self._waited_for = False

    @property
    def returncode(self) -> int | None:
        """Also between two turns of the loop, and while somebody waits."""
        if self._code is None:
            with suppress(BlockingIOError):
                (self._code,) = NUMBER.unpack(self._told.recv(NUMBER.size, socket.MSG_PEEK))
                if not self._waited_for:  # perhaps nobody ever will
                    self._told.close()
        return self._code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        if self._told.fileno() >= 0:
            self._waited_for = True
            told = await asyncio.get_running_loop().sock_recv(self._told, NUMBER.size)
            (self._code,) = NUMBER.unpack(told)
            self._told.close()
        assert self._code is not None
        return self._code


class Nursery:
    """The process that has imported `modules`, and forks."""

    def __init__(self, *modules: str, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            # -P: the folder of this file is not where anything is imported from.
            command = [sys.executable, "-P", __file__, *modules]
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=dict(environment)
            )
        atexit.register(self._close)

    async def start(
        self,
        module: str,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str],
        output: int,
        errors: int,
        before: str = "",
    ) -> Fork:
        """`python -m MODULE ARGUMENTS` in that folder, and this code before it; what it prints goes to these files."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"\n"], [theirs.fileno(), output, errors])
        ours.setblocking(False)
        order = {"module": module, "arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        order["before"] = before
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, json.dumps(order).encode() + b"\n")
        (pid,) = NUMBER.unpack(await loop.sock_recv(ours, NUMBER.size))
        return Fork(pid, ours)

    async def run(
        self, module: str, *arguments: str, folder: Path, environment: Mapping[str, str], before: str = ""
    ) -> tuple[int, str, str]:
        """The same from start to end: exit code, standard output and standard error."""
        with TemporaryFile() as output, TemporaryFile() as errors:
            fork = await self.start(
                module,
                *arguments,
                folder=folder,
                environment=environment,
                output=output.fileno(),
                errors=errors.fileno(),
                before=before,
            )
            try:
                code = await fork.wait()
            finally:
                fork.kill()  # where its end is not waited for any more
            said = []
            for file in (output, errors):
                file.seek(0)
                said.append(file.read().decode())
            return code, said[0], said[1]

    def _close(self) -> None:
        self._control.close()
        self._process.wait()


# Within the process that forks


def serve(modules: list[str]) -> None:
    """Import, then fork at each order until nobody is there to give one."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all of them share is not looked through, and so not copied, at every collection of each
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is for the forks, and for whoever ordered them
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        while True:
            byte, fds, *_ = socket.recv_fds(control, 1, 3)
            with suppress(ChildProcessError):  # there is none
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not byte:
                return
            if os.fork() == 0:
                try:
                    with socket.socket(fileno=fds[0]) as connection:
                        keep(connection, fds[1:])
                finally:
                    os._exit(0)
            for fd in fds:
                os.close(fd)


def keep(connection: socket.socket, files: list[int]) -> None:
    """Fork once more, as ordered, and tell how that ended: who forks for all waits for none."""
    with connection.makefile() as lines:
        order = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            connection.close()
            code = live(order, files)
        finally:
            os._exit(code)
    for fd in files:
        os.close(fd)
    try:
        connection.sendall(NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
    except BrokenPipeError:  # nobody asks any more
        os.kill(pid, signal.SIGKILL)


def live(order: Mapping[str, Any], files: list[int]) -> int:
    """Be the process that was ordered; its exit code."""
    for place, fd in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(fd, place)
        os.close(fd)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path.insert(0, order["folder"])
    sys.argv[1:] = order["arguments"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    exec(order["before"], {})  # noqa: S102 - of our own tests
    code = run(order["module"])
    gc.collect()  # whatever was not closed says so now: the interpreter's own end, a fifth of a second, is left out
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1:])
