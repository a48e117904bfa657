"""Frame sets: made once, the same for any number of workers, whole after a kill, and without what is held out."""

import dataclasses
import json
import os
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from simtoreal import camera
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.object_sets import load_object_set
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.world_sample import WorldSample
from simtoreal.policies.view import ViewSpec
from simtoreal.pretraining import frame_sets
from simtoreal.pretraining.frame_sets import MAX_GRASPS, SCENES_PER_SHARD, FrameSet, FrameSetSpec, batches, load_frames
from simtoreal.progress import Progress


def same(a: FrameSet, b: FrameSet) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=f.name == "height_m")
               for f in dataclasses.fields(FrameSet))  # fmt: skip


def worlds_of(spec: FrameSetSpec, cache_dir: Path) -> list[dict]:
    folder = cache_dir / "frames" / spec.digest()
    return [
        json.loads(line) for path in sorted(folder.glob("*/worlds.jsonl")) for line in path.read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def two_shards(frame_spec: FrameSetSpec) -> FrameSetSpec:
    return dataclasses.replace(
        frame_spec,
        num_scenes=SCENES_PER_SHARD + 3,
        frames_per_scene=1,
        randomization=load_randomization("none").to_plain(),
        camera=CameraSetup.default("wrist", 32),
        view=ViewSpec(pixels=32),
        max_objects=1,
    )


@pytest.fixture(scope="module")
def by_one(two_shards: FrameSetSpec, cache_dir: Path, quiet: Progress) -> FrameSet:
    return load_frames(two_shards, cache_dir, 1, quiet)


def test_frames_are_what_a_network_needs(frames: FrameSet, frame_spec: FrameSetSpec):
    assert len(frames) == 48
    assert frames.rgb.shape == (48, 64, 64, 3)
    assert frames.grasps.shape == (48, MAX_GRASPS, 6)
    assert (frames.rgb.dtype, frames.height_m.dtype) == (np.uint8, np.float16)
    assert frames.rgb.std() > 10
    assert frames.valid.mean() > 0.7
    assert np.isfinite(frames.distance_m).all()
    assert (frames.edge_m >= frame_spec.view.min_edge_m - 1e-6).all()
    assert (frames.num_grasps > 0).mean() > 0.6


def test_labels_lie_on_the_objects(frames: FrameSet):
    on_object = 0
    total = 0
    for i in range(len(frames)):
        rows = frames.rows(i)
        best = rows[rows[:, 5] > 0.6 * rows[:, 5].max()] if len(rows) else rows
        for u, v, height_m, *_ in best:
            column, row = round(float(u)), round(float(v))
            around = frames.height_m[i, max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].astype(float)
            if np.isfinite(around).any():
                total += 1
                on_object += np.nanmax(around) > height_m - 0.006
    assert total > 100
    assert on_object / total > 0.95, "where the jaws close there is something at that height or above"


def test_a_viewpoint_leads_from_pixels_back_to_the_cell(frames: FrameSet):
    for i in range(0, len(frames), 7):
        view = frames.viewpoint(i)
        rows = frames.rows(i).astype(np.float64)
        if len(rows):
            points = camera.at_height(rows[:, :2], rows[:, 2], view.K, view.T_base_view)
            assert (np.abs(points[:, :2] - (0.5, 0.0)) < 0.25).all()


def test_cached_frames_are_read_and_not_made_again(
    frames: FrameSet, frame_spec: FrameSetSpec, cache_dir: Path, quiet: Progress, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(frame_sets, "_make", lambda *_: pytest.fail("rendered although it is on disk"))
    assert same(load_frames(frame_spec, cache_dir, 1, quiet), frames)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"num_scenes": 13},
        {"view": ViewSpec(pixels=96)},
        {"camera": CameraSetup.default("wrist", 72)},
        {"randomization": load_randomization("harsh").to_plain()},
        {"arm": False},
        {"holdout_frac": 0.5},
        {"holdout_frac": 0.5, "only_holdout": True},
    ],
    ids=lambda change: "-".join(change),
)
def test_whatever_changes_the_frames_changes_their_name(frame_spec: FrameSetSpec, change: dict):
    assert dataclasses.replace(frame_spec, **change).digest() != frame_spec.digest()
    assert dataclasses.replace(frame_spec).digest() == frame_spec.digest()


def test_files_of_a_folder_that_changed_change_the_name(frame_spec: FrameSetSpec, objects_dir: Path, tmp_path: Path):
    folder = shutil.copytree(objects_dir, tmp_path / "objects")
    spec = dataclasses.replace(frame_spec, objects=(str(folder),))
    before = spec.digest()
    (folder / "block.stl").unlink()
    assert spec.digest() != before


