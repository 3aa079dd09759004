"""TensorRT as one of the kinds of engines."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from edgegan.errors import InputError, MissingDependency
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.device import Gpu, driver_gpu, jetson_linux
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options
from edgegan.runtime.engines.tensorrt.build import build_engine, usual_batches
from edgegan.runtime.engines.tensorrt.cuda import Cuda
from edgegan.runtime.engines.tensorrt.engine import TensorRTEngine
from edgegan.runtime.engines.tensorrt.module import TensorRT, find
from edgegan.runtime.manifest import EngineEntry

ON_A_JETSON = (
    "sudo apt install nvidia-jetpack; then install edgegan where JetPack's TensorRT is seen: "
    "/usr/bin/python3 -m venv --system-site-packages .venv"
)


class TensorRTKind(EngineKind):
    """TensorRT, which builds an engine for an NVIDIA GPU and runs it there."""

    name = "tensorrt"
    title = "TensorRT"
    packages = ("tensorrt", "tensorrt-rtx")
    ahead = True

    def check(self) -> Check:
        """Say which TensorRT there is, and whether it can run on this machine's GPU."""
        found, gpu = find(), driver_gpu()
        if found is None:
            if platform.system() not in ("Linux", "Windows"):
                return Check(self.name, None, False, False, "TensorRT is for Linux and Windows")
            install = ON_A_JETSON if jetson_linux() else "pip install 'edgegan[tensorrt]'"
            return Check(self.name, None, False, False, _absence(), install)
        if gpu is not None and not found.takes(gpu.compute_capability):
            return Check(self.name, found.text, True, False, f"it builds engines, but none runs on {gpu}")
        if gpu is None:
            detail = "no NVIDIA driver shows a GPU to run them on"
            return Check(self.name, found.text, True, False, detail)
        try:
            Cuda()
        except (MissingDependency, InputError) as error:
            return Check(self.name, found.text, True, False, error.what, error.next)
        return Check(self.name, found.text, True, True, f"on {gpu}")

    def open(self, artifact: Artifact, content: bytes | Path, options: Options = Options()) -> Engine:  # noqa: B008
        """Build an engine in memory, which takes from seconds to minutes, and load it."""
        model = content.read_bytes() if isinstance(content, Path) else content
        built = build_engine(model, batches=usual_batches(options.shapes), shapes=options.shapes)
        return TensorRTEngine(built.plan, trt=built.trt)

    def fits(self, built: EngineEntry) -> bool:
        """Whether an engine was built with this very module, for a GPU as that here or for any."""
        found = find()
        return found is not None and fits(built, found, Cuda().gpu())

    def load(self, plan: bytes) -> Engine:
        """Load a built engine, which is code."""
        return TensorRTEngine(plan)


def fits(built: EngineEntry, trt: TensorRT, gpu: Gpu) -> bool:
    """Whether an engine was built with this very module and version, for this GPU or for any."""
    if (built.module, built.version) != (trt.name, trt.version_text):
        return False
    return built.gpu is None or Gpu(built.gpu, built.compute_capability or "") == gpu


def _absence() -> str:
    try:
        version = metadata.version("tensorrt")
    except metadata.PackageNotFoundError:
        return "neither tensorrt nor tensorrt_rtx is installed"
    return f"tensorrt {version} is installed without its libraries, which NVIDIA's own index has"
