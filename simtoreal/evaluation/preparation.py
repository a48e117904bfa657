"""Objects made ready before an evaluation: built, and dropped until they rest, so that what is broken is known at once.

Worker processes of this stage import nothing that they do not need, torch above all, and so start in half the time.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from simtoreal.envs.assets import AssetError
from simtoreal.envs.object_sets import ObjectSet, load_object_set
from simtoreal.envs.resting import RestingPoses


class ObjectSource(NamedTuple):
    """Where objects come from."""

    objects: str  # a set or a folder
    cache_dir: Path
    scale: float


def prepare(source: ObjectSource, name: str) -> tuple[str, str]:
    """Builds one object and its resting poses in the cache; returns its name, and the reason if that cannot be done."""
    objects, resting = _open(source)
    try:
        resting.poses(objects.asset(name))
    except (AssetError, ValueError) as error:
        return name, str(error)
    return name, ""


@lru_cache(maxsize=1)
def _open(source: ObjectSource) -> tuple[ObjectSet, RestingPoses]:
    objects = load_object_set(source.objects, source.cache_dir, scale=source.scale)
    return objects, RestingPoses(source.cache_dir)
