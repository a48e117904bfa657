"""Verdicts: gains count beyond doubt, harm beyond doubt outweighs them, and odd labels are doubted."""

import numpy as np
import pytest

from simtoreal.evaluation.statistics import Difference
from simtoreal.transfer.grasp_score import FrameScore
from simtoreal.transfer.verdict import Evidence, Verdict, judge, suspicion

BETTER, UNSURE, WORSE = (Difference(m, m - 0.05, m + 0.05, 0.01) for m in (0.1, 0.0, -0.1))
KEPT, FORGOTTEN = Difference(0.01, -0.01, 0.03, 0.5), Difference(0.2, 0.1, 0.3, 0.001)


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(BETTER), Verdict.IMPROVED),
        (Evidence(UNSURE), Verdict.NO_EVIDENCE),
        (Evidence(WORSE), Verdict.HARMED),
        (Evidence(BETTER, KEPT), Verdict.IMPROVED),
        (Evidence(BETTER, FORGOTTEN), Verdict.HARMED),
        (Evidence(UNSURE, KEPT, BETTER), Verdict.IMPROVED),
        (Evidence(BETTER, KEPT, UNSURE), Verdict.IMPROVED),
        (Evidence(BETTER, KEPT, WORSE), Verdict.HARMED),
        (Evidence(BETTER, KEPT, None, "odd labels"), Verdict.NO_EVIDENCE),
        (Evidence(WORSE, KEPT, None, "odd labels"), Verdict.HARMED),
        (Evidence(Difference(0.3, -np.inf, np.inf, 1.0)), Verdict.NO_EVIDENCE),
    ],
)
def test_verdicts(evidence: Evidence, verdict: Verdict):
    judgement = judge(evidence)
    assert judgement.verdict is verdict
    assert judgement.reasons


def score(episode: int, offset_m: tuple[float, float, float]) -> FrameScore:
    return FrameScore(episode, 0.5, 0.02, offset_m, 0.1, 0.01)


def test_a_constant_offset_is_a_wrong_calibration():
    rng = np.random.default_rng(0)
    scores = [score(i, (0.05 + rng.normal(0, 0.004), rng.normal(0, 0.004), 0.0)) for i in range(8) for _ in range(3)]
    said = suspicion(scores)
    assert "calibration" in said
    assert "(50," in said or "(49," in said or "(51," in said


@pytest.mark.parametrize("size_m", [0.0, 0.008, 0.02])
def test_what_a_real_cell_may_be_off_by_is_not_suspicious(size_m: float):
    assert suspicion([score(i, (size_m, 0.0, 0.002)) for i in range(8)]) == ""


def test_errors_without_direction_are_not_a_calibration():
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    assert suspicion([score(i, (0.06 * np.cos(a), 0.06 * np.sin(a), 0.0)) for i, a in enumerate(angles)]) == ""


def test_two_episodes_say_nothing_and_maps_without_a_grasp_are_passed_over():
    assert suspicion([score(i, (0.05, 0.0, 0.0)) for i in range(2)]) == ""
    assert suspicion([score(i, (np.nan, np.nan, np.nan)) for i in range(8)]) == ""
