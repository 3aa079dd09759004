"""Init on generators as their authors published them: how many recipes need no edit."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from edgegan import Contract, Recipe, init_recipe

ZOO = {
    "candy": "Generator", "celeba_dcgan": "Generator", "fast_srgan": "Generator", "mario_dcgan": "Generator",
    "mnist_cwgangp": "Generator", "mnist_mlp": "generator", "mnist_wgangp": "Generator",
    "realesr_video": "Generator", "srgan": "Generator", "ttsgan": "Generator",
}  # fmt: skip


def edits(found: Contract, wanted: Contract) -> list[str]:
    """What of a recipe's contract must be corrected: names and sizes of pictures are as good as others."""
    wrong = []
    if len(found.inputs) != len(wanted.inputs) or len(found.outputs) != len(wanted.outputs):
        return ["another number of inputs or outputs"]
    for one, other in zip(found.inputs, wanted.inputs):
        picture = one.sample.kind == "stored"
        if (one.shape[:1], one.dtype) != (other.shape[:1], other.dtype) or not (
            picture or one.shape == other.shape
        ):
            wrong.append(f"input {one.shape} for {other.shape}")
        spans = [(each.sample.low, each.sample.high) for each in (one, other)]
        if one.sample.classes != other.sample.classes or (
            other.sample.kind != "normal" and spans[0] != spans[1]
        ):
            wrong.append(f"{one.sample} for {other.sample}")
        elif not picture and one.sample.kind != other.sample.kind:
            wrong.append(f"{one.sample.kind} for {other.sample.kind}")
    for one, other in zip(found.outputs, wanted.outputs):
        scale = found.inputs[0].shape[-1] / wanted.inputs[0].shape[-1] if found.inputs[0].shape else 1
        free = found.inputs[0].sample.kind == "stored"
        expected = (other.shape[0], *(int(size * scale) for size in other.shape[1:])) if free else other.shape
        if (one.shape, one.modality) != (expected, other.modality):
            wrong.append(f"output {one.shape} {one.modality} for {expected} {other.modality}")
        widths = [each.range[1] - each.range[0] for each in (one, other)]
        close = 0.5 <= widths[0] / widths[1] <= 2 and one.range[0] * other.range[0] >= 0
        if not (one.range == other.range if other.modality.kind == "image" else close):
            wrong.append(f"range {one.range} for {other.range}")
    return wrong


@pytest.mark.slow
def test_eight_of_ten_recipes_need_no_edit(shared: Path, tmp_path: Path) -> None:
    told = {}
    for name, called in ZOO.items():
        network = import_module(f"zoo.{name}")
        checkpoint = shared / network.CHECKPOINT.format(4)
        made = init_recipe(f"{network.__file__}:{called}", checkpoint, out=tmp_path / name)
        told[name] = edits(Recipe.read(made.folder).contract, network.CONTRACT)
        told[name] += [finding.what for finding in made.findings if finding.level == "error"]
    needing = {name: wrong for name, wrong in told.items() if wrong}
    assert len(needing) <= 2, needing
