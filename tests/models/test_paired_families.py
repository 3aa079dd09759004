"""Networks from pictures to pictures and from spectrograms to sound: shapes, and the whole chain, tiny."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from chain import goes_through_the_chain
from torch import nn

from edgegan.learning.draws import draw
from edgegan.models import cyclegan
from edgegan.models.hifigan import Vocoder, VocoderDiscriminator
from edgegan.models.srresnet import SRResNet
from edgegan.models.unet import InpaintingUNet, PatchDiscriminator, UNet
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.modality import Audio


@dataclass(frozen=True)
class Family:
    generator: nn.Module
    discriminator: nn.Module | None
    contract: Contract


def stored(name: str, *shape: int, low: float = -1.0) -> Input:
    return Input(name, shape, sample=Sample("stored", low=low, file="inputs.npz"))


def family(name: str, folder: Path) -> Family:
    torch.manual_seed(0)
    picture, patches = Output("image", (3, 16, 16)), PatchDiscriminator(3, 8)
    if name == "larger":
        made = SRResNet(16, 1, 2), None, Contract((stored("x", 3, 8, 8),), (picture,))
    elif name == "restored":
        made = SRResNet(16, 1, 1), None, Contract((stored("x", 3, 16, 16),), (picture,))
    elif name == "coloured":
        made = UNet(1, 3, 8, 2, residual=True), patches, Contract((stored("x", 1, 16, 16),), (picture,))
    elif name == "translated":
        made = UNet(3, 3, 8, 3), patches, Contract((stored("x", 3, 16, 16),), (picture,))
    elif name == "repainted":
        made = cyclegan.Generator(3, 8, 1), patches, Contract((stored("x", 3, 16, 16),), (picture,))
    elif name == "filled":
        inputs = stored("x", 3, 16, 16), stored("mask", 1, 16, 16, low=0)
        made = InpaintingUNet(3, 8, 2), patches, Contract(inputs, (picture,))
    else:
        sound = Output("wave", (1, 256), modality=Audio(8000))
        discriminator = VocoderDiscriminator((2, 3), (1, 2), 4)
        made = (
            Vocoder(20, 32, (8, 8), (3, 5), (1, 3)),
            discriminator,
            Contract((stored("x", 20, 4),), (sound,)),
        )
    rng = np.random.default_rng(0)
    rows = {spec.name: rng.integers(0, 256, (16, *spec.shape), np.uint8) for spec in made[2].inputs}
    np.savez(folder / "inputs.npz", **rows)  # pyright: ignore[reportArgumentType]
    return Family(made[0], made[1], made[2].with_stored(folder))


CHAINED = ("larger", "coloured", "repainted", "filled", "vocoder")
NAMES = ("larger", "restored", "coloured", "translated", "repainted", "filled", "vocoder")


@pytest.mark.parametrize("name", NAMES)
def test_a_paired_family_gives_its_contract_and_scores_that_learn(name: str, tmp_path: Path) -> None:
    made = family(name, tmp_path)
    inputs = draw(made.contract, 3, 0)
    output = made.generator(*inputs)
    assert output.shape == (3, *made.contract.outputs[0].shape)
    assert not torch.allclose(output[0], output[1])
    loss = output.square().mean() if made.discriminator is None else made.discriminator(output).mean()
    loss.backward()
    networks = [made.generator, *([made.discriminator] if made.discriminator else [])]
    assert all(parameter.grad is not None for network in networks for parameter in network.parameters())


def test_what_is_outside_a_hole_stays(tmp_path: Path) -> None:
    made = family("filled", tmp_path)
    picture, _ = draw(made.contract, 2, 0)
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 2:7] = 1
    filled = made.generator(picture, mask).detach()
    torch.testing.assert_close(filled * (1 - mask), picture * (1 - mask))
    assert float(((filled - picture) * mask).abs().mean()) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINED)
def test_a_paired_family_goes_through_the_chain(name: str, tmp_path: Path) -> None:
    made = family(name, tmp_path)
    goes_through_the_chain(made.generator, made.discriminator, made.contract, tmp_path / "run")
