"""What each modality makes of an output: checks, encodings, previews, files; and one that a stranger adds."""

from __future__ import annotations

import csv
import wave
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from toy_modality import Heights

from edgegan.errors import InputError
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.modality import Audio, ClassMap, Image, Series, Tensor, Tokens, Video, files
from edgegan.testing import ModalityTestCase

Z = (Input("z", (4,)),)
SPECS = {
    "image": Output("image", (3, 6, 5)),
    "audio": Output("wave", (1, 400), modality=Audio(8000)),
    "mono": Output("wave", (400,), modality=Audio(8000)),
    "stereo": Output("wave", (2, 400), (0.0, 1.0), modality=Audio(44100)),
    "video": Output("clip", (3, 4, 6, 5), modality=Video(12)),
    "frames": Output("clip", (4, 1, 6, 5), modality=Video(12.5, "TCHW")),
    "series": Output("steps", (3, 1, 50), (-2.0, 2.0), modality=Series()),
    "rows": Output("steps", (50, 2), modality=Series(axis=0)),
    "class_map": Output("tiles", (13, 6, 5), modality=ClassMap()),
    "classes": Output("tiles", (4, 30), modality=ClassMap()),
    "voxels": Output("voxels", (3, 4, 5, 6), modality=ClassMap()),
    "tokens": Output("text", (9, 20), modality=Tokens()),
    "letters": Output("text", (20, 9), modality=Tokens(axis=0)),
    "tensor": Output("code", (7,), modality=Tensor()),
    "scalar": Output("code", (), modality=Tensor()),
    "block": Output("code", (2, 3, 4, 5), modality=Tensor()),
}


def contract(*outputs: Output) -> Contract:
    return Contract(Z, outputs)


def raw(spec: Output, n: int = 3, seed: int = 0) -> np.ndarray:
    low, high = spec.range
    return np.random.default_rng(seed).uniform(low, high, (n, *spec.shape)).astype(np.float32)


