from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from edgegan.train.degradations import Downscale, Edges, Grey, Hole, Noise


def picture(size: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


def tensor(array: np.ndarray) -> torch.Tensor:
    return (
        torch.from_numpy(array.astype(np.float32) / 255).reshape(*array.shape[:2], -1).permute(2, 0, 1)[None]
    )


def test_small_pictures_are_pillows_bicubic() -> None:
    degradation = Downscale(kind="downscale", factor=4)
    (small,) = degradation.inputs(tensor(picture()), ())
    expected = np.asarray(Image.fromarray(picture()).resize((6, 6), Image.Resampling.BICUBIC))
    ours = (small.clamp(0, 1) * 255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - expected).max() <= 1
    assert degradation.baseline((small,), tensor(picture())).shape == (1, 3, 24, 24)


def test_grey_is_pillows_and_pictures_without_colour_teach_nothing() -> None:
    degradation = Grey(kind="grey")
    (grey,) = degradation.inputs(tensor(picture()), ())
    expected = np.asarray(Image.fromarray(picture()).convert("L"))
    assert np.abs(grey[0, 0].numpy() * 255 - expected).max() < 1
    plain = np.repeat(picture()[..., :1], 3, 2)
    assert degradation.teaches(np.stack([picture(), plain])).tolist() == [True, False]


def test_edges_are_where_brightness_steps() -> None:
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, 4:] = 255
    (edges,) = Edges(kind="edges").inputs(tensor(halves), ())
    assert edges.shape == (1, 1, 8, 8)
    np.testing.assert_allclose(edges[0, 0], np.tile([0, 0, 0, 1, 1, 0, 0, 0], (8, 1)), atol=1e-6)
    turned, _ = tensor(halves).transpose(2, 3), None
    np.testing.assert_allclose(Edges(kind="edges").inputs(turned, ())[0].transpose(2, 3), edges)


def test_noise_has_its_deviation() -> None:
    degradation = Noise(kind="noise", deviation=0.25)
    drawn = [torch.from_numpy(each) for each in degradation.draw(np.random.default_rng(0), 8, (3, 24, 24))]
    pictures = tensor(picture()).expand(8, -1, -1, -1)
    (noisy,) = degradation.inputs(pictures, drawn)
    assert float((noisy - pictures).std()) == pytest.approx(0.25, rel=0.02)
    assert degradation.baseline((noisy,), pictures) is not None


def test_holes_are_rectangles_of_the_sizes_asked_for_anywhere() -> None:
    degradation = Hole(kind="hole", size=0.5)
    drawn = [torch.from_numpy(each) for each in degradation.draw(np.random.default_rng(0), 200, (3, 24, 24))]
    pictures = tensor(np.full((24, 24, 3), 200, np.uint8)).expand(200, -1, -1, -1)
    holed, mask = degradation.inputs(pictures, drawn)
    assert mask.shape == (200, 1, 24, 24)
    heights, widths = mask.amax(3).sum((1, 2)), mask.amax(2).sum((1, 2))
    assert bool((mask.sum((1, 2, 3)) == heights * widths).all())
    for sides in (heights, widths):
        assert (int(sides.min()), int(sides.max())) == (6, 11)
    assert float(mask.sum((0, 1, 2)).min()) > 0
    assert float(mask.sum((0, 1, 3)).min()) > 0
    assert bool(torch.where(mask > 0, holed == 0.5, holed == pictures).all())
    torch.testing.assert_close(degradation.baseline((holed, mask), pictures), pictures)
