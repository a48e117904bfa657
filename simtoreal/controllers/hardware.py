"""`controller=FILE.yaml`: an arm, its cameras and its limits in one file, checked before anything is connected.

Keys of the file are described in docs/hardware.md; examples are in configs/hardware.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simtoreal.camera_record import CameraRecord, load_camera
from simtoreal.contracts import Camera
from simtoreal.controllers.arm import Arm
from simtoreal.controllers.arm_controller import ArmController, Rig, Times
from simtoreal.controllers.arms.franka import FrankaArm, FrankaSettings
from simtoreal.controllers.arms.lerobot import (
    LerobotCamera,
    LerobotJoints,
    LerobotLink,
    LerobotSettings,
    LerobotWrist,
)
from simtoreal.controllers.arms.ros import RosBody, RosJoints, RosSettings, RosTwistArm
from simtoreal.controllers.arms.ros_link import RosLink
from simtoreal.controllers.arms.ur import UrArm, UrSettings
from simtoreal.controllers.cameras.folder import FolderCamera, FolderSettings
from simtoreal.controllers.cameras.realsense import RealsenseCamera, RealsenseSettings
from simtoreal.controllers.cameras.ros import RosCamera, RosCameraSettings
from simtoreal.controllers.cameras.uvc import UvcCamera, UvcSettings
from simtoreal.controllers.hardware_settings import ArmFrames, MotionLimits
from simtoreal.controllers.joint_arm import ChainSettings, JointArm
from simtoreal.controllers.mounted_camera import MountedCamera
from simtoreal.controllers.registry import ARMS, ControllerSettings
from simtoreal.schema import ConfigError, closest, option, parse, required
from simtoreal.settings_files import read_mapping

_NEEDS_CHAIN = "chain is missing: an arm that takes joint commands needs urdf, joints and link there"


@dataclass(frozen=True)
class HardwareFile:
    """Everything but what belongs to one driver alone."""

    arm: str = required("driver of the arm: ur, franka, lerobot or ros")
    limits: MotionLimits = required("what the controller allows")
    control_hz: float = option(20.0, "control rate", unit="Hz", minimum=1.0, maximum=200.0)
    frames: ArmFrames = option(lambda: ArmFrames(), "where the arm's frames lie")
    chain: ChainSettings | None = option(None, "kinematics of an arm that takes joint commands")


@dataclass(frozen=True)
class CameraEntry:
    """One camera of the file."""

    name: str = required("what datasets call it")
    driver: str = required("uvc, realsense, folder, ros or lerobot")
    calibration: Path | None = option(None, "its camera.yaml; that of the first camera can be given as camera=FILE")
    max_age_s: float = option(0.12, "older pictures are refused", unit="s", minimum=0.005, maximum=2.0)


@dataclass(frozen=True)
class LerobotPicture:
    """A camera that a lerobot robot has opened itself."""

    key: str = required("of the picture in the robot's observation")


class Drivers:
    """Makes drivers for one file; those that share a link share it.

    Args:
        settings: of the command.
        sections: of the file that belong to a driver alone.
        times: the clock, and what waits on it.
    """

    def __init__(self, settings: ControllerSettings, sections: Mapping[str, Any], times: Times) -> None:
        self._settings, self._sections, self._times = settings, sections, times
        self._ros = RosLink(times.now)
        self._lerobot: LerobotLink | None = None

    def arm(self, file: HardwareFile) -> Arm:
        """The arm of the file."""
        makers: dict[str, Callable[[HardwareFile], Arm]] = {
            "ur": self._ur, "franka": self._franka, "lerobot": self._lerobot_arm, "ros": self._ros_arm,
        }  # fmt: skip
        if file.arm not in makers:
            raise ConfigError(f"arm={file.arm} is no driver{closest(file.arm, ARMS)} Drivers: {', '.join(ARMS)}")
        return makers[file.arm](file)

    def camera(self, entry: CameraEntry, values: Mapping[str, Any]) -> Camera:
        """A camera of the file; `values` are the keys of its driver."""
        now, prefix = self._times.now, f"cameras.{entry.name}."
        if entry.driver == "uvc":
            return UvcCamera(entry.name, parse(values, UvcSettings, prefix), now)
        if entry.driver == "realsense":
            return RealsenseCamera(entry.name, parse(values, RealsenseSettings, prefix), now)
        if entry.driver == "folder":
            given = parse(values, FolderSettings, prefix)
            return FolderCamera(entry.name, replace(given, folder=_beside(self._settings.file, given.folder)), now)
        if entry.driver == "ros":
            return RosCamera(entry.name, parse(values, RosCameraSettings, prefix), self._ros, now)
        if entry.driver == "lerobot" and self._lerobot is not None:
            return LerobotCamera(self._lerobot, parse(values, LerobotPicture, prefix).key)
        drivers = ("uvc", "realsense", "folder", "ros", "lerobot (with arm: lerobot)")
        raise ConfigError(f"{prefix}driver={entry.driver} is none{closest(entry.driver, drivers)} {', '.join(drivers)}")

    def _ur(self, file: HardwareFile) -> Arm:
        return UrArm(parse(self._addressed("ur"), UrSettings, "ur."), 1.0 / file.control_hz, self._times.now)

    def _franka(self, _: HardwareFile) -> Arm:
        return FrankaArm(parse(self._addressed("franka"), FrankaSettings, "franka."), self._times.now)

    def _lerobot_arm(self, file: HardwareFile) -> Arm:
        values = dict(self._section("lerobot"))
        config = values.pop("config", None) or {}
        if not isinstance(config, Mapping):
            raise ConfigError(f"lerobot.config={config!r} must hold keys of the robot's lerobot configuration")
        settings = parse(values, LerobotSettings, "lerobot.")
        self._lerobot = LerobotLink(settings, config, self._times.now)
        if settings.wrist is not None:
            return LerobotWrist(self._lerobot, settings.wrist)
        if file.chain is None:
            raise ConfigError(_NEEDS_CHAIN)
        if len(settings.joints) != len(file.chain.joints):
            raise ConfigError(
                f"lerobot.joints has {len(settings.joints)} keys and chain.joints {len(file.chain.joints)} names: they "
                "belong together, in one order"
            )
        return JointArm(LerobotJoints(self._lerobot), file.chain, 1.0 / file.control_hz)

    def _ros_arm(self, file: HardwareFile) -> Arm:
        settings = parse(self._section("ros"), RosSettings, "ros.")
        if settings.twist is not None:
            return RosTwistArm(RosBody(settings, self._ros, file.chain.joints if file.chain else ()), settings.twist)
        if file.chain is None:
            raise ConfigError(_NEEDS_CHAIN)
        joints, period_s = file.chain.joints, 1.0 / file.control_hz
        return JointArm(RosJoints(RosBody(settings, self._ros, joints), joints, period_s), file.chain, period_s)

    def _addressed(self, name: str) -> dict[str, Any]:
        values = dict(self._section(name))
        if self._settings.address is not None:
            values["address"] = self._settings.address
        return values

    def _section(self, name: str) -> Mapping[str, Any]:
        values = self._sections.get(name) or {}
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name}={values!r} must hold keys")
        return values


def open_controller(settings: ControllerSettings, times: Times | None = None) -> ArmController:
    """The controller of a hardware file, not connected yet.

    Raises:
        ConfigError: the file cannot be read, or a value in it cannot be used; names file and field.
        ModuleNotFoundError: kinematics are needed and not installed.
    """
    assert settings.file is not None, "the registry gives the file"
    for name in ("log", "options"):
        if getattr(settings, name):
            raise ConfigError(
                f"{name}={getattr(settings, name)} is of no use to controller={settings.file}: leave it out"
            )
    values = _read(settings.file)
    try:
        return _assembled(settings, values, times or Times())
    except ConfigError as error:
        raise ConfigError(f"{settings.file}: {error}") from error


def _assembled(settings: ControllerSettings, values: dict[str, Any], times: Times) -> ArmController:
    entries = values.pop("cameras", None) or []
    sections = {name: values.pop(name) for name in ARMS if name in values}
    file = parse(values, HardwareFile)
    others = [name for name in sections if name != file.arm and file.arm in ARMS]
    if others:
        raise ConfigError(f"{', '.join(others)} belongs to another driver than arm={file.arm}: leave it out")
    if file.chain is not None:
        file = replace(file, chain=replace(file.chain, urdf=_beside(settings.file, file.chain.urdf)))
    if settings.control_hz is not None:
        file = replace(file, control_hz=settings.control_hz)
    drivers = Drivers(settings, sections, times)
    arm = drivers.arm(file)
    cameras = _cameras(entries, drivers, file, settings)
    return ArmController(Rig(arm, cameras, file.frames, file.limits, file.control_hz), times)


def _cameras(
    entries: Any, drivers: Drivers, file: HardwareFile, settings: ControllerSettings
) -> tuple[MountedCamera, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError("cameras must be a list, each with name, driver and the keys of its driver")
    cameras: list[MountedCamera] = []
    for number, entry in enumerate(entries):
        own = {key: entry[key] for key in ("name", "driver", "calibration", "max_age_s") if key in entry}
        parsed = parse(own, CameraEntry, f"cameras[{number}].")
        if any(parsed.name == other.name for other in cameras):
            raise ConfigError(f"cameras[{number}].name={parsed.name} is there twice: each camera needs its own")
        device = drivers.camera(parsed, {key: value for key, value in entry.items() if key not in own})
        record = _calibration(parsed, settings, number)
        cameras.append(MountedCamera(parsed.name, device, record, file.frames, parsed.max_age_s))
    return tuple(cameras)


def _calibration(entry: CameraEntry, settings: ControllerSettings, number: int) -> CameraRecord:
    path = settings.camera if number == 0 and settings.camera is not None else entry.calibration
    if path is None:
        raise ConfigError(
            f"cameras.{entry.name}.calibration is missing: calibrate the camera, and give its camera.yaml there"
            + (", or as camera=FILE" if number == 0 else "")
        )
    if path is not settings.camera:
        path = _beside(settings.file, path)
    record = load_camera(path)
    if record.mount is None:
        raise ConfigError(
            f"{path} has no mount: nobody has measured where camera {entry.name} sits. Calibrate hand-eye"
        )
    return record


def _beside(file: Path | None, path: Path) -> Path:
    """Paths in a file are meant from where it lies."""
    return path if path.is_absolute() or file is None else file.parent / path


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_mapping(path)
    except FileNotFoundError:
        raise ConfigError(f"controller={path}: there is no such file. Copy one of configs/hardware") from None
