"""Better than calibration alone, without labels: weights rounded and biases corrected layer by layer.

One pass over the calibration samples visits the layers of a prepared graph in their order, so that each is
made for the quantized inputs that the layers before it, already changed, give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from edgegan.compress.operators import INT8_LAYERS
from edgegan.compress.quantize.calibrate.calibration import Batches
from edgegan.compress.quantize.calibrate.output_sensitivity import PROBES, parts, squared_gradients
from edgegan.compress.quantize.improve.gptq import Rounding, round_weights
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.rewrite.conv_kernels import per_axis
from edgegan.compress.rewrite.graph import add_constant, argument, aten, constant, layer_of, shape

SEED = 0x90
SAMPLES, POSITIONS = 32, 8192
"""Of a convolution's outputs, so many at least, and four an input, are looked at to round its weights, on so
many samples at most."""

MOST_ROWS = 1 << 16
"""Of a linear layer's inputs."""
MOST_INPUTS = 2304
"""Of a layer that is rounded so: 256 channels under 3x3. The work grows with their cube; larger layers,
mostly those of 9x9 that begin and end a network, keep the nearest levels."""


@dataclass(frozen=True)
class Mean:
    """What a layer gives on average where it matters."""

    weights: Sequence[Tensor]
    """How much an error of each output position matters, (positions,) of each part of the samples."""
    values: Tensor
    """The weighted mean of each channel, (C,)."""


def float_means(graph: GraphModule, batches: Batches) -> dict[str, Mean]:
    """Return the mean outputs of the layers of a float graph, by node name.

    Positions count by the squared gradients of the graph's outputs there: plain means follow rare large
    values that a tanh or clamp at the end hides.
    """
    layers = {node.name: node for node in layer_names(graph)}
    weights: dict[str, list[Tensor]] = {name: [] for name in layers}
    sums: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()

    def see(name: str, values: Tensor, squares: Tensor) -> None:
        mattering = _flat(squares, layers[name]).mean(dim=0)
        sums[name] = sums.get(name, torch.zeros(())) + _weighted_sum(_flat(values, layers[name]), mattering)
        if calls[name] % PROBES:
            weights[name][-1] += mattering
        else:
            weights[name].append(mattering)
        calls[name] += 1

    squared_gradients(graph, parts(graph, batches), layers, see)
    return {name: Mean(weights[name], sums[name] / _total(weights[name])) for name in sums}


def reconstructions(
    graph: GraphModule, batches: Batches, *, rounding: bool, bias: bool
) -> dict[tuple[str, ...], Reconstruction]:
    """Return the ways to change a float graph's quantized copies, by the settings behind them."""
    means = float_means(graph, batches) if bias else {}
    ways = {}
    if bias:
        ways["bias_correction",] = Reconstruction(means=means)
    if rounding:
        ways["gptq",] = Reconstruction(round_weights)
    if bias and rounding:
        ways["gptq", "bias_correction"] = Reconstruction(round_weights, means)
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
        layers = _Layers(prepared, self)
        with torch.no_grad():
            layers.run(parts(graph, batches))
        for node, bias in layers.biases.items():
            with prepared.graph.inserting_before(node):
                name = layer_of(argument(node, 1, "weight").args[0])
                node.args = (*node.args[:2], add_constant(prepared, f"{name}.bias", bias), *node.args[3:])
        prepared.recompile()


class _Layers:
    """Runs all parts of the samples through a prepared graph side by side, and changes its layers on the way.

    A layer is changed before it runs, for what the layers before it, already changed, give.
    """

    def __init__(self, prepared: GraphModule, todo: Reconstruction) -> None:
        self.prepared, self.todo = prepared, todo
        self.biases: dict[Node, Tensor] = {}
        self.generator = torch.Generator().manual_seed(SEED)
        tensors = [node.target for node in prepared.graph.nodes if node.op == "get_attr"]
        self.shared = {target for target in tensors if tensors.count(target) > 1}

    def run(self, inputs: Sequence[tuple[Tensor, ...]]) -> None:
        runs = [Interpreter(self.prepared) for _ in inputs]
        for run, part in zip(runs, inputs, strict=True):
            run.args_iter = iter(part)
        for node in self.prepared.graph.nodes:
            levels = self._levels(node)
            results = (
                (run.run_node(node) for run in runs) if levels is None else self._changed(node, levels, runs)
            )
            for run, result in zip(runs, results, strict=True):
                run.env[node] = result
                for used in run.user_to_last_uses.get(node, []):
                    del run.env[used]

    def _changed(self, n: Node, levels: Levels, runs: Sequence[Interpreter]) -> list[Tensor]:
        """Change a layer; return what it gives then."""
        fetched = [run.fetch_args_kwargs_from_env(n)[0] for run in runs]
        kwargs = runs[0].fetch_args_kwargs_from_env(n)[1]
        operands = list(fetched[0][1:])
        source = argument(n, 1, "weight").args[0]
        weight = constant(self.prepared, source)
        assert weight is not None
        alone = source.target not in self.shared and len(source.users) == 1
        if self.todo.rounding and alone and weight[0].numel() <= MOST_INPUTS:
            given = [args[0] for args in fetched]
            weight.copy_(_rounded(self.todo.rounding, n, given, weight, levels, self.generator))
            operands[0] = levels(weight)
        outputs = [n.target(args[0], *operands, **kwargs) for args in fetched]  # pyright: ignore
        if n.name not in self.todo.means:
            return outputs
        mean = self.todo.means[n.name]
        sums = [_weighted_sum(_flat(out, n), of) for out, of in zip(outputs, mean.weights, strict=True)]
        shift = (mean.values - torch.stack(sums).sum(dim=0) / _total(mean.weights)).float()
        bias = operands[1] if len(operands) > 1 and operands[1] is not None else torch.zeros_like(shift)
        self.biases[n] = bias + shift
        return [output + shift.view(_per_channel(n)) for output in outputs]

    def _levels(self, node: Node) -> Levels | None:
        """Return the levels of a layer's weights, where they are to be rounded."""
        weight = argument(node, 1, "weight") if node.target in INT8_LAYERS.torch else None
        if weight is None or weight.op != "call_module":
            return None
        module = self.prepared.get_submodule(str(weight.target))
        kept = weight.args[0].op == "get_attr"
        return module if kept and isinstance(module, Levels) else None


