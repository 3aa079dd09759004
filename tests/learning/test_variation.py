"""Stored pictures, shifted and mirrored."""

from __future__ import annotations

import torch

from edgegan.learning.variation import NUMBERS, stored_pictures, vary
from edgegan.runtime.contract import Input, Sample


def numbers(*rows: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(rows)


def test_a_picture_is_shifted_around_its_edges_and_mirrored() -> None:
    picture = torch.arange(24.0).view(1, 2, 3, 4)
    (same,) = vary([picture], numbers((0, 0, 0.9)))
    assert torch.equal(same, picture)
    (shifted,) = vary([picture], numbers((0.34, 0.5, 0.9)))
    assert torch.equal(shifted, picture.roll((-1, -2), (2, 3)))
    (mirrored,) = vary([picture], numbers((0.34, 0.5, 0.1)))
    assert torch.equal(mirrored, shifted.flip(3))


def test_what_belongs_together_moves_alike_whatever_its_size() -> None:
    drawn = torch.rand(64, NUMBERS, generator=torch.Generator().manual_seed(0))
    small = torch.rand(64, 1, 4, 6, generator=torch.Generator().manual_seed(1))
    large = small.repeat_interleave(3, 2).repeat_interleave(3, 3).expand(-1, 2, -1, -1)
    ours, others = vary([small, large], drawn)
    assert torch.equal(ours.repeat_interleave(3, 2).repeat_interleave(3, 3), others[:, 1:])
    assert len({tuple(each.flatten().tolist()) for each in ours - small}) > 40


def test_a_part_of_a_batch_is_varied_as_in_the_whole() -> None:
    drawn = torch.rand(8, NUMBERS, generator=torch.Generator().manual_seed(0))
    pictures = torch.rand(8, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(vary([pictures], drawn)[0][3:], vary([pictures[3:]], drawn[3:])[0])


def test_pictures_that_are_stored_are_varied_and_nothing_else() -> None:
    stored = Sample("stored", file="x.npz")
    inputs = (
        Input("z", (8, 4, 4)),
        Input("photo", (3, 8, 8), sample=stored),
        Input("pose", (17,), sample=stored),
        Input("mask", (1, 8, 8), sample=stored),
    )
    assert stored_pictures(inputs) == [1, 3]
