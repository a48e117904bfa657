"""What is known of a real arm from its logs: `identified.yaml`, written by `simtoreal identify`.

It needs nothing but YAML to be read, so that a robot can use it. It is also a piece of a randomization: its section
`randomization` holds ranges around what was found, and what could not be found keeps the range of its base.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simtoreal.schema import ConfigError
from simtoreal.settings_files import read_mapping

FORMAT, VERSION = "simtoreal.identified", 1
OBSERVATION_LATENCY, ACTION_LATENCY, ROUND_TRIP = "observation_latency_s", "action_latency_s", "round_trip_s"
_MAX_LATENCY_S = 2.0


class IdentifiedError(ValueError):
    """A file is none of `simtoreal identify`, is broken, or was written by another version."""


@dataclass(frozen=True)
class Posterior:
    """What is believed of one quantity: of its mean over episodes, and of how episodes differ.

    Raises:
        ValueError: a number is not finite, or the interval does not hold the mean.
    """

    mean: float
    sd: float  # of the mean
    low: float  # 95 % interval of the mean
    high: float
    spread: float  # standard deviation from episode to episode
    num_episodes: int
    how: str = ""  # what it was found by

    def __post_init__(self) -> None:
        numbers = (self.mean, self.sd, self.low, self.high, self.spread)
        if not all(math.isfinite(value) for value in numbers) or self.sd < 0 or self.spread < 0:
            raise ValueError(f"a posterior needs finite numbers, sd and spread of 0 or more, got {numbers}")
        if not self.low <= self.mean <= self.high or self.num_episodes < 1:
            raise ValueError(f"a posterior needs low <= mean <= high and an episode, got {self}")


@dataclass(frozen=True)
class Identified:
    """Everything that logs told of one arm with its camera."""

    robot: str
    control_hz: float
    num_episodes: int
    posterior: Mapping[str, Posterior]
    unidentified: Mapping[str, str] = field(default_factory=dict)  # why, by quantity
    randomization: Mapping[str, Any] = field(default_factory=dict)  # base and groups, as `randomization=FILE` has them
    replay: Mapping[str, Any] = field(default_factory=dict)  # errors on held-out episodes, before and after
    episodes: str = ""  # where they lie

    def mean(self, name: str) -> float | None:
        """The most likely value of a quantity; None where it is not known."""
        found = self.posterior.get(name)
        return None if found is None else found.mean

    @property
    def round_trip_s(self) -> float | None:
        """From what a camera sees to the beginning of the answer: what a policy has to look ahead by."""
        both = [self.mean(name) for name in (OBSERVATION_LATENCY, ACTION_LATENCY)]
        if None in both:
            return self.mean(ROUND_TRIP)
        return sum(value for value in both if value is not None)

    def to_plain(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "robot": self.robot,
            "control_hz": round(self.control_hz, 4),
            "num_episodes": self.num_episodes,
            "episodes": self.episodes,
            "posterior": {name: _rounded(asdict(found)) for name, found in self.posterior.items()},
            "unidentified": dict(self.unidentified),
            "replay": dict(self.replay),
            "randomization": dict(self.randomization),
        }


def is_identified(plain: Any) -> bool:
    """Whether the content of a YAML file is that of an `identified.yaml`."""
    return isinstance(plain, Mapping) and plain.get("format") == FORMAT


def load_identified(path: Path) -> Identified:
    """Reads and checks an `identified.yaml`.

    Raises:
        IdentifiedError: it is none, cannot be read, or has another version; names file, field and what to do.
    """
    try:
        plain = read_mapping(path)
    except (FileNotFoundError, ConfigError) as error:
        raise IdentifiedError(f"{error}; `simtoreal identify` writes one") from None
    return from_plain(plain, str(path))


def from_plain(plain: Any, where: str) -> Identified:
    """The inverse of `Identified.to_plain`; `where` is named in errors.

    Raises:
        IdentifiedError: as `load_identified`.
    """
    if not is_identified(plain):
        raise IdentifiedError(f"{where}: format must be {FORMAT!r}: this is no file of `simtoreal identify`")
    if plain.get("version") != VERSION:
        raise IdentifiedError(
            f"{where}: version {plain.get('version')!r}, this package reads {VERSION}; run `simtoreal identify` again"
        )
    try:
        identified = Identified(
            robot=str(plain["robot"]),
            control_hz=float(plain["control_hz"]),
            num_episodes=int(plain["num_episodes"]),
            posterior={str(name): Posterior(**found) for name, found in plain["posterior"].items()},
            unidentified={str(name): str(why) for name, why in plain["unidentified"].items()},
            randomization=_mapping(plain["randomization"], "randomization"),
            replay=_mapping(plain.get("replay", {}), "replay"),
            episodes=str(plain.get("episodes", "")),
        )
        _check_latencies(identified)
    except KeyError as error:
        raise IdentifiedError(f"{where}: lacks the field {error}; run `simtoreal identify` again") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise IdentifiedError(f"{where}: {error}; run `simtoreal identify` again") from None
    return identified


def _check_latencies(identified: Identified) -> None:
    for name in (OBSERVATION_LATENCY, ACTION_LATENCY, ROUND_TRIP):
        value = identified.mean(name)
        if value is not None and not 0.0 <= value <= _MAX_LATENCY_S:
            raise ValueError(f"posterior.{name}.mean is {value}; allowed: 0 to {_MAX_LATENCY_S} s")
    if not (math.isfinite(identified.control_hz) and identified.control_hz > 0):
        raise ValueError(f"control_hz must be above 0, got {identified.control_hz}")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, got {type(value).__name__}")
    return dict(value)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}
