"""The ways to quantize, tried in turn on calibration samples; the best on other samples wins."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgegan.compress.example_inputs import example
from edgegan.compress.free_axes import trials
from edgegan.compress.psnr import mean_psnr_of, psnr_of, squared_errors, sure_psnr_of
from edgegan.compress.quantize.calibrate.calibration import Batches, Calibration, Statistics, observe
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.calibrate.neural_compressor import Calibrate, quantize
from edgegan.compress.quantize.deploy.integer_reference import round_biases
from edgegan.compress.quantize.improve.equalize import center_channels, equalize_channels
from edgegan.compress.quantize.prepare import memory
from edgegan.compress.quantize.prepare.layers import last_layers, layer_macs
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.compress.rewrite import Change, rewrite
from edgegan.compress.rewrite.graph import outputs
from edgegan.errors import ProofError, StageError
from edgegan.runtime.contract import Arrays, Contract
from edgegan.target import Int8

BATCH = 32
SEED = 0x5EED
JUDGING_SAMPLES = 64
CHEAP_SHARE = 0.1
"""A last convolution with at most this share of the MACs stays in float."""

Improvement = Callable[[GraphModule, GraphModule, Batches], object]
"""Makes a prepared graph, whose levels are set, better: (prepared, float graph, calibration batches)."""


@dataclass(frozen=True)
class Layers:
    """Which layers to quantize. `macs` names all of them, in the order in which they run."""

    macs: dict[str, int]
    skip: tuple[str, ...]
    float_outputs: tuple[str, ...]

    def without(self, layers: Sequence[str]) -> Layers:
        """Return the same with `layers` in float too."""
        return replace(self, skip=tuple(sorted({*self.skip, *layers})))


@dataclass(frozen=True)
class Samples:
    """Inputs to calibrate with, others to judge by, and the float outputs of these."""

    batches: Batches
    judging: Batches
    expected: Sequence[tuple[Tensor, ...]]
    contract: Contract
    seconds: float = 0.0
    """What a sample's float outputs took."""
    proving: Arrays = field(default_factory=dict)
    """Of a contract that has no end of samples to draw, some that neither calibrate nor choose."""

    @classmethod
    def of(
        cls,
        graph: GraphModule,
        contract: Contract,
        count: int,
        seed: int,
        judging: int = JUDGING_SAMPLES,
    ) -> Samples:
        """Draw `count` samples to calibrate with, and others to judge by; fewer where the contract has fewer.

        Of stored inputs an eighth is kept for the proof of the file. Where sizes are free, an eighth as many
        again calibrate at each of some other sizes.

        They come in batches that a pass over the graph has room for.
        """
        distinct = contract.distinct()
        kept = 0 if distinct is None else min(judging, distinct // 8)
        total = count + judging + kept
        if distinct is not None and distinct < total:
            count = max(1, min(count, distinct - kept - max(1, distinct // 4)))
            total = max(distinct, 2)
            judging = min(judging, total - count - kept)
        drawn = example(contract, min(total, count + judging + kept), SEED + seed)
        size = memory.samples(memory.live_bytes(graph), BATCH)
        calibrating, others = (
            list(zip(*(tensor[part].split(size) for tensor in drawn)))
            for part in (slice(count), slice(count, count + judging))
        )
        for sizes in trials(contract, smallest=False):
            resized = example(contract.at(sizes), max(1, count // 8), SEED + seed)
            calibrating += zip(*(tensor.split(size) for tensor in resized))
        proving = {
            spec.name: tensor[count + judging :].numpy()
            for spec, tensor in zip(contract.inputs, drawn)
            if kept
        }
        started = time.monotonic()
        expected = [outputs(graph, batch) for batch in others]
        seconds = (time.monotonic() - started) / sum(len(batch[0]) for batch in others)
        return cls(calibrating, others, expected, contract, seconds, proving)

    def proof(self, batches: Sequence[int]) -> list[Arrays]:
        """Return what is kept for the proof, in batches of these sizes at most; none where nothing is."""
        given, start = list[Arrays](), 0
        for size in batches:
            part = {name: rows[start : start + size] for name, rows in self.proving.items()}
            if part and len(next(iter(part.values()))):
                given.append(part)
                start += size
        return given

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
        """Return what the PSNR in dB of a graph's outputs is on other samples, with 90% confidence."""
        return sure_psnr_of(self._errors(graph))

    def judge(self, trial: Trial, graph: GraphModule) -> Trial:
        """Return a trial with the figures of the graph that it gave."""
        errors = self._errors(graph)
        return replace(trial, psnr_db=round(psnr_of(errors), 2), mean_psnr_db=round(mean_psnr_of(errors), 2))

    def _errors(self, graph: GraphModule) -> list[Tensor]:
        pairs = zip(self.judging, self.expected, strict=True)
        found = [squared_errors(outputs(graph, given), true, self.contract) for given, true in pairs]
        return [torch.cat(parts) for parts in zip(*found)]


@dataclass(frozen=True)
class Start:
    """A float graph to quantize, and what its tensors hold."""

    graph: GraphModule
    changes: list[Change]
    statistics: Statistics
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
    improvements: tuple[str, ...] = ()
    psnr_db: float = 0.0
    """Of the outputs to the float ones, all samples as one."""
    mean_psnr_db: float = 0.0
    """The mean over samples, which decides: no one sample outweighs the others."""

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)


def choose_layers(graph: GraphModule, skip: Sequence[str], modules: Collection[str] = ()) -> Layers:
    """Decide which layers to quantize.

    A last convolution stays in float where it is cheap, and a last linear layer gives a float output.

    Args:
        graph: in float.
        skip: names of layers, or of modules that hold some, to leave in float.
        modules: the names that there are beside those of layers that can be quantized: what they name is in
            float anyhow.

    Raises:
        StageError: `skip` names a layer that is not there, or no layer is left.
    """
    macs = layer_macs(graph)
    asked = {layer for layer in macs for name in skip if f"{layer}.".startswith(f"{name}.")}
    unknown = sorted(
        {name for name in skip if not any(f"{of}.".startswith(f"{name}.") for of in (*macs, *modules))}
    )
    if unknown:
        raise StageError(
            f"there is no layer {', '.join(unknown)} to skip",
            where="quantize: skip",
            next=f"choose from: {', '.join(macs)}",
        )
    last = {name: linear for name, linear in last_layers(graph).items() if name in macs}
    cheap = [name for name in last if not last[name] and macs[name] <= CHEAP_SHARE * sum(macs.values())]
    skipped = sorted({*asked, *cheap})
    if not set(macs) - set(skipped):
        raise StageError(
            "no layer is left to quantize",
            where=f"quantize: {', '.join(macs) or 'no convolution or Linear with weights of its own'}",
            next="leave the stage `quantize` out of the recipe" + (", or shorten `skip`" if asked else ""),
        )
    float_outputs = [name for name, linear in last.items() if linear and name not in skipped]
    return Layers(macs, tuple(skipped), tuple(float_outputs))


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
        found.append(Start(graph, [], observe(graph, samples.batches), refused))
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
        Calibration(start.statistics, calibrator)(prepared)
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
    progress: Callable[[], object],
) -> tuple[Start, list[Trial]]:
    """Quantize each start with each calibrator.

    Returns:
        The best start, and the trials, the best first.
    """
    done: list[tuple[Trial, Start]] = []
    for start in candidates:
        for calibrator in calibrators:
            trial = Trial(start.equalized, calibrator)
            done.append((samples.judge(trial, lower(start, layers, int8, calibrator)), start))
            progress()
    done.sort(key=lambda pair: -pair[0].mean_psnr_db)
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
