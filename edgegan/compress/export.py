"""From a module to ONNX files, each checked against the module."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import nn

from edgegan.compress import onnx_graph
from edgegan.compress.inputs import example
from edgegan.errors import ModelError
from edgegan.runtime.contract import Contract

Precision = Literal["fp32", "fp16"]


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
        uint8_output: image outputs are uint8 (N, H, W, C), as `edgegan.runtime.contract.to_uint8` makes them.
        opset: the ONNX operator set, 18 or later.

    Raises:
        ModelError: the module cannot be exported, or its batch axis is fixed.
        StorageError: the file cannot be written.
    """
    model = to_onnx(module, contract, opset=opset)
    if precision == "fp16":
        model = onnx_graph.to_half(model)
    if uint8_output:
        model = onnx_graph.with_uint8_outputs(model, contract)
    onnx_graph.save(model, path)


def to_onnx(module: nn.Module, contract: Contract, *, opset: int = 20) -> onnx.ModelProto:
    """Return `module` as an ONNX model in float32; see `export_onnx`."""
    arguments = example(contract, 2, seed=0)
    batch = torch.export.Dim("batch")
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                copy.deepcopy(module).eval(),
                arguments,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=tuple({0: batch} for _ in arguments),
                external_data=False,
                input_names=[spec.name for spec in contract.inputs],
                output_names=[spec.name for spec in contract.outputs],
                verbose=False,
            )
    except Exception as error:
        raise ModelError(
            f"the module cannot be exported to ONNX: {_reason(error)}",
            where=type(module).__name__,
            next="write its forward without branches on values, and without a fixed batch size in reshapes",
        ) from error
    assert program is not None
    model = onnx_graph.tidy(program.model_proto)
    names = [value.name for value in model.graph.output]
    if names != [spec.name for spec in contract.outputs]:
        raise ModelError(
            f"the module returns {len(names)} tensors, the contract names {len(contract.outputs)} outputs",
            where=type(module).__name__,
            next="name each returned tensor under contract.outputs, in order",
        )
    return model


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
            yield
    finally:
        logger.setLevel(level)
