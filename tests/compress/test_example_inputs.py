"""How many samples run in one pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from edgegan.compress.agreement import agreement
from edgegan.compress.example_inputs import at_once
from edgegan.compress.export import export_onnx
from edgegan.runtime.contract import Contract, Input, Output


def pictures(size: int) -> Contract:
    return Contract((Input("photo", (3, size, size)),), (Output("large", (3, 2 * size, 2 * size)),))


@pytest.mark.parametrize(("size", "count"), [(32, 8), (128, 8), (256, 4), (512, 2), (2048, 2)])
def test_large_samples_run_fewer_at_once(size: int, count: int) -> None:
    assert at_once(pictures(size), 8) == count
    assert at_once(pictures(size), 1) == 1


def test_a_file_of_large_pictures_is_compared_on_fewer(tmp_path: Path) -> None:
    module, contract = nn.Upsample(scale_factor=2), pictures(512)
    export_onnx(module, contract, tmp_path / "model.onnx")
    assert agreement(tmp_path / "model.onnx", module, contract)["batches"] == [1, 2]
