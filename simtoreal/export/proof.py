"""The proof that comes with an export: figures, each beside what it has to reach."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simtoreal.export.parity import Parity
from simtoreal.export.settings import ExportConfig, Precision
from simtoreal.export.success import Success

FP32_TOLERANCE = 1e-4  # of the map, whose numbers are of the order of one: rounding, and nothing else
_TRIAL_TIMEOUT_S = 600.0
_CLOCKS = ("processor_s", "wall_s")


@dataclass(frozen=True)
class Figure:
    """One measured number; `limit` is the most that it may be, None where anything goes."""

    name: str
    measured: float
    limit: float | None
    unit: str = ""
    about: str = ""

    @property
    def holds(self) -> bool:
        return self.limit is None or self.measured <= self.limit


@dataclass(frozen=True)
class Proof:
    """Everything that was measured of an export."""

    figures: tuple[Figure, ...]
    parity: Parity
    success: Success | None
    trial: Mapping[str, Any]  # as `trial.run_trial`
    compared_on: str  # where the frames come from, in words

    @property
    def failed(self) -> list[Figure]:
        return [figure for figure in self.figures if not figure.holds]

    def to_plain(self) -> dict[str, Any]:
        """The content of `proof.json`, but for where it comes from."""
        return {
            "holds": not self.failed,
            "failed": [figure.name for figure in self.failed],
            "figures": [{**asdict(figure), "holds": figure.holds} for figure in self.figures],
            "parity": self.parity.to_plain(),
            "success": None if self.success is None else self.success.to_plain(),
            "trial": dict(self.trial),
            "compared_on": self.compared_on,
        }


def run_trial_process(folder: Path, observations: Path) -> dict[str, Any]:
    """Time and memory of a process of its own that runs the policy; see `simtoreal.export.trial`.

    Raises:
        ValueError: the process failed; holds the last line that it wrote.
    """
    command = [sys.executable, "-m", "simtoreal.export.trial", str(folder), str(observations)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ValueError(f"the exported policy does not run in a process of its own: {lines[-1]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def judge(
    config: ExportConfig, parity: Parity, success: Success | None, trial: Mapping[str, Any], control_hz: float
) -> tuple[Figure, ...]:
    """The figures of a proof, in the order that people read them."""
    figures = _parity_figures(config, parity)
    if success is not None:
        found = success.difference
        low, high = -100 * found.high, -100 * found.low
        about = f"95 % interval {low:.1f} to {high:.1f} points, n = {success.source['n_episodes']}"
        figures.append(Figure("success lost", 0.0 - found.mean, config.max_lost_frac, "", about))
    return (*figures, *_cost_figures(config, trial, config.max_step_s or 0.1 / control_hz))


def _parity_figures(config: ExportConfig, parity: Parity) -> list[Figure]:
    most, exact = "95 of 100 frames", config.precision is Precision.FP32
    return [
        Figure(
            "map difference", parity.over_frames("map_difference", 100.0), FP32_TOLERANCE if exact else None, "",
            "largest difference of any number of the map in any frame",
        ),
        Figure("grasp position", parity.over_frames("position_m"), config.max_position_m, "m", most),
        Figure("grasp angle", parity.over_frames("angle_rad"), config.max_angle_rad, "rad", most),
        Figure("grasp quality", parity.over_frames("quality"), config.max_quality, "", most),
        Figure(
            "worse choice", parity.over_frames("worse"), config.max_quality, "",
            f"what the source thinks less of the grasp that the export would take, {most}",
        ),
    ]  # fmt: skip


def _cost_figures(config: ExportConfig, trial: Mapping[str, Any], max_step_s: float) -> list[Figure]:
    processor, wall = ({name: f"{1e3 * trial[of][name]:.2f}" for name in ("p50", "p99")} for of in _CLOCKS)
    about = (
        f"99th percentile of processor time on one core, n = {trial['num_looks']} images; "
        f"median {processor['p50']} ms; wall time {wall['p50']} and {wall['p99']} ms"
    )
    foreign = "loaded, though the robot's computer has none: " + (", ".join(trial["foreign"]) or "none")
    return [
        Figure("image to action", trial["processor_s"]["p99"], max_step_s, "s", about),
        Figure("size", _megabytes(config.out / "encoder.onnx"), config.max_size_mb, "MB", "encoder.onnx"),
        Figure("memory", trial["peak_memory_mb"], config.max_memory_mb, "MB", "peak of a process that runs the policy"),
        Figure("foreign packages", float(len(trial["foreign"])), 0.0, "", foreign),
    ]


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6
