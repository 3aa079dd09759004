"""The stage that writes an INT8 model for ONNX Runtime's CPU kernels."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.fx import GraphModule

from edgegan.compress.agreement import agreement
from edgegan.compress.quantize.quiet import quiet
from edgegan.compress.rewrite import (
    batch_norm_to_affine,
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
    fold_batch_norm,
    rewrite,
    tabulate_conditional_norm,
)
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.errors import ProofError, StageError
from edgegan.measure.machine import machine

REWRITES = (
    fold_batch_norm,
    tabulate_conditional_norm,
    batch_norm_to_affine,
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
)
PROOF_SAMPLES = 64
PSNR_FLOOR_DB = 15.0
"""Under this an INT8 model is broken, not coarse: published generators reach 22 dB and more."""


class QuantizeSettings(Settings):
    """How to quantize."""

    weight_bits: Literal["auto", 7, 8] = 7
    """7 is right on every x64 CPU. 8 bits are about 1 dB better, but ONNX Runtime's kernels saturate on them
    where the CPU has no VNNI instructions. "auto" looks at this machine's CPU: then deploy to its like."""
    calibrator: Literal["auto", "minmax", "percentile", "mse", "mae"] = "auto"
    """How the range of an activation is found; see `ActivationObserver`. "auto" tries `mse` and `mae`."""
    samples: int = Field(default=256, ge=1)
    """How many of the contract's samples to calibrate with."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave in float. A cheap last layer always is: its output is what one sees."""


class Quantize(Stage):
    """Writes the student as one Q/DQ ONNX file with static INT8 weights and activations.

    The student itself stays in float. The file is for ONNX Runtime on x64 CPUs: weights are int8, per output
    channel and symmetric; activations uint8, per tensor and asymmetric. neural-compressor calibrates, with
    each tensor's channels brought to one range and without; what is nearer to the student is kept.
    """

    name: ClassVar[str] = "quantize"

    def __init__(self, settings: QuantizeSettings | None = None) -> None:
        self.settings = settings or QuantizeSettings()

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where the student's weights are not all finite."""
        for name, tensor in candidate.student.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise StageError(
                    "the weights are not finite, so they cannot be quantized",
                    where=f"quantize: {name}",
                    next="go back to the last checkpoint whose weights are finite",
                )

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Write `model.int8.onnx` into the stage's folder.

        Raises:
            ModelError: the student cannot be traced or exported.
            StageError: it has no layer to quantize, or `skip` names one that it does not have.
        """
        started, settings = time.monotonic(), self.settings
        weight_max = _weight_max(settings)
        graph, changes = rewrite(candidate.student, candidate.contract, REWRITES)
        with quiet():
            from edgegan.compress.quantize import trials
            from edgegan.compress.quantize.kernels import kernels

            plan = trials.plan(graph, settings.skip, weight_max)
            quantized, equalized, tried = trials.best(
                graph,
                candidate.contract,
                plan,
                ("mse", "mae") if settings.calibrator == "auto" else (settings.calibrator,),
                samples=settings.samples,
                seed=context.seed,
                progress=context.progress,
            )
        path = context.folder / "model.int8.onnx"
        _write(quantized, candidate, list(plan.macs), path)
        proof = {
            **agreement(path, candidate.student, candidate.contract, batches=(1, PROOF_SAMPLES)),
            **kernels(path, plan.macs),
            "trials": [trial.to_dict() for trial in tried],
            "file_bytes": path.stat().st_size,
        }
        context.progress(len(tried), len(tried))
        record = StageRecord(
            stage=self.name,
            settings=settings.model_dump(mode="json"),
            changed={
                "file": path.name,
                "weight_max": weight_max,
                "calibrator": tried[0].calibrator,
                "equalized": tried[0].equalized,
                "kept_in_float": plan.skip,
                "rewrites": [asdict(change) for change in (*changes, *equalized)],
            },
            proof=proof,
            seconds=round(time.monotonic() - started, 2),
        )
        return candidate.with_record(record, files={**candidate.files, "int8": path})

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` where no layer runs in INT8, or the outputs are not the student's."""
        proof = after.lineage[-1].proof
        if not proof["finite"] or proof["psnr_db"] < PSNR_FLOOR_DB:
            raise ProofError(
                f"the INT8 outputs are {proof['psnr_db']} dB from the float ones (at least {PSNR_FLOOR_DB})",
                where="quantize: model.int8.onnx",
                next="leave the worst layers in float with the setting `skip`",
            )
        if not proof["int8_layers"]:
            raise ProofError("no layer of the file runs in an INT8 kernel", where="quantize: model.int8.onnx")


def _weight_max(settings: QuantizeSettings) -> int:
    """Return the largest level of a weight: 63 or 127."""
    bits = settings.weight_bits
    if bits == "auto":
        bits = 8 if {"avx512_vnni", "avx_vnni"} & set(machine()["flags"]) else 7
    return 2 ** (bits - 1) - 1


def _write(quantized: GraphModule, candidate: Candidate, layers: list[str], path: Path) -> None:
    from edgegan.compress import onnx_graph
    from edgegan.compress.export import to_onnx
    from edgegan.compress.quantize.deploy import deploy

    model = to_onnx(quantized, candidate.contract)
    onnx_graph.save(deploy(model, layers), path)
