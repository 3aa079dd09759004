"""Layers of a network's own that are plain ones but for weights computed at every run, made plain.

Such are layers of an equalized learning rate (Karras et al. 2018, arXiv:1710.10196), weights standardized or
normalized by a network's own code, and the like. As layers of torch's own they are pruned as any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgegan.compress.example_inputs import example
from edgegan.compress.precise import precise_outputs
from edgegan.compress.rewrite.graph import argument, aten, constant, evaluate, trace
from edgegan.compress.rewrite.nodes import fixed
from edgegan.errors import ModelError
from edgegan.runtime.contract import Contract

SAMPLES = 2
TOLERANCE = 1e-5
"""Of the largest output: weights computed once, in float32, differ from the others by rounding."""
CONVOLUTIONS: dict[Any, type[nn.Module]] = {
    aten.conv1d.default: nn.Conv1d,
    aten.conv2d.default: nn.Conv2d,
    aten.conv3d.default: nn.Conv3d,
    aten.conv1d.padding: nn.Conv1d,
    aten.conv2d.padding: nn.Conv2d,
    aten.conv3d.padding: nn.Conv3d,
}
TRANSPOSED: dict[Any, type[nn.Module]] = {
    aten.conv_transpose1d.default: nn.ConvTranspose1d,
    aten.conv_transpose2d.input: nn.ConvTranspose2d,
    aten.conv_transpose3d.input: nn.ConvTranspose3d,
}


def make_layers_plain(module: nn.Module, contract: Contract) -> list[str]:
    """Replace such layers of `module` by torch's own, in place; return their names.

    Where the outputs would change by more than rounding, or the module cannot be traced, it is left alone.
    """
    own = {name: layer for name, layer in module.named_modules() if name and _is_own(layer)}
    if not own:
        return []
    try:
        graph = trace(module, contract)
    except ModelError:
        return []
    plain = {name: made for name, made in _plain(graph, own) if made is not None}
    return list(plain) if put_where_equal(module, contract, plain) else []


def put_where_equal(module: nn.Module, contract: Contract, layers: Mapping[str, nn.Module]) -> bool:
    """Put each layer in the place of the one of its name, where the outputs stay equal but for rounding.

    Otherwise, `module` is left as it was.
    """
    before = {name: module.get_submodule(name) for name in layers}
    samples = example(contract, SAMPLES, 0)
    wanted = precise_outputs(module, samples)
    _put(module, layers)
    found = precise_outputs(module, samples)
    equal = wanted is not None and found is not None and all(map(_are_equal, wanted, found))
    if not equal:
        _put(module, before)
    return equal


def _is_own(layer: nn.Module) -> bool:
    """Whether it is a leaf that holds a weight, and none of torch's classes."""
    weights = any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False))
    return weights and not any(layer.children()) and not type(layer).__module__.startswith("torch.")


def _plain(graph: GraphModule, own: dict[str, nn.Module]) -> Iterator[tuple[str, nn.Module | None]]:
    """Yield each own layer that is run, and what does the same; None where nothing of torch's does."""
    inside: dict[str, list[Node]] = defaultdict(list)
    constants = fixed(graph)
    for node in graph.graph.nodes:
        if node.op == "call_function" and node not in constants and (name := _caller(node)) in own:
            inside[name].append(node)
    for name, nodes in inside.items():
        made = [_layer(graph, node, constants) for node in nodes]
        first = made[0]
        if all(_are_alike(one, first) for one in made):
            yield name, first


def _caller(node: Node) -> str:
    """Return the name of the innermost module that called the operator."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return stack[-1][0] if stack else ""


def _layer(graph: GraphModule, node: Node, constants: set[Node]) -> nn.Module | None:
    """Return a layer of torch's that does as `node`; None where its weights rest on more than constants."""
    weight_node, bias_node = argument(node, 1, "weight"), argument(node, 2, "bias")
    if node.target not in {*CONVOLUTIONS, *TRANSPOSED, aten.linear.default} or node.args[0] in constants:
        return None
    if weight_node not in constants or (bias_node is not None and bias_node not in constants):
        return None
    weight = _value(graph, weight_node)
    bias = None if bias_node is None else _value(graph, bias_node)
    if bias is not None and bias.ndim != 1:
        return None
    made = _empty(node, weight, bias is not None)
    made.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias, requires_grad=False)
    return made.eval()


def _value(graph: GraphModule, node: Node) -> Tensor:
    value = constant(graph, node) if node.op == "get_attr" else evaluate(graph, node, {})
    assert isinstance(value, Tensor)
    return value.detach().clone().contiguous()


def _empty(node: Node, weight: Tensor, bias: bool) -> Any:
    first, second, *kernel = weight.shape
    if node.target == aten.linear.default:
        return nn.Linear(second, first, bias, device="meta")
    transposed = node.target in TRANSPOSED
    groups = argument(node, 6, "groups", 1)
    axes = len(kernel)
    settings: dict[str, Any] = {
        "stride": _each(argument(node, 3, "stride", 1), axes),
        "padding": _each(argument(node, 4, "padding", 0), axes),
        "dilation": _each(argument(node, 7 if transposed else 5, "dilation", 1), axes),
        "groups": groups,
        "bias": bias,
        "device": "meta",
    }
    if transposed:
        settings["output_padding"] = _each(argument(node, 5, "output_padding", 0), axes)
        return TRANSPOSED[node.target](first, second * groups, tuple(kernel), **settings)
    return CONVOLUTIONS[node.target](second * groups, first, tuple(kernel), **settings)


def _each(value: Any, axes: int) -> Any:
    """Return a number for each axis; "same" and "valid" stay."""
    if isinstance(value, str):
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * axes if len(values) == 1 else values


def _are_alike(one: nn.Module | None, other: nn.Module | None) -> bool:
    return type(one) is type(other) and (one is None or repr(one) == repr(other))


def _put(module: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Put each layer in the place of the one of its name, under all names that this one has."""
    for name, layer in layers.items():
        replace_layer(module, module.get_submodule(name), layer)


def replace_layer(module: nn.Module, before: nn.Module, layer: nn.Module) -> None:
    """Put `layer` in the place of `before` in `module`, under all names that this one has."""
    for parent in module.modules():
        for key, child in parent._modules.items():
            if child is before:
                parent._modules[key] = layer


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE * one.abs().max())
