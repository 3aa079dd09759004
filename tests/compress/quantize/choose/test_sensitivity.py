from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator
from edgegan.compress.quantize.choose.file_proof import FileProof
from edgegan.compress.quantize.choose.quantized_layers import Layers, choose_layers
from edgegan.compress.quantize.choose.sensitivity import Sensitivity, sweep, to_dicts
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.rewrite import rewrite
from edgegan.compress.stage import Candidate
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.target import Int8, Target

CONTRACT = Contract(
    (Input("x", (3, 8, 8), sample=Sample("uniform", -1.0, 1.0)),), (Output("y", (3, 8, 8), (-2.0, 2.0)),)
)


class Wild(nn.Module):
    """Three convolutions; in the second, one weight of each channel is far larger than the rest."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.calm = nn.Conv2d(3, 8, 3, padding=1)
        self.wild = nn.Conv2d(8, 8, 1)
        self.large = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        with torch.no_grad():
            self.wild.weight[:, 0] = 40.0
            self.calm.weight[0] *= 1e-3
            assert self.calm.bias is not None
            self.calm.bias[0] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.large(torch.relu(self.wild(self.calm(x))))))


@pytest.fixture(scope="module")
def int8() -> Int8:
    scheme = Target.read("x64-cpu").int8
    assert scheme is not None
    return scheme


@pytest.fixture(scope="module")
def judged() -> tuple[candidates.Start, Layers, FileEvaluator]:
    module = Wild().eval().requires_grad_(False)
    graph, _ = rewrite(module, CONTRACT, [])
    samples = candidates.Samples.of(graph, CONTRACT, 32, 0)
    (start,) = candidates.starts(graph, samples, False)

    candidate = Candidate(module, module, CONTRACT)
    proof = FileProof(module, CONTRACT, samples.proving)
    judge = FileEvaluator(candidate, samples, Target.read("x64-cpu"), lambda graph, path: None, proof)
    return start, choose_layers(graph, ["last"]), judge


def test_each_layer_is_alone_in_int8(
    judged: tuple[candidates.Start, Layers, FileEvaluator], int8: Int8
) -> None:
    start, layers, judge = judged
    seen: list[None] = []
    with quiet():
        table = sweep(start, layers, int8, "mse", judge, lambda: seen.append(None))
    assert [entry.layer for entry in table] == ["calm", "wild", "large"]
    assert len(seen) == 3
    assert sum(entry.macs_share for entry in table) == pytest.approx(1 - 216 / (216 + 64 + 576 + 216))
    assert min(table, key=lambda entry: entry.psnr_db).layer == "wild"
    with quiet():
        calm = candidates.lower(start, layers.without(["wild", "large"]), int8, "mse")
        together = judge.samples.psnr_db(candidates.lower(start, layers, int8, "mse"))
    assert judge.samples.psnr_db(calm) == pytest.approx(table[0].psnr_db, abs=0.05)
    added = -10 * torch.tensor(sum(entry.error for entry in table)).log10()
    assert together == pytest.approx(float(added), abs=2)
    assert all(entry.fid_increase is None for entry in table)


def test_the_table_as_plain_data_names_the_protocol() -> None:
    table = [Sensitivity("a", 0.123456, 40.1234, 0.01234), Sensitivity("b", 0.5, 50.0)]
    assert to_dicts(table, "fid_5k_increase") == [
        {"layer": "a", "macs_share": 0.1235, "psnr_db": 40.12, "fid_5k_increase": 0.0123},
        {"layer": "b", "macs_share": 0.5, "psnr_db": 50.0},
    ]
