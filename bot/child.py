"""Work that is done in a process of its own, so that nothing of what it imports stays in this one's memory."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NoReturn, TypeVar

from bot.errors import StartError

Result = TypeVar("Result")


@contextmanager
def in_child(work: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """Begin the work in a child process. The block gets a function that waits for the result, which can be pickled.

    That function raises the work's own StartError and KeyboardInterrupt. Where the child dies of anything else, it
    has printed why, and the function raises ChildProcessError. The child does not outlive the block. As it is a fork,
    nothing may have started a thread before.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        try:
            yield lambda: _result(pipe.read())
        finally:
            with suppress(ProcessLookupError, ChildProcessError):  # some have the system collect their children
                os.kill(child, signal.SIGKILL)  # where nobody waits for the result any more
                os.waitpid(child, 0)


def _answer(work: Callable[[], object], writing: int) -> NoReturn:
    """In the child: write the result, or what kept it from being one, and end without any of the parent's clean-up."""
    code = 1
    try:
        answer: tuple[Callable[[], BaseException] | None, object]
        try:
            answer = None, work()
        except StartError as error:
            answer = partial(type(error), error.text.key, **error.text.facts), None
        except KeyboardInterrupt:  # Ctrl+C reaches both
            answer = KeyboardInterrupt, None
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        code = 0
    except BrokenPipeError:  # the parent was stopped meanwhile
        pass
    except BaseException:  # noqa: BLE001 - as the interpreter itself would
        traceback.print_exc()
    finally:
        os._exit(code)


def _result(answer: bytes) -> Any:
    if not answer:
        raise ChildProcessError("the process that was to do it ended without an answer")
    error, result = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    if error is not None:
        raise error()
    return result
