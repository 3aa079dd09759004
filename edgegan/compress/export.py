"""From a module to ONNX files, each checked against the module."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import onnx
import torch
from pydantic import Field
from torch import nn

from edgegan.compress import onnx_graph
from edgegan.compress.agreement import agreement, agreement_at_sizes, rounding
from edgegan.compress.example_inputs import example
from edgegan.compress.free_axes import dynamic_shapes, traceable
from edgegan.compress.half import in_float32
from edgegan.compress.psnr import BROKEN_DB
from edgegan.compress.receptive_field import with_halos
from edgegan.compress.rewrite import (
    batch_norm_to_affine,
    conv_to_pixel_blocks,
    delay_upsample,
    fold_batch_norm,
    fold_constants,
    fold_norm_forward,
    rewrite,
    tabulate_conditional_norm,
    upsample_conv_to_conv_transpose,
    with_fixed_input,
)
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord, check_finite
from edgegan.compress.torchlib import operators_read_once, small_numbers_kept
from edgegan.compress.written import Precision, write, write_running
from edgegan.errors import ModelError, ProofError
from edgegan.module_copy import copy_of
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract

REWRITES = (
    delay_upsample,
    fold_batch_norm,
    tabulate_conditional_norm,
    fold_norm_forward,
    upsample_conv_to_conv_transpose,
    conv_to_pixel_blocks,
)
BATCHES = (1, 8)
LARGEST_FP32_DIFFERENCE = 1e-4
ROUNDINGS = 8
"""So many times as far as float32 takes the student itself from float64 may its file be from the student."""
LEAVE_OUT = "leave this precision out of export's `precisions`, or its target out of quantize's `targets`"


class ExportSettings(Settings):
    """What to export."""

    precisions: tuple[Precision, ...] = Field(default=("fp32", "fp16"), min_length=1)
    """The files to write; that of INT8 comes from the stage `quantize`."""
    uint8_output: bool = False
    """Image outputs are uint8 (N, H, W, C), made in the graph, in all files."""
    opset: int = Field(default=20, ge=18, le=24)
    """The ONNX operator set."""
    fixed: dict[str, tuple[int, ...]] = Field(default={})
    """Labels to write files of their own for: {label: [3]} gives model.fp32.label-3.onnx, which has no input
    `label`, and whose conditional norms are folded. They stay in the stage's folder."""


