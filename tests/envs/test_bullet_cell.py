"""The cell: repeatable to the bit, honest about time, limits and success, and quick to notice physics gone wrong."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cell_episodes import OPEN_M, PERIOD_S, grasp, trace, with_dynamics, with_timing
from controller_contract import ControllerContract, hold, run

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.envs.bullet_cell import BulletCell
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.outcome import HOLD_S, LIFT_M
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec, load_robot
from simtoreal.envs.scene import Scene, Scenery, SceneSampler


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


class TestStateCellKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, cell: BulletCell, scene: Scene) -> BulletCell:
        cell.reset(scene)
        return cell

    def test_disconnecting_twice_is_no_error(self, panda: RobotSpec, scene: Scene):  # type: ignore[override]
        own = BulletCell(panda, None)
        own.reset(scene)
        super().test_disconnecting_twice_is_no_error(own)


class TestCameraCellKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, panda: RobotSpec, harsh: SceneSampler) -> Iterator[BulletCell]:
        cell = BulletCell(panda, CameraSetup.default("wrist", 32))
        gentle = harsh.sample((5,), "can")  # harsh looks, a plain arm
        plain_world = replace(gentle.world, dynamics=replace(gentle.world.dynamics, tracking_lag_s=0.05))
        cell.reset(replace(gentle, world=replace(plain_world, timing=type(gentle.world.timing)())))
        yield cell
        cell.disconnect()


class TestKukaCellKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, scene: Scene) -> Iterator[BulletCell]:
        cell = BulletCell(load_robot("kuka"), None)
        cell.reset(scene)
        yield cell
        cell.disconnect()


# --- repeatable


@pytest.mark.parametrize("name", ["panda", "kuka"])
def test_what_ran_before_changes_nothing(
    name: str, harsh: SceneSampler, resting: RestingPoses, cache_dir: Any, toys: Any
):
    robot = load_robot(name)
    library = GraspLibrary(robot.gripper.geometry, resting, cache_dir)
    scene = harsh.sample((11,), "block", num_objects=3)
    fresh, used = BulletCell(robot, None), BulletCell(robot, None)
    expected = trace(fresh, library, scene)
    for i, target in enumerate(("can", "bar", "block")):
        used.reset(harsh.sample((20 + i,), target, num_objects=1 + i))
        run(used, Action(np.array([0.005, 0.003, -0.02]), np.array([0.0, 0.0, 0.05]), 0.02 * i), 20)
    np.testing.assert_array_equal(trace(used, library, scene), expected)
    assert len(expected) > 20
    fresh.disconnect()
    used.disconnect()


def test_a_camera_changes_nothing_but_the_picture(
    cell: BulletCell, panda: RobotSpec, library: GraspLibrary, harsh: SceneSampler
):
    scene = with_timing(harsh.sample((4,), "bar"), dropped_frame_frac=0.3, jitter_s=0.02)
    seeing = BulletCell(panda, CameraSetup.default("wrist", 24))
    np.testing.assert_array_equal(trace(seeing, library, scene), trace(cell, library, scene))
    seeing.disconnect()


def test_the_oracle_grasps_with_either_arm(harsh: SceneSampler, resting: RestingPoses, cache_dir: Any, toys: Any):
    sampler = SceneSampler(toys, resting, load_randomization("default"))
    for name in ("panda", "kuka"):
        robot = load_robot(name)
        cell, library = BulletCell(robot, None), GraspLibrary(robot.gripper.geometry, resting, cache_dir)
        for i, target in enumerate(toys.names):
            grasp(cell, library, sampler.sample((50 + i,), target))
            assert cell.outcome.success, (name, target, cell.outcome)
        cell.disconnect()


# --- physics gone wrong


def test_a_pose_that_is_not_finite_ends_the_scene_and_is_counted(cell: BulletCell, scene: Scene):
    cell.reset(scene)
    cell._world._client.resetBasePositionAndOrientation(cell._bodies[0], (np.nan, 0.0, 0.0), (0, 0, 0, 1))
    with pytest.raises(InvalidScene, match="not finite"):
        cell.send_action(hold(OPEN_M))
    assert cell.num_rebuilds == 1


def test_joints_that_are_not_finite_end_the_scene_and_are_counted(
    cell: BulletCell, scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    cell.reset(scene)
    lost = (np.full(7, np.nan), np.zeros(2))
    monkeypatch.setattr(cell._world, "read_joints", lambda: lost)
    with pytest.raises(InvalidScene, match="joint positions that are not finite"):
        cell.send_action(hold(OPEN_M))
    assert cell.num_rebuilds == 1


def test_a_pose_that_is_not_finite_while_settling_is_counted(
    cell: BulletCell, scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(cell._world, "pose", lambda body: np.full((4, 4), np.nan))
        with pytest.raises(InvalidScene, match=r"block: .* not finite"):
            cell.reset(scene)
    assert cell.num_rebuilds == 1
    assert np.isfinite(cell.reset(scene).T_base_tcp).all()


def test_after_it_went_wrong_the_next_episode_is_as_if_nothing_had_been(
    cell: BulletCell, panda: RobotSpec, library: GraspLibrary, scene: Scene
):
    fresh = BulletCell(panda, None)
    expected = trace(fresh, library, scene)
    fresh.disconnect()
    cell.reset(scene)
    # Poison arm and object for good, as a bad mesh does.
    cell._world.place_robot(np.full(7, np.nan), np.full(2, np.nan))
    cell._world._client.resetBaseVelocity(cell._bodies[0], (np.nan, np.inf, 0.0), (np.nan, 0.0, 0.0))
    with pytest.raises(InvalidScene):
        run(cell, hold(OPEN_M), 3)
    np.testing.assert_array_equal(trace(cell, library, scene), expected)


def test_an_object_that_leaves_by_itself_is_no_failure(cell: BulletCell, scene: Scene):
    cell.reset(scene)
    cell._world.set_pose(cell._bodies[0], frames.transform((1.0, 0.0, 0.05)))
    with pytest.raises(InvalidScene, match="left the cell"):
        cell.send_action(hold(OPEN_M))
    assert cell.num_rebuilds == 0


def test_an_object_that_the_hand_pushed_out_is_a_failure(cell: BulletCell, scene: Scene):
    cell.reset(scene)
    run(cell, hold(OPEN_M, -0.03), 12)
    cell._world.set_pose(cell._bodies[0], frames.transform((1.0, 0.0, 0.05)))
    run(cell, hold(OPEN_M), 2)
    assert cell.outcome.failure == "timed_out"


@pytest.mark.parametrize("touched", [False, True])
def test_an_object_under_the_table_is_never_a_failure(cell: BulletCell, scene: Scene, touched: bool):
    cell.reset(scene)
    if touched:
        run(cell, hold(0.0, -0.03), 12)
    cell._world.set_pose(cell._bodies[0], frames.transform((0.5, 0.0, -0.3)))
    with pytest.raises(InvalidScene, match="through the table"):
        cell.send_action(hold(OPEN_M))


def test_an_object_that_rolls_while_settling_is_drawn_again(cell: BulletCell, scene: Scene):
    item = scene.objects[0]
    high = item.T_base_obj.copy()
    high[:3, :3] = frames.rotation_from_vector((0.9, 0.0, 0.0)) @ high[:3, :3]
    high[:3, 3] += (0.0, 0.0, -0.2)
    with pytest.raises(InvalidScene, match="block: rolled away or fell"):
        cell.reset(replace(scene, objects=(replace(item, T_base_obj=high),)))


# --- the start of an episode


def test_nothing_works_before_there_is_a_scene(panda: RobotSpec):
    empty = BulletCell(panda, None)
    for call in (empty.reset, empty.get_observation, lambda: empty.send_action(hold(OPEN_M)), lambda: empty.scene):
        with pytest.raises(ValueError, match=r"call reset\(scene\) first"):
            call()
    empty.stop()
    empty.disconnect()


def test_motors_do_not_pull_where_the_last_episode_ended(cell: BulletCell, scene: Scene):
    cell.reset(scene)
    run(cell, Action(np.array([0.02, 0.02, -0.01]), np.array([0.0, 0.0, 0.2]), 0.0), 10)
    start = cell.reset(scene)
    assert start.joint_positions_rad is not None
    np.testing.assert_allclose(start.joint_positions_rad, cell._home, atol=1e-3)
    np.testing.assert_allclose(start.T_base_tcp[:3, 3], cell.robot.home_position_m, atol=2e-3)
    assert start.gripper_width_m == pytest.approx(OPEN_M, abs=1e-3)
    assert start.t_s == 0.0
    later = run(cell, hold(OPEN_M), 20)
    np.testing.assert_allclose(later.joint_positions_rad, start.joint_positions_rad, atol=3e-3)


@pytest.mark.parametrize("height_m", [-0.02, 0.015])
def test_the_table_stands_where_it_was_drawn(cell: BulletCell, scene: Scene, height_m: float):
    cell.reset(scene)
    nominal_z = cell.object_poses()[0][2, 3]
    item = scene.objects[0]
    shift = frames.transform((0.0, 0.0, height_m))
    moved = replace(item, T_base_obj=shift @ item.T_base_obj, T_table_rest=shift @ item.T_table_rest)
    cell.reset(with_dynamics(replace(scene, objects=(moved,)), table_height_m=height_m))
    assert cell.object_poses()[0][2, 3] == pytest.approx(nominal_z + height_m, abs=5e-4)


# --- success and failure


def test_success_comes_after_a_second_in_the_air(cell: BulletCell, library: GraspLibrary, scene: Scene):
    rises_m: list[float] = []
    grasp(cell, library, scene, lambda: rises_m.append(cell.rises_m[0]))
    assert cell.outcome.success
    in_air = np.array(rises_m) >= LIFT_M
    assert in_air[-1]
    assert in_air.argmax() == len(rises_m) - 1 - round(HOLD_S / PERIOD_S)
    assert in_air[in_air.argmax() :].all()
    assert cell.outcome.num_attempts == 1


def test_closing_on_nothing_is_a_miss(cell: BulletCell, scene: Scene):
    cell.reset(scene)
    run(cell, hold(0.0), 15)
    assert cell.outcome.failure == "missed"
    assert cell.outcome.num_attempts == 1


def test_a_hand_that_presses_on_the_table_collides(cell: BulletCell, scene: Scene):
    away = frames.transform((0.5, 0.25, 0.0)) @ frames.transform((-0.5, 0.0, 0.0))
    item = scene.objects[0]
    moved = replace(item, T_base_obj=away @ item.T_base_obj)
    cell.reset(with_dynamics(replace(scene, objects=(moved,)), standing_error_m=(0.0, 0.0, -0.03)))
    colliding = []
    for _ in range(25):
        run(cell, hold(0.0, -0.03), 1)
        colliding.append(cell.outcome.is_colliding)
    assert any(colliding)
    assert not any(colliding[:8])  # still in the air
    assert cell.outcome.failure == "collided"


def test_scenery_is_solid_and_counts_as_collision(cell: BulletCell, scene: Scene):
    block = Scenery((0.15, 0.15, 0.1), frames.transform((0.5, 0.27, 0.05)), (0.5, 0.5, 0.5), 0)
    cell.reset(replace(scene, scenery=(block,)))
    for _ in range(10):
        cell.send_action(Action(np.array([0.0, 0.027, 0.0]), np.zeros(3), 0.0))
    lowest = run(cell, hold(0.0, -0.03), 25)
    assert cell.outcome.failure == "collided"
    assert lowest.T_base_tcp[2, 3] > 0.09


# --- the camera


def test_the_camera_sees_the_object_and_reports_where_it_was(panda: RobotSpec, scene: Scene):
    cell = BulletCell(panda, CameraSetup.default("wrist", 48))
    start: Observation = cell.reset(scene)
    assert start.rgb is not None
    assert start.depth_m is not None
    np.testing.assert_allclose(start.T_base_cam, start.T_base_tcp @ panda.T_tcp_cam, atol=1e-9)
    moved = run(cell, hold(OPEN_M, -0.02), 6)
    assert moved.depth_m is not None
    assert np.nanmedian(moved.depth_m) < np.nanmedian(start.depth_m) - 0.05
    cell.disconnect()
