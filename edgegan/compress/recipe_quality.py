"""What a recipe has its models measured with: its extractor, reference, samples and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edgegan.compress.inception import extractor_of
from edgegan.compress.stage import FileFid
from edgegan.errors import DataError
from edgegan.evaluate.evaluation import Evaluation, Model, usual_threads
from edgegan.measure import quality
from edgegan.measure.features import Extractor, Reference
from edgegan.measure.fid import Statistics, fid
from edgegan.recipe import Recipe
from edgegan.runtime.artifact import Artifact

CHOOSING_SEED = 2
"""Of the latents that a stage may choose by: not those of the report."""


def evaluation_of(recipe: Recipe, models: Sequence[Model], run: Path) -> Evaluation:
    """Return what measures the `models` of a recipe's run, the full one first, in the folder `run`.

    Raises:
        DataError: the extractor or the reference is absent, damaged, or they don't belong together.
    """
    wanted = recipe.quality
    return Evaluation(
        models,
        recipe.judged,
        run,
        samples=wanted.samples if wanted else None,
        seconds=recipe.latency.seconds if recipe.latency else None,
        extractor=extractor_of(recipe, threads=usual_threads()),
        reference=recipe.path(wanted.reference) if wanted and wanted.reference else None,
        seen=recipe.judged == recipe.contract,
    )


def file_fid(recipe: Recipe) -> FileFid | None:
    """Return what measures the FID that stages choose by; None where the recipe has no reference.

    Raises (when called, not here):
        DataError: the extractor or the reference is absent, damaged, or they don't belong together, or the
            outputs are no images.
        ModelError: ONNX Runtime cannot load or run the file.
    """
    wanted = recipe.quality
    if wanted is None or wanted.reference is None:
        return None
    threads, file = usual_threads(), recipe.path(wanted.reference)

    @cache
    def measure() -> tuple[Extractor, Reference]:
        extractor = extractor_of(recipe, threads=threads)
        assert extractor is not None
        return extractor, Reference.load(file, extractor)

    def score(file: Artifact | Path, samples: int) -> float:
        extractor, reference = measure()
        outputs = quality.collect(
            file,
            recipe.contract,
            samples=samples,
            seed=CHOOSING_SEED,
            extractor=extractor,
            threads=threads,
        )
        if outputs.features is None:
            raise DataError("the first output is not an image, so it has no FID", where="contract")
        return fid(Statistics.of(outputs.features), reference.statistics)

    return score
