"""Verdicts: gains count beyond doubt, harm beyond doubt outweighs them, and odd labels are doubted."""

import numpy as np
import pytest

from simtoreal.evaluation.statistics import Difference
from simtoreal.transfer.ledger.verdict import Evidence, Verdict, judge

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
        (Evidence(BETTER, KEPT, BETTER, WORSE), Verdict.HARMED),
        (Evidence(BETTER, KEPT, BETTER, UNSURE), Verdict.IMPROVED),
        (Evidence(BETTER, KEPT, None, None, "odd labels"), Verdict.NO_EVIDENCE),
        (Evidence(WORSE, KEPT, None, None, "odd labels"), Verdict.HARMED),
        (Evidence(Difference(0.3, -np.inf, np.inf, 1.0)), Verdict.NO_EVIDENCE),
    ],
)
def test_verdicts(evidence: Evidence, verdict: Verdict):
    judgement = judge(evidence)
    assert judgement.verdict is verdict
    assert judgement.reasons
