"""What was drawn for one episode or frame: plain numbers that the cell, the renderer and the sensors read.

The default of every field is its nominal value, so `WorldSample()` is the world without randomization.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Vector3 = tuple[float, float, float]
Vector5 = tuple[float, float, float, float, float]
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class VisualSample:
    """Looks. The albedo of a surface is its texture times its colour; the texture of kind `plain` is white.

    Colours lie in [0, 1] as in an image. `photo` is the kind of a photograph out of `photo_folder`.
    """

    object_rgb: Vector3 = (0.6, 0.6, 0.6)
    object_texture_seed: int = 0
    object_texture_kind: str = "plain"
    object_specular: float = 0.0  # strength of the highlight, [0, 1]
    table_rgb: Vector3 = (0.45, 0.333, 0.225)
    table_texture_seed: int = 0
    table_texture_kind: str = "plain"
    background_rgb: Vector3 = (0.5, 0.5, 0.5)
    background_texture_seed: int = 0
    background_texture_kind: str = "plain"
    robot_rgb: Vector3 = (0.9, 0.9, 0.9)
    light_direction: Vector3 = (0.0, 0.0, 1.0)  # unit vector from the scene to the light, base frame
    light_rgb: Vector3 = (1.0, 1.0, 1.0)
    ambient: float = 0.5  # light that reaches every surface, [0, 1]
    diffuse: float = 0.5  # light that depends on the angle to the lamp, [0, 1]
    shadow: float = 0.5  # share of the diffuse light that a cast shadow takes away, [0, 1]
    num_distractors: int = 0
    texture_scale_m: float = 0.2  # edge length of one texture tile
    use_own_colours: bool = False  # the object keeps the colours of its file
    photo_folder: str = ""


@dataclass(frozen=True)
class CameraSample:
    """The camera. Offsets, field of view and distortion are known to the policy; mounting errors are not."""

    position_offset_m: Vector3 = (0.0, 0.0, 0.0)  # added to the nominal camera position, mount frame
    rotation_offset_rad: Vector3 = (0.0, 0.0, 0.0)  # rotation vector in the camera frame
    fov_scale: float = 1.0
    distortion: Vector5 = (0.0, 0.0, 0.0, 0.0, 0.0)  # OpenCV k1 k2 p1 p2 k3
    mounting_error_m: Vector3 = (0.0, 0.0, 0.0)  # where the camera is minus where calibration says it is
    mounting_error_rad: Vector3 = (0.0, 0.0, 0.0)  # rotation vector in the camera frame, likewise


@dataclass(frozen=True)
class SensorSample:
    """The sensor; see `simtoreal.envs.sensors` for what each number does to an image."""

    depth_noise_m: float = 0.0  # standard deviation at 0.5 m
    depth_noise_growth: float = 2.0  # sigma(z) = depth_noise_m * (z / 0.5 m) ** growth
    depth_hole_edge_frac: float = (
        0.0  # share of the pixels on the far side of depth edges without return, half on the near side
    )
    depth_hole_dark_frac: float = 0.0  # share of the black or glaring pixels without return
    depth_quantization_m: float = 0.0  # step of the depth values at 0.5 m, grows with the distance squared
    depth_bias_m: float = 0.0
    depth_correlation_px: float = 0.0  # extent of the correlated half of the noise; 0 is white noise
    rgb_noise: float = 0.0  # standard deviation, intensities in [0, 1]
    blur_px: float = 0.0  # sigma
    exposure: float = 1.0  # gain
    white_balance: Vector3 = (1.0, 1.0, 1.0)  # gain of each channel
    vignette: float = 0.0  # share of the light lost in the corners
    jpeg_quality: int = 100  # 100 is no compression
    seed: int = 0  # of the per-frame noise streams


@dataclass(frozen=True)
class DynamicsSample:
    """Masses, contacts, the arm and the gripper."""

    mass_scale: float = 1.0
    friction: float = 0.8  # lateral, object against fingers and table
    restitution: float = 0.0
    linear_damping: float = 0.04
    angular_damping: float = 0.04
    joint_gain_scale: float = 1.0
    tracking_lag_s: float = 0.0  # time constant of the tool following its setpoint
    standing_error_m: Vector3 = (0.0, 0.0, 0.0)  # where the tool settles minus its setpoint, base frame
    gripper_force_n: float = 30.0
    gripper_speed_m_s: float = 0.15  # of the opening width
    table_height_m: float = 0.0
    object_scale: float = 1.0


@dataclass(frozen=True)
class TimingSample:
    """Delays between world and policy."""

    observation_latency_s: float = 0.0
    action_latency_s: float = 0.0
    dropped_frame_frac: float = 0.0  # share of the camera frames that never arrive
    jitter_s: float = 0.0  # standard deviation of the observation latency from frame to frame


@dataclass(frozen=True)
class WorldSample:
    """Everything drawn for one episode or frame; stored beside it as `to_dict()`."""

    visual: VisualSample = field(default_factory=VisualSample)
    camera: CameraSample = field(default_factory=CameraSample)
    sensor: SensorSample = field(default_factory=SensorSample)
    dynamics: DynamicsSample = field(default_factory=DynamicsSample)
    timing: TimingSample = field(default_factory=TimingSample)

    def to_dict(self) -> dict[str, Any]:
        """Flat and plain for JSON: `{"dynamics.friction": 0.8, "visual.object_rgb": [0.6, 0.6, 0.6], ...}`."""
        return flattened(self)

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> "WorldSample":
        """The sample that `to_dict` wrote.

        Raises:
            ValueError: a key is missing, unknown, or holds another type than it should.
        """
        nominal = cls()
        expected = nominal.to_dict()
        if flat.keys() != expected.keys():
            missing, unknown = sorted(expected.keys() - flat.keys()), sorted(flat.keys() - expected.keys())
            raise ValueError(
                f"world sample: missing keys {missing}, unknown keys {unknown}; written by another version?"
            )
        return cls(**{group.name: _read(getattr(nominal, group.name), group.name, flat) for group in fields(cls)})


def flattened(sample: Any) -> dict[str, Any]:
    """A dataclass of groups as one mapping with dotted keys; tuples become lists."""
    flat: dict[str, Any] = {}
    for group in fields(sample):
        part = getattr(sample, group.name)
        for item in fields(part):
            value = getattr(part, item.name)
            flat[f"{group.name}.{item.name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _read(nominal: Sample, group: str, flat: Mapping[str, Any]) -> Sample:
    values = {}
    for item in fields(nominal):  # type: ignore[arg-type]  # every Sample is a dataclass
        key = f"{group}.{item.name}"
        values[item.name] = _convert(key, flat[key], getattr(nominal, item.name))
    return type(nominal)(**values)


def _convert(key: str, value: Any, like: Any) -> Any:
    try:
        if isinstance(like, tuple):
            if len(value) != len(like):
                raise ValueError
            return tuple(float(item) for item in value)
        if isinstance(like, bool | str) and not isinstance(value, type(like)):
            raise TypeError
        return type(like)(value)
    except (TypeError, ValueError):
        raise ValueError(f"world sample: {key} must look like {like!r}, got {value!r}") from None
