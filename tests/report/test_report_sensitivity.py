from __future__ import annotations

import re

import pytest
from made_run import LAYERS, RECORDS

from edgegan.report import plot
from edgegan.report.page import write_report
from edgegan.report.sensitivity import MOST_DRAWN, LayerCost, Sweep, sweeps
from edgegan.run.folder import StageFolder


def stage(name: str = "03-quantize") -> StageFolder:
    return StageFolder(name, RECORDS[name], None)


def test_a_sweep_is_read_from_the_proof_and_the_precisions_from_what_changed():
    (sweep,) = sweeps(stage())
    assert (sweep.name, sweep.fid, sweep.folded) == ("int8", "5k", False)
    assert [cost.layer for cost in sweep.layers] == LAYERS
    assert [cost.layer for cost in sweep.layers if cost.in_float] == ["blocks.1.conv2"]
    assert sweep.layers[0].cells == ("seed", "8.0%", "41.0", "–", "INT8")
    assert sweep.layers[4].cells == ("blocks.1.conv2", "8.0%", "35.5", "+4.1%", "float")


@pytest.mark.parametrize("name", ["01-prune", "02-distill", "04-export"])
def test_other_stages_have_none(name: str):
    assert sweeps(stage(name)) == []
    assert sweeps(StageFolder("05-none", None, None)) == []


def test_the_plot_has_a_point_for_each_layer_and_says_which_is_worst():
    (sweep,) = sweeps(stage())
    for size in (plot.WIDE, plot.NARROW):
        svg = plot.sensitivity_svg(sweep, size, "sensitivity-2-0")
        assert f'viewBox="0 0 {size.width} {70 + 20 * len(LAYERS)}"' in svg
        assert "the worst is blocks.1.conv2, 35.5 dB" in svg
        assert all(f">{layer}</text>" in svg for layer in LAYERS)
        assert len(re.findall(r'<use [^>]*style="fill: var\(--accent\)', svg)) == len(LAYERS) - 1
        assert len(re.findall(r"<use [^>]*stroke: var\(--second\)", svg)) == 1


def test_the_page_shows_the_table_and_both_plots(run_folder):
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert text.count('aria-label="PSNR of 11 layers alone in INT8; the worst is') == 2
    assert "<td>+4.1%</td><td>float</td>" in text
    assert '<th scope="col">FID-5k</th>' in text
    assert "INT8 · quality trials" in text


def test_of_very_many_layers_those_that_cost_most_are_drawn():
    layers = [LayerCost(f"layer {index}", 0.1, 30.0 + index % 500, None, False) for index in range(2000)]
    drawn = Sweep("int8", layers, None).drawn
    assert len(drawn) == MOST_DRAWN
    assert max(cost.psnr_db for cost in drawn) == 54.0
    assert [cost.layer for cost in drawn][:2] == ["layer 0", "layer 1"]
    assert Sweep("int8", layers[:5], None).drawn == layers[:5]
