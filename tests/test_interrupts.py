"""Signals that end work: raised at once, or held back until a block has kept what it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from edgegan.interrupts import Stopped, held_back, raised


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_process_are_raised(number: int) -> None:
    with raised(), pytest.raises(Stopped) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised(), held_back() as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopping()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_waits_for_the_block_and_a_second_one_does_not(number: int) -> None:
    kept: list[bool] = []

    def work(signals: int) -> None:
        with raised(), held_back() as stopping:
            for _ in range(signals):
                os.kill(os.getpid(), number)
            kept.append(stopping())

    for signals in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            work(signals)
        assert kept == [True]


def test_without_a_signal_nothing_ends() -> None:
    with held_back() as stopping:
        assert not stopping()


def test_work_does_not_go_on_where_a_handler_lets_it() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with pytest.raises(Stopped), held_back():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_a_process_that_handles_none_is_ended_by_the_signal() -> None:
    code = (
        "import os, signal; from edgegan.interrupts import held_back\n"
        "with held_back(): os.kill(os.getpid(), signal.SIGTERM); print('kept', flush=True)\n"
        "print('went on')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (-signal.SIGTERM, "kept\n")


def test_other_threads_hold_nothing_back() -> None:
    seen: list[bool] = []

    def work() -> None:
        with raised(), held_back() as stopping:
            seen.append(stopping())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
