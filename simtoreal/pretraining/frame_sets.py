"""Rendered frames with privileged grasp labels, cached on disk by content and made in parallel.

A frame set is a folder: `frames.json` (what it was made from), one folder per finished shard of .npy arrays (so that a
killed run loses at most the shards in the making), and the sampled world of every scene in `worlds.jsonl`.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.assets import AssetError
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.object_sets import ObjectSet, load_object_set
from simtoreal.envs.planner import GraspSet
from simtoreal.envs.randomization import Randomization
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import load_robot, own_files_digest
from simtoreal.envs.scene import Scene, SceneSampler
from simtoreal.envs.simulated_camera import draw_variant
from simtoreal.envs.still_cell import StillCell, draw_tool_pose
from simtoreal.evaluation.workers import results, worker_pool
from simtoreal.policies.grasp_map import Viewpoint, in_view
from simtoreal.policies.view import View, ViewSpec, from_camera_row, make_view
from simtoreal.progress import Progress

MAX_GRASPS = 160  # kept per frame, best first
SCENES_PER_SHARD = 125
_VERSION = 7
_ABANDONED_S = 3600.0  # a shard takes a second to write: what is older was left by a run that was killed
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FrameSetSpec:
    """Everything a frame set depends on; its hash names the folder."""

    objects: tuple[str, ...]  # object sets or folders
    num_scenes: int
    frames_per_scene: int
    seed: int
    randomization: dict[str, Any]  # as `Randomization.to_plain`
    camera: CameraSetup
    view: ViewSpec
    robot: str
    max_objects: int = 2
    holdout_frac: float = 0.0  # share of the objects left out ...
    only_holdout: bool = False  # ... or kept alone, to measure the error on objects not trained on
    arm: bool = True  # whether it can be in the picture

    def digest(self) -> str:
        files = [_files_digest(Path(name)) for name in self.objects]
        robot_files = own_files_digest(self.robot)
        if robot_files:
            files.append(robot_files)
        plain = asdict(self)
        if self.arm:
            del plain["arm"]  # sets that were made before there was a choice are found again
        text = json.dumps({"version": _VERSION, "files": files, **plain}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FrameSet:
    """Arrays over all frames of a set."""

    rgb: NDArray[np.uint8]  # (N, P, P, 3)
    height_m: NDArray[np.float16]  # (N, P, P), nan where unknown
    valid: NDArray[np.bool_]  # (N, P, P)
    edge_m: NDArray[np.float32]  # (N,)
    camera: NDArray[np.float32]  # (N, 21), rows as `View.camera_row`
    distance_m: NDArray[np.float32]  # (N,) camera to the nearest object
    grasps: NDArray[np.float32]  # (N, MAX_GRASPS, 6), rows as in `grasp_map.in_view`
    num_grasps: NDArray[np.int32]  # (N,)

    def __len__(self) -> int:
        return len(self.edge_m)

    def viewpoint(self, index: int) -> Viewpoint:
        K, T = from_camera_row(self.camera[index])
        return Viewpoint(K, T, float(np.arctan2(T[1, 0], T[0, 0])), self.rgb.shape[1])

    def rows(self, index: int) -> NDArray[np.float32]:
        return self.grasps[index, : self.num_grasps[index]]


def load_frames(spec: FrameSetSpec, cache_dir: Path, workers: int, progress: Progress) -> FrameSet:
    """The frames of a spec: read where they are cached, made where they are not.

    Raises:
        OSError: the cache cannot be written.
    """
    folder = cache_dir / "frames" / spec.digest()
    missing = [shard for shard in range(_num_shards(spec)) if not (folder / f"{shard:05d}").is_dir()]
    if missing:
        _make(spec, folder, cache_dir, missing, workers, progress)
    return _read(spec, folder)


def _files_digest(folder: Path) -> str:
    """Hash of every file of a folder of objects; empty for the name of a set, which stands for its content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.expanduser().rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder.expanduser())} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16] if folder.expanduser().is_dir() else ""


