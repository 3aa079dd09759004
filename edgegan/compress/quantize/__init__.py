"""Static INT8: annotated by our quantizer, calibrated by neural-compressor, run by ONNX Runtime."""

from edgegan.compress.quantize.settings import QuantizeSettings
from edgegan.compress.quantize.stage import Quantize

__all__ = ["Quantize", "QuantizeSettings"]
