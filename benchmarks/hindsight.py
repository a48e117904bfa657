"""How good grasp labels from hindsight are where the truth is known: in the MuJoCo cell, under reality=default.

    python benchmarks/hindsight.py [--quick]        (pip install -e '.[mujoco]')

The oracle and the shipped policy grasp; in every third episode somebody moves every object by 15 to 60 mm while the
hand is on its way. The truth of a label is the pose that the grasp has in the object, 0.3 s after the jaws stopped,
carried to where the object was when the picture was taken. What is recorded is kept in runs/benchmarks/hindsight.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
import math  # noqa: E402
from collections.abc import Iterable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import numpy as np  # noqa: E402
from hindsight_episodes import MOVED_EVERY, Plan, record_episodes  # noqa: E402
from record import Row, save  # noqa: E402

from simtoreal import frames  # noqa: E402
from simtoreal.episodes.arm_tracks import FloatArray, arm_tracks  # noqa: E402
from simtoreal.episodes.grasp_attempts import Attempt, Outcome  # noqa: E402
from simtoreal.episodes.hindsight import EpisodeLabels, label_episode  # noqa: E402
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode  # noqa: E402
from simtoreal.episodes.settings import Teacher  # noqa: E402
from simtoreal.episodes.timeline import Track, pose_track  # noqa: E402
from simtoreal.progress import Progress  # noqa: E402

FOLDER = Path("runs") / "benchmarks" / "hindsight"
SETTLED_S = 0.3  # after the jaws stopped, the object lies in them for good
MOVED_M = 0.01
TARGET_M, TARGET_RAD = 0.003, math.radians(3.0)


class LabelError(NamedTuple):
    """One label beside the truth."""

    episode: int
    frame: int
    across_m: float
    turn_rad: float
    moved_m: float  # that the object went between the picture and the closing
    is_visible: bool
    at_closing: bool  # compared where the jaws closed and not where the object lay before


def object_tracks(episode: RecordedEpisode) -> list[Track[FloatArray]]:
    """The true pose of each object over time."""
    poses = np.array(episode.end.labels["object_poses"])  # (frames, objects, 7)
    times = episode.column("control_timestamp")
    tracks = [pose_track(1.0) for _ in range(poses.shape[1])]
    for t_s, row in zip(times, poses, strict=True):
        for track, pose in zip(tracks, row, strict=True):
            track.add(float(t_s), frames.from_quat(pose[:3], pose[3:]))
    return tracks


def held_object(attempt: Attempt, tracks: list[Track[FloatArray]]) -> Track[FloatArray]:
    """The object that went up while the jaws were closed."""

    def rise_m(track: Track[FloatArray]) -> float:
        before, after = track.at(attempt.closes_s), track.held_at(attempt.ends_s - 0.05)
        return -math.inf if before is None or after is None else float(after[2, 3] - before[2, 3])

    return max(tracks, key=rise_m)


def errors_of(episode: RecordedEpisode, labels: EpisodeLabels) -> Iterable[LabelError]:
    """The errors of all labels of things that were held."""
    arm, objects = arm_tracks(episode), object_tracks(episode)
    number = episode.entry.index
    for index, attempt in enumerate(labels.attempts):
        if attempt.outcome is not Outcome.HELD:
            continue
        thing = held_object(attempt, objects)
        T_base_tcp, T_base_obj = arm.poses.at(attempt.closes_s + SETTLED_S), thing.at(attempt.closes_s + SETTLED_S)
        at_closing = thing.at(attempt.closes_s)
        if T_base_tcp is None or T_base_obj is None or at_closing is None:
            continue
        T_obj_grasp = frames.invert(T_base_obj) @ T_base_tcp
        yield LabelError(number, -1, *_apart(at_closing @ T_obj_grasp, attempt.T_base_tcp), 0.0, False, True)
        for label in labels.frames:
            if label.grasp is None or label.grasp.attempt != index:
                continue
            T_then = thing.at(picture_time_s(episode, label.frame))
            if T_then is None:
                continue
            moved_m = math.dist(T_then[:3, 3], at_closing[:3, 3])
            apart = _apart(T_then @ T_obj_grasp, attempt.T_base_tcp)
            yield LabelError(number, label.frame, *apart, moved_m, label.grasp.is_visible, False)


def picture_time_s(episode: RecordedEpisode, frame: int) -> float:
    """When the picture of the only camera was taken."""
    (camera,) = episode.info.cameras
    return float(episode.column(f"capture_timestamp.{camera}")[frame])


def _apart(T_a: FloatArray, T_b: FloatArray) -> tuple[float, float]:
    turn = frames.rotation_to_vector(T_a[:3, :3].T @ T_b[:3, :3])
    return math.dist(T_a[:3, 3], T_b[:3, 3]), float(np.linalg.norm(turn))


# --- the table


def row_of(name: str, errors: list[LabelError], target: bool) -> Row:
    """Medians and 95th percentiles."""
    if not errors:
        return Row(name, "none", "", False if target else None, {"n": 0})
    across, turn = (np.array([getattr(e, key) for e in errors]) for key in ("across_m", "turn_rad"))
    (mid_m, high_m), (mid_rad, high_rad) = (np.percentile(values, [50, 95]) for values in (across, turn))
    measured = (
        f"{1e3 * mid_m:.1f} mm (95th {1e3 * high_m:.1f}), {math.degrees(mid_rad):.1f} deg "
        f"(95th {math.degrees(high_rad):.1f}), n = {len(errors)}"
    )
    reached = bool(mid_m <= TARGET_M and mid_rad <= TARGET_RAD)
    data = {"median_m": mid_m, "p95_m": high_m, "median_rad": mid_rad, "p95_rad": high_rad, "n": len(errors)}
    return Row(name, measured, "3 mm, 3 deg" if target else "", reached if target else None, data)


def rows_of(policy: Teacher, reader: DatasetReader, progress: Progress) -> list[Row]:
    """Everything about the episodes of one policy."""
    errors: list[LabelError] = []
    num_frames = num_wrong = num_held = 0
    with progress.task(f"labels, {policy.value}", len(reader)) as bar:
        for episode in reader:
            labels = label_episode(episode)
            num_held += any(attempt.outcome is Outcome.HELD for attempt in labels.attempts)
            num_frames += len(episode)
            errors += errors_of(episode, labels)
            bar.advance()
    then = [error for error in errors if error.at_closing]
    before = [error for error in errors if not error.at_closing]
    wrong = [error for error in before if error.moved_m > MOVED_M]
    num_wrong = len(wrong)
    meddled = sum(int(entry.end.labels["episode"]) % MOVED_EVERY == MOVED_EVERY - 1 for entry in reader.entries)
    said = (
        f"{num_wrong} of {len(before)} labelled frames, in {len({e.episode for e in wrong})} of {len(reader)} episodes "
        f"({meddled} meddled with, {num_held} held something; {num_frames} frames)"
    )
    return [
        row_of(f"{policy.value}: label at the moment of closing", then, True),
        row_of(f"{policy.value}: labels of all frames before", before, False),
        row_of(f"{policy.value}: labels of frames that show the place", [e for e in before if e.is_visible], False),
        Row(f"{policy.value}: labelled although the object moved by over 1 cm", said, "0", num_wrong == 0,
            {"wrong": [e._asdict() for e in wrong], "labelled": len(before), "frames": num_frames}),
    ]  # fmt: skip


def main() -> None:
    """Records what is missing, labels, compares, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes, to see that it works; not a figure")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where episodes are kept")
    arguments = parser.parse_args()
    rows, progress = [], Progress()
    for policy in (Teacher.ORACLE, Teacher.BUNDLE):
        plan = Plan(policy, 3 if arguments.quick else 40, arguments.folder / policy.value)
        record_episodes(plan, progress)
        with DatasetReader(plan.out) as reader:
            rows += rows_of(policy, reader, progress)
    save("hindsight", rows, arguments.quick)


if __name__ == "__main__":
    main()
