import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import weight_norm as old_weight_norm
from torch.nn.utils.parametrizations import spectral_norm

from edgegan.compress import structure
from edgegan.compress.cost import count
from edgegan.compress.example_inputs import example
from edgegan.compress.parametrization import parametrized, plain_copy
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ModelError, ProofError, StageError
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample

CONTEXT = Context(Path("unused"), seed=3)
CONDITIONAL = Contract(
    (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=5))),
    (Output("image", (3, 16, 16)),),
)


def conditional() -> nn.Module:
    torch.manual_seed(0)
    module = Generator((32, 24, 16), latent=8, classes=5)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.3)  # pyright: ignore
            nn.init.uniform_(layer.running_var, 0.5, 2)  # pyright: ignore
        if isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, 1, 0.5)
    return module.eval()


def prune(module: nn.Module, contract: Contract, **settings: Any) -> tuple[Candidate, Candidate]:
    stage, before = Prune(PruneSettings(**settings)), Candidate(module, module, contract)
    stage.requires(before)
    after = stage.run(before, CONTEXT)
    stage.ensures(before, after)
    return before, after


def whole(module: nn.Module, contract: Contract, **settings: Any) -> dict[str, str]:
    return prune(module, contract, **settings)[1].lineage[-1].changed["whole"]


def stack(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *layers, nn.Conv2d(16, 3, 3, padding=1)).eval()


PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8)),))


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "bn_scale", "random"])
@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_the_conditional_generator_prunes_exactly(importance: str, scope: str) -> None:
    before, after = prune(conditional(), CONDITIONAL, macs=0.3, importance=importance, scope=scope, align=4)
    record = after.lineage[-1]
    full, small = count(before.student, CONDITIONAL), count(after.student, CONDITIONAL)
    assert 0.2 < small.macs / full.macs <= 0.3
    assert record.proof["after"] == {"params": small.params, "macs": small.macs}
    assert record.proof["relative_difference"] < 1e-5
    assert all(after_ % 4 == 0 and after_ > 0 for _, after_ in record.changed["widths"].values())
    student: Any = after.student
    assert student.seed.in_channels == 8
    assert student.head.out_channels == 3
    assert student.blocks[0].norm1.gain.num_embeddings == 5
    assert student.blocks[0].norm1.gain.embedding_dim == student.seed.out_channels < 32
    assert record.changed["kept"]["seed"].keys() == {"outputs"}
    assert len(record.changed["kept"]["seed"]["outputs"]) == student.seed.out_channels


def test_the_given_module_is_left_as_it_is() -> None:
    module = conditional()
    weights = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    before, after = prune(module, CONDITIONAL, channels=0.5, importance="taylor")
    assert before.student is module
    assert after.teacher is module
    assert all(torch.equal(tensor, weights[key]) for key, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "random"])
def test_equal_settings_and_seed_give_an_equal_result(importance: str) -> None:
    first, second = (prune(conditional(), CONDITIONAL, macs=0.3, importance=importance)[1] for _ in range(2))
    assert replace(first.lineage[-1], seconds=0.0) == replace(second.lineage[-1], seconds=0.0)
    for key, tensor in first.student.state_dict().items():
        assert torch.equal(tensor, second.student.state_dict()[key])


def test_another_seed_gives_another_random_choice() -> None:
    stage = Prune(PruneSettings(channels=0.5, importance="random"))
    candidate = Candidate(conditional(), conditional(), CONDITIONAL)
    first, second = (stage.run(candidate, Context(Path("unused"), seed=seed)) for seed in (0, 1))
    assert first.lineage[-1].changed["kept"] != second.lineage[-1].changed["kept"]


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "bn_scale"])
def test_the_channels_that_matter_least_go_first(importance: str) -> None:
    module: Any = stack(nn.BatchNorm2d(16), nn.ReLU())
    weak = [1, 4, 6, 11]
    with torch.no_grad():
        module[0].weight[weak] *= 1e-3
        module[1].weight[weak] *= 1e-3
        module[3].weight[:, weak] *= 1e-3
    _, after = prune(module, PICTURE, channels=0.75, importance=importance, align=1)
    kept = after.lineage[-1].changed["kept"]
    strong = [channel for channel in range(16) if channel not in weak]
    assert kept == {"0": {"outputs": strong}, "1": {"outputs": strong}, "3": {"inputs": strong}}


