"""`edgegan generate --input`: a picture, or a folder of them, in the place of what the contract draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgegan.errors import InputError
from edgegan.runtime import Contract, Generator, pictures
from edgegan.runtime.contract import Arrays
from edgegan.runtime.modality import files


def each_picture(
    generator: Generator,
    paths: Sequence[Path],
    resize: bool,
    tile: int | None,
    seed: int,
    labels: Mapping[str, int],
) -> Iterator[tuple[Path, Arrays]]:
    """Yield each picture's path, and what the generator makes of it, one sample of each output.

    Raises:
        InputError: no input is a picture, or more than one is.
        DataError: a picture cannot be read, or has another size and may not be resized.
    """
    specs = [
        spec
        for spec in generator.contract.inputs
        if len(spec.shape) == 3 and spec.shape[0] in (1, 3) and spec.sample.kind in ("stored", "uniform")
    ]
    if len(specs) != 1:
        raise InputError(
            f"--input needs a generator with one picture among its inputs, and this one has {len(specs)}",
            next="leave --input out, or call edgegan.runtime.Generator with arrays by name",
        )
    spec = specs[0]
    free = spec.axes or (None,) * len(spec.shape)
    shape = [None if axis else length for axis, length in zip(free, spec.shape)]
    for path in paths:
        picture = pictures.read(path, shape, resize=resize)
        try:
            yield path, generator.outputs(1, seed, tile, **{spec.name: picture[None]}, **labels)
        except InputError as error:
            raise error.placed(str(path)) from error


def targets(source: Path, out: Path | None, contract: Contract) -> list[tuple[Path, Path]]:
    """Return each picture with where its result goes: `out` for one, a file in `out` for those of a folder.

    Raises:
        InputError: two results would be one file.
        DataError: there are no pictures.
    """
    paths, default = pictures.find(source), Path(files.default_name(contract))
    if not source.is_dir():
        return [(source, out or default)]
    folder = out or Path("generated")
    named = [(path, folder / path.relative_to(source).with_suffix(default.suffix)) for path in paths]
    if len({target for _, target in named}) < len(named):
        raise InputError("two pictures differ in their suffix alone", where=str(source), next="rename one")
    return named
