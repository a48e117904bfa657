"""Images of a row, however the recording holds them: encoded bytes, a file, or an array."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.importing.encoded_images import decode_plane, decode_rgb, read_bytes
from simtoreal.episodes.importing.row_mapping import CameraColumns, Row
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.records import FrameImage
from simtoreal.schema import closest


def read_images(row: Row, cameras: dict[str, CameraColumns], t_s: float) -> dict[str, FrameImage]:
    """Images of all cameras in a row.

    Args:
        row: the row.
        cameras: columns of each camera.
        t_s: capture time of those that have no time of their own.

    Raises:
        SourceError: an image is not there, or is not one.
    """
    images = {}
    for name, camera in cameras.items():
        try:
            rgb = None if camera.rgb is None else as_rgb(_value(row, camera.rgb))
            depth_m = None if camera.depth is None else as_depth_m(_value(row, camera.depth), camera.depth_scale_m)
        except SourceError as error:
            raise SourceError(f"camera {name}: {error}") from error
        images[name] = FrameImage(t_s, rgb, depth_m)
    return images


def as_rgb(value: Any) -> NDArray[np.uint8]:
    """A colour image (H, W, 3); grey ones become grey in three channels, an alpha channel is left out."""
    if isinstance(value, bytes | Path):
        return decode_rgb(value if isinstance(value, bytes) else read_bytes(value))
    image = np.asarray(value)
    if image.dtype != np.uint8:
        raise SourceError(f"a colour image is uint8, this one is {image.dtype}: is it another column?")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise SourceError(f"a colour image is (H, W, 3), this one is {image.shape}")
    return np.ascontiguousarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3])


def as_depth_m(value: Any, scale_m: float | None) -> NDArray[np.float32]:
    """A depth image (H, W) in metres; zeros and what is not finite become nan.

    Raises:
        SourceError: it holds integers and nobody said how many metres one of them is.
    """
    if isinstance(value, bytes | Path):
        value = decode_plane(value if isinstance(value, bytes) else read_bytes(value))
    plane = np.asarray(value)
    plane = plane[..., 0] if plane.ndim == 3 and plane.shape[2] == 1 else plane
    if plane.ndim != 2 or plane.dtype.kind not in "uif":
        raise SourceError(f"a depth image is (H, W) of numbers, this one is {plane.dtype} {plane.shape}")
    if scale_m is None and plane.dtype.kind != "f":
        raise SourceError(
            f"the depth image holds {plane.dtype}: say how many metres one step is, with depth_scale_m=0.001 "
            "for millimetres, or depth_scale_m of the camera in the mapping"
        )
    depth_m = plane.astype(np.float32) * np.float32(1.0 if scale_m is None else scale_m)
    return np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, np.float32(np.nan))


def _value(row: Row, column: str) -> Any:
    if column not in row:
        raise SourceError(f"there is no column {column!r}{closest(column, list(row))} Columns: {list(row)}")
    return row[column]
