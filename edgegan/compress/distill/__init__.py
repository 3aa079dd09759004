"""Knowledge distillation: the student learns the teacher's images from the contract's own latents."""

from edgegan.compress.distill.settings import DistillSettings
from edgegan.compress.distill.stage import Distill

__all__ = ["Distill", "DistillSettings"]
