"""Every command of docs/importing.md is run on a recording of the kind it is for."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from ros_logs import arm_log, write_mcap, write_rosbag2
from row_files import example, picture, png, rlds_episode, write_lerobot, write_rlds, write_robomimic
from test_image_folder import folder_of_images

from simtoreal import cli
from simtoreal.episodes.importing.row_mapping import parse_rows, read_yaml, shipped_mappings
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.verify import verify

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "importing.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"simtoreal (import source=\S+ [^`\n]*out=runs/\S+?)(?:`|\n)", PAGE)


def rectangles(folder: Path, image: str, labels: str, text: str) -> None:
    folder.mkdir()
    (folder / image).write_bytes(png(picture(1)))
    (folder / labels).write_text(text)


def jacquard(folder: Path) -> None:
    rectangles(folder, "0_a_RGB.png", "0_a_grasps.txt", "10;12;45;20;8\n")
    cv2.imwrite(str(folder / "0_a_perfect_depth.tiff"), np.full((32, 32), 1.25, np.float32))


MAKERS: dict[str, Callable[[Path], object]] = {
    "lerobot_dataset": write_lerobot,
    "demos.hdf5": write_robomimic,
    "log.mcap": lambda path: write_mcap(path, arm_log(0.6)),
    "rosbag": lambda path: write_rosbag2(path, arm_log(0.6), "sqlite3"),
    "bridge": lambda path: write_rlds(path, [example(rlds_episode())]),
    "cornell": lambda path: rectangles(path, "pcd0100r.png", "pcd0100cpos.txt", "1 1\n9 1\n9 5\n1 5\n"),
    "jacquard": jacquard,
    "photos": folder_of_images,
}


def test_every_kind_of_source_has_a_command() -> None:
    shown = {match[1] for command in COMMANDS if (match := re.search(r"source=(\S+)", command))}
    assert shown == set(MAKERS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_makes_a_verified_dataset(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "topics.yaml").write_text(next(block for block in blocks if block.startswith("# topics.yaml")))
    words = shlex.split(command)
    source, out = (next(word.partition("=")[2] for word in words if word.startswith(key)) for key in ("source", "out"))
    MAKERS[source](tmp_path / source)
    assert cli.main(words) == 0
    assert list(verify(Layout(tmp_path / out), decode=True)) == []


def test_the_mapping_of_rows_that_is_shown_is_one() -> None:
    block = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("fps:"))
    mapping = parse_rows(yaml.safe_load(block), "docs/importing.md")
    assert mapping.cameras["wrist"].depth_scale_m == 0.001
    assert mapping.columns.action is not None


@pytest.mark.parametrize("name", shipped_mappings())
def test_shipped_mappings_can_be_read(name: str) -> None:
    assert parse_rows(*read_yaml(name)).columns.about
