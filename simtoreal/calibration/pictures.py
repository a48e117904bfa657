"""Where the pictures of a calibration come from: a folder with poses, a recorded dataset, a camera, a controller.

A folder holds images and, for hand-eye, `frames.csv` (columns `image`, `x y z` in metres, `qx qy qz qw`, as
`simtoreal import` reads them) or `poses.json` (`{"IMAGE": {"T_base_tcp": [[4 x 4]]}}`, or `position_m` with
`quat_xyzw`). Poses are those of the tool in the base frame at the moment of the picture.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from simtoreal import frames
from simtoreal.calibration.detection import Image
from simtoreal.calibration.errors import CalibrationError
from simtoreal.camera_record import FloatArray
from simtoreal.contracts import Observation

CSV_POSES, JSON_POSES = "frames.csv", "poses.json"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
POSITION, QUATERNION = ("x", "y", "z"), ("qx", "qy", "qz", "qw")
_JSON_KEYS = ({"T_base_tcp"}, {"position_m", "quat_xyzw"})  # of a pose, one or the other
_FAR_M, _NOT_UNIT, _NOT_RIGID = 10.0, 0.01, 1e-3


class Shot(NamedTuple):
    """One picture, and the pose of the tool where it is known."""

    name: str
    rgb: Image
    T_base_tcp: FloatArray | None  # (4, 4)


class Observed(Protocol):
    """What a controller offers that a calibration needs; every `Controller` does."""

    def get_observation(self) -> Observation: ...


def folder_shots(folder: Path, needs_poses: bool) -> Iterator[Shot]:
    """The pictures of a folder in the order of their names.

    Raises:
        CalibrationError: there are none, one cannot be read or has another size, or its pose is missing or wrong.
    """
    if not folder.is_dir():
        raise CalibrationError(f"source={folder}: there is no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise CalibrationError(f"source={folder} holds no pictures ({', '.join(SUFFIXES)})")
    poses = read_poses(folder) if needs_poses else {}
    without = [path.name for path in paths if path.name not in poses] if needs_poses else []
    if without:
        raise CalibrationError(
            f"{folder}: no pose is given for {', '.join(without[:5])}{' ...' if len(without) > 5 else ''} "
            f"({len(without)} of {len(paths)} pictures): add a line to {CSV_POSES}, or take the picture away"
        )
    size: tuple[int, ...] | None = None
    for path in paths:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise CalibrationError(f"{path} cannot be read as a picture")
        if size is not None and bgr.shape != size:
            raise CalibrationError(
                f"{path} has {bgr.shape[1]} x {bgr.shape[0]} pixels and the pictures before it {size[1]} x {size[0]}: "
                "a calibration is of one camera in one mode"
            )
        size = bgr.shape
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        yield Shot(path.name, rgb, poses.get(path.name))


def read_poses(folder: Path) -> dict[str, FloatArray]:
    """`T_base_tcp` (4, 4) by the name of the picture.

    Raises:
        CalibrationError: there is no file of poses, or one of its poses makes no sense; names file, line and field.
    """
    table, mapping = folder / CSV_POSES, folder / JSON_POSES
    if table.is_file():
        return _csv_poses(table)
    if mapping.is_file():
        return _json_poses(mapping)
    raise CalibrationError(
        f"{folder} holds neither {CSV_POSES} (columns image,x,y,z,qx,qy,qz,qw) nor {JSON_POSES}: hand-eye calibration "
        "needs the pose of the tool, T_base_tcp, of every picture"
    )


def _csv_poses(path: Path) -> dict[str, FloatArray]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in ("image", *POSITION, *QUATERNION) if name not in (reader.fieldnames or ())]
        if missing:
            raise CalibrationError(f"{path} lacks the columns {', '.join(missing)}; it has {reader.fieldnames}")
        found: dict[str, FloatArray] = {}
        for number, row in enumerate(reader, start=2):
            where = f"{path}, line {number}"
            values = [_number(row.get(name), name, where) for name in (*POSITION, *QUATERNION)]
            if row["image"] in found:
                raise CalibrationError(f"{where}: image {row['image']} has a pose already")
            found[Path(row["image"]).name] = _pose(values[:3], values[3:], where)
    return found


def _json_poses(path: Path) -> dict[str, FloatArray]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}") from None
    if not isinstance(data, Mapping):
        raise CalibrationError(f"{path} must map names of pictures to poses, got {type(data).__name__}")
    return {Path(name).name: _json_pose(entry, f"{path}, {name}") for name, entry in data.items()}


def _json_pose(entry: Any, where: str) -> FloatArray:
    if not isinstance(entry, Mapping) or not (
        {"T_base_tcp"} <= entry.keys() or {"position_m", "quat_xyzw"} <= entry.keys()
    ):
        raise CalibrationError(f"{where}: must hold T_base_tcp, or position_m and quat_xyzw, got {entry!r}")
    try:
        if "T_base_tcp" in entry:
            return check_pose(np.array(entry["T_base_tcp"], dtype=np.float64), where)
        return _pose([float(v) for v in entry["position_m"]], [float(v) for v in entry["quat_xyzw"]], where)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, CalibrationError) else CalibrationError(f"{where}: {error}") from None


def _number(text: str | None, name: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise CalibrationError(f"{where}: {name}={text!r} is no number; every picture needs a whole pose") from None
    if not np.isfinite(value):
        raise CalibrationError(f"{where}: {name}={text} must be finite")
    return value


def _pose(position: list[float], quat: list[float], where: str) -> FloatArray:
    length = float(np.linalg.norm(quat))
    if len(quat) != 4 or abs(length - 1.0) > _NOT_UNIT:
        raise CalibrationError(f"{where}: the quaternion x y z w must have length 1, {quat} has {length:.3g}")
    return check_pose(frames.from_quat(position, quat), where)


def check_pose(T: FloatArray, where: str) -> FloatArray:
    """The pose itself, if it can be one of a tool in metres.

    Raises:
        CalibrationError: it is not rigid, or looks like millimetres.
    """
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise CalibrationError(f"{where}: T_base_tcp must be finite and 4 x 4, got {T.shape}")
    if np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() > _NOT_RIGID or np.linalg.det(T[:3, :3]) < 0.0:
        raise CalibrationError(f"{where}: the rotation of T_base_tcp is none (rows must be orthogonal, of length 1)")
    if np.abs(T[:3, 3]).max() > _FAR_M:
        raise CalibrationError(f"{where}: position {T[:3, 3].tolist()} is metres away: millimetres? Write metres")
    return T


def dataset_shots(folder: Path, camera: str | None = None) -> Iterator[Shot]:
    """Every frame of a recorded dataset; `camera` may be None where there is one.

    Raises:
        CalibrationError: there is no such camera, or the frames have no tool pose.
        DatasetError: the dataset cannot be read.
    """
    from simtoreal.episodes.reader import DatasetReader

    with DatasetReader(folder) as reader:
        for index in range(len(reader)):
            episode = reader[index]
            names = list(episode.info.cameras)
            name = camera or names[0]
            if name not in names or (not camera and len(names) > 1):
                raise CalibrationError(f"{folder} has the cameras {', '.join(names)}: choose with camera_name=NAME")
            for number in range(len(episode)):
                frame = episode[number]
                rgb = frame.images[name].rgb
                if rgb is not None:
                    yield Shot(f"episode {index}, frame {number}", rgb, frame.T_base_tcp)


def controller_shots(controller: Observed) -> Iterator[Shot]:
    """What a connected controller sees, again and again; the tool pose comes with each picture."""
    number = 0
    while True:
        observation = controller.get_observation()
        if observation.rgb is None:
            raise CalibrationError("the controller delivers no colour pictures: a board cannot be seen in depth")
        yield Shot(f"view {number}", observation.rgb, observation.T_base_tcp)
        number += 1
