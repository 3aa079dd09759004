"""A model in a process of its own, told over pipes what to do: `python -m edgegan.measure.worker`.

One request and one reply at a time, each one line of JSON:

    {"do": "load", "artifact": {...}, "engine": NAME, "contract": {...}, "stored": FOLDER or null,
     "batch": 1, "threads": 2}                   ->  {"load_ms", "engine"}
    {"do": "turn", "seconds": 0.2, "least": 2}   ->  {"run_ms": [...], "cpu_ms": [...], "lost_ms": [...],
                                                      "switches": [...], "end_to_end_ms": [...]}
    {"do": "memory"}                             ->  {"peak_rss_mib"}

A failure answers {"error": TEXT}. The worker ends when its input does.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgegan.measure.memory import peak_rss_mib
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.engines.registry import engine_kind, open_artifact

COMMAND = (sys.executable, "-m", "edgegan.measure.worker")
PATIENCE_S = 120.0
"""How long a reply may take beyond the seconds that were asked for."""

MEASURED = ("run_ms", "cpu_ms", "lost_ms", "end_to_end_ms", "switches")
"""What a turn tells of each call."""

_UNTIMED = 2
_SETTLED_SHARE, _SETTLE_WINDOW_S, _SETTLE_LIMIT_S = 0.1, 0.02, 0.5


class WorkerFailed(Exception):  # noqa: N818
    """A worker died, hung or reported an error; never leaves `edgegan.measure`."""


class Worker:
    """The parent's end: starts a worker, asks it, and is sure to end it."""

    def __init__(self, threads: int) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
        )
        self._replies: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, request: dict[str, Any], *, seconds: float = 0.0) -> dict[str, Any]:
        """Send `request`, which should take about `seconds`, and return the reply.

        Raises:
            WorkerFailed: the worker reported an error, died, or was too late, and has then been ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=seconds + PATIENCE_S)
        except queue.Empty:
            self.close()
            raise WorkerFailed(f"no answer within {seconds + PATIENCE_S:.0f} seconds: ended") from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise WorkerFailed(self._death())
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise WorkerFailed(f"the worker's answer cannot be read: {line[:200]!r}") from error
        if "error" in reply:
            raise WorkerFailed(reply["error"])
        return reply

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._stderr.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put(b"")

    def _death(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        last = self._stderr.read().decode(errors="replace").strip()[-500:]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        hint = " (out of memory?)" if code == -9 else ""
        return f"the process that ran the model {how}{hint}" + (f": {last}" if last else "")


class _Bench:
    """The child's end: one loaded model, and the clock."""

    def __init__(
        self,
        artifact: dict[str, Any],
        engine: str,
        contract: dict[str, Any],
        stored: str | None,
        batch: int,
        threads: int,
    ) -> None:
        self._contract, self._batch = Contract.from_dict(contract), batch
        if stored is not None:
            self._contract = self._contract.with_stored(Path(stored))
        engine_kind(engine).check()  # imports it, ahead of the clock
        start = time.perf_counter()
        self._engine = open_artifact(Artifact(**artifact), engine, threads=threads)
        self.loaded = {"load_ms": (time.perf_counter() - start) * 1e3, "engine": self._engine.name}

    def turn(self, seconds: float, least: int) -> dict[str, list[float]]:
        """Run for `seconds` and at least `least` times, after untimed runs; end when all is quiet.

        Of each call, in the engine: `run_ms`, `cpu_ms` of all threads, and `lost_ms`, in which the calling
        thread had no CPU. With sampling and conversion: `end_to_end_ms`, and `switches`, how often the system
        took a CPU away from a thread of this process.
        """
        for seed in range(_UNTIMED):
            self._convert(self._engine(self._contract.sample(self._batch, seed)))
        calls: dict[str, list[float]] = {name: [] for name in MEASURED}
        deadline = time.perf_counter() + seconds
        while len(calls["run_ms"]) < least or time.perf_counter() < deadline:
            switched, begin = _switches(), time.perf_counter()
            inputs = self._contract.sample(self._batch, len(calls["run_ms"]))
            cpu, own, before = time.process_time(), time.thread_time(), time.perf_counter()
            outputs = self._engine(inputs)
            after, own, cpu = time.perf_counter(), time.thread_time() - own, time.process_time() - cpu
            self._convert(outputs)
            end, run = time.perf_counter(), after - before
            figures = (run * 1e3, cpu * 1e3, max(0.0, run - own) * 1e3, (end - begin) * 1e3)
            for name, figure in zip(MEASURED, (*figures, _switches() - switched)):
                calls[name].append(figure)
        _settle()
        return calls

    def _convert(self, outputs: Arrays) -> None:
        for output in self._contract.outputs:
            output.modality.encode(outputs[output.name], output)


def _switches() -> int:
    """Return how often the system took a CPU away from a thread of this process; 0 where it does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _settle() -> None:
    """Wait until this process is idle: an engine's threads spin on, and would slow the next worker."""
    limit = time.perf_counter() + _SETTLE_LIMIT_S
    while time.perf_counter() < limit:
        used = time.process_time()
        time.sleep(_SETTLE_WINDOW_S)
        if time.process_time() - used < _SETTLED_SHARE * _SETTLE_WINDOW_S:
            return


def _answer(request: dict[str, Any], bench: _Bench | None) -> tuple[dict[str, Any], _Bench | None]:
    arguments = {key: value for key, value in request.items() if key != "do"}
    if request["do"] == "load":
        bench = _Bench(**arguments)
        return bench.loaded, bench
    if request["do"] == "memory":
        return {"peak_rss_mib": peak_rss_mib()}, bench
    assert bench is not None
    return dict(bench.turn(**arguments)), bench


def main() -> None:
    """Answer requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native code prints must not mix with the replies
    gc.disable()
    bench: _Bench | None = None
    for line in sys.stdin:
        try:
            reply, bench = _answer(json.loads(line), bench)
        except Exception as error:  # whatever a model or engine raises is this candidate's failure
            reply = {"error": str(error) or type(error).__name__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
