"""Base of the randomization groups: fields that hold ranges, checked when they are made, read from plain mappings.

The default of every range is the nominal value alone. Every draw takes the same count of uniforms whatever its range
is, so two presets that meet the same seed differ only by their ranges: common random numbers for paired comparisons.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Self

import numpy as np

from simtoreal.envs.ranges import Range
from simtoreal.envs.world_sample import Vector3


def ranged(nominal: float, low: float, high: float, unit: str, *, set_only: bool = False) -> Any:
    """A dataclass field that holds a `Range` around `nominal` whose values must stay in [low, high].

    `set_only` refuses the operators that change the nominal value.
    """
    metadata = {"nominal": nominal, "allowed": (low, high), "unit": unit, "set_only": set_only}
    return field(default=Range.constant(nominal), metadata=metadata)


def share(nominal: float, unit: str) -> Any:
    """A dataclass field that holds a probability."""
    return field(default=nominal, metadata={"allowed": (0.0, 1.0), "unit": unit})


def draw_groups(groups: Any, rng: np.random.Generator) -> dict[str, Any]:
    """A sample of every group of a dataclass, by name.

    Each has a stream of its own: a change to one leaves what the others draw from the same seed as it was.
    """
    names = [item.name for item in fields(groups)]
    streams = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=len(names))]
    return {name: getattr(groups, name).sample(stream) for name, stream in zip(names, streams, strict=True)}


@dataclass(frozen=True)
class RangeGroup:
    """Base of all groups: checks every field, reads from and writes to plain mappings."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item, getattr(self, item.name))

    @classmethod
    def from_plain(cls, plain: object) -> Self:
        """Builds the group from a mapping of field name to range text; absent fields keep their nominal value.

        Raises:
            ValueError: an unknown key or a bad value; says the field, the value and what is allowed.
        """
        return cls().updated(plain)

    def updated(self, plain: object) -> Self:
        """This group with the fields of a mapping replaced; nested groups are updated, not replaced."""
        if not isinstance(plain, Mapping):
            raise ValueError(f"{plain!r} is not a mapping of {', '.join(item.name for item in fields(self))}")
        known = {item.name: item for item in fields(self)}
        values = {name: getattr(self, name) for name in known}
        for name, value in plain.items():
            if name not in known:
                raise ValueError(f"{name}: unknown key; allowed: {', '.join(known)}")
            try:
                values[name] = _read(values[name], value)
            except ValueError as error:
                raise ValueError(f"{name}{'.' if isinstance(value, Mapping) else ': '}{error}") from None
        return type(self)(**values)

    def to_plain(self) -> dict[str, Any]:
        """Nested plain mapping that `from_plain` reads back."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def rows(self, prefix: str = "") -> list[tuple[str, str, str]]:
        """(dotted name, value as text, unit) of every field, nested groups included."""
        rows: list[tuple[str, str, str]] = []
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, RangeGroup):
                rows += value.rows(f"{prefix}{item.name}.")
            else:
                rows.append((f"{prefix}{item.name}", _text(value), item.metadata["unit"]))
        return rows

    def nominal(self, name: str) -> float:
        """Nominal value of the range `name`."""
        return float(type(self).__dataclass_fields__[name].metadata["nominal"])

    @classmethod
    def allowed(cls, name: str) -> tuple[float, float]:
        """Lowest and highest value that the range `name` may have."""
        low, high = cls.__dataclass_fields__[name].metadata["allowed"]
        return float(low), float(high)

    def draw(self, name: str, rng: np.random.Generator) -> float:
        """One value of the range `name`."""
        chosen: Range = getattr(self, name)
        return chosen.at(rng.random(), self.nominal(name))

    def draw_axes(self, name: str, rng: np.random.Generator) -> Vector3:
        """Three independent values of the range `name`."""
        return self.draw(name, rng), self.draw(name, rng), self.draw(name, rng)

    def draw_length(self, name: str, rng: np.random.Generator) -> Vector3:
        """A vector of random direction whose length is drawn from the range `name`."""
        length, height, turn = self.draw(name, rng), 2.0 * rng.random() - 1.0, 2.0 * math.pi * rng.random()
        radius = math.sqrt(max(0.0, 1.0 - height * height))
        return length * radius * math.cos(turn), length * radius * math.sin(turn), length * height

    def draw_whole(self, name: str, rng: np.random.Generator) -> int:
        """A whole number of the range `name`, both ends included and all equally likely."""
        chosen: Range = getattr(self, name)
        low, high = (round(end) for end in chosen.ends(self.nominal(name)))
        return low + min(int(rng.random() * (high - low + 1)), high - low)


def _check(item: Field[Any], value: Any) -> None:
    """Raises ValueError where a field holds what it must not."""
    choices = item.metadata.get("choices")
    if choices and (not value or not set(value) <= set(choices)):
        raise ValueError(f"{item.name}: {list(value)} must be some of {', '.join(choices)}")
    if "allowed" not in item.metadata:
        return
    low, high = item.metadata["allowed"]
    if item.metadata.get("set_only") and value.op[0] != "=":
        raise ValueError(f"{item.name}: {value} must use =U or =LogU, because there is no nominal value to change")
    ends = value.ends(item.metadata["nominal"]) if isinstance(value, Range) else (value, value)
    if not (low <= ends[0] and ends[1] <= high):
        raise ValueError(
            f"{item.name}: {value} is out of range; allowed: {low:g} to {high:g} ({item.metadata['unit']})"
        )


def _read(old: Any, value: object) -> Any:
    """The new value of a field that holds `old`, read from plain data."""
    if isinstance(old, RangeGroup):
        return value if isinstance(value, type(old)) else old.updated(value)
    if isinstance(old, Range):
        return Range.parse(value)
    if isinstance(old, tuple):
        return _read_names(value)
    if isinstance(old, float):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{value!r} is not a number in [0, 1]")
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number in [0, 1]") from None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _read_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.strip("[]").split(",")]
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r} is not a list of names")
    return tuple(str(name) for name in value)


def _plain(value: Any) -> Any:
    if isinstance(value, RangeGroup):
        return value.to_plain()
    if isinstance(value, Range):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
