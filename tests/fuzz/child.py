"""The process that tries inputs, one after the other: it may hang, die or fill its memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgegan.errors import EdgeganError
from tests.fuzz.mutate import mutate
from tests.fuzz.readers import READERS, Reader

ADDRESS_SPACE = 16 << 30


def inputs(
    reader: Reader, template: Path, name: str, seed: int, start: int, count: int
) -> Iterator[tuple[str, bytes]]:
    """Yield (file, content): the same for the same seed and number."""
    names = reader.names(template)
    contents = {file: (template / file).read_bytes() for file in names}
    for index in range(start, count):
        rng = random.Random(f"{name} {seed} {index}")
        file = names[0] if len(names) == 1 else rng.choice(names)
        yield file, mutate(file, contents[file], list(contents.values()), rng)


def attacks(reader: Reader, template: Path, folder: Path, start: int) -> Iterator[tuple[str, bytes]]:
    """Yield (file, content) of what is kept in `folder`; see its README."""
    names = reader.names(template)
    files = sorted([*folder.glob("*.bin"), *folder.glob("*.yaml")])
    for path in files[start:]:
        content = path.read_bytes()
        first, _, rest = content.partition(b"\n")
        told = first.decode(errors="replace")
        if path.suffix == ".yaml":
            yield names[0], content
        elif len(told) < 100 and (template / "run" / told).is_file():
            yield f"run/{told}", rest
        elif told.startswith("stages/"):
            yield told.replace("stages/01-prune", "01-shrink").replace("stages/03-quantize", "03-shake"), rest
        elif told.startswith("."):
            yield next(name for name in names if name.endswith(told)), rest
        else:
            yield names[0], content


def attempt(reader: Reader, folder: Path, file: str) -> dict[str, Any]:
    """Read, and say how it ended."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            reader.read(folder, file)
    except EdgeganError as error:
        untaught = not (error.what and error.where and error.next)
        return {"outcome": "untaught" if untaught else "refused", "why": str(error)[:400]}
    except BaseException:
        return {"outcome": "traceback", "why": traceback.format_exc()[-1500:]}
    return {"outcome": "read", "why": ""}


def peak_mib() -> float:
    """The most memory since the last call, in MiB."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Try the inputs that standard input names, and write a line of JSON for each."""
    job = json.loads(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    reader = READERS[job["reader"]]
    with tempfile.TemporaryDirectory() as scratch:
        template, folder = Path(scratch, "template"), Path(scratch, "case")
        template.mkdir()
        reader.make(template)
        shutil.copytree(template, folder)
        reader.read(folder, reader.names(folder)[0])  # what is valid is read, and all is imported
        if job["attacks"]:
            cases = attacks(reader, template, Path(job["attacks"]) / reader.attacks, job["start"])
        else:
            cases = inputs(reader, template, job["reader"], job["seed"], job["start"], job["count"])
        peak_mib()
        print("ready", file=replies, flush=True)
        for file, content in cases:
            shutil.rmtree(folder)
            shutil.copytree(template, folder)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
            if job["keep"]:
                Path(job["keep"]).write_bytes(file.encode() + b"\n" + content)
            result = attempt(reader, folder, file)
            print(json.dumps({**result, "file": file, "mib": peak_mib()}), file=replies, flush=True)


if __name__ == "__main__":
    main()