class Export(Stage):
    """Writes the student as ONNX files, and checks these and the INT8 file against the student."""

    name: ClassVar[str] = "export"
    revision: ClassVar[int] = 4

    def __init__(self, settings: ExportSettings | None = None) -> None:
        self.settings = settings or ExportSettings()

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where the student's weights are not all finite."""
        check_finite(candidate.student, self.name)

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Write `model.fp32.onnx` and `model.fp16.onnx` into the stage's folder.

        BatchNorm is folded and conditional norms are made tables first, which changes no output. With
        `uint8_output`, the INT8 files of an earlier stage are written anew.

        A float16 file that crashes ONNX Runtime, gives NaN or is too far from the student is mended by more
        operators in float32, or left out; the record says which, and why.

        Raises:
            InputError: an input to be fixed is not the contract's, or a value does not fit it.
            ModelError: the student cannot be exported, or ONNX Runtime cannot run the file.
        """
        started = time.monotonic()
        contract, settings = candidate.contract, self.settings
        graph, changes = rewrite(candidate.student, contract, REWRITES)
        model = onnx_graph.plain_prelu(to_onnx(graph, contract, opset=settings.opset))
        artifacts = {artifact.name: artifact for artifact in candidate.artifacts}
        left_out: dict[str, str] = {}
        for precision in settings.precisions:
            path = context.folder / f"model.{precision}.onnx"
            reason = write_running(model, contract, path, precision, settings.uint8_output)
            artifacts[precision] = Artifact.of(path, precision, precision=precision)
            if reason:
                left_out[precision] = self._leave_out(artifacts, precision, reason)
        for artifact in candidate.artifacts if settings.uint8_output else ():
            if artifact.precision == "int8":
                path = context.folder / f"model.{artifact.name}.onnx"
                onnx_graph.save(onnx_graph.with_uint8_outputs(onnx.load(artifact.file), contract), path)
                artifacts[artifact.name] = replace(artifact, file=str(path), uint8_outputs=True)
        proof = self._fixed(candidate, context.folder)
        for done, artifact in enumerate(artifacts.values()):
            context.progress(done + 1, len(artifacts) + 1)
            proof[artifact.name] = {
                "precision": artifact.precision,
                **_agreement(artifact, candidate.student, contract),
                "file_bytes": Path(artifact.file).stat().st_size,
            }
        error = {"rounding": rounding(candidate.student, contract)}
        proof = {key: {**figures, **error} for key, figures in proof.items()}
        if "fp16" in proof and (reason := self._fault("fp16", proof["fp16"])):
            left_out["fp16"] = self._leave_out(artifacts, "fp16", reason)
            del proof["fp16"]
        context.progress(len(artifacts) + 1, len(artifacts) + 1)
        files = {name: Path(artifact.file) for name, artifact in artifacts.items()}
        record = StageRecord(
            stage=self.name,
            settings=settings.model_dump(mode="json"),
            changed={
                "files": {precision: path.name for precision, path in files.items()},
                "opset": {name: artifact.opset for name, artifact in artifacts.items()},
                "rewrites": [asdict(change) for change in changes],
                "kept_in_float32": {
                    key: names for key, path in files.items() if (names := in_float32(onnx.load(path)))
                },
                "left_out": left_out,
                **(
                    {"sizes": with_halos(candidate.student, contract).to_dict()["sizes"]}
                    if contract.sizes
                    else {}
                ),
            },
            proof=proof,
            seconds=round(time.monotonic() - started, 2),
        )
        return candidate.with_record(record, artifacts=tuple(artifacts.values()))

    def _leave_out(self, artifacts: dict[str, Artifact], precision: str, reason: str) -> str:
        """Delete a file that is not to ship, and return why.

        Raises:
            ModelError: it is the student in full precision, or the only file.
        """
        path = Path(artifacts.pop(precision).file)
        path.unlink()
        if precision == "fp32" or not artifacts:
            raise ModelError(
                f"the {precision} file {reason}",
                where=f"export: {path.name}",
                next="export with another `opset`; `edgegan lint` names the layers that are hard to deploy",
            )
        return reason

    def _fixed(self, candidate: Candidate, folder: Path) -> dict[str, Any]:
        """Write the files with an input held at one value; return their proofs, by what stands for "fp32"."""
        proof: dict[str, Any] = {}
        for name, values in self.settings.fixed.items():
            for value in values:
                held, contract = with_fixed_input(candidate.student, candidate.contract, name, value)
                graph, _ = rewrite(held, contract, (fold_constants, *REWRITES, batch_norm_to_affine))
                model = onnx_graph.plain_prelu(to_onnx(graph, contract, opset=self.settings.opset))
                for precision in self.settings.precisions:
                    key = f"{precision}.{name}-{value}"
                    path = folder / f"model.{key}.onnx"
                    if reason := write_running(model, contract, path, precision, self.settings.uint8_output):
                        raise ModelError(f"the file {reason}", where=f"export: {path.name}", next=LEAVE_OUT)
                    proof[key] = {
                        "precision": precision,
                        **agreement(path, held, contract, batches=BATCHES),
                        "file_bytes": path.stat().st_size,
                    }
        return proof

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` where a file is further from the student than its precision allows."""
        for name, figures in after.lineage[-1].proof.items():
            reason = self._fault(figures["precision"], figures)
            if reason:
                raise ProofError(
                    f"the {name} file {reason}",
                    where=f"export: model.{name}.onnx",
                    next=LEAVE_OUT,
                )

    def _fault(self, precision: str, figures: dict[str, Any]) -> str | None:
        if not figures["finite"]:
            return "gives NaN, infinity or another shape"
        difference, psnr = figures["max_difference"], figures["psnr_db"]
        if precision == "fp32":
            largest = 1.001 / 255 if self.settings.uint8_output else LARGEST_FP32_DIFFERENCE
            largest = max(largest, ROUNDINGS * figures.get("rounding", 0.0))
            if difference > largest:
                return f"differs from the student by {difference:.3g} of the range (at most {largest:.3g})"
        elif psnr < (floor := BROKEN_DB[precision]):
            return f"is {psnr} dB from the student (at least {floor})"
        return None


