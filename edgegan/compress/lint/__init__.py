"""What will not prune, quantize or deploy well, and why: said before any training."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from edgegan.compress.lint import behaviour, deploy, layers, pruning, sizes
from edgegan.compress.lint.finding import Finding
from edgegan.compress.lint.watch import Watch
from edgegan.compress.parametrization import plain_copy
from edgegan.compress.prune.stage import Prune
from edgegan.compress.stage import Stage
from edgegan.errors import some
from edgegan.runtime.contract import Contract

__all__ = ["Finding", "lint"]

ORDER = ("error", "warning", "info")


def lint(
    module: nn.Module, contract: Contract, *, stages: Sequence[Stage] | None = None, align: int = 8
) -> list[Finding]:
    """Look at `module` in eval mode and run it on the contract's samples; it is left as it is.

    Args:
        module: takes and gives what `contract` says.
        contract: what the samples are drawn from.
        stages: what is to come. What only others mind is not looked at, such as the dependency graph that
            pruning needs. By default all is looked at, with no settings in particular.
        align: the multiple that the target wants widths to be.

    Returns:
        The findings, errors first.
    """
    with torch.random.fork_rng(devices=[]):
        found = [*layers.of_weights(module), *layers.of_parametrizations(module)]
        if not any(finding.level == "error" for finding in found):
            found += _of_run(plain_copy(module), contract, stages, align)
    return sorted(found, key=lambda finding: ORDER.index(finding.level))


def _of_run(
    module: nn.Module, contract: Contract, stages: Sequence[Stage] | None, align: int
) -> list[Finding]:
    watch = Watch()
    try:
        found = list(behaviour.of_shapes(watch.run(module, contract), contract))
        found += behaviour.of_types(watch)
        if not found:
            found = [*behaviour.of_runs(module, contract), *sizes.of_sizes(module, contract)]
    except Exception as error:
        found = [
            Finding(
                "error",
                "",
                "the model does not run on the contract's inputs",
                f"{type(error).__name__}: {error}",
                _how_to_call(error),
            )
        ]
    failed = any(finding.level == "error" for finding in found)
    found += [*layers.of_operations(watch), *layers.of_layers(module, watch)]
    prune = next((stage for stage in stages or () if isinstance(stage, Prune)), None)
    if not failed and (stages is None or prune is not None):
        found += pruning.of_groups(module, contract, watch, prune, align)
    written = any(stage.name in ("quantize", "export") for stage in stages or ())
    if written and not any(finding.level == "error" for finding in found):
        found += deploy.of_export(module, contract, stages)
    return found


def _how_to_call(error: Exception) -> str:
    missing = re.findall(r"'(\w+)'", str(error)) if "required positional argument" in str(error) else []
    if not missing:
        return "correct the contract's inputs, or the model's arguments"
    numbers = ", ".join(f"{name}: 1" for name in missing)
    return f"name {some(missing)} as inputs of the contract; or their values: model: {{call: {{{numbers}}}}}"
