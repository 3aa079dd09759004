from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.fx import GraphModule

from edgegan.compress.example_inputs import example
from edgegan.compress.export import Export, ExportSettings
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.stage import REWRITES
from edgegan.compress.rewrite import rewrite
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ProofError, StageError
from edgegan.learning import checkpoint
from edgegan.models.resnet import Generator, ProjectionDiscriminator
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.target import Target

with quiet():
    from edgegan.compress.quantize.calibrate.calibration import Calibration, quantizers
    from edgegan.compress.quantize.calibrate.neural_compressor import Int8Quantizer, prepare
    from edgegan.compress.quantize.choose import candidates
    from edgegan.compress.quantize.choose.quantized_layers import choose_layers
    from edgegan.compress.quantize.deploy.integer_reference import AsInteger, one_step, round_biases
    from edgegan.compress.quantize.improve.qat import FakeQuantized, Training, to_levels
    from edgegan.compress.quantize.improve.qat_settings import TrainingSettings

CONTRACT = Contract(
    (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=3))),
    (Output("image", (3, 16, 16)),),
)
INT8 = Target.read("x64-cpu").int8
SETTINGS: dict[str, Any] = {"steps": 60, "batch": 16, "learning_rate": 1e-3, "output": 1.0, "ema": 0.9}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """torch warns of itself where graphs are copied."""
    with quiet():
        yield


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    """A student that is its own teacher: all that training can undo is the rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        teacher = Generator((16, 12, 8), latent=8, classes=3)
        for _ in range(4):
            teacher(*example(CONTRACT, 64, 7))
        critic = ProjectionDiscriminator(8, classes=3, blocks=2).eval()
    teacher.eval().requires_grad_(False)
    return Candidate(teacher, teacher, CONTRACT, critic)


class Harsh:
    """The graph of a candidate's student, to be quantized with 4-bit weights."""

    def __init__(self, candidate: Candidate) -> None:
        assert INT8 is not None
        self.int8 = INT8.model_copy(update={"weight_bits": 4})
        graph, _ = rewrite(candidate.student, CONTRACT, REWRITES)
        self.samples = candidates.Samples.of(graph, CONTRACT, 64, 0)
        self.start = candidates.starts(graph, self.samples, False)[0]
        self.layers = choose_layers(graph, ())

    def lower(self, *training: Training) -> GraphModule:
        return candidates.lower(self.start, self.layers, self.int8, "mse", self.samples.batches, training)

    def prepared(self) -> GraphModule:
        annotator = Int8Quantizer(self.int8, self.layers.skip, self.layers.float_outputs)
        prepared = prepare(copy.deepcopy(self.start.graph), annotator)
        Calibration(self.start.statistics, "mse")(prepared)
        return prepared


@pytest.fixture(scope="module")
def harsh(candidate: Candidate) -> Harsh:
    return Harsh(candidate)


def training(candidate: Candidate, folder: Path, **settings: object) -> Training:
    chosen = TrainingSettings.model_validate({**SETTINGS, **settings})
    return Training(candidate, chosen, Context(folder, seed=3), "qat")


def test_training_undoes_more_than_half_of_what_rounding_cost(
    harsh: Harsh, candidate: Candidate, tmp_path: Path
) -> None:
    alone = replace(candidate, discriminator=None)
    step = training(alone, tmp_path)
    before, after = (harsh.samples.psnr_db(graph) for graph in (harsh.lower(), harsh.lower(step)))
    assert after > before + 3
    assert step.losses is not None
    assert set(step.losses) == {"output"}
    assert not list(tmp_path.glob("*/checkpoint*"))


def test_the_discriminator_takes_part_and_the_same_seed_gives_the_same_bits(
    harsh: Harsh, candidate: Candidate, tmp_path: Path
) -> None:
    names = ("a", "b")
    steps = [training(candidate, tmp_path / name, steps=6, batch=4, adversarial=1.0) for name in names]
    first, second = (harsh.lower(step).state_dict() for step in steps)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert steps[0].losses == steps[1].losses
    assert steps[0].losses is not None
    assert set(steps[0].losses) == {"output", "discriminator", "adversarial", "perceptual"}


def test_a_training_that_was_cut_off_goes_on_where_it_was(
    harsh: Harsh, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)

    def lowered(folder: str, cut_at: int | None = None) -> dict[str, Any]:
        def progress(done: int, total: int) -> None:
            if done == cut_at:
                raise KeyboardInterrupt

        step = training(candidate, tmp_path / folder, steps=6, batch=4)
        step.context = replace(step.context, progress=progress)
        return harsh.lower(step).state_dict()

    with pytest.raises(KeyboardInterrupt):
        lowered("cut", cut_at=5)
    whole, resumed = lowered("whole"), lowered("cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_gradients_reach_weights_and_scales_until_these_are_frozen(harsh: Harsh) -> None:
    student = FakeQuantized(harsh.prepared(), CONTRACT).requires_grad_(True)
    names = [name for name, _ in student.named_parameters()]

    def moved() -> set[str]:
        student.zero_grad()
        student(*example(CONTRACT, 8, 0))[0].square().sum().backward()
        return {
            name for name, p in student.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
        }

    assert sum("log_scale" in name for name in names) == len(student.levels())
    assert moved() == set(names)
    student.freeze_scales()
    assert moved() == {name for name in names if "log_scale" not in name}


def test_settled_scales_round_as_the_learned_ones_did(harsh: Harsh) -> None:
    student = FakeQuantized(harsh.prepared(), CONTRACT)
    with torch.no_grad():
        for levels in student.levels():
            assert levels.log_scale is not None
            levels.log_scale.add_(0.1)
        inputs = example(CONTRACT, 8, 0)
        learned = student(*inputs)[0]
        student.settle()
        assert float((student(*inputs)[0] - learned).abs().mean()) < 1e-3
    assert [levels.log_scale for levels in student.levels()] == [None] * len(student.levels())


def test_images_are_rounded_to_their_256_levels() -> None:
    spec = Output("image", (1, 2, 2), range=(-1, 1))
    x = torch.tensor([[[[-1.5, -1.0], [0.001, 0.999]]]], requires_grad=True)
    y = to_levels(x, spec)
    assert torch.allclose((y + 1) * 127.5, torch.tensor([[[[0.0, 0.0], [128.0, 255.0]]]]), atol=1e-4)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 1, 1, 1]
    assert to_levels(x, replace(spec, layout="")) is x


