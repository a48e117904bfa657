"""Automatic domain randomization: dynamics and timing whose ranges widen from the nominal while success holds.

After Akkaya et al., "Solving Rubik's Cube with a Robot Hand" (arXiv 1910.07113, section 5): some episodes are probes,
which put one parameter exactly on one end of its present range; when enough probes of an end are in, the end moves
outwards if they succeeded and inwards if they failed. All other parameters are drawn from their present ranges.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

import numpy as np

from simtoreal.envs.randomization import DynamicsRandomization, Range, RangeGroup, TimingRandomization
from simtoreal.envs.world_sample import DynamicsSample, TimingSample

# An end that has arrived is probed this often compared with one that still has to move: only to notice a setback.
_ARRIVED_WEIGHT = 0.25


@dataclass(frozen=True)
class AdaptiveSettings:
    """How fast ranges move. About `ends * num_probes / probe_frac` episodes move every end by one step.

    Raises:
        ValueError: a value is out of range; names it.
    """

    probe_frac: float = 0.5  # share of the episodes that are probes
    num_probes: int = 10  # probes of an end before it may move
    step: float = 0.2  # how far an end moves, as a share of the way from the nominal to the target
    widen_at: float = 0.8  # share of successful probes from which on an end moves outwards
    narrow_at: float = 0.5  # share of successful probes up to which an end moves inwards

    def __post_init__(self) -> None:
        if not 0.0 < self.probe_frac <= 1.0 or not 0.0 < self.step <= 1.0 or self.num_probes < 1:
            raise ValueError(f"adaptive: probe_frac and step must lie in (0, 1], num_probes must be 1 or more: {self}")
        if not 0.0 <= self.narrow_at < self.widen_at <= 1.0:
            raise ValueError(f"adaptive: needs 0 <= narrow_at < widen_at <= 1, got {self.narrow_at}, {self.widen_at}")


class AdaptiveDraw(NamedTuple):
    """The dynamics and timing of one episode; `probe` names the end that it puts to the test."""

    dynamics: DynamicsSample
    timing: TimingSample
    probe: str | None


@dataclass
class _End:
    """One end of one range on its way from `start`, the nominal, to `target`."""

    start: float
    target: float
    is_log: bool
    progress: float = 0.0  # in [0, 1]
    outcomes: list[int] = field(default_factory=list)

    @property
    def value(self) -> float:
        if self.progress >= 1.0:
            return self.target
        if self.is_log and self.start > 0:
            value = self.start * (self.target / self.start) ** self.progress
        else:
            value = self.start + self.progress * (self.target - self.start)
        return float(np.clip(value, min(self.start, self.target), max(self.start, self.target)))


class AdaptiveRandomization:
    """Ranges of dynamics and timing that follow what the policy can do.

    One process owns it and calls `record`; workers that sample get its state by `load_state_dict`.
    """

    def __init__(
        self,
        dynamics: DynamicsRandomization,
        timing: TimingRandomization,
        settings: AdaptiveSettings | None = None,
    ) -> None:
        """Starts at the nominal; `dynamics` and `timing` are the ranges to arrive at."""
        self.settings = AdaptiveSettings() if settings is None else settings
        self._ends: dict[str, _End] = {}
        self._fixed: dict[str, float] = {}
        for prefix, group in (("dynamics", dynamics), ("timing", timing)):
            for item in fields(group):
                self._add(f"{prefix}.{item.name}", getattr(group, item.name), group.nominal(item.name))

    @property
    def ends(self) -> tuple[str, ...]:
        """Names of all ends that can be probed, such as `dynamics.friction.low`."""
        return tuple(self._ends)

    @property
    def progress(self) -> float:
        """Mean progress of all ends: 0 is the nominal world, 1 the target."""
        return float(np.mean([end.progress for end in self._ends.values()])) if self._ends else 1.0

    def set_progress(self, progress: float) -> None:
        """Puts every end at the same share of its way.

        Raises:
            ValueError: it is not in [0, 1].
        """
        if not 0.0 <= progress <= 1.0:
            raise ValueError(f"adaptive: progress must lie in [0, 1], got {progress}")
        for end in self._ends.values():
            end.progress = progress
            end.outcomes.clear()

    def sample(self, rng: np.random.Generator) -> AdaptiveDraw:
        """Draws one episode; hand its `probe` and its success to `record`."""
        probe = self._choose_probe(rng) if self._ends and rng.random() < self.settings.probe_frac else None
        dynamics = DynamicsRandomization(**self._ranges("dynamics", DynamicsRandomization, probe)).sample(rng)
        timing = TimingRandomization(**self._ranges("timing", TimingRandomization, probe)).sample(rng)
        return AdaptiveDraw(dynamics, timing, probe)

    def record(self, probe: str | None, success: bool) -> None:
        """Counts the outcome of an episode and moves the end that it probed when enough are in.

        Raises:
            ValueError: no such end.
        """
        if probe is None:
            return
        if probe not in self._ends:
            raise ValueError(f"adaptive: unknown probe {probe!r}; allowed: {', '.join(self._ends)}")
        end, settings = self._ends[probe], self.settings
        end.outcomes.append(int(success))
        if len(end.outcomes) < settings.num_probes:
            return
        rate = sum(end.outcomes) / len(end.outcomes)
        end.outcomes.clear()
        # Rounded so that ten steps of 0.1 arrive at 1 and not just short of it.
        if rate >= settings.widen_at:
            end.progress = min(1.0, round(end.progress + settings.step, 9))
        elif rate <= settings.narrow_at:
            end.progress = max(0.0, round(end.progress - settings.step, 9))

    def summary(self) -> dict[str, float]:
        """For logs: `progress`, and the present value of every end by its name."""
        return {"progress": self.progress} | {name: end.value for name, end in self._ends.items()}

    def state_dict(self) -> dict[str, Any]:
        """Progress and pending outcomes of every end, plain for JSON."""
        return {name: {"progress": end.progress, "outcomes": list(end.outcomes)} for name, end in self._ends.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned.

        Raises:
            ValueError: the state belongs to other ranges, or a value in it is out of range.
        """
        if state.keys() != self._ends.keys():
            differing = sorted(state.keys() ^ self._ends.keys())
            raise ValueError(f"adaptive: the saved state was made for other target ranges; they differ in {differing}")
        loaded = {name: _read_entry(name, entry) for name, entry in state.items()}
        for name, (progress, outcomes) in loaded.items():
            self._ends[name].progress, self._ends[name].outcomes = progress, outcomes

    def _add(self, name: str, target: Range, nominal: float) -> None:
        low, high = target.ends(nominal)
        start = min(max(nominal, low), high)
        self._fixed[name] = start
        if low < start:
            self._ends[f"{name}.low"] = _End(start, low, target.is_log)
        if high > start:
            self._ends[f"{name}.high"] = _End(start, high, target.is_log)

    def _choose_probe(self, rng: np.random.Generator) -> str:
        weights = np.array([_ARRIVED_WEIGHT if end.progress >= 1.0 else 1.0 for end in self._ends.values()])
        return self.ends[int(rng.choice(len(weights), p=weights / weights.sum()))]

    def _ranges(
        self, prefix: Literal["dynamics", "timing"], kind: type[RangeGroup], probe: str | None
    ) -> dict[str, Range]:
        """The present range of every field of a group, with the probed one pinned to its end."""
        return {item.name: self._range(f"{prefix}.{item.name}", probe) for item in fields(kind)}

    def _range(self, name: str, probe: str | None) -> Range:
        low, high = self._ends.get(f"{name}.low"), self._ends.get(f"{name}.high")
        if probe is not None and probe.rpartition(".")[0] == name:
            return Range.constant(self._ends[probe].value)
        lowest = low.value if low else self._fixed[name]
        highest = high.value if high else self._fixed[name]
        is_log = lowest > 0 and any(end.is_log for end in (low, high) if end)
        return Range("=LogU" if is_log else "=U", lowest, highest)


def _read_entry(name: str, entry: Any) -> tuple[float, list[int]]:
    """Progress and pending outcomes of one saved end."""
    try:
        progress, outcomes = float(entry["progress"]), [int(outcome) for outcome in entry["outcomes"]]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"adaptive: saved {name} must hold progress and outcomes, got {entry!r}") from None
    if not 0.0 <= progress <= 1.0 or not set(outcomes) <= {0, 1}:
        raise ValueError(f"adaptive: saved {name} needs progress in [0, 1] and outcomes of 0 or 1, got {entry!r}")
    return progress, outcomes
