"""A generator through all stages, as small as they go."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.export import Export
from edgegan.compress.pipeline import Pipeline
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.contract import Contract


def goes_through_the_chain(
    generator: nn.Module, discriminator: nn.Module | None, contract: Contract, folder: Path
) -> None:
    """Assert that a student comes out smaller, as FP32 and as INT8 files."""
    generator.eval().requires_grad_(False)
    stages = [
        Prune(PruneSettings(macs=0.6, align=4)),
        Distill(DistillSettings(steps=2, batch=4)),
        Quantize(QuantizeSettings(samples=8, fast=True)),
        Export(),
    ]
    folder.mkdir(exist_ok=True)
    first = Candidate(generator, generator, contract, discriminator)
    last = Pipeline(stages).run(first, Context(folder, 0))
    before, after = (sum(p.numel() for p in net.parameters()) for net in (generator, last.student))
    assert after < before, last.lineage
    assert {artifact.precision for artifact in last.artifacts} >= {"fp32", "int8"}
