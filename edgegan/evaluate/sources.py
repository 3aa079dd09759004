"""What `edgegan bench` measures: the artifacts of bundles, or bare ONNX files with a contract."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgegan.errors import InputError
from edgegan.reading import Unreadable, read_json, refusing
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.bundle import Bundle
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.registry import why_not

FULL = "fp32"
"""The precision that the others of a bundle are compared with."""
_CONTRACT = "give --contract FILE: JSON with inputs and outputs, or the manifest.json of a bundle"


@dataclass(frozen=True)
class Source:
    """A bundle, or bare files of one contract."""

    name: str
    """The bundle's; "" of bare files."""
    contract: Contract
    artifacts: tuple[Artifact, ...]
    """All that there are, with their paths."""
    full: Artifact | None
    """What the outputs of the others are compared with: FP32 for any engine, or the first bare file."""
    asked: frozenset[str] | None = None
    """Those to measure, by name, whatever they were written for; None for all that are for this machine."""

    @property
    def wanted(self) -> tuple[Artifact, ...]:
        """The artifacts to measure, or to say of why not."""
        return tuple(each for each in self.artifacts if self.asked is None or each.name in self.asked)

    def unmeasured(self, artifact: Artifact, engine: str) -> str | None:
        """Return why an engine is not to run an artifact here; None where it is to."""
        if self.asked is not None:
            return None
        return why_not(artifact, self.artifacts, engine=engine, machine=platform.machine())


def read_sources(
    places: Sequence[str | Path], contract: str | Path | None = None, artifacts: Sequence[str] = ()
) -> list[Source]:
    """Read what is to be measured.

    Args:
        places: folders of bundles, or ONNX files, which then need `contract`.
        contract: a JSON file with `inputs` and `outputs`, as the `contract` of a bundle's manifest; or that
            manifest. Stored inputs lie beside it.
        artifacts: names of those to measure; by default all that are for this machine.

    Raises:
        InputError: there is nothing to measure, files come without a contract, bundles with one, or no bundle
            has an artifact of such a name.
        BundleError: a bundle is damaged.
    """
    if not places:
        raise InputError("there is nothing to measure", next="give a bundle, as runs/cifar10/bundle")
    files = [Path(place) for place in places if Path(place).suffix == ".onnx"]
    folders = [Path(place) for place in places if Path(place).suffix != ".onnx"]
    if files and contract is None:
        raise InputError(
            "an ONNX file does not say how its inputs are sampled", where=str(files[0]), next=_CONTRACT
        )
    if contract is not None and not files:
        raise InputError("a bundle has its own contract", next="leave --contract out")
    sources = _numbered([_of_bundle(folder) for folder in folders])
    if contract is not None:
        sources.append(_of_files(files, read_contract(Path(contract))))
    return _asked(sources, artifacts) if artifacts else sources


def read_contract(file: Path) -> Contract:
    """Read a contract from JSON: `inputs` and `outputs`, or a manifest that has them under `contract`.

    Raises:
        InputError: the file cannot be read, or holds no contract, or its stored inputs cannot be used.
    """
    with refusing(InputError, "the contract cannot be read", where=str(file), next=_CONTRACT):
        data = read_json(file)
        if not isinstance(data, dict):
            raise Unreadable("it is no object with inputs and outputs")
    try:
        contract = Contract.from_dict(data.get("contract", data)).with_stored(file.parent)
        contract.check_stored()
    except InputError as error:
        raise InputError(error.what, where=str(file), next=error.next or _CONTRACT) from error
    return contract


def _of_bundle(folder: Path) -> Source:
    bundle = Bundle.open(folder)
    artifacts = tuple(
        replace(artifact, file=str(bundle.folder / artifact.file)) for artifact in bundle.manifest.artifacts
    )
    full = next((each for each in artifacts if each.precision == FULL and each.engine is None), None)
    return Source(bundle.manifest.name, bundle.contract, artifacts, full)


def _of_files(files: Sequence[Path], contract: Contract) -> Source:
    """Take files as artifacts for any engine, named by their stems, or their paths where two are alike."""
    stems = Counter(file.stem for file in files)
    names = [file.stem if stems[file.stem] == 1 else str(file) for file in files]
    try:
        artifacts = tuple(Artifact.of(file, name) for file, name in zip(files, names))
    except InputError as error:
        raise InputError(error.what, where=error.where, next="give whole ONNX files") from error
    return Source("", contract, artifacts, artifacts[0])


def _numbered(sources: list[Source]) -> list[Source]:
    """Give bundles of one name names of their own: faces, faces-2."""
    seen: Counter[str] = Counter()
    for index, source in enumerate(sources):
        seen[source.name] += 1
        if seen[source.name] > 1:
            sources[index] = replace(source, name=f"{source.name}-{seen[source.name]}")
    return sources


def _asked(sources: list[Source], names: Sequence[str]) -> list[Source]:
    known = sorted({artifact.name for source in sources for artifact in source.artifacts})
    for name in names:
        if name not in known:
            raise InputError(f"there is no artifact {name!r:.80}", next=f"choose of {', '.join(known)}")
    return [replace(source, asked=frozenset(names)) for source in sources]
