"""What can be found out of a class and a checkpoint, in a process of its own, since it runs their code."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from edgegan import errors
from edgegan.compress.calling import in_a_row
from edgegan.compress.checkpoint import read_checkpoint
from edgegan.compress.cost import count
from edgegan.compress.export import to_onnx
from edgegan.compress.generator import load_generator
from edgegan.compress.load import load_module
from edgegan.compress.rewrite import trace
from edgegan.compress.rewrite.fourier import has_complex
from edgegan.compress.sandbox import limited
from edgegan.compress.user_code import find_callable
from edgegan.init.construct import construct
from edgegan.init.examine import Entry, Examined, examine
from edgegan.init.inputs import conditions, parameters
from edgegan.init.search import SECONDS as TRYING
from edgegan.init.search import Search, search
from edgegan.reading import Unreadable, read_json
from edgegan.recipe import ModelSpec
from edgegan.runtime.contract import Contract

SECONDS, GIBIBYTES = 900.0, 12.0
CURES = (
    (
        "CUDA|cuda",
        "edgegan runs it on the CPU: take .cuda() and device='cuda' out of the class, as in device=z.device",
    ),
)
"""What a network may say of inputs that it does not run on, and what to do about that."""
OTHERWISE = (
    "write the recipe by hand, as the README shows under `Your own model`; where forward takes other than "
    "tensors, add a class to the file that does, and name that: class Deployed({name}), with "
    "def forward(self, z): return super().forward([z])"
)


def sandboxed(work: Callable[[], Any], what: str) -> Any:
    """Return `work()`, plain data, from a process under limits; what edgegan refuses in it is raised here.

    What the user's code prints goes to standard error.
    """

    def told() -> dict[str, Any]:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                return {"result": work()}
            except errors.EdgeganError as error:
                return {"refused": [type(error).__name__, error.what, error.where, error.next]}

    reply = limited(told, what, seconds=SECONDS, gibibytes=GIBIBYTES)
    if "refused" in reply:
        kind, said, where, after = reply["refused"]
        raise getattr(errors, kind)(said, where=where, next=after)
    return reply["result"]


def find_out(file: Path, name: str, checkpoint: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the network `name` of `file` is built with, takes, gives and costs, as plain data.

    Raises:
        ModelError: it cannot be imported or built, or runs on nothing that was tried.
        CheckpointError: the checkpoint cannot be read, or fits no arguments that were found.
    """
    called = f"{file.name}:{name}"
    spec = ModelSpec(callable=called, checkpoint=str(checkpoint.resolve()), arguments=dict(arguments))
    make = find_callable(spec, file.parent)
    content = read_checkpoint(checkpoint)
    built = construct(make, content, arguments, called, _kept_beside(checkpoint))
    spec = spec.model_copy(update={"arguments": built.arguments, "key": built.key})
    said: list[str] = []
    module = load_module(spec, file.parent, said.append)
    found = search_all(module)
    model: dict[str, Any] = {
        "function": not inspect.isclass(make),
        "arguments": built.arguments,
        "key": built.key,
        "notes": [*built.why.values(), *said],
    }
    if found.inputs is None or any(guess.kind == "number" for guess in found.inputs):
        takes = ", ".join(parameter.name for parameter in parameters(module))
        raise _no_inputs(called, takes, found)
    seen = examine(module, found.inputs)
    entries = {"inputs": seen.inputs, "outputs": seen.outputs}
    paths = {entry.data["name"]: entry.path or "0" for entry in seen.outputs} if seen.nested else {}
    contract = drawable(seen.inputs, seen.outputs)
    spec = spec.model_copy(update={"outputs": paths, "noise": seen.noise})
    adapted, _ = load_generator(spec, contract, file.parent)
    check_free(seen, adapted)
    cost = count(adapted, contract)
    return {
        "model": {**model, "outputs": paths, "noise": seen.noise},
        **{side: [asdict(entry) for entry in listed] for side, listed in entries.items()},
        "notes": seen.notes,
        "sizes": seen.sizes,
        "shapes": seen.shapes,
        "macs": cost.macs,
        "params": cost.params,
    }


