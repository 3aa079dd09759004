"""Metrics of all modalities against other implementations; which are measured of what; and one's own."""

from __future__ import annotations

import dataclasses
from importlib import metadata
from typing import Any

import numpy as np
import pytest

from edgegan.errors import DataError, InputError
from edgegan.measure.metrics import Given, Metric, MetricSpec, columns, described, find, paired
from edgegan.measure.metrics.mel_distance import mel_distance
from edgegan.measure.metrics.own import of_function
from edgegan.measure.metrics.registry import OWN, parsed
from edgegan.measure.metrics.spectra import magnitudes, mel_filters
from edgegan.measure.metrics.stft_distance import stft_distance
from edgegan.measure.statistics import Interval
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.modality import Audio
from edgegan.testing import MetricTestCase
from edgegan.testing.metrics import OUTPUTS as ALL_OUTPUTS

Z = (Input("z", (4,)),)
OUTPUTS = {output.modality.kind: output for output in ALL_OUTPUTS}


def pair(kind: str, noise: float = 0.05, n: int = 6) -> Given:
    """Encoded samples and noisier ones."""
    spec, rng = OUTPUTS[kind], np.random.default_rng(3)
    low, high = spec.range
    clean = rng.uniform(low, high, (n, *spec.shape)).astype(np.float32)
    noisy = (clean + noise * (high - low) * rng.standard_normal(clean.shape)).astype(np.float32)
    return Given(spec, spec.modality.encode(noisy, spec), spec.modality.encode(clean, spec))


def value(name: str, given: Given) -> float:
    figure = find(name).measure(given)
    assert isinstance(figure, Interval)
    assert figure.low <= figure.value <= figure.high
    return figure.value


class TestOurs(MetricTestCase):
    metrics = tuple(OWN.values())


class TestOfOutputsAlone(MetricTestCase):
    metrics = (of_function(lambda outputs: np.abs(outputs).max((1, 2)), "loudest"),)
    outputs = (OUTPUTS["series"],)
    noises = (0.3, 0.02, 0.0)


def test_ratios_are_those_of_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    audio = pytest.importorskip("torchmetrics.audio")
    given = pair("series")
    assert given.full is not None
    rows = [torch.from_numpy(array.reshape(6, -1).astype(float)) for array in (given.outputs, given.full)]
    theirs = np.mean([audio.SignalNoiseRatio()(x, y).item() for x, y in zip(*rows)])
    assert value("snr_db", given) == pytest.approx(theirs, abs=1e-4)
    norms = [(x - y).norm() / y.norm() for x, y in zip(*rows)]
    assert value("relative_error", given) == pytest.approx(float(np.mean(norms)), rel=1e-6)


def test_agreement_is_that_of_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.functional.classification")
    for kind, name, classes in (("class_map", "class_agreement", 7), ("tokens", "token_agreement", 11)):
        given = pair(kind)
        x, y = (torch.from_numpy(array) for array in (given.outputs, given.full))
        theirs = classification.multiclass_accuracy(x, y, classes, average="micro").item()
        assert value(name, given) == pytest.approx(theirs, abs=1e-6)
    given = pair("class_map", 0.2)
    theirs = []
    for x, y in zip(given.outputs, given.full):  # pyright: ignore[reportArgumentType]
        of_classes = classification.multiclass_jaccard_index(
            torch.from_numpy(x)[None], torch.from_numpy(y)[None], 7, average="none"
        ).numpy()
        theirs.append(of_classes[np.union1d(x, y)].mean())
    assert value("mean_iou", given) == pytest.approx(np.mean(theirs), abs=1e-6)


def test_images_of_a_video_are_judged_as_images_are() -> None:
    given, image = pair("video"), OUTPUTS["image"]
    assert given.full is not None
    frames = [array.reshape(30, 16, 12, 3) for array in (given.outputs, given.full)]
    for name in ("ssim", "psnr_db"):
        assert value(name, given) == pytest.approx(value(name, Given(image, *frames)), abs=0.02)


