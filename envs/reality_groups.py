"""The groups of a reality: one range for each number in which a second world can differ from the first.

The nominal value of every field is that of a world without errors; a reality's file names what differs.
"""
# ruff: noqa: RUF009 - `ranged` and its kin build immutable field specifications.

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from simtoreal.envs import reality_sample
from simtoreal.envs.range_group import RangeGroup, ranged, share
from simtoreal.envs.ranges import Range
from simtoreal.envs.reality_finishes import BACKGROUNDS, FIXTURES, OBJECT_FINISHES, SHEETS, TABLES
from simtoreal.envs.world_sample import Vector3

NUM_SEEDS = 2**31 - 1


def _kinds(all_of: tuple[str, ...]) -> Any:
    return field(default=all_of, metadata={"unit": "kinds drawn from", "choices": all_of})


@dataclass(frozen=True)
class OpticsReality(RangeGroup):
    """Lens and mount: what calibration knows of them, and how wrong it is about the mount."""

    fov_scale: Range = ranged(1.0, 0.5, 1.6, "1, field of view (known)")
    principal_offset_frac: Range = ranged(0.0, -0.1, 0.1, "of the image size, each axis (known)")
    distortion_k1: Range = ranged(0.0, -0.35, 0.35, "1, OpenCV radial (known)")
    distortion_k2: Range = ranged(0.0, -0.2, 0.2, "1, OpenCV radial (known)")
    distortion_p: Range = ranged(0.0, -0.02, 0.02, "1, OpenCV tangential p1 and p2 (known)")
    position_offset_m: Range = ranged(0.0, -0.1, 0.1, "m, each axis, of the mount (known)")
    rotation_offset_rad: Range = ranged(0.0, -0.3, 0.3, "rad, each axis, of the mount (known)")
    hand_eye_error_m: Range = ranged(0.0, 0.0, 0.05, "m, length, any direction (not known)")
    hand_eye_error_rad: Range = ranged(0.0, 0.0, 0.2, "rad, angle, any axis (not known)")

    def sample(self, rng: np.random.Generator) -> reality_sample.OpticsSample:
        """The camera of one episode."""
        k1, k2, p1, p2 = (self.draw(f"distortion_{name}", rng) for name in ("k1", "k2", "p", "p"))
        offset = self.draw("principal_offset_frac", rng), self.draw("principal_offset_frac", rng)
        return reality_sample.OpticsSample(
            fov_scale=self.draw("fov_scale", rng),
            principal_offset_frac=offset,
            distortion=(k1, k2, p1, p2, 0.0),
            position_offset_m=self.draw_axes("position_offset_m", rng),
            rotation_offset_rad=self.draw_axes("rotation_offset_rad", rng),
            hand_eye_error_m=self.draw_length("hand_eye_error_m", rng),
            hand_eye_error_rad=self.draw_length("hand_eye_error_rad", rng),
        )


@dataclass(frozen=True)
class ImageReality(RangeGroup):
    """What the colour sensor makes of the light."""

    exposure: Range = ranged(1.0, 0.1, 5.0, "gain")
    gamma: Range = ranged(1.0, 0.4, 2.5, "exponent of the tone curve")
    white_balance: Range = ranged(1.0, 0.4, 2.5, "gain of each channel by itself")
    saturation: Range = ranged(1.0, 0.0, 2.0, "1, colourfulness")
    shot_noise: Range = ranged(0.0, 0.0, 0.3, "standard deviation at full intensity, grows with its root")
    read_noise: Range = ranged(0.0, 0.0, 0.2, "standard deviation, intensity in [0, 1]")
    blur_frac: Range = ranged(0.0, 0.0, 0.05, "sigma, share of the image height")
    vignette: Range = ranged(0.0, 0.0, 1.0, "share of the light lost in the corners")

    def sample(self, rng: np.random.Generator) -> reality_sample.ImageSample:
        """The colour sensor of one episode."""
        drawn: dict[str, Any] = {
            item.name: (self.draw_axes if item.name == "white_balance" else self.draw)(item.name, rng)
            for item in fields(self)
        }
        return reality_sample.ImageSample(**drawn)


