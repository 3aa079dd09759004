"""Pairs of inputs and targets, made of files: pictures that lost something, sounds from mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from edgegan.errors import DataError
from edgegan.learning.losses.spectral import MelSpectrogram
from edgegan.recipe import Data
from edgegan.runtime.contract import Contract
from edgegan.runtime.modality import Audio
from edgegan.train.degradations import AnyDegradation
from edgegan.train.griffin_lim import griffin_lim

Arrays = tuple[NDArray[Any], ...]


class Mel(Data):
    """Sounds from their logarithmic mel spectrograms, of transforms of `size` samples, `hop` apart."""

    kind: Literal["mel"]
    size: int = Field(default=1024, ge=16)
    hop: int = Field(default=256, ge=4)
    quietest: float = Field(default=0.3, gt=0, le=1)
    """What sounds that are learnt from are multiplied by, at the least; at most by 1."""


class PicturePairs:
    """Pictures, and what is left of them.

    Args:
        pictures: uint8 (M, C, H, W), on the device where pairs are made.
        degradation: what makes inputs of them.
        contract: of the generator; ranges are its own.
        mirror: whether half of the pictures are mirrored.
    """

    def __init__(
        self, pictures: Tensor, degradation: AnyDegradation, contract: Contract, *, mirror: bool
    ) -> None:
        self.pictures, self.degradation, self.contract = pictures, degradation, contract
        self.mirror = mirror

    def __len__(self) -> int:
        return len(self.pictures)

    def draw(self, rng: np.random.Generator, count: int) -> Arrays:
        """Draw which pictures are taken, which of them are mirrored, and what the degradation needs."""
        index = rng.integers(0, len(self), count)
        mirrored = rng.random(count) < (0.5 if self.mirror else 0)
        return index, mirrored, *self.degradation.draw(rng, count, tuple(self.pictures.shape[1:]))

    def every(self, rng: np.random.Generator) -> Arrays:
        """Draw each picture once, none mirrored."""
        _, mirrored, *rest = self.draw(rng, len(self))
        return np.arange(len(self)), np.zeros_like(mirrored), *rest

    def make(self, drawn: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the inputs, in 256 levels, and the pictures (N, C, H, W), in the contract's ranges."""
        pictures = self._pictures(drawn)
        inputs = [x.clamp(0, 1).mul(255).round() / 255 for x in self.degradation.inputs(pictures, drawn[2:])]
        scaled = [
            x * (spec.sample.high - spec.sample.low) + spec.sample.low
            for x, spec in zip(inputs, self.contract.inputs)
        ]
        return tuple(scaled), self._in_range(pictures)

    def rows(self, drawn: Sequence[Tensor]) -> dict[str, NDArray[np.uint8]]:
        """Return pairs as stored inputs hold them, and targets under the output's name: levels (N, ...)."""
        inputs, target = self.make(drawn)
        ranges = {spec.name: (spec.sample.low, spec.sample.high) for spec in self.contract.inputs}
        ranges[self.contract.outputs[0].name] = self.contract.outputs[0].range
        return {
            name: ((x - low) * (255 / (high - low))).round().to(torch.uint8).cpu().numpy()
            for (name, (low, high)), x in zip(ranges.items(), (*inputs, target))
        }

    def baseline(self, drawn: Sequence[Tensor]) -> Tensor:
        """Return what can be said of the pictures without a network, in the output's range."""
        pictures = self._pictures(drawn)
        inputs = self.degradation.inputs(pictures, drawn[2:])
        return self._in_range(self.degradation.baseline(inputs, pictures).clamp(0, 1))

    def _pictures(self, drawn: Sequence[Tensor]) -> Tensor:
        pictures = self.pictures[drawn[0]].float() / 255
        return torch.where(drawn[1][:, None, None, None], pictures.flip(3), pictures)

    def _in_range(self, pictures: Tensor) -> Tensor:
        low, high = self.contract.outputs[0].range
        return pictures * (high - low) + low


