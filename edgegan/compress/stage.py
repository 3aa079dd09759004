"""A stage changes a candidate: `requires`, then `run`, then `ensures`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import PrivateAttr, model_validator
from torch import nn

from edgegan.compress.structure import not_finite
from edgegan.errors import StageError
from edgegan.measure.metrics import Metric
from edgegan.recipe import Data
from edgegan.run.records import StageRecord
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract

__all__ = [
    "OLD_NAMES_UNTIL",
    "Candidate",
    "Context",
    "Progress",
    "Settings",
    "Stage",
    "StageRecord",
    "check_finite",
]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) while a stage works."""
OLD_NAMES_UNTIL = "0.3"
"""The version that no longer reads settings by the names that they had."""


class FileQuality(Protocol):
    """Measures a file's quality by any metric, on latents that the report does not use."""

    def metric(self, name: str) -> Metric:
        """Return the metric that is called `name`, or spelled `file.py:function`.

        Raises:
            UserError: there is none, it fits no output, or what it needs is absent.
        """
        ...

    def __call__(
        self, file: Artifact | Path, metric: Metric, samples: int, *, full: Path | None = None
    ) -> float:
        """Return a figure of a file on ONNX Runtime; of several outputs, that of the worst.

        Args:
            file: in question.
            metric: one of `metric`.
            samples: how many outputs it rests on.
            full: the file to compare with, for a metric of pairs.

        Raises:
            DataError: it cannot be measured.
            ModelError: ONNX Runtime cannot load or run a file.
        """
        ...


class Settings(Data):
    """Base of every stage's settings: unknown keys are refused, values do not change."""

    RENAMED: ClassVar[dict[str, str]] = {}
    """Settings by the names that they had; these are still read until `OLD_NAMES_UNTIL`."""
    _folder: Path = PrivateAttr(default=Path())
    """Where files lie that settings name."""

    @model_validator(mode="before")
    @classmethod
    def _take_old_names(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        for old, new in cls.RENAMED.items():
            if old in given and new in given:
                raise ValueError(f"{old} is the old name of {new}: give one of the two")
        return {cls.RENAMED.get(name, name): value for name, value in given.items()}

    def model_post_init(self, context: Path | None) -> None:
        """Take note of the recipe's folder, which is the validation's context where a recipe is read."""
        self._folder = context or Path()


@dataclass(frozen=True)
class Candidate:
    """What passes between stages. Modules are in eval mode, on the CPU, and never changed in place."""

    student: nn.Module
    teacher: nn.Module
    contract: Contract
    discriminator: nn.Module | None = None
    artifacts: tuple[Artifact, ...] = ()
    """The exported files, where they lie; no two have one name."""
    lineage: tuple[StageRecord, ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """The exported files by the names of their artifacts."""
        return {artifact.name: Path(artifact.file) for artifact in self.artifacts}

    def with_artifacts(self, *written: Artifact) -> Candidate:
        """Return a new candidate with these artifacts too, in place of those of the same names."""
        named = {artifact.name: artifact for artifact in (*self.artifacts, *written)}
        return replace(self, artifacts=tuple(named.values()))

    def with_record(self, record: StageRecord, **changes: Any) -> Candidate:
        """Return a new candidate with `changes` made and `record` at the end of its lineage."""
        return replace(self, lineage=(*self.lineage, record), **changes)


@dataclass(frozen=True)
class Context:
    """What a stage may use of the outside: its folder, the run's seed, a way to report progress, and FID."""

    folder: Path
    """The stage's own folder; files that it keeps go here. Written atomically, by `edgegan.files`."""
    seed: int = 0
    progress: Progress = lambda done, total: None
    quality: FileQuality | None = None
    """To choose by; None where nothing measures it."""
    say: Callable[[str], None] = lambda text: None
    """Takes a line for the user, such as how long the work will take."""


class Stage(ABC):
    """One step that turns a candidate into a new one."""

    name: ClassVar[str]
    parallel: ClassVar[bool] = False
    """Whether every process that `torchrun` started takes part; otherwise the first runs it alone."""
    revision: ClassVar[int] = 1
    """Raised by the author when equal settings give another result, so that kept results are made again."""
    settings: Any
    """The stage's own kind of `Settings`. The default of a new option is what the stage did before it."""

    def rests_on(self) -> dict[str, Any]:
        """Return, as plain data, what results rest on that the settings only name: what a file holds."""
        return {}

    @abstractmethod
    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where the candidate cannot be used."""

    @abstractmethod
    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Return a new candidate whose lineage ends in this stage's record."""

    @abstractmethod
    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` where the result is not what the stage promises."""


def check_finite(module: nn.Module, stage: str) -> None:
    """Raise `StageError` where a weight or a statistic is NaN or infinite."""
    if broken := not_finite(module):
        raise StageError(
            "the weights are not finite",
            where=f"{stage}: {broken[0]}",
            next="go back to the last checkpoint whose weights are finite",
        )
