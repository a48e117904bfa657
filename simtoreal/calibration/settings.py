"""The settings of `simtoreal calibrate`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from simtoreal.camera_record import CAMERA_FILE, BoardSpec
from simtoreal.config import MAX_SEED, CameraMount
from simtoreal.schema import option


class CalibrateMode(StrEnum):
    """What to do; the first word after the verb."""

    INTRINSICS = "intrinsics"
    HAND_EYE = "hand-eye"
    CHECK = "check"
    BOARD = "board"


@dataclass(frozen=True)
class CalibrateConfig:
    """Measure a camera with a ChArUco board, check whether it has moved, or print the board."""

    mode: CalibrateMode = option(CalibrateMode.INTRINSICS, "what to do; may be written as the first word")
    source: str | None = option(
        None, "pictures: a folder, a recorded dataset, uvc:NUMBER for a camera, or pybullet or mujoco to rehearse"
    )
    camera: Path | None = option(None, "camera.yaml that hand-eye and check start from; null is the one in out")
    camera_name: str | None = option(None, "which camera of a dataset; null where there is one")
    placement: CameraMount = option(CameraMount.WRIST, "hand-eye: where the camera sits")
    board: BoardSpec = option(lambda: BoardSpec(), "the board, as printed")
    views: int = option(20, "pictures to take with a camera, or to use of a dataset", minimum=3, maximum=500)
    board_fixed: bool = option(False, "check: the board was not moved since the calibration, so one view is enough")
    tolerance_m: float = option(0.005, "check: how far the camera may have moved", unit="m", minimum=1e-4, maximum=0.1)
    tolerance_rad: float = option(0.0175, "check: how far it may have turned", unit="rad", minimum=1e-4, maximum=0.5)
    margin_m: float = option(0.01, "board: white margin", unit="m", minimum=0.0, maximum=0.5)
    dpi: int = option(300, "board: resolution of the PNG", unit="per inch", minimum=50, maximum=2400)
    force: bool = option(False, "replace a camera.yaml by one that is worse, or of another camera")
    seed: int = option(0, "seed of the subsets of views that are tried", minimum=0, maximum=MAX_SEED)
    out: Path = option(Path("runs/calibrate"), "run folder; camera.yaml is written there")

    @property
    def placed(self) -> Literal["wrist", "external"]:
        """The placement, for those who need it as a literal."""
        return "wrist" if self.placement is CameraMount.WRIST else "external"

    @property
    def camera_file(self) -> Path:
        """The camera file to start from."""
        return self.camera or self.out / CAMERA_FILE
