"""Networks whose channels are followed through computed weights, views, recurrence and the code's numbers."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress import structure
from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.example_inputs import example
from edgegan.compress.export import Export
from edgegan.compress.parametrization import plain_copy
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.prune.couplings import Couplings, stay
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.contract import Contract, Input, Output

SEEDED = Contract((Input("z", (10,)),), (Output("y", (3, 16, 16)),))
PICTURE = Contract((Input("x", (3, 12, 12)),), (Output("y", (3, 12, 12)),))
SERIES = Contract((Input("x", (7, 9)),), (Output("y", (7, 4)),))
MASKED = Contract((Input("x", (3, 12, 12)), Input("m", (4, 12, 12))), (Output("y", (3, 12, 12)),))


def pruned(module: nn.Module, contract: Contract, tmp_path: Path, **settings: Any) -> Candidate:
    """Prune with its proofs, and hold the result to its structure's."""
    module.eval().requires_grad_(False)
    stage, before = (
        Prune(PruneSettings(align=1, **(settings or {"channels": 0.6}))),
        Candidate(module, module, contract),
    )
    stage.requires(before)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    structure.save(after.student, tmp_path)
    fresh = plain_copy(module)
    again = structure.load(fresh, tmp_path).requires_grad_(False)
    inputs = example(contract, 2, 5)
    assert torch.equal(again(*inputs), after.student(*inputs))
    return after


def widths(candidate: Candidate) -> dict[str, list[int]]:
    return candidate.lineage[-1].changed["widths"]


class Modulated(nn.Module):
    """A modulated convolution: weights of a sample's own, the batch in the groups of one convolution."""

    def __init__(
        self, inputs: int, outputs: int, style: int, *, axes: int = 2, up: bool = False, kernel: int = 3
    ) -> None:
        super().__init__()
        self.filters = nn.Parameter(
            torch.randn(outputs, inputs, *[kernel] * axes) / math.sqrt(inputs * kernel**axes)
        )
        self.affine, self.shift = nn.Linear(style, inputs), nn.Parameter(torch.randn(1, outputs, *[1] * axes))
        self.outputs, self.up, self.axes = outputs, up, axes

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, inputs, *size = x.shape
        kernel, ones = self.filters.shape[2:], [1] * self.axes
        weight = self.filters[None] * (1 + self.affine(w)).view(n, 1, inputs, *ones)
        weight = weight * torch.rsqrt(weight.square().flatten(2).sum(2) + 1e-8).view(n, -1, 1, *ones)
        x = x.reshape(1, n * inputs, *size)
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * inputs, self.outputs, *kernel)
            y = F.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1, groups=n)
        else:
            weight = weight.reshape(n * self.outputs, inputs, *kernel)
            y = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1](x, weight, padding=kernel[0] // 2, groups=n)
        return F.leaky_relu(y.view(n, self.outputs, *y.shape[2:]) + self.shift, 0.2)


class Styled(nn.Module):
    """A mapping, a learned constant, and modulated convolutions of odd widths."""

    def __init__(self, widths: tuple[int, ...] = (18, 26, 11), style: int = 14) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(10, 22), nn.LeakyReLU(0.2), nn.Linear(22, style))
        self.start = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.layers = nn.ModuleList(
            Modulated(i, o, style, up=index % 2 == 0) for index, (i, o) in enumerate(pairwise(widths))
        )
        self.rgb = Modulated(widths[-1], 3, style, kernel=1)
        self.register_buffer("noise", torch.randn(1, 1, 8, 8))

    def forward(self, z: Tensor) -> Tensor:
        w, x = self.mapping(z), self.start[None].repeat(z.shape[0], 1, 1, 1)
        for layer in self.layers:
            x = layer(x, w) + 0.1 * self.noise
        return self.rgb(F.interpolate(x, scale_factor=2), w)


