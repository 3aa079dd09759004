"""What each layer alone in INT8 costs: from the records of stages, for a table and a plot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegan.report import format
from edgegan.run.folder import StageFolder

FID = re.compile(r"fid_(\d+k?)_increase")
MOST_DRAWN = 100
"""More layers take a minute to draw, and nobody could read them."""


@dataclass(frozen=True)
class LayerCost:
    """One layer: what it alone in INT8 does to the outputs, and what became of it."""

    layer: str
    macs_share: float
    psnr_db: float
    fid_increase: float | None
    """Relative to the float model's; only the worst layers have it."""
    in_float: bool

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The layer, its share of the MACs, PSNR, the increase of FID, and its precision, as texts."""
        fid = format.MISSING if self.fid_increase is None else f"{100 * self.fid_increase:+.1f}%"
        share = f"{100 * self.macs_share:.1f}%"
        return self.layer, share, f"{self.psnr_db:.1f}", fid, "float" if self.in_float else "INT8"


@dataclass(frozen=True)
class Sweep:
    """All layers of one INT8 file, in the order in which they run."""

    name: str
    """The file's precision, as "int8-tensorrt"."""
    layers: list[LayerCost]
    fid: str | None
    """What FID rests on, as "10k"; None where no layer has it."""

    @property
    def drawn(self) -> list[LayerCost]:
        """What the plot shows: of many layers those that cost most."""
        costly = sorted(range(len(self.layers)), key=lambda index: self.layers[index].psnr_db)[:MOST_DRAWN]
        return [self.layers[index] for index in sorted(costly)]

    @property
    def folded(self) -> bool:
        """Whether the page folds the table until it is asked for."""
        return len(self.layers) > 12


def sweeps(stage: StageFolder) -> list[Sweep]:
    """Return the sweeps of a stage's record, one for each file that has one."""
    if stage.record is None:
        return []
    changed, found = stage.record.changed, []
    for name, proof in stage.record.proof.items():
        table = proof.get("sensitivity") if isinstance(proof, Mapping) else None
        if not isinstance(table, list) or not table:
            continue
        decided = changed.get(name)
        precisions = decided.get("precisions") if isinstance(decided, Mapping) else None
        figure = next((key for entry in table for key in entry if FID.fullmatch(key)), None)
        layers = [_cost(entry, figure, precisions or {}) for entry in table]
        found.append(Sweep(str(name), layers, figure[4:].removesuffix("_increase") if figure else None))
    return found


def _cost(entry: Mapping[str, Any], figure: str | None, precisions: Mapping[str, str]) -> LayerCost:
    layer = str(entry["layer"])
    fid = entry.get(figure) if figure else None
    share, psnr = float(entry["macs_share"]), float(entry["psnr_db"])
    return LayerCost(layer, share, psnr, fid, precisions.get(layer) == "float")
