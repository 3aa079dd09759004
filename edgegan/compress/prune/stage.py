"""The prune stage: fewer channels, and the proof that nothing else changed."""

from __future__ import annotations

import difflib
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import nn

from edgegan.compress import structure
from edgegan.compress.cost import count
from edgegan.compress.example_inputs import example
from edgegan.compress.parametrization import plain_copy
from edgegan.compress.prune.exact import TOLERANCE, difference, exact_groups, first_line, run, told
from edgegan.compress.prune.graph import Group
from edgegan.compress.prune.importance import Kind, scores
from edgegan.compress.prune.reconstruct import reconstruct
from edgegan.compress.prune.select import Scope, Selection, out_of_reach, select
from edgegan.compress.prune.surgery import Kept, cut, kept_positions, mask, pruned_shapes
from edgegan.compress.psnr import psnr_db
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord, check_finite
from edgegan.errors import ProofError, StageError, some
from edgegan.runtime.contract import Contract

HELD_OUT, SLACK_DB = 32, 0.5
"""Samples on which a reconstructed model has to be nearer to the full one; on others it may miss by that."""
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
    scope: Scope | Literal["auto"] = "auto"
    """`global`: one threshold for all layers, which at high ratios starves some. `uniform`: the same ratio in
    each. `auto`: whichever of the two leaves the outputs nearer to the full model's."""
    reconstruct: bool = True
    """Whether the weights that stay are solved for, without training, so that each layer gives what it gave
    before. It is left out where it does not bring the outputs nearer to the full model's."""
    align: int = Field(8, ge=1)
    """Widths are rounded to multiples of this, from the target; a layer no wider stays whole."""
    skip: tuple[str, ...] = ()
    """Names of layers that keep all their output channels, or of the network's own modules that keep all."""

    @model_validator(mode="after")
    def _one_goal(self) -> PruneSettings:
        if (self.macs is None) == (self.channels is None):
            raise ValueError("give exactly one goal: `macs` or `channels`")
        return self


@dataclass(frozen=True)
class _Narrow:
    """A student, what it keeps, the layers that were reconstructed, and the PSNR to the full model in dB."""

    student: nn.Module
    selection: Selection
    kept: Kept
    reconstructed: list[str]
    psnr_db: dict[str, float]

    @property
    def nearness(self) -> float:
        return max(self.psnr_db.values())


