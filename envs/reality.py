"""A reality as data: everything in which the second world differs from the one that policies are trained in.

>>> reality = load_reality("default")
>>> sample = reality.sample(np.random.default_rng(0))
>>> 0.0 < sample.physics.friction < 3.0
True
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simtoreal.envs.range_group import RangeGroup, draw_groups
from simtoreal.envs.reality_groups import (
    ArmReality,
    ClockReality,
    ContentReality,
    DepthReality,
    ImageReality,
    LightReality,
    LooksReality,
    OpticsReality,
    PhysicsReality,
)
from simtoreal.envs.reality_sample import RealitySample
from simtoreal.settings_files import SettingsFile, find_settings, read_mapping, shipped_file

REALITIES = ("mild", "default", "harsh")


@dataclass(frozen=True)
class Reality(RangeGroup):
    """Every range of a reality, by group; the one without a file is a world without errors."""

    optics: OpticsReality = field(default_factory=OpticsReality)
    image: ImageReality = field(default_factory=ImageReality)
    depth: DepthReality = field(default_factory=DepthReality)
    light: LightReality = field(default_factory=LightReality)
    looks: LooksReality = field(default_factory=LooksReality)
    physics: PhysicsReality = field(default_factory=PhysicsReality)
    arm: ArmReality = field(default_factory=ArmReality)
    clock: ClockReality = field(default_factory=ClockReality)
    content: ContentReality = field(default_factory=ContentReality)

    def sample(self, rng: np.random.Generator) -> RealitySample:
        """Draws one world; a change to one group leaves what the others draw from the same seed as it was."""
        return RealitySample(**draw_groups(self, rng))


def load_reality(name_or_path: str) -> Reality:
    """Loads a shipped reality by name, or a YAML file of your own.

    A file names only what differs from its `base` (a shipped reality; absent, a world without errors).

    Raises:
        ConfigError: there is no such reality or file.
        ValueError: the file is not right; names file, field, value and what is allowed.
    """
    return _load_file(find_settings("reality", name_or_path, "reality"))


def reality_table() -> str:
    """Markdown table of every parameter: its range in each shipped reality, and its unit."""
    columns = [load_reality(name).rows() for name in REALITIES]
    lines = [f"| parameter | {' | '.join(REALITIES)} | unit |", "|---|" + "---|" * len(REALITIES) + "---|"]
    for cells in zip(*columns, strict=True):
        name, _, unit = cells[0]
        lines.append(f"| `{name}` | {' | '.join(f'`{value}`' for _, value, _ in cells)} | {unit} |")
    return "\n".join(lines) + "\n"


def _load_file(path: SettingsFile) -> Reality:
    plain = read_mapping(path)
    try:
        return _base(plain).updated({key: value for key, value in plain.items() if key != "base"})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _base(plain: Mapping[str, Any]) -> Reality:
    if "base" not in plain:
        return Reality()
    if plain["base"] not in REALITIES:
        raise ValueError(f"base: {plain['base']!r} is not a shipped reality; allowed: {', '.join(REALITIES)}")
    return _load_file(shipped_file("reality", str(plain["base"])))
