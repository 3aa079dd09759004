"""The ways to quantize, tried in turn on calibration samples; the best on other samples wins."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgegan.compress import memory
from edgegan.compress.example_inputs import example
from edgegan.compress.free_axes import trials
from edgegan.compress.psnr import mean_psnr_of, psnr_of, squared_errors, sure_psnr_of
from edgegan.compress.quantize.calibrate.calibration import Batches, Calibration, Statistics, observe
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.calibrate.neural_compressor import Calibrate, quantize
from edgegan.compress.quantize.choose.quantized_layers import Layers
from edgegan.compress.quantize.deploy.integer_reference import round_biases
from edgegan.compress.quantize.improve.equalize import center_channels, equalize_channels
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.compress.rewrite import Change, rewrite
from edgegan.compress.rewrite.graph import outputs
from edgegan.errors import ProofError
from edgegan.runtime.contract import Arrays, Contract
from edgegan.target import Int8

BATCH = 32
SEED = 0x5EED
JUDGING_SAMPLES = 64
HEADROOM = (1.0, 1.1, 1.25, 1.5)
"""To be tried. A few samples in a thousand reach farther than any that calibrates, and a cut value costs them
10 to 20 dB; coarser steps cost all others 1 to 2."""

Improvement = Callable[[GraphModule, GraphModule, Batches], object]
"""Makes a prepared graph, whose levels are set, better: (prepared, float graph, calibration batches)."""


@dataclass(frozen=True)
class Samples:
    """Inputs to calibrate with, others to judge by, and the float outputs of these."""

    batches: Batches
    judging: Batches
    expected: Sequence[tuple[Tensor, ...]]
    contract: Contract
    seconds: float = 0.0
    """What a sample's float outputs took."""
    proving: Sequence[Arrays] = ()
    """Inputs for proofs of files, in batches, the first of one sample: they neither calibrate nor choose."""

    @classmethod
    def of(
        cls,
        graph: GraphModule,
        contract: Contract,
        count: int,
        seed: int,
        judging: int = JUDGING_SAMPLES,
        proving: int = JUDGING_SAMPLES,
    ) -> Samples:
        """Draw `count` samples to calibrate with, others to judge by, and others for proofs of files.

        Fewer where stored inputs would come again: of these an eighth at most is for proofs. Where sizes are
        free, an eighth as many again calibrate at each of some other sizes.

        They come in batches that a pass over the graph has room for.
        """
        stored = contract.fewest_stored()
        kept = 0 if stored is None else min(proving, stored // 8)
        total = count + judging + kept
        if stored is not None and stored < total:
            count = max(1, min(count, stored - kept - max(1, stored // 4)))
            total = max(stored, 2)
            judging = min(judging, total - count - kept)
        drawn = example(contract, min(total, count + judging + kept), SEED + seed)
        live = memory.live_bytes(graph)
        size = memory.samples(live, BATCH)
        calibrating, others = (
            list(zip(*(tensor[part].split(size) for tensor in drawn)))
            for part in (slice(count), slice(count, count + judging))
        )
        for sizes in trials(contract, smallest=False):
            resized = example(contract.at(sizes), max(1, count // 8), SEED + seed)
            calibrating += zip(*(tensor.split(size) for tensor in resized))
        left = {spec.name: tensor[count + judging :].numpy() for spec, tensor in zip(contract.inputs, drawn)}
        proofs = left if kept else contract.sample(proving, 0)
        started = time.monotonic()
        expected = [outputs(graph, batch) for batch in others]
        seconds = (time.monotonic() - started) / sum(len(batch[0]) for batch in others)
        batches = _one_first(proofs, memory.samples(2 * live, BATCH))
        return cls(calibrating, others, expected, contract, seconds, batches)

    def others(self, graph: GraphModule, count: int, seed: int) -> Samples:
        """Return the same with `count` other samples to judge by, which may show rare ones.

        Where inputs are stored there are no others.
        """
        if self.contract.fewest_stored() is not None:
            return self
        size = len(self.judging[0][0])
        drawn = example(self.contract, count, SEED + seed + 1)
        judging = list(zip(*(tensor.split(size) for tensor in drawn)))
        return replace(self, judging=judging, expected=[outputs(graph, batch) for batch in judging])

    def few(self, count: int) -> Samples:
        """Return the same with the first `count` to judge by alone."""
        judging, expected, left = [], [], count
        for given, true in zip(self.judging, self.expected, strict=True):
            judging.append(tuple(tensor[:left] for tensor in given))
            expected.append(tuple(tensor[:left] for tensor in true))
            left -= len(judging[-1][0])
            if not left:
                break
        return replace(self, judging=judging, expected=expected)

    def psnr_db(self, graph: GraphModule) -> float:
        """Return the PSNR in dB of a graph's outputs, all samples as one."""
        return psnr_of(self._errors(graph))

    def sure_psnr_db(self, graph: GraphModule) -> float:
        """Return what the PSNR in dB of a graph's outputs is on other samples, as `sure_psnr_of` says."""
        return sure_psnr_of(self._errors(graph))

    def judge(self, trial: Trial, graph: GraphModule) -> Trial:
        """Return a trial with the figures of the graph that it gave."""
        errors = self._errors(graph)
        return replace(
            trial,
            psnr_db=round(psnr_of(errors), 2),
            mean_psnr_db=round(mean_psnr_of(errors), 2),
            sure_psnr_db=round(sure_psnr_of(errors), 2),
        )

    def _errors(self, graph: GraphModule) -> list[Tensor]:
        pairs = zip(self.judging, self.expected, strict=True)
        found = [squared_errors(outputs(graph, given), true, self.contract) for given, true in pairs]
        return [torch.cat(parts) for parts in zip(*found)]


def _one_first(arrays: Arrays, size: int) -> list[Arrays]:
    """Return inputs in batches: of one sample, and then of `size` at most."""
    count = len(next(iter(arrays.values())))
    starts = [0, *range(1, count, size)]
    return [
        {name: rows[start:end] for name, rows in arrays.items()}
        for start, end in zip(starts, [*starts[1:], count])
    ]


@dataclass(frozen=True)
class Start:
    """A float graph to quantize, and what its tensors hold."""

    graph: GraphModule
    changes: list[Change]
    statistics: Statistics
    headroom: float = 1.0
    """How many times as far as the statistics say levels reach: other samples hold larger values."""
    refused: str = ""
    """Why its channels were not equalized, where that was tried and its proof failed."""

    @property
    def equalized(self) -> bool:
        """Whether channels were equalized."""
        return bool(self.changes)


@dataclass(frozen=True)
class Trial:
    """One way to quantize, and how well it did."""

    equalized: bool
    calibrator: Calibrator
    headroom: float = 1.0
    improvements: tuple[str, ...] = ()
    psnr_db: float = 0.0
    """Of the outputs to the float ones, all samples as one."""
    mean_psnr_db: float = 0.0
    """The mean over samples: no one sample outweighs the others."""
    sure_psnr_db: float = 0.0
    """What `psnr_db` is on other samples, with 95% confidence."""

    def decided(self) -> dict[str, Any]:
        """Return what it stands for, beside the calibrator."""
        wider = {"headroom": self.headroom} if self.headroom != 1 else {}
        return {"equalized": self.equalized, **wider, "improvements": list(self.improvements)}

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)


Rank = Callable[[Trial], float]
"""How good a trial is: more is better."""


def starts(graph: GraphModule, samples: Samples, equalize: bool | Literal["auto"]) -> list[Start]:
    """Return the graph as it is, equalized, or both, each with its statistics.

    Raises:
        ProofError: it is to be equalized, and that changes its outputs.
    """
    equalized, changes, refused = graph, list[Change](), ""
    if equalize is not False:
        try:
            equalized, changes = rewrite(graph, samples.contract, [center_channels, equalize_channels])
        except ProofError as error:
            if equalize is True:
                raise
            refused = str(error)
    found = []
    if equalize is not True:
        found.append(Start(graph, [], observe(graph, samples.batches), refused=refused))
    if changes or equalize is True:
        found.append(Start(equalized, changes, observe(equalized, samples.batches)))
    return found


def lower(
    start: Start,
    layers: Layers,
    int8: Int8,
    calibrator: Calibrator,
    batches: Batches = (),
    improvements: Sequence[Improvement] = (),
) -> GraphModule:
    """Return a start's graph in Q/DQ form, as `int8` wants it."""
    annotator = Int8Quantizer(int8, layers.skip, layers.float_outputs)
    calibrate = calibration(start, int8, calibrator, batches, improvements)
    return quantize(copy.deepcopy(start.graph), annotator, calibrate)


def calibration(
    start: Start,
    int8: Int8,
    calibrator: Calibrator,
    batches: Batches = (),
    improvements: Sequence[Improvement] = (),
) -> Calibrate:
    """Return what sets the levels of a start's prepared graph, and makes it better by `improvements`."""

    def calibrate(prepared: GraphModule) -> None:
        Calibration(start.statistics, calibrator, start.headroom)(prepared)
        for improve in improvements:
            improve(prepared, start.graph, batches)
        if int8.bias == "int32":
            round_biases(prepared)

    return calibrate


def best(
    candidates: Sequence[Start],
    layers: Layers,
    int8: Int8,
    calibrators: Sequence[Calibrator],
    samples: Samples,
    rank: Rank,
    progress: Callable[[], object],
) -> tuple[Start, list[Trial]]:
    """Quantize each start with each calibrator; `rank` says which trial is the best.

    Returns:
        The best start, and the trials, the best first.
    """
    done: list[tuple[Trial, Start]] = []
    for start in candidates:
        for calibrator in calibrators:
            trial = Trial(start.equalized, calibrator, start.headroom)
            done.append((samples.judge(trial, lower(start, layers, int8, calibrator)), start))
            progress()
    done.sort(key=lambda pair: -rank(pair[0]))
    return done[0][1], [trial for trial, _ in done]


def improve(
    start: Start,
    layers: Layers,
    int8: Int8,
    calibrated: Trial,
    ways: Mapping[tuple[str, ...], Improvement],
    samples: Samples,
    progress: Callable[[], object],
) -> list[Trial]:
    """Quantize a start once more with each of `ways`, by the names of the improvements, on top of a trial."""
    tried = []
    for names, way in ways.items():
        quantized = lower(start, layers, int8, calibrated.calibrator, samples.batches, [way])
        tried.append(samples.judge(replace(calibrated, improvements=names), quantized))
        progress()
    return tried
