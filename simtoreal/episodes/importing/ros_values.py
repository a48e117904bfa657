"""What messages of the usual types hold, in the units and conventions of this package."""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.episodes.importing.encoded_images import MAX_PIXELS, ImageSize, claimed_size, decode_plane, decode_rgb
from simtoreal.episodes.importing.row_images import as_depth_m
from simtoreal.episodes.importing.row_mapping import FloatArray, Rotation, rotation_matrix
from simtoreal.episodes.importing.source import SourceError

_CHANNELS = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),  # what OpenCV calls three channels without saying which
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "8UC4": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGRBG2RGB),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUYV),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
}
_DEPTHS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
REP_118_SCALE_M = 0.001  # integer depth images of ROS are in millimetres
_COMPRESSED_DEPTH_HEADER = 12  # format, and two parameters of the quantisation


def stamp_ns(message: Any) -> int | None:
    """Time in the header of a message; None if it has no header, or one that nobody filled in."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None:
        return None
    nanoseconds = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return nanoseconds or None


def pose_of(value: Any) -> FloatArray:
    """The transform (4, 4) of a pose, a transform, or a message that holds one.

    Raises:
        SourceError: there is none in it, or it is no pose.
    """
    for inner in ("pose", "transform"):
        if hasattr(value, inner):
            return pose_of(getattr(value, inner))
    position: Any = getattr(value, "position", getattr(value, "translation", None))
    rotation: Any = getattr(value, "orientation", getattr(value, "rotation", None))
    if not (hasattr(position, "x") and hasattr(rotation, "w")):
        raise SourceError(f"there is no pose in {type(value).__name__}: name the FIELD that holds it")
    quat = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    xyz = np.array([position.x, position.y, position.z], dtype=np.float64)
    if not np.isfinite(xyz).all():
        raise SourceError(f"the position is not finite: {xyz}")
    return frames.transform(xyz, rotation_matrix(quat, Rotation.QUAT_XYZW))


def twist_of(value: Any) -> FloatArray:
    """Linear and angular velocity (6,) in metres and radians per second of a twist, or a message that holds one."""
    if hasattr(value, "twist"):
        return twist_of(value.twist)
    if not (hasattr(value, "linear") and hasattr(value, "angular")):
        raise SourceError(f"there is no twist in {type(value).__name__}: name the FIELD that holds it")
    parts = [getattr(part, axis) for part in (value.linear, value.angular) for axis in "xyz"]
    twist = np.array(parts, dtype=np.float64)
    if not np.isfinite(twist).all():
        raise SourceError(f"the twist is not finite: {twist}")
    return twist


def joints_of(message: Any, names: tuple[str, ...], values: Any = None) -> FloatArray:
    """Positions of a JointState, or other `values` in its order, of some joints by name; all if none is named."""
    positions = np.asarray(message.position if values is None else values, dtype=np.float64)
    if not names:
        return positions
    order = list(message.name)
    absent = [name for name in names if name not in order]
    if absent or len(order) > positions.size:
        raise SourceError(f"the message has {positions.size} values of joints {order}, {absent or names} are asked for")
    return np.asarray(positions[[order.index(name) for name in names]])


def image_size(message: Any) -> ImageSize:
    """Width and height of an Image or CompressedImage, without decoding it."""
    if hasattr(message, "encoding"):
        return ImageSize(int(message.width), int(message.height))
    data = bytes(message.data)
    return claimed_size(data[_COMPRESSED_DEPTH_HEADER:] if "compressedDepth" in message.format else data)


def rgb_of(message: Any) -> NDArray[np.uint8]:
    """The colour image (H, W, 3) of an Image or CompressedImage.

    Raises:
        SourceError: an encoding that is not read, or fewer bytes than the size claims.
    """
    if not hasattr(message, "encoding"):
        return decode_rgb(bytes(message.data))
    if message.encoding not in _CHANNELS:
        raise SourceError(f"the encoding {message.encoding!r} is not read: {', '.join(_CHANNELS)} are")
    channels, conversion = _CHANNELS[message.encoding]
    pixels = _pixels(message, np.dtype(np.uint8), channels)
    if conversion is None:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), conversion), dtype=np.uint8)


def depth_of(message: Any, scale_m: float | None) -> NDArray[np.float32]:
    """The depth image (H, W) in metres of an image, compressed or not; integers are millimetres (REP 118)."""
    if not hasattr(message, "encoding"):
        return _compressed_depth(message, scale_m)
    if message.encoding not in _DEPTHS:
        raise SourceError(f"the encoding {message.encoding!r} is no depth: {', '.join(_DEPTHS)} are")
    order = ">" if message.is_bigendian else "<"
    plane = _pixels(message, np.dtype(order + _DEPTHS[message.encoding]), 1)
    if plane.dtype.kind == "u" and scale_m is None:
        scale_m = REP_118_SCALE_M
    return as_depth_m(plane.astype(plane.dtype.newbyteorder("=")), scale_m)


def _compressed_depth(message: Any, scale_m: float | None) -> NDArray[np.float32]:
    """compressed_depth_image_transport: a header of 12 bytes, then a PNG; 32FC1 is stored as a quantised inverse."""
    data, kind = bytes(message.data), str(message.format)
    if "compressedDepth" not in kind:
        return as_depth_m(decode_plane(data), REP_118_SCALE_M if scale_m is None else scale_m)
    plane = decode_plane(data[_COMPRESSED_DEPTH_HEADER:])
    if "32FC1" not in kind:
        return as_depth_m(plane, REP_118_SCALE_M if scale_m is None else scale_m)
    a, b = struct.unpack("<ff", data[4:_COMPRESSED_DEPTH_HEADER])
    with np.errstate(divide="ignore", invalid="ignore"):
        depth_m = np.where(plane > 0, a / (plane.astype(np.float32) - b), np.float32(np.nan))
    return as_depth_m(depth_m, None)


def _pixels(message: Any, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """The array (H, W) or (H, W, channels) of an uncompressed image, rows of which may be padded."""
    width, height, step = int(message.width), int(message.height), int(message.step)
    row_bytes = width * channels * dtype.itemsize
    if not 0 < width * height <= MAX_PIXELS:
        raise SourceError(f"the image claims to have {width} x {height} pixels")
    step = step or row_bytes
    data = np.asarray(message.data, dtype=np.uint8).reshape(-1)
    if step < row_bytes or data.size < step * (height - 1) + row_bytes:
        raise SourceError(f"an image of {width} x {height} {message.encoding} has {data.size} bytes in rows of {step}")
    if data.size < step * height:  # some drivers leave out the padding of the last row
        data = np.pad(data, (0, step * height - data.size))
    rows = data[: step * height].reshape(height, step)[:, :row_bytes]
    pixels = np.ascontiguousarray(rows).view(dtype)
    return pixels.reshape(height, width) if channels == 1 else pixels.reshape(height, width, channels)
