"""Chains of frames over time, and trees that are none."""

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.importing.transform_tree import TransformTree


def shifted(x: float) -> np.ndarray:
    return frames.transform((x, 0.0, 0.0))


def test_moving_edges_are_interpolated_each_on_its_own() -> None:
    tree = TransformTree(max_gap_s=1.0)
    tree.add("world", "arm", shifted(0.0), 0.0)
    tree.add("world", "arm", shifted(1.0), 1.0)
    tree.add("arm", "hand", np.eye(4), 0.2)
    tree.add("arm", "hand", frames.transform((0.0, 1.0, 0.0)), 0.7)
    tree.add("/hand", "camera", shifted(0.1), None)
    T = tree.at("world", "camera", 0.45)
    assert T is not None
    np.testing.assert_allclose(T[:3, 3], [0.55, 0.5, 0.0])
    np.testing.assert_allclose(tree.at("camera", "world", 0.45), frames.invert(T))  # type: ignore[arg-type]
    assert tree.at("world", "camera", 0.8) is None  # the hand is not known any more
    assert tree.end_s("world", "camera") == 0.7
    assert tree.fixed("world", "camera") is None
    np.testing.assert_allclose(tree.fixed("hand", "camera"), shifted(0.1))  # type: ignore[arg-type]


def test_frames_without_a_chain_have_no_transform() -> None:
    tree = TransformTree(max_gap_s=1.0)
    tree.add("a", "b", np.eye(4), None)
    assert tree.at("a", "elsewhere", 0.0) is None
    assert tree.end_s("a", "elsewhere") == float("-inf")
    assert tree.end_s("a", "b") == float("inf")


def test_circles_second_parents_and_time_that_goes_back_are_errors() -> None:
    tree = TransformTree(max_gap_s=1.0)
    tree.add("a", "b", np.eye(4), 1.0)
    with pytest.raises(SourceError, match="hangs on a and on c"):
        tree.add("c", "b", np.eye(4), 1.0)
    with pytest.raises(SourceError, match="time goes back"):
        tree.add("a", "b", np.eye(4), 0.5)
    tree.add("b", "a", np.eye(4), None)
    with pytest.raises(SourceError, match="circles"):
        tree.at("a", "b", 1.0)
