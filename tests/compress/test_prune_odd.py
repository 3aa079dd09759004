"""Odd networks, how often their groups are looked for, and proofs where float32 says little."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress import structure
from edgegan.compress.example_inputs import example
from edgegan.compress.fingerprint import of_module
from edgegan.compress.lint import lint
from edgegan.compress.parametrization import plain_copy
from edgegan.compress.prune import Prune, PruneSettings, exact
from edgegan.compress.prune.channels import OUTPUT
from edgegan.compress.stage import Candidate, Context
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract, Input, Output

PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8)),))


def prune(module: nn.Module, contract: Contract, tmp_path: Any, **settings: Any) -> Candidate:
    stage, before = Prune(PruneSettings(**settings)), Candidate(module, module, contract)
    stage.requires(before)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    return after


class Amplified(nn.Module):
    """Small differences between large sums, made large."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 3, 5, padding=4)
        self.a.weight.data *= 1e-2
        nn.init.constant_(self.a.bias, 1e3)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(F.relu(self.a(x)))
        return self.c((x - x.mean((2, 3), keepdim=True)) * 1e2)


def test_rounding_is_no_error(tmp_path: Any) -> None:
    torch.manual_seed(1)
    module = Amplified().eval()
    record = prune(module, PICTURE, tmp_path, channels=0.6).lineage[-1]
    assert record.proof["computed_in"] == "float64"
    assert record.proof["relative_difference"] < 1e-9
    pruned = prune(module, PICTURE, tmp_path, channels=0.6).student
    masked = exact.mask(plain_copy(module), record.changed["kept"])
    with torch.no_grad():
        rounded = (pruned(*example(PICTURE, 8, 0)) - masked(*example(PICTURE, 8, 0))).abs().max() / 2
    assert rounded > exact.TOLERANCE, "float32 alone could not tell this from an error"


