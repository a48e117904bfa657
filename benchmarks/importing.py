"""What it takes to import recordings: memory for a gigabyte of MCAP, and the real data sets episode by episode.

    python benchmarks/importing.py [--quick] [--data ../shared/data]        (pip install -e '.[importers]')

- MCAP: colour and depth at 640 x 480 and 20 Hz with tool pose and gripper at 100 Hz, uncompressed as `ros2 bag record`
  leaves them, made here in a temporary folder. `simtoreal import` runs in a process of its own; what counts is the
  largest resident size that the kernel saw of it, and its processor time.
- A tenth of that recording is imported as well: memory must not grow with the length.
- The real data sets are imported where the folder is there: how many episodes, and how many are broken.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import Row, save

WIDTH_PX, HEIGHT_PX, RATE_HZ, ARM_HZ = 640, 480, 20.0, 100.0
START_NS = 1_700_000_000_000_000_000
TARGET_MB = 500.0
MAPPING = """
cameras: {wrist: {rgb: /image, depth: /depth, K: [600, 600, 319.5, 239.5], mount: wrist,
                  T_mount_cam: [0, 0, 0, 0, 0, 0, 1]}}
tool: {topic: /tool}
gripper: {value: "/gripper:data", unit_m: 1.0}
"""
_CHILD = """
import resource, sys
from simtoreal.cli import main
status = main(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
print("RESULT", status, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)
"""


class Import(NamedTuple):
    """What one import took, and what the dataset holds."""

    status: int
    peak_mb: float
    cpu_s: float
    episodes: int
    frames: int


def write_log(path: Path, num_bytes: float) -> None:
    """An MCAP file of about this size."""
    from mcap.writer import CompressionType, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = {"/image": "sensor_msgs/msg/Image", "/depth": "sensor_msgs/msg/Image"}
    kinds |= {"/tool": "geometry_msgs/msg/PoseStamped", "/gripper": "std_msgs/msg/Float64"}
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (HEIGHT_PX // 8, WIDTH_PX // 4, 3), dtype=np.uint8)
    scene = np.repeat(np.repeat(scene, 8, axis=0), 8, axis=1)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="simtoreal benchmark")
        channels = {}
        for topic, kind in kinds.items():
            definition = store.generate_msgdef(kind, ros_version=2)[0].encode()
            channels[topic] = writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", definition))
        step = 0
        while stream.tell() < num_bytes:
            for t_s, topic, message in _messages(store, scene, step):
                at_ns = START_NS + round(1e9 * t_s)
                data = bytes(store.serialize_cdr(message, kinds[topic]))
                writer.add_message(channels[topic], at_ns, data, at_ns)
            step += 1
        writer.finish()


def _messages(store: Any, scene: np.ndarray[Any, Any], step: int) -> list[tuple[float, str, Any]]:
    """What arrives in one period of the camera."""
    types, start_s = store.types, step / RATE_HZ

    def header(t_s: float) -> Any:
        ns = START_NS + round(1e9 * t_s)
        stamp = types["builtin_interfaces/msg/Time"](sec=ns // 10**9, nanosec=ns % 10**9)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    def image(encoding: str, pixels: np.ndarray[Any, Any]) -> Any:
        return types["sensor_msgs/msg/Image"](
            header=header(start_s),
            height=HEIGHT_PX,
            width=WIDTH_PX,
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=np.ascontiguousarray(pixels).view(np.uint8).ravel(),
        )

    found: list[tuple[float, str, Any]] = []
    for index in range(round(ARM_HZ / RATE_HZ)):
        t_s = start_s + index / ARM_HZ
        pose = types["geometry_msgs/msg/Pose"](
            position=types["geometry_msgs/msg/Point"](x=0.4 + 0.1 * math.sin(t_s), y=0.0, z=0.2),
            orientation=types["geometry_msgs/msg/Quaternion"](x=1.0, y=0.0, z=0.0, w=0.0),
        )
        found.append((t_s, "/tool", types["geometry_msgs/msg/PoseStamped"](header=header(t_s), pose=pose)))
        found.append((t_s, "/gripper", types["std_msgs/msg/Float64"](data=0.04)))
    left = round(300 + 300 * math.sin(0.7 * start_s))
    depth = np.full((HEIGHT_PX, WIDTH_PX), 600, np.uint16)
    depth[:, ::7] = 500 + step % 50
    found.append((start_s + 0.003, "/image", image("rgb8", np.ascontiguousarray(scene[:, left : left + WIDTH_PX]))))
    found.append((start_s + 0.003, "/depth", image("16UC1", depth)))
    return sorted(found, key=lambda entry: entry[0])


def run_import(out: Path, *settings: str) -> Import:
    """Runs `simtoreal import` in a process of its own."""
    command = [sys.executable, "-c", _CHILD, "import", f"out={out}", *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = [line.split() for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not result or result[0][1] == "2":
        raise RuntimeError(done.stderr)
    info = json.loads((out / "meta" / "info.json").read_text(encoding="utf-8"))
    _, status, peak_mb, cpu_s = result[0]
    return Import(int(status), float(peak_mb), float(cpu_s), info["total_episodes"], info["total_frames"])


def mcap_rows(folder: Path, num_bytes: float) -> list[Row]:
    """Memory for a recording and for a tenth of it."""
    (folder / "topics.yaml").write_text(MAPPING, encoding="utf-8")
    rows = []
    for name, size in (("a tenth", num_bytes / 10), ("all", num_bytes)):
        log = folder / "log.mcap"
        write_log(log, size)
        size_mb = log.stat().st_size / 1e6
        done = run_import(folder / f"out {name}", f"source={log}", f"mapping={folder / 'topics.yaml'}")
        log.unlink()
        is_figure = name == "all"
        rows.append(
            Row(
                f"importing {size_mb:.0f} MB of MCAP, {done.frames} frames: peak memory",
                f"{done.peak_mb:.0f} MB, {done.cpu_s:.0f} s of processor time",
                f"under {TARGET_MB:.0f} MB" if is_figure else "",
                done.peak_mb < TARGET_MB if is_figure else None,
                {"size_mb": size_mb, **done._asdict()},
            )
        )
    return rows


def real_rows(folder: Path, data: Path) -> list[Row]:
    """The real data sets, where they are there."""
    rows = []
    for name, expected in (("bridge", 25), ("cornell", 580)):
        if not (data / name).is_dir():
            print(f"{data / name} is not there: left out", file=sys.stderr)
            continue
        done = run_import(folder / name, f"source={data / name}")
        rows.append(
            Row(
                f"episodes of {name} imported and verified",
                f"{done.episodes}, {done.cpu_s:.0f} s of processor time, {done.peak_mb:.0f} MB",
                f"{expected}",
                done.episodes == expected and done.status == 0,
                done._asdict(),
            )
        )
    return rows


def main() -> None:
    """Imports, measures, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50 MB instead of 1 GB")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real data sets")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = mcap_rows(Path(scratch), 50e6 if arguments.quick else 1e9)
        rows += real_rows(Path(scratch), arguments.data)
    save("importing", rows, arguments.quick)


if __name__ == "__main__":
    main()
