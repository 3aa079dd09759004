"""Which file names mean one and the same file on every system."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,98}(?<!\.)")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def is_safe(name: str) -> bool:
    """Tell whether `name`, one part of a path, is safe everywhere: no separators, no names of devices."""
    return bool(_NAME.fullmatch(name)) and not _DEVICES.fullmatch(name)
