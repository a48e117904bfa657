"""Controllers by name: one table for every verb that needs one. Each is imported when it is used.

An opener takes `ControllerSettings` and returns a `Controller` that is not connected yet. Simulated cells and hardware
are found by the same text, `module:function`, so that neither this package nor its users import a driver.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from simtoreal.contracts import Controller
from simtoreal.schema import ConfigError, closest


@dataclass(frozen=True)
class ControllerSettings:
    """What openers are told; each takes what it needs and refuses what it cannot use."""

    robot: str = "panda"
    address: str | None = None  # of a robot or server
    control_hz: float | None = None  # None is the controller's own
    camera: Path | None = None  # camera.yaml of a calibration
    log: Path | None = None  # dataset that `replay` answers from
    episode: int = 0  # of that log
    seed: int = 0
    objects: str = "random_test"  # of simulated cells
    options: tuple[str, ...] = ()  # KEY=VALUE of one controller alone
    file: Path | None = None  # that describes hardware: the controller was named by it


class Entry(NamedTuple):
    """One kind of controller."""

    opener: str
    about: str
    session: str = ""  # how `record` runs it; empty where nobody judges, and `deploy` records
    knows_its_camera: bool = False  # needs no calibration: it made up its camera, or has recorded it


_SIMULATED = "simtoreal.episodes.simulated_session:open_session"
CONTROLLERS = {
    "pybullet": Entry("simtoreal.deployment.simulated:open_pybullet", "the PyBullet cell", _SIMULATED, True),
    "mujoco": Entry("simtoreal.deployment.simulated:open_mujoco", "the MuJoCo cell, as reality", _SIMULATED, True),
    "fake": Entry(
        "simtoreal.controllers.fake:open_controller", "a kinematic arm over a block, for tests", knows_its_camera=True
    ),
    "replay": Entry(
        "simtoreal.deployment.logs:open_controller", "a recorded episode, which answers", knows_its_camera=True
    ),
    "remote": Entry(
        "simtoreal.serving.remote_controller:open_controller",
        "what `simtoreal serve controller=NAME` serves elsewhere, at address=HOST:PORT",
    ),
}
HARDWARE = Entry("simtoreal.controllers.hardware:open_controller", "an arm and cameras that a YAML file describes")
ARMS = ("ur", "franka", "lerobot", "ros")  # drivers that such a file can name


def find_entry(name: str) -> Entry:
    """The entry of a controller; the name of a YAML file is that of the hardware it describes.

    Raises:
        ConfigError: there is no such controller.
    """
    if _is_file(name):
        return HARDWARE
    if name in ARMS:
        raise ConfigError(
            f"controller={name} needs a file that says how the arm is set up: copy one of configs/hardware with arm: "
            f"{name}, measure your cell, and give controller=FILE.yaml"
        )
    if name not in CONTROLLERS:
        raise ConfigError(
            f"controller={name} is not known{closest(name, list(CONTROLLERS))} Controllers: {', '.join(CONTROLLERS)}, "
            "or FILE.yaml of your own hardware"
        )
    return CONTROLLERS[name]


def open_controller(name: str, settings: ControllerSettings) -> Controller:
    """A controller by its name, not connected yet.

    Raises:
        ConfigError: there is no such controller, or the settings do not fit it.
        ModuleNotFoundError: it needs an extra that is not installed; the message names it.
    """
    module, _, function = find_entry(name).opener.partition(":")
    opener: Callable[[ControllerSettings], Controller] = getattr(importlib.import_module(module), function)
    return opener(replace(settings, file=Path(name).expanduser()) if _is_file(name) else settings)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))
