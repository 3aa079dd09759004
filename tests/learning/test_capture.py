"""Captured steps on a GPU are the steps that are launched piece by piece. Skipped where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgegan.learning import devices
from edgegan.learning.algorithm import Algorithm
from edgegan.learning.algorithms.distillation import Distillation
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.learning.algorithms.qat import QuantizationAwareDistillation
from edgegan.learning.algorithms.settings import DistillationSettings, GanSettings
from edgegan.learning.checkpoint import Checkpoint
from edgegan.learning.log import Log
from edgegan.learning.loop import Loop
from edgegan.models.resnet import Generator, ProjectionDiscriminator
from edgegan.runtime.contract import Contract, Input, Output, Sample

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CONTRACT = Contract(
    (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=3))),
    (Output("image", (3, 16, 16)),),
)
STEPS = 12


class Dropped(nn.Module):
    """A discriminator with noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = ProjectionDiscriminator(16, classes=3, blocks=2)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        return self.inner(nn.functional.dropout(image, 0.3, self.training), label)


class Wrapped(nn.Module):
    """A generator that calls `spoil` on its latents."""

    def __init__(self, inner: nn.Module, spoil: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.spoil = inner, spoil

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.inner(self.spoil(z), label)


class Scaled(nn.Module):
    """A generator with a scale that is learned until it is frozen."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.scale = inner, nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.inner(z, label) * self.scale

    def freeze_scales(self) -> None:
        self.scale.requires_grad_(False)


def noisy(z: Tensor) -> Tensor:
    return z + torch.randn_like(z)


def reading(z: Tensor) -> Tensor:
    return z * (1.0 if float(z.mean()) < 100 else 2.0)


def distillation(
    spoil: Callable[[Tensor], Tensor] | None = None, critic: Callable[[], nn.Module] | None = None
) -> Algorithm:
    torch.manual_seed(5)
    teacher, student = (Generator(widths, latent=8, classes=3).eval() for widths in ((16, 12, 8), (8, 8, 4)))
    if spoil:
        teacher, student = Wrapped(teacher, spoil), Wrapped(student, spoil)
    discriminator = (critic or (lambda: ProjectionDiscriminator(16, classes=3, blocks=2)))()
    settings = DistillationSettings(steps=STEPS, batch=8, discriminator_steps=2, precision="fp32")
    fabric = devices.launch("fp32", alone=True)
    return Distillation(student, teacher, discriminator, CONTRACT, settings, fabric, seed=3)


def quantization_aware() -> Algorithm:
    torch.manual_seed(5)
    teacher = Generator((16, 12, 8), latent=8, classes=3).eval()
    student = Scaled(Generator((8, 8, 4), latent=8, classes=3)).eval()
    settings = DistillationSettings(steps=STEPS, batch=8, features=0, precision="fp32")
    fabric = devices.launch("fp32", alone=True)
    return QuantizationAwareDistillation(student, teacher, None, CONTRACT, settings, fabric, seed=3)


def adversarial(loss: str = "hinge", critic: Callable[[], nn.Module] | None = None) -> Algorithm:
    torch.manual_seed(5)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (64, 3, 16, 16)).astype(np.uint8))
    labels = torch.from_numpy(rng.integers(0, 3, 64))
    generator = Generator((16, 12, 8), latent=8, classes=3)
    discriminator = (critic or (lambda: ProjectionDiscriminator(16, classes=3, blocks=2)))()
    settings = GanSettings.model_validate({"steps": STEPS, "batch": 8, "loss": loss})
    fabric = devices.launch("fp32", alone=True)
    return AdversarialTraining(generator, discriminator, CONTRACT, images, labels, settings, fabric, seed=3)


def run(
    algorithm: Algorithm, folder: Path, *, capture: bool = True, stop: int | None = None
) -> tuple[Loop, list[Tensor]]:
    def progress(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    loop = Loop(
        algorithm,
        devices.launch("fp32", alone=True),
        steps=STEPS,
        seed=3,
        checkpoint=Checkpoint(folder / "state"),
        log=Log(folder / "log.jsonl"),
        log_every=4,
        capture=capture,
    )
    with devices.arithmetic(deterministic=True):
        if stop is None:
            loop.run(progress)
        else:
            with pytest.raises(KeyboardInterrupt):
                loop.run(progress)
    return loop, list(algorithm.ema.module.state_dict().values())


ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "distillation": distillation,
    "phases": quantization_aware,
    "hinge": adversarial,
    "wgan-gp": lambda: adversarial("wgan-gp"),
    "relativistic": lambda: adversarial("relativistic"),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_captured_steps_are_those_that_are_launched(name: str, tmp_path: Path) -> None:
    launched, weights = run(ALGORITHMS[name](), tmp_path / "launched", capture=False)
    captured, others = run(ALGORITHMS[name](), tmp_path / "captured")
    assert captured.refusal is None
    for ours, theirs in zip(weights, others):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    for ours, theirs in zip(launched.log.rows, captured.log.rows):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    "make", [distillation, lambda: adversarial(critic=Dropped)], ids=["distillation", "dropout"]
)
def test_a_captured_run_goes_on_to_the_same_bits(
    make: Callable[[], Algorithm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegan.learning.checkpoint.SECONDS", 0.0)
    _, whole = run(make(), tmp_path / "whole")
    run(make(), tmp_path / "cut", stop=5)
    loop, resumed = run(make(), tmp_path / "cut")
    assert loop.refusal is None
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(whole, resumed))


@pytest.mark.parametrize(("spoil", "why"), [(noisy, "noise"), (reading, "synchron")])
def test_what_cannot_be_captured_is_launched(
    spoil: Callable[[Tensor], Tensor], why: str, tmp_path: Path
) -> None:
    _, launched = run(distillation(spoil, Dropped), tmp_path / "launched", capture=False)
    loop, weights = run(distillation(spoil, Dropped), tmp_path / "captured")
    assert why in (loop.refusal or "")
    for ours, theirs in zip(launched, weights):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_capture_that_breaks_off_leaves_everything_in_order(tmp_path: Path) -> None:
    def secret(z: Tensor) -> Tensor:
        return reading(z) if torch.cuda.is_current_stream_capturing() else z

    _, launched = run(distillation(None, Dropped), tmp_path / "launched", capture=False)
    loop, weights = run(distillation(secret, Dropped), tmp_path / "captured")
    assert "captur" in (loop.refusal or "")
    for ours, theirs in zip(launched, weights):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
