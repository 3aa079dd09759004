"""Rewrites of networks whose sizes are free: the same as at fixed ones, exact at odd and oblong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.cost import count
from edgegan.compress.export import REWRITES, export_onnx
from edgegan.compress.quantize.stage import REWRITES as INT8_REWRITES
from edgegan.compress.rewrite import rewrite, trace
from edgegan.compress.rewrite.graph import Rewrite, aten
from edgegan.errors import ModelError
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

UNIFORM = {"kind": "uniform", "low": 0, "high": 1}
RESIZES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "by a scale": lambda x, wide: F.interpolate(x, scale_factor=2),
    "to twice its size": lambda x, wide: F.interpolate(x, size=tuple(2 * size for size in x.shape[2:])),
    "to the size of a skip": lambda x, wide: F.interpolate(x, size=wide.shape[2:], mode="nearest-exact"),
}


class Network(nn.Module):
    """Down by 2 and up again, mirrored at its borders where `mirrored`, with norms before and behind."""

    def __init__(self, axes: int, resize: str, mirrored: bool) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.Conv2d)[axes - 1], (nn.BatchNorm1d, nn.BatchNorm2d)[axes - 1]
        self.resize, self.sides = RESIZES[resize], [1] * (2 * axes)
        self.first, self.before, self.behind = conv(3, 8, 3, padding=1), norm(8), norm(8)
        self.down, self.narrow = conv(8, 8, 4, 2, 1), conv(8, 6, 1)
        self.up, self.last = conv(6, 8, 3, padding=0 if mirrored else 1), conv(8, 3, 3, padding=1)
        self.mirrored = mirrored

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu(self.before(self.first(x)))
        x = self.narrow(self.resize(self.behind(F.relu(self.down(wide))), wide))
        x = F.relu(self.up(F.pad(x, self.sides, mode="reflect") if self.mirrored else x))
        return torch.tanh(self.last(x))


def contract(axes: int, free: bool) -> Contract:
    names = ["H", "W"][-axes:]
    shape = [3, *(names if free else [24] * axes)]
    sizes = {name: {"nominal": 24, "min": 6, "multiple": 2} for name in names if free}
    image = {"name": "image", "shape": shape, "sample": UNIFORM}
    output = {"name": "made", "shape": shape, "modality": {"kind": "tensor"}}
    return Contract.from_dict({"sizes": sizes, "inputs": [image], "outputs": [output]})


def network(axes: int, resize: str, mirrored: bool) -> nn.Module:
    torch.manual_seed(0)
    made = Network(axes, resize, mirrored)
    for norm in (made.before, made.behind):
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)  # pyright: ignore[reportArgumentType]
    return made.eval().requires_grad_(False)


def changed(made: nn.Module, free: bool, axes: int, rewrites: Sequence[Rewrite]) -> list[tuple[str, str]]:
    return [(one.rewrite, one.layer) for one in rewrite(made, contract(axes, free), rewrites)[1]]


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("axes", [1, 2])
def test_free_sizes_are_rewritten_as_fixed_ones_are(axes: int, resize: str, mirrored: bool) -> None:
    made = network(axes, resize, mirrored)

    graph, changes = rewrite(made, contract(axes, free=True), REWRITES)

    names = [change.rewrite for change in changes]
    assert {"delay_upsample", "fold_batch_norm", "upsample_conv_to_conv_transpose"} <= set(names)
    assert [change[0] for change in changed(made, False, axes, REWRITES)] == names
    for size in [(6, 6), (22, 38), (38, 22), (62, 8)]:
        image = torch.rand(2, 3, *size[:axes])
        torch.testing.assert_close(graph(image), made(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("resize", RESIZES)
def test_free_sizes_are_rewritten_for_int8_as_fixed_ones_are(resize: str) -> None:
    made = network(2, resize, True)

    free = changed(made, True, 2, INT8_REWRITES)

    assert [name for name, _ in free] == [name for name, _ in changed(made, False, 2, INT8_REWRITES)]
    assert "fold_norm_forward" in dict(free)


def test_a_merged_upsampling_saves_as_many_macs_where_sizes_are_free() -> None:
    made = network(2, "to twice its size", False)
    free, fixed = (rewrite(made, contract(2, free), REWRITES)[0] for free in (True, False))

    counted = [count(graph, contract(2, False)).macs for graph in (free, fixed)]

    assert counted[0] == counted[1] < count(made, contract(2, False)).macs


def test_no_norm_is_folded_where_a_free_border_differs_from_the_middle() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.last = nn.Conv2d(8, 3, 3, padding=1)

        def forward(self, image: Tensor) -> Tensor:
            return self.last(self.norm(F.relu(self.first(image))))

    torch.manual_seed(0)
    made = Padded().eval().requires_grad_(False)
    nn.init.normal_(made.norm.bias)

    free, fixed = (dict(changed(made, free, 2, INT8_REWRITES)) for free in (True, False))

    assert "batch_norm_to_affine" in free
    assert "fold_norm_after_activation" in fixed


class Restoration(nn.Module):
    """Modulated convolutions over a picture, by what all of it comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 3, 3, padding=1)
        self.style, self.style_up = nn.Linear(8, 8), nn.Linear(8, 8)
        self.plain, self.up = nn.Parameter(torch.randn(8, 8, 3, 3)), nn.Parameter(torch.randn(8, 8, 3, 3))

    def modulated(self, x: Tensor, weight: Tensor, style: Tensor, up: bool) -> Tensor:
        n, c, h, w = x.shape
        weight = weight[None] * style.view(n, 1, c, 1, 1)
        weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4], keepdim=True) + 1e-8)
        x = x.reshape(1, n * c, h, w)
        if up:
            kernel = weight.transpose(1, 2).reshape(n * c, -1, 3, 3)
            x = F.conv_transpose2d(x, kernel, stride=2, groups=n)[..., :-1, :-1]
        else:
            x = F.conv2d(x, weight.view(-1, c, 3, 3), padding=1, groups=n)
        return F.leaky_relu(x.view(n, -1, x.shape[-2], x.shape[-1]), 0.2)

    def forward(self, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(image), 0.2)
        seen = x.mean((2, 3))
        x = self.modulated(x, self.plain, self.style(seen), up=False)
        return torch.tanh(self.last(self.modulated(x, self.up, self.style_up(seen), up=True)))


