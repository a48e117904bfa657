"""Arm, time and gripper of the cell: each thing that a world can be made worse by, measured on the physics."""

from collections.abc import Iterator

import numpy as np
import pytest
from cell_episodes import OPEN_M, PERIOD_S, grasp, with_dynamics, with_timing
from controller_contract import assert_goes_on_from_where_it_stands, hold, run

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.envs.bullet_cell import TICK_S, BulletCell
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.robot import RobotSpec, load_robot
from simtoreal.envs.scene import Scene, SceneSampler


@pytest.fixture(scope="module")
def shared(panda: RobotSpec) -> Iterator[BulletCell]:
    cell = BulletCell(panda, None)
    yield cell
    cell.disconnect()


@pytest.fixture
def cell(shared: BulletCell) -> BulletCell:
    shared.num_rebuilds = 0
    return shared


@pytest.fixture(scope="module")
def scene(plain: SceneSampler) -> Scene:
    return plain.sample((3,), "block")


# --- the arm


def test_the_setpoint_stays_in_the_workspace_above_the_table(cell: BulletCell, scene: Scene):
    cell.reset(with_dynamics(scene, table_height_m=-0.01))
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        for _ in range(30):
            cell.send_action(Action(0.03 * direction, np.zeros(3), OPEN_M))
        position = cell.T_base_tcp_commanded[:3, 3]
        assert (position >= np.add(cell.robot.workspace_low_m, (0, 0, -0.01)) - 1e-12).all()
        assert (position <= np.add(cell.robot.workspace_high_m, (0, 0, -0.01)) + 1e-12).all()


def test_long_actions_keep_their_direction(cell: BulletCell, scene: Scene):
    cell.reset(scene)
    sent = cell.send_action(Action(np.array([0.3, 0.4, 0.0]), np.array([0.0, 0.0, -3.0]), OPEN_M))
    np.testing.assert_allclose(sent.delta_m, (0.018, 0.024, 0.0))
    np.testing.assert_allclose(sent.delta_rotation_rad, (0.0, 0.0, -cell.robot.max_delta_rotation_rad))


def test_the_tool_turns_as_told(cell: BulletCell, scene: Scene):
    start = cell.reset(scene)
    for _ in range(4):
        cell.send_action(Action(np.zeros(3), np.array([0.0, 0.0, 0.1]), OPEN_M))
    end = run(cell, hold(OPEN_M), 10)
    assert frames.yaw_of(end.T_base_tcp) - frames.yaw_of(start.T_base_tcp) == pytest.approx(0.4, abs=0.01)
    assert end.T_base_tcp[2, 2] < -0.9999


def test_the_tool_lags_behind_by_its_time_constant(cell: BulletCell, scene: Scene):
    lag_s = 0.25
    start = cell.reset(with_dynamics(scene, tracking_lag_s=lag_s))
    cell.send_action(hold(OPEN_M, 0.03))
    heights_m = [cell.get_observation().T_base_tcp[2, 3]]
    for _ in range(30):
        heights_m.append(run(cell, hold(OPEN_M), 1).T_base_tcp[2, 3])
    share = (np.array(heights_m) - start.T_base_tcp[2, 3]) / 0.03
    times_s = PERIOD_S * np.arange(1, len(share) + 1)
    assert share[-1] == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(share, 1.0 - np.exp(-times_s / lag_s), atol=0.12)  # the motors have a lag of their own
    assert np.interp(1.0 - np.exp(-1.0), share, times_s) == pytest.approx(lag_s, abs=0.06)


def test_the_tool_settles_beside_its_setpoint_by_the_standing_error(cell: BulletCell, scene: Scene):
    error_m = (0.004, -0.003, 0.005)
    cell.reset(scene)
    exact = run(cell, hold(OPEN_M), 20).T_base_tcp[:3, 3]
    cell.reset(with_dynamics(scene, standing_error_m=error_m))
    off = run(cell, hold(OPEN_M), 20).T_base_tcp[:3, 3]
    np.testing.assert_allclose(off - exact, error_m, atol=3e-4)


def test_swinging_fingers_do_not_move_the_point_between_the_tips(scene: Scene):
    cell = BulletCell(load_robot("kuka"), None)
    start = cell.reset(scene)
    heights_m = [run(cell, hold(0.0), 1).T_base_tcp[2, 3] for _ in range(20)]
    assert cell.get_observation().gripper_width_m < 0.001
    np.testing.assert_allclose(heights_m, start.T_base_tcp[2, 3], atol=0.002)
    cell.disconnect()


# --- time


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5])
def test_observations_are_as_old_as_the_latency(cell: BulletCell, scene: Scene, ticks: int):
    cell.reset(with_timing(scene, observation_latency_s=ticks * TICK_S))
    for _ in range(6):
        observation = run(cell, hold(OPEN_M), 1)
    assert cell.time_s == pytest.approx(6 * PERIOD_S)
    assert cell.time_s - observation.t_s == pytest.approx(ticks * TICK_S)


def test_a_late_observation_shows_where_the_tool_was(cell: BulletCell, scene: Scene):
    def heights(latency_s: float) -> dict[float, float]:
        cell.reset(with_timing(scene, observation_latency_s=latency_s))
        seen = [run(cell, hold(OPEN_M, 0.01), 1) for _ in range(8)]
        return {round(item.t_s, 4): item.T_base_tcp[2, 3] for item in seen}

    prompt, late = heights(0.0), heights(PERIOD_S)
    common = sorted(prompt.keys() & late.keys() - {0.0})
    assert len(common) >= 6
    assert [late[t_s] for t_s in common] == [prompt[t_s] for t_s in common]


