"""INT8 by edgegan against FP32, and against INT8 as stock onnxruntime makes it, on this machine's CPU.

    python bench/int8.py [--data FOLDER]

Writes bench/int8.json and bench/int8.md. The files are made once, into runs/bench-int8, and anew only where
edgegan has changed since; latencies are measured each time: let the machine do nothing else meanwhile.
Third-party networks come from FOLDER, by default $EDGEGAN_SHARED or ../shared/data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import int8_models
import onnx
from int8_models import FILES, ROOT, Subject
from int8_stock import Batch, as_it_runs, quantize_stock
from int8_table import markdown
from made_with import EDGEGAN, made_with
from torch import nn

from edgegan import __version__
from edgegan.compress.agreement import agreement
from edgegan.compress.export import Export, ExportSettings, to_onnx
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.quantize.choose.candidates import Samples
from edgegan.compress.quantize.deploy.int8_coverage import kernels
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.stage import REWRITES
from edgegan.compress.rewrite import rewrite
from edgegan.compress.stage import Candidate, Context, StageRecord
from edgegan.files import write_bytes, write_json, write_text
from edgegan.measure.latency import measure_latency
from edgegan.measure.machine import machine
from edgegan.runtime.contract import Contract, Input, Output, Sample

SOURCES = (*EDGEGAN, "tests/zoo/*.py", "bench/int8.py", "bench/int8_models.py", "bench/int8_stock.py")
TARGETS = {"edgegan": "x64-cpu", "edgegan_vnni": "x64-cpu-vnni"}
CALIBRATION, JUDGING, JUDGING_SEED = 128, 56, 1
BATCHES, THREADS, SECONDS = (1, 8), 2, 2.0


def main() -> None:
    content = {"protocol": protocol(), "bound": bound(), "rows": int8_models.rows(__doc__, row)}
    write_json(ROOT / "bench" / "int8.json", content)
    write_text(ROOT / "bench" / "int8.md", markdown(content))
    print((ROOT / "bench" / "int8.md").read_text())


def protocol() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "edgegan": __version__,
        "machine": machine(),
        "targets": targets(),
        "threads": THREADS,
        "seconds_per_candidate": SECONDS,
        "calibration_samples": CALIBRATION,
        "judging_samples": JUDGING,
    }


def targets() -> dict[str, str]:
    """Return file to target: of those whose kernels this machine has, the best last."""
    vnni = any("vnni" in flag for flag in machine()["flags"])
    return {file: target for file, target in TARGETS.items() if vnni or "vnni" not in target}


def row(subject: Subject, folder: Path) -> dict[str, Any]:
    """Return the figures of one generator."""
    content = made(subject, folder)
    measured = latencies(
        {file: as_it_runs(folder / f"{file}.onnx") for file in content["files"]}, subject.calibrating
    )
    for file, figures in measured.items():
        content["files"][file]["latency"] = figures
    return content


def made(subject: Subject, folder: Path) -> dict[str, Any]:
    """Make the files of a generator, or find them made with this very code; return what they are."""
    record, key = folder / "made.json", made_with(SOURCES, subject.module, machine()["packages"])
    if not record.is_file() or json.loads(record.read_text())["key"] != key:
        write_json(record, {"key": key, "content": make(subject, folder)})
    return json.loads(record.read_text())["content"]


def make(subject: Subject, folder: Path) -> dict[str, Any]:
    """Write the files of a generator; return of each how good it is, and what of it runs in INT8."""
    module, contract = subject.module, subject.calibrating
    export(module, contract, folder / "fp32.onnx")
    records: dict[str, StageRecord] = {}
    chosen: dict[str, Any] = {"quality": {}}
    for file, target in targets().items():
        sweep = file == list(targets())[-1]
        settings = QuantizeSettings(targets=(target,), samples=CALIBRATION, sensitivity=sweep, **chosen)
        records[file] = quantize(module, contract, settings, folder / f"{file}.onnx")
        changed = records[file].changed["int8"]
        chosen |= {"calibrator": changed["calibrator"], "equalize": changed["equalized"]}
    best = records[list(targets())[-1]]
    graph, _ = rewrite(module, contract, REWRITES)
    drawn = Samples.of(graph, contract, CALIBRATION, Context(folder).seed).batches
    names = [spec.name for spec in contract.inputs]
    batches: list[Batch] = [{name: t.numpy() for name, t in zip(names, batch)} for batch in drawn]
    in_float = kernels(folder / "edgegan.onnx")["float_layers"]
    rewritten = to_onnx(graph, contract)
    name_layers(rewritten, graph, list(layer_names(graph).values()))
    quantize_stock(onnx.load(folder / "fp32.onnx"), batches, (), folder / "stock.onnx")
    quantize_stock(rewritten, batches, in_float, folder / "stock_equal.onnx")
    return {
        "in_float": in_float,
        "sensitivity": sorted(best.proof["int8"]["sensitivity"], key=lambda entry: entry["psnr_db"]),
        "lineage": {file: asdict(record) for file, record in records.items()},
        "files": {
            file: figures(folder / f"{file}.onnx", subject)
            for file in ("fp32", "stock", *records, "stock_equal")
        },
    }


def export(module: nn.Module, contract: Contract, path: Path) -> None:
    """Write the FP32 file."""
    with TemporaryDirectory() as folder:
        stage = Export(ExportSettings(precisions=("fp32",)))
        done = stage.run(Candidate(module, module, contract), Context(Path(folder)))
        write_bytes(path, done.files["fp32"].read_bytes())


def quantize(module: nn.Module, contract: Contract, settings: QuantizeSettings, path: Path) -> StageRecord:
    """Write edgegan's INT8 file; return the record of how."""
    with TemporaryDirectory() as folder:
        done = Quantize(settings).run(Candidate(module, module, contract), Context(Path(folder)))
        write_bytes(path, done.files["int8"].read_bytes())
    return done.lineage[-1]


