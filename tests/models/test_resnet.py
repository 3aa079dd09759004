from __future__ import annotations

import torch

from edgegan.models.resnet import Generator, ProjectionDiscriminator


def test_the_generator_gives_images_in_range_that_depend_on_latent_and_label() -> None:
    torch.manual_seed(0)
    generator = Generator((16, 16, 8), latent=8, classes=3).eval()
    z = torch.randn(2, 8)
    one = generator(z, torch.tensor([0, 0]))
    assert one.shape == (2, 3, 16, 16)
    assert float(one.detach().abs().max()) <= 1
    assert not torch.allclose(one[0], one[1])
    with torch.no_grad():
        generator.blocks[0].norm1.bias.weight[1] += 1  # pyright: ignore
        assert not torch.allclose(one, generator(z, torch.tensor([1, 1])))


def test_the_discriminator_is_lipschitz_by_spectral_norm() -> None:
    torch.manual_seed(0)
    discriminator = ProjectionDiscriminator(8, classes=3)
    x, label = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    for _ in range(30):
        discriminator(x, label)
    discriminator.eval()
    assert discriminator(x, label).shape == (4,)
    assert abs(torch.linalg.matrix_norm(discriminator.linear.weight, 2).item() - 1) < 1e-3
