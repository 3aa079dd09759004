"""Quantized graphs judged as the files that they become, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.fx import GraphModule

from edgegan.compress.export import export_onnx
from edgegan.compress.quantize.choose.budget import PSNR_DB, Budget, Limit
from edgegan.compress.quantize.choose.candidates import Samples
from edgegan.compress.quantize.choose.file_proof import FileProof
from edgegan.compress.stage import Candidate, FileQuality
from edgegan.errors import StageError, UserError
from edgegan.measure.metrics.fid import FID
from edgegan.measure.metrics.registry import suffix
from edgegan.runtime.artifact import Artifact
from edgegan.target import Target

FID_SAMPLES = 5000
"""Of single layers' FID, where the budget does not say how many."""
SAMPLES = 256
"""Of a figure to the float outputs."""


class FileEvaluator:
    """Judges for one target; at its end it removes the files that it needed.

    Args:
        candidate: its student is the measure of all.
        samples: to judge graphs by.
        target: that the files are for.
        write: writes a quantized graph as the target's file.
        proof: compares a file with the student.
        quality: measures a file by any metric; None where only PSNR can be.
        budget: what is asked for.
    """

    def __init__(
        self,
        candidate: Candidate,
        samples: Samples,
        target: Target,
        write: Callable[[GraphModule, Path], object],
        proof: FileProof,
        quality: FileQuality | None = None,
        budget: Budget = Budget(),  # noqa: B008
    ) -> None:
        self.candidate, self.samples, self.target, self.write = candidate, samples, target, write
        self.proof, self.quality, self.budget = proof, quality, budget
        self.fid = _fid_of(budget, quality)
        self._before: dict[str, float] = {}
        self._open = ExitStack()

    def __enter__(self) -> FileEvaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def file(self, graph: GraphModule) -> Iterator[Path]:
        """Give the path of a graph's file, which is removed afterwards."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            self.write(graph, path)
            yield path

    def sure_psnr_db(self, path: Path) -> float:
        """Return what a file's PSNR to the student is on other samples, as the stage's proof has it."""
        return self.proof(self.target.int8_artifact(path)).sure_psnr_db

    def measure(self, path: Path, limit: Limit) -> float:
        """Return a file's figure; of a relative limit, by what share it is worse than the float student's.

        Raises:
            DataError: it cannot be measured.
        """
        found = self._figure(self.target.int8_artifact(path), limit)
        if not limit.relative:
            return found
        if limit.name not in self._before:
            self._before[limit.name] = self._figure(self._float, limit)
        return limit.change(found, self._before[limit.name])

    def _figure(self, file: Artifact | Path, limit: Limit) -> float:
        assert self.quality is not None
        full = self._float if limit.metric.spec.needs == "pair" else None
        return self.quality(file, limit.metric, limit.samples or SAMPLES, full=full)

    @cached_property
    def _float(self) -> Path:
        """The float student's file."""
        path = Path(self._open.enter_context(TemporaryDirectory())) / "model.onnx"
        export_onnx(self.candidate.student, self.candidate.contract, path)
        return path


def _fid_of(budget: Budget, quality: FileQuality | None) -> Limit | None:
    """Return the FID that is measured of single layers, the budget's if it has one; None if nothing can."""
    asked = [limit for limit in budget.limits if limit.metric == FID and limit.relative]
    if asked or quality is None:
        return asked[0] if asked else None
    try:
        quality.metric(FID.spec.name)
    except UserError:
        return None
    return Limit.of(f"fid_{suffix(FID_SAMPLES)}_increase", 0.0)


def measurable(quality: Mapping[str, float], by: FileQuality | None, distinct: int | None) -> Budget:
    """Return the budget that a setting stands for.

    Args:
        quality: the setting.
        by: what measures it, if anything does.
        distinct: how many different samples the contract has; None where there is no end to them.

    Raises:
        StageError: a figure cannot be measured, or not on so many samples.
    """
    try:
        budget = Budget.of(quality, by.metric) if by else Budget.of(quality)
    except UserError as error:
        raise StageError(error.what, where="quantize: quality", next=error.next) from error
    for limit in budget.limits:
        if by is None and limit.name != PSNR_DB:
            raise StageError(
                f"the budget {limit} needs a recipe's `quality` to be measured with, and there is none",
                where="quantize: quality",
                next="give the stage a context with `quality`, or leave it at psnr_db",
            )
        if distinct is not None and distinct < (limit.samples or 0):
            raise StageError(
                f"the budget {limit} needs {limit.samples} samples, and the contract has {distinct}",
                where="quantize: quality",
                next="ask for fewer, as in fid_1k_increase, or store more inputs",
            )
    return budget
