from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgegan.compress.inputs import example
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ProofError, StageError
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

CONTRACT = Contract(
    (Input("z", (16,)), Input("label", (), "int64", Sample("labels", classes=4))),
    (Output("image", (3, 16, 16)),),
)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    generator = Generator((16, 16, 8), latent=16, classes=4)
    with torch.no_grad():
        for seed in range(20):
            generator(*example(CONTRACT, 32, seed))
    return generator.eval()


def quantized(module: nn.Module, contract: Contract, folder: Path, **settings: object) -> Candidate:
    stage = Quantize(QuantizeSettings.model_validate({"samples": 64, "calibrator": "mse", **settings}))
    before = Candidate(module, module, contract)
    stage.requires(before)
    after = stage.run(before, Context(folder))
    stage.ensures(before, after)
    assert before.files == {}
    assert after.student is module
    return after


def weights(path: Path) -> dict[str, np.ndarray]:
    tensors = onnx.load(path).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) >= 2}


@pytest.fixture(scope="module")
def result(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return quantized(module, CONTRACT, tmp_path_factory.mktemp("quantize"))


def test_all_layers_but_the_last_run_in_int8(result: Candidate) -> None:
    proof = result.lineage[-1].proof
    assert proof["float_layers"] == ["head"]
    assert proof["int8_macs_share"] > 0.9
    assert proof["operators"]["QLinearConv"] == 6
    assert proof["operators"]["QGemm"] == 1
    assert "Resize" not in proof["operators"]
    assert "ConvTranspose" not in proof["operators"]
    assert proof["psnr_db"] > 30


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


def test_eight_bits_and_a_skipped_layer(module: nn.Module, result: Candidate, tmp_path: Path) -> None:
    other = quantized(module, CONTRACT, tmp_path, weight_bits=8, skip=["blocks.1.conv2"])
    proof = other.lineage[-1].proof
    assert proof["float_layers"] == ["blocks.1.conv2", "head"]
    levels = [t for t in weights(other.files["int8"]).values() if t.dtype == np.int8]
    assert max(int(np.abs(tensor.astype(int)).max()) for tensor in levels) == 127


def test_the_best_trial_wins(module: nn.Module, tmp_path: Path) -> None:
    record = quantized(module, CONTRACT, tmp_path, calibrator="auto").lineage[-1]
    trials = record.proof["trials"]
    assert {(trial["equalized"], trial["calibrator"]) for trial in trials} == {
        (False, "mse"),
        (True, "mse"),
        (False, "mae"),
        (True, "mae"),
    }
    assert trials == sorted(trials, key=lambda trial: -trial["psnr_db"])
    assert record.changed["calibrator"] == trials[0]["calibrator"]
    assert record.changed["equalized"] == trials[0]["equalized"]
    assert abs(record.proof["psnr_db"] - trials[0]["psnr_db"]) < 2


def test_an_unknown_layer_to_skip_is_refused(module: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"blocks\.9"):
        quantized(module, CONTRACT, tmp_path, skip=["blocks.9"])


def test_a_module_without_layers_is_refused(tmp_path: Path) -> None:
    contract = Contract((Input("x", (3, 4, 4)),), (Output("y", (3, 4, 4)),))
    with pytest.raises(StageError, match="no layer"):
        quantized(nn.Sequential(nn.Tanh()), contract, tmp_path)


def test_a_broken_file_is_found_out(module: nn.Module, result: Candidate) -> None:
    record = result.lineage[-1]
    for proof in ({"psnr_db": 9.0}, {"finite": False}, {"int8_layers": []}):
        record = record.__class__(record.stage, {}, {}, {**result.lineage[-1].proof, **proof})
        with pytest.raises(ProofError):
            Quantize().ensures(result, Candidate(module, module, CONTRACT, lineage=(record,)))


def test_a_dcgan_of_transposed_convolutions(shared: Path, tmp_path: Path) -> None:
    import celeba_dcgan

    after = quantized(celeba_dcgan.load(shared), celeba_dcgan.CONTRACT, tmp_path, samples=128)
    proof = after.lineage[-1].proof
    assert proof["psnr_db"] > 38
    assert proof["int8_macs_share"] > 0.95
    assert proof["operators"]["QLinearConv"] == 3
    assert proof["file_bytes"] < 1_000_000


def test_a_perceptron_keeps_a_float_output_of_an_int8_layer(shared: Path, tmp_path: Path) -> None:
    import mnist_mlp

    after = quantized(mnist_mlp.load(shared), mnist_mlp.CONTRACT, tmp_path)
    proof = after.lineage[-1].proof
    assert proof["operators"] == {"QGemm": 3, "QuantizeLinear": 1, "Tanh": 1}
    assert proof["psnr_db"] > 32
