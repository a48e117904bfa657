"""RLDS without TensorFlow: records, checksums, tensors of steps, and every way a file can be broken."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import frames_or_problem, open_first, problem, read_all
from row_files import example, picture, record, rlds_episode, state, write_rlds

from simtoreal import frames
from simtoreal.episodes.importing.formats import open_source
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.importing.tfrecord import crc32c, find_records, parse_example

EPISODE = example(rlds_episode())
BRIDGE = Path(__file__).resolve().parents[4] / "shared" / "data" / "bridge"


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, appendix B.4
    assert crc32c(b"\0" * 32) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1),
    st.lists(st.binary(), min_size=1),
)
def test_features_come_back_as_they_were(integers: list[int], floats: list[float], texts: list[bytes]) -> None:
    unsigned = [value % 2**64 for value in integers]
    found = parse_example(example({"i": unsigned, "f": floats, "b": texts}))
    assert found["i"].tolist() == integers  # type: ignore[union-attr]
    assert found["f"].tolist() == floats  # type: ignore[union-attr]
    assert found["b"] == texts


def test_bridge_is_read_in_the_frame_of_the_tool(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path / "bridge", [EPISODE, EPISODE])
    episode = open_first(folder)
    info = episode.info
    assert (info.fps, info.robot, info.task, sorted(info.cameras)) == (
        5.0,
        "widowx",
        "lift the cup",
        ["image_0", "image_1", "image_2"],
    )
    assert info.source == f"{folder}#bridge_dataset-train.tfrecord-00000-of-00001#0"
    read = list(episode.frames)
    assert [frame.t_s for frame in read] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    for index, frame in enumerate(read):
        np.testing.assert_array_equal(frame.images["image_1"].rgb, picture(index))  # type: ignore[arg-type]
        x, y, z, roll, pitch, yaw, gripper = state(index)
        T = frames.transform((x, y, z), frames.rotation_from_rpy((roll, pitch, yaw)))
        # with no angles the tool points down and closes along Y of the base
        T = T @ frames.transform(R=[[0, 1, 0], [1, 0, 0], [0, 0, -1]])
        np.testing.assert_allclose(frame.T_base_tcp, T, atol=1e-6)  # type: ignore[arg-type]
        assert frame.gripper_width_m == pytest.approx(0.074 * gripper, abs=1e-6)
        assert frame.commanded is not None
        np.testing.assert_allclose(frame.commanded.delta_m, [0.01, 0.0, -0.005], atol=1e-7)
        np.testing.assert_allclose(frame.commanded.delta_rotation_rad, [0.0, 0.0, 0.05], atol=1e-7)
        assert frame.commanded.gripper_width_m == pytest.approx(0.074)
    assert episode.end().success is None


def test_a_data_set_that_nobody_knows_asks_for_a_mapping(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path, [EPISODE], name="my_robot")
    assert "what the columns of the data set 'my_robot' mean: give mapping=FILE.yaml" in problem(folder)
    assert "observation/state" in problem(folder)
    assert len(read_all(folder, mapping="bridge")) == 4


def test_the_opening_of_the_gripper_can_be_given(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path, [EPISODE])
    assert read_all(folder, gripper_open_m=0.1)[0].gripper_width_m == pytest.approx(0.1)


def test_a_mapping_that_lacks_something_is_asked_for_it_by_name(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path / "data", [EPISODE])
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "tool: {position: 'observation/state[0:3]', rotation: 'observation/state[3:6]'}\n"
        "gripper: {value: 'observation/state[6]'}\naction: {position: 'action[0:3]'}\n"
        "cameras: {main: {rgb: observation/image_0}}"
    )
    text = problem(folder, mapping=str(mapping))
    assert "tool.rotation_is (quat_xyzw, quat_wxyz, rpy, rotation_vector, matrix)" in text
    assert "gripper.open_m, how far the gripper opens in metres (or gripper_open_m=0.08)" in text
    assert "action.kind (delta, target, velocity)" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fps: 5\ncameras: {main: {rgb: observation/image_9}}",
            "there is no column 'observation/image_9': did you mean",
        ),
        ("cameras: {main: {rgb: observation/image_0}}", "give fps=N"),
        ("fps: 5\ncameras: {main: {rgb: observation/state}}", "a colour image is uint8"),
        ("fps: 5\ncameras: {main: {depth: observation/image_0}}", "a depth image has one channel"),
        ("fps: 5\njoints: {value: 'observation/state[7]'}\ncameras: {m: {rgb: observation/image_0}}", "cannot be read"),
        (
            "fps: 5\ntool: {position: 'action[0:3]', rotation: 'observation/state[0:4]', rotation_is: quat_xyzw}\n"
            "cameras: {m: {rgb: observation/image_0}}",
            "is not of length 1: is rotation_is right?",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_explained(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(text)
    found = problem(write_rlds(tmp_path / "data", [EPISODE]), mapping=str(tmp_path / "m.yaml"))
    assert message in found


def test_an_episode_that_is_broken_leaves_the_others_whole(tmp_path: Path) -> None:
    damaged = bytearray(record(EPISODE))
    damaged[1000] ^= 1
    folder = write_rlds(tmp_path, [EPISODE, EPISODE])
    file = next(folder.glob("*.tfrecord*"))
    file.write_bytes(record(EPISODE) + bytes(damaged) + record(EPISODE))
    source = open_source(ImportConfig(source=folder))
    outcomes = []
    for name in source.names():
        try:
            outcomes.append(str(len(list(source.open(name).frames))))
        except SourceError as error:
            outcomes.append(str(error))
    assert [outcomes[0], outcomes[2]] == ["4", "4"]
    assert f"{file}, episode {file.name}#1: the record at byte" in outcomes[1]
    assert "is damaged (checksum)" in outcomes[1]


def test_a_pose_that_is_not_finite_names_the_frame(tmp_path: Path) -> None:
    features = rlds_episode()
    features["steps/observation/state"][2 * 7 + 1] = float("nan")
    text = problem(write_rlds(tmp_path, [example(features)]))
    assert "frame 2: the position observation/state[0:3] is not finite" in text


def test_an_image_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    features = rlds_episode()
    image = bytearray(features["steps/observation/image_0"][1])
    image[16:24] = (60000).to_bytes(4, "big") * 2
    features["steps/observation/image_0"][1] = bytes(image)
    text = problem(write_rlds(tmp_path, [example(features)]))
    assert "frame 1: camera image_0: the image claims to have 60000 x 60000 pixels" in text


def test_steps_of_different_numbers_are_an_error(tmp_path: Path) -> None:
    features = rlds_episode()
    features["steps/is_last"].append(0)
    assert "different numbers of steps" in problem(write_rlds(tmp_path, [example(features)]))
    features = rlds_episode()
    features["steps/observation/state"].pop()
    assert "are no steps of shape (7,)" in problem(write_rlds(tmp_path, [example(features)]))


def test_cut_anywhere_it_is_an_error(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path, [EPISODE])
    file = next(folder.glob("*.tfrecord*"))
    data = file.read_bytes()
    for end in [0, 1, 7, 8, 11, 12, 13, *range(14, len(data), 97), len(data) - 4, len(data) - 1]:
        file.write_bytes(data[:end])
        text = problem(folder)
        assert "breaks off" in text or "empty" in text
        assert file.name in text


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_record_is_an_episode_or_an_error(tmp_path: Path, junk: bytes) -> None:
    assert isinstance(frames_or_problem(write_rlds(tmp_path, [junk])), str)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(EPISODE) - 1), st.binary(min_size=1, max_size=8))
def test_damage_with_a_right_checksum_is_no_crash(tmp_path: Path, at: int, junk: bytes) -> None:
    frames_or_problem(write_rlds(tmp_path, [EPISODE[:at] + junk + EPISODE[at + len(junk) :]]))


def test_a_length_that_is_a_lie_is_not_believed(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path, [])
    file = next(folder.glob("*.tfrecord*"))
    file.write_bytes(record(EPISODE)[:8] + b"\0\0\0\0" + EPISODE)
    assert "the header of record 0 at byte 0 is damaged" in problem(folder)
    assert find_records(file)[0] == []


def test_features_that_are_no_description_are_an_error(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path, [EPISODE])
    for text in ("", "[]", "{}", '{"featuresDict": 3}', "[" * 100_000):
        (folder / "features.json").write_text(text)
        assert "features.json describes no steps" in problem(folder)
    (folder / "features.json").unlink()
    assert "there is no features.json" in problem(folder)


@pytest.mark.skipif(not BRIDGE.is_dir(), reason="the real episodes are not there")
def test_the_real_episodes_can_be_read() -> None:
    read = read_all(BRIDGE)
    assert len(read) == 250
    heights = [frame.T_base_tcp[2, 3] for frame in read if frame.T_base_tcp is not None]
    assert min(heights) > 0.0
    downwards = [frame.T_base_tcp[2, 2] for frame in read if frame.T_base_tcp is not None]
    assert np.median(downwards) < -0.9  # the tool approaches from above
