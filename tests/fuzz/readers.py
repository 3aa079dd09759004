"""The readers of files, each with valid files and the call that reads them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

Make = Callable[[Path], None]
"""Fills an empty folder with what a reader reads."""


@dataclass(frozen=True)
class Reader:
    """`read` is called with a copy of the folder that `make` made, and the name of the file changed in it."""

    make: Make
    read: Callable[[Path, str], object]
    files: tuple[str, ...] = ("**/*",)
    """Patterns of the files that are changed."""
    attacks: str = ""
    """The folder of files that once did harm."""
    short: int = 100
    """Inputs of the short run."""
    bounded: bool = True
    """False: what a model computes may take any memory, as runtime/README.md says."""

    def names(self, folder: Path) -> list[str]:
        """Return the files to change, by their names in `folder`."""
        found = {path for pattern in self.files for path in folder.glob(pattern) if path.is_file()}
        return sorted(path.relative_to(folder).as_posix() for path in found)


def quiet(call: Callable[[], object]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        call()


def recipe(folder: Path) -> None:
    from tests.small_recipe import RECIPE, write_recipe

    write_recipe(folder, RECIPE)
    stored = "sample: {kind: stored, file: z.npz}"
    rich = RECIPE.replace("sample: {kind: normal}", stored).replace("schema: 1", "schema: 1\nseed: 3")
    rich += "discriminator: {callable: 'model.py:D', checkpoint: d.pt, key: a, arguments: {w: [1, 2]}}\n"
    rich += "quality: {features: f.onnx, reference: r.npz, samples: 10}\ntrain: {steps: 4, data: x}\n"
    (folder / "rich.yaml").write_text(rich)


def read_recipe(folder: Path, name: str) -> None:
    from edgegan.compress.stages import build_stages
    from edgegan.recipe import Recipe

    read = Recipe.read(folder / name)
    build_stages(read)
    Recipe.read(folder / name, "full")
    read.to_yaml()


def target(folder: Path) -> None:
    from edgegan.target import FOLDER

    for name in ("x64-cpu", "jetson-orin-nano"):
        shutil.copyfile(FOLDER / f"{name}.yaml", folder / f"{name}.yaml")


def read_target(folder: Path, name: str) -> None:
    from edgegan.cli.targets import targets

    quiet(lambda: targets(str(folder / name)))
    quiet(lambda: targets(str(folder / name), json=True))


def checkpoint(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from tests.small_recipe import MODEL, weights

    (folder / "model.py").write_text(MODEL)
    state = weights(4)
    torch.save(state, folder / "plain.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"weights": state, "epoch": 3, "args": {"a": [1, 2.0, "x"]}}, folder / "nested.pt")
    save_file(state, folder / "plain.safetensors")


def read_checkpoint(folder: Path, name: str) -> None:
    from edgegan.compress.load import load_module
    from edgegan.recipe import ModelSpec

    key = "weights" if "nested" in name else None
    spec = ModelSpec(callable="model.py:Generator", checkpoint=name, arguments={"width": 4}, key=key)
    load_module(spec, folder)


def training_parts():
    import torch
    from torch import nn

    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    return {"m": module, "o": torch.optim.Adam(module.parameters(), 0.1)}


def training_state(folder: Path) -> None:
    import torch

    from edgegan.learning.checkpoint import save_state

    parts = training_parts()
    parts["m"](torch.randn(8, 3)).square().mean().backward()
    parts["o"].step()
    save_state(folder / "s.safetensors", parts, 5)


def read_training_state(folder: Path, name: str) -> None:
    from edgegan.learning.checkpoint import load_state

    load_state(folder / name, training_parts())


def run_of_stages(folder: Path) -> None:
    read_run_of_stages(folder, "")


def read_run_of_stages(folder: Path, name: str) -> None:
    from edgegan.compress.pipeline import Pipeline
    from edgegan.compress.stage import Context
    from tests.compress.pipeline_stages import first, stages

    Pipeline(stages(), origin="first").run(first(), Context(folder))


def structure(folder: Path) -> None:
    from edgegan.compress.structure import save
    from tests.compress.pipeline_stages import first

    save(first().student, folder)


def read_structure(folder: Path, name: str) -> None:
    from edgegan.compress.structure import load
    from tests.compress.pipeline_stages import first

    load(first().student, folder)


def bundle(folder: Path) -> None:
    from edgegan.runtime import Contract, write_bundle
    from tests.made_run import RECORDS, make_figures

    models = Path(__file__).parents[1] / "runtime" / "models"
    np.savez(folder / "z.npz", z=np.zeros((3, 4), np.float32))
    inputs = [
        {"name": "z", "shape": [4], "sample": {"kind": "stored", "file": "z.npz"}},
        {"name": "label", "shape": [], "dtype": "int64", "sample": {"kind": "labels", "classes": 10}},
    ]
    contract = Contract.from_dict({"inputs": inputs, "outputs": [{"name": "image", "shape": [3, 2, 4]}]})
    write_bundle(
        folder / "bundle",
        name="labelled",
        contract=contract.with_stored(folder),
        models={"fp32": models / "labelled.onnx", "int8": models / "labelled.uint8.onnx"},
        default="fp32",
        lineage=[asdict(RECORDS[name]) for name in ("01-prune", "03-quantize")],
        figures=make_figures().to_dict(),
    )
    (folder / "z.npz").unlink()


def relist(folder: Path, name: str) -> None:
    """Let the manifest agree with a changed file, as an attacker would."""
    if name.endswith("manifest.json"):
        return
    path = folder / "bundle" / "manifest.json"
    manifest = json.loads(path.read_text())
    content = (folder / name).read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["files"][name.removeprefix("bundle/")] = entry
    path.write_text(json.dumps(manifest))


def read_bundle(folder: Path, name: str) -> None:
    from edgegan.cli.inspect import inspect

    relist(folder, name)
    quiet(lambda: inspect(folder / "bundle"))


def read_bundle_int8(folder: Path, name: str) -> None:
    from edgegan.cli.inspect import inspect

    relist(folder, name)
    quiet(lambda: inspect(folder / "bundle", int8=True))


def load_bundle(folder: Path, name: str) -> None:
    from edgegan.runtime import Generator

    relist(folder, name)
    with Generator.load(folder / "bundle", threads=1, engine="onnxruntime") as generator:
        generator(n=2, seed=1)


def stored(folder: Path) -> None:
    z, image = np.zeros((3, 4), np.float32), np.arange(18, dtype=np.uint8).reshape(3, 6)
    np.savez(folder / "plain.npz", z=z, image=image)
    np.savez_compressed(folder / "packed.npz", z=z, image=np.asfortranarray(image))


def read_stored(folder: Path, name: str) -> None:
    from edgegan.runtime import Contract

    inputs = [
        {"name": key, "shape": shape, "sample": {"kind": "stored", "file": name}}
        for key, shape in (("z", [4]), ("image", [6]))
    ]
    outputs = [{"name": "x", "shape": [2], "layout": ""}]
    Contract.from_dict({"inputs": inputs, "outputs": outputs}).with_stored(folder).sample(5, 0)


def reference(folder: Path) -> None:
    arrays = {
        "mean": np.zeros(3),
        "covariance": np.eye(3),
        "n": np.int64(9),
        "features": np.zeros((4, 3), np.float16),
        "extractor": np.str_("0" * 64),
        "description": np.str_("images"),
    }
    np.savez_compressed(folder / "r.npz", **arrays)


class Extractor:
    name, sha256 = "e", "0" * 64


def read_reference(folder: Path, name: str) -> None:
    from edgegan.measure.features import Reference

    Reference.load(folder / name, Extractor())  # type: ignore[arg-type]


def images(folder: Path) -> None:
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    plain = Image.fromarray(picture)
    (folder / "folder" / "a").mkdir(parents=True)
    for mode in ("RGB", "L", "1", "P", "LA", "RGBA", "I;16"):
        grey = Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
        (grey if mode == "I;16" else plain.convert(mode)).save(
            folder / "folder" / "a" / f"{mode[0]}{mode[-1]}.png"
        )
    plain.convert("CMYK").save(folder / "folder" / "a" / "c.jpg")
    plain.save(folder / "folder" / "a" / "p.jpg", progressive=True, exif=Image.Exif().tobytes())
    plain.save(folder / "folder" / "a" / "b.bmp")
    plain.save(folder / "folder" / "a" / "w.webp", save_all=True, append_images=[plain])
    with zipfile.ZipFile(folder / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "folder" / "a" / "RB.png", "a/x.png")
        archive.write(folder / "folder" / "a" / "p.jpg", "b/y.jpg")
    np.savez_compressed(
        folder / "d.npz", train_images=np.stack([picture] * 3), train_labels=np.array([0, 1, 1], np.uint8)
    )


def read_data(folder: Path, name: str) -> None:
    from edgegan.train.data import read_images

    path = folder / "folder" if name.startswith("folder") else folder / name
    read_images(path)
    read_images(path, (3, 4, 4))


def report(folder: Path) -> None:
    from tests.made_run import RECORDS, make_figures, make_run

    figures = make_figures()
    rows = figures.rows
    run = make_run(folder / "run", replace(figures, rows=(rows[0], rows[1], rows[-1])))
    np.savez(folder / "small.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    for path in (run / "samples").iterdir():
        shutil.copyfile(folder / "small.npz", path)
    (folder / "small.npz").unlink()
    lines = (run / "stages" / "02-distill" / "losses.csv").read_text().splitlines()
    (run / "stages" / "02-distill" / "losses.csv").write_text("\n".join(lines[:6]))
    quantize = asdict(RECORDS["03-quantize"])
    quantize["proof"]["int8"]["sensitivity"] = quantize["proof"]["int8"]["sensitivity"][3:6]
    (run / "stages" / "03-quantize" / "record.json").write_text(json.dumps(quantize))


def read_report(folder: Path, name: str) -> None:
    """All that the page is made of, but for the drawings, which take most of the time."""
    from edgegan.report import page
    from edgegan.run.folder import read_run

    run = read_run(folder / "run")
    page.headline(run.figures, run.shipped)
    page.table_view(run.figures)
    page.plot.tradeoff(run.figures)
    page.lineage(run.stages)
    for stage in run.stages:
        page.sweeps(stage)
    page._grid(run), page._facts(run), page._protocol(run), page._machine(run)


def write_page(folder: Path, name: str) -> None:
    from edgegan.report import write_report

    write_report(folder / "run")


MODELS = ("bundle/*.onnx",)


def bench_records(folder: Path) -> None:
    from edgegan.measure.statistics import Interval
    from edgegan.runtime.engines.layer_times import LayerTime
    from tests.made_bench import record, row

    measured = {"latency_ms_p50": 5.0, "speedup": Interval(2.0, 1.9, 2.1), "psnr_db": Interval(40, 39, 41)}
    layers = (LayerTime("conv", "Conv", "float", 1.5), LayerTime("q", "QuantizeLinear", "conversion", 0.5))
    failed = {"latency": "the process was killed"}
    rows = row("fp32", 10.0, full=True), row("int8", 5.0, measured=measured, layers=layers, precision="int8")
    record(*rows, row("fp16", 9.0, failed=failed)).write(folder / "record.json")
    record(*rows).write(folder / "other.json")


def read_bench_record(folder: Path, name: str) -> None:
    from edgegan.cli.console import output
    from edgegan.evaluate.compare import compare
    from edgegan.evaluate.record import BenchRecord
    from edgegan.report.bench import bench_table, comparison_table, headline
    from edgegan.report.layers import layer_report

    read = BenchRecord.read(folder / name)
    console = output(quiet=True)
    console.print(bench_table(read))
    console.print(headline(read.headline))
    for row in read.rows:
        for part in layer_report(row):
            console.print(part)
    other = "other.json" if name == "record.json" else "record.json"
    console.print(comparison_table(compare(folder / name, folder / other)))


def contract_file(folder: Path) -> None:
    bundle(folder)
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    (folder / "bundle" / "contract.json").write_text(json.dumps(manifest["contract"]))


def read_contract_file(folder: Path, name: str) -> None:
    from edgegan.evaluate.sources import read_contract

    read_contract(folder / name)


READERS: dict[str, Reader] = {
    "recipe": Reader(recipe, read_recipe, ("*.yaml",), "04-yaml"),
    "target": Reader(target, read_target, attacks="04-yaml"),
    "checkpoint": Reader(checkpoint, read_checkpoint, ("*.pt", "*.safetensors"), "07-checkpoint"),
    "training state": Reader(training_state, read_training_state, attacks="20-training-state"),
    "structure": Reader(structure, read_structure),
    "resume": Reader(run_of_stages, read_run_of_stages, ("*/*",), "10-resume"),
    "inspect": Reader(bundle, read_bundle, ("bundle/*.json", "bundle/*.npz", *MODELS), "08-inspect"),
    "inspect --int8": Reader(bundle, read_bundle_int8, MODELS, short=30),
    "onnx": Reader(bundle, load_bundle, MODELS, "12-onnx", bounded=False),
    "stored inputs": Reader(stored, read_stored),
    "reference": Reader(reference, read_reference),
    "images": Reader(images, read_data, attacks="06-images"),
    "report": Reader(report, read_report, attacks="11-report"),
    "bench record": Reader(bench_records, read_bench_record),
    "contract": Reader(contract_file, read_contract_file, ("bundle/*.json", "bundle/*.npz"), short=60),
    "report's page": Reader(report, write_page, ("run/*.json", "run/stages/*/*"), "11-report", short=10),
}
