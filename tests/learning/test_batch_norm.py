from __future__ import annotations

import torch
from torch import nn

from edgegan.learning.batch_norm import learning_mode, recalibrate


def test_recalibration_gives_the_statistics_of_its_batches() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    norm = network[0]
    assert isinstance(norm, nn.BatchNorm1d)
    batches = [torch.randn(64, 3, generator=torch.Generator().manual_seed(i)) * 2 + 5 for i in range(4)]
    recalibrate(network, ([batch] for batch in batches))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0), atol=1e-4)
    assert norm.momentum == 0.1
    assert not norm.training


def test_only_batch_normalization_learns() -> None:
    network = learning_mode(nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)))
    assert [child.training for child in network] == [True, False]
