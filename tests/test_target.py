"""Targets: the ones that come with edgegan, your own, and what a bad one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgegan.errors import RecipeError
from edgegan.target import FOLDER, Int8, Target, target_names, targets

JETSONS = ["jetson-agx-orin", "jetson-orin-nano", "jetson-orin-nx", "jetson-thor", "jetson-xavier-nx"]
NAMES = [
    "arm64-cpu",
    *JETSONS,
    "openvino-cpu",
    "raspberry-pi-5",
    "rtx-desktop",
    "web",
    "x64-cpu",
    "x64-cpu-vnni",
]
CPU = {"symmetric": False, "outputs": True, "sums": False, "bias": "int32", "rest": "fp32"}
OWN = """\
schema: 1
name: my-board
description: our own board
engine: onnxruntime
arch: aarch64
precisions: [fp32, int8]
align: 8
int8: {activations: int8, symmetric: false, weight_bits: 8, outputs: yes, sums: no, bias: float, rest: fp32}
hardware:
  memory_gib: {value: 4, source: bench}
  memory_gb_s: {value: 12.5, source: bench, note: measured}
notes:
  - {text: It is warm., source: bench}
sources:
  bench: {title: our own measurements}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "my-board.yaml").write_text(OWN)
    return tmp_path / "my-board.yaml"


def refused(path: str | Path) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        Target.read(path)
    return caught.value


def test_these_come_with_edgegan() -> None:
    assert target_names() == NAMES
    assert [target.name for target in targets()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_of_a_target_has_a_source(name: str) -> None:
    target = Target.read(name)
    assert target.description
    assert target.int8_use
    for source in target.sources.values():
        assert source.title
        assert source.url
    cited = [figure.source for figure in target.hardware.figures().values()]
    cited += [figure.source for figure in (target.super_mode.figures().values() if target.super_mode else ())]
    cited += [key for release in target.jetpack for key in release.sources]
    cited += [note.source for note in target.notes if note.source]
    assert set(cited) == set(target.sources)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_no_more_than_is_read(name: str) -> None:
    written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert written["name"] == name
    read = Target.read(name).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert read == written


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("x64-cpu", Int8(activations="uint8", weight_bits=7, **CPU)),
        ("x64-cpu-vnni", Int8(activations="uint8", weight_bits=8, **CPU)),
        ("web", Int8(activations="uint8", weight_bits=7, **CPU)),
        ("arm64-cpu", Int8(activations="int8", weight_bits=8, **CPU)),
        ("raspberry-pi-5", Int8(activations="int8", weight_bits=8, **CPU)),
    ],
)
def test_the_schemes_of_onnxruntime(name: str, scheme: Int8) -> None:
    target = Target.read(name)
    assert target.int8 == scheme
    assert target.engine == "onnxruntime"


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_tensorrt_gets_symmetric_int8_and_fp16(target: Target) -> None:
    if target.engine != "tensorrt":
        assert "fp16" not in target.precisions
        return
    assert target.align == 32
    assert target.int8 == Int8(
        activations="int8", symmetric=True, weight_bits=8, outputs=False, sums=True, bias="float", rest="fp16"
    )
    channels = (target.hardware.int8_channels, target.hardware.fp16_channels)
    assert [figure.value for figure in channels if figure] == [32, 8]


def test_openvino_gets_what_tensorrt_gets_with_the_rest_in_float32() -> None:
    like = Target.read("rtx-desktop").int8
    assert like is not None
    assert Target.read("openvino-cpu").int8 == like.model_copy(update={"rest": "fp32"})


def test_which_jetpack_can_type_strongly() -> None:
    typed = {
        target.name: [release.version for release in target.jetpack if release.strongly_typed]
        for target in targets()
        if target.jetpack
    }
    assert typed == {
        "jetson-agx-orin": ["6.2", "7.2.1"],
        "jetson-orin-nano": ["6.2", "7.2.1"],
        "jetson-orin-nx": ["6.2", "7.2.1"],
        "jetson-thor": ["7.0", "7.1", "7.2.1"],
        "jetson-xavier-nx": [],
    }


