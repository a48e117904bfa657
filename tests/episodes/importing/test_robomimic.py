"""robomimic HDF5: units and conventions of robosuite, rows one by one, and files that lie about their size."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import frames_or_problem, open_first, problem, read_all
from row_files import picture, state, write_robomimic

from simtoreal.episodes.importing.formats import open_source
from simtoreal.episodes.importing.settings import ImportConfig


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_robomimic(tmp_path_factory.mktemp("robomimic") / "demos.hdf5")


def test_demonstrations_become_episodes_in_metres(demos: Path) -> None:
    source = open_source(ImportConfig(source=demos))
    assert source.names() == ["demo_0", "demo_1"]
    episode = source.open("demo_0")
    assert (episode.info.fps, episode.info.task, episode.info.domain) == (20.0, "Lift", "mujoco")
    assert episode.info.cameras["agentview"].has_depth
    for index, frame in enumerate(episode.frames):
        image = frame.images["agentview"]
        np.testing.assert_array_equal(image.rgb, picture(index))  # type: ignore[arg-type]
        assert image.depth_m is not None
        assert image.depth_m[3, 3] == pytest.approx(0.7)
        assert frame.t_s == pytest.approx(index / 20)
        assert frame.T_base_tcp is not None
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], state(index)[:3])
        # the hand points down; its Y, along which the fingers slide, is -Y of the base and X of the tcp
        np.testing.assert_allclose(frame.T_base_tcp[:3, :3], [[0, -1, 0], [-1, 0, 0], [0, 0, -1]], atol=1e-12)
        assert frame.gripper_width_m == pytest.approx(0.05)  # 0.03 and -0.02: the fingers move towards one another
        assert frame.joint_positions_rad is not None
        assert frame.commanded is not None
        np.testing.assert_allclose(frame.commanded.delta_m, [0.05, 0.0, -0.025])
        np.testing.assert_allclose(frame.commanded.delta_rotation_rad, [0.0, 0.0, 0.1])
        assert frame.commanded.gripper_width_m == pytest.approx(0.08)  # -1 opens
    assert episode.end().success is True
    second = source.open("demo_1")
    assert len(list(second.frames)) == 4
    assert second.end().success is False


@pytest.mark.parametrize(
    ("kwargs", "told", "delta_m"),
    [
        ({"controller_configs": {"output_max": [0.1] * 3 + [0.2] * 3}}, "an action of 1 is 0.1 m and 0.2 rad", 0.1),
        ({"controller_configs": {"body_parts": {"right": {"output_max": [0.02] * 6}}}}, "is 0.02 m", 0.02),
        ({}, "0.05 m and 0.5 rad are assumed", 0.05),
    ],
)
def test_units_of_actions_are_those_of_the_controller(
    kwargs: dict[str, Any], told: str, delta_m: float, tmp_path: Path
) -> None:
    env_args = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, **kwargs}}
    source = open_source(ImportConfig(source=write_robomimic(tmp_path / "d.hdf5", env_args=env_args)))
    assert any(told in sentence for sentence in source.assumptions)
    commanded = next(source.open("demo_0").frames).commanded
    assert commanded is not None
    assert commanded.delta_m[0] == pytest.approx(delta_m)


def test_a_rate_that_is_nowhere_is_asked_for(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "d.hdf5", env_args={"env_name": "real"})
    assert "how many frames there are a second: give fps=N" in problem(path)
    assert len(read_all(path, fps=20.0)) == 8


def test_real_demonstrations_are_called_real(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "d.hdf5", env_args={"env_name": "Kitchen", "type": 3})
    assert open_first(path, fps=15.0).info.domain == "real"


def test_what_a_file_does_not_hold_is_said(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "d.hdf5")
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo["obs/robot0_gripper_qpos"], demo["actions"]
    source = open_source(ImportConfig(source=path))
    told = " ".join(source.assumptions)
    assert "no robot0_gripper_qpos: episodes have no gripper opening" in told
    assert "actions of shape None are not read" in told
    frame = next(source.open("demo_0").frames)
    assert frame.gripper_width_m is None
    assert frame.commanded is None


def test_a_broken_demonstration_leaves_the_others(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "d.hdf5", num_demos=3)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/actions"]
        file["data/demo_1"].create_dataset("actions", data=np.zeros((2, 7)))
        file["data/demo_2/obs/robot0_eef_quat"][1] = np.nan
    source = open_source(ImportConfig(source=path))
    assert len(list(source.open("demo_0").frames)) == 4
    with pytest.raises(OSError, match="demo_1: columns have different numbers of rows"):
        list(source.open("demo_1").frames)
    with pytest.raises(OSError, match="episode demo_2, frame 1: the rotation is not finite"):
        list(source.open("demo_2").frames)


def test_a_column_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "d.hdf5", num_demos=1)
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/obs/agentview_image"]
        shape = (10**9, 256, 256, 3)
        file["data/demo_0/obs"].create_dataset("agentview_image", shape, np.uint8, chunks=(1, 256, 256, 3))
        for column in ("actions", "rewards"):
            del file[f"data/demo_0/{column}"]
        for key in list(file["data/demo_0/obs"]):
            if key != "agentview_image":
                del file[f"data/demo_0/obs/{key}"]
    assert "claims 196608000000000 bytes and 0 are stored: truncated or a bomb" in problem(path)


def test_other_files_are_not_looked_into(tmp_path: Path) -> None:
    path, secret = write_robomimic(tmp_path / "d.hdf5", num_demos=1), tmp_path / "secret.txt"
    secret.write_bytes(b"x" * 4000)
    with h5py.File(path, "r+") as file:
        file["data/demo_0/obs"].create_dataset("leak", (4, 100), np.uint8, external=[(str(secret), 0, 400)])
    assert "column leak keeps its data in another file" in problem(path)
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/obs/leak"]
        file["data/demo_0/obs/leak"] = h5py.ExternalLink(str(path), "data")
    assert "leak is a link to another file: it is not followed" in problem(path)


def test_columns_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "d.hdf5", num_demos=1)
    with h5py.File(path, "r+") as file:
        file["data/demo_0/obs"].create_dataset("note", data=["x"] * 4)
    assert "column note holds object, numbers are read" in problem(path)


def test_other_hdf5_is_not_robomimic(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = 1
    assert "there is no group data: not robomimic" in problem(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_group("data")
    assert "there is no demonstration" in problem(tmp_path / "y.h5")


def test_cut_at_every_block_it_is_an_error(demos: Path, tmp_path: Path) -> None:
    data, path = demos.read_bytes(), tmp_path / "cut.hdf5"
    for end in [0, 4, 8, *range(512, len(data), 1024)]:
        path.write_bytes(data[:end])
        assert isinstance(frames_or_problem(path, fps=20.0), str)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.binary(min_size=1, max_size=16))
def test_damage_anywhere_is_no_crash(demos: Path, tmp_path: Path, place: int, junk: bytes) -> None:
    data = bytearray(demos.read_bytes())
    at = place % min(len(data), 20_000)  # the structure lies in front
    data[at : at + len(junk)] = junk
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(data)
    frames_or_problem(path, fps=20.0)
