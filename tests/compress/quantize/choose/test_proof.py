"""What a budget is held against: files, on samples that chose nothing, enough of them for rare ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.agreement import Comparison, compare
from edgegan.compress.export import export_onnx
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.quantize.choose import file_proof
from edgegan.compress.quantize.choose.budget import Budget
from edgegan.compress.quantize.choose.candidates import Samples
from edgegan.compress.quantize.choose.file_proof import FileProof, judged
from edgegan.compress.rewrite.graph import trace
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output, Sample

LATENT = Contract((Input("z", (8,)),), (Output("y", (3, 8, 8)),))


class Reaching(nn.Module):
    """Hidden values with long tails: products of latents, of which few samples hold the largest."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(8, 32), nn.Linear(32, 64), nn.Linear(64, 192)
        with torch.no_grad():
            self.last.weight /= 8

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z)
        return torch.tanh(self.last(torch.relu(self.second(x * x * x)))).view(-1, 3, 8, 8)


class Styled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.style = nn.Conv2d(3, 3, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.conv(x) + self.style(z)[:, :, None, None]


def quantized(module: nn.Module, folder: Path, **settings: object) -> Candidate:
    stage = Quantize(QuantizeSettings.model_validate({"samples": 32, **settings}))
    before = Candidate(module, module, LATENT)
    after = stage.run(before, Context(folder))
    stage.ensures(before, after)
    return after


def test_a_budget_that_is_met_holds_on_draws_that_nobody_saw(tmp_path: Path) -> None:
    module = Reaching().eval().requires_grad_(False)
    targets = ("x64-cpu", "jetson-orin-nano")
    after = quantized(module, tmp_path, targets=targets)
    for artifact in after.artifacts:
        assert after.lineage[-1].changed[artifact.name]["budget"] == {"psnr_db": 40.0, "met": True}
        draws = (LATENT.sample(32, seed) for seed in range(500, 600))
        held = [compare(artifact, module, LATENT, [drawn]).psnr_db >= 40 for drawn in draws]
        assert sum(held) >= 95
        proof = after.lineage[-1].proof[artifact.name]
        assert 40 <= proof["sure_psnr_db"] < proof["psnr_db"]
        assert sum(proof["batches"]) == 256


def test_levels_reach_farther_where_rare_samples_do(tmp_path: Path) -> None:
    module = Reaching().eval().requires_grad_(False)
    plain = {"calibrator": "mse", "equalize": False, "gptq": False, "bias_correction": False}
    record = quantized(module, tmp_path, **plain).lineage[-1]
    trials = record.proof["int8"]["trials"]
    assert sorted(trial["headroom"] for trial in trials) == [1.0, 1.1, 1.25, 1.5]
    assert record.changed["int8"]["headroom"] == trials[0]["headroom"] > 1
    alone = next(trial for trial in trials if trial["headroom"] == 1)
    assert trials[0]["sure_psnr_db"] > alone["sure_psnr_db"] + 1
    without = quantized(module, tmp_path, **plain, headroom=False).lineage[-1]
    assert len(without.proof["int8"]["trials"]) == 1


def test_stored_inputs_for_proofs_calibrate_nothing_though_latents_never_end(tmp_path: Path) -> None:
    pictures = np.arange(64, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 4, 4), np.float32)
    np.savez(tmp_path / "inputs.npz", x=pictures)
    stored = Input("x", (3, 4, 4), sample=Sample("stored", file="inputs.npz"))
    contract = Contract((stored, Input("z", (4,))), (Output("y", (3, 4, 4), (0.0, 64.0)),))
    contract = contract.with_stored(tmp_path)
    assert (contract.distinct(), contract.fewest_stored()) == (None, 64)
    samples = Samples.of(trace(Styled().eval(), contract), contract, 256, 0)
    shown = [
        {int(value) for batch in batches for value in batch[0][:, 0, 0, 0]}
        for batches in (samples.batches, samples.judging)
    ]
    proved = {int(value) for batch in samples.proving for value in batch["x"][:, 0, 0, 0]}
    assert len(proved) == 8
    assert set.union(*shown, proved) == set(range(64))
    assert sum(map(len, (*shown, proved))) == 64


def test_proofs_begin_with_one_sample_alone() -> None:
    samples = Samples.of(trace(Reaching().eval(), LATENT), LATENT, 16, 0, proving=70)
    assert [len(batch["z"]) for batch in samples.proving] == [1, 32, 32, 5]


def test_a_file_that_was_seen_before_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Reaching().eval().requires_grad_(False)
    export_onnx(module, LATENT, tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    runs: list[object] = []
    monkeypatch.setattr(file_proof, "compare", lambda *given: runs.append(given) or compare(*given))
    proof = FileProof(module, LATENT, [LATENT.sample(4, 0)])
    found = [proof(Artifact("fp32", str(tmp_path / name))) for name in ("a.onnx", "b.onnx")]
    assert found[0] is found[1]
    assert len(runs) == 1


def test_what_is_recorded_tells_of_the_worst_sample_and_of_how_many_are_under_the_budget() -> None:
    errors = (torch.tensor([1e-4, 1e-5, 1e-5, 1e-5]), torch.tensor([1e-6, 1e-3, 1e-6, 1e-6]))
    found = judged(Comparison([4], errors=errors, range_used_share=0.5), Budget.of({"psnr_db": 45.0}))
    assert (found["worst_psnr_db"], found["under_budget_share"], found["range_used_share"]) == (30, 0.5, 0.5)
    assert "under_budget_share" not in judged(Comparison([4], errors=errors), Budget())
    assert judged(Comparison([4]), Budget()) == {"sure_psnr_db": 0.0}


def test_the_range_that_outputs_use_is_that_of_the_output_that_uses_least(tmp_path: Path) -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 1.0, x * 0.01

    outputs = Output("wide", (2,), layout=""), Output("narrow", (2,), layout="")
    contract = Contract((Input("x", (2,)),), outputs)
    export_onnx(Both(), contract, tmp_path / "a.onnx")
    given = [{"x": np.array(rows, np.float32)} for rows in ([[-1, 0.5]], [[0.2, 1], [0, 0]])]
    found = compare(tmp_path / "a.onnx", Both(), contract, given)
    assert found.range_used_share == pytest.approx(0.01)
