"""Whether a fine-tuning helped, did nothing that one could see, or did harm."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from simtoreal.contracts import FloatArray
from simtoreal.evaluation.statistics import Difference
from simtoreal.transfer.grasp_score import FrameScore

MAX_FORGOTTEN = 0.05  # rise of the miss on simulated frames that is harm once it is beyond doubt
_SUSPICIOUS_M = 0.03  # offset between what the source sees and where the jaws closed that no careful calibration has
_ALIKE_M, _ALIKE_FRAC = 0.015, 0.6  # this share of the episodes must have the same offset, to this


class Verdict(StrEnum):
    """What a ledger concludes."""

    IMPROVED = "improved"
    NO_EVIDENCE = "no evidence"
    HARMED = "harmed"


class Judgement(NamedTuple):
    """A verdict and the sentences that led to it."""

    verdict: Verdict
    reasons: list[str]


class Evidence(NamedTuple):
    """What is known; gains are positive where fine-tuning is better."""

    held_out_gain: Difference  # of the miss, on held-out episodes
    forgotten: Difference | None = None  # rise of the miss on simulated frames; None where there are none
    online_gain: Difference | None = None  # of success, in a world that was run
    suspicion: str = ""  # about the labels, empty if there is none


def judge(evidence: Evidence) -> Judgement:
    """Harm beyond doubt outweighs any gain; a gain counts where it is beyond doubt and the labels are not doubted."""
    gains = [("held-out episodes", evidence.held_out_gain, "miss"), ("closed loop", evidence.online_gain, "success")]
    known = [(where, gain, what) for where, gain, what in gains if gain is not None]
    harms = [_sentence(where, gain, what) for where, gain, what in known if gain.high < 0]
    if evidence.forgotten is not None and evidence.forgotten.low > MAX_FORGOTTEN:
        harms.append(
            f"simulated frames: the miss rose by {evidence.forgotten.mean:.3f} {_interval(evidence.forgotten)}, "
            f"and {MAX_FORGOTTEN} is the most that may be forgotten"
        )
    if harms:
        return Judgement(Verdict.HARMED, harms)
    sentences = [_sentence(where, gain, what) for where, gain, what in known]
    if evidence.suspicion:
        return Judgement(Verdict.NO_EVIDENCE, [evidence.suspicion, *sentences])
    improved = any(gain.low > 0 for _, gain, _ in known)
    return Judgement(Verdict.IMPROVED if improved else Verdict.NO_EVIDENCE, sentences)


def suspicion(source: Sequence[FrameScore]) -> str:
    """What is odd about the labels, judged by the source: empty if nothing is.

    A policy that sees the objects but not where the jaws closed, always beside them by the same way, was not given the
    camera pose that the robot had. Trained on that, it would learn to grasp beside every object.
    """
    offsets = _episode_offsets(source)
    if len(offsets) < 3:
        return ""
    typical = np.median(offsets, axis=0)
    alike = float((np.linalg.norm(offsets - typical, axis=1) < _ALIKE_M).mean())
    size_m = float(np.linalg.norm(typical))
    if size_m < _SUSPICIOUS_M or alike < _ALIKE_FRAC:
        return ""
    x, y, z = (1e3 * typical).round().astype(int).tolist()
    return (
        f"the camera calibration of the episodes looks wrong: in {100 * alike:.0f} % of them what the policy sees lies "
        f"({x}, {y}, {z}) mm (right, down, away from the camera) from where the jaws closed; check the hand-eye "
        "calibration and import again, or use force=true if the camera of the deployed robot is off in the same way"
    )


def _episode_offsets(scores: Sequence[FrameScore]) -> FloatArray:
    """Median offset of each episode, (E, 3)."""
    seen = [score for score in scores if math.isfinite(sum(score.offset_m))]
    episodes = sorted({score.episode for score in seen})
    return np.array(
        [np.median([score.offset_m for score in seen if score.episode == name], axis=0) for name in episodes]
    ).reshape(-1, 3)


def _sentence(where: str, gain: Difference, what: str) -> str:
    better = "lower" if what == "miss" else "higher"
    worse = "higher" if what == "miss" else "lower"
    direction = better if gain.mean >= 0 else worse
    return f"{where}: {what} {abs(gain.mean):.3f} {direction} than the source's {_interval(gain)}"


def _interval(gain: Difference) -> str:
    return f"(95 % interval of the change {gain.low:+.3f} to {gain.high:+.3f})"