class Casts(nn.Module):
    """Names float32 in its forward, and makes tensors of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x.float())).to(torch.float32)
        noise = torch.zeros(y.shape[0], 1, *y.shape[2:]).add_(0.5)
        return self.b(y + noise * torch.arange(8, dtype=torch.float32))


def test_a_forward_that_names_its_types_is_proven_in_float64_too(tmp_path: Any) -> None:
    proof = prune(Casts().eval(), PICTURE, tmp_path, channels=0.5).lineage[-1].proof
    assert (proof["computed_in"], proof["relative_difference"] < 1e-9) == ("float64", True)


def test_the_graph_is_built_once_for_lint_and_prune(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    built: list[nn.Module] = []
    find = exact.find_groups
    monkeypatch.setattr(exact, "find_groups", lambda *given: built.append(given[0]) or find(*given))
    torch.manual_seed(7)
    module = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 3, 1)).eval()
    lint(module, PICTURE, stages=[Prune(PruneSettings(channels=0.5, align=8))])
    prune(module, PICTURE, tmp_path, channels=0.5)
    assert len(built) == 1
    next(module.parameters()).data *= 2
    prune(module, PICTURE, tmp_path, channels=0.5)
    assert len(built) == 2


def test_groups_are_tried_all_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    tried: list[int] = []
    trial = exact._trial
    monkeypatch.setattr(exact, "_trial", lambda *given: tried.append(len(given[2])) or trial(*given))
    torch.manual_seed(8)
    layers = [nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(8)]
    module = nn.Sequential(nn.Conv2d(3, 16, 1), *layers, nn.Conv2d(16, 3, 1)).eval()
    prune(module, PICTURE, tmp_path, channels=0.5)
    assert tried == [9]
    broken = nn.Sequential(nn.Conv2d(3, 16, 1), *layers[:4], nn.Softmax(1), *layers[4:], nn.Conv2d(16, 3, 1))
    tried.clear()
    record = prune(broken.eval(), PICTURE, tmp_path, channels=0.5).lineage[-1]
    assert list(record.changed["whole"]) == ["9", "4.0"] or "4.0" in record.changed["whole"]
    assert len(record.changed["widths"]) == 8
    assert len(tried) <= 9


class Headed(nn.Module):
    """Two heads, of which one is for training, on a depthwise layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.out, self.normals = nn.Conv2d(16, 3, 1), nn.Sequential(nn.Conv2d(16, 8, 1), nn.Conv2d(8, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(F.relu(self.stem(x)))
        self.normals(x)
        return self.out(x)


def test_a_head_that_nobody_reads_loses_channels_too(tmp_path: Any) -> None:
    torch.manual_seed(0)
    after = prune(Headed().eval(), PICTURE, tmp_path, channels=0.5, align=4, reconstruct=False)
    assert sorted(after.lineage[-1].changed["widths"].values()) == [[8, 4], [16, 8]]
    assert after.student.get_submodule("normals.0").in_channels == 8  # type: ignore[union-attr]


class Literal(nn.Module):
    """Widths as literals, also in a tuple and inside a comprehension, and as entries of settings."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config, self.shape = config, (32, 4, 4)
        self.seed, self.up = nn.Linear(6, 16 * 4 * 4), nn.Conv2d(16, config.sizes["width"], 3, padding=1)
        self.more, self.out = nn.Linear(6, 32 * 4 * 4), nn.Conv2d(56, 3, 3, padding=1)

    def start(self, z: Tensor) -> Tensor:
        return torch.cat([part.view((-1, 8, 4, 4)) for part in self.seed(z).chunk(2, 1)], 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.up(F.relu(self.start(z)).view(len(z), 16, 4, 4)).view(-1, self.config.sizes["width"], 4, 4)
        x = torch.cat([x, self.more(z).reshape(-1, *self.shape)], 1)
        return F.interpolate(self.out(F.relu(x)), scale_factor=2)


def test_widths_as_literals_and_in_settings_are_set_and_saved(tmp_path: Any) -> None:
    torch.manual_seed(0)
    contract = Contract((Input("z", (6,)),), PICTURE.outputs)
    config = SimpleNamespace(sizes={"width": 24}, depth=2)
    module = Literal(config).eval()
    after = prune(module, contract, tmp_path, channels=0.5, align=2)
    assert after.lineage[-1].changed["whole"] == {"out": OUTPUT}
    assert set(after.lineage[-1].changed["widths"]) == {"seed", "up", "more"}
    assert config.sizes == {"width": 24}
    assert Literal(config).start(torch.zeros(2, 6)).shape[1] == 16
    structure.save(after.student, tmp_path / "student")
    loaded = structure.load(Literal(config), tmp_path / "student")
    given = example(contract, 3, 0)
    assert torch.equal(loaded(*given), after.student(*given))
    assert of_module(copy_of(loaded)) == of_module(loaded) == of_module(after.student)


class Projected(nn.Module):
    """A bidirectional LSTM of two layers whose states are projected."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 24, 2, batch_first=True, bidirectional=True, proj_size=12)
        self.out = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projected_lstm_loses_states_and_what_it_projects_to(tmp_path: Any) -> None:
    torch.manual_seed(0)
    contract = Contract((Input("x", (5, 8)),), (Output("y", (5, 8)),))
    rnn = prune(Projected().eval(), contract, tmp_path, channels=0.5, align=4).student.rnn
    assert isinstance(rnn, nn.LSTM)
    assert (rnn.hidden_size, rnn.proj_size) == (8, 4)


class Gated(nn.Module):
    """Halves that gate each other, by the function and by the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.norm = nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.up, self.gate = nn.ConvTranspose2d(16, 48, 3, padding=1), nn.GLU(1)
        self.out = nn.Conv2d(24, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gate(self.up(F.glu(self.norm(self.wide(x)), 1))))


def test_both_halves_of_a_gated_unit_lose_the_same_channels(tmp_path: Any) -> None:
    torch.manual_seed(0)
    after = prune(Gated().eval(), PICTURE, tmp_path, channels=0.5, align=4)
    assert after.lineage[-1].changed["widths"] == {"wide": [16, 8], "up": [24, 12]}
    assert {name: len(value) for name, value in after.student.named_buffers() if value.ndim} == {
        "norm.running_mean": 16,
        "norm.running_var": 16,
    }


class Quarters(nn.Module):
    """A quarter of the channels goes through a layer of its own, and a quarter makes a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.part = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.more, self.rgb, self.out = nn.Conv2d(32, 32, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(32, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        c = x.shape[1]
        first, rest = torch.split(x, [c // 4, c - c // 4], dim=1)
        x = self.more(torch.cat([self.part(first), rest], 1))
        return self.rgb(x[:, : x.size(1) // 4]) + self.out(F.relu(x))


def test_parts_that_are_shares_of_a_width_shrink_with_it(tmp_path: Any) -> None:
    torch.manual_seed(0)
    after = prune(Quarters().eval(), PICTURE, tmp_path, channels=0.5, align=4)
    assert set(after.lineage[-1].changed["whole"].values()) == {OUTPUT}
    student: Any = after.student
    assert student.stem.out_channels == 16 == student.more.out_channels
    assert student.part.in_channels == student.rgb.in_channels == 4


class Block(nn.Module):
    """Attention whose heads' features are a share of the width of what it is given, between LayerNorms."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.heads, self.scale = nn.LayerNorm(24), 3, 8**-0.5
        self.qkv, self.proj = nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q * self.scale @ k.transpose(-2, -1)).softmax(-1)
        return x + self.proj((weights @ v).transpose(1, 2).reshape(n, t, c))


def test_heads_that_divide_the_width_shrink_with_it_behind_norms(tmp_path: Any) -> None:
    torch.manual_seed(0)
    contract = Contract((Input("x", (5, 6)),), (Output("y", (5, 6), layout=""),))
    module = nn.Sequential(nn.Linear(6, 24), Block(), Block(), nn.LayerNorm(24), nn.Linear(24, 6)).eval()
    after = prune(module, contract, tmp_path, macs=0.4, align=4)
    student: Any = after.student
    assert student[0].out_features == student[1].proj.in_features == 12
    assert student[2].qkv.out_features == 36


class Mixed(nn.Module):
    """Weights mixed for each sample, with both widths of a layer as numbers that are equal."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.mixes = nn.Linear(6, 16 * 16), nn.ModuleList(Mixture() for _ in range(2))
        self.out = nn.Conv2d(16, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.start(z).view(len(z), -1, 4, 4)
        for mix in self.mixes:
            x = F.relu(mix(x, z))
        return self.out(x)


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.given = self.made = 16
        self.weight, self.route = nn.Parameter(torch.randn(4, 16, 16, 3, 3)), nn.Linear(6, 4)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        n, c, h, w = x.shape
        weight = torch.einsum("nk,koihw->noihw", self.route(z).softmax(1), self.weight)
        weight = weight.reshape(n * self.made, self.given, 3, 3)
        return F.conv2d(x.reshape(1, n * c, h, w), weight, padding=1, groups=n).view(n, self.made, h, w)


def test_numbers_that_name_another_groups_width_are_left_to_it(tmp_path: Any) -> None:
    torch.manual_seed(0)
    contract = Contract((Input("z", (6,)),), (Output("y", (3, 4, 4)),))
    student: Any = prune(Mixed().eval(), contract, tmp_path, channels=0.5).student
    assert [(mix.given, mix.made) for mix in student.mixes] == [(8, 8), (8, 8)]
