"""One hash for what a run made, without what is different each time it is made: times, and the machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgegan.measure.latency import Latency
from edgegan.run.figures import Figures, Row
from edgegan.run.records import StageRecord
from edgegan.run.typed import to_plain

TIMED = frozenset(Latency().to_dict())
"""Figures that no two runs share: latencies and what they rest on, and memory."""
OF_QUALITY = ("samples", "paired_samples", "seed", "inputs", "features", "reference")
"""What the protocol says of quality."""


def result_sha256(
    contract: Mapping[str, Any], files: Mapping[str, str], lineage: Sequence[StageRecord], figures: Figures
) -> str:
    """Return the hash of a run's result: equal for two runs of a recipe on one machine, broken off or not.

    It is over the contract, the files, what each stage was told, changed and proved, and each row's costs and
    quality; not over seconds, latencies, memory and warnings, nor what these decide: the bundle's default.

    Args:
        contract: as plain data.
        files: name to SHA-256, of the exported files and of the stored inputs.
        lineage: of the last candidate.
        figures: of the run.
    """
    protocol = to_plain(figures.protocol)
    content = {
        "contract": contract,
        "files": files,
        "lineage": [_without(to_plain(record), {"seconds"}) for record in lineage],
        "quality": {key: protocol[key] for key in OF_QUALITY},
        "rows": [_timeless(row) for row in figures.rows],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _timeless(row: Row) -> dict[str, Any]:
    return _without(row.to_dict(), {*TIMED, "failed", "unmeasured"})


def _without(data: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in keys}
