"""Slices: found where they are, and not found where there are none however many one looks at."""

import numpy as np
import pytest
from bar_scenes import real_frames

from simtoreal.transfer.ledger.slices import by_slice, colour_of, describe


def test_every_episode_is_in_one_slice_of_each_kind():
    slices = describe(real_frames(7), np.arange(7))
    assert set(slices) == {"colour", "object between the jaws", "picture", "place", "side"}
    assert all(labels.shape == (7,) for labels in slices.values())
    assert set(slices["side"]) == {"left", "right"}


def test_kind_and_colour_of_the_object_are_slices():
    names = [f"mug_{i:04d}" for i in range(4)] + ["907", "red cup 2", ""]
    slices = describe(real_frames(7), np.arange(7), names)
    assert slices["kind of object"].tolist() == ["mug"] * 4 + ["numbered", "red cup", "unnamed"]
    assert slices["colour"].tolist() == ["red"] * 7


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((200, 60, 60), "red"), ((60, 180, 70), "green"), ((60, 60, 200), "blue"), ((200, 190, 40), "yellow"),
     ((120, 120, 125), "grey"), ((0, 0, 0), "no colour")],
)  # fmt: skip
def test_colours_have_names(rgb: tuple[int, int, int], name: str):
    real = real_frames(1)
    view = real.view(0)
    painted = view._replace(rgb=np.broadcast_to(np.array(rgb, np.uint8), view.rgb.shape).copy())
    assert colour_of(painted, real.known(0)[0]) == name


def test_who_lost_is_found_and_who_did_not_is_not():
    rng = np.random.default_rng(0)
    labels = np.array(["dark", "bright"] * 20)
    gain = np.where(labels == "dark", -0.3, 0.0) + rng.normal(0.0, 0.05, 40)
    rows = {row["slice"]: row for row in by_slice(gain, np.arange(40), {"picture": labels}, rng)}
    assert rows["dark"]["high"] < 0
    assert rows["dark"]["p_corrected"] < 0.01
    assert rows["bright"]["low"] < 0 < rows["bright"]["high"]


def test_looking_many_times_is_paid_for():
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(60):
        gain = rng.normal(0.0, 0.1, 24)
        slices = {str(kind): np.where(rng.random(24) < 0.5, "a", "b") for kind in range(5)}
        alarms += any(row["p_corrected"] < 0.05 for row in by_slice(gain, np.arange(24), slices, rng))
    assert alarms <= 7, "5 % of 60 is 3"


def test_slices_of_fewer_than_three_episodes_say_nothing():
    labels = np.array(["a", "a", "b", "b", "b"])
    rows = by_slice(np.zeros(5), np.arange(5), {"kind": labels}, np.random.default_rng(0))
    assert [row["slice"] for row in rows] == ["b"]
    assert by_slice(np.zeros(2), np.arange(2), {"kind": np.array(["a", "b"])}, np.random.default_rng(0)) == []
