"""Topics become frames: right in time, space and colour, from every kind of bag, or with an error that says why not."""

import itertools
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from reading import frames_or_problem, open_first, problem, read_all
from ros_logs import (
    HEIGHT_PX,
    MAPPING,
    ROS1,
    ROS2,
    START_NS,
    WIDTH_PX,
    Entry,
    K,
    Messages,
    Timing,
    arm_log,
    position_m,
    record_ends,
    write_mcap,
    write_rosbag1,
    write_rosbag2,
    yaw_rad,
)

from simtoreal import frames
from simtoreal.episodes.importing.bag_source import BagSource
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceError
from simtoreal.schema import ConfigError

FIRST_S = 0.1  # when the first picture is taken


def mapping_with(folder: Path, text: str = MAPPING, **changes: str) -> str:
    """A mapping file with lines replaced."""
    for before, after in changes.items():
        assert before.replace("__", " ") in text
        text = text.replace(before.replace("__", " "), after)
    path = folder / "topics.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


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


def test_episodes_before_a_break_are_whole_and_the_rest_is_reported(tmp_path: Path) -> None:
    make, entries = Messages(ROS2), arm_log(3.0)
    for at_s, running in ((0.4, True), (1.0, False), (1.5, True), (2.5, False)):
        entries.append(Entry(at_s, "/episode", "std_msgs/msg/Bool", make("std_msgs/msg/Bool", data=running)))
    entries.sort(key=lambda entry: entry.received_s)
    mapping = mapping_with(tmp_path, **{"success: /success:data": 'episodes: {topic: "/episode:data"}'})
    data = write_mcap(tmp_path / "log.mcap", entries).read_bytes()
    path, found = tmp_path / "cut.mcap", []
    for share in (0.45, 0.75):  # between the two, and within the second
        path.write_bytes(data[: int(share * len(data))])
        source = BagSource(path, ImportConfig(mapping=mapping))
        assert source.names() == ["cut.mcap#0", "cut.mcap#1"]
        assert len(list(source.open("cut.mcap#0").frames)) == 12
        with pytest.raises(SourceError) as caught:
            list(source.open("cut.mcap#1").frames)
        found.append(str(caught.value))
    assert "the recording breaks off, what comes behind is lost" in found[0]
    assert f"{path}, episode cut.mcap#1, frame 1" in found[1]
    assert "the file is damaged or breaks off" in found[1]


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


# What is wrong is said -----------------------------------------------------------------------------------------------


