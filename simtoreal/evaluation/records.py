"""What one episode was: the record that a worker hands back and the journal keeps."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FAILURES = ("missed", "slipped", "dropped", "collided", "timed_out", "no_grasp_seen")
SIZE_CLASSES = ("thin", "small", "medium", "large")
THIN_M, SMALL_M, MEDIUM_M = 0.012, 0.06, 0.12


def size_class(extents_m: ArrayLike) -> str:
    """Size class of an object with bounding-box extents (3,): thin up to 12 mm at its thinnest, else by its longest.

    small up to 6 cm, medium up to 12 cm, large above.

    Raises:
        ValueError: an extent is not positive and finite.
    """
    extents = np.asarray(extents_m, dtype=np.float64)
    if extents.shape != (3,) or not np.isfinite(extents).all() or extents.min() <= 0:
        raise ValueError(f"extents_m must be three positive lengths in metres, got {extents_m!r}")
    if extents.min() <= THIN_M:
        return "thin"
    longest = extents.max()
    return "small" if longest <= SMALL_M else "medium" if longest <= MEDIUM_M else "large"


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode of one arm. Arms that meet the same scene share `episode` and `scene_seed`.

    Raises:
        ValueError: the failure kind is unknown, or a success has one or a failure has none.
    """

    episode: int
    scene_seed: str
    object_name: str
    group: str
    size_class: str
    success: bool
    failure: str  # one of FAILURES, empty on success
    num_attempts: int
    duration_s: float  # simulated or real time of the episode
    invalid_redraws: int = 0  # scenes drawn before this one and thrown away
    fits_gripper: bool = True
    oracle_success: bool | None = None
    arm: str = "policy"
    target_name: str = ""  # what the scene was drawn around; `object_name` is what was lifted, if it was another
    world_sample: dict[str, Any] = field(default_factory=dict)  # the randomized values of this scene

    def __post_init__(self) -> None:
        where = f"episode {self.episode} of arm {self.arm!r}"
        if self.failure not in ("", *FAILURES):
            raise ValueError(f"{where}: failure must be empty or one of {', '.join(FAILURES)}, got {self.failure!r}")
        if self.success == bool(self.failure):
            raise ValueError(f"{where}: success={self.success} does not go with failure={self.failure!r}")
        if self.size_class not in SIZE_CLASSES:
            raise ValueError(f"{where}: size_class must be one of {SIZE_CLASSES}, got {self.size_class!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, ready for JSON."""
        plain: dict[str, Any] = to_plain(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EpisodeRecord":
        """The inverse of `to_dict`; fields added by a later version are ignored.

        Raises:
            ValueError: a field is missing or invalid.
        """
        known = {item.name for item in fields(cls)}
        try:
            return cls(**{key: value for key, value in values.items() if key in known})
        except TypeError as error:
            raise ValueError(f"not an episode record: {error}") from error


def to_plain(value: Any) -> Any:
    """Turns numpy values, paths, tuples and mappings into what JSON holds; not-finite numbers become None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return to_plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
