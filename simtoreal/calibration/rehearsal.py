"""A calibration rehearsed in a simulated cell: pictures of a board with the poses a robot would report, and the truth.

What `source=pybullet` and `source=mujoco` photograph. Lens and mount are drawn, the arm goes where views are wanted and
reachable, and reports poses with an error, as real arms do.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from simtoreal import frames
from simtoreal.calibration.board import board_fields
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.pictures import Shot
from simtoreal.camera import CameraModel
from simtoreal.camera_record import BoardSpec, FloatArray
from simtoreal.envs.camera_setup import CameraSetup, nominal_mount
from simtoreal.envs.reality_sample import ImageSample, LightSample, LooksSample, OpticsSample, RealitySample
from simtoreal.envs.robot import RobotSpec, load_robot
from simtoreal.envs.sheet_asset import Sheet, sheet_asset
from simtoreal.envs.sheet_stage import BulletStage, MujocoStage, SheetStage
from simtoreal.envs.world_sample import CameraSample, SensorSample, VisualSample, WorldSample

_BOARD_AT_M = (0.48, 0.0, 0.002)  # of a wrist camera's board, in the middle of the workspace
_HELD_BELOW_M = 0.02  # the edge of a held board, below the ends of the fingers
_MARGIN_M = 0.008
_TRIES_PER_VIEW = 60
_FIELD_OF_VIEW_RAD = {"wrist": math.radians(50.0), "external": math.radians(32.0)}
World = Literal["pybullet", "mujoco"]
Placement = Literal["wrist", "external"]


@dataclass(frozen=True)
class RehearsalPlan:
    """What is rehearsed; the noise is that of a good industrial arm with an ordinary camera."""

    world: World = "pybullet"
    placement: Placement = "wrist"
    board: BoardSpec = field(default_factory=BoardSpec)
    size_px: tuple[int, int] = (640, 480)
    tool_noise_m: float = 0.0003  # of a reported position, each axis
    tool_noise_rad: float = 0.0005
    mount_offset_m: float = 0.01  # how far the true mount is from the nominal one, each axis
    mount_offset_rad: float = 0.05
    robot: str = "panda"


class Truth(NamedTuple):
    """What a calibration should find."""

    model: CameraModel
    T_mount_cam: FloatArray  # (4, 4)
    T_far_board: FloatArray  # (4, 4)


class Rehearsal:
    """A cell with a board. Use as a context manager.

    Raises:
        ModuleNotFoundError: world=mujoco without MuJoCo or OpenGL.
    """

    def __init__(self, plan: RehearsalPlan, rng: np.random.Generator) -> None:
        self.plan, self._rng = plan, rng
        self._robot = load_robot(plan.robot)
        model = _draw_lens(plan, rng)
        setup = CameraSetup(plan.placement, model, depth=False)
        offset = tuple(rng.normal(0.0, plan.mount_offset_m, 3).tolist())
        turn = tuple(rng.normal(0.0, plan.mount_offset_rad, 3).tolist())
        nominal = nominal_mount(setup, self._robot)
        T_mount = nominal @ frames.transform(offset, frames.rotation_from_vector(turn))
        self.truth = Truth(model, T_mount, _far_board(plan, rng))
        self._stage = _open(plan, self._robot, setup, (offset, turn))

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.close()

    def lens_shots(self, num: int) -> Iterator[Shot]:
        """Pictures of a board that somebody holds all over the image, tilted and at several distances; no poses."""
        T_base_tcp = frames.top_down(self._robot.home_position_m, 0.0)
        T_mount_far = frames.invert(T_base_tcp) if self.plan.placement == "wrist" else T_base_tcp
        for number in range(num):
            T_cam_board = _before_the_lens(self.truth.model, self.plan.board, self._rng)
            # The arm stands still, so that what is a place in the tool frame is one in the base frame as well.
            T_far_board = frames.invert(T_mount_far) @ self.truth.T_mount_cam @ T_cam_board
            look = self._stage.look(T_base_tcp, T_far_board, self._rng)
            if look is None:
                raise CalibrationError(f"robot={self.plan.robot} does not reach its home pose")
            yield Shot(f"view_{number:03d}.png", look.rgb, None)

    def shots(self, num: int) -> Iterator[Shot]:
        """Pictures from poses that differ as those of a careful operator do.

        Raises:
            CalibrationError: the arm reaches too few of the poses.
        """
        plan, rng = self.plan, self._rng
        for number in range(num):
            for _ in range(_TRIES_PER_VIEW):
                T_wanted = _wrist_pose(self.truth, plan, rng) if plan.placement == "wrist" else _held_pose(rng)
                look = self._stage.look(T_wanted, self.truth.T_far_board, rng)
                if look is not None:
                    break
            else:
                raise CalibrationError(f"robot={plan.robot} reaches too few poses around the board")
            error = frames.transform(
                rng.normal(0.0, plan.tool_noise_m, 3),
                frames.rotation_from_vector(rng.normal(0.0, plan.tool_noise_rad, 3)),
            )
            yield Shot(f"view_{number:03d}.png", look.rgb, look.T_base_tcp @ error)


def _draw_lens(plan: RehearsalPlan, rng: np.random.Generator) -> CameraModel:
    width, height = plan.size_px
    focal = 0.5 * height / math.tan(0.5 * _FIELD_OF_VIEW_RAD[plan.placement]) * rng.uniform(0.95, 1.05)
    cx, cy = 0.5 * (width - 1) + rng.normal(0.0, 0.01 * width), 0.5 * (height - 1) + rng.normal(0.0, 0.01 * height)
    k1, k2, p1, p2 = rng.normal(0.0, (0.04, 0.03, 0.0008, 0.0008)).tolist()
    return CameraModel(width, height, focal, focal * rng.uniform(0.998, 1.002), cx, cy, (k1, k2, p1, p2, 0.0))


def _far_board(plan: RehearsalPlan, rng: np.random.Generator) -> FloatArray:
    """Flat on the table with its print up, or hanging from the tool with its print towards base +X."""
    spec = plan.board
    width_m, height_m = spec.squares_x * spec.square_m, spec.squares_y * spec.square_m
    centre = frames.transform((-0.5 * width_m, -0.5 * height_m, 0.0))
    if plan.placement == "wrist":
        R = frames.rotation_about_z(rng.uniform(-math.pi, math.pi)) @ np.diag([1.0, -1.0, -1.0])
        return frames.transform(_BOARD_AT_M, R) @ centre
    R = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    shift = rng.normal(0.0, 0.004, 3) + np.array([0.0, 0.0, _HELD_BELOW_M + _MARGIN_M + 0.5 * height_m])
    tilt = frames.rotation_from_vector(rng.normal(0.0, 0.05, 3))
    return frames.transform(shift, tilt @ R) @ centre


def _before_the_lens(model: CameraModel, spec: BoardSpec, rng: np.random.Generator) -> FloatArray:
    """`T_cam_board` (4, 4) with the middle of the board anywhere in the image, tilted up to 45 degrees."""
    size = np.array([spec.squares_x, spec.squares_y]) * spec.square_m
    far = rng.uniform(0.8, 1.6) * float(size[0]) * model.fx / model.width_px
    pixel = rng.uniform(0.12, 0.88, 2) * (model.width_px, model.height_px)
    ray = np.array([(pixel[0] - model.cx) / model.fx, (pixel[1] - model.cy) / model.fy, 1.0])
    tilt = frames.rotation_from_vector((*rng.uniform(-0.75, 0.75, 2), 0.0)) @ frames.rotation_about_z(
        rng.normal(0.0, 0.3)
    )
    return frames.transform(far * ray, tilt) @ frames.transform((-0.5 * size[0], -0.5 * size[1], 0.0))


def _wrist_pose(truth: Truth, plan: RehearsalPlan, rng: np.random.Generator) -> FloatArray:
    """A tool pose from which the camera looks at the board, from anywhere above it."""
    spec = plan.board
    middle = np.array([0.5 * spec.squares_x * spec.square_m, 0.5 * spec.squares_y * spec.square_m, 0.0])
    target = frames.apply(truth.T_far_board, middle) + np.append(rng.uniform(-0.05, 0.05, 2), 0.0)
    tilt, azimuth, far = rng.uniform(0.0, 0.7), rng.uniform(-math.pi, math.pi), rng.uniform(0.22, 0.38)
    eye = target + far * np.array(
        [math.sin(tilt) * math.cos(azimuth), math.sin(tilt) * math.sin(azimuth), math.cos(tilt)]
    )
    roll = rng.uniform(-0.8, 0.8)
    T_base_cam = frames.look_at(eye, target, (math.cos(roll), math.sin(roll), 0.0))
    return np.asarray(T_base_cam @ frames.invert(truth.T_mount_cam))


def _held_pose(rng: np.random.Generator) -> FloatArray:
    """A tool pose that shows a held board to a camera beside the cell, leaning to every side."""
    lean = frames.rotation_from_vector((rng.uniform(-0.6, 0.6), rng.uniform(-0.9, 0.2), rng.uniform(-0.6, 0.6)))
    position = np.array([0.5, 0.0, 0.32]) + rng.uniform(-1.0, 1.0, 3) * (0.20, 0.20, 0.14)
    return frames.transform(position, lean @ np.diag([1.0, -1.0, -1.0]))


def _open(
    plan: RehearsalPlan, robot: RobotSpec, setup: CameraSetup, offset: tuple[tuple[float, ...], tuple[float, ...]]
) -> SheetStage:
    """The world with the true mount as an offset from the nominal one."""
    position, turn = ((float(a), float(b), float(c)) for a, b, c in offset)
    if plan.world == "mujoco":
        reality = RealitySample(
            optics=OpticsSample(hand_eye_error_m=position, hand_eye_error_rad=turn),
            image=ImageSample(shot_noise=0.008, read_noise=0.004, blur_frac=0.0012),
            light=LightSample(lamp=0.9, fill=0.4, ambient=0.5, has_shadows=False),
            looks=LooksSample(own_colours_frac=1.0),
        )
        return MujocoStage(robot, setup, _sheet(plan.board), reality)
    world = WorldSample(
        visual=VisualSample(object_rgb=(1.0, 1.0, 1.0), use_own_colours=True),
        camera=CameraSample(mounting_error_m=position, mounting_error_rad=turn),
        sensor=SensorSample(rgb_noise=0.012, blur_px=0.7),
    )
    return BulletStage(robot, setup, _sheet(plan.board), world)


def _sheet(board: BoardSpec) -> Sheet:
    fields = board_fields(board, _MARGIN_M)
    low, high = (np.array([getattr(item, name) for item in fields]) for name in ("low_m", "high_m"))
    return sheet_asset(low, high, np.array([item.is_black for item in fields]))
