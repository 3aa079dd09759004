"""Quantized graphs judged as the files that they become, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.fx import GraphModule

from edgegan.compress.agreement import agreement
from edgegan.compress.export import export_onnx
from edgegan.compress.quantize.choose.budget import Budget
from edgegan.compress.quantize.choose.candidates import Samples
from edgegan.compress.stage import Candidate, FileFid
from edgegan.errors import StageError
from edgegan.runtime.artifact import Artifact
from edgegan.target import Target

FID_SAMPLES = 5000
"""Where the budget does not say how many."""


class FileEvaluator:
    """Judges for one target.

    Args:
        candidate: its student is the measure of all.
        samples: to judge graphs by.
        target: that the files are for.
        write: writes a quantized graph as the target's file.
        fid: of a file; None where the recipe has no features or no reference.
        fid_samples: how many outputs FID is of.
        batches: of the samples that a file's PSNR is of.
    """

    def __init__(
        self,
        candidate: Candidate,
        samples: Samples,
        target: Target,
        write: Callable[[GraphModule, Path], object],
        fid: FileFid | None = None,
        fid_samples: int = FID_SAMPLES,
        batches: tuple[int, ...] = (1, 64),
    ) -> None:
        self.candidate, self.samples, self.target, self.write = candidate, samples, target, write
        self.fid, self.fid_samples, self.batches = fid, fid_samples, batches

    @contextmanager
    def file(self, graph: GraphModule) -> Iterator[Path]:
        """Give the path of a graph's file, which is removed afterwards."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            self.write(graph, path)
            yield path

    def psnr_db(self, path: Path) -> float:
        """Return the PSNR in dB of a file's outputs to the student's, as the stage's proof measures it."""
        student, contract = self.candidate.student, self.candidate.contract
        found = agreement(self.target.int8_artifact(path), student, contract, batches=self.batches)
        return float(found["psnr_db"]) if found["finite"] else 0.0

    def fid_increase(self, path: Path) -> float:
        """Return by what share a file's FID is above the float student's, from the same latents.

        Raises:
            StageError: there is no way to measure FID.
        """
        return self._fid(self.target.int8_artifact(path)) / max(self._float_fid, 1e-9) - 1

    @cached_property
    def _float_fid(self) -> float:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export_onnx(self.candidate.student, self.candidate.contract, path)
            return self._fid(path)

    def _fid(self, file: Artifact | Path) -> float:
        assert self.fid is not None
        return self.fid(file, self.fid_samples)


def require_fid(budget: Budget, fid: FileFid | None, distinct: int | None) -> None:
    """Raise `StageError` where the budget is for FID, and FID cannot be measured on so many samples.

    Args:
        budget: what was asked for.
        fid: what measures it, if anything does.
        distinct: how many different samples the contract has; None where there is no end to them.
    """
    if budget.fid_increase is None:
        return
    if fid is None:
        raise StageError(
            f"the budget {budget} needs features of real images, and the recipe names none",
            where="quantize: quality",
            next="make them: edgegan train-features DATA; then quality: {features: FILE, reference: FILE}",
        )
    if distinct is not None and distinct < budget.fid_samples:
        raise StageError(
            f"the budget {budget} needs {budget.fid_samples} samples, and the contract has {distinct}",
            where="quantize: quality",
            next="ask for fewer, as in fid_1k_increase, or store more inputs",
        )