class SoundPairs:
    """Sounds cut at random, and their mel spectrograms.

    Args:
        waves: each (samples,) from -1 to 1, and at least as long as the contract's output.
        mel: what the spectrograms are of.
        contract: of the generator: an input (bands, frames), an output (samples,) or (1, samples) of sound.
        device: where pairs are made.

    Raises:
        DataError: the contract is of another form, or a sound is too short.
    """

    def __init__(
        self, waves: Sequence[NDArray[np.float32]], mel: Mel, contract: Contract, device: torch.device | str
    ) -> None:
        output = contract.only_output(Audio)
        assert isinstance(output.modality, Audio)
        samples = output.shape[-1]
        expected = [(*contract.inputs[0].shape[:1], samples // mel.hop)]
        if [spec.shape for spec in contract.inputs] != expected or samples % mel.hop or len(output.shape) > 2:
            raise DataError(
                "pairs of mel spectrograms and sounds are for one input (bands, frames) and an output "
                f"(1, {mel.hop} * frames) or ({mel.hop} * frames,)",
                where="train.pairs",
                next="correct the recipe's contract, or the hop",
            )
        short = min(map(len, waves))
        if short < samples:
            raise DataError(
                f"a sound has {short} samples, and the contract's output {samples}",
                next="leave shorter ones out",
            )
        self.contract, self.samples, self.quietest = contract, samples, mel.quietest
        self.waves = torch.from_numpy(np.concatenate(waves)).to(device)
        self._begins = np.cumsum([0, *map(len, waves[:-1])])
        self._room = np.array([len(wave) - samples + 1 for wave in waves])
        self.mel = MelSpectrogram(
            output.modality.sample_rate, mel.size, mel.hop, contract.inputs[0].shape[0]
        ).to(device)

    def draw(self, rng: np.random.Generator, count: int) -> Arrays:
        """Draw where cuts begin, and how loud they are."""
        place = rng.integers(0, self._room.sum(), count)
        clip = np.searchsorted(np.cumsum(self._room), place, side="right")
        begins = self._begins[clip] + place - (np.cumsum(self._room) - self._room)[clip]
        return begins, rng.uniform(self.quietest, 1, count).astype(np.float32)

    def every(self, rng: np.random.Generator) -> Arrays:
        """Return cuts that lie side by side, as loud as they are."""
        cuts = [begin + np.arange(0, room, self.samples) for begin, room in zip(self._begins, self._room)]
        begins = np.concatenate(cuts)
        return begins, np.ones(len(begins), np.float32)

    def make(self, drawn: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the spectrograms (N, bands, frames) and the sounds, in the output's range."""
        begins, loudness = drawn
        waves = self.waves[begins[:, None] + torch.arange(self.samples, device=self.waves.device)]
        waves = waves * loudness[:, None]
        sounds = self._in_range(waves).reshape(-1, *self.contract.outputs[0].shape)
        return (self.mel(waves),), sounds

    def rows(self, drawn: Sequence[Tensor]) -> dict[str, NDArray[np.float32]]:
        """Return pairs as stored inputs hold them, and targets under the output's name (N, ...)."""
        (spectrograms,), sounds = self.make(drawn)
        names = self.contract.inputs[0].name, self.contract.outputs[0].name
        return {name: x.cpu().numpy() for name, x in zip(names, (spectrograms, sounds))}

    def baseline(self, drawn: Sequence[Tensor]) -> Tensor:
        """Return what the spectrograms sound like without a network, in the output's range."""
        (spectrograms,), sounds = self.make(drawn)
        return self._in_range(griffin_lim(spectrograms, self.mel)).reshape(sounds.shape)

    def _in_range(self, waves: Tensor) -> Tensor:
        low, high = self.contract.outputs[0].range
        return waves * ((high - low) / 2) + (high + low) / 2
