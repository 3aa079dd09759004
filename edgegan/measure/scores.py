"""The figures of what a file gave, each with its interval or the reason why it could not be measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgegan.errors import EdgeganError
from edgegan.measure.features import Reference
from edgegan.measure.metrics import Column, Given
from edgegan.measure.outputs import Outputs
from edgegan.measure.statistics import Interval


@dataclass
class Scores:
    """Figures by name, and the reasons of those that failed."""

    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    warnings: list[str] = field(default_factory=list[str])


def score(
    outputs: Outputs, full: Outputs | None, reference: Reference | None, columns: Iterable[Column]
) -> Scores:
    """Return the figures of `outputs`; what cannot be measured is recorded as failed, with its reason.

    Args:
        outputs: of the file in question.
        full: of the full model from the same latents; None where the file is the full model.
        reference: of real samples.
        columns: what to measure; see `edgegan.measure.metrics.columns`.
    """
    scores = Scores()
    for column in columns:
        name, against = column.output.name, column.metric.spec.needs
        if against == "pair" and full is None:
            continue
        given = Given(
            column.output,
            outputs.kept[name],
            full.kept[name] if full else None,
            outputs.features.get(name),
            reference,
        )
        try:
            value = column.metric.measure(given)
        except (EdgeganError, ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            reason = error.what if isinstance(error, EdgeganError) else f"{type(error).__name__}: {error}"
            scores.failed[column.name] = reason
            continue
        scores.figures[column.name] = value.to_dict() if isinstance(value, Interval) else value
        if against == "reference" and reference is not None:
            scores.warnings = list(dict.fromkeys([*scores.warnings, *reference.statistics.warnings]))
    return scores
