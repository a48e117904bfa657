"""`simtoreal deploy` on the fake: dry by default, recorded, stopped whatever fails, refused with the reason."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from controller_contract import hold

from simtoreal import frames
from simtoreal.calibration.board import charuco_board
from simtoreal.camera import CameraModel
from simtoreal.camera_record import BoardSpec, CameraRecord, LensFit, MountFit, MountPose, save_camera
from simtoreal.contracts import Action, Observation
from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake import FakeController
from simtoreal.controllers.faults import Fault, FaultKind, FaultyController
from simtoreal.deployment import checks, deploy
from simtoreal.deployment.checks import DeploymentRefused
from simtoreal.deployment.folder_recorder import FolderRecorder
from simtoreal.deployment.policy import load_policy, wrapped
from simtoreal.deployment.settings import DeployConfig
from simtoreal.episodes.importing.image_folder import ImageFolderSource
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.identified import ACTION_LATENCY, OBSERVATION_LATENCY, Identified, Posterior
from simtoreal.preflight import find_bundle
from simtoreal.realtime.latency import LatencyCompensation
from simtoreal.runtime import Step
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits
from simtoreal.schema import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LIMITS = load_limits("panda")


class Downward:
    """A policy without a network: slowly down, then jaws shut."""

    def __init__(self) -> None:
        self.fails_at = 10_000

    def reset(self) -> None:
        self.index = 0

    def act(self, observation: Observation) -> Action:
        self.index += 1
        if self.index > self.fails_at:
            raise ArithmeticError("the network is broken")
        return hold(0.08 if self.index < 15 else 0.0, -0.004)

    def sent(self, action: Action) -> None:
        """Nothing to follow."""


@pytest.fixture
def rig(monkeypatch):
    """The fake in virtual time, and a policy without a network."""

    class Opened:
        controller = FakeController(np.random.default_rng(0), clock=VirtualClock())
        policy = Downward()

    opened = Opened()
    monkeypatch.setattr(deploy, "open_controller", lambda name, settings: opened.controller)
    monkeypatch.setattr(deploy, "load_policy", lambda config, control_hz: opened.policy)
    return opened


def rows(out: Path, name: str = "frames.csv") -> list[dict[str, str]]:
    with (out / "episodes" / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_dry_run_moves_nothing_and_says_what_it_would_send(rig, tmp_path, capfd):
    config = DeployConfig(episode_s=1.0, out=tmp_path)
    assert deploy.deploy(config) == 0
    assert frames.yaw_of(rig.controller.T_setpoint) == 0.0
    np.testing.assert_array_equal(rig.controller.T_setpoint[:3, 3], rig.controller.arm.home_m)
    said = capfd.readouterr().err
    assert "would move" in said
    assert "-4.0 mm" in said
    sent = rows(tmp_path)
    assert len(sent) == 20
    assert all(float(row["sent_z"]) == 0.0 and float(row["action_z"]) == -0.004 for row in sent)


def test_an_execution_moves_records_and_goes_on_behind_what_is_there(rig, tmp_path):
    config = DeployConfig(execute=True, episode_s=1.0, episodes=2, out=tmp_path)
    assert deploy.deploy(config) == 0
    assert rig.controller.T_setpoint[2, 3] == pytest.approx(
        0.36 - 20 * 0.004, abs=0.003
    )  # stopped a little short of it
    assert deploy.deploy(config) == 0
    assert [row["episode"] for row in rows(tmp_path, "episodes.csv")] == ["0", "1", "2", "3"]
    assert {row["episode"] for row in rows(tmp_path)} == {"0", "1", "2", "3"}
    assert not rig.controller.is_connected


def test_what_was_recorded_is_what_import_reads(rig, tmp_path):
    deploy.deploy(DeployConfig(execute=True, episode_s=0.5, out=tmp_path))
    folder = tmp_path / "episodes"
    source = ImageFolderSource(folder, ImportConfig(source=folder, mapping=str(folder / "mapping.yaml")))
    episode = source.open("0")
    read = list(episode.frames)
    assert len(read) == 10
    assert episode.info.fps == 20.0
    camera = episode.info.cameras["wrist"]
    np.testing.assert_allclose(camera.T_mount_cam, rig.controller.arm.T_tcp_cam, atol=1e-6)
    np.testing.assert_allclose(read[0].T_base_tcp[:3, 3], (0.5, 0.0, 0.36), atol=2e-3)
    assert read[3].commanded.delta_m[2] == pytest.approx(-0.004)
    assert read[0].images["wrist"].rgb.shape == (64, 64, 3)
    assert 0.2 < np.nanmedian(read[0].images["wrist"].depth_m) < 0.6
    assert episode.end().success is False
    assert episode.end().note == "timed_out"


@pytest.mark.parametrize(
    ("kind", "name"), [(FaultKind.NAN_POSE, "finite_observation"), (FaultKind.DISCONNECT, "link"),
                       (FaultKind.BLACK_CAMERA, "blind_s")],
)  # fmt: skip
def test_a_fault_ends_the_session_and_loses_no_frame(rig, tmp_path, kind, name):
    inner = rig.controller
    faulty = FaultyController(inner, Fault(kind, at_step=12), lambda s: inner._clock.sleep(s))
    rig.controller = faulty
    config = DeployConfig(execute=True, convention_check=False, episodes=5, episode_s=3.0, out=tmp_path)
    assert deploy.deploy(config) == deploy.EXIT_STOPPED
    (episode,) = rows(tmp_path, "episodes.csv")
    assert episode["failure"] == f"stopped: {name}"
    assert len(rows(tmp_path)) >= 12
    assert name in (tmp_path / "episodes" / "events.jsonl").read_text()
    assert not inner.is_connected


def test_a_policy_that_fails_holds_the_arm_and_retreats(rig, tmp_path, capfd):
    rig.policy.fails_at = 5
    config = DeployConfig(execute=True, convention_check=False, episode_s=3.0, out=tmp_path)
    assert deploy.deploy(config) == deploy.EXIT_STOPPED
    said = capfd.readouterr().err
    assert "the network is broken" in said
    assert "retreat: 50 mm up, done" in said
    assert rig.controller.T_setpoint[2, 3] == pytest.approx(0.36 - 5 * 0.004 + LIMITS.retreat_m, abs=1e-3)


def observed(**changes) -> Observation:
    return FakeController(np.random.default_rng(0), clock=VirtualClock()).reset()._replace(**changes)


def pose(x: float = 0.5, y: float = 0.0, z: float = 0.3, up: bool = False) -> np.ndarray:
    T = frames.top_down((x, y, z), 0.0)
    if up:
        T[:3, :3] = np.eye(3)
    return T


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"T_base_tcp": np.eye(3)}, "T_base_tcp must be"),
        ({"T_base_tcp": pose(x=500.0)}, "millimetres"),
        ({"T_base_tcp": np.diag([2.0, 2.0, 2.0, 1.0])}, "rotation"),
        ({"K": np.zeros((2, 2))}, "K must be"),
        ({"gripper_width_m": 80.0}, "millimetres"),
        ({"gripper_width_m": 1.0}, "0 to 1"),
        ({"joint_positions_rad": np.array([0.0, -90.0])}, "degrees"),
        ({"depth_m": np.full((64, 64), 400.0, np.float32)}, "millimetres"),
        ({"rgb": np.zeros((3, 64, 64), np.uint8)}, "rgb must be"),
        ({"rgb": np.zeros((64, 64, 3), np.float32)}, "uint8"),
        ({"rgb": None, "depth_m": None}, "no picture"),
        ({"t_s": float("nan")}, "t_s"),
    ],
)
def test_wrong_shapes_and_units_are_refused_with_the_likely_cause(changes, words):
    checks.check_observation(observed())
    with pytest.raises(DeploymentRefused, match=words):
        checks.check_observation(observed(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"T_base_tcp": pose(x=0.1)}, "outside of"),
        ({"T_base_tcp": pose(up=True)}, "upside down"),
        ({"joint_positions_rad": np.array([0, 0, 0, 0.5, 0, 1, 0])}, "joint 4"),
    ],
)
def test_a_start_outside_of_the_limits_is_refused(changes, words):
    checks.check_start(observed(), LIMITS)
    with pytest.raises(DeploymentRefused, match=words):
        checks.check_start(observed(**changes), LIMITS)


def test_a_bundle_for_something_else_is_refused():
    folder = find_bundle("default")
    checks.check_bundle(folder, observed(), 20.0, LIMITS)
    with pytest.raises(DeploymentRefused, match="20 Hz"):
        checks.check_bundle(folder, observed(), 50.0, LIMITS)
    with pytest.raises(DeploymentRefused, match="no depth"):
        checks.check_bundle(folder, observed(depth_m=None), 20.0, LIMITS)
    with pytest.raises(DeploymentRefused, match="on the wrist"):
        checks.check_bundle(folder, observed(T_base_cam=pose(x=1.5, z=1.0)), 20.0, LIMITS)


def test_a_calibration_that_is_missing_stale_or_foreign_is_refused(tmp_path):
    seen = observed()
    checks.check_calibration(None, True, 30.0, seen)
    with pytest.raises(DeploymentRefused, match="camera=FILE is missing"):
        checks.check_calibration(None, False, 30.0, seen)
    path = tmp_path / "camera.yaml"
    with pytest.raises(ConfigError, match="no such camera file"):
        checks.check_calibration(path, False, 30.0, seen)
    camera = CameraRecord("wrist", "rgbd", CameraModel(64, 64, float(seen.K[0, 0]), float(seen.K[1, 1]), 31.5, 31.5))
    save_camera(camera, path)
    checks.check_calibration(path, False, 30.0, seen)
    os.utime(path, (time.time() - 40 * 86400,) * 2)
    with pytest.raises(DeploymentRefused, match="40 days"):
        checks.check_calibration(path, False, 30.0, seen)
    # A copied file is young; what it says of the day it was measured counts.
    save_camera(replace(camera, lens_fit=LensFit(((1.0,) * 9,) * 9, 20, 0, 0.2, "2020-01-01T00:00:00+00:00")), path)
    with pytest.raises(DeploymentRefused, match="days old"):
        checks.check_calibration(path, False, 30.0, seen)
    save_camera(replace(camera, model=replace(camera.model, fx=600.0, fy=600.0)), path)
    with pytest.raises(DeploymentRefused, match="another"):
        checks.check_calibration(path, False, 30.0, seen)


def board_in_view(T_cam_board: np.ndarray, model: CameraModel, board: BoardSpec) -> Observation:
    """A picture of the board from a camera on the wrist that looks straight down."""
    T_base_cam = pose(z=0.5)
    picture = charuco_board(board).generateImage((700, 500))  # 100 px a square
    H = model.K @ T_cam_board[:3, [0, 1, 3]] @ np.diag([board.square_m / 100, board.square_m / 100, 1.0])
    gray = cv2.warpPerspective(picture, H, (model.width_px, model.height_px), borderValue=128)
    rgb = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    return observed(rgb=rgb, K=model.K, T_base_cam=T_base_cam, T_base_tcp=T_base_cam)


def test_a_camera_that_has_moved_since_its_calibration_is_refused(tmp_path):
    model, board = CameraModel(640, 480, 600.0, 600.0, 319.5, 239.5), BoardSpec()
    T_cam_board = frames.transform((-0.1, -0.07, 0.4))
    seen = board_in_view(T_cam_board, model, board)
    covariance = tuple(tuple(row) for row in np.diag([1e-7] * 6).tolist())
    today = datetime.now(tz=UTC).isoformat()
    where = MountPose.of(seen.T_base_cam @ T_cam_board)
    fit = MountFit(covariance, 15, 0, 0.2, today, board_pose=where)
    camera = CameraRecord("wrist", "rgb", model, MountPose.of(np.eye(4)), None, fit, board)
    path = tmp_path / "camera.yaml"
    save_camera(camera, path)
    assert "within" in str(checks.check_drift(path, seen))
    save_camera(replace(camera, mount=MountPose.of(frames.transform((0.03, 0.0, 0.0)))), path)
    with pytest.raises(DeploymentRefused, match="has moved"):
        checks.check_drift(path, seen)
    assert "not checked" in str(checks.check_drift(path, seen._replace(rgb=np.zeros((480, 640, 3), np.uint8))))
    assert checks.check_drift(None, seen) is None


def test_the_latency_to_compensate_is_that_of_the_identified_arm(tmp_path):
    path = tmp_path / "identified.yaml"
    found = {name: Posterior(mean, 0.001, mean - 0.01, mean + 0.01, 0.0, 3)
             for name, mean in ((OBSERVATION_LATENCY, 0.06), (ACTION_LATENCY, 0.04))}  # fmt: skip
    known = Identified("panda", 20.0, 3, found)
    path.write_text(yaml.safe_dump(known.to_plain()))
    policy = wrapped(Downward(), DeployConfig(identified=path), 20.0, LIMITS, False)
    assert isinstance(policy, LatencyCompensation)
    policy.reset()
    for _ in range(4):
        policy.sent(Action(np.array([0.0, 0.0, -0.01]), np.zeros(3), 0.08))
    assert policy.predicted(observed()).T_base_tcp[2, 3] == pytest.approx(observed().T_base_tcp[2, 3] - 0.02)
    path.write_text(yaml.safe_dump(replace(known, posterior={}).to_plain()))
    with pytest.raises(ConfigError, match="does not know the latency"):
        wrapped(Downward(), DeployConfig(identified=path), 20.0, LIMITS, False)


class Mirrored(FakeController):
    """An adapter whose base frame has another Z."""

    def send_action(self, action: Action) -> Action:
        super().send_action(action._replace(delta_m=action.delta_m * (1, 1, -1)))
        return action


def test_an_arm_that_goes_elsewhere_is_noticed_after_a_centimetre():
    for kind, passes in ((FakeController, True), (Mirrored, False)):
        inner = kind(np.random.default_rng(0), clock=VirtualClock())
        guard = Guard(inner, LIMITS, times=TimeSource(lambda inner=inner: inner.time_s, lambda _: None))
        seen = guard.reset()
        if passes:
            assert checks.check_conventions(guard, seen) < 0.002
        else:
            with pytest.raises(DeploymentRefused, match="conventions"):
                checks.check_conventions(guard, seen)
        assert abs(inner.T_setpoint[2, 3] - 0.36) <= 0.0101


def test_unreachable_controllers_and_wrong_settings_are_refused(rig, tmp_path):
    def unplugged() -> None:
        raise ConnectionRefusedError("refused")

    rig.controller.connect = unplugged
    with pytest.raises(DeploymentRefused, match="cannot be reached"):
        deploy.deploy(DeployConfig(out=tmp_path))
    with pytest.raises(ConfigError, match="replay cannot be moved"):
        DeployConfig(controller="replay", execute=True)
    with pytest.raises(ConfigError, match="ws://"):
        load_policy(DeployConfig(policy="http://here"), 0.05)


KILLED = """
import sys, time
import numpy as np
sys.path[:0] = {path!r}
from simtoreal.controllers.fake import FakeController
from simtoreal.controllers.clock import VirtualClock
from simtoreal.contracts import Action
from simtoreal.deployment.folder_recorder import FolderRecorder
from simtoreal.realtime.latency import LatencyCompensation
from simtoreal.runtime import Step
from pathlib import Path
fake = FakeController(np.random.default_rng(0), clock=VirtualClock())
recorder = FolderRecorder(Path({out!r}), "wrist", "fake", 20.0)
recorder.episode_start()
seen, action = fake.reset(), Action(np.zeros(3), np.zeros(3), 0.08)
for index in range(100000):
    recorder.step(Step(index, seen, action, 0.0, action))
    print(index, flush=True)
    fake.send_action(action)
    seen = fake.get_observation()
    time.sleep(0.01)
