"""Findings that only pruning minds: which channels belong together, and which layers stay whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.conv import _ConvNd

from edgegan.compress.lint.finding import Finding, together
from edgegan.compress.lint.layers import of_widths
from edgegan.compress.lint.watch import Watch
from edgegan.compress.prune.exact import exact_groups
from edgegan.compress.prune.graph import OUTPUT
from edgegan.compress.prune.stage import Prune
from edgegan.errors import ModelError, StageError
from edgegan.runtime.contract import Contract

FIXED_VIEW = re.compile(r"shape '[^-]*' is invalid")
WITHOUT = "take `prune` out of the recipe's stages: the others do without the dependency graph"


def of_groups(
    module: nn.Module, contract: Contract, watch: Watch, prune: Prune | None, align: int
) -> Iterator[Finding]:
    """Find what stands in the way of `prune`; None for its defaults."""
    try:
        groups = exact_groups(module, contract)
    except ModelError as error:
        yield Finding(
            "error", together(_computed_weights(module, watch)), "the model cannot be traced", error.what,
            f"{WITHOUT}; or write the layers that torch-pruning cannot follow in plain layers",
        )  # fmt: skip
        return
    if prune is not None:
        align = prune.settings.align
        try:
            prune.narrowest(module, contract)
        except StageError as error:
            yield Finding("error", "", "the model cannot be pruned so far", error.what, error.next or "")
    outputs = {layer for layer, why in groups.whole.items() if why == OUTPUT}
    yield from of_widths(module, watch, align, outputs)
    alike: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for layer, why in groups.whole.items():
        if why != OUTPUT:
            linear = isinstance(module.get_submodule(layer), nn.Linear)
            alike[why, bool(linear and FIXED_VIEW.search(why))].append(layer)
    for (why, view), layers in alike.items():
        yield Finding(
            "warning",
            together(layers),
            "a Linear whose outputs are viewed with a fixed number of channels" if view else "it stays whole",
            f"pruning cannot narrow it: {why}",
            "write the view with -1 for the channels" if view else "nothing: prune leaves it as it is",
            tuple(layers),
        )


def _computed_weights(module: nn.Module, watch: Watch) -> list[str]:
    """Return the layers that call a convolution and are none: torch-pruning cannot follow its weights."""
    callers = watch.operations.get("convolution", [])
    return [name for name in callers if not isinstance(module.get_submodule(name), _ConvNd)]
