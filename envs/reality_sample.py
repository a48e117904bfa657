"""What was drawn of a reality for one episode: plain numbers that the second world reads; see `reality_groups`."""

from dataclasses import dataclass, field
from typing import Any

from simtoreal.envs.world_sample import Vector3, Vector5, flattened


@dataclass(frozen=True)
class OpticsSample:
    """Lens and mount of the camera."""

    fov_scale: float = 1.0
    principal_offset_frac: tuple[float, float] = (0.0, 0.0)
    distortion: Vector5 = (0.0, 0.0, 0.0, 0.0, 0.0)
    position_offset_m: Vector3 = (0.0, 0.0, 0.0)  # of the mount, known to calibration
    rotation_offset_rad: Vector3 = (0.0, 0.0, 0.0)
    hand_eye_error_m: Vector3 = (0.0, 0.0, 0.0)  # where the camera is minus where calibration says it is
    hand_eye_error_rad: Vector3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ImageSample:
    """The colour sensor."""

    exposure: float = 1.0
    gamma: float = 1.0
    white_balance: Vector3 = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    blur_frac: float = 0.0
    vignette: float = 0.0


@dataclass(frozen=True)
class DepthSample:
    """The depth sensor."""

    noise_m: float = 0.0
    step_m: float = 0.0
    patch_frac: float = 0.0
    block_frac: float = 0.0
    baseline_m: float = 0.0
    scale_error: float = 0.0
    min_range_m: float = 0.0
    dark_loss_frac: float = 0.0
    glare_loss_frac: float = 0.0
    speckle_loss_frac: float = 0.0


@dataclass(frozen=True)
class LightSample:
    """The lights; directions are unit vectors from the scene to the lamp, base frame."""

    lamp_direction: Vector3 = (0.2, 0.3, 0.93)
    lamp: float = 0.5
    fill_direction: Vector3 = (-0.4, -0.4, 0.82)
    fill: float = 0.2
    ambient: float = 0.4
    temperature_k: float = 6500.0
    has_shadows: bool = True


@dataclass(frozen=True)
class LooksSample:
    """The surfaces; `seed` fixes colours and patterns."""

    table: str = "laminate"
    background: str = "wall"
    object_finishes: tuple[str, ...] = ("plastic",)
    fixtures: tuple[str, ...] = ("metal",)
    sheets: tuple[str, ...] = ("paper",)
    table_tile_m: float = 0.5
    own_colours_frac: float = 0.5
    object_specular: float = 0.1
    object_shininess: float = 0.3
    table_specular: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class PhysicsSample:
    """Table, contacts and masses."""

    table_height_m: float = 0.0
    friction: float = 0.8
    torsion_m: float = 0.008
    contact_time_s: float = 0.006
    mass_scale: float = 1.0
    object_scale: float = 1.0


@dataclass(frozen=True)
class ArmSample:
    """Arm and gripper."""

    stiffness_rad_s: float = 40.0
    damping_ratio: float = 1.0
    gravity_error_frac: float = 0.0
    gripper_force_n: float = 30.0
    gripper_speed_m_s: float = 0.15


@dataclass(frozen=True)
class ClockSample:
    """Delays and the steadiness of the control loop."""

    observation_latency_s: float = 0.0
    latency_jitter_s: float = 0.0
    action_latency_s: float = 0.0
    period_jitter_s: float = 0.0
    dropped_frame_frac: float = 0.0


@dataclass(frozen=True)
class ContentSample:
    """How much else stands on the table."""

    num_neighbours: int = 0
    num_blocks: int = 0
    num_fixtures: int = 0
    num_sheets: int = 0
    gap_m: float = 0.03


@dataclass(frozen=True)
class RealitySample:
    """Everything drawn for one episode; stored beside it as `to_dict()`."""

    optics: OpticsSample = field(default_factory=OpticsSample)
    image: ImageSample = field(default_factory=ImageSample)
    depth: DepthSample = field(default_factory=DepthSample)
    light: LightSample = field(default_factory=LightSample)
    looks: LooksSample = field(default_factory=LooksSample)
    physics: PhysicsSample = field(default_factory=PhysicsSample)
    arm: ArmSample = field(default_factory=ArmSample)
    clock: ClockSample = field(default_factory=ClockSample)
    content: ContentSample = field(default_factory=ContentSample)

    def to_dict(self) -> dict[str, Any]:
        """Flat and plain for JSON: `{"physics.friction": 0.8, "optics.distortion": [0.0, ...], ...}`."""
        return flattened(self)
