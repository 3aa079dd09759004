from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgegan.compress.example_inputs import example
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.quantize.plan import AUTOMATIC
from edgegan.compress.quantize.stage import by_file
from edgegan.compress.rewrite import Change
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ProofError, RecipeError, StageError
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.target import Target

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

CONTRACT = Contract(
    (Input("z", (16,)), Input("label", (), "int64", Sample("labels", classes=4))),
    (Output("image", (3, 16, 16)),),
)


PLAIN = dict.fromkeys(("equalize", "gptq", "bias_correction"), False)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    generator = Generator((16, 16, 8), latent=16, classes=4)
    with torch.no_grad():
        for seed in range(20):
            generator(*example(CONTRACT, 32, seed))
    return generator.eval()


PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8), (-2.0, 2.0)),))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """Of as few operators as a decision about layers, channels or calibrators takes."""
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2]).eval().requires_grad_(False)


def quantized(module: nn.Module, contract: Contract, folder: Path, **settings: object) -> Candidate:
    stage = Quantize(
        QuantizeSettings.model_validate({"samples": 64, "calibrator": "mse", "quality": {}, **settings})
    )
    before = Candidate(module, module, contract)
    stage.requires(before)
    after = stage.run(before, Context(folder))
    stage.ensures(before, after)
    assert before.files == {}
    assert after.student is module
    return after


def proof_of(candidate: Candidate, key: str = "int8") -> dict[str, Any]:
    return candidate.lineage[-1].proof[key]


def weights(path: Path) -> dict[str, np.ndarray]:
    tensors = onnx.load(path).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) >= 2}


