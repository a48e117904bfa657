"""Bags that are damaged, cut short, mislabelled or hostile: an error that says why, or what is whole."""

import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from reading import frames_or_problem, problem, read_all
from ros_logs import (
    ROS1,
    ROS2,
    START_NS,
    Entry,
    Messages,
    arm_log,
    mapping_with,
    record_ends,
    write_mcap,
    write_rosbag1,
    write_rosbag2,
)

from simtoreal.episodes.importing.bag_source import BagSource
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceError
from simtoreal.schema import ConfigError


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