@dataclass(frozen=True)
class DepthReality(RangeGroup):
    """A stereo depth sensor: its errors are errors of the disparity, and half of what is near hides from one eye."""

    noise_m: Range = ranged(0.0, 0.0, 0.05, "m, standard deviation at 0.5 m, grows with the square")
    step_m: Range = ranged(0.0, 0.0, 0.05, "m, smallest step at 0.5 m, likewise")
    patch_frac: Range = ranged(0.0, 0.0, 0.2, "extent of the noise, share of the image height")
    block_frac: Range = ranged(0.0, 0.0, 0.1, "window of the matcher, share of the image height: edges fatten")
    baseline_m: Range = ranged(0.0, 0.0, 0.2, "m, between the two eyes: what only one of them sees has no depth")
    scale_error: Range = ranged(0.0, -0.1, 0.1, "1, share of the distance")
    min_range_m: Range = ranged(0.0, 0.0, 0.5, "m, nothing nearer is seen")
    dark_loss_frac: Range = ranged(0.0, 0.0, 1.0, "share of the nearly black pixels without depth")
    glare_loss_frac: Range = ranged(0.0, 0.0, 1.0, "share of the nearly white pixels without depth")
    speckle_loss_frac: Range = ranged(0.0, 0.0, 0.5, "share of all pixels without depth, in blotches")

    def sample(self, rng: np.random.Generator) -> reality_sample.DepthSample:
        """The depth sensor of one episode."""
        return reality_sample.DepthSample(**{item.name: self.draw(item.name, rng) for item in fields(self)})


@dataclass(frozen=True)
class LightReality(RangeGroup):
    """A lamp that casts shadows, a second one that fills them, and what comes from everywhere."""

    lamp_elevation_rad: Range = ranged(1.2, 0.2, 1.5708, "rad, lamp above the horizon")
    lamp: Range = ranged(0.5, 0.0, 2.0, "1, intensity")
    fill: Range = ranged(0.2, 0.0, 2.0, "1, intensity of the second lamp, without shadow")
    ambient: Range = ranged(0.4, 0.0, 1.0, "1, from everywhere")
    temperature_k: Range = ranged(6500.0, 1500.0, 15000.0, "K, colour of the lamp", set_only=True)
    shadows_frac: float = share(1.0, "share of the episodes in which the lamp casts shadows")

    def sample(self, rng: np.random.Generator) -> reality_sample.LightSample:
        """The lights of one episode."""
        elevation = self.draw("lamp_elevation_rad", rng)
        return reality_sample.LightSample(
            lamp_direction=_direction(elevation, 2.0 * math.pi * rng.random()),
            lamp=self.draw("lamp", rng),
            fill_direction=_direction(0.9, 2.0 * math.pi * rng.random()),
            fill=self.draw("fill", rng),
            ambient=self.draw("ambient", rng),
            temperature_k=self.draw("temperature_k", rng),
            has_shadows=bool(rng.random() < self.shadows_frac),
        )


def _direction(elevation_rad: float, azimuth_rad: float) -> Vector3:
    level = math.cos(elevation_rad)
    return level * math.cos(azimuth_rad), level * math.sin(azimuth_rad), math.sin(elevation_rad)


@dataclass(frozen=True)
class LooksReality(RangeGroup):
    """Surfaces of table, room and objects."""

    tables: tuple[str, ...] = _kinds(TABLES)
    backgrounds: tuple[str, ...] = _kinds(BACKGROUNDS)
    object_finishes: tuple[str, ...] = _kinds(OBJECT_FINISHES)
    fixtures: tuple[str, ...] = _kinds(FIXTURES)
    sheets: tuple[str, ...] = _kinds(SHEETS)
    table_tile_m: Range = ranged(0.5, 0.05, 5.0, "m, edge of one texture tile on the table")
    own_colours_frac: float = share(0.5, "share of the objects that keep the colours of their file")
    object_specular: Range = ranged(0.1, 0.0, 1.0, "1, strength of the highlights on objects")
    object_shininess: Range = ranged(0.3, 0.0, 1.0, "1, how small the highlights are")
    table_specular: Range = ranged(0.1, 0.0, 1.0, "1, strength of the highlights on the table")

    def sample(self, rng: np.random.Generator) -> reality_sample.LooksSample:
        """The surfaces of one episode."""
        return reality_sample.LooksSample(
            table=str(rng.choice(self.tables)),
            background=str(rng.choice(self.backgrounds)),
            object_finishes=self.object_finishes,
            fixtures=self.fixtures,
            sheets=self.sheets,
            table_tile_m=self.draw("table_tile_m", rng),
            own_colours_frac=self.own_colours_frac,
            object_specular=self.draw("object_specular", rng),
            object_shininess=self.draw("object_shininess", rng),
            table_specular=self.draw("table_specular", rng),
            seed=int(rng.integers(NUM_SEEDS)),
        )


