"""`python -m tests.fuzz`: change valid files at random, read them, and count how that ends."""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.readers import READERS

SECONDS = 20.0
"""What one input may take."""
STARTING_SECONDS = 120.0
MOST_MIB = 2048.0
COLUMNS = ("tries", "read", "refused", "untaught", "tracebacks", "hangs", "crashes", "over 2 GiB")
GOOD = ("tries", "read", "refused")


@dataclass
class Tally:
    """How the inputs of one reader ended, and what is to be mended."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, result: dict[str, Any], *, bounded: bool = True) -> None:
        """Count one input; over 2 GiB is a fault where the reader's memory is `bounded`."""
        outcome = {"traceback": "tracebacks", "hang": "hangs", "crash": "crashes"}.get(
            result["outcome"], result["outcome"]
        )
        self.counts.update(["tries", outcome])
        over = result.get("mib", 0) > MOST_MIB
        if over:
            self.counts["over 2 GiB"] += 1
        if (over and bounded) or outcome not in GOOD:
            self.faults.append({"number": number, **result})


def tried(reader: str, seed: int, start: int, count: int, *, attacks: str, keep: str, until: float) -> Tally:
    """Try the inputs from `start` on up to `count`, in processes that are replaced when they hang or die."""
    tally, number = Tally(), start
    while True:
        job = {"reader": reader, "seed": seed, "start": number, "count": count}
        said = tempfile.TemporaryFile()  # noqa: SIM115
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.child",
            json.dumps({**job, "attacks": attacks, "keep": keep}),
        ]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_pass_on, args=(child, lines), daemon=True).start()
        try:
            if lines.get(timeout=STARTING_SECONDS) is None:
                raise SystemExit(f"{reader}: its valid files cannot be read\n{_end_of(said)}")
            while True:
                line = lines.get(timeout=SECONDS)
                if line is None:
                    break
                tally.add(number, json.loads(line), bounded=READERS[reader].bounded)
                number += 1
                if time.monotonic() > until:
                    return tally
        except queue.Empty:
            tally.add(number, {"outcome": "hang"})
            number += 1
            continue
        finally:
            child.kill()
            child.wait()
        if child.returncode == 0:
            return tally
        tally.add(number, {"outcome": "crash", "why": f"it ended with {child.returncode}: {_end_of(said)}"})
        number += 1


def _end_of(file: Any) -> str:
    file.seek(0)
    return file.read()[-1500:].decode(errors="replace")


def _pass_on(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        lines.put(line)
    child.wait()
    lines.put(None)


def main() -> None:
    """Run, print the table, and end in 1 where anything is to be mended."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(READERS)}; all by default")
    parser.add_argument("--count", type=int, help="inputs for each reader; by default those of the short run")
    parser.add_argument("--start", type=int, default=0, help="the number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop a reader after so long")
    parser.add_argument("--attacks", default="", help="replay this folder's files in place of changed ones")
    parser.add_argument("--keep", default="", help="write each input to this file before it is read")
    parser.add_argument("--json", action="store_true", help="print counts and faults as JSON")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tallies: dict[str, Tally] = {}
    for name in options.readers or READERS:
        reader = READERS[name]
        if options.attacks and not (Path(options.attacks) / reader.attacks).is_dir():
            continue
        count = options.count or reader.short
        until = time.monotonic() + options.seconds
        tallies[name] = tried(
            name, options.seed, options.start, count, attacks=options.attacks, keep=options.keep, until=until
        )
        if not options.json:
            if len(tallies) == 1:
                print(f"{'reader':<16}" + "".join(f"{column:>12}" for column in COLUMNS))
            print(f"{name:<16}" + "".join(f"{tallies[name].counts[c]:>12}" for c in COLUMNS), flush=True)
    if options.json:
        print(json.dumps({name: {"counts": t.counts, "faults": t.faults} for name, t in tallies.items()}))
    else:
        for name, tally in tallies.items():
            for fault in tally.faults[:5]:
                print(f"\n{name}, input {fault['number']} ({fault.get('file', '?')}): {fault['outcome']}")
                print(f"{fault.get('why', '')} {fault.get('mib', 0):.0f} MiB")
    raise SystemExit(1 if any(tally.faults for tally in tallies.values()) else 0)


if __name__ == "__main__":
    main()
