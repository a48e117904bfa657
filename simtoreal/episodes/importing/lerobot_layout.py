"""Where episodes lie in LeRobotDataset folders of format v2.0, v2.1 and v3.0.

Everything here is read from files of strangers: templates of paths are filled in without `str.format`, and lead nowhere
outside the folder.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from simtoreal.episodes.importing.source import SourceError

VERSIONS = ("v2.0", "v2.1", "v3.0")
_FIELD = re.compile(r"\{(\w+)(?::0?(\d+)d)?\}")
_MAX_JSON_BYTES = 256_000_000
ParquetErrors = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError)


class EpisodePlace(NamedTuple):
    """Files and rows of an episode."""

    number: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    first_row: int  # of the data file
    videos: Mapping[str, tuple[Path, float]]  # file, and the time in it that the episode begins at


class Info(NamedTuple):
    """What `meta/info.json` says."""

    version: str
    fps: float
    robot: str
    features: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, Any]

    def keys_of(self, dtype: str) -> list[str]:
        """Features of a dtype, such as `video`."""
        return [key for key, feature in self.features.items() if feature.get("dtype") == dtype]


def read_info(folder: Path) -> Info:
    """Reads and checks `meta/info.json`.

    Raises:
        SourceError: it is not there, not JSON, of another format version, or lacks what is needed.
    """
    path = folder / "meta" / "info.json"
    values = _json(path)
    version = values.get("codebase_version")
    if version not in VERSIONS:
        raise SourceError(f"codebase_version {version!r} is not read; {', '.join(VERSIONS)} are", path)
    fps, features = values.get("fps"), values.get("features")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e4:
        raise SourceError(f"fps={fps!r} is no rate", path)
    if not isinstance(features, Mapping) or not all(isinstance(feature, Mapping) for feature in features.values()):
        raise SourceError("features must hold one entry per column", path)
    return Info(str(version), float(fps), str(values.get("robot_type") or ""), features, values)


def find_episodes(folder: Path, info: Info) -> list[EpisodePlace]:
    """Where every episode lies, in order.

    Raises:
        SourceError: the list of episodes is not there or damaged, or is that of another version.
    """
    v3 = info.version == "v3.0"
    other = folder / "meta" / ("episodes.jsonl" if v3 else "episodes")
    listed = folder / "meta" / ("episodes" if v3 else "episodes.jsonl")
    if not listed.exists():
        found = f"; {other.name} of another version is there: the folder mixes versions" if other.exists() else ""
        raise SourceError(f"meta/info.json says {info.version}, but {listed.name} is not there{found}", folder)
    places = list(_episodes_v3(folder, info) if v3 else _episodes_v2(folder, info))
    indices = [place.number for place in places]
    if len(set(indices)) < len(indices):
        raise SourceError("an episode is listed twice", listed)
    return places


def _episodes_v2(folder: Path, info: Info) -> Iterator[EpisodePlace]:
    path = folder / "meta" / "episodes.jsonl"
    per_chunk = _whole(info.values.get("chunks_size", 1000), "chunks_size", path) or 1000
    for number, line in enumerate(_lines(path)):
        try:
            entry = json.loads(line)
            index, length = int(entry["episode_index"]), int(entry["length"])
            tasks = tuple(str(task) for task in entry.get("tasks", ()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError(f"line {number + 1} is not an episode ({error!r})", path) from error
        fields = {"episode_chunk": index // per_chunk, "episode_index": index}
        videos = {
            key: (fill(folder, info.values.get("video_path"), {**fields, "video_key": key}), 0.0)
            for key in info.keys_of("video")
        }
        yield EpisodePlace(index, length, tasks, fill(folder, info.values.get("data_path"), fields), 0, videos)


def _episodes_v3(folder: Path, info: Info) -> Iterator[EpisodePlace]:
    first_of_file: dict[Path, int] = {}
    for path in sorted((folder / "meta" / "episodes").glob("chunk-*/file-*.parquet")):
        for entry in _parquet_rows(path):
            try:
                place = _place_v3(folder, info, entry, first_of_file)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise SourceError(f"an episode is not described as v3.0 has it ({error!r})", path) from error
            yield place


def _place_v3(folder: Path, info: Info, entry: Mapping[str, Any], first_of_file: dict[Path, int]) -> EpisodePlace:
    data = fill(folder, info.values.get("data_path"), _slot(entry, "data"))
    first = int(entry["dataset_from_index"])
    first_of_file.setdefault(data, first)
    videos = {}
    for key in info.keys_of("video"):
        fields = {**_slot(entry, f"videos/{key}"), "video_key": key}
        videos[key] = (
            fill(folder, info.values.get("video_path"), fields),
            float(entry[f"videos/{key}/from_timestamp"]),
        )
    tasks = tuple(str(task) for task in entry.get("tasks") or ())
    row = first - first_of_file[data]
    return EpisodePlace(int(entry["episode_index"]), int(entry["length"]), tasks, data, row, videos)


def fill(folder: Path, template: Any, fields: Mapping[str, Any]) -> Path:
    """A path of `meta/info.json` with its fields filled in.

    Raises:
        SourceError: there is no such template, or it leads out of the folder.
    """
    if not isinstance(template, str):
        raise SourceError(f"meta/info.json has no template of the paths: {template!r}", folder)

    def value(match: "re.Match[str]") -> str:
        if match[1] not in fields:
            raise SourceError(f"meta/info.json: the path {template!r} has an unknown field {match[1]!r}", folder)
        return str(fields[match[1]]).zfill(min(int(match[2] or 0), 20))

    path = folder / _FIELD.sub(value, template)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"meta/info.json: the path {template!r} leads out of the folder", folder)
    return path


def rows_of(place: EpisodePlace, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of an episode, in small batches.

    Raises:
        SourceError: the file is not there, damaged, has fewer rows, or holds another episode in its place.
    """
    try:
        with pq.ParquetFile(place.data) as file:
            absent = [column for column in columns if column not in file.schema_arrow.names]
            if absent:
                raise SourceError(f"columns {absent} of meta/info.json are not there", place.data)
            yield from _rows(file, place, columns)
    except SourceError:
        raise
    except ParquetErrors as error:
        raise SourceError(f"the data file cannot be read ({_short(error)})", place.data, str(place.number)) from error


