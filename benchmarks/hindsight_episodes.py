"""Episodes for `hindsight.py`: the MuJoCo cell, recorded, with objects that somebody moves in every third of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simtoreal.envs.mujoco_cell import MujocoCell
from simtoreal.episodes.controllers import Take
from simtoreal.episodes.recorder import Recorder
from simtoreal.episodes.records import EpisodeEnd, EpisodeInfo
from simtoreal.episodes.settings import RecordConfig, Teacher
from simtoreal.episodes.simulated_session import SimulatedSession
from simtoreal.episodes.writer import DatasetWriter, WriterSettings
from simtoreal.progress import Progress
from simtoreal.runtime import Step

MOVED_EVERY = 3  # episodes; in this share of them somebody reaches into the cell
_EARLIEST, _LATEST = 8, 45  # steps; the arm is on its way to the object
_MOVED_M = (0.015, 0.06)
_SEED = 49  # of scenes, and of who moves what: the labelling was made on others
_CLEAR_M = 0.07  # nobody reaches under a hand that is this close


class Meddler:
    """Moves every free object once, by the same way, while the hand is away. Comes before who notes the truth."""

    def __init__(self) -> None:
        self.cell: MujocoCell | None = None
        self._due: int | None = None
        self._rng = np.random.default_rng(0)

    def prepare(self, number: int) -> None:
        self._rng = np.random.default_rng((_SEED, number))
        meddles = number % MOVED_EVERY == MOVED_EVERY - 1
        self._due = int(self._rng.integers(_EARLIEST, _LATEST)) if meddles else None

    def episode_start(self) -> None: ...

    def step(self, step: Step) -> None:
        if self._due is None or step.index < self._due or self.cell is None:
            return
        angle, far_m = self._rng.uniform(0.0, 2.0 * np.pi), self._rng.uniform(*_MOVED_M)
        tool_z_m = float(step.observation.T_base_tcp[2, 3])
        for index, T in enumerate(self.cell.object_poses()):
            if tool_z_m > T[2, 3] + _CLEAR_M:
                T[:2, 3] += far_m * np.array([np.cos(angle), np.sin(angle)])
                self.cell.move_object(index, T)
        self._due = None

    def episode_end(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What is recorded: by whom, how many, where."""

    policy: Teacher
    episodes: int
    out: Path
    width_px: int = 160
    height_px: int = 120

    def config(self) -> RecordConfig:
        return RecordConfig(
            controller="mujoco", policy=self.policy, episodes=self.episodes, out=self.out,
            image_width_px=self.width_px, image_height_px=self.height_px, lossless_rgb=True, seed=_SEED,
        )  # fmt: skip


def record_episodes(plan: Plan, progress: Progress) -> None:
    """Records what is missing; a scene that the physics loses is left out."""
    with DatasetWriter(plan.out, WriterSettings(lossless_rgb=True)) as writer:
        done = [int(entry.end.labels["episode"]) for entry in writer.entries]
        first = max(done, default=-1) + 1
        if first >= plan.episodes:
            return
        meddler = Meddler()
        session = SimulatedSession(plan.config(), progress, [meddler])
        try:
            cell = session.cell
            assert isinstance(cell, MujocoCell)
            meddler.cell = cell
            with Recorder(writer, session.mounts, session.clock) as recorder:
                _run(session, recorder, meddler, session.takes(range(first, plan.episodes)), progress)
        finally:
            session.close()


def _run(
    session: SimulatedSession, recorder: Recorder, meddler: Meddler, takes: Sequence[Take], progress: Progress
) -> None:
    with progress.task("record", len(takes)) as bar:
        for take in takes:
            meddler.prepare(take.number)
            about = EpisodeInfo(session.control_hz, {}, domain=session.domain, robot=session.robot,
                                object_name=take.object_name)  # fmt: skip
            recorder.prepare(about)
            end: EpisodeEnd | None = session.run(take, recorder)
            if end is not None:
                recorder.finish(end)
            bar.advance()
