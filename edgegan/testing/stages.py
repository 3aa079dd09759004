"""What every stage has to keep."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from pydantic import ValidationError

from edgegan.compress.fingerprint import of_candidate, of_module
from edgegan.compress.pipeline import Pipeline
from edgegan.compress.stage import Candidate, Context, Settings, Stage
from edgegan.errors import ProofError, StageError
from edgegan.files import sha256


@dataclass(frozen=True)
class Ran:
    """A stage that ran twice, each time in a folder of its own."""

    before: Candidate
    was: str
    """The hash of `before`, from before anything ran."""
    after: Candidate
    again: Candidate
    folder: Path
    """Of the first."""
    told: list[tuple[int, int]]
    """Its progress."""


class StageTestCase:
    """Holds a stage to `edgegan.Stage`, as the pipeline runs it.

    Give `stage` and `candidate`, small ones, since the stage runs twice; and `unusable` and `broken` where
    there are such.
    """

    def stage(self) -> Stage:
        """Return a new stage, with settings under which it takes little time."""
        raise NotImplementedError

    def candidate(self) -> Candidate:
        """Return a new candidate that the stage can use, in eval mode; its parameters do not learn."""
        raise NotImplementedError

    def unusable(self) -> Mapping[str, Candidate]:
        """Return candidates, by what is wrong with them, that `requires` has to refuse."""
        return {}

    def broken(self, before: Candidate, after: Candidate) -> Mapping[str, Candidate]:
        """Return spoiled results, by what is wrong with them, that `ensures` has to refuse."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def ran(cls, tmp_path_factory: pytest.TempPathFactory) -> Ran:
        """Run the stage twice."""
        case = cls()
        before, told = case.candidate(), []
        was = of_candidate(before)
        folder, other = tmp_path_factory.mktemp("stage"), tmp_path_factory.mktemp("again")

        def follow(name: str, restored: bool) -> Any:
            return lambda done, total: told.append((done, total))

        after = Pipeline([case.stage()], follow=follow).run(before, Context(folder, seed=5))
        torch.rand(7)
        again = Pipeline([case.stage()]).run(case.candidate(), Context(other, seed=5))
        return Ran(before, was, after, again, folder, told)

    def test_its_settings_are_data(self) -> None:
        stage = self.stage()
        assert re.fullmatch(r"[a-z][a-z0-9_]*", stage.name)
        assert stage.revision >= 1
        assert isinstance(stage.settings, Settings)
        kind, plain = type(stage.settings), stage.settings.model_dump(mode="json")
        assert kind.model_validate(json.loads(json.dumps(plain))) == stage.settings
        with pytest.raises(ValidationError):
            kind.model_validate({**plain, "no_such_setting": 1})
        json.dumps(stage.rests_on())

    def test_the_candidate_stays_as_it_was(self, ran: Ran) -> None:
        assert of_candidate(ran.before) == ran.was
        assert ran.after is not ran.before

    def test_it_leaves_one_record_of_plain_numbers(self, ran: Ran) -> None:
        assert ran.after.lineage[:-1] == ran.before.lineage
        record = ran.after.lineage[-1]
        assert record.stage == self.stage().name
        json.dumps([record.settings, record.changed, record.proof], allow_nan=False)
        assert math.isfinite(record.seconds)
        assert record.seconds >= 0

    def test_the_student_is_ready_for_the_next_stage(self, ran: Ran) -> None:
        assert not any(module.training for module in ran.after.student.modules())
        for name, tensor in ran.after.student.state_dict().items():
            assert tensor.device.type == "cpu", name
            assert torch.isfinite(tensor).all(), name
        assert ran.after.teacher is ran.before.teacher
        inputs = ran.after.contract.sample(2, 0).values()
        with torch.no_grad():
            ran.after.student(*map(torch.from_numpy, inputs))

    def test_equal_seeds_give_equal_results(self, ran: Ran) -> None:
        assert of_module(ran.after.student) == of_module(ran.again.student)
        ours, theirs = (
            {name: sha256(path) for name, path in each.files.items()} for each in (ran.after, ran.again)
        )
        assert ours == theirs
        assert ran.after.lineage[-1].changed == ran.again.lineage[-1].changed

    def test_its_files_lie_in_its_folder(self, ran: Ran) -> None:
        new = set(ran.after.files.values()) - set(ran.before.files.values())
        assert all(path.resolve().is_relative_to(ran.folder.resolve()) for path in new)
        for path in ran.folder.rglob("*.json"):
            assert str(ran.folder) not in path.read_text(), f"{path.name} names a place on this machine"

    def test_its_result_is_restored_where_the_folder_went(self, ran: Ran, tmp_path: Path) -> None:
        moved = tmp_path / "moved"
        ran.folder.rename(moved)
        try:
            stage = self.stage()
            stage.run = _not_again
            restored = Pipeline([stage]).run(self.candidate(), Context(moved, seed=5))
            assert of_module(restored.student) == of_module(ran.after.student)
            assert set(restored.files) == set(ran.after.files)
            assert restored.lineage == ran.after.lineage
        finally:
            moved.rename(ran.folder)

    def test_progress_goes_forward_to_an_end(self, ran: Ran) -> None:
        assert all(0 <= done <= total for done, total in ran.told)
        shares = [done / max(1, total) for done, total in ran.told]
        assert shares == sorted(shares)

    def test_what_it_cannot_use_is_refused(self) -> None:
        for what, candidate in self.unusable().items():
            with pytest.raises(StageError) as caught:
                self.stage().requires(candidate)
            assert caught.value.next, f"{what}: say what to do"

    def test_what_it_promises_is_checked(self, ran: Ran) -> None:
        stage = self.stage()
        stage.ensures(ran.before, ran.after)
        for what, spoiled in self.broken(ran.before, ran.after).items():
            try:
                stage.ensures(ran.before, spoiled)
            except ProofError:
                continue
            pytest.fail(f"`ensures` did not find it out: {what}")


def _not_again(candidate: Candidate, context: Context) -> NoReturn:
    raise AssertionError("it ran again, though its result was there")