class Prune(Stage):
    """Structured channel pruning along the dependencies of channels."""

    name: ClassVar[str] = "prune"

    def __init__(self, settings: PruneSettings) -> None:
        self.settings = settings

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where `skip` names no layer, weights are not finite, or outputs do not fit."""
        check_finite(candidate.student, self.name)
        layers = [name for name, _ in candidate.student.named_modules() if name]
        for name in self.settings.skip:
            if name not in layers:
                near = difflib.get_close_matches(name, layers, 3) or layers[:3]
                raise StageError(
                    f"skip names {name!r}, which is no layer of the model", next=f"perhaps: {near}"
                )
        if misfit := _misfit(candidate.student, candidate.contract):
            raise StageError(
                misfit, where="prune", next="correct `outputs` in the contract, or the model's forward"
            )

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Return a candidate whose student is narrower.

        Raises:
            ModelError: the model cannot be traced.
            StageError: nothing can be pruned, or the goal cannot be reached.
        """
        started = time.perf_counter()
        full, contract = plain_copy(candidate.student), candidate.contract
        groups, whole = self._groups(full, contract)
        before = count(full, contract)
        scopes: tuple[Scope, ...] = ("uniform", "global")
        if self.settings.scope != "auto":
            scopes = (self.settings.scope,)
        tried: dict[Scope, _Narrow] = {}
        for index, scope in enumerate(scopes):
            chosen = self._select(full, contract, groups, scope, before.macs, context.seed)
            tried[scope] = self._narrow(full, contract, groups, chosen, _part(context, index, len(scopes)))
        scope = max(tried, key=lambda one: tried[one].nearness)
        best = tried[scope]
        changed = {
            "kept": best.kept,
            "widths": _widths(groups, best.selection),
            "whole": whole,
            "scope": scope,
            "reconstructed": best.reconstructed,
        }
        proof = {
            **difference(cut(full, best.kept), mask(full, best.kept), contract, seed=context.seed),
            "before": asdict(before),
            "after": asdict(count(best.student, contract)),
            "psnr_db": {one: narrow.psnr_db for one, narrow in tried.items()},
        }
        seconds = time.perf_counter() - started
        record = StageRecord(self.name, self.settings.model_dump(mode="json"), changed, proof, seconds)
        return candidate.with_record(record, student=best.student)

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` unless the student equals the one before it with the lost channels at zero.

        It is checked anew, on other samples, from what the record says was kept.
        """
        if misfit := _misfit(after.student, before.contract):
            raise ProofError(misfit, where="prune")
        record = after.lineage[-1]
        full, kept = plain_copy(before.student), record.changed["kept"]
        narrow = cut(full, kept) if record.changed["reconstructed"] else after.student
        for proof in (record.proof, difference(narrow, mask(full, kept), before.contract, seed=1)):
            if not proof["relative_difference"] <= TOLERANCE:
                raise ProofError(
                    f"the pruned model differs from the masked one by {proof['relative_difference']:.2e} of "
                    f"the output's range, more than {TOLERANCE:g}",
                    where=f"prune: {some(list(record.changed['widths']))}",
                    next="name half of these in prune's `skip`, and go on by halves to the one to blame",
                )
        if record.changed["reconstructed"]:
            _check_reconstructed(after.student, narrow, full, before.contract)

    def check(self, full: nn.Module, contract: Contract) -> dict[str, str]:
        """Return why layers stay whole.

        `full` must hold no parametrizations.

        Raises:
            ModelError: the model cannot be traced.
            StageError: nothing can be pruned, or the goal in MACs is out of reach.
        """
        groups, whole = self._groups(full, contract)
        goal = self.settings.macs
        if goal is not None and (least := self._least(full, contract, groups)) > goal:
            raise out_of_reach(goal, least)
        return whole

    def _least(self, full: nn.Module, contract: Contract, groups: list[Group]) -> float:
        """Return the fraction of multiply-accumulates that the narrowest model keeps."""
        align = self.settings.align
        chosen = [list(range(min(group.channels, group.aligned(align)))) for group in groups]
        narrow = plain_copy(full)
        structure.resize(narrow, pruned_shapes(full, kept_positions(full, groups, chosen)))
        return count(narrow, contract).macs / count(full, contract).macs

    def _groups(self, full: nn.Module, contract: Contract) -> tuple[list[Group], dict[str, str]]:
        """Return what may be pruned, and why each other layer stays whole.

        What is behind norms over all channels is left whole as long as the goal is met without.
        """
        found = exact_groups(full, contract)
        groups = [group for group in found.prunable if not self._skipped(group)]
        goal = self.settings.macs
        short = not groups if goal is None else self._least(full, contract, groups) > goal
        if found.behind_norms and short:
            groups += [group for group in found.behind_norms if not self._skipped(group)]
        every = (*found.prunable, *found.behind_norms)
        skipped = {group.root: why for group in every if (why := self._skipped(group))}
        whole = {**told(found.whole, groups), **skipped}
        if not groups:
            reasons = some([f"{layer}: {why}" for layer, why in whole.items()], "; ")
            raise StageError(
                f"no layer can be pruned: {reasons or 'it has no convolution and no Linear of torch.nn'}",
                next="take `prune` out of the recipe's stages; `edgegan lint` says it of every layer",
            )
        return groups, whole

    def _skipped(self, group: Group) -> str | None:
        makers = {slot.layer for slot in group.slots if slot.side != "inputs"}
        named = sorted(makers & set(self.settings.skip))
        return f"skipped: {named[0]!r} is named in the settings" if named else None

    def _narrow(
        self, full: nn.Module, contract: Contract, groups: list[Group], chosen: Selection, context: Context
    ) -> _Narrow:
        """Return the student that keeps the `chosen` channels, reconstructed where that brings it nearer."""
        kept = kept_positions(full, groups, chosen)
        pruned = cut(full, kept)
        narrow = _Narrow(pruned, chosen, kept, [], {"pruned": _psnr_db(pruned, full, contract, seed=0)})
        if not self.settings.reconstruct:
            return narrow
        solved, layers = reconstruct(pruned, full, kept, contract, context.seed, context.progress)
        figures = {**narrow.psnr_db, "reconstructed": _psnr_db(solved, full, contract, seed=0)}
        if figures["reconstructed"] <= figures["pruned"]:
            return replace(narrow, psnr_db=figures)
        return replace(narrow, student=solved, reconstructed=layers, psnr_db=figures)

    def _select(
        self, full: nn.Module, contract: Contract, groups: list[Group], scope: Scope, macs: int, seed: int
    ) -> Selection:
        def macs_kept(chosen: Selection) -> float:
            narrow = plain_copy(full)
            structure.resize(narrow, pruned_shapes(full, kept_positions(full, groups, chosen)))
            return count(narrow, contract).macs / macs

        def channels_kept(chosen: Selection) -> float:
            return sum(map(len, chosen)) / sum(group.channels for group in groups)

        settings = self.settings
        ranked = scores(settings.importance, settings.norm, plain_copy(full), contract, groups, seed)
        aligns = [group.aligned(settings.align) for group in groups]
        if settings.macs is not None:
            return select(ranked, scope, aligns, settings.macs, macs_kept)
        return select(ranked, scope, aligns, cast(float, settings.channels), channels_kept)


def _widths(groups: list[Group], selection: Selection) -> dict[str, list[int]]:
    """Return the widths before and after of what makes each group, or the parts that several take of it."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group, stay in zip(groups, selection):
        for index, channels in enumerate((group.channels, len(stay))):
            found[group.root][index] += group.span * channels
    return dict(found)


def _part(context: Context, index: int, count: int) -> Context:
    """Return a context whose progress is that of part `index` of `count`."""
    return replace(
        context, progress=lambda done, total: context.progress(index * total + done, count * total)
    )


def _check_reconstructed(student: nn.Module, pruned: nn.Module, full: nn.Module, contract: Contract) -> None:
    """Raise `ProofError` where a reconstructed student is not the pruned one with better weights."""
    if structure.shapes(student) != structure.shapes(pruned):
        raise ProofError("the reconstructed model has other widths than the pruned one", where="prune")
    found, least = (_psnr_db(module, full, contract, seed=1) for module in (student, pruned))
    if not found >= least - SLACK_DB:
        raise ProofError(
            f"the reconstructed model is {found:.1f} dB from the full one, the pruned {least:.1f}",
            where="prune",
            next="set `reconstruct: false`",
        )


def _psnr_db(module: nn.Module, full: nn.Module, contract: Contract, seed: int) -> float:
    """Return the PSNR of `module` to `full`, on samples that no reconstruction has seen."""
    samples = list(zip(*(tensor.split(1) for tensor in example(contract, HELD_OUT, seed))))
    ours, theirs = (
        [torch.cat(parts) for parts in zip(*(run(one, x) for x in samples))] for one in (module, full)
    )
    return psnr_db(ours, theirs, contract)


def _misfit(module: nn.Module, contract: Contract) -> str | None:
    """Say how the model's outputs do not fit the contract, or None where they do."""
    try:
        outputs = run(module, example(contract, 2, seed=0))
    except Exception as error:
        return f"the model does not run on the contract's inputs ({first_line(error)})"
    found = [tuple(output.shape[1:]) for output in outputs]
    wanted = [spec.shape for spec in contract.outputs]
    return None if found == wanted else f"the model gives outputs of {found}; the contract says {wanted}"
