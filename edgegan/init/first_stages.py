"""The stages that a recipe begins with: as much as two cores do in minutes, and none that lint refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgegan.compress.lint import Finding

WORK = 6e11
"""MACs that measuring one row of the table may take, about a minute on two cores."""
TRAINING = 1.2e13
"""MACs of the distillation that a recipe begins with, about twenty minutes on two cores."""
Settings = dict[str, dict[str, Any]]


def first_stages(macs: float, targets: Sequence[str] = ("x64-cpu",)) -> Settings:
    """Return stage to settings, in order, for a network of `macs` a sample."""
    batch = 32 if macs < 2e9 else 8
    steps = _round(TRAINING / (3 * batch * max(macs, 1)), 100, 3000)
    return {
        "prune": {"macs": 0.5},
        "distill": {"steps": steps, "batch": batch},
        "quantize": {"targets": list(targets)},
        "export": {},
    }


def first_samples(macs: float) -> int:
    """Return how many samples figures are measured on."""
    return _round(WORK / max(macs, 1), 32, 2000)


def fitting(find: Callable[[Sequence[str]], list[Finding]]) -> tuple[list[Finding], dict[str, str]]:
    """Return lint's findings, and the stages to leave out, with why, so that none of them is an error.

    Where that cannot be, the errors that the first stages hid are among the findings.

    Args:
        find: lints without the stages that it is given.
    """
    findings = find(())
    errors = [finding for finding in findings if finding.level == "error"]
    hidden: list[Finding] = []
    for out in (("prune",), ("quantize",), ("prune", "quantize")) if errors else ():
        better = find(out)
        left = [finding for finding in better if finding.level == "error"]
        if not left:
            return better, dict.fromkeys(out, f"{errors[0].what}: {errors[0].why}")
        hidden += [finding for finding in left if finding not in (*errors, *hidden)]
    return [*hidden, *findings], {}


def _round(wanted: float, least: int, most: int) -> int:
    """Return a round number near `wanted`, between the others."""
    value = min(max(wanted, least), most)
    digits = 10 ** max(len(str(int(value))) - 1, 1)
    return min(max(int(value // digits * digits), least), most)
