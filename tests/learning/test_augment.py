from __future__ import annotations

import pytest
import torch

from edgegan.learning.augment import MOST, NUMBERS, PACE, AdaptiveShare, Augmentation, lead_of, translate


def numbers(count: int) -> torch.Tensor:
    return torch.rand(count, NUMBERS, generator=torch.Generator().manual_seed(0))


def test_a_part_of_a_batch_is_augmented_as_in_the_whole() -> None:
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    drawn = numbers(8)
    assert torch.allclose(Augmentation(drawn)(images)[3:], Augmentation(drawn[3:])(images[3:]), atol=1e-6)


def test_translation_moves_a_pixel_by_at_most_an_eighth() -> None:
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = translate(images, numbers(200)[:, :2])
    _, _, rows, columns = torch.nonzero(moved, as_tuple=True)
    assert len(rows) == 200
    assert set((rows - 8).tolist()) == set((columns - 8).tolist()) == {-2, -1, 0, 1, 2}


def test_augmentation_moves_by_an_eighth_and_cuts_half() -> None:
    neutral = torch.tensor([[0.5, 0.5, 0.5, 0.999, 0.0, 0.0, 0.0]])
    image = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    result = Augmentation(neutral)(image)
    expected = torch.zeros(3, 8, 8)
    expected[:, :7, 1:] = image[0, :, 1:, :7]
    expected[:, :2, :2] = 0
    assert torch.allclose(result[0], expected, atol=1e-5)


def test_augmentation_has_a_gradient() -> None:
    images = torch.zeros(4, 3, 8, 8, requires_grad=True)
    Augmentation(numbers(4))(images).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_the_share_of_augmented_images_follows_the_discriminators_lead() -> None:
    share = AdaptiveShare()
    images, drawn = torch.ones(400, 1, 8, 8), torch.rand(400, NUMBERS + 1)
    assert torch.equal(share.augment(images, drawn), images)
    for _ in range(2_000):
        share.follow(torch.tensor(1.0), 100)
    assert float(share.share) == pytest.approx(200_000 / PACE, abs=0.01)
    changed = (share.augment(images, drawn) != images).flatten(1).any(1)
    assert torch.equal(changed, drawn[:, NUMBERS] < share.share)
    for _ in range(4_000):
        share.follow(torch.tensor(0.3), 100)
    assert float(share.share) == 0
    for _ in range(20_000):
        share.follow(torch.tensor(0.9), 100)
    assert float(share.share) == pytest.approx(MOST)


def test_lead_is_of_all_pairs_of_scores() -> None:
    real, fake = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])
    assert float(lead_of(real, fake)) == 1
    assert float(lead_of(fake, real)) == -1
    assert float(lead_of(torch.tensor([0.0, 1.5]), fake)) == -0.5
    assert float(lead_of(real, real)) == 0
