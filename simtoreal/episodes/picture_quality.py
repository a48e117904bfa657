"""What can be seen in the pictures of one camera: too dark, too bright, blurred, frozen, missing."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.findings import Finding, Severity, span_text
from simtoreal.episodes.records import FrameImage

_LOOK_PX = 320  # pictures are looked at in this width
_SAME_PX = (64, 48)  # and compared in this size
_REBLUR_PX = 9


@dataclass(frozen=True)
class PictureLimits:
    """When a picture is too dark, too bright, blurred, or the one before once more."""

    dark_level: float = 28.0  # of 255: nine tenths of the picture are darker
    bright_level: float = 250.0  # half of the picture is brighter
    blur: float = 0.55  # 0 is sharp, 1 is smeared out; sharp pictures of four sources lie below 0.42
    blur_more: float = 0.18  # than the median of the episode: a picture blurred by motion
    min_contrast: float = 6.0  # standard deviation; of less nothing can be said about blur
    same_level: float = 1.5  # largest difference of what was averaged to 64 x 48
    moved_m: float = 0.004  # of the tool, between two pictures that ought to differ
    frozen_frames: int = 3  # more than a duplicate
    many_frac: float = 0.5  # of the frames: the episode is of little use


class PictureMeasures(NamedTuple):
    """Figures of one picture."""

    dark: float  # level below which nine tenths of the pixels lie
    bright: float  # level above which half of them lie
    blur: float  # nan without contrast
    repeats: bool  # the same as the one before, though the tool moved and the clock went on


@dataclass
class PictureWatch:
    """Goes through the pictures of one camera of an episode in order, and keeps figures only."""

    camera: str
    limits: PictureLimits = field(default_factory=PictureLimits)
    measures: dict[int, PictureMeasures] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)  # frames with the very picture of the frame before
    _last: tuple[float, NDArray[np.float32], NDArray[np.float64] | None] | None = None

    def see(self, index: int, image: FrameImage | None, position_m: NDArray[np.float64] | None) -> None:
        """Takes up a frame; `position_m` (3,) is of the tool."""
        if image is None or (image.rgb is None and image.depth_m is None):
            self.missing.append(index)
            return
        if image.rgb is None:
            return
        small = _small(image.rgb)
        if self._last is not None and image.t_s <= self._last[0]:
            self.stale.append(index)
            return
        self.measures[index] = measure_picture(image.rgb, self.limits)._replace(
            repeats=self._repeats(small, position_m)
        )
        self._last = (image.t_s, small, position_m)

    def _repeats(self, small: NDArray[np.float32], position_m: NDArray[np.float64] | None) -> bool:
        if self._last is None or position_m is None or self._last[2] is None:
            return False
        moved = float(np.linalg.norm(position_m - self._last[2])) > self.limits.moved_m
        return moved and float(np.abs(small - self._last[1]).max()) < self.limits.same_level

    def findings(self, episode: int, num_frames: int) -> list[Finding]:
        """What is wrong, without pictures."""
        limits = self.limits
        dark = [i for i, m in self.measures.items() if m.dark < limits.dark_level]
        bright = [i for i, m in self.measures.items() if m.bright > limits.bright_level]
        blurs = [m.blur for m in self.measures.values() if np.isfinite(m.blur)]
        too_blurred = min(limits.blur, float(np.median(blurs)) + limits.blur_more) if blurs else limits.blur
        spoilt = {*dark, *bright}
        blurred = [i for i, m in self.measures.items() if m.blur > too_blurred and i not in spoilt]
        repeats = [i for i, m in self.measures.items() if m.repeats]
        said = (
            ("too_dark", dark, "light the scene, open the aperture or expose longer"),
            ("too_bright", bright, "expose shorter, or take the lamp out of the picture"),
            ("blurred", blurred, "focus the camera, expose shorter or move more slowly"),
        )
        found = [self._finding(kind, frames, episode, num_frames, what) for kind, frames, what in said if frames]
        found += self._repeated(repeats, episode, num_frames)
        if self.missing:
            what = "look at cable, driver and bandwidth, or leave the camera out"
            found.append(self._finding("no_picture", self.missing, episode, num_frames, what))
        if self.stale:
            found.append(self._stale(episode, num_frames))
        return found

    def _finding(self, kind: str, frames: list[int], episode: int, num_frames: int, what: str) -> Finding:
        share = len(frames) / max(num_frames, 1)
        severity = Severity.ERROR if share > self.limits.many_frac else Severity.WARNING
        name = kind.replace("_", " ")
        advice = f"{len(frames)} of {num_frames} frames {name} (frames {span_text(frames)}): {what}."
        numbers = {"share": share}
        if frames[0] in self.measures:
            figure = {"too_dark": "dark", "too_bright": "bright", "blurred": "blur"}.get(kind)
            if figure is not None:
                numbers[figure] = float(np.median([getattr(self.measures[i], figure) for i in frames]))
        return Finding(kind, severity, episode, frames, numbers, advice, self.camera)

    def _repeated(self, repeats: list[int], episode: int, num_frames: int) -> list[Finding]:
        runs = np.split(np.array(repeats, dtype=int), np.flatnonzero(np.diff(repeats) > 1) + 1) if repeats else []
        frozen = [int(i) for run in runs if len(run) >= self.limits.frozen_frames for i in run]
        single = [i for i in repeats if i not in set(frozen)]
        what = "the picture stood still while the tool moved: look at the driver, and leave these frames out"
        found = [self._finding("frozen", frozen, episode, num_frames, what)] if frozen else []
        if single:
            found.append(self._finding("duplicated", single, episode, num_frames, what))
        return found

    def _stale(self, episode: int, num_frames: int) -> Finding:
        share = len(self.stale) / max(num_frames, 1)
        advice = (
            f"{len(self.stale)} of {num_frames} frames hold the picture of the frame before once more, as their "
            "capture times say: the camera is slower than the loop or dropped frames; weigh them as one."
        )
        severity = Severity.WARNING if share > self.limits.many_frac else Severity.NOTE
        return Finding("no_new_picture", severity, episode, self.stale, {"share": share}, advice, self.camera)


def measure_picture(rgb: NDArray[np.uint8], limits: PictureLimits) -> PictureMeasures:
    """Figures of a picture (H, W, 3) by itself."""
    scale = min(1.0, _LOOK_PX / rgb.shape[1])
    size = max(16, round(scale * rgb.shape[1])), max(16, round(scale * rgb.shape[0]))
    grey = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    bright, dark = np.percentile(grey, [50, 90])
    blur = blurriness(grey) if float(grey.std()) > limits.min_contrast else float("nan")
    return PictureMeasures(float(dark), float(bright), blur, False)


def blurriness(grey: NDArray[Any]) -> float:
    """How little a picture (H, W) loses when it is blurred, from 0 (sharp) to 1.

    Crete, Dolmiere, Ladret and Nicolas, "The blur effect", 2007.
    """
    values = grey.astype(np.float32)
    shares = []
    for axis, kernel in ((1, (_REBLUR_PX, 1)), (0, (1, _REBLUR_PX))):
        sharp = np.abs(np.diff(values, axis=axis))
        smooth = np.abs(np.diff(cv2.blur(values, kernel), axis=axis))
        lost = np.maximum(sharp - smooth, 0.0).sum()
        shares.append(float(1.0 - lost / max(float(sharp.sum()), 1e-6)))
    return max(shares)


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(rgb, _SAME_PX, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
