"""Read, verify and write a bundle: the folder that an app loads. README.md here is its specification."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgegan.errors import BundleError, InputError
from edgegan.files import atomic_folder
from edgegan.reading import open_plain, refusing
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact, Default, choose, cpu_family, known, named
from edgegan.runtime.contract import Contract
from edgegan.runtime.manifest import (
    FILE_NAME,
    LARGEST_FILE,
    LARGEST_MANIFEST,
    EngineEntry,
    FileEntry,
    Manifest,
    check_name,
    check_word,
)
from edgegan.runtime.onnx_file import external_tensors, facts

_AGAIN = "get the bundle again from where it came, or make it again with edgegan compress"


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest has been checked, and every file against it."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Verify a bundle: its manifest, that each listed file is there unchanged, and that nothing else is.

        Raises:
            BundleError: any of what README.md forbids.
        """
        folder = _folder(folder)
        if not os.path.lexists(folder / FILE_NAME):
            raise BundleError(
                f"the folder holds no {FILE_NAME}, so it is not a bundle",
                where=str(folder),
                next="give the folder that edgegan compress named as the bundle",
            )
        try:
            bundle = cls(folder, Manifest.from_bytes(_read(folder / FILE_NAME, LARGEST_MANIFEST)))
        except BundleError as error:
            raise BundleError(error.what, where=str(folder / FILE_NAME), next=error.next) from error
        present = set(_walk(folder, bundle.manifest.files))
        for name in bundle.manifest.files:
            if name not in present:
                raise BundleError(f"the file {name!r} is missing", where=str(folder), next=_AGAIN)
        models = {artifact.file for artifact in bundle.manifest.artifacts}
        found: dict[str, tuple[int, bool]] = {}
        for name in bundle.manifest.files:
            content = bundle.read(name)
            if name in models:
                found[name] = _check_model(content, str(folder / name))
        artifacts = tuple(
            _described(artifact, found[artifact.file], str(folder / artifact.file))
            for artifact in bundle.manifest.artifacts
        )
        bundle = cls(folder, replace(bundle.manifest, artifacts=artifacts))
        try:
            bundle.contract.check_stored()
        except InputError as error:
            raise BundleError(error.what, where=error.where, next=_AGAIN) from error
        return bundle

    @property
    def contract(self) -> Contract:
        """The contract, its stored inputs drawn from the bundle's own files."""
        return self.manifest.contract.with_stored(self.folder, self.read)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file, those that were hashed and no others.

        Raises:
            BundleError: the file is not in the manifest, or is not the one that the manifest describes.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"the bundle has no file {name!r}", where=str(self.folder))
        path = self.folder / name
        content = _read(path, entry.bytes)
        if len(content) != entry.bytes:
            what = f"the file was changed: it is not {entry.bytes} bytes long, as the manifest says"
            raise BundleError(what, where=str(path), next=_AGAIN)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            what = "the file was changed: its SHA-256 is not the manifest's"
            raise BundleError(what, where=str(path), next=_AGAIN)
        return content

    def model(self, name: str | None = None) -> bytes:
        """Return the ONNX model of the artifact of this `name`, by default the bundle's default.

        Raises:
            InputError: the bundle has no such model.
            BundleError: see `read`.
        """
        return self.read(self.artifact(self.manifest.default if name is None else name).file)

    def artifact(self, name: str) -> Artifact:
        """Return the artifact of this `name`.

        Raises:
            InputError: the bundle has none.
        """
        with self._placed():
            return named(self.manifest.artifacts, name)

    def choose(self, engine: str, name: str | None = None) -> Artifact:
        """Return which artifact an engine is to run on this machine (see `artifact.choose`).

        Raises:
            InputError: the bundle has none of this `name`, or none for this engine.
        """
        manifest, machine = self.manifest, platform.machine()
        with self._placed():
            return choose(
                manifest.artifacts, engine=engine, machine=machine, name=name, default=manifest.default_on
            )

    def built_from(self, artifact: Artifact) -> list[EngineEntry]:
        """Return the engines that were built from the artifact's file as it is now."""
        wanted = (artifact.name, self.manifest.files[artifact.file].sha256)
        return [built for built in self.manifest.engines if (built.artifact, built.onnx_sha256) == wanted]

    @contextmanager
    def _placed(self) -> Generator[None, None, None]:
        """Say in which bundle something is not."""
        try:
            yield
        except InputError as error:
            raise InputError(error.what, where=str(self.folder), next=error.next) from error

    def add_engines(self, engines: Mapping[EngineEntry, bytes]) -> Bundle:
        """Put engines into the bundle in one step, and return it as it then is.

        An engine takes the place of the one that was built from the same model for the same module and GPU.

        Raises:
            BundleError: a file of the bundle was changed, or an entry cannot be in a manifest.
            StorageError: the bundle cannot be written.
        """
        replaced = {engine.file for engine in engines}
        kept = tuple(engine for engine in self.manifest.engines if engine.file not in replaced)
        gone = {engine.file for engine in self.manifest.engines} & replaced
        entries = {name: entry for name, entry in self.manifest.files.items() if name not in gone}
        with atomic_folder(self.folder) as partial:
            for name in entries:
                _write(partial, name, self.read(name))
            for engine, plan in engines.items():
                check_name(engine.file)
                entries[engine.file] = _write(partial, engine.file, plan)
            manifest = replace(self.manifest, files=entries, engines=(*kept, *engines))
            (partial / FILE_NAME).write_bytes(manifest.to_bytes())
            verified = Bundle.open(partial)
        return Bundle(self.folder, verified.manifest)


