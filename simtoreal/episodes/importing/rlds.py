"""RLDS: TFRecord files of episodes beside `features.json`, as tensorflow_datasets writes them, without TensorFlow."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simtoreal.episodes.importing.row_frames import EpisodeFacts, RowReader
from simtoreal.episodes.importing.row_mapping import parse_rows, read_yaml
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError
from simtoreal.episodes.importing.tfrecord import Feature, Record, find_records, parse_example, read_record

MAX_RECORD_BYTES = 2_000_000_000
STEPS = "steps/"
# Data sets that a shipped mapping describes, by the name in dataset_info.json.
KNOWN = {"bridge_dataset": "bridge"}


class _Place(NamedTuple):
    path: Path
    record: Record


class RldsSource:
    """Episodes of a folder with `features.json` and TFRecord files, or of one such file.

    A record is one episode, as tensorflow_datasets has it: images are decoded one by one as frames are asked for.

    Raises:
        SourceError: there is no TFRecord or no `features.json`, or nobody says what the columns mean.
    """

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path = path
        self._folder = path if path.is_dir() else path.parent
        self._shapes = _step_shapes(self._folder / "features.json")
        self._reader = RowReader(path, parse_rows(*read_yaml(config.mapping or self._known_mapping())), config)
        self._broken: dict[str, str] = {}

    @property
    def assumptions(self) -> Sequence[str]:
        mapped = {camera.rgb for camera in self._reader.mapping.cameras.values()}
        unmapped = [key for key, feature in self._shapes.items() if feature.is_image and key not in mapped]
        return [*self._reader.assumptions, *([f"not imported: {', '.join(unmapped)}"] if unmapped else [])]

    def names(self) -> Sequence[str]:
        return [*self._places, *self._broken]

    def open(self, name: str) -> SourceEpisode:
        places = self._places
        if name not in places:
            raise SourceError(self._broken.get(name, "there is no such episode"), self._folder / name.split("#")[0])
        return self._reader.episode(self._rows(name, places[name]), EpisodeFacts(name))

    @cached_property
    def _places(self) -> dict[str, _Place]:
        files = sorted(self.path.glob("*.tfrecord*")) if self.path.is_dir() else [self.path]
        if not files:
            raise SourceError("there is no TFRecord file (*.tfrecord*)", self.path)
        places: dict[str, _Place] = {}
        for file in files:
            records, problem = find_records(file)
            places |= {f"{file.name}#{index}": _Place(file, record) for index, record in enumerate(records)}
            if problem:
                self._broken[f"{file.name}#{len(records)}"] = f"{problem}; what comes behind it cannot be found"
            elif not records:
                self._broken[f"{file.name}#0"] = "the file is empty"
        return places

    def _rows(self, name: str, place: _Place) -> Iterator[Mapping[str, Any]]:
        try:
            if place.record.length > MAX_RECORD_BYTES:
                raise SourceError(f"the record claims {place.record.length} bytes: too large for one episode")
            with place.path.open("rb") as stream:
                example = parse_example(read_record(stream, place.record))
            columns = {key: self._column(key, example) for key in self._shapes if STEPS + key in example}
            length = _common_length(columns)
        except SourceError as error:
            raise error.placed(place.path, name) from error
        for index in range(length):
            yield {key: column[index] for key, column in columns.items()}

    def _column(self, key: str, example: Mapping[str, Feature]) -> Sequence[Any] | np.ndarray[Any, Any]:
        """One value per step; tensors of a step lie behind one another in the record."""
        values, feature = example[STEPS + key], self._shapes[key]
        size = int(np.prod(feature.shape, dtype=np.int64)) if feature.shape is not None else 1
        if isinstance(values, list) or size == 1:
            return values
        if len(values) % size:
            raise SourceError(f"{key} has {len(values)} values, which are no steps of shape {feature.shape}")
        return values.reshape(-1, *(feature.shape or ()))

    def _known_mapping(self) -> str:
        try:
            name = json.loads((self._folder / "dataset_info.json").read_text(encoding="utf-8")).get("name", "")
        except (OSError, ValueError, AttributeError):
            name = ""
        if name in KNOWN:
            return KNOWN[name]
        raise SourceError(
            f"nothing says what the columns of the data set {name!r} mean: give mapping=FILE.yaml (docs/importing.md). "
            f"Columns of a step: {', '.join(self._shapes)}",
            self._folder,
        )


class _Feature(NamedTuple):
    shape: tuple[int, ...] | None
    is_image: bool


def _step_shapes(path: Path) -> dict[str, _Feature]:
    """Columns of a step, flattened to names with slashes, as `features.json` describes them."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        steps = tree["featuresDict"]["features"]["steps"]["sequence"]["feature"]
        return dict(_flatten("", steps))
    except FileNotFoundError as error:
        raise SourceError(
            "there is no features.json beside the TFRecord files: it says what they hold", path
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"features.json describes no steps of episodes ({error!r})", path) from error


def _flatten(name: str, feature: Mapping[str, Any]) -> Iterator[tuple[str, _Feature]]:
    if "featuresDict" in feature:
        for key, inner in feature["featuresDict"]["features"].items():
            yield from _flatten(f"{name}/{key}" if name else key, inner)
        return
    kind = feature.get("tensor") or feature.get("image") or {}
    dimensions = kind.get("shape", {}).get("dimensions")
    is_image = "image" in feature
    shape = None if dimensions is None or is_image else tuple(int(size) for size in dimensions)
    yield name, _Feature(shape, is_image)


def _common_length(columns: Mapping[str, Any]) -> int:
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SourceError(f"columns have different numbers of steps: {lengths}")
    return next(iter(lengths.values()), 0)
