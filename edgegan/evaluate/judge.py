"""How good the outputs of files are, beside those of one: the same for a run and for `edgegan bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from edgegan.errors import EdgeganError
from edgegan.files import sha256
from edgegan.measure.features import Extractor, Reference
from edgegan.measure.metrics import Metric, columns
from edgegan.measure.outputs import Outputs, collect
from edgegan.measure.scores import score
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract

SEED = 1
"""Of the latents that models are compared on: not the run's own, which stages may have learned from."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class Judge:
    """Judges files that keep one contract by their outputs from equal latents.

    Args:
        full: the file that the others are compared with; None where there is nothing to compare with.
        contract: what the files take and give, and how inputs are sampled.
        samples: how many outputs are looked at; no more than there are stored inputs, where all are stored.
        threads: of the engine.
        extractor: what FID and its kin are measured in.
        reference: the file of the real images' statistics in the extractor's features.
        metrics: what is measured; by default what suits the contract's outputs.

    Raises:
        DataError: the reference is absent, damaged, or is not of the extractor.
        InputError: a metric is unknown, or cannot be measured of these outputs.
    """

    def __init__(
        self,
        full: Path | None,
        contract: Contract,
        *,
        samples: int,
        threads: int,
        extractor: Extractor | None = None,
        reference: Path | None = None,
        metrics: Sequence[str | Metric] | None = None,
    ) -> None:
        most = contract.distinct()
        self.full, self.contract, self.threads = full, contract, threads
        self.samples = samples if most is None else min(samples, most)
        self.extractor = extractor
        self.reference = Reference.load(reference, extractor) if reference and extractor else None
        self.reference_name = (
            f"{reference.name} {sha256(reference)[:8]} ({self.reference.statistics.n} images)"
            if reference and self.reference
            else None
        )
        self.columns = columns(contract, self.samples, reference=self.reference is not None, names=metrics)

    def judge(
        self, file: Path | Artifact, progress: Progress, *, engine: str = USUAL_ENGINE
    ) -> tuple[dict[str, Any], Outputs | None]:
        """Return the `figures` of a file's outputs, those that `failed` and `warnings`; and the outputs."""
        path = Path(file.file) if isinstance(file, Artifact) else file
        is_full = path == self.full and engine == USUAL_ENGINE
        try:
            outputs = self._collect(file, engine, self.reference is not None, progress)
            full = None if self.full is None or is_full else self._full
        except EdgeganError as error:
            return {"figures": {}, "failed": {"quality": error.what}, "warnings": []}, None
        if is_full:
            self.__dict__.setdefault("_full", outputs)
        scores = score(outputs, full, self.reference, self.columns)
        return {"figures": scores.figures, "failed": scores.failed, "warnings": scores.warnings}, outputs

    @cached_property
    def _full(self) -> Outputs:
        assert self.full is not None
        return self._collect(self.full, USUAL_ENGINE, False, lambda done, total: None)

    def _collect(self, file: Path | Artifact, engine: str, features: bool, progress: Progress) -> Outputs:
        return collect(
            file,
            self.contract,
            engine=engine,
            samples=self.samples,
            seed=SEED,
            extractor=self.extractor if features else None,
            threads=self.threads,
            progress=progress,
        )
