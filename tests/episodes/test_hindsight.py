"""Labels from hindsight on made-up episodes, where every answer is known."""

from pathlib import Path

import numpy as np
import pytest
from tabletop import BOX_M, FPS, GRASP_Z_M, Closing, K, Story, closes_at_s, write_story

from simtoreal import camera, frames
from simtoreal.episodes.grasp_attempts import Outcome
from simtoreal.episodes.grasp_views import Sight
from simtoreal.episodes.hindsight import EpisodeLabels, label_episode
from simtoreal.episodes.records import EpisodeFrame

EMPTY = Closing(0.5, 0.0, 0.0)


def labels_of(folder: Path, story: Story) -> EpisodeLabels:
    with write_story(folder, story) as reader:
        return label_episode(reader[0])


@pytest.mark.parametrize("has_depth", [True, False])
def test_every_frame_before_the_closing_has_the_grasp_where_the_box_is_seen(tmp_path: Path, has_depth: bool) -> None:
    story = Story(has_depth=has_depth)
    with write_story(tmp_path / "d", story) as reader:
        labels = label_episode(reader[0])
        assert [attempt.outcome for attempt in labels.attempts] == [Outcome.HELD]
        assert labels.attempts[0].closes_s == pytest.approx(closes_at_s(story.closings[0]), abs=0.5 / FPS)
        before = [frame for frame in labels.frames if frame.frame / FPS < labels.attempts[0].closes_s]
        share = np.mean([frame.grasp is not None for frame in before])
        assert share == 1.0 if has_depth else share > 0.6  # colour alone has doubts when seen from elsewhere
        assert all(frame.grasp is None for frame in labels.frames[len(before) :])
        first = labels.frames[0].grasp
        assert first is not None
        np.testing.assert_allclose(first.T_base_grasp, frames.top_down([0.5, 0.0, GRASP_Z_M], 0.0), atol=1e-6)
        assert first.width_m == pytest.approx(BOX_M)
        image = reader[0].frame(0).images["wrist"]
        assert image.T_base_cam is not None
        due = camera.project([0.5, 0.0, GRASP_Z_M], K, image.T_base_cam)
        assert first.views["wrist"].pixel == pytest.approx(tuple(due), abs=1e-3)
        assert first.views["wrist"].sight is Sight.VISIBLE


def test_under_the_fingers_a_label_is_hidden(tmp_path: Path) -> None:
    labels = labels_of(tmp_path / "d", Story())
    closing = labels.frames[41].grasp
    assert closing is not None
    assert closing.views["wrist"].sight is Sight.HIDDEN
    assert not closing.is_visible


@pytest.mark.parametrize("has_depth", [True, False])
@pytest.mark.parametrize("way_m", [(0.02, 0.0), (0.0, -0.015), (0.05, 0.03)])
def test_frames_before_the_box_moved_have_no_label(tmp_path: Path, has_depth: bool, way_m: tuple[float, float]) -> None:
    story = Story(box_m=(0.5 - way_m[0], -way_m[1]), moved_at=15, has_depth=has_depth)
    labels = labels_of(tmp_path / "d", story)
    assert all(frame.grasp is None for frame in labels.frames[:15])
    assert all("moved" in frame.why_not for frame in labels.frames[:15])
    assert sum(frame.grasp is not None for frame in labels.frames[15:40]) > 20


