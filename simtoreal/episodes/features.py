"""The columns of a dataset: what `meta/info.json` says of them, and their types in parquet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import DEPTH_PREFIX, IMAGE_PREFIX
from simtoreal.episodes.records import CameraInfo

RgbStorage = Literal["video", "png"]
DEPTH_UNIT_M = 0.0005  # reaches 32.7 m, and 16.3 m where a reader takes the 16 bits for signed
MAX_DEPTH_UNIT_M = 0.001
MAX_JOINTS = 64
_CAMERA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESERVED = ("state",)  # capture_timestamp.state is when the arm was measured

STATE_NAMES = ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw", "gripper_width_m")
ACTION_NAMES = ("dx_m", "dy_m", "dz_m", "drx_rad", "dry_rad", "drz_rad", "gripper_width_m")
MATRIX_NAMES = tuple(f"T{row}{column}" for row in range(4) for column in range(4))
INDEX_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    **{
        name: {"dtype": "int64", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index")
    },
}
_ARROW_TYPES = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64()}
_IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # what Hugging Face's Image is stored as


@dataclass(frozen=True)
class CameraColumns:
    """How one camera is stored; the same for every episode of a dataset."""

    width_px: int
    height_px: int
    rgb: RgbStorage | None
    has_depth: bool


@dataclass(frozen=True)
class Schema:
    """What every episode of a dataset has in common."""

    fps: float
    cameras: Mapping[str, CameraColumns]
    num_joints: int = 0
    depth_unit_m: float = DEPTH_UNIT_M

    @property
    def video_keys(self) -> tuple[str, ...]:
        return tuple(IMAGE_PREFIX + name for name, camera in self.cameras.items() if camera.rgb == "video")

    @property
    def png_keys(self) -> tuple[str, ...]:
        """The columns that hold PNG files: depth, and colour where it was asked to be lossless."""
        return tuple(key for key, feature in self.features().items() if feature["dtype"] == "image")

    def features(self) -> dict[str, dict[str, Any]]:
        """The `features` of `meta/info.json`."""
        columns = {"observation.state": _vector("float32", STATE_NAMES)}
        if self.num_joints:
            columns["observation.joint_positions"] = _vector(
                "float32", tuple(f"joint_{index}_rad" for index in range(self.num_joints))
            )
        columns |= {"action": _vector("float32", ACTION_NAMES), "action.commanded": _vector("float32", ACTION_NAMES)}
        columns |= {"control_timestamp": _vector("float64", None), "capture_timestamp.state": _vector("float64", None)}
        for name, camera in self.cameras.items():
            columns |= self._camera_features(name, camera)
        return columns | INDEX_FEATURES

    def _camera_features(self, name: str, camera: CameraColumns) -> dict[str, dict[str, Any]]:
        columns = {
            f"capture_timestamp.{name}": _vector("float64", None),
            f"camera_extrinsics.{name}": _vector("float32", MATRIX_NAMES),
            f"present.{name}": _vector("int64", None),
        }
        if camera.rgb == "video":
            columns[IMAGE_PREFIX + name] = _picture("video", camera, 3) | {"info": _video_info(camera, self.fps)}
        elif camera.rgb == "png":
            columns[IMAGE_PREFIX + name] = _picture("image", camera, 3)
        if camera.has_depth:
            columns[DEPTH_PREFIX + name] = _picture("image", camera, 1)
        return columns

    def arrow(self) -> pa.Schema:
        """Types of the columns of a data file."""
        return pa.schema(
            [(key, _arrow_type(feature)) for key, feature in self.features().items() if feature["dtype"] != "video"]
        )

    def to_plain(self) -> dict[str, Any]:
        """What `meta/info.json` keeps under `simtoreal`."""
        return {
            "depth_unit_m": self.depth_unit_m,
            "num_joints": self.num_joints,
            "cameras": {
                name: {
                    "width_px": camera.width_px,
                    "height_px": camera.height_px,
                    "rgb": camera.rgb,
                    "has_depth": camera.has_depth,
                }
                for name, camera in self.cameras.items()
            },
        }

    @classmethod
    def from_plain(cls, fps: float, values: Mapping[str, Any]) -> "Schema":
        """The inverse of `to_plain`.

        Raises:
            DatasetError: a value is missing, of another type, or out of range.
        """
        try:
            cameras = {str(name): _camera_columns(columns) for name, columns in dict(values["cameras"]).items()}
            schema = cls(float(fps), cameras, int(values["num_joints"]), float(values["depth_unit_m"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DatasetError(f"the section simtoreal of the dataset's info cannot be read: {error!r}") from error
        check_fps(schema.fps)
        check_camera_names(schema.cameras)
        if not 0 <= schema.num_joints <= MAX_JOINTS or not 0 < schema.depth_unit_m <= MAX_DEPTH_UNIT_M:
            raise DatasetError(
                f"num_joints must lie in [0, {MAX_JOINTS}] and depth_unit_m in (0, 0.001], "
                f"got {schema.num_joints} and {schema.depth_unit_m}"
            )
        return schema


def check_fps(fps: float) -> None:
    """Raises `DatasetError` unless `fps` can be the rate of a video."""
    if not 0.01 <= fps <= 1000.0:
        raise DatasetError(f"fps must lie in [0.01, 1000] frames per second, got {fps}")


def check_camera_names(cameras: Mapping[str, object]) -> None:
    """Camera names become names of columns and folders.

    Raises:
        DatasetError: a name cannot be one, or two would be the same folder on some file systems.
    """
    for name in cameras:
        if not _CAMERA_NAME.fullmatch(name) or name in _RESERVED:
            raise DatasetError(
                f"camera name {name!r} must be 1 to 64 letters, digits, - and _, and not {', '.join(_RESERVED)}"
            )
    folded = [name.casefold() for name in cameras]
    for name in cameras:
        if folded.count(name.casefold()) > 1:
            raise DatasetError(f"two cameras have one name, {name!r} up to capitals: rename one")


def columns_of(camera: CameraInfo, lossless: bool) -> CameraColumns:
    """How a camera of an episode is stored."""
    storage: RgbStorage = "png" if lossless else "video"
    return CameraColumns(camera.width_px, camera.height_px, storage if camera.has_rgb else None, camera.has_depth)


def _camera_columns(values: Mapping[str, Any]) -> CameraColumns:
    columns = CameraColumns(int(values["width_px"]), int(values["height_px"]), values["rgb"], bool(values["has_depth"]))
    if columns.rgb not in ("video", "png", None) or not (
        1 <= columns.width_px <= 16384 and 1 <= columns.height_px <= 16384
    ):
        raise ValueError(f"a camera must be 1 to 16384 pixels wide and high and rgb be video, png or null: {columns}")
    return columns


def _vector(dtype: str, names: tuple[str, ...] | None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": list(names) if names else None}


def _picture(dtype: str, camera: CameraColumns, channels: int) -> dict[str, Any]:
    shape = [camera.height_px, camera.width_px, channels]
    return {"dtype": dtype, "shape": shape, "names": ["height", "width", "channels"]}


def pixel_format(width_px: int, height_px: int) -> str:
    """H.264 halves the resolution of colour where it can: not of pictures with an odd edge."""
    return "yuv420p" if width_px % 2 == 0 and height_px % 2 == 0 else "yuv444p"


def _video_info(camera: CameraColumns, fps: float) -> dict[str, Any]:
    return {
        "video.height": camera.height_px,
        "video.width": camera.width_px,
        "video.codec": "h264",
        "video.pix_fmt": pixel_format(camera.width_px, camera.height_px),
        "video.is_depth_map": False,
        "video.fps": int(fps) if fps == int(fps) else fps,
        "video.channels": 3,
        "has_audio": False,
    }


def _arrow_type(feature: Mapping[str, Any]) -> pa.DataType:
    if feature["dtype"] == "image":
        return _IMAGE_TYPE
    value = _ARROW_TYPES[feature["dtype"]]
    size = feature["shape"][0]
    return value if size == 1 else pa.list_(value, size)
