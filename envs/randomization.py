"""Domain randomization: presets and files in, one `WorldSample` per episode or frame out.

Example:
    >>> randomization = compose("default", dynamics="harsh", overrides={"timing.jitter_s": "=U(0, 0.01)"})
    >>> sample = randomization.sample(np.random.default_rng(0))
    >>> 0.35 <= sample.dynamics.friction <= 1.2
    True
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.envs.randomization_groups import (
    CameraRandomization,
    ColourRandomization,
    DynamicsRandomization,
    SensorRandomization,
    SurfaceRandomization,
    TimingRandomization,
    VisualRandomization,
)
from simtoreal.envs.range_group import RangeGroup, draw_groups
from simtoreal.envs.ranges import Range
from simtoreal.envs.textures import PROCEDURAL_KINDS, photo_folder_at
from simtoreal.envs.world_sample import (
    CameraSample,
    DynamicsSample,
    SensorSample,
    TimingSample,
    VisualSample,
    WorldSample,
)
from simtoreal.identified import from_plain, is_identified
from simtoreal.settings_files import SettingsFile, find_settings, read_mapping, shipped_file

__all__ = [
    "PRESETS",
    "CameraRandomization",
    "CameraSample",
    "ColourRandomization",
    "DynamicsRandomization",
    "DynamicsSample",
    "Randomization",
    "Range",
    "RangeGroup",
    "SensorRandomization",
    "SensorSample",
    "SurfaceRandomization",
    "TimingRandomization",
    "TimingSample",
    "VisualRandomization",
    "VisualSample",
    "WorldSample",
    "compose",
    "load_randomization",
    "preset_table",
]  # fmt: skip
PRESETS = ("none", "mild", "default", "harsh")


@dataclass(frozen=True)
class Randomization:
    """Everything that is randomized, by group; the default randomizes nothing."""

    visual: VisualRandomization = field(default_factory=VisualRandomization)
    camera: CameraRandomization = field(default_factory=CameraRandomization)
    sensor: SensorRandomization = field(default_factory=SensorRandomization)
    dynamics: DynamicsRandomization = field(default_factory=DynamicsRandomization)
    timing: TimingRandomization = field(default_factory=TimingRandomization)

    def sample(self, rng: np.random.Generator) -> WorldSample:
        """Draws one world; a change to one group leaves what the others draw from the same seed as it was."""
        return WorldSample(**draw_groups(self, rng))

    def with_group(self, **groups: RangeGroup) -> "Randomization":
        """This randomization with whole groups replaced, `with_group(dynamics=...)`.

        Raises:
            ValueError: no such group, or a group of another type.
        """
        for name, group in groups.items():
            _need_group(name)
            if type(group) is not type(getattr(self, name)):
                raise ValueError(f"{name} must be a {type(getattr(self, name)).__name__}, got {type(group).__name__}")
        return replace(self, **groups)  # type: ignore[arg-type]  # each type was checked just above

    def updated(self, plain: Mapping[str, Any]) -> "Randomization":
        """This randomization with the fields of a nested mapping replaced; a group may also be a preset's name.

        Raises:
            ValueError: an unknown key or a bad value; says the field, the value and what is allowed.
        """
        groups: dict[str, RangeGroup] = {}
        for name, value in plain.items():
            _need_group(name)
            try:
                preset = _load_preset(value) if isinstance(value, str) else None
                groups[name] = getattr(preset, name) if preset else getattr(self, name).updated(value)
            except ValueError as error:
                raise ValueError(f"{name}{'.' if isinstance(value, Mapping) else ': '}{error}") from None
        return self.with_group(**groups)

    def to_plain(self) -> dict[str, Any]:
        """Nested plain mapping for YAML or JSON; `Randomization().updated(plain)` reads it back."""
        return {item.name: getattr(self, item.name).to_plain() for item in fields(self)}

    def rows(self) -> list[tuple[str, str, str]]:
        """(dotted name, value as text, unit) of every parameter."""
        return [row for item in fields(self) for row in getattr(self, item.name).rows(f"{item.name}.")]


def load_randomization(name_or_path: str) -> Randomization:
    """Loads a preset by name, or a YAML file.

    A file names only what differs from its `base` (a preset, `none` if absent); a whole group may be a preset's name:
    `{base: default, dynamics: harsh, timing: {jitter_s: "=U(0, 0.01)"}}`. So does what `simtoreal identify` wrote.

    Raises:
        ConfigError: there is no such preset or file.
        ValueError: the file is not right; names file, field, value and what is allowed.
    """
    return _load_file(find_settings("randomization", name_or_path, "randomization"))


def compose(base: str, *, overrides: Mapping[str, object] | None = None, **groups: str) -> Randomization:
    """A preset or file with whole groups of other presets or files and single parameters by dotted key put over it.

    Raises:
        ValueError: an unknown name, group or key, or a bad value; says which and what is allowed.
    """
    composed = load_randomization(base)
    for group, name in groups.items():
        _need_group(group)
        composed = composed.with_group(**{group: getattr(load_randomization(name), group)})
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        composed = composed.updated(nested)
    if composed.visual.photo_folder:
        photo_folder_at(composed.visual.photo_folder)
    return composed


def preset_table(presets: Sequence[str] = PRESETS) -> str:
    """Markdown table of every parameter: its range in each preset, and its unit."""
    every_kind = ", ".join(PROCEDURAL_KINDS)
    columns = [_load_preset(name).rows() for name in presets]
    lines = [f"| parameter | {' | '.join(presets)} | unit |", "|---|" + "---|" * len(presets) + "---|"]
    for cells in zip(*columns, strict=True):
        name, _, unit = cells[0]
        values = ["all" if value == every_kind else f"`{value}`" if value else "" for _, value, _ in cells]
        lines.append(f"| `{name}` | {' | '.join(values)} | {unit} |")
    return "\n".join(lines) + "\n"


def _found_photos(randomization: Randomization, path: SettingsFile) -> Randomization:
    """Makes the folder of photographs absolute, from where the file lies, and checks it before hours are spent."""
    folder = randomization.visual.photo_folder
    if not folder:
        return randomization
    near = path.parent / folder if isinstance(path, Path) else Path(folder)
    photo_folder_at(str(near.resolve()))
    return randomization.updated({"visual": {"photo_folder": str(near.resolve())}})


def _need_group(name: str) -> None:
    known = [item.name for item in fields(Randomization)]
    if name not in known:
        raise ValueError(f"{name}: unknown key; allowed: {', '.join(known)}")


def _load_preset(name: str) -> Randomization:
    if name not in PRESETS:
        raise ValueError(f"{name!r} is not a preset; allowed: {', '.join(PRESETS)}")
    return _load_file(shipped_file("randomization", name))


def _load_file(path: SettingsFile) -> Randomization:
    plain = read_mapping(path)
    if is_identified(plain):
        plain = dict(from_plain(plain, str(path)).randomization)
    base = plain.pop("base", "none")
    try:
        # The preset `none` spells out what the dataclasses hold already; starting from it would be a circle.
        start = Randomization() if base == "none" else _load_preset(str(base))
        return _found_photos(start.updated(plain), path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
