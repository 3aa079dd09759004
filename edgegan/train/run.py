"""Train a recipe's teacher, from the recipe as it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric

from edgegan.compress.load import build_module, load_module
from edgegan.compress.recipe_quality import metrics_of
from edgegan.errors import RecipeError
from edgegan.learning.devices import launch
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics import Metric, find
from edgegan.owned import held
from edgegan.recipe import INCEPTION, Recipe
from edgegan.runtime import pictures
from edgegan.train.paired import PairedTeacherTraining, read_pairs
from edgegan.train.samples import read_samples
from edgegan.train.settings import (
    AnyTrainSettings,
    PairedTrainSettings,
    UnpairedTrainSettings,
    train_settings,
)
from edgegan.train.teacher import Scorer, TeacherTraining
from edgegan.train.training import Training
from edgegan.train.unpaired import UnpairedTeacherTraining


@dataclass(frozen=True)
class TrainedTeacher:
    """The files that a training run wrote, and how its generator was last scored."""

    generator: Path
    discriminator: Path | None
    """None where nothing was learnt from one."""
    log: Path
    fid: float | None
    """None where the recipe names no quality, and where training was on pairs or without them."""
    troubles: tuple[str, ...] = ()
    """What the monitor saw, as a collapse, and what it did about it."""
    held_out: Mapping[str, float] = field(default_factory=dict)
    """Of training on pairs: figures on those held out, as "psnr_db"; "baseline_psnr_db" is of no network."""


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
        data: labelled images (folder, zip or npz), samples of another modality (npz), or what the recipe's
            pairs are made of, in place of the recipe's `train.data`.
        out: the run's folder: absent, empty, or one that training made; by default `runs/<name>-teacher`.
        progress: called with (steps done, steps in all).

    Raises:
        RecipeError: the recipe has no `train` section, no discriminator or no data.
        DataError: the samples cannot be read, or do not fit the contract.
        StageError: training diverged.
        StorageError: the folder is in use for something else, or may not be written.
    """
    read = Recipe.read(recipe)
    if read.train is None:
        raise RecipeError("training needs a `train` section", where=str(recipe), next="see recipes/cifar10")
    settings = train_settings(read.train)
    learns = not isinstance(settings, PairedTrainSettings) or settings.adversarial > 0
    if learns and read.discriminator is None:
        raise RecipeError(
            "this training needs a `discriminator`", where=str(recipe), next="see recipes/cifar10"
        )
    source = data or (read.folder / settings.data if settings.data else None)
    if source is None:
        raise RecipeError("no data to train on", where=str(recipe), next="give --data, or set train.data")
    folder = Path("runs") / f"{read.name}-teacher" if out is None else out
    apart = [read.folder, source, *(path for _, path in read.files())]
    fabric = launch(settings.precision)
    if settings.batch % fabric.world_size:
        raise RecipeError(
            f"a batch of {settings.batch} cannot be split evenly over {fabric.world_size} processes",
            where=str(recipe),
            next=f"set train.batch to a multiple of {fabric.world_size}",
        )
    with held(folder, "teacher", apart=apart) if fabric.is_global_zero else nullcontext():
        training = _training(read, settings, source, Path(folder), fabric)
        training.run(progress)
    folder, log = training.folder, training.log
    rows = [row for row in log.rows if any(name in row for name in training.score_names)]
    scores = {name: rows[-1][name] for name in training.score_names if rows and name in rows[-1]}
    paired = isinstance(training, PairedTeacherTraining)
    return TrainedTeacher(
        folder / "generator.safetensors",
        folder / "discriminator.safetensors" if learns else None,
        log.path,
        None if paired else next(iter(scores.values()), None),
        tuple(map(str, training.troubles)),
        scores if paired else {},
    )


def _training(
    recipe: Recipe, settings: AnyTrainSettings, source: Path, folder: Path, fabric: Fabric
) -> Training:
    """Build the networks, read what they learn from, and return the training of the kind that is set."""
    torch.manual_seed(recipe.seed)
    generator = build_module(recipe.model, recipe.folder)
    discriminator = build_module(recipe.discriminator, recipe.folder) if recipe.discriminator else None
    contract, seed = recipe.contract, recipe.seed
    if isinstance(settings, PairedTrainSettings):
        judge = recipe.path(settings.judge) if settings.judge else None
        painting = recipe.path(settings.painting) if settings.painting else None
        return PairedTeacherTraining(
            generator,
            discriminator if settings.adversarial else None,
            contract,
            read_pairs(settings, contract, source, judge, seed, fabric.device),
            settings,
            folder,
            seed=seed,
            metrics=_paired_metrics(recipe),
            fabric=fabric,
            extractor=load_module(settings.extractor, recipe.folder) if settings.extractor else None,
            painting=pictures.read(painting, (3, None, None), resize=False) if painting else None,
        )
    assert discriminator is not None
    if isinstance(settings, UnpairedTrainSettings):
        return UnpairedTeacherTraining(
            generator, discriminator, contract, source, settings, folder, seed=seed, fabric=fabric
        )
    return TeacherTraining(
        generator,
        discriminator,
        contract,
        read_samples(source, contract.outputs[0]),
        settings,
        folder,
        seed=seed,
        scorer=_scorer(recipe),
        fabric=fabric,
    )


def _paired_metrics(recipe: Recipe) -> list[Metric]:
    """Return what compares outputs with targets: of the recipe's metrics, or the output's own."""
    asked = metrics_of(recipe)
    metrics = [find(name) for name in recipe.contract.outputs[0].modality.metrics] if asked is None else asked
    return [metric for metric in metrics if metric.spec.needs == "pair"]


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
