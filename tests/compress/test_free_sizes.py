"""Free sizes on the host: files with free axes, agreement at several sizes, halos, and what is refused."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from free_size_networks import (
    INPAINTING,
    PLAIN,
    STYLE,
    VOCODER,
    Inpainting,
    Located,
    Style,
    Vocoder,
    Warped,
    made,
    pictures,
)
from torch import nn

from edgegan.compress.export import Export, ExportSettings
from edgegan.compress.free_axes import trials
from edgegan.compress.lint.sizes import of_sizes
from edgegan.compress.receptive_field import with_halos
from edgegan.compress.rewrite import trace
from edgegan.compress.rewrite.graph import outputs
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ModelError
from edgegan.runtime import Contract, Generator
from edgegan.runtime.engines.base import Engine, Port
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.sizes import read_sizes


@pytest.mark.parametrize(
    ("network", "contract", "shape", "settings"),
    [
        (Inpainting, INPAINTING, (37, 53), ExportSettings(precisions=("fp32",), uint8_output=True)),
        (Vocoder, VOCODER, (101,), ExportSettings()),
    ],
)
def test_exported_files_take_any_size_whole_and_in_tiles(
    network: type[nn.Module],
    contract: Contract,
    shape: tuple[int, ...],
    settings: ExportSettings,
    tmp_path: Path,
) -> None:
    module, stage = made(network), Export(settings)
    candidate = Candidate(module, module, contract)

    after = stage.run(candidate, Context(tmp_path))
    stage.ensures(candidate, after)
    record = after.lineage[-1]
    found = replace(contract, sizes=read_sizes(record.changed["sizes"]))
    at = contract.at(dict(zip(contract.nominal, shape)))
    given: dict[str, Any] = dict(at.sample(1, 0))
    with Generator(OnnxRuntimeEngine(tmp_path / "model.fp32.onnx", threads=1), found) as generator:
        whole = generator(**given)
        halo = found.sizes[0].halo
        assert halo is not None
        tiled = generator(tile=2 * halo + 12, **given)

    multiple = contract.sizes[0].multiple
    if all(length % multiple == 0 for length in shape):
        with torch.no_grad():
            expected = module(*map(torch.from_numpy, given.values())).numpy()
        encoded = at.outputs[0].modality.encode(expected, at.outputs[0]).astype(int)
        assert np.abs(whole.astype(int) - encoded).max() <= 1
    np.testing.assert_array_equal(whole, tiled)
    assert len(record.proof["fp32"]["psnr_db_at"]) == len(trials(contract))
    assert record.proof["fp32"]["psnr_db"] > (50 if settings.uint8_output else 100)


@pytest.mark.parametrize(
    ("module", "contract", "halo", "why"),
    [
        (made(Style, nn.BatchNorm2d), STYLE, 6, None),
        (made(Style), STYLE, None, r"norm (InstanceNorm2d) sees all of it"),
        (made(Located), PLAIN, None, "depends on where"),
        (made(Warped), PLAIN, None, "grid_sampler reads where"),
    ],
)
def test_a_halo_is_found_or_the_reason_why_there_is_none(
    module: nn.Module, contract: Contract, halo: int | None, why: str | None
) -> None:
    width = with_halos(module, contract).sizes[1]

    assert width.halo == halo
    assert (why or "") in (width.no_tiles or "")


def test_the_halo_of_a_stack_is_the_sum_of_its_taps() -> None:
    layers = [nn.Conv2d(3, 3, 3, padding=d, dilation=d) for d in (1, 2, 4)]

    found = with_halos(nn.Sequential(*layers).eval(), PLAIN)

    assert [size.halo for size in found.sizes] == [7, 7]


@pytest.mark.parametrize(
    ("module", "contract", "what"),
    [
        (made(Inpainting), pictures([3, "H", "W"], multiple=1, inputs=("image", "mask")), "does not run"),
        (made(Style), pictures([3, "2*H", "W"], multiple=2), "another size than the contract says"),
        (made(Style), pictures([3, "H", "W"], multiple=1), "another size than the contract says"),
    ],
)
def test_a_contract_that_is_wrong_at_other_sizes_is_refused_with_what_was_seen(
    module: nn.Module, contract: Contract, what: str
) -> None:
    (finding,) = of_sizes(module, contract)

    assert finding.level == "error"
    assert what in finding.what
    assert "H = " in finding.what + finding.why


def test_trials_are_oblong_odd_and_within_bounds() -> None:
    found = trials(INPAINTING)

    assert found == [{"H": 8, "W": 8}, {"H": 20, "W": 44}, {"H": 44, "W": 20}]
    assert trials(Contract(INPAINTING.inputs, INPAINTING.outputs)) == []


def test_sizes_that_a_network_takes_for_fixed_are_refused(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, image: Any) -> Any:
            return torch.tanh(self.conv(image) + torch.zeros(3, 8, 8))

    found = list(of_sizes(Fixed().eval(), PLAIN))

    assert [finding.what for finding in found] == ["the model does not run at H = 4, W = 4"]


def test_sizes_are_free_down_to_one_multiple() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(4), nn.Upsample(scale_factor=4)).eval()
    ports = {"shape": [3, "H", "W"]}, {"shape": [4, "H", "W"], "layout": ""}
    contract = Contract.from_dict(
        {
            "sizes": {name: {"nominal": 8, "multiple": 4, "min": 4} for name in ("H", "W")},
            "inputs": [{"name": "x", **ports[0]}],
            "outputs": [{"name": "y", **ports[1]}],
        }
    )
    assert {"H": 4, "W": 12} in trials(contract, smallest=False)
    graph, x = trace(module, contract), torch.rand(2, 3, 4, 4)
    assert torch.equal(outputs(graph, (x,))[0], module(x))


def test_a_size_that_a_trace_fixes_is_named() -> None:
    class Linear(nn.Module):
        def forward(self, image: Any) -> Any:
            return torch.tanh(image + torch.linspace(0, 1, image.shape[3]))

    with pytest.raises(ModelError, match=r"does not take every W.*W = 8"):
        trace(Linear(), PLAIN)


class OnTorch(Engine):
    """Runs a module as it is."""

    name = "torch"

    def __init__(self, module: nn.Module, contract: Contract) -> None:
        self.module = module
        self.inputs, self.outputs = (
            {spec.name: Port("float32", (None, *(None if axis else size for axis, size in pairs(spec))))
             for spec in specs}
            for specs in (contract.inputs, contract.outputs)
        )  # fmt: skip

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            given = (torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self.inputs)
            return {next(iter(self.outputs)): self.module(*given).numpy()}

    def close(self) -> None:
        """Free nothing."""


def pairs(spec: Any) -> list[tuple[Any, int]]:
    return list(zip(spec.axes or (None,) * len(spec.shape), spec.shape))


def bands(path: Path) -> np.ndarray:
    """Return log energies (1, 4, frames) of a clip in four bands, a frame for each 256 samples."""
    with wave.open(str(path)) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2") / 32768
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256]
    power = np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2
    energies = [part.sum(axis=1) for part in np.split(power[:, 1:], 4, axis=1)]
    return np.log(np.stack(energies)[None] + 1e-5).astype(np.float32)


def test_speech_comes_in_chunks_as_in_one(shared: Path) -> None:
    module = made(Vocoder)
    contract = with_halos(module, VOCODER)
    clips = sorted((shared / "audio").glob("speech-*.wav"))
    with Generator(OnTorch(module, contract), contract) as generator:
        for clip in clips:
            mel = bands(clip)
            whole = generator(mel=mel)
            chunks = list(generator.chunks(64, mel=mel))

            assert whole.shape == (1, 8 * mel.shape[2] - 4, 1)
            assert len(chunks) > 3
            difference = np.concatenate(chunks, axis=1).astype(int) - whole
            assert np.abs(difference).max() <= 1
            assert (difference != 0).mean() < 1e-3
    assert len(clips) == 3
