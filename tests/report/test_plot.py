from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from edgegan.report import plot
from edgegan.run.figures import Figures

SIZES = [plot.WIDE, plot.NARROW]


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_points_carry_their_intervals(figures):
    data = plot.tradeoff(Figures.from_dict(figures))
    assert data.title == "FID-10k"
    assert [point.label for point in data.points] == [
        "full model",
        "after prune",
        "FP32 (after distill)",
        "INT8",
    ]
    assert data.left_out == ["FP16"]
    assert data.baseline is None
    full, _, _, int8 = data.points
    assert full.latency == (9.81, 9.81, 9.81)
    assert int8.quality == (6.98, 6.81, 7.14)
    assert int8.latency == pytest.approx((1.62, 1.62 * 6.05 / 6.31, 1.62 * 6.05 / 5.78))


def test_psnr_where_there_is_no_fid(figures):
    for row in figures["rows"]:
        del row["fid_10k"]
    data = plot.tradeoff(Figures.from_dict(figures))
    assert data.title == "PSNR to the full model, dB"
    assert [point.label for point in data.points] == ["after prune", "FP32 (after distill)", "INT8"]
    assert data.baseline == 9.81
    assert data.left_out == ["FP16"]
    assert "PSNR to the full model, dB (higher is better)" in texts(plot.tradeoff_svg(data, plot.WIDE))


def test_nothing_to_plot(figures):
    for row in figures["rows"]:
        row["latency_ms_p50"] = None
    assert plot.tradeoff(Figures.from_dict(figures)) is None


@pytest.mark.parametrize("size", SIZES)
def test_svg_names_every_point_and_follows_the_pages_colours(figures, size):
    svg = plot.tradeoff_svg(plot.tradeoff(Figures.from_dict(figures)), size)
    shown = texts(svg)
    assert {"full model", "after prune", "FP32 (after distill)", "INT8"} <= set(shown)
    assert "var(--accent)" in svg
    assert "var(--ink)" in svg
    assert "#0102" not in svg
    assert "metadata" not in svg
    assert f'viewBox="0 0 {size.width} {size.height}"' in svg
    assert 'aria-label="Latency p50 against FID-10k: full model 9.81 ms, 6.21;' in svg


@pytest.mark.parametrize("size", SIZES)
def test_svg_is_the_same_each_time(figures, size):
    data = plot.tradeoff(Figures.from_dict(figures))
    assert plot.tradeoff_svg(data, size) == plot.tradeoff_svg(data, size)


def test_ids_of_two_plots_differ(figures):
    data = plot.tradeoff(Figures.from_dict(figures))
    first, second = (set(re.findall(r'id="([^"]+)"', plot.tradeoff_svg(data, size))) for size in SIZES)
    assert first
    assert not first & second


def test_labels_are_text_not_markup_nor_mathematics(figures):
    figures["rows"][4]["label"] = '<b>"$x^2$"</b>'
    svg = plot.tradeoff_svg(plot.tradeoff(Figures.from_dict(figures)), plot.WIDE)
    assert '<b>"$x^2$"</b>' in texts(svg)
    assert "<b>" not in svg


def test_one_point_without_intervals(figures):
    figures["rows"] = figures["rows"][:1]
    figures["rows"][0]["fid_10k"] = 6.21
    assert "full model" in texts(plot.tradeoff_svg(plot.tradeoff(Figures.from_dict(figures)), plot.NARROW))


def test_losses_have_a_panel_each():
    losses = {"step": [0.0, 10, 20], "output": [1.0, 0.1, 0.01], "gan": [-1.0, 0.0, 1.0]}
    svg = plot.losses_svg(losses, plot.WIDE, "losses-0")
    assert {"output", "gan"} <= set(texts(svg))
    assert 'aria-label="Loss curves; last values: output 0.0100, gan 1.00."' in svg


def test_long_curves_are_thinned():
    losses = {"step": list(range(20000)), "output": [1.0 + i % 7 for i in range(20000)]}
    assert len(plot.losses_svg(losses, plot.NARROW, "losses-0")) < 40_000


def test_of_very_many_rows_and_curves_as_many_are_drawn_as_can_be_read(figures):
    full, row = figures["rows"][:2]
    figures["rows"] = [full, *({**row, "name": f"file {index}"} for index in range(2000))]
    data = plot.tradeoff(Figures.from_dict(figures))
    assert (len(data.points), data.more) == (plot.MOST_ROWS, 2001 - plot.MOST_ROWS)
    losses = {"step": [0.0, 1.0], **{f"curve {index}": [1.0, 2.0] for index in range(500)}}
    shown = texts(plot.losses_svg(losses, plot.NARROW, "losses-0"))
    assert shown.count("curve 23") == 1
    assert "curve 24" not in shown