def write_bundle(
    folder: Path,
    *,
    name: str,
    contract: Contract,
    models: Mapping[str, Path] | Sequence[Artifact],
    default: str | Default,
    lineage: Sequence[dict[str, Any]] = (),
    figures: Mapping[str, Any] = {},
    extra_files: Mapping[str, Path] = {},
) -> Bundle:
    """Write a bundle in one step: after a crash there is the one that was at `folder` before, or the new one.

    Args:
        folder: where it goes; a bundle that is there is replaced, and nothing else ever is.
        name: what the model is called.
        contract: of every model; the files of its stored inputs go into the bundle.
        models: the ONNX files, described; or name to file, where a name is "fp32", "fp16", "int8" (for x64),
            "int8-arm64", "int8-tensorrt", or another, which is taken as FP32. In the bundle each is
            `model.<name>.onnx`.
        default: the name of the one that `Generator.load` takes, and where it was found to be best: on this
            machine and ONNX Runtime unless said otherwise.
        lineage: one record for each stage, in order.
        figures: what was measured.
        extra_files: path in the bundle to file, such as `samples.png`.

    Returns:
        The bundle, opened and verified.

    Raises:
        InputError: `folder` is in use for something else, or a file cannot be read.
        BundleError: what was given cannot be in a bundle.
        StorageError: the bundle cannot be written.
    """
    _check_free(folder)
    if isinstance(models, Mapping):
        models = [known(called, str(path)) for called, path in models.items()]
    if isinstance(default, str):
        default = Default(default, USUAL_ENGINE, cpu_family(platform.machine()))
    for artifact in models:
        check_word(artifact.name, "a model")
    placed = [replace(artifact, file=f"model.{artifact.name}.onnx") for artifact in models]
    stored = contract.stored
    sources = {target.file: Path(source.file) for target, source in zip(placed, models)}
    sources |= {**stored, **extra_files}
    if len(sources) != len(models) + len(stored) + len(extra_files):
        what = "an extra file has the name of a model or of stored inputs"
        raise InputError(what, where=", ".join(sorted(extra_files)))
    with atomic_folder(folder) as partial:
        files = {target: _copy(source, partial, target) for target, source in sources.items()}
        manifest = Manifest(
            name=name,
            created_by=f"edgegan {version('edgegan')}",
            contract=contract,
            artifacts=tuple(
                _described(to, facts((partial / to.file).read_bytes()), to.file) for to in placed
            ),
            default_on=default,
            lineage=list(lineage),
            figures=dict(figures),
            files=files,
        )
        (partial / FILE_NAME).write_bytes(manifest.to_bytes())
        verified = Bundle.open(partial)
    return Bundle(Path(os.path.realpath(folder)), verified.manifest)


