"""Robot files: what ships is sound, and what is wrong in one's own is named."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.envs.opening_map import OpeningMap
from simtoreal.envs.robot import load_robot, own_files_digest
from simtoreal.schema import ConfigError

SHIPPED = ("panda", "kuka")
SWINGING = OpeningMap((0.0, 0.03, 0.08), ((0.1, -0.1), (0.0, 0.0), (-0.2, 0.2)), (0.0, -0.002, -0.008))


def plain(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(
        resources.files("simtoreal.configs").joinpath("robot", f"{name}.yaml").read_text()
    )
    return values


def write(values: Any, folder: Path) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_robot_is_what_its_file_says(name: str):
    robot = load_robot(name)
    assert robot.name == name
    assert robot.urdf.is_file()
    assert robot.gripper.max_opening_m == robot.gripper.opening.widths_m[-1] == 0.08
    assert robot.T_link_tcp.shape == robot.T_tcp_cam.shape == (4, 4)
    assert robot.T_tcp_cam[2, 2] > 0.8  # the wrist camera looks along the approach


@pytest.mark.parametrize("name", SHIPPED)
def test_a_copy_of_a_shipped_file_is_the_same_robot(name: str, tmp_path: Path):
    copy, shipped = load_robot(write(plain(name), tmp_path)), load_robot(name)
    assert copy.gripper == shipped.gripper
    assert copy.urdf == shipped.urdf


def test_a_urdf_is_found_beside_the_file(tmp_path: Path):
    (tmp_path / "arm.urdf").write_text("<robot/>")
    assert load_robot(write(plain("panda") | {"urdf": "arm.urdf"}, tmp_path)).urdf == tmp_path / "arm.urdf"


def test_files_of_a_robot_of_your_own_that_change_make_it_another_one(tmp_path: Path):
    (tmp_path / "arm.urdf").write_text("<robot/>")
    path = write(plain("panda") | {"urdf": "arm.urdf"}, tmp_path)
    before = own_files_digest(path)
    assert before == own_files_digest(path) != own_files_digest("panda") == ""
    (tmp_path / "arm.urdf").write_text("<robot name='other'/>")
    with_other_urdf = own_files_digest(path)
    write(plain("panda") | {"urdf": "arm.urdf", "name": "another"}, tmp_path)
    assert len({before, with_other_urdf, own_files_digest(path)}) == 3


def test_a_robot_that_nobody_ships_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match=r"robot=pnada .*did you mean 'panda'\? Shipped: kuka, panda"):
        load_robot("pnada")


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml is neither a file nor shipped"):
        load_robot(str(tmp_path / "nothing.yaml"))


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "just words"])
def test_a_file_that_holds_no_robot_is_named(text: str, tmp_path: Path):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"odd\.yaml"):
        load_robot(str(path))


def _set(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("tool"), "tool is missing"),
        (lambda values: values["gripper"].pop("joints"), r"gripper\.joints is missing"),
        (_set("home_positon_m", to=[0, 0, 0]), "did you mean 'home_position_m'"),
        (_set("urdf", to="nowhere.urdf"), r"nowhere\.urdf does not exist"),
        (_set("position_gain", to=-1), "position_gain=-1.*allowed"),
        (_set("position_gain", to="strong"), "position_gain=strong must be a number"),
        (_set("home_position_m", to=[0.5, 0.0]), "home_position_m.*3 elements"),
        (_set("home_position_m", to=[9.0, 0.0, 0.3]), "home_position_m.*inside the workspace"),
        (_set("arm_joints", to=["panda_joint1"]), "home_joint_positions_rad needs one value for each of 1"),
        (_set("limits", "max_delta_m", to=0), r"limits\.max_delta_m=0.0.*0\.001 to 0\.2 m"),
        (_set("limits", "workspace_low_m", to=[0.9, 0, 0]), "workspace_low_m.*must lie below"),
        (_set("gripper", "finger_links", to=["panda_hand"]), r"finger_links must name the two"),
        (_set("gripper", "effort_per_newton", to=[1.0]), "effort_per_newton"),
        (_set("gripper", "pad_height_m", to=0.3), "pad_height_m"),
        (_set("gripper", "opening_map", 0, "width_m", to=0.09), "growing width_m"),
        (_set("gripper", "opening_map", 0, "joint_positions", to=[0.0]), "same number of joint_positions"),
        (_set("gripper", "opening_map", 1, "joint_positions", to=[0.0, 0.0]), "no joint moves"),
        (_set("gripper", "opening_map", 1, "joint_positions", to=[0.04, 0.0]), "joint 1.*straight line"),
        (_set("tool", "quat_xyzw", to=[0, 0, 0, 0]), "quat_xyzw"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path):
    values = plain("panda")
    change(values)
    with pytest.raises(ValueError, match=message) as caught:
        load_robot(write(values, tmp_path))
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize("opening", [SWINGING, load_robot("kuka").gripper.opening, load_robot("panda").gripper.opening])
@given(width_m=st.floats(-0.01, 0.09))
def test_width_and_joints_agree(opening: OpeningMap, width_m: float):
    assert opening.width_at(opening.joints_at(width_m)) == pytest.approx(min(max(width_m, 0.0), 0.08), abs=1e-9)


@given(width_m=st.floats(-0.01, 0.09))
def test_interpolation_is_that_of_numpy(width_m: float):
    assert SWINGING.tip_offset_at(width_m) == pytest.approx(
        np.interp(width_m, SWINGING.widths_m, SWINGING.tip_offsets_m), abs=1e-12
    )


def test_a_lost_joint_is_not_taken_for_an_opening():
    assert np.isnan(SWINGING.width_at([np.nan, 0.0]))


def test_the_width_is_the_mean_over_fingers_that_differ():
    opening = load_robot("panda").gripper.opening
    assert opening.width_at([0.01, 0.02]) == pytest.approx(0.03)


def test_the_line_of_a_linkage_is_found():
    line = load_robot("kuka").gripper.opening.lines()[1]
    assert line.slope == pytest.approx(-1.0)
    assert line.intercept == pytest.approx(0.0, abs=1e-6)


def test_a_joint_that_turns_back_is_refused():
    with pytest.raises(ValueError, match="joint 0 must move one way"):
        OpeningMap((0.0, 0.04, 0.08), ((0.0,), (0.2,), (0.1,)), (0.0, 0.0, 0.0))
