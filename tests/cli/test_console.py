"""Where commands print: no control character reaches a terminal, no stream's state ends in a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from small_recipe import RECIPE, write_recipe

from edgegan.cli import VERBS, main
from edgegan.cli.console import output, printable, say, say_json
from edgegan.runtime import Contract, write_bundle
from edgegan.runtime.contract import Input, Output, Sample

MODELS = Path(__file__).parents[1] / "runtime" / "models"
EVIL = "\x1b]0;PWNED\x07\x1b[31m\x9b2K\rverified\u202e\u2028\x00\x7f"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    contract = Contract(
        (Input("z", (4,)), Input("label", (), "int64", Sample("labels", classes=10))),
        (Output("image", (3, 2, 4)),),
    )
    row = {
        "name": "full",
        "label": f"x{EVIL}[link=http://x]×",
        "warnings": [EVIL],
        "failed": {"latency": EVIL},
    }
    return write_bundle(
        tmp_path / "bundle",
        name="labelled",
        contract=contract,
        models={"fp32": MODELS / "labelled.onnx"},
        default="fp32",
        lineage=[{"stage": f"prune{EVIL}", "settings": {f"a{EVIL}": f"b{EVIL}"}}],
        figures={"protocol": {}, "rows": [row]},
    ).folder


def steering(text: str) -> list[str]:
    return [sign for sign in text if not sign.isprintable() and sign not in "\n\t"]


@given(st.text())
def test_what_is_printed_cannot_steer(text: str) -> None:
    shown = printable(text)
    assert not steering(shown)
    assert printable(shown) == shown
    assert shown == text or steering(text)


def test_lines_tables_and_json_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(EVIL, title=EVIL)
    table.add_row(f"[red]{EVIL}[/red]")
    output().print(EVIL)
    output().print(table)
    say(EVIL)
    say(EVIL, errors=True)
    say_json({EVIL: f"{EVIL}é"})
    printed = capsys.readouterr()
    assert not steering(printed.out + printed.err)
    assert r"\x1b]0;PWNED\x07" in printed.out
    assert "[red]" in printed.out
    assert printed.out.isascii() or "é" not in printed.out


def code_of(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return int(caught.value.code or 0)


def test_a_bundle_cannot_steer(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--json",)):
        code_of("inspect", bundle, *words)
        printed = capsys.readouterr()
        assert not steering(printed.out + printed.err)
    (bundle / f"evil{EVIL[:-2]}").write_text("x")
    assert code_of("inspect", bundle) == 2
    assert not steering(capsys.readouterr().err)


YAML_EVIL = r"\e]0;PWNED\a\e[31mverified"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: small", f'name: small\n"k{YAML_EVIL}": 1'),
        ("- export: {}", f'- "export{YAML_EVIL}": {{}}'),
        ('"model.py:Generator"', f'"model{YAML_EVIL}.py:Generator"'),
        ("checkpoint: teacher", f'arguments: {{"w{YAML_EVIL}": 1}}, checkpoint: teacher'),
        ("teacher.safetensors", f'"t{YAML_EVIL}.safetensors"'),
        ("- export: {}", f'- export: {{"a{YAML_EVIL}": 1}}'),
    ],
)
def test_a_recipe_cannot_steer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    recipe = write_recipe(tmp_path / "small", RECIPE.replace(old, new))
    assert code_of("lint", recipe) == 2
    printed = capsys.readouterr()
    assert r"\x1b" in printed.err
    assert not steering(printed.out + printed.err)


def ran(*words: object, shell: str = "", **more: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edgegan", *map(str, words)]
    environment = {**os.environ, **more}
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, capture_output=True, check=False, env=environment)


@pytest.mark.parametrize(
    "more",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
)
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_terminal_that_lacks_characters(bundle: Path, more: dict[str, str], words: tuple[str, ...]) -> None:
    done = ran("inspect", bundle, *words, **more)
    assert (done.returncode, done.stderr) == (0, b"")
    if words:
        assert json.loads(done.stdout)["name"] == "labelled"


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&- <&-", 0),
        ("| true; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE),
        (">/dev/full", 2),
    ],
)
def test_no_state_of_the_streams_ends_in_a_traceback(bundle: Path, shell: str, code: int) -> None:
    done = ran("inspect", bundle, shell=shell)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert (b"No space left" in done.stderr) == (code == 2)
    assert b"--out" not in done.stderr


@pytest.mark.parametrize(
    "words", [("",), ("compress", ""), ("compress", "x", "--out", " "), ("lint", "--x=")]
)
def test_empty_arguments_are_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*words) == 2
    assert "is empty" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(verb, "--help") == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edgegan comp", ["compress"]),
        ("edgegan train", ["train", "train-features"]),
        ("edgegan generate --trust", ["--trust-engines"]),
        ("edgegan compress --prof", ["--profile"]),
    ],
)
def test_a_shell_completes_verbs_and_options(
    typed: str, offered: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_EDGEGAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert code_of() == 0
    assert capsys.readouterr().out.split() == offered


def test_a_recipe_is_inspected_without_importing_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "small")
    (recipe / "model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert code_of("inspect", recipe) == 0
    printed = capsys.readouterr().out
    for words in ("calls   model.py:Generator", "code    model.py", "teacher.safetensors: ", "stage   prune"):
        assert words in printed
    assert code_of("inspect", recipe, "--json") == 0
    assert json.loads(capsys.readouterr().out)["code"] == ["model.py"]
    assert not (tmp_path / "ran").exists()


JETPACKS = ["5.1.1,", "6.2,", "7.2.1"]


def test_the_list_of_targets_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegan.cli.console.PIPED_WIDTH", 80)
    assert code_of("targets") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    orin = next(line for line in lines if line.lstrip().startswith("jetson-orin-nano"))
    assert orin.split() == ["jetson-orin-nano", "tensorrt", "int8", "w8", "sym", "8", "20", *JETPACKS]


def test_the_first_line_comes_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgegan",
            "compress",
            str(write_recipe(tmp_path / "small")),
            "--out",
            str(tmp_path / "x"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    assert process.stdout.readline() == b"loading ...\n"
    assert not (tmp_path / "x").exists()
    process.kill()
    process.communicate()
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
