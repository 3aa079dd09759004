"""Which process of several this is, where `torchrun` started them."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Tell whether this is the process that writes and prints: of several the first, or the only one."""
    return os.environ.get("RANK", "0") == "0"
