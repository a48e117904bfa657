"""The PyBullet cell: an arm over a table with objects, as a `Controller`.

One control period is three ticks of four physics steps. Setpoints take effect, and observations are captured, at ticks,
so latencies resolve to 1/60 s.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.envs.arm_motion import ArmMotion, JawMotion, limited, solve_home
from simtoreal.envs.bullet_world import FREE_ITERATIONS, PHYSICS_HZ, PRESSING_ITERATIONS, BulletWorld
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.outcome import CLOSED_FRAC, Outcome, Reading
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, Scene, footprint_radius_m
from simtoreal.envs.simulated_camera import SimulatedCamera, ViewState

FloatArray = NDArray[np.float64]
_STEPS_PER_TICK = 4
TICKS_PER_PERIOD = 3
TICK_S = _STEPS_PER_TICK / PHYSICS_HZ
CONTROL_HZ = 1.0 / (TICKS_PER_PERIOD * TICK_S)
_SETTLE_STEPS = 60
_CELL_HALF_M = 0.45  # an object farther than this from the centre has left the cell
_MAX_SETTLE_MOTION_M = 0.03
_SUNK_M = 0.02  # an object whose centre is this far below the table top went through it
_REACH_M = 0.05  # a hand this far above everything touches nothing
_NO_CAMERA_K, _NO_CAMERA_T = np.eye(3), np.eye(4)
_NO_CAMERA_K.setflags(write=False)
_NO_CAMERA_T.setflags(write=False)


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
        self.outcome = Outcome()
        self._world = BulletWorld(robot)
        self._camera = SimulatedCamera(camera, robot, self._world.link_geometry()) if camera else None
        self._home = solve_home(self._world.chain, robot)
        self._motion = ArmMotion(self._world.chain, self._home)
        self._jaws = JawMotion(robot.gripper)
        self._scene: Scene | None = None
        self._bodies: list[int] = []
        self._setpoint = self._goal = self._world.chain.forward(self._home)
        self._was_stopped = False
        self._pending: deque[_Setpoint] = deque()
        self._snapshots: deque[tuple[int, Observation]] = deque()

    @property
    def control_hz(self) -> float:
        return CONTROL_HZ

    def connect(self) -> None:
        """Nothing to do: the physics runs inside this process."""

    def disconnect(self) -> None:
        self._world.close()

    def stop(self) -> None:
        """Holds the arm where it was last told to go; what is still under way is dropped."""
        self._pending.clear()
        self._setpoint = self._goal
        self._was_stopped = True  # whoever stops may be another thread, which must not ask the physics

    # --- one episode

    def reset(self, scene: Scene | None = None) -> Observation:
        """Builds the world anew and puts a scene on the table, the last one if none is given.

        Raises:
            InvalidScene: an object does not come to rest inside the cell.
            ValueError: no scene was ever given.
        """
        scene = self.scene if scene is None else scene
        self._scene = scene
        self._world.rebuild(scene.world.dynamics.table_height_m)
        self._place_robot(scene)
        self._place_objects(scene)
        self._settle(scene)
        self._start_clock(scene)
        if self._camera is not None:
            self._camera.begin(scene)
        self._latest = self._capture()
        return self._latest

    def get_observation(self) -> Observation:
        """The newest observation that has arrived; with latency it was captured a while ago (see its `t_s`).

        Raises:
            ValueError: there was no reset yet.
        """
        self._need_scene()
        while self._snapshots and self._snapshots[0][0] <= self._tick:
            self._latest = self._snapshots.popleft()[1]
        return self._latest

    def send_action(self, action: Action) -> Action:
        """Moves the setpoint, lets one control period pass and returns the action after limits.

        Raises:
            InvalidScene: the physics lost the scene.
            ValueError: the action is not finite, or there was no reset yet.
        """
        scene = self._need_scene()
        if self._was_stopped:
            self._go_on_from_here()
        sent = limited(action, self._setpoint[:3, 3], scene.world.dynamics.table_height_m, self.robot)
        self._setpoint = frames.moved(self._setpoint, sent.delta_m, sent.delta_rotation_rad)
        self._jaws.measure(self._world.read_fingers())
        due_tick = self._tick + round(scene.world.timing.action_latency_s / TICK_S)
        self._pending.append(_Setpoint(due_tick, self._setpoint, sent.gripper_width_m))
        for _ in range(TICKS_PER_PERIOD):
            self._advance_tick(scene)
        self._watch(scene)
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
        """The scene on the table.

        Raises:
            ValueError: no scene was ever given.
        """
        return self._need_scene()

    @property
    def rises_m(self) -> tuple[float, ...]:
        """Privileged: how far each free object is above where it lay, as of the end of the last control period."""
        return self._rises_m

    @property
    def time_s(self) -> float:
        return self._tick * TICK_S

    def _need_scene(self) -> Scene:
        if self._scene is None:
            raise ValueError("the cell is empty: call reset(scene) first")
        return self._scene

    # --- building

    def _place_robot(self, scene: Scene) -> None:
        dynamics = scene.world.dynamics
        self._jaws.begin(dynamics)
        self._arm_gain = self.robot.position_gain * dynamics.joint_gain_scale
        self._world.place_robot(self._home, self.robot.gripper.opening.joints_at(self._jaws.width_m))
        # Motors keep their last target across a reset: command the home pose before settling.
        self._world.command_arm(self._home, self._arm_gain)
        self._command_jaws()

    def _place_objects(self, scene: Scene) -> None:
        world, dynamics = self._world, scene.world.dynamics
        self._bodies = [world.add_object(item.asset, item.T_base_obj, item.scale) for item in scene.objects]
        for body, item in zip(self._bodies, scene.objects, strict=True):
            mass_kg = item.asset.mass_kg * dynamics.mass_scale
            world.set_object_dynamics(body, mass_kg, dynamics.friction, dynamics.restitution)
            world.set_object_damping(body, dynamics.linear_damping, dynamics.angular_damping)
        blocks = [item for item in scene.scenery if item.collides]
        self._obstacles = [world.table]
        self._obstacles += [world.add_static_box(np.array(item.extents_m), item.T_base_box) for item in blocks]
        tops = [item.T_base_obj[2, 3] + footprint_radius_m(item.asset, item.scale) for item in scene.objects]
        tops += [item.T_base_box[2, 3] + item.extents_m[2] / 2 for item in blocks]
        self._free_above_m = max(tops, default=dynamics.table_height_m) + _REACH_M

    def _settle(self, scene: Scene) -> None:
        self._world.set_iterations(FREE_ITERATIONS)
        self._world.step(_SETTLE_STEPS)
        for body, item in zip(self._bodies, scene.objects, strict=True):
            T = self._world.pose(body)
            if not np.isfinite(T).all():
                raise self._lost(f"{item.asset.name}: the physics returned a pose that is not finite")
            moved_m = math.dist(T[:2, 3], item.T_base_obj[:2, 3])
            if moved_m > _MAX_SETTLE_MOTION_M or T[2, 3] < scene.world.dynamics.table_height_m:
                raise InvalidScene(f"{item.asset.name}: rolled away or fell through the table while settling")
            self._world.rest(body)
        self._rest_z = [self._world.position(body)[2] for body in self._bodies]
        self._rises_m = (0.0,) * len(self._bodies)

    def _start_clock(self, scene: Scene) -> None:
        self._tick = 0
        # Two streams: what a camera draws must not change when its frames arrive.
        self._timing_rng = np.random.default_rng((*scene.seed, 77))
        self._image_rng = np.random.default_rng((*scene.seed, 78))
        self._pending.clear()
        self._snapshots.clear()
        self._go_on_from_here()
        self._motion.begin(self._goal, scene.world.dynamics, TICK_S)
        self._last_deliver_tick = 0
        self._lag_ticks = round(scene.world.timing.observation_latency_s / TICK_S)
        self._reached_down = False
        self.outcome = Outcome()

    # --- time

    def _go_on_from_here(self) -> None:
        """An arm that was stopped goes on from where it stands, as real ones do."""
        self._setpoint = self._goal = self._measured_tool(*self._world.read_joints())[0]
        self._was_stopped = False

    def _advance_tick(self, scene: Scene) -> None:
        self._tick += 1
        width_m = self._jaws.width_m
        while self._pending and self._pending[0].due_tick < self._tick:
            _, self._goal, self._jaws.width_m = self._pending.popleft()
        if self._jaws.width_m != width_m:
            self._command_jaws()
        self._world.command_arm(self._motion.advance(self._goal, self._tip_offset_m()), self._arm_gain)
        self._world.set_iterations(PRESSING_ITERATIONS if self._squeezes() else FREE_ITERATIONS)
        self._world.step(_STEPS_PER_TICK)
        if (self._tick + self._lag_ticks) % TICKS_PER_PERIOD == 0:
            self._schedule_observation(scene)

    def _squeezes(self) -> bool:
        return self._jaws.is_closing and any(self._world.touches(body) for body in self._bodies)

    def _tip_offset_m(self) -> float:
        opening = self.robot.gripper.opening
        return opening.tip_offset_at(opening.width_at(self._world.read_fingers())) if opening.moves_tips else 0.0

    def _command_jaws(self) -> None:
        joints = self.robot.gripper.opening.joints_at(self._jaws.width_m)
        self._world.command_fingers(joints, self._jaws.efforts, self._jaws.speeds)

    def _schedule_observation(self, scene: Scene) -> None:
        timing = scene.world.timing
        if self._timing_rng.random() < timing.dropped_frame_frac:
            return
        late_s = abs(self._timing_rng.normal(0.0, timing.jitter_s)) if timing.jitter_s > 0 else 0.0
        # A frame never overtakes the one before it.
        due_tick = self._tick + self._lag_ticks + round(late_s / TICK_S)
        self._last_deliver_tick = max(self._last_deliver_tick, due_tick)
        self._snapshots.append((self._last_deliver_tick, self._capture()))

    # --- readings

    def _measured_tool(self, q: FloatArray, finger_joints: list[float]) -> tuple[FloatArray, float]:
        opening = self.robot.gripper.opening
        width_m = opening.width_at(finger_joints)
        T = self._world.chain.forward(q)
        if opening.moves_tips:
            T[:3, 3] += opening.tip_offset_at(width_m) * T[:3, 2]
        return T, width_m

    def _capture(self) -> Observation:
        q, finger_joints = self._world.read_joints()
        if not math.isfinite(sum(q.tolist()) + sum(finger_joints)):
            raise self._lost("the physics returned joint positions that are not finite")
        T_base_tcp, width_m = self._measured_tool(q, finger_joints)
        if self._camera is None:
            return Observation(self.time_s, None, None, _NO_CAMERA_K, _NO_CAMERA_T, T_base_tcp, width_m, q)
        state = ViewState(T_base_tcp, self.object_poses(), self._world.link_poses(self._camera.links))
        image = self._camera.capture(state, self._image_rng)
        return Observation(self.time_s, *image, T_base_tcp=T_base_tcp, gripper_width_m=width_m, joint_positions_rad=q,
                           distortion=self._camera.distortion)  # fmt: skip

    def _lost(self, why: str) -> InvalidScene:
        """Counts a world that the next reset will build from nothing."""
        self.num_rebuilds += 1
        return InvalidScene(why)

    def _watch(self, scene: Scene) -> None:
        """Updates the outcome and notices a scene that the physics has lost."""
        low = self._motion.T_target[2, 3] < self._free_above_m
        self._reached_down |= low
        positions = [self._world.position(body) for body in self._bodies]
        for position in positions:
            self._check_object(position, scene.world.dynamics.table_height_m)
        self._rises_m = tuple(p[2] - z for p, z in zip(positions, self._rest_z, strict=True))
        width_frac = self._jaws.width_m / self.robot.gripper.max_opening_m
        gripping = width_frac < CLOSED_FRAC and self._jaws.is_closing
        self.outcome.update(
            Reading(
                t_s=self.time_s,
                rises_m=self._rises_m,
                commanded_width_frac=width_frac,
                gripper_width_m=self._jaws.measured_m,
                finger_contacts=self._finger_contacts() if gripping else (False,) * len(self._bodies),
                hard_contact_n=self._hard_contact() if low else 0.0,
            )
        )

    def _check_object(self, position_m: tuple[float, float, float], table_height_m: float) -> None:
        x, y, z = position_m
        if not math.isfinite(x + y + z):
            raise self._lost("the physics returned an object pose that is not finite")
        outside = max(abs(x - WORKSPACE_CENTRE_M[0]), abs(y - WORKSPACE_CENTRE_M[1])) > _CELL_HALF_M
        if outside and not self._reached_down:
            raise InvalidScene("an object left the cell before the hand came near it")
        if z < table_height_m - _SUNK_M and not outside:
            raise InvalidScene("an object went through the table")

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
