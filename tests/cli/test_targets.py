"""`edgegan targets`: a list, one of them with its sources, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegan.cli import main
from edgegan.target import target_names


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(("targets", *words))
    return int(caught.value.code or 0)


def test_the_list_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert set(target_names()) <= set(lines)
    assert "int8 w8 sym" in lines["jetson-orin-nano"]
    assert "5.1.1, 6.2, 7.2.1" in lines["jetson-orin-nano"]
    assert max(map(len, printed.splitlines())) <= 120


def test_one_is_shown_with_the_source_of_each_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("jetson-agx-orin") == 0
    lines = capsys.readouterr().out.splitlines()
    figure = next(line for line in lines if "module_int8_tops = 137.5" in line)
    number = figure[figure.rindex("[") : figure.rindex("]") + 1]
    source = next(line for line in lines if line.startswith(number))
    assert source.endswith("https://github.com/NVIDIA/Deep-Learning-Accelerator-SW")
    assert any("memory_gb_s = 204.8" in line and line.endswith("unverified") for line in lines)
    assert any("TensorRT 8.5.2 (weakly typed only)" in line for line in lines)


def test_json_of_all_and_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    everything = json.loads(capsys.readouterr().out)
    assert [target["name"] for target in everything] == target_names()
    assert run("web", "--json") == 0
    assert json.loads(capsys.readouterr().out) == next(one for one in everything if one["name"] == "web")


def test_your_own_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(
        "schema: 1\nname: mine\ndescription: my board\nengine: onnxruntime\narch: aarch64\n"
        "precisions: [fp32]\nalign: 4\n"
    )
    assert run(str(tmp_path / "mine.yaml")) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mine: my board",
        "engine      onnxruntime on aarch64",
        "precisions  fp32; channels in multiples of 4",
    ]


@pytest.mark.parametrize("words", [("jetson",), ("nowhere/mine.yaml",)])
def test_what_there_is_not_exits_with_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "next:" in capsys.readouterr().err
    assert run(*words, "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "RecipeError"
