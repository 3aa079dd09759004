"""A stage at its place in a run: what its result rests on, and whether that is what its folder holds."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegan.compress import structure
from edgegan.compress.stage import Stage
from edgegan.files import sha256
from edgegan.reading import Unreadable, check_plain, read_json, read_text
from edgegan.run.folder import RECORD
from edgegan.run.records import KeptRecord, StageRecord
from edgegan.run.typed import from_plain, to_plain

KEY = "key.json"
KEY_OF_0_1 = "key"
"""Where edgegan 0.1.0 kept a hash of what a result rests on, with its own version among it."""


@dataclass(frozen=True)
class Key:
    """All that a stage's result rests on. A result counts where that is the same.

    edgegan's version is not among it: a new version throws no run away. Settings are compared by what they
    mean. Kept ones spell out every default of their time, and are read by today's settings:

    - a new option has its default in them, so that what was kept still counts. Its default has to be what the
      stage did before there was the option;
    - a default that changed differs from the one that is spelled out: the stage runs again, and so do those
      after it. Where somebody had set what is now the default, the result counts;
    - an option that was renamed is read by its old name as long as the settings take that;
    - whoever changes what a stage makes of equal settings raises its `revision`.
    """

    stage: str
    revision: int
    settings: dict[str, Any]
    rests_on: dict[str, Any]
    """What the settings name and do not hold; see `Stage.rests_on`."""
    seed: int
    after: str
    """The hash of the key of the stage before, or what the first candidate is made of."""

    @property
    def sha256(self) -> str:
        """The hash of all of it."""
        return hashlib.sha256(json.dumps(to_plain(self), sort_keys=True).encode()).hexdigest()

    def counts_for(self, wanted: Key, stage: Stage) -> bool:
        """Tell whether a result with this key, which was kept, is what `stage` would make for `wanted`."""
        settings = _read_today(stage, self.settings)
        return settings is not None and replace(self, settings=settings) == wanted


@dataclass(frozen=True)
class Step:
    """A stage, and its folder, `NN-name`."""

    stage: Stage
    folder: Path
    content: Key
    """What the result rests on, as it is kept, or will be."""
    key: str
    """The hash of that."""

    @property
    def finished(self) -> bool:
        """Whether the stage's result is there, whole, and made by this very step."""
        return self.started and self.record is not None

    @property
    def started(self) -> bool:
        """Whether the folder is this step's: what a broken-off stage left in it may be gone on with."""
        kept = _kept(self.folder, self.content)
        return kept is not None and kept[1] == self.key

    @property
    def record(self) -> KeptRecord | None:
        """The stage's record; None where it is damaged, or a file is not the one of which it speaks."""
        try:
            record = from_plain(KeptRecord, read_json(self.folder / RECORD))
            needed = {structure.STRUCTURE, structure.WEIGHTS, *(of.file for of in record.exported)}
            if not needed <= record.sha256.keys():
                return None
            for name, sum in record.sha256.items():
                if not (self.folder / name).resolve().is_relative_to(self.folder.parent.resolve()):
                    return None
                check_plain(self.folder / name)
                if sha256(self.folder / name) != sum:
                    return None
        except Unreadable:
            return None
        return record


def plan(stages: Sequence[Stage], folder: Path, seed: int, origin: str) -> list[Step]:
    """Return the steps of a run in `folder`, each with the key that was kept, where that counts."""
    steps: list[Step] = []
    after = origin
    for index, stage in enumerate(stages, 1):
        place = folder / f"{index:02d}-{stage.name}"
        wanted = Key(stage.name, stage.revision, _plain(stage.settings), stage.rests_on(), seed, after)
        kept = _kept(place, wanted)
        content, after = kept if kept and kept[0].counts_for(wanted, stage) else (wanted, wanted.sha256)
        steps.append(Step(stage, place, content, after))
    return steps


def _plain(settings: Any) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _read_today(stage: Stage, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return settings that were kept with today's names and new options; None where they are none today."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _plain(type(stage.settings).model_validate(settings))
    except ValueError:
        return None


def _kept(folder: Path, wanted: Key) -> tuple[Key, str] | None:
    """Return the key that a folder holds and its hash; None where there is none, or it is damaged."""
    try:
        if (folder / KEY_OF_0_1).is_file() and not (folder / KEY).exists():
            return _kept_by_0_1(folder, wanted)
        key = from_plain(Key, read_json(folder / KEY))
    except Unreadable:
        return None
    return key, key.sha256


def _kept_by_0_1(folder: Path, wanted: Key) -> tuple[Key, str] | None:
    """Return a key of edgegan 0.1.0: of the settings in the record, where the hash is theirs."""
    found = read_text(folder / KEY_OF_0_1)
    record = from_plain(StageRecord, read_json(folder / RECORD))
    content = json.dumps([record.stage, record.settings, wanted.seed, "0.1.0", wanted.after], sort_keys=True)
    if found != hashlib.sha256(content.encode()).hexdigest():
        return None
    return replace(wanted, stage=record.stage, revision=1, settings=record.settings), found