def test_l1_and_l2_rank_differently() -> None:
    module: Any = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 1, bias=False)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [2.5, 0, 0, 0]]))
        module[1].weight.zero_()
    contract = Contract((Input("x", (4,)),), (Output("y", (1,), layout=""),))
    kept = [
        prune(module, contract, channels=0.5, norm=norm, align=1)[1]
        .lineage[-1]
        .changed["kept"]["0"]["outputs"]
        for norm in (1, 2)
    ]
    assert kept == [[0], [1]]


def test_widths_are_aligned_and_never_zero() -> None:
    _, after = prune(conditional(), CONDITIONAL, macs=0.2, align=8)
    widths = after.lineage[-1].changed["widths"]
    assert all(width % 8 == 0 and width > 0 for _, width in widths.values())


def test_a_goal_out_of_reach_is_refused() -> None:
    with pytest.raises(StageError, match=r"goal of 0\.01 cannot be reached: the narrowest model keeps 0\."):
        prune(conditional(), CONDITIONAL, macs=0.01, align=16)


def test_skipped_layers_keep_their_channels() -> None:
    _, after = prune(conditional(), CONDITIONAL, channels=0.5, skip=["blocks.0.conv1"], align=4)
    student: Any = after.student
    assert student.blocks[0].conv1.out_channels == 24
    assert student.blocks[1].conv1.out_channels < 16
    assert after.lineage[-1].changed["whole"]["blocks.0.conv1"].startswith("skipped")


def test_a_skip_that_names_no_layer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(StageError, match=r"blocks\.0\.conv1"):
        prune(conditional(), CONDITIONAL, channels=0.5, skip=["block.0.conv1"])


