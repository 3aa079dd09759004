"""Reading recipes: what is taken, what is refused, and whether the error says where."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from edgegan.errors import InputError, RecipeError
from edgegan.recipe import LatencySpec, Recipe

TEXT = """\
schema: 1
name: small
model: {callable: "model.py:Generator", checkpoint: teacher.safetensors, arguments: {eps: 1e-5}}
contract:
  inputs: [{name: z, shape: [8], sample: {kind: normal}}]
  outputs: [{name: image, shape: [3, 16, 16], range: [-1, 1], layout: CHW}]
quality:
  features: features.onnx
  samples: 10000
stages:
  - prune: {macs: 0.25, align: 8}
  - distill:
      steps: 2000
  - export:
profiles:
  quick: {distill: {steps: 30}, quality: {samples: 2000}}
  full: {}
"""


class Steps(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: int
    batch: int = 4


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str = TEXT) -> Path:
        (tmp_path / "recipe.yaml").write_text(text)
        return tmp_path

    return write


def refused(folder: Path, profile: str | None = None) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        Recipe.read(folder, profile)
    return caught.value


def test_the_first_profile_is_the_default(write: Any) -> None:
    recipe = Recipe.read(write())
    assert recipe.profile == "quick"
    assert recipe.quality is not None
    assert recipe.quality.samples == 2000
    assert [stage.settings for stage in recipe.stages] == [{"macs": 0.25, "align": 8}, {"steps": 30}, {}]


def test_a_profile_without_overrides_changes_nothing(write: Any) -> None:
    recipe = Recipe.read(write(), "full")
    assert recipe.quality is not None
    assert recipe.quality.samples == 10000
    assert recipe.stages[1].settings == {"steps": 2000}


def test_a_float_without_a_point_is_a_number(write: Any) -> None:
    assert Recipe.read(write()).model.arguments == {"eps": 1e-5}


def test_the_file_itself_can_be_named(write: Any) -> None:
    folder = write()
    assert Recipe.read(folder / "recipe.yaml").folder == folder


def test_files_are_beside_the_recipe(write: Any) -> None:
    folder = write()
    assert Recipe.read(folder).path("teacher.safetensors") == folder / "teacher.safetensors"


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_the_resolved_recipe_reads_as_itself(write: Any, tmp_path: Path, profile: str) -> None:
    recipe = Recipe.read(write(), profile)
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    again = Recipe.read(tmp_path / "again.yaml")
    assert again.model_dump(exclude={"profiles"}) == recipe.model_dump(exclude={"profiles"})
    assert again.to_yaml() == recipe.to_yaml()


def test_a_recipe_can_be_made_of_plain_data(tmp_path: Path) -> None:
    recipe = Recipe.of(yaml.safe_load(TEXT), tmp_path, "full")
    assert recipe.folder == tmp_path
    assert recipe.contract.outputs[0].shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name: small", "nmae: small", 2, ["unknown key 'nmae'", "did you mean 'name'"]),
        ("profiles:", "profils:", 15, ["unknown key 'profils'", "did you mean 'profiles'"]),
        ("arguments:", "argumens:", 3, ["'argumens' in model", "did you mean 'arguments'"]),
        ("sample:", "smaple:", 5, ["'smaple' in contract.inputs.0", "did you mean 'sample'"]),
        ("kind: normal", "kind: gaussian", 5, ["contract.inputs.0.sample.kind", "'normal'", "'uniform'"]),
        ("shape: [8]", "shape: [0]", 4, ["(0,)", "positive"]),
        ("shape: [3, 16, 16]", "shape: [3, -16, 16]", 4, ["-16", "positive"]),
        ("samples: 10000", "samples: 0", 9, ["quality.samples", "greater than or equal to 2"]),
        ("samples: 10000", "samples: many", 9, ["quality.samples", "must be a number, not 'many'"]),
        ("schema: 1", "schema: 2", 1, ["schema", "1"]),
        ("name: small", "name: ../out", 2, ["name", "pattern"]),
        ("model.py:Generator", "model.py", 3, ["model.callable", "package.module:Class"]),
        ("  - export:", "  - {export: {}, prune: {}}", 14, ["one stage and its settings"]),
        ("  - export:", "  - export: 3", 14, ["stages.2.export", "dictionary"]),
        ("name: small\n", "", None, ["the key 'name' is missing"]),
        ("name: small", "name: small\nname: large", 3, ["'name' stands twice", "lines 2 and 3"]),
        ("name: small", "name: [small", 3, ["not YAML"]),
        ("quick: {distill", "quick: {distil", 16, ["'distil'", "did you mean 'distill'"]),
        ("  full: {}", "  full: 3", 15, ["profiles must map"]),
    ],
)
def test_a_mistake_is_named_with_its_line(
    write: Any, old: str, new: str, line: int | None, words: list[str]
) -> None:
    assert old in TEXT
    folder = write(TEXT.replace(old, new, 1))
    profile = "full" if "samples: " in new else None
    error = refused(folder, profile)
    for word in words:
        assert word in error.what
    assert str(folder / "recipe.yaml") in (error.where or "")
    if line is not None:
        assert f"line {line}" in f"{error.what} {error.where}"


def test_a_mistake_in_a_profile_is_named_where_it_stands(write: Any) -> None:
    error = refused(write(TEXT.replace("samples: 2000", "samples: -5")))
    assert (error.where or "").endswith("line 16")


def test_many_mistakes_stay_on_one_screen(write: Any) -> None:
    text = TEXT.replace("samples: 10000", "\n".join(["samples: 10000", *(f"  x{i}: 1" for i in range(30))]))
    error = refused(write(text))
    assert "30 problems" in error.what
    assert "and 22 more" in error.what
    assert len(str(error).splitlines()) < 24


def test_an_unknown_profile_is_refused(write: Any) -> None:
    error = refused(write(), "ful")
    assert "did you mean 'full'" in error.what
    assert error.next == "choose one of: quick, full"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"", b"- 1", b"\x00"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "recipe.yaml").write_bytes(content)
    assert str(tmp_path) in (refused(tmp_path).where or "")


def test_missing_files_are_all_named(write: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.read(write()).require_files()
    assert "model.checkpoint" in caught.value.what
    assert "quality.features" in caught.value.what
    assert (caught.value.where or "").endswith("line 3")


def test_inception_is_no_file(write: Any, tmp_path: Path) -> None:
    (tmp_path / "teacher.safetensors").touch()
    Recipe.read(write(TEXT.replace("features.onnx", "inception"))).require_files()


def test_a_stage_checks_its_settings_through_the_recipe(write: Any) -> None:
    recipe = Recipe.read(write())
    assert recipe.parse(("stages", 1), Steps).steps == 30


@pytest.mark.parametrize(("profile", "line"), [("quick", 16), ("full", 13)])
def test_a_bad_setting_is_named_where_it_stands(write: Any, profile: str, line: int) -> None:
    recipe = Recipe.read(write(TEXT.replace("steps:", "stepz:")), profile)
    with pytest.raises(RecipeError) as caught:
        recipe.parse(("stages", 1), Steps)
    assert "did you mean 'steps'" in caught.value.what
    assert f"line {line}" in f"{caught.value.what} {caught.value.where}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=8,
    )
)
def test_any_data_is_a_recipe_or_refused_as_one(data: Any) -> None:
    for key in ("contract", "stages", "profiles", "model", "quality"):
        with suppress(RecipeError):
            Recipe.of({**yaml.safe_load(TEXT), key: data})


def test_how_long_latency_is_measured(write: Any) -> None:
    assert Recipe.read(write()).latency is None
    folder = write(TEXT.replace("  full: {}", "  full: {latency: {seconds: 20}}"))
    recipe = Recipe.read(folder, "full")
    assert recipe.latency == LatencySpec(seconds=20)
    assert "latency:\n  seconds: 20.0\n" in recipe.to_yaml()
    assert LatencySpec.of(0.5).seconds == 0.5
    for wrong in (0, -1, float("nan"), float("inf"), 1e9):
        with pytest.raises(InputError, match="latency cannot be measured"):
            LatencySpec.of(wrong)


@pytest.mark.parametrize(
    ("key", "said"), [("streams: 1", "unknown key 'streams'"), ("input: []", "did you mean 'inputs'")]
)
def test_a_contract_has_inputs_and_outputs_alone(tmp_path: Path, key: str, said: str) -> None:
    from small_recipe import RECIPE

    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("contract:\n", f"contract:\n  {key}\n"))
    with pytest.raises(RecipeError, match=said):
        Recipe.read(tmp_path)


def test_a_recipe_has_free_sizes(tmp_path: Path) -> None:
    contract = {
        "sizes": {"H": {"nominal": 16, "multiple": 2}, "W": {"nominal": 24, "multiple": 2}},
        "inputs": [{"name": "image", "shape": [3, "H", "W"], "sample": {"kind": "uniform"}}],
        "outputs": [{"name": "large", "shape": [3, "2*H", "2*W"], "range": [0, 1], "layout": "CHW"}],
    }
    data = {
        "schema": 1,
        "name": "large",
        "model": {"callable": "model.py:Net", "checkpoint": "net.pt"},
        "contract": contract,
        "stages": [{"export": {}}],
    }
    recipe = Recipe.of(data, tmp_path)

    assert recipe.contract.outputs[0].shape == (3, 32, 48)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert Recipe.read(tmp_path).contract == recipe.contract
    contract["inputs"][0]["shape"][1] = "T"
    with pytest.raises(RecipeError, match="'T' is not among"):
        Recipe.of(data, tmp_path)
