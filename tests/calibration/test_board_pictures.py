"""Folders of pictures with poses, and cameras that are running: read as they are meant, or refused with the reason."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from board_sessions import MIDDLE_M, SPEC, facing, picture

from simtoreal import frames
from simtoreal.calibration.detection import BoardDetector
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.live import UvcCamera, camera_shots, still_and_new
from simtoreal.calibration.pictures import controller_shots, folder_shots, read_poses
from simtoreal.contracts import Observation

HEADER = "image,x,y,z,qx,qy,qz,qw"


def folder_with(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(path / name), np.full((48, 64, 3), (10, 20, 200), dtype=np.uint8))
    (path / "frames.csv").write_text("\n".join([header, *lines]) + "\n")
    return path


def test_pictures_come_with_their_poses_red_first(tmp_path: Path):
    folder = folder_with(tmp_path, "b.png,0.1,0.2,0.3,0,0,0,1", "a.png,0.4,0.5,0.6,1,0,0,0")
    shots = list(folder_shots(folder, needs_poses=True))
    assert [shot.name for shot in shots] == ["a.png", "b.png"]
    assert shots[0].rgb[0, 0].tolist() == [200, 20, 10]
    np.testing.assert_allclose(shots[0].T_base_tcp, frames.from_quat((0.4, 0.5, 0.6), (1.0, 0.0, 0.0, 0.0)))


def test_poses_as_matrices(tmp_path: Path):
    T = frames.top_down((0.4, 0.1, 0.3), 0.2)
    poses = {"a.png": {"T_base_tcp": T.tolist()}, "b.png": {"position_m": [0, 0, 1], "quat_xyzw": [0, 0, 0, 1]}}
    (tmp_path / "poses.json").write_text(json.dumps(poses))
    np.testing.assert_allclose(read_poses(tmp_path)["a.png"], T)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("a.png,0.1,0.2,0.3,0,0,0,1",), r"no pose is given for b\.png"),
        (("a.png,0.1,0.2,0.3,0,0,0,1", "b.png,0.1,,0.3,0,0,0,1"), r"line 3: y='' is no number"),
        (("a.png,412.0,20.0,300.0,0,0,0,1",), "millimetres"),
        (("a.png,0.1,0.2,0.3,0,0,0,90",), "length 1"),
        (("a.png,0.1,0.2,0.3,0,0,0,1", "a.png,0.1,0.2,0.3,0,0,0,1"), "has a pose already"),
    ],
    ids=["missing", "empty", "millimetres", "quaternion", "twice"],
)
def test_bad_tables_are_named(tmp_path: Path, lines: tuple[str, ...], said: str):
    with pytest.raises(CalibrationError, match=said):
        list(folder_shots(folder_with(tmp_path, *lines), needs_poses=True))


def test_bad_folders_are_named(tmp_path: Path):
    with pytest.raises(CalibrationError, match="no such folder"):
        list(folder_shots(tmp_path / "nowhere", needs_poses=False))
    with pytest.raises(CalibrationError, match="holds no pictures"):
        list(folder_shots(tmp_path, needs_poses=False))
    folder = folder_with(tmp_path, header="image,x,y,z,roll,pitch,yaw")
    with pytest.raises(CalibrationError, match="lacks the columns qx, qy, qz, qw"):
        list(folder_shots(folder, needs_poses=True))
    cv2.imwrite(str(folder / "c.png"), np.zeros((50, 64, 3), dtype=np.uint8))
    with pytest.raises(CalibrationError, match=r"c\.png has 64 x 50 pixels and the pictures before it 64 x 48"):
        list(folder_shots(folder, needs_poses=False))


class FakeDevice:
    """What `cv2.VideoCapture` offers, playing pictures again and again."""

    def __init__(self, pictures: list[np.ndarray], opened: bool = True) -> None:
        self.pictures, self.opened, self.number, self.released = pictures, opened, 0, False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opened

    def read(self) -> tuple[bool, np.ndarray]:
        self.number += 1
        return True, self.pictures[self.number % len(self.pictures)][..., ::-1]

    def release(self) -> None:
        self.released = True


def test_a_running_camera_gives_views_that_are_still_and_new():
    shifted = frames.transform((0.06, 0.02, 0.36)) @ frames.transform(-MIDDLE_M)
    shown = [picture(facing())] * 3 + [picture(shifted)] * 3
    device, said = FakeDevice(shown), []
    with UvcCamera(0, lambda _: device) as camera:
        kept = list(still_and_new(camera_shots(camera), BoardDetector(SPEC), 2, said.append))
    assert len(kept) == 2
    assert abs(kept[0][1].corners_px.mean() - kept[1][1].corners_px.mean()) > 20.0
    assert device.released
    assert "hold it still" in said[0]
    assert "1 of 2" in said[1]


def test_no_camera():
    with pytest.raises(CalibrationError, match="no camera answers"):
        UvcCamera(7, lambda _: FakeDevice([], opened=False))


def test_a_controller_is_a_source_with_poses():
    T = frames.top_down((0.4, 0.0, 0.3), 0.0)

    class Arm:
        def get_observation(self) -> Observation:
            return Observation(0.0, picture(facing()), None, np.eye(3), np.eye(4), T, 0.08, None)

    shot = next(controller_shots(Arm()))
    np.testing.assert_allclose(shot.T_base_tcp, T)