def test_flicker_is_what_moves_and_did_not() -> None:
    still = np.full((3, 4, 16, 12, 3), 100, np.uint8)
    blinking = still.copy()
    blinking[:, ::2] += 10
    assert value("flicker", Given(OUTPUTS["video"], still + 50, still)) == 0
    assert value("flicker", Given(OUTPUTS["video"], blinking, still)) == 10
    assert value("flicker", Given(OUTPUTS["video"], blinking + 5, blinking)) == 0
    with pytest.raises(DataError, match="have one"):
        find("flicker").measure(Given(OUTPUTS["video"], still[:, :1], still[:, :1]))


@pytest.mark.parametrize(("size", "hop", "window"), [(512, 50, 240), (1024, 256, 1024)])
def test_spectra_are_those_of_torch(size: int, hop: int, window: int) -> None:
    torch = pytest.importorskip("torch")
    waves = np.random.default_rng(0).standard_normal((2, 3000))
    theirs = torch.stft(
        torch.from_numpy(waves),
        size,
        hop,
        window,
        torch.hann_window(window, dtype=torch.float64),
        return_complex=True,
    )
    ours = magnitudes(waves, size, hop, window)
    np.testing.assert_allclose(ours, theirs.abs().transpose(1, 2).numpy(), atol=1e-9)


def test_mel_bands_are_slaneys() -> None:
    filters = mel_filters(22050, 1024, 80)
    assert filters.sum(axis=0)[40:].mean() * 22050 / 1024 == pytest.approx(1, abs=1e-3)  # of equal area
    mels = np.arange(1, 81) / 81 * (15 + 27 * np.log(11.025) / np.log(6.4))  # 15 at 1 kHz, 42 at 6.4 kHz
    centres = np.where(mels < 15, mels * 1000 / 15, 1000 * 6.4 ** ((mels - 15) / 27))
    np.testing.assert_allclose(filters.argmax(axis=0) * 22050 / 1024, centres, atol=22050 / 1024)


def test_a_sound_half_as_loud_is_log_two_away() -> None:
    waves = np.random.default_rng(0).standard_normal((3, 4000)) * 0.2
    np.testing.assert_allclose(mel_distance(waves / 2, waves, 22050), np.log(2), rtol=1e-3)
    np.testing.assert_allclose(stft_distance(waves / 2, waves), 0.5 + np.log(2), rtol=1e-2)


@pytest.mark.parametrize("name", ["stft_distance", "mel_distance"])
def test_sound_that_is_too_short_says_how_long_it_must_be(name: str) -> None:
    spec = Output("wave", (200,), modality=Audio(22050))
    silence = np.zeros((2, 200, 1), np.int16)
    with pytest.raises(DataError, match=r"more than (256|512) samples"):
        find(name).measure(Given(spec, silence, silence))
    loud = np.zeros((2, 3000, 2), np.int16)
    assert np.isfinite(value(name, Given(OUTPUTS["audio"], loud, loud)))


def test_silence_has_ratios_too() -> None:
    silence, loud = np.zeros((2, 3000, 2), np.int16), np.full((2, 3000, 2), 1000, np.int16)
    assert value("snr_db", Given(OUTPUTS["audio"], silence, silence)) == 100
    assert value("snr_db", Given(OUTPUTS["audio"], loud, silence)) == pytest.approx(-60)


@pytest.mark.parametrize("bad", [None, np.zeros((6, 21), np.float32)])
def test_what_is_no_pair_is_refused(bad: Any) -> None:
    with pytest.raises(DataError, match="in pairs of one shape"):
        find("psnr_db").measure(Given(OUTPUTS["tensor"], np.zeros((6, 20), np.float32), bad))


