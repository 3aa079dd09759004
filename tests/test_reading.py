"""Reading within bounds: pipes, JSON, archives that grow, headers that lie; forms; YAML as plain data."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgegan import forms
from edgegan.errors import DataError, EdgeganError
from edgegan.plain_yaml import NotPlainYaml, parse_yaml
from edgegan.reading import Unreadable, parse_json, read_npz, read_plain, refusing


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link", "absent"])
def test_only_plain_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(__file__)
    with pytest.raises(Unreadable, match="link" if kind == "link" else None):
        read_plain(path, 10, links=False)


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_plain(tmp_path / "x", 5) == b"12345"
    with pytest.raises(Unreadable, match="larger than 4 bytes"):
        read_plain(tmp_path / "x", 4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 65 + "]" * 65, "deeper than 64"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "a number of 5000 digits"),
        ("1e999", "past the range"),
        ('"\\ud800"', "surrogates not allowed"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ("NaN", "is not JSON"),
    ],
)
def test_json_is_strict_and_bounded(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        parse_json(text)
    assert parse_json("[" * 64 + "]" * 64) is not None


def archive(*, shape: str = "(5,)", descr: str = "'|u1'", content: bytes = b"12345", **how: int) -> bytes:
    packed = io.BytesIO()
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    with zipfile.ZipFile(packed, "w", **how) as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (archive(shape="(10**18,)"), "damaged"),
        (archive(shape="(1000000000000,)"), "not of the size"),
        (archive(shape="(-5,)"), "not of the size"),
        (archive(descr="'|O'"), "neither numbers nor text"),
        (archive(descr="[('x', '|u1')]"), "neither numbers nor text"),
        (archive(compression=zipfile.ZIP_LZMA), "numpy never uses"),
        (archive()[:-30], "not a whole .npz"),
        (archive().replace(b"12345", b"12346"), "damaged: Bad CRC"),
    ],
)
def test_arrays_that_lie_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_npz(content, ["a"])
    assert read_npz(archive(), ["a"])["a"].tolist() == list(b"12345")


def test_a_small_archive_of_zeros_takes_no_memory_before_it_is_refused() -> None:
    size = 64 << 20
    bomb = archive(shape=f"({size},)", content=bytes(size), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(Unreadable, match="more than 1048576"):
        read_npz(bomb, ["a"], 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_arrays_come_back_as_they_were_saved() -> None:
    arrays = {
        "c": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        "text": np.str_("é"),
        "none": np.zeros((0, 4), np.float16),
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    for name, array in read_npz(packed.getvalue(), list(arrays)).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == np.asarray(arrays[name]).dtype


def test_a_parser_s_failure_becomes_the_error_that_teaches() -> None:
    with pytest.raises(DataError) as caught, refusing(DataError, "it is bad", where="x", next="mend it"):
        raise KeyError("y")
    assert (caught.value.what, caught.value.where, caught.value.next) == ("it is bad: 'y'", "x", "mend it")
    with pytest.raises(EdgeganError, match="ours"), refusing(DataError, "it is bad"):
        raise EdgeganError("ours")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "must be an object, not a list"),
        ({}, "n is missing"),
        ({"n": True}, "n must be a whole number .*, not true"),
        ({"n": -1}, "n must be a whole number"),
        ({"n": 1, "rows": [{}, {"x": "a"}]}, r"rows\[1\].x must be 0 or a number .*, not text"),
        ({"n": 1, "rows": [{"x": 1e300}]}, r"rows\[0\].x"),
    ],
)
def test_forms_name_the_place(value: object, why: str) -> None:
    row = forms.record({}, {"x": forms.maybe(forms.number)})
    form = forms.record({"n": forms.count}, {"rows": forms.list_of(row)})
    with pytest.raises(Unreadable, match=why):
        form(value, "")
    form({"n": 1, "rows": [{"x": None}, {"x": 0.5, "y": []}]}, "")


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("a: 1\nb: &x [*x]", "aliases nest it deeper", None),
        ("a: " + "[" * 40 + "]" * 40, "deeper than 32", 1),
        ("a: 1\n? [b]\n: 2", "a key must be text", 2),
        ("1: 2", "a key must be text", 1),
        ("a: !!int x", "this is no int: 'x'", 1),
        ("a: !!bool maybe", "this is no bool", 1),
        ("a: !!timestamp 2001-01-01", "kind 'timestamp'", 1),
        ("a: !!python/object:os.system x", "is not plain data", 1),
        ("a: " + "9" * 5000, "a number of 5000 letters", 1),
        ('a: "\\ud800"', "this is no str", 1),
        ("a: 1\na: 2", "stands twice, at lines 1 and 2", 2),
        ("x: &a [1,1,1,1,1,1,1,1,1,1]\n" * 1, None, None),
    ],
)
def test_yaml_is_plain_and_bounded(text: str, why: str | None, line: int | None) -> None:
    if why is None:
        assert parse_yaml(text)[1] == {"x": [1] * 10}
        return
    with pytest.raises(NotPlainYaml, match=why) as caught:
        parse_yaml(text)
    assert line is None or caught.value.line == line


def test_aliases_and_merges_work_until_they_grow_too_large() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\nday: 2001-02-03\nrate: 1e-4"
    assert parse_yaml(text)[1] == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}] * 2,
        "day": "2001-02-03",
        "rate": 1e-4,
    }
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    with pytest.raises(NotPlainYaml, match="more than 20000 values"):
        parse_yaml(bomb)
