"""A target: a device as data. What runs a model there, what INT8 must look like, what it is capable of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgegan.errors import RecipeError, did_you_mean
from edgegan.recipe_errors import explain
from edgegan.recipe_source import Location, RecipeSource
from edgegan.runtime.artifact import Artifact, Precision

FOLDER = Path(__file__).parent / "targets"
WHAT, NEXT = "target", "list the targets that there are with: edgegan targets"
Version = Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Int8(_Data):
    """What a quantized model must look like for the target's engine to run it fast, and rightly."""

    activations: Literal["uint8", "int8"]
    symmetric: bool
    """The zero point of activations is 0."""
    weight_bits: int = Field(ge=4, le=8)
    """7: weights keep to +-63, so that sums of two products fit 16 bits on CPUs without VNNI. With fewer they
    still take a byte each: that shows what an engine of so many bits would do."""
    outputs: bool
    """Q/DQ on the outputs of layers too, not on their inputs only."""
    sums: bool
    """The branches that a residual addition reads are quantized."""
    bias: Literal["int32", "float"]
    rest: Literal["fp32", "fp16"]
    """What the layers that are not in INT8 compute in."""


class Source(_Data):
    """Where figures come from."""

    title: str
    url: str = Field(default="", pattern=r"^(https://\S+)?$")


class Figure(_Data):
    """A number, and the key of its source."""

    value: float = Field(ge=0, allow_inf_nan=False)
    source: str
    note: str = ""
    unverified: bool = False
    """It was read second-hand, or worked out from figures that were."""


class Hardware(_Data):
    """Peak figures of a device. Rates are dense: none counts on structured sparsity, which doubles it."""

    memory_gib: Figure | None = None
    memory_gb_s: Figure | None = None
    fp32_tflops: Figure | None = None
    """Of the GPU's or CPU's plain arithmetic units."""
    int8_tops: Figure | None = None
    """Of the GPU or CPU alone."""
    module_int8_tops: Figure | None = None
    """Of the GPU and the deep learning accelerators together."""
    dla: Figure | None = None
    """How many deep learning accelerators there are."""
    int8_channels: Figure | None = None
    """Channels are padded to a multiple of this in INT8."""
    fp16_channels: Figure | None = None

    def figures(self) -> dict[str, Figure]:
        """Return the figures that are known, by name."""
        return {name: figure for name in type(self).model_fields if (figure := getattr(self, name))}


class JetPack(_Data):
    """A release of JetPack, and what it brings."""

    version: Version
    l4t: Version
    tensorrt: Version
    cuda: Version
    python: Version
    sources: tuple[str, ...] = Field(min_length=1)
    note: str = ""
    unverified: bool = False

    @property
    def strongly_typed(self) -> bool:
        """Its TensorRT knows strongly typed networks: 9 and later."""
        return int(self.tensorrt.split(".")[0]) > 8


class Note(_Data):
    """What to know of a target that is not a figure."""

    text: str
    source: str | None = None


class Target(_Data):
    """A device profile.

    Args:
        schema: the format's version, 1.
        engine: what runs the model there.
        precisions: that are of use there; "int8" is among them where, and only where, `int8` is given.
        align: numbers of channels to prefer are multiples of this. A setting, chosen from the figures.
        int8: the quantization scheme; None where there is none.
        int8_use: in one or two sentences, whether INT8 is of use there.
        hardware: peak figures, each with its source.
        super_mode: those that differ in JetPack's power mode MAXN SUPER.
        jetpack: the releases that support the device.
        sources: key to source.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str
    engine: Literal["onnxruntime", "openvino", "tensorrt"]
    arch: Literal["x86_64", "aarch64", "wasm"]
    precisions: tuple[Precision, ...] = Field(min_length=1)
    align: int = Field(ge=1)
    int8: Int8 | None = None
    int8_use: str = ""
    hardware: Hardware = Hardware()
    super_mode: Hardware | None = None
    jetpack: tuple[JetPack, ...] = ()
    notes: tuple[Note, ...] = ()
    sources: dict[str, Source] = {}

    @property
    def cpu(self) -> str | None:
        """The kind of CPU that runs the model; None where a GPU does."""
        return None if self.engine == "tensorrt" else self.arch

    @property
    def int8_key(self) -> str:
        """What the target's INT8 file is called among a bundle's models."""
        if self.engine != "onnxruntime":
            return f"int8-{self.engine}"
        return "int8-arm64" if self.cpu == "aarch64" else "int8"

    def int8_artifact(self, path: Path) -> Artifact:
        """Describe the INT8 file at `path` that was written for the target."""
        return Artifact.of(
            path, self.int8_key, precision="int8", engine=self.engine, arch=self.cpu, target=self.name
        )

    @classmethod
    def read(cls, name_or_path: str | Path, folder: Path = Path()) -> Target:
        """Read a target that comes with edgegan, by its name, or your own, by its YAML file in `folder`.

        Raises:
            RecipeError: there is no such target or file, or it is not well formed, with the line.
        """
        if _is_file(name_or_path):
            return cls._from_source(RecipeSource.read(folder / name_or_path, WHAT, NEXT))
        names = target_names()
        if str(name_or_path) not in names:
            raise RecipeError(
                f"there is no target {str(name_or_path)!r}{did_you_mean(name_or_path, names)}",
                next=f"choose one of: {', '.join(names)}; or name a file, as in ./my-board.yaml",
            )
        return cls._from_source(RecipeSource.read(FOLDER / f"{name_or_path}.yaml", WHAT))

    @classmethod
    def _from_source(cls, source: RecipeSource) -> Target:
        try:
            target = cls.model_validate(source.data)
        except ValidationError as error:
            raise explain(error, cls, source, lambda location: location) from error
        for problem, location in _contradictions(target):
            raise RecipeError(problem, where=source.where(location), next="correct the target there")
        return target


def _is_file(name_or_path: str | Path) -> bool:
    text = str(name_or_path)
    return os.sep in text or text.endswith((".yaml", ".yml"))


def seen_from(folder: Path, name: str) -> str:
    """Return what a target that is named in the current folder is called in `folder`: a file by its way."""
    if not _is_file(name):
        return name
    return os.path.join(".", os.path.relpath(Path(name).resolve(), folder.resolve()))


def target_names() -> list[str]:
    """Return the names of the targets that come with edgegan, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def targets() -> list[Target]:
    """Return the targets that come with edgegan, by name."""
    return [Target.read(name) for name in target_names()]


def _contradictions(target: Target) -> Iterator[tuple[str, Location]]:
    if ("int8" in target.precisions) != (target.int8 is not None):
        yield "precisions and int8 disagree: name int8 in both, or in neither", ("precisions",)
    scheme = target.int8
    if target.engine == "tensorrt" and scheme and (scheme.activations, scheme.symmetric) != ("int8", True):
        yield "TensorRT takes int8 activations with zero point 0 only", ("int8",)
    for location, key in _citations(target):
        if key not in target.sources:
            yield f"there is no source {key!r}{did_you_mean(key, target.sources)}", location


def _citations(target: Target) -> Iterator[tuple[Location, str]]:
    """Each place that names a source, and the key that it names."""
    for block in ("hardware", "super_mode"):
        hardware = getattr(target, block)
        for name, figure in hardware.figures().items() if hardware else ():
            yield (block, name, "source"), figure.source
    for index, release in enumerate(target.jetpack):
        for key in release.sources:
            yield ("jetpack", index, "sources"), key
    for index, note in enumerate(target.notes):
        if note.source is not None:
            yield ("notes", index, "source"), note.source