@pytest.mark.parametrize("seed", range(3))
def test_modulated_convolutions_of_any_widths_lose_channels_on_both_sides(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    sizes = tuple(np.random.default_rng(seed).integers(5, 30, 3).tolist())
    after = pruned(Styled(sizes, style=int(8 + 3 * seed)), SEEDED, tmp_path)
    student: Any = after.student
    assert after.lineage[-1].changed["whole"] == {}
    assert len(widths(after)) == 2 + len(sizes)
    for layer, more in zip(student.layers, [*student.layers[1:], student.rgb]):
        assert layer.outputs == layer.filters.shape[0] == layer.shift.shape[1] == more.affine.out_features
    assert [layer.filters.shape[1] for layer in student.layers] < list(sizes)


def test_what_was_pruned_inside_is_distilled_and_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = pruned(Styled((12, 9), style=8), SEEDED, tmp_path)
    stages = (Distill(DistillSettings(steps=1, batch=2)), Export())
    for stage in stages:
        folder = tmp_path / stage.name
        folder.mkdir()
        after = stage.run(student, Context(folder))
        stage.ensures(student, after)
        student = after
    assert student.artifacts


class Sequence1d(nn.Module):
    """One axis, and a modulated convolution between plain ones that view their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seed, self.style, self.conv = (
            nn.Linear(10, 13 * 16),
            nn.Linear(10, 7),
            Modulated(13, 17, 7, axes=1),
        )
        self.out = nn.Conv1d(17, 48, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.conv(self.seed(z).view(z.shape[0], -1, 16), self.style(z))
        return self.out(x).reshape(z.shape[0], 3, 16, 16)


class Adaptive(nn.Module):
    """Norms' gains and biases from one Linear: viewed as two, in halves, or in slices by a number."""

    def __init__(self, width: int = 18) -> None:
        super().__init__()
        self.width, self.seed = width, nn.Linear(10, width * 16)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.InstanceNorm2d(width) for _ in range(3))
        self.affine = nn.ModuleList(nn.Linear(10, 2 * width) for _ in range(3))
        self.out = nn.Conv2d(width, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, z: Tensor) -> Tensor:
        x = self.seed(z).view(-1, self.width, 4, 4)
        scales = [affine(z) for affine in self.affine]
        two = scales[0].view(-1, 2, x.shape[1], 1, 1)
        halves = scales[1][:, :, None, None].chunk(2, 1)
        slices = scales[2][:, : self.width], scales[2][:, self.width :]
        pairs = (two[:, 0], two[:, 1]), halves, [part[..., None, None] for part in slices]
        for index, (conv, norm, (gain, bias)) in enumerate(zip(self.convs, self.norms, pairs)):
            x = norm(conv(F.interpolate(x, scale_factor=2 if index else 1))) * (1 + gain) + bias
        return self.out(F.relu(x))


class Spade(nn.Module):
    """Gains and biases of each pixel from a map."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.out = (
            nn.Conv2d(3, 17, 3, padding=1),
            nn.InstanceNorm2d(17),
            nn.Conv2d(17, 3, 1),
        )
        self.shared, self.both = nn.Conv2d(4, 13, 3, padding=1), nn.Conv2d(13, 34, 3, padding=1)

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        x = self.norm(self.a(x))
        gain, bias = torch.split(self.both(F.relu(self.shared(m))), x.shape[1], 1)
        return self.out(F.leaky_relu(x * (1 + gain) + bias))


class Dynamic(nn.Module):
    """Kernels mixed by attention, one for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.pick, self.out = nn.Conv2d(3, 15, 3, padding=1), nn.Linear(15, 4), nn.Conv2d(21, 3, 1)
        self.bank = nn.Parameter(torch.randn(4, 21, 15, 3, 3) / 9)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        n, c, *size = x.shape
        kernel = torch.einsum("bk,koihw->boihw", self.pick(x.mean((2, 3))).softmax(-1), self.bank)
        y = F.conv2d(x.reshape(1, n * c, *size), kernel.reshape(-1, c, 3, 3), padding=1, groups=n)
        return self.out(F.relu(y.view(n, -1, *size)))


