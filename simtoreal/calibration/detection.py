"""Finding the board in a picture, and saying what is wrong where it is not found."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.calibration.board import DICTIONARIES, charuco_board, corner_points_m, dictionary_of
from simtoreal.camera_record import BoardSpec, FloatArray

Image = NDArray[np.uint8]
MIN_CORNERS = 6
_STRAY, _LEAST_STRAY_PX = 4.0, 0.15  # standard deviations, estimated from the median
_MIN_MARKERS = 4  # of another dictionary, before it is believed


class _SomeView(Protocol):
    @property
    def points_m(self) -> FloatArray: ...

    def of(self, mask: NDArray[np.bool_]) -> Self: ...


_View = TypeVar("_View", bound=_SomeView)


class BoardView(NamedTuple):
    """What one picture shows of the board."""

    name: str
    corners_px: FloatArray  # (N, 2)
    points_m: FloatArray  # (N, 3), board frame
    ids: NDArray[np.int64]  # (N,)

    def of(self, mask: NDArray[np.bool_]) -> "BoardView":
        """The view with some of its corners."""
        return BoardView(self.name, self.corners_px[mask], self.points_m[mask], self.ids[mask])


class BoardDetector:
    """Looks for one board in pictures.

    Raises:
        CalibrationError: the board cannot exist.
    """

    def __init__(self, spec: BoardSpec) -> None:
        self.spec = spec
        self._board = charuco_board(spec)
        self._points_m = corner_points_m(spec)
        markers = cv2.aruco.DetectorParameters()
        markers.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_NONE  # the chessboard's corners are refined instead
        self._detector = cv2.aruco.CharucoDetector(self._board, cv2.aruco.CharucoParameters(), markers)

    def find(self, rgb: Image, name: str = "") -> BoardView | None:
        """The corners in a picture (H, W, 3); None where fewer than six are seen, or all but one in one line."""
        corners, ids, _, _ = self._detector.detectBoard(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        if ids is None:
            return None
        numbers = np.asarray(ids, dtype=np.int64).ravel()
        points = self._points_m[numbers]
        if not determines_pose(points, self.spec.square_m):
            return None
        return BoardView(name, np.asarray(corners, dtype=np.float64).reshape(-1, 2), points, numbers)

    def explain(self, rgb: Image) -> str:
        """Why `find` sees nothing here, in words that say what to do."""
        if self.find(np.ascontiguousarray(rgb[:, ::-1])) is not None:
            return "the picture is mirrored: the board is found in its mirror image; switch mirroring off at the camera"
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        ids = _marker_ids(gray, self.spec.dictionary)
        needed = self.spec.squares_x * self.spec.squares_y // 2
        if ids and max(ids) >= needed:
            return (
                f"marker {max(ids)} is seen, but a board of {self.spec.squares_x} x {self.spec.squares_y} squares has "
                f"markers 0 to {needed - 1}: set board.squares_x and board.squares_y to those of the print"
            )
        if ids:
            return f"{len(ids)} markers are seen but no whole corners: bring more of the board into the picture"
        counts = Counter({name: len(_marker_ids(gray, name)) for name in DICTIONARIES if "APRILTAG" not in name})
        best, count = counts.most_common(1)[0]
        if count >= _MIN_MARKERS:
            return f"the markers seen are of {best}: set board.dictionary={best}"
        level = float(gray.mean())
        light = "; it is dark" if level < 25 else "; it is overexposed" if level > 245 else ""
        return f"no marker is seen{light}: is the board in view, sharp, and lit evenly?"

    def largest_marker(self, rgb: Image) -> int:
        """The highest number among the markers of this dictionary in a picture; -1 without any."""
        return max(_marker_ids(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), self.spec.dictionary), default=-1)


def determines_pose(points_m: FloatArray, square_m: float) -> bool:
    """Whether corners (N, 3) of the board determine a homography: six, and all but any one of them are in no line."""
    if len(points_m) < MIN_CORNERS:
        return False
    for i in range(len(points_m)):
        others = np.delete(points_m[:, :2], i, axis=0)
        off_line = np.linalg.svd(others - others.mean(axis=0), compute_uv=False)[1]
        if off_line < 0.5 * square_m:
            return False
    return True


def without_strays(views: Sequence[_View], residuals_px: Sequence[FloatArray]) -> list[_View]:
    """The views without the corners whose residuals (N, 2) are far off the rest.

    Corners beside a shadow, a finger or the edge of the picture err ten times as much as others. A view of which too
    little would be left to determine a pose keeps all of its corners: with less, a fit that is right goes astray.
    """
    lengths = [np.linalg.norm(part, axis=1) for part in residuals_px]
    spread_px = float(np.median(np.concatenate(lengths))) / 1.177  # the median of a Rayleigh distribution
    limit = _STRAY * max(spread_px, _LEAST_STRAY_PX / _STRAY)
    steady = [view.of(length <= limit) for view, length in zip(views, lengths, strict=True)]
    return [
        few if determines_pose(few.points_m, _square_m(view.points_m)) else view
        for few, view in zip(steady, views, strict=True)
    ]


def _square_m(points_m: FloatArray) -> float:
    """Edge of a square of the board, by the nearest of its corners (N, 3)."""
    apart = np.linalg.norm(points_m[:, None] - points_m[None], axis=2)
    return float(apart[apart > 0].min())


def _marker_ids(gray: NDArray[Any], dictionary: str) -> list[int]:
    _, ids, _ = cv2.aruco.ArucoDetector(dictionary_of(dictionary)).detectMarkers(gray)
    return [] if ids is None else sorted(int(number) for number in np.asarray(ids).ravel())