@pytest.mark.parametrize("depth_fails", [True, False])
def test_right_after_a_motion_shades_do_not_show_that_it_is_over_but_heights_do(
    tmp_path: Path, depth_fails: bool
) -> None:
    """The table, which stays, is most of what shades compare."""

    def without_depth(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        image = frame.images["wrist"]
        assert image.depth_m is not None
        blind = image._replace(depth_m=np.full_like(image.depth_m, np.nan))
        return frame._replace(images={"wrist": blind}) if depth_fails and 26 <= index < 30 else frame

    story = Story(box_m=(0.48, 0.0), moved_at=26)
    with write_story(tmp_path / "d", story, without_depth) as reader:
        found = label_episode(reader[0]).frames
    assert found[25].why_not == "it moved afterwards"
    assert [frame.grasp is None for frame in found[26:30]] == [depth_fails] * 4
    assert found[31].grasp is not None
    assert not depth_fails or found[26].why_not == "pictures cannot tell whether it moved"


@pytest.mark.parametrize("has_depth", [True, False])
@pytest.mark.parametrize("pushed_m", [(0.012, 0.0), (-0.012, 0.0), (0.006, 0.01)])
def test_a_box_that_the_jaws_push_while_closing_gets_no_label(
    tmp_path: Path, has_depth: bool, pushed_m: tuple[float, float]
) -> None:
    story = Story(box_m=(0.5 - pushed_m[0], -pushed_m[1]), pushed_m=pushed_m, has_depth=has_depth)
    labels = labels_of(tmp_path / "d", story)
    assert labels.num_positive == 0
    assert "the jaws moved it" in labels.frames[0].why_not


@pytest.mark.parametrize("has_depth", [True, False])
def test_a_box_beside_the_middle_of_the_jaws_has_labels_where_it_is_seen_to_stay(
    tmp_path: Path, has_depth: bool
) -> None:
    labels = labels_of(tmp_path / "d", Story(box_m=(0.512, 0.0), has_depth=has_depth))
    assert labels.num_positive > 20


def test_a_push_that_no_picture_shows_takes_no_label(tmp_path: Path) -> None:
    """Nobody saw the jaws close: the frames before are what is left to judge by."""

    def blind(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        return frame._replace(images={}) if index >= 37 else frame

    story = Story(box_m=(0.488, 0.0), pushed_m=(0.012, 0.0))
    with write_story(tmp_path / "d", story, blind) as reader:
        assert label_episode(reader[0]).num_positive > 20


def test_a_camera_beside_the_arm_is_not_asked_what_the_jaws_push(tmp_path: Path) -> None:
    """Fingers would come in front of it; what it does see is that the box no longer lies where it lay."""
    labels = labels_of(tmp_path / "d", Story(box_m=(0.488, 0.0), pushed_m=(0.012, 0.0), cameras={"mount": "external"}))
    assert labels.num_positive == 0
    assert labels.frames[0].why_not == "it moved afterwards"


def test_a_failed_closing_is_a_negative_and_the_next_that_holds_a_positive(tmp_path: Path) -> None:
    story = Story(closings=(Closing(0.56, 0.03, 0.0), Closing(0.5, 0.0, BOX_M)))
    labels = labels_of(tmp_path / "d", story)
    assert [attempt.outcome for attempt in labels.attempts] == [Outcome.EMPTY, Outcome.HELD]
    first = labels.frames[5]
    assert [label.T_base_grasp[:2, 3].round(3).tolist() for label in first.failed] == [[0.56, 0.03]]
    assert first.grasp is not None
    assert first.grasp.attempt == 1
    later = labels.frames[110]  # on the way to the second closing
    assert later.grasp is not None
    assert later.failed == ()
    between = labels.frames[60]  # the jaws are closed
    assert between.grasp is None
    assert between.why_not == "the jaws were closed"


def test_an_object_pushed_away_by_a_failed_closing_is_not_labelled_before_it(tmp_path: Path) -> None:
    story = Story(closings=(Closing(0.47, 0.0, 0.0), Closing(0.5, 0.0, BOX_M)), box_m=(0.47, 0.0), moved_at=45)
    labels = labels_of(tmp_path / "d", story)
    assert all(frame.grasp is None for frame in labels.frames[:45])
    assert any(frame.grasp is not None for frame in labels.frames[96:130])


def test_nothing_held_gives_negatives_only(tmp_path: Path) -> None:
    labels = labels_of(tmp_path / "d", Story(closings=(EMPTY,), box_m=(0.58, 0.05), success=False))
    assert labels.num_positive == 0
    assert labels.num_negative > 30
    assert labels.frames[0].why_not == "nothing was held afterwards"
    assert not labels.frames[0].failed[0].positive


def test_a_closing_that_somebody_called_a_failure_is_no_label(tmp_path: Path) -> None:
    labels = labels_of(tmp_path / "d", Story(success=False))
    assert [attempt.outcome for attempt in labels.attempts] == [Outcome.UNCLEAR]
    assert labels.num_positive == labels.num_negative == 0


def test_late_measurements_do_not_shift_the_closing(tmp_path: Path) -> None:
    story = Story(lag_s=0.12)
    labels = labels_of(tmp_path / "d", story)
    assert labels.attempts[0].closes_s == pytest.approx(closes_at_s(story.closings[0]), abs=0.5 / FPS)
    np.testing.assert_allclose(labels.attempts[0].T_base_tcp[:3, 3], [0.5, 0.0, GRASP_Z_M], atol=1e-6)


def test_without_calibration_no_picture_can_vouch_for_a_label(tmp_path: Path) -> None:
    labels = labels_of(tmp_path / "d", Story(cameras={"K": None}))
    assert labels.num_positive == 0
    assert "no calibrated camera" in labels.frames[0].why_not
