"""What a head sees does not depend on where in the cell it works, and what it says is turned back the same way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal import frames
from simtoreal.contracts import Action, FloatArray, GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, NUM_RECENT_ACTIONS, OBSERVATION_DIM, HeadInterface, HeadScale

SCALE = HeadScale()
TOOL = frames.top_down((0.48, 0.03, 0.22), 0.4)
GRASP = frames.top_down((0.53, -0.02, 0.03), 1.3)


def observation_of(T_base_tcp: FloatArray, width_m: float = 0.08, t_s: float = 0.0) -> Observation:
    return Observation(t_s, None, None, np.eye(3), np.eye(4), T_base_tcp, width_m, None)


def estimate_of(T_base_grasp: FloatArray, age_s: float = 0.0) -> GraspEstimate:
    return GraspEstimate(T_base_grasp, 0.04, 0.7, age_s)


def started(T_base_tcp: FloatArray = TOOL, scale: HeadScale = SCALE) -> HeadInterface:
    interface = HeadInterface(scale)
    interface.reset()
    interface.see(observation_of(T_base_tcp))
    return interface


angle = st.floats(-math.pi, math.pi)
action_vector = st.lists(st.floats(-1.0, 1.0), min_size=ACTION_DIM, max_size=ACTION_DIM).map(np.array)


@given(angle, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), action_vector)
def test_turning_and_shifting_the_whole_cell_changes_nothing_for_the_head(
    turn_rad: float, x_m: float, y_m: float, vector: np.ndarray
):
    about = frames.transform((x_m, y_m, 0.0), frames.rotation_about_z(turn_rad))
    here, there = started(TOOL), started(about @ TOOL)
    for _ in range(2):
        seen_here = here.vector(observation_of(TOOL), estimate_of(GRASP))
        seen_there = there.vector(observation_of(about @ TOOL), estimate_of(about @ GRASP))
        assert seen_there == pytest.approx(seen_here, abs=1e-5)
        action, turned = here.action(vector, observation_of(TOOL)), there.action(vector, observation_of(about @ TOOL))
        assert turned.delta_m == pytest.approx(about[:3, :3] @ action.delta_m, abs=1e-9)
        assert turned.delta_rotation_rad == pytest.approx(action.delta_rotation_rad)
        here.sent(action)
        there.sent(turned)


@given(st.floats(-1e6, 1e6), st.floats(0.0, 1e6), st.floats(-10.0, 10.0), action_vector)
def test_the_observation_of_a_head_is_always_finite_and_bounded(
    far_m: float, age_s: float, width_m: float, vector: np.ndarray
):
    interface = started()
    observation = observation_of(TOOL, width_m)
    interface.sent(interface.action(vector, observation))
    seen = interface.vector(observation, estimate_of(frames.top_down((far_m, -far_m, far_m), far_m), age_s))
    assert seen.shape == (OBSERVATION_DIM,)
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    assert np.abs(seen).max() <= 5.0


def test_the_error_is_in_the_frame_of_the_tool():
    interface = started()
    ahead = TOOL.copy()
    ahead[:3, 3] += 0.03 * TOOL[:3, 0]  # along the closing direction
    seen = interface.vector(observation_of(TOOL), estimate_of(ahead))
    assert seen[:3] == pytest.approx((0.3, 0.0, 0.0), abs=1e-6)


def test_yaw_error_goes_the_short_way_because_half_a_turn_is_the_same_grasp():
    seen = started().vector(observation_of(TOOL), estimate_of(frames.top_down((0.5, 0, 0), 0.4 + 3.0)))
    assert seen[6] == pytest.approx(3.0 - math.pi, abs=1e-6)


def test_moving_along_the_seen_error_arrives():
    interface, T = started(), TOOL.copy()
    for _ in range(60):
        seen = interface.vector(observation_of(T), estimate_of(GRASP)).astype(float)
        action = np.zeros(ACTION_DIM)
        action[:3] = seen[:3] * 0.1 / SCALE.max_delta_m
        action[3] = seen[6] / SCALE.max_yaw_rad
        sent = interface.action(np.clip(action, -1, 1), observation_of(T))
        T[:3, :3] = frames.rotation_from_vector(sent.delta_rotation_rad) @ T[:3, :3]
        T[:3, 3] += sent.delta_m
        interface.sent(sent)
    assert T[:3, 3] == pytest.approx(GRASP[:3, 3], abs=1e-4)
    assert frames.wrap_half_turn(frames.yaw_of(T) - frames.yaw_of(GRASP)) == pytest.approx(0.0, abs=1e-3)


@given(st.lists(st.floats(-50, 50), min_size=ACTION_DIM, max_size=ACTION_DIM).map(np.array))
def test_whatever_a_head_says_stays_within_the_limits(vector: np.ndarray):
    action = started().action(vector, observation_of(TOOL))
    assert np.linalg.norm(action.delta_m) <= SCALE.max_delta_m + 1e-9
    assert np.abs(action.delta_rotation_rad).max() <= SCALE.max_yaw_rad + 1e-9
    assert action.delta_rotation_rad[:2] == pytest.approx(0.0)
    assert 0.0 <= action.gripper_width_m <= SCALE.max_opening_m


@pytest.mark.parametrize("opening_m", [0.05, 0.08, 0.11])
def test_jaws_go_from_closed_to_fully_open(opening_m: float):
    interface = started(scale=HeadScale(max_opening_m=opening_m))
    vector = np.zeros(ACTION_DIM)
    widths = []
    for jaws in (-1.0, 0.0, 1.0):
        vector[4] = jaws
        widths.append(interface.action(vector, observation_of(TOOL)).gripper_width_m)
    assert widths == pytest.approx([0.0, opening_m / 2, opening_m])


def test_the_lead_follows_what_was_sent_and_not_what_was_asked():
    interface = started()
    asked = interface.action(np.array([1.0, 0, 0, 0, 1.0]), observation_of(TOOL))
    interface.sent(asked._replace(delta_m=0.2 * asked.delta_m))
    lead, yaw_lead = interface.lead(observation_of(TOOL))
    assert lead == pytest.approx((0.2 * SCALE.max_delta_m, 0.0, 0.0))
    assert yaw_lead == pytest.approx(0.0)


def test_setpoint_is_taken_from_the_first_observation_only():
    interface = started(TOOL)
    interface.see(observation_of(GRASP))
    assert interface.T_base_tcp_commanded is not None
    assert np.array_equal(interface.T_base_tcp_commanded, TOOL)
    with pytest.raises(ValueError, match="see"):
        HeadInterface(SCALE).sent(Action(np.zeros(3), np.zeros(3), 0.08))


def test_time_and_rise_since_closing():
    interface = started()
    close, open_ = (Action(np.array([0, 0, 0.02]), np.zeros(3), width) for width in (0.0, 0.08))
    for _ in range(5):
        interface.sent(close)
    assert interface.is_closing
    assert interface.closed_s == pytest.approx(5 / SCALE.control_hz)
    raised = TOOL.copy()
    raised[2, 3] = interface.closed_at_m + 0.05
    seen = interface.vector(observation_of(raised), estimate_of(GRASP))
    assert seen[[22, 23]] == pytest.approx((5 / SCALE.control_hz, 0.0), abs=1e-5)
    assert seen[[24, 25]] == pytest.approx((0.5, 0.8), abs=1e-5), "the tool as measured, the setpoint four steps on"
    interface.sent(open_)
    assert not interface.is_closing
    assert interface.closed_s == 0.0
    seen = interface.vector(observation_of(raised), estimate_of(GRASP))
    assert seen[[22, 23, 24, 25]] == pytest.approx((0.0, 0.5 / SCALE.control_hz, 0.0, 0.0), abs=1e-5)


def test_what_lead_remains_at_rest_is_standing_and_what_a_moving_arm_has_is_not():
    interface = started()
    interface.sent(Action(np.array([0.0, 0.0, 0.006]), np.zeros(3), 0.08))
    moving = TOOL.copy()
    for _ in range(20):
        moving[2, 3] += 0.002
        interface.see(observation_of(moving))
    assert interface.still_s == 0.0
    assert not interface.standing(observation_of(moving)).any()
    for _ in range(60):  # the setpoint is 6 mm above a tool that does not come
        interface.see(observation_of(TOOL))
    assert interface.still_s > 2.0
    assert interface.standing(observation_of(TOOL)) == pytest.approx((0.0, 0.0, 0.006), abs=1e-4)
    interface.sent(Action(np.array([0.0, 0.0, 0.1]), np.zeros(3), 0.08))
    for _ in range(100):
        interface.see(observation_of(TOOL))
    assert interface.standing(observation_of(TOOL))[2] == pytest.approx(0.01), (
        "what blocks a tool is not pressed ever harder"
    )


def test_a_head_remembers_its_own_last_actions_in_order():
    interface = started()
    for value in (0.1, 0.2, 0.3, 0.4):
        interface.sent(interface.action(np.full(ACTION_DIM, value), observation_of(TOOL)))
    recent = interface.vector(observation_of(TOOL), estimate_of(GRASP))[-NUM_RECENT_ACTIONS * ACTION_DIM :]
    assert recent.reshape(NUM_RECENT_ACTIONS, ACTION_DIM)[:, 0] == pytest.approx([0.2, 0.3, 0.4])
    interface.reset()
    interface.see(observation_of(TOOL))
    assert not interface.vector(observation_of(TOOL), estimate_of(GRASP))[-NUM_RECENT_ACTIONS * ACTION_DIM :].any()


@pytest.mark.parametrize(("name", "value"), [("max_delta_m", 0.0), ("max_opening_m", -0.1), ("control_hz", math.nan)])
def test_a_scale_that_makes_no_sense_is_refused(name: str, value: float):
    with pytest.raises(ValueError, match=name):
        HeadScale(**{name: value})


def test_a_miss_is_noticed_once_for_every_closing():
    interface = started()
    period_s = 1.0 / SCALE.control_hz
    opened, closed = Action(np.zeros(3), np.zeros(3), 0.08), Action(np.zeros(3), np.zeros(3), 0.0)

    def notices(action: Action, width_m: float, duration_s: float) -> int:
        told = 0
        for _ in range(round(duration_s / period_s)):
            interface.sent(action)
            told += interface.notices_miss(observation_of(TOOL, width_m))
        return told

    assert notices(closed, 0.0, 0.5) == 0, "jaws need their time"
    assert notices(closed, 0.0, 2.0) == 1
    assert notices(opened, 0.0, 1.0) == 0
    assert notices(closed, 0.03, 2.0) == 0, "they hold something"
    assert notices(closed, 0.0, 0.5) == 1, "and now they have lost it"
    assert interface.num_misses == 2
    interface.reset()
    assert interface.num_misses == 0


@pytest.mark.parametrize("first_yaw", [-2.5, 0.0, 1.0])
def test_the_wrist_does_not_wind_up(first_yaw: float):
    interface = started(frames.top_down((0.5, 0.0, 0.3), first_yaw))
    yaw = first_yaw
    for goal in np.arange(0.0, 12.0, 0.1):  # a grasp that keeps on turning the same way
        for _ in range(20):
            observation = observation_of(frames.top_down((0.5, 0.0, 0.3), yaw))
            _, turn = interface.errors(observation, frames.top_down((0.5, 0.0, 0.03), first_yaw + goal))
            yaw += float(np.clip(turn, -0.2, 0.2))
            assert abs(yaw - first_yaw) < 2.1
        assert abs(turn) < 1e-6, "and still it gets there, with one jaw or the other in front"
