"""The MuJoCo cell: a second world behind the same `Controller`, with another physics, another clock and other looks.

Physics steps last 2 ms. The arm's controller runs every fifth; setpoints take effect, the shutter opens and a control
period ends at whatever step that is due, so latencies and jitter resolve to 2 ms.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.envs.arm_motion import limited
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.kinematics import toward
from simtoreal.envs.lift_verdict import Glance, LiftVerdict
from simtoreal.envs.mujoco_camera import MujocoCamera
from simtoreal.envs.mujoco_robot import MujocoRobot
from simtoreal.envs.mujoco_stage import TIMESTEP_S
from simtoreal.envs.mujoco_world import MujocoWorld
from simtoreal.envs.reality_scene import RealityScene
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import WORKSPACE_CENTRE_M

FloatArray = NDArray[np.float64]
CONTROL_HZ = 20.0
_PERIOD_STEPS = round(1.0 / (CONTROL_HZ * TIMESTEP_S))
_SERVO_STEPS = 5
_SERVO_S = _SERVO_STEPS * TIMESTEP_S
_IK_ITERATIONS = 3  # per tick of the servo, from the joints of the tick before
_SMOOTH_S = 0.02  # time constant with which an arm's controller smooths setpoints that come 20 times a second
_SETTLE_S, _PATIENCE_S = 0.3, 1.5  # the least and the most that objects are given to come to rest
_RESTING_M_S = 0.004
_MAX_SETTLE_MOTION_M = 0.03
_CELL_HALF_M = 0.45  # an object farther than this from the centre has left the cell
_SUNK_M = 0.03  # an object whose centre is this far below the table top, but inside the cell, went through it
_HAND_NEAR_M = 0.15  # a tool lower than this above the table may have pushed something
_NO_CAMERA_K, _NO_CAMERA_T = np.eye(3), np.eye(4)
_NO_CAMERA_K.setflags(write=False)
_NO_CAMERA_T.setflags(write=False)


class _Order(NamedTuple):
    """A setpoint on its way to the arm."""

    due_step: int
    T_base_tcp: FloatArray
    width_m: float


class MujocoCell:
    """Simulated arm, gripper, camera and table in MuJoCo.

    `reset(scene)` puts a scene on the table, `outcome` says how the episode goes, `object_poses()` is the privileged
    state. Without a camera it needs no OpenGL and renders nothing.

    Raises:
        ValueError: the description of the robot lacks a joint or a link.
        ModuleNotFoundError: a camera was asked for, and there is no OpenGL; says which packages to install.
    """

    def __init__(self, robot: RobotSpec, camera: CameraSetup | None) -> None:
        self.robot = robot
        self.num_rebuilds = 0  # times the physics went bad; the next reset builds it anew
        self.outcome = LiftVerdict()
        self._model = MujocoRobot(robot)
        self._camera = MujocoCamera(camera, robot) if camera else None
        self._world: MujocoWorld | None = None
        self._scene: RealityScene | None = None
        self._setpoint = self._goal = self._model.chain.forward(self._model.home)
        self._was_stopped = False
        self._orders: deque[_Order] = deque()
        self._arriving: deque[tuple[int, Observation]] = deque()

    @property
    def control_hz(self) -> float:
        return CONTROL_HZ

    def connect(self) -> None:
        """Nothing to do: the physics runs inside this process."""

    def disconnect(self) -> None:
        if self._camera is not None:
            self._camera.close()

    def stop(self) -> None:
        """Holds the arm where it was last told to go; what is still under way is dropped."""
        self._orders.clear()
        self._setpoint = self._goal
        self._was_stopped = True  # whoever stops may be another thread, which must not ask the physics

    # --- one episode

    def reset(self, scene: RealityScene | None = None) -> Observation:
        """Builds the world of a scene, the last one if none is given, and lets it come to rest.

        Raises:
            InvalidScene: an object does not come to rest inside the cell.
            ValueError: no scene was ever given.
        """
        scene = self.scene if scene is None else scene
        self._scene = scene
        self._world = MujocoWorld(self._model, scene)
        self._settle(self._world, scene)
        self._start_clock(scene)
        if self._camera is not None:
            self._camera.begin(scene, self._world)
        self._latest = self._capture(self._world)
        return self._latest

    def get_observation(self) -> Observation:
        """The newest observation that has arrived; with latency it was captured a while ago (see its `t_s`).

        Raises:
            ValueError: there was no reset yet.
        """
        self._need_world()
        while self._arriving and self._arriving[0][0] <= self._step:
            self._latest = self._arriving.popleft()[1]
        return self._latest

    def send_action(self, action: Action) -> Action:
        """Moves the setpoint, lets one control period pass and returns the action after limits.

        Raises:
            InvalidScene: the physics lost the scene.
            ValueError: the action is not finite, or there was no reset yet.
        """
        world, scene = self._need_world(), self.scene
        if self._was_stopped:
            self._go_on_from_here(world)
        sent = limited(action, self._setpoint[:3, 3], scene.table_height_m, self.robot)
        self._setpoint = frames.moved(self._setpoint, sent.delta_m, sent.delta_rotation_rad)
        late_steps = round(scene.world.clock.action_latency_s / TIMESTEP_S)
        self._orders.append(_Order(self._step + late_steps, self._setpoint, sent.gripper_width_m))
        self._advance(world, self._next_deadline(scene))
        self._judge(world, scene)
        return sent

    @property
    def T_base_tcp_commanded(self) -> FloatArray:
        """The setpoint (4, 4) that actions move."""
        return self._setpoint

    def object_poses(self) -> list[FloatArray]:
        """Privileged: pose (4, 4) of each free object."""
        world = self._need_world()
        return [world.pose(i) for i in range(len(self.scene.objects))]

    def move_object(self, index: int, T_base_obj: FloatArray) -> None:
        """Puts a free object somewhere else, as a person does who reaches into the cell."""
        self._need_world().place(index, T_base_obj)

    @property
    def scene(self) -> RealityScene:
        """The scene on the table.

        Raises:
            ValueError: no scene was ever given.
        """
        if self._scene is None:
            raise ValueError("the cell is empty: call reset(scene) first")
        return self._scene

    @property
    def rises_m(self) -> tuple[float, ...]:
        """Privileged: how far each free object is above where it lay."""
        return tuple((self._need_world().positions_m[:, 2] - self._rest_z_m).tolist())

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return self._step * TIMESTEP_S

    def _need_world(self) -> MujocoWorld:
        if self._world is None:
            raise ValueError("the cell is empty: call reset(scene) first")
        return self._world

    # --- the start of an episode

    def _settle(self, world: MujocoWorld, scene: RealityScene) -> None:
        """The arm at home, told to stay there, while the objects come to rest."""
        opening = self.robot.gripper.opening.joints_at(self.robot.gripper.max_opening_m)
        world.place_robot(self._model.home, opening)
        world.command_arm(self._model.home)
        world.command_fingers(opening)
        world.step(round(_SETTLE_S / TIMESTEP_S))
        for _ in range(round((_PATIENCE_S - _SETTLE_S) / 0.1)):
            before_m = world.positions_m
            world.step(round(0.1 / TIMESTEP_S))
            moved_m = np.abs(world.positions_m - before_m).max(initial=0.0)
            if not moved_m > 0.1 * _RESTING_M_S:  # nan as well: it is told apart below
                break
        else:
            raise InvalidScene("an object does not come to rest")
        if not world.is_finite:
            raise self._lost("the physics diverged while the objects were settling")
        for item, position in zip(scene.objects, world.positions_m, strict=True):
            far_m = math.dist(position[:2], item.T_base_obj[:2, 3])
            if far_m > _MAX_SETTLE_MOTION_M or position[2] < scene.table_height_m:
                raise InvalidScene(f"{item.asset.name}: rolled away or fell through the table while settling")
        self._rest_z_m = world.positions_m[:, 2]

    def _start_clock(self, scene: RealityScene) -> None:
        self._step, self._period = 0, 0
        # Three streams: what a camera draws must not change when its frames arrive, nor when the loop is late.
        self._pace_rng, self._arrival_rng, self._image_rng = (
            np.random.default_rng((*scene.seed, stream)) for stream in (91, 92, 93)
        )
        self._orders.clear()
        self._arriving.clear()
        self._q = self._model.home
        self._go_on_from_here(self._need_world())
        self._told_m = self._jaws_m = self.robot.gripper.max_opening_m
        self._lag_steps = round(scene.world.clock.observation_latency_s / TIMESTEP_S)
        # Frames arrive just before the period ends, unless one or the other is late.
        margin_steps = round(2.0 * scene.world.clock.period_jitter_s / TIMESTEP_S)
        self._shutter_step = (-self._lag_steps - margin_steps - 1) % _PERIOD_STEPS + 1
        self._last_arrival = 0
        self._hand_was_near = False
        self.outcome = LiftVerdict()

    # --- time

    def _go_on_from_here(self, world: MujocoWorld) -> None:
        """An arm that was stopped goes on from where it stands, as real ones do."""
        self._setpoint = self._goal = self._target = self._tool_pose(world)[0]
        self._was_stopped = False

    def _next_deadline(self, scene: RealityScene) -> int:
        """The step at which this control period ends: early or late, but never drifting away."""
        self._period += 1
        jitter_s = self._pace_rng.normal(0.0, scene.world.clock.period_jitter_s)
        steps = round(self._period * _PERIOD_STEPS + jitter_s / TIMESTEP_S)
        return max(steps, self._step + _SERVO_STEPS)

    def _advance(self, world: MujocoWorld, until: int) -> None:
        """Lets time pass from one event to the next."""
        while self._step < until:
            while self._orders and self._orders[0].due_step <= self._step:
                _, self._goal, self._told_m = self._orders.popleft()
            if self._step % _SERVO_STEPS == 0:
                self._servo(world)
            upcoming = [until, self._shutter_step, (self._step // _SERVO_STEPS + 1) * _SERVO_STEPS]
            upcoming += [order.due_step for order in self._orders]
            stop = min(upcoming)
            world.step(stop - self._step)
            self._step = stop
            if stop == self._shutter_step:
                self._expose(world)

    def _servo(self, world: MujocoWorld) -> None:
        """What the robot's own controller does 100 times a second: smooth, solve, and limit the speed of the jaws."""
        share = 1.0 - math.exp(-_SERVO_S / _SMOOTH_S)
        self._target = toward(self._target, self._goal, share)
        T = self._target.copy()
        gripper = self.robot.gripper
        measured_m = gripper.opening.width_at(world.finger_joints)
        T[:3, 3] -= gripper.opening.tip_offset_at(measured_m) * T[:3, 2]
        self._q = self._model.chain.inverse(T, self._q, self._model.home, _IK_ITERATIONS)
        world.command_arm(self._q)
        reach_m = min(self.scene.world.arm.gripper_speed_m_s, gripper.max_speed_m_s) * _SERVO_S
        # Jaws that were pressing open from where they are, not from where they were told to go.
        start_m = max(self._jaws_m, measured_m) if self._told_m > self._jaws_m else self._jaws_m
        self._jaws_m = start_m + min(max(self._told_m - start_m, -reach_m), reach_m)
        world.command_fingers(gripper.opening.joints_at(self._jaws_m))

    def _expose(self, world: MujocoWorld) -> None:
        """One camera frame, which arrives later or never; none overtakes the one before it."""
        self._shutter_step += _PERIOD_STEPS
        clock = self.scene.world.clock
        is_lost = self._arrival_rng.random() < clock.dropped_frame_frac
        late_s = abs(self._arrival_rng.normal(0.0, clock.latency_jitter_s))
        if is_lost:
            return
        arrival = self._step + self._lag_steps + round(late_s / TIMESTEP_S)
        self._last_arrival = max(self._last_arrival, arrival)
        self._arriving.append((self._last_arrival, self._capture(world)))

    # --- readings

    def _tool_pose(self, world: MujocoWorld) -> tuple[FloatArray, float]:
        """Measured pose (4, 4) of the point between the tips, and the opening."""
        opening = self.robot.gripper.opening
        width_m = opening.width_at(world.finger_joints)
        T = self._model.chain.forward(world.arm_joints_rad)
        T[:3, 3] += opening.tip_offset_at(width_m) * T[:3, 2]
        return T, max(width_m, 0.0)

    def _capture(self, world: MujocoWorld) -> Observation:
        if not world.is_finite:
            raise self._lost("the physics diverged")
        T_base_tcp, width_m = self._tool_pose(world)
        q = world.arm_joints_rad
        if self._camera is None:
            return Observation(self.time_s, None, None, _NO_CAMERA_K, _NO_CAMERA_T, T_base_tcp, width_m, q)
        image = self._camera.capture(T_base_tcp, self._image_rng)
        return Observation(self.time_s, *image, T_base_tcp=T_base_tcp, gripper_width_m=width_m, joint_positions_rad=q,
                           distortion=self._camera.distortion)  # fmt: skip

    def _lost(self, why: str) -> InvalidScene:
        self.num_rebuilds += 1
        return InvalidScene(why)

    def _judge(self, world: MujocoWorld, scene: RealityScene) -> None:
        """Notices a scene that the physics has lost, and lets the verdict see the period's end."""
        if not world.is_finite:
            raise self._lost("the physics diverged")
        self._hand_was_near |= bool(self._target[2, 3] < scene.table_height_m + _HAND_NEAR_M)
        positions = world.positions_m
        for position in positions:
            self._check_inside(position, scene.table_height_m)
        touch = world.touch()
        self.outcome.see(
            Glance(
                t_s=self.time_s,
                rises_m=tuple((positions[:, 2] - self._rest_z_m).tolist()),
                supported=touch.by_table,
                gripped=touch.by_both_fingers,
                told_frac=self._told_m / self.robot.gripper.max_opening_m,
                push_n=touch.hand_force_n,
            )
        )

    def _check_inside(self, position_m: FloatArray, table_height_m: float) -> None:
        away = position_m[:2] - WORKSPACE_CENTRE_M
        outside = bool(np.abs(away).max() > _CELL_HALF_M)
        if outside and not self._hand_was_near:
            raise InvalidScene("an object left the cell before the hand came near it")
        if position_m[2] < table_height_m - _SUNK_M and not outside:
            raise InvalidScene("an object went through the table")
