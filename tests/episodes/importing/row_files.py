"""Small recordings of rows as other software writes them: RLDS, robomimic, LeRobotDataset v2.1 and v3.0, CSV."""

import json
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simtoreal.episodes.importing.tfrecord import masked_crc32c

SIZE_PX = 32
FPS = 10


def picture(number: int) -> np.ndarray[Any, Any]:
    """RGB whose red says the number, with blue in the upper left quarter."""
    rgb = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    rgb[..., 0] = 20 * number % 256
    rgb[: SIZE_PX // 2, : SIZE_PX // 2, 2] = 220
    return rgb


def png(rgb: np.ndarray[Any, Any]) -> bytes:
    """The bytes of a PNG file of an image (H, W, 3) or of depth (H, W)."""
    done, data = cv2.imencode(".png", rgb[..., ::-1] if rgb.ndim == 3 else rgb)
    assert done
    return bytes(data.tobytes())


def state(index: int) -> list[float]:
    """x y z roll pitch yaw gripper of a step."""
    return [0.2 + 0.01 * index, -0.1, 0.15 - 0.005 * index, 0.1, -0.2, 0.3 + 0.05 * index, 1.0 - 0.1 * index]


# RLDS ----------------------------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def example(features: Mapping[str, Sequence[Any]]) -> bytes:
    """A serialized tf.train.Example."""
    entries = b""
    for name, values in features.items():
        if isinstance(values[0], bytes):
            kind, content = 1, b"".join(_field(1, value) for value in values)
        elif isinstance(values[0], float):
            kind, content = 2, _field(1, struct.pack(f"<{len(values)}f", *values))
        else:
            kind, content = 3, _field(1, b"".join(_varint(value) for value in values))
        entries += _field(1, _field(1, name.encode()) + _field(2, _field(kind, content)))
    return _field(1, entries)


def record(data: bytes) -> bytes:
    """A record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def rlds_episode(num_steps: int = 4) -> dict[str, list[Any]]:
    """Features of an episode as BridgeData has them."""
    steps = range(num_steps)
    return {
        "steps/observation/image_0": [png(picture(index)) for index in steps],
        "steps/observation/image_1": [png(picture(index)) for index in steps],
        "steps/observation/image_2": [png(picture(index)) for index in steps],
        "steps/observation/state": [value for index in steps for value in state(index)],
        "steps/action": [value for index in steps for value in (0.01, 0.0, -0.005, 0.0, 0.0, 0.05, 1.0)],
        "steps/language_instruction": [b"lift the cup" for _ in steps],
        "steps/is_last": [int(index == num_steps - 1) for index in steps],
    }


def write_rlds(folder: Path, episodes: Sequence[bytes], name: str = "bridge_dataset") -> Path:
    """A folder as tensorflow_datasets leaves it."""
    folder.mkdir(parents=True, exist_ok=True)

    def tensor(size: int) -> dict[str, Any]:
        return {"tensor": {"shape": {"dimensions": [str(size)]}, "dtype": "float32"}}

    images = {f"image_{index}": {"image": {"shape": {"dimensions": ["32", "32", "3"]}}} for index in range(3)}
    steps = {
        "observation": {"featuresDict": {"features": {**images, "state": tensor(7)}}},
        "action": tensor(7),
        "language_instruction": {"text": {}},
        "is_last": {"tensor": {"shape": {}}},
    }
    tree = {"featuresDict": {"features": {"steps": {"sequence": {"feature": {"featuresDict": {"features": steps}}}}}}}
    (folder / "features.json").write_text(json.dumps(tree))
    (folder / "dataset_info.json").write_text(json.dumps({"name": name}))
    (folder / f"{name}-train.tfrecord-00000-of-00001").write_bytes(b"".join(map(record, episodes)))
    return folder


# robomimic -----------------------------------------------------------------------------------------------------------

QUAT_XYZW = np.array([1.0, 0.0, 0.0, 0.0])  # the hand points down


def write_robomimic(path: Path, num_demos: int = 2, num_steps: int = 4, env_args: Any = None, **options: Any) -> Path:
    """An HDF5 file of demonstrations; `options` go to h5py for the images."""
    kwargs = {"control_freq": 20, "controller_configs": {"output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5]}}
    env_args = {"env_name": "Lift", "type": 1, "env_kwargs": kwargs} if env_args is None else env_args
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps(env_args)
        for number in range(num_demos):
            demo = file["data"].create_group(f"demo_{number}")
            demo.attrs["num_samples"] = num_steps
            steps = range(num_steps)
            images = np.stack([picture(index) for index in steps])
            demo.create_dataset("obs/agentview_image", data=images, **options)
            demo.create_dataset("obs/agentview_depth", data=np.full((num_steps, SIZE_PX, SIZE_PX, 1), 0.7, np.float32))
            demo.create_dataset("obs/robot0_eef_pos", data=[state(index)[:3] for index in steps])
            demo.create_dataset("obs/robot0_eef_quat", data=np.tile(QUAT_XYZW, (num_steps, 1)))
            demo.create_dataset("obs/robot0_gripper_qpos", data=np.tile([0.03, -0.02], (num_steps, 1)))
            demo.create_dataset("obs/robot0_joint_pos", data=np.zeros((num_steps, 7)))
            demo.create_dataset("actions", data=np.tile([1.0, 0.0, -0.5, 0.0, 0.0, 0.2, -1.0], (num_steps, 1)))
            demo.create_dataset("rewards", data=[0.0] * (num_steps - 1) + [float(number == 0)])
    return path


# LeRobotDataset ------------------------------------------------------------------------------------------------------

STATE_NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]


def write_video(path: Path, pictures: Sequence[np.ndarray[Any, Any]]) -> None:
    """H.264 in mp4 at `FPS`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width = stream.height = SIZE_PX
        stream.pix_fmt, stream.options = "yuv420p", {"g": "2", "crf": "10"}
        for rgb in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def lerobot_info(version: str, as_video: bool) -> dict[str, Any]:
    """`meta/info.json` as lerobot writes it."""
    shape = {"dtype": "video" if as_video else "image", "shape": [SIZE_PX, SIZE_PX, 3], "names": ["h", "w", "c"]}
    v3 = version == "v3.0"
    return {
        "codebase_version": version,
        "robot_type": "so101",
        "fps": FPS,
        "chunks_size": 1000,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if v3
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if v3
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": {"dtype": "float32", "shape": [7], "names": STATE_NAMES},
            "observation.images.front": shape,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": {"dtype": "int64", "shape": [1], "names": None},
            "episode_index": {"dtype": "int64", "shape": [1], "names": None},
        },
    }