def test_biases_of_quantized_layers_are_rounded(harsh: Harsh) -> None:
    prepared = harsh.prepared()
    before = {name: p.clone() for name, p in prepared.named_parameters() if "bias" in name}
    round_biases(prepared)
    changes = {name: (p - before[name]).abs() for name, p in prepared.named_parameters() if name in before}
    units = {name: float(change.max()) for name, change in changes.items() if change.any()}
    largest = max(float(levels.scale.max()) for _, levels in quantizers(prepared))
    assert {name.partition(".bias")[0] for name in units} == {"blocks.0.conv1", "blocks.1.conv1"}
    assert max(units.values()) < largest**2


def test_one_step_counts_what_is_off(harsh: Harsh, candidate: Candidate, tmp_path: Path) -> None:
    from edgegan.compress.export import export_onnx

    graph = harsh.lower()
    export_onnx(candidate.student, CONTRACT, tmp_path / "float.onnx")
    student = candidate.student
    shares = one_step(Artifact.of(tmp_path / "float.onnx"), graph, student, CONTRACT)
    inputs = example(CONTRACT, 32, 0)
    exact = AsInteger(graph).run(*inputs)
    exact = exact if isinstance(exact, torch.Tensor) else exact[0]
    expected = float(((student(*inputs) - exact).abs() <= 2 / 255).double().mean())
    assert shares["within_one_step"] == pytest.approx(expected, abs=1e-3)
    assert shares["within_one_step"] < 0.9
    assert shares["graph_within_one_step"] > 0.99
    assert shares["behind_db"] < -40


def quantize(candidate: Candidate, folder: Path, **settings: object) -> tuple[Quantize, Candidate]:
    plain = dict.fromkeys(("equalize", "gptq", "bias_correction"), False)
    common = {"samples": 32, "calibrator": "mse", "quality": {}, **plain}
    stage = Quantize(QuantizeSettings.model_validate({**common, **settings}))
    stage.requires(candidate)
    return stage, stage.run(candidate, Context(folder, seed=3))


def test_the_stage_trains_each_target_and_its_files_give_the_trained_graphs(
    candidate: Candidate, tmp_path: Path
) -> None:
    distill = {**SETTINGS, "steps": 4, "batch": 4, "uint8_output": True}
    stage, after = quantize(candidate, tmp_path, targets=["x64-cpu", "arm64-cpu"], distill=distill)
    stage.ensures(candidate, after)
    record = after.lineage[-1]
    for proof in record.proof.values():
        assert proof["within_one_step"] >= 0.999
        assert proof["graph_within_one_step"] > 0.9
        assert proof["training"]["output"] > 0
    assert record.settings["distill"]["steps"] == 4
    assert (tmp_path / "model.int8" / "losses.csv").is_file()
    assert (tmp_path / "model.int8-arm64" / "losses.csv").is_file()
    with OnnxRuntimeEngine(after.files["int8"]) as engine:
        pixels = engine(CONTRACT.sample(2, 0))["image"]
    exported = Export(ExportSettings(precisions=("fp32",), uint8_output=True)).run(
        after, Context(tmp_path / "e")
    )
    with OnnxRuntimeEngine(exported.files["int8"]) as engine:
        shown = engine(CONTRACT.sample(2, 0))["image"]
    assert shown.dtype == np.uint8
    assert np.abs((pixels.transpose(0, 2, 3, 1) + 1) * 127.5 - shown).max() <= 0.5 + 1e-3


def test_a_file_that_is_not_its_graph_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    stage, after = quantize(candidate, tmp_path)
    proof = after.lineage[-1].proof["int8"]
    proof["within_one_step"] = 0.97
    with pytest.raises(ProofError, match=r"97\.00% of the outputs .*\(at least 99\.90%\)"):
        stage.ensures(candidate, after)
    proof["settled"] = False
    stage.ensures(candidate, after)
    proof["behind_db"] = 0.6
    with pytest.raises(ProofError, match=r"0\.6 dB farther .*\(at most 0\.5\)"):
        stage.ensures(candidate, after)
    proof["saturates"] = True
    stage.ensures(candidate, after)
    assert onnx.load(after.files["int8"]).graph.node


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"features": 0.2}, "features"), ({"precision": "bf16"}, "precision"), ({"steps": 0}, "steps")],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QuantizeSettings.model_validate({"distill": settings})


def test_what_cannot_be_trained_is_said(harsh: Harsh, candidate: Candidate, tmp_path: Path) -> None:
    nothing = training(replace(candidate, discriminator=None), tmp_path, output=0.0)
    with pytest.raises(StageError, match="nothing to learn from") as caught:
        nothing(harsh.prepared(), harsh.start.graph, ())
    assert "quantize.distill.output" in str(caught.value)
    strange = replace(candidate, discriminator=nn.Linear(2, 2))
    with pytest.raises(StageError, match="cannot be called as discriminator"):
        quantize(strange, tmp_path, distill=SETTINGS)
