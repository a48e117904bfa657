"""Kinematics of a URDF against PyBullet's, on its Panda and its KUKA."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data
import pytest
from pybullet_utils.bullet_client import BulletClient

from simtoreal import frames
from simtoreal.controllers.kinematics import Kinematics
from simtoreal.schema import ConfigError

DATA = Path(pybullet_data.getDataPath())
ARMS = {
    "panda": (DATA / "franka_panda/panda.urdf", [f"panda_joint{i}" for i in range(1, 8)], "panda_hand"),
    "kuka": (DATA / "kuka_iiwa/model.urdf", [f"lbr_iiwa_joint_{i}" for i in range(1, 8)], "lbr_iiwa_link_7"),
}


@contextlib.contextmanager
def bullet(name: str) -> Iterator[tuple[BulletClient, int, list[int], int]]:
    urdf, joints, link = ARMS[name]
    client = BulletClient(pybullet.DIRECT)
    try:
        body = client.loadURDF(str(urdf), useFixedBase=True)
        infos = [client.getJointInfo(body, i) for i in range(client.getNumJoints(body))]
        numbers = {info[1].decode(): i for i, info in enumerate(infos)}
        links = {info[12].decode(): i for i, info in enumerate(infos)}
        yield client, body, [numbers[joint] for joint in joints], links[link]
    finally:
        client.disconnect()


@pytest.mark.parametrize("name", ARMS)
def test_forward_kinematics_are_those_of_pybullet(name: str):
    kinematics, rng = Kinematics(*ARMS[name]), np.random.default_rng(0)
    with bullet(name) as (client, body, numbers, link):
        for q in rng.uniform(kinematics.low_rad, kinematics.high_rad, (100, 7)):
            for number, value in zip(numbers, q, strict=True):
                client.resetJointState(body, number, value)
            state = client.getLinkState(body, link, computeForwardKinematics=True)
            expected = frames.from_quat(state[4], state[5])
            np.testing.assert_allclose(kinematics.forward(q), expected, atol=2e-6)


@pytest.mark.parametrize("name", ARMS)
def test_inverse_kinematics_come_back_to_reachable_poses_within_limits(name: str):
    kinematics, rng = Kinematics(*ARMS[name]), np.random.default_rng(1)
    missed = 0
    for q in rng.uniform(0.9 * kinematics.low_rad, 0.9 * kinematics.high_rad, (100, 7)):
        found = kinematics.inverse(kinematics.forward(q), q + rng.uniform(-0.2, 0.2, 7))
        assert (found.joint_positions_rad >= kinematics.low_rad).all()
        assert (found.joint_positions_rad <= kinematics.high_rad).all()
        missed += found.error_m > 1e-4 or found.error_rad > 1e-3
    assert missed <= 2


def test_a_pose_out_of_reach_is_approached_and_the_rest_is_said():
    kinematics = Kinematics(*ARMS["kuka"])
    far = frames.transform((2.0, 0.0, 0.5))
    found = kinematics.inverse(far, np.full(7, 0.3))
    assert np.isfinite(found.joint_positions_rad).all()
    assert 0.8 < found.error_m < 1.6  # it reaches about a metre


def test_a_step_obeys_the_speed_of_every_joint():
    kinematics = Kinematics(*ARMS["panda"])
    q = np.array([0.0, -0.35, 0.0, -2.36, 0.0, 2.01, 0.785])
    goal = kinematics.forward(q)
    goal[:3, 3] += (0.1, 0.2, -0.1)
    step = kinematics.towards(goal, q, duration_s=0.05, speed_frac=0.5) - q
    assert (np.abs(step) <= 0.5 * 0.05 * kinematics.max_speed_rad_s + 1e-12).all()
    assert np.abs(step).max() > 0.01


def test_small_steps_track_a_line_closely_and_continuously():
    kinematics = Kinematics(*ARMS["panda"])
    q = np.array([0.0, -0.35, 0.0, -2.36, 0.0, 2.01, 0.785])
    goal = kinematics.forward(q)
    for _ in range(40):
        goal[:3, 3] += (0.0, 0.004, -0.003)
        found = kinematics.inverse(goal, q)
        assert found.error_m < 1e-5
        assert np.abs(found.joint_positions_rad - q).max() < 0.12
        q = found.joint_positions_rad


@pytest.mark.parametrize(
    ("joints", "link", "message"),
    [(["panda_joint9"], "panda_hand", "did you mean 'panda_joint"), (["panda_joint1"], "hand", "no link 'hand'")],
)
def test_names_that_are_not_there_are_refused_with_those_that_are(joints: list[str], link: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Kinematics(ARMS["panda"][0], joints, link)


def test_a_file_that_is_not_there_or_no_urdf_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        Kinematics(tmp_path / "none.urdf", ["a"], "b")
    (tmp_path / "bad.urdf").write_text("<robot>")
    with pytest.raises(ConfigError, match="cannot be read"):
        Kinematics(tmp_path / "bad.urdf", ["a"], "b")
