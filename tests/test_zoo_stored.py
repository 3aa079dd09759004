"""The zoo's image-to-image generators on photographs: each gets its own range, and gives back the picture."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from zoo.stored import crops, stored_contract

from edgegan.compress.example_inputs import example


@pytest.mark.parametrize("name", ["srgan", "fast_srgan", "realesr_video"])
def test_a_larger_picture_is_the_small_one_when_shrunk(name: str, shared: Path, tmp_path: Path) -> None:
    contract = stored_contract(name, shared, tmp_path, 24, "set14")
    (image,) = example(contract, 8, 0)
    low, high = contract.outputs[0].range
    with torch.no_grad():
        larger = import_module(f"zoo.{name}").load(shared)(image)
    assert larger.shape == (8, *contract.outputs[0].shape)
    error = (F.avg_pool2d(larger, 4) - image).abs().mean() / (high - low)
    assert error < 0.03


def test_candy_takes_and_gives_bytes(shared: Path, tmp_path: Path) -> None:
    contract = stored_contract("candy", shared, tmp_path, 48)
    drawn = contract.sample(480, 0)["image"]
    assert contract.outputs[0].shape == (3, 48, 48)
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert 80 < drawn.mean() < 160


def test_the_crops_are_the_same_each_time_and_others_are_judged_on(shared: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        stored_contract("srgan", shared, tmp_path / folder)
    assert (tmp_path / "a/monet.npz").read_bytes() == (tmp_path / "b/monet.npz").read_bytes()
    monet, set14 = crops(shared, 24, "monet"), crops(shared, 24, "set14")
    assert (len(monet), len(set14)) == (480, 56)
    assert not {crop.tobytes() for crop in monet} & {crop.tobytes() for crop in set14}
