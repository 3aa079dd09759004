"""How far along a free axis an output's values see: what tiles have to share with their neighbours.

Found by disturbing a plane of the input and looking at where the output changes: with NaN, which spreads
through every weight, even one of zero; and with other values, for what NaN does not pass, as comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Node

from edgegan.compress.example_inputs import example
from edgegan.compress.precise import precise_outputs
from edgegan.compress.rewrite.graph import outputs, trace
from edgegan.module_copy import copy_of
from edgegan.runtime import tiles
from edgegan.runtime.contract import Contract
from edgegan.runtime.sizes import Size

LONG, LONGEST = 64, 1024
"""From the first on a layer that sees all at once is believed; more than the second is not tried."""
MOST_ELEMENTS = 1 << 18
"""Of all inputs of a trial together: larger ones would take long."""
EXACT = 1e-9
"""Tiles may differ by so much of the output's range from the whole, in float64."""
ELSEWHERE = ("grid_sampler", "gather", "index", "deform_conv2d", "scatter")
"""Operators that read or write where other values say: how far is not to be known from trials."""


def with_halos(module: nn.Module, contract: Contract) -> Contract:
    """Return the contract with each size's `halo`, proved by tiles that equal the whole; or `no_tiles`."""
    if not contract.sizes:
        return contract
    far = _reads_elsewhere(module, contract)
    found = {size.name: far or _along(module, contract, size) for size in contract.sizes}
    sizes = (
        replace(size, halo=reach, no_tiles=None)
        if isinstance(reach := found[size.name], int)
        else replace(size, halo=None, no_tiles=reach)
        for size in contract.sizes
    )
    known = replace(contract, sizes=tuple(sizes))
    return replace(known, sizes=tuple(_proved(module, known, size) for size in known.sizes))


def _reads_elsewhere(module: nn.Module, contract: Contract) -> str | None:
    """Say which operator reads where values say, if there is one."""
    values: set[Node] = set()
    for node in trace(module, contract).graph.nodes:
        name = str(node.target).removeprefix("aten.").split(".")[0]
        read = [source for source in node.all_input_nodes if source in values]
        if node.op == "call_function" and name.startswith(ELSEWHERE) and len(read) > 1:
            return f"{name} reads where its input says"
        if node.op == "placeholder" or (read and not name.startswith("sym_size")):
            values.add(node)
    return None


def _along(module: nn.Module, contract: Contract, size: Size) -> int | str:
    """Return the halo along `size`, or why there is none."""
    length = size.padded(max(size.nominal, 8 * size.multiple))
    others = {other.name: other.padded(other.min) for other in contract.sizes}
    why = f"its receptive field is more than {size.max // 2}"
    while length <= min(LONGEST, size.max):
        at = contract.at({**others, size.name: length})
        found = _reach(module, at, size, length)
        if isinstance(found, int):
            return found
        why = f"{found.layer} sees all of it" if found else f"its receptive field is more than {length // 2}"
        if found and found.at_once and length >= LONG:
            return why
        if sum(prod(spec.shape) for spec in at.inputs) > MOST_ELEMENTS:
            break
        length = size.padded(2 * length)
    return why


@dataclass
class _Extent:
    """How far before and behind a disturbed plane outputs change, in the output's own steps."""

    before: Fraction = Fraction(0)
    behind: Fraction = Fraction(0)


def _reach(module: nn.Module, contract: Contract, size: Size, length: int) -> int | _Seer | None:
    """Return the halo; or, where the whole `length` changes, what sees to that; else None."""
    inputs = example(contract, 1, seed=0)
    places = [(index, axis) for index, spec in enumerate(contract.outputs) for axis in spec.axes if axis]
    extents = {place: _Extent() for place in places if place[1].size == size.name}
    middle = length // 2 // size.multiple * size.multiple
    undisturbed = precise_outputs(module, inputs)
    for phase in range(size.multiple):
        plane = middle + phase
        with_nan = _disturbed(contract, inputs, size, plane, nan=True)
        changed = [[given.isnan() for given in _double(module, with_nan)]]
        if undisturbed is not None:
            other = precise_outputs(module, _disturbed(contract, inputs, size, plane, nan=False))
            changed.append([one != two for one, two in zip(undisturbed, other or (), strict=True)])
        for masks in changed:
            for (index, axis), extent in extents.items():
                place = contract.outputs[index].axes.index(axis) + 1
                touched = masks[index].transpose(0, place).flatten(1).any(dim=1).nonzero().flatten()
                if not len(touched):
                    continue
                first, last = int(touched[0]), int(touched[-1])
                if first == 0 or last == masks[index].shape[place] - 1:
                    return _seer(module, with_nan) if masks[index].all() else None
                at = Fraction(axis.times * plane, axis.over)
                extent.before = max(extent.before, at - first)
                extent.behind = max(extent.behind, last - at)
    halo = 0
    for (_, axis), extent in extents.items():
        scale = Fraction(axis.times, axis.over)
        halo = max(halo, ceil(extent.before / scale), floor(extent.behind / scale))
    return size.padded(halo)


