"""What each family of reference networks has to do: its shapes, and the whole chain on tiny widths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from chain import goes_through_the_chain
from torch import nn

from edgegan.learning.draws import draw
from edgegan.learning.taps import outputs_of
from edgegan.models import (
    attention,
    conditional_dcgan,
    dcgan,
    mlp,
    r3gan,
    resnet,
    semi_supervised,
    series,
    text,
    video,
)
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.modality import ClassMap, Series, Tokens, Video

Z, LABEL = Input("z", (6,)), Input("label", (), "int64", Sample("labels", classes=3))
GREY = Output("image", (1, 8, 8))


@dataclass(frozen=True)
class Family:
    generator: nn.Module
    discriminator: nn.Module
    contract: Contract


def family(name: str) -> Family:
    torch.manual_seed(0)
    noise, labelled = Contract((Z,), (GREY,)), Contract((Z, LABEL), (GREY,))
    if name == "mlp":
        return Family(mlp.Generator((6, 32, 64), (1, 8, 8)), mlp.Discriminator((32, 16), (1, 8, 8)), noise)
    trunk = {"first": 4}
    if name == "dcgan":
        return Family(dcgan.Generator((16, 16), 6, **trunk), dcgan.Discriminator((8, 16), size=8), noise)
    if name == "conditional_dcgan":
        generator = conditional_dcgan.Generator((16, 16), 6, 3, 8, **trunk)
        return Family(generator, conditional_dcgan.Discriminator((8, 16), 3, size=8), labelled)
    if name == "semi_supervised":
        generator = dcgan.Generator((16, 16), 6, **trunk)
        return Family(generator, semi_supervised.Discriminator((8, 16), 3, size=8), noise)
    if name == "attention":
        generator = attention.Generator((16, 16), 6, **trunk)
        return Family(generator, attention.Discriminator((8, 16), size=8), noise)
    if name == "resnet":
        generator = resnet.Generator((16, 16), latent=6, classes=3, channels=1)
        return Family(generator, resnet.ProjectionDiscriminator(8, 3, 1, blocks=2, downs=1), labelled)
    if name == "r3gan":
        generator = r3gan.Generator((16, 16), 6, 3, 1, 1)
        return Family(generator, r3gan.Discriminator((16, 16), 3, 1, 1), labelled)
    if name == "tiles":
        contract = Contract((Z,), (Output("tiles", (5, 8, 8), (0, 1), modality=ClassMap()),))
        generator = dcgan.Generator((16, 16), 6, 5, **trunk, output="softmax")
        return Family(generator, dcgan.Discriminator((8, 16), 5, 8), contract)
    if name == "video":
        contract = Contract((Z,), (Output("clip", (3, 1, 8, 8), modality=Video(8, "TCHW")),))
        generator = video.Generator((16, 16), 6, 3, **trunk)
        return Family(generator, video.Discriminator((8, 16), 3, size=8), contract)
    if name == "text":
        contract = Contract((Z,), (Output("tokens", (11, 6), (0, 1), modality=Tokens(0)),))
        return Family(text.Generator(11, 6, 16, 2, 6), text.Discriminator(11, 6, 16, 2), contract)
    assert name == "series"
    contract = Contract((Z,), (Output("wave", (2, 32), modality=Series()),))
    return Family(series.Generator((16, 16), 6, 2), series.Discriminator((8, 16), 2, 32), contract)


NAMES = (
    "mlp",
    "dcgan",
    "conditional_dcgan",
    "semi_supervised",
    "attention",
    "resnet",
    "r3gan",
    "tiles",
    "series",
    "video",
    "text",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_gives_its_contract_and_scores_that_learn(name: str) -> None:
    made = family(name)
    inputs = draw(made.contract, 3, 0)
    (image,) = outputs_of(made.generator.eval()(*inputs))
    low, high = image.detach().aminmax()
    (spec,) = made.contract.outputs
    assert image.shape == (3, *spec.shape)
    assert spec.range[0] <= float(low) < float(high) <= spec.range[1]
    assert not torch.allclose(image[0], image[1])
    scores = made.discriminator(image, *inputs[1:])
    assert scores.shape == (3,)
    scores.mean().backward()
    networks = {"generator": made.generator, "discriminator": made.discriminator}
    still = {
        f"{role}.{key}"
        for role, network in networks.items()
        for key, parameter in network.named_parameters()
        if parameter.grad is None
    }
    assert not still


# SGAN's generator is DCGAN's, and the residual one goes through the chain in its recipe.
CHAINED = (
    "mlp",
    "dcgan",
    "conditional_dcgan",
    "r3gan",
    "tiles",
    "series",
    "video",
    "text",
    pytest.param("attention", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("name", CHAINED)
def test_a_family_goes_through_the_chain(name: str, tmp_path: Path) -> None:
    made = family(name)
    goes_through_the_chain(made.generator, made.discriminator, made.contract, tmp_path)


def test_words_are_drawn_while_a_text_is_learnt_and_are_shares_afterwards() -> None:
    made = family("text")
    z = torch.zeros(4000, 6)
    shares = made.generator.eval()(z[:1])[0].detach()
    made.generator.train()
    for module in made.generator.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    drawn = made.generator(z)
    assert set(drawn.detach().unique().round(decimals=4).tolist()) == {0, 1}
    torch.testing.assert_close(drawn.sum(1), torch.ones(4000, 6))
    torch.testing.assert_close(drawn.detach().mean(0), shares, atol=0.04, rtol=0)
    drawn[:, 3].sum().backward()
    assert float(made.generator.get_parameter("head.weight").grad.abs().sum()) > 0  # pyright: ignore


def test_a_discriminator_sees_how_much_neighbours_in_a_batch_differ() -> None:
    layer = dcgan.MinibatchDeviation()
    same, apart = torch.ones(4, 2, 3, 3), torch.tensor([-1.0, 1, -1, 1]).view(4, 1, 1, 1).expand(4, 2, 3, 3)
    seen = layer(torch.cat([same, apart]))
    assert seen.shape == (8, 3, 3, 3)
    torch.testing.assert_close(seen[:, :2], torch.cat([same, apart]))
    torch.testing.assert_close(seen[:4, 2], torch.zeros(4, 3, 3), atol=2e-4, rtol=0)
    torch.testing.assert_close(seen[4:, 2], torch.ones(4, 3, 3))
    assert layer(torch.randn(6, 2, 3, 3)).shape == (6, 3, 3, 3)
    discriminator = dcgan.Discriminator((8, 16), size=8, deviation=True)
    pictures = torch.randn(4, 1, 8, 8, requires_grad=True)
    score = discriminator(pictures)[0]
    (gradient,) = torch.autograd.grad(score, pictures)
    assert float(gradient[1].abs().sum()) > 0
