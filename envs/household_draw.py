"""Shape parameters of the household objects, drawn so that no held-out value lies among the training values.

Every interval is cut into `NUM_CELLS` cells. Training objects draw from the first 60 % of a cell, held-out objects from
68 % to 92 % of it, so both splits cover the same scale, and a held-out object differs from every training object of its
kind in *every* continuous parameter by at least 8 % of a cell.
"""

import colorsys
import math
from collections.abc import Sequence

import numpy as np

from simtoreal.envs.household_shapes import Rgb

NUM_CELLS = 5
TRAIN_PART = (0.0, 0.6)
HELD_OUT_PART = (0.68, 0.92)


class Draw:
    """Draws the parameters of one object.

    Args:
        rng: the object's own generator.
        held_out: draw from the intervals that training objects never use.
    """

    def __init__(self, rng: np.random.Generator, held_out: bool) -> None:
        self._rng = rng
        self._part = HELD_OUT_PART if held_out else TRAIN_PART

    def between(self, low: float, high: float) -> float:
        """A shape parameter in [low, high], from this split's part of the interval."""
        return low + (high - low) * self._unit()

    def ratio(self, low: float, high: float) -> float:
        """Like `between`, evenly spread over the logarithm: sizes and aspect ratios."""
        return low * math.exp(math.log(high / low) * self._unit())

    def chance(self, probability: float) -> bool:
        """True in this share of the objects."""
        return bool(self._rng.random() < probability)

    def kind(self, names: Sequence[str]) -> str:
        """One of several variants; both splits have all of them."""
        return names[int(self._rng.integers(len(names)))]

    def color(self) -> Rgb:
        """A colour of something bought in a shop: any hue, greys and whites often."""
        hue, pale, value = self._rng.random(), self._rng.random(), self._rng.uniform(0.15, 1.0)
        saturation = self._rng.uniform(0.0, 0.15) if pale < 0.35 else self._rng.uniform(0.3, 1.0)
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        return round(255 * red), round(255 * green), round(255 * blue)

    def _unit(self) -> float:
        cell = int(self._rng.integers(NUM_CELLS))
        return float(cell + self._rng.uniform(*self._part)) / NUM_CELLS
