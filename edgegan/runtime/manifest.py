"""`manifest.json` of a bundle, as specified in README.md beside this file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

from edgegan.errors import BundleError, InputError
from edgegan.forms import is_list, is_object
from edgegan.reading import Unreadable, parse_json
from edgegan.runtime.artifact import PRECISIONS, USUAL_ENGINE, Artifact, Default, known
from edgegan.runtime.contract import Contract
from edgegan.runtime.safe_filenames import is_safe

FILE_NAME = "manifest.json"
SCHEMA = 3
"""That is written."""
SCHEMAS = (1, 2, 3)
"""Those that are read. 1 and 2 name models where 3 describes artifacts, and stand for how streams are seeded,
which 3 says in the contract."""
LARGEST_MANIFEST = 4 << 20
LARGEST_FILE = (2 << 30) - 1

_KEYS = ("schema", "name", "created_by", "contract", "default", "lineage", "figures", "files")
_KEYS_OF = {1: ("models",), 2: ("models",), 3: ("artifacts", "default_on")}
_OPTIONAL = ("engines",)
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MODULES = ("tensorrt", "tensorrt_rtx")
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){1,4}")
_CAPABILITY = re.compile(r"[0-9]{1,3}\.[0-9]{1,2}")
_DEEPEST = 4


@dataclass(frozen=True)
class FileEntry:
    """What the manifest says of one file: 64 hexadecimal digits, and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class EngineEntry:
    """An engine that was built from one of the models, and what it was built for: it runs nowhere else."""

    file: str
    artifact: str
    """The name of the artifact that it was built from."""
    onnx_sha256: str
    """Of that artifact's file when the engine was built."""
    module: str
    """"tensorrt" or "tensorrt_rtx"."""
    version: str
    """Of the module, as "10.3.0"."""
    gpu: str | None
    """The GPU's name, or None where the engine is bound to none: tensorrt_rtx."""
    compute_capability: str | None
    """Of the GPU, as "8.7"; None as above."""
    batches: tuple[int, int, int]
    """The least, the best and the largest batch."""