def figures(path: Path, subject: Subject) -> dict[str, Any]:
    """Return how far the file's outputs are from the generator's, and what of it runs in INT8."""
    run = as_it_runs(path)
    agreed = agreement(run, subject.module, subject.judging, batches=(JUDGING,), seed=JUDGING_SEED)
    return {"psnr_db": agreed["psnr_db"], "file_bytes": path.stat().st_size, **kernels(path)}


def latencies(files: Mapping[str, Path], contract: Contract) -> dict[str, dict[str, Any]]:
    """Return file to batch to the figures of its latency, with the ratio to FP32."""
    found: dict[str, dict[str, Any]] = {file: {} for file in files}
    for batch in BATCHES:
        measured = measure_latency(
            files, contract, baseline="fp32", batch=batch, threads=THREADS, seconds=SECONDS
        )
        for file, latency in measured.items():
            found[file][str(batch)] = latency.to_dict()
    return found


def bound() -> dict[str, Any]:
    """Measure what this CPU's INT8 gains where nothing but a large convolution counts."""
    print("the bound", flush=True)
    shape = (256, 32, 32)
    sample = Sample("uniform", -1.0, 1.0)
    contract = Contract((Input("x", shape, sample=sample),), (Output("y", shape, (-1.0, 1.0), ""),))
    layers = nn.Sequential(*(nn.Conv2d(256, 256, 3, padding=1) for _ in range(4))).eval()
    files = {file: FILES / "bound" / f"{file}.onnx" for file in ("fp32", "int8")}
    export(layers, contract, files["fp32"])
    quantize_stock(onnx.load(files["fp32"]), [contract.sample(2, seed=0)], (), files["int8"])
    return {
        "what": "four 3x3 convolutions of 256 channels at 32x32, Conv against QLinearConv",
        "int8_macs_share": kernels(files["int8"])["int8_macs_share"],
        "latency": latencies({file: as_it_runs(path) for file, path in files.items()}, contract),
    }


if __name__ == "__main__":
    main()
