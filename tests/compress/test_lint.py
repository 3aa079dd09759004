import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from edgegan.compress.export import Export
from edgegan.compress.lint import Finding, lint, pruning
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.errors import ModelError
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample

PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8)),))
SEEDED = Contract((Input("z", (6,)),), (Output("y", (3, 4, 4)),))


def stack(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(), *layers, last, nn.Tanh()).eval()


class Apply(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Seed(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.linear, self.conv = channels, nn.Linear(6, 256), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.conv(F.relu(self.linear(z).view(z.shape[0], self.channels, 4, 4))))


def seeded(x: Tensor) -> Tensor:
    return x.view(x.shape[0], 16, 4, 4)


class HelpedSeed(Seed):
    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.conv(F.relu(seeded(self.linear(z)))))


def through_checks(x: Tensor) -> Tensor:
    x = x * F.one_hot((x > 0).long(), 2).sum(-1)
    found = torch.stft(x.flatten(1), 64, 16, window=torch.ones(64), return_complex=True)
    return torch.istft(found, 64, 16, window=torch.ones(64), length=x[0].numel()).view_as(x)


def branch(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def of_data(x: Tensor) -> Tensor:
    return x + x[x > 0].sum() * 0


def attend(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    return (torch.softmax(flat @ flat.transpose(1, 2), -1) @ flat).view_as(x)


def not_finite() -> nn.Module:
    module: Any = stack()
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] = torch.nan
    return module


def outermost(module: Any, scale: float) -> nn.Module:
    return nn.Sequential(module, Apply(lambda x: x * scale)).eval()


CLEAN = (stack(), PICTURE)
FINDINGS: dict[str, tuple[tuple[nn.Module, Contract], str, str, str, tuple[nn.Module, Contract]]] = {
    "weights": ((not_finite(), PICTURE), "error", "0.weight", "NaN or infinite", CLEAN),
    "spectral norm": (
        (nn.Sequential(spectral_norm(nn.Conv2d(3, 3, 1))).eval(), PICTURE),
        "info", "0", "spectral or weight norm", CLEAN,
    ),
    "pixel shuffle": (
        (stack(nn.Conv2d(16, 64, 1), nn.PixelShuffle(2), nn.AvgPool2d(2)), PICTURE),
        "info", "4", "PixelShuffle", CLEAN,
    ),
    "attention": ((stack(Apply(attend)), PICTURE), "warning", "3", "softmax or attention", CLEAN),
    "group norm": ((stack(nn.GroupNorm(4, 16)), PICTURE), "warning", "3", "GroupNorm", CLEAN),
    "instance norm": (
        (stack(nn.InstanceNorm2d(16)), PICTURE), "warning", "3", "InstanceNorm",
        (stack(nn.InstanceNorm2d(16, track_running_stats=True)), PICTURE),
    ),
    "transposed": (
        (stack(nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.AvgPool2d(2)), PICTURE),
        "info", "3", "ConvTranspose", CLEAN,
    ),
    "grouped transposed": (
        (stack(nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=4), nn.AvgPool2d(2)), PICTURE),
        "warning", "3", "grouped ConvTranspose",
        (stack(nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.AvgPool2d(2)), PICTURE),
    ),
    "checkerboard": (
        (stack(nn.ConvTranspose2d(16, 16, 3, 2, 1, 1), nn.AvgPool2d(2)), PICTURE),
        "warning", "3", "no multiple of the stride",
        (stack(nn.AvgPool2d(8), nn.ConvTranspose2d(16, 16, 8, 3)), PICTURE),
    ),
    "widths": (
        (stack(nn.Conv2d(16, 20, 1), nn.Conv2d(20, 16, 1)), PICTURE), "info", "3", "multiple of 8", CLEAN,
    ),
    "reflection": (
        (stack(nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")), PICTURE),
        "info", "3", "reflection padding",
        (stack(nn.Conv2d(16, 16, 3, padding=1)), PICTURE),
    ),
    "dropout": (
        (stack(Apply(F.dropout)), PICTURE), "warning", "3", "random numbers or dropout",
        (stack(nn.Dropout(0.5)), PICTURE),
    ),
    "control flow": (
        (stack(Apply(branch)), PICTURE), "error", "3", "control flow",
        (stack(Apply(through_checks)), PICTURE),
    ),
    "data shapes": ((stack(Apply(of_data)), PICTURE), "error", "3", "depends on the data", CLEAN),
    "view": (
        (HelpedSeed(16).eval(), SEEDED), "warning", "linear", "viewed with a fixed number",
        (Seed(16).eval(), SEEDED),
    ),
    "noise": (
        (stack(Apply(lambda x: x + torch.randn_like(x))), PICTURE),
        "error", "", "gives another output 'y'",
        (stack(Apply(lambda x: x + torch.ones_like(x))), PICTURE),
    ),
    "batch": (
        (stack(nn.BatchNorm2d(16, track_running_stats=False)), PICTURE),
        "warning", "", "depends on the rest of the batch", CLEAN,
    ),
    "range": ((outermost(stack(), 3.0), PICTURE), "warning", "", "leaves the contract's range", CLEAN),
    "little range": (
        (outermost(stack(), 0.01), PICTURE), "warning", "", "of the contract's range", CLEAN,
    ),
    "overflow": ((outermost(stack(), torch.inf), PICTURE), "error", "", "NaN or infinite", CLEAN),
    "shape": (
        (stack(), Contract(PICTURE.inputs, (Output("y", (3, 9, 9)),))),
        "error", "", "do not fit the contract", CLEAN,
    ),
    "inputs": (
        (stack(), Contract((Input("x", (4, 8, 8)),), PICTURE.outputs)), "error", "", "does not run", CLEAN,
    ),
}  # fmt: skip


def matching(found: list[Finding], level: str, what: str) -> list[Finding]:
    return [finding for finding in found if finding.level == level and what in finding.what]


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_fires_where_it_should_and_only_there(name: str) -> None:
    (module, contract), level, layer, what, (clean, its_contract) = FINDINGS[name]
    found = matching(lint(module, contract), level, what)
    assert [finding.layer for finding in found] == [layer]
    assert all(finding.why and finding.next for finding in found)
    assert not matching(lint(clean, its_contract), level, what)


def test_a_clean_model_has_no_findings() -> None:
    assert lint(*CLEAN) == []


def test_the_shipped_generator_has_nothing_but_notes() -> None:
    torch.manual_seed(0)
    contract = Contract(
        (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=5))),
        (Output("image", (3, 16, 16)),),
    )
    found = lint(Generator((32, 24, 16), latent=8, classes=5).eval(), contract)
    assert [(finding.level, finding.layer, finding.what) for finding in found] == [
        ("info", "seed", "ConvTranspose")
    ]


