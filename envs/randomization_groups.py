"""The groups of the domain randomization: one range for each number that can be drawn."""
# ruff: noqa: RUF009 - `ranged` and its kin build immutable field specifications.

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from simtoreal.envs import world_sample
from simtoreal.envs.range_group import RangeGroup, ranged, share
from simtoreal.envs.ranges import Range
from simtoreal.envs.textures import PHOTO_KIND, PROCEDURAL_KINDS
from simtoreal.envs.world_sample import Vector3

NUM_SEEDS = 2**31 - 1


@dataclass(frozen=True)
class ColourRandomization(RangeGroup):
    """Colour of one surface, as hue, saturation and value, so that pale and dark ones are easy to ask for."""

    hue: Range = ranged(0.0, 0.0, 1.0, "turn of the colour wheel", set_only=True)
    saturation: Range = ranged(0.0, 0.0, 1.0, "1", set_only=True)
    value: Range = ranged(0.6, 0.0, 1.0, "1, brightness", set_only=True)

    def draw_rgb(self, rng: np.random.Generator) -> Vector3:
        """A colour (3,) in [0, 1]."""
        return colorsys.hsv_to_rgb(self.draw("hue", rng), self.draw("saturation", rng), self.draw("value", rng))


@dataclass(frozen=True)
class SurfaceRandomization(ColourRandomization):
    """Colour and texture of one surface."""

    textured_frac: float = share(0.0, "share of the episodes with a procedural texture")
    photo_frac: float = share(0.0, "share with a photograph, where photo_folder is given")
    texture_kinds: tuple[str, ...] = field(
        default=PROCEDURAL_KINDS, metadata={"unit": "kinds drawn from", "choices": PROCEDURAL_KINDS}
    )

    def sample(self, rng: np.random.Generator, has_photos: bool) -> tuple[Vector3, str, int]:
        """Colour (3,), texture kind and texture seed."""
        rgb = self.draw_rgb(rng)
        chance, pick, seed = rng.random(), int(rng.random() * len(self.texture_kinds)), int(rng.integers(NUM_SEEDS))
        photo_frac = self.photo_frac if has_photos else 0.0
        if chance < photo_frac:
            kind = PHOTO_KIND
        elif chance < photo_frac + self.textured_frac:
            kind = self.texture_kinds[pick]
        else:
            return rgb, "plain", seed
        # A texture brings its own colours: the surface colour only tints it, or most products would be near black.
        return (0.6 + 0.4 * rgb[0], 0.6 + 0.4 * rgb[1], 0.6 + 0.4 * rgb[2]), kind, seed


def _coloured(kind: type[ColourRandomization], hue: float, saturation: float, value: float) -> Any:
    return field(default=kind(Range.constant(hue), Range.constant(saturation), Range.constant(value)))


@dataclass(frozen=True)
class VisualRandomization(RangeGroup):
    """Looks of the scene."""

    object: SurfaceRandomization = _coloured(SurfaceRandomization, 0.0, 0.0, 0.6)
    table: SurfaceRandomization = _coloured(SurfaceRandomization, 0.08, 0.5, 0.45)
    background: SurfaceRandomization = _coloured(SurfaceRandomization, 0.0, 0.0, 0.5)
    robot: ColourRandomization = _coloured(ColourRandomization, 0.0, 0.0, 0.9)
    own_colours_frac: float = share(0.0, "share of the episodes in which an object keeps the colours of its file")
    photo_folder: str = field(default="", metadata={"unit": "folder of jpg and png photographs, or nothing"})
    texture_scale_m: Range = ranged(0.2, 0.005, 10.0, "m, edge of one texture tile")
    object_specular: Range = ranged(0.0, 0.0, 1.0, "1, strength of the highlight")
    light_elevation_rad: Range = ranged(1.5708, 0.05, 1.5708, "rad, lamp above the horizon")
    light_rgb: Range = ranged(1.0, 0.0, 2.0, "1, each channel by itself")
    ambient: Range = ranged(0.5, 0.0, 1.0, "1")
    diffuse: Range = ranged(0.5, 0.0, 1.5, "1")
    shadow: Range = ranged(0.5, 0.0, 1.0, "1, share of the diffuse light")
    num_distractors: Range = ranged(0.0, 0.0, 20.0, "whole number, ends included")

    def sample(self, rng: np.random.Generator) -> world_sample.VisualSample:
        """What the scene looks like in one episode or frame."""
        surfaces: dict[str, Any] = {"robot_rgb": self.robot.draw_rgb(rng)}
        for name in ("object", "table", "background"):
            rgb, kind, seed = getattr(self, name).sample(rng, bool(self.photo_folder))
            surfaces |= {f"{name}_rgb": rgb, f"{name}_texture_kind": kind, f"{name}_texture_seed": seed}
        numbers: dict[str, Any] = {name: self.draw(name, rng) for name in _VISUAL_NUMBERS}
        elevation, azimuth = self.draw("light_elevation_rad", rng), 2.0 * math.pi * rng.random()
        level = math.cos(elevation)
        return world_sample.VisualSample(
            **surfaces,
            light_direction=(level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)),
            light_rgb=self.draw_axes("light_rgb", rng),
            **numbers,
            num_distractors=self.draw_whole("num_distractors", rng),
            use_own_colours=rng.random() < self.own_colours_frac,
            photo_folder=self.photo_folder,
        )


_VISUAL_NUMBERS = ("ambient", "diffuse", "shadow", "object_specular", "texture_scale_m")


