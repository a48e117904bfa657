"""`simtoreal deploy` on a hardware file, from the command line to the vendor's package: whole episodes in real time."""

import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import vendor_franky
import vendor_lerobot
import vendor_ros
import vendor_ur
import yaml
from test_lerobot_arm import CHAIN, HOME, JOINTS
from vendor_world import World

from simtoreal import cli, frames
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord, MountPose, save_camera
from simtoreal.contracts import Action, Observation
from simtoreal.deployment import deploy
from simtoreal.episodes.reader import DatasetReader

MODEL = CameraModel.from_fov(64, 64, 1.0)
WITHIN_S = 0.2  # of a fault, the arm is held
BOX = {"workspace_low_m": [0.3, -0.3, 0.05], "workspace_high_m": [0.62, 0.3, 0.6]}
MAX_STEP_M = 0.008
SOLVED_M = 1e-4  # inverse kinematics come as near to a place
# Of time the limits are wide, so that a computer with other work does not stop the arm: here they are not looked at.
SAFETY = {
    **BOX, "name": "cell", "max_step_m": MAX_STEP_M, "max_speed_m_s": 0.2, "max_path_m": 0.2,
    "max_observation_age_s": 0.5, "max_action_age_s": 0.5, "max_silence_s": 1.0, "max_missed_deadlines": 20,
}  # fmt: skip


class Noted:
    """Of a world: time passes by itself, and what the vendor's package tells the arm is noted."""

    follows = "T_goal"

    def __init__(self, *given: Any) -> None:
        self.told: list[tuple[float, np.ndarray]] = []  # when, and a pose (4, 4) or joints
        super().__init__(*given)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == self.follows:
            self.told.append((time.monotonic(), np.array(value)))
        super().__setattr__(name, value)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Time passes in here."""
        over = threading.Event()

        def run() -> None:
            last_s = time.monotonic()
            while not over.wait(0.005):
                now_s = time.monotonic()
                self.clock.sleep(now_s - last_s)
                last_s = now_s

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()

    def places_m(self, since_s: float = 0.0) -> np.ndarray:
        """Where the tool was told to be, (N, 3)."""
        return np.array([self.tool_m(value) for t_s, value in self.told if t_s >= since_s])

    def tool_m(self, value: np.ndarray) -> np.ndarray:
        """Position of the tool."""
        return value[:3, 3]


class PoseWorld(Noted, World):
    """Of an arm that is sent to poses."""


class JointWorld(Noted, vendor_ros.RosWorld):
    """Of an arm that is sent to joint positions."""

    follows = "q_goal"
    kinematics = CHAIN.open()

    def tool_m(self, value: np.ndarray) -> np.ndarray:
        return self.kinematics.forward(value)[:3, 3]


class Greedy:
    """Wants to go out of the box, ten times faster than the limits allow."""

    def __init__(self) -> None:
        self.at_step: dict[int, Callable[[], None]] = {}

    def reset(self) -> None:
        self._index = 0

    def act(self, observation: Observation) -> Action:
        self.at_step.get(self._index, lambda: None)()
        self._index += 1
        return Action(np.array([0.08, 0.0, -0.02]), np.zeros(3), 0.04)

    def sent(self, action: Action) -> None:
        """Nothing to follow."""


@dataclass
class Cell:
    """An arm behind its vendor's package, and the files that describe it."""

    folder: Path
    world: PoseWorld | JointWorld
    policy: Greedy = field(default_factory=Greedy)
    fault_s: float = 0.0

    def deploy(self, *more: str) -> int:
        """The exit status of the command."""
        names = {"controller": "arm.yaml", "camera": "camera.yaml", "safety": "safety.yaml", "out": "run"}
        files = [f"{key}={self.folder / name}" for key, name in names.items()]
        with self.world.alive():
            return cli.main(["deploy", "episode_s=0.8", *files, *more])

    def fails(self, how: str) -> None:
        """The arm, from now on."""
        setattr(self.world, how, True)
        self.fault_s = time.monotonic()

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / "run/episodes" / name).open(newline="") as stream:
            return list(csv.DictReader(stream))

    def stop(self) -> dict[str, Any]:
        """The event that stopped the arm."""
        lines = (self.folder / "run/episodes/events.jsonl").read_text("utf-8").splitlines()
        return next(event for event in map(json.loads, lines) if event["stops"])

    def num_imported(self) -> int:
        """Frames of the one episode, once `simtoreal import` has read what was recorded."""
        source, out = self.folder / "run/episodes", self.folder / "dataset"
        assert cli.main(["import", f"source={source}", f"mapping={source / 'mapping.yaml'}", f"out={out}"]) == 0
        with DatasetReader(out) as reader:
            (episode,) = reader
            pictures = [frame.images["wrist"].rgb for frame in episode]
        assert all(picture.shape == (64, 64, 3) for picture in pictures)
        return len(pictures)