@pytest.mark.parametrize("goal", [{}, {"macs": 0.5, "channels": 0.5}, {"macs": 0}, {"macs": 1.5}])
def test_exactly_one_goal_between_0_and_1(goal: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PruneSettings.model_validate(goal)


@pytest.mark.parametrize("wrap", [spectral_norm, old_weight_norm])
def test_parametrizations_are_removed(wrap: Callable[[nn.Module], nn.Module]) -> None:
    module: Any = stack(nn.ReLU())
    if wrap is old_weight_norm:
        with pytest.warns(FutureWarning):
            wrap(module[0])
    else:
        wrap(module[0])
    _, after = prune(module, PICTURE, channels=0.5)
    assert parametrized(module) == ["0"]
    module(torch.zeros(1, 3, 8, 8))
    assert parametrized(after.student) == []


def test_a_wrong_cut_is_found_out() -> None:
    stage = Prune(PruneSettings(channels=0.5, reconstruct=False))
    before = Candidate(conditional(), conditional(), CONDITIONAL)
    after = stage.run(before, CONTEXT)
    broken: Any = plain_copy(after.student)
    with torch.no_grad():
        broken.seed.weight.copy_(broken.seed.weight.flip(1))
    with pytest.raises(ProofError, match="differs from the masked one"):
        stage.ensures(before, replace(after, student=broken))
    with pytest.raises(ProofError, match=r"gives outputs of \[\(3, 32, 32\)\]"):
        stage.ensures(before, replace(after, student=Generator((4, 4, 4, 4), latent=8, classes=5).eval()))
    with pytest.raises(ProofError, match="does not run"):
        stage.ensures(before, replace(after, student=nn.Identity()))


class Concat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 8, 1)
        self.c = nn.Conv2d(24, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        return self.c(torch.cat((a, F.silu(self.b(a))), 1))


class Modulated(nn.Module):
    """Half of a Linear's outputs scale the channels and half shift them, as AdaIN does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out, self.style = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1), nn.Linear(3, 16)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.style(x.mean((2, 3))).chunk(2, 1)
        return self.out(F.relu(self.conv(x) * scale[:, :, None, None] + shift[:, :, None, None]))


class ModulatedWeight(nn.Module):
    """StyleGAN2's modulated and demodulated convolution, after a learned constant."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.weight = nn.Parameter(torch.randn(1, 8, 4, 4)), nn.Parameter(torch.randn(8, 8, 3, 3))
        self.mapping, self.style, self.out = nn.Linear(6, 16), nn.Linear(16, 8), nn.Conv2d(8, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        n, style = len(z), self.style(F.relu(self.mapping(z)))
        weight = self.weight * style[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = self.start.expand(n, -1, -1, -1).reshape(1, n * 8, 4, 4)
        x = F.conv2d(x, weight.reshape(n * 8, 8, 3, 3), padding=1, groups=n).view(n, 8, 4, 4)
        return torch.tanh(self.out(x))


class Seed(nn.Module):
    """A Linear whose outputs are viewed as 4x4 maps; `channels` is -1 where the view leaves them free."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear, self.conv = nn.Linear(6, 16 * 4 * 4), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.conv(F.relu(self.linear(z).view(z.shape[0], self.channels, 4, 4))))


SEEDED = Contract((Input("z", (6,)),), (Output("image", (3, 4, 4)),))


@pytest.mark.parametrize(
    "module",
    [
        stack(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.InstanceNorm2d(16), nn.PReLU(16)),
        stack(nn.Conv2d(16, 64, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(16, 16, 2, 2)),
        stack(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 2, 2), nn.Sigmoid()),
        Concat().eval(),
    ],
    ids=["depthwise and instance norm", "pixel shuffle", "transposed and sigmoid", "concat"],
)
def test_kinds_of_layers_that_prune(module: nn.Module) -> None:
    _, after = prune(module, PICTURE, channels=0.5, align=2)
    record = after.lineage[-1]
    assert len(record.changed["whole"]) == 1
    assert "the model's output" in next(iter(record.changed["whole"].values()))
    assert record.proof["relative_difference"] < 1e-6


def test_pixel_shuffle_loses_channels_by_the_block() -> None:
    module = stack(nn.Conv2d(16, 64, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(16, 16, 2, 2))
    _, after = prune(module, PICTURE, channels=0.5, align=2)
    kept = after.lineage[-1].changed["kept"]
    assert kept["1"]["outputs"] == [4 * channel + i for channel in kept["3"]["inputs"] for i in range(4)]


class Literal(Seed):
    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.conv(F.relu(self.linear(z).view(z.shape[0], 16, 4, 4))))


def seeded(x: Tensor) -> Tensor:
    return x.view(x.shape[0], 16, 4, 4)


class Helped(Seed):
    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.conv(F.relu(seeded(self.linear(z)))))


def test_a_view_prunes_where_its_size_is_free_or_of_the_module_and_else_stays_whole() -> None:
    for kind, channels, narrow in ((Seed, -1, -1), (Seed, 16, 8), (Literal, -1, -1)):
        _, after = prune(kind(channels).eval(), SEEDED, channels=0.5)
        student: Any = after.student
        assert (student.linear.out_features, student.channels) == (8 * 16, narrow)
    with pytest.raises(StageError, match="linear: the model does not run with fewer channels here"):
        prune(Helped(16).eval(), SEEDED, channels=0.5)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.GroupNorm(1, 16)], "all tied to each other"),
        ([nn.LayerNorm([16, 8, 8])], "native_layer_norm in '1' needs all of its channels"),
        ([nn.Softmax(1)], "softmax in '1' needs all of its channels"),
    ],
    ids=["group norm of one group", "layer norm", "softmax"],
)
def test_kinds_of_layers_that_stay_whole(layers: list[nn.Module], reason: str) -> None:
    module = stack(*layers, nn.Conv2d(16, 16, 1))
    _, after = prune(module, PICTURE, channels=0.7)
    assert any(re.search(reason, found) for found in after.lineage[-1].changed["whole"].values())


def test_modulated_weights_and_what_makes_the_style_prune() -> None:
    torch.manual_seed(0)
    _, after = prune(ModulatedWeight().eval(), SEEDED, channels=0.5, align=4)
    record = after.lineage[-1]
    assert record.changed["widths"] == {"mapping": [16, 8], "style": [8, 4]}
    assert record.proof["relative_difference"] < 1e-6


def test_modulation_by_a_split_linear_is_exact_or_left_whole() -> None:
    _, after = prune(Modulated().eval(), PICTURE, channels=0.5, align=1)
    assert after.lineage[-1].proof["relative_difference"] < 1e-6
    assert after.student(*example(PICTURE, 2, 0)).shape == (2, 3, 8, 8)


def test_the_input_added_back_keeps_its_width() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(x + self.b(F.relu(self.a(x))))

    _, after = prune(Residual().eval(), PICTURE, channels=0.5)
    student: Any = after.student
    assert (student.a.out_channels, student.b.out_channels) == (8, 3)


def test_a_model_that_hangs_the_tracer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegan.compress.prune.channels.SECONDS", 0.5)

    def hang(*_: object, **__: object) -> None:
        while True:
            pass

    monkeypatch.setattr("edgegan.compress.prune.channels._follow", hang)
    with pytest.raises(ModelError, match=r"dependency graph cannot be built: it took more than 0\.5 seconds"):
        prune(stack(nn.ReLU()), PICTURE, channels=0.5)


def test_a_model_that_does_not_fit_its_contract_is_refused() -> None:
    other = Contract(PICTURE.inputs, (Output("y", (3, 9, 9)),))
    with pytest.raises(StageError, match=r"\(3, 8, 8\).*the contract says.*\(3, 9, 9\)"):
        prune(stack(nn.ReLU()), other, channels=0.5)
    other = Contract((Input("x", (4, 8, 8)),), PICTURE.outputs)
    with pytest.raises(StageError, match="does not run on the contract's inputs"):
        prune(stack(nn.ReLU()), other, channels=0.5)


def test_a_pruned_model_round_trips_through_its_structure(tmp_path: Path) -> None:
    _, after = prune(conditional(), CONDITIONAL, macs=0.3)
    structure.save(after.student, tmp_path)
    loaded = structure.load(conditional(), tmp_path)
    inputs = example(CONDITIONAL, 4, 7)
    assert torch.equal(loaded(*inputs), after.student(*inputs))


ZOO = {
    "celeba_dcgan": 0.125,
    "mnist_mlp": 0.125,
    "mnist_wgangp": 0.125,
    "mnist_cwgangp": 0.125,
    "mario_dcgan": 0.125,
    "srgan": 0.125,
    "fast_srgan": 0.125,
    "realesr_video": 0.125,
    "candy": 0.125,
    "ttsgan": 0.9,
}


@pytest.mark.parametrize("name", ZOO)
def test_published_generators_prune_with_proof_and_round_trip(
    name: str, shared: Path, tmp_path: Path
) -> None:
    family: ModuleType = importlib.import_module(f"zoo.{name}")
    contract = family.contract(4, 8) if name == "srgan" else small(family.CONTRACT)
    before, after = prune(family.load(shared), contract, macs=ZOO[name], scope="uniform")
    record = after.lineage[-1]
    assert record.proof["relative_difference"] < 1e-5
    assert 0.5 * ZOO[name] < record.proof["after"]["macs"] / record.proof["before"]["macs"] <= ZOO[name]
    structure.save(after.student, tmp_path)
    loaded = structure.load(family.load(shared), tmp_path)
    inputs = example(contract, 2, 5)
    with torch.no_grad():
        assert torch.equal(loaded(*inputs), after.student(*inputs))
        spread = before.student(*inputs).std()
    assert spread > 0


def small(contract: Contract) -> Contract:
    """The same contract on pictures of 16x16 where the inputs are larger pictures."""
    size = contract.inputs[0].shape[-1]
    if len(contract.inputs[0].shape) < 3 or size < 16:
        return contract
    scale = contract.outputs[0].shape[-1] // size
    inputs = (replace(contract.inputs[0], shape=(3, 16, 16)),)
    return Contract(inputs, (replace(contract.outputs[0], shape=(3, 16 * scale, 16 * scale)),))


def test_what_stays_whole_is_told(shared: Path) -> None:
    cwgangp, ttsgan = (importlib.import_module(f"zoo.{name}") for name in ("mnist_cwgangp", "ttsgan"))
    found = whole(cwgangp.load(shared), cwgangp.CONTRACT, macs=0.3)
    assert found == {"conv_blocks.9": "it has one channel"}
    found = whole(ttsgan.load(shared), ttsgan.CONTRACT, channels=0.5)
    assert "blocks.0.0.fn.1.values" not in found
    assert any("needs all of its channels" in reason for reason in found.values())
