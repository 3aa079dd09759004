"""A recipe: one folder whose `recipe.yaml` says, as data, what to compress and how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from edgegan.errors import InputError, RecipeError, did_you_mean
from edgegan.recipe_errors import UNKNOWN_KEY, explain
from edgegan.recipe_profiles import NAME, chosen, overridden, placer
from edgegan.recipe_source import Location, RecipeSource
from edgegan.runtime.contract import Contract
from edgegan.runtime.sizes import read_sizes
from edgegan.runtime.specs import with_axes, with_modality

FILE_NAME = "recipe.yaml"
INCEPTION = "inception"
OWN_METRIC = re.compile(r"(?P<file>[A-Za-z0-9_][A-Za-z0-9_./-]*\.py):(?P<function>[A-Za-z_]\w*)")
"""A function of the recipe's own, as `my_metrics.py:iou`."""
M = TypeVar("M", bound=BaseModel)


class Data(BaseModel):
    """Plain data: unknown keys are refused, and so are words and truth values in the place of numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, (bool, str)) and kinds <= {int, float, type(None)}:
            raise ValueError(f"must be a number, not {value!r:.40}")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The types of a union's members, or the only one."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _kinds(arguments[0])
    union = get_origin(annotation) in (Union, UnionType)
    return set().union(*map(_kinds, arguments)) if union else {annotation}


def _checked_callable(value: str) -> str:
    module, _, name = value.rpartition(":")
    if not module or not name.replace(".", "_").isidentifier():
        raise ValueError("must be 'package.module:Class', or 'file.py:Class' for a file beside the recipe")
    return value


def _plain_contract(data: Any) -> Any:
    """Read the outputs' modalities; refuse what is not written: where a contract came from, its schema."""
    if not isinstance(data, Mapping):
        return data
    keys = ("inputs", "outputs", "sizes")
    for key in data:
        if key not in keys:
            near = did_you_mean(key, keys)
            raise ValueError(f"unknown key {key!r:.80}{near or '; the keys are: ' + ', '.join(keys)}")
    sides = {side: data[side] for side in keys[:2] if isinstance(data.get(side), list | tuple)}
    try:
        sizes = read_sizes(data.get("sizes") or {})
        for side, specs in sides.items():
            read = with_modality if side == "outputs" else dict[str, Any]
            sides[side] = [
                read(with_axes(spec, sizes)) if isinstance(spec, Mapping) else spec for spec in specs
            ]
    except InputError as error:
        raise ValueError(f"{error.what}; {error.next}" if error.next else error.what) from error
    return {**data, **sides, "sizes": sizes}


def _checked_contract(contract: Contract, info: ValidationInfo) -> Contract:
    """Check the contract; its stored inputs lie in the folder that is the validation's context."""
    try:
        return Contract.from_dict(contract.to_dict()).with_stored(info.context or Path())
    except InputError as error:
        raise ValueError(error.what) from error


class ModelSpec(Data):
    """A torch module: what builds it, and its trained weights."""

    callable: Annotated[str, AfterValidator(_checked_callable)]
    """`package.module:Class`, or `file.py:Class` for a file beside the recipe; or a function."""
    checkpoint: str
    """`.safetensors`, or what `torch.load(weights_only=True)` reads; relative to the recipe's folder."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of `callable`."""
    key: str | None = None
    """The checkpoint's entry that holds the weights, where it holds more than weights."""
    prefix: str = ""
    """Stripped from the weights' names; entries without it are left out."""
    call: dict[str, bool | int | float | str | None] = {}
    """Plain values for arguments of `forward` beside the contract's inputs, as in {depth: 3, alpha: 1.0}."""
    noise: Literal["fixed", "mean"] | tuple[str, ...] | None = None
    """What stands for random numbers that `forward` draws: those of one draw, their mean (no dropout), or
    the contract's inputs of these names, in the order in which it draws."""
    outputs: dict[str, str] = {}
    """Of a model that returns more than tensors in a row: output to its path, as in {image: "0.rgb"}."""


class Quality(Data):
    """What quality is measured with: a feature extractor, statistics of real images in it, and inputs."""

    features: str | None = None
    """An ONNX file (uint8 NHWC images in, float features out), or `inception`."""
    reference: str | None = None
    samples: int = Field(default=10000, ge=2)
    """How many outputs are looked at: no more than there are stored inputs, where all inputs are stored."""
    inputs: str | None = None
    """An .npz of stored inputs in place of the contract's: stages are judged on what they never saw."""
    metrics: tuple[str, ...] | None = Field(default=None, min_length=1)
    """What is measured, the most telling first: names, and functions of your own as `my_metrics.py:iou`; by
    default what suits the outputs' modalities."""

    @property
    def own_metrics(self) -> tuple[str, ...]:
        """The metrics that are functions of the recipe's own files."""
        return tuple(name for name in self.metrics or () if OWN_METRIC.fullmatch(name))

    @model_validator(mode="after")
    def _complete(self) -> Quality:
        if self.reference is not None and self.features is None:
            raise ValueError("a reference needs features to be compared in")
        return self


