from __future__ import annotations

from edgegan.report.headline import headline, shipped_row
from edgegan.run.figures import Figures


def shown(result):
    return [(item.figure, item.what, item.detail) for item in result.items]


def test_sums_up_the_row_that_ships(figures):
    result = headline(Figures.from_dict(figures), "int8")
    assert result.label == "INT8"
    assert shown(result) == [
        ("10×", "fewer MACs", "415.2 M → 41.2 M"),
        ("33×", "smaller file", "33.1 MB → 1.0 MB"),
        ("6.0×", "faster at batch 1", "[5.8, 6.3], 9.81 → 1.62 ms"),
        ("6.21 → 6.98", "FID-10k, worse", "[6.05, 6.36] → [6.81, 7.14]"),
    ]


def test_the_bundles_default_ships(figures):
    assert headline(Figures.from_dict(figures), "fp32").label == "FP32 (after distill)"
    assert shipped_row(Figures.from_dict(figures).rows, None).name == "int8"
    assert shipped_row(Figures.from_dict(figures).rows[:2], None).name == "prune"


def test_a_failed_figure_is_said(figures):
    items = headline(Figures.from_dict(figures), "fp16").items
    assert items[2].figure == "failed"
    assert "cast on each side" in items[2].detail


def test_worse_is_said(figures):
    figures["rows"][4]["file_bytes"] = 2 * figures["rows"][0]["file_bytes"]
    figures["rows"][4]["speedup"] = {"value": 0.8, "low": 0.7, "high": 0.9}
    items = headline(Figures.from_dict(figures), "int8").items
    assert (items[1].figure, items[1].what) == ("2.0×", "larger file")
    assert (items[2].figure, items[2].what) == ("0.80×", "the speed at batch 1")


def test_psnr_where_there_is_no_fid(figures):
    for row in figures["rows"]:
        del row["fid_10k"]
    item = headline(Figures.from_dict(figures), "int8").items[3]
    assert (item.figure, item.what, item.detail) == ("23.7", "dB PSNR to the full model", "[23.6, 23.9]")


def test_nothing_to_compare(figures):
    assert headline(Figures.from_dict({"rows": figures["rows"][:1]})) is None
    assert headline(Figures.from_dict({"rows": figures["rows"][1:]})) is None


def test_only_what_is_better_is_a_success(figures):
    full, int8 = figures["rows"][0], figures["rows"][4]
    assert [item.tone for item in headline(Figures.from_dict(figures), "int8").items] == [
        "better",
        "better",
        "better",
        "worse",
    ]
    int8["fid_10k"] = full["fid_10k"]
    int8["speedup"] = {"value": 1.01, "low": 0.97, "high": 1.05}
    int8["macs"] = full["macs"]
    items = headline(Figures.from_dict(figures), "int8").items
    assert [item.tone for item in items] == ["plain", "better", "plain", "plain"]
    assert items[3].what == "FID-10k, within the intervals"
    int8["fid_10k"] = {"value": 5.0, "low": 4.9, "high": 5.1}
    int8["macs"], int8["file_bytes"] = 2 * full["macs"], 2 * full["file_bytes"]
    int8["speedup"] = {"value": 0.9, "low": 0.8, "high": 1.1}
    items = headline(Figures.from_dict(figures), "int8").items
    assert [item.tone for item in items] == ["worse", "worse", "worse", "better"]


def test_a_withheld_figure_is_no_success_and_says_why(figures):
    int8 = figures["rows"][4]
    int8["speedup"], int8["withheld"] = None, {"speedup": "it is 38 by wall time and 10.8 by CPU time: close"}
    item = headline(Figures.from_dict(figures), "int8").items[2]
    assert (item.figure, item.tone) == ("withheld", "plain")
    assert "38 by wall time" in item.detail


def test_a_file_that_is_not_measured_here_does_not_stand_for_the_run(figures):
    figures["rows"].append({"name": "int8-tensorrt", "precision": "int8-tensorrt", "unmeasured": "not here"})
    assert shipped_row(Figures.from_dict(figures).rows, None).name == "int8"