def test_errors_come_first_and_the_module_and_the_random_state_are_left_alone() -> None:
    module = stack(Apply(F.dropout), nn.GroupNorm(4, 16)).train()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    levels = [finding.level for finding in lint(module, PICTURE)]
    assert levels == sorted(levels, key=["error", "warning", "info"].index)
    assert {"error", "warning"} <= set(levels)
    assert torch.equal(torch.rand(1), expected)
    assert module.training
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_many_layers_make_one_finding() -> None:
    module = stack(*[nn.InstanceNorm2d(16) for _ in range(5)])
    found = matching(lint(module, PICTURE), "warning", "InstanceNorm")
    assert [finding.layer for finding in found] == ["3, 4, 5 and 2 more"]


def test_the_target_says_what_is_aligned() -> None:
    assert matching(lint(stack(), PICTURE, align=32), "info", "multiple of 32")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("celeba_dcgan", {"ConvTranspose"}),
        ("mnist_mlp", set()),
        ("mnist_wgangp", {"ConvTranspose", "the kernel is no multiple of the stride"}),
        ("mnist_cwgangp", set()),
        (
            "ttsgan",
            {
                "softmax or attention",
                "GroupNorm or LayerNorm",
                "it stays whole",
                "widths that are no multiple of 8",
            },
        ),
    ],
)
def test_published_generators(name: str, wanted: set[str], shared: Path) -> None:
    family = importlib.import_module(f"zoo.{name}")
    assert {finding.what for finding in lint(family.load(shared), family.CONTRACT)} == wanted


def test_what_only_pruning_minds_stops_no_recipe_that_does_not_prune(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr(pruning, "exact_groups", lambda *given: built.append(given))
    assert lint(stack(), PICTURE, stages=[Export()]) == []
    assert built == []


def test_a_recipe_that_prunes_is_told_why_it_cannot_and_how_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("the model's dependency graph cannot be built: it took too much memory")

    monkeypatch.setattr(pruning, "exact_groups", refuse)
    (found,) = lint(stack(), PICTURE, stages=[Prune(PruneSettings(macs=0.5, align=8))])
    assert (found.level, found.what) == ("error", "the model cannot be traced")
    assert "take `prune` out of the recipe's stages" in found.next


def test_a_goal_out_of_reach_and_nothing_to_prune_are_said_before_any_training() -> None:
    torch.manual_seed(0)
    (found,) = matching(
        lint(stack(), PICTURE, stages=[Prune(PruneSettings(macs=0.01, align=8))]), "error", "so far"
    )
    assert "the goal of 0.01 cannot be reached: the narrowest model keeps 0.5" in found.why
    alone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()).eval()
    (found,) = matching(
        lint(alone, PICTURE, stages=[Prune(PruneSettings(macs=0.5, align=8))]), "error", "so far"
    )
    assert "no layer can be pruned: 0: its channels are the model's output" in found.why


def test_layers_that_stay_whole_for_one_reason_are_one_finding_that_names_all() -> None:
    torch.manual_seed(0)
    module = stack(*[layer for _ in range(6) for layer in (nn.GroupNorm(1, 16), nn.Conv2d(16, 16, 1))])
    found = matching(lint(module, PICTURE), "warning", "it stays whole")
    whole = [name for finding in found for name in finding.layers]
    assert len(whole) >= 6
    assert all(finding.layer.count(",") <= 2 for finding in found)


def test_arguments_beside_the_inputs_are_told_with_what_to_write() -> None:
    class Grown(nn.Conv2d):
        def forward(self, x: Tensor, depth: int, alpha: float) -> Tensor:  # pyright: ignore
            return super().forward(x) * depth * alpha

    (finding,) = [one for one in lint(Grown(3, 3, 1).eval(), PICTURE) if one.level == "error"]
    assert "model: {call: {depth: 1, alpha: 1}}" in finding.next
