"""Folders of images with grasp rectangles, Cornell and Jacquard: every image is an episode of one frame.

The rectangles go to `EpisodeEnd.labels["grasp_rectangles"]`; `simtoreal.episodes.grasp_rectangles.to_label` has their
form.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simtoreal.episodes.grasp_rectangles import LABEL, GraspRectangle, from_corners, from_jacquard, to_label
from simtoreal.episodes.importing.encoded_images import read_bytes
from simtoreal.episodes.importing.row_images import as_depth_m, as_rgb
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError, described, source_id
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage

CAMERA = "rgb"
MAX_LABEL_BYTES = 10_000_000


class Convention(NamedTuple):
    """How a data set names its files and writes its rectangles."""

    image: "re.Pattern[str]"  # its first group is the name of the episode
    depth: tuple[str, ...]
    positive: str
    negative: str | None
    parse: Callable[[str], tuple[list[GraspRectangle], list[str]]]
    domain: str
    about: str


class RectangleSource:
    """Images with grasp rectangles of one convention.

    Raises:
        SourceError: there is no image of this convention in the folder.
    """

    def __init__(self, path: Path, config: ImportConfig, convention: Convention) -> None:
        self.path, self._config, self._convention = path, config, convention
        if not self._images:
            raise SourceError(f"there is no image called like {convention.image.pattern}", path)

    @property
    def assumptions(self) -> Sequence[str]:
        return [self._convention.about, "one picture has no rate: fps is 1, and its time is 0"]

    def names(self) -> Sequence[str]:
        return list(self._images)

    def open(self, name: str) -> SourceEpisode:
        if name not in self._images:
            raise SourceError("there is no such image", self.path, name)
        path = self._images[name]
        try:
            image = self._read(path, name)
            labels, remarks = self._labels(path.parent, name)
        except SourceError as error:
            raise error.placed(path, name, 0) from error
        camera = CameraInfo(
            image.rgb.shape[1] if image.rgb is not None else 0,
            image.rgb.shape[0] if image.rgb is not None else 0,
            has_depth=image.depth_m is not None,
            mount="external",
        )
        info = EpisodeInfo(
            self._config.fps or 1.0, {CAMERA: camera}, domain=self._convention.domain, source=source_id(self.path, name)
        )
        info = described(info, self._config)
        end = EpisodeEnd(success=self._config.success, labels={LABEL: labels})
        return SourceEpisode(info, iter([EpisodeFrame(0.0, {CAMERA: image})]), lambda: end, lambda: remarks)

    @cached_property
    def _images(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in sorted(self.path.rglob("*")):
            match = self._convention.image.fullmatch(path.name)
            if match is None:
                continue
            if match[1] in found:
                raise SourceError(f"two images are called {match[1]}: {found[match[1]]} and {path}", self.path)
            found[match[1]] = path
        return found

    def _read(self, path: Path, name: str) -> FrameImage:
        rgb = as_rgb(path)
        for ending in self._convention.depth:
            depth = path.parent / f"{name}{ending}"
            if depth.exists():
                depth_m = as_depth_m(depth, self._config.depth_scale_m)
                if depth_m.shape != rgb.shape[:2]:
                    raise SourceError(f"the depth image {depth.name} is {depth_m.shape}, the image {rgb.shape[:2]}")
                return FrameImage(0.0, rgb, depth_m)
        return FrameImage(0.0, rgb)

    def _labels(self, folder: Path, name: str) -> tuple[list[dict[str, Any]], list[str]]:
        convention, labels, remarks = self._convention, [], []
        for ending, positive in ((convention.positive, True), (convention.negative, False)):
            path = folder / f"{name}{ending}"
            if ending is None or (not positive and not path.exists()):
                continue
            try:
                rectangles, odd = convention.parse(_text(path))
            except ValueError as error:
                raise SourceError(f"{path.name}: {error}") from error
            labels += [to_label(rectangle, CAMERA, positive) for rectangle in rectangles]
            remarks += [f"{path.name}: {remark}" for remark in odd]
        return labels, remarks


def _text(path: Path) -> str:
    try:
        return read_bytes(path)[:MAX_LABEL_BYTES].decode("ascii")
    except UnicodeDecodeError as error:
        raise SourceError("the labels are not text", path) from error


def _parse_cornell(text: str) -> tuple[list[GraspRectangle], list[str]]:
    """Four lines `x y` a rectangle; those with NaN corners, of which the original has some, are left out and said."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) % 4:
        raise ValueError(f"{len(lines)} lines are no rectangles of four corners")
    rectangles, remarks = [], []
    for first in range(0, len(lines), 4):
        corners = np.array([[float(value) for value in line] for line in lines[first : first + 4]], dtype=np.float64)
        if corners.shape == (4, 2) and np.isnan(corners).any():
            remarks.append(f"rectangle {first // 4} has corners that are not numbers and is left out")
            continue
        rectangles.append(from_corners(corners))
    return rectangles, remarks


def _parse_jacquard(text: str) -> tuple[list[GraspRectangle], list[str]]:
    return [from_jacquard(line) for line in text.splitlines() if line.strip()], []


CORNELL = Convention(
    re.compile(r"(pcd\d+)r\.(?:png|jpg|jpeg)", re.IGNORECASE),
    ("d.tiff", "d.png"),
    "cpos.txt",
    "cneg.txt",
    _parse_cornell,
    "real",
    "Cornell: the edge from the 1st to the 2nd corner of a rectangle is the direction in which the jaws open",
)
JACQUARD = Convention(
    re.compile(r"(.+_)RGB\.(?:png|jpg|jpeg)", re.IGNORECASE),
    ("perfect_depth.tiff", "stereo_depth.tiff"),
    "grasps.txt",
    None,
    _parse_jacquard,
    "jacquard",
    "Jacquard: theta grows counterclockwise as one sees the image; depth is the perfect one where it is there",
)
