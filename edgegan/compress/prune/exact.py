"""Which groups of channels leave a model exact when they lose some, and how far two models are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgegan.compress import fingerprint
from edgegan.compress.example_inputs import example
from edgegan.compress.precise import precise_outputs
from edgegan.compress.prune.graph import Group, Groups, find_groups
from edgegan.compress.prune.surgery import cut, kept_positions, mask
from edgegan.runtime.contract import Contract

TOLERANCE = 1e-4
"""Largest difference between the pruned and the masked model, as a share of the output's range, or of the
largest value where that is more. In float64 rounding is ten million times less."""
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
    whole = dict(found.whole)
    exact = _exact(full, contract, found.prunable, (), whole)
    return Groups(exact, whole)


def _exact(
    full: nn.Module,
    contract: Contract,
    groups: Sequence[Group],
    beside: tuple[Group, ...],
    whole: dict[str, str],
) -> tuple[Group, ...]:
    """Return those of `groups` that prune exactly together with `beside`; note in `whole` why others do not.

    All at once where that is exact; otherwise each half alone.
    """
    if not groups:
        return ()
    reason = _trial(full, contract, (*beside, *groups))
    if reason is None:
        return tuple(groups)
    if len(groups) == 1:
        whole[groups[0].root] = reason
        return ()
    middle = len(groups) // 2
    first = _exact(full, contract, groups[:middle], beside, whole)
    return (*first, *_exact(full, contract, groups[middle:], (*beside, *first), whole))


def _trial(full: nn.Module, contract: Contract, groups: Sequence[Group]) -> str | None:
    """Prune `groups` alone: None where the result is exact, else why it is not.

    First their first channels, so that what counts on a multiple of something (attention heads) shows; then
    every second one.
    """
    for start, step in ((1, 1), (0, 2)):
        kept = kept_positions(full, groups, [range(start, group.channels, step) for group in groups])
        try:
            proof = difference(cut(full, kept), mask(full, kept), contract, seed=0, samples=2)
        except Exception as error:
            return f"the model does not run with fewer channels here ({first_line(error)})"
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
        "claim": "equals the full model with the lost channels at zero",
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
