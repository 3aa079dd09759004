"""What will not prune, quantize or deploy well, and why: said before any training."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import nn

from edgegan.compress.lint import behaviour, layers
from edgegan.compress.lint.finding import Finding
from edgegan.compress.lint.watch import Watch
from edgegan.compress.prune.graph import OUTPUT
from edgegan.compress.prune.stage import exact_groups
from edgegan.compress.structure import plain_copy
from edgegan.errors import ModelError
from edgegan.runtime.contract import Contract

__all__ = ["Finding", "lint"]

FIXED_VIEW = re.compile(r"shape '[^-]*' is invalid")
ORDER = ("error", "warning", "info")


def lint(module: nn.Module, contract: Contract, *, align: int = 8) -> list[Finding]:
    """Look at `module` in eval mode and run it on the contract's samples; it is left as it is.

    `align` is the multiple that the target wants widths to be. The findings come errors first.
    """
    with torch.random.fork_rng(devices=[]):
        found = [*layers.of_weights(module), *layers.of_parametrizations(module)]
        if not any(finding.level == "error" for finding in found):
            found += _of_run(plain_copy(module), contract, align)
    return sorted(found, key=lambda finding: ORDER.index(finding.level))


def _of_run(module: nn.Module, contract: Contract, align: int) -> list[Finding]:
    watch = Watch()
    try:
        found = list(behaviour.of_shapes(watch.run(module, contract), contract))
        if not found:
            found = list(behaviour.of_runs(module, contract))
    except Exception as error:
        found = [
            Finding(
                "error",
                "",
                "the model does not run on the contract's inputs",
                f"{type(error).__name__}: {error}",
                "correct the contract's inputs, or the model's arguments",
            )
        ]
    failed = any(finding.level == "error" for finding in found)
    found += [*layers.of_operations(watch), *layers.of_layers(module, watch)]
    return found if failed else [*found, *_of_groups(module, contract, watch, align)]


def _of_groups(module: nn.Module, contract: Contract, watch: Watch, align: int) -> Iterator[Finding]:
    try:
        groups = exact_groups(module, contract)
    except ModelError as error:
        yield Finding(
            "error",
            "",
            "the model cannot be traced",
            error.what,
            "leave out prune, or write the layers that torch-pruning cannot follow in plain operations",
        )
        return
    yield from layers.of_widths(
        module, watch, align, {layer for layer, why in groups.whole.items() if why == OUTPUT}
    )
    for layer, why in groups.whole.items():
        if why == OUTPUT:
            continue
        view = isinstance(module.get_submodule(layer), nn.Linear) and FIXED_VIEW.search(why)
        yield Finding(
            "warning",
            layer,
            "a Linear whose outputs are viewed with a fixed number of channels" if view else "it stays whole",
            f"pruning cannot narrow it: {why}",
            "write the view with -1 for the channels" if view else "nothing: prune leaves it as it is",
        )
