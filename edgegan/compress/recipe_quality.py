"""What a recipe has its models measured with: its metrics, extractor, reference, samples and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from edgegan.compress.inception import extractor_of
from edgegan.compress.user_code import own_metric
from edgegan.errors import DataError
from edgegan.evaluate.evaluation import Evaluation, Model, usual_threads
from edgegan.measure.features import Extractor, Reference
from edgegan.measure.metrics import Metric, columns, find
from edgegan.measure.outputs import Outputs, collect
from edgegan.measure.scores import score
from edgegan.recipe import OWN_METRIC, Recipe
from edgegan.runtime.artifact import Artifact

CHOOSING_SEED = 2
"""Of the latents that a stage may choose by: not those of the report."""


def evaluation_of(recipe: Recipe, models: Sequence[Model], run: Path) -> Evaluation:
    """Return what measures the `models` of a recipe's run, the full one first, in the folder `run`.

    Raises:
        DataError: the extractor or the reference is absent, damaged, or they don't belong together.
        ModelError: a metric of the recipe's own cannot be imported.
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
        metrics=metrics_of(recipe),
    )


def metrics_of(recipe: Recipe) -> list[Metric] | None:
    """Return the metrics that a recipe names, its own functions imported; None where it leaves the choice.

    Raises:
        ModelError: a metric of the recipe's own cannot be imported.
    """
    if recipe.quality is None or recipe.quality.metrics is None:
        return None
    return [_metric(recipe, name) for name in recipe.quality.metrics]


def _metric(recipe: Recipe, name: str) -> Metric:
    return own_metric(name, recipe.folder) if OWN_METRIC.fullmatch(name) else find(name)


class RecipeQuality:
    """Measures files by any metric, for stages to choose by: see `FileQuality`.

    Args:
        recipe: its contract, its own metrics, its features and reference.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.contract, self.threads = recipe, recipe.contract, usual_threads()
        self._full = lru_cache(1)(self._collect)

    def metric(self, name: str) -> Metric:
        """Return the metric that is called `name`, or spelled `file.py:function`.

        Raises:
            InputError: there is none, it fits no output, or needs a reference and the recipe has none.
            ModelError: it is the recipe's own and cannot be imported.
        """
        found = _metric(self.recipe, name)
        reference = bool(self.recipe.quality and self.recipe.quality.reference)
        columns(self.contract, 2, reference=reference, names=[found])
        return found

    def __call__(
        self, file: Artifact | Path, metric: Metric, samples: int, *, full: Path | None = None
    ) -> float:
        """Return a figure of a file; see `FileQuality`."""
        needs = metric.spec.needs
        extractor, reference = self._reference if needs == "reference" else (None, None)
        asked = columns(self.contract, samples, reference=reference is not None, names=[metric])
        outputs = self._collect(file, samples, extractor)
        others = self._full(full, samples) if needs == "pair" and full else None
        scores = score(outputs, others, reference, asked)
        for name, reason in scores.failed.items():
            raise DataError(
                f"{name} could not be measured: {reason}",
                where=str(file.file if isinstance(file, Artifact) else file),
            )
        values = [
            figure["value"] if isinstance(figure, dict) else figure for figure in scores.figures.values()
        ]
        return float(min(values) if metric.spec.better == "higher" else max(values))

    @cached_property
    def _reference(self) -> tuple[Extractor, Reference]:
        wanted, extractor = self.recipe.quality, extractor_of(self.recipe, threads=self.threads)
        assert extractor is not None
        assert wanted is not None
        assert wanted.reference is not None
        return extractor, Reference.load(self.recipe.path(wanted.reference), extractor)

    def _collect(self, file: Artifact | Path, samples: int, extractor: Extractor | None = None) -> Outputs:
        return collect(
            file,
            self.contract,
            samples=samples,
            seed=CHOOSING_SEED,
            extractor=extractor,
            threads=self.threads,
        )