def test_modulated_convolutions_get_their_static_form_where_sizes_are_free() -> None:
    torch.manual_seed(0)
    made = Restoration().eval().requires_grad_(False)

    graph = trace(made, contract(2, free=True))

    convolutions = [
        node
        for node in graph.graph.nodes
        if node.target in (aten.conv2d.default, aten.conv_transpose2d.input)
    ]
    assert [node.args[1].op for node in convolutions] == ["get_attr"] * 4
    for size in [(6, 10), (34, 22)]:
        image = torch.rand(3, 3, *size)
        torch.testing.assert_close(graph(image), made(image), rtol=0, atol=1e-5)
        assert prod(graph(image).shape) == prod(image.shape)


class Padded(nn.Module):
    """Padded to a multiple of 4 in front of a convolution behind an up-sampling, and cropped again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = F.pad(F.interpolate(x, scale_factor=2), (0, -width % 4, 0, -height % 4))
        return torch.tanh(self.conv(x)[:, :, :height, :width])


def test_a_padding_that_follows_from_the_size_is_left_alone() -> None:
    _, changes = rewrite(Padded().eval().requires_grad_(False), contract(2, True), REWRITES)
    assert not [change for change in changes if "upsample" in change.rewrite]


class Viewed(nn.Module):
    """A transposed convolution with an output padding, whose pixels are viewed as a row."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(x)
        return (y.view(y.size(0), 4, -1) - y.view(y.size(0), 4, -1).mean(-1, keepdim=True)).view_as(y)


@pytest.mark.parametrize("free", [False, True])
def test_what_a_transposed_convolution_gives_may_be_viewed(free: bool) -> None:
    _, changes = rewrite(Viewed().eval().requires_grad_(False), contract(2, free), INT8_REWRITES)
    assert [change.rewrite for change in changes] == ["conv_transpose_to_shuffle"]


class Pooled(nn.Module):
    """Looks at a share of each size, which a trace takes for a fixed one."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        few = F.adaptive_max_pool2d(x, (x.shape[2] // 4, x.shape[3] // 4))
        return x + F.interpolate(self.last(few), size=x.shape[2:])


def test_a_size_that_is_fixed_once_it_is_traced_is_no_free_one() -> None:
    module = Pooled().eval().requires_grad_(False)
    assert trace(module, contract(2, False))
    with pytest.raises(ModelError, match="fixed once it is"):
        trace(module, contract(2, True))


class Pyramid(nn.Module):
    """Means of one window, of four and of nine, as wide as the picture again."""

    def forward(self, x: Tensor) -> Tensor:
        means = [F.interpolate(F.adaptive_avg_pool2d(x, n), size=x.shape[2:]) for n in (1, 2, 3)]
        return torch.stack(means, 0).sum(0) + x


def test_a_file_pools_to_a_number_of_windows_at_any_size(tmp_path: Path) -> None:
    free = contract(2, True)
    export_onnx(trace(Pyramid(), free), free, tmp_path / "model.onnx")
    for height, width in ((24, 24), (8, 14), (34, 10)):
        x = torch.rand(2, 3, height, width)
        with OnnxRuntimeEngine(tmp_path / "model.onnx", threads=1) as engine:
            found = engine({"image": x.numpy()})["made"]
        torch.testing.assert_close(torch.from_numpy(found), Pyramid()(x))
