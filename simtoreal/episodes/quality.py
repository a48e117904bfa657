"""The quality gate: what is wrong with a recorded episode, with numbers and pictures; nothing is dropped silently."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from simtoreal.episodes.arm_tracks import ArmTracks, arm_tracks
from simtoreal.episodes.calibration_drift import DriftLimits
from simtoreal.episodes.findings import Finding, worst_first
from simtoreal.episodes.grasp_attempts import AttemptConfig, find_attempts
from simtoreal.episodes.grasp_views import posed
from simtoreal.episodes.hindsight import FramedEpisode
from simtoreal.episodes.motion_quality import StandWatch, WristWatch
from simtoreal.episodes.outcome_quality import OutcomeLimits, action_findings, outcome_findings
from simtoreal.episodes.picture_quality import PictureLimits, PictureWatch
from simtoreal.episodes.records import EpisodeFrame
from simtoreal.episodes.timeline import TimingReport
from simtoreal.episodes.timing_quality import TimingLimits, measure_timing, timing_findings


@dataclass(frozen=True)
class QualityConfig:
    """All limits of the gate."""

    pictures: PictureLimits = field(default_factory=PictureLimits)
    drift: DriftLimits = field(default_factory=DriftLimits)
    timing: TimingLimits = field(default_factory=TimingLimits)
    outcome: OutcomeLimits = field(default_factory=OutcomeLimits)
    attempts: AttemptConfig = field(default_factory=AttemptConfig)


class EpisodeQuality(NamedTuple):
    """What was found out about an episode."""

    findings: Sequence[Finding]  # the worst first
    timing: TimingReport
    drift_px: dict[str, float]  # median drift of each camera on the wrist, where it could be measured
    blur: dict[str, float]  # median of each camera


def check_episode(episode: FramedEpisode, number: int, config: QualityConfig | None = None) -> EpisodeQuality:
    """Looks at every frame of an episode.

    Args:
        number: index of the episode, for the findings.

    Raises:
        DatasetError: a frame cannot be read.
    """
    config = config or QualityConfig()
    tracks = arm_tracks(episode)
    attempts = find_attempts(tracks, None, config.attempts)
    until_s = min((attempt.begins_s for attempt in attempts), default=float("inf"))
    watches = {name: _CameraWatch(name, episode, tracks, until_s, config) for name in episode.info.cameras}
    for index in range(len(episode)):
        frame = episode.frame(index)
        for watch in watches.values():
            watch.see(index, frame)
    timing = measure_timing(episode)
    findings = [finding for watch in watches.values() for finding in watch.findings(number, len(episode))]
    findings += timing_findings(timing, episode, number, config.timing)
    findings += action_findings(episode, number, config.outcome)
    findings += outcome_findings(attempts, tracks, episode, number, config.outcome)
    pictured = [
        item if item.picture is not None else item._replace(picture=_picture(episode, item)) for item in findings
    ]
    drift = {name: w.wrist.numbers()["drift_px"] for name, w in watches.items() if w.wrist.pairs}
    return EpisodeQuality(worst_first(pictured), timing, drift, {name: w.blur for name, w in watches.items()})


class _CameraWatch:
    """Everything that looks at one camera."""

    def __init__(
        self, name: str, episode: FramedEpisode, tracks: ArmTracks, until_s: float, config: QualityConfig
    ) -> None:
        self._name, self._tracks, self._info = name, tracks, episode.info.cameras[name]
        self._pictures = PictureWatch(name, config.pictures)
        self.wrist = WristWatch(name, until_s, config.drift)
        self._stand = StandWatch(name, max(1, len(episode) // 12), config.drift)

    def see(self, index: int, frame: EpisodeFrame) -> None:
        image = frame.images.get(self._name)
        T_base_tcp = frame.T_base_tcp
        self._pictures.see(index, image, None if T_base_tcp is None else T_base_tcp[:3, 3])
        if image is not None and self._info.mount == "wrist":
            self.wrist.see(index, posed(image, self._info, self._tracks.poses))
        if self._info.mount == "external":
            self._stand.see(index, image)

    def findings(self, episode: int, num_frames: int) -> list[Finding]:
        found = self._pictures.findings(episode, num_frames)
        found += self.wrist.findings(episode, self._info.width_px)
        return found + self._stand.findings(episode, self._info.width_px)

    @property
    def blur(self) -> float:
        values = [m.blur for m in self._pictures.measures.values() if np.isfinite(m.blur)]
        return float(np.median(values)) if values else float("nan")


def _picture(episode: FramedEpisode, finding: Finding) -> np.ndarray | None:
    """The picture in the middle of what a finding is about; None where there is none."""
    if not len(episode):
        return None
    index = finding.frames[len(finding.frames) // 2] if finding.frames else len(episode) - 1
    images = episode.frame(index).images
    chosen = images.get(finding.camera) if finding.camera else next(iter(images.values()), None)
    return None if chosen is None else chosen.rgb
