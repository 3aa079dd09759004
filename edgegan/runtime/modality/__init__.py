"""What an output is, decided in one place: its check, its encoding for an app, its preview, its files."""

from edgegan.runtime.modality.audio import Audio
from edgegan.runtime.modality.base import Levels, Modality
from edgegan.runtime.modality.class_map import ClassMap
from edgegan.runtime.modality.image import Image
from edgegan.runtime.modality.registry import read, spelled
from edgegan.runtime.modality.series import Series
from edgegan.runtime.modality.tensor import Tensor
from edgegan.runtime.modality.tokens import Tokens
from edgegan.runtime.modality.video import Video

__all__ = [
    "Audio",
    "ClassMap",
    "Image",
    "Levels",
    "Modality",
    "Series",
    "Tensor",
    "Tokens",
    "Video",
    "read",
    "spelled",
]
