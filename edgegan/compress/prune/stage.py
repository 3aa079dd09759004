"""The prune stage: fewer channels, and the proof that nothing else changed."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from edgegan.compress import structure
from edgegan.compress.inputs import example
from edgegan.compress.macs import count
from edgegan.compress.prune.graph import Group, Groups, find_groups
from edgegan.compress.prune.importance import Kind, scores
from edgegan.compress.prune.select import Scope, Selection, select
from edgegan.compress.prune.surgery import cut, kept_positions, mask, pruned_shapes
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.errors import ProofError, StageError
from edgegan.runtime.contract import Contract

Fraction = Annotated[float, Field(gt=0, lt=1)]
TOLERANCE = 1e-4
"""Largest difference between the pruned and the masked model, as a fraction of the output's range."""
PROOF_SAMPLES = 8


class PruneSettings(Settings):
    """What to prune: `macs` or `channels` is the goal, as the fraction that is kept at most."""

    macs: Fraction | None = None
    """Fraction of multiply-accumulates kept."""
    channels: Fraction | None = None
    """Fraction of the prunable channels kept."""
    importance: Kind = "magnitude"
    norm: Literal[1, 2] = 2
    """The norm of `magnitude`: L1 or L2."""
    scope: Scope = "global"
    """`global`: one threshold for all layers. `uniform`: the same ratio in each."""
    align: int = Field(8, ge=1)
    """Widths are rounded to multiples of this, from the target; a layer no wider stays whole."""
    skip: tuple[str, ...] = ()
    """Names of layers that keep all their output channels."""

    @model_validator(mode="after")
    def _one_goal(self) -> PruneSettings:
        if (self.macs is None) == (self.channels is None):
            raise ValueError("give exactly one goal: `macs` or `channels`")
        return self


class Prune(Stage):
    """Structured channel pruning along torch-pruning's dependency graph."""

    name: ClassVar[str] = "prune"

    def __init__(self, settings: PruneSettings) -> None:
        self.settings = settings

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where `skip` names no layer, or the model's outputs do not fit the contract."""
        layers = [name for name, _ in candidate.student.named_modules() if name]
        for name in self.settings.skip:
            if name not in layers:
                near = difflib.get_close_matches(name, layers, 3) or layers[:3]
                raise StageError(
                    f"skip names {name!r}, which is no layer of the model", next=f"perhaps: {near}"
                )
        if misfit := _misfit(candidate.student, candidate.contract):
            raise StageError(misfit, where="prune")

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Return a candidate whose student is narrower.

        Raises:
            ModelError: the model cannot be traced.
            StageError: nothing can be pruned, or the goal cannot be reached.
        """
        started = time.perf_counter()
        full, contract = structure.plain_copy(candidate.student), candidate.contract
        found = exact_groups(full, contract)
        groups = [group for group in found.prunable if not self._skipped(group)]
        whole = {
            **found.whole,
            **{group.root: why for group in found.prunable if (why := self._skipped(group))},
        }
        if not groups:
            reasons = "; ".join(f"{layer}: {why}" for layer, why in whole.items())
            raise StageError(f"no layer can be pruned ({reasons})", next="take prune out of the recipe")
        before = count(full, contract)
        selection = self._select(full, contract, groups, before.macs, context.seed)
        kept = kept_positions(full, groups, selection)
        student = cut(full, kept)
        changed = {
            "kept": kept,
            "widths": {group.root: [group.channels, len(stay)] for group, stay in zip(groups, selection)},
            "whole": whole,
        }
        proof = {
            **_difference(student, mask(full, kept), contract, seed=context.seed),
            "before": asdict(before),
            "after": asdict(count(student, contract)),
        }
        seconds = time.perf_counter() - started
        record = StageRecord(self.name, self.settings.model_dump(mode="json"), changed, proof, seconds)
        return candidate.with_record(record, student=student)

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` unless the student equals the one before it with the lost channels at zero.

        It is checked anew, on other samples, from what the record says was kept.
        """
        if misfit := _misfit(after.student, before.contract):
            raise ProofError(misfit, where="prune")
        record = after.lineage[-1]
        masked = mask(structure.plain_copy(before.student), record.changed["kept"])
        for proof in (record.proof, _difference(after.student, masked, before.contract, seed=1)):
            if not proof["relative_difference"] <= TOLERANCE:
                raise ProofError(
                    f"the pruned model differs from the masked one by {proof['relative_difference']:.2e} of "
                    f"the output's range, more than {TOLERANCE:g}",
                    where="prune",
                )

    def _skipped(self, group: Group) -> str | None:
        makers = {slot.layer for slot in group.slots if slot.side == "outputs"}
        named = sorted(makers & set(self.settings.skip))
        return f"skipped: {named[0]!r} is named in the settings" if named else None

    def _select(
        self, full: nn.Module, contract: Contract, groups: list[Group], macs: int, seed: int
    ) -> Selection:
        def macs_kept(chosen: Selection) -> float:
            narrow = structure.plain_copy(full)
            structure.resize(narrow, pruned_shapes(full, kept_positions(full, groups, chosen)))
            return count(narrow, contract).macs / macs

        def channels_kept(chosen: Selection) -> float:
            return sum(map(len, chosen)) / sum(group.channels for group in groups)

        settings = self.settings
        ranked = scores(
            settings.importance, settings.norm, structure.plain_copy(full), contract, groups, seed
        )
        if settings.macs is not None:
            return select(ranked, settings.scope, settings.align, settings.macs, macs_kept)
        return select(ranked, settings.scope, settings.align, cast(float, settings.channels), channels_kept)


