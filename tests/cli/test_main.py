"""The command itself: verbs, help, version, exit codes, and what a failure prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edgegan import __version__
from edgegan.cli import VERBS, main
from edgegan.cli.failures import reported
from edgegan.errors import ProofError, StorageError


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    printed = capsys.readouterr().out
    for verb in VERBS:
        assert f" {verb} " in printed


@pytest.mark.parametrize("verb", VERBS)
def test_the_line_of_help_is_the_verbs_own(verb: str) -> None:
    file, summary = VERBS[verb]
    module = __import__(f"edgegan.cli.{file}", fromlist=[file])
    assert (getattr(module, file).__doc__ or "").startswith(summary)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(verb, "--help") == 0
    assert f"edgegan {verb}" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--version") == 0
    assert capsys.readouterr().out == f"edgegan {__version__}\n"


@pytest.mark.parametrize("words", [("comprss",), ("compress", "--untill", "x", "r"), ("compress",)])
def test_a_mistyped_command_exits_with_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*words) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            StorageError("full", where="/x", next="free some"),
            2,
            ["error: full", "where: /x", "next:  free some"],
        ),
        (ProofError("wrong"), 1, ["error: wrong"]),
        (OSError(28, "No space left on device", "/x"), 2, ["cannot write: No space left on device", "/x"]),
        (PermissionError(13, "Permission denied", "/x"), 2, ["cannot write: Permission denied"]),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), 2, ["pip install 'edgegan[compress]'"]),
        (ModuleNotFoundError("No module named 'odd'", name="odd"), 1, ["bug in edgegan", "Traceback"]),
        (KeyError("x"), 1, ["bug in edgegan", "Traceback"]),
        (KeyboardInterrupt(), 130, ["go on with:  edgegan compress 'my recipe'"]),
    ],
)
def test_what_goes_wrong_is_told(
    error: BaseException, code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, reported(["compress", "my recipe"]):
        raise error
    assert caught.value.code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    for word in words:
        assert word in printed.err


def test_an_error_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert code_of("inspect", str(tmp_path), "--json") == 2
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert error["type"] == "BundleError"
    assert error["where"] == str(tmp_path)
    assert printed.err == ""


def test_a_verb_whose_packages_are_missing_says_what_to_install(tmp_path: Path) -> None:
    command = f"from edgegan.cli import main; main(['compress', {str(tmp_path)!r}])"
    code = f"import sys; sys.modules['torch'] = None; {command}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "torch is not installed" in result.stderr
    assert "pip install 'edgegan[compress]'" in result.stderr


def test_a_verbs_own_exit_code_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, reported(("lint", "recipe")):
        raise typer.Exit(2)
    assert caught.value.exit_code == 2
    assert capsys.readouterr() == ("", "")