def _agreement(artifact: Artifact, module: nn.Module, contract: Contract) -> dict[str, Any]:
    """Return how far a file is from its module at nominal sizes and others, the worst of each."""
    nominal = agreement(artifact, module, contract, batches=BATCHES)
    others = agreement_at_sizes(artifact, module, contract)
    if not (nominal["finite"] and others.get("finite")):
        return {**nominal, **(others if nominal["finite"] else {})}
    return {
        **nominal,
        **others,
        "max_difference": max(nominal["max_difference"], others["max_difference"]),
        "psnr_db": min(nominal["psnr_db"], others["psnr_db"]),
    }


def export_onnx(
    module: nn.Module,
    contract: Contract,
    path: Path,
    *,
    precision: Precision = "fp32",
    uint8_output: bool = False,
    opset: int = 20,
) -> None:
    """Write `module` as one ONNX file with the contract's names and a free batch axis.

    Args:
        module: called positionally in the order of `contract.inputs`; exported in eval mode, not changed.
        contract: names and shapes of the inputs and outputs.
        path: the file to write; it appears whole or not at all.
        precision: "fp16" computes in float16 between float32 inputs and outputs.
        uint8_output: outputs that a file can encode itself are uint8: images (N, H, W, C), as
            `edgegan.runtime.modality` makes them.
        opset: the ONNX operator set, 18 or later.

    Raises:
        ModelError: the module cannot be exported, or its batch axis is fixed.
        StorageError: the file cannot be written.
    """
    try:
        model = to_onnx(module, contract, opset=opset)
    except ModelError as error:
        try:
            model = to_onnx(rewrite(module, contract, ())[0], contract, opset=opset)
        except Exception:
            raise error from error.__cause__
    write(model, contract, path, precision, uint8_output)


def to_onnx(module: nn.Module, contract: Contract, *, opset: int = 20) -> onnx.ModelProto:
    """Return `module` as an ONNX model in float32; see `export_onnx`."""
    arguments = example(traceable(contract), 2, seed=0)
    try:
        in_order = torch.backends.opt_einsum.flags(enabled=False)
        with quiet(), torch.no_grad(), operators_read_once(), small_numbers_kept(), in_order:
            program = torch.onnx.export(
                copy_of(module).eval(),
                arguments,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=dynamic_shapes(contract),
                external_data=False,
                input_names=[spec.name for spec in contract.inputs],
                output_names=[spec.name for spec in contract.outputs],
                verbose=False,
            )
            assert program is not None
            model = onnx_graph.tidy(program.model_proto)
            onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ModelError(
            f"the module cannot be exported to ONNX: {_reason(error)}",
            where=type(module).__name__,
            next="write its forward without branches on values, and without a fixed batch size in reshapes",
        ) from error
    graph = model.graph
    names = [value.name for value in graph.output]
    if names != [spec.name for spec in contract.outputs]:
        raise ModelError(
            f"the module returns {len(names)} tensors, the contract names {len(contract.outputs)} outputs",
            where=type(module).__name__,
            next="name each returned tensor under contract.outputs, in order",
        )
    fixed = [port.name for port in (*graph.input, *graph.output) if not _dimensions(port)[0].dim_param]
    if fixed:
        raise ModelError(
            f"the batch axis of {', '.join(fixed)} is fixed",
            where=type(module).__name__,
            next="write its reshapes with -1 or x.shape[0] in the place of a fixed batch size",
        )
    return model


def _dimensions(port: onnx.ValueInfoProto) -> Sequence[onnx.TensorShapeProto.Dimension]:
    return port.type.tensor_type.shape.dim


def _reason(error: BaseException) -> str:
    """Return the first telling line of the innermost error of the exporter's chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress lines, log records and warnings about itself away from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.filterwarnings("ignore", module=r"torch\.|copyreg")
            warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
            yield
    finally:
        logger.setLevel(level)
