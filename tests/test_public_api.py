"""The flat public namespace, pinned: what is here is kept, what is not here may change."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import edgegan

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PUBLIC = """
BenchRecord Bundle BundleError Candidate CheckpointError Comparison Context Contract DataError
Distill DistillSettings EdgeganError EngineFallback Export ExportSettings Finding Follower Generator
Initialized Input InputError Latency MissingDependency ModelError OutOfRange Output Pipeline
ProofError Prune PruneSettings Quantize QuantizeSettings Recipe RecipeError Run Sample Stage
StageError StageRecord StorageError Target UserError __version__ bench build_engines compare
compress_generator compress_module init_recipe lint load_module measure_latency store_pictures
targets train_features train_teacher write_bundle write_report
"""


def test_the_public_names_are_these() -> None:
    assert edgegan.__all__ == PUBLIC.split()
    assert dir(edgegan) == sorted(edgegan.__all__)


@pytest.mark.parametrize("name", edgegan.__all__)
def test_each_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(edgegan, name)
    assert value.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Generatr'"):
        edgegan.Generatr  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_what_type_checkers_see_is_what_is_imported() -> None:
    source = importlib.import_module("inspect").getsource(edgegan)
    block = source.split("if TYPE_CHECKING:")[1].split("__version__ =")[0]
    seen = {
        name.strip(" ,()") for line in block.splitlines() for name in line.partition("import")[2].split(",")
    }
    listed = {line.strip(" ,") for line in block.splitlines() if "import" not in line}
    assert (seen | listed) - {"", "("} >= set(edgegan.__all__) - {"__version__"}


@pytest.mark.parametrize(
    "statement", ["import edgegan", "from edgegan.runtime import Generator", "import edgegan.cli"]
)
def test_what_a_device_imports_is_light(statement: str) -> None:
    heavy = ("torch", "onnx", "pydantic", "yaml", "scipy", "matplotlib", "onnxruntime")
    code = f"import sys; {statement}; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_base_install_takes_no_pydantic() -> None:
    needed = {re.split(r"[^A-Za-z0-9-]", need)[0] for need in metadata.requires("typer") or []}
    assert "pydantic" not in needed


TOUCHED = """
import resource, edgegan, torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not HUGE_PAGES.is_file(), reason="this system has no huge pages on request")
def test_large_tensors_lie_in_huge_pages() -> None:
    if "[never]" in HUGE_PAGES.read_text():
        pytest.skip("huge pages are switched off here")
    faults = subprocess.run([sys.executable, "-c", TOUCHED], capture_output=True, text=True, check=True)
    assert int(faults.stdout) < 2**28 / 4096 / 4
