from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress import structure
from edgegan.compress.example_inputs import example
from edgegan.compress.parametrization import plain_copy
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.prune.reconstruct import reconstruct
from edgegan.compress.prune.surgery import Kept, cut
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ProofError
from edgegan.runtime.contract import Contract, Input, Output

PICTURE = Contract((Input("x", (4, 10, 10)),), (Output("y", (3, 10, 10)),))
CONTEXT = Context(Path("unused"))


def redundant(convolution: Any, **settings: Any) -> nn.Sequential:
    """Every second channel of the middle is a mix of the others: without it, nothing need be lost."""
    torch.manual_seed(0)
    module = nn.Sequential(convolution(4, 16, 3, padding=1), convolution(16, 3, 3, padding=1, **settings))
    channels = 0 if isinstance(module[0], nn.Conv2d) else 1
    with torch.no_grad():
        weight, bias = (
            tensor.transpose(0, channels * (tensor.ndim > 1)) for tensor in module[0].parameters()
        )
        mix = torch.randn(8, 8)
        weight[1::2] = torch.einsum("ij,j...->i...", mix, weight[::2])
        bias[1::2] = mix @ bias[::2]
    return module.eval().requires_grad_(False)


def half(module: nn.Sequential) -> tuple[nn.Module, Kept]:
    stay = list(range(0, 16, 2))
    kept: Kept = {"0": {"outputs": stay}, "1": {"inputs": stay}}
    return cut(module, kept), kept


def error(module: nn.Module, full: nn.Module) -> float:
    (x,) = example(PICTURE, 16, seed=7)
    with torch.no_grad():
        return float((module(x) - full(x)).square().mean() / full(x).square().mean())


@pytest.mark.parametrize("convolution", [nn.Conv2d, nn.ConvTranspose2d])
def test_what_others_can_stand_in_for_is_not_lost(convolution: Any) -> None:
    full = redundant(convolution)
    pruned, kept = half(full)
    seen: list[tuple[int, int]] = []
    solved, layers = reconstruct(pruned, full, kept, PICTURE, 0, lambda *step: seen.append(step))
    assert error(pruned, full) > 0.1
    assert error(solved, full) < 1e-3
    assert layers == ["0", "1"]
    assert seen == [(1, 2), (2, 2)]
    assert torch.allclose(solved[0].weight, pruned[0].weight, atol=1e-5)  # pyright: ignore


def test_a_layer_of_a_class_that_computes_something_else_stays_as_it_is() -> None:
    class Partial(nn.Conv2d):
        def forward(self, input: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
            return super().forward(input * mask), mask

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = Partial(4, 16, 3, padding=1), nn.Conv2d(16, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            known, _ = self.first(x, (x > 0).float())
            return self.last(known.relu())

    torch.manual_seed(0)
    full = Net().eval().requires_grad_(False)
    kept: Kept = {"first": {"outputs": list(range(8))}, "last": {"inputs": list(range(8))}}
    pruned = cut(full, kept)
    solved, layers = reconstruct(pruned, full, kept, PICTURE, 0, lambda *_: None)
    assert layers == ["last"]
    assert error(solved, full) < error(pruned, full)


def test_a_layer_that_is_called_twice_stays_as_it_is() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
            self.last = nn.Conv2d(16, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.again(self.again(self.first(x)).relu()))

    torch.manual_seed(0)
    full = Twice().eval().requires_grad_(False)
    _, layers = reconstruct(plain_copy(full), full, {}, PICTURE, 0, lambda *step: None)
    assert layers == ["first", "last"]


def test_nothing_changes_where_nothing_was_pruned() -> None:
    full = redundant(nn.Conv2d)
    solved, _ = reconstruct(plain_copy(full), full, {}, PICTURE, 0, lambda *step: None)
    for key, tensor in full.state_dict().items():
        assert torch.equal(tensor, solved.state_dict()[key])


class Deep(nn.Sequential):
    """Norms, a depthwise layer, a stride and its way back, a Linear over channels."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        super().__init__(
            nn.Conv2d(4, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1, groups=32),
            nn.Conv2d(32, 24, 4, 2, 1, padding_mode="reflect"),
            nn.BatchNorm2d(24),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(24, 16, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 3, 3, padding=1),
            nn.Tanh(),
        )
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.2, 2)
                nn.init.normal_(layer.bias, 0, 0.3)
        self.train()
        for seed in range(8):
            self(*example(PICTURE, 16, seed))
        self.eval().requires_grad_(False)


def test_the_stage_comes_nearer_to_the_full_model_and_proves_the_pruning_apart() -> None:
    module = Deep()
    before = Candidate(module, module, PICTURE)
    stage = Prune(PruneSettings(macs=0.5, align=4))
    after = stage.run(before, CONTEXT)
    stage.ensures(before, after)
    record = after.lineage[-1]
    assert record.changed["reconstructed"] == ["0", "3", "4", "7", "9"]
    assert record.proof["relative_difference"] < 1e-5
    assert record.changed["scope"] in record.proof["psnr_db"]
    for figures in record.proof["psnr_db"].values():
        assert figures["reconstructed"] > figures["pruned"] + 3
    chosen = {"macs": 0.5, "align": 4, "scope": record.changed["scope"]}
    plain = Prune(PruneSettings(**chosen, reconstruct=False)).run(before, CONTEXT)
    assert plain.lineage[-1].changed["kept"] == record.changed["kept"]
    assert error(after.student, module) < error(plain.student, module) / 2
    assert structure.shapes(after.student) == structure.shapes(plain.student)


def test_a_reconstruction_that_was_tampered_with_is_no_proof() -> None:
    module = Deep()
    before, stage = Candidate(module, module, PICTURE), Prune(PruneSettings(macs=0.5, align=4))
    after = stage.run(before, CONTEXT)
    broken: Any = plain_copy(after.student)
    with torch.no_grad():
        broken[9].weight.mul_(-1)
    with pytest.raises(ProofError, match="dB from the full one"):
        stage.ensures(before, after.with_record(after.lineage[-1], student=broken))


@pytest.mark.parametrize("strong", [0, 4])
def test_auto_takes_the_scope_that_comes_nearer(strong: int) -> None:
    """A layer of equal weights wants its share, one of a few strong channels gives more than that."""
    torch.manual_seed(0)
    full = nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 3, 1),
    ).eval()
    with torch.no_grad():
        full[2].weight[strong:] *= 0.01 if strong else 1
        full[0].weight *= 0.2
    before = Candidate(full, full, PICTURE)
    each = {
        scope: Prune(PruneSettings(channels=0.5, align=2, scope=scope)).run(before, CONTEXT).lineage[-1]
        for scope in ("auto", "uniform", "global")
    }
    figures = each["auto"].proof["psnr_db"]
    assert figures.keys() == {"uniform", "global"}
    best = max(figures, key=lambda scope: max(figures[scope].values()))
    assert each["auto"].changed == each[best].changed
    assert figures[best] == each[best].proof["psnr_db"][best]
