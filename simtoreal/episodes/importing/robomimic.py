"""robomimic HDF5: `data/demo_N/{obs/KEY, actions, rewards, dones}` with the number of rows in `num_samples`.

Rows are read one by one, so an episode may be of any length. Attributes are read as text and numbers, never unpickled.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.episodes.importing.extras import need
from simtoreal.episodes.importing.row_frames import EpisodeFacts, RowReader
from simtoreal.episodes.importing.row_mapping import (
    ActionColumns,
    ActionKind,
    CameraColumns,
    RowMapping,
    parse_rows,
    read_yaml,
)
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError

MAX_COMPRESSION = 1100  # deflate cannot do more than 1032 to 1
MAX_ROW_BYTES = 400_000_000
ROBOSUITE = 1  # EnvType of robomimic
_STEP_COLUMNS = ("actions", "rewards", "dones", "states")


class RobomimicSource:
    """The demonstrations of an HDF5 file.

    Args:
        path: the file.
        config: what the user says about it; without a mapping the shipped one is used, with every image it finds.

    Raises:
        SourceError: not an HDF5 file of robomimic.
    """

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path, self._config = path, config
        self._told: list[str] = []
        self._environment = self._read(_environment)
        self._reader = RowReader(path, self._mapping(), config)

    @property
    def assumptions(self) -> Sequence[str]:
        simulated = self._environment.get("type") == ROBOSUITE
        domain = "env_args says robosuite: the domain is mujoco" if simulated else "the domain is taken to be real"
        return [*self._told, *([] if self._config.domain else [domain]), *self._reader.assumptions]

    def names(self) -> Sequence[str]:
        return sorted(self._read(lambda file: list(file["data"])), key=_natural)

    def open(self, name: str) -> SourceEpisode:
        rows = self._rows(name)
        return self._reader.episode(rows, self._read(lambda file: self._facts(file, name)))

    @cached_property
    def _columns(self) -> dict[str, tuple[int, ...]]:
        """Shape of a row of each column of the first demonstration."""

        def shapes(file: Any) -> dict[str, tuple[int, ...]]:
            for name in sorted(file["data"], key=_natural):
                return {key: column.shape[1:] for key, column in _datasets(file["data"][name]).items()}
            raise SourceError("there is no demonstration in it", self.path)

        found: dict[str, tuple[int, ...]] = self._read(shapes)
        return found

    def _mapping(self) -> RowMapping:
        values, origin = read_yaml(self._config.mapping or "robomimic")
        mapping = parse_rows(values, origin)
        if not mapping.cameras:
            mapping = dataclasses.replace(mapping, cameras=_cameras(self._columns))
            self._told.append(f"cameras: {', '.join(mapping.cameras) or 'none'}, whatever is called *_image or *_depth")
        if self._config.mapping is None:
            mapping = self._without_absent(mapping)
        return mapping

    def _without_absent(self, mapping: RowMapping) -> RowMapping:
        """The shipped mapping without what this file does not hold, in the units of its controller."""
        columns = mapping.columns
        action = columns.action if self._columns.get("actions") == (7,) else None
        if action is None:
            self._told.append(f"actions of shape {self._columns.get('actions')} are not read: say what they mean")
        columns = dataclasses.replace(
            columns,
            tool=columns.tool if self._holds("robot0_eef_pos", "tool pose") else None,
            gripper=columns.gripper if self._holds("robot0_gripper_qpos", "gripper opening") else None,
            joints=columns.joints if self._holds("robot0_joint_pos", "joint positions") else None,
            action=None if action is None else self._in_units_of_the_controller(action),
        )
        return dataclasses.replace(mapping, columns=columns)

    def _holds(self, column: str, what: str) -> bool:
        if column not in self._columns:
            self._told.append(f"there is no {column}: episodes have no {what}")
        return column in self._columns

    def _in_units_of_the_controller(self, action: ActionColumns) -> ActionColumns:
        controller = _controller(self._environment)
        if controller.get("control_delta") is False:
            self._told.append("env_args says control_delta=false: actions are target poses, in metres")
            return dataclasses.replace(action, kind=ActionKind.TARGET, position_unit_m=1.0, rotation_unit_rad=1.0)
        largest = np.atleast_1d(np.asarray(controller.get("output_max", ()), dtype=np.float64))
        if largest.size >= 6 and np.isfinite(largest).all() and largest[0] > 0 and largest[3] > 0:
            self._told.append(f"env_args says that an action of 1 is {largest[0]:g} m and {largest[3]:g} rad")
            return dataclasses.replace(action, position_unit_m=float(largest[0]), rotation_unit_rad=float(largest[3]))
        self._told.append("env_args does not say how far an action of 1 goes: 0.05 m and 0.5 rad are assumed")
        return action

    def _facts(self, file: Any, name: str) -> EpisodeFacts:
        kwargs = self._environment.get("env_kwargs")
        rate = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
        fps = float(rate) if isinstance(rate, int | float) and rate > 0 else None
        datasets = _datasets(file["data"][name])
        success = None
        if "rewards" in datasets and datasets["rewards"].shape[0]:
            # robosuite pays 1 where the task is done and less before
            success = bool(np.asarray(datasets["rewards"][-1]).reshape(-1)[0] >= 1.0)
        return EpisodeFacts(
            name,
            fps=fps,
            task=str(self._environment.get("env_name", "")),
            success=success,
            domain="mujoco" if self._environment.get("type") == ROBOSUITE else "real",
            num_frames=next((column.shape[0] for column in datasets.values() if column.shape), None),
        )

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        file = self._opened()
        with file:
            try:
                datasets = _datasets(file["data"][name])
                length = _check_sizes(datasets)
                for index in range(length):
                    yield {key: column[index] for key, column in datasets.items()}
            except SourceError as error:
                raise error.placed(self.path, name) from error
            except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
                raise SourceError(f"the file is damaged ({_short(error)})", self.path, name) from error

    def _opened(self) -> Any:
        h5py = need("h5py", "HDF5")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise SourceError(f"not an HDF5 file, or cut short ({_short(error)})", self.path) from error

    def _read(self, question: Callable[[Any], Any]) -> Any:
        try:
            with self._opened() as file:
                if "data" not in file or not hasattr(file["data"], "keys"):
                    raise SourceError(f"there is no group data: not robomimic. It holds {list(file)[:10]}", self.path)
                return question(file)
        except SourceError:
            raise
        except (KeyError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise SourceError(f"the file is damaged ({_short(error)})", self.path) from error


def _datasets(demo: Any) -> dict[str, Any]:
    """Columns of a demonstration: what was observed by its own name, and actions, rewards, dones."""
    _check_links(demo)
    found = {key: demo[key] for key in _STEP_COLUMNS if key in demo and hasattr(demo[key], "shape")}
    if "obs" in demo:
        _check_links(demo["obs"])
        found |= {key: column for key, column in demo["obs"].items() if hasattr(column, "shape")}
    if not found:
        raise SourceError(f"it holds neither obs nor actions, but {list(demo)[:10]}")
    return found


def _check_links(group: Any) -> None:
    """Refuses what lies in other files: a recording has no business there."""
    for key in group:
        if type(group.get(key, getlink=True)).__name__ == "ExternalLink":
            raise SourceError(f"{key} is a link to another file: it is not followed")


def _check_sizes(datasets: dict[str, Any]) -> int:
    """Number of rows, after making sure that no column claims more than the file can hold."""
    lengths = {key: column.shape[0] if column.shape else 0 for key, column in datasets.items()}
    if len(set(lengths.values())) > 1:
        raise SourceError(f"columns have different numbers of rows: {lengths}")
    for key, column in datasets.items():
        if column.dtype.kind not in "biuf":
            raise SourceError(f"column {key} holds {column.dtype}, numbers are read")
        if column.external or column.is_virtual:
            raise SourceError(f"column {key} keeps its data in another file: it is not followed")
        stored, claimed = column.id.get_storage_size(), column.size * column.dtype.itemsize
        if claimed > stored * MAX_COMPRESSION:
            raise SourceError(f"column {key} claims {claimed} bytes and {stored} are stored: truncated or a bomb")
        if claimed // max(lengths[key], 1) > MAX_ROW_BYTES:
            raise SourceError(f"a row of column {key} claims {claimed // lengths[key]} bytes: too large")
        if column.chunks is not None and np.prod(column.chunks) * column.dtype.itemsize > MAX_ROW_BYTES:
            raise SourceError(f"column {key} is stored in chunks of {column.chunks}: too large to read row by row")
    return next(iter(lengths.values()))


def _cameras(columns: dict[str, tuple[int, ...]]) -> dict[str, CameraColumns]:
    names = {match[1] for key in columns if (match := re.fullmatch(r"(.+)_(?:image|depth)", key))}
    return {
        name: CameraColumns(
            rgb=f"{name}_image" if f"{name}_image" in columns else None,
            depth=f"{name}_depth" if f"{name}_depth" in columns else None,
        )
        for name in sorted(names)
    }


def _environment(file: Any) -> dict[str, Any]:
    try:
        values = json.loads(file["data"].attrs.get("env_args", "{}"))
    except (TypeError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _controller(environment: dict[str, Any]) -> dict[str, Any]:
    """Settings of the arm's controller; robosuite 1.5 has them one level deeper than 1.4."""
    kwargs = environment.get("env_kwargs")
    settings = kwargs.get("controller_configs") if isinstance(kwargs, dict) else None
    parts = settings.get("body_parts") if isinstance(settings, dict) else None
    if isinstance(parts, dict):
        settings = parts.get("right")
    return settings if isinstance(settings, dict) else {}


def _natural(name: str) -> tuple[str, int]:
    match = re.search(r"(\d+)$", name)
    return (name[: match.start()], int(match[1])) if match else (name, -1)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
