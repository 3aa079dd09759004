"""Signals while native code runs, which lets no handler of Python's run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

NATIVE = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
PYTHON = "[time.sleep(0.05) for _ in range(2000)]"


@contextmanager
def started(work: str) -> Iterator[subprocess.Popen[str]]:
    code = f"""
import hashlib, time
from edgegan.cli.failures import reported
from edgegan.cli.insisting import insisted
from edgegan.interrupts import raised
words = ["compress", "a recipe"]
with raised(), insisted(words), reported(words):
    print("ready", flush=True)
    {work}
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_native_code(number: signal.Signals) -> None:
    with started(NATIVE) as process:
        assert process.stderr is not None
        busy = psutil.Process(process.pid)
        begun = busy.cpu_times().user
        while busy.cpu_times().user < begun + 0.3:  # in the native code for sure
            time.sleep(0.05)
        process.send_signal(number)
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline() == "stopping when this computation ends; once more ends it at once\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert process.stderr.read() == "\nstopped; go on with:  edgegan compress 'a recipe'\n"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_what_python_hears_ends_at_the_first() -> None:
    with started(PYTHON) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == "\nstopped; go on with:  edgegan compress 'a recipe'\n"
