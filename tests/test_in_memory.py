"""A module in memory: its contract from examples, and the whole job in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick_latency import shorten
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from edgegan import (
    Contract,
    Distill,
    DistillSettings,
    Export,
    ExportSettings,
    Follower,
    Generator,
    Input,
    Output,
    Prune,
    PruneSettings,
    Quantize,
    QuantizeSettings,
    Sample,
    compress_module,
)
from edgegan.errors import InputError, ModelError
from edgegan.init.from_examples import collected, describe


class Painter(nn.Module):
    """A picture and a style in; a dictionary out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.style = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, photo: torch.Tensor, style: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.first(photo).relu() * self.style(style)[..., None, None]
        return {"hidden": hidden, "picture": self.last(hidden).sigmoid()}


def painter() -> nn.Module:
    torch.manual_seed(0)
    return Painter().eval()


def test_a_contract_follows_from_examples_and_a_loader() -> None:
    photos = torch.rand(20, 3, 16, 12)
    loader = DataLoader(TensorDataset(photos, torch.arange(20)), batch_size=8)
    found = describe(
        painter(), {"style": torch.randn(2, 4), "photo": photos[:2]}, (batch[0] for batch in loader)
    )
    photo, style = found.contract.inputs
    assert (photo.name, photo.shape, photo.sample.kind) == ("photo", (3, 16, 12), "stored")
    assert (photo.sample.low, photo.sample.high) == (0, 1)
    assert (style.name, style.shape, style.sample.kind) == ("style", (4,), "normal")
    assert [(spec.name, spec.shape, spec.range) for spec in found.contract.outputs] == [
        ("picture", (3, 16, 12), (0.0, 1.0))
    ]
    assert found.outputs == {"picture": "picture"}
    assert np.array_equal(found.rows["photo"], photos.numpy())


@pytest.mark.parametrize(
    ("module", "examples", "samples"),
    [
        (nn.Linear(6, 9), torch.randn(5, 6), ["normal"]),
        (nn.Linear(6, 9), torch.rand(5, 6), ["uniform"]),
        (nn.Embedding(7, 9), np.array([1, 3]), ["labels"]),
        (
            nn.Conv2d(6, 9, 1),
            np.eye(6, dtype=np.float32)[np.zeros((2, 4, 4), int)].transpose(0, 3, 1, 2),
            ["one_hot"],
        ),
        (nn.Bilinear(6, 5, 9), (np.zeros((4, 6), np.float32), np.eye(5)[:4]), ["uniform", "one_hot"]),
    ],
)
def test_examples_say_what_inputs_are(module: nn.Module, examples: Any, samples: list[str]) -> None:
    contract = describe(module.eval(), examples).contract
    assert [spec.sample.kind for spec in contract.inputs] == samples
    if samples == ["labels"]:
        assert contract.inputs[0].sample.classes == 7


def test_examples_of_several_sizes_free_them() -> None:
    photos = [torch.rand(8, 3, 16, 12), torch.rand(2, 3, 20, 32)]
    contract = describe(painter(), {"photo": photos, "style": torch.randn(2, 4)}).contract
    assert [size.name for size in contract.sizes] == ["H", "W"]
    assert contract.nominal == {"H": 16, "W": 12}
    assert [str(axis) for axis in contract.outputs[0].axes[1:]] == ["H", "W"]
    found = describe(painter(), {"photo": photos[0], "style": torch.randn(2, 4)})
    assert found.contract.sizes == ()
    assert "H and W could be free" in found.notes[0]
    fixed = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(8 * 64, 4)).eval()
    with pytest.raises(InputError, match="its size is fixed"):
        describe(fixed, [[torch.rand(8, 3, 8, 8), torch.rand(8, 3, 16, 8)]])
    with pytest.raises(InputError, match=r"of shape \(4, 20, 32\)"):
        describe(painter(), {"photo": [photos[0], torch.rand(2, 4, 20, 32)], "style": torch.randn(2, 4)})


def test_what_does_not_fit_is_told() -> None:
    photos, style = torch.rand(20, 3, 16, 12), torch.randn(20, 4)
    with pytest.raises(InputError, match="too few to calibrate"):
        describe(painter(), (photos[:2], style[:2]))
    with pytest.raises(ModelError, match="does not run on inputs like the examples"):
        describe(painter(), (photos, torch.randn(20, 5)))
    with pytest.raises(InputError, match="forward takes photo, style"):
        describe(painter(), photos)
    with pytest.raises(InputError, match=r"must be of shape \(M, 3, 16, 12\)"):
        describe(painter(), (photos, style), [photos[:, :, :8]])
    with pytest.raises(InputError, match="no input of floats"):
        collected({"z": photos}, {"photo": (3, 16, 12)})
    with pytest.raises(InputError, match="holds no inputs"):
        collected([], {"photo": (3, 16, 12)})
    with pytest.raises(ModelError, match=r"give the torch\.nn\.Module"):
        compress_module("net.pt", photos, out="x")  # pyright: ignore[reportArgumentType]


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layer(functional.dropout(z, 0.5, training=True)))


class Lints(Follower):
    """Stops where the stages begin."""

    class Done(Exception):  # noqa: N818
        pass

    def begin(self, step: str, index: int, count: int, restored: bool) -> Any:
        if step != "lint":
            raise self.Done
        return super().begin(step, index, count, restored)


def test_what_forward_draws_is_refused_or_replaced(tmp_path: Path) -> None:
    given: Any = {"stages": [Export(ExportSettings())], "follower": Lints()}
    with pytest.raises(ModelError, match="the same input gives another output") as refused:
        compress_module(Dropping(), torch.randn(16, 6), out=tmp_path / "a", **given)
    assert 'noise="fixed"' in str(refused.value.next)
    for noise in ("fixed", "mean"):
        with pytest.raises(Lints.Done):
            compress_module(Dropping(), torch.randn(16, 6), out=tmp_path / noise, noise=noise, **given)


@pytest.mark.slow
def test_five_lines_make_a_bundle_and_leave_the_module_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    module = painter().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    photos = torch.rand(12, 3, 16, 12)
    examples = {"photo": photos[:2], "style": torch.randn(2, 4)}

    def run(follower: Follower | None = None) -> Any:
        stages = [
            Prune(PruneSettings(macs=0.7, align=4)),
            Distill(DistillSettings(steps=4, batch=4)),
            Quantize(QuantizeSettings(targets=("x64-cpu",), samples=8)),
            Export(ExportSettings()),
        ]
        calibration = {"photo": photos}
        return compress_module(
            module, examples, calibration=calibration, out=tmp_path / "run", stages=stages, follower=follower
        )

    made = run()
    said = capsys.readouterr().err
    assert "] quantize" in said
    assert made.report
    assert module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    with Generator.load(made.bundle) as generator:
        assert generator(n=2, seed=0).shape == (2, 16, 12, 3)

    class Count(Follower):
        restored = 0

        def begin(self, step: str, index: int, count: int, restored: bool) -> Any:
            self.restored += restored
            return super().begin(step, index, count, restored)

    assert run(count := Count()).stages == made.stages
    assert count.restored >= len(made.stages)


def test_a_contract_draws_from_the_calibration(tmp_path: Path) -> None:
    contract = Contract(
        (Input("photo", (3, 8, 8), sample=Sample("uniform", 0, 1)),), (Output("image", (3, 8, 8)),)
    )
    stored = contract.with_stored(tmp_path)
    with pytest.raises(InputError, match="no input of floats"):
        compress_module(
            nn.Conv2d(3, 3, 1), stored, calibration={"x": np.ones((9, 3, 8, 8))}, out=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()
