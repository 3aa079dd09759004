"""Better than calibration alone, without labels: weights rounded and biases corrected layer by layer.

One pass over the calibration samples visits the layers of a prepared graph in their order, so that each is
made for the quantized inputs that the layers before it, already changed, give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from edgegan.compress.quantize.annotate import COMPUTE
from edgegan.compress.quantize.calibration import Batches
from edgegan.compress.quantize.gradients import some, squared_gradients
from edgegan.compress.quantize.levels import Levels
from edgegan.compress.quantize.rounding import Rounding, round_weights
from edgegan.compress.rewrite.graph import add_constant, argument, aten, layer_of
from edgegan.compress.rewrite.kernels import per_axis

SEED = 0x90
SAMPLES, POSITIONS = 32, 8192
"""Of a convolution's outputs, so many at least, and four an input, are looked at to round its weights, on so
many samples at most."""

MOST_INPUTS = 2304
"""Of a layer that is rounded so: 256 channels under 3x3. The work grows with their cube; larger layers,
mostly those of 9x9 that begin and end a network, keep the nearest levels."""


@dataclass(frozen=True)
class Mean:
    """What a layer gives on average where it matters."""

    weights: Tensor
    """How much an error of each output position matters, (N, positions)."""
    values: Tensor
    """The weighted mean of each channel, (C,)."""


def float_means(graph: GraphModule, batches: Batches) -> dict[str, Mean]:
    """Return the mean outputs of the layers of a float graph, by node name.

    Positions count by the squared gradients of the graph's outputs there: plain means follow rare large
    values that a tanh or clamp at the end hides.
    """
    layers = {node.name: node for node in graph.graph.nodes if node.target in COMPUTE}
    weights: dict[str, list[Tensor]] = {name: [] for name in layers}
    sums: dict[str, Tensor] = {}
    for name, values, squares in squared_gradients(graph, some(graph, batches), layers):
        mattering = _flat(squares, layers[name]).mean(dim=1)
        weights[name].append(mattering)
        sums[name] = sums.get(name, torch.zeros(())) + _weighted_sum(_flat(values, layers[name]), mattering)
    joined = {name: torch.cat(parts) for name, parts in weights.items()}
    return {name: Mean(joined[name], sums[name] / _total(joined[name])) for name in layers}


def reconstructions(
    graph: GraphModule, batches: Batches, *, rounding: bool, bias: bool
) -> dict[tuple[str, ...], Reconstruction]:
    """Return the ways to change a float graph's quantized copies, by the settings behind them."""
    means = float_means(graph, batches) if bias else {}
    ways = {}
    if bias:
        ways["bias_correction",] = Reconstruction(means=means)
    if rounding:
        ways["adaptive_rounding",] = Reconstruction(round_weights)
    if bias and rounding:
        ways["adaptive_rounding", "bias_correction"] = Reconstruction(round_weights, means)
    return ways


@dataclass(frozen=True)
class Reconstruction:
    """Changes the weights and biases of a prepared graph, whose levels are set."""

    rounding: Rounding | None = None
    """Chooses the weights' levels by the layer's outputs, not by the weights alone: see `round_weights`."""
    means: Mapping[str, Mean] = field(default_factory=dict)
    """The layers whose biases take up the mean difference to the float outputs: see `float_means`."""

    def __call__(self, prepared: GraphModule, graph: GraphModule, batches: Batches) -> None:
        """Change `prepared`; `graph` is the same in float."""
        inputs = [torch.cat(tensors) for tensors in zip(*some(graph, batches))]
        layers = _Layers(prepared, self)
        with torch.no_grad():
            layers.run(*inputs)
        for node, bias in layers.biases.items():
            with prepared.graph.inserting_before(node):
                name = layer_of(argument(node, 1, "weight").args[0])
                node.args = (*node.args[:2], add_constant(prepared, f"{name}.bias", bias), *node.args[3:])
        prepared.recompile()


