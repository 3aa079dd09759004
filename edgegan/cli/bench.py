"""`edgegan bench`: how fast and how good bundles are on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgegan.cli.console import output, say_json
from edgegan.cli.progress import Steps
from edgegan.errors import InputError, StorageError

if TYPE_CHECKING:
    from rich.console import Console

    from edgegan.evaluate.record import BenchRecord


def bench(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="BUNDLE...", help="Folders of bundles, or ONNX files, which then need --contract."
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For ONNX files: JSON with inputs and outputs, or a bundle's manifest.json."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="NAMES", help="As onnxruntime,openvino; by default all that run here.")
    ] = "",
    artifact: Annotated[
        str, typer.Option(metavar="NAMES", help="As fp32,int8; by default all that are for this machine.")
    ] = "",
    batch: Annotated[str, typer.Option(metavar="SIZES", help="Samples in a call, as 1,8.")] = "1",
    threads: Annotated[
        int | None, typer.Option(help="Of the engine; by default one for each processor, four at most.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each row's latency is measured.")] = 3.0,
    samples: Annotated[int, typer.Option(help="How many outputs quality is of.")] = 256,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An ONNX feature extractor, for FID; with --reference."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Statistics of real images in these features.")
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Say by layer and by operator where the time goes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the record, in place of an older one.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="OLD NEW", help="Compare two records, and measure nothing."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the record, or the comparison, as JSON and nothing else.")
    ] = False,
) -> None:
    """Measure latency, throughput and quality of BUNDLEs here; compare two records.

    Needs no torch. Speed-ups are over FP32 on the engine that runs it fastest. Quality is
    against the outputs of the bundle's own FP32, and with --features and
    --reference against real images. Calls that other work interrupted are
    left out and counted; what does not hold on a busy machine is withheld.

    Exit codes of --compare, for CI: 0 nothing is slower or worse; 1 a row is
    slower, worse or lost; 2 the records cannot be compared; 3 nothing is
    worse, but a row was withheld in one of them. A change of speed counts
    where it is sure (95%) and above 5%; above 10% where FP32 is another file,
    and times are compared in place of speed-ups.
    """
    if compare is not None:
        if bundles or out is not None:
            raise InputError("--compare reads two records, and measures nothing", next="leave the rest out")
        _compare(*compare, json=json)
        return
    console = output(quiet=json)
    with Steps(console) as steps:
        from edgegan.evaluate.bench import bench as measure
        from edgegan.evaluate.record import check_free

        if out is not None:
            check_free(out)
        record = measure(
            *(bundles or ()),
            contract=contract,
            engines=_names(engine),
            artifacts=_names(artifact),
            batches=_sizes(batch),
            threads=threads,
            seconds=seconds,
            samples=samples,
            features=features,
            reference=reference,
            per_layer=per_layer,
            follow=steps.start,
        )
    unwritten = _unwritten(record, out)
    if json:
        say_json(record.to_dict())
    else:
        _show(record, console, per_layer)
    if unwritten:
        raise unwritten
    if out is not None:
        console.print(f"record: {out}", soft_wrap=True)


def _unwritten(record: BenchRecord, out: Path | None) -> StorageError | None:
    """Write the record; return why it could not be, so that what was measured is shown all the same."""
    if out is not None:
        try:
            record.write(out)
        except StorageError as error:
            return error
    return None


def _show(record: BenchRecord, console: Console, per_layer: bool) -> None:
    from edgegan.report.bench import bench_table, headline
    from edgegan.report.layers import layer_report

    console.print(bench_table(record))
    for row in record.rows if per_layer else ():
        for part in layer_report(row):
            console.print(part, soft_wrap=isinstance(part, str))
    console.print(headline(record.headline), soft_wrap=True)


def _compare(old: Path, new: Path, *, json: bool) -> None:
    from edgegan.evaluate.compare import compare

    found = compare(old, new)
    if json:
        say_json({**asdict(found), "exit_code": found.exit_code})
    else:
        from edgegan.report.bench import comparison_table

        console = output()
        console.print(comparison_table(found))
        for note in found.notes:
            console.print(note, soft_wrap=True)
    raise typer.Exit(found.exit_code)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in _names(text)]
    except ValueError as error:
        raise InputError(f"--batch takes whole numbers, not {text!r:.80}", next="as --batch 1,8") from error
