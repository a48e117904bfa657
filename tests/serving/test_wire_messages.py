"""Observations and actions as messages: complete both ways, and what is wrong is named by its key."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_rig import observation

from simtoreal import frames
from simtoreal.contracts import Action, CameraImage, Observation
from simtoreal.serving.codec import pack, unpack
from simtoreal.serving.messages import (
    ACTIONS,
    CAMERA,
    DEPTH,
    IMAGE,
    K_KEY,
    STATE,
    T_S,
    TOOL,
    WIDTH,
    WRIST_IMAGE,
    MessageError,
    action_row,
    deadline_of,
    full_message,
    observation_message,
    read_action,
    read_observation,
    sequence_of,
)

SMALL = st.floats(-2.0, 2.0)


def assert_equal(one: Any, other: Any) -> None:
    for name, value in one._asdict().items():
        twin = getattr(other, name)
        if isinstance(value, dict):
            assert value.keys() == twin.keys()
            for key in value:
                assert_equal(value[key], twin[key])
        elif value is None:
            assert twin is None
        else:
            np.testing.assert_array_equal(value, twin)


def message(**changes: Any) -> dict[str, Any]:
    return {**observation_message(observation(), WRIST_IMAGE), **changes}


@pytest.mark.parametrize("missing", [None, "rgb", "depth_m", "joint_positions_rad"])
@pytest.mark.parametrize("distortion", [None, np.array([0.1, -0.2, 0.0, 0.0, 0.05])])
def test_an_observation_arrives_whole(missing: str | None, distortion: Any) -> None:
    second = CameraImage(2.5, None, np.ones((2, 2), np.float32), np.eye(3), np.eye(4))
    sent = observation(distortion=distortion, more_cameras={"side": second})
    if missing is not None:
        sent = sent._replace(**{missing: None})
    assert_equal(sent, read_observation(unpack(pack(full_message(sent)))))


@given(st.tuples(SMALL, SMALL, SMALL), st.tuples(SMALL, SMALL, SMALL), st.floats(0.0, 0.1))
def test_the_state_of_openpi_says_pose_and_opening(position: Any, rotation: Any, width_m: float) -> None:
    plain = {key: value for key, value in message().items() if key not in (TOOL, WIDTH)}
    plain[STATE] = np.array([*position, *rotation, width_m], np.float32)
    result = read_observation(plain, WRIST_IMAGE)
    np.testing.assert_allclose(result.T_base_tcp[:3, 3], position, atol=1e-6)
    np.testing.assert_allclose(result.T_base_tcp[:3, :3], frames.rotation_from_vector(rotation), atol=1e-5)
    assert result.gripper_width_m == pytest.approx(width_m, abs=1e-7)


@pytest.mark.parametrize("key", [K_KEY, CAMERA, TOOL, WIDTH, T_S, WRIST_IMAGE, DEPTH])
def test_a_missing_key_is_named_with_what_belongs_there(key: str) -> None:
    without = {name: value for name, value in message().items() if name != key}
    with pytest.raises(MessageError, match=rf"{re.escape(key)} is missing: "):
        read_observation(without, WRIST_IMAGE, (WRIST_IMAGE, DEPTH))


BAD = [
    (K_KEY, np.full((3, 3), np.nan), "must be finite"),
    (K_KEY, np.eye(4), "must be (3, 3)"),
    (K_KEY, "text", "must be numbers"),
    (K_KEY, [[1, 2], [3]], "must be numbers"),
    (CAMERA, 2.0 * np.eye(4), "rigid transform"),
    (TOOL, np.diag([1.0, 1.0, -1.0, 1.0]), "rigid transform"),
    (TOOL, np.full((4, 4), np.inf), "must be finite"),
    (WIDTH, np.nan, "must be finite"),
    (WIDTH, 80.0, "out of range"),
    (WIDTH, np.zeros(2), "must be ()"),
    (T_S, np.inf, "must be finite"),
    (WRIST_IMAGE, np.zeros((6, 8, 3), np.float32), "must be uint8"),
    (WRIST_IMAGE, np.zeros((6, 8, 4), np.uint8), "must be (any, any, 3)"),
    (WRIST_IMAGE, np.zeros((0, 8, 3), np.uint8), "has the shape (0, 8, 3)"),
    (WRIST_IMAGE, np.zeros((6, 9, 3), np.uint8), "register one to the other"),
    (DEPTH, np.full((6, 8), np.inf, np.float32), "nan and not inf"),
    (DEPTH, np.full((6, 8), 400, np.uint16), "floats in metres"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD)
def test_a_bad_value_is_named(key: str, value: Any, words: str) -> None:
    with pytest.raises(MessageError, match=re.escape(words)) as error:
        read_observation(message(**{key: value}), WRIST_IMAGE)
    assert "observation/" in str(error.value)


def test_more_cameras_must_be_cameras() -> None:
    with pytest.raises(MessageError, match="map of cameras"):
        read_observation(message(**{"observation/more_cameras": [1]}))


@given(st.tuples(*[SMALL] * 7))
def test_an_action_arrives_whole(row: tuple[float, ...]) -> None:
    action = Action(np.array(row[:3]), np.array(row[3:6]), row[6])
    assert_equal(action, read_action(unpack(pack({ACTIONS: action_row(action)[None]})), ACTIONS))


@pytest.mark.parametrize("value", [None, "text", np.zeros(6), np.zeros((0, 7)), np.zeros((1, 1, 7)), [[1], [2, 3]]])
def test_what_is_no_action_is_refused(value: Any) -> None:
    with pytest.raises(MessageError, match="actions must be numbers of shape"):
        read_action({ACTIONS: value}, ACTIONS)


@pytest.mark.parametrize("number", [-1, 1.0, True, "5", [1]])
def test_numbers_and_deadlines_are_numbers(number: Any) -> None:
    with pytest.raises(MessageError, match="sequence"):
        sequence_of({"simtoreal/sequence": number})
    if number != 1.0 or number is True:
        with pytest.raises(MessageError, match="deadline"):
            deadline_of({"simtoreal/deadline_s": number})


@pytest.mark.parametrize("deadline_s", [0.0, float("nan"), float("inf")])
def test_a_deadline_is_a_time_from_now(deadline_s: float) -> None:
    with pytest.raises(MessageError, match="positive number of seconds"):
        deadline_of({"simtoreal/deadline_s": deadline_s})


def test_pictures_of_the_right_camera_are_taken() -> None:
    both = message(**{IMAGE: np.zeros((6, 8, 3), np.uint8)})
    wrist, standing = read_observation(both, WRIST_IMAGE), read_observation(both, IMAGE)
    assert isinstance(wrist, Observation)
    assert wrist.rgb is not None
    assert standing.rgb is not None
    assert wrist.rgb.any()
    assert not standing.rgb.any()
