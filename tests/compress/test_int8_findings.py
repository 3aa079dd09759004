from __future__ import annotations

from typing import Any

from edgegan.compress.int8_findings import int8_findings, slow_int8
from edgegan.compress.stage import StageRecord
from edgegan.runtime.artifact import known

GOOD = {
    "psnr_db": 42.0, "sure_psnr_db": 41.0, "worst_psnr_db": 39.0, "under_budget_share": 0.01,
    "batches": [1, 99], "range_used_share": 0.9, "int8_macs_share": 0.95, "float_layers": ["last"],
}  # fmt: skip


def record(met: bool = True, in_float: tuple[str, ...] = (), **proof: Any) -> StageRecord:
    """Return what quantize recorded of one file, which was good but for what is given."""
    precisions = {"first": "int8", "last": "float", **dict.fromkeys(in_float, "float")}
    changed = {"budget": {"psnr_db": 40.0, "met": met}, "precisions": precisions}
    return StageRecord(
        "quantize", {}, {"int8": changed, "kept_in_float": ["last"]}, {"int8": {**GOOD, **proof}}
    )


def test_of_a_good_file_and_of_one_that_an_older_edgegan_recorded_nothing_is_said() -> None:
    old = {key: GOOD[key] for key in ("psnr_db", "float_layers", "int8_macs_share")}
    assert int8_findings([record(), StageRecord("quantize", {}, {"kept_in_float": []}, {"int8": old})]) == []


def test_int8_that_is_coarser_than_asked_for_is_told() -> None:
    (finding,) = int8_findings([record(met=False, sure_psnr_db=36.5, float_layers=["first"])])
    assert (finding.level, finding.layer) == ("warning", "model.int8.onnx")
    assert finding.what == "36.5 dB on other inputs, where 40 are asked for"
    assert "first" in finding.why
    assert "quality: {psnr_db: 40}" in finding.next


def test_samples_far_under_a_budget_that_is_met_as_one_are_told() -> None:
    (finding,) = int8_findings([record(worst_psnr_db=32.4, under_budget_share=0.12)])
    assert finding.what == "32.4 dB on the worst of 100 inputs"
    assert finding.why.startswith("12% of them are under 40 dB")
    assert "quality: {psnr_db: 48}" in finding.next
    assert int8_findings([record(worst_psnr_db=37.1)]) == []


def test_dB_to_a_range_of_which_little_is_used_are_told_to_say_little() -> None:  # noqa: N802
    (finding,) = int8_findings([record(psnr_db=61.0, range_used_share=0.01)])
    assert finding.what == "its 61.0 dB say little: outputs use 1% of the contract's range"
    assert "as few as 21.0 dB" in finding.why
    (finding,) = int8_findings([record(psnr_db=200.0, range_used_share=0.0)])
    assert "as few as 80.0 dB" in finding.why


def test_a_file_that_is_hardly_in_int8_says_what_is_in_float_and_why() -> None:
    names = ["second", "third", "MatMul of activations", "last"]
    (finding,) = int8_findings(
        [record(in_float=("second", "third"), float_layers=names, int8_macs_share=0.02)]
    )
    assert finding.what == "2% of its multiplications run in INT8: it is hardly faster than FP32"
    assert finding.why == (
        "in float: second, third (kept for the budget); last (a last layer, or one that `skip` names); "
        "MatMul of activations (with no INT8 kernel)"
    )
    assert finding.next.startswith("take FP32 or FP16")
    assert "psnr_db: 30" in finding.next
    (finding,) = int8_findings([record(float_layers=names, int8_macs_share=0.02)])
    assert "second, third, MatMul of activations (with no INT8 kernel)" in finding.why
    assert "psnr_db" not in finding.next


def test_int8_that_is_slower_is_told() -> None:
    measured = {"fp32": {"value": 1.2}, "int8": {"value": 1.14}}
    (finding,) = slow_int8("fp32", measured, [known(name, "") for name in ("fp32", "int8", "int8-tensorrt")])
    assert finding.what == "fp32 is the bundle's default, not int8"
    assert "1.14x" in finding.why
    assert "1.20x" in finding.why
    assert not slow_int8("int8", measured, [known("fp32", ""), known("int8", "")])
    (finding,) = slow_int8("int8", {"fp32": measured["fp32"]}, [known("fp32", ""), known("int8", "")])
    assert "not shown to be faster" in finding.what