def test_each_of_several_outputs_is_measured() -> None:
    both = Contract(Z, (OUTPUTS["class_map"], OUTPUTS["image"]))
    found = columns(both, 2500, reference=True)
    names = ["tiles.class_agreement", "tiles.mean_iou", "image.fid_2500", "image.kid_2500"]
    assert [column.name for column in found][:4] == names
    told = described(found)["image.kid_2500"]
    assert told["title"] == "image: KID-2500"
    assert (told["unit"], told["scale"], told["better"], told["output"]) == ("×10⁻³", 1e3, "lower", "image")
    assert not any("fid" in column.name for column in columns(both, 2500, reference=False))
    alone = columns(Contract(Z, (OUTPUTS["image"],)), 10_000, reference=True)
    assert alone[0].name == "fid_10k"
    assert described(alone)["fid_10k"]["title"] == "FID-10k"


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [
        ("image", "psnr", r"no metric 'psnr'; did you mean 'psnr_db'"),
        ("tokens", "psnr_db", "for image, video, audio, series, tensor, and not for tokens"),
        ("image", "fid", "needs features"),
    ],
)
def test_metrics_that_cannot_be_measured(kind: str, name: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        columns(Contract(Z, (OUTPUTS[kind],)), 100, reference=False, names=[name])
    assert caught.value.next


def test_a_figures_name_says_its_protocol() -> None:
    assert parsed("fid_10k") == ("fid", 10_000)
    assert parsed("psnr_db") == ("psnr_db", None)
    assert parsed("recall_500") == ("recall", 500)


def test_a_function_of_ones_own() -> None:
    def worst(outputs: np.ndarray, full: np.ndarray) -> np.ndarray:
        return np.abs(outputs - full).max(axis=1)

    worst.better, worst.unit = "lower", "V"  # pyright: ignore[reportFunctionMemberAccess]
    metric, given = of_function(worst, "worst"), pair("tensor")
    assert (metric.spec.better, metric.spec.unit, metric.spec.title) == ("lower", "V", "worst")
    figure = metric.measure(given)
    assert isinstance(figure, Interval)
    assert given.full is not None
    assert figure.value == pytest.approx(np.abs(given.outputs - given.full).max(axis=1).mean())
    assert of_function(lambda outputs, full: 0.5, "half").measure(given) == 0.5
    for bad, what in (
        (lambda outputs, full: outputs.nothing, "AttributeError"),
        (lambda outputs, full: np.zeros(3), r"\(3,\) for 6 samples"),
        (lambda outputs, full: float("nan"), "gave nan"),
        (lambda outputs, full: "good", "ValueError"),
    ):
        with pytest.raises(DataError, match=what):
            of_function(bad, "bad").measure(given)
    worst.better = "more"  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(InputError, match="'higher' or 'lower'"):
        of_function(worst, "worst")


def test_a_function_of_outputs_alone_needs_no_full_model() -> None:
    metric, given = of_function(lambda outputs: outputs.max(axis=1), "peak"), pair("tensor")
    assert metric.spec.needs == "outputs"
    figure = metric.measure(dataclasses.replace(given, full=None))
    assert isinstance(figure, Interval)
    assert figure.value == pytest.approx(given.outputs.max(axis=1).mean())
    contract = Contract(Z, (OUTPUTS["tensor"],))
    (column,) = columns(contract, 2000, reference=False, names=[metric])
    assert column.name == "peak"
    assert of_function(lambda outputs, full=None: 1.0, "either").spec.needs == "pair"


def test_a_package_adds_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = paired(
        MetricSpec("bias", "bias", "lower", ("tensor",)), lambda a, b, output: np.abs((a - b).mean(axis=1))
    )

    class Installed(metadata.EntryPoint):
        def load(self) -> Metric:
            return toy

    installed = [Installed("bias", "toy:BIAS", "edgegan.metrics")]
    monkeypatch.setattr(
        "edgegan.plugins.entry_points", lambda group: installed if group == "edgegan.metrics" else []
    )
    (column,) = columns(Contract(Z, (OUTPUTS["tensor"],)), 10, reference=False, names=["bias"])
    given = pair("tensor")
    assert given.full is not None
    expected = np.abs((given.outputs - given.full).mean(axis=1)).mean()
    assert column.metric.measure(given).value == pytest.approx(expected)  # pyright: ignore
