"""Our own exact rewrites, held to what any rewrite has to keep."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgegan.compress import rewrite as ours
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.testing import RewriteTestCase


def case(*layers: nn.Module, shape: tuple[int, ...] = (4, 6, 8)) -> tuple[nn.Module, Contract]:
    """Return layers in a row, with norms that have seen something, and what they read."""
    torch.manual_seed(0)
    module = nn.Sequential(*layers).requires_grad_(False)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 3)
            layer.weight.normal_(0.3, 1.0)
            layer.bias.normal_(0.3, 1.0)
    return module, Contract((Input("x", shape),), (Output("y", (1,), layout=""),))


class Fork(nn.Module):
    """Gives what a layer reads beside what the layers behind it give."""

    def __init__(self, first: nn.Module, *rest: nn.Module) -> None:
        super().__init__()
        self.first, self.rest = first, nn.Sequential(*rest)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.rest(y).mean((1, 2, 3)) + y.mean((1, 2, 3))


class Equalized(nn.Module):
    """A convolution whose weight is scaled at run time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight * 0.2, padding=1)


class Places(nn.Module):
    """Looks from each of its own places at what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(5, 7), nn.Linear(7, 7)
        self.places = nn.Parameter(torch.randn(9, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.query(self.places)[None] @ self.key(x).mT


UP = nn.Upsample(scale_factor=2)


class TestFoldBatchNorm(RewriteTestCase):
    rewrite = ours.fold_batch_norm
    changed = {
        "conv": case(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
        "groups": case(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        "transposed": case(nn.ConvTranspose2d(4, 6, 4, 2, 1), nn.BatchNorm2d(6)),
        "linear": case(nn.Linear(4, 6), nn.BatchNorm1d(6), shape=(4,)),
    }
    left_alone = {
        "read elsewhere": case(Fork(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))),
        "behind an activation": case(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)),
        "of the batch": case(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)),
    }


class TestBatchNormToAffine(RewriteTestCase):
    rewrite = ours.batch_norm_to_affine
    changed = {"2d": case(nn.ReLU(), nn.BatchNorm2d(4)), "1d": case(nn.BatchNorm1d(4), shape=(4,))}
    left_alone = {"of the batch": case(nn.BatchNorm2d(4, track_running_stats=False))}


class TestSpellBatchStatistics(RewriteTestCase):
    rewrite = ours.spell_batch_statistics
    changed = {"of the batch": case(nn.BatchNorm2d(4, track_running_stats=False))}
    left_alone = {"of the training": case(nn.BatchNorm2d(4))}


class TestFoldNormForward(RewriteTestCase):
    rewrite = ours.fold_norm_forward
    changed = {
        "conv": case(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)),
        "linear": case(nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 6), shape=(4,)),
    }
    left_alone = {
        "an activation between": case(nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3)),
        "read elsewhere": case(nn.ReLU(), Fork(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3))),
    }


class TestFoldNormAfterActivation(RewriteTestCase):
    rewrite = ours.fold_norm_after_activation
    changed = {"zeros around": case(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1))}
    left_alone = {"read elsewhere": case(nn.ReLU(), Fork(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)))}


class TestUpsampleConvToConvTranspose(RewriteTestCase):
    rewrite = ours.upsample_conv_to_conv_transpose
    changed = {
        "by 2": case(UP, nn.Conv2d(4, 3, 3, padding=1)),
        "mirrored": case(UP, nn.ReflectionPad2d(1), nn.Conv2d(4, 3, 3)),
        "by 3, in groups": case(nn.Upsample(scale_factor=3), nn.Conv2d(4, 4, 3, padding=1, groups=4)),
        "of a row": case(UP, nn.Conv1d(4, 4, 5, padding=2), shape=(4, 8)),
    }
    left_alone = {
        "a stride": case(UP, nn.Conv2d(4, 3, 3, stride=2, padding=1)),
        "mirrored by two": case(UP, nn.ReflectionPad2d(2), nn.Conv2d(4, 3, 5)),
        "ones around": case(UP, nn.ConstantPad2d(1, 1.0), nn.Conv2d(4, 3, 3)),
        "bilinear": case(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 3, 3)),
    }


class TestDelayUpsample(RewriteTestCase):
    rewrite = ours.delay_upsample
    changed = {"behind a norm": case(UP, nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1))}
    left_alone = {
        "nothing alike behind": case(UP, nn.Conv2d(4, 3, 3)),
        "another size": case(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Softmax(2)),
    }


class TestConvTransposeToShuffle(RewriteTestCase):
    rewrite = ours.conv_transpose_to_shuffle
    changed = {
        "4, 2, 1": case(nn.ConvTranspose2d(4, 6, 4, 2, 1)),
        "odd, in groups": case(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)),
        "of a row": case(nn.ConvTranspose1d(4, 3, 5, 3), shape=(4, 7)),
    }
    left_alone = {"a conv": case(nn.Conv2d(4, 6, 3))}


class TestConvTransposeToLinear(RewriteTestCase):
    rewrite = ours.conv_transpose_to_linear
    changed = {"of one pixel": case(nn.ConvTranspose2d(4, 6, 4), shape=(4, 1, 1))}
    left_alone = {"of more": case(nn.ConvTranspose2d(4, 6, 4), shape=(4, 2, 1))}


class TestConvToPixelBlocks(RewriteTestCase):
    rewrite = ours.conv_to_pixel_blocks
    changed = {"many taps": case(nn.Conv2d(8, 3, 9, padding=4), shape=(8, 12, 12))}
    left_alone = {
        "few taps": case(nn.Conv2d(8, 3, 7, padding=3), shape=(8, 12, 12)),
        "an odd size": case(nn.Conv2d(8, 3, 9, padding=4), shape=(8, 13, 13)),
        "a stride": case(nn.Conv2d(8, 3, 9, padding=4, stride=2), shape=(8, 12, 12)),
    }


class TestFoldWeights(RewriteTestCase):
    rewrite = ours.fold_weights
    changed = {"scaled": case(Equalized()), "of places": case(Places(), shape=(6, 7))}
    left_alone = {"plain": case(nn.Conv2d(4, 6, 3))}