def exact_groups(full: nn.Module, contract: Contract) -> Groups:
    """Find the groups of channels that leave the model exact when one of them is pruned.

    `full` must hold no parametrizations.

    Raises:
        ModelError: the model cannot be traced.
    """
    found = find_groups(full, contract)
    reasons = {group.root: _trial(full, contract, group) for group in found.prunable}
    exact = tuple(group for group in found.prunable if reasons[group.root] is None)
    return Groups(exact, {**found.whole, **{root: why for root, why in reasons.items() if why is not None}})


def _trial(full: nn.Module, contract: Contract, group: Group) -> str | None:
    """Prune one group alone: None where the result is exact, else why it is not.

    First its first channel, so that what counts on a multiple of something (attention heads) shows; then
    every second one.
    """
    for stay in (range(1, group.channels), range(0, group.channels, 2)):
        kept = kept_positions(full, [group], [stay])
        try:
            proof = _difference(cut(full, kept), mask(full, kept), contract, seed=0, samples=2)
        except Exception as error:
            return f"the model does not run with fewer channels here ({_first_line(error)})"
        if not proof["relative_difference"] <= TOLERANCE:
            return "leaving its channels out changes more than setting them to zero does"
    return None


def _difference(
    pruned: nn.Module, masked: nn.Module, contract: Contract, *, seed: int, samples: int = PROOF_SAMPLES
) -> dict[str, Any]:
    """Compare both models' outputs on the contract's samples."""
    inputs = example(contract, samples, seed)
    pairs = zip(_run(pruned, inputs), _run(masked, inputs), contract.outputs)
    absolute = relative = 0.0
    for one, other, spec in pairs:
        if one.shape != other.shape:
            raise ValueError(f"output {spec.name!r} becomes {tuple(one.shape)} from {tuple(other.shape)}")
        largest = (one - other).abs().max().item()
        absolute, relative = max(absolute, largest), max(relative, largest / (spec.range[1] - spec.range[0]))
    return {
        "claim": "equals the full model with the lost channels at zero",
        "max_abs_difference": absolute,
        "relative_difference": relative,
        "tolerance": TOLERANCE,
        "samples": samples,
    }


def _run(module: nn.Module, inputs: tuple[Tensor, ...]) -> Sequence[Tensor]:
    with torch.no_grad():
        outputs = module(*inputs)
    return outputs if isinstance(outputs, (tuple, list)) else [outputs]


def _misfit(module: nn.Module, contract: Contract) -> str | None:
    """Say how the model's outputs do not fit the contract, or None where they do."""
    try:
        outputs = _run(module, example(contract, 2, seed=0))
    except Exception as error:
        return f"the model does not run on the contract's inputs ({_first_line(error)})"
    found = [tuple(output.shape[1:]) for output in outputs]
    wanted = [spec.shape for spec in contract.outputs]
    return None if found == wanted else f"the model gives outputs of {found}; the contract says {wanted}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
