"""Findings of a rehearsal: the model is rewritten and exported as it is, before anything is trained."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from torch import nn

from edgegan.compress import onnx_graph
from edgegan.compress.export import REWRITES, Export, to_onnx
from edgegan.compress.lint.finding import Finding, together
from edgegan.compress.rewrite import rewrite
from edgegan.compress.stage import Stage
from edgegan.errors import EdgeganError, ModelError, StageError
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.tensorrt import module as tensorrt
from edgegan.runtime.engines.tensorrt.build import network_precisions
from edgegan.runtime.engines.trial import fault

TENSORRT_LACKS = re.compile(
    "AffineGrid|Bernoulli|Bit.*|CenterCropPad|Col2Im|Compress|ConcatFromSequence|ConvInteger|DFT|Det|"
    "DynamicQuantizeLinear|ImageDecoder|MatMulInteger|MaxRoiPool|MaxUnpool|MelWeightMatrix|Multinomial|"
    "Optional.*|QLinear.*|Sequence.*|SplitToSequence|String.*|TfIdfVectorizer|Unique"
)
"""Operators that TensorRT has no layer for, by its parser's support matrix (onnx-tensorrt, operators.md)."""


def of_export(module: nn.Module, contract: Contract, stages: Sequence[Stage] | None) -> Iterator[Finding]:
    """Find what cannot be traced, exported or run, and operators that a target's engine lacks."""
    from edgegan.compress.quantize.choose.quantized_layers import choose_layers
    from edgegan.compress.quantize.settings import QuantizeSettings
    from edgegan.compress.quantize.stage import REWRITES as INT8_REWRITES  # which has findings of its own

    every = [stage.settings for stage in stages or ()]
    quantize = next((settings for settings in every if isinstance(settings, QuantizeSettings)), None)
    try:
        if quantize:
            names = [name for name, _ in module.named_modules() if name]
            choose_layers(rewrite(module, contract, INT8_REWRITES)[0], quantize.skip, names)
        graph, _ = rewrite(module, contract, REWRITES)
        model = onnx_graph.plain_prelu(to_onnx(graph, contract, opset=_opset(stages)))
    except EdgeganError as error:
        done = "quantized" if isinstance(error, StageError) else "exported"
        yield Finding("error", error.where or "", f"the model cannot be {done}", error.what, error.next or "")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx_graph.save(model, path)
        reason = fault(path, contract.sample(1, 0))
    if reason is not None:
        yield Finding(
            "error", "", "ONNX Runtime does not run the exported model", f"the FP32 file {reason}",
            "export with another `opset`, or write the layers of the last operators in plain ones",
        )  # fmt: skip
        return
    for target in quantize.read_targets().values() if quantize else ():
        if target.engine == "tensorrt" and (lacks := tensorrt_lacks(model)):
            yield Finding(
                "error", together([name for name, _ in lacks]), f"TensorRT cannot run it on {target.name}",
                "; ".join(why for _, why in lacks[:5]),
                f"take {target.name} out of quantize's `targets`, or write these layers in other operators",
                tuple(name for name, _ in lacks),
            )  # fmt: skip


def tensorrt_lacks(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Return the nodes of `model` that TensorRT has no layer for, and why.

    By the list of its operators, and, where its parser is installed, by that.
    """
    found = [
        (node.name, f"it has no layer for {what}")
        for node, rank in _ranks(model)
        if (what := _lacking(node, rank))
    ]
    trt = tensorrt.find()
    if found or trt is None:
        return found
    try:
        network_precisions(model.SerializeToString(), trt=trt)
    except ModelError as error:
        named = re.search(r"node '([^']*)'", error.what)
        return [(named.group(1) if named else "", error.what)]
    return []


def _lacking(node: onnx.NodeProto, rank: int | None) -> str:
    if node.op_type == "GridSample" and rank not in (None, 4):
        return f"{rank}-D GridSample"
    return node.op_type if TENSORRT_LACKS.fullmatch(node.op_type) else ""


def _ranks(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, int | None]]:
    typed = onnx.shape_inference.infer_shapes(model).graph
    values = (*typed.value_info, *typed.input, *typed.output)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    for node in model.graph.node:
        yield node, ranks.get(node.input[0]) if node.input else None


def _opset(stages: Sequence[Stage] | None) -> int:
    return next((stage.settings.opset for stage in stages or () if isinstance(stage, Export)), 20)