@dataclass(frozen=True)
class PhysicsReality(RangeGroup):
    """Table, contacts and masses."""

    table_height_m: Range = ranged(0.0, -0.1, 0.1, "m, base frame")
    friction: Range = ranged(0.8, 0.05, 3.0, "1, sliding, of the objects")
    torsion_m: Range = ranged(0.008, 0.0, 0.05, "m, torsional friction of a contact, as a lever")
    contact_time_s: Range = ranged(0.006, 0.004, 0.05, "s, in which a contact pushes out what has sunk in")
    mass_scale: Range = ranged(1.0, 0.05, 20.0, "1, of the objects")
    object_scale: Range = ranged(1.0, 0.5, 1.5, "1, size of the objects, in steps of 0.05")

    def sample(self, rng: np.random.Generator) -> reality_sample.PhysicsSample:
        """The physics of one episode."""
        return reality_sample.PhysicsSample(**{item.name: self.draw(item.name, rng) for item in fields(self)})


@dataclass(frozen=True)
class ArmReality(RangeGroup):
    """How well the arm does what it is told: a spring and damper at every joint, and a payload it knows badly."""

    stiffness_rad_s: Range = ranged(40.0, 5.0, 120.0, "rad/s, natural frequency of the joint controllers")
    damping_ratio: Range = ranged(1.0, 0.3, 3.0, "1")
    gravity_error_frac: Range = ranged(0.0, -0.5, 0.5, "of the arm's weight that is not balanced")
    gripper_force_n: Range = ranged(30.0, 1.0, 500.0, "N")
    gripper_speed_m_s: Range = ranged(0.15, 0.01, 2.0, "m/s, of the opening width")

    def sample(self, rng: np.random.Generator) -> reality_sample.ArmSample:
        """The arm of one episode."""
        return reality_sample.ArmSample(**{item.name: self.draw(item.name, rng) for item in fields(self)})


@dataclass(frozen=True)
class ClockReality(RangeGroup):
    """Delays between world and policy, and how steady the control loop is."""

    observation_latency_s: Range = ranged(0.0, 0.0, 1.0, "s")
    latency_jitter_s: Range = ranged(0.0, 0.0, 0.2, "s, standard deviation of the observation latency")
    action_latency_s: Range = ranged(0.0, 0.0, 1.0, "s")
    period_jitter_s: Range = ranged(0.0, 0.0, 0.02, "s, standard deviation of the control period")
    dropped_frame_frac: Range = ranged(0.0, 0.0, 0.9, "share of the camera frames that never arrive")

    def sample(self, rng: np.random.Generator) -> reality_sample.ClockSample:
        """The delays of one episode."""
        return reality_sample.ClockSample(**{item.name: self.draw(item.name, rng) for item in fields(self)})


@dataclass(frozen=True)
class ContentReality(RangeGroup):
    """What else stands on the table."""

    num_neighbours: Range = ranged(
        0.0, 0.0, 12.0, "whole number, free objects of the set beside the target; any counts"
    )
    num_blocks: Range = ranged(0.0, 0.0, 12.0, "whole number, boxes and tins too large to grasp; they never count")
    num_fixtures: Range = ranged(0.0, 0.0, 12.0, "whole number, posts, clamps and rails bolted down; they never count")
    num_sheets: Range = ranged(0.0, 0.0, 20.0, "whole number, flat things that lie about; they never count")
    gap_m: Range = ranged(0.03, 0.0, 0.3, "m, smallest space between two objects, as balls around them")

    def sample(self, rng: np.random.Generator) -> reality_sample.ContentSample:
        """How much stands on the table in one episode."""
        counts = {
            name: self.draw_whole(name, rng) for name in ("num_neighbours", "num_blocks", "num_fixtures", "num_sheets")
        }
        return reality_sample.ContentSample(**counts, gap_m=self.draw("gap_m", rng))
