"""From a dataset of episodes to the frames that a training draws from: labelled, seen as the policy sees, cached."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Observation
from simtoreal.episodes.arm_tracks import arm_tracks
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.grasp_views import posed
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode
from simtoreal.episodes.timeline import Track
from simtoreal.evaluation.output_files import explain_write_errors
from simtoreal.policies.view import ViewSpec, make_view
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.data.labels import LabelledFrame, LabelSource
from simtoreal.transfer.data.real_frames import RealFrames, pack, stack

_VERSION = 1
_BARE_FRAC = 0.5  # frames without label kept, of the labelled ones that may be kept


class EpisodeNote(NamedTuple):
    """What one episode of the dataset gave."""

    position: int
    object_name: str
    num_held: int  # frames that show where something was held
    num_failed: int  # frames that show where the jaws closed on nothing
    problem: str  # why it gave nothing; empty if it did


class RealData(NamedTuple):
    """The frames of a dataset that can be used, and what became of each episode."""

    frames: RealFrames
    notes: list[EpisodeNote]
    digest: str  # of the files of all episodes

    @property
    def judgeable(self) -> NDArray[np.int64]:
        """Episodes with a frame that shows where something was held."""
        return np.unique(self.frames.episode[self.frames.has_held]).astype(np.int64)

    @property
    def only_training(self) -> NDArray[np.int64]:
        """The other episodes that gave frames."""
        return np.setdiff1d(np.unique(self.frames.episode), self.judgeable).astype(np.int64)


@dataclass(frozen=True)
class Wanted:
    """Which pictures of a dataset, how many, and through which view."""

    view: ViewSpec
    camera: str | None = None  # None is the one that sits where the view's does
    max_frames: int = 16  # labelled ones per episode


def load_real_data(folder: Path, wanted: Wanted, labels: LabelSource, cache: Path, progress: Progress) -> RealData:
    """Labels and views of all intact episodes; what was made before is taken from the cache.

    Raises:
        ConfigError: no camera of the dataset is the one that the view is made for.
        DatasetError: it is no dataset, or no episode of it gives a frame.
    """
    with DatasetReader(folder, skip_broken=True) as reader:
        for broken in reader.broken:
            progress.say(f"left out: {broken}")
        wanted = replace(wanted, camera=choose_camera(reader, wanted))
        rows: list[dict[str, NDArray[Any]]] = []
        notes: list[EpisodeNote] = []
        with progress.task("episodes", len(reader)) as bar:
            for position in range(len(reader)):
                made, problem = _episode(reader[position], wanted, labels, cache)
                for row in made:
                    rows.append({**row, "episode": np.int32(position)})  # type: ignore[dict-item]  # stacks alike
                notes.append(_note(position, reader[position], made, problem))
                if problem:
                    progress.say(f"nothing learned from episode {position}: {problem}")
                bar.advance()
        if not rows:
            first = notes[0].problem if notes else "it holds no episode"
            raise DatasetError(f"gives nothing to learn from: {first}", file=folder)
        return RealData(stack(rows), notes, dataset_digest(reader))


def dataset_digest(reader: DatasetReader) -> str:
    """Hash over the files of all episodes, as the table of episodes has them."""
    files = [[file.sha256, file.num_bytes] for entry in reader.entries for file in entry.files]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def choose_camera(reader: DatasetReader, wanted: Wanted) -> str:
    """The camera that was asked for, or the only one that sits where the policy's does.

    Raises:
        ConfigError: there is none, or several; or it lacks colour or depth that the policy looks at.
    """
    placement, modality = wanted.view.placement, wanted.view.modality
    mounts = {name: info.mount for entry in reader.entries for name, info in entry.info.cameras.items()}
    fitting = [name for name, mount in mounts.items() if mount in (placement, "unknown")]
    if wanted.camera is not None:
        if wanted.camera not in mounts:
            raise ConfigError(f"camera={wanted.camera}: the episodes have {', '.join(mounts) or 'no camera'}")
        fitting = [wanted.camera]
    if len(fitting) != 1:
        described = ", ".join(f"{name} ({mount})" for name, mount in mounts.items()) or "none"
        ask = "say which with camera=NAME" if fitting else "give a bundle that was trained for one of these"
        raise ConfigError(f"the bundle looks through a {placement} camera, and the episodes have: {described}; {ask}")
    columns = reader.schema.cameras[fitting[0]]
    if modality != "depth" and not columns.rgb:
        raise ConfigError(f"the bundle needs colour ({modality}), and camera {fitting[0]!r} of the episodes has none")
    if modality != "rgb" and not columns.has_depth:
        raise ConfigError(
            f"the bundle needs depth ({modality}), and camera {fitting[0]!r} of the episodes has none: "
            "fine-tune a bundle that was trained with `simtoreal pretrain modality=rgb`"
        )
    return fitting[0]


def _episode(
    episode: RecordedEpisode, wanted: Wanted, labels: LabelSource, cache: Path
) -> tuple[list[dict[str, NDArray[Any]]], str]:
    """Rows of the frames of one episode, and why there are none where there are none."""
    folder = cache / "real_frames" / _key(episode, wanted, labels)
    try:
        if not folder.is_dir():
            _save(_make(episode, wanted, labels), folder)
        return _read(folder), (folder / "problem.txt").read_text(encoding="utf-8")
    except DatasetError as error:
        return [], str(error)


def _make(episode: RecordedEpisode, wanted: Wanted, labels: LabelSource) -> tuple[list[dict[str, NDArray[Any]]], str]:
    assert wanted.camera is not None
    problem = _unusable(episode, wanted.camera)
    if problem:
        return [], problem
    labelled, poses = labels.label(episode, wanted.camera), arm_tracks(episode).poses
    rows: list[dict[str, NDArray[Any]]] = []
    for frame in _chosen(labelled, wanted.max_frames):
        observation = _observe(episode, frame.frame, wanted.camera, poses)
        if observation is not None and _has_pictures(observation, wanted.view):
            rows.append({**pack(make_view(observation, wanted.view), frame.grasps), "frame": np.asarray(frame.frame)})
    if not rows:
        return [], "no frame has a picture with a known camera pose: import it with hand-eye calibration"
    if not any(row["num_grasps"] for row in rows):
        return rows, "no frame shows where the jaws closed: nothing was grasped, or it moved before it was"
    return rows, ""


def _unusable(episode: RecordedEpisode, camera: str) -> str:
    info = episode.info.cameras.get(camera)
    if info is None:
        return f"it has no camera {camera!r}"
    if info.K is None:
        return f"camera {camera!r} has no intrinsics: import it again with K, or calibrate the camera"
    if not np.isfinite(np.asarray(episode.column("observation.state"))[:, :8]).all(axis=1).any():
        return "tool pose or gripper width is missing in every frame: import it again with pose and gripper"
    return ""


def _chosen(labelled: Any, max_frames: int) -> list[LabelledFrame]:
    """Spread over the episode, labelled frames first; in order."""
    with_label = [frame for frame in labelled if frame.grasps]
    without = [frame for frame in labelled if not frame.grasps]
    kept = _spread(with_label, max_frames) + _spread(without, max(1, round(_BARE_FRAC * max_frames)))
    return sorted(kept, key=lambda frame: frame.frame)


def _spread(found: list[LabelledFrame], num: int) -> list[LabelledFrame]:
    if len(found) <= num:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, num).round().astype(int)]


def _observe(
    episode: RecordedEpisode, index: int, camera: str, poses: Track[NDArray[np.float64]]
) -> Observation | None:
    """A frame as the policy would have seen it, with the tool where it was when the picture was taken."""
    frame = episode.frame(index, (camera,))
    image = frame.images.get(camera)
    if image is None:
        return None
    picture = posed(image, episode.info.cameras[camera], poses)
    tool = poses.at(image.t_s)
    if picture is None or (tool is None and frame.T_base_tcp is None):
        return None
    return Observation(
        image.t_s, image.rgb, image.depth_m, picture.K, picture.T_base_cam,
        tool if tool is not None else np.asarray(frame.T_base_tcp), frame.gripper_width_m or 0.0, None,
        picture.distortion,
    )  # fmt: skip


def _has_pictures(observation: Observation, view: ViewSpec) -> bool:
    has_rgb = observation.rgb is not None or view.modality == "depth"
    return has_rgb and (observation.depth_m is not None or view.modality == "rgb")


def _note(position: int, episode: RecordedEpisode, rows: list[dict[str, NDArray[Any]]], problem: str) -> EpisodeNote:
    known = [row["grasps"][: int(row["num_grasps"]), 5] for row in rows]
    return EpisodeNote(
        position, episode.info.object_name, sum(bool((k > 0.5).any()) for k in known),
        sum(bool((k < 0.5).any()) for k in known), problem,
    )  # fmt: skip


def _key(episode: RecordedEpisode, wanted: Wanted, labels: LabelSource) -> str:
    entry = episode.entry
    cameras = {name: str(info) for name, info in entry.info.cameras.items()}
    made_of = [
        _VERSION,
        [file.sha256 for file in entry.files],
        cameras,
        entry.end.success,
        asdict(wanted),
        labels.version,
    ]
    return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()[:24]


def _save(made: tuple[list[dict[str, NDArray[Any]]], str], folder: Path) -> None:
    rows, problem = made
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    with explain_write_errors(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in rows[0] if rows else ():
            np.save(partial / f"{name}.npy", np.stack([row[name] for row in rows]), allow_pickle=False)
        (partial / "problem.txt").write_text(problem, encoding="utf-8")
        try:
            partial.replace(folder)
        except OSError:  # another process has just finished the same episode
            shutil.rmtree(partial, ignore_errors=True)
            if not folder.is_dir():
                raise


def _read(folder: Path) -> list[dict[str, NDArray[Any]]]:
    names = [item.name for item in fields(RealFrames) if item.name != "episode"]
    if not (folder / "frame.npy").is_file():
        return []
    try:
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
    except (OSError, ValueError) as error:
        raise DatasetError(f"is damaged ({error}): delete it, it is a cache", file=folder) from error
    return [{name: array[i] for name, array in arrays.items()} for i in range(len(arrays["frame"]))]
