from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgegan.report.table import markdown_table, rows_table
from edgegan.run.figures import Figures


def printed(figures, width):
    console = Console(width=width, file=io.StringIO())
    console.print(rows_table(Figures.from_dict(figures)))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [120, 100, 80])
def test_fits_the_console_with_nothing_cut(figures, width):
    text = printed(figures, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for needed in ("p50 ms", "speed-up", "6.0× [5.8, 6.3]", "FID-10k", "6.98 [6.81, 7.14]", "1.0 MB"):
        assert needed in text


def test_120_columns_hold_everything(figures):
    text = printed(figures, 120)
    for needed in ("params", "MACs", "file", "p90 ms", "p99 ms", "912.3 k", "415.2 M"):
        assert needed in text


def test_80_columns_drop_the_tail_first(figures):
    text = printed(figures, 80)
    assert "p99" not in text
    assert "params" not in text


def test_notes_stand_beneath(figures):
    text = printed(figures, 120)
    assert "failed¹" in text
    assert "¹ failed: this engine runs FP16 convolutions in FP32" in text
    assert "INT8 ²" in text


def test_psnr_where_there_is_no_fid(figures):
    for row in figures["rows"]:
        del row["fid_10k"]
    assert "PSNR, dB" in printed(figures, 120)
    assert "23.7 [23.6, 23.9]" in markdown_table(Figures.from_dict(figures))


def test_names_are_no_markup(figures):
    figures["rows"][0]["label"] = "[bold]full[/bold] <b>|"
    assert "[bold]full[/bold] <b>|" in printed(figures, 120)
    assert "| [bold]full[/bold] &lt;b&gt;\\| |" in markdown_table(Figures.from_dict(figures))


def test_markdown(figures):
    lines = markdown_table(Figures.from_dict(figures)).splitlines()
    assert lines[0] == "| | params | MACs | file | p50 ms | p90 ms | p99 ms | speed-up | FID-10k |"
    assert lines[1].count("---:") == 8
    assert lines[2].startswith(
        "| full model | 8.3 M | 415.2 M | 33.1 MB | 9.81 | 10.4 | 12.9 | baseline | 6.21 [6.05, 6.36] |"
    )
    assert "failed <sup>1</sup>" in lines[5]
    assert lines[8].startswith("<sup>1</sup> failed: ")


def test_noise_is_one_sentence_beneath(figures):
    figures["protocol"]["noise"] = "Measured on a busy machine: times vary by up to 30%."
    assert printed(figures, 120).count("Measured on a busy machine") == 1
    assert markdown_table(Figures.from_dict(figures)).endswith(
        "\nMeasured on a busy machine: times vary by up to 30%.\n"
    )


def test_withheld_figures_are_said_and_why(figures):
    reason = "other work interrupted 95 of its 100 calls: close other programs"
    withheld = dict.fromkeys(("latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "speedup"))
    figures["rows"][4] |= {**withheld, "withheld": {"latency": reason}}
    text = printed(figures, 160)
    assert text.count("withheld") == 5
    assert f"withheld: {reason}" in text
    assert "6.0×" not in text
    assert markdown_table(Figures.from_dict(figures)).count("withheld <sup>") == 4


def test_markdown_takes_the_columns_that_are_asked_for_and_quality(figures):
    head = markdown_table(Figures.from_dict(figures), ("params", "macs")).partition("\n")[0]
    assert head == "| | params | MACs | FID-10k |"
