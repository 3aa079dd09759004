"""Inputs drawn from stored ones: which rows a seed draws, what files are refused, and what a bundle holds."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgegan.errors import BundleError, InputError
from edgegan.runtime import Bundle, Contract, Generator, stored_inputs, write_bundle
from edgegan.runtime.contract import Input, Output, Sample

FILE = "inputs.npz"
SHAPE = (2, 3)
OUTPUTS = (Output("larger", (3, 4, 6)),)
LABEL = Input("label", (), "int64", Sample("labels", classes=10))


def numbered(count: int, shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> NDArray[Any]:
    """Rows of which each is filled with its own number."""
    return np.broadcast_to(np.arange(count).reshape(-1, *[1] * len(shape)), (count, *shape)).astype(dtype)


def packed(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def image(name: str = "image", shape: tuple[int, ...] = SHAPE, file: str = FILE, **changes: Any) -> Input:
    return Input(name, shape, sample=Sample("stored", file=file, **changes))


def bound(contents: bytes | dict[str, bytes], *inputs: Input) -> Contract:
    """A contract whose files are `contents`, by name or the only one."""
    files = contents if isinstance(contents, dict) else {FILE: contents}
    return Contract(inputs, OUTPUTS).with_stored(Path("nowhere"), files.__getitem__)


def rows(array: NDArray[Any]) -> list[int]:
    return array.reshape(len(array), -1)[:, 0].astype(int).tolist()


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**40), st.data())
def test_a_smaller_draw_is_the_start_of_a_larger(count: int, n: int, seed: int, data: Any) -> None:
    contract = bound(packed(image=numbered(count)), Input("z", (2,)), image(), LABEL)
    m = data.draw(st.integers(1, n))
    larger, smaller = contract.sample(n, seed), contract.sample(m, seed)
    contract.check_inputs(larger)
    for name, array in larger.items():
        np.testing.assert_array_equal(array[:m], smaller[name])


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**40))
def test_no_row_comes_twice_before_each_has_come_once(count: int, n: int, seed: int) -> None:
    drawn = rows(bound(packed(image=numbered(count)), image()).sample(n, seed)["image"])
    for start in range(0, n, count):
        turn = drawn[start : start + count]
        assert len(set(turn)) == len(turn)
    assert set(drawn) <= set(range(count))


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 99), st.integers(1, 9))
def test_the_rows_of_one_file_are_drawn_together(count: int, n: int, seed: int, batch: int) -> None:
    content = packed(image=numbered(count), mask=numbered(count, (), "uint8"), other=numbered(3))
    contract = bound(
        {FILE: content, "more.npz": packed(other=numbered(5))},
        image("mask", (), low=0.0, high=255.0),
        image("other", file="more.npz"),
        image(),
    )
    batches = list(contract.batches(n, seed, batch))
    whole = {name: np.concatenate([part[name] for part in batches]) for name in batches[0]}
    assert rows(whole["image"]) == rows(whole["mask"])
    for name, array in contract.sample(n, seed).items():
        np.testing.assert_array_equal(whole[name], array)


@given(st.integers(1, 40), st.integers(1, 13), st.integers(0, 9))
def test_batches_are_the_contracts_own_samples(n: int, batch: int, seed: int) -> None:
    contract = Contract((Input("a", (3,)), LABEL, Input("u", (2, 2), sample=Sample("uniform"))), OUTPUTS)
    batches = list(contract.batches(n, seed, batch))
    for name, array in contract.sample(n, seed).items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in batches]), array)


@pytest.mark.parametrize("name", ["a", "label", "image", "mask", "other"])
def test_an_input_that_is_left_out_is_not_read_and_changes_no_other(name: str) -> None:
    files = {FILE: packed(image=numbered(7), mask=numbered(7)), "more.npz": packed(other=numbered(5))}
    opened: list[str] = []

    def read(file: str) -> bytes:
        opened.append(file)
        return files[file]

    inputs = (Input("a", (3,)), LABEL, image(), image("mask"), image("other", file="more.npz"))
    contract = Contract(inputs, OUTPUTS).with_stored(Path("nowhere"), read)
    fewer = contract.sample(9, 4, without={name})
    assert ("more.npz" in opened) == (name != "other")
    whole = contract.sample(9, 4)
    assert fewer.keys() == whole.keys() - {name}
    for kept, array in fewer.items():
        np.testing.assert_array_equal(array, whole[kept])


def test_the_draws_of_a_seed_never_change() -> None:
    contract = bound(packed(image=numbered(7)), LABEL, image())
    assert rows(contract.sample(10, 3)["image"]) == [2, 1, 4, 0, 5, 6, 3, 0, 4, 3]


@pytest.mark.parametrize("seeds", [(0, 1), (5, 6)])
def test_seeds_draw_in_orders_of_their_own(seeds: tuple[int, int]) -> None:
    contract = bound(packed(image=numbered(50)), image())
    first, second = (rows(contract.sample(50, seed)["image"]) for seed in seeds)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(50))


@given(st.floats(-300, 300, width=32), st.floats(0.125, 300, width=32))
def test_bytes_stand_for_low_to_high(low: float, width: float) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1)
    contract = bound(packed(image=levels), image(shape=(1,), low=low, high=low + width))
    drawn = np.sort(contract.sample(256, 0)["image"].ravel())
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(
        drawn, np.linspace(low, low + width, 256), rtol=1e-6, atol=1e-6 * (1 + abs(low))
    )


def test_floats_are_taken_as_they_are() -> None:
    floats = np.random.default_rng(0).normal(0, 1e4, (1, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(bound(packed(image=floats), image()).sample(1, 0)["image"], floats)


@pytest.mark.parametrize(
    ("inputs", "distinct"),
    [
        ((image(),), 4),
        ((image(), image("other", file="more.npz")), 7),
        ((image(), LABEL), None),
        ((Input("z", (2,)),), None),
    ],
)
def test_how_many_samples_differ(inputs: tuple[Input, ...], distinct: int | None) -> None:
    files = {FILE: packed(image=numbered(4)), "more.npz": packed(other=numbered(7))}
    assert bound(files, *inputs).distinct() == distinct


def _pickled() -> bytes:
    content = io.BytesIO()
    np.savez(content, image=np.array([{}]))
    return content.getvalue()


def _not_an_array() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("image", b"text")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a whole .npz file"),
        (b"no archive", "not a whole .npz file"),
        (packed(image=numbered(4))[:200], "not a whole .npz file"),
        (_pickled(), "'image' holds object, neither numbers nor text"),
        (_not_an_array(), "holds no array 'image'"),
        (packed(picture=numbered(4)), "holds no array 'image'"),
        (packed(image=numbered(4, dtype="float64")), "must be uint8 or float32, not float64"),
        (packed(image=numbered(4, dtype=">f4")), "must be uint8 or float32, not >f4"),
        (packed(image=numbered(4, (3, 2))), r"must have shape \(M, 2, 3\), not \(4, 3, 2\)"),
        (packed(image=numbered(4)[:, 0]), r"must have shape \(M, 2, 3\)"),
        (packed(image=np.float32(1)), r"must have shape \(M, 2, 3\), not \(\)"),
        (packed(image=numbered(0)), "has no rows"),
        (packed(image=numbered(4) * np.float32(np.nan)), "holds NaN or infinity"),
    ],
)
def test_files_that_cannot_be_drawn_from(content: bytes, what: str) -> None:
    contract = bound(content, image())
    with pytest.raises(InputError, match=what) as caught:
        contract.sample(1, 0)
    assert caught.value.where == str(Path("nowhere", FILE))
    with pytest.raises(InputError, match=what):
        contract.check_stored()


def test_inputs_of_one_file_have_as_many_rows() -> None:
    contract = bound(packed(image=numbered(4), mask=numbered(5)), image(), image("mask"))
    with pytest.raises(InputError, match="as many rows"):
        contract.sample(1, 0)


def test_arrays_that_would_fill_the_memory_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_inputs, "LARGEST_ARRAYS", 1000)
    with pytest.raises(InputError, match="more than 1000"):
        bound(packed(image=numbered(100)), image()).sample(1, 0)


WHOLE = packed(image=numbered(3, (1,)))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@settings(max_examples=200)
def test_a_damaged_file_is_an_input_error_or_the_file(position: int, change: int) -> None:
    content = bytearray(WHOLE)
    content[position] ^= change
    contract = bound(bytes(content), image(shape=(1,)))
    try:
        drawn = contract.sample(3, 0)
    except InputError:
        return
    contract.check_inputs(drawn)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    contract = Contract((image(),), OUTPUTS).with_stored(tmp_path)
    with pytest.raises(InputError, match="cannot be read: No such file") as caught:
        contract.check_stored()
    assert caught.value.where == str(tmp_path / FILE)


def test_a_contract_that_knows_no_folder_says_so(tmp_path: Path) -> None:
    contract = Contract((image(),), OUTPUTS)
    assert contract.folder is None
    for use in (
        lambda: contract.sample(1, 0),
        contract.check_stored,
        contract.distinct,
        lambda: contract.stored,
    ):
        with pytest.raises(InputError, match="does not know where"):
            use()
    assert contract.with_stored(tmp_path).stored == {FILE: tmp_path / FILE}


def test_contracts_are_equal_wherever_their_files_lie(tmp_path: Path) -> None:
    here, there = (Contract((image(),), OUTPUTS).with_stored(tmp_path / place) for place in "ab")
    assert here == there == Contract.from_dict(json.loads(json.dumps(here.to_dict())))
    assert copy.deepcopy(here).folder == tmp_path / "a"


@pytest.mark.parametrize(
    ("sample", "what"),
    [
        ({"kind": "stored"}, "plain name"),
        *[
            ({"kind": "stored", "file": file}, "plain name")
            for file in (
                "",
                "a.npy",
                "../a.npz",
                "/a.npz",
                "a/b.npz",
                "a\\b.npz",
                "C:a.npz",
                ".npz",
                "nul.npz",
                3,
            )
        ],
        ({"kind": "normal", "file": FILE}, "only stored inputs have a file"),
        ({"kind": "stored", "file": FILE, "classes": 3}, "only labels have classes"),
        ({"kind": "stored", "file": FILE, "low": 1, "high": 0}, "lowest first"),
    ],
)
def test_samples_that_are_not(sample: dict[str, Any], what: str) -> None:
    data = Contract((image(),), OUTPUTS).to_dict()
    data["inputs"][0]["sample"] = sample
    with pytest.raises(InputError, match=what):
        Contract.from_dict(data)


def test_files_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(InputError, match="ignore case"):
        Contract.from_dict(Contract((image(), image("other", file="Inputs.npz")), OUTPUTS).to_dict())


def test_labels_are_not_stored() -> None:
    with pytest.raises(InputError, match="labels are int64"):
        Contract.from_dict(Contract((Input("y", (), "int64", image().sample),), OUTPUTS).to_dict())


Z = numbered(6, (4,)) / np.float32(8)
LABELLED = Contract((image("z", (4,)), LABEL), (Output("image", (3, 2, 4)),))


@pytest.fixture
def stored_bundle(tmp_path: Path, models: Path) -> Bundle:
    """A bundle whose latents are stored; the folder that they came from is gone."""
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / FILE).write_bytes(packed(z=Z))
    made = write_bundle(
        tmp_path / "bundle",
        name="stored",
        contract=LABELLED.with_stored(recipe),
        models={"fp32": models / "labelled.onnx"},
        default="fp32",
    )
    shutil.rmtree(recipe)
    return made


def test_a_bundle_brings_its_stored_inputs(stored_bundle: Bundle) -> None:
    assert sorted(stored_bundle.manifest.files) == [FILE, "model.fp32.onnx"]
    moved = stored_bundle.folder.rename(stored_bundle.folder.with_name("moved"))
    with Generator.load(moved) as generator:
        drawn = generator.contract.sample(6, 1)
        np.testing.assert_array_equal(generator(n=6, seed=1), generator(**drawn))
        assert rows(8 * drawn["z"]) != [0, 1, 2, 3, 4, 5]
        assert len(np.unique(generator(n=6, seed=1, label=3).reshape(6, -1), axis=0)) == 6
        np.testing.assert_array_equal(generator(z=Z, label=3), generator(z=Z.copy(), label=[3] * 6))


def _relist(folder: Path, content: bytes | None) -> None:
    """Change the stored inputs, or take them out, and let the manifest agree."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if content is None:
        (folder / FILE).unlink()
        del manifest["files"][FILE]
    else:
        (folder / FILE).write_bytes(content)
        manifest["files"][FILE] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "'z' is stored in 'inputs.npz', which 'files' does not list"),
        (b"x", "not a whole .npz file"),
        (packed(z=numbered(3, (5,))), r"must have shape \(M, 4\)"),
        (packed(image=Z), "holds no array 'z'"),
    ],
)
def test_a_bundle_whose_stored_inputs_do_not_fit(
    stored_bundle: Bundle, content: bytes | None, what: str
) -> None:
    _relist(stored_bundle.folder, content)
    with pytest.raises(BundleError, match=what):
        Bundle.open(stored_bundle.folder)


def test_stored_inputs_that_are_swapped_after_their_check_are_refused(stored_bundle: Bundle) -> None:
    with Generator.load(stored_bundle.folder) as generator:
        (stored_bundle.folder / FILE).write_bytes(packed(z=Z + 1))
        with pytest.raises(BundleError, match="was changed"):
            generator(n=1)


def test_an_extra_file_does_not_take_their_name(tmp_path: Path, models: Path) -> None:
    (tmp_path / FILE).write_bytes(packed(z=Z))
    with pytest.raises(InputError, match="name of a model or of stored inputs"):
        write_bundle(
            tmp_path / "bundle",
            name="stored",
            contract=LABELLED.with_stored(tmp_path),
            models={"fp32": models / "labelled.onnx"},
            default="fp32",
            extra_files={FILE: tmp_path / FILE},
        )
