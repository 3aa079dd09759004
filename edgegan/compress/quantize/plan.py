"""What the stage `quantize` decides once, on its first target, for the files of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch.fx import GraphModule

from edgegan.compress import memory
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.budget import DEFAULT_DB, PSNR_DB, Budget
from edgegan.compress.quantize.choose.candidates import Improvement, Samples, Start, Trial
from edgegan.compress.quantize.choose.effort import BACK, Effort
from edgegan.compress.quantize.choose.file_evaluator import measurable
from edgegan.compress.quantize.choose.file_proof import FileProof
from edgegan.compress.quantize.choose.float_layers import SHARES
from edgegan.compress.quantize.choose.quantized_layers import Layers, choose_layers
from edgegan.compress.quantize.improve.bias_correction import reconstructions
from edgegan.compress.quantize.settings import QuantizeSettings
from edgegan.compress.quantize.steps import Steps
from edgegan.compress.stage import Candidate, Context
from edgegan.target import Target

AUTOMATIC: tuple[Calibrator, ...] = ("weighted_mse", "mse", "percentile", "mae")

IMPORTED_GIB = 0.6
"""What torch and the rest take by themselves."""
LONG = 120
"""Seconds from which on it is said how to save some."""


@dataclass(frozen=True)
class Task:
    """What is to be quantized, and on what that is judged."""

    candidate: Candidate
    context: Context
    settings: QuantizeSettings
    layers: Layers
    effort: Effort
    samples: Samples
    prove: FileProof
    budget: Budget

    @classmethod
    def of(
        cls, candidate: Candidate, context: Context, settings: QuantizeSettings, graph: GraphModule
    ) -> Task:
        """Return the task of quantizing a candidate's student, of which `graph` is the rewritten graph.

        Raises:
            StageError: `skip` or `quality` cannot be, or no layer is left to quantize.
        """
        modules = [name for name, _ in candidate.student.named_modules() if name]
        layers = choose_layers(graph, settings.skip, modules)
        default = settings.quality is None and not settings.fast and settings.distill is None
        quality = {PSNR_DB: DEFAULT_DB} if default else settings.quality or {}
        budget = measurable(quality, None if default else context.quality, candidate.contract.distinct())
        effort = Effort.of(graph, settings.samples)
        counts = effort.calibration, context.seed, effort.judging, effort.proving
        samples = Samples.of(graph, candidate.contract, *counts)
        prove = FileProof(candidate.student, candidate.contract, samples.proving)
        return cls(candidate, context, settings, layers, effort, samples, prove, budget)

    @property
    def in_db(self) -> bool:
        """Whether the budget is in dB alone."""
        return set(self.budget.to_dict()) == {PSNR_DB}

    @property
    def assigning(self) -> int:
        """How many steps it may take at most to find the layers in float of one file."""
        settings = self.settings
        if not settings.sensitivity and not self.budget.limits:
            return 0
        left = len(self.layers.macs) - len(self.layers.skip)
        back = BACK * left + len(SHARES) if self.in_db else 0
        return self.effort.rounds(len(self.layers.macs)) * (left + 1) + 2 + left * settings.sensitivity + back

    @property
    def most_steps(self) -> int:
        """How many steps one file may take at most."""
        return 1 + self.assigning + (self.settings.distill.steps if self.settings.distill else 0)

    def rank(self, trial: Trial) -> float:
        """Return how good a trial is: by what a budget in dB asks for, else by the mean over samples."""
        return trial.sure_psnr_db if self.in_db else trial.mean_psnr_db


@dataclass(frozen=True)
class Ways:
    """What is to be tried."""

    starts: Sequence[Start]
    calibrators: tuple[Calibrator, ...]
    headroom: tuple[float, ...]
    gptq: bool
    bias_correction: bool

    @classmethod
    def of(cls, task: Task, graph: GraphModule) -> Ways:
        """Return the ways to quantize a graph that the task's settings allow.

        Raises:
            ProofError: its channels are to be equalized, and that changes its outputs.
        """
        settings = task.settings
        thorough, chosen = not settings.fast, settings.calibrator
        automatic = AUTOMATIC if thorough else AUTOMATIC[:1]
        return cls(
            candidates.starts(
                graph, task.samples, settings.equalize if thorough else settings.equalize is True
            ),
            automatic if chosen == "auto" else (chosen,),
            candidates.HEADROOM if settings.headroom and thorough and task.in_db else (),
            settings.gptq and thorough,
            settings.bias_correction and thorough,
        )

    @property
    def count(self) -> int:
        """How many trials that makes."""
        improvements = 2 ** (self.gptq + self.bias_correction) - 1
        return len(self.starts) * len(self.calibrators) + len(self.headroom) + improvements


@dataclass(frozen=True)
class Plan:
    """How a student is quantized."""

    task: Task
    start: Start
    trials: Sequence[Trial]
    """The best first."""
    improvements: Sequence[Improvement]
    """The best trial's."""
    samples: Samples
    """To judge by from here on; those to calibrate with are the task's."""

    @classmethod
    def of(cls, task: Task, ways: Ways, target: Target, steps: Steps) -> Plan:
        """Find the best start and calibrator, and then whether a reconstruction makes it better."""
        assert target.int8 is not None
        common, others = (task.layers, target.int8), (task.rank, steps)
        start, tried = candidates.best(ways.starts, *common, ways.calibrators, task.samples, *others)
        calibrated, left, samples = tried[:1], tried[1:], task.samples
        if ways.headroom:
            samples = samples.others(start.graph, task.effort.proving, task.context.seed)
            wider = [replace(start, headroom=headroom) for headroom in ways.headroom]
            start, calibrated = candidates.best(wider, *common, (calibrated[0].calibrator,), samples, *others)
        found = reconstructions(
            start.graph, task.samples.batches, rounding=ways.gptq, bias=ways.bias_correction
        )
        improved = candidates.improve(start, *common, calibrated[0], found, samples, steps)
        best, *worse = sorted([*calibrated, *improved], key=task.rank, reverse=True)
        improvements = [found[best.improvements]] if best.improvements else []
        return cls(task, start, [best, *worse, *left], improvements, samples)

    @property
    def calibrator(self) -> Calibrator:
        """The best trial's."""
        return self.trials[0].calibrator


def announcement(task: Task, ways: Ways, graph: GraphModule, targets: int) -> str:
    """Return about what time and memory it takes to write the files of so many targets."""
    each, layers = task.samples.seconds, len(task.layers.macs)
    common = {"starts": len(ways.starts), "trials": ways.count, "layers": layers}
    seconds = task.effort.seconds(each, files=targets, **common)
    more = task.effort.seconds(each, files=2 * targets, **common) - seconds
    more += targets * task.effort.looking_seconds(each, layers)
    gib = IMPORTED_GIB + memory.most_bytes(graph) / 2**30
    mixed = f", up to {more:.0f} s more where layers have to stay in float" if task.budget.limits else ""
    faster = "; `fast: true` under `quantize` calibrates alone" if seconds > LONG else ""
    return f"about {seconds:.0f} s and {gib:.1f} GiB{mixed}{faster}"
