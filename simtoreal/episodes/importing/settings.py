"""The settings of `simtoreal import`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simtoreal.schema import option


class SourceFormat(StrEnum):
    """Formats that recordings are imported from; `auto` looks at the files."""

    AUTO = "auto"
    LEROBOT = "lerobot"
    ROBOMIMIC = "robomimic"
    MCAP = "mcap"
    ROSBAG = "rosbag"
    RLDS = "rlds"
    CORNELL = "cornell"
    JACQUARD = "jacquard"
    IMAGES = "images"


class Needed(StrEnum):
    """What an imported episode can be required to have."""

    CALIBRATION = "calibration"
    HAND_EYE = "hand_eye"
    POSE = "pose"
    GRIPPER = "gripper"
    JOINTS = "joints"
    DEPTH = "depth"
    ACTION = "action"
    SUCCESS = "success"


@dataclass(frozen=True)
class ImportConfig:
    """Turn recordings of other formats into a LeRobotDataset v3.0; what is imported already is skipped."""

    source: Path | None = option(None, "recording to import: a file or a folder; it must be given")
    out: Path = option(Path("runs/import"), "dataset folder, begun or appended to")
    format: SourceFormat = option(SourceFormat.AUTO, "format of the recording; auto looks at the files")
    mapping: str | None = option(None, "what columns or topics mean: a YAML file, or the name of a shipped mapping")
    fps: float | None = option(
        None, "frames per second; null is as the recording or the mapping says", unit="Hz", minimum=0.01, maximum=1000.0
    )
    gripper_open_m: float | None = option(None, "opening of the open gripper", unit="m", minimum=1e-4, maximum=1.0)
    gripper_closed_m: float | None = option(None, "opening of the closed gripper", unit="m", minimum=0.0, maximum=1.0)
    depth_scale_m: float | None = option(
        None, "length of one step of integer depth images, 0.001 for millimetres", unit="m", minimum=1e-6, maximum=1.0
    )
    success: bool | None = option(None, "whether the episodes succeeded; null is as the recording says")
    task: str | None = option(None, "task in words; null is as the recording says")
    object_name: str | None = option(None, "what is grasped")
    robot: str | None = option(None, "name of the robot; null is as the mapping says")
    domain: str | None = option(None, "real, pybullet, mujoco ...; null is as the format implies")
    require: tuple[Needed, ...] = option((), "what every episode must have; one without it is reported and left out")
    max_gap_s: float = option(
        0.2, "longest gap that poses are interpolated over", unit="s", minimum=0.001, maximum=10.0
    )
    max_episodes: int | None = option(None, "episodes to import at most", minimum=1, maximum=100_000_000)
    lossless_rgb: bool = option(False, "colour as PNG instead of H.264; a dataset keeps what it was begun with")
    depth_unit_m: float = option(0.0005, "step of the stored depth", unit="m", minimum=1e-5, maximum=0.001)
