from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgegan.errors import DataError
from edgegan.train.data import read_images


def write_folder(root: Path, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("cat", 2), ("dog", 3)):
        (root / name).mkdir(parents=True)
        for index in range(count):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(root / name / f"{index}.png")
    return root


def test_a_folder_gives_its_images_in_order_with_classes_by_name(tmp_path: Path) -> None:
    data = read_images(write_folder(tmp_path / "data"))
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.images.shape == (5, 4, 6, 3)
    np.testing.assert_array_equal(data.images[3], np.asarray(Image.open(tmp_path / "data" / "dog" / "1.png")))


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder))
    zipped, plain = read_images(tmp_path / "data.zip"), read_images(folder)
    np.testing.assert_array_equal(zipped.images, plain.images)
    np.testing.assert_array_equal(zipped.labels, plain.labels)


def test_larger_images_are_cropped_about_their_centre_and_averaged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    picture = np.zeros((4, 8), np.uint8)
    picture[:, 2:4], picture[:, 4:6] = 100, 200
    Image.fromarray(picture).save(tmp_path / "a" / "0.png")
    data = read_images(tmp_path, (1, 2, 2))
    assert data.images[0, :, :, 0].tolist() == [[100, 200], [100, 200]]


def test_smaller_images_are_centred_on_black(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", train_images=np.full((3, 2, 2), 9, np.uint8), train_labels=[0, 1, 2])
    data = read_images(tmp_path / "d.npz", (1, 4, 4))
    assert data.images[0, :, :, 0].tolist() == [[0, 0, 0, 0], [0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]]
    assert data.classes == ("0", "1", "2")


@pytest.mark.parametrize("kind", ["missing", "empty", "broken image", "no archive", "wrong keys"])
def test_bad_data_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data"
    if kind == "empty":
        path.mkdir()
    elif kind == "broken image":
        write_folder(path)
        (path / "dog" / "1.png").write_bytes(b"not a picture")
    elif kind == "no archive":
        path.write_bytes(b"hello")
    elif kind == "wrong keys":
        path = tmp_path / "data.npz"
        np.savez(path, x=np.zeros(3))
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert str(path) in str(caught.value)


def test_cifar10_reads_whole(shared: Path) -> None:
    data = read_images(shared / "images" / "cifar10-test.zip")
    assert data.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(data.labels).tolist() == [1000] * 10
    assert data.classes[0] == "airplane"


@pytest.mark.parametrize("kind", ["pipe", "folder", "other format", "pixels", "truncated"])
def test_what_is_no_plain_image_is_refused(tmp_path: Path, kind: str) -> None:
    path = write_folder(tmp_path / "data") / "dog" / "1.png"
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "other format":
        Image.new("RGB", (8, 8)).save(path, "TIFF")
    elif kind == "pixels":
        header = struct.pack(">II", 2**15, 2**15)
        path.write_bytes(content.replace(struct.pack(">II", 6, 4), header, 1))
    else:
        path.write_bytes(content[:60])
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        read_images(tmp_path / "data")
    assert "dog/1.png" in (caught.value.where or "")


def test_16_bit_images_keep_their_brightness(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)).save(tmp_path / "a" / "0.png")
    assert read_images(tmp_path).images[0, :, :, 0].tolist() == [[0, 100], [200, 255]]


def test_a_zip_that_swells_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a/x.png", "w") as entry,
    ):
        for _ in range(20):
            entry.write(bytes(16 << 20))
    with pytest.raises(DataError, match="larger than 268435456 bytes"):
        read_images(tmp_path / "d.zip")


@pytest.mark.parametrize(
    ("images", "labels", "what"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), [0, 1], "train_images are float32"),
        (np.zeros((2, 4, 4, 2), np.uint8), [0, 1], "train_images are uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0], "train_labels are int64"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0.5, 1.0], "train_labels are float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 2**40], "a label is 0 or 1099511627776"),
        (np.zeros((2, 4, 4, 3), np.uint8), [-1, 0], "a label is -1"),
    ],
)
def test_archives_of_other_arrays_are_refused(
    tmp_path: Path, images: np.ndarray, labels: list[float], what: str
) -> None:
    np.savez(tmp_path / "d.npz", train_images=images, train_labels=labels)
    with pytest.raises(DataError, match=what):
        read_images(tmp_path / "d.npz")


def test_small_images_on_a_huge_canvas_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegan.train.data.LARGEST_ARRAYS", 1 << 20)
    with pytest.raises(DataError, match="MiB of memory"):
        read_images(write_folder(tmp_path / "data"), (3, 1000, 1000))
