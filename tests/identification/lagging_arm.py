"""Logs of an arm whose latencies and response are known exactly, as numbers and as datasets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, EpisodeInfo
from simtoreal.episodes.writer import DatasetWriter
from simtoreal.identification.motion_log import MotionLog

FINE_S = 0.001
WIDE_M, JAW_SPEED_M_S = 0.08, 0.1


@dataclass(frozen=True)
class LaggingArm:
    """A first-order arm behind a dead time, seen by sensors that are late."""

    action_latency_s: float = 0.1
    observation_latency_s: float = 0.08
    lag_s: float = 0.06
    hz: float = 20.0
    noise_m: float = 0.0001
    period_jitter_s: float = 0.004
    num_periods: int = 100

    def play(self, seed: int) -> dict[str, np.ndarray]:
        """Commands, and what a sensor saw that each period began with."""
        rng = np.random.default_rng(seed)
        told_s = np.arange(self.num_periods) / self.hz + rng.normal(0.0, self.period_jitter_s, self.num_periods)
        told_s = 1.0 + np.sort(told_s)
        steps_m = rng.normal(0.0, 0.12 / self.hz, (self.num_periods, 3)) * (rng.random((self.num_periods, 1)) < 0.6)
        width_m = np.where(told_s > told_s[-1] - 2.5, 0.0, WIDE_M)
        fine_s = np.arange(0.0, told_s[-1] + 1.0, FINE_S)
        goal_m = np.vstack([np.zeros(3), np.cumsum(steps_m, axis=0)])[
            np.searchsorted(told_s, fine_s - self.action_latency_s, side="right")
        ]
        tool_m, share = np.zeros_like(goal_m), 1.0 - np.exp(-FINE_S / self.lag_s)
        for i in range(1, len(fine_s)):
            tool_m[i] = tool_m[i - 1] + share * (goal_m[i] - tool_m[i - 1])
        closing_s = told_s[np.flatnonzero(width_m == 0.0)[0]] + self.action_latency_s
        opening_m = np.clip(WIDE_M - JAW_SPEED_M_S * (fine_s - closing_s), 0.0, WIDE_M)
        late_s = self.observation_latency_s + np.abs(rng.normal(0.0, 0.002, self.num_periods))
        seen_s = np.maximum.accumulate(told_s - late_s)
        seen_m = np.stack([np.interp(seen_s, fine_s, tool_m[:, axis]) for axis in range(3)], axis=1)
        seen_m += rng.normal(0.0, self.noise_m, seen_m.shape)
        return {"told_s": told_s, "steps_m": steps_m, "told_m": width_m, "seen_s": seen_s, "seen_m": seen_m,
                "width_m": np.interp(seen_s, fine_s, opening_m)}  # fmt: skip

    def log(self, seed: int = 0) -> MotionLog:
        played = self.play(seed)
        start_m = played["seen_m"][0]
        return MotionLog(
            seed, "real", played["told_s"], start_m + np.cumsum(played["steps_m"], axis=0), played["told_m"], start_m,
            played["seen_s"], played["seen_m"], played["width_m"], played["told_s"] - played["seen_s"],
        )  # fmt: skip

    def record(self, folder: Path, num_episodes: int = 4, **choices: object) -> Path:
        """A dataset of such logs; `choices`: robot, success, with_commands, stamped."""
        robot, success = str(choices.get("robot", "panda")), choices.get("success", True)
        info = EpisodeInfo(fps=self.hz, cameras={}, domain="real", robot=robot)
        with DatasetWriter(folder) as writer:
            for number in range(num_episodes):
                played = self.play(number)
                with writer.episode(info) as episode:
                    for i in range(self.num_periods):
                        episode.add(_frame(played, i, choices))
                    episode.finish(EpisodeEnd(success=bool(success)))
        return folder


def _frame(played: dict[str, np.ndarray], i: int, choices: dict[str, object]) -> EpisodeFrame:
    action = Action(played["steps_m"][i], np.zeros(3), float(played["told_m"][i]))
    sent = action if choices.get("with_commands", True) else None
    stamp = float(played["seen_s"][i]) if choices.get("stamped", True) else None
    return EpisodeFrame(
        t_s=float(played["told_s"][i]),
        images={},
        T_base_tcp=frames.top_down(np.array([0.5, 0.0, 0.3]) + played["seen_m"][i], 0.0),
        gripper_width_m=float(played["width_m"][i]),
        state_t_s=stamp,
        sent=sent,
        commanded=sent,
    )
