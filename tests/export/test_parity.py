"""How far an export is from its source, measured on maps that are known to differ by so much."""

import math

import numpy as np
import pytest
from export_samples import spec_of, views
from numpy.typing import NDArray

from simtoreal.export.parity import measure_parity
from simtoreal.policies.grasp_map import CELL_PX, HEIGHT_SCALE_M, NUM_FIELDS, NUM_YAWS
from simtoreal.policies.view import View

CELLS = spec_of().pixels // CELL_PX


def one_grasp(quality: float = 0.9, du: float = 0.0, dyaw: float = 0.0, other: float = 0.05) -> NDArray[np.float32]:
    """A map with a grasp in the middle, and a worse one in a corner."""
    grasp_map = np.zeros((NUM_YAWS, NUM_FIELDS, CELLS, CELLS), np.float32)
    grasp_map[4, :, 4, 4] = (quality, 0.5, 0.2, du, 0.0, dyaw)
    grasp_map[9, 0, 1, 1] = other
    return grasp_map


def compare(ours: NDArray[np.float32], theirs: NDArray[np.float32], seen: list[View] | None = None):
    return measure_parity(lambda view: ours, lambda view: theirs, seen or views(1))


def test_the_same_map_differs_in_nothing() -> None:
    (shift,) = compare(one_grasp(), one_grasp()).shifts
    assert shift == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_shift_is_told_in_metres_and_radians() -> None:
    (view,) = views(1)
    (shift,) = compare(one_grasp(), one_grasp(0.8, du=0.25, dyaw=0.2), [view]).shifts
    # A quarter of a cell, seen from the camera at the height of the grasp.
    above_m = view.T_base_view[2, 3] - 0.2 * HEIGHT_SCALE_M
    assert shift.position_m == pytest.approx(0.25 * CELL_PX * above_m / view.K[0, 0], rel=0.15)
    assert shift.angle_rad == pytest.approx(0.2 * math.pi / NUM_YAWS, abs=1e-6)
    assert shift.quality == pytest.approx(0.1, abs=1e-6)
    assert shift.worse == 0.0, "it would still take the same grasp"


def test_another_choice_is_as_bad_as_the_source_thinks() -> None:
    (shift,) = compare(one_grasp(0.9, other=0.3), one_grasp(0.4, other=0.5)).shifts
    assert shift.worse == pytest.approx(0.6, abs=1e-6)
    assert shift.position_m == pytest.approx(0.0, abs=1e-9), "the grasp itself has not moved"


def test_percentiles_are_frames_that_were_met() -> None:
    ours = one_grasp()
    answers = iter([one_grasp(0.9 - 0.01 * step) for step in range(20)])
    parity = measure_parity(lambda view: ours, lambda view: next(answers), views(20))
    assert parity.over_frames("quality") == pytest.approx(0.19, abs=1e-5)
    assert parity.to_plain()["num_frames"] == 20


def test_numbers_that_are_not_finite_are_refused() -> None:
    broken = one_grasp()
    broken[0, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        compare(one_grasp(), broken)


def test_without_frames_nothing_is_proven() -> None:
    with pytest.raises(ValueError, match="no frames"):
        measure_parity(lambda view: one_grasp(), lambda view: one_grasp(), [])
