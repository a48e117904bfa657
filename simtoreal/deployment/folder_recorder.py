"""Recording that survives anything, with nothing but OpenCV: pictures as PNG, one line of CSV per frame.

A thread writes the pictures of a frame and then, with one call, its line; so a line never names a picture that is not
there, and `kill -9` loses what waits in the queue and nothing before it. `simtoreal import` turns the folder into a
dataset. The queue is bounded: where the disk cannot keep up, frames are counted as lost rather than the arm kept
waiting.
"""

import csv
import io
import json
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.runtime import Step
from simtoreal.schema import ConfigError

FRAMES, EPISODES, MAPPING, EVENTS = "frames.csv", "episodes.csv", "mapping.yaml", "events.jsonl"
DEPTH_SCALE_M = 0.0001  # of a step of the 16-bit PNG; reaches 6.5 m
QUEUE_FRAMES = 64
Mount = Literal["wrist", "external"]
_APART_S = 0.0001  # between rows that saw the same
_POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
_ACTION = ("action_x", "action_y", "action_z", "action_rx", "action_ry", "action_rz", "action_width_m")
_SENT = tuple(name.replace("action", "sent") for name in _ACTION)


class FolderRecorder:
    """A subscriber of the loop. Call `finish` once the outcome of an episode is known, and `close` at the end.

    Args:
        folder: begun, or gone on with behind the episodes that it holds.
        mount: where the camera sits.
        robot: its name.

    Raises:
        ConfigError: the folder holds episodes with other columns.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, mount: Mount, robot: str, fps: float) -> None:
        self.folder, self._mount, self._robot, self._fps = folder, mount, robot, fps
        (folder / "images").mkdir(parents=True, exist_ok=True)
        self.episode = _next_episode(folder)
        self.num_frames = self.num_lost = 0
        self._header: list[str] = []
        self._queue: queue.Queue[Step | None] = queue.Queue(QUEUE_FRAMES)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._seen_s = self._written_s = 0.0  # of the latest row
        self._thread.start()

    def episode_start(self) -> None:
        self._index = 0

    def step(self, step: Step) -> None:
        """Queues a frame; never waits.

        Raises:
            OSError: an earlier frame could not be written.
        """
        if self._error is not None:
            raise self._error
        try:
            self._queue.put_nowait(_kept(step))
            self.num_frames += 1
        except queue.Full:
            self.num_lost += 1

    def episode_end(self) -> None:
        """Waits until the frames lie in their files."""
        self._queue.join()

    def finish(self, success: bool | None, failure: str, events: Sequence[Any] = ()) -> None:
        """Writes how the episode ended and which limits acted, and goes to the next one."""
        text = {True: "true", False: "false", None: ""}[success]
        if not (self.folder / EPISODES).exists():
            _append(self.folder / EPISODES, ["episode", "success", "failure"])
        _append(self.folder / EPISODES, [self.episode, text, failure])
        if events:
            lines = "".join(json.dumps({"episode": self.episode, **_plain(event)}) + "\n" for event in events)
            _append_text(self.folder / EVENTS, lines)
        self.episode += 1

    def close(self) -> None:
        """Ends the thread. Safe to call again."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while True:
            step = self._queue.get()
            try:
                if step is None:
                    return
                if self._error is None:
                    self._write(step)
            except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
                self._error = error
            finally:
                self._queue.task_done()

    def _write(self, step: Step) -> None:
        seen = step.observation
        if not self._header:
            self._header = _header(seen)
            _begin(self.folder, self._header)
            self._write_mapping(seen)
        # A loop that is faster than what it looks at sees the same twice; each row needs a time of its own.
        again = step.index > 0 and seen.t_s == self._seen_s
        t_s = self._written_s + _APART_S if again else seen.t_s
        self._seen_s, self._written_s = seen.t_s, t_s
        row: dict[str, Any] = {"episode": self.episode, "t_s": f"{t_s:.6f}"}
        row |= self._pictures(seen, f"{self.episode:05d}_{step.index:06d}")
        pose = (*seen.T_base_tcp[:3, 3], *frames.rotation_to_quat(seen.T_base_tcp[:3, :3]))
        row |= dict(zip(_POSE, (f"{value:.7g}" for value in pose), strict=True))
        row["gripper_width_m"] = f"{seen.gripper_width_m:.6g}"
        joints = () if seen.joint_positions_rad is None else seen.joint_positions_rad
        row |= {f"joint_{index + 1}_rad": f"{value:.7g}" for index, value in enumerate(joints)}
        row |= _action_row(_ACTION, step.commanded) | _action_row(_SENT, step.action)
        _append(self.folder / FRAMES, [row.get(name, "") for name in self._header])

    def _pictures(self, seen: Observation, stem: str) -> dict[str, str]:
        named = {}
        if seen.rgb is not None:
            named["rgb"] = f"images/{stem}_rgb.png"
            _write_png(self.folder / named["rgb"], cv2.cvtColor(seen.rgb, cv2.COLOR_RGB2BGR))
        if seen.depth_m is not None:
            steps = np.nan_to_num(seen.depth_m / DEPTH_SCALE_M, nan=0.0, posinf=0.0, neginf=0.0)
            named["depth"] = f"images/{stem}_depth.png"
            _write_png(self.folder / named["depth"], np.clip(np.round(steps), 0, 65535).astype(np.uint16))
        return named

    def _write_mapping(self, seen: Observation) -> None:
        base = frames.invert(seen.T_base_tcp) if self._mount == "wrist" else np.eye(4)
        T = base @ seen.T_base_cam
        camera: dict[str, Any] = {
            "mount": self._mount,
            "K": [float(seen.K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))],
        }
        camera["T_mount_cam"] = [float(value) for value in (*T[:3, 3], *frames.rotation_to_quat(T[:3, :3]))]
        camera |= {"rgb": "rgb"} if seen.rgb is not None else {}
        camera |= {"depth": "depth", "depth_scale_m": DEPTH_SCALE_M} if seen.depth_m is not None else {}
        if seen.distortion is not None:
            camera["distortion"] = [float(value) for value in seen.distortion]
        mapping = {
            "about": "written by simtoreal deploy",
            "fps": float(self._fps),
            "robot": self._robot,
            "time": "t_s",
            "cameras": {self._mount: camera},
            "tool": {"position": "tool.position", "rotation": "tool.rotation", "rotation_is": "quat_xyzw"},
            "gripper": {"value": "gripper_width_m", "unit_m": 1.0},
            "action": {
                "kind": "delta",
                "position": "action.position",
                "rotation": "action.rotation",
                "rotation_is": "rotation_vector",
                "gripper": {"value": "action_width_m", "unit_m": 1.0},
            },
        }
        if seen.joint_positions_rad is not None:
            mapping["joints"] = {"value": "joints"}
        (self.folder / MAPPING).write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")


