"""Generators of sound, video and class maps: exported, bundled, run and written by `edgegan generate`."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
import zoo.mario_dcgan
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from edgegan.cli.generate import generate
from edgegan.compress.export import export_onnx
from edgegan.errors import StorageError
from edgegan.runtime import Generator, write_bundle
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.modality import Audio, ClassMap, Video

APP = typer.Typer()
APP.command()(generate)


class Vocoder(nn.Module):
    """Mel frames (8, 12) to 4 samples each, as HiFi-GAN's last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(8, 6, 8, 4, 2)
        self.last = nn.Conv1d(6, 1, 7, padding=3)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.last(nn.functional.leaky_relu(self.up(mel), 0.1)))


class Clips(nn.Module):
    """Noise to 4 grey frames of 8x8, as TGAN's."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(5, 1, (4, 8, 8))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.up(z[:, :, None, None, None]))


def bundle_of(folder: Path, module: nn.Module, contract: Contract, *, uint8_output: bool = False) -> Path:
    export_onnx(module.eval(), contract, folder / "model.onnx", uint8_output=uint8_output)
    made = write_bundle(
        folder / "bundle",
        name="made",
        contract=contract,
        models={"fp32": folder / "model.onnx"},
        default="fp32",
    )
    return made.folder


def run(*arguments: object) -> str:
    return CliRunner().invoke(APP, [*map(str, arguments)], catch_exceptions=False).stdout


def outputs_of(module: nn.Module, contract: Contract, n: int, seed: int) -> np.ndarray:
    inputs = (torch.from_numpy(array) for array in contract.sample(n, seed).values())
    with torch.no_grad():
        return module(*inputs).numpy()


def test_a_vocoder_ends_in_wav_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module, contract = (
        Vocoder(),
        Contract((Input("mel", (8, 12)),), (Output("wave", (1, 48), modality=Audio(22050)),)),
    )
    bundle = bundle_of(tmp_path, module, contract)
    monkeypatch.chdir(tmp_path)
    assert "wrote 2 samples to samples-1.wav to samples-2.wav" in run(bundle, "--n", 2, "--seed", 5)
    expected = np.rint(outputs_of(module, contract, 2, 5)[1, 0] * 32767)
    with wave.open("samples-2.wav", "rb") as file:
        assert file.getframerate() == 22050
        held = np.frombuffer(file.readframes(48), "<i2")
    assert np.abs(held - expected).max() <= 1
    with Generator.load(bundle) as generator:
        np.testing.assert_array_equal(generator(n=2, seed=5)[1, :, 0], held)
    with pytest.raises(StorageError, match=r"samples-1\.wav"):
        run(bundle, "--n", 2)


@pytest.mark.parametrize("uint8_output", [False, True])
def test_a_video_network_ends_in_a_gif(tmp_path: Path, uint8_output: bool) -> None:
    torch.manual_seed(0)
    module, contract = (
        Clips(),
        Contract((Input("z", (5,)),), (Output("clip", (1, 4, 8, 8), modality=Video(10)),)),
    )
    bundle = bundle_of(tmp_path, module, contract, uint8_output=uint8_output)
    run(bundle, "--n", 1, "--out", tmp_path / "clip.gif")
    expected = np.rint((outputs_of(module, contract, 1, 0)[0, 0] + 1) * 127.5)
    with Image.open(tmp_path / "clip.gif") as picture:
        for frame in range(4):
            picture.seek(frame)
            shades = np.asarray(picture.convert("L"), float)
            assert np.abs(shades - expected[frame]).max() <= 1
    run(bundle, "--out", tmp_path / "frames.png")


def test_levels_of_mario_are_maps_of_tiles(shared: Path, tmp_path: Path) -> None:
    module = zoo.mario_dcgan.load(shared)
    contract = Contract(
        zoo.mario_dcgan.CONTRACT.inputs, (Output("tiles", (13, 32, 32), modality=ClassMap()),)
    )
    bundle = bundle_of(tmp_path, module, contract)
    run(bundle, "--n", 4, "--out", tmp_path / "tiles.npy")
    tiles = np.load(tmp_path / "tiles.npy")
    assert (tiles.shape, tiles.dtype) == ((4, 32, 32), np.int32)
    np.testing.assert_array_equal(tiles, outputs_of(module, contract, 4, 0).argmax(axis=1))
    assert np.bincount(tiles[:, :14].ravel(), minlength=13)[2] / tiles[:, :14].size > 0.5  # sky above
    run(bundle, "--n", 4, "--out", tmp_path / "tiles.png")
