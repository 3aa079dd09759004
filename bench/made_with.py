"""What tells whether files made before are those that would be made now."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

ROOT = Path(__file__).resolve().parents[1]
EDGEGAN = ("edgegan/**/*.py", "edgegan/**/*.yaml")


def made_with(patterns: tuple[str, ...], module: nn.Module, settings: Any) -> str:
    """Return the SHA-256 of the sources that match `patterns` in the repository, of weights and settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern)}):
        digest.update(path.read_bytes())
    for tensor in module.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