@dataclass(frozen=True)
class CameraRandomization(RangeGroup):
    """Where the camera is and what lens it has (known to the policy), and how wrong its calibration is (not known)."""

    position_offset_m: Range = ranged(0.0, -0.5, 0.5, "m, each axis")
    rotation_offset_rad: Range = ranged(0.0, -0.8, 0.8, "rad, each axis")
    fov_scale: Range = ranged(1.0, 0.3, 2.0, "1")
    distortion_k1: Range = ranged(0.0, -0.5, 0.5, "1, OpenCV radial")
    distortion_k2: Range = ranged(0.0, -0.5, 0.5, "1, OpenCV radial")
    distortion_p: Range = ranged(0.0, -0.05, 0.05, "1, OpenCV tangential p1 and p2")
    distortion_k3: Range = ranged(0.0, -0.5, 0.5, "1, OpenCV radial")
    mounting_error_m: Range = ranged(0.0, 0.0, 0.1, "m, length, any direction")
    mounting_error_rad: Range = ranged(0.0, 0.0, 0.5, "rad, angle, any axis")

    def sample(self, rng: np.random.Generator) -> world_sample.CameraSample:
        """The camera of one episode or frame."""
        k1, k2, p1, p2, k3 = (self.draw(f"distortion_{name}", rng) for name in ("k1", "k2", "p", "p", "k3"))
        return world_sample.CameraSample(
            position_offset_m=self.draw_axes("position_offset_m", rng),
            rotation_offset_rad=self.draw_axes("rotation_offset_rad", rng),
            fov_scale=self.draw("fov_scale", rng),
            distortion=(k1, k2, p1, p2, k3),
            mounting_error_m=self.draw_length("mounting_error_m", rng),
            mounting_error_rad=self.draw_length("mounting_error_rad", rng),
        )


@dataclass(frozen=True)
class SensorRandomization(RangeGroup):
    """Errors of the RGB-D sensor."""

    depth_noise_m: Range = ranged(0.0, 0.0, 0.1, "m, standard deviation at 0.5 m")
    depth_noise_growth: Range = ranged(2.0, 0.0, 4.0, "1, exponent of the distance")
    depth_hole_edge_frac: Range = ranged(0.0, 0.0, 1.0, "share of the pixels on the far side of depth edges")
    depth_hole_dark_frac: Range = ranged(0.0, 0.0, 1.0, "share of the black or glaring pixels")
    depth_quantization_m: Range = ranged(0.0, 0.0, 0.05, "m, step at 0.5 m")
    depth_bias_m: Range = ranged(0.0, -0.05, 0.05, "m")
    depth_correlation_px: Range = ranged(0.0, 0.0, 100.0, "px, extent of the correlated half of the noise")
    rgb_noise: Range = ranged(0.0, 0.0, 0.5, "standard deviation, intensity in [0, 1]")
    blur_px: Range = ranged(0.0, 0.0, 20.0, "px, sigma")
    exposure: Range = ranged(1.0, 0.05, 10.0, "gain")
    white_balance: Range = ranged(1.0, 0.2, 5.0, "gain of each channel by itself")
    vignette: Range = ranged(0.0, 0.0, 1.0, "share of the light lost in the corners")
    jpeg_quality: Range = ranged(100.0, 5.0, 100.0, "whole number, 100 is no compression")

    def sample(self, rng: np.random.Generator) -> world_sample.SensorSample:
        """The sensor of one episode or frame."""
        special: dict[str, Callable[[str, np.random.Generator], Any]] = {
            "white_balance": self.draw_axes,
            "jpeg_quality": self.draw_whole,
        }
        drawn = {item.name: special.get(item.name, self.draw)(item.name, rng) for item in fields(self)}
        return world_sample.SensorSample(**drawn, seed=int(rng.integers(NUM_SEEDS)))


@dataclass(frozen=True)
class DynamicsRandomization(RangeGroup):
    """Masses, contacts, the arm and the gripper."""

    mass_scale: Range = ranged(1.0, 0.01, 100.0, "1")
    friction: Range = ranged(0.8, 0.0, 5.0, "1, lateral")
    restitution: Range = ranged(0.0, 0.0, 1.0, "1")
    linear_damping: Range = ranged(0.04, 0.0, 1.0, "1/s")
    angular_damping: Range = ranged(0.04, 0.0, 1.0, "1/s")
    joint_gain_scale: Range = ranged(1.0, 0.05, 5.0, "1")
    tracking_lag_s: Range = ranged(0.0, 0.0, 2.0, "s, time constant")
    standing_error_m: Range = ranged(0.0, 0.0, 0.05, "m, length, any direction")
    gripper_force_n: Range = ranged(30.0, 0.5, 500.0, "N")
    gripper_speed_m_s: Range = ranged(0.15, 0.005, 2.0, "m/s, of the opening width")
    table_height_m: Range = ranged(0.0, -0.3, 0.3, "m, base frame")
    object_scale: Range = ranged(1.0, 0.1, 10.0, "1")

    def sample(self, rng: np.random.Generator) -> world_sample.DynamicsSample:
        """The dynamics of one episode."""
        drawn: dict[str, Any] = {
            item.name: (self.draw_length if item.name == "standing_error_m" else self.draw)(item.name, rng)
            for item in fields(self)
        }
        return world_sample.DynamicsSample(**drawn)


@dataclass(frozen=True)
class TimingRandomization(RangeGroup):
    """Delays between world and policy."""

    observation_latency_s: Range = ranged(0.0, 0.0, 2.0, "s")
    action_latency_s: Range = ranged(0.0, 0.0, 2.0, "s")
    dropped_frame_frac: Range = ranged(0.0, 0.0, 0.95, "share of the camera frames")
    jitter_s: Range = ranged(0.0, 0.0, 0.5, "s, standard deviation of the observation latency")

    def sample(self, rng: np.random.Generator) -> world_sample.TimingSample:
        """The delays of one episode."""
        return world_sample.TimingSample(**{item.name: self.draw(item.name, rng) for item in fields(self)})
