"""Shows that a stock lerobot opens and iterates a dataset of this package, and reads what this package reads.

lerobot wants other versions of torch than this package, so it gets a throw-away environment (about 5 minutes and 8 GB,
removed again unless --keep is given). Every frame is read by both: numbers must agree to float32, colour to a level
that two decoders of one video may differ by, depth exactly.

    python scripts/check_lerobot.py runs/grasps
    python scripts/check_lerobot.py runs/grasps --environment /tmp/lerobot-0.4.4 --keep
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.episodes.layout import DEPTH_PREFIX, IMAGE_PREFIX
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode

VERSION = "0.4.4"
NEEDS_BYTES = 10 * 2**30
COLOUR_LEVELS = 2.0  # mean difference of two decoders over a picture, of 255
# Runs in the other environment: iterates the whole dataset and writes what it saw, pictures as every 8th pixel.
PROGRAM = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
folder, out, backend = sys.argv[1:]
dataset = LeRobotDataset("local/dataset", root=folder, video_backend=backend)
columns = {}
for item in (dataset[i] for i in range(len(dataset))):
    for key, value in item.items():
        if key == "task":
            continue
        array = value.numpy()
        columns.setdefault(key, []).append(array[:, ::8, ::8] if array.ndim == 3 else array)
np.savez(out, **{key: np.stack(values) for key, values in columns.items()})
print(json.dumps({"episodes": dataset.num_episodes, "frames": len(dataset), "task": item["task"],
                  "stats": len(dataset.meta.stats)}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--environment", type=Path, help="where to build it; one that is there is used again")
    parser.add_argument("--keep", action="store_true", help="do not remove the environment")
    parser.add_argument("--backend", default="pyav", help="video backend of lerobot: pyav, or torchcodec with a FFmpeg")
    arguments = parser.parse_args()
    environment = arguments.environment or Path(tempfile.mkdtemp(prefix="simtoreal-lerobot-"))
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "seen.npz"
            python = build(environment)
            seen = read_with_lerobot(python, arguments.dataset, out, arguments.backend)
            print(f"lerobot {VERSION} ({arguments.backend}) opened and iterated {arguments.dataset}: {seen}")
            problems = compare(arguments.dataset, dict(np.load(out)))
    finally:
        if not arguments.keep:
            shutil.rmtree(environment, ignore_errors=True)
    print("\n".join(problems) if problems else "every frame reads as this package reads it")
    return 1 if problems else 0


def build(environment: Path) -> Path:
    """The Python of an environment with lerobot in it."""
    python = environment / "bin/python"
    if not (environment / "complete").exists():
        environment.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(environment).free
        if free < NEEDS_BYTES:
            raise SystemExit(
                f"{environment}: {free / 2**30:.1f} GiB are free, {NEEDS_BYTES / 2**30:.0f} GiB are needed"
            )
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"lerobot=={VERSION}"], check=True)
        (environment / "complete").touch()
    return python


def read_with_lerobot(python: Path, dataset: Path, out: Path, backend: str) -> dict[str, Any]:
    """Iterates the dataset with lerobot, offline, with a cache of its own."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [str(python), "-c", PROGRAM, str(dataset.resolve()), str(out), backend],
            env={"HF_HUB_OFFLINE": "1", "HF_HOME": cache, "PATH": "/usr/bin:/bin", "HOME": cache, **_libraries()},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"lerobot failed:\n{done.stderr[-4000:]}")
    summary: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return summary


def _libraries() -> dict[str, str]:
    """Where torchcodec may find a FFmpeg that is not installed."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


def compare(dataset: Path, seen: dict[str, Any]) -> list[str]:
    """Every column of every frame, as lerobot saw it and as this package reads it."""
    problems: list[str] = []
    with DatasetReader(dataset) as reader:
        problems += [f"lerobot lacks {key}" for key in reader.schema.features().keys() - seen.keys()]
        if len(seen["index"]) != reader.num_frames:
            return [f"lerobot has {len(seen['index'])} frames, this package {reader.num_frames}"]
        first = 0
        for episode in reader:
            part = {key: values[first : first + len(episode)] for key, values in seen.items()}
            problems += compare_numbers(episode, part) + compare_pictures(episode, part, reader.schema.depth_unit_m)
            first += len(episode)
    return problems


def compare_numbers(episode: RecordedEpisode, seen: dict[str, Any]) -> list[str]:
    problems = []
    for key, values in seen.items():
        if key.startswith((IMAGE_PREFIX, DEPTH_PREFIX)):
            continue
        # lerobot makes float32 of every float column, times too
        expected = episode.column(key).reshape(values.shape).astype(values.dtype)
        if not np.array_equal(expected, values, equal_nan=expected.dtype.kind == "f"):
            problems.append(f"episode {episode.entry.index}: {key} differs")
    return problems


def compare_pictures(episode: RecordedEpisode, seen: dict[str, Any], unit_m: float) -> list[str]:
    problems = []
    for index in range(len(episode)):
        for name, image in episode[index].images.items():
            where = f"episode {episode.entry.index}, frame {index}, camera {name}"
            if image.rgb is not None:
                theirs = 255 * seen[IMAGE_PREFIX + name][index].transpose(1, 2, 0)
                apart = float(np.abs(theirs - image.rgb[::8, ::8]).mean())
                if apart > COLOUR_LEVELS:
                    problems.append(f"{where}: colours are {apart:.1f} levels apart")
            if image.depth_m is not None:
                steps = np.rint(np.nan_to_num(image.depth_m[::8, ::8], nan=0.0) / unit_m).astype(np.uint16)
                theirs = seen[DEPTH_PREFIX + name][index][0].astype(np.uint16)  # int16 in lerobot, same bits
                if not np.array_equal(theirs, steps):
                    problems.append(f"{where}: depth differs")
    return problems


if __name__ == "__main__":
    sys.exit(main())