@pytest.mark.parametrize("ticks", [0, 2, 3, 6])
def test_actions_take_effect_after_their_latency(cell: BulletCell, scene: Scene, ticks: int):
    def heights(latency_ticks: int) -> list[float]:
        cell.reset(with_timing(scene, action_latency_s=latency_ticks * TICK_S))
        heights_m = []
        read, cell_world = cell._world.read_joints, cell._world
        cell.send_action(hold(OPEN_M, 0.03))
        heights_m.append(cell_world.chain.forward(read()[0])[2, 3])
        for _ in range(7):
            cell.send_action(hold(OPEN_M))
            heights_m.append(cell_world.chain.forward(read()[0])[2, 3])
        return heights_m

    prompt, late = np.array(heights(0)), np.array(heights(ticks))
    if ticks % 3 == 0:
        shift = ticks // 3
        np.testing.assert_allclose(late[shift:], prompt[: len(prompt) - shift], atol=3e-4)
    else:  # between two periods: less far after the first, as far in the end
        assert prompt[0] - late[0] > 0.002
    assert late[-1] - late[0] + (late[0] - cell.robot.home_position_m[2]) == pytest.approx(0.03, abs=0.002)


def test_dropped_frames_do_not_arrive(cell: BulletCell, scene: Scene):
    def times(frac: float) -> list[float]:
        cell.reset(with_timing(scene, dropped_frame_frac=frac))
        return [run(cell, hold(OPEN_M), 1).t_s for _ in range(60)]

    assert set(times(1.0)) == {0.0}
    assert len(set(times(0.0))) == 60
    assert 20 <= len(set(times(0.5))) <= 40
    assert times(0.5) == times(0.5)


def test_jitter_delays_frames_but_never_swaps_them(cell: BulletCell, scene: Scene):
    cell.reset(with_timing(scene, jitter_s=0.06, observation_latency_s=0.05))
    times_s = [run(cell, hold(OPEN_M), 1).t_s for _ in range(40)]
    assert times_s == sorted(times_s)
    ages_s = cell.time_s - np.array(times_s) - PERIOD_S * np.arange(39, -1, -1)
    assert ages_s.min() >= 0.05 - 1e-9
    assert len(set(ages_s.round(4))) > 2


def test_stopping_drops_what_is_under_way(cell: BulletCell, scene: Scene):
    start = cell.reset(with_timing(scene, action_latency_s=0.1))
    cell.send_action(hold(OPEN_M, 0.03))
    cell.stop()
    np.testing.assert_allclose(cell.T_base_tcp_commanded, start.T_base_tcp, atol=1e-9)
    end = run(cell, hold(OPEN_M), 8)
    np.testing.assert_allclose(end.T_base_tcp, start.T_base_tcp, atol=2e-3)


def test_after_a_stop_it_goes_on_from_where_it_stands(cell: BulletCell, scene: Scene):
    cell.reset(with_dynamics(scene, tracking_lag_s=0.3))
    assert_goes_on_from_where_it_stands(cell, OPEN_M)


# --- the gripper


@pytest.mark.parametrize(("asked_m_s", "got_m_s"), [(0.05, 0.05), (0.9, 0.2)])
def test_the_jaws_move_no_faster_than_gripper_and_world_allow(
    cell: BulletCell, scene: Scene, asked_m_s: float, got_m_s: float
):
    cell.reset(with_dynamics(scene, gripper_speed_m_s=asked_m_s))
    widths_m = np.array([run(cell, hold(0.0), 1).gripper_width_m for _ in range(40)])
    steady = widths_m[(widths_m > 0.015) & (widths_m < 0.07)]
    assert -np.diff(steady).mean() / PERIOD_S == pytest.approx(got_m_s, rel=0.15)


@pytest.mark.parametrize("force_n", [8.0, 25.0])
def test_the_squeeze_is_no_harder_than_the_force_of_the_world(
    cell: BulletCell, library: GraspLibrary, scene: Scene, force_n: float
):
    forces_n: list[float] = []

    def note() -> None:
        if cell.rises_m[0] > 0.02:
            contacts = cell._world.robot_contacts(cell._bodies[0])
            left = cell._world.finger_links[0]
            forces_n.append(sum(contact.normal_force_n for contact in contacts if contact.link_a == left))

    grasp(cell, library, with_dynamics(scene, gripper_force_n=force_n), note)
    assert cell.outcome.success
    assert np.median(forces_n) == pytest.approx(force_n, rel=0.25)


@pytest.mark.parametrize("force_n", [15.0, 40.0])
def test_jaws_do_not_go_through_something_light(cell: BulletCell, library: GraspLibrary, scene: Scene, force_n: float):
    light = scene.objects[0].asset.mass_kg
    widths_m, forces_n = [], []

    def note() -> None:
        if cell.outcome.is_gripping and cell.rises_m[0] < 0.01:
            widths_m.append(cell.get_observation().gripper_width_m)
            contacts = cell._world.robot_contacts(cell._bodies[0])
            forces_n.append(max(contact.normal_force_n for contact in contacts))

    grasp(cell, library, with_dynamics(scene, gripper_force_n=force_n, mass_scale=0.01 / light), note)
    assert cell.outcome.success
    assert np.ptp(widths_m[2:]) < 0.001  # after the first touch
    assert np.median(forces_n) > 0.25 * force_n  # spread over up to four points