def _flat(values: Tensor, layer: Node) -> Tensor:
    """Return a layer's outputs as (C, positions), those of all samples."""
    if layer.target == aten.linear.default:
        return values.reshape(-1, values.shape[-1]).T
    return values.transpose(0, 1).flatten(1)


def _per_channel(layer: Node) -> list[int]:
    """Return the shape of a number for each output channel of a layer."""
    return [-1] if layer.target == aten.linear.default else [-1, *(1 for _ in shape(layer)[2:])]


def _weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    return values.double() @ weights.double()


def _total(weights: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.double().sum() for part in weights]).sum().clamp(min=1e-30)


def _rounded(
    rounding: Rounding,
    node: Node,
    given: Sequence[Tensor],
    weight: Tensor,
    levels: Levels,
    generator: torch.Generator,
) -> Tensor:
    """Return the weights of a layer at levels of the least output error for its inputs, part by part."""
    groups = 1 if node.target == aten.linear.default else argument(node, 6, "groups", 1)
    rows, scales = weight.flatten(1).chunk(groups), levels.scale.double().chunk(groups)
    columns = _columns(node, given, weight, generator).chunk(groups)
    rounded = [
        rounding(row, (column @ column.T).double() / column.shape[1], scale, levels.quant_max)
        * scale[:, None]
        for row, column, scale in zip(rows, columns, scales, strict=True)
    ]
    return torch.cat(rounded).view_as(weight).to(weight.dtype)


def _columns(node: Node, given: Sequence[Tensor], weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return what the layer multiplies its weights with, (inputs of all groups, some of the positions)."""
    count = max(POSITIONS, 4 * weight[0].numel())
    if node.target == aten.linear.default:
        rows = torch.cat([x.reshape(-1, x.shape[-1]) for x in given])
        return rows[_some(len(rows), max(count, MOST_ROWS), generator)].T
    samples = [sample for x in given for sample in x.split(1)][:SAMPLES]
    share = -(-count // len(samples))
    return torch.cat([_patches(node, sample, weight, share, generator) for sample in samples], dim=1)


def _some(length: int, count: int, generator: torch.Generator) -> Tensor:
    """Return which `count` of `length` things to look at: all of them in order, where there are no more."""
    if length <= count:
        return torch.arange(length)
    return torch.randperm(length, generator=generator)[:count]


def _patches(node: Node, x: Tensor, weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return some of a sample's patches (channels times kernel size, positions)."""
    size = tuple(weight.shape[2:])
    stride, dilation = (per_axis(argument(node, i, "", 1), len(size)) for i in (3, 5))
    padding = argument(node, 4, "padding", 0)
    if isinstance(padding, str):
        total = [step * (length - 1) * (padding == "same") for step, length in zip(dilation, size)]
        ends = [(both // 2, both - both // 2) for both in total]
    else:
        ends = [(end, end) for end in per_axis(padding, len(size))]
    x = F.pad(x, [end for pair in reversed(ends) for end in pair])[0]
    reach = [(length - 1) * step + 1 for length, step in zip(size, dilation)]
    places = [(whole - of) // step + 1 for whole, of, step in zip(x.shape[1:], reach, stride)]
    chosen = _some(prod(places), count, generator)
    corners = [at * step for at, step in zip(torch.unravel_index(chosen, places), stride)]
    taps = [
        x[(slice(None), *(corner + tap * step for corner, tap, step in zip(corners, taps, dilation)))]
        for taps in product(*map(range, size))
    ]
    return torch.stack(taps, dim=1).flatten(0, 1)