class Written(nn.Module):
    """Halves written into a tensor of zeros, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(3, 14, 3, padding=1), nn.Conv2d(14, 14, 1), nn.Conv2d(28, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        y = x.new_zeros(x.shape[0], 2 * a.shape[1], *x.shape[2:])
        y[:, : a.shape[1]] = a
        y[:, a.shape[1] :] = self.b(a).relu_()
        return self.out(y)


class Fourier(nn.Module):
    """A convolution of real and imaginary parts, told apart by stacks and views; groups without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.both, self.out = (
            nn.Conv2d(3, 11, 3, padding=1),
            nn.Conv2d(22, 22, 1),
            nn.Conv2d(18, 3, 1),
        )
        self.wide = nn.Conv2d(11, 12, 1)
        self.up = nn.ConvTranspose2d(12, 18, 3, padding=1, groups=6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        n, _, *size = x.shape
        waves = torch.fft.rfft2(x, norm="ortho")
        waves = torch.stack([waves.real, waves.imag], 2).view(n, -1, *waves.shape[2:])
        waves = F.relu(self.both(waves)).unflatten(1, (-1, 2))
        y = torch.fft.irfft2(torch.complex(waves[:, :, 0], waves[:, :, 1]), s=size, norm="ortho")
        return self.out(F.silu(self.up(F.relu(self.wide(x + y)))))


class Split(nn.Module):
    """Unequal parts, whose widths the module holds; a block of pixels and its inverse; a shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = 8, 20
        self.a, self.b, self.c = nn.Conv2d(12, 28, 1), nn.Conv2d(20, 36, 1), nn.Conv2d(17, 24, 3, padding=1)
        self.out = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.split(self.a(F.pixel_unshuffle(x, 2)), [self.left, self.right], 1)
        x = torch.cat([F.pixel_shuffle(self.b(F.relu(right)), 2), F.interpolate(left, scale_factor=2)], 1)
        x = self.c(x)
        n, c, *size = x.shape
        x = F.relu(x.view(n, 4, c // 4, *size).transpose(1, 2).reshape(n, c, *size))
        return self.out(F.avg_pool2d(F.pixel_shuffle(x, 2), 2))


@pytest.mark.parametrize(
    ("module", "contract", "groups"),
    [
        (Sequence1d, SEEDED, 3),
        (Adaptive, SEEDED, 2),
        (Spade, MASKED, 2),
        (Dynamic, PICTURE, 2),
        (Written, PICTURE, 1),
        (Fourier, PICTURE, 2),
        (Split, PICTURE, 3),
    ],
)
def test_networks_of_computed_weights_and_views(
    module: type[nn.Module], contract: Contract, groups: int, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    assert len(widths(pruned(module(), contract, tmp_path))) == groups


def test_filters_that_matter_least_go_first_and_skipped_modules_keep_theirs(tmp_path: Path) -> None:
    torch.manual_seed(5)
    module: Any = Styled((8, 10, 6), style=8)
    weak = [1, 4, 9]
    for tensor, axis in ((module.layers[0].filters, 0), (module.layers[1].filters, 1)):
        tensor.data.index_fill_(axis, torch.tensor(weak), 1e-4)
    module.layers[1].affine.weight.data[weak] = 0
    after = pruned(module, SEEDED, tmp_path, channels=0.95, scope="global", skip=("layers.1",))
    assert list(widths(after)) != []
    assert after.student.get_submodule("layers.1").filters.shape[:2] == (6, 10)
    kept = pruned(module, SEEDED, tmp_path, channels=0.92, scope="global").lineage[-1].changed["kept"]
    assert not set(weak) & set(kept["layers.0"]["parameter:filters:0"])


class Heads(nn.Module):
    """Attention whose code fixes how many heads there are, or how wide they are."""

    def __init__(self, heads: int, each: int) -> None:
        super().__init__()
        self.qkv, self.project = nn.Linear(9, 3 * 24), nn.Linear(24, 9)
        self.shape, self.out = (heads, each), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, self.shape).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        y = ((q @ k.mT) * 0.4).softmax(-1) @ v
        return self.out(x + self.project(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize(("shape", "wide"), [((4, -1), [6, 3]), ((-1, 6), [4, 2])])
def test_attention_loses_features_of_each_head_or_heads(
    shape: tuple[int, int], wide: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(2)
    student: Any = pruned(Heads(*shape), SERIES, tmp_path, channels=0.5).student
    assert student.project.in_features == 24 * wide[1] // wide[0]
    assert student.qkv.out_features == 3 * student.project.in_features


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(9, 13), nn.Linear(9, 4)
        self.lstm = nn.LSTM(13, 17, 2, batch_first=True, bidirectional=True)
        self.gru, self.rnn = nn.GRU(34, 11, batch_first=True), nn.RNN(11, 9, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.gru(self.lstm(self.embed(x))[0])[0])[0])


class Cells(nn.Module):
    """A cell that reads what it wrote, by an embedding of a softmax over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.embed, self.cell = (
            nn.Linear(63, 12),
            nn.Linear(4, 10, bias=False),
            nn.LSTMCell(10, 12),
        )
        self.out = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.start(x.flatten(1)))
        state, token, written = torch.zeros_like(hidden), x.new_zeros(x.shape[0], 4), []
        for _ in range(7):
            hidden, state = self.cell(self.embed(token), (hidden, state))
            token = torch.softmax(self.out(hidden), -1)
            written.append(token)
        return torch.stack(written, 1)


