"""Which format a recording has, by what lies there, and the source that reads it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from simtoreal.config import ConfigError
from simtoreal.episodes.importing.bag_source import BagSource
from simtoreal.episodes.importing.image_folder import FRAMES, ImageFolderSource
from simtoreal.episodes.importing.lerobot import LeRobotSource
from simtoreal.episodes.importing.own_dataset import OwnSource
from simtoreal.episodes.importing.rectangle_folders import CORNELL, JACQUARD, RectangleSource
from simtoreal.episodes.importing.rlds import RldsSource
from simtoreal.episodes.importing.robomimic import RobomimicSource
from simtoreal.episodes.importing.settings import ImportConfig, SourceFormat
from simtoreal.episodes.importing.source import EpisodeSource, SourceError

_MAGIC = {b"\x89HDF\r\n\x1a\n": SourceFormat.ROBOMIMIC, b"\x89MCAP": SourceFormat.MCAP, b"#ROSBAG": SourceFormat.ROSBAG}
_LISTED = 8


def open_source(config: ImportConfig) -> EpisodeSource:
    """The source of a recording.

    Raises:
        ConfigError: no recording is given.
        SourceError: there is nothing, its format cannot be told, or it cannot be read.
    """
    if config.source is None:
        raise ConfigError("source is missing: give source=PATH, the file or folder to import")
    path = config.source
    if not path.exists():
        raise SourceError("there is no such file or folder", path)
    chosen = detect(path) if config.format is SourceFormat.AUTO else config.format
    return _OPENERS[chosen](_path_for(path, chosen), config)


def detect(path: Path) -> SourceFormat:
    """The format of a file or folder.

    Raises:
        SourceError: none or several fit; the message says what was seen.
    """
    found = _format_of_file(path) if path.is_file() else _formats_of_folder(path)
    if len(found) == 1:
        return found[0]
    choices = ", ".join(choice for choice in SourceFormat if choice is not SourceFormat.AUTO)
    if found:
        raise SourceError(f"several formats fit: {', '.join(found)}. Say which with format=", path)
    seen = "" if path.is_file() else f" It holds {sorted(entry.name for entry in path.iterdir())[:_LISTED]}."
    raise SourceError(f"the format cannot be told.{seen} Known are {choices}: say which with format=", path)


def _format_of_file(path: Path) -> list[SourceFormat]:
    with path.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise SourceError("the file is empty", path)
    by_content = [choice for magic, choice in _MAGIC.items() if start.startswith(magic)]
    if by_content:
        return by_content
    if ".tfrecord" in path.name:
        return [SourceFormat.RLDS]
    endings = {".db3": SourceFormat.ROSBAG, ".mcap": SourceFormat.MCAP, ".csv": SourceFormat.IMAGES}
    endings |= {".hdf5": SourceFormat.ROBOMIMIC, ".h5": SourceFormat.ROBOMIMIC, ".bag": SourceFormat.ROSBAG}
    return [endings[path.suffix]] if path.suffix in endings else []


def _formats_of_folder(path: Path) -> list[SourceFormat]:
    def holds(*patterns: str) -> bool:
        return any(next(path.glob(pattern), None) is not None for pattern in patterns)

    signs = {
        SourceFormat.LEROBOT: holds("meta/info.json"),
        SourceFormat.RLDS: holds("*.tfrecord*", "features.json"),
        SourceFormat.MCAP: holds("*.mcap") and not holds("metadata.yaml"),
        SourceFormat.ROSBAG: holds("metadata.yaml", "*/metadata.yaml", "*.bag", "*.db3"),
        SourceFormat.ROBOMIMIC: holds("*.hdf5", "*.h5"),
        SourceFormat.CORNELL: holds("pcd*cpos.txt", "*/pcd*cpos.txt"),
        SourceFormat.JACQUARD: holds("*_grasps.txt", "*/*_grasps.txt", "*/*/*_grasps.txt"),
        SourceFormat.IMAGES: holds(FRAMES),
    }
    return [choice for choice, is_there in signs.items() if is_there]


def _path_for(path: Path, chosen: SourceFormat) -> Path:
    """The folder where a format is one, or the only file where it is a file."""
    if chosen is SourceFormat.IMAGES and path.is_file():
        return path.parent
    if chosen is SourceFormat.ROSBAG and path.suffix == ".db3":
        return path.parent
    if chosen is SourceFormat.ROBOMIMIC and path.is_dir():
        files = sorted([*path.glob("*.hdf5"), *path.glob("*.h5")])
        if len(files) != 1:
            raise SourceError(f"give one of the HDF5 files: {[file.name for file in files][:_LISTED]}", path)
        return files[0]
    return path


def _open_lerobot(path: Path, config: ImportConfig) -> EpisodeSource:
    """A dataset of this package by its own reader, one of a stranger by the names in it."""
    try:
        own = "simtoreal" in json.loads((path / "meta" / "info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        own = False  # reading it says what is wrong
    return OwnSource(path, config) if own else LeRobotSource(path, config)


_OPENERS: dict[SourceFormat, Callable[[Path, ImportConfig], EpisodeSource]] = {
    SourceFormat.LEROBOT: _open_lerobot,
    SourceFormat.ROBOMIMIC: RobomimicSource,
    SourceFormat.MCAP: BagSource,
    SourceFormat.ROSBAG: BagSource,
    SourceFormat.RLDS: RldsSource,
    SourceFormat.CORNELL: partial(RectangleSource, convention=CORNELL),
    SourceFormat.JACQUARD: partial(RectangleSource, convention=JACQUARD),
    SourceFormat.IMAGES: ImageFolderSource,
}