def _kept(step: Step) -> Step:
    """A step whose pictures are its own: drivers may use their memory again."""
    seen = step.observation
    rgb = None if seen.rgb is None else seen.rgb.copy()
    depth_m = None if seen.depth_m is None else seen.depth_m.copy()
    return replace(step, observation=seen._replace(rgb=rgb, depth_m=depth_m, T_base_tcp=seen.T_base_tcp.copy()))


def _header(seen: Observation) -> list[str]:
    pictures = [name for name, picture in (("rgb", seen.rgb), ("depth", seen.depth_m)) if picture is not None]
    joints = [] if seen.joint_positions_rad is None else range(len(seen.joint_positions_rad))
    named = [f"joint_{index + 1}_rad" for index in joints]
    return ["episode", "t_s", *pictures, *_POSE, "gripper_width_m", *named, *_ACTION, *_SENT]


def _begin(folder: Path, header: list[str]) -> None:
    path = folder / FRAMES
    if not path.exists():
        _append(path, header)
        return
    _drop_half_line(path)
    with path.open(encoding="utf-8", newline="") as stream:
        before = next(csv.reader(stream), [])
    if before != header:
        raise ConfigError(f"{path} has other columns than this controller gives: record to another folder with out=DIR")


def _drop_half_line(path: Path) -> None:
    """Cuts off what a power cut left of a line."""
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def _next_episode(folder: Path) -> int:
    if not (folder / FRAMES).is_file():
        return 0
    _drop_half_line(folder / FRAMES)
    with (folder / FRAMES).open(encoding="utf-8", newline="") as stream:
        return max((int(row["episode"]) for row in csv.DictReader(stream)), default=-1) + 1


def _action_row(names: Sequence[str], action: Action) -> dict[str, str]:
    values = (*action.delta_m, *action.delta_rotation_rad, action.gripper_width_m)
    return dict(zip(names, (f"{value:.7g}" for value in values), strict=True))


def _append(path: Path, values: Sequence[Any]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    _append_text(path, line.getvalue())


def _append_text(path: Path, text: str) -> None:
    # One call of the system: a process that is killed has written all of a line or nothing.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _write_png(path: Path, picture: np.ndarray[Any, Any]) -> None:
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise OSError(f"{path}: the picture could not be encoded")
    path.write_bytes(data.tobytes())


def _plain(event: Any) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in event._asdict().items()}
