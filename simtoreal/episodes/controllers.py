"""What `simtoreal record` can record from: controllers of the one table that have somebody who grasps and a judge."""

import importlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from simtoreal.controllers.registry import CONTROLLERS, find_entry
from simtoreal.episodes.recorder import Recorder
from simtoreal.episodes.records import EpisodeEnd, Mount
from simtoreal.episodes.settings import RecordConfig
from simtoreal.progress import Progress
from simtoreal.runtime import Step
from simtoreal.schema import ConfigError


class Take(NamedTuple):
    """One episode to record, and how the session recognises it again."""

    number: int
    object_name: str


class Session(Protocol):
    """A connected controller with a policy."""

    @property
    def control_hz(self) -> float: ...
    @property
    def robot(self) -> str: ...
    @property
    def domain(self) -> str:
        """What the episodes say of where they come from."""
        ...

    @property
    def mounts(self) -> dict[str, Mount]:
        """Cameras by name, first the one that policies look through."""
        ...

    def clock(self, step: Step) -> float:
        """When the period of a step began, on the clock of the observations, seconds."""
        ...

    def takes(self, numbers: Sequence[int]) -> list[Take]:
        """What to record under these numbers."""
        ...

    def run(self, take: Take, recorder: Recorder) -> EpisodeEnd | None:
        """Runs one episode with the recorder in the loop; None where it was none, such as a scene that was lost."""
        ...

    def close(self) -> None:
        """Lets go of the controller. Safe to call again."""
        ...


def open_session(config: RecordConfig, progress: Progress) -> Session:
    """The session of the controller that a record command names.

    Raises:
        ConfigError: there is no such controller.
        ModuleNotFoundError: it needs an extra that is not installed; the message names it.
    """
    entry = find_entry(config.controller)
    if not entry.session:
        judged = [name for name, other in CONTROLLERS.items() if other.session]
        raise ConfigError(
            f"controller={config.controller} has nobody who grasps and nobody who judges: record with "
            f"{', '.join(judged)}, or run a policy on it with `simtoreal deploy controller={config.controller}`, "
            "which records too"
        )
    # A session is imported when it is used: simulators and drivers are large, and some of them extras.
    module, _, function = entry.session.partition(":")
    opener: Callable[[RecordConfig, Progress], Session] = getattr(importlib.import_module(module), function)
    return opener(config, progress)
