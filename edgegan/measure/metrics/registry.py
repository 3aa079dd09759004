"""All metrics by name, and which figures are measured of a contract's outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgegan import plugins
from edgegan.errors import InputError
from edgegan.measure.metrics.agreement import CLASS_AGREEMENT, TOKEN_AGREEMENT
from edgegan.measure.metrics.base import Metric
from edgegan.measure.metrics.fid import FID
from edgegan.measure.metrics.flicker import FLICKER
from edgegan.measure.metrics.kid import KID
from edgegan.measure.metrics.mean_iou import MEAN_IOU
from edgegan.measure.metrics.mel_distance import MEL_DISTANCE
from edgegan.measure.metrics.precision_recall import PRECISION, RECALL
from edgegan.measure.metrics.psnr import PSNR
from edgegan.measure.metrics.relative_error import RELATIVE_ERROR, SNR
from edgegan.measure.metrics.ssim import SSIM
from edgegan.measure.metrics.stft_distance import STFT_DISTANCE
from edgegan.measure.metrics.y_psnr import Y_PSNR
from edgegan.runtime.contract import Contract, Output

GROUP = "edgegan.metrics"
"""Of the entry points that add others."""
OWN: dict[str, Metric] = {
    metric.spec.name: metric
    for metric in (
        *(FID, KID, PRECISION, RECALL, PSNR, SSIM, MEL_DISTANCE, STFT_DISTANCE, SNR, RELATIVE_ERROR),
        *(CLASS_AGREEMENT, MEAN_IOU, TOKEN_AGREEMENT, FLICKER, Y_PSNR),
    )
}
_SAMPLES = re.compile(r"(?P<metric>.+)_(?P<count>[1-9]\d*)(?P<thousands>k?)")


@dataclass(frozen=True)
class Column:
    """One figure of each row: a metric, of one output."""

    name: str
    """In a row: "psnr_db"; against a reference with the samples, "fid_10k"; of several "mask.ssim"."""
    metric: Metric
    output: Output

    def to_dict(self) -> dict[str, Any]:
        """Return what the figures say of it."""
        spec = self.metric.spec
        tail = self.name.rpartition(".")[2].removeprefix(spec.name).replace("_", "-")
        prefix = f"{self.output.name}: " if "." in self.name else ""
        return {
            "metric": spec.name,
            "title": f"{prefix}{spec.title}{tail}",
            "unit": spec.unit,
            "scale": spec.scale,
            "better": spec.better,
            "needs": spec.needs,
            "output": self.output.name,
        }


def find(name: str) -> Metric:
    """Return the metric that is called `name`.

    Raises:
        InputError: there is none, or the package that has it cannot be imported.
    """
    return plugins.find(GROUP, OWN, name, "metric")


def fits(metric: Metric, output: Output) -> bool:
    """Tell whether a metric can be measured of an output."""
    kinds = metric.spec.modalities
    return not kinds or output.modality.kind in kinds or metric.spec.name in output.modality.metrics


def suffix(samples: int) -> str:
    """Return the protocol's part of a figure's name: 10000 gives "10k", 2500 "2500"."""
    return f"{samples // 1000}k" if samples % 1000 == 0 else str(samples)


def figure_name(metric: Metric, samples: int) -> str:
    """Return what a metric's figure of so many samples is called."""
    return metric.spec.name if metric.spec.needs != "reference" else f"{metric.spec.name}_{suffix(samples)}"


def parsed(figure: str) -> tuple[str, int | None]:
    """Return metric and samples of a figure's name: "fid_10k" gives ("fid", 10000), "ssim" ("ssim", None)."""
    found = _SAMPLES.fullmatch(figure)
    if found is None:
        return figure, None
    return found["metric"], int(found["count"]) * (1000 if found["thousands"] else 1)


def featured(contract: Contract) -> Output | None:
    """Return the output that features are taken of: the first that has metrics against a reference."""
    for output in contract.outputs:
        if any(metric.spec.needs == "reference" and fits(metric, output) for metric in OWN.values()):
            return output
    return None


def columns(
    contract: Contract, samples: int, *, reference: bool, names: Iterable[str | Metric] | None = None
) -> tuple[Column, ...]:
    """Return what is measured of each output of a contract, the most telling first.

    Args:
        contract: of the files.
        samples: how many outputs are looked at.
        reference: whether there are features of real samples to compare with.
        names: metrics, or their names; by default those of the outputs' modalities, as far as there is what
            they need.

    Raises:
        InputError: there is no such metric, it fits no output, or needs a reference where there is none.
    """
    chosen = None if names is None else [find(each) if isinstance(each, str) else each for each in names]
    wanted = {
        output.name: [find(name) for name in output.modality.metrics] if chosen is None else chosen
        for output in contract.outputs
    }
    several, features = len(contract.outputs) > 1, featured(contract)
    found = [
        Column((f"{output.name}." if several else "") + figure_name(metric, samples), metric, output)
        for output in contract.outputs
        for metric in wanted[output.name]
        if fits(metric, output) and (metric.spec.needs != "reference" or (reference and output == features))
    ]
    for metric in chosen or ():
        if not any(column.metric == metric for column in found):
            raise _unfit(metric, contract, reference)
    return tuple(found)


def _unfit(metric: Metric, contract: Contract, reference: bool) -> InputError:
    kinds = ", ".join(dict.fromkeys(output.modality.kind for output in contract.outputs))
    if metric.spec.needs == "reference" and not reference and any(fits(metric, o) for o in contract.outputs):
        return InputError(
            f"the metric {metric.spec.name} needs features of real samples to compare with",
            next="give `features` and `reference`; `edgegan train-features DATA` makes both",
        )
    able = sorted({name for output in contract.outputs for name in names_for(output)})
    return InputError(
        f"the metric {metric.spec.name} is for {', '.join(metric.spec.modalities)}, and not for {kinds}",
        next=f"choose of {', '.join(able)}",
    )


def names_for(output: Output) -> list[str]:
    """Return the names of edgegan's metrics that fit an output."""
    return [name for name, metric in OWN.items() if fits(metric, output)]


def described(columns: Iterable[Column]) -> Mapping[str, Mapping[str, Any]]:
    """Return, by the figures' names, what the figures say of the columns, in their order."""
    return {column.name: column.to_dict() for column in columns}
