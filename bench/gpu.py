"""Ways to run a generator on one NVIDIA GPU, as ratios of latency in one run.

    python bench/gpu.py

Times the full CIFAR-10 model and its student in torch eager, torch.compile and CUDA graphs, in FP32 and FP16,
and the engines of TensorRT, of the files of runs/cifar10-full-8x, where one is installed that takes this GPU.
Writes bench/gpu.json and bench/gpu.md.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import full_run
import numpy as np
import torch
from torch import Tensor, nn

from edgegan.compress.load import load_module
from edgegan.errors import EdgeganError
from edgegan.files import write_json, write_text
from edgegan.measure.statistics import bootstrap
from edgegan.runtime.contract import Contract

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 64)
TURNS, CALLS = 30, 30
BASELINE = "full, torch eager, FP32"

Call = Callable[[], object]


def cuda_graph(module: Callable[..., object], inputs: tuple[Tensor, ...]) -> Call:
    """Capture one call of `module`, to replay it."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            module(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        module(*inputs)
    return graph.replay


def torch_forms(name: str, module: nn.Module, contract: Contract, batch: int) -> Iterator[tuple[str, Call]]:
    """Yield torch's ways to run `module`, by name."""
    for precision, dtype in (("FP32", torch.float32), ("FP16", torch.float16)):
        arrays = contract.sample(batch, 0)
        tensors = [torch.from_numpy(arrays[spec.name]).cuda() for spec in contract.inputs]
        inputs = tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors)
        placed = copy.deepcopy(module).cuda().to(dtype)
        compiled = torch.compile(copy.deepcopy(placed), dynamic=False)
        for form, call in (
            ("torch eager", lambda placed=placed, inputs=inputs: placed(*inputs)),
            ("torch.compile", lambda compiled=compiled, inputs=inputs: compiled(*inputs)),
            ("torch eager, CUDA graph", cuda_graph(placed, inputs)),
            ("torch.compile, CUDA graph", cuda_graph(compiled, inputs)),
        ):
            yield f"{name}, {form}, {precision}", call


def tensorrt_forms(
    name: str, files: dict[str, Path], contract: Contract, batch: int
) -> Iterator[tuple[str, Call]]:
    """Yield TensorRT's engines of `files`, by name; copies to and from the GPU are part of each call.

    Raises:
        EdgeganError: TensorRT is not installed, or does not take this GPU.
    """
    from edgegan.runtime.engines.tensorrt.build import build_engine
    from edgegan.runtime.engines.tensorrt.engine import TensorRTEngine

    arrays = contract.sample(batch, 0)
    for precision, path in files.items():
        built = build_engine(path.read_bytes(), batches=(1, batch, max(BATCHES)))
        engine = TensorRTEngine(built.plan, trt=built.trt, cuda_graph=True)
        yield f"{name}, {built.trt.text}, {precision}", lambda engine=engine: engine(arrays)


def timed(forms: dict[str, Call]) -> dict[str, np.ndarray]:
    """Return the mean seconds of a call in each turn; the forms take turns."""
    for call in forms.values():
        for _ in range(CALLS):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(TURNS):
        for name, call in forms.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
                torch.cuda.synchronize()
            seconds[name].append((time.perf_counter() - start) / CALLS)
    return {name: np.array(values) for name, values in seconds.items()}


def main() -> None:
    os.chdir(ROOT)
    if not torch.cuda.is_available():
        raise SystemExit("bench/gpu.py needs an NVIDIA GPU, and torch sees none")
    recipe = full_run.recipe(full_run.EIGHTH)
    contract, full = recipe.contract, load_module(recipe.model, recipe.folder)
    student = full_run.student(full_run.EIGHTH)
    exported = {"FP32": "fp32", "FP16": "fp16", "INT8": "int8-tensorrt"}
    files = {
        shown: full_run.folder(full_run.EIGHTH) / "bundle" / f"model.{key}.onnx"
        for shown, key in exported.items()
    }
    files = {precision: path for precision, path in files.items() if path.is_file()}
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for batch in BATCHES:
        forms: dict[str, Call] = {}
        with torch.no_grad():
            for name, module in (("full", full), ("student", student)):
                forms |= torch_forms(name, module.eval(), contract, batch)
            try:
                forms |= tensorrt_forms("student", files, contract, batch)
            except EdgeganError as error:
                left_out["TensorRT"] = error.what
            seconds = timed(forms)
        for name, values in seconds.items():
            ratio = bootstrap(seconds[BASELINE] / values, np.median).to_dict()
            rows.append({"batch": batch, "form": name, "ms": 1000 * median(values), "speedup": ratio})
    protocol = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "turns": TURNS,
        "calls_a_turn": CALLS,
        "tf32": {"conv": torch.backends.cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32},
        "timed": "wall clock of a call and the wait for its end; torch's inputs lie on the GPU",
        "left_out": left_out,
    }
    write_json(Path("bench/gpu.json"), {"protocol": protocol, "rows": rows})
    write_text(Path("bench/gpu.md"), _markdown(protocol, rows))
    print(Path("bench/gpu.md").read_text())


def _markdown(protocol: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [f"| form | {' | '.join(f'batch {b}, ms | times faster' for b in BATCHES)} |"]
    lines.append("| --- |" + " ---: | ---: |" * len(BATCHES))
    for form in dict.fromkeys(row["form"] for row in rows):
        cells = []
        for row in (row for row in rows if row["form"] == form):
            ratio = row["speedup"]
            cells.append(f"{row['ms']:.3f} | {ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]")
        lines.append(f"| {form} | {' | '.join(cells)} |")
    measured = f"one {protocol['gpu']}, torch {protocol['torch']}"
    tf32 = "on" if protocol["tf32"]["conv"] else "off"
    lines += [
        "",
        f'`python bench/gpu.py` on {measured}, TF32 convolutions {tf32}: times faster than "{BASELINE}",',
        f"the median over {protocol['turns']} turns, with 95% intervals. A time is of one call and the wait",
        "for its end.",
        *(f"\nLeft out: {what}: {why}" for what, why in protocol["left_out"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
