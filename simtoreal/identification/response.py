"""How an arm follows its setpoint: a dead time, then a damped oscillator behind a little smoothing, and an offset.

Every command is a step of the setpoint; the arm answers with the sum of their step responses. Dead time, natural
frequency, damping and offset are those under which the measured tool positions are most likely, with errors that may be
heavy-tailed (Huber 1964): a tool that presses on the table or carries something does not move freely.

Controllers smooth setpoints that come at 20 Hz, by how much no log says: a longer dead time and less smoothing fit as
well. It is taken to be the share of the arm's own lag that `_SMOOTHING_FRAC` says, unless the log contradicts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from simtoreal.identification.motion_log import MotionLog

FloatArray = NDArray[np.float64]
MAX_DEAD_TIME_S = 0.5
PYBULLET_LEAD_S = 0.5 / 60.0  # that world moves its setpoint at the beginning of a tick to where it is due at the end
_STARTS_S = (0.0, 0.06, 0.12, 0.2, 0.3)  # dead times that the search begins at
_FREQUENCY_RAD_S = (4.0, 300.0)
_DAMPING = (0.35, 6.0)
_SMOOTHING_FRAC = 0.3  # time constant of the smoothing, in units of 1 / frequency
_CONTRADICTION = 1.01  # the fit without smoothing has to be this much better
_SCALE_M = 0.0003  # residuals beyond this count less and less
_MAX_OFFSET_M = 0.05
_MIN_PATH_M = 0.05  # a setpoint that moves less than this says nothing
_ENDS = ((0.0, MAX_DEAD_TIME_S), np.log(_FREQUENCY_RAD_S), np.log(_DAMPING))
_STEPS = (0.02, 0.3, 0.3, 1e-3, 1e-3, 1e-3)  # how far dead time, log frequency, log damping and offset are apart
_PRIOR_SD = (0.05, 0.5, 0.4)  # of an episode about all of them: dead time in s, log frequency, log damping
_MAX_JOINT = 8  # episodes that are fitted together
_MIN_EXPLAINED = 0.9  # share of the variance of the motion


class Response(NamedTuple):
    """What one episode says about the arm."""

    dead_time_s: float
    dead_time_sd_s: float  # as the curvature of the likelihood has it
    frequency_rad_s: float
    damping: float
    smoothing_s: float
    offset_m: FloatArray  # (3,) where the tool settles minus its setpoint
    explained: float  # share of the variance of the tool's motion
    error_m: float  # median distance between model and measurement

    @property
    def lag_s(self) -> float:
        """How much later the arm is in the long run than its setpoint after the dead time."""
        return self.smoothing_s + 2.0 * self.damping / self.frequency_rad_s

    def positions(self, log: MotionLog) -> FloatArray:
        """(N, 3) where this model has the tool when it was measured."""
        lead_s = PYBULLET_LEAD_S if log.domain == "pybullet" else 0.0
        shape = (self.frequency_rad_s, self.damping, self.smoothing_s)
        return _positions(log, self.dead_time_s - lead_s, shape) + self.offset_m


class ArmModel(NamedTuple):
    """What all episodes together say, and what each of them is expected to be near."""

    smoothing_frac: float
    centre: FloatArray  # (3,) dead time in s, log frequency, log damping


def fit_arm(logs: Sequence[MotionLog]) -> ArmModel | str:
    """The response that fits a number of episodes best, or why there is none."""
    moving = [log for log in logs if _path_m(log) >= _MIN_PATH_M][:_MAX_JOINT]
    if not moving:
        return "the setpoint hardly moves in any episode"
    fracs = (0.0,) if moving[0].domain == "pybullet" else (_SMOOTHING_FRAC, 0.0)
    fits = [min((_joint(moving, frac, start_s) for start_s in _STARTS_S), key=_cost) for frac in fracs]
    best = 1 if len(fits) == 2 and fits[0].cost > _CONTRADICTION * fits[1].cost else 0
    return ArmModel(fracs[best], np.asarray(fits[best].x[:3]))


def fit_response(log: MotionLog, arm: ArmModel) -> Response | str:
    """The most probable response of an episode, near that of the arm where it says little, or why none can be told."""
    if _path_m(log) < _MIN_PATH_M:
        return f"the setpoint moves by {1e3 * _path_m(log):.0f} mm only"
    starts = [arm.centre, *(np.array([start_s, *arm.centre[1:]]) for start_s in _STARTS_S)]
    first = min((_descend(log, arm, start, 0.0) for start in starts), key=_cost)
    # How much the prior weighs against a measurement follows from the errors that a first fit leaves.
    error_m = float(np.median(np.abs(first.fun))) / 0.67
    return _checked(log, _descend(log, arm, first.x[:3], error_m), arm.smoothing_frac)


def _path_m(log: MotionLog) -> float:
    return float(np.abs(log.steps_m).sum())


def step_response(t_s: FloatArray, frequency_rad_s: float, damping: float, smoothing_s: float) -> FloatArray:
    """Answer at times (...) to a step of one at time 0; 0 before it."""
    root = np.sqrt(complex(damping**2 - 1.0 + 1e-7))  # never two equal poles
    poles = [frequency_rad_s * (-damping + root), frequency_rad_s * (-damping - root)]
    if smoothing_s > 1e-4:
        poles.append(complex(-1.00013 / smoothing_s))
    since = np.maximum(t_s, 0.0)
    answer = np.ones(np.shape(t_s), dtype=complex)
    for i, pole in enumerate(poles):
        weight = np.prod([other / (other - pole) for j, other in enumerate(poles) if j != i])
        answer -= weight * np.exp(pole * since)
    return np.asarray(np.where(t_s > 0.0, answer.real, 0.0))


def _checked(log: MotionLog, fit: Any, smoothing: float) -> Response | str:
    dead_time_s, frequency, damping = float(fit.x[0]), float(np.exp(fit.x[1])), float(np.exp(fit.x[2]))
    apart = log.position_m - _modelled(log, fit.x, smoothing)
    spread = log.position_m - log.position_m.mean(axis=0)
    explained = 1.0 - float((apart**2).sum() / max(float((spread**2).sum()), 1e-12))
    if explained < _MIN_EXPLAINED:
        return f"the tool does not follow its commands (they explain {100 * max(explained, 0.0):.0f} % of its motion)"
    if dead_time_s > MAX_DEAD_TIME_S - 0.01:
        return f"the dead time is longer than the {MAX_DEAD_TIME_S} s that are looked for"
    lead_s = PYBULLET_LEAD_S if log.domain == "pybullet" else 0.0
    return Response(
        dead_time_s + lead_s, _curvature_sd(fit), frequency, damping, smoothing / frequency, np.asarray(fit.x[3:]),
        explained, float(np.median(np.linalg.norm(apart, axis=1))),
    )  # fmt: skip


def _positions(log: MotionLog, dead_time_s: float, shape: tuple[float, float, float]) -> FloatArray:
    since_s = log.state_t_s[:, None] - log.told_t_s[None, :] - dead_time_s
    return log.start_m + step_response(since_s, *shape) @ log.steps_m


def _modelled(log: MotionLog, x: FloatArray, smoothing: float) -> FloatArray:
    frequency = float(np.exp(x[1]))
    return _positions(log, float(x[0]), (frequency, float(np.exp(x[2])), smoothing / frequency)) + x[3:]


def _joint(logs: Sequence[MotionLog], frac: float, start_s: float) -> Any:
    """One response for all; every episode keeps an offset of its own, its median."""

    def residuals(x: FloatArray) -> FloatArray:
        parts = []
        for log in logs:
            apart = _modelled(log, np.concatenate([x, np.zeros(3)]), frac) - log.position_m
            parts.append((apart - np.median(apart, axis=0)).ravel())
        return np.concatenate(parts)

    low, high = np.array(_ENDS).T
    return least_squares(
        residuals, np.clip([start_s, 3.4, 0.05], low + 1e-3, high - 1e-3), bounds=(low, high), loss="huber",
        f_scale=_SCALE_M, x_scale=_STEPS[:3], max_nfev=25,
    )  # fmt: skip


def _descend(log: MotionLog, arm: ArmModel, start: FloatArray, error_m: float) -> Any:
    ends = np.array([*_ENDS, *3 * [(-_MAX_OFFSET_M, _MAX_OFFSET_M)]])
    low, high = ends.T

    def residuals(x: FloatArray) -> FloatArray:
        apart = (_modelled(log, x, arm.smoothing_frac) - log.position_m).ravel()
        return np.concatenate([apart, error_m * (x[:3] - arm.centre) / _PRIOR_SD])

    x = np.clip(np.array([*start, 0.0, 0.0, 0.0]), low + 1e-3, high - 1e-3)
    return least_squares(
        residuals, x, bounds=(low, high), loss="huber", f_scale=max(_SCALE_M, 1.5 * error_m), x_scale=_STEPS,
        max_nfev=40,
    )  # fmt: skip


def _cost(fit: Any) -> float:
    return float(fit.cost)


def _curvature_sd(fit: Any) -> float:
    """Standard deviation of the dead time by the Gauss-Newton approximation of the likelihood."""
    num, size = fit.jac.shape
    variance = 2.0 * float(fit.cost) / max(num - size, 1)
    scale = np.array(_STEPS)
    J = fit.jac * scale
    covariance = np.linalg.inv(J.T @ J + 1e-12 * np.eye(size) * float(np.abs(J).max() ** 2)) * variance
    return float(scale[0] * np.sqrt(max(covariance[0, 0], 0.0)))
