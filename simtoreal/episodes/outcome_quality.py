"""Whether what an episode says of itself fits what the arm did: success against width, actions against limits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simtoreal.episodes.arm_tracks import ArmTracks, StoredEpisode
from simtoreal.episodes.findings import Finding, Severity
from simtoreal.episodes.grasp_attempts import Attempt, Outcome


@dataclass(frozen=True)
class OutcomeLimits:
    """When an action counts as cut off or driven to its limit."""

    cut_m: float = 5e-4  # between what was meant and what was sent
    cut_rad: float = 5e-3
    max_cut_frac: float = 0.1  # of the frames
    saturated_of_max: float = 0.98  # of the largest step of the episode
    max_saturated_frac: float = 0.6  # of the frames in which the tool moves at all
    min_step_m: float = 5e-4
    max_unknown_frac: float = 0.05  # of the frames without a tool pose


def outcome_findings(
    attempts: Sequence[Attempt], tracks: ArmTracks, episode: StoredEpisode, number: int, limits: OutcomeLimits
) -> list[Finding]:
    """Contradictions between the stated success and what was between the jaws in the end.

    Args:
        attempts: as they look without knowing about success.
    """
    found = _pose_findings(episode, number, limits)
    success = episode.end.success
    if success is None or not tracks.width_m.size:
        return found
    last = attempts[-1] if attempts else None
    lasts = last is not None and last.ends_s >= tracks.width_t_s[-1]
    width_m = float(np.median(tracks.width_m[-3:]))
    where, numbers = [len(episode) - 1], {"width_m": width_m}
    if success and not (last is not None and lasts and last.outcome in (Outcome.HELD, Outcome.UNCLEAR)):
        state = "the jaws closed on nothing" if last is not None and lasts else "nothing is between closed jaws"
        advice = (
            f"The episode is called a success, but at its end {state} (width {1e3 * width_m:.1f} mm): look at the last "
            "frames, and correct the success or cut the episode before the jaws let go."
        )
        found.append(Finding("success_without_object", Severity.ERROR, number, where, numbers, advice))
    if not success and last is not None and lasts and last.outcome is Outcome.HELD:
        advice = (
            f"The episode is called a failure, but at its end something {1e3 * width_m:.1f} mm wide is held and was "
            "lifted: look at the last frames, and correct the success if it was the right object."
        )
        found.append(Finding("failure_with_object", Severity.WARNING, number, where, numbers, advice))
    return found


def _pose_findings(episode: StoredEpisode, number: int, limits: OutcomeLimits) -> list[Finding]:
    state = np.asarray(episode.column("observation.state"), dtype=np.float64)
    unknown = np.flatnonzero(~np.isfinite(state[:, :7]).all(axis=1))
    share = unknown.size / max(len(episode), 1)
    if share in (0.0, 1.0) or share < limits.max_unknown_frac:  # a source without any poses said so when imported
        return []
    advice = f"The tool pose of {unknown.size} of {len(episode)} frames is not known: they get no labels."
    where = [int(i) for i in unknown]
    return [Finding("no_tool_pose", Severity.WARNING, number, where, {"share": share}, advice)]


def action_findings(episode: StoredEpisode, number: int, limits: OutcomeLimits) -> list[Finding]:
    """Actions that were cut off by limits, or that stay at the largest step."""
    sent, meant = (np.asarray(episode.column(name), dtype=np.float64) for name in ("action", "action.commanded"))
    return _cut(sent, meant, number, limits) + _saturated(sent, number, limits)


def _cut(sent: np.ndarray, meant: np.ndarray, number: int, limits: OutcomeLimits) -> list[Finding]:
    apart = np.abs(sent - meant)
    known = np.isfinite(apart[:, :6]).all(axis=1)
    cut = known & ((apart[:, :3].max(axis=1) > limits.cut_m) | (apart[:, 3:6].max(axis=1) > limits.cut_rad))
    share = float(cut.sum() / max(known.sum(), 1))
    if share <= limits.max_cut_frac:
        return []
    advice = (
        f"{int(cut.sum())} of {int(known.sum())} actions were cut off by limits, by up to "
        f"{1e3 * float(apart[cut, :3].max()):.0f} mm a period: learn from `action`, not `action.commanded`, or record "
        "with smaller steps."
    )
    where = [int(i) for i in np.flatnonzero(cut)]
    return [Finding("saturated_actions", Severity.WARNING, number, where, {"share": share}, advice)]


def _saturated(sent: np.ndarray, number: int, limits: OutcomeLimits) -> list[Finding]:
    steps_m = np.abs(sent[:, :3]).max(axis=1)
    moves = np.isfinite(steps_m) & (steps_m > limits.min_step_m)
    if moves.sum() < 10:
        return []
    largest_m = float(steps_m[moves].max())
    saturated = moves & (steps_m >= limits.saturated_of_max * largest_m)
    share = float(saturated.sum() / moves.sum())
    if share <= limits.max_saturated_frac:
        return []
    advice = (
        f"{100 * share:.0f} % of the motion is at the largest step, {1e3 * largest_m:.1f} mm a period: how fast to go "
        "cannot be learned from it; allow larger steps, or move more slowly."
    )
    where = [int(i) for i in np.flatnonzero(saturated)]
    return [Finding("saturated_actions", Severity.WARNING, number, where, {"share": share}, advice)]
