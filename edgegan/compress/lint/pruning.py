"""Findings that only pruning minds: which channels belong together, and which layers stay whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from torch import nn

from edgegan.compress.lint.finding import Finding, together
from edgegan.compress.lint.layers import of_widths
from edgegan.compress.lint.watch import Watch
from edgegan.compress.prune.channels import ONE, OUTPUT
from edgegan.compress.prune.exact import exact_groups
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
        whole = exact_groups(module, contract).whole
    except ModelError as error:
        yield Finding(
            "error", "", "the model cannot be traced", error.what, WITHOUT,
        )  # fmt: skip
        return
    if prune is not None:
        align = prune.settings.align
        try:
            whole = prune.check(module, contract)
        except StageError as error:
            yield Finding("error", "", "the model cannot be pruned so far", error.what, error.next or "")
    outputs = {layer for layer, why in whole.items() if why in (OUTPUT, ONE)}
    yield from of_widths(module, watch, align, outputs)
    layers_of = dict(module.named_modules())
    alike: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for layer, why in whole.items():
        if layer not in outputs:
            linear = isinstance(layers_of.get(layer), nn.Linear)
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
