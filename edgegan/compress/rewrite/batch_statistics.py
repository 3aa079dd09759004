"""BatchNorm without running statistics, which takes mean and variance from the batch at hand."""

from __future__ import annotations

from torch import Tensor
from torch.fx import GraphModule

from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.graph import argument, aten, constant, layer_of, replace, shape
from edgegan.runtime.contract import Contract


def spell_batch_statistics(graph: GraphModule, contract: Contract) -> list[Change]:
    """Write each BatchNorm that measures the batch at hand in plain arithmetic, which any tool can follow."""
    changes = []
    for node in list(graph.graph.nodes):
        if node.target != aten.batch_norm.default or not argument(node, 5, "training"):
            continue
        source, weight, bias = node.args[:3]
        axes = [axis for axis in range(len(shape(node))) if axis != 1]
        per_channel = [1, -1, *(1 for _ in axes[1:])]
        with graph.graph.inserting_before(node):
            call = graph.graph.call_function
            centred = call(aten.sub.Tensor, (source, call(aten.mean.dim, (source, axes, True))))
            squares = call(aten.mul.Tensor, (centred, centred))
            variance = call(aten.mean.dim, (squares, axes, True))
            steadied = call(aten.add.Tensor, (variance, argument(node, 7, "eps")))
            result = call(aten.mul.Tensor, (centred, call(aten.rsqrt.default, (steadied,))))
            for operand, operator in ((weight, aten.mul.Tensor), (bias, aten.add.Tensor)):
                if operand is not None:
                    result = call(operator, (result, call(aten.view.default, (operand, per_channel))))
        replace(node, result)
        value = constant(graph, weight)
        width = len(value) if isinstance(value, Tensor) else shape(source)[1]
        changes.append(Change("spell_batch_statistics", layer_of(weight) or node.name, f"{width} channels"))
    return changes
