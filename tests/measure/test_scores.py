"""Scoring an ONNX file: equal latents, streaming, and failures that keep their reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegan.errors import DataError, ModelError
from edgegan.measure import outputs as measured
from edgegan.measure.features import Reference
from edgegan.measure.metrics import columns
from edgegan.measure.metrics.fid import Statistics, fid
from edgegan.measure.metrics.own import of_function
from edgegan.measure.metrics.psnr import psnr
from edgegan.measure.metrics.registry import suffix
from edgegan.measure.outputs import collect
from edgegan.measure.scores import score
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.modality.image import to_uint8

onnx = pytest.importorskip("onnx", reason="needs onnx, to make a model")
helper = onnx.helper

Z = Input("z", (12 * 12 * 3,), sample=Sample("uniform"))


def model(path: Path, contract: Contract, gain: float) -> Path:
    """An ONNX file whose output is gain * z in the output's shape."""
    shape = contract.outputs[0].shape
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["z", "gain"], ["scaled"]),
            helper.make_node("Reshape", ["scaled", "shape"], [contract.outputs[0].name]),
        ],
        "gain",
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", *contract.inputs[0].shape])],
        [helper.make_tensor_value_info(contract.outputs[0].name, onnx.TensorProto.FLOAT, ["n", *shape])],
        [
            onnx.numpy_helper.from_array(np.float32(gain), "gain"),
            onnx.numpy_helper.from_array(np.array([-1, *shape], np.int64), "shape"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(made.SerializeToString())
    return path


class Moments:
    """Mean and deviation of each image's channels."""

    name, sha256 = "moments 00000000", "0" * 64

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = images.astype(np.float32) / 255
        return np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)


IMAGES = Contract((Z,), (Output("image", (3, 12, 12)),))
SERIES = Contract((Z,), (Output("series", (3, 144), (-2.0, 2.0), ""),))


def reference(n: int = 300) -> Reference:
    features = np.random.default_rng(5).random((n, 6)).astype(np.float32)
    return Reference(Statistics.of(features), features, "0" * 64, "random")


def test_outputs_are_those_of_the_contracts_samples(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", IMAGES, 0.5)
    outputs = collect(path, IMAGES, samples=100, seed=3, extractor=Moments())
    images = to_uint8(IMAGES.sample(100, 3)["z"].reshape(-1, 3, 12, 12) * np.float32(0.5), (-1, 1))
    np.testing.assert_array_equal(outputs.kept["image"], images)
    np.testing.assert_allclose(outputs.features["image"], Moments()(images), rtol=1e-6)


def test_the_figures_are_those_of_the_metrics(tmp_path: Path) -> None:
    full = collect(model(tmp_path / "a.onnx", IMAGES, 0.5), IMAGES, samples=200, seed=1, extractor=Moments())
    half = collect(model(tmp_path / "b.onnx", IMAGES, 0.4), IMAGES, samples=200, seed=1, extractor=Moments())
    scores = score(half, full, reference(), columns(IMAGES, 200, reference=True))
    assert scores.failed == {}
    assert scores.figures["fid_200"]["value"] == fid(
        Statistics.of(half.features["image"]), reference().statistics
    )
    assert scores.figures["psnr_db"]["value"] == psnr(half.kept["image"], full.kept["image"]).value
    assert list(scores.figures) == ["fid_200", "kid_200", "precision_200", "recall_200", "psnr_db", "ssim"]
    assert 0 <= scores.figures["precision_200"] <= 1


def test_the_full_model_is_not_paired_with_itself(tmp_path: Path) -> None:
    outputs = collect(model(tmp_path / "a.onnx", IMAGES, 0.5), IMAGES, samples=8, seed=1)
    scores = score(outputs, None, None, columns(IMAGES, 8, reference=False))
    assert scores.figures == {}
    assert scores.failed == {}


def test_the_full_model_has_its_own_figure_by_a_metric_of_outputs_alone(tmp_path: Path) -> None:
    outputs = collect(model(tmp_path / "a.onnx", IMAGES, 0.5), IMAGES, samples=8, seed=1)
    brightness = of_function(lambda images: images.mean((1, 2, 3)), "brightness")
    asked = columns(IMAGES, 8, reference=False, names=["psnr_db", brightness])
    scores = score(outputs, None, None, asked)
    assert scores.failed == {}
    assert list(scores.figures) == ["brightness"]
    assert scores.figures["brightness"]["value"] == pytest.approx(outputs.kept["image"].mean())


def test_other_outputs_are_paired_as_floats_of_their_range(tmp_path: Path) -> None:
    full = collect(model(tmp_path / "a.onnx", SERIES, 1.0), SERIES, samples=50, seed=1)
    near = collect(model(tmp_path / "b.onnx", SERIES, 0.9), SERIES, samples=50, seed=1)
    error = np.square(0.1 * SERIES.sample(50, 1)["z"] / 4).mean(axis=1)
    asked = columns(SERIES, 50, reference=False)
    scores = score(near, full, None, asked)
    assert scores.figures["psnr_db"]["value"] == pytest.approx(np.mean(-10 * np.log10(error)), rel=1e-4)
    assert scores.figures["relative_error"]["value"] == pytest.approx(0.1, rel=1e-4)
    assert set(scores.figures) == {"psnr_db", "relative_error"}
    equal = score(full, full, None, asked)
    assert equal.figures["psnr_db"]["value"] == 100.0


def test_one_metric_that_fails_leaves_the_others(tmp_path: Path) -> None:
    tiny = Contract((Input("z", (48,)),), (Output("image", (3, 4, 4)),))
    outputs = collect(model(tmp_path / "a.onnx", tiny, 0.1), tiny, samples=9, seed=1, extractor=Moments())
    scores = score(outputs, outputs, reference(), columns(tiny, 9, reference=True))
    assert set(scores.failed) == {"ssim"}
    assert "11x11" in scores.failed["ssim"]
    assert "fid_9" in scores.figures


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        collect(model(tmp_path / "a.onnx", IMAGES, float("nan")), IMAGES, samples=4, seed=1)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError):
        collect(tmp_path / "bad.onnx", IMAGES, samples=4, seed=1)


def test_large_outputs_are_run_few_at_a_time_and_not_all_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measured, "KEPT_BYTES", 10 * 12 * 12 * 3)
    monkeypatch.setattr(measured, "BATCH_BYTES", 4 * 4 * 12 * 12 * 3)
    assert measured.batch_size(IMAGES) == 4
    steps: list[Any] = []
    path = model(tmp_path / "a.onnx", IMAGES, 0.5)
    outputs = collect(
        path, IMAGES, samples=21, seed=1, extractor=Moments(), progress=lambda *step: steps.append(step)
    )
    assert len(outputs.kept["image"]) == measured.paired_samples(IMAGES, 21) == 10
    assert len(outputs.features["image"]) == 21
    assert steps == [(4, 21), (8, 21), (12, 21), (16, 21), (20, 21), (21, 21)]


@pytest.mark.parametrize(("samples", "name"), [(10000, "10k"), (2000, "2k"), (2500, "2500"), (500, "500")])
def test_the_protocol_is_in_the_name(samples: int, name: str) -> None:
    assert suffix(samples) == name