def _num_shards(spec: FrameSetSpec) -> int:
    return -(-spec.num_scenes // SCENES_PER_SHARD)


def _make(
    spec: FrameSetSpec, folder: Path, cache_dir: Path, missing: list[int], workers: int, progress: Progress
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "frames.json").write_text(json.dumps(asdict(spec), default=str, indent=1))
    for partial in folder.glob("*.part"):
        if time.time() - partial.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(partial, ignore_errors=True)
    with (
        progress.task("frames", len(missing)) as bar,
        worker_pool(min(workers, len(missing)), _open_maker, spec, cache_dir) as pool,
    ):
        for _ in results([pool.submit(_make_shard, folder, shard) for shard in missing]):
            bar.advance()


_shared: dict[str, "_FrameMaker"] = {}  # of one worker process: a simulator for all of its shards


def _open_maker(spec: FrameSetSpec, cache_dir: Path) -> None:
    import cv2

    cv2.setNumThreads(1)
    _shared["maker"] = _FrameMaker(spec, cache_dir)


def _make_shard(folder: Path, shard: int) -> int:
    """Renders one shard; a scene whose object turns out broken is drawn again with another object."""
    maker = _shared["maker"]
    first = shard * SCENES_PER_SHARD
    rows: list[Arrays] = []
    worlds: list[str] = []
    for index in range(first, min(first + SCENES_PER_SHARD, maker.spec.num_scenes)):
        scene, frames = maker.scene_frames(index)
        rows.extend(frames)
        world = {"scene": index, "objects": [item.asset.name for item in scene.objects], **scene.world.to_dict()}
        worlds.append(json.dumps(world))
    partial = folder / f"{shard:05d}.{os.getpid()}.part"
    partial.mkdir(parents=True, exist_ok=True)
    for key in rows[0]:
        np.save(partial / f"{key}.npy", np.stack([row[key] for row in rows]), allow_pickle=False)
    (partial / "worlds.jsonl").write_text("\n".join(worlds) + "\n")
    try:
        os.replace(partial, folder / f"{shard:05d}")
    except OSError:  # another process has just finished the same shard
        shutil.rmtree(partial, ignore_errors=True)
    return shard


class _FrameMaker:
    """What one worker keeps between scenes."""

    def __init__(self, spec: FrameSetSpec, cache_dir: Path) -> None:
        self.spec = spec
        robot = load_robot(spec.robot)
        resting = RestingPoses(cache_dir)
        randomization = Randomization().updated(spec.randomization)
        # Neighbours come from the same share as the targets: what is held out is never seen in training at all.
        self._sets = [_kept(load_object_set(name, cache_dir), spec) for name in spec.objects]
        # Every object is as likely as any other, whatever set it is of.
        self._targets = [(which, name) for which, objects in enumerate(self._sets) for name in objects.names]
        self._samplers = [SceneSampler(objects, resting, randomization) for objects in self._sets]
        self._library = GraspLibrary(robot.gripper.geometry, resting, cache_dir)
        self._cell = StillCell(robot, spec.camera, spec.arm)

    def close(self) -> None:
        self._cell.close()

    def scene_frames(self, index: int) -> tuple[Scene, list[Arrays]]:
        for attempt in range(20):
            rng = np.random.default_rng((self.spec.seed, index, attempt))
            which, name = self._targets[int(rng.integers(len(self._targets)))]
            num_objects = int(rng.integers(1, self.spec.max_objects + 1))
            try:
                scene = self._samplers[which].sample((self.spec.seed, index, attempt), name, num_objects)
                return scene, self._render(scene, rng)
            except AssetError:
                continue
        raise AssetError(
            f"no usable object in 20 draws from {self.spec.objects}; run evaluate on it to see each reason"
        )

    def _render(self, scene: Scene, rng: np.random.Generator) -> list[Arrays]:
        # Half of the scenes through the camera as specified, half through one that somebody else might have.
        other = draw_variant(self.spec.camera, self._cell.robot, rng) if rng.random() < 0.5 else None
        self._cell.begin(scene, other)
        sets = [self._library.in_scene(scene, i) for i in range(len(scene.objects))]
        grasps = GraspSet(*(np.concatenate(column) for column in zip(*sets, strict=True)))
        frames: list[Arrays] = []
        while len(frames) < self.spec.frames_per_scene:
            observation = self._cell.look(draw_tool_pose(scene, self._cell.robot, rng), rng)
            if observation is None:
                continue
            view = make_view(observation, self.spec.view)
            nearest = min(
                float(np.linalg.norm(item.T_base_obj[:3, 3] - observation.T_base_cam[:3, 3])) for item in scene.objects
            )
            frames.append(_pack(view, grasps, nearest, rng))
        return frames


def _kept(objects: ObjectSet, spec: FrameSetSpec) -> ObjectSet:
    """The share of a set that a spec trains on, or measures on; all of it where one of the shares would be empty."""
    names = [name for name in objects.names if _held_out(name, spec.holdout_frac) == spec.only_holdout]
    return ObjectSet(objects.name, tuple(names), objects.asset) if names else objects


def _held_out(name: str, frac: float) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < frac


def _pack(view: View, grasps: GraspSet, distance_m: float, rng: np.random.Generator) -> Arrays:
    viewpoint = Viewpoint(view.K, view.T_base_view, view.yaw_rad, view.rgb.shape[0])
    rows = in_view(grasps.positions_m, grasps.yaws_rad, grasps.widths_m, grasps.qualities, viewpoint)
    if len(rows) > MAX_GRASPS:  # half the best, half at random from the rest: the map wants coverage too
        order = np.argsort(-rows[:, 5], kind="stable")
        best, rest = order[: MAX_GRASPS // 2], order[MAX_GRASPS // 2 :]
        rows = rows[np.concatenate([best, rng.choice(rest, MAX_GRASPS - len(best), replace=False)])]
    padded = np.zeros((MAX_GRASPS, 6), dtype=np.float32)
    padded[: len(rows)] = rows
    return {
        "rgb": view.rgb,
        "height_m": view.height_m.astype(np.float16),
        "valid": view.valid,
        "edge_m": np.float32(view.edge_m),  # type: ignore[dict-item]  # a scalar stacks like an array
        "camera": view.camera_row.astype(np.float32),
        "distance_m": np.float32(distance_m),  # type: ignore[dict-item]
        "grasps": padded,
        "num_grasps": np.int32(len(rows)),  # type: ignore[dict-item]
    }


def _read(spec: FrameSetSpec, folder: Path) -> FrameSet:
    names = list(FrameSet.__dataclass_fields__)
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for shard in range(_num_shards(spec)):
        for name in names:
            columns[name].append(np.load(folder / f"{shard:05d}" / f"{name}.npy", allow_pickle=False))
    return FrameSet(**{name: np.concatenate(parts) for name, parts in columns.items()})


def batches(num: int, batch_size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Index arrays of one epoch in random order; a last short batch is left out."""
    order = rng.permutation(num)
    for start in range(0, num - batch_size + 1, batch_size):
        yield order[start : start + batch_size]
