"""Training of a teacher on pictures of two kinds, none of which belong together, in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from edgegan.errors import DataError
from edgegan.learning import devices
from edgegan.learning.algorithms.unpaired import UnpairedTraining
from edgegan.learning.draws import Stream, derive
from edgegan.learning.stored import as_output
from edgegan.learning.taps import outputs_of
from edgegan.runtime.contract import Contract, Output
from edgegan.runtime.grid import image_grid
from edgegan.runtime.modality import Image
from edgegan.train.data import read_images
from edgegan.train.paired import HELD_OUT, INPUTS, write_rows
from edgegan.train.settings import UnpairedTrainSettings
from edgegan.train.training import Training

_SHOWN = 16


class Cuts:
    """Pictures of one kind (M, C, h, w) in uint8, on the device; they are cut at random to (C, H, W)."""

    def __init__(self, pictures: Tensor, size: tuple[int, int], *, mirror: bool) -> None:
        self.pictures, self.size, self.mirror = pictures, size, mirror

    def draw(self, rng: np.random.Generator, count: int) -> tuple[NDArray[Any], ...]:
        """Draw which pictures are taken, which of them are mirrored, and where the cuts begin."""
        index = rng.integers(0, len(self.pictures), count)
        mirrored = rng.random(count) < (0.5 if self.mirror else 0)
        room = [have - want + 1 for have, want in zip(self.pictures.shape[2:], self.size)]
        return index, mirrored, *(rng.integers(0, each, count) for each in room)

    def make(self, drawn: Sequence[Tensor]) -> Tensor:
        """Return the cuts (N, C, H, W), uint8."""
        index, mirrored, top, left = drawn
        device = self.pictures.device
        rows, columns = (
            start[:, None] + torch.arange(size, device=device) for start, size in zip((top, left), self.size)
        )
        channels = torch.arange(self.pictures.shape[1], device=device)[None, :, None, None]
        cuts = self.pictures[
            index[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None]
        ]
        return torch.where(mirrored[:, None, None, None], cuts.flip(3), cuts)


class PicturesOfTwoKinds:
    """Cuts that a generator takes, and others of the kind of its `output`, both in that one's range."""

    def __init__(self, inputs: Cuts, outputs: Cuts, output: Output) -> None:
        self.kinds, self.output = (inputs, outputs), output

    def draw(self, rng: np.random.Generator, count: int) -> tuple[NDArray[Any], ...]:
        """Draw `count` of each kind."""
        return tuple(each for kind in self.kinds for each in kind.draw(rng, count))

    def make(self, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return both kinds (N, C, H, W) as floats."""
        half = len(drawn) // 2
        inputs, outputs = self.kinds[0].make(drawn[:half]), self.kinds[1].make(drawn[half:])
        return as_output(inputs, self.output), as_output(outputs, self.output)


class UnpairedTeacherTraining(Training):
    """A training run without pairs: beside weights, it leaves pictures that a recipe can store.

    `inputs.npz` holds cuts of what the generator learnt to turn, to calibrate and distil on; `held_out.npz`
    pictures that nothing learnt from, for `quality: {inputs: held_out.npz}`.

    Args:
        generator: freshly built.
        discriminator: as well.
        contract: of the generator.
        data: folder or zip with a folder of pictures for each kind.
        settings: see `UnpairedTrainSettings`.
        folder: of the run.
        seed: of all draws.
        fabric: the processes.

    Raises:
        DataError: the data cannot be read, are too few, or the contract is of another form.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        contract: Contract,
        data: Path,
        settings: UnpairedTrainSettings,
        folder: Path,
        *,
        seed: int = 0,
        fabric: Fabric | None = None,
    ) -> None:
        fabric = fabric or devices.launch("auto", alone=True)
        self.contract, self.settings, self.output, self.seed = contract, settings, contract.outputs[0], seed
        _check(contract)
        learnt, self.held_out = _read(data, settings, contract, seed)
        _, height, width = self.output.shape
        inputs, outputs = (
            Cuts(torch.from_numpy(each).to(fabric.device), (height, width), mirror=settings.mirror)
            for each in learnt
        )
        self.inputs = inputs
        self.algorithm = UnpairedTraining(
            generator,
            discriminator,
            contract,
            PicturesOfTwoKinds(inputs, outputs, self.output),
            settings,
            fabric,
            seed,
        )
        super().__init__(self.algorithm, settings, folder, fabric)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.algorithm.ema.module, "discriminator": self.algorithm.critics[1].module}

    @torch.no_grad()
    def _observe(self, step: int) -> dict[str, float]:
        """Write pictures held out beside what becomes of them, when that is due."""
        if self._due(step, self.settings.sample_every):
            module = self.algorithm.finish()
            shown = self.held_out[:_SHOWN]
            taken = as_output(torch.from_numpy(shown).to(self.fabric.device), self.output)
            given = outputs_of(module(taken))[0].float().cpu().numpy()
            pair = shown.transpose(0, 2, 3, 1), self.output.modality.encode(given, self.output)
            self._show(step, image_grid(np.stack(pair, 1).reshape(-1, *pair[0].shape[1:]), 8))
        return {}

    def _write(self) -> None:
        super()._write()
        name = self.contract.inputs[0].name
        rng = np.random.default_rng(derive(self.seed, Stream.HELD_OUT, 2))
        drawn = [torch.from_numpy(each) for each in self.inputs.draw(rng, self.settings.stored)]
        cuts = self.inputs.make([each.to(self.fabric.device) for each in drawn]).cpu().numpy()
        write_rows(self.folder / INPUTS, [{name: cuts}])
        write_rows(self.folder / HELD_OUT, [{name: self.held_out}])


def _read(
    data: Path, settings: UnpairedTrainSettings, contract: Contract, seed: int
) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return pictures (M, C, h, w) of both kinds, and those of the first kind that are held out, cut."""
    channels, height, width = contract.outputs[0].shape
    larger = round(height * settings.enlarge), round(width * settings.enlarge)
    read = read_images(data, (channels, *larger))
    kinds = []
    for key, name in (("inputs", settings.unpaired.inputs), ("outputs", settings.unpaired.outputs)):
        if name not in read.classes:
            raise DataError(
                f"there is no folder {name!r} of pictures: there are {', '.join(read.classes[:8])}",
                where=str(data),
                next=f"set train.unpaired.{key} to one of them",
            )
        kinds.append(read.images[read.labels == read.classes.index(name)].transpose(0, 3, 1, 2))
    count = min(settings.held_out, len(kinds[0]) // 10)
    if count == 0:
        raise DataError(
            f"{len(kinds[0])} pictures are too few: a tenth of them is held out",
            where=str(data),
            next="give more",
        )
    order = np.random.default_rng(derive(seed, Stream.HELD_OUT, 0)).permutation(len(kinds[0]))
    top, left = ((have - want) // 2 for have, want in zip(larger, (height, width)))
    held_out = kinds[0][order[:count], :, top : top + height, left : left + width]
    return [kinds[0][order[count:]], kinds[1]], held_out


def _check(contract: Contract) -> None:
    taken, given = contract.inputs, contract.outputs
    fits = len(taken) == len(given) == 1 and isinstance(given[0].modality, Image)
    if fits:
        sample = taken[0].sample
        fits = taken[0].shape == given[0].shape and (sample.low, sample.high) == given[0].range
    if not fits:
        raise DataError(
            "without pairs a generator takes one picture and gives one of the same shape and range",
            where="contract",
            next="correct the recipe's contract, or make pairs: train.pairs",
        )
