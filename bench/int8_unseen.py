"""INT8 as `quantize` gives it by its defaults, on networks and inputs that nobody tuned it for.

    python bench/int8_unseen.py [NAME ...] [--data FOLDER] [--before FOLDER]

Writes bench/int8_unseen.json and .md. `--before` is a checkout of an earlier edgegan, whose figures become
the columns "before"; without it, those of the last time stay. With names only these are made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
CALIBRATION, UNSEEN, TURNS = 192, 64, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    shared = os.environ.get("EDGEGAN_SHARED", ROOT / "../shared/data")
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    from int8_unseen_nets import KEPT_ASIDE, SEEN

    if given.one:
        print(json.dumps(measure(given.one, Path(given.data))))
        return
    path = ROOT / "bench" / "int8_unseen.json"
    rows = json.loads(path.read_text()) if path.is_file() else {}
    for name in given.names or [*SEEN, *KEPT_ASIDE]:
        found = rows.setdefault(name, {})
        if given.before:
            found["before"] = apart(name, given.data, given.before)
        found["after"] = apart(name, given.data, ROOT)
        print(name, json.dumps(found), flush=True)
        path.write_text(json.dumps(rows, indent=1) + "\n")
    (ROOT / "bench" / "int8_unseen.md").write_text(table(rows))


def apart(name: str, data: Path, package: Path) -> dict[str, Any]:
    """Return the figures of a network by the edgegan in `package`, in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--data", str(data)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(package.resolve())}
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, data: Path) -> dict[str, Any]:
    """Quantize a network by the defaults; return dB on inputs that had no part in it, and what it took."""
    import torch
    from int8_unseen_nets import KEPT_ASIDE, SEEN, lived_in

    from edgegan.compress.export import export_onnx
    from edgegan.compress.quantize import Quantize, QuantizeSettings
    from edgegan.compress.stage import Candidate, Context
    from edgegan.runtime.contract import Contract, Input, Output, Sample
    from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

    build, inputs = {**SEEN, **KEPT_ASIDE}[name]
    drawn = inputs(data, CALIBRATION + UNSEEN)
    module = lived_in(build(), torch.from_numpy(drawn[:64]))
    unseen = torch.from_numpy(drawn[CALIBRATION:])
    with torch.no_grad():
        expected = module(unseen).numpy()
    with TemporaryDirectory() as kept:
        folder = Path(kept)
        np.savez(folder / "inputs.npz", x=drawn[:CALIBRATION])
        sample = Sample("normal") if drawn.ndim == 2 else Sample("stored", file="inputs.npz")
        layout = "CHW" if expected.ndim == 4 else ""
        contract = Contract(
            (Input("x", drawn.shape[1:], sample=sample),),
            (Output("y", expected.shape[1:], (-1.0, 1.0), layout),),
        ).with_stored(folder)
        started = time.monotonic()
        candidate = Quantize(QuantizeSettings(targets=("x64-cpu",))).run(
            Candidate(module, module, contract), Context(folder)
        )
        seconds = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        record, file = candidate.lineage[-1], candidate.files["int8"]
        proof = record.proof["int8"]
        export_onnx(module, contract, folder / "float.onnx")
        one = {"x": drawn[CALIBRATION : CALIBRATION + 1]}
        files = {"int8": file, "fp32": folder / "float.onnx"}
        with ExitStack() as stack:
            engines = {
                key: stack.enter_context(OnnxRuntimeEngine(path, threads=1)) for key, path in files.items()
            }
            error = np.mean(np.square((engines["int8"]({"x": drawn[CALIBRATION:]})["y"] - expected) / 2))
            times: dict[str, list[float]] = {key: [] for key in files}
            for _ in range(TURNS):
                for key, engine in engines.items():
                    begun = time.process_time()
                    engine(one)
                    times[key].append(time.process_time() - begun)
    return {
        "psnr_db": round(float(-10 * np.log10(error)), 2),
        "all_int8_db": proof["trials"][0]["psnr_db"],
        "proof_db": proof["psnr_db"],
        "int8_macs_share": round(proof["int8_macs_share"], 4),
        "speed": round(float(np.median(times["fp32"]) / np.median(times["int8"])), 2),
        "seconds": round(seconds, 1),
        "peak_gib": round(peak, 2),
        "float": proof["float_layers"],
    }


def table(rows: dict[str, Any]) -> str:
    """Return the page."""
    from int8_unseen_nets import KEPT_ASIDE

    lines = [
        "# INT8 where nobody tuned it",
        "",
        "Made by `python bench/int8_unseen.py`: small generators after the public designs, with random",
        "weights and the statistics of trained ones, on real photographs and mel spectrograms. PSNR is of",
        f"the file that ships for `x64-cpu` (weights of 7 bits), on {UNSEEN} inputs that had no part",
        "in calibration or choice. Speed is against FP32 on ONNX Runtime, one thread, batch 1, in CPU time.",
        "Networks under the line were not looked at while INT8 was worked on.",
        "",
        "| network | dB before | now | MACs in INT8 before | now | speed before | now | s | GiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(rows, key=lambda name: name in KEPT_ASIDE):
        if name == next(iter(KEPT_ASIDE)):
            lines.append("| *kept aside* | | | | | | | | |")
        old, new = (rows[name].get(key, {}) for key in ("before", "after"))
        cells = [
            *(_cell(of, "psnr_db") for of in (old, new)),
            *(_cell(of, "int8_macs_share", "{:.1%}") for of in (old, new)),
            *(_cell(of, "speed", "{:.2f}x") for of in (old, new)),
            *(_cell(new, key) for key in ("seconds", "peak_gib")),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(of: dict[str, Any], key: str, form: str = "{}") -> str:
    return form.format(of[key]) if key in of else ("failed" if "failed" in of else "-")


if __name__ == "__main__":
    main()