def hardware(arm: str, port: int) -> dict[str, Any]:
    """The file of an arm."""
    chain = {"urdf": str(CHAIN.urdf), "joints": list(CHAIN.joints), "link": CHAIN.link, "posture_rad": HOME.tolist()}
    keys = [
        {"key": key.key, "unit": str(key.unit), **({"low_rad": -3.0, "high_rad": 3.0} if key.low_rad else {})}
        for key in JOINTS
    ]
    gripper = {"key": "gripper.pos", "open_m": 0.08}
    own: dict[str, dict[str, Any]] = {
        "franka": {"franka": {"address": "10.0.0.2"}},
        "ur": {"ur": {"address": "127.0.0.1", "gripper": {"port": port}}},
        "lerobot": {"chain": chain, "lerobot": {"robot_type": "arm_of_joints", "gripper": gripper, "joints": keys}},
        "ros": {"chain": chain, "ros": {}},
    }
    # A box that is wider than that of the limits: it is they that are looked at.
    wide: dict[str, Any] = {
        "workspace_low_m": [0.1, -0.5, 0.0],
        "workspace_high_m": [0.9, 0.5, 0.9],
        "max_width_m": 0.08,
    }
    wide["max_state_age_s"] = 0.08 if arm == "ros" else 0.5  # topics that cease are noticed by their age alone
    camera = {"name": "wrist", "driver": "folder", "folder": "pictures", "calibration": "camera.yaml"}
    return {"arm": arm, "limits": wide, "cameras": [camera], **own[arm]}


def photograph(folder: Path, number: int) -> None:
    """A picture like no other, with depth."""
    rgb = np.random.default_rng(number).integers(40, 200, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / f"{number:02d}.png"), rgb)
    cv2.imwrite(str(folder / f"{number:02d}.depth.png"), np.full((64, 64), 350, dtype=np.uint16))


@pytest.fixture(params=["franka", "ur", "lerobot", "ros"])
def cell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cell]:
    arm = request.param
    world = PoseWorld(np.zeros(7)) if arm in ("franka", "ur") else JointWorld(HOME)
    made = Cell(tmp_path, world)
    vendors = {"franka": vendor_franky, "ur": vendor_ur, "lerobot": vendor_lerobot, "ros": vendor_ros}
    vendors[arm].install(monkeypatch, world)
    save_camera(
        CameraRecord("wrist", "rgbd", MODEL, MountPose.of(frames.transform((0.0, 0.06, -0.1)))),
        tmp_path / "camera.yaml",
    )
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        photograph(tmp_path / "pictures", number)
    (tmp_path / "safety.yaml").write_text(yaml.safe_dump(SAFETY), "utf-8")
    monkeypatch.setattr(deploy, "load_policy", lambda config, answer_s: made.policy)
    with vendor_ur.urcap(world) as urcap:
        (tmp_path / "arm.yaml").write_text(yaml.safe_dump(hardware(arm, urcap.port)), "utf-8")
        yield made


def test_a_dry_run_moves_nothing(cell: Cell, capfd: pytest.CaptureFixture[str]):
    before = cell.world.T.copy(), cell.world.q.copy()
    assert cell.deploy("episode_s=0.2") == 0
    assert "would move" in capfd.readouterr().err
    np.testing.assert_allclose(cell.world.T, before[0], atol=1e-9)
    np.testing.assert_allclose(cell.world.q, before[1], atol=1e-9)
    assert cell.world.width_goal_m == 0.08
    assert np.ptp(cell.world.places_m(), axis=0).max() < 1e-9


