from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn
from zoo import fast_srgan

from edgegan.compress.rewrite import fold_batch_norm, rewrite
from edgegan.compress.rewrite.instance_norm import instance_norm_to_batch_norm
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("x", (3, 6, 6)),), (Output("y", (4, 6, 6), layout=""),))


def small() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.InstanceNorm2d(4, eps=0.1, affine=True)
    nn.init.normal_(shared.weight)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU(), shared, shared)


def test_each_channel_leaves_with_the_mean_and_spread_of_an_instance_norm() -> None:
    changed = instance_norm_to_batch_norm(small()[:2], CONTRACT).module
    y = changed(torch.randn(2000, 3, 6, 6)).detach()
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=0.05)
    torch.testing.assert_close(y.std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=0.05)


def test_it_is_an_eval_module_of_batch_norms_and_the_first_is_not_changed() -> None:
    module = small().train()
    before = copy.deepcopy(module.state_dict())
    result = instance_norm_to_batch_norm(module, CONTRACT)
    assert [change.layer for change in result.changes] == ["1", "3"]
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert result.module.get_submodule("3") is result.module.get_submodule("4")
    assert [norm.momentum for norm in result.module.modules() if isinstance(norm, nn.BatchNorm2d)] == [
        0.1
    ] * 2
    assert before.keys() < result.module.state_dict().keys()
    assert all(parameter.requires_grad for parameter in result.module.parameters())
    assert 5 < result.psnr_db < 60


def test_it_folds() -> None:
    result = instance_norm_to_batch_norm(small(), CONTRACT)
    graph, _ = rewrite(result.module, CONTRACT, [fold_batch_norm])
    names = [str(node.target) for node in graph.graph.nodes]
    assert names.count("aten.batch_norm.default") == 2
    assert "aten.instance_norm.default" not in names


def test_kept_statistics_are_kept_and_exact() -> None:
    module = nn.Sequential(nn.InstanceNorm2d(3, affine=True, track_running_stats=True))
    for _ in range(3):
        module(torch.randn(4, 3, 6, 6) * 2 + 1)
    ports = Contract(CONTRACT.inputs, (Output("y", (3, 6, 6)),))
    result = instance_norm_to_batch_norm(module, ports)
    assert result.psnr_db > 120
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(result.module(x), module.eval()(x))


def test_without_instance_norms_nothing_changes() -> None:
    result = instance_norm_to_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1)), CONTRACT)
    assert result.changes == ()
    assert result.psnr_db == 200.0


def test_a_published_net_keeps_most_of_its_picture(shared: Path) -> None:
    result = instance_norm_to_batch_norm(fast_srgan.load(shared), fast_srgan.CONTRACT)
    assert len(result.changes) == 17
    assert 29 < result.psnr_db < 33