def _check_free(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not _is_ours(folder)):
        raise InputError(
            "the bundle would replace something that is not a bundle",
            where=str(folder),
            next="choose another folder, or empty this one",
        )


def _is_ours(folder: Path) -> bool:
    """Tell whether the folder has a manifest that edgegan wrote, of whatever schema, and only files of it."""
    try:
        data = json.loads(_read(folder / FILE_NAME, LARGEST_MANIFEST))
        ours = data["created_by"].startswith("edgegan ") and isinstance(data["files"], dict)
        return ours and set(_walk(folder, data["files"])) <= set(data["files"])
    except (BundleError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _copy(source: Path, partial: Path, name: str) -> FileEntry:
    check_name(name)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", where=str(source)) from error
    if len(content) > LARGEST_FILE:
        raise InputError(f"the file is larger than {LARGEST_FILE} bytes", where=str(source))
    if name.endswith(".onnx"):
        _check_model(content, str(source))
    return _write(partial, name, content)


def _write(folder: Path, name: str, content: bytes) -> FileEntry:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))


def _folder(given: Any) -> Path:
    """Return a folder's real path; refuse what is none, and what cannot be the name of one."""
    with suppress(TypeError, ValueError, OSError):
        folder = Path(os.path.realpath(given))
        if folder.is_dir():
            return folder
    raise BundleError("there is no such folder", where=f"{given!s:.200}", next="give the folder of a bundle")


def _walk(folder: Path, listed: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Yield the names of all files, and refuse what is not in `listed` before looking into it."""
    try:
        with os.scandir(folder / prefix) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        raise BundleError(
            f"the folder cannot be read: {error.strerror}", where=str(folder / prefix)
        ) from error
    for entry in entries:
        name = prefix + entry.name
        if entry.is_symlink():
            what = f"{name!r} is a link; a bundle holds plain files only"
            raise BundleError(what, where=entry.path, next=_AGAIN)
        if entry.is_dir() and any(file.startswith(f"{name}/") for file in listed):
            yield from _walk(folder, listed, f"{name}/")
        elif name in listed:
            yield name
        elif name != FILE_NAME:
            raise BundleError(
                f"{name!r} is not in the manifest",
                where=entry.path,
                next="move it out of the bundle's folder; notes and other files go beside it",
            )


def _read(path: Path, most: int) -> bytes:
    """Return the bytes of a plain file, one more than `most` at the most, without following a link."""
    with (
        refusing(BundleError, "the file cannot be read", where=str(path), next=_AGAIN),
        open_plain(path, links=False) as file,
    ):
        return file.read(most + 1)


def _check_model(content: bytes, where: str) -> tuple[int, bool]:
    """Return the opset of a model, and whether it gives uint8; refuse one that is not whole."""
    try:
        external, found = external_tensors(content), facts(content)
    except ValueError as error:
        raise BundleError(f"it is not an ONNX model: {error}", where=where, next=_AGAIN) from error
    if external:
        raise BundleError(
            f"the model keeps the tensor {external[0]!r} in another file; a bundle's models are whole",
            where=where,
            next="export it with external_data=False",
        )
    return found


def _described(artifact: Artifact, found: tuple[int, bool], where: str) -> Artifact:
    """Return the artifact as its file is, which is to be as the manifest says where that says anything."""
    if artifact.opset and (artifact.opset, artifact.uint8_outputs) != found:
        what = f"opset {artifact.opset}, uint8 outputs: {artifact.uint8_outputs}"
        raise BundleError(f"the model is not what the manifest says: {what}", where=where, next=_AGAIN)
    return replace(artifact, opset=found[0], uint8_outputs=found[1])