def test_no_rate_is_a_sparse_one() -> None:
    rates = {target.name: target.hardware for target in targets()}
    nano, agx = rates["jetson-orin-nano"].int8_tops, rates["jetson-agx-orin"].module_int8_tops
    assert nano is not None
    assert agx is not None
    assert (nano.value, agx.value) == (20, 137.5)


def test_your_own_file_works_the_same(own: Path) -> None:
    target = Target.read(own)
    assert target == Target.read(str(own))
    assert target.hardware.memory_gb_s is not None
    assert target.hardware.memory_gb_s.value == 12.5
    assert target.jetpack == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("engine: onnx", "enigne: onnx", 4, ["unknown key 'enigne'", "did you mean 'engine'"]),
        ("engine: onnxruntime", "engine: tflite", 4, ["engine", "'onnxruntime', 'openvino' or 'tensorrt'"]),
        ("arch: aarch64", "arch: arm64", 5, ["arch", "'aarch64'"]),
        ("[fp32, int8]", "[fp32]", 6, ["precisions and int8 disagree"]),
        ("[fp32, int8]", "[fp32, int4]", 6, ["precisions.1", "'int8'"]),
        ("align: 8", "align: 0", 7, ["align", "greater than or equal to 1"]),
        ("weight_bits: 8", "weight_bits: 3", 8, ["int8.weight_bits", "greater than or equal to 4"]),
        ("engine: onnxruntime", "engine: tensorrt", 8, ["TensorRT takes int8 activations with zero point 0"]),
        ("outputs: yes, ", "", 8, ["'outputs' is missing in int8"]),
        ("value: 4,", "value: -4,", 10, ["hardware.memory_gib.value", "greater than or equal to 0"]),
        ("value: 4,", "value: .nan,", 10, ["hardware.memory_gib.value", "finite"]),
        ("value: 4, source: bench", "value: 4", 10, ["'source' is missing in hardware.memory_gib"]),
        ("memory_gib", "memory_gb", 10, ["unknown key 'memory_gb' in hardware", "did you mean 'memory_gib'"]),
        ("source: bench, note", "source: bnch, note", 11, ["no source 'bnch'", "did you mean 'bench'"]),
        ("warm., source: bench", "warm., source: cold", 13, ["no source 'cold'"]),
        ("title:", "titel:", 15, ["unknown key 'titel' in sources.bench", "did you mean 'title'"]),
    ],
)
def test_a_mistake_is_named_with_its_line(own: Path, old: str, new: str, line: int, words: list[str]) -> None:
    assert OWN.count(old) == 1
    own.write_text(OWN.replace(old, new))
    error = refused(own)
    text = str(error)
    assert f"line {line}" in text
    for word in words:
        assert word in text


def test_several_mistakes_are_told_at_once(own: Path) -> None:
    own.write_text(OWN.replace("align: 8", "align: 0").replace("arch: aarch64", "arch: arm64"))
    text = str(refused(own))
    assert "2 problems in the target" in text
    assert "line 5" in text
    assert "line 7" in text


def test_an_unknown_name_gets_a_suggestion() -> None:
    error = refused("jetson-orin-nan")
    assert error.what == "there is no target 'jetson-orin-nan'; did you mean 'jetson-orin-nano'?"
    assert "x64-cpu-vnni" in (error.next or "")


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "name: a\nname: b\n"])
def test_a_file_that_is_no_target_is_refused(own: Path, text: str) -> None:
    own.write_text(text)
    assert str(own) in str(refused(own))


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    error = refused(tmp_path / "none.yaml")
    assert error.what.startswith("cannot read the target")
    assert error.next == "list the targets that there are with: edgegan targets"


@given(st.text("abc-./x64", max_size=30))
def test_any_name_is_a_target_or_a_clear_error(name: str) -> None:
    if name in NAMES:
        assert Target.read(name).name == name
    else:
        assert refused(name).next
