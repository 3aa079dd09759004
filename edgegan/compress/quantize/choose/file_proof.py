"""Files held against the float student on samples that chose nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from edgegan.compress.agreement import Comparison, compare
from edgegan.compress.psnr import each_psnr_of
from edgegan.compress.quantize.choose.budget import PSNR_DB, Budget
from edgegan.files import sha256
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays, Contract


class FileProof:
    """Compares files with a student; one that was seen before is not run again.

    Args:
        student: in float.
        contract: its.
        inputs: in batches.
    """

    def __init__(self, student: nn.Module, contract: Contract, inputs: Sequence[Arrays]) -> None:
        self.student, self.contract, self.inputs = student, contract, inputs
        self._seen: dict[str, Comparison] = {}

    def __call__(self, artifact: Artifact) -> Comparison:
        """Return how far a file on ONNX Runtime is from the student."""
        key = f"{artifact.name} {sha256(Path(artifact.file))}"
        if key not in self._seen:
            self._seen[key] = compare(artifact, self.student, self.contract, self.inputs)
        return self._seen[key]


def judged(found: Comparison, budget: Budget) -> dict[str, Any]:
    """Return what to record of a file beside `figures`: what is sure, the worst sample, and the range used.

    And where the budget limits dB, how many samples are under that.
    """
    if not found.errors:
        return {"sure_psnr_db": found.sure_psnr_db}
    each, limit_db = each_psnr_of(found.errors), budget.to_dict().get(PSNR_DB)
    under = {} if limit_db is None else {"under_budget_share": float((each < limit_db).double().mean())}
    return {
        "sure_psnr_db": round(found.sure_psnr_db, 2),
        "worst_psnr_db": round(float(each.min()), 2),
        **under,
        "range_used_share": found.range_used_share,
    }