class TestOurs(ModalityTestCase):
    outputs = SPECS


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("image", "uint8", (6, 5, 3)),
        ("audio", "int16", (400, 1)),
        ("mono", "int16", (400, 1)),
        ("stereo", "int16", (400, 2)),
        ("video", "uint8", (4, 6, 5, 3)),
        ("frames", "uint8", (4, 6, 5, 1)),
        ("series", "float32", (3, 1, 50)),
        ("class_map", "int32", (6, 5)),
        ("voxels", "int32", (4, 5, 6)),
        ("tokens", "int32", (9,)),
        ("letters", "int32", (9,)),
        ("tensor", "float32", (7,)),
    ],
)
def test_what_an_app_gets(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    spec = SPECS[name]
    encoded = spec.modality.encode(raw(spec), spec)
    assert (encoded.dtype.name, encoded.shape[1:]) == (dtype, shape)


@given(st.floats(-8, 8), st.floats(0.5, 50), st.integers(0, 99))
def test_audio_comes_back_from_any_range(low: float, width: float, seed: int) -> None:
    spec = Output("wave", (2, 31), (low, low + width), modality=Audio(16000))
    pcm = np.random.default_rng(seed).integers(-32767, 32768, (2, 31, 2)).astype(np.int16)
    floats = (pcm.astype(np.float64) / 65534 + 0.5) * width + low
    back = spec.modality.encode(floats.transpose(0, 2, 1).astype(np.float32), spec)
    assert np.abs(back.astype(int) - pcm).max() <= 1 + 32767 * 2e-6 * (abs(low) + width) / width
    np.testing.assert_allclose(spec.modality.shares(pcm, spec), pcm / 65534 + 0.5, atol=1e-6)


def test_audio_past_its_range_is_clipped_not_wrapped() -> None:
    spec = Output("wave", (3,), modality=Audio(8000))
    values = np.array([[-7.0, 0.0, 7.0]], np.float32)
    assert spec.modality.encode(values, spec).ravel().tolist() == [-32767, 0, 32767]


def test_a_wav_holds_the_samples_of_each_channel(tmp_path: Path) -> None:
    spec = SPECS["stereo"]
    encoded = spec.modality.encode(raw(spec, 12), spec)
    written = files.write(tmp_path / "a.wav", {"wave": encoded}, contract(spec))
    assert [path.name for path in written][:2] == ["a-01.wav", "a-02.wav"]
    with wave.open(str(written[11]), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (44100, 2, 2)
        held = np.frombuffer(file.readframes(400), "<i2").reshape(400, 2)
    np.testing.assert_array_equal(held, encoded[11])


def test_a_gif_plays_the_frames_of_all_samples(tmp_path: Path) -> None:
    spec = SPECS["frames"]
    steps = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4, 1, 1, 1)
    encoded = spec.modality.encode(np.broadcast_to(steps, (2, 4, 1, 6, 5)), spec)
    files.write(tmp_path / "a.gif", {"clip": encoded}, contract(spec))
    with Pillow.open(tmp_path / "a.gif") as picture:
        assert (picture.n_frames, picture.size) == (4, (12, 6))  # pyright: ignore[reportAttributeAccessIssue]
        assert picture.info["duration"] == 80
        shades = []
        for frame in range(4):
            picture.seek(frame)
            shades.append(picture.convert("L").getpixel((1, 1)))
    assert shades == [0, 85, 170, 255]


def test_a_csv_gives_the_same_floats_back(tmp_path: Path) -> None:
    spec = SPECS["rows"]
    encoded = spec.modality.encode(raw(spec), spec)
    files.write(tmp_path / "a.csv", {"steps": encoded}, contract(spec))
    with (tmp_path / "a.csv").open() as file:
        titles, *rows = csv.reader(file)
    assert titles == ["sample", "step", "steps_0", "steps_1"]
    assert len(rows) == 150
    assert rows[51][:2] == ["1", "1"]
    assert [np.float32(value) for value in rows[51][2:]] == encoded[1, 1].tolist()


@pytest.mark.parametrize("name", ["image", "audio", "video", "class_map", "tokens"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_encoding(name: str, bad: float) -> None:
    spec = SPECS[name]
    array = raw(spec)
    array.flat[5] = bad
    with pytest.raises(InputError, match="NaN or infinity"):
        spec.modality.encode(array, spec)


@pytest.mark.parametrize(
    ("modality", "shape", "what"),
    [
        ({"kind": "audio"}, (9,), "needs sample_rate"),
        ({"kind": "audio", "sample_rate": 0}, (9,), "sample_rate must be"),
        ({"kind": "audio", "sample_rate": True}, (9,), "sample_rate must be"),
        ({"kind": "audio", "sample_rate": 8000}, (9, 9), "up to 8 channels"),
        ({"kind": "audio", "sample_rate": 8000, "rate": 1}, (9,), "no parameter 'rate'"),
        ({"kind": "video", "fps": 0}, (3, 2, 2, 2), "fps must be"),
        ({"kind": "video", "fps": 8}, (2, 3, 2, 2), "1 or 3, frames"),
        ({"kind": "video", "fps": 8, "layout": "THWC"}, (3, 2, 2, 2), "CTHW or TCHW"),
        ({"kind": "series", "axis": 2}, (3, 4), "axis 2"),
        ({"kind": "class_map"}, (13,), "2 classes or more"),
        ({"kind": "class_map"}, (1, 9), "2 classes or more"),
        ({"kind": "tokens"}, (9, 1), "vocabulary"),
        ({"kind": "tokens", "axis": 2}, (9, 9), "0 or -1"),
        ({"kind": "imag"}, (3, 2, 2), "did you mean 'image'"),
        ("sound", (9,), "no modality 'sound'"),
        (["audio"], (9,), "must be a name"),
        ({"kind": 3}, (9,), "must be a name"),
        ({}, (9,), "must be a name"),
    ],
)
def test_modalities_that_are_not(modality: Any, shape: tuple[int, ...], what: str) -> None:
    data = {**contract(SPECS["tensor"]).to_dict()}
    data["outputs"] = [{"name": "out", "shape": shape, "modality": modality}]
    with pytest.raises(InputError, match=what) as caught:
        Contract.from_dict(data)
    assert "'out'" in caught.value.what


def test_the_older_spelling_means_the_same_and_is_still_written() -> None:
    old = [{"name": "a", "shape": [3, 2, 2], "layout": "CHW"}, {"name": "b", "shape": [2], "layout": ""}]
    read = Contract.from_dict({"inputs": [{"name": "z", "shape": [4]}], "outputs": old})
    assert [spec.modality for spec in read.outputs] == [Image(), Tensor()]
    assert [spec["layout"] for spec in read.to_dict()["outputs"]] == ["CHW", ""]
    named = [{"name": "a", "shape": [3, 2, 2], "modality": "image"}, {**old[1], "name": "b"}]
    assert Contract.from_dict({**read.to_dict(), "outputs": named}) == read
    both = [{**old[0], "modality": "image"}]
    with pytest.raises(InputError, match="not both"):
        Contract.from_dict({**read.to_dict(), "outputs": both})
    assert replace(read.outputs[0], name="c").modality == Image()


class _Installed(metadata.EntryPoint):
    """As if a package were installed that registers the toy."""

    def load(self) -> Any:
        if self.name == "broken":
            raise ImportError("no module named 'far'")
        return Heights


def test_a_package_adds_a_modality(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = [_Installed(name, "toy:Heights", "edgegan.modalities") for name in ("heights", "broken")]
    monkeypatch.setattr(
        "edgegan.plugins.entry_points",
        lambda group: installed if group == "edgegan.modalities" else [],
    )
    data = contract(SPECS["tensor"]).to_dict()
    data["outputs"] = [{"name": "land", "shape": [4, 4], "modality": {"kind": "heights", "metres": 10.0}}]
    read = Contract.from_dict(data)
    assert Contract.from_dict(read.to_dict()) == read
    (spec,) = read.outputs
    assert spec.modality.encode(np.full((1, 4, 4), 0.51), spec)[0, 0, 0] == 5
    files.write(tmp_path / "land.xyz", {"land": np.zeros((2, 4, 4))}, read)
    assert (tmp_path / "land.xyz").read_text().split() == ["0.0"] * 32
    data["outputs"] = [{"name": "land", "shape": [4, 4], "modality": "broken"}]
    with pytest.raises(InputError, match=r"'broken' cannot be imported: ImportError: no module named 'far'"):
        Contract.from_dict(data)