def test_a_file_of_a_robot_that_changed_changes_the_name(frame_spec: FrameSetSpec, tmp_path: Path):
    text = resources.files("simtoreal.configs").joinpath("robot", "panda.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    spec = dataclasses.replace(frame_spec, robot=str(tmp_path / "mine.yaml"))
    before = spec.digest()
    (tmp_path / "mine.yaml").write_text(text + "# another camera mount\n")
    assert spec.digest() != before


def test_two_workers_make_the_same_frames_as_one(
    by_one: FrameSet, two_shards: FrameSetSpec, cache_dir: Path, tmp_path: Path, quiet: Progress
):
    # Objects, resting poses and grasps are taken along: only the frames are made anew.
    for name in ("resting", "grasps"):
        shutil.copytree(cache_dir / name, tmp_path / name)
    assert same(load_frames(two_shards, tmp_path, 2, quiet), by_one)
    assert len(by_one) == SCENES_PER_SHARD + 3


def test_after_a_kill_only_the_missing_shard_is_made(
    by_one: FrameSet, two_shards: FrameSetSpec, cache_dir: Path, quiet: Progress
):
    folder = cache_dir / "frames" / two_shards.digest()
    kept = (folder / "00000" / "rgb.npy").stat().st_mtime_ns
    # What a killed run leaves behind: a shard in the making, under a name that does not count.
    (folder / "00001").rename(folder / "00001.4711.part")
    (folder / "00001.4711.part" / "rgb.npy").write_bytes(b"cut off")
    os.utime(folder / "00001.4711.part", (0, 0))
    assert same(load_frames(two_shards, cache_dir, 1, quiet), by_one)
    assert (folder / "00000" / "rgb.npy").stat().st_mtime_ns == kept
    assert not list(folder.glob("*.part")), "what the killed run left is cleared away"


def test_the_world_of_every_scene_is_kept(frames: FrameSet, frame_spec: FrameSetSpec, cache_dir: Path):
    worlds = worlds_of(frame_spec, cache_dir)
    assert [world["scene"] for world in worlds] == list(range(frame_spec.num_scenes))
    samples = [WorldSample.from_dict({key: world[key] for key in world if "." in key}) for world in worlds]
    assert len({sample.dynamics.friction for sample in samples}) > 1
    assert all(1 <= len(world["objects"]) <= frame_spec.max_objects for world in worlds)
    assert any(len(world["objects"]) == 2 for world in worlds)
    described = json.loads((cache_dir / "frames" / frame_spec.digest() / "frames.json").read_text())
    assert described["num_scenes"] == frame_spec.num_scenes


def test_held_out_objects_are_in_no_training_frame_not_even_as_neighbours(
    frame_spec: FrameSetSpec, cache_dir: Path, quiet: Progress
):
    base = dataclasses.replace(
        frame_spec,
        num_scenes=30,
        frames_per_scene=1,
        max_objects=3,
        randomization=load_randomization("none").to_plain(),
        holdout_frac=0.4,
    )
    seen = {}
    for only_holdout in (False, True):
        spec = dataclasses.replace(base, only_holdout=only_holdout)
        load_frames(spec, cache_dir, 1, quiet)
        seen[only_holdout] = {name for world in worlds_of(spec, cache_dir) for name in world["objects"]}
    assert seen[False]
    assert seen[True]
    assert not seen[False] & seen[True]
    assert seen[False] | seen[True] == set(load_object_set(base.objects[0], cache_dir).names)


def test_a_broken_object_is_drawn_around(frame_spec: FrameSetSpec, objects_dir: Path, tmp_path: Path, quiet: Progress):
    folder = shutil.copytree(objects_dir, tmp_path / "objects")
    (folder / "broken.urdf").write_text('<robot name="x"><link name="x"><visual><geometry><mesh filename="gone.obj"/>'
                                        "</geometry></visual></link></robot>")  # fmt: skip
    spec = dataclasses.replace(frame_spec, objects=(str(folder),), num_scenes=8, frames_per_scene=1)
    assert len(load_frames(spec, tmp_path, 1, quiet)) == 8


def test_an_epoch_shows_every_frame_at_most_once_and_no_short_batch():
    index = list(batches(50, 16, np.random.default_rng(0)))
    assert [len(batch) for batch in index] == [16, 16, 16]
    shown = np.concatenate(index)
    assert len(set(shown)) == len(shown)
    assert not np.array_equal(shown, np.sort(shown))
