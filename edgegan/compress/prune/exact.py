"""Which groups of channels leave a model exact when they lose some, and how far two models are apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from edgegan.compress import fingerprint
from edgegan.compress.example_inputs import example
from edgegan.compress.precise import precise_outputs
from edgegan.compress.prune.channels import find_groups
from edgegan.compress.prune.graph import BARE, Group, Groups, Slot, width
from edgegan.compress.prune.merged import of_neighbours, of_one_layer, of_one_width, places
from edgegan.compress.prune.surgery import cut, kept_positions, mask
from edgegan.compress.structure import own_numbers
from edgegan.runtime.contract import Contract

TOLERANCE = 1e-4
"""Largest difference between the pruned and the masked model, as a share of the output's range, or of the
largest value where that is more. In float64 rounding is ten million times less."""
NOT_RUNNING = "the model does not run with fewer channels here"
PROOF_SAMPLES, AT_ONCE = 8, 2

_known: dict[str, Groups] = {}
"""The groups of the model looked at last, by its fingerprint: lint finds them, and prune uses them."""


def exact_groups(full: nn.Module, contract: Contract) -> Groups:
    """Find the groups of channels that leave the model exact when they are pruned, all of them together.

    `full` must hold no parametrizations.

    Raises:
        ModelError: the model cannot be traced.
    """
    key = fingerprint.of_module(full) + fingerprint.of_contract(contract)
    if key not in _known:
        _known.clear()
        _known[key] = _find(full, contract)
    return _known[key]


def _find(full: nn.Module, contract: Contract) -> Groups:
    found = find_groups(full, contract)
    whole, exact, failed = dict(found.whole), (), list[Group]()
    for reading in found.readings:
        taken = places(exact)
        groups = [group for group in reading if group not in failed and not taken & places([group])]
        exact = (*exact, *_exact(full, contract, groups, exact, whole))
        failed += [group for group in groups if not places(exact) & places([group])]
    stuck = [group for group in failed if NOT_RUNNING in whole.get(group.root, "")]
    for group in [group for group in stuck if _numbers(full, group) != _numbers(full, group, exact)]:
        exact = (*exact, *_exact(full, contract, [group], exact, {}))
    for find in (of_one_width, of_one_layer):
        for group in find([group for group in stuck if not places(exact) & places([group])]):
            exact = (*exact, *_exact(full, contract, [group], exact, {}))
    taken = places(exact)
    groups = [group for group in found.behind_norms if group not in failed and not taken & places([group])]
    behind = _exact(full, contract, groups, exact, {})
    for group in of_neighbours([*groups, *stuck]):
        if not places((*exact, *behind)) & places([group]):
            behind = (*behind, *_exact(full, contract, [group], (*exact, *behind), {}))
    return Groups(exact, behind, told(whole, exact))


def told(whole: dict[str, str], groups: Sequence[Group]) -> dict[str, str]:
    """Return why layers stay whole, without those whose channels are in `groups`."""
    makers = {slot.layer for group in groups for slot in group.slots if slot.side == "outputs"}
    return {root: why for root, why in whole.items() if root not in makers}


def _exact(
    full: nn.Module,
    contract: Contract,
    groups: Sequence[Group],
    beside: tuple[Group, ...],
    whole: dict[str, str],
) -> tuple[Group, ...]:
    """Return those of `groups` that prune exactly together with `beside`; note in `whole` why others do not.

    All at once where that is exact; otherwise each half alone. A group alone is tried with the numbers, too,
    by which the network's own code may name its width.
    """
    if not groups:
        return ()
    reason = _trial(full, contract, (*beside, *groups))
    if reason is None:
        return tuple(groups)
    if len(groups) == 1:
        for named in _with_numbers(full, groups[0], beside):
            if _trial(full, contract, (*beside, named)) is None:
                return (named,)
        whole[groups[0].root] = reason
        return ()
    middle = len(groups) // 2
    first = _exact(full, contract, groups[:middle], beside, whole)
    return (*first, *_exact(full, contract, groups[middle:], (*beside, *first), whole))


def _with_numbers(full: nn.Module, group: Group, beside: Sequence[Group]) -> Iterator[Group]:
    """Yield the group with the whole numbers of the network's modules that equal a width of it.

    First with all of them, then with each alone, as another number may equal it by chance.
    """
    numbers = _numbers(full, group, beside)
    if numbers:
        yield replace(group, slots=(*group.slots, *numbers))
    if len(numbers) > 1:
        yield from (replace(group, slots=(*group.slots, number)) for number in numbers)


def _numbers(full: nn.Module, group: Group, beside: Sequence[Group] = ()) -> list[Slot]:
    """Return the numbers that equal a width of the group, and name none of a group `beside` it."""
    layers, taken = dict(full.named_modules()), places(beside)
    units = tuple((one,) for one in range(group.channels))
    found = {group.channels: units} | {
        sum(map(len, slot.positions)): slot.positions
        for slot in group.slots
        if sum(map(len, slot.positions)) == width(layers[slot.layer], slot.side)
    }
    sides = [
        (name, f"{BARE}:{key}:0", value)
        for name, layer in layers.items()
        for key, value in own_numbers(layer).items()
    ]
    return [
        Slot(name, side, found[value])
        for name, side, value in sides
        if value in found and not any((name, side, place) in taken for place in range(value))
    ]


def _trial(full: nn.Module, contract: Contract, groups: Sequence[Group]) -> str | None:
    """Prune `groups` alone: None where the result is exact, else why it is not.

    First their first channels, so that what counts on a multiple of something (attention heads) shows, and of
    each group another number, so that what counts on equal widths does; then every second or third one.
    """
    firsts = [min(1 + index % 3, group.channels - 1) for index, group in enumerate(groups)]
    spans = [
        [range(first, group.channels) for first, group in zip(firsts, groups)],
        [range(0, group.channels, 2 + index % 2) for index, group in enumerate(groups)],
    ]
    for span in spans:
        kept = kept_positions(full, groups, span)
        try:
            proof = difference(cut(full, kept), mask(full, kept), contract, seed=0, samples=2)
        except Exception as error:
            return f"{NOT_RUNNING} ({first_line(error)})"
        if not proof["relative_difference"] <= TOLERANCE:
            return "leaving its channels out changes more than setting them to zero does"
    return None


def difference(
    pruned: nn.Module, masked: nn.Module, contract: Contract, *, seed: int, samples: int = PROOF_SAMPLES
) -> dict[str, Any]:
    """Compare both models' outputs on the contract's samples, in float64 where they run in it."""
    absolute = relative = 0.0
    precise = True
    for inputs in zip(*(tensor.split(AT_ONCE) for tensor in example(contract, samples, seed))):
        run(pruned, inputs)
        one, other = precise_outputs(pruned, inputs), precise_outputs(masked, inputs)
        if one is None or other is None:
            precise = False
            one, other = run(pruned, inputs), run(masked, inputs)
        for mine, true, spec in zip(one, other, contract.outputs):
            if mine.shape != true.shape:
                raise ValueError(f"output {spec.name!r} becomes {tuple(mine.shape)} from {tuple(true.shape)}")
            largest = (mine - true).abs().max().item()
            scale = max(spec.range[1] - spec.range[0], true.abs().max().item())
            absolute, relative = max(absolute, largest), max(relative, largest / scale)
    return {
        "claim": "equals the full model with the lost channels at zero, and left out of norms over all",
        "max_abs_difference": absolute,
        "relative_difference": relative,
        "tolerance": TOLERANCE,
        "computed_in": "float64" if precise else "float32",
        "samples": samples,
    }


def run(module: nn.Module, inputs: tuple[Tensor, ...]) -> Sequence[Tensor]:
    """Run `module` without gradients and return its outputs as a sequence."""
    with torch.no_grad():
        outputs = module(*inputs)
    return outputs if isinstance(outputs, (tuple, list)) else [outputs]


def first_line(error: Exception) -> str:
    """Return an error's kind and first line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
