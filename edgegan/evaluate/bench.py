"""`edgegan.bench`: the artifacts of bundles on the engines of this machine, how fast and how good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from edgegan.errors import InputError
from edgegan.evaluate.candidates import candidates_of, latencies, layers, qualities
from edgegan.evaluate.evaluation import SECONDS, Follow, usual_threads
from edgegan.evaluate.headline import headline_of
from edgegan.evaluate.judge import SEED, Judge
from edgegan.evaluate.record import BenchRecord, check_free
from edgegan.evaluate.sources import Source, read_sources
from edgegan.files import sha256
from edgegan.measure.features import Extractor, OnnxExtractor
from edgegan.measure.latency import noise
from edgegan.measure.machine import machine
from edgegan.measure.metrics import described
from edgegan.run.figures import Protocol
from edgegan.runtime.artifact import USUAL_ENGINE
from edgegan.runtime.engines.registry import engine_kind, engine_kinds
from edgegan.runtime.numbers import number_of_threads, whole
from edgegan.version import __version__

SAMPLES = 256
LONGEST_S = 3600.0
PROFILE_S = 1.0
"""How long each candidate runs under its engine's profiler."""


def bench(
    *places: str | Path,
    contract: str | Path | None = None,
    engines: Sequence[str] = (),
    artifacts: Sequence[str] = (),
    batches: Sequence[int] = (1,),
    threads: int | None = None,
    seconds: float = SECONDS,
    samples: int = SAMPLES,
    features: str | Path | None = None,
    reference: str | Path | None = None,
    per_layer: bool = False,
    out: str | Path | None = None,
    follow: Follow = lambda step: lambda done, total: None,
) -> BenchRecord:
    """Measure latency, throughput and quality of the artifacts of bundles on this machine; needs no torch.

    Each artifact runs in processes of its own, in interleaved turns; calls that other work interrupted are
    left out and counted, and what does not hold on a busy machine is withheld. Speed-ups are relative to FP32
    (of bare files: the first) on the engine that runs it fastest. Quality is told against the outputs of the
    bundle's own FP32 from equal inputs, and against real images where `features` and `reference` are given.

    Args:
        places: folders of bundles, or ONNX files, which then need `contract`.
        contract: JSON with `inputs` and `outputs`, or a bundle's manifest; stored inputs lie beside it.
        engines: names; by default all that run here, but those that are built ahead of time, which takes
            minutes at each of five starts.
        artifacts: names, as "int8"; by default all that are for this machine. One that is named is measured
            on each engine, whatever it was written for.
        batches: samples in a call. Batch 1 is MLPerf's single stream, told by p90; larger ones are told by
            their throughput, as its offline scenario.
        threads: of the engine; by default one for each processor, four at most.
        seconds: how long each row's latency is measured.
        samples: how many outputs quality is of; no more than there are stored inputs.
        features: an ONNX file that takes uint8 NHWC images: FID and its kin are measured in its outputs.
        reference: statistics of real images in these features, as `edgegan train-features` writes them.
        per_layer: tell where the time goes, as the engines' profilers do, at the smallest batch.
        out: where to write the record; another record there is replaced.
        follow: called with "quality", "latency" and "layers" as these begin; returns their progress.

    Raises:
        InputError: an argument makes no sense, or there is no such artifact or engine.
        BundleError: a bundle is damaged.
        DataError: the extractor or the reference cannot be used.
        MissingDependency: an engine that was named is not installed.
        StorageError: `out` is another file, or cannot be written.
    """
    batches = _checked_batches(batches)
    threads = usual_threads() if threads is None else number_of_threads(threads)
    samples = whole(samples, "the number of samples", 2)
    if not 0 < seconds <= LONGEST_S:
        raise InputError(f"latency cannot be measured for {seconds} seconds", next=f"give 0 to {LONGEST_S:g}")
    extractor = _extractor(features, reference, threads)
    if out is not None:
        check_free(Path(out))
    chosen = _able(engines)
    sources = read_sources(places, contract, artifacts)
    candidates = candidates_of(sources, chosen)
    measured = [candidate for candidate in candidates if candidate.unmeasured is None]
    if not measured:
        reasons = dict.fromkeys(str(candidate.unmeasured) for candidate in candidates)
        raise InputError(
            f"there is nothing for this machine: {'; '.join(reasons)}",
            next="name an artifact with --artifact to measure it all the same",
        )
    judges = {
        source.name: Judge(
            Path(source.full.file) if source.full else None,
            source.contract,
            samples=samples,
            threads=threads,
            extractor=extractor,
            reference=Path(reference) if reference else None,
        )
        for source in sources
    }
    scores = qualities(measured, judges, follow("quality"))
    times = latencies(
        measured, sources[0], batches, threads=threads, seconds=seconds, progress=follow("latency")
    )
    told = [{} for _ in measured]
    if per_layer:
        progress = follow("layers")
        for index, candidate in enumerate(measured):
            told[index] = layers(candidate, min(batches), threads=threads, seconds=min(seconds, PROFILE_S))
            progress(index + 1, len(measured))
    rows = [
        candidate.row(
            batch,
            latency=times[candidate.label(batch)],
            scores=content,
            layers=found if batch == min(batches) else None,
            full=candidate.full and candidate.engine == USUAL_ENGINE,
        )
        for candidate, content, found in zip(measured, scores, told)
        for batch in batches
    ]
    rows += [candidate.row(min(batches)) for candidate in candidates if candidate.unmeasured]
    first = judges[sources[0].name]
    protocol = Protocol(
        threads=threads,
        samples=first.samples,
        seed=SEED,
        inputs=_inputs(sources),
        latency_seconds=seconds,
        features=extractor.name if extractor else None,
        reference=first.reference_name,
        machine=machine(),
        noise=noise([latency.to_dict() for latency in times.values()]),
    )
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    headline = headline_of(rows, protocol.noise)
    metrics = {key: told for judge in judges.values() for key, told in described(judge.columns).items()}
    record = BenchRecord(protocol, metrics, tuple(rows), headline, f"edgegan {__version__}", made)
    if out is not None:
        record.write(Path(out))
    return record


def _checked_batches(batches: Sequence[int]) -> tuple[int, ...]:
    found = tuple(dict.fromkeys(whole(batch, "a batch", 1) for batch in batches))
    if not found:
        raise InputError("there is no batch size to measure", next="leave --batch out, or give --batch 1,8")
    return found


def _able(names: Sequence[str]) -> list[str]:
    """Return the engines that were named, or all that run here and are not built ahead of time."""
    if not names:
        kinds = [kind for kind in engine_kinds() if not kind.ahead]
        found = [kind.name for kind in kinds if kind.check().runs]
        if not found:
            raise InputError("no engine runs here", next="edgegan doctor says how to get one")
        return found
    for name in names:
        check = engine_kind(name).check()
        if not check.runs:
            raise InputError(f"{name} does not run here: {check.detail}", next=check.next or "edgegan doctor")
    return list(dict.fromkeys(names))


def _extractor(features: str | Path | None, reference: str | Path | None, threads: int) -> Extractor | None:
    if (features is None) != (reference is None):
        raise InputError(
            "FID needs a feature extractor and the reference that was made with it",
            next="give both, --features FILE.onnx and --reference FILE.npz, or neither",
        )
    return OnnxExtractor(Path(features), threads=threads) if features is not None else None


def _inputs(sources: Sequence[Source]) -> str | None:
    stored = [item for source in sources for item in source.contract.stored.items()]
    return ", ".join(dict.fromkeys(f"{name} {sha256(path)[:8]}" for name, path in stored)) or None
