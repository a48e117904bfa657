"""After a stop: straight up, slowly, a bounded way, if it is safe to move at all; then hold."""

from typing import NamedTuple

import numpy as np

from simtoreal.safety.events import OPERATOR_STOP, SafetyEvent, SafetyStop
from simtoreal.safety.guard import Guard

# Stops after which the arm is only held: nobody knows where it is, it does not obey, or something is in its way.
HOLD_ONLY = frozenset(
    {
        "clock", "finite_observation", "gripper_force_n", "hold", "joint_position_rad", "joint_speed_rad_s", "lead_m",
        "link", "observation_age_s", "rigid_pose", "tilt_rad",
    }
)  # fmt: skip
_SLACK = 2.0  # a retreat may take so many times what it should


class Retreat(NamedTuple):
    """How far it went, and why no farther."""

    rise_m: float
    ended_by: str


def retreat(guard: Guard, reason: SafetyEvent | None) -> Retreat:
    """Raises the tool as the limits say; `reason` is the stop before it, None for an episode that ended by itself.

    A press of the operator's stop ends it at once. It never raises for what goes wrong: the arm is held then.
    """
    limits, switch = guard.limits, guard.switch
    by_operator = reason is not None and reason.name == OPERATOR_STOP
    if limits.retreat_m == 0.0 or (by_operator and not limits.retreat_after_operator_stop):
        return Retreat(0.0, "not asked for")
    if reason is not None and reason.name in HOLD_ONLY:
        return Retreat(0.0, f"held only, after {reason.name}")
    pressed = switch.pressed_s if switch.is_pressed else None
    period_s = 1.0 / guard.control_hz
    num_steps = int(_SLACK * limits.retreat_m / (limits.retreat_speed_m_s * period_s)) + 1
    rise_m, ended_by = 0.0, "took too long"
    try:
        for _ in range(num_steps):
            if switch.is_pressed and switch.pressed_s != pressed:
                ended_by = OPERATOR_STOP
                break
            step_m = min(limits.retreat_speed_m_s * period_s, limits.retreat_m - rise_m)
            if step_m < 1e-6:
                ended_by = "done"
                break
            sent = guard.transmit_slowly(np.array([0.0, 0.0, step_m]))
            rise_m += float(sent.delta_m[2])
            guard.times.sleep(period_s)
    except SafetyStop as stop:
        ended_by = stop.event.name
    except (OSError, RuntimeError, ValueError) as error:
        ended_by = f"{type(error).__name__}: {error}"
    finally:
        guard.stop()
    return Retreat(rise_m, ended_by)