@dataclass(frozen=True)
class Manifest:
    """A manifest that has been checked; `files` names every file of the bundle but the manifest."""

    name: str
    created_by: str
    contract: Contract
    artifacts: tuple[Artifact, ...]
    default_on: Default
    """What is run unless asked otherwise, and on which engine and kind of CPU that was found."""
    lineage: list[dict[str, Any]]
    figures: dict[str, Any]
    files: dict[str, FileEntry]
    engines: tuple[EngineEntry, ...] = ()

    @property
    def default(self) -> str:
        """The name of the artifact that is run unless asked otherwise."""
        return self.default_on.name

    @property
    def models(self) -> dict[str, str]:
        """Each artifact's name, and its file."""
        return {artifact.name: artifact.file for artifact in self.artifacts}

    def to_bytes(self) -> bytes:
        """Return the manifest as it is written.

        Raises:
            InputError: the lineage or the figures hold what JSON cannot: NaN, infinity, an object of Python.
        """
        try:
            found = self.default_on
            data = {
                "schema": SCHEMA,
                "name": self.name,
                "created_by": self.created_by,
                "contract": {"streams": self.contract.streams, **self.contract.to_dict()},
                "artifacts": [asdict(artifact) for artifact in self.artifacts],
                "default": found.name,
                "default_on": {"engine": found.engine, "arch": found.arch},
                "lineage": self.lineage,
                "figures": self.figures,
                "files": {name: asdict(entry) for name, entry in self.files.items()},
                **({"engines": [asdict(engine) for engine in self.engines]} if self.engines else {}),
            }
            text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
            return (text + "\n").encode()
        except (TypeError, ValueError) as error:
            raise InputError(f"the manifest cannot be written as JSON: {error}") from error

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read and check a manifest.

        Raises:
            BundleError: it is not JSON as this schema allows it, or its schema is not known.
        """
        data = _parse(content)
        _check_keys(data)
        _text(data["name"], "name")
        _text(data["created_by"], "created_by")
        lineage, figures = data["lineage"], data["figures"]
        if not is_list(lineage) or not all(map(is_object, lineage)):
            refuse("'lineage' must be a list of objects")
        if not is_object(figures):
            refuse("'figures' must be an object")
        files = _files(data["files"])
        early = data["schema"] < 3
        artifacts = _models(data["models"], files) if early else _artifacts(data["artifacts"], files)
        names = [artifact.name for artifact in artifacts]
        if not isinstance(data["default"], str) or data["default"] not in names:
            refuse(f"the default {data['default']!r:.80} is not one of the models {sorted(names)}")
        return cls(
            name=data["name"],
            created_by=data["created_by"],
            contract=_contract(data["contract"], data["schema"], files),
            artifacts=artifacts,
            default_on=_early_default(artifacts, data["default"])
            if early
            else _default_on(data["default"], data["default_on"]),
            lineage=lineage,
            figures=figures,
            files=files,
            engines=_engines(data.get("engines", []), early, names, files),
        )


def refuse(what: str, *, next: str | None = None) -> NoReturn:
    """Raise the `BundleError` of a manifest that cannot be used."""
    raise BundleError(
        f"the manifest is not valid: {what}",
        where=FILE_NAME,
        next=next or "get the bundle again from where it came; a bundle is not edited by hand",
    )


def check_name(name: Any) -> None:
    """Raise `BundleError` where `name` is not a plain relative path, with "/" between its parts."""
    if not isinstance(name, str) or not name or len(name) > 200:
        refuse(f"{name!r:.80} is not a file name of 1 to 200 characters")
    if "\\" in name:
        refuse(f"the path {name!r} holds a backslash")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        refuse(f"the path {name!r} is absolute")
    parts = name.split("/")
    if ".." in parts:
        refuse(f"the path {name!r} leaves the folder")
    if len(parts) > _DEEPEST:
        refuse(f"the path {name!r} is deeper than {_DEEPEST}")
    for part in parts:
        if not is_safe(part):
            refuse(f"the path {name!r} holds the name {part!r}, which is not safe on every system")
    if name.casefold() == FILE_NAME:
        refuse("'files' lists the manifest itself")


def check_word(word: Any, what: str) -> None:
    """Raise `BundleError` where `word` cannot name `what`: a model, an engine, a CPU, a target."""
    if not isinstance(word, str) or not _WORD.fullmatch(word):
        refuse(f"{word!r:.80} cannot name {what}: use lower-case letters and digits, as in 'int8'")


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > LARGEST_MANIFEST:
        refuse(f"it is larger than {LARGEST_MANIFEST >> 20} MiB")
    try:
        data = parse_json(content)
    except Unreadable as error:
        refuse(str(error))
    if not is_object(data):
        refuse("it must be an object")
    return data


def _check_keys(data: dict[str, Any]) -> None:
    schema = data.get("schema")
    if type(schema) is not int or schema not in SCHEMAS:
        refuse(
            f"its schema is {schema!r:.80}, and this edgegan reads schemas {SCHEMAS[0]} to {SCHEMAS[-1]}",
            next="pip install --upgrade edgegan, or make the bundle again with this version",
        )
    keys = _KEYS + _KEYS_OF[schema]
    for key in keys:
        if key not in data:
            refuse(f"the key {key!r} is missing")
    for key in data:
        if key not in keys + _OPTIONAL:
            refuse(f"the key {key!r:.80} is unknown")


def _text(value: Any, key: str) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 200:
        refuse(f"{key!r} must be 1 to 200 printable characters")


def _contract(data: Any, schema: int, files: dict[str, FileEntry]) -> Contract:
    if is_object(data) and ("streams" in data) != (schema > 2):
        refuse("the contract says how 'streams' are seeded in schema 3, and only there")
    try:
        contract = Contract.from_dict(data, streams=schema) if schema < 3 else Contract.from_dict(data)
    except InputError as error:
        refuse(f"{error.what:.500}")
    for spec in contract.inputs:
        if spec.sample.file and spec.sample.file not in files:
            refuse(f"the input {spec.name!r} is stored in {spec.sample.file!r}, which 'files' does not list")
    return contract


def _files(data: Any) -> dict[str, FileEntry]:
    if not is_object(data):
        refuse("'files' must be an object")
    folded: dict[str, str] = {}
    for name, entry in data.items():
        check_name(name)
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            refuse(f"{other!r} and {name!r} are one file on systems that ignore case")
        if not is_object(entry) or set(entry) != {"sha256", "bytes"}:
            refuse(f"the entry of {name!r} must hold 'sha256' and 'bytes', and nothing else")
        if not isinstance(entry["sha256"], str) or not _DIGEST.fullmatch(entry["sha256"]):
            refuse(f"the sha256 of {name!r} must be 64 lower-case hexadecimal digits")
        if type(entry["bytes"]) is not int or not 0 <= entry["bytes"] <= LARGEST_FILE:
            refuse(f"the bytes of {name!r} must be a whole number from 0 to {LARGEST_FILE}")
    return {name: FileEntry(**entry) for name, entry in data.items()}


def _models(data: Any, files: dict[str, FileEntry]) -> tuple[Artifact, ...]:
    """Return the artifacts of schema 1 or 2, which only names them; a bundle adds what the files say."""
    if not is_object(data) or not data:
        refuse("'models' must be an object with at least one model")
    return tuple(_checked(known(name, file), files) for name, file in data.items())


def _artifacts(data: Any, files: dict[str, FileEntry]) -> tuple[Artifact, ...]:
    if not is_list(data) or not data:
        refuse("'artifacts' must be a list with at least one artifact")
    keys = [field.name for field in fields(Artifact)]
    for entry in data:
        if not is_object(entry) or set(entry) != set(keys):
            refuse(f"an artifact must hold {', '.join(keys)}, and nothing else")
    artifacts = tuple(_checked(Artifact(**entry), files) for entry in data)
    if len({artifact.name for artifact in artifacts}) != len(artifacts):
        refuse("two of the artifacts have one name")
    return artifacts


def _checked(artifact: Artifact, files: Collection[str]) -> Artifact:
    name, file = artifact.name, str(artifact.file)
    check_word(name, "a model")
    if file not in files:
        refuse(f"the model {name!r} is the file {file!r:.80}, which 'files' does not list")
    if not file.endswith(".onnx"):
        refuse(f"the model {name!r} must be a file that ends in .onnx, not {file!r}")
    if artifact.precision not in PRECISIONS:
        refuse(f"the precision of {name!r} must be one of {', '.join(PRECISIONS)}")
    for word, what in (
        (artifact.engine, "an engine"),
        (artifact.arch, "a CPU"),
        (artifact.target, "a target"),
    ):
        if word is not None:
            check_word(word, what)
    if type(artifact.opset) is not int or not 0 <= artifact.opset < 1000:
        refuse(f"the opset of {name!r} must be a whole number below 1000")
    if type(artifact.uint8_outputs) is not bool:
        refuse(f"the uint8_outputs of {name!r} must be true or false")
    return artifact


def _default_on(name: str, data: Any) -> Default:
    if not is_object(data) or set(data) != {"engine", "arch"}:
        refuse("'default_on' must hold 'engine' and 'arch', and nothing else")
    check_word(data["engine"], "an engine")
    check_word(data["arch"], "a CPU")
    return Default(name, **data)


def _early_default(artifacts: Collection[Artifact], name: str) -> Default:
    """Return the default of schema 1 or 2: found on ONNX Runtime, on x64 where its file is for any CPU."""
    arch = next(artifact.arch for artifact in artifacts if artifact.name == name)
    return Default(name, USUAL_ENGINE, arch or "x86_64")


def _engines(
    data: Any, early: bool, models: Collection[str], files: dict[str, FileEntry]
) -> tuple[EngineEntry, ...]:
    if not is_list(data):
        refuse("'engines' must be a list")
    if early:  # schemas 1 and 2 call the artifact a precision
        data = [_renamed(entry, "precision", "artifact") for entry in data]
    engines = tuple(_engine(entry, models, files) for entry in data)
    names = [engine.file for engine in engines]
    if len(set(names)) != len(names):
        refuse("two of the engines are one file")
    return engines


def _renamed(entry: Any, old: str, new: str) -> Any:
    if not is_object(entry) or old not in entry or new in entry:
        return None
    return {new if key == old else key: value for key, value in entry.items()}


def _engine(data: Any, models: Collection[str], files: dict[str, FileEntry]) -> EngineEntry:
    keys = set(EngineEntry.__dataclass_fields__)
    if not is_object(data) or set(data) != keys:
        refuse(f"an engine must hold {', '.join(sorted(keys))}, and nothing else")
    file, gpu, capability = data["file"], data["gpu"], data["compute_capability"]
    if not isinstance(file, str) or file not in files or not file.endswith(".plan"):
        refuse(f"the engine {file!r:.80} must be a file that 'files' lists, and end in .plan")
    if not isinstance(data["artifact"], str) or data["artifact"] not in models:
        refuse(
            f"the engine {file!r} is of the artifact {data['artifact']!r:.80}, which the bundle does not have"
        )
    if data["module"] not in _MODULES:
        refuse(f"the module of the engine {file!r} must be one of {', '.join(_MODULES)}")
    if (gpu is None) != (capability is None):
        refuse(f"the engine {file!r} must have both a GPU and its compute capability, or neither")
    if gpu is not None:
        _text(gpu, "gpu")
    for key, form in (("onnx_sha256", _DIGEST), ("version", _VERSION), ("compute_capability", _CAPABILITY)):
        if data[key] is None and key == "compute_capability":
            continue
        if not isinstance(data[key], str) or not form.fullmatch(data[key]):
            refuse(f"the {key} of the engine {file!r} cannot be {data[key]!r:.80}")
    checked: dict[str, Any] = {**data, "batches": _batches(data["batches"], file)}
    return EngineEntry(**checked)


def _batches(data: Any, file: str) -> tuple[int, int, int]:
    whole = is_list(data) and [type(size) for size in data] == [int, int, int]
    if not whole or not 0 < data[0] <= data[1] <= data[2]:
        refuse(f"the batches of the engine {file!r} must be three rising numbers, 1 or more")
    return data[0], data[1], data[2]
