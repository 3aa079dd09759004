"""Files held against the float student on samples that chose nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from edgegan.compress.agreement import Comparison, compare
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
