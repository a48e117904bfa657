"""Safety limits as data: shipped for each robot in `configs/safety`, or a YAML file of one's own."""

from dataclasses import dataclass

from simtoreal.schema import ConfigError, option, parse, required
from simtoreal.settings_files import find_settings, read_mapping

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class SafetyLimits:
    """Everything that a guard holds an arm to.

    Raises:
        ConfigError: a lower bound is not below its upper bound, or joints have different numbers of bounds.
    """

    name: str = required("what logs call these limits")
    workspace_low_m: Vector3 = required("lower corner of the box that the setpoint stays in, base frame", unit="m")
    workspace_high_m: Vector3 = required("upper corner", unit="m")
    table_height_m: float = option(0.0, "of the table plane, base frame", unit="m", minimum=-2.0, maximum=2.0)
    table_clearance_m: float = option(0.001, "tool above the table plane, at least", unit="m", minimum=0, maximum=0.5)
    max_tilt_rad: float = option(0.8, "of the approach away from straight down", unit="rad", minimum=0.0, maximum=3.2)
    max_step_m: float = option(0.03, "translation per control period", unit="m", minimum=1e-4, maximum=0.2)
    max_speed_m_s: float = option(0.5, "translation, each period", unit="m/s", minimum=1e-3, maximum=3.0)
    max_path_m: float = option(0.55, "translation in any second, also in bursts", unit="m", minimum=1e-3, maximum=3.0)
    max_acceleration_m_s2: float = option(10.0, "of the setpoint", unit="m/s^2", minimum=0.01, maximum=50.0)
    max_step_rad: float = option(0.25, "turn per control period", unit="rad", minimum=1e-3, maximum=1.0)
    max_speed_rad_s: float = option(4.0, "turn, each period", unit="rad/s", minimum=1e-2, maximum=20.0)
    max_acceleration_rad_s2: float = option(80.0, "turn of the setpoint", unit="rad/s^2", minimum=0.1, maximum=500.0)
    max_lead_m: float = option(
        0.15, "of the setpoint over the measured tool; more means that something holds the arm", unit="m",
        minimum=0.005, maximum=1.0,
    )  # fmt: skip
    joint_low_rad: tuple[float, ...] = option((), "lowest joint positions; empty does not look", unit="rad")
    joint_high_rad: tuple[float, ...] = option((), "highest joint positions", unit="rad")
    max_joint_speed_rad_s: float = option(2.5, "of any joint, measured", unit="rad/s", minimum=0.01, maximum=20.0)
    min_width_m: float = option(0.0, "least commanded opening", unit="m", minimum=0.0, maximum=0.5)
    max_width_m: float = option(0.08, "greatest commanded opening", unit="m", minimum=0.001, maximum=0.5)
    max_gripper_force_n: float = option(80.0, "measured, where the gripper tells", unit="N", minimum=1.0, maximum=1e3)
    max_observation_age_s: float = option(
        0.12, "observations later than the quickest seen so far, or standing still", unit="s", minimum=0.01, maximum=5.0
    )
    max_action_age_s: float = option(
        0.15, "from an observation to the action for it; older ones are not sent", unit="s", minimum=0.01, maximum=5.0
    )
    max_silence_s: float = option(0.15, "without an action before the arm is held", unit="s", minimum=0.02, maximum=5.0)
    max_missed_deadlines: int = option(3, "control periods in a row that come late", minimum=0, maximum=1000)
    max_blind_s: float = option(0.1, "of black pictures or depth without a return", unit="s", minimum=0, maximum=10.0)
    frozen_after_m: float = option(
        0.01, "motion of the tool under which a picture may stay the same bit by bit", unit="m", minimum=1e-3, maximum=1
    )
    retreat_m: float = option(0.05, "straight up after a stop; 0 only holds", unit="m", minimum=0.0, maximum=0.3)
    retreat_speed_m_s: float = option(0.1, "of the retreat", unit="m/s", minimum=0.005, maximum=0.25)
    retreat_after_operator_stop: bool = option(False, "retreat also where a person stopped the arm")

    def __post_init__(self) -> None:
        for low, high in (
            ("workspace_low_m", "workspace_high_m"),
            ("joint_low_rad", "joint_high_rad"),
            ("min_width_m", "max_width_m"),
        ):
            _check_order(self, low, high)
        if self.floor_m >= self.workspace_high_m[2]:
            raise ConfigError(
                f"safety limits {self.name}: table_height_m + table_clearance_m = {self.floor_m} leaves no room below "
                f"workspace_high_m[2]={self.workspace_high_m[2]}"
            )

    @property
    def floor_m(self) -> float:
        """The lowest that the setpoint may go: of the box or of the table plane, whichever is higher."""
        return max(self.workspace_low_m[2], self.table_height_m + self.table_clearance_m)

    @property
    def low_m(self) -> Vector3:
        """Lower corner of what is really allowed."""
        return (*self.workspace_low_m[:2], self.floor_m)


def load_limits(name: str) -> SafetyLimits:
    """The limits of a shipped robot by its name, or of a YAML file.

    Raises:
        ConfigError: there are none, or a value cannot be used.
    """
    return parse(read_mapping(find_settings("safety", name, "safety")), SafetyLimits, prefix="safety.")


def _check_order(limits: SafetyLimits, low: str, high: str) -> None:
    lows, highs = getattr(limits, low), getattr(limits, high)
    pairs = ((lows, highs),) if isinstance(lows, float) else tuple(zip(lows, highs, strict=False))
    same_number = isinstance(lows, float) or len(lows) == len(highs)
    if not same_number or any(a >= b for a, b in pairs):
        raise ConfigError(f"safety limits {limits.name}: {low}={lows} must be below {high}={highs}, one for each")
