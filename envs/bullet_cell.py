"""The PyBullet cell: an arm over a table with objects, as a `Controller`.

One control period is three ticks of four physics steps. Setpoints take effect, and observations are captured, at ticks, so
latencies resolve to 1/60 s.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.envs.bullet_world import PHYSICS_HZ, BulletWorld
from simtoreal.envs.outcome import Outcome, Reading
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, Scene
from simtoreal.envs.simulated_camera import CameraSetup, SimulatedCamera, ViewState

FloatArray = NDArray[np.float64]
_STEPS_PER_TICK = 4
TICKS_PER_PERIOD = 3
TICK_S = _STEPS_PER_TICK / PHYSICS_HZ
CONTROL_HZ = 1.0 / (TICKS_PER_PERIOD * TICK_S)
_SETTLE_STEPS = 60
_CELL_HALF_M = 0.45  # an object farther than this from the centre has left the cell
_MAX_SETTLE_MOTION_M = 0.03
_IK_ITERATIONS = 4


class InvalidScene(RuntimeError):
    """The simulation lost the scene before or while it was used; draw another and count it, it is no failure."""


class _Setpoint(NamedTuple):
    due_tick: int
    T_base_tcp: FloatArray
    width_m: float


class BulletCell:
    """Simulated arm, gripper, camera and table.

    `reset(scene)` puts a scene on the table, `outcome` says how the episode goes, `object_poses()` is the privileged
    state. Without a camera it renders nothing and is an order of magnitude faster.
    """

    def __init__(self, robot: RobotSpec, camera: CameraSetup | None) -> None:
        self.robot = robot
        self.num_rebuilds = 0  # times the physics went bad and was built anew
        self._world = BulletWorld(robot)
        self._camera = SimulatedCamera(camera, robot, self._world.link_geometry()) if camera else None
        self._home = self._solve_home()
        self._scene: Scene | None = None
        self.outcome = Outcome()

    @property
    def control_hz(self) -> float:
        return CONTROL_HZ

    def connect(self) -> None:
        """Nothing to do: the physics runs inside this process."""

    def disconnect(self) -> None:
        self._world.close()

    def stop(self) -> None:
        """Holds the arm where its setpoint is."""
        self._pending.clear()

    # --- one episode

    def reset(self, scene: Scene | None = None) -> Observation:
        """Builds the world anew and puts a scene on the table, the last one if none is given.

        Raises:
            InvalidScene: an object does not come to rest inside the cell.
            ValueError: no scene was ever given.
        """
        scene = scene or self._scene
        if scene is None:
            raise ValueError("reset needs a scene the first time: reset(scene)")
        self._scene = scene
        self._world.rebuild(scene.world.dynamics.table_height_m)
        self._place_robot()
        self._place_objects(scene)
        self._start_clock(scene)
        if self._camera is not None:
            self._camera.begin(scene)
        self._snapshots: deque[tuple[int, Observation]] = deque()
        self._latest = self._capture()
        return self._latest

    def get_observation(self) -> Observation:
        """The newest observation that has arrived; with latency it was captured a while ago (see its `t_s`)."""
        while self._snapshots and self._snapshots[0][0] <= self._tick:
            self._latest = self._snapshots.popleft()[1]
        return self._latest

    def send_action(self, action: Action) -> Action:
        """Moves the setpoint, lets one control period pass and returns the action after limits.

        Raises:
            InvalidScene: the physics lost the scene.
            ValueError: the action is not finite.
        """
        sent = self._limit(action)
        T = self._setpoint.copy()
        T[:3, :3] = frames.rotation_from_vector(sent.delta_rotation_rad) @ T[:3, :3]
        T[:3, 3] += sent.delta_m
        self._setpoint, self._setpoint_width_m = T, sent.gripper_width_m
        timing = self._scene_now.world.timing
        self._pending.append(_Setpoint(self._tick + round(timing.action_latency_s / TICK_S), T, sent.gripper_width_m))
        for _ in range(TICKS_PER_PERIOD):
            self._advance_tick()
        self._watch()
        return sent

    @property
    def T_base_tcp_commanded(self) -> FloatArray:
        """The setpoint (4, 4) that actions move."""
        return self._setpoint

    def object_poses(self) -> list[FloatArray]:
        """Privileged: pose (4, 4) of each free object."""
        return [self._world.pose(body) for body in self._bodies]

    @property
    def scene(self) -> Scene:
        return self._scene_now

    @property
    def rises_m(self) -> tuple[float, ...]:
        """Privileged: how far each free object is above where it lay."""
        return tuple(self._world.position(body)[2] - z for body, z in zip(self._bodies, self._rest_z, strict=True))

    @property
    def time_s(self) -> float:
        return self._tick * TICK_S

    # --- building

    def _solve_home(self) -> FloatArray:
        start = np.array(self.robot.home_joint_positions_rad)
        goal = frames.top_down(self.robot.home_position_m, 0.0)
        q = start
        for _ in range(20):
            q = self._world.chain.inverse(goal, q, start, num_iterations=10)
        error = float(np.abs(self._world.chain.forward(q) - goal).max())
        if error > 2e-3:
            raise ValueError(
                f"{self.robot.name}: home_position_m {self.robot.home_position_m} cannot be reached pointing down "
                f"(off by {error:.3f}); choose another or give a better home_joint_positions_rad"
            )
        return q

    def _place_robot(self) -> None:
        opening = self.robot.gripper.opening
        self._q = self._home.copy()
        self._width_m = self.robot.gripper.max_opening_m
        self._world.place_robot(self._q, opening.joints_at(self._width_m))

    def _place_objects(self, scene: Scene) -> None:
        world, dynamics = self._world, scene.world.dynamics
        self._bodies = [world.add_object(item.asset, item.T_base_obj, item.scale) for item in scene.objects]
        for body, item in zip(self._bodies, scene.objects, strict=True):
            mass_kg = item.asset.mass_kg * dynamics.mass_scale
            world.set_object_dynamics(body, mass_kg, dynamics.friction, dynamics.restitution)
            world.set_object_damping(body, dynamics.linear_damping, dynamics.angular_damping)
        self._obstacles = [world.table] + [
            world.add_static_box(np.array(item.extents_m), item.T_base_box) for item in scene.scenery if item.collides
        ]
        # Motors keep their last target across a reset: command the home pose before settling.
        self._command_motors(scene)
        world.step(_SETTLE_STEPS)
        for body, item in zip(self._bodies, scene.objects, strict=True):
            T = world.pose(body)
            if not np.isfinite(T).all():
                self.num_rebuilds += 1
                raise InvalidScene(f"{item.asset.name}: the physics returned a pose that is not finite")
            if math.dist(T[:2, 3], item.T_base_obj[:2, 3]) > _MAX_SETTLE_MOTION_M or T[2, 3] < dynamics.table_height_m:
                raise InvalidScene(f"{item.asset.name}: rolled away or fell through the table while settling")
        self._rest_z = [world.position(body)[2] for body in self._bodies]

    def _start_clock(self, scene: Scene) -> None:
        self._scene_now = scene
        self._tick = 0
        self._rng = np.random.default_rng((*scene.seed, 77))
        self._pending: deque[_Setpoint] = deque()
        self._setpoint = self._target = self._measured_tool(*self._world.read_joints())[0]
        self._goal = self._setpoint
        self._setpoint_width_m = self._width_m
        self._last_deliver_tick = 0
        self._lag_ticks = round(scene.world.timing.observation_latency_s / TICK_S)
        self.outcome = Outcome()

    # --- time

    def _advance_tick(self) -> None:
        self._tick += 1
        while self._pending and self._pending[0].due_tick < self._tick:
            _, self._goal, self._width_m = self._pending.popleft()
        self._track()
        self._command_motors(self._scene_now)
        self._world.step(_STEPS_PER_TICK)
        if (self._tick + self._lag_ticks) % TICKS_PER_PERIOD == 0:
            self._schedule_observation()

    def _track(self) -> None:
        """The tool follows its setpoint with the lag and the standing error of this world."""
        dynamics = self._scene_now.world.dynamics
        share = 1.0 - math.exp(-TICK_S / dynamics.tracking_lag_s) if dynamics.tracking_lag_s > 1e-4 else 1.0
        if share == 1.0:
            self._target = self._goal
        else:
            turn = frames.rotation_to_vector(self._goal[:3, :3] @ self._target[:3, :3].T)
            T = self._target.copy()
            T[:3, :3] = frames.rotation_from_vector(share * turn) @ T[:3, :3]
            T[:3, 3] += share * (self._goal[:3, 3] - T[:3, 3])
            self._target = T
        goal = self._target.copy()
        tip_offset = self.robot.gripper.opening.tip_offset_at(self._width_m)
        goal[:3, 3] += np.asarray(dynamics.standing_error_m) - tip_offset * goal[:3, 2]
        self._q = self._world.chain.inverse(goal, self._q, self._home, _IK_ITERATIONS)

    def _command_motors(self, scene: Scene) -> None:
        dynamics, gripper = scene.world.dynamics, self.robot.gripper
        self._world.command_arm(self._q, self.robot.position_gain * dynamics.joint_gain_scale)
        low, high = gripper.opening.joint_positions[0], gripper.opening.joint_positions[-1]
        travel = np.abs(np.subtract(high, low)) / gripper.max_opening_m  # joint motion per metre of opening
        self._world.command_fingers(
            gripper.opening.joints_at(self._width_m),
            dynamics.gripper_force_n * np.asarray(gripper.effort_per_newton),
            np.maximum(travel * dynamics.gripper_speed_m_s, 0.01),
        )

    def _schedule_observation(self) -> None:
        timing = self._scene_now.world.timing
        if self._rng.random() < timing.dropped_frame_frac:
            return
        late = max(0, round(abs(self._rng.normal(0.0, timing.jitter_s)) / TICK_S)) if timing.jitter_s > 0 else 0
        # A frame never overtakes the one before it.
        self._last_deliver_tick = max(self._last_deliver_tick, self._tick + self._lag_ticks + late)
        self._snapshots.append((self._last_deliver_tick, self._capture()))

    # --- readings

    def _measured_tool(self, q: FloatArray, finger_joints: FloatArray) -> tuple[FloatArray, float]:
        opening = self.robot.gripper.opening
        width_m = opening.width_at(finger_joints)
        T = self._world.chain.forward(q)
        T[:3, 3] += opening.tip_offset_at(width_m) * T[:3, 2]
        return T, width_m

    def _capture(self) -> Observation:
        q, finger_joints = self._world.read_joints()
        if not np.isfinite(q).all():
            self.num_rebuilds += 1
            raise InvalidScene("the physics returned joint positions that are not finite")
        T_base_tcp, width_m = self._measured_tool(q, finger_joints)
        if self._camera is None:
            return Observation(self.time_s, None, None, np.eye(3), np.eye(4), T_base_tcp, width_m, q)
        state = ViewState(T_base_tcp, self.object_poses(), self._world.link_poses(self._camera.links))
        image = self._camera.capture(state, self._rng)
        return Observation(self.time_s, *image, T_base_tcp=T_base_tcp, gripper_width_m=width_m, joint_positions_rad=q,
                           distortion=self._camera.distortion)  # fmt: skip

    def _watch(self) -> None:
        """Updates the outcome and notices a scene that the physics has lost."""
        positions = [self._world.position(body) for body in self._bodies]
        if not np.isfinite(positions).all():
            self.num_rebuilds += 1
            raise InvalidScene("the physics returned an object pose that is not finite")
        touched = self.outcome.num_attempts > 0
        for (x, y, z), rest_z in zip(positions, self._rest_z, strict=True):
            outside = max(abs(x - WORKSPACE_CENTRE_M[0]), abs(y - WORKSPACE_CENTRE_M[1])) > _CELL_HALF_M
            if (outside or z < rest_z - 0.15) and not touched:
                raise InvalidScene("an object left the cell before it was touched")
        width_frac = self._width_m / self.robot.gripper.max_opening_m
        self.outcome.update(
            Reading(
                t_s=self.time_s,
                rises_m=tuple(p[2] - z for p, z in zip(positions, self._rest_z, strict=True)),
                commanded_width_frac=width_frac,
                gripper_width_m=self._width_m,
                finger_contacts=self._finger_contacts() if width_frac < 0.5 else (False,) * len(self._bodies),
                hard_contact_n=self._hard_contact(),
            )
        )

    def _finger_contacts(self) -> tuple[bool, ...]:
        fingers = set(self._world.finger_links)
        return tuple(
            fingers <= {contact.link_a for contact in self._world.robot_contacts(body)} for body in self._bodies
        )

    def _hard_contact(self) -> float:
        return max(
            (contact.normal_force_n for body in self._obstacles for contact in self._world.robot_contacts(body)),
            default=0.0,
        )

    def _limit(self, action: Action) -> Action:
        """The nearest action inside the limits of the robot.

        Raises:
            ValueError: a component is not finite.
        """
        delta = np.asarray(action.delta_m, dtype=np.float64)
        turn = np.asarray(action.delta_rotation_rad, dtype=np.float64)
        if not np.isfinite([*delta, *turn, action.gripper_width_m]).all():
            raise ValueError(f"action is not finite: {action}")
        robot = self.robot
        delta = delta * min(1.0, robot.max_delta_m / max(float(np.linalg.norm(delta)), 1e-12))
        turn = turn * min(1.0, robot.max_delta_rotation_rad / max(float(np.linalg.norm(turn)), 1e-12))
        position = np.clip(self._setpoint[:3, 3] + delta, robot.workspace_low_m, robot.workspace_high_m)
        width = float(np.clip(action.gripper_width_m, 0.0, robot.gripper.max_opening_m))
        return Action(position - self._setpoint[:3, 3], turn, width)
