from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from paired_setup import BASE, COLOUR, LOOK, MEL, NOISY, SOUND, extractor, pictures, training, waves
from PIL import Image
from safetensors.torch import load_file

from edgegan.cli import main
from edgegan.errors import CheckpointError, DataError, RecipeError
from edgegan.learning import checkpoint
from edgegan.learning.losses.spectral import MelSpectrogram
from edgegan.train.griffin_lim import griffin_lim
from edgegan.train.paired import read_pairs
from edgegan.train.pairs import PicturePairs, SoundPairs
from edgegan.train.run import train_teacher
from edgegan.train.settings import PairedTrainSettings, train_settings


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "loss"),
    [("colour", "relativistic"), ("noisy", "lsgan"), ("sound", "hinge"), ("painted", "lsgan")],
)
def test_a_paired_run_broken_off_goes_on_to_the_same_weights_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, loss: str
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise StoppedError

    training(tmp_path / "whole", kind, loss=loss).run()
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    with pytest.raises(StoppedError):
        training(tmp_path / "broken", kind, loss=loss).run(stop)
    seen: list[int] = []
    training(tmp_path / "broken", kind, loss=loss).run(lambda done, total: seen.append(done))
    assert seen == [4, 5, 6]
    for file in sorted((tmp_path / "whole").glob("*.safetensors")):
        whole, broken = load_file(file), load_file(tmp_path / "broken" / file.name)
        assert whole.keys() == broken.keys()
        assert all(torch.equal(whole[key], broken[key]) for key in whole)
    assert len(list((tmp_path / "whole").glob("*.safetensors"))) == (3 if kind in ("colour", "sound") else 2)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "broken")]
    assert logs[0] == logs[1]
    assert len(list((tmp_path / "whole" / "samples").iterdir())) == (4 if kind == "sound" else 2)


def test_noise_is_learnt_to_be_taken_away(tmp_path: Path) -> None:
    run = training(tmp_path, "noisy", steps=80, batch=16, learning_rate=3e-3, ema=0.9, score_every=80)
    run.run()
    last = run.log.rows[-1]
    assert last["baseline_psnr_db"] < 16
    assert last["psnr_db"] > last["baseline_psnr_db"] + 3


def test_pictures_take_on_a_style_and_keep_their_content(tmp_path: Path) -> None:
    given = {"steps": 60, "batch": 8, "learning_rate": 1e-2, "log_every": 10, "score_every": 60}
    both, plain = (training(tmp_path / str(style), "painted", style=style, **given) for style in (10, 0))
    for run in (both, plain):
        run.run()
    first, last = both.log.rows[0], both.log.rows[-1]
    assert last["style"] < 0.5 * first["style"]
    assert "style" not in plain.log.rows[-1]
    assert plain.log.rows[-1]["content"] < last["content"]
    assert plain.log.rows[-1]["psnr_db"] > last["psnr_db"]


def test_what_is_left_fits_the_contract_and_the_held_out_have_targets(tmp_path: Path) -> None:
    run = training(tmp_path, "colour")
    run.run()
    contract = COLOUR.with_stored(tmp_path)
    grey = contract.sample(5, 0)["grey"]
    assert grey.shape == (5, 1, 16, 16)
    assert -1 <= grey.min() < -0.2 < 0.2 < grey.max() <= 1
    with np.load(tmp_path / "held_out.npz") as held:
        assert held["grey"].shape == (8, 1, 16, 16)
        np.testing.assert_array_equal(held["image"], pictures(40)[32:].numpy())
        shares = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
        grey = (held["image"] * shares).sum(1, keepdims=True)
        np.testing.assert_allclose(held["grey"], grey, atol=0.51)


def test_sounds_are_cut_within_one_clip() -> None:
    clips = [np.full(length, index / 10, np.float32) for index, length in enumerate((320, 400, 900), 1)]
    pairs = SoundPairs(clips, MEL, SOUND, "cpu")
    begins, loudness = (torch.from_numpy(each) for each in pairs.draw(np.random.default_rng(0), 4000))
    _, cuts = pairs.make((begins, torch.ones_like(loudness)))
    assert cuts.shape == (4000, 1, 320)
    assert bool((cuts == cuts[..., :1]).all())
    assert set(cuts[:, 0, 0].tolist()) == {float(np.float32(index / 10)) for index in (1, 2, 3)}
    assert 0.5 <= float(loudness.min()) < 0.51 < 0.99 < float(loudness.max()) <= 1
    _, quiet = pairs.make((begins, loudness))
    torch.testing.assert_close(quiet, cuts * loudness[:, None, None])
    assert pairs.every(np.random.default_rng(0))[0].tolist() == [0, 320, 720, 1040]