class _Layers(Interpreter):
    def __init__(self, prepared: GraphModule, todo: Reconstruction) -> None:
        super().__init__(prepared)
        self.prepared, self.todo = prepared, todo
        self.biases: dict[Node, Tensor] = {}
        self.generator = torch.Generator().manual_seed(SEED)
        tensors = [node.target for node in prepared.graph.nodes if node.op == "get_attr"]
        self.shared = {target for target in tensors if tensors.count(target) > 1}

    def run_node(self, n: Node) -> Any:
        levels = self._levels(n)
        if levels is None:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        source = argument(n, 1, "weight").args[0]
        weight = self.prepared.get_parameter(str(source.target))
        alone = source.target not in self.shared and len(source.users) == 1
        if self.todo.rounding and alone and weight[0].numel() <= MOST_INPUTS:
            weight.copy_(_rounded(self.todo.rounding, n, args[0], weight, levels, self.generator))
            args = (args[0], levels(weight), *args[2:])
        output = n.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        if n.name not in self.todo.means:
            return output
        mean = self.todo.means[n.name]
        given = _weighted_sum(_flat(output, n), mean.weights) / _total(mean.weights)
        shift = (mean.values - given).float()
        bias = args[2] if len(args) > 2 and args[2] is not None else torch.zeros_like(shift)
        self.biases[n] = bias + shift
        return n.target(*args[:2], self.biases[n], *args[3:], **kwargs)  # pyright: ignore[reportCallIssue]

    def _levels(self, node: Node) -> Levels | None:
        """Return the levels of a layer's weights, where they are to be rounded."""
        weight = argument(node, 1, "weight") if node.target in COMPUTE else None
        if weight is None or weight.op != "call_module":
            return None
        module = self.prepared.get_submodule(str(weight.target))
        return module if isinstance(module, Levels) else None


def _flat(values: Tensor, layer: Node) -> Tensor:
    """Return a layer's outputs as (N, C, positions)."""
    if layer.target == aten.linear.default:
        return values.flatten(1, -2).transpose(1, 2) if values.dim() > 2 else values[..., None]
    return values.flatten(2)


def _weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    return (values.double() * weights[:, None].double()).sum(dim=(0, 2))


def _total(weights: Tensor) -> Tensor:
    return weights.double().sum().clamp(min=1e-30)


def _rounded(
    rounding: Rounding, node: Node, x: Tensor, weight: Tensor, levels: Levels, generator: torch.Generator
) -> Tensor:
    """Return the weights of a layer at levels of the least output error for its inputs `x`."""
    groups = 1 if node.target == aten.linear.default else argument(node, 6, "groups", 1)
    rows, scales = weight.flatten(1).chunk(groups), levels.scale.double().chunk(groups)
    columns = _columns(node, x, weight, generator).chunk(groups)
    rounded = [
        rounding(row, (column @ column.T).double() / column.shape[1], scale, levels.quant_max)
        * scale[:, None]
        for row, column, scale in zip(rows, columns, scales, strict=True)
    ]
    return torch.cat(rounded).view_as(weight).to(weight.dtype)


def _columns(node: Node, x: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return what the layer multiplies its weights with, (inputs of all groups, some of the positions)."""
    if node.target == aten.linear.default:
        return x.flatten(0, -2).T
    count = max(POSITIONS, 4 * weight[0].numel())
    samples = x[:SAMPLES].split(1)
    parts = []
    for sample in samples:
        unfolded = _unfold(node, sample, weight)
        share = min(unfolded.shape[1], -(-count // len(samples)))
        parts.append(unfolded[:, torch.randperm(unfolded.shape[1], generator=generator)[:share]])
    return torch.cat(parts, dim=1)


def _unfold(node: Node, x: Tensor, weight: Tensor) -> Tensor:
    """Return a sample's patches (channels times kernel size, positions)."""
    size = tuple(weight.shape[2:])
    stride, dilation = (per_axis(argument(node, i, "", 1), len(size)) for i in (3, 5))
    padding = argument(node, 4, "padding", 0)
    if isinstance(padding, str):
        total = [step * (length - 1) * (padding == "same") for step, length in zip(dilation, size)]
        ends = [(both // 2, both - both // 2) for both in total]
    else:
        ends = [(end, end) for end in per_axis(padding, len(size))]
    x = F.pad(x, [end for pair in reversed(ends) for end in pair])
    if len(size) == 1:
        x, size, stride, dilation = x[:, :, None], (1, *size), (1, *stride), (1, *dilation)
    return F.unfold(x, size, dilation=dilation, stride=stride)[0]