def _rows(file: pq.ParquetFile, place: EpisodePlace, columns: list[str]) -> Iterator[dict[str, Any]]:
    groups, skip = _groups_from(file, place.first_row)
    batches = file.iter_batches(batch_size=32, row_groups=groups, columns=columns)
    rows = (row for batch in batches for row in batch.to_pylist())
    read = 0
    for row in itertools.islice(rows, skip, skip + place.length):
        if row.get("episode_index", place.number) != place.number:
            raise SourceError(f"the row is of episode {row['episode_index']}", place.data, str(place.number), read)
        yield row
        read += 1
    if read < place.length:
        raise SourceError(f"{place.length} rows are announced, {read} are there", place.data, str(place.number))


def _groups_from(file: pq.ParquetFile, first_row: int) -> tuple[list[int], int]:
    """Row groups from the one that holds a row on, and how many rows lie before that row in the first of them."""
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if first_row < size:
            return list(range(group, file.metadata.num_row_groups)), first_row
        first_row -= size
    return [], 0


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            wanted = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
            for batch in file.iter_batches(batch_size=256, columns=wanted):
                yield from batch.to_pylist()
    except ParquetErrors as error:
        raise SourceError(f"the list of episodes cannot be read ({_short(error)})", path) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise SourceError("the file is far too large", path)
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceError("the file is not there: not a LeRobotDataset", path) from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"the file is not JSON ({error})", path) from error
    if not isinstance(values, dict):
        raise SourceError("the file holds no keys", path)
    return values


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield from (line for line in stream if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"the list of episodes cannot be read ({error})", path) from error


def _slot(entry: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {name: int(entry[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _whole(value: Any, name: str, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SourceError(f"{name}={value!r} in meta/info.json must be a whole number above 0", path)
    return value


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
