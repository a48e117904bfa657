"""A camera as data, and the one file that it lies in: `camera.yaml`, which simulator, dataset, bundle and robot read.

| key | holds |
|---|---|
| `placement`, `modality` | `wrist` or `external`; `rgbd`, `rgb` or `depth` |
| `width_px` ... `cy`, `distortion` | the lens, OpenCV's model with k1 k2 p1 p2 k3 |
| `mount` | pose of the optical frame in the tool frame (wrist) or base frame (external) |
| `lens_fit`, `mount_fit` | how lens and mount were measured: covariance, views, errors, when |
| `board` | what they were measured with |

Everything behind `distortion` is null where nobody has calibrated. Needs numpy, OpenCV and YAML only.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel
from simtoreal.schema import ConfigError, option, parse, required
from simtoreal.settings_files import read_mapping
from simtoreal.usage import plain

FORMAT_VERSION = 1
CAMERA_FILE = "camera.yaml"
LENS_PARAMETERS = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3")
MOUNT_PARAMETERS = ("x_m", "y_m", "z_m", "rx_rad", "ry_rad", "rz_rad")
FloatArray = NDArray[np.float64]
Rows = tuple[tuple[float, ...], ...]
_NOT_UNIT = 1e-3


class CameraFileError(ConfigError):
    """A camera file cannot be read or written; the message names the file, the field and what to do."""


@dataclass(frozen=True)
class BoardSpec:
    """A ChArUco board as it was printed; its frame lies in the corner of the first square, +Z into the board.

    Raises:
        ConfigError: a marker does not fit into a square.
    """

    squares_x: int = option(7, "squares in a row of the board", minimum=3, maximum=60)
    squares_y: int = option(5, "rows of the board", minimum=3, maximum=60)
    square_m: float = option(0.03, "edge of a square, measured on the print", unit="m", minimum=1e-3, maximum=1.0)
    marker_m: float = option(0.022, "edge of a marker, measured on the print", unit="m", minimum=5e-4, maximum=1.0)
    dictionary: str = option("DICT_4X4_50", "OpenCV's name of the markers' dictionary")

    def __post_init__(self) -> None:
        if not self.marker_m < self.square_m:
            raise ConfigError(
                f"board marker_m={self.marker_m} must be smaller than square_m={self.square_m}: markers lie in squares"
            )

    @property
    def num_corners(self) -> int:
        return (self.squares_x - 1) * (self.squares_y - 1)


@dataclass(frozen=True)
class MountPose:
    """Pose of the optical frame in the tool frame (wrist) or base frame (external).

    Raises:
        ConfigError: the quaternion is not of unit length, as one of another order or unit would not be.
    """

    position_m: tuple[float, float, float] = required("x, y, z", unit="m", minimum=-10.0, maximum=10.0)
    quat_xyzw: tuple[float, float, float, float] = required("x, y, z, w", minimum=-1.001, maximum=1.001)

    def __post_init__(self) -> None:
        length = float(np.linalg.norm(self.quat_xyzw))
        if abs(length - 1.0) > _NOT_UNIT:
            raise ConfigError(f"quat_xyzw={list(self.quat_xyzw)} must have length 1, it has {length:.4g}")

    @classmethod
    def of(cls, T: FloatArray) -> "MountPose":
        """The same as a transform (4, 4)."""
        x, y, z = (float(value) for value in T[:3, 3])
        a, b, c, d = (float(value) for value in frames.rotation_to_quat(T[:3, :3]))
        return cls((x, y, z), (a, b, c, d))

    @property
    def T(self) -> FloatArray:
        """The pose as a transform (4, 4)."""
        return frames.from_quat(self.position_m, self.quat_xyzw)


@dataclass(frozen=True)
class FitRecord:
    """How a part of a camera was measured.

    Raises:
        ConfigError: the covariance is no square, is not symmetric, or has a negative variance.
    """

    covariance: Rows = required("of the parameters, in their order")
    num_views: int = required("pictures used", minimum=1)
    num_rejected: int = required("pictures left out as outliers", minimum=0)
    error_px: float = required("root mean square over corners and both axes", unit="px", minimum=0.0)
    measured_at: str = required("date and time, ISO 8601")

    def __post_init__(self) -> None:
        matrix = self.matrix
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ConfigError(f"covariance must be square, got {len(self.covariance)} rows")
        scale = np.sqrt(np.abs(np.outer(np.diag(matrix), np.diag(matrix))))
        if (np.diag(matrix) < 0.0).any() or (np.abs(matrix - matrix.T) > 1e-6 * scale + 1e-30).any():
            raise ConfigError("covariance must be symmetric, with variances of at least 0")

    @property
    def matrix(self) -> FloatArray:
        """The covariance as an array."""
        try:
            return np.array(self.covariance, dtype=np.float64)
        except ValueError:
            raise ConfigError("covariance must have rows of one length") from None


@dataclass(frozen=True)
class LensFit(FitRecord):
    """How the lens was measured; parameters `LENS_PARAMETERS`.

    Raises:
        ConfigError: `measured` has another length than there are parameters.
    """

    coverage_frac: float = option(0.0, "share of the image in which corners were seen", minimum=0.0, maximum=1.0)
    measured: tuple[float, ...] = option(
        (), "parameters as the pictures of the lens have them; measuring the mount refines them, from here each time"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.measured) not in (0, len(LENS_PARAMETERS)):
            raise ConfigError(f"lens_fit.measured must have {len(LENS_PARAMETERS)} values, got {len(self.measured)}")


def lens_parameters(model: CameraModel) -> FloatArray:
    """A lens as values (9,) of `LENS_PARAMETERS`."""
    return np.array([model.fx, model.fy, model.cx, model.cy, *model.distortion])


def lens_of(model: CameraModel, parameters: FloatArray) -> CameraModel:
    """A camera with the size of another and other values (9,) of `LENS_PARAMETERS`."""
    fx, fy, cx, cy, k1, k2, p1, p2, k3 = (float(value) for value in parameters)
    return CameraModel(model.width_px, model.height_px, fx, fy, cx, cy, (k1, k2, p1, p2, k3))


@dataclass(frozen=True)
class MountFit(FitRecord):
    """How the mount was measured; parameters `MOUNT_PARAMETERS`, a small motion along the axes of the camera."""

    held_out_px: float = option(0.0, "error on views that the fit had not seen", unit="px", minimum=0.0)
    corner_noise_px: float = option(0.0, "noise of a corner in a picture", unit="px", minimum=0.0)
    tool_noise_m: float = option(0.0, "noise of a reported tool position, each axis", unit="m", minimum=0.0)
    tool_noise_rad: float = option(0.0, "noise of a reported tool rotation, each axis", unit="rad", minimum=0.0)
    solver: str | None = option(None, "closed form that came nearest")
    board_pose: MountPose | None = option(None, "where the board was: in the base (wrist) or tool frame (external)")

    @property
    def position_std_m(self) -> float:
        """Standard deviation of the position, all axes together."""
        return float(np.sqrt(np.trace(self.matrix[:3, :3])))

    @property
    def rotation_std_rad(self) -> float:
        """Standard deviation of the rotation, all axes together."""
        return float(np.sqrt(np.trace(self.matrix[3:, 3:])))


@dataclass(frozen=True)
class CameraRecord:
    """One camera: where it sits, what it delivers, its lens, and how well all that is known.

    Raises:
        ConfigError: a covariance does not belong to as many parameters as there are.
    """

    placement: str
    modality: str
    model: CameraModel
    mount: MountPose | None = None
    lens_fit: LensFit | None = None
    mount_fit: MountFit | None = None
    board: BoardSpec | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("placement", ("wrist", "external")), ("modality", ("rgbd", "rgb", "depth"))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name}={getattr(self, name)} is not a choice. Choose from: {', '.join(allowed)}")
        for name, size in (("lens_fit", len(LENS_PARAMETERS)), ("mount_fit", len(MOUNT_PARAMETERS))):
            fit = getattr(self, name)
            if fit is not None and len(fit.covariance) != size:
                raise ConfigError(f"{name}.covariance must be {size} x {size}, got {len(fit.covariance)} rows")

    @property
    def placed(self) -> Literal["wrist", "external"]:
        """The placement, for those who need it as a literal."""
        return "wrist" if self.placement == "wrist" else "external"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML, the lens among the keys of the record."""
        rest = {name: plain(getattr(self, name)) for name in ("mount", "lens_fit", "mount_fit", "board")}
        return {
            "format_version": FORMAT_VERSION,
            "placement": self.placement,
            "modality": self.modality,
            **plain(self.model),
            **{name: value for name, value in rest.items() if value is not None},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CameraRecord":
        """What `to_dict` wrote; a missing `format_version` is 1.

        Raises:
            KeyError: a field is missing.
            ConfigError: an unknown field, or a value that cannot be used.
        """
        values = dict(data)
        version = values.pop("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise ConfigError(f"format_version={version!r}, this package reads {FORMAT_VERSION}: calibrate again")
        names = [field.name for field in dataclasses.fields(CameraModel)]
        model = parse({name: values.pop(name) for name in names}, CameraModel)
        return parse({**{name: values.pop(name) for name in ("placement", "modality")}, "model": model, **values}, cls)


def load_camera(path: Path) -> CameraRecord:
    """Reads a camera file.

    Raises:
        CameraFileError: it is not there, is no YAML, or holds something that cannot be used; names file and field.
    """
    try:
        data = read_mapping(Path(path))
    except FileNotFoundError:
        raise CameraFileError(f"{path}: there is no such camera file; `simtoreal calibrate` writes one") from None
    except ConfigError as error:
        raise CameraFileError(str(error)) from error
    try:
        return CameraRecord.from_dict(data)
    except KeyError as error:
        raise CameraFileError(f"{path} lacks the field {error}") from None
    except (ValueError, TypeError) as error:
        raise CameraFileError(f"{path}: {error}") from None


def save_camera(record: CameraRecord, path: Path) -> None:
    """Writes a camera file beside its place, then moves it there: readers see the old one or the new one.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(yaml.safe_dump(record.to_dict(), sort_keys=False, default_flow_style=None), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
