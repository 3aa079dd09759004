"""Third-party chatter kept away from the user."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what torch, torchao and neural-compressor log and warn about themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.|torchao\.|neural_compressor\.|copyreg")
            yield
    finally:
        logging.disable(disabled)