def test_pairs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    settings = PairedTrainSettings.of({**BASE, "pairs": {"kind": "downscale", "factor": 2}})
    pairs = PicturePairs(pictures(8), settings.pairs, NOISY, mirror=False)  # pyright: ignore[reportArgumentType]
    run = training(tmp_path, "noisy")
    with pytest.raises(DataError, match=r"\(3, 8, 8\)"):
        type(run)(run.algorithm.generator, None, NOISY, (pairs, pairs), settings, tmp_path)
    with pytest.raises(DataError, match="losses of sound"):
        training(tmp_path, "noisy", mel=1)
    with pytest.raises(DataError, match="variation are losses of pictures, and the output is of audio"):
        training(tmp_path, "sound", variation=1)
    with pytest.raises(DataError, match="has 100 samples"):
        SoundPairs([*waves(1), np.zeros(100, np.float32)], MEL, SOUND, "cpu")
    with pytest.raises(DataError, match=r"\(1, 64 \* frames\)"):
        SoundPairs(waves(1), MEL, NOISY.__class__(NOISY.inputs, SOUND.outputs), "cpu")


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"pairs": {"kind": "blur"}}, "train.pairs: its `kind` must be downscale, grey"),
        ({"pairs": {"factor": 2}}, "train.pairs: its `kind` must be downscale, grey"),
        ({"pairs": {"kind": "noise", "deviation": 0}}, "train.pairs.noise.deviation"),
        ({"pairs": {"kind": "grey"}, "output": 0}, "nothing to learn from"),
        ({"pairs": {"kind": "grey"}, "perceptual": 1}, "set adversarial"),
        ({"pairs": {"kind": "downscale"}, "size": 64}, "set judge"),
        ({"pairs": {"kind": "same"}, "style": 1}, "set extractor"),
        ({"pairs": {"kind": "same"}, "style": 1, "extractor": LOOK["extractor"]}, "set painting"),
        ({"pairs": {"kind": "grey"}, "discriminator_steps": 2}, "train.discriminator_steps"),
    ],
)
def test_bad_paired_settings_are_refused_by_name(section: dict[str, object], named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        train_settings(section)


def recipe(folder: Path, train: dict[str, object], size: int) -> Path:
    folder.mkdir()
    sample = {"kind": "stored", "file": "inputs.npz", "low": 0, "high": 1}
    content = {
        "schema": 1,
        "name": "larger",
        "model": {
            "callable": "edgegan.models.srresnet:SRResNet",
            "arguments": {"width": 4, "blocks": 1, "scale": 2},
            "checkpoint": "teacher.safetensors",
        },
        "contract": {
            "inputs": [{"name": "photo", "shape": [3, size // 2, size // 2], "sample": sample}],
            "outputs": [{"name": "image", "shape": [3, size, size], "range": [0, 1], "layout": "CHW"}],
        },
        "quality": {"metrics": ["y_psnr_db", "ssim"]},
        "stages": [{"export": {}}],
        "train": {**BASE, "pairs": {"kind": "downscale", "factor": 2}, **train},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_a_recipe_is_trained_on_small_pictures_and_judged_by_tiles_of_large_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, judge = tmp_path / "data", tmp_path / "judge"
    data.mkdir()
    judge.mkdir()
    for index, picture in enumerate(pictures(24).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(picture).save(data / f"{index}.png")
    large = pictures(1, 70)[0].permute(1, 2, 0).numpy()
    Image.fromarray(large).save(judge / "0.png")
    folder = recipe(tmp_path / "recipe", {"size": 16, "judge": str(judge)}, 32)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["train", str(folder), "--data", str(data), "--out", str(out), "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["fid"] is None
    assert "discriminator" not in told
    assert set(told["held_out"]) == {"y_psnr_db", "ssim", "baseline_y_psnr_db", "baseline_ssim"}
    assert told["held_out"]["baseline_y_psnr_db"] > 25
    with np.load(out / "held_out.npz") as held:
        assert held["photo"].shape == (4, 3, 16, 16)
        np.testing.assert_array_equal(held["image"][0], large[3:35, 3:35].transpose(2, 0, 1))
    assert not (out / "inputs.npz").exists()


def test_a_recipe_names_its_extractor_and_its_painting(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for index, picture in enumerate(pictures(24).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(picture).save(data / f"{index}.png")
    losses = {"output": 0, "content": 1, "style": 1}
    folder = recipe(tmp_path / "recipe", {"pairs": {"kind": "same"}, **losses, **LOOK}, 16)
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text.replace("scale: 2", "scale: 1").replace("- 8\n", "- 16\n"))
    (folder / "maps.py").write_text(
        "def maps():\n    from paired_setup import extractor\n\n    return extractor()\n"
    )
    with pytest.raises(CheckpointError, match=r"maps\.pt"):
        train_teacher(folder, data=data, out=tmp_path / "out")
    torch.save(extractor().state_dict(), folder / "maps.pt")
    Image.new("RGB", (30, 20), (255, 0, 0)).save(folder / "painting.png")
    made = train_teacher(folder, data=data, out=tmp_path / "out")
    last = json.loads(made.log.read_text().splitlines()[-1])
    assert last["style"] > 0
    assert last["content"] > 0


def test_data_of_pairs_are_refused_where_they_are_too_few(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for index in range(19):
        Image.new("RGB", (16, 16), (index, 2 * index, 99)).save(data / f"{index}.png")
    with pytest.raises(DataError, match="19 pictures are too few"):
        train_teacher(recipe(tmp_path / "a", {}, 16), data=data, out=tmp_path / "out")
    with pytest.raises(DataError, match="at least 16 x 16"):
        read_pairs(
            PairedTrainSettings.of({**BASE, "pairs": {"kind": "grey"}, "tiles": True}),
            COLOUR,
            Path(_small(tmp_path / "small")),
            None,
            0,
            torch.device("cpu"),
        )


def _small(folder: Path) -> Path:
    folder.mkdir()
    Image.new("RGB", (15, 40)).save(folder / "a.png")
    return folder


def _sound(path: Path, *, rate: int = 8000, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.tile(np.array([8192, -16384], "<i2"), 400).tobytes())


def test_the_last_sound_is_held_out(tmp_path: Path) -> None:
    settings = PairedTrainSettings.of({**BASE, "pairs": MEL.model_dump()})
    for name in ("a", "b", "c"):
        _sound(tmp_path / f"{name}.wav")
    learnt, held = read_pairs(settings, SOUND, tmp_path, None, 0, torch.device("cpu"))
    assert isinstance(learnt, SoundPairs)
    assert isinstance(held, SoundPairs)
    assert (len(learnt.waves), len(held.waves)) == (800, 400)
    assert set(held.waves.tolist()) == {-0.125}
    _sound(tmp_path / "d.wav", rate=16000)
    with pytest.raises(DataError, match=r"its rate is 16000 Hz, and the contract's 8000 Hz"):
        read_pairs(settings, SOUND, tmp_path, None, 0, torch.device("cpu"))
    _sound(tmp_path / "d.wav", width=1)
    with pytest.raises(DataError, match="8 bits a sample"):
        read_pairs(settings, SOUND, tmp_path, None, 0, torch.device("cpu"))
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(settings, SOUND, tmp_path, None, 0, torch.device("cpu"))


def test_sounds_come_out_of_spectrograms_without_a_network() -> None:
    mel = MelSpectrogram(8000, 128, 32, 40)
    sounds = torch.from_numpy(np.stack(waves(3)))[:, :896]
    spectrograms = mel(sounds)
    made = griffin_lim(spectrograms, mel)
    assert made.shape == sounds.shape
    assert float((mel(made) - spectrograms).abs().mean()) < 0.5
    assert float((mel(0.1 * sounds) - spectrograms).abs().mean()) > 1