def _kept_beside(checkpoint: Path) -> Any:
    """Return the settings in the config.json in the checkpoint's folder, as diffusers writes it, if any."""
    try:
        return read_json(checkpoint.parent / "config.json")
    except (OSError, Unreadable):
        return None


def search_all(module: nn.Module) -> Search:
    """Find inputs, of labels that forward does without too; `module` takes them in a row."""
    needed, more = [parameter.name for parameter in parameters(module)], conditions(module)
    if not more:
        in_a_row(module, needed)
        return search(module)
    in_a_row(module, [*needed, *more])
    if (found := search(module, TRYING / 2)).inputs is not None:
        return found
    in_a_row(module, needed)
    return search(module, TRYING / 2)


def drawable(
    inputs: list[Entry],
    outputs: list[Entry],
    sizes: Mapping[str, Any] = {},
    shapes: Mapping[str, Any] = {},
) -> Contract:
    """Return the contract with pictures drawn from their range, since there is no file of them yet."""
    drawn = [
        {**entry.data, "sample": {"kind": "uniform", **entry.data["sample"]}} if entry.made else entry.data
        for entry in inputs
    ]
    sides = {"inputs": drawn, "outputs": [entry.data for entry in outputs]}
    named = {
        side: [{**data, "shape": shapes.get(data["name"], data["shape"])} for data in entries]
        for side, entries in sides.items()
    }
    return Contract.from_dict({"sizes": sizes, **named})


def check_free(seen: Examined, module: nn.Module) -> None:
    """Take sizes back that are free as the network runs, and fixed as it is traced, or written to a file.

    Of what is written, Fourier transforms of a whole input have to be of a fixed length.
    """
    if not seen.sizes:
        return
    contract = drawable(seen.inputs, seen.outputs, seen.sizes, seen.shapes)
    try:
        graph = trace(module, contract)
        if has_complex(graph):
            to_onnx(graph, contract)
    except errors.ModelError as error:
        if _in_multiples(seen, module, error.what):
            return
        seen.notes[0] = f"its sizes are free, and fixed once it is traced: {error.what}"
        seen.sizes, seen.shapes = {}, {}


def _in_multiples(seen: Examined, module: nn.Module, refused: str) -> bool:
    """Whether the sizes are free in the multiples that `torch.export` asks for; they are then these.

    Code that pads where halves do not meet runs at any size, and is traced for those where they do.
    """
    asked = {name: int(times) for name, times in re.findall(r"\b(\w+?)(?:_steps)? = (\d+)\*_\w+", refused)}
    sizes = {name: dict(size) for name, size in seen.sizes.items()}
    for name, times in asked.items():
        if name not in sizes:
            return False
        multiple = sizes[name].get("multiple", 1) * times
        sizes[name] |= {"multiple": multiple, "min": -(-sizes[name]["min"] // multiple) * multiple}
    if not asked or any(size["nominal"] % size.get("multiple", 1) for size in sizes.values()):
        return False
    try:
        trace(module, drawable(seen.inputs, seen.outputs, sizes, seen.shapes))
    except errors.EdgeganError:
        return False
    seen.sizes = sizes
    return True


def _no_inputs(called: str, takes: str, found: Search) -> errors.ModelError:
    if found.inputs is not None:
        numbers = ", ".join(guess.name for guess in found.inputs if guess.kind == "number")
        return errors.ModelError(
            f"forward takes numbers of Python ({numbers}), which no contract has",
            where=called,
            next="write a class in the same file whose forward takes tensors alone, and gives these numbers; "
            "then name that class",
        )
    complaint = " ".join(found.complaint.split())
    likeliest = ", ".join(f"{guess.name} {guess.shape}" for guess in found.likeliest)
    cure = next((cure for pattern, cure in CURES if re.search(pattern, complaint)), OTHERWISE)
    return errors.ModelError(
        f"no inputs were found that it runs on, of {found.tried} that were tried in up to {TRYING:.0f} s: "
        f"forward takes ({takes}); the likeliest, {likeliest}: {complaint:.300}",
        where=called,
        next=cure.format(name=called.rpartition(":")[2]),
    )
