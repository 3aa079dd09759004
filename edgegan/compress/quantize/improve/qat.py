"""Quantization-aware distillation: a graph learns from the float student under the levels of its file."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, nn
from torch.fx import GraphModule

from edgegan.compress.distill import run_distillation
from edgegan.compress.quantize.calibrate.calibration import Batches, quantizers
from edgegan.compress.quantize.improve.qat_settings import TrainingSettings
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.stage import Candidate, Context
from edgegan.learning import devices
from edgegan.learning.algorithms.qat import QuantizationAwareDistillation
from edgegan.learning.taps import outputs_of
from edgegan.runtime.contract import Contract, Output


@dataclass
class Training:
    """Trains a prepared graph, whose levels are set, in place: its weights, its biases and its scales.

    What it learns from is the float student, not that one's teacher: on the CIFAR-10 student this wins back
    what rounding cost, where learning from the teacher again only unsettled it.

    A training that was cut off goes on from its checkpoint in the stage's folder.
    """

    candidate: Candidate
    settings: TrainingSettings
    context: Context
    name: str
    """Of the folder in the stage's folder where the losses and the checkpoint are kept."""
    losses: dict[str, float] | None = None
    """The last losses, once trained."""

    def __call__(self, prepared: GraphModule, float_graph: GraphModule, batches: Batches) -> None:
        """Train `prepared`.

        Raises:
            StageError: a loss is not finite, or there is nothing to learn from.
            StorageError: the folder cannot be written.
        """
        student = FakeQuantized(prepared, self.candidate.contract, uint8_output=self.settings.uint8_output)
        fabric = devices.launch(self.settings.precision, alone=True)
        with devices.arithmetic(deterministic=self.settings.deterministic):
            algorithm = QuantizationAwareDistillation(
                student,
                self.candidate.student,
                self.candidate.discriminator,
                self.candidate.contract,
                self.settings,
                fabric,
                self.context.seed,
                name="quantize.distill",
            )
            trained, self.losses, _ = run_distillation(
                algorithm, self.context.folder / self.name, self.context.progress
            )
        assert isinstance(trained, FakeQuantized)
        trained.settle()
        prepared.load_state_dict(trained.graph.state_dict(), strict=False)


class FakeQuantized(nn.Module):
    """A copy of a prepared graph as a module to train, with scales that are learned."""

    def __init__(self, prepared: GraphModule, contract: Contract, *, uint8_output: bool = False) -> None:
        super().__init__()
        self.graph = copy.deepcopy(prepared)
        self.outputs = contract.outputs
        self.uint8_output = uint8_output
        for levels in self.levels():
            levels.learn()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for the contract's inputs."""
        outputs = outputs_of(self.graph(*inputs))
        if not self.uint8_output:
            return outputs
        return tuple(to_levels(value, spec) for value, spec in zip(outputs, self.outputs, strict=True))

    def levels(self) -> list[Levels]:
        """Return the levels, each once."""
        return list(dict.fromkeys(levels for _, levels in quantizers(self.graph)))

    def freeze_scales(self) -> None:
        """Let no gradient reach the scales any more."""
        for levels in self.levels():
            if levels.log_scale is not None:
                levels.log_scale.requires_grad_(False)

    def settle(self) -> None:
        """Keep the scales as they were learned."""
        for levels in self.levels():
            levels.settle()


def to_levels(x: Tensor, spec: Output) -> Tensor:
    """Round what is encoded as levels, as images are, to those of its range; gradients pass through there."""
    if spec.modality.levels(spec) is None:
        return x
    low, high = spec.range
    step = (high - low) / 255
    inside = x.clamp(low, high)
    return inside + (((inside - low) / step).round() * step + low - inside).detach()
