"""The steps that each architecture of the zoo goes through, and what is noted of each."""

from __future__ import annotations

import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from int8_stock import as_it_runs, quantize_stock
from made_with import ROOT
from torch import Tensor, nn
from zoo_models.ports import Architecture

from edgegan.compress.agreement import agreement
from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.example_inputs import example
from edgegan.compress.export import Export
from edgegan.compress.lint import lint
from edgegan.compress.parametrization import remove_parametrizations
from edgegan.compress.plain_layers import make_layers_plain
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.rewrite.graph import outputs
from edgegan.compress.stage import Candidate, Context, Stage
from edgegan.errors import EdgeganError
from edgegan.measure.latency import measure_latency
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.bundle import write_bundle
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.tensorrt.build import build_engine
from edgegan.runtime.generator import Generator
from edgegan.runtime.modality.image import to_uint8

SAMPLES, JUDGING, SEED = 64, 24, 11
"""How many inputs INT8 is calibrated on, and how many others, of another seed, it is judged on."""
SECONDS = 0.5
STAGES: tuple[type[Stage], ...] = (Prune, Distill, Export, Quantize)
GOALS = (0.5, 0.7, 0.9)
"""Fractions of MACs kept: the first that is within reach."""


def go_through(architecture: Architecture, folder: Path) -> dict[str, Any]:
    """Return step to figures, or to why it failed; a step that fails leaves those behind it to the next."""
    torch.manual_seed(0)
    contract = architecture.contract
    module = settle(architecture.build(), contract)
    remove_parametrizations(module)
    make_layers_plain(module.requires_grad_(False), contract)
    stages: dict[str, Stage] = {
        "distill": Distill(DistillSettings(steps=1, batch=2, taps=2)),
        "export": Export(),
        "quantize": Quantize(QuantizeSettings(targets=("x64-cpu", "jetson-orin-nano"), samples=SAMPLES)),
    }
    done: dict[str, Any] = {}
    prune, why = _prune(module, contract)
    if prune is None:
        done["prune"] = {"whole": why}
    else:
        stages = {"prune": prune, **stages}
    done["lint"] = _noted(lambda: _lint(module, contract, list(stages.values())))
    candidate = Candidate(module, module, contract)
    for name, stage in stages.items():
        found, after = _stage(stage, candidate, folder / name)
        done[name], candidate = found, after or candidate
    for name, step in (
        ("tensorrt", _tensorrt),
        ("runtime", _runtime),
        ("accuracy", _accuracy),
        ("stock", _stock),
    ):
        done[name] = _noted(lambda step=step: step(candidate, folder))
    done["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return done


def settle(module: nn.Module, contract: Contract, samples: int = 16) -> nn.Module:
    """Give random weights what training would: layers whose outputs have unit variance, fitted norms.

    Layer by layer as they run (layer-sequential unit variance, Mishkin and Matas 2016, arXiv:1511.06422);
    then BatchNorm takes its running statistics from a few batches.
    """

    def unit(layer: nn.Module, _: Any, output: Tensor) -> Tensor | None:
        spread = float(output.std())
        if layer in seen or "weight" not in layer._parameters or not spread > 0:
            return None
        seen.add(layer)
        for parameter in layer.parameters():
            parameter.data /= spread
        return output / spread

    seen: set[nn.Module] = set()
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    hooks = [layer.register_forward_hook(unit) for layer in module.modules() if isinstance(layer, kinds)]
    module.train()
    outputs(module, example(contract, samples, SEED + 1))
    for hook in hooks:
        hook.remove()
    for batch in range(10):
        outputs(module, example(contract, samples, SEED + 2 + batch))
    return module.eval().requires_grad_(False)


def _prune(module: nn.Module, contract: Contract) -> tuple[Prune | None, str]:
    """Return the stage with the first goal within reach; None, and why, where there is none."""
    why = ""
    for macs in GOALS:
        stage = Prune(PruneSettings(macs=macs, align=8))
        try:
            stage.check(module, contract)
        except EdgeganError as error:
            why = error.what
            continue
        return stage, ""
    return None, why


def _stage(stage: Stage, before: Candidate, folder: Path) -> tuple[dict[str, Any], Candidate | None]:
    folder.mkdir(parents=True, exist_ok=True)
    after: list[Candidate] = []

    def work() -> dict[str, Any]:
        stage.requires(before)
        result = stage.run(before, Context(folder))
        stage.ensures(before, result)
        after.append(result)
        record = result.lineage[-1]
        return {"changed": record.changed, "proof": record.proof}

    found = _noted(work)
    return found, after[0] if after else None


def _noted(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `work` found, and the seconds that it took; or why it failed, in one sentence.

    The traceback of an error that is not edgegan's own goes to the log.
    """
    started = time.monotonic()
    try:
        found = work()
    except EdgeganError as error:
        where = str(error.where or "").replace(f"{ROOT}/", "")
        found = {"failed": error.what, "where": where, "next": error.next}
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        traceback.print_exc()
        found = {"failed": f"{type(error).__name__}: {text[0]}"}
    return {**found, "seconds": round(time.monotonic() - started, 1)}


def _lint(module: nn.Module, contract: Contract, stages: list[Stage]) -> dict[str, Any]:
    findings = lint(module, contract, stages=stages)
    errors = [f"{finding.what}: {finding.why}" for finding in findings if finding.level == "error"]
    told = [f"{one.level}: {one.what}, {one.layer}: {one.why}" for one in findings if one.level != "error"]
    return {"findings": told, **({"failed": "; ".join(errors)} if errors else {})}


def _tensorrt(candidate: Candidate, folder: Path) -> dict[str, Any]:
    built = {}
    for name in ("fp16", "int8-tensorrt"):
        if name in candidate.files:
            built[name] = len(build_engine(candidate.files[name].read_bytes()).plan)
    return {"bytes": built}


def _runtime(candidate: Candidate, folder: Path) -> dict[str, Any]:
    """Compare what an app gets of the bundle with the module, in steps of 1/255 of the range."""
    contract = candidate.contract
    write_bundle(
        folder / "bundle",
        name="zoo",
        contract=contract,
        models=candidate.artifacts,
        default="fp32",
    )
    steps = 0.0
    with Generator.load(folder / "bundle", precision="fp32", engine="onnxruntime") as generator:
        for n in (1, 5):
            given = generator.outputs(n, SEED)
            for spec, result in zip(contract.outputs, outputs(candidate.student, example(contract, n, SEED))):
                expected = result.numpy()
                if given[spec.name].dtype == np.uint8:
                    gap = np.abs(given[spec.name] - to_uint8(expected, spec.range).astype(np.float64))
                else:
                    gap = np.abs(given[spec.name] - expected) / (spec.range[1] - spec.range[0]) * 255
                steps = max(steps, float(gap.max()))
    return {"steps": steps, **({"failed": f"it is off by {steps:.3g} steps of 255"} if steps > 1 else {})}


def _judged(file: Artifact | Path, candidate: Candidate) -> float:
    found = agreement(file, candidate.student, candidate.contract, batches=(JUDGING,), seed=SEED)
    return found["psnr_db"]


def _accuracy(candidate: Candidate, folder: Path) -> dict[str, Any]:
    return {artifact.name: _judged(artifact, candidate) for artifact in candidate.artifacts}


def _stock(candidate: Candidate, folder: Path) -> dict[str, Any]:
    path = folder / "stock.onnx"
    batches = [candidate.contract.sample(8, seed) for seed in range(SAMPLES // 8)]
    quantize_stock(onnx.load(candidate.files["fp32"]), batches, (), path)
    return {"psnr_db": _judged(as_it_runs(path), candidate)}


def speed(contract: Contract, folder: Path) -> dict[str, Any]:
    """Return what the files in an architecture's folder take, by name."""
    paths = {
        "fp32": folder / "export" / "model.fp32.onnx",
        "int8": folder / "quantize" / "model.int8.onnx",
        "stock": as_it_runs(folder / "stock.onnx"),
    }
    files = {name: path for name, path in paths.items() if path.is_file()}
    measured = measure_latency(files, contract, baseline="fp32", seconds=SECONDS) if "fp32" in files else {}
    return {name: latency.to_dict() for name, latency in measured.items()}