"""


def test_kill_minus_nine_loses_the_last_frames_and_nothing_else(tmp_path):
    code = KILLED.format(path=[str(ROOT)], out=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last >= 40:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    with (tmp_path / "frames.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) >= last - 3
    assert all(None not in row.values() and row["sent_width_m"] for row in found)
    for row in found:
        assert cv2.imread(str(tmp_path / row["rgb"])).shape == (64, 64, 3)
        assert cv2.imread(str(tmp_path / row["depth"]), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    again = FolderRecorder(tmp_path, "wrist", "fake", 20.0)
    assert again.episode == 1
    again.close()


def test_a_half_line_of_a_power_cut_is_cut_off(tmp_path):
    recorder = FolderRecorder(tmp_path, "wrist", "fake", 20.0)
    recorder.episode_start()
    recorder.step(Step(0, observed(), hold(0.08), 0.0, hold(0.08)))
    recorder.episode_end()
    recorder.finish(None, "")
    recorder.close()
    with (tmp_path / "frames.csv").open("a") as stream:
        stream.write("1,0.05,images/0000")
    again = FolderRecorder(tmp_path, "wrist", "fake", 20.0)
    again.close()
    assert len((tmp_path / "frames.csv").read_text().splitlines()) == 2


def test_what_was_seen_twice_is_recorded_twice_and_can_be_imported(tmp_path):
    """An arm or a camera that reports less often than the loop asks."""
    recorder = FolderRecorder(tmp_path, "wrist", "fake", 20.0)
    recorder.episode_start()
    for index in range(4):
        seen = observed()._replace(t_s=0.1 * (index // 2))
        recorder.step(Step(index, seen, hold(0.08), 0.0, hold(0.08)))
    recorder.episode_end()
    recorder.finish(True, "")
    recorder.close()
    source = ImageFolderSource(tmp_path, ImportConfig(source=tmp_path, mapping=str(tmp_path / "mapping.yaml")))
    times_s = [frame.t_s for frame in source.open("0").frames]
    assert times_s == pytest.approx([0.0, 0.0, 0.1, 0.1], abs=0.001)
    assert (np.diff(times_s) > 0).all()


def test_ctrl_c_on_the_real_command_ends_in_a_stop_within_200_ms_and_keeps_the_frames(tmp_path):
    code = (
        "import sys; from simtoreal import cli; from simtoreal.deployment import deploy\n"
        "from test_deploy import Downward\n"
        "import time; from simtoreal.controllers.fake import FakeController\n"
        "deploy.load_policy = lambda config, hz: Downward()\n"
        "FakeController.stop = lambda self: print('held', time.monotonic(), flush=True)\n"
        f"sys.exit(cli.main(['deploy','execute=true','episode_s=60','convention_check=false','out={tmp_path}']))"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    frames_csv = tmp_path / "episodes" / "frames.csv"
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and (not frames_csv.exists() or len(frames_csv.read_text().splitlines()) < 8):
        time.sleep(0.02)
    sent_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == deploy.EXIT_STOPPED, err
    held = [float(line.split()[1]) for line in out.splitlines() if line.startswith("held")]
    assert min(t_s for t_s in held if t_s >= sent_s) - sent_s < 0.2
    assert "operator_stop" in err
    assert len(rows(tmp_path)) >= 7


def test_the_robots_computer_imports_no_large_package():
    names = ("deployment.deploy", "controllers.fake", "controllers.replay", "safety.watchdog")
    modules = ", ".join(f"simtoreal.{name}" for name in names)
    heavy = "{'torch', 'pybullet', 'numba', 'scipy', 'pyarrow', 'av', 'stable_baselines3', 'trimesh'}"
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
