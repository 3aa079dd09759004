from __future__ import annotations

from dataclasses import replace

from edgegan.report.quality import quality_key
from edgegan.report.table_view import failure, table_view
from edgegan.run.figures import Figures, Row


def cells(view, name):
    (row,) = [row for row in view.rows if row.name == name]
    return dict(zip((column.key for column in view.columns), row.cells))


def test_every_column_in_its_group(figures):
    view = table_view(Figures.from_dict(figures))
    assert view.groups == [("size", 3), ("latency, ms", 5), ("quality", 6), ("process", 2)]
    assert [column.title for column in view.columns[8:14]] == [
        "FID-10k", "KID-10k, ×10⁻³", "precision-10k", "recall-10k", "PSNR, dB", "SSIM",
    ]  # fmt: skip
    assert view.absent == []


def test_figures_are_written_with_their_intervals(figures):
    int8 = cells(table_view(Figures.from_dict(figures)), "int8")
    assert (int8["speedup"].text, int8["speedup"].detail) == ("6.0×", "[5.8, 6.3]")
    assert (int8["fid_10k"].text, int8["fid_10k"].detail) == ("6.98", "[6.81, 7.14]")
    assert (int8["kid_10k"].text, int8["kid_10k"].detail) == ("0.776", "[0.757, 0.793]")
    assert (int8["latency_ms_p50"].text, int8["latency_ms_p50"].detail) == ("1.62", "cv 4.3%")
    assert int8["macs"].text == "41.2 M"
    assert int8["file_bytes"].text == "1.0 MB"


def test_the_full_model_is_the_baseline(figures):
    full = cells(table_view(Figures.from_dict(figures)), "full")
    assert {full[key].text for key in ("speedup", "psnr_db", "ssim")} == {"baseline"}
    assert full["speedup"].note is None


def test_a_failed_figure_is_shown_as_failed_with_its_reason(figures):
    view = table_view(Figures.from_dict(figures))
    fp16 = cells(view, "fp16")
    for key in ("latency_ms_p50", "latency_ms_p99", "speedup", "end_to_end_ms_p50", "load_ms"):
        assert (fp16[key].text, fp16[key].kind) == ("failed", "failed")
        assert "cast on each side" in view.notes[fp16[key].note - 1]
    assert fp16["fid_10k"].kind == "value"


def test_a_missing_figure_has_a_note(figures):
    del figures["rows"][4]["fid_10k"]
    view = table_view(Figures.from_dict(figures))
    cell = cells(view, "int8")["fid_10k"]
    assert (cell.text, cell.kind) == ("–", "missing")
    assert view.notes[cell.note - 1] == "– not measured for this row"


def test_warnings_are_notes_of_their_row(figures):
    view = table_view(Figures.from_dict(figures))
    (int8,) = [row for row in view.rows if row.name == "int8"]
    assert [view.notes[number - 1] for number in int8.notes] == [
        "INT8: latency varies by 4.3%: other work may have run on the machine"
    ]


def test_a_failure_of_no_column_is_a_note_of_its_row(figures):
    figures["rows"][4]["failed"] = {"samples": "the engine crashed"}
    view = table_view(Figures.from_dict(figures))
    assert "INT8, samples: failed: the engine crashed" in view.notes


def test_without_features_the_page_says_so(figures):
    figures["protocol"]["features"] = None
    for row in figures["rows"]:
        for key in ("fid_10k", "kid_10k", "precision_10k", "recall_10k"):
            del row[key]
    view = table_view(Figures.from_dict(figures))
    assert view.absent == [
        "FID, KID, precision, recall: not measured, the recipe names no feature extractor."
    ]
    assert ("quality", 2) in view.groups


def test_without_a_reference_the_page_says_so(figures):
    figures["protocol"]["reference"] = None
    for row in figures["rows"]:
        del row["fid_10k"]
    assert table_view(Figures.from_dict(figures)).absent == [
        "FID: not measured, the recipe names no reference statistics."
    ]


def test_quality_key_reads_the_protocol_from_the_name():
    rows = [Row(precision="fp32", failed={"fid_2k": "too few samples"}), Row(measured={"precision_500": 0.5})]
    assert quality_key(rows, "fid") == "fid_2k"
    assert quality_key(rows, "precision") == "precision_500"
    assert quality_key(rows, "kid") is None


def test_a_failure_holds_for_its_family_only():
    row = Row(failed={"fid": "singular covariance", "latency_ms": "crashed"})
    assert failure(row, "fid_10k") == "singular covariance"
    assert failure(row, "speedup") == "crashed"
    assert failure(row, "latency_ms_p90") == "crashed"
    assert failure(row, "kid_10k") is None
    assert failure(Row(), "fid_10k") is None
    assert failure(Row(failed={"quality": "crashed"}), "psnr_db") == "crashed"
    assert failure(Row(failed={"quality": "crashed"}), "macs") is None


def test_a_file_that_is_not_measured_here_says_why_in_every_cell(figures):
    why = "not measured here: it is for TensorRT on an NVIDIA GPU"
    figures["rows"].append(
        {"name": "int8-tensorrt", "label": "INT8-TENSORRT", "params": 5, "unmeasured": why}
    )
    view = table_view(Figures.from_dict(figures))
    found = cells(view, "int8-tensorrt")
    assert (found["params"].text, found["params"].kind) == ("5", "value")
    for key in ("latency_ms_p50", "speedup", "fid_10k", "psnr_db"):
        assert found[key].kind == "missing"
        assert view.notes[found[key].note - 1] == f"– {why}"


def test_figures_with_and_without_an_interval_are_written(figures):
    read = Figures.from_dict(figures, "")
    given = next(row for row in read.rows if row.interval("speedup") and not row.is_full)
    plain = replace(given, measured={key: given.number(key) for key in given.measured})
    around = replace(given, measured={key: given.interval(key) for key in given.measured})
    view = table_view(replace(read, rows=(plain, around)))
    assert [cell.text for cell in view.rows[0].cells] == [cell.text for cell in view.rows[1].cells]
    assert all(cell.kind == "value" for cell in view.rows[0].cells)
