"""Topics become frames: right in time, space and colour, from every kind of bag, or with an error that says why not."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from reading import open_first, read_all
from ros_logs import (
    HEIGHT_PX,
    ROS1,
    ROS2,
    WIDTH_PX,
    Entry,
    K,
    Messages,
    Timing,
    arm_log,
    mapping_with,
    position_m,
    write_mcap,
    write_rosbag1,
    write_rosbag2,
    yaw_rad,
)

from simtoreal import frames
from simtoreal.episodes.importing.bag_source import BagSource
from simtoreal.episodes.importing.settings import ImportConfig

FIRST_S = 0.1  # when the first picture is taken


@pytest.mark.parametrize("kind", ["mcap", "rosbag2 with sqlite3", "rosbag2 with mcap", "ROS 1 bag"])
def test_every_kind_of_bag_gives_the_same_episode(kind: str, mapping_file: str, tmp_path: Path) -> None:
    entries = arm_log(store=ROS1 if kind == "ROS 1 bag" else ROS2)
    path = {
        "mcap": lambda: write_mcap(tmp_path / "log.mcap", entries),
        "rosbag2 with sqlite3": lambda: write_rosbag2(tmp_path / "log", entries, "sqlite3"),
        "rosbag2 with mcap": lambda: write_rosbag2(tmp_path / "log", entries, "mcap"),
        "ROS 1 bag": lambda: write_rosbag1(tmp_path / "log.bag", entries),
    }[kind]()
    episode = open_first(path, mapping=mapping_file)
    assert (episode.info.fps, episode.info.task, episode.info.robot) == (20.0, "lift the mug", "ur5")
    camera = episode.info.cameras["wrist"]
    assert (camera.width_px, camera.height_px, camera.mount, camera.has_depth) == (WIDTH_PX, HEIGHT_PX, "wrist", True)
    assert camera.K is not None
    np.testing.assert_allclose(camera.K[[0, 1, 0, 1], [0, 1, 2, 2]], K)
    read = list(episode.frames)
    assert len(read) == 36
    assert episode.end().success is True
    for index, frame in enumerate(read):
        image = frame.images["wrist"]
        assert image.rgb is not None
        assert image.depth_m is not None
        assert image.rgb[0, 0].tolist() == [(4 * index) % 256, 0, 200]  # blue in the upper left, so RGB and upright
        assert image.rgb[-1, -1].tolist() == [(4 * index) % 256, 0, 0]
        assert np.isnan(image.depth_m[0, 0])
        assert image.depth_m[1, 1] == pytest.approx(0.5 + 0.001 * index)


def test_poses_are_those_at_the_capture_time(mapping_file: str, arm_mcap: Path) -> None:
    for frame in read_all(arm_mcap, mapping=mapping_file):
        t_s = FIRST_S + frame.t_s
        assert frame.T_base_tcp is not None
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], position_m(t_s), atol=2e-5)
        assert frames.yaw_of(frame.T_base_tcp) == pytest.approx(yaw_rad(t_s), abs=1e-4)
        T_base_cam = frame.images["wrist"].T_base_cam
        assert T_base_cam is not None
        np.testing.assert_allclose(T_base_cam, frame.T_base_tcp @ frames.transform((0.05, 0.0, -0.1)), atol=1e-12)
        assert frame.gripper_width_m == pytest.approx(0.041 + 0.005 * np.sin(t_s), abs=1e-6)
        np.testing.assert_allclose(frame.joint_positions_rad, [0.021, 0.02 + 0.005 * np.sin(t_s)], atol=1e-6)


def test_actions_are_what_was_commanded_until_the_next_frame(mapping_file: str, arm_mcap: Path) -> None:
    read = read_all(arm_mcap, mapping=mapping_file)
    for frame, following in itertools.pairwise(read):
        assert frame.commanded is not None
        moved = np.subtract(position_m(FIRST_S + following.t_s), position_m(FIRST_S + frame.t_s))
        # commands come every 10 ms and hold in between
        np.testing.assert_allclose(frame.commanded.delta_m, moved, atol=4e-3)
        assert frame.commanded.gripper_width_m == pytest.approx(0.05)
        assert frame.sent is None


def test_a_camera_on_another_clock_is_put_right(mapping_file: str, tmp_path: Path) -> None:
    timing = Timing(offset_s=3600.037, drift_ppm=80.0, delay_s=0.004, delay_spread_s=0.002, command_lead_s=0.12)
    path = write_mcap(tmp_path / "log.mcap", arm_log(12.0, timing, without=["/camera/depth"]))
    mapping = mapping_with(tmp_path, **{"    depth: /camera/depth\n": ""})
    episode = open_first(path, mapping=mapping)
    for frame in episode.frames:
        # the shortest transport, 4 ms, is taken for a part of the offset, as it must be
        assert frame.T_base_tcp is not None
        expected = position_m(FIRST_S + 0.004 + frame.t_s)
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], expected, atol=3e-4)
    timing_found = episode.end().labels["timing"]
    clock = timing_found["clocks"]["/camera/image"]
    assert clock["drift_ppm"] == pytest.approx(80.0, abs=15.0)
    assert clock["offset_s"] == pytest.approx(3600.037 + 0.004 + 80e-6 * 6, abs=1e-3)
    assert timing_found["lags"]["tool after command"]["lag_s"] == pytest.approx(0.12, abs=0.003)
    assert any("/camera/image is stamped by another clock" in remark for remark in episode.remarks())


def test_stamps_of_the_recorders_own_clock_stay_as_they_are(mapping_file: str, tmp_path: Path) -> None:
    timing = Timing(delay_s=0.06, delay_spread_s=0.01)  # a slow camera: the stamp is right, the arrival is late
    path = write_mcap(tmp_path / "log.mcap", arm_log(3.0, timing))
    episode = open_first(path, mapping=mapping_file)
    for frame in episode.frames:
        assert frame.T_base_tcp is not None
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], position_m(FIRST_S + frame.t_s), atol=5e-5)
    assert not any("another clock" in remark for remark in episode.remarks())


def test_a_gap_is_said_and_not_bridged(mapping_file: str, tmp_path: Path) -> None:
    entries = [entry for entry in arm_log() if entry.topic != "/tool_pose" or not 0.8 < entry.received_s < 1.4]
    episode = open_first(write_mcap(tmp_path / "log.mcap", entries), mapping=mapping_file)
    read = list(episode.frames)
    lost = [frame for frame in read if frame.T_base_tcp is None]
    assert len(read) == 36
    assert len(lost) == 12
    assert all(0.79 < FIRST_S + frame.t_s < 1.41 for frame in lost)
    assert all(frame.images["wrist"].T_base_cam is None for frame in lost)
    assert any("no tool pose within 0.2 s in 12 of 36 frames" in remark for remark in episode.remarks())


def test_fewer_frames_than_pictures_can_be_asked_for(mapping_file: str, arm_mcap: Path) -> None:
    read = read_all(arm_mcap, mapping=mapping_file, fps=10.0)
    np.testing.assert_allclose(np.diff([frame.t_s for frame in read]), 0.1, atol=1e-6)
    assert len(read) == 18


def test_tf_gives_poses_of_tool_and_camera(tmp_path: Path) -> None:
    make, entries = Messages(ROS2), arm_log(without=["/tool_pose"])
    kind = "tf2_msgs/msg/TFMessage"
    fixed = make.transform(0.0, "tool0", "camera_optical", (0.0, 0.05, 0.02, 0.0, 0.0, 0.0, 1.0))
    entries.append(Entry(0.0, "/tf_static", kind, make(kind, transforms=[fixed])))
    for t_s in np.arange(0.0, 2.0, 0.01):
        x, y, z = position_m(float(t_s))
        arm = make.transform(float(t_s), "world", "wrist_3", (x, y, z, 0.0, 0.0, 0.0, 1.0))
        base = make.transform(float(t_s), "world", "base_link", (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        entries.append(Entry(float(t_s) + 0.001, "/tf", kind, make(kind, transforms=[arm, base])))
    hand = make.transform(0.0, "wrist_3", "tool0", (0.0, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0))
    entries.append(Entry(0.0, "/tf_static", kind, make(kind, transforms=[hand])))
    entries.sort(key=lambda entry: entry.received_s)
    mapping = mapping_with(
        tmp_path,
        **{
            "tool: {topic: /tool_pose}": "tool: {base: base_link, frame: tool0}",
            "T_mount_cam: [0.05, 0, -0.1, 0, 0, 0, 1]": "frame: camera_optical",
        },
    )
    episode = open_first(write_mcap(tmp_path / "log.mcap", entries), mapping=mapping)
    T_tool_cam = frames.transform((0.0, 0.05, 0.02))
    np.testing.assert_allclose(episode.info.cameras["wrist"].T_mount_cam, T_tool_cam, atol=1e-12)  # type: ignore[arg-type]
    for frame in episode.frames:
        x, y, z = position_m(FIRST_S + frame.t_s)
        assert frame.T_base_tcp is not None
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], (x - 0.1, y, z + 0.1), atol=2e-5)
        np.testing.assert_allclose(frame.T_base_tcp[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-9)
        T_base_cam = frame.images["wrist"].T_base_cam
        np.testing.assert_allclose(T_base_cam, frame.T_base_tcp @ T_tool_cam, atol=1e-9)  # type: ignore[arg-type]


def test_a_topic_says_where_episodes_are(tmp_path: Path) -> None:
    make, entries = Messages(ROS2), arm_log(3.0)
    for at_s, word in ((0.4, "start"), (1.0, "stop"), (1.5, "start"), (2.5, "stop")):
        entries.append(Entry(at_s, "/episode", "std_msgs/msg/String", make("std_msgs/msg/String", data=word)))
    for at_s, success in ((1.02, False), (2.52, True)):
        entries.append(Entry(at_s, "/outcome", "std_msgs/msg/Bool", make("std_msgs/msg/Bool", data=success)))
    entries.sort(key=lambda entry: entry.received_s)
    mapping = mapping_with(
        tmp_path, **{"success: /success:data": 'success: "/outcome:data"\nepisodes: {topic: "/episode:data"}'}
    )
    source = BagSource(write_mcap(tmp_path / "log.mcap", entries), ImportConfig(mapping=mapping))
    assert source.names() == ["log.mcap#0", "log.mcap#1"]
    found = []
    for name in source.names():
        episode = source.open(name)
        read = list(episode.frames)
        first = read[0].T_base_tcp
        assert first is not None
        found.append((len(read), round(float(first[2, 3]), 3), episode.end().success))
    assert found == [(12, round(0.3 - 0.02 * 0.4, 3), False), (20, round(0.3 - 0.02 * 1.5, 3), True)]


def test_velocities_are_integrated_to_the_next_frame(tmp_path: Path) -> None:
    make, entries = Messages(ROS2), arm_log(without=["/command"])
    kind = "geometry_msgs/msg/TwistStamped"
    for t_s in np.arange(0.0, 2.0, 0.02):
        twist = make(
            "geometry_msgs/msg/Twist",
            linear=make("geometry_msgs/msg/Vector3", x=0.2, y=0.0, z=-0.1),
            angular=make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.5),
        )
        message = make(kind, header=make.header(float(t_s)), twist=twist)
        entries.append(Entry(float(t_s) + 0.001, "/command", kind, message))
    entries.sort(key=lambda entry: entry.received_s)
    mapping = mapping_with(tmp_path, **{"kind: target": "kind: velocity"})
    for frame in read_all(write_mcap(tmp_path / "log.mcap", entries), mapping=mapping):
        assert frame.commanded is not None
        np.testing.assert_allclose(frame.commanded.delta_m, [0.01, 0.0, -0.005], atol=1e-9)
        np.testing.assert_allclose(frame.commanded.delta_rotation_rad, [0.0, 0.0, 0.025], atol=1e-9)
