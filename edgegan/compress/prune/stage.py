"""The prune stage: fewer channels, and the proof that nothing else changed."""

from __future__ import annotations

import difflib
import time
from dataclasses import asdict
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field, model_validator
from torch import nn

from edgegan.compress import structure
from edgegan.compress.inputs import example
from edgegan.compress.macs import count
from edgegan.compress.prune.exact import TOLERANCE, difference, exact_groups, first_line, run
from edgegan.compress.prune.graph import Group
from edgegan.compress.prune.importance import Kind, scores
from edgegan.compress.prune.select import Scope, Selection, out_of_reach, select
from edgegan.compress.prune.surgery import cut, kept_positions, mask, pruned_shapes
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.errors import ProofError, StageError, some
from edgegan.runtime.contract import Contract

Fraction = Annotated[float, Field(gt=0, lt=1)]


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
        groups, whole = self._groups(full, contract)
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
            **difference(student, mask(full, kept), contract, seed=context.seed),
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
        for proof in (record.proof, difference(after.student, masked, before.contract, seed=1)):
            if not proof["relative_difference"] <= TOLERANCE:
                raise ProofError(
                    f"the pruned model differs from the masked one by {proof['relative_difference']:.2e} of "
                    f"the output's range, more than {TOLERANCE:g}",
                    where=f"prune: {some(list(record.changed['widths']))}",
                    next="name half of these in prune's `skip`, and go on by halves to the one to blame",
                )

    def narrowest(self, full: nn.Module, contract: Contract) -> None:
        """Raise `StageError` where nothing can be pruned, or the goal in MACs is out of reach.

        `full` must hold no parametrizations.

        Raises:
            ModelError: the model cannot be traced.
        """
        groups, _ = self._groups(full, contract)
        goal, align = self.settings.macs, self.settings.align
        if goal is None:
            return
        chosen = [list(range(min(group.channels, align))) for group in groups]
        narrow = structure.plain_copy(full)
        structure.resize(narrow, pruned_shapes(full, kept_positions(full, groups, chosen)))
        if (least := count(narrow, contract).macs / count(full, contract).macs) > goal:
            raise out_of_reach(goal, least)

    def _groups(self, full: nn.Module, contract: Contract) -> tuple[list[Group], dict[str, str]]:
        """Return what may be pruned, and why each other layer stays whole."""
        found = exact_groups(full, contract)
        groups = [group for group in found.prunable if not self._skipped(group)]
        skipped = {group.root: why for group in found.prunable if (why := self._skipped(group))}
        whole = {**found.whole, **skipped}
        if not groups:
            raise StageError(
                f"no layer can be pruned: {some([f'{layer}: {why}' for layer, why in whole.items()], '; ')}",
                next="take `prune` out of the recipe's stages; `edgegan lint` says it of every layer",
            )
        return groups, whole

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


def _misfit(module: nn.Module, contract: Contract) -> str | None:
    """Say how the model's outputs do not fit the contract, or None where they do."""
    try:
        outputs = run(module, example(contract, 2, seed=0))
    except Exception as error:
        return f"the model does not run on the contract's inputs ({first_line(error)})"
    found = [tuple(output.shape[1:]) for output in outputs]
    wanted = [spec.shape for spec in contract.outputs]
    return None if found == wanted else f"the model gives outputs of {found}; the contract says {wanted}"
