"""What every loss has to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from edgegan.learning.losses.adversarial import AdversarialLoss

N = 8
HALVES = slice(0, N // 2), slice(N // 2, N)

Distance = Callable[[Tensor, Tensor], Tensor]


class AdversarialLossTestCase:
    """Holds pairs of losses of scores (N,) to `edgegan.learning.losses.adversarial`.

    Give `losses`, by names.
    """

    losses: ClassVar[Mapping[str, AdversarialLoss]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each pair of losses."""
        if "loss" in metafunc.fixturenames:
            metafunc.parametrize("loss", list(self.losses.values()), ids=list(self.losses))

    def scores(self, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return scores of real and of generated samples, which learn."""
        random = torch.Generator().manual_seed(seed)
        real, fake = scale * torch.randn(2, N, generator=random)
        return real.requires_grad_(True), fake.requires_grad_(True)

    @pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
    def test_it_is_one_finite_number_with_finite_gradients(self, loss: AdversarialLoss, scale: float) -> None:
        for player in (loss.discriminator, loss.generator):
            real, fake = self.scores(scale=scale)
            value = player(real, fake)
            assert value.shape == ()
            assert torch.isfinite(value)
            gradients = torch.autograd.grad(value, (real, fake), allow_unused=True)
            assert all(each is None or torch.isfinite(each).all() for each in gradients)

    def test_it_is_a_mean_over_samples(self, loss: AdversarialLoss) -> None:
        """Processes that share a batch average theirs."""
        real, fake = self.scores()
        for player in (loss.discriminator, loss.generator):
            halves = [player(real[part], fake[part]) for part in HALVES]
            torch.testing.assert_close(torch.stack(halves).mean(), player(real, fake))

    def test_the_players_pull_apart(self, loss: AdversarialLoss) -> None:
        """The discriminator wants real samples above generated ones; the generator wants its own up."""
        real, fake = self.scores(scale=0.1)
        of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
        assert of_real.sum() < 0 < of_fake.sum()
        (of_fake,) = torch.autograd.grad(loss.generator(real, fake), fake)
        assert of_fake.sum() < 0

    def test_relative_says_whether_real_scores_matter_to_the_generator(self, loss: AdversarialLoss) -> None:
        real, fake = self.scores()
        (of_real,) = torch.autograd.grad(loss.generator(real, fake), real, allow_unused=True)
        assert loss.relative == (of_real is not None and bool(of_real.any()))

    def test_nothing_is_read_from_the_device(self, loss: AdversarialLoss) -> None:
        """A step is captured on a GPU, and replayed."""
        real, fake = torch.empty(2, N, device="meta")
        assert all(player(real, fake).is_meta for player in (loss.discriminator, loss.generator))


class DistanceTestCase:
    """Holds a distance between what a student and a teacher give to the contract of losses.

    Give `distances`, by names: functions of two tensors of one shape (N, ...), wrapped where yours take
    others, as `lambda student, teacher: mine([student], [teacher], SPECS)`.
    """

    distances: ClassVar[Mapping[str, Distance]]
    shape: ClassVar[tuple[int, ...]] = (3, 8, 6)
    """Of one sample."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each distance."""
        if "distance" in metafunc.fixturenames:
            metafunc.parametrize("distance", list(self.distances.values()), ids=list(self.distances))

    def pair(self, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return a student's outputs, which learn, and a teacher's in [-1, 1], the farther the more noise."""
        random = torch.Generator().manual_seed(seed)
        teacher = torch.rand(N, *self.shape, generator=random) * 2 - 1
        student = teacher + noise * torch.randn(teacher.shape, generator=random)
        return student.requires_grad_(True), teacher

    def test_it_is_zero_where_they_are_equal_and_grows(self, distance: Distance) -> None:
        values = [float(distance(*self.pair(noise)).detach()) for noise in (0.0, 0.01, 0.1, 1.0)]
        assert values[0] == pytest.approx(0, abs=1e-6)
        assert values == sorted(values)
        assert len(set(values)) == len(values)

    def test_it_is_one_number_that_the_student_can_lower(self, distance: Distance) -> None:
        student, teacher = self.pair(0.1)
        loss = distance(student, teacher)
        assert loss.shape == ()
        (gradient,) = torch.autograd.grad(loss, student)
        assert torch.isfinite(gradient).all()
        nearer = student.detach() - 1e-3 * gradient / gradient.abs().max()
        assert float(distance(nearer, teacher)) < float(loss.detach())

    def test_gradients_are_finite_where_they_are_equal(self, distance: Distance) -> None:
        student, teacher = self.pair(0.0)
        (gradient,) = torch.autograd.grad(distance(student, teacher), student)
        assert torch.isfinite(gradient).all()

    def test_it_is_a_mean_over_samples(self, distance: Distance) -> None:
        """Processes that share a batch average theirs."""
        student, teacher = self.pair(0.1)
        halves = torch.stack([distance(student[part], teacher[part]) for part in HALVES])
        torch.testing.assert_close(halves.mean(), distance(student, teacher), rtol=1e-4, atol=1e-6)

    def test_what_it_is_given_stays_as_it_was(self, distance: Distance) -> None:
        student, teacher = self.pair(0.1)
        before = student.detach().clone(), teacher.clone()
        distance(student, teacher)
        assert torch.equal(student.detach(), before[0])
        assert torch.equal(teacher, before[1])

    def test_nothing_is_read_from_the_device(self, distance: Distance) -> None:
        """A step is captured on a GPU, and replayed."""
        pair = torch.empty(2, N, *self.shape, device="meta")
        assert distance(pair[0], pair[1]).is_meta
