from __future__ import annotations

import numpy as np
import pytest
import torch

from edgegan.learning.draws import Stream, derive, draw
from edgegan.learning.losses.features import Adapters, perceptual
from edgegan.learning.losses.output import l1
from edgegan.learning.losses.style import grams, style, total_variation
from edgegan.learning.taps import Tap
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.testing import DistanceTestCase


class TestOurs(DistanceTestCase):
    distances = {
        "l1": lambda student, teacher: l1([student], [teacher], [Output("image", (3, 8, 6))]),
        "perceptual": lambda student, teacher: perceptual({"a": student}, {"a": teacher}),
        "style": lambda student, teacher: style(grams({"a": student}), grams({"a": teacher})),
    }


def test_output_loss_is_in_units_of_half_the_range() -> None:
    ours, theirs = torch.full((2, 3, 4, 4), 64.0), torch.full((2, 3, 4, 4), 192.0)
    loss = l1([ours], [theirs], [Output("image", (3, 4, 4), (0.0, 256.0))])
    assert float(loss) == pytest.approx(1.0)


def test_perceptual_loss_of_equal_features_is_zero_and_of_none_is_one() -> None:
    features = torch.randn(4, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert float(perceptual({"a": features}, {"a": features})) == 0
    assert float(perceptual({"a": 0 * features}, {"a": features})) == pytest.approx(1, abs=1e-5)


def test_style_does_not_depend_on_where_things_are_and_tells_what_goes_together() -> None:
    features = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    given = grams({"a": features})
    assert given["a"][1, 0, 2] == pytest.approx(float((features[1, 0] * features[1, 2]).mean()))
    moved = grams({"a": features.flip(3).roll(1, 2)})
    assert float(style(moved, given)) == pytest.approx(0, abs=1e-9)
    assert float(style(grams({"a": 0 * features}), given)) == pytest.approx(1)
    assert float(style(grams({"a": features.flip(1)}), given)) > 0.01


def test_variation_is_what_neighbours_differ_by() -> None:
    steps = torch.arange(4.0)[:, None] * 2 + torch.arange(5.0) * 3
    assert float(total_variation(steps[None, None])) == 5


@pytest.mark.parametrize(("axis", "shape"), [(1, (16, 3, 4, 4)), (2, (16, 9, 3))])
def test_adapters_start_at_the_least_squares_solution(axis: int, shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    ours = torch.randn(*shape, generator=random)
    mix = torch.randn(6, 3, generator=random)
    theirs = (ours.movedim(axis, -1) @ mix.T + 2).movedim(-1, axis)
    tap = Tap("a", axis, 3, 6)
    exact = Adapters([tap], {"a": ours}, {"a": theirs})({"a": ours}, {"a": theirs})
    assert exact.item() < 1e-6
    noise = {"a": torch.randn(theirs.shape, generator=random)}
    unrelated = Adapters([tap], {"a": ours}, noise)({"a": ours}, noise)
    assert 0.9 < unrelated.item() <= 1


def test_draws_depend_on_seed_stream_and_step_alone() -> None:
    contract = Contract(
        (Input("z", (4,)), Input("label", (), "int64", Sample("labels", classes=9))),
        (Output("image", (3, 8, 8)),),
    )
    seeds = {derive(seed, stream, step) for seed in (0, 1) for stream in Stream for step in range(20)}
    assert len(seeds) == 2 * len(Stream) * 20
    assert derive(7, Stream.TRAIN, 11) == derive(7, Stream.TRAIN, 11) < 2**63
    whole, half = draw(contract, 6, 5), draw(contract, 6, 5, part=slice(3, 6))
    assert [tensor.dtype for tensor in whole] == [torch.float32, torch.int64]
    assert all(np.array_equal(a[3:], b) for a, b in zip(whole, half))
