"""Finding external tensors in ONNX files, and in bytes made by hand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan.runtime.onnx_file import external_tensors


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


TENSOR = field(8, b"w")
EXTERNAL = TENSOR + field(14, 1)
ENTRY = TENSOR + field(13, field(1, b"location") + field(2, b"/etc/passwd"))


@pytest.mark.parametrize("tensor", [EXTERNAL, ENTRY, field(14, 1) + field(14, 3) + TENSOR])
@pytest.mark.parametrize(
    "path",
    [
        (7, 5),
        (7, 15, 1),
        (7, 15, 2),
        (7, 1, 5, 5),
        (7, 1, 5, 10),
        (7, 1, 5, 22, 1),
        (7, 1, 5, 23, 2),
        (7, 1, 5, 6, 5),
        (7, 1, 5, 11, 1, 5, 6, 5),
        (20, 1, 5),
        (20, 2, 1, 5, 5),
        (25, 7, 5, 5),
        (25, 11, 5),
    ],
)
def test_a_tensor_is_found_wherever_it_may_be(path: tuple[int, ...], tensor: bytes) -> None:
    model, whole = tensor, TENSOR
    for number in reversed(path):
        model, whole = field(number, model), field(number, whole)
    assert external_tensors(model) == ["w"]
    assert external_tensors(whole + model + whole) == ["w"]
    assert external_tensors(whole) == []


def test_models(models: Path) -> None:
    assert {path.stem: external_tensors(path.read_bytes()) for path in models.glob("*.onnx")} == {
        "labelled": [],
        "labelled.uint8": [],
        "two_outputs": [],
        "fixed_batch": [],
        "external": ["W"],
        "external_nested": ["hidden", "hidden"],
    }


def test_deep_nesting_takes_no_stack() -> None:
    model = EXTERNAL
    for number in [5, *[6, 5, 1] * 2000, 7]:
        model = field(number, model)
    assert external_tensors(model) == ["w"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (field(7, b"graph")[:-1], "field 7 is cut off"),
        (b"\x80", "a number is cut off"),
        (b"\x80" * 11, "longer than 64 bits"),
        (b"\x00\x00", "has the number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0d123", "field 1 is cut off"),
        (varint(1 << 33) + b"\x00", "has the number"),
    ],
)
def test_what_is_not_protobuf(content: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        external_tensors(content)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(external_tensors(content), list)


def test_the_fixtures_are_what_their_script_makes(models: Path) -> None:
    pytest.importorskip("onnx", reason="making the models needs onnx")
    import make_fixture

    for name, model in make_fixture.models().items():
        assert (models / f"{name}.onnx").read_bytes() == model.SerializeToString(deterministic=True), name
