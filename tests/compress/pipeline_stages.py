"""Small stages for tests of the pipeline; also run as a program, to be killed."""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from edgegan.compress import structure
from edgegan.compress.pipeline import Pipeline
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.errors import ProofError, StageError
from edgegan.files import write_bytes
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract

CONTRACT = Contract.from_dict(
    {
        "inputs": [{"name": "z", "shape": [4], "sample": {"kind": "normal"}}],
        "outputs": [{"name": "x", "shape": [2], "layout": ""}],
    }
)


class FakeSettings(Settings):
    width: int = 3
    amount: float = 0.1
    ticks: int = 3
    pause: float = 0.0


class Fake(Stage):
    """Base: counts its runs."""

    runs: ClassVar[list[str]] = []

    def __init__(self, **settings: Any) -> None:
        self.settings = FakeSettings(**settings)

    def requires(self, candidate: Candidate) -> None:
        pass

    def ensures(self, before: Candidate, after: Candidate) -> None:
        if after.contract != before.contract:
            raise ProofError("the contract changed")

    def record(self) -> StageRecord:
        return StageRecord(self.name, self.settings.model_dump(), {}, {}, 0.5)

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        Fake.runs.append(self.name)
        for tick in range(self.settings.ticks):
            time.sleep(self.settings.pause)
            context.progress(tick + 1, self.settings.ticks)
        return self.work(candidate, context)

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        raise NotImplementedError


class Shrink(Fake):
    name = "shrink"

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        student = copy.deepcopy(candidate.student)
        weights = student.state_dict()
        width = self.settings.width
        shapes = {"0.weight": [width, 4], "0.bias": [width], "2.weight": [2, width], "2.bias": [2]}
        structure.resize(student, shapes)
        student.load_state_dict(
            {key: weights[key][tuple(slice(size) for size in shape)] for key, shape in shapes.items()}
        )
        return candidate.with_record(self.record(), student=student)


class Shake(Fake):
    name = "shake"

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        student = copy.deepcopy(candidate.student)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=self.settings.amount)
        return candidate.with_record(self.record(), student=student)


class Ship(Fake):
    name = "ship"

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        path = context.folder / "model.fp32.onnx"
        write_bytes(path, b"".join(v.numpy().tobytes() for v in candidate.student.state_dict().values()))
        return candidate.with_artifacts(Artifact("fp32", str(path))).with_record(self.record())


class Fail(Fake):
    name = "fail"
    error: Exception = StageError("it cannot be done")

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        raise self.error


class Misfit(Fake):
    """Calls the student with inputs of a wrong shape."""

    name = "misfit"

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        candidate.student(torch.zeros(1, 5))
        return candidate.with_record(self.record())


class Liar(Fake):
    name = "liar"

    def work(self, candidate: Candidate, context: Context) -> Candidate:
        other = Contract(CONTRACT.inputs, CONTRACT.outputs * 2)
        return candidate.with_record(self.record(), contract=other)


def first(seed: int = 0) -> Candidate:
    torch.manual_seed(seed)
    teacher = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).eval().requires_grad_(False)
    return Candidate(copy.deepcopy(teacher), teacher, CONTRACT)


def stages(pause: float = 0.0) -> list[Stage]:
    return [Shrink(pause=pause), Shake(pause=pause), Shake(amount=0.3, pause=pause), Ship(pause=pause)]


def main(folder: str, pause: str) -> None:
    pipeline = Pipeline(stages(float(pause)), origin="first")
    print("ready", flush=True)
    pipeline.run(first(), Context(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
