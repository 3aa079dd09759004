"""What a kept result rests on: what throws a run away, and what does not."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from pipeline_stages import Fake, FakeSettings, Shake, Ship, Shrink, first
from pydantic import AliasChoices, Field, field_validator

from edgegan.compress.pipeline import Pipeline
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context, Stage
from edgegan.compress.stages import STAGES
from edgegan.files import remove, write_text
from edgegan.owned import held


class WithOption(FakeSettings):
    extra: float = 1.0


class OtherDefault(FakeSettings):
    amount: float = 0.2


class Renamed(FakeSettings):
    size: int = Field(default=3, validation_alias=AliasChoices("size", "width"))
    width: int = Field(default=0, exclude=True)

    @field_validator("size")
    @classmethod
    def _warn(cls, value: int) -> int:
        warnings.warn("an old name", DeprecationWarning, stacklevel=2)
        return value


def stages(settings: type[FakeSettings] = FakeSettings, **set: Any) -> list[Stage]:
    """Three stages; the second has `settings`, of which `set` is set."""
    shake = Shake()
    shake.settings = settings(**set)
    return [Shrink(), shake, Ship()]


def run(folder: Path, chosen: list[Stage]) -> list[str]:
    """Return which stages ran, and were not restored."""
    Fake.runs.clear()
    Pipeline(chosen, origin="first").run(first(), Context(folder))
    return list(Fake.runs)


def test_a_new_option_throws_no_run_away_until_it_is_set(tmp_path: Path) -> None:
    run(tmp_path, stages())
    assert run(tmp_path, stages(WithOption)) == []
    assert run(tmp_path, stages(WithOption, extra=1.0)) == []
    assert run(tmp_path, stages(WithOption, extra=2.0)) == ["shake", "ship"]
    assert run(tmp_path, stages()) == ["shake", "ship"], "an option that is gone had been set"


def test_a_changed_default_is_another_setting_for_all_stages_behind(tmp_path: Path) -> None:
    run(tmp_path, stages())
    assert run(tmp_path, stages(OtherDefault, amount=0.1)) == []
    assert run(tmp_path, stages(OtherDefault)) == ["shake", "ship"]
    assert run(tmp_path, stages(amount=0.2)) == [], "what was a default counts for those who set it"


def test_a_raised_revision_makes_the_stage_and_those_behind_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, stages())
    monkeypatch.setattr(Shake, "revision", 2)
    assert run(tmp_path, stages()) == ["shake", "ship"]
    assert run(tmp_path, stages()) == []


def test_a_file_that_the_settings_name_counts_by_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, stages())
    monkeypatch.setattr(Shake, "rests_on", lambda self: {"a.yaml": {"bits": 7}})
    assert run(tmp_path, stages()) == ["shake", "ship"]


def test_a_renamed_option_is_read_by_its_old_name(tmp_path: Path) -> None:
    run(tmp_path, stages(width=5))
    kept = json.loads((tmp_path / "02-shake" / "key.json").read_text())["settings"]
    with pytest.warns(DeprecationWarning, match="old name"):
        renamed = stages(Renamed, size=5)
    assert kept["width"] == 5
    assert run(tmp_path, renamed) == []


def as_0_1_kept_it(folder: Path, origin: str, seed: int = 0) -> None:
    """Turn the keys of a folder into those of edgegan 0.1.0: hashes, its version and all settings in them."""
    key = origin
    with held(folder, "stages"):
        for place in sorted(folder.glob("0*")):
            record = json.loads((place / "record.json").read_text())
            content = json.dumps([record["stage"], record["settings"], seed, "0.1.0", key], sort_keys=True)
            key = hashlib.sha256(content.encode()).hexdigest()
            remove(place / "key.json")
            write_text(place / "key", key)


def test_a_run_of_the_last_version_is_restored(tmp_path: Path) -> None:
    run(tmp_path, stages(amount=0.3))
    as_0_1_kept_it(tmp_path, "first")
    assert run(tmp_path, stages(WithOption, amount=0.3)) == []
    assert run(tmp_path, stages(WithOption, amount=0.4)) == ["shake", "ship"]
    assert run(tmp_path, stages(WithOption, amount=0.4)) == []
    assert not (tmp_path / "02-shake" / "key").exists()


@pytest.mark.parametrize("damage", ["", "f" * 64, "\udcff"])
def test_a_damaged_key_of_the_last_version_does_not_count(tmp_path: Path, damage: str) -> None:
    run(tmp_path, stages())
    as_0_1_kept_it(tmp_path, "first")
    (tmp_path / "02-shake" / "key").write_bytes(damage.encode(errors="surrogateescape"))
    assert run(tmp_path, stages()) == ["shake", "ship"]


@pytest.mark.parametrize("name", STAGES)
def test_kept_settings_of_every_stage_are_read_back_as_they_were(name: str) -> None:
    import importlib

    module = importlib.import_module(STAGES[name][0])
    kind = getattr(module, f"{STAGES[name][1]}Settings")
    given = {
        "prune": {"macs": 0.3, "skip": ["a"]},
        "distill": {"steps": 3, "output": 0.5},
        "quantize": {"quality": {"psnr_db": 40}, "distill": {"steps": 3}, "targets": ["x64-cpu"]},
        "export": {"fixed": {"label": [3]}},
    }[name]
    plain = kind(**given).model_dump(mode="json")
    assert kind.model_validate(json.loads(json.dumps(plain))).model_dump(mode="json") == plain


def test_a_target_of_ones_own_counts_by_its_scheme(tmp_path: Path) -> None:
    from edgegan.target import FOLDER

    own = tmp_path / "own.yaml"
    own.write_text((FOLDER / "x64-cpu.yaml").read_text())
    stage = Quantize(QuantizeSettings(targets=(str(own),)))
    before = stage.rests_on()
    own.write_text(own.read_text().replace("weight_bits: 7", "weight_bits: 6"))
    assert before[str(own)]["weight_bits"] == 7
    assert stage.rests_on()[str(own)]["weight_bits"] == 6


def test_the_candidate_of_another_seed_is_another_run(tmp_path: Path) -> None:
    run(tmp_path, stages())
    Fake.runs.clear()
    after: Candidate = Pipeline(stages(), origin="first").run(first(), Context(tmp_path, seed=3))
    assert (len(Fake.runs), len(after.lineage)) == (3, 3)