@pytest.fixture(scope="module")
def result(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return quantized(module, CONTRACT, tmp_path_factory.mktemp("quantize"))


def test_all_layers_but_the_last_run_in_int8(result: Candidate) -> None:
    proof = proof_of(result)
    assert proof["float_layers"] == ["head"]
    assert proof["int8_macs_share"] > 0.9
    assert proof["operators"]["QLinearConv"] == 6
    assert proof["operators"]["QGemm"] == 1
    assert "Resize" not in proof["operators"]
    assert "ConvTranspose" not in proof["operators"]
    assert proof["psnr_db"] > 30
    assert proof["worst_psnr_db"] < proof["psnr_db"] < proof["worst_psnr_db"] + 20
    assert 0.05 < proof["range_used_share"] <= 1


def test_the_record_is_plain_data(result: Candidate) -> None:
    record = result.lineage[-1]
    json.dumps([record.settings, record.changed, record.proof], allow_nan=False)
    assert record.changed["kept_in_float"] == ["head"]
    assert {change["rewrite"] for change in record.changed["rewrites"]} - {"equalize_channels"} == {
        "fold_batch_norm",
        "tabulate_conditional_norm",
        "batch_norm_to_affine",
        "conv_transpose_to_linear",
    }


def test_weights_are_kept_once_in_seven_bits(result: Candidate) -> None:
    kept = weights(result.files["int8"])
    int8 = [tensor for tensor in kept.values() if tensor.dtype == np.int8]
    assert len(int8) == 7
    assert max(int(np.abs(tensor.astype(int)).max()) for tensor in int8) == 63
    floats = sum(tensor.size for tensor in kept.values() if tensor.dtype == np.float32)
    tables = 4 * 2 * sum((16, 16, 16, 8))
    assert floats == tables + 3 * 8 * 9 + 8 * 2


def test_any_batch_gives_the_same_images(result: Candidate) -> None:
    with OnnxRuntimeEngine(result.files["int8"], threads=1) as engine:
        samples = CONTRACT.sample(6, 5)
        together = engine(samples)["image"]
        alone = [engine({k: v[i : i + 1] for k, v in samples.items()})["image"] for i in range(6)]
    assert np.abs(together - np.concatenate(alone)).max() < 0.02


def test_the_same_student_gives_the_same_bytes_quietly(
    module: nn.Module, result: Candidate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    again = quantized(module, CONTRACT, tmp_path)
    assert again.files["int8"].read_bytes() == result.files["int8"].read_bytes()
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


TARGETS = ["x64-cpu-vnni", "arm64-cpu", "jetson-orin-nano"]


@pytest.fixture(scope="module")
def of_targets(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    settings = {**PLAIN, "targets": TARGETS, "skip": ["blocks.1.conv2"]}
    return quantized(module, CONTRACT, tmp_path_factory.mktemp("targets"), **settings)


def test_each_target_gets_its_own_file_and_a_skipped_layer_stays_in_float(of_targets: Candidate) -> None:
    assert set(of_targets.files) == {"int8", "int8-arm64", "int8-tensorrt"}
    assert [of_targets.lineage[-1].changed[key]["target"] for key in of_targets.files] == TARGETS
    for key, path in of_targets.files.items():
        proof = proof_of(of_targets, key)
        assert proof["float_layers"] == ["blocks.1.conv2", "head"]
        # Without VNNI the sums of 8-bit weights saturate in the kernels for x64, as the record says.
        assert proof["psnr_db"] > (20 if proof["saturates"] else 30)
        levels = [t for t in weights(path).values() if t.dtype == np.int8]
        assert max(int(np.abs(tensor.astype(int)).max()) for tensor in levels) == 127


def test_tensorrt_gets_int8_with_zero_points_of_zero_and_half_precision_around_it(
    of_targets: Candidate,
) -> None:
    graph = onnx.load(of_targets.files["int8-tensorrt"]).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[1]].dtype == np.float16
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    assert all(array.dtype != np.int32 for array in constants.values())
    assert "QuantizeLinear" in {node.op_type for node in graph.node}


def test_targets_that_want_one_file_in_two_forms_are_refused(module: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"x64-cpu and x64-cpu-vnni"):
        quantized(module, CONTRACT, tmp_path, targets=["x64-cpu", "x64-cpu-vnni"])


def test_targets_of_one_engine_share_a_file() -> None:
    ((key, target),) = by_file(map(Target.read, ["arm64-cpu", "raspberry-pi-5"])).items()
    assert (key, target.name) == ("int8-arm64", "arm64-cpu")


def test_an_unknown_target_is_refused(module: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="jetson-orin-nano"):
        quantized(module, CONTRACT, tmp_path, targets=["jetson-orin-nan"])


def test_the_best_trial_wins(small: nn.Module, tmp_path: Path) -> None:
    after = quantized(small, PICTURE, tmp_path, **PLAIN | {"equalize": "auto"}, calibrator="auto")
    changed, proof = after.lineage[-1].changed["int8"], proof_of(after)
    trials = proof["trials"]
    ways = {(trial["equalized"], trial["calibrator"]) for trial in trials}
    assert ways == {(equalized, name) for equalized in (False, True) for name in AUTOMATIC}
    assert trials == sorted(trials, key=lambda trial: -trial["mean_psnr_db"])
    assert changed["calibrator"] == trials[0]["calibrator"]
    assert changed["equalized"] == trials[0]["equalized"]
    assert abs(proof["psnr_db"] - trials[0]["psnr_db"]) < 2


@pytest.mark.parametrize("equalize", [True, False])
def test_channels_are_equalized_when_told(small: nn.Module, tmp_path: Path, equalize: bool) -> None:
    after = quantized(small, PICTURE, tmp_path, **PLAIN | {"equalize": equalize})
    rewrites = {change["rewrite"] for change in after.lineage[-1].changed["rewrites"]}
    assert ("equalize_channels" in rewrites) is equalize
    assert {trial["equalized"] for trial in proof_of(after)["trials"]} == {equalize}


def test_an_equalization_that_is_not_exact_is_left_out_unless_told(
    small: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegan.compress.quantize.choose.candidates.equalize_channels", halve_a_weight)
    after = quantized(small, PICTURE, tmp_path, **PLAIN | {"equalize": "auto"})
    assert {trial["equalized"] for trial in proof_of(after)["trials"]} == {False}
    assert "halve_a_weight" in after.lineage[-1].changed["equalization_refused"]
    with pytest.raises(ProofError, match="halve_a_weight"):
        quantized(small, PICTURE, tmp_path, equalize=True)


def halve_a_weight(graph: torch.fx.GraphModule, contract: Contract) -> list[Change]:
    """Change the outputs."""
    with torch.no_grad():
        next(weight for weight in graph.parameters() if weight.dim() > 1).mul_(0.5)
    return [Change("halve_a_weight", "first", "")]


def test_an_unknown_layer_to_skip_is_refused(small: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"blocks\.9"):
        quantized(small, PICTURE, tmp_path, skip=["blocks.9"])


def test_a_module_without_layers_is_refused(tmp_path: Path) -> None:
    contract = Contract((Input("x", (3, 4, 4)),), (Output("y", (3, 4, 4)),))
    with pytest.raises(StageError, match="no layer"):
        quantized(nn.Sequential(nn.Tanh()), contract, tmp_path)


def test_a_broken_file_is_found_out(result: Candidate) -> None:
    record = result.lineage[-1]
    wrong = [
        ({"finite": False}, "not finite"),
        ({"within_one_step": 0.99}, "one step"),
        ({"behind_db": 1}, "dB"),
    ]
    useless = [({"psnr_db": 9.0}, "9.0 dB"), ({"int8_layers": []}, "no layer")]
    for proof, why in (*wrong, *useless):
        found = {**proof_of(result), "saturates": False, "settled": True, **proof}
        record = record.__class__(record.stage, {}, {}, {"int8": found})
        kind = ProofError if (proof, why) in wrong else StageError
        with pytest.raises(kind, match=f"(?s){why}.*next:"):
            Quantize().ensures(result, replace(result, lineage=(record,)))


def test_a_file_whose_norms_round_otherwise_is_judged_by_decibels(result: Candidate) -> None:
    proof = {**proof_of(result), "settled": False, "within_one_step": 0.419, "behind_db": 0.1}
    record = result.lineage[-1].__class__("quantize", {}, {}, {"int8": proof})
    Quantize().ensures(result, replace(result, lineage=(record,)))


def test_a_dcgan_of_transposed_convolutions(shared: Path, tmp_path: Path) -> None:
    import celeba_dcgan

    after = quantized(celeba_dcgan.load(shared), celeba_dcgan.CONTRACT, tmp_path, samples=128)
    proof = proof_of(after)
    assert proof["psnr_db"] > 38
    assert proof["int8_macs_share"] > 0.95
    assert proof["operators"]["QLinearConv"] == 3
    assert proof["file_bytes"] < 1_000_000


def test_a_perceptron_keeps_a_float_output_of_an_int8_layer(shared: Path, tmp_path: Path) -> None:
    import mnist_mlp

    after = quantized(mnist_mlp.load(shared), mnist_mlp.CONTRACT, tmp_path)
    proof = proof_of(after)
    assert proof["operators"] == {"QGemm": 3, "QuantizeLinear": 1, "Tanh": 1}
    assert proof["psnr_db"] > 32
