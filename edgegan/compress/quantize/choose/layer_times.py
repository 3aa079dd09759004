"""What each layer takes in INT8 and in float: by the engine's own profile of files, or estimated."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgegan.compress.operators import INT8_LAYERS, LAYERS
from edgegan.compress.quantize.deploy.int8_coverage import plain_name
from edgegan.compress.quantize.deploy.onnx_macs import CALL, is_layer
from edgegan.runtime.contract import Arrays
from edgegan.runtime.engines.layer_times import WARMUP
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.target import Target

MACHINES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
COMPUTES = (*LAYERS.onnx, *INT8_LAYERS.onnx, "FusedConv", "FusedGemm", "FusedMatMul")
TURNS = 3
"""In which files are profiled by turns: what other work delayed in one of them counts as in the others."""
SECONDS, RUNS = 0.4, 15
"""A file is run so long at most, and so often, for its profile, in each turn."""
CONVERSION_MS = 4e-7
"""Of one value from levels to float or back, where no profile tells."""
MACS_PER_MS, INT8_FASTER = 3e7, 2.5
"""Of one core, where no profile tells; what counts is how layers compare."""


@dataclass(frozen=True)
class LayerTimes:
    """Milliseconds of one sample, by layer."""

    int8: Mapping[str, float]
    float: Mapping[str, float]
    conversion: Mapping[str, float]
    """What it takes to convert what the layer reads and gives, where it alone is in float."""
    measured: bool

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the times as plain data."""
        return [
            {"layer": name, "int8_ms": round(self.int8[name], 4), "float_ms": round(self.float[name], 4)}
            for name in self.float
        ]

    def lost(self, layer: str) -> float:
        """Return what the layer costs in float beyond what it takes in INT8; a little at least."""
        extra = self.float[layer] + self.conversion[layer] - self.int8[layer]
        return max(extra, 1e-3 * max(self.float.values()))


def runs_here(target: Target) -> bool:
    """Whether this machine is of the target's kind, so that its files can be profiled."""
    return target.engine == "onnxruntime" and target.arch == MACHINES.get(platform.machine())


def estimated(macs: Mapping[str, int], values: Mapping[str, int]) -> LayerTimes:
    """Return what layers take by their multiply-accumulates of a sample, and the values read and given."""
    taken = {layer: count / MACS_PER_MS for layer, count in macs.items()}
    int8 = {name: ms / INT8_FASTER for name, ms in taken.items()}
    return LayerTimes(int8, taken, _conversion(values), measured=False)


def layer_times(
    macs: Mapping[str, int], values: Mapping[str, int], files: tuple[Path, Path], one: Arrays
) -> LayerTimes:
    """Return what the layers of a graph take on this machine; estimated where they cannot be told apart.

    Args:
        macs: layer to multiply-accumulates of a sample.
        values: layer to the values that it reads and gives.
        files: of the same graph in INT8 and in float, with nodes named after layers.
        one: the inputs of one sample.
    """
    turns = [[profile(path, one) for path in files] for _ in range(TURNS)]
    found = [{name: min(turn[name] for turn in of) for name in of[0]} for of in zip(*turns)]
    if all(macs.keys() <= times.keys() for times in found):
        return LayerTimes(found[0], found[1], _conversion(values), measured=True)
    return estimated(macs, values)


def _conversion(values: Mapping[str, int]) -> dict[str, float]:
    return {layer: CONVERSION_MS * count for layer, count in values.items()}


def profile(path: Path, one: Arrays) -> dict[str, float]:
    """Return layer to milliseconds on one thread of this CPU, those of its calls together.

    ONNX Runtime renames what it fuses; a layer that cannot be told by its node's or its tensors' names is
    left out.
    """
    owners = _owners(onnx.load(path))
    with OnnxRuntimeEngine(path, threads=1, profiled=True) as engine:
        started = time.monotonic()
        for run in range(RUNS):
            engine(one)
            if run > WARMUP and time.monotonic() - started > SECONDS:
                break
        found = engine.layer_times()
    times: dict[str, float] = defaultdict(float)
    for layer in found:
        owner = owners.get(plain_name(layer.name).removesuffix("_nchwc").removeprefix("fused "))
        if owner is not None and layer.operator in COMPUTES:
            times[owner.partition(CALL)[0]] += layer.ms
    return dict(times)


def _owners(model: onnx.ModelProto) -> dict[str, str]:
    """Return the names of layers' nodes, and of the tensors that they give, fused or not, to the layer."""
    owners: dict[str, str] = {}
    for node in model.graph.node:
        layer = node.name if is_layer(node) else owners.get(node.input[0]) if node.input else None
        if layer is not None:
            owners[node.name] = layer
            owners.update(dict.fromkeys(node.output, layer))
    return owners
