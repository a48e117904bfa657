"""How far a reality lies outside of what policies are trained on, computed from the two files."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from simtoreal.envs.randomization import Randomization, load_randomization
from simtoreal.envs.range_group import RangeGroup
from simtoreal.envs.ranges import Range
from simtoreal.envs.reality import REALITIES, Reality, load_reality

TRAINING = "default"  # the randomization of the shipped policies
OUTSIDE_FRAC = 0.5  # a quantity is outside where at least so much of what is drawn lies beyond the training range


class Span(NamedTuple):
    """What can be drawn of one quantity."""

    low: float
    high: float
    is_log: bool = False

    def outside_frac(self, training: "Span") -> float:
        """Share of the draws that lies beyond the ends of another span."""
        low, high, first, last = (self._scaled(value) for value in (*self[:2], *training[:2]))
        if low == high:
            return float(not first <= low <= last)
        inside = max(0.0, min(high, last) - max(low, first))
        return 1.0 - inside / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-9)) if self.is_log else value

    def __str__(self) -> str:
        return f"{self.low:.4g}" if self.low == self.high else f"{self.low:.4g} to {self.high:.4g}"


class Quantity(NamedTuple):
    """Something in which worlds differ, found in both of them in one unit."""

    what: str
    unit: str
    in_reality: str  # dotted name of a range
    in_training: str


class Row(NamedTuple):
    """One quantity in training and in one reality."""

    what: str
    unit: str
    training: str
    reality: str
    outside_frac: float

    @property
    def is_outside(self) -> bool:
        return self.outside_frac >= OUTSIDE_FRAC - 1e-9


def gap(reality: Reality, training: Randomization | None = None) -> list[Row]:
    """Every quantity of a reality beside the training range."""
    trained = training or load_randomization(TRAINING)
    rows = []
    for what, unit, in_reality, in_training in QUANTITIES:
        rows.append(_row(what, unit, _span(reality, in_reality), _span(trained, in_training)))
    # What has no range of its own on one of the two sides.
    rows.append(_row("lag of the arm's controller", "s", _lag(reality), _span(trained, "dynamics.tracking_lag_s")))
    rows.append(_row("jitter of the control period", "s", _span(reality, "clock.period_jitter_s"), Span(0.0, 0.0)))
    rows.append(_row("things that never count", "number", _things(reality), _span(trained, "visual.num_distractors")))
    kinds, known = set(reality.looks.tables), set(trained.visual.table.texture_kinds)
    share = len(kinds - known) / len(kinds)
    rows.append(Row("textures of the table", "kinds", f"{len(known)} kinds", f"{len(kinds)} others", share))
    return rows


def gap_table(names: Sequence[str] = REALITIES) -> str:
    """Markdown table: what training covers, what each reality draws, and the share of that which lies outside."""
    columns = [gap(load_reality(name)) for name in names]
    lines = [
        f"| quantity | training | {' | '.join(f'{name} (outside)' for name in names)} | unit |",
        "|---|---|" + "---|" * len(names) + "---|",
    ]
    for rows in zip(*columns, strict=True):
        cells = [f"{row.reality} ({_marked(row)})" for row in rows]
        lines.append(f"| {rows[0].what} | {rows[0].training} | {' | '.join(cells)} | {rows[0].unit} |")
    counts = [f"**{sum(row.is_outside for row in rows)}**" for rows in columns]
    lines.append(f"| outside, of {len(columns[0])} | | {' | '.join(counts)} | |")
    return "\n".join(lines) + "\n"


def _marked(row: Row) -> str:
    share = f"{round(100 * row.outside_frac)} %"
    return f"**{share}**" if row.is_outside else share


def _row(what: str, unit: str, there: Span, here: Span) -> Row:
    return Row(what, unit, str(here), str(there), there.outside_frac(here))


def _span(world: Reality | Randomization, name: str) -> Span:
    """The range of a dotted name, `clock.action_latency_s`."""
    group_name, _, field_name = name.partition(".")
    group: RangeGroup = getattr(world, group_name)
    chosen: Range = getattr(group, field_name)
    low, high = chosen.ends(group.nominal(field_name))
    return Span(low, high, chosen.is_log)


def _lag(reality: Reality) -> Span:
    """Time by which a spring and damper follows a steady motion late: 2 zeta / omega."""
    stiffness, damping = _span(reality, "arm.stiffness_rad_s"), _span(reality, "arm.damping_ratio")
    return Span(2.0 * damping.low / stiffness.high, 2.0 * damping.high / stiffness.low)


def _things(reality: Reality) -> Span:
    spans = [_span(reality, f"content.{name}") for name in ("num_blocks", "num_fixtures", "num_sheets")]
    return Span(sum(span.low for span in spans), sum(span.high for span in spans))


QUANTITIES = (
    Quantity("field of view", "of nominal", "optics.fov_scale", "camera.fov_scale"),
    Quantity("distortion k1", "1", "optics.distortion_k1", "camera.distortion_k1"),
    Quantity("hand-eye error", "m", "optics.hand_eye_error_m", "camera.mounting_error_m"),
    Quantity("hand-eye error, turn", "rad", "optics.hand_eye_error_rad", "camera.mounting_error_rad"),
    Quantity("exposure", "gain", "image.exposure", "sensor.exposure"),
    Quantity("image noise", "of full scale", "image.read_noise", "sensor.rgb_noise"),
    Quantity("depth noise at 0.5 m", "m", "depth.noise_m", "sensor.depth_noise_m"),
    Quantity("lamp above the horizon", "rad", "light.lamp_elevation_rad", "visual.light_elevation_rad"),
    Quantity("table height", "m", "physics.table_height_m", "dynamics.table_height_m"),
    Quantity("friction", "1", "physics.friction", "dynamics.friction"),
    Quantity("mass", "of nominal", "physics.mass_scale", "dynamics.mass_scale"),
    Quantity("gripper force", "N", "arm.gripper_force_n", "dynamics.gripper_force_n"),
    Quantity("gripper speed", "m/s", "arm.gripper_speed_m_s", "dynamics.gripper_speed_m_s"),
    Quantity("observation latency", "s", "clock.observation_latency_s", "timing.observation_latency_s"),
    Quantity("action latency", "s", "clock.action_latency_s", "timing.action_latency_s"),
    Quantity("lost frames", "share", "clock.dropped_frame_frac", "timing.dropped_frame_frac"),
)
