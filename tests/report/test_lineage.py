from __future__ import annotations

from made_run import RECORDS

from edgegan.report.lineage import lineage, words
from edgegan.run.folder import StageFolder
from edgegan.run.records import StageRecord


def views():
    return lineage([StageFolder(name, record, None) for name, record in RECORDS.items()])


def test_widths_before_and_after():
    prune = views()[0]
    widths, whole = prune.changes
    assert [line.text for line in whole.lines] == ["the output layer", "the label embedding"]
    assert widths.title == "widths"
    assert not widths.folded
    line = widths.lines[0]
    assert (line.label, line.text, line.share) == ("linear", "4096 → 1280", 31)
    assert prune.facts == []
    assert prune.proof[:2] == [("params", "8.3 M → 912.3 k"), ("MACs", "415.2 M → 41.2 M")]
    assert prune.seconds == "4.2 s"


def test_settings_keep_the_recipes_keys():
    distill = views()[1]
    assert distill.settings[:3] == [("steps", "20000"), ("batch", "64"), ("losses.output", "10")]


def test_proof_in_words():
    assert views()[1].proof == [("held out PSNR dB", "12.4 → 24.1 (samples 256)"), ("warnings", "none")]
    assert views()[3].proof[0] == ("largest difference · fp32", "1.10e-06")


def test_long_lists_are_folded_or_counted():
    rewrites = views()[2].changes[-1]
    assert rewrites.folded
    assert (rewrites.lines[0].label, rewrites.lines[0].text) == ("blocks.0.norm", "fold norm: into the conv")
    kept = StageRecord("prune", {}, {"kept": {"a": list(range(72)), "b": [1, 2]}}, {})
    lines = lineage([StageFolder("01-prune", kept, None)])[0].changes[0].lines
    assert [line.text for line in lines] == ["72 entries", "1, 2"]


def test_the_proof_of_a_file_is_short_and_its_lists_are_folded():
    quantize = views()[2]
    assert quantize.proof == [
        ("INT8 · PSNR dB", "38.2"),
        ("INT8 · finite", "yes"),
        ("INT8 · float layers", "blocks.1.conv2, output"),
        ("INT8 · INT8 MACs share", "93.1%"),
    ]
    titles = ["INT8 layers", "operators", "trials", "quality trials"]
    assert [item.title for item in quantize.lists] == [f"INT8 · {title}" for title in titles]
    assert all(item.folded for item in quantize.lists)
    assert [(line.label, line.text) for line in quantize.lists[1].lines] == [
        ("QLinearConv", "11"),
        ("Conv", "2"),
        ("Tanh", "1"),
    ]
    assert len(quantize.lists[0].lines) == 10


def test_an_unfinished_stage_is_shown_as_such():
    (view,) = lineage([StageFolder("02-distill", None, None)])
    assert (view.title, view.seconds, view.finished) == ("02-distill", "–", False)


def test_words():
    assert words("peak_rss_mib") == "peak rss MiB"


def quantized(int8, left, share):
    proof = {"int8": {"int8_layers": int8, "float_layers": left, "int8_macs_share": share}}
    return sentences(proof)


def sentences(proof):
    return lineage([StageFolder("03-quantize", StageRecord("quantize", {}, {}, proof), None)])[0].files


def test_how_much_runs_in_int8_is_a_sentence():
    assert views()[2].files == [
        "The int8 file runs 93% of its multiplications in INT8, in 10 of its 12 layers. "
        "In float: blocks.1.conv2, output."
    ]
    assert quantized(["a", "b"], [], 1.0) == [
        "The int8 file runs all its multiplications in INT8, in 2 of its 2 layers."
    ]
    assert quantized([], ["a"], 0.0) == [
        "The int8 file runs no layer in INT8: it is FP32 with conversions around it."
    ]
    many = quantized(["a"], [f"layer{index}" for index in range(9)], 0.99996)
    assert "runs over 99.9% of its" in many[0]
    assert many[0].endswith("In float: layer0, layer1, layer2, layer3, layer4 and 4 more.")
    assert views()[0].files == []
    assert quantized(3, 4, 0.5) == []


def test_how_near_a_file_comes_is_a_sentence_and_its_worst_is_in_it():
    near = {"psnr_db": 42.31, "worst_psnr_db": 32.4}
    assert sentences({"int8": {**near, "under_budget_share": 0.12}}) == [
        "On other inputs the int8 file is 42.3 dB from float, 32.4 dB on the worst, "
        "and 12% are under its budget."
    ]
    assert sentences({"int8": near}) == [
        "On other inputs the int8 file is 42.3 dB from float, 32.4 dB on the worst."
    ]
    assert sentences({"int8": {**near, "worst_psnr_db": "low"}}) == []
