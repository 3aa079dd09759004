from __future__ import annotations

import pytest
import torch

from edgegan.learning.stored import as_output
from edgegan.runtime.contract import Output
from edgegan.runtime.modality import ClassMap, Series, Tokens, Video


def test_stored_images_fill_the_outputs_range() -> None:
    stored = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    assert as_output(stored, Output("image", (1, 1, 1), (-1, 1))).flatten().tolist() == [
        -1,
        -0.6000000238418579,
        1,
    ]


def test_ids_become_scores_that_give_them_back() -> None:
    ids = torch.tensor([[[0, 2], [1, 1]]], dtype=torch.uint8)
    scores = as_output(ids, Output("tiles", (3, 2, 2), (-1, 1), modality=ClassMap()))
    assert scores.shape == (1, 3, 2, 2)
    assert torch.equal(scores.argmax(1), ids.long())
    assert sorted(set(scores.flatten().tolist())) == [-1, 1]


@pytest.mark.parametrize(("axis", "shape"), [(0, (5, 3)), (-2, (5, 3)), (1, (3, 5)), (-1, (3, 5))])
def test_tokens_become_scores_on_the_axis_of_the_vocabulary(axis: int, shape: tuple[int, int]) -> None:
    ids = torch.tensor([[4, 0, 2], [1, 1, 3]])
    scores = as_output(ids, Output("text", shape, (0, 1), modality=Tokens(axis)))
    assert scores.shape == (2, *shape)
    assert torch.equal(scores.argmax(1 + axis % 2), ids)
    assert float(scores.sum()) == 6


def test_clips_are_stored_in_levels() -> None:
    clip = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1, 1)
    assert as_output(clip, Output("clip", (2, 1, 1, 1), modality=Video(8, "TCHW"))).flatten().tolist() == [
        -1,
        1,
    ]


def test_other_samples_stay_as_they_are() -> None:
    stored = torch.randn(4, 2, 8)
    assert torch.equal(as_output(stored, Output("wave", (2, 8), (-5, 5), modality=Series())), stored)
