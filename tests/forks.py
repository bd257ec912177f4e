"""Starts Python processes whose imports are done, by forking them from a process that has imported everything.

Imports take half a second, most of the time of a test with a real process. A forked process is just as real: it has
its own environment, folder, log and signals, and runs `python -m MODULE`.
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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

NUMBER = struct.Struct("!i")  # sent twice for each fork: first its process id, then its exit code


class Fork:
    """A forked process, with the part of `asyncio.subprocess.Process`'s interface that the tests need."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._code: int | None = None
        self._waited_for = False

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs; up to date even if the event loop hasn't run."""
        if self._code is None:
            with suppress(BlockingIOError):
                (self._code,) = NUMBER.unpack(self._connection.recv(NUMBER.size, socket.MSG_PEEK))
                if not self._waited_for:  # `wait` may never be called
                    self._connection.close()
        return self._code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        if self._connection.fileno() >= 0:
            self._waited_for = True
            number = await asyncio.get_running_loop().sock_recv(self._connection, NUMBER.size)
            (self._code,) = NUMBER.unpack(number)
            self._connection.close()
        assert self._code is not None
        return self._code


class Nursery:
    """A process that has imported `modules` and forks new processes; those may order from the `lent` nurseries."""

    def __init__(self, *modules: str, environment: Mapping[str, str], lent: Sequence[Nursery] = ()) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            # -P: don't import from the folder of this file.
            command = [sys.executable, "-P", __file__, *modules]
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[each.number for each in lent],
            )
        atexit.register(self._close)

    @property
    def number(self) -> int:
        """By which a process finds the nursery that was lent to it."""
        return self._control.fileno()

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
        """Run the code `before`, then `python -m MODULE ARGUMENTS`, in `folder`; the output goes to these files."""
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
        """Like `start`, but wait for the end; return exit code, standard output and standard error."""
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
                fork.kill()  # in case the wait was canceled
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode())
            return code, texts[0], texts[1]

    def _close(self) -> None:
        self._control.close()
        self._process.wait()


# The following runs in a process that was forked, where its order says so


def order_from(number: int) -> None:
    """From now on what this process starts as `python -m MODULE` comes from the nursery that was lent to it."""
    lent = Nursery.__new__(Nursery)
    lent._control = socket.socket(fileno=number)

    async def start(
        python: str, m: str, *words: str, cwd: str, env: Mapping[str, str], start_new_session: bool
    ) -> Fork:
        assert (python, m, start_new_session) == (sys.executable, "-m", True)
        return await lent.start(*words, folder=Path(cwd), environment=env, output=1, errors=2)

    asyncio.create_subprocess_exec = start  # type: ignore[assignment] # as much of it as the demo asks for


# The following runs in the process that forks


def serve(modules: list[str]) -> None:
    """Import the modules, then fork for each order until the other side closes the connection."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # keep the forks' collections from touching, and so copying, shared memory
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the forks and the test process
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        while True:
            byte, fds, *_ = socket.recv_fds(control, 1, 3)
            with suppress(ChildProcessError):  # there is no child
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not byte:
                return
            if os.fork() == 0:
                try:
                    with socket.socket(fileno=fds[0]) as connection:
                        supervise(connection, fds[1:])
                finally:
                    os._exit(0)
            for fd in fds:
                os.close(fd)


def supervise(connection: socket.socket, files: list[int]) -> None:
    """Fork again for the ordered process, and send its process id and exit code, so `serve` never waits."""
    with connection.makefile() as lines:
        order = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            connection.close()
            code = run_order(order, files)
        finally:
            os._exit(code)
    for fd in files:
        os.close(fd)
    try:
        connection.sendall(NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
    except BrokenPipeError:  # the test process is gone
        os.kill(pid, signal.SIGKILL)


def run_order(order: Mapping[str, Any], files: list[int]) -> int:
    """Run the ordered process in this one, and return its exit code."""
    for place, fd in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(fd, place)
        os.close(fd)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path.insert(0, order["folder"])
    sys.argv[1:] = order["arguments"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.freeze = lambda: None  # what this process makes stays apart from what it was given, for the last collection
    exec(order["before"], {})  # noqa: S102 - of our own tests
    code = run(order["module"])
    gc.collect()  # report unclosed resources now; the interpreter's own shutdown, 0.2 s, is skipped
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run(module: str) -> int:
    """Run a module as `python -m` does, and return its exit code."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - like the interpreter
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1:])
