"""Our own stages, held to what any stage has to keep."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import nn

from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.export import Export, ExportSettings
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Stage
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.testing import StageTestCase


class Small(StageTestCase):
    """A small image generator, and one whose weights are not finite."""

    def candidate(self) -> Candidate:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(6, 8 * 16),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 3, 3, padding=1),
            nn.Tanh(),
        )
        net.eval().requires_grad_(False)
        contract = Contract((Input("z", (6,)),), (Output("image", (3, 8, 8)),))
        return Candidate(copy.deepcopy(net), net, contract)

    def unusable(self) -> Mapping[str, Candidate]:
        candidate = self.candidate()
        candidate.student.get_parameter("4.weight")[0, 0, 0, 0] = float("nan")
        return {"NaN in a weight": candidate}


class TestPrune(Small):
    def stage(self) -> Stage:
        return Prune(PruneSettings(macs=0.5, align=2))

    def broken(self, before: Candidate, after: Candidate) -> Mapping[str, Candidate]:
        return {"nothing was pruned": replace(after, student=before.student)}


class TestExport(Small):
    def stage(self) -> Stage:
        return Export(ExportSettings())

    def broken(self, before: Candidate, after: Candidate) -> Mapping[str, Candidate]:
        record = after.lineage[-1]
        proof = {**record.proof, "fp32": {**record.proof["fp32"], "max_difference": 0.01}}
        return {"a file was found to be off": replace(after, lineage=(replace(record, proof=proof),))}


@pytest.mark.filterwarnings("ignore::UserWarning:torch.optim.lr_scheduler")
class TestDistill(Small):
    def stage(self) -> Stage:
        return Distill(DistillSettings(steps=3, batch=4))

    def unusable(self) -> Mapping[str, Candidate]:
        candidate = self.candidate()
        return {"a teacher of another form": replace(candidate, teacher=nn.Linear(6, 3))}

    def broken(self, before: Candidate, after: Candidate) -> Mapping[str, Candidate]:
        changed = copy.deepcopy(after.teacher)
        changed.get_parameter("7.weight").mul_(1.1)
        return {"the teacher learnt": replace(after, teacher=changed)}


class TestQuantize(Small):
    def stage(self) -> Stage:
        return Quantize(QuantizeSettings(samples=8, fast=True))
