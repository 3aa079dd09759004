from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edgegan.cli.report import report
from edgegan.errors import UserError

APP = typer.Typer()
APP.command()(report)


def make_small_run(path: Path) -> Path:
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"name": "tiny", "command": ["edgegan", "compress", "tiny"]}))
    (path / "figures.json").write_text(json.dumps({"protocol": {}, "rows": [{"name": "full", "params": 5}]}))
    return path


def test_prints_the_path_of_the_page_that_it_wrote(tmp_path):
    run = make_small_run(tmp_path / "tiny")
    result = CliRunner().invoke(APP, [str(run)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == f"{run / 'report.html'}\n"
    assert "tiny" in (run / "report.html").read_text()


def test_a_missing_run_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no such run folder") as caught:
        CliRunner().invoke(APP, [str(tmp_path / "absent")], catch_exceptions=False)
    assert caught.value.exit_code == 2
    assert caught.value.next == "edgegan compress RECIPE"
