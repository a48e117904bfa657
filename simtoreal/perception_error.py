"""How far off a perception encoder is, as a function of distance: measured on unseen objects, then trained against.

Perception writes it, the bundle carries it, the control environment draws from it.
"""

import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import Any

FIELDS = ("distance_m", "lateral_m", "height_m", "yaw_rad", "wrong_frac")


@dataclass(frozen=True)
class PerceptionError:
    """Standard deviations of the grasp estimate at rising camera distances; linear between, flat outside.

    Raises:
        ValueError: the columns differ in length, or distances do not rise.
    """

    distance_m: tuple[float, ...] = (0.15, 0.30, 0.45)
    lateral_m: tuple[float, ...] = (0.003, 0.004, 0.006)  # on each horizontal axis
    height_m: tuple[float, ...] = (0.003, 0.003, 0.004)
    yaw_rad: tuple[float, ...] = (0.10, 0.12, 0.15)
    wrong_frac: tuple[float, ...] = (0.03, 0.05, 0.08)  # share of estimates that are no grasp at all

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in FIELDS}
        if len(lengths) != 1 or not self.distance_m:
            raise ValueError(f"perception error: {FIELDS} must have equally many entries, got {self}")
        if any(b <= a for a, b in zip(self.distance_m, self.distance_m[1:], strict=False)):
            raise ValueError(f"perception error: distance_m must rise, got {self.distance_m}")
        if not all(math.isfinite(value) and value >= 0 for name in FIELDS for value in getattr(self, name)):
            raise ValueError(f"perception error: every entry must be finite and not negative, got {self}")

    def at(self, distance_m: float) -> dict[str, float]:
        """All figures at one distance."""
        distances = self.distance_m
        i = min(max(bisect_left(distances, distance_m), 1), len(distances) - 1)
        before = max(i - 1, 0)  # itself where there is one distance only
        share = (distance_m - distances[before]) / (distances[i] - distances[before]) if i else 0.0
        share = min(max(share, 0.0), 1.0)
        columns = (self.lateral_m, self.height_m, self.yaw_rad, self.wrong_frac)
        values = ((1.0 - share) * column[before] + share * column[i] for column in columns)
        return dict(zip(FIELDS[1:], values, strict=True))

    def to_dict(self) -> dict[str, Any]:
        return {name: [round(value, 6) for value in column] for name, column in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PerceptionError":
        """Reads what `to_dict` wrote.

        Raises:
            ValueError: a column is missing or unknown.
        """
        if set(data) != set(FIELDS):
            raise ValueError(f"perception error needs the fields {FIELDS}, got {sorted(data)}")
        return cls(**{name: tuple(float(value) for value in data[name]) for name in FIELDS})
