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
from edgegan.compress.inputs import example
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
BATCH = 32
CALIBRATION_SEED = 0x5EED
PROOF_SAMPLES = 64
CHEAP_SHARE = 0.1
"""A last convolution with at most this share of the MACs stays in float."""
PSNR_FLOOR_DB = 15.0
"""Under this an INT8 model is broken, not coarse: published generators reach 22 dB and more."""


class QuantizeSettings(Settings):
    """How to quantize."""

    weight_bits: Literal["auto", 7, 8] = 7
    """7 is right on every x64 CPU. 8 bits are about 1 dB better, but ONNX Runtime's kernels saturate on them
    where the CPU has no VNNI instructions. "auto" looks at this machine's CPU: then deploy to its like."""
    calibrator: Literal["minmax", "percentile", "mse"] = "mse"
    """How the range of an activation is found; see `ActivationObserver`."""
    samples: int = Field(default=256, ge=1)
    """How many of the contract's samples to calibrate with."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave in float. A cheap last layer always is: its output is what one sees."""


class Quantize(Stage):
    """Writes the student as one Q/DQ ONNX file with static INT8 weights and activations.

    The student itself stays in float. The file is for ONNX Runtime on x64 CPUs: weights are int8, per output
    channel and symmetric; activations uint8, per tensor and asymmetric. neural-compressor calibrates.
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
        started = time.monotonic()
        graph, changes = rewrite(candidate.student, candidate.contract, REWRITES)
        context.progress(1, 4)
        with quiet():
            quantized, macs, skipped = self._quantized(graph, candidate, context.seed)
        context.progress(2, 4)
        path = context.folder / "model.int8.onnx"
        _write(quantized, candidate, list(macs), path)
        context.progress(3, 4)
        from edgegan.compress.quantize.kernels import kernels

        proof = {
            **agreement(path, candidate.student, candidate.contract, batches=(1, PROOF_SAMPLES)),
            **kernels(path, macs),
            "file_bytes": path.stat().st_size,
        }
        context.progress(4, 4)
        record = StageRecord(
            stage=self.name,
            settings=self.settings.model_dump(mode="json"),
            changed={
                "file": path.name,
                "weight_levels": _weight_max(self.settings),
                "kept_in_float": skipped,
                "rewrites": [asdict(change) for change in changes],
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

    def _quantized(
        self, graph: GraphModule, candidate: Candidate, seed: int
    ) -> tuple[GraphModule, dict[str, int], list[str]]:
        """Return the quantized graph, the MACs of its layers, and the names of those left in float."""
        from edgegan.compress.quantize.annotate import last_layers, layer_macs
        from edgegan.compress.quantize.neural_compressor import quantize

        macs = layer_macs(graph)
        unknown = sorted(set(self.settings.skip) - set(macs))
        if unknown:
            raise StageError(
                f"there is no layer {', '.join(unknown)} to skip",
                where="quantize: skip",
                next=f"choose from: {', '.join(macs)}",
            )
        last = last_layers(graph)
        cheap = {layer for layer in last if macs[layer] <= CHEAP_SHARE * sum(macs.values())}
        skip = sorted({*self.settings.skip, *(layer for layer in cheap if not last[layer])})
        if not set(macs) - set(skip):
            raise StageError(
                "no layer is left to quantize",
                where=f"quantize: layers {', '.join(macs) or 'none'}",
                next="leave the stage `quantize` out of the recipe, or shorten `skip`",
            )
        samples = example(candidate.contract, self.settings.samples, CALIBRATION_SEED + seed)
        batches = list(zip(*(tensor.split(BATCH) for tensor in samples)))
        quantized = quantize(
            graph,
            batches,
            weight_max=_weight_max(self.settings),
            calibrator=self.settings.calibrator,
            skip=skip,
            float_outputs=[layer for layer, linear in last.items() if linear and layer not in skip],
        )
        return quantized, macs, skip


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
