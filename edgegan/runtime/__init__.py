"""What an app on the device needs: load a bundle, make images. numpy and the engine in hand, nothing else."""

from edgegan.runtime.bundle import Bundle, write_bundle
from edgegan.runtime.contract import Contract
from edgegan.runtime.generator import Generator

__all__ = ["Bundle", "Contract", "Generator", "write_bundle"]
