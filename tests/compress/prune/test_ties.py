"""Norms of groups and grouped convolutions lose whole groups, and the network stays exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress import structure
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.contract import Contract, Input, Output

PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8)),))


class Net(nn.Module):
    """Norms of groups, on a residual path too, between convolutions in groups."""

    def __init__(self, width: int, groups: int, *, affine: bool = True) -> None:
        super().__init__()
        wide = 2 * width
        self.a, self.n1 = nn.Conv2d(3, width, 3, padding=1), nn.GroupNorm(groups, width, affine=affine)
        self.b, self.n2 = nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(2, width)
        self.c = nn.Conv2d(width, wide, 3, padding=1, groups=groups)
        self.d = nn.ConvTranspose2d(wide, width, 3, padding=1, groups=2)
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.n1(self.a(x)))
        x = x + F.silu(self.n2(self.b(x)))
        return self.out(F.relu(self.d(F.relu(self.c(x)))))


@pytest.mark.parametrize(("width", "groups", "affine"), [(32, 8, False), (24, 4, True)])
def test_whole_groups_are_lost(width: int, groups: int, affine: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net(width, groups, affine=affine).eval()
    stage, before = Prune(PruneSettings(macs=0.6)), Candidate(module, module, PICTURE)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    student: Any = after.student
    assert student.a.out_channels < width
    for norm, full in ((student.n1, module.n1), (student.n2, module.n2)):
        assert norm.num_channels // norm.num_groups == full.num_channels // full.num_groups
    for conv, full in ((student.c, module.c), (student.d, module.d)):
        assert conv.in_channels // conv.groups == full.in_channels // full.groups
        assert conv.out_channels // conv.groups == full.out_channels // full.groups
    structure.save(student, tmp_path)
    again = structure.load(Net(width, groups, affine=affine), tmp_path)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again(x), student(x))
