"""What the motion of an episode says about its calibration: goes through the frames of one camera in order."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from simtoreal import frames
from simtoreal.episodes.calibration_drift import Drift, DriftLimits, scene_shift_px, wrist_drift
from simtoreal.episodes.findings import Finding, Image, Severity
from simtoreal.episodes.grasp_views import PosedImage
from simtoreal.episodes.records import FrameImage

_SEEN, _DUE = (60, 200, 80), (235, 60, 60)


@dataclass
class WristWatch:
    """Compares pictures of a camera on the wrist that are a little motion apart, until something is held."""

    camera: str
    until_s: float  # the jaws close: what they hold moves with the camera
    limits: DriftLimits = field(default_factory=DriftLimits)
    pairs: list[Drift] = field(default_factory=list)
    _kept: PosedImage | None = None
    _worst: tuple[float, Image] | None = None

    def see(self, index: int, picture: PosedImage | None) -> None:
        """Takes up a frame."""
        if picture is None or picture.image.rgb is None or not picture.on_wrist or picture.image.t_s >= self.until_s:
            return
        if self._kept is None or len(self.pairs) >= self.limits.max_pairs:
            self._kept = self._kept or picture
            return
        T_before_after = frames.invert(self._kept.T_base_cam) @ picture.T_base_cam
        moved_m = float(np.linalg.norm(T_before_after[:3, 3]))
        turned_rad = float(np.linalg.norm(frames.rotation_to_vector(T_before_after[:3, :3])))
        if moved_m > self.limits.max_moved_m or turned_rad > self.limits.max_turned_rad:
            self._kept = picture
        elif moved_m > self.limits.moved_m:
            drift = wrist_drift(index, self._kept, picture, self.limits)
            self._kept = picture
            if drift is not None:
                self._add(drift, picture)

    def _add(self, drift: Drift, picture: PosedImage) -> None:
        self.pairs.append(drift)
        assert picture.image.rgb is not None
        if self._worst is None or drift.drift_px > self._worst[0]:
            self._worst = drift.drift_px, draw_drift(picture.image.rgb, drift)

    def numbers(self) -> dict[str, float]:
        """Medians over the pairs; empty without any."""
        if not self.pairs:
            return {}
        drift, flow = (
            float(np.median([getattr(pair, name) for pair in self.pairs])) for name in ("drift_px", "flow_px")
        )
        return {"drift_px": drift, "flow_px": flow, "pairs": float(len(self.pairs))}

    def findings(self, episode: int, width_px: int) -> list[Finding]:
        """At most one."""
        numbers = self.numbers()
        limit_px = max(self.limits.max_drift_px, self.limits.max_drift_frac * width_px)
        if len(self.pairs) < 3 or numbers["drift_px"] <= max(
            limit_px, self.limits.max_drift_of_flow * numbers["flow_px"]
        ):
            return []
        advice = (
            f"Points of the still scene appear {numbers['drift_px']:.1f} px from where calibration and tool pose put "
            f"them while they move by {numbers['flow_px']:.0f} px: calibrate intrinsics and mount anew, or "
            "check whether pictures are late."
        )
        picture = None if self._worst is None else self._worst[1]
        where = [pair.frame for pair in self.pairs]
        return [Finding("calibration", Severity.ERROR, episode, where, numbers, advice, self.camera, picture)]


@dataclass
class StandWatch:
    """Compares the first picture of a camera that ought to stand with later ones."""

    camera: str
    every: int = 10
    limits: DriftLimits = field(default_factory=DriftLimits)
    shifts_px: dict[int, float] = field(default_factory=dict)
    _first: Image | None = None
    _last: Image | None = None

    def see(self, index: int, image: FrameImage | None) -> None:
        """Takes up a frame."""
        if image is None or image.rgb is None:
            return
        if self._first is None:
            self._first = image.rgb.copy()
        elif index % self.every == 0:
            shift_px = scene_shift_px(self._first, image.rgb, self.limits.min_features)
            if shift_px is not None:
                self.shifts_px[index] = shift_px
                self._last = image.rgb.copy()

    def findings(self, episode: int, width_px: int) -> list[Finding]:
        """At most one."""
        limit_px = self.limits.max_shift_frac * width_px
        where = [index for index, shift_px in self.shifts_px.items() if shift_px > limit_px]
        if not where or len(where) < 0.2 * len(self.shifts_px):
            return []
        shift_px = max(self.shifts_px.values())
        advice = (
            f"The scene shifts by {shift_px:.1f} px although the camera ought to stand: fasten it and calibrate anew, "
            "or record it as mounted on the wrist."
        )
        numbers = {"shift_px": shift_px}
        return [Finding("camera_moved", Severity.WARNING, episode, where, numbers, advice, self.camera, self._last)]


def draw_drift(rgb: Image, drift: Drift) -> Image:
    """Features as they are (green) and as they ought to be (red)."""
    factor = max(1, math.ceil(320 / rgb.shape[1]))
    canvas = np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))
    for seen, due in zip(drift.seen_px, drift.due_px, strict=True):
        ends = [tuple(int(round(float(value))) for value in factor * (point + 0.5)) for point in (seen, due)]
        cv2.line(canvas, ends[0], ends[1], _DUE, 1, cv2.LINE_AA)
        cv2.circle(canvas, ends[0], 3, _SEEN, 1, cv2.LINE_AA)
        cv2.circle(canvas, ends[1], 2, _DUE, -1, cv2.LINE_AA)
    return canvas
