from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from teacher_setup import CONTRACT, plain

from edgegan.errors import DataError
from edgegan.learning.algorithms.semi_supervised import labelled
from edgegan.models import dcgan, semi_supervised, series, text, video
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.modality import ClassMap, Series, Tokens, Video
from edgegan.train.samples import Samples, read_samples
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import TeacherTraining

TILES = Output("tiles", (3, 8, 8), (0, 1), modality=ClassMap())
WAVE = Output("wave", (2, 32), modality=Series())
TEXT = Output("text", (7, 5), (0, 1), modality=Tokens(0))
CLIP = Output("clip", (3, 1, 8, 8), modality=Video(8, "TCHW"))
SHORT = TrainSettings(steps=2, batch=4, log_every=1, augment=False, flip=False)


def stored(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


@pytest.mark.parametrize("output", [TILES, WAVE, TEXT, CLIP], ids=["tiles", "wave", "text", "clip"])
def test_other_samples_than_images_are_read_and_trained_from(output: Output, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    if output is TILES:
        path = stored(tmp_path, train_samples=rng.integers(0, 3, (10, 8, 8), np.uint8))
        players = dcgan.Generator((8, 8), 4, 3, 4, "softmax"), dcgan.Discriminator((4, 8), 3, 8)
    elif output is TEXT:
        path = stored(tmp_path, train_samples=rng.integers(0, 7, (10, 5)))
        players = text.Generator(7, 5, 8, 1, 4), text.Discriminator(7, 5, 8, 1)
    elif output is CLIP:
        path = stored(tmp_path, train_samples=rng.integers(0, 256, (10, *CLIP.shape), np.uint8))
        players = video.Generator((8, 8), 4, 3, first=4), video.Discriminator((4, 8), 3, size=8)
    else:
        path = stored(tmp_path, train_samples=rng.uniform(-1, 1, (10, 2, 32)))
        players = series.Generator((8, 8), 4, 2), series.Discriminator((4, 8), 2, 32)
    contract = Contract((Input("z", (4,)),), (output,))
    run = TeacherTraining(*players, contract, read_samples(path, output), SHORT, tmp_path / "run")
    run.run()
    assert [row["step"] for row in run.log.rows] == [1, 2]
    assert (tmp_path / "run" / "samples" / "0000002.png").is_file()
    encoded = {"tiles": (8, 8), "text": (5,), "clip": (3, 8, 8, 1)}.get(output.name, output.shape)
    assert next(run.samples(3, seed=1)).shape == (3, *encoded)


@pytest.mark.parametrize(
    ("output", "arrays", "what"),
    [
        (TILES, {"train_samples": np.full((4, 8, 8), 3)}, "reach from 3 to 3"),
        (TILES, {"train_samples": np.zeros((4, 8, 7), np.uint8)}, r"\(8, 7\)"),
        (TILES, {"train_samples": np.zeros((4, 8, 8))}, "no samples of class_map"),
        (TEXT, {"train_samples": np.full((4, 5), 7)}, "reach from 7 to 7"),
        (TEXT, {"train_samples": np.zeros((4, 7), np.uint8)}, r"\(7,\)"),
        (TEXT, {"train_samples": np.zeros((4, 5))}, "no samples of tokens"),
        (CLIP, {"train_samples": np.zeros((4, *CLIP.shape))}, "no samples of video"),
        (CLIP, {"train_samples": np.zeros((4, 3, 8, 8, 1), np.uint8)}, r"\(3, 8, 8, 1\)"),
        (WAVE, {"train_samples": np.full((4, 2, 32), 1.5)}, "reach from 1.5 to 1.5"),
        (WAVE, {"train_samples": np.full((4, 2, 32), np.nan)}, "no samples of series"),
        (WAVE, {"train_images": np.zeros((4, 2, 32))}, "no samples of series"),
        (WAVE, {"train_samples": np.zeros((4, 2, 32)), "train_labels": [1, 2]}, "of 4 samples"),
    ],
)
def test_samples_that_cannot_stand_for_the_output_are_refused(
    output: Output, arrays: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=what):
        read_samples(stored(tmp_path, **arrays), output)


def test_only_images_are_augmented_and_mirrored(tmp_path: Path) -> None:
    data = Samples(np.zeros((4, 2, 32), np.float32), np.zeros(4, np.int64), ("0",))
    contract = Contract((Input("z", (4,)),), (WAVE,))
    with pytest.raises(DataError, match="series samples are not augmented") as caught:
        TeacherTraining(
            torch.nn.Module(), torch.nn.Module(), contract, data, TrainSettings(flip=False), tmp_path
        )
    assert "train.augment" in (caught.value.next or "")


def test_labels_in_a_column_are_labels(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8), np.uint8)
    path = stored(tmp_path, train_images=images, train_labels=np.array([[0], [2], [1]]))
    assert read_samples(path, Output("image", (1, 8, 8))).labels.tolist() == [0, 2, 1]


def test_few_labels_are_spread_evenly() -> None:
    labels = np.repeat([0, 1, 2], [50, 5, 45])
    chosen = labelled(labels, 15, seed=3)
    assert np.bincount(labels[chosen]).tolist() == [5, 5, 5]
    assert len(set(chosen.tolist())) == 15
    assert not np.array_equal(chosen, labelled(labels, 15, seed=4))
    for count in (16, 18):
        with pytest.raises(DataError, match=f"{count} labels"):
            labelled(labels, count, seed=0)


def semi(folder: Path, settings: TrainSettings) -> TeacherTraining:
    torch.manual_seed(0)
    contract = Contract(CONTRACT.inputs[:1], CONTRACT.outputs)
    players = dcgan.Generator((8, 8), 8, 3, 4), semi_supervised.Discriminator((8, 8), 2, 3, 8)
    return TeacherTraining(*players, contract, plain(0, 255), settings, folder)


def test_a_discriminator_learns_the_classes_from_few_labels(tmp_path: Path) -> None:
    settings = TrainSettings(
        steps=60, batch=16, loss="bce", labelled=4, augment=False, discriminator_rate=2e-3, sample_every=60
    )
    run = semi(tmp_path, settings)
    run.run()
    discriminator, data = run.algorithm.discriminator.eval(), plain(0, 255)
    real = torch.from_numpy(data.values).float() / 127.5 - 1
    with torch.no_grad():
        logits = discriminator.classify(real)  # pyright: ignore
        assert torch.allclose(discriminator(real), torch.logsumexp(logits, 1))
    assert (logits.argmax(1).numpy() == data.labels).mean() > 0.95


def test_labels_need_a_discriminator_that_classifies(tmp_path: Path) -> None:
    contract = Contract(CONTRACT.inputs[:1], CONTRACT.outputs)
    settings = TrainSettings(steps=1, labelled=4)
    players = dcgan.Generator((8, 8), 8, 3, 4), dcgan.Discriminator((8, 8), 3, 8)
    with pytest.raises(DataError, match="classify"):
        TeacherTraining(*players, contract, plain(0, 255), settings, tmp_path)


def test_weights_in_half_precision_are_read_as_those_in_single(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run = semi(tmp_path, TrainSettings(steps=1, batch=4, half=True))
    run.run()
    weights = load_file(tmp_path / "generator.safetensors")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}
    fresh = dcgan.Generator((8, 8), 8, 3, 4)
    fresh.load_state_dict(weights)
    for name, value in run.algorithm.ema.module.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value.half().to(value.dtype))
