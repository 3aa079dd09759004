from __future__ import annotations

import torch

from edgegan.adversarial.augment import colour, cutout, diff_augment, translate


def test_translation_moves_a_pixel_by_at_most_an_eighth() -> None:
    torch.manual_seed(0)
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = translate(images)
    _, _, rows, columns = torch.nonzero(moved, as_tuple=True)
    assert len(rows) == 200
    assert set((rows - 8).tolist()) == set((columns - 8).tolist()) == {-2, -1, 0, 1, 2}


def test_cutout_zeroes_at_most_a_quarter_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    images = torch.ones(200, 3, 16, 16)
    cut = cutout(images)
    assert set(cut.unique().tolist()) == {0.0, 1.0}
    shares = 1 - cut.mean(dim=(1, 2, 3))
    assert 0 < float(shares.min()) and float(shares.max()) <= 0.25
    assert torch.equal(cut[:, 0], cut[:, 1])


def test_colour_keeps_structure_and_gradients_flow() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    changed = colour(images)
    assert changed.shape == images.shape
    diff_augment(images).square().sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0
