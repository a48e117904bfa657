"""Whether a fine-tuning helped, did nothing that one could see, or did harm."""

from enum import StrEnum
from typing import NamedTuple

from simtoreal.evaluation.statistics import Difference

MAX_LOST = 0.02  # success in the source simulator that may be lost
MAX_FORGOTTEN = 0.05  # rise of the miss on simulated frames that is harm once it is beyond doubt


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
    home_gain: Difference | None = None  # of success in the source simulator, where that was run too
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
    if evidence.home_gain is not None and evidence.home_gain.high < -MAX_LOST:
        harms.append(_sentence("source simulator", evidence.home_gain, "success"))
    if harms:
        return Judgement(Verdict.HARMED, harms)
    sentences = [_sentence(where, gain, what) for where, gain, what in known]
    if evidence.suspicion:
        return Judgement(Verdict.NO_EVIDENCE, [evidence.suspicion, *sentences])
    improved = any(gain.low > 0 for _, gain, _ in known)
    return Judgement(Verdict.IMPROVED if improved else Verdict.NO_EVIDENCE, sentences)


def _sentence(where: str, gain: Difference, what: str) -> str:
    better = "lower" if what == "miss" else "higher"
    worse = "higher" if what == "miss" else "lower"
    direction = better if gain.mean >= 0 else worse
    return f"{where}: {what} {abs(gain.mean):.3f} {direction} than the source's {_interval(gain)}"


def _interval(gain: Difference) -> str:
    return f"(95 % interval of the change {gain.low:+.3f} to {gain.high:+.3f})"
