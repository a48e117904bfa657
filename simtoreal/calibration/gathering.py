"""Pictures of the source that show the board, with the reasons why others do not."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from simtoreal.calibration.detection import BoardDetector, BoardView, Image
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.live import UvcCamera, camera_shots, is_new, still_and_new
from simtoreal.calibration.pictures import Shot, dataset_shots, folder_shots
from simtoreal.calibration.reprojection import PosedView
from simtoreal.calibration.settings import CalibrateConfig, CalibrateMode
from simtoreal.camera_record import BoardSpec, CameraRecord
from simtoreal.progress import Progress

_UVC, WORLDS = "uvc:", ("pybullet", "mujoco")
_NUM_EXPLAINED = 5  # pictures without a board whose reason is looked for
_MAX_FRAMES = 5000  # of a dataset that are looked at


class Gathered(NamedTuple):
    """Views of the board."""

    shots: tuple[Shot, ...]  # without their pictures
    views: tuple[BoardView, ...]
    size_px: tuple[int, int]  # width and height
    picture: Image  # the last one that shows the board
    unseen: tuple[str, ...]  # names of the pictures that do not show the board

    def posed(self) -> list[PosedView]:
        """The views with their tool poses.

        Raises:
            CalibrationError: a picture has none.
        """
        without = [shot.name for shot in self.shots if shot.T_base_tcp is None]
        if without:
            raise CalibrationError(f"no tool pose is known for {', '.join(without[:5])}: hand-eye needs one each")
        return [
            PosedView(view.name, view.corners_px, view.points_m, shot.T_base_tcp)
            for view, shot in zip(self.views, self.shots, strict=True)
            if shot.T_base_tcp is not None
        ]


def gather(config: CalibrateConfig, progress: Progress, board: BoardSpec | None = None) -> Gathered:
    """Looks through the source of a command, for the board of its settings where no other is given.

    Raises:
        CalibrationError: it cannot be read, or no picture shows the board; says why.
    """
    if not config.source:
        raise CalibrationError(f"mode={config.mode} needs pictures: give source=DIR, or source=uvc:0 for a camera")
    detector = BoardDetector(board or config.board)
    with ExitStack() as stack:
        if str(config.source).startswith(_UVC):
            found = list(_live(config, detector, progress, stack))
            unseen: list[Shot] = []
        else:
            found, unseen = _stored(config, detector, progress)
    if not found:
        raise CalibrationError(f"no picture of {config.source} shows the board: {_reasons(unseen, detector)}")
    picture = found[-1][0].rgb
    _check_markers(found[0][0], detector)
    return Gathered(
        tuple(shot._replace(rgb=shot.rgb[:0]) for shot, _ in found),
        tuple(view for _, view in found),
        (picture.shape[1], picture.shape[0]),
        picture,
        tuple(shot.name for shot in unseen),
    )


def _live(
    config: CalibrateConfig, detector: BoardDetector, progress: Progress, stack: ExitStack
) -> Iterator[tuple[Shot, BoardView]]:
    if config.mode is not CalibrateMode.INTRINSICS:
        raise CalibrationError(
            f"source={config.source} delivers no tool poses: record a dataset with `simtoreal record`, or give a "
            "folder of pictures with poses"
        )
    text = str(config.source).removeprefix(_UVC)
    if not text.isdigit():
        raise CalibrationError(f"source={config.source}: write uvc: and the number of the camera, such as uvc:0")
    camera = stack.enter_context(UvcCamera(int(text)))
    yield from still_and_new(camera_shots(camera), detector, config.views, progress.say)


def _stored(
    config: CalibrateConfig, detector: BoardDetector, progress: Progress
) -> tuple[list[tuple[Shot, BoardView]], list[Shot]]:
    folder = Path(str(config.source)).expanduser()
    is_dataset = (folder / "meta" / "info.json").is_file()
    shots: Iterator[Shot]
    if str(config.source) in WORLDS:
        shots = _rehearsed(config)
    elif is_dataset:
        shots = islice(dataset_shots(folder, config.camera_name), _MAX_FRAMES)
    else:
        shots = folder_shots(folder, needs_poses=config.mode is not CalibrateMode.INTRINSICS)
    found: list[tuple[Shot, BoardView]] = []
    unseen: list[Shot] = []
    for number, shot in enumerate(shots):
        view = detector.find(shot.rgb, shot.name)
        if view is None:
            unseen.append(shot if len(unseen) < _NUM_EXPLAINED else shot._replace(rgb=shot.rgb[:0]))
        elif not is_dataset or is_new(view, [other for _, other in found], shot.rgb.shape[1]):
            found.append((shot, view))
        if is_dataset and len(found) >= config.views:
            break
        if number % 50 == 49:
            progress.say(f"{number + 1} pictures looked at, {len(found)} views of the board")
    return found, unseen


def _rehearsed(config: CalibrateConfig) -> Iterator[Shot]:
    """Pictures of a simulated cell; the same seed has the same camera in every mode."""
    from simtoreal.calibration.rehearsal import Rehearsal, RehearsalPlan

    world: Literal["pybullet", "mujoco"] = "mujoco" if config.source == "mujoco" else "pybullet"
    plan = RehearsalPlan(world, config.placed, config.board)
    with Rehearsal(plan, np.random.default_rng(config.seed)) as rehearsal:
        if config.mode is CalibrateMode.INTRINSICS:
            yield from rehearsal.lens_shots(config.views)
        else:
            yield from rehearsal.shots(config.views)


def _reasons(unseen: list[Shot], detector: BoardDetector) -> str:
    reasons = dict.fromkeys(detector.explain(shot.rgb) for shot in unseen[:_NUM_EXPLAINED] if shot.rgb.size)
    return "; ".join(reasons) or "there are no pictures"


def _check_markers(shot: Shot, detector: BoardDetector) -> None:
    """A larger board of the same dictionary is found too, with every corner in the wrong place."""
    needed = detector.spec.squares_x * detector.spec.squares_y // 2
    if detector.largest_marker(shot.rgb) >= needed:
        raise CalibrationError(f"{shot.name}: {detector.explain(shot.rgb)}")


def check_size(gathered: Gathered, camera: CameraRecord, path: Path) -> None:
    """Makes sure that pictures are of the size that a lens was measured at.

    Raises:
        CalibrationError: they are not.
    """
    known = (camera.model.width_px, camera.model.height_px)
    if gathered.size_px != known:
        raise CalibrationError(
            f"the pictures have {gathered.size_px[0]} x {gathered.size_px[1]} pixels and {path} is of {known[0]} x "
            f"{known[1]}: take them in the same mode, or run `simtoreal calibrate intrinsics` in this one"
        )