class LatencySpec(Data):
    """How latency is measured."""

    seconds: float = Field(gt=0, le=3600)
    """For each row: longer is surer, on a busy machine above all."""

    @classmethod
    def of(cls, seconds: float) -> LatencySpec:
        """Check what was given beside the recipe.

        Raises:
            InputError: it is not a time.
        """
        try:
            return cls(seconds=seconds)
        except ValidationError as error:
            raise InputError(
                f"latency cannot be measured for {seconds} seconds",
                next="--latency-seconds takes more than 0, and at most 3600",
            ) from error


class StageSpec(Data):
    """A stage's name and its settings, which the stage itself checks."""

    name: str
    settings: dict[str, Any] = {}


def _stage_from_entry(entry: Any) -> Any:
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, settings = next(iter(entry.items()))
        return {"name": name, "settings": {} if settings is None else settings}
    raise ValueError("must be one stage and its settings, as in `- prune: {macs: 0.25}`")


class Recipe(Data):
    """What to compress and how, with a profile's overrides applied.

    Args:
        schema: the format's version, 1.
        name: names the run's folder.
        model: the teacher.
        discriminator: of the teacher's training, where there is one: it helps distillation.
        contract: what the generator takes and gives.
        quality: what FID and its kin are measured with; without it only PSNR and SSIM are.
        latency: how long each row's latency is measured; 3 seconds by default.
        seed: of everything that draws numbers.
        stages: in order.
        train: the settings of `edgegan train`, which checks them.
        profiles: overrides by stage name, "quality" or "latency".
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=NAME)
    description: str = ""
    model: ModelSpec
    discriminator: ModelSpec | None = None
    contract: Annotated[Contract, BeforeValidator(_plain_contract), AfterValidator(_checked_contract)]
    quality: Quality | None = None
    latency: LatencySpec | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    stages: tuple[Annotated[StageSpec, BeforeValidator(_stage_from_entry)], ...] = Field(min_length=1)
    train: dict[str, Any] | None = None
    profiles: dict[str, Any] = Field(default={}, exclude=True)

    _source: RecipeSource = PrivateAttr()
    _profile: str | None = PrivateAttr(default=None)

    @classmethod
    def read(cls, path: str | Path, profile: str | None = None) -> Recipe:
        """Read a recipe's folder, or its YAML file.

        Args:
            path: the folder, or the file.
            profile: whose overrides to apply; None takes the recipe's first profile, where it has any.

        Raises:
            RecipeError: there is no such file or profile, or the recipe is not well formed.
        """
        path = Path(path)
        file = path / FILE_NAME if path.is_dir() else path
        return cls._from_source(RecipeSource.read(file), profile)

    @classmethod
    def of(cls, data: Mapping[str, Any], folder: str | Path = ".", profile: str | None = None) -> Recipe:
        """Make a recipe of plain data, of the form of `recipe.yaml`; its files are relative to `folder`.

        Raises:
            RecipeError: the data is not well formed, or has no such profile.
        """
        return cls._from_source(RecipeSource(dict(data), Path(folder)), profile)

    @classmethod
    def _from_source(cls, source: RecipeSource, profile: str | None) -> Recipe:
        data = dict(source.data)
        _refuse_unknown(cls, source, data)
        profiles = data.get("profiles") or {}
        profile = chosen(source, profiles, profile)
        merged = overridden(source, data, profile, profiles[profile] or {}) if profile else data
        try:
            recipe = cls.model_validate(merged, context=source.folder)
        except ValidationError as error:
            raise explain(error, cls, source, placer(source, profile, ())) from error
        recipe._source, recipe._profile = source, profile
        _check_metrics(recipe)
        if recipe.judged is not recipe.contract and not recipe.judged.stored:
            raise RecipeError(
                "quality.inputs takes the place of stored inputs, and the contract has none",
                where=source.where(("quality", "inputs")),
                next="leave it out, or give an input of the contract: sample: {kind: stored, file: FILE}",
            )
        return recipe

    @property
    def judged(self) -> Contract:
        """The contract whose samples quality is measured on: with `quality.inputs`, where they are named."""
        file = self.quality.inputs if self.quality else None
        if file is None:
            return self.contract
        inputs = (
            replace(spec, sample=replace(spec.sample, file=file)) if spec.sample.file else spec
            for spec in self.contract.inputs
        )
        return replace(self.contract, inputs=tuple(inputs)).with_stored(self.folder)

    @property
    def folder(self) -> Path:
        """The folder that the recipe's files are relative to."""
        return self._source.folder

    @property
    def profile(self) -> str | None:
        """The name of the profile that was applied."""
        return self._profile

    def path(self, name: str) -> Path:
        """Return the path of a file that the recipe names."""
        return self.folder / name

    def where(self, *location: str | int) -> str | None:
        """Return "file, line N" of an entry, as ("stages", 0); None for a recipe that was not read."""
        return self._source.where(location)

    def files(self) -> list[tuple[Location, Path]]:
        """Return the files that compression reads, each with where the recipe names it."""
        named: list[tuple[Location, str]] = [(("model", "checkpoint"), self.model.checkpoint)]
        if self.discriminator:
            named.append((("discriminator", "checkpoint"), self.discriminator.checkpoint))
        if self.quality and self.quality.features not in (None, INCEPTION):
            named.append((("quality", "features"), self.quality.features))
        if self.quality and self.quality.reference:
            named.append((("quality", "reference"), self.quality.reference))
        if self.quality and self.quality.inputs:
            named.append((("quality", "inputs"), self.quality.inputs))
        for spelled in self.quality.own_metrics if self.quality else ():
            named.append((("quality", "metrics"), spelled.rpartition(":")[0]))
        for index, spec in enumerate(self.contract.inputs):
            if spec.sample.file:
                named.append((("contract", "inputs", index, "sample", "file"), spec.sample.file))
        return [(location, self.path(name)) for location, name in named]

    def require_files(self) -> None:
        """Raise `RecipeError` where files that compression needs are missing, naming all of them."""
        missing = [(location, path) for location, path in self.files() if not path.is_file()]
        if missing:
            raise RecipeError(
                "\n".join(f"{'.'.join(map(str, at))}: there is no file {path}" for at, path in missing),
                where=self._source.where(missing[0][0]),
                next="put the file there, or correct its name in the recipe",
            )

    def parse(self, location: Sequence[str | int], model: type[M]) -> M:
        """Check the free mapping at `location`, as ("train",) or ("stages", 0), against a pydantic `model`.

        Raises:
            RecipeError: an unknown key or a bad value, with its line.
        """
        if location[0] == "stages":
            stage = self.stages[int(location[1])]
            data, base = stage.settings, (*location, stage.name)
        else:
            data, base = getattr(self, str(location[0])) or {}, tuple(location)
        try:
            return model.model_validate(data, context=self.folder)
        except ValidationError as error:
            place = placer(self._source, self.profile, base)
            raise explain(error, model, self._source, place) from error

    def to_yaml(self) -> str:
        """Return the recipe with its profile applied, as YAML that `read` takes."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        data["contract"] = Recipe._plain(self.contract.to_dict())
        data["stages"] = [{stage["name"]: stage["settings"]} for stage in data["stages"]]
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)

    @staticmethod
    def _plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: Recipe._plain(item) for key, item in value.items()}
        return [Recipe._plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _check_metrics(recipe: Recipe) -> None:
    """Raise `RecipeError` where metrics are unknown, fit no output, or need a reference that is not there."""
    from edgegan.measure.metrics.registry import (
        OWN,
        columns,
    )  # with scipy, which reading a recipe should not wait for

    quality = recipe.quality
    if quality is None:
        return
    names = None
    if quality.metrics is not None:
        names = [name for name in quality.metrics if name not in quality.own_metrics]
        called = [name.rpartition(":")[2] for name in quality.metrics]
        where = recipe.where("quality", "metrics")
        for name in called:
            if called.count(name) > 1:
                raise RecipeError(f"two metrics are called {name!r}", where=where, next="rename one of them")
    try:
        found = columns(recipe.contract, quality.samples, reference=bool(quality.reference), names=names)
        for name in quality.own_metrics:
            if name.rpartition(":")[2] in OWN:
                raise InputError(f"{name} has the name of a metric of edgegan's", next="rename your function")
    except InputError as error:
        raise RecipeError(error.what, where=recipe.where("quality", "metrics"), next=error.next) from error
    if quality.reference and names is None and not any(c.metric.spec.needs == "reference" for c in found):
        kinds = ", ".join(dict.fromkeys(output.modality.kind for output in recipe.contract.outputs))
        raise RecipeError(
            f"features and a reference are for images, and the generator gives {kinds}",
            where=recipe.where("quality", "reference"),
            next="leave both out; `metrics` says what else can be measured",
        )


def _refuse_unknown(recipe: type[Recipe], source: RecipeSource, data: dict[str, Any]) -> None:
    """Raise `RecipeError` where there are keys that no recipe has: a mistyped one explains what follows."""
    try:
        recipe.model_validate(data, context=source.folder)
    except ValidationError as error:
        if any(detail["type"] in UNKNOWN_KEY for detail in error.errors()):
            raise explain(error, recipe, source, lambda location: location, UNKNOWN_KEY) from error
