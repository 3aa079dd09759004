"""Work that may hang or fill the memory, done in a child process under limits."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch

from edgegan.errors import ModelError

_in_child = False


def limited(work: Callable[[], Any], what: str, *, seconds: float, gibibytes: float) -> Any:
    """Return `work()`, plain data fit for JSON, from a forked child with one thread.

    The child may run for `seconds` and take `gibibytes` of address space beyond what this process has; it
    ends with this process, however that ends. It must not run autograd's backward pass, which torch refuses
    in a fork. Where the system is not Linux, `work` runs here, without limits.

    Raises:
        ModelError: `work` raised, took too long, or took too much memory; `what` names it in the message.
    """
    if sys.platform != "linux":
        return _outcome(_attempt(work), what)
    reading, writing = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 warns of locks that other threads hold: the child takes none and runs on one thread.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _child(work, writing, int(gibibytes * 2**30), parent)
    os.close(writing)
    reply, status = b"", 0
    try:
        reply = _read(reading, time.monotonic() + seconds)
    except TimeoutError:
        raise _failure(what, f"it took more than {seconds:g} seconds") from None
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    try:
        return _outcome(json.loads(reply), what)
    except json.JSONDecodeError:
        raise _failure(what, f"its process died{_of_what(status)}") from None


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in code that takes more CPU time; no effect outside of `limited`'s child."""
    if not _in_child:
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _of_what(status: int) -> str:
    """Say by what signal a child ended, where it was one."""
    if not os.WIFSIGNALED(status):
        return ""
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name
    return ", most likely out of memory" if number == signal.SIGKILL else f" of {name}: what it ran crashed"


def _child(work: Callable[[], Any], writing: int, memory: int, parent: int) -> NoReturn:
    global _in_child
    _in_child = True
    try:
        import resource

        signal.set_wakeup_fd(-1)
        _end_with(parent)
        torch.set_num_threads(1)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        with os.fdopen(writing, "w") as pipe:
            json.dump(_attempt(work), pipe)
    finally:
        os._exit(0)


def _end_with(parent: int) -> None:
    """Let the system end this process when its parent ends."""
    on_parents_death = 1
    ctypes.CDLL(None).prctl(on_parents_death, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(0)


def _attempt(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"result": work()}
    except MemoryError:
        return {"error": "it took too much memory"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _read(pipe: int, deadline: float) -> bytes:
    blocks: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        block = os.read(pipe, 1 << 20)
        if not block:
            return b"".join(blocks)
        blocks.append(block)


def _outcome(reply: dict[str, Any], what: str) -> Any:
    if "error" in reply:
        raise _failure(what, reply["error"])
    return reply["result"]


def _failure(what: str, why: str) -> ModelError:
    return ModelError(f"{what}: {why}")