def test_recurrent_layers_lose_hidden_units(tmp_path: Path) -> None:
    torch.manual_seed(3)
    student: Any = pruned(Recurrent(), SERIES, tmp_path).student
    assert student.lstm.hidden_size < 17
    assert student.gru.input_size == 2 * student.lstm.hidden_size
    assert {weight.shape[1] for name, weight in student.lstm.named_parameters() if "weight_hh" in name} == {
        student.lstm.hidden_size
    }
    student = pruned(Cells(), SERIES, tmp_path).student
    assert student.cell.hidden_size == student.start.out_features == student.out.in_features < 12
    assert student.cell.input_size == student.embed.out_features < 10


class OverAll(nn.Module):
    """Norms over all channels: of tokens, of pictures in one group, and over channels and pixels."""

    def __init__(self, width: int = 14) -> None:
        super().__init__()
        self.a, self.one = nn.Conv2d(3, width, 3, padding=1), nn.GroupNorm(1, width)
        self.deep = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.tokens, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 37), nn.Linear(37, width)
        self.pixels, self.out = nn.LayerNorm([width, 12, 12]), nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.one(self.a(x)))
        y = self.tokens(self.deep(x).permute(0, 2, 3, 1))
        return self.out(self.pixels(x + self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)))


def test_channels_behind_norms_over_all_are_lost_only_where_the_goal_asks_for_it(tmp_path: Path) -> None:
    torch.manual_seed(6)
    after = pruned(OverAll(), PICTURE, tmp_path, macs=0.7)
    assert list(widths(after)) == ["up"]
    assert "native_layer_norm in 'pixels' needs all" in after.lineage[-1].changed["whole"]["a"]
    after = pruned(OverAll(), PICTURE, tmp_path, macs=0.2)
    student: Any = after.student
    assert set(widths(after)) == {"up", "a"}
    assert student.pixels.normalized_shape == (student.a.out_channels, 12, 12)
    assert (student.one.num_groups, student.one.num_channels) == (1, student.a.out_channels)
    assert list(after.lineage[-1].changed["whole"]) == ["out"]
    fixed = pruned(OverAll(), PICTURE, tmp_path, macs=0.7, skip=("deep",)).student
    assert fixed.get_submodule("a").out_channels == 14


SIZES = [6, 18]


class Parts(nn.Module):
    """Parts of sizes that lie outside of its code: none of them can lose any."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(18, 12, 1), nn.Conv2d(18, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        one, other = torch.split(x, SIZES, 1)
        return self.out(torch.cat([one, F.relu(self.b(other))], 1))


def test_what_cannot_lose_channels_stays_whole_and_says_why(tmp_path: Path) -> None:
    torch.manual_seed(4)
    after = pruned(Parts(), PICTURE, tmp_path)
    assert list(widths(after)) == ["b"]
    assert "does not run with fewer channels" in after.lineage[-1].changed["whole"]["a"]
    module = nn.Sequential(
        nn.Linear(9, 9), nn.Linear(9, 12), nn.LayerNorm(12), nn.Linear(12, 9), nn.Linear(9, 4)
    )
    whole = pruned(module, SERIES, tmp_path).lineage[-1].changed["whole"]
    assert whole == {
        "1": "native_layer_norm in '2' needs all of its channels",
        "4": "its channels are the model's output",
    }


def test_of_the_axes_of_a_product_one_loses_positions() -> None:
    for used, sizes in ((1, (2, 3)), (0, (3, 2))):
        couplings = Couplings()
        flat = couplings.new(12)
        axes = couplings.regroup([flat], (*sizes, 2))
        couplings.keep(axes[2], "kept")
        couplings.keep(axes[1 - used], "kept")
        classes = couplings.classes(len)
        rows = classes.numbers[flat].reshape(*sizes, 2)
        rows = rows.swapaxes(0, used)
        assert len(np.unique(rows)) == len(rows) == 3
        assert all(len(np.unique(row)) == 1 for row in rows)
        assert classes.lost(flat).all()
        assert not classes.lost(stay(4)).any()
