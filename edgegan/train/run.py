"""Train a recipe's teacher, from the recipe as it stands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from edgegan.compress.load import build_module
from edgegan.errors import RecipeError
from edgegan.learning.devices import launch
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.owned import held
from edgegan.recipe import INCEPTION, Recipe
from edgegan.runtime.modality import Image
from edgegan.train.data import read_images
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import Scorer, TeacherTraining


@dataclass(frozen=True)
class TrainedTeacher:
    """The files that a training run wrote, and its last FID (None where the recipe names no quality)."""

    generator: Path
    discriminator: Path
    log: Path
    fid: float | None


def train_teacher(
    recipe: str | Path,
    *,
    data: Path | None = None,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainedTeacher:
    """Train the teacher of `recipe`; a run that was broken off goes on where it was.

    Args:
        recipe: the recipe's folder.
        data: labelled images (folder, zip or npz), in place of the recipe's `train.data`.
        out: the run's folder: absent, empty, or one that training made; by default `runs/<name>-teacher`.
        progress: called with (steps done, steps in all).

    Raises:
        RecipeError: the recipe has no `train` section, no discriminator or no data.
        DataError: the images cannot be read, or do not fit the contract.
        StageError: training diverged.
        StorageError: the folder is in use for something else, or may not be written.
    """
    read = Recipe.read(recipe)
    if read.train is None or read.discriminator is None:
        raise RecipeError(
            "training needs a `train` section and a `discriminator`",
            where=str(recipe),
            next="see recipes/cifar10",
        )
    settings = TrainSettings.of(read.train)
    source = data or (read.folder / settings.data if settings.data else None)
    if source is None:
        raise RecipeError("no data to train on", where=str(recipe), next="give --data, or set train.data")
    folder = Path("runs") / f"{read.name}-teacher" if out is None else out
    apart = [read.folder, source, *(path for _, path in read.files())]
    fabric = launch("auto")
    if settings.batch % fabric.world_size:
        raise RecipeError(
            f"a batch of {settings.batch} cannot be split evenly over {fabric.world_size} processes",
            where=str(recipe),
            next=f"set train.batch to a multiple of {fabric.world_size}",
        )
    with held(folder, "teacher", apart=apart) if fabric.is_global_zero else nullcontext():
        torch.manual_seed(read.seed)
        training = TeacherTraining(
            build_module(read.model, read.folder),
            build_module(read.discriminator, read.folder),
            read.contract,
            read_images(source, read.contract.only_output(Image).shape),  # pyright: ignore[reportArgumentType]
            settings,
            Path(folder),
            seed=read.seed,
            scorer=_scorer(read),
            fabric=fabric,
        )
        training.run(progress)
    folder, log = training.folder, training.log
    scores = [row[training.score_name] for row in log.rows if training.score_name in row]
    return TrainedTeacher(
        folder / "generator.safetensors",
        folder / "discriminator.safetensors",
        log.path,
        scores[-1] if scores else None,
    )


def _scorer(recipe: Recipe) -> Scorer | None:
    quality = recipe.quality
    if quality is None or quality.features is None or quality.reference is None:
        return None
    if quality.features == INCEPTION:
        raise RecipeError(
            "training scores itself with an ONNX extractor, not with Inception",
            next="make one with `edgegan train-features DATA`, or leave `quality` out while training",
        )
    extractor = OnnxExtractor(recipe.folder / quality.features)
    return Scorer(extractor, Reference.load(recipe.folder / quality.reference, extractor))
