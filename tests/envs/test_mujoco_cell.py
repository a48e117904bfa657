"""The second world keeps the contract, holds what it grasps, judges by itself, and notices physics gone wrong."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install 'simtoreal[mujoco]'")

from controller_contract import ControllerContract, assert_goes_on_from_where_it_stands, hold, run
from reality_scenes import OPEN_M, grasp, trace, with_world

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.lift_verdict import HOLD_S, LIFT_M
from simtoreal.envs.mujoco_cell import CONTROL_HZ, MujocoCell
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.reality import Reality, load_reality
from simtoreal.envs.reality_scene import Prop, RealitySampler, RealityScene
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec, load_robot


@pytest.fixture(scope="module")
def ideal(toys: ObjectSet, resting: RestingPoses) -> RealitySampler:
    """A world without errors."""
    return RealitySampler(toys, resting, Reality())


@pytest.fixture(scope="module")
def harsh_reality(toys: ObjectSet, resting: RestingPoses) -> RealitySampler:
    return RealitySampler(toys, resting, load_reality("harsh"))


@pytest.fixture(scope="module")
def scene(ideal: RealitySampler) -> RealityScene:
    return ideal.sample((3,), "block")


@pytest.fixture(scope="module")
def shared(panda: RobotSpec) -> MujocoCell:
    return MujocoCell(panda, None)


@pytest.fixture
def cell(shared: MujocoCell) -> MujocoCell:
    shared.num_rebuilds = 0
    return shared


class TestStateCellKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, cell: MujocoCell, scene: RealityScene) -> MujocoCell:
        cell.reset(scene)
        return cell


class TestCameraCellKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, panda: RobotSpec, harsh_reality: RealitySampler, scene: RealityScene) -> Iterator[MujocoCell]:
        cell = MujocoCell(panda, CameraSetup.default("wrist", 32))
        # Harsh looks, a sound arm that stands away from the clutter.
        harsh = harsh_reality.sample((5,), "can").world
        cell.reset(replace(scene, world=replace(harsh, arm=scene.world.arm, clock=scene.world.clock)))
        yield cell
        cell.disconnect()


class TestKukaCellKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, scene: RealityScene) -> MujocoCell:
        cell = MujocoCell(load_robot("kuka"), None)
        cell.reset(scene)
        return cell


# --- episodes of the oracle


@pytest.mark.parametrize("name", ["panda", "kuka"])
def test_the_oracle_grasps_in_a_harsh_reality_with_either_arm(
    name: str, harsh_reality: RealitySampler, resting: RestingPoses, cache_dir: Path, toys: ObjectSet
):
    robot = load_robot(name)
    cell, library = MujocoCell(robot, None), GraspLibrary(robot.gripper.geometry, resting, cache_dir)
    for i, target in enumerate(toys.names):
        grasp(cell, library, harsh_reality.sample((50 + i,), target))
        assert cell.outcome.success, (name, target, cell.outcome)


def test_what_ran_before_changes_nothing(
    cell: MujocoCell, panda: RobotSpec, library: GraspLibrary, harsh_reality: RealitySampler
):
    scene = harsh_reality.sample((11,), "block", num_objects=2)
    expected = trace(MujocoCell(panda, None), library, scene)
    cell.reset(harsh_reality.sample((20,), "can"))
    run(cell, Action(np.array([0.005, 0.003, -0.02]), np.array([0.0, 0.0, 0.05]), 0.02), 20)
    np.testing.assert_array_equal(trace(cell, library, scene), expected)
    assert len(expected) > 20


def test_a_camera_changes_nothing_but_the_picture(
    cell: MujocoCell, panda: RobotSpec, library: GraspLibrary, harsh_reality: RealitySampler
):
    scene = harsh_reality.sample((4,), "bar")
    assert scene.world.clock.dropped_frame_frac > 0.05
    seeing = MujocoCell(panda, CameraSetup.default("wrist", 24))
    np.testing.assert_array_equal(trace(seeing, library, scene), trace(cell, library, scene))
    seeing.disconnect()


def test_success_comes_after_a_second_in_the_air(cell: MujocoCell, library: GraspLibrary, scene: RealityScene):
    rises_m: list[float] = []
    grasp(cell, library, scene, lambda: rises_m.append(cell.rises_m[0]))
    assert cell.outcome.success
    assert cell.outcome.held_object == 0
    assert cell.outcome.failure == ""
    in_air = np.array(rises_m) >= LIFT_M
    assert in_air.argmax() == len(rises_m) - 1 - round(HOLD_S * CONTROL_HZ)
    assert in_air[in_air.argmax() :].all()


# --- contact


@pytest.mark.parametrize("friction", [0.35, 1.0])
def test_what_is_held_stays_where_it_is_between_the_pads(
    cell: MujocoCell, library: GraspLibrary, scene: RealityScene, friction: float
):
    """The classic trap: soft friction lets a held object creep out of the jaws, or tremble."""
    grasp(cell, library, with_world(scene, "physics", friction=friction))
    assert cell.outcome.success

    def object_in_hand() -> np.ndarray:
        return np.asarray(frames.invert(cell.get_observation().T_base_tcp) @ cell.object_poses()[0])

    start = object_in_hand()
    deviations = []
    for _ in range(60):  # three seconds
        run(cell, hold(0.0), 1)
        deviations.append(np.abs(object_in_hand()[:3, 3] - start[:3, 3]).max())
    assert max(deviations) < 1e-3


@pytest.mark.parametrize(("force_n", "is_held"), [(3.0, False), (20.0, True)])
def test_a_grip_holds_what_its_friction_carries(
    cell: MujocoCell, library: GraspLibrary, scene: RealityScene, force_n: float, is_held: bool
):
    """Two pads with friction mu carry 2 mu F: what weighs more slips, what weighs less does not."""
    item = scene.objects[0]
    weight_n = 6.0
    heavy = with_world(scene, "physics", mass_scale=weight_n / 9.81 / item.asset.mass_kg, friction=0.5)
    assert (2 * 0.5 * force_n > weight_n) == is_held
    grasp(cell, library, with_world(heavy, "arm", gripper_force_n=force_n))
    assert cell.outcome.success == is_held


def test_parts_are_kept_apart(cell: MujocoCell, scene: RealityScene):
    """Something that fits into the notch of an object lies in the notch, not on a hull around all of it."""
    from simtoreal.envs.part_meshes import convex_parts

    parts = convex_parts(scene.objects[0].asset)
    cell.reset(scene)
    model = cell._need_world().model
    body = model.body("object_0").id
    collides = [i for i in range(model.ngeom) if model.geom_bodyid[i] == body and model.geom_contype[i]]
    assert len(collides) == len(parts)


# --- failure


def test_closing_on_nothing_is_a_miss(cell: MujocoCell, scene: RealityScene):
    cell.reset(scene)
    assert cell.outcome.failure == "timed_out"
    run(cell, hold(0.0), 15)
    assert cell.outcome.failure == "missed"
    assert cell.outcome.num_attempts == 1


def test_a_block_is_solid_and_counts_as_collision(cell: MujocoCell, scene: RealityScene):
    block = Prop("box", (0.15, 0.15, 0.1), frames.transform((0.5, 0.27, 0.05)), "metal", 0)
    cell.reset(replace(scene, scenery=(block,)))
    for _ in range(10):
        cell.send_action(Action(np.array([0.0, 0.027, 0.0]), np.zeros(3), 0.0))
    lowest = run(cell, hold(0.0, -0.03), 30)
    assert cell.outcome.failure == "collided"
    assert lowest.T_base_tcp[2, 3] > 0.08


def test_a_state_that_is_not_finite_ends_the_scene_and_is_counted(
    cell: MujocoCell, panda: RobotSpec, library: GraspLibrary, scene: RealityScene
):
    expected = trace(MujocoCell(panda, None), library, scene)
    cell.reset(scene)
    cell._need_world().data.qpos[:] = np.nan
    with pytest.raises(InvalidScene, match="diverged"):
        run(cell, hold(OPEN_M), 2)
    assert cell.num_rebuilds == 1
    np.testing.assert_array_equal(trace(cell, library, scene), expected)  # as if nothing had been


def test_an_object_that_leaves_by_itself_is_no_failure(cell: MujocoCell, scene: RealityScene):
    cell.reset(scene)
    world = cell._need_world()
    address = world.model.jnt_qposadr[world.model.body_jntadr[world.model.body("object_0").id]]
    world.data.qpos[address : address + 3] = (1.2, 0.0, 0.05)
    with pytest.raises(InvalidScene, match="left the cell"):
        run(cell, hold(OPEN_M), 2)
    assert cell.num_rebuilds == 0


def test_an_object_that_does_not_rest_is_drawn_again(cell: MujocoCell, scene: RealityScene):
    item = scene.objects[0]
    high = item.T_base_obj.copy()
    high[:3, :3] = frames.rotation_from_vector((0.9, 0.0, 0.0)) @ high[:3, :3]
    high[:3, 3] += (0.0, 0.0, -0.2)
    with pytest.raises(InvalidScene):
        cell.reset(replace(scene, objects=(replace(item, T_base_obj=high),)))


def test_nothing_works_before_there_is_a_scene(panda: RobotSpec):
    empty = MujocoCell(panda, None)
    for call in (empty.reset, empty.get_observation, lambda: empty.send_action(hold(OPEN_M)), lambda: empty.scene):
        with pytest.raises(ValueError, match=r"call reset\(scene\) first"):
            call()
    empty.stop()
    empty.disconnect()


# --- the arm and the clock


def test_a_badly_balanced_arm_sags(cell: MujocoCell, scene: RealityScene):
    heights_m = []
    for error in (0.0, 0.1, -0.1):
        cell.reset(with_world(scene, "arm", gravity_error_frac=error))
        heights_m.append(run(cell, hold(OPEN_M), 20).T_base_tcp[2, 3])
    assert heights_m[1] < heights_m[0] - 1e-3 < heights_m[2] - 2e-3


@pytest.mark.parametrize(("asked_m_s", "got_m_s"), [(0.05, 0.05), (0.1, 0.1), (5.0, 0.2)])
def test_jaws_close_as_fast_as_they_can_and_no_faster(
    cell: MujocoCell, scene: RealityScene, asked_m_s: float, got_m_s: float
):
    cell.reset(with_world(scene, "arm", gripper_speed_m_s=asked_m_s))
    widths_m = [run(cell, hold(0.0), 1).gripper_width_m for _ in range(6)]
    speed_m_s = -np.diff(widths_m[2:5]).mean() * CONTROL_HZ
    assert speed_m_s == pytest.approx(got_m_s, rel=0.1)


@pytest.mark.parametrize("latency_s", [0.0, 0.03, 0.11])
def test_observations_are_as_old_as_the_latency(cell: MujocoCell, scene: RealityScene, latency_s: float):
    cell.reset(with_world(scene, "clock", observation_latency_s=latency_s))
    for _ in range(8):
        run(cell, hold(OPEN_M), 1)
    assert cell.time_s - cell.get_observation().t_s == pytest.approx(latency_s, abs=1e-9)


@pytest.mark.parametrize("latency_s", [0.0, 0.05, 0.1])
def test_actions_take_effect_after_their_latency(cell: MujocoCell, scene: RealityScene, latency_s: float):
    def moved_m(late_s: float) -> list[float]:
        start = cell.reset(with_world(scene, "clock", action_latency_s=late_s))
        cell.send_action(hold(OPEN_M, 0.02))
        moved = [cell.get_observation().T_base_tcp[2, 3] - start.T_base_tcp[2, 3]]
        for _ in range(9):
            moved.append(run(cell, hold(OPEN_M), 1).T_base_tcp[2, 3] - start.T_base_tcp[2, 3])
        return moved

    prompt, late = moved_m(0.0), moved_m(latency_s)
    shift = round(latency_s * CONTROL_HZ)
    np.testing.assert_allclose(late[shift:], prompt[: len(prompt) - shift], atol=5e-4)


def test_periods_vary_but_do_not_drift(cell: MujocoCell, scene: RealityScene):
    cell.reset(with_world(scene, "clock", period_jitter_s=0.005))
    times_s = [cell.time_s]
    for _ in range(60):
        cell.send_action(hold(OPEN_M))
        times_s.append(cell.time_s)
    periods_s = np.diff(times_s)
    assert 0.004 < periods_s.std() < 0.011  # the difference of two errors
    assert abs(times_s[-1] - 60 / CONTROL_HZ) < 0.025


def test_lost_frames_do_not_arrive(cell: MujocoCell, scene: RealityScene):
    cell.reset(with_world(scene, "clock", dropped_frame_frac=0.5))
    times_s = [run(cell, hold(OPEN_M), 1).t_s for _ in range(80)]
    assert 20 < len(set(times_s)) < 60
    assert times_s == sorted(times_s)


def test_stopping_drops_what_is_under_way(cell: MujocoCell, scene: RealityScene):
    start = cell.reset(with_world(scene, "clock", action_latency_s=0.2))
    for _ in range(3):
        cell.send_action(hold(OPEN_M, 0.02))
    cell.stop()
    end = run(cell, hold(OPEN_M), 20)
    np.testing.assert_allclose(end.T_base_tcp[:3, 3], start.T_base_tcp[:3, 3], atol=2e-3)


def test_a_robot_whose_file_lacks_a_joint_is_refused(panda: RobotSpec):
    wrong: Any = replace(panda, arm_joints=(*panda.arm_joints[:-1], "panda_joint77"))
    with pytest.raises(ValueError, match=r"panda\.urdf has no joint or link panda_joint77; joints: .*panda_joint7"):
        MujocoCell(wrong, None)


def test_after_a_stop_it_goes_on_from_where_it_stands(cell: MujocoCell, scene: RealityScene):
    cell.reset(with_world(scene, "arm", stiffness_rad_s=5.0, damping_ratio=1.0))
    assert_goes_on_from_where_it_stands(cell, OPEN_M)
