"""Training of a teacher on pairs, in a folder: samples and figures on the way, weights at the end."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from edgegan.errors import DataError
from edgegan.files import write_bytes
from edgegan.learning import devices
from edgegan.learning.algorithms.paired import PairedTraining
from edgegan.learning.draws import Stream, derive
from edgegan.learning.stored import as_output
from edgegan.learning.taps import outputs_of
from edgegan.measure.metrics import Metric, columns
from edgegan.measure.outputs import Outputs
from edgegan.measure.scores import score
from edgegan.runtime.contract import Contract
from edgegan.runtime.grid import image_grid
from edgegan.runtime.modality import Audio, Image
from edgegan.train.data import read_images, read_tiles
from edgegan.train.pairs import Mel, PicturePairs, SoundPairs
from edgegan.train.settings import PairedTrainSettings
from edgegan.train.sounds import read_sounds
from edgegan.train.training import Training

INPUTS, HELD_OUT = "inputs.npz", "held_out.npz"
_SHOWN = 24
_AT_ONCE = 64

AnyPairs = PicturePairs | SoundPairs


class PairedTeacherTraining(Training):
    """A training run on pairs: beside weights, it leaves pairs that a recipe can store.

    `inputs.npz` holds inputs that were learnt from, to calibrate and distil on, where they are of the
    contract's size; `held_out.npz` the pairs held out, for `quality: {inputs: held_out.npz}`, with targets
    under the output's name.

    Args:
        generator: freshly built.
        discriminator: where a loss wants one.
        contract: of the generator.
        pairs: those to learn from, and those held out.
        settings: see `PairedTrainSettings`.
        folder: of the run.
        seed: of all draws.
        metrics: paired ones, of outputs and targets.
        fabric: the processes.
        extractor: of the losses `content` and `style`, with trained weights.
        painting: uint8 (C, H, W), for the loss `style`.

    Raises:
        DataError: the pairs do not fit the contract.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        contract: Contract,
        pairs: tuple[AnyPairs, AnyPairs],
        settings: PairedTrainSettings,
        folder: Path,
        *,
        seed: int = 0,
        metrics: Sequence[Metric] = (),
        fabric: Fabric | None = None,
        extractor: nn.Module | None = None,
        painting: NDArray[np.uint8] | None = None,
    ) -> None:
        fabric = fabric or devices.launch("auto", alone=True)
        self.contract, self.settings, self.output = contract, settings, contract.outputs[0]
        self.pairs, self.held_out = pairs
        self.seed, self.device = seed, fabric.device
        _check(contract, self.held_out)
        self.algorithm = PairedTraining(
            generator,
            discriminator,
            contract,
            self.pairs,
            settings,
            fabric,
            seed,
            extractor=extractor,
            painting=None if painting is None else as_output(torch.tensor(painting)[None], self.output),
        )
        self._columns = columns(contract, settings.held_out, reference=False, names=metrics)
        super().__init__(self.algorithm, settings, folder, fabric)

    @property
    def score_names(self) -> list[str]:
        """What figures on the pairs held out are called in the log."""
        names = [column.name for column in self._columns]
        return [*names, *(f"baseline_{name}" for name in names)]

    def _networks(self) -> dict[str, nn.Module]:
        critic = self.algorithm.critic
        networks = {"generator": self.algorithm.ema.module}
        return {**networks, "discriminator": critic.module} if critic else networks

    def _observe(self, step: int) -> dict[str, float]:
        sampled = self._due(step, self.settings.sample_every)
        scored = self._due(step, self.settings.score_every)
        if not (sampled or scored):
            return {}
        self.algorithm.finish()
        outputs, targets, baselines = self._judged()
        if sampled:
            self._show_beside(step, (baselines, outputs, targets))
        if not scored:
            return {}
        plain = self._figures(baselines, targets)
        return {
            **self._figures(outputs, targets),
            **{f"baseline_{name}": value for name, value in plain.items()},
        }

    @torch.no_grad()
    def _judged(self) -> tuple[NDArray, NDArray, NDArray]:
        """Return outputs, targets and what there is without a network, of the pairs held out, encoded."""
        parts: list[list[Tensor]] = []
        for drawn in self._judging():
            inputs, target = self.held_out.make(drawn)
            output = outputs_of(self.algorithm.ema.module(*inputs))[0].float()
            parts.append([output, target, self.held_out.baseline(drawn)])
        whole = [torch.cat(part).cpu().numpy() for part in zip(*parts)]
        output, target, baseline = (self.output.modality.encode(each, self.output) for each in whole)
        return output, target, baseline

    def _figures(self, outputs: NDArray, targets: NDArray) -> dict[str, float]:
        name = self.output.name
        scores = score(Outputs({name: outputs}), Outputs({name: targets}), None, self._columns)
        values = {
            key: each["value"] if isinstance(each, dict) else each for key, each in scores.figures.items()
        }
        return {key: float(value) for key, value in values.items()}

    def _show_beside(self, step: int, columns: Sequence[NDArray]) -> None:
        """Write the first samples side by side: what there is without a network, the output, the target."""
        modality = self.output.modality
        shown = [modality.preview(each[: _SHOWN // len(columns)], self.output) for each in columns]
        self._show(step, image_grid(np.stack(shown, 1).reshape(-1, *shown[0].shape[1:]), len(columns) * 2))
        if modality.plays:
            file = self.folder / "samples" / f"{step:07d}{modality.plays}"
            modality.write(file, columns[1][:1], self.output)

    def _write(self) -> None:
        super()._write()
        judged = [self.held_out.rows(drawn) for drawn in self._judging()]
        write_rows(self.folder / HELD_OUT, judged)
        if self.settings.size is None:
            rng = np.random.default_rng(derive(self.seed, Stream.HELD_OUT, 2))
            drawn = [torch.from_numpy(each) for each in self.pairs.draw(rng, self.settings.stored)]
            names = [spec.name for spec in self.contract.inputs]
            learnt = (self.pairs.rows(part) for part in _batches(drawn, self.device))
            write_rows(self.folder / INPUTS, [{name: rows[name] for name in names} for rows in learnt])

    def _judging(self) -> Iterator[list[Tensor]]:
        """Give draws of the pairs held out, in batches, on the device."""
        rng = np.random.default_rng(derive(self.seed, Stream.HELD_OUT, 1))
        return _batches([torch.from_numpy(each) for each in self.held_out.every(rng)], self.device)


def read_pairs(
    settings: PairedTrainSettings,
    contract: Contract,
    data: Path,
    judge: Path | None,
    seed: int,
    device: torch.device,
) -> tuple[AnyPairs, AnyPairs]:
    """Read the pairs to learn from, and those held out.

    Raises:
        DataError: the data cannot be read, are too few, or do not fit the contract.
    """
    if isinstance(settings.pairs, Mel):
        return _read_sounds(settings, settings.pairs, contract, data, judge, device)
    shape = contract.only_output(Image).shape
    channels, height, width = shape
    size = settings.size
    learnt = _read_pictures(data, (channels, size or height, size or width), tiles=settings.tiles)
    learnt = learnt[settings.pairs.teaches(learnt)]
    if judge is not None:
        tiles = _read_pictures(judge, (channels, height, width), tiles=True)
        judged = tiles[np.linspace(0, len(tiles) - 1, min(settings.held_out, len(tiles))).astype(int)]
    else:
        _check_count(len(learnt), data)
        count = min(settings.held_out, len(learnt) // 10)
        order = np.random.default_rng(derive(seed, Stream.HELD_OUT, 0)).permutation(len(learnt))
        judged, learnt = learnt[order[:count]], learnt[np.sort(order[count:])]
    sides = ((learnt, settings.mirror), (judged, False))
    made = [
        PicturePairs(
            torch.from_numpy(each).permute(0, 3, 1, 2).to(device), settings.pairs, contract, mirror=mirror
        )
        for each, mirror in sides
    ]
    return made[0], made[1]


def _read_pictures(path: Path, shape: tuple[int, int, int], *, tiles: bool) -> NDArray[np.uint8]:
    return read_tiles(path, shape) if tiles else read_images(path, shape).images


def _read_sounds(
    settings: PairedTrainSettings,
    mel: Mel,
    contract: Contract,
    data: Path,
    judge: Path | None,
    device: torch.device,
) -> tuple[AnyPairs, AnyPairs]:
    """Read sounds; without others to judge by, the last tenth of them is held out, at least one."""
    modality = contract.only_output(Audio).modality
    assert isinstance(modality, Audio)
    learnt = read_sounds(data, modality.sample_rate)
    if judge is not None:
        judged = read_sounds(judge, modality.sample_rate)
    elif len(learnt) < 2:
        raise DataError(
            "one sound is too few: one is held out", where=str(data), next="give more, or set judge"
        )
    else:
        count = max(1, len(learnt) // 10)
        learnt, judged = learnt[:-count], learnt[-count:]
    return SoundPairs(learnt, mel, contract, device), SoundPairs(judged, mel, contract, device)


def _check_count(count: int, data: Path) -> None:
    if count < 20:
        raise DataError(
            f"{count} pictures are too few: a tenth of them is held out",
            where=str(data),
            next="give more, or set judge",
        )


def _check(contract: Contract, pairs: AnyPairs) -> None:
    """Raise `DataError` where a pair is not of the contract's shapes."""
    drawn = [torch.from_numpy(each) for each in pairs.draw(np.random.default_rng(0), 1)]
    device = pairs.pictures.device if isinstance(pairs, PicturePairs) else pairs.waves.device
    inputs, _ = pairs.make([each.to(device) for each in drawn])
    made = [tuple(each.shape[1:]) for each in inputs]
    wanted = [spec.shape for spec in contract.inputs]
    if made != wanted:
        raise DataError(
            f"the pairs' inputs have shapes {made}, the contract's {wanted}",
            where="train.pairs",
            next="correct the recipe's contract, or its pairs",
        )


def _batches(drawn: Sequence[Tensor], device: torch.device) -> Iterator[list[Tensor]]:
    for parts in zip(*(tensor.split(_AT_ONCE) for tensor in drawn)):
        yield [part.to(device) for part in parts]


def write_rows(file: Path, parts: Sequence[Mapping[str, NDArray]]) -> None:
    """Write arrays by name, each the rows of all parts."""
    content = io.BytesIO()
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    np.savez_compressed(content, **whole)  # pyright: ignore[reportArgumentType]
    write_bytes(file, content.getvalue())
