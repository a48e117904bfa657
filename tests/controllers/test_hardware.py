"""Hardware files: what they open, and how they are refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import vendor_franky
import vendor_lerobot
import vendor_ros
import yaml
from test_lerobot_arm import CHAIN, HOME, JOINTS
from vendor_world import WRIST, World

from simtoreal import cli, frames
from simtoreal.camera_record import CameraRecord, save_camera
from simtoreal.controllers.arm_controller import ArmController, Times
from simtoreal.controllers.hardware import open_controller as open_file
from simtoreal.controllers.link_errors import LinkError
from simtoreal.controllers.registry import ControllerSettings, open_controller
from simtoreal.schema import ConfigError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "configs/hardware").glob("*.yaml"))
FRANKA: dict[str, Any] = {
    "arm": "franka",
    "limits": {"workspace_low_m": [0.2, -0.4, 0.0], "workspace_high_m": [0.8, 0.4, 0.6], "max_width_m": 0.08},
    "frames": {"robot": {"position_m": [0.0, 0.1, 0.0]}, "tcp": {"position_m": [0.0, 0.0, 0.02]}},
    "franka": {"address": "10.0.0.2"},
    "cameras": [{"name": "wrist", "driver": "folder", "folder": ".", "calibration": "camera.yaml"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_camera(WRIST, tmp_path / "camera.yaml")
    cv2.imwrite(str(tmp_path / "0.png"), np.full((24, 32, 3), 90, dtype=np.uint8))
    return tmp_path


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "arm.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def changed(**parts: Any) -> dict[str, Any]:
    return {**FRANKA, **parts}


def test_a_file_opens_an_arm_with_its_camera_and_frames(monkeypatch: pytest.MonkeyPatch, folder: Path):
    world = World(joints=np.zeros(7))
    vendor_franky.install(monkeypatch, world)
    settings = ControllerSettings(file=written(folder, FRANKA), control_hz=10.0)
    controller = open_file(settings, Times(world.clock.now, world.clock.sleep))
    assert controller.control_hz == 10.0
    with pytest.raises(LinkError, match="not connected"):
        controller.get_observation()
    controller.connect()
    seen = controller.reset()
    expected = frames.transform((0.0, 0.1, 0.0)) @ world.T @ frames.transform((0.0, 0.0, 0.02))
    np.testing.assert_allclose(seen.T_base_tcp, expected, atol=1e-9)
    np.testing.assert_allclose(seen.T_base_cam, expected @ WRIST.mount.T, atol=1e-9)
    np.testing.assert_allclose(seen.K, WRIST.model.K)
    assert seen.rgb[0, 0, 0] == 90
    controller.disconnect()


@pytest.mark.parametrize("control", ["joints", "wrist", "ros", "twist"])
def test_files_open_the_other_arms(monkeypatch: pytest.MonkeyPatch, folder: Path, control: str):
    world = vendor_ros.RosWorld(HOME)
    vendor_lerobot.install(monkeypatch, world)
    vendor_ros.install(monkeypatch, world)
    chain = {"urdf": str(CHAIN.urdf), "joints": list(CHAIN.joints), "link": CHAIN.link}
    gripper = {"key": "gripper.pos", "open_m": 0.08}
    keys = [
        {"key": key.key, "unit": str(key.unit), **({"low_rad": -3.0, "high_rad": 3.0} if key.low_rad else {})}
        for key in JOINTS
    ]
    sections = {
        "joints": {"arm": "lerobot", "chain": chain}
        | {"lerobot": {"robot_type": "arm_of_joints", "gripper": gripper, "joints": keys, "config": {"id": "a"}}},
        "wrist": {"arm": "lerobot", "lerobot": {"robot_type": "arm_of_ee", "gripper": gripper, "wrist": {}}},
        "ros": {"arm": "ros", "chain": chain, "ros": {}},
        "twist": {"arm": "ros", "ros": {"twist": {"base_frame": "base"}}},
    }[control]
    values = {key: value for key, value in changed(frames={}).items() if key != "franka"} | sections
    controller = open_file(ControllerSettings(file=written(folder, values)), Times(world.clock.now, world.clock.sleep))
    controller.connect()
    by_joints = control in ("joints", "ros")
    expected = CHAIN.open().forward(HOME) if by_joints else world.T
    np.testing.assert_allclose(controller.reset().T_base_tcp, expected, atol=1e-6)
    controller.disconnect()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(arm="frankka"), "arm=frankka is no driver: did you mean 'franka'"),
        (changed(franka={}), r"franka\.address is missing"),
        (changed(franka={"address": "a", "dynamics_frac": 3}), r"franka\.dynamics_frac=3.* out of range"),
        (changed(franka={"adress": "a"}), r"did you mean 'franka\.address'|did you mean 'address'|unknown key"),
        (changed(ur={"address": "a"}), "ur belongs to another driver"),
        (changed(limits={**FRANKA["limits"], "home_m": [2.0, 0.0, 0.3]}), "home_m=.* outside"),
        (changed(limits={**FRANKA["limits"], "workspace_low_m": [0.9, -0.4, 0.0]}), "must be below"),
        (changed(frames={"tcp": {"quat_xyzw": [0, 0, 0, 0.5]}}), "length 1"),
        (changed(cameras=[{**FRANKA["cameras"][0], "driver": "webcam"}]), "driver=webcam is none"),
        (changed(cameras=[{**FRANKA["cameras"][0], "rate": 3}]), r"unknown key 'cameras\.wrist\.rate'"),
        (changed(cameras=[{"name": "wrist", "driver": "uvc"}]), r"cameras\.wrist\.calibration is missing"),
        (changed(cameras=[FRANKA["cameras"][0]] * 2), "is there twice"),
        (changed(cameras={"name": "wrist"}), "must be a list"),
        ({**changed(arm="ros"), "franka": None, "ros": {}}, "franka belongs|chain is missing"),
    ],
)
def test_what_a_file_gets_wrong_is_named_with_the_file(folder: Path, values: dict[str, Any], message: str):
    path = written(folder, values)
    with pytest.raises(ConfigError, match=message) as caught:
        open_controller(str(path), ControllerSettings())
    assert str(path) in str(caught.value)


def test_a_camera_that_nobody_placed_is_refused(folder: Path):
    save_camera(CameraRecord("wrist", "rgb", WRIST.model), folder / "lens.yaml")
    with pytest.raises(ConfigError, match=r"lens\.yaml has no mount"):
        open_controller(str(written(folder, FRANKA)), ControllerSettings(camera=folder / "lens.yaml"))


def test_no_file_and_no_keys_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        open_controller(str(tmp_path / "none.yaml"), ControllerSettings())
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=r"list\.yaml must hold a mapping"):
        open_controller(str(tmp_path / "list.yaml"), ControllerSettings())
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.system [ls]")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_controller(str(tmp_path / "code.yaml"), ControllerSettings())


def test_the_name_of_a_driver_alone_says_what_to_do():
    with pytest.raises(ConfigError, match="copy one of configs/hardware"):
        open_controller("ur", ControllerSettings())


def test_a_package_that_is_missing_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch, folder: Path):
    monkeypatch.setitem(sys.modules, "franky", None)
    controller = open_controller(str(written(folder, FRANKA)), ControllerSettings())
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'simtoreal\[franka\]'"):
        controller.connect()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_read_as_they_are(path: Path, folder: Path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "chain" in values:
        chain = values["chain"]
        chain["urdf"] = str(folder / "arm.urdf")
        links = "".join(f'<link name="l{number}"/>' for number in range(len(chain["joints"])))
        joints = "".join(
            f'<joint name="{name}" type="revolute"><parent link="l{number}"/><child link="l{number + 1}"/>'
            '<axis xyz="0 0 1"/><limit lower="-2" upper="2" effort="1" velocity="2"/></joint>'
            for number, name in enumerate(chain["joints"])
        ).replace(f'"l{len(chain["joints"])}"', f'"{chain["link"]}"')
        (folder / "arm.urdf").write_text(f'<robot name="a">{links}<link name="{chain["link"]}"/>{joints}</robot>')
    controller = open_controller(str(written(folder, values)), ControllerSettings(camera=folder / "camera.yaml"))
    assert isinstance(controller, ArmController)
    assert len(controller.rig.cameras) == 1


def test_deploy_refuses_an_arm_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
):
    vendor_franky.install(monkeypatch, World())
    path = written(folder, changed(franka={"address": vendor_franky.ABSENT}))
    argv = ["deploy", f"controller={path}", f"camera={folder / 'camera.yaml'}", f"out={folder / 'run'}"]
    assert cli.main(argv) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_adapters_import_no_driver_no_simulator_and_no_torch():
    program = (
        "import sys\n"
        "for name in ('arms.ur', 'arms.franka', 'arms.lerobot', 'arms.ros', 'cameras.realsense', 'cameras.uvc', "
        "'cameras.folder', 'cameras.ros', 'kinematics', 'hardware'):\n"
        "    __import__('simtoreal.controllers.' + name)\n"
        "bad = {'torch', 'pybullet', 'scipy', 'pinocchio', 'rclpy', 'franky', 'lerobot', 'pyrealsense2', "
        "'rtde_control'}\n"
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
