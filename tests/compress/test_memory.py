"""How much a pass over a network takes, and how many samples run in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from edgegan.compress import memory
from edgegan.compress.agreement import agreement
from edgegan.compress.export import export_onnx
from edgegan.compress.rewrite.graph import trace
from edgegan.runtime.contract import Contract, Input, Output


def pictures(size: int) -> Contract:
    return Contract((Input("photo", (3, size, size)),), (Output("large", (3, 2 * size, 2 * size)),))


@pytest.mark.parametrize(("size", "count"), [(32, 8), (128, 8), (256, 4), (512, 2), (2048, 2)])
def test_large_samples_run_fewer_at_once(size: int, count: int) -> None:
    assert memory.samples_of(pictures(size), 8) == count
    assert memory.samples_of(pictures(size), 1) == 1


def test_a_file_of_large_pictures_is_compared_on_fewer(tmp_path: Path) -> None:
    module, contract = nn.Upsample(scale_factor=2), pictures(512)
    export_onnx(module, contract, tmp_path / "model.onnx")
    assert agreement(tmp_path / "model.onnx", module, contract)["batches"] == [1, 2]


def test_live_and_kept_bytes_are_those_of_the_tensors() -> None:
    module = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    graph = trace(module, Contract((Input("x", (3, 32, 32)),), (Output("y", (3, 32, 32)),)))
    assert memory.live_bytes(graph) == 4 * 32 * 32 * (16 + 16)
    assert memory.tape_bytes(graph) == int(1.5 * 4 * 32 * 32 * (3 + 16 + 16 + 3))
    assert memory.samples(memory.ROOM // 3) == 3
    assert memory.samples(2 * memory.ROOM) == 1
