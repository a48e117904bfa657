"""The one camera file: what is written is read, and what makes no sense is named."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from simtoreal import frames
from simtoreal.camera import CameraModel
from simtoreal.camera_record import (
    BoardSpec,
    CameraFileError,
    CameraRecord,
    LensFit,
    MountFit,
    MountPose,
    load_camera,
    save_camera,
)


def rows(size: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in (1e-6 * np.eye(size)).tolist())


def record() -> CameraRecord:
    model = CameraModel(640, 480, 600.0, 601.0, 320.0, 240.0, (0.1, 0.0, 0.001, 0.0, 0.0))
    mount = MountPose.of(frames.transform((0.1, 0.2, -0.05), frames.rotation_from_vector((0.3, 0.1, 0.2))))
    about = {"num_views": 15, "num_rejected": 1, "error_px": 0.3, "measured_at": "2026-11-01T12:00:00+00:00"}
    return CameraRecord(
        "wrist", "rgb", model, mount, LensFit(rows(9), **about), MountFit(rows(6), **about, board_pose=mount),
        BoardSpec(),
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path):
    save_camera(record(), tmp_path / "camera.yaml")
    assert load_camera(tmp_path / "camera.yaml") == record()
    assert [path.name for path in tmp_path.iterdir()] == ["camera.yaml"]


def test_a_file_of_an_earlier_bundle_is_read(tmp_path: Path):
    old = {
        "placement": "external", "modality": "rgbd", "width_px": 64, "height_px": 64, "fx": 55.0, "fy": 55.0,
        "cx": 31.5, "cy": 31.5, "distortion": [0.0] * 5,
    }  # fmt: skip
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(old))
    assert load_camera(tmp_path / "camera.yaml") == CameraRecord(
        "external", "rgbd", CameraModel(64, 64, 55.0, 55.0, 31.5, 31.5)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"placement": "ceiling"}, "placement=ceiling is not a choice"),
        ({"mount": {"position_m": [100.0, 0.0, 0.0], "quat_xyzw": [0, 0, 0, 1]}}, r"position_m.* out of range"),
        ({"mount": {"position_m": [0.1, 0.0, 0.0], "quat_xyzw": [0, 0, 0, 0.5]}}, "must have length 1"),
        ({"format_version": 7}, "format_version=7, this package reads 1"),
        ({"colour": "red"}, "colour"),
        ({"fx": -1}, "fx must be positive"),
        ({"board": {"squares_x": 7, "square_m": 0.02, "marker_m": 0.03}}, "markers lie in squares"),
        ({"mount_fit": {**record().to_dict()["mount_fit"], "covariance": [[1.0]]}}, "must be 6 x 6"),
        ({"mount_fit": {**record().to_dict()["mount_fit"], "covariance": [[1.0], [1.0, 2.0]]}}, "one length"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_named(tmp_path: Path, change: dict, said: str):
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump({**record().to_dict(), **change}))
    with pytest.raises(CameraFileError, match=rf"camera\.yaml.*{said}"):
        load_camera(path)


def test_no_file_says_what_writes_one(tmp_path: Path):
    with pytest.raises(CameraFileError, match="simtoreal calibrate"):
        load_camera(tmp_path / "camera.yaml")