def test_without_a_mapping_the_topics_are_listed(arm_mcap: Path) -> None:
    assert "/camera/image (sensor_msgs/msg/Image)" in problem(arm_mcap)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("/tool_pose", "/tool_poze", "tool.topic=/tool_poze: did you mean '/tool_pose'?"),
        ("tool: {topic: /tool_pose}", "tool: {base: world, frame: tool0}", "/tf and /tf_static"),
        ('"/gripper:position"', '"/gripper:positions"', "there is no 'positions': did you mean 'position'?"),
        ("names: [finger_1, finger_2]", "names: [finger_1, thumb]", "['thumb']"),
        ("/tool_pose}", "/gripper}", "there is no pose in sensor_msgs__msg__JointState"),
        ("success: /success:data", "success: /success:value", "there is no 'value'"),
    ],
)
def test_a_mapping_that_does_not_fit_is_explained(
    before: str, after: str, message: str, arm_mcap: Path, tmp_path: Path
) -> None:
    assert message in problem(arm_mcap, mapping=mapping_with(tmp_path, **{before: after}))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("unit_m: 1.0}\njoints", "closed_at: 0}\njoints", "gripper.open_m, how far the gripper opens"),
        ("cameras:", "kameras:", "cameras"),
        ("    mount: wrist", "    mount: wirst", "mount=wirst is not a choice"),
        ("  wrist:", "  wrist: {rgb: /a}\n  wrist:", "the key 'wrist' is there twice"),
        ('value: "/gripper:position"', "value: /gripper", "gripper.value as TOPIC:FIELD"),
    ],
)
def test_a_mapping_with_mistakes_is_refused(
    before: str, after: str, message: str, arm_mcap: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_all(arm_mcap, mapping=mapping_with(tmp_path, **{before: after}))
    assert message in str(caught.value)


def test_a_pose_that_is_not_finite_names_file_episode_and_frame(mapping_file: str, tmp_path: Path) -> None:
    entries = arm_log()
    bad = next(entry for entry in entries if entry.topic == "/tool_pose" and entry.received_s > 1.0)
    bad.message.pose.position.x = float("nan")
    path = write_mcap(tmp_path / "log.mcap", entries)
    text = problem(path, mapping=mapping_file)
    assert f"{path}, episode log.mcap#0" in text
    assert "frame 1" in text
    assert "topic /tool_pose: the position is not finite" in text


def test_time_that_goes_back_is_an_error(mapping_file: str, tmp_path: Path) -> None:
    entries = arm_log()
    bad = [entry for entry in entries if entry.topic == "/camera/image"][9]
    bad.message.header.stamp.nanosec -= 70_000_000
    assert "the time of a picture goes back from" in problem(
        write_mcap(tmp_path / "log.mcap", entries), mapping=mapping_file
    )


def test_an_image_with_too_few_bytes_names_its_camera(mapping_file: str, tmp_path: Path) -> None:
    entries = arm_log()
    bad = [entry for entry in entries if entry.topic == "/camera/image"][3]
    bad.message.data = bad.message.data[:-1000]
    text = problem(write_mcap(tmp_path / "log.mcap", entries), mapping=mapping_file)
    assert "frame 3" in text
    assert "camera wrist: an image of 64 x 48 rgb8 has 8216 bytes" in text


def test_a_bag_without_its_metadata_says_how_to_get_it(mapping_file: str, tmp_path: Path) -> None:
    folder = write_rosbag2(tmp_path / "log", arm_log(), "sqlite3")
    (folder / "metadata.yaml").unlink()
    assert "ros2 bag reindex" in problem(folder, mapping=mapping_file, format="rosbag")


def test_the_name_of_a_type_cannot_smuggle_code(mapping_file: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    name = f"geometry_msgs/msg/PoseStamped:\n    open({str(trap)!r}, 'w')\nclass x"
    path = tmp_path / "evil.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema(name, "ros2msg", b"float64 x")
        channel = writer.register_channel("/tool_pose", "cdr", schema)
        writer.add_message(channel, START_NS, b"\0" * 12, START_NS)
        writer.finish()
    minimal = mapping_with(tmp_path, "cameras: {wrist: {rgb: /tool_pose}}")
    assert "is not the name of a message type" in problem(path, mapping=minimal)
    assert not trap.exists()


def test_the_name_of_a_type_cannot_smuggle_code_through_sqlite(tmp_path: Path) -> None:
    folder = write_rosbag2(tmp_path / "log", arm_log(0.4), "sqlite3")
    trap = tmp_path / "trap"
    evil = f"a/msg/B:\n    open({str(trap)!r}, 'w')\nclass x"
    with sqlite3.connect(folder / "log.db3") as connection:
        connection.execute("UPDATE topics SET type = ? WHERE name = '/camera/image'", (evil,))
    mapping = mapping_with(tmp_path, "cameras: {wrist: {rgb: /camera/image}}")
    assert isinstance(frames_or_problem(folder, mapping=mapping), str)
    assert not trap.exists()


def test_a_chunk_that_announces_a_mountain_is_refused(mapping_file: str, arm_mcap: Path, tmp_path: Path) -> None:
    data = bytearray(arm_mcap.read_bytes())
    at = 8 + 9 + struct.unpack_from("<Q", data, 9)[0]  # behind magic and header lies the first chunk
    assert data[at] == 6
    struct.pack_into("<Q", data, at + 9 + 16, 2**62)  # its uncompressed size
    path = tmp_path / "bomb.mcap"
    path.write_bytes(data)
    assert "announces 4611686018427387904 bytes" in problem(path, mapping=mapping_file)


# Fuzz ----------------------------------------------------------------------------------------------------------------


def test_cut_at_every_record_it_is_an_error_or_whole(tmp_path: Path) -> None:
    entries = [entry for entry in arm_log(0.4) if entry.topic in ("/camera/image", "/tool_pose")]
    data = write_mcap(tmp_path / "whole.mcap", entries, chunk_bytes=20_000).read_bytes()
    mapping = mapping_with(tmp_path, "cameras: {wrist: {rgb: /camera/image}}\ntool: {topic: /tool_pose}")
    num_frames, path = len(read_all(tmp_path / "whole.mcap", mapping=mapping)), tmp_path / "cut.mcap"
    outcomes = []
    for end in [0, 4, *record_ends(data)]:
        path.write_bytes(data[:end])
        outcomes.append(frames_or_problem(path, mapping=mapping))
    broken = [isinstance(outcome, str) for outcome in outcomes]
    assert broken == sorted(broken, reverse=True)  # once the data is whole, what is cut off is an index
    assert 4 < broken.index(False) < len(broken)
    assert {len(outcome) for outcome in outcomes if not isinstance(outcome, str)} == {num_frames}
    assert all(
        "breaks off" in outcome or "empty" in outcome or "not an MCAP" in outcome
        for outcome in outcomes
        if isinstance(outcome, str)
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.binary(min_size=1, max_size=16), st.booleans())
def test_damage_anywhere_is_no_crash(
    mapping_file: str, tmp_path: Path, place: int, junk: bytes, uncompressed: bool
) -> None:
    kind = "none" if uncompressed else "zstd"
    whole = tmp_path / f"{kind}.mcap"
    if not whole.exists():
        write_mcap(whole, arm_log(0.4), CompressionType.NONE if uncompressed else CompressionType.ZSTD)
    data = bytearray(whole.read_bytes())
    at = place % len(data)
    data[at : at + len(junk)] = junk
    path = tmp_path / "damaged.mcap"
    path.write_bytes(data)
    frames_or_problem(path, mapping=mapping_file)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["log.db3", "metadata.yaml", "log.bag"]), st.integers(0, 2**31), st.binary(min_size=1, max_size=16)
)
def test_damage_anywhere_in_other_bags_is_no_crash(tmp_path: Path, name: str, place: int, junk: bytes) -> None:
    folder, bag = tmp_path / "log", tmp_path / "log.bag"
    if not folder.exists():
        entries = [
            [entry for entry in arm_log(0.4, store=store) if entry.topic in ("/camera/image", "/tool_pose")]
            for store in (ROS2, ROS1)
        ]
        write_rosbag2(folder, entries[0], "sqlite3")
        write_rosbag1(bag, entries[1])
    mapping = mapping_with(tmp_path, "cameras: {wrist: {rgb: /camera/image}}\ntool: {topic: /tool_pose}")
    file = bag if name == "log.bag" else folder / name
    before = file.read_bytes()
    at = place % len(before)
    file.write_bytes(before[:at] + junk + before[at + len(junk) :])
    try:
        frames_or_problem(bag if name == "log.bag" else folder, mapping=mapping)
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["sqlite3", "bag"])
def test_bags_that_break_off_are_no_crash(kind: str, share: float, mapping_file: str, tmp_path: Path) -> None:
    if kind == "bag":
        path = file = write_rosbag1(tmp_path / "log.bag", arm_log(0.6, store=ROS1))
    else:
        path = write_rosbag2(tmp_path / "log", arm_log(0.6), "sqlite3")
        file = path / "log.db3"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert isinstance(frames_or_problem(path, mapping=mapping_file), str)
