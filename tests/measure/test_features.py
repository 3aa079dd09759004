from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgegan.errors import DataError, ModelError, StorageError
from edgegan.files import sha256
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import Statistics, fid

Files = Callable[..., Path]


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def extractor(extractor_file: Files) -> OnnxExtractor:
    return OnnxExtractor(extractor_file(), threads=1)


@pytest.fixture
def reference(extractor: OnnxExtractor) -> Reference:
    return Reference.of(
        extractor(images(200)) / 1000,
        extractor=extractor,
        kept=np.arange(0, 200, 4),
        description="noise, 16x16",
    )


def test_features_of_many_batches_are_the_files_own(extractor_file: Files) -> None:
    weights = np.random.default_rng(1).standard_normal((768, 5), dtype=np.float32)
    extractor = OnnxExtractor(extractor_file(weights=weights), threads=1)
    batch = images(300)
    features = extractor(batch)
    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, batch.reshape(300, -1).astype(np.float32) @ weights, rtol=1e-4, atol=0.1
    )


def test_the_name_cites_file_and_hash(extractor_file: Files) -> None:
    path = extractor_file("mine")
    extractor = OnnxExtractor(path)
    assert extractor.sha256 == sha256(path)
    assert extractor.name == f"mine.onnx {extractor.sha256[:8]}"


def test_a_file_that_is_no_extractor_is_refused(extractor_file: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        OnnxExtractor(tmp_path / "none.onnx")
    with pytest.raises(DataError, match=r"takes uint8 'images'.*'logits'"):
        OnnxExtractor(extractor_file(output="logits"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError):
        OnnxExtractor(broken)


def test_images_that_it_cannot_take_are_refused(extractor: OnnxExtractor) -> None:
    for wrong in (images(2).astype(np.float32), images(2)[0], images(2).transpose(0, 3, 1, 2), images(0)):
        with pytest.raises(DataError):
            extractor(wrong)
    with pytest.raises(ModelError):
        extractor(images(2)[:, :8])


def test_features_that_are_not_finite_are_refused(extractor_file: Files) -> None:
    extractor = OnnxExtractor(extractor_file(weights=np.full((768, 5), np.nan, np.float32)))
    with pytest.raises(DataError, match="NaN or infinity"):
        extractor(images(2))


def test_a_reference_survives_the_disk(
    reference: Reference, extractor: OnnxExtractor, tmp_path: Path
) -> None:
    path = tmp_path / "reference.npz"
    reference.save(path)
    read = Reference.load(path, extractor)
    assert fid(read.statistics, reference.statistics) == pytest.approx(0.0, abs=1e-9)
    assert (read.statistics.n, read.extractor, read.description) == (200, extractor.sha256, "noise, 16x16")
    assert read.features.dtype == np.float16
    np.testing.assert_array_equal(read.features, (extractor(images(200)) / 1000)[::4].astype(np.float16))
    assert [file.name for file in tmp_path.glob("*.npz")] == ["reference.npz"]
    before = path.read_bytes()
    reference.save(path)
    assert path.read_bytes() == before


def test_the_reference_of_another_extractor_is_refused(
    reference: Reference, extractor_file: Files, tmp_path: Path
) -> None:
    path = tmp_path / "reference.npz"
    reference.save(path)
    other = OnnxExtractor(extractor_file("other", seed=9))
    with pytest.raises(DataError, match=f"another extractor \\({reference.extractor[:8]}\\) than other.onnx"):
        Reference.load(path, other)


def test_features_too_large_for_half_precision_are_refused(extractor: OnnxExtractor) -> None:
    features = np.full((10, 4), 1e6)
    with pytest.raises(DataError, match="half precision"):
        Reference.of(features, extractor=extractor, kept=np.arange(5), description="")
    kept_none = Reference.of(features, extractor=extractor, kept=np.arange(0), description="")
    assert kept_none.features.shape == (0, 4)


def parts(**changes: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    statistics = Statistics.of(rng.standard_normal((20, 3)))
    whole: dict[str, object] = {
        "mean": statistics.mean,
        "covariance": statistics.covariance,
        "n": np.int64(20),
        "features": np.ones((4, 3), np.float16),
        "extractor": np.str_("0" * 64),
        "description": np.str_("x"),
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mean": None}, "must hold"),
        ({"more": np.ones(2)}, "must hold"),
        ({"mean": np.array([1.0, np.nan, 0.0])}, "mean must hold finite"),
        ({"covariance": np.full((3, 3), np.inf)}, "covariance must hold finite"),
        ({"covariance": np.triu(np.ones((3, 3)))}, "not symmetric"),
        ({"covariance": np.eye(4)}, "do not fit"),
        ({"features": np.ones((4, 2), np.float16)}, "do not fit"),
        ({"features": np.ones((4, 3), np.int64)}, "features must hold finite"),
        ({"n": np.int64(1)}, "n must be"),
        ({"n": np.float64(20)}, "n must be"),
        ({"extractor": np.int64(3)}, "must be strings"),
        ({"mean": np.array([{}, {}, {}], dtype=object)}, "cannot be read"),
    ],
)
def test_a_damaged_reference_is_refused(
    changes: dict[str, object], why: str, extractor: OnnxExtractor, tmp_path: Path
) -> None:
    path = tmp_path / "reference.npz"
    np.savez(path, **parts(**changes))
    with pytest.raises(DataError, match=why):
        Reference.load(path, extractor)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00"])
def test_what_is_no_archive_is_refused(content: bytes, extractor: OnnxExtractor, tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        Reference.load(path, extractor)


def test_a_changed_byte_is_never_read_as_it_stands(
    reference: Reference, extractor: OnnxExtractor, tmp_path: Path
) -> None:
    path = tmp_path / "reference.npz"
    reference.save(path)
    whole = path.read_bytes()
    for place in np.random.default_rng(5).integers(0, len(whole), 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            read = Reference.load(path, extractor)
        except DataError:
            continue
        np.testing.assert_array_equal(read.features, reference.features)
        np.testing.assert_array_equal(read.statistics.mean, reference.statistics.mean)
        np.testing.assert_array_equal(read.statistics.covariance, reference.statistics.covariance)


def test_a_single_array_is_refused(extractor: OnnxExtractor, tmp_path: Path) -> None:
    with (tmp_path / "reference.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match="cannot be read"):
        Reference.load(tmp_path / "reference.npz", extractor)


def test_an_absent_reference_says_how_to_make_one(extractor: OnnxExtractor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-features"):
        Reference.load(tmp_path / "none.npz", extractor)


def test_a_folder_that_cannot_be_is_a_storage_error(reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        reference.save(tmp_path / "file" / "reference.npz")