def _disturbed(
    contract: Contract, inputs: tuple[Tensor, ...], size: Size, plane: int, *, nan: bool
) -> tuple[Tensor, ...]:
    """Return the inputs with other values in a plane of a size."""
    changed = []
    for spec, tensor in zip(contract.inputs, inputs):
        tensor = tensor.clone()
        for place, axis in enumerate(spec.axes, 1):
            if axis and axis.size == size.name:
                low, high = (axis.times * at // axis.over for at in (plane, plane + 1))
                part = tensor.narrow(place, low, max(1, high - low))
                if tensor.is_floating_point():
                    part.fill_(float("nan")) if nan else part.mul_(-1.37).add_(0.611)
                elif spec.sample.classes:
                    part.add_(1).remainder_(spec.sample.classes)
        changed.append(tensor)
    return tuple(changed)


def _double(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return outputs in float64, where convolutions mix nothing but what they read; else in float32."""
    precise = precise_outputs(module, inputs)
    return outputs(module, inputs) if precise is None else precise


@dataclass(frozen=True)
class _Seer:
    """A layer whose outputs all change; `at_once` where less than half of what it reads does."""

    layer: str
    at_once: bool


def _seer(module: nn.Module, inputs: tuple[Tensor, ...]) -> _Seer:
    """Return the first layer whose outputs are all NaN where its inputs are not."""
    seen: list[_Seer] = []
    copied = copy_of(module)

    def look(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, given: Sequence[object], result: object) -> None:
            shares = [float(value.isnan().float().mean()) for value in given if isinstance(value, Tensor)]
            if isinstance(result, Tensor) and min(shares, default=1.0) < 1 and result.isnan().all():
                kind = type(layer).__name__
                seen.append(_Seer(f"{name} ({kind})" if name else kind, max(shares) < 0.5))

        return hook

    for name, layer in copied.named_modules():
        layer.register_forward_hook(look(name))
    precise = precise_outputs(copied, inputs)
    if precise is None:
        outputs(copied, inputs)
    return seen[0] if seen else _Seer(type(module).__name__, at_once=False)


def _proved(module: nn.Module, contract: Contract, size: Size) -> Size:
    """Return the size, with its halo proved: tiles along it give the whole."""
    if size.halo is None:
        return size
    tile = max(2 * size.halo + size.multiple, size.padded(size.min))
    core = tile - 2 * size.halo
    length = size.padded(max(tile + 2 * core + size.multiple, size.min))
    if length > size.max:
        return replace(size, halo=None, no_tiles=f"its receptive field is {2 * size.halo + 1}")
    others = {other.name: other.padded(other.min) for other in contract.sizes}
    whole = contract.at({**others, size.name: length})
    arrays = {spec.name: tensor.numpy() for spec, tensor in zip(whole.inputs, example(whole, 1, seed=1))}
    expected = _double(module, tuple(torch.from_numpy(array) for array in arrays.values()))
    for part in tiles.tiles(whole, whole.nominal, {size.name: tile}):
        given = tiles.cut(whole, arrays, part)
        made = _double(module, tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in given.values()))
        for spec, output, piece in zip(whole.outputs, expected, made):
            wanted = output[tiles.kept(spec.axes, spec.shape, part)]
            found = piece[tiles.taken(spec.axes, spec.shape, part)]
            width = spec.range[1] - spec.range[0]
            if wanted.shape != found.shape or not float((wanted - found).abs().max()) <= EXACT * width:
                why = f"its output depends on where in the whole it lies: tiles of {tile} differ from it"
                return replace(size, halo=None, no_tiles=why)
    return size