def _rows(episode: int, num_steps: int, as_video: bool) -> dict[str, list[Any]]:
    steps = range(num_steps)
    rows: dict[str, list[Any]] = {
        "observation.state": [state(index) for index in steps],
        "timestamp": [index / FPS for index in steps],
        "frame_index": list(steps),
        "episode_index": [episode] * num_steps,
    }
    if not as_video:
        rows["observation.images.front"] = [
            {"bytes": png(picture(index + 4 * episode)), "path": "x.png"} for index in steps
        ]
    return rows


def write_lerobot(folder: Path, version: str = "v3.0", as_video: bool = True, num_episodes: int = 2) -> Path:
    """A dataset of stock lerobot; in v3.0 all episodes share one file of rows and one video."""
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(lerobot_info(version, as_video)))
    lengths = [4 + index for index in range(num_episodes)]
    if version == "v3.0":
        _write_v3(folder, lengths, as_video)
    else:
        _write_v2(folder, lengths, as_video)
    return folder


def _write_v2(folder: Path, lengths: Sequence[int], as_video: bool) -> None:
    (folder / "data" / "chunk-000").mkdir(parents=True)
    lines = []
    for episode, length in enumerate(lengths):
        table = pa.table(_rows(episode, length, as_video))
        pq.write_table(table, folder / "data" / "chunk-000" / f"episode_{episode:06d}.parquet")
        lines.append(json.dumps({"episode_index": episode, "tasks": ["pick the cube"], "length": length}))
        if as_video:
            video = folder / "videos" / "chunk-000" / "observation.images.front" / f"episode_{episode:06d}.mp4"
            write_video(video, [picture(index + 4 * episode) for index in range(length)])
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")


def _write_v3(folder: Path, lengths: Sequence[int], as_video: bool) -> None:
    for name in ("data", "meta/episodes"):
        (folder / name / "chunk-000").mkdir(parents=True)
    tables, entries, pictures = [], [], []
    for episode, length in enumerate(lengths):
        entry = {
            "episode_index": episode,
            "length": length,
            "tasks": ["pick the cube"],
            "dataset_from_index": sum(lengths[:episode]),
            "data/chunk_index": 0,
            "data/file_index": 0,
        }
        if as_video:
            key = "videos/observation.images.front"
            entry |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0, f"{key}/from_timestamp": len(pictures) / FPS}
        tables.append(pa.table(_rows(episode, length, as_video)))
        entries.append(entry)
        pictures += [picture(index + 4 * episode) for index in range(length)]
    pq.write_table(pa.concat_tables(tables), folder / "data/chunk-000/file-000.parquet", row_group_size=3)
    pq.write_table(pa.Table.from_pylist(entries), folder / "meta/episodes/chunk-000/file-000.parquet")
    if as_video:
        write_video(folder / "videos/observation.images.front/chunk-000/file-000.mp4", pictures)
