"""What goes over the wire: the keys of observations and actions, and how they become the records of `contracts`.

The keys of openpi carry the picture (`observation/image` of a camera that stands, `observation/wrist_image` of one on
the wrist), `observation/state` and `prompt`; further keys below `observation/` carry the rest of an `Observation`, in
its units and frames. Keys below `simtoreal/` are about the conversation. docs/serving.md has the table.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, CameraImage, FloatArray, Observation

PROTOCOL = 1
IMAGE, WRIST_IMAGE = "observation/image", "observation/wrist_image"
DEPTH, STATE, T_S = "observation/depth_m", "observation/state", "observation/t_s"
K_KEY, CAMERA, DISTORTION = "observation/K", "observation/T_base_cam", "observation/distortion"
TOOL, WIDTH = "observation/T_base_tcp", "observation/gripper_width_m"
JOINTS, MORE_CAMERAS = "observation/joint_positions_rad", "observation/more_cameras"
ACTIONS, TIMING = "actions", "server_timing"
CONTROL, ACKNOWLEDGED, EPISODE_START = "__ctrl__", "__ack__", "episode_start"  # as openpi's clients say it
SEQUENCE, DEADLINE_S, SENT = "simtoreal/sequence", "simtoreal/deadline_s", "simtoreal/sent"
CALL, ACTION = "simtoreal/call", "simtoreal/action"
ERROR, ERROR_KIND = "error", "simtoreal/error_kind"
SERVES, PROTOCOL_KEY, CONTROL_HZ = "simtoreal/serves", "simtoreal/protocol", "simtoreal/control_hz"
IMAGE_KEY, REQUIRED_KEYS, MAX_BYTES = "simtoreal/image_key", "simtoreal/required_keys", "simtoreal/max_message_bytes"

ACTION_DIM = 7
_IDENTITY = np.eye(3)
_RIGID_TOLERANCE = 1e-3
_WIDTH_NOISE_M, _MAX_WIDTH_M = 0.005, 0.5  # wider is millimetres taken for metres


class Field(NamedTuple):
    """One key of an observation: its shape, where -1 is any size, and what it means."""

    shape: tuple[int, ...]
    about: str


FIELDS = {
    IMAGE: Field((-1, -1, 3), "uint8, red first, from a camera that stands"),
    WRIST_IMAGE: Field((-1, -1, 3), "uint8, red first, from the camera on the wrist"),
    DEPTH: Field((-1, -1), "float32, metres along the optical axis, nan is no return"),
    K_KEY: Field((3, 3), "camera matrix, pixels"),
    CAMERA: Field((4, 4), "pose of the camera at capture, base frame"),
    DISTORTION: Field((5,), "OpenCV's k1 k2 p1 p2 k3"),
    TOOL: Field((4, 4), "measured pose of the tool, base frame"),
    WIDTH: Field((), "measured opening of the jaws, metres"),
    JOINTS: Field((-1,), "joint positions, radians"),
    STATE: Field((7,), f"tool position in metres, rotation vector in radians, opening in metres; in place of {TOOL}"),
    T_S: Field((), "time of capture on the client's monotonic clock, seconds"),
}


class MessageError(ValueError):
    """A message lacks a key or holds what cannot be meant; names the key."""


def observation_message(observation: Observation, image_key: str = IMAGE) -> dict[str, Any]:
    """An observation as a message, without the pictures of `more_cameras`.

    Args:
        observation: what a controller measured.
        image_key: `IMAGE` or `WRIST_IMAGE`, by where the camera sits.
    """
    message: dict[str, Any] = {
        image_key: observation.rgb,
        DEPTH: observation.depth_m,
        K_KEY: observation.K,
        CAMERA: observation.T_base_cam,
        DISTORTION: observation.distortion,
        TOOL: observation.T_base_tcp,
        WIDTH: float(observation.gripper_width_m),
        JOINTS: observation.joint_positions_rad,
        T_S: float(observation.t_s),
    }
    return {key: value for key, value in message.items() if value is not None}


def full_message(observation: Observation) -> dict[str, Any]:
    """An observation as a message, with the pictures of `more_cameras`."""
    message = observation_message(observation)
    if observation.more_cameras is not None:
        message[MORE_CAMERAS] = {name: _camera_message(image) for name, image in observation.more_cameras.items()}
    return message


def _camera_message(image: CameraImage) -> dict[str, Any]:
    message = {IMAGE: image.rgb, DEPTH: image.depth_m, K_KEY: image.K, CAMERA: image.T_base_cam, T_S: float(image.t_s)}
    message[DISTORTION] = image.distortion
    return {key: value for key, value in message.items() if value is not None}


def read_observation(
    message: Mapping[str, Any], image_key: str = IMAGE, required: Collection[str] = (), now_s: float | None = None
) -> Observation:
    """The observation in a message.

    Args:
        message: as `observation_message` writes it.
        image_key: where the picture lies.
        required: keys that may not be missing, besides camera matrix, camera pose, tool and opening.
        now_s: time of capture of a message that does not say; None if it has to.

    Raises:
        MessageError: a key is missing, or its value has another shape, is not finite or no pose; names it.
    """
    for key in required:
        if message.get(key) is None:
            raise _missing(key)
    image = _read_camera(message, image_key, now_s)
    T_base_tcp, width_m = _read_tool(message)
    joints = _numbers(message, JOINTS) if message.get(JOINTS) is not None else None
    more = message.get(MORE_CAMERAS)
    if more is not None and not (isinstance(more, dict) and all(isinstance(one, dict) for one in more.values())):
        raise MessageError(f"{MORE_CAMERAS} must be a map of cameras by name")
    return Observation(
        image.t_s,
        image.rgb,
        image.depth_m,
        image.K,
        image.T_base_cam,
        T_base_tcp,
        width_m,
        joints,
        image.distortion,
        None if more is None else {str(name): _read_camera(one, IMAGE, now_s) for name, one in more.items()},
    )


def _read_camera(message: Mapping[str, Any], image_key: str, now_s: float | None) -> CameraImage:
    rgb = message.get(image_key)
    if rgb is not None:
        rgb = _array(message, image_key)
        if rgb.dtype != np.uint8:
            raise MessageError(f"{image_key} must be uint8, got {rgb.dtype}")
    depth = None if message.get(DEPTH) is None else _array(message, DEPTH)
    if depth is not None and (depth.dtype.kind != "f" or np.isinf(depth).any()):
        raise MessageError(f"{DEPTH} must be floats in metres, with nan and not inf where there is no return")
    if rgb is not None and depth is not None and rgb.shape[:2] != depth.shape:
        raise MessageError(
            f"{DEPTH} has the shape {depth.shape}, but {image_key} {rgb.shape}: register one to the other"
        )
    return CameraImage(
        float(_numbers(message, T_S)) if now_s is None or message.get(T_S) is not None else now_s,
        rgb,
        None if depth is None else depth.astype(np.float32, copy=False),
        _numbers(message, K_KEY),
        _pose(message, CAMERA),
        None if message.get(DISTORTION) is None else _numbers(message, DISTORTION),
    )


def _read_tool(message: Mapping[str, Any]) -> tuple[FloatArray, float]:
    if message.get(TOOL) is not None or message.get(STATE) is None:
        width_m, T_base_tcp = float(_numbers(message, WIDTH)), _pose(message, TOOL)
    else:
        state = _numbers(message, STATE)
        width_m, T_base_tcp = float(state[6]), frames.transform(state[:3], frames.rotation_from_vector(state[3:6]))
    if not -_WIDTH_NOISE_M <= width_m < _MAX_WIDTH_M:
        raise MessageError(f"{WIDTH}={width_m:g} is out of range: 0 to {_MAX_WIDTH_M} m between the jaws")
    return T_base_tcp, width_m


def _missing(key: str) -> MessageError:
    field = FIELDS[key]
    shape = str(field.shape).replace("-1", "any")
    return MessageError(f"{key} is missing: {f'shape {shape}, ' if field.shape else ''}{field.about}")


def _array(message: Mapping[str, Any], key: str) -> NDArray[Any]:
    value, shape = message.get(key), FIELDS[key].shape
    if value is None:
        raise _missing(key)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise MessageError(f"{key} must be numbers: {FIELDS[key].about}")
    fits = array.ndim == len(shape) and all(want in (-1, is_) for want, is_ in zip(shape, array.shape, strict=True))
    if not fits or array.size == 0:
        raise MessageError(f"{key} has the shape {array.shape}, must be {str(shape).replace('-1', 'any')}")
    return array


def _numbers(message: Mapping[str, Any], key: str) -> FloatArray:
    array = _array(message, key).astype(np.float64)
    if not np.isfinite(array).all():
        raise MessageError(f"{key} must be finite: {FIELDS[key].about}")
    return array


def _pose(message: Mapping[str, Any], key: str) -> FloatArray:
    T = _numbers(message, key)
    R = T[:3, :3]
    is_rotation = np.abs(R @ R.T - _IDENTITY).max() < _RIGID_TOLERANCE and np.linalg.det(R) > 0.0
    if not is_rotation or T[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise MessageError(f"{key} must be a rigid transform: a rotation, a translation, and 0 0 0 1 below")
    return T


def action_row(action: Action) -> FloatArray:
    """An action as a row (7,): translation in metres, rotation vector in radians, opening in metres."""
    return np.array([*action.delta_m, *action.delta_rotation_rad, action.gripper_width_m], dtype=np.float64)


def read_action(message: Mapping[str, Any], key: str) -> Action:
    """The action in a message, the first where there are several.

    Raises:
        MessageError: it is missing, of another shape or not finite; names the field of `Action`.
    """
    try:
        rows = np.atleast_2d(np.asarray(message.get(key), dtype=np.float64))
    except (TypeError, ValueError):
        rows = np.empty((0, 0))
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] != ACTION_DIM:
        raise MessageError(f"{key} must be numbers of shape ({ACTION_DIM},) or (horizon, {ACTION_DIM})")
    action = Action(rows[0, :3].copy(), rows[0, 3:6].copy(), float(rows[0, 6]))
    for name, value in action._asdict().items():
        if not np.isfinite(value).all():
            raise MessageError(f"{name} must be finite, got {value}")
    return action


def sequence_of(message: Mapping[str, Any]) -> int | None:
    """The number of a request or an answer; None where it has none, as those of openpi's clients.

    Raises:
        MessageError: it is no whole number from 0 on.
    """
    number = message.get(SEQUENCE)
    if number is not None and not (type(number) is int and number >= 0):
        raise MessageError(f"{SEQUENCE} must be a whole number from 0 on")
    return number


def deadline_of(message: Mapping[str, Any]) -> float | None:
    """How long after its arrival an answer to a request is of use, seconds; None for ever.

    Raises:
        MessageError: it is no positive number.
    """
    value = message.get(DEADLINE_S)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 < value < np.inf:
        raise MessageError(f"{DEADLINE_S} must be a positive number of seconds")
    return float(value)


def own_ms(answer: Mapping[str, Any]) -> float:
    """What the policy or the controller itself took, milliseconds; 0 where the answer does not say."""
    timing = answer.get(TIMING)
    value = timing.get("infer_ms") if isinstance(timing, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0
