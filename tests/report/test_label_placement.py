from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from edgegan.report.label_placement import overlap, place

BOUNDS = (0.0, 0.0, 600.0, 320.0)
POINTS = st.lists(st.tuples(st.floats(20, 580), st.floats(20, 300)), min_size=1, max_size=7)


@given(POINTS)
def test_labels_cover_neither_each_other_nor_the_points(points):
    markers = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    boxes = place(points, [(70.0, 14.0)] * len(points), markers, BOUNDS)
    assert all(overlap(a, b) == 0 for a, b in combinations(boxes, 2))
    assert all(overlap(box, marker) == 0 for box in boxes for marker in markers)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 600 and box[3] <= 320 for box in boxes)


def test_a_lone_label_stands_beside_its_point():
    ((left, bottom, right, top),) = place([(300.0, 160.0)], [(70.0, 14.0)], [], BOUNDS)
    assert min(abs(left - 300), abs(right - 300)) < 40
    assert min(abs(bottom - 160), abs(top - 160)) < 10


def test_points_on_one_spot_get_labels_apart():
    boxes = place([(300.0, 160.0)] * 5, [(70.0, 14.0)] * 5, [(295, 155, 305, 165)], BOUNDS)
    assert all(overlap(a, b) == 0 for a, b in combinations(boxes, 2))


def test_a_label_larger_than_the_room_starts_at_its_edge():
    ((left, bottom, _, _),) = place([(300.0, 160.0)], [(900.0, 14.0)], [], BOUNDS)
    assert left == 0
    assert 0 <= bottom <= 320


def test_overlap_is_an_area():
    assert overlap((0, 0, 4, 4), (2, 1, 6, 3)) == 4
    assert overlap((0, 0, 4, 4), (4, 0, 8, 4)) == 0
