"""One run of a file in a process of its own: a file that crashes its engine does not end ours."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import EdgeganError
from edgegan.runtime.artifact import USUAL_ENGINE
from edgegan.runtime.engines.registry import engine_kind, open_artifact

SECONDS = 300.0


def fault(
    path: Path, inputs: Mapping[str, NDArray[Any]], *, engine: str = USUAL_ENGINE, seconds: float = SECONDS
) -> str | None:
    """Load `path` with an engine and run it on `inputs`; return what went wrong, or None.

    A crash, NaN, an error and more than `seconds` are told; the outputs are not looked at further.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "inputs.npz"
        np.savez(given, allow_pickle=False, **dict(inputs))
        command = [
            sys.executable,
            "-m",
            __name__,
            str(path),
            str(given),
            engine,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return f"does not come to an end in {seconds:g} s"
    if done.returncode < 0:
        name = str(-done.returncode)
        with contextlib.suppress(ValueError):
            name = signal.Signals(-done.returncode).name
        return f"crashes {engine_kind(engine).title} ({name})"
    return (done.stdout.strip().splitlines() or ["fails"])[-1] if done.returncode else None


def _main(path: str, inputs: str, engine: str) -> int:
    try:
        with np.load(inputs) as given, open_artifact(path, engine, threads=1) as loaded:
            outputs = loaded({name: given[name] for name in given.files})
    except EdgeganError as error:
        print(f"does not run: {error.what}")
        return 1
    if not all(np.isfinite(output).all() for output in outputs.values() if output.dtype.kind == "f"):
        print("gives NaN or infinity")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
