"""The quality gate on made-up episodes: each is spoilt in one way, and must be told by that and nothing else."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from tabletop import BOX_M, T_TCP_CAM, Closing, Story, write_story

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.findings import Finding, Severity, span_text
from simtoreal.episodes.picture_quality import blurriness
from simtoreal.episodes.quality import EpisodeQuality, check_episode
from simtoreal.episodes.records import EpisodeFrame, FrameImage


def quality_of(folder: Path, story: Story | None = None, change: object = None) -> EpisodeQuality:
    with write_story(folder, story or Story(), change) as reader:  # type: ignore[arg-type]
        return check_episode(reader[0], 0)


def kinds(quality: EpisodeQuality) -> Mapping[str, Finding]:
    return {finding.kind: finding for finding in quality.findings}


def with_image(frame: EpisodeFrame, **changes: object) -> EpisodeFrame:
    image: FrameImage = frame.images["wrist"]._replace(**changes)  # type: ignore[arg-type]
    return frame._replace(images={"wrist": image})


def rgb_of(frame: EpisodeFrame) -> np.ndarray:
    rgb = frame.images["wrist"].rgb
    assert rgb is not None
    return rgb


def test_nothing_is_wrong_with_a_good_episode(tmp_path: Path) -> None:
    quality = quality_of(tmp_path / "d")
    assert quality.findings == []
    assert quality.drift_px["wrist"] < 0.5


def test_a_dark_a_bright_and_a_blurred_frame_are_told_apart_and_pictured(tmp_path: Path) -> None:
    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        rgb = rgb_of(frame)
        if index == 10:
            return with_image(frame, rgb=(rgb // 16).astype(np.uint8))
        if index == 20:
            return with_image(frame, rgb=np.full_like(rgb, 255))
        return with_image(frame, rgb=cv2.GaussianBlur(rgb, (0, 0), 4.0)) if index == 30 else frame

    found = kinds(quality_of(tmp_path / "d", change=spoil))
    told = {kind: list(found[kind].frames) for kind in ("too_dark", "too_bright", "blurred")}
    assert told == {"too_dark": [10], "too_bright": [20], "blurred": [30]}
    assert found["too_dark"].picture is not None
    assert float(found["too_dark"].picture.mean()) < 16
    assert "10" in found["too_dark"].advice


def test_duplicates_and_a_frozen_camera_are_told_apart(tmp_path: Path) -> None:
    kept: dict[int, np.ndarray] = {}

    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        kept[index] = rgb_of(frame)
        source = {8: 7, 21: 20, 22: 20, 23: 20, 24: 20}.get(index)
        return frame if source is None else with_image(frame, rgb=kept[source])

    found = kinds(quality_of(tmp_path / "d", change=spoil))
    assert list(found["duplicated"].frames) == [8]
    assert list(found["frozen"].frames) == [21, 22, 23, 24]


def test_a_picture_handed_on_twice_with_its_time_is_a_note(tmp_path: Path) -> None:
    kept: dict[int, FrameImage] = {}

    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        kept[index] = frame.images["wrist"]
        return frame._replace(images={"wrist": kept[11]}) if index == 12 else frame

    found = kinds(quality_of(tmp_path / "d", change=spoil))
    assert found.keys() == {"no_new_picture"}
    assert found["no_new_picture"].severity is Severity.NOTE


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        return frame._replace(images={}) if 30 <= index < 34 else frame

    found = kinds(quality_of(tmp_path / "d", change=spoil))
    assert list(found["no_picture"].frames) == [30, 31, 32, 33]


def test_a_gap_in_time_is_found_where_it_is(tmp_path: Path) -> None:
    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        late_s = 0.6 if index >= 25 else 0.0
        moved = with_image(frame, t_s=frame.images["wrist"].t_s + late_s)
        assert moved.state_t_s is not None
        return moved._replace(t_s=moved.t_s + late_s, state_t_s=moved.state_t_s + late_s)

    found = kinds(quality_of(tmp_path / "d", change=spoil))
    assert list(found["gap"].frames) == [25]
    assert found["gap"].numbers["longest_s"] == pytest.approx(0.65, abs=0.01)


def test_success_with_empty_jaws_and_failure_with_full_ones_contradict(tmp_path: Path) -> None:
    empty = Story(closings=(Closing(0.5, 0.0, 0.0),), success=True)
    assert kinds(quality_of(tmp_path / "a", empty))["success_without_object"].severity is Severity.ERROR
    full = kinds(quality_of(tmp_path / "b", Story(success=False)))
    assert full["failure_with_object"].numbers["width_m"] == pytest.approx(BOX_M, abs=1e-4)
    assert not kinds(quality_of(tmp_path / "c", Story(closings=empty.closings, success=False)))


def test_actions_cut_off_by_limits_are_found(tmp_path: Path) -> None:
    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        meant = Action(np.array([0.03, 0.0, 0.0]), np.zeros(3), 0.08)
        return frame._replace(commanded=meant) if index < 30 else frame

    found = kinds(quality_of(tmp_path / "d", change=spoil))
    assert len(found["saturated_actions"].frames) == 30


@pytest.mark.parametrize("has_depth", [True, False])
def test_a_mount_that_is_far_off_shows_as_drift(tmp_path: Path, has_depth: bool) -> None:
    wrong = T_TCP_CAM @ frames.transform(R=frames.rotation_from_vector([np.radians(20.0), 0.0, 0.0]))

    def spoil(index: int, frame: EpisodeFrame) -> EpisodeFrame:
        assert frame.T_base_tcp is not None
        return with_image(frame, T_base_cam=frame.T_base_tcp @ wrong)

    found = kinds(quality_of(tmp_path / "d", Story(has_depth=has_depth), spoil))
    assert found["calibration"].numbers["drift_px"] > 1.5
    assert found["calibration"].picture is not None


def test_blurriness_grows_with_blur() -> None:
    grey = cv2.resize(np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8), (320, 240))
    values = [blurriness(grey)] + [blurriness(cv2.GaussianBlur(grey, (0, 0), sigma)) for sigma in (2.0, 5.0)]
    assert values == sorted(values)
    assert values[-1] - values[0] > 0.2


def test_many_spans_are_shortened() -> None:
    assert span_text(range(0, 40, 2)).endswith("and 14 more spans")
