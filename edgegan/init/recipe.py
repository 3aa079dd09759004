"""`init_recipe`: a recipe for a network that nobody described yet."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.compress.generator import load_generator
from edgegan.compress.lint import Finding, lint
from edgegan.compress.stages import build_stages
from edgegan.errors import InputError, ModelError, some
from edgegan.files import atomic_folder, write_text
from edgegan.init.find_out import find_out, sandboxed
from edgegan.init.first_stages import first_samples, first_stages, fitting
from edgegan.init.pictures import pictures as made_pictures
from edgegan.init.stored import MOST_BYTES, picture_folder, read_pictures, write_arrays
from edgegan.init.text import comment, entries, flow
from edgegan.owned import fresh
from edgegan.reading import Unreadable, read_text
from edgegan.recipe import FILE_NAME, Recipe

GENERIC = re.compile(
    r"(net|network|model|generator|gen|g|main|module|nets|networks|models|arch)_?[g\d]?", re.IGNORECASE
)
PICTURES = "inputs.npz"
GUESS = "guess: "
MADE_PICTURES = 128
FARTHEST = 4


@dataclass(frozen=True)
class Initialized:
    """A recipe that was written: its folder, all that was said in its comments, and what lint found in it."""

    folder: Path
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def guesses(self) -> tuple[str, ...]:
        """The notes that are guesses."""
        return tuple(note for note in self.notes if GUESS in note)


def init_recipe(
    network: str,
    checkpoint: str | Path,
    *,
    out: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    pictures: str | Path | None = None,
    progress: Callable[[str], object] = lambda step: None,
) -> Initialized:
    """Write a recipe for a network, from its class and its checkpoint alone.

    Runs the network's code, in a process of its own under limits of time and memory. What cannot be found out
    is guessed, and marked as a guess in the recipe's comments. Nothing is copied but the file of a function,
    which a recipe calls only in its own folder; made-up pictures stand in for real ones.

    Args:
        network: "FILE.py:Class", or "FILE.py:function".
        checkpoint: its trained weights, or the checkpoint of a whole training.
        out: the recipe's folder, absent or empty; by default `recipes/<name>`.
        arguments: of the constructor, by name; those that are not given are inferred.
        pictures: a folder of real pictures, for networks that take pictures (see `store_pictures`).
        progress: told of each step as it begins.

    Raises:
        InputError: `network` is not of that form.
        ModelError: the network cannot be imported, built or run.
        CheckpointError: the weights cannot be read, or do not fit.
        DataError: the pictures cannot be read.
        StorageError: the folder is in use, or may not be written.
    """
    file, name = _network(network)
    weights = Path(checkpoint)
    title = _title(file, name)
    folder = fresh(Path("recipes") / title if out is None else out, apart=[file, weights])
    progress("trying inputs")
    found = sandboxed(
        lambda: find_out(file, name, weights, dict(arguments or {})), f"{network} cannot be looked at"
    )
    arrays, made = _arrays(found["inputs"], Path(pictures) if pictures else None)
    draft = _Draft(title, file, name, weights, folder, found, made)
    with atomic_folder(folder) as new:
        if arrays:
            write_arrays(new / PICTURES, arrays, made_up=made)
        if found["model"]["function"]:
            shutil.copyfile(file, new / file.name)
        write_text(new / FILE_NAME, draft.text({}))
    progress("lint")
    findings, left_out = fitting(lambda without: _lint(folder, without))
    if left_out:
        write_text(folder / FILE_NAME, draft.text(left_out))
    return Initialized(folder, tuple(draft.notes()), tuple(findings))


class _Draft:
    """The text of the recipe."""

    def __init__(
        self,
        title: str,
        file: Path,
        name: str,
        weights: Path,
        folder: Path,
        found: dict[str, Any],
        made: bool,
    ) -> None:
        self.title, self.folder, self.found, self.made = title, folder, found, made
        self.source = file.name if found["model"]["function"] else _relative(file, folder)
        self.name, self.weights = name, _relative(weights, folder)
        self.given = f"{file.name}:{name} and {weights.name}"

    def notes(self) -> list[str]:
        """Return all that the recipe's comments say of what was found."""
        listed = (*self.found["inputs"], *self.found["outputs"])
        sides = [f"{entry['data']['name']}: {note}" for entry in listed for note in entry["notes"]]
        return [
            *self.found["model"]["notes"],
            *sides,
            *self.found["notes"],
            *([self._made()] if self.made else []),
        ]

    def text(self, left_out: Mapping[str, str]) -> str:
        """Return the recipe, without the stages that are `left_out` for a reason."""
        model, found = self.found["model"], self.found
        lines = [
            *comment(f"Written by `edgegan init` from {self.given}: {found['params']:,} parameters, "
                     f"{_many(found['macs'])} MACs. What is marked `guess:` is not in the network."),
            *(line for note in found["notes"] for line in comment(note)),
            "schema: 1",
            f"name: {self.title}",
            "model:",
            *(line for note in model["notes"] for line in comment(note, 2)),
            f"  callable: {flow(f'{self.source}:{self.name}')}",
            *([f"  arguments: {flow(model['arguments'])}"] if model["arguments"] else []),
            f"  checkpoint: {flow(self.weights)}",
            *([f"  key: {flow(model['key'])}"] if model["key"] else []),
            *([f"  outputs: {flow(model['outputs'])}"] if model["outputs"] else []),
            *([f"  noise: {model['noise']}"] if model["noise"] else []),
            "contract:",
            *([f"  sizes: {flow(found['sizes'])}"] if found["sizes"] else []),
            *(comment(self._made(), 2) if self.made else ()),
            *entries("inputs", [(self._stored(entry), entry["notes"]) for entry in found["inputs"]]),
            *entries("outputs", [(self._named(entry), entry["notes"]) for entry in found["outputs"]]),
            *comment("more samples make closer figures, and take longer"),
            f"quality: {flow({'samples': first_samples(found['macs'])})}",
            "stages:",
            *self._stage_lines(left_out),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _stage_lines(self, left_out: Mapping[str, str]) -> list[str]:
        settings = first_stages(self.found["macs"])
        says = {
            "prune": "keep half of the multiplications",
            "distill": "more steps come nearer to the full model: 20000 on a GPU",
            "quantize": "`edgegan targets` lists the devices",
        }
        lines: list[str] = []
        for stage in settings:
            said = f"  # {says[stage]}" if stage in says else ""
            if stage in left_out:
                lines += [
                    *comment(f"{stage} is left out: {left_out[stage]}", 2),
                    f"  # - {stage}: {flow(settings[stage])}",
                ]
            else:
                lines.append(f"  - {stage}: {flow(settings[stage])}{said}")
        return lines

    def _named(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return an entry's data, with the names of free sizes in its shape."""
        data = dict(entry["data"])
        return {**data, "shape": self.found["shapes"].get(data["name"], data["shape"])}

    def _stored(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return an input's data with the file that it is stored in, where it is."""
        data = self._named(entry)
        if entry["made"]:
            data["sample"] = {"kind": "stored", "file": PICTURES, **data["sample"]}
        return data

    def _made(self) -> str:
        code = f"import edgegan; edgegan.store_pictures({str(self.folder)!r}, 'PICTURES')"
        return (
            f"guess: made-up pictures stand in {PICTURES}, and INT8 wants real ones. From a folder of yours: "
            + shlex.join(["python", "-c", code])
        )


def _network(text: str) -> tuple[Path, str]:
    source, _, name = text.rpartition(":")
    if not source:
        source, name = text, ""
    file = Path(source)
    if file.suffix in (".pt", ".pth", ".ts", ".jit", ".torchscript"):
        raise InputError(
            "this is no Python file; and what TorchScript holds is compiled code, which no stage can change",
            where=text,
            next="name the Python class that was trained, as in: edgegan init model.py:Generator weights.pt; "
            "the weights of a TorchScript file are read from it as a checkpoint",
        )
    if file.suffix != ".py" or not name:
        raise InputError(
            "a network is named by its file and its class",
            where=text,
            next=f"as in: edgegan init model.py:Generator weights.pt{_classes(file)}",
        )
    if not file.is_file():
        raise ModelError(f"there is no file {file}", where=text)
    return file, name


def _classes(file: Path) -> str:
    """Say which classes a Python file defines, without running it."""
    try:
        tree = ast.parse(read_text(file)) if file.suffix == ".py" else ast.Module([], [])
    except (Unreadable, SyntaxError, ValueError, RecursionError):
        return ""
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return f"; it defines: {some(names)}" if names else ""


def _title(file: Path, name: str) -> str:
    choices = (file.stem, name.rpartition(".")[2], file.resolve().parent.name)
    plain = (re.sub(r"[^a-z0-9.-]+", "-", choice.lower()).strip(".-")[:60] for choice in choices)
    return next((choice for choice in plain if choice and not GENERIC.fullmatch(choice)), "generator")


def _relative(path: Path, folder: Path) -> str:
    """Return where `path` is from `folder`; in full, where the two have little in common."""
    real = os.path.realpath(path)
    near = Path(os.path.relpath(real, folder))
    return (near if near.parts.count("..") <= FARTHEST else Path(real)).as_posix()


def _arrays(inputs: Sequence[Any], folder: Path | None) -> tuple[dict[str, NDArray[Any]], bool]:
    """Return the rows of each stored input, and whether they are made up."""
    arrays: dict[str, NDArray[Any]] = {}
    shown = [entry for entry in inputs if entry["made"]]
    if folder is not None and not shown:
        raise InputError("the network takes no pictures", where=str(folder), next="leave --pictures out")
    for index, entry in enumerate(shown):
        name, shape = entry["data"]["name"], tuple(entry["data"]["shape"])
        if folder is not None:
            arrays[name] = read_pictures(picture_folder(folder, name, of=len(shown)), shape)
            continue
        count = int(max(16, min(MADE_PICTURES, MOST_BYTES // 8 // np.prod(shape))))
        rows = made_pictures(count, shape[0], shape[1:], index)
        rows = rows.round() if entry["made"] == "masks" else rows
        arrays[name] = (rows * 255).round().byte().numpy()
    return arrays, bool(shown) and folder is None


def _lint(folder: Path, without: Sequence[str]) -> list[Finding]:
    def work() -> list[dict[str, Any]]:
        recipe = Recipe.read(folder)
        stages = [stage for stage in build_stages(recipe) if stage.name not in without]
        module, said = load_generator(recipe.model, recipe.contract, recipe.folder)
        return [asdict(finding) for finding in [*lint(module, recipe.contract, stages=stages), *said]]

    found = sandboxed(work, f"{folder} cannot be linted")
    return [Finding(**{**finding, "layers": tuple(finding["layers"])}) for finding in found]


def _many(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"