def test_an_episode_keeps_to_the_limits_and_is_imported(cell: Cell, capfd: pytest.CaptureFixture[str]):
    assert cell.deploy("execute=true") == 0
    said = capfd.readouterr().err
    assert "convention check: the tool went where it was sent" in said
    places_m = cell.world.places_m()
    assert np.linalg.norm(np.diff(places_m, axis=0), axis=1).max() < MAX_STEP_M + SOLVED_M
    assert (places_m > np.array(BOX["workspace_low_m"]) - SOLVED_M).all()
    assert (places_m < np.array(BOX["workspace_high_m"]) + SOLVED_M).all()
    assert places_m[-1, 0] - places_m[0, 0] > 0.04  # it went
    assert cell.world.width_m == pytest.approx(0.04, abs=2e-3)
    rows = cell.rows("frames.csv")
    assert len(rows) == 16
    sent_m, wanted_m = ([float(row[name]) for row in rows] for name in ("sent_x", "action_x"))
    assert max(sent_m) <= MAX_STEP_M + SOLVED_M < max(wanted_m)
    assert cell.num_imported() == 16


FAULTS = [
    ("franka", "is_lost"), ("franka", "is_protected"), ("ur", "is_lost"), ("ur", "is_protected"),
    ("lerobot", "is_lost"), ("ros", "is_lost"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "how"), FAULTS, indirect=["cell"])
def test_a_fault_holds_the_arm_at_once_and_loses_no_frame(cell: Cell, how: str):
    cell.policy.at_step[8] = lambda: cell.fails(how)
    assert cell.deploy("execute=true", "convention_check=false", "episodes=3", "episode_s=3.0") == deploy.EXIT_STOPPED
    assert cell.stop()["name"] == "link"
    assert cell.stop()["t_s"] - cell.fault_s < WITHIN_S
    held_m = cell.world.places_m(cell.fault_s + WITHIN_S)
    if len(held_m):  # told again to stay
        assert np.ptp(held_m, axis=0).max() < 1e-3
    (episode,) = cell.rows("episodes.csv")
    assert episode["failure"] == "stopped: link"
    assert cell.num_imported() == len(cell.rows("frames.csv")) >= 8


@pytest.mark.parametrize("cell", ["ur"], indirect=True)
def test_a_fault_in_the_convention_check_is_refused_with_the_arm_held(
    cell: Cell, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    servo = vendor_ur.RTDEControlInterface.servoL

    def protected(*given: Any) -> bool:
        cell.world.is_protected = len(cell.world.told) > 6
        return servo(*given)

    monkeypatch.setattr(vendor_ur.RTDEControlInterface, "servoL", protected)
    assert cell.deploy("execute=true") == cli.EXIT_ERROR
    said = " ".join(capfd.readouterr().err.split())
    assert "protective stop: see why, unlock it at the pendant" in said
    assert "before the first episode" in said
    assert "copy the limits" not in said  # none of them has acted
    assert "servoStop" in cell.world.calls


@pytest.mark.parametrize("cell", ["ur"], indirect=True)
def test_a_driver_that_hangs_does_not_keep_the_arm_from_being_held(cell: Cell, monkeypatch: pytest.MonkeyPatch):
    (cell.folder / "safety.yaml").write_text(yaml.safe_dump({**SAFETY, "max_silence_s": 0.15}), "utf-8")
    held_s: list[float] = []
    read, stop = vendor_ur.RTDEReceiveInterface.getActualTCPPose, vendor_ur.RTDEControlInterface.servoStop

    def hanging(receive: Any) -> list[float]:
        if cell.fault_s and not held_s:
            time.sleep(0.6)
        return read(receive)

    def noted(*given: Any) -> bool:
        if cell.fault_s:
            held_s.append(time.monotonic())
        return stop(*given)

    monkeypatch.setattr(vendor_ur.RTDEReceiveInterface, "getActualTCPPose", hanging)
    monkeypatch.setattr(vendor_ur.RTDEControlInterface, "servoStop", noted)
    cell.policy.at_step[8] = lambda: cell.fails("is_hanging")
    assert cell.deploy("execute=true", "convention_check=false") == deploy.EXIT_STOPPED
    assert cell.stop()["name"] == "silence_s"
    assert held_s[0] - cell.fault_s < 0.3  # 0.15 s of silence, which begin with the action after the fault
    assert cell.num_imported() == len(cell.rows("frames.csv")) >= 8


@pytest.mark.parametrize("cell", ["franka"], indirect=True)
def test_a_camera_that_stands_still_stops_the_arm(cell: Cell):
    for path in (cell.folder / "pictures").glob("0[1-9]*"):
        path.unlink()
    assert cell.deploy("execute=true", "convention_check=false") == deploy.EXIT_STOPPED
    assert cell.stop()["name"] == "frozen_camera_m"
