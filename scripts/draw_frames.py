"""Draws the frames of docs/conventions.md, from the transforms that the code uses.

python scripts/draw_frames.py [FOLDER]        (default: docs/images)
"""

import html
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel, deproject
from simtoreal.envs.robot import RobotSpec, load_robot

FloatArray = NDArray[np.float64]
WIDTH_PX, HEIGHT_PX, MARGIN_PX = 560, 400, 34
AXES = (("X", "#d62728"), ("Y", "#2ca02c"), ("Z", "#1f77b4"))
METAL, DARK, TABLE, OBJECT, PAPER = "#c9ced6", "#6b7280", "#efe6d8", "#e8a33d", "#ffffff"


class Sketch:
    """A line drawing of a scene in parallel projection; far shapes are painted first, axes and labels last."""

    def __init__(self, eye: tuple[float, float, float]) -> None:
        self._T_view_base = frames.invert(frames.look_at(eye, (0.0, 0.0, 0.0)))
        self._shapes: list[tuple[float, FloatArray, str]] = []
        self._marks: list[tuple[FloatArray, str]] = []

    def polygon(self, points_m: ArrayLike, fill: str, opacity: float = 1.0, ground: bool = False) -> None:
        """Fills a flat shape (N, 3); the ground is painted before everything else."""
        points = frames.apply(self._T_view_base, points_m)
        style = f'fill="{fill}" fill-opacity="{opacity}" stroke="{DARK}" stroke-width="0.8" stroke-linejoin="round"'
        depth = math.inf if ground else float(points[:, 2].mean())
        self._shapes.append((depth, points[:, :2], f'<polygon points="{{points}}" {style}/>'))

    def box(self, T_base_box: FloatArray, size_m: Sequence[float], fill: str) -> None:
        """A box with its centre at a pose; only faces towards the viewer are painted."""
        half = 0.5 * np.asarray(size_m)
        for axis in range(3):
            for sign in (-1.0, 1.0):
                normal = np.eye(3)[axis] * sign
                if (self._T_view_base[:3, :3] @ T_base_box[:3, :3] @ normal)[2] >= 0.0:
                    continue
                side, up = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
                corners = [normal + a * side + b * up for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
                self.polygon(frames.apply(T_base_box, np.asarray(corners) * half), fill)

    def line(self, points_m: ArrayLike, colour: str = DARK, width_px: float = 1.0, dashed: bool = False) -> None:
        """A path through points (N, 3), over all shapes."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        style = f'fill="none" stroke="{colour}" stroke-width="{width_px}" stroke-linejoin="round"{dash}'
        self._mark(points_m, f'<polyline points="{{points}}" {style}/>')

    def text(
        self, point_m: ArrayLike, text: str, shift_px: tuple[float, float] = (6.0, -5.0), colour: str = "#111"
    ) -> None:
        """A label beside a point (3,)."""
        shift = f'dx="{shift_px[0]}" dy="{shift_px[1]}"'
        halo = 'paint-order="stroke" stroke="#fff" stroke-width="3" stroke-linejoin="round"'
        self._mark(np.asarray(point_m)[None], f'<text {{at}} {shift} fill="{colour}" {halo}>{html.escape(text)}</text>')

    def arrow(self, start_m: ArrayLike, end_m: ArrayLike, colour: str, width_px: float = 2.6) -> None:
        """A line with a head at its end."""
        style = f'stroke="{colour}" stroke-width="{width_px}" marker-end="url(#head{colour[1:]})"'
        self._mark(np.stack([np.asarray(start_m), np.asarray(end_m)]), f"<line {{ends}} {style}/>")

    def axes(
        self, T_base_frame: FloatArray, name: str, length_m: float, meanings: Sequence[str] = ("", "", "")
    ) -> None:
        """A frame: X red, Y green, Z blue, each with what it means."""
        origin = T_base_frame[:3, 3]
        for (axis, colour), column, meaning in zip(AXES, T_base_frame[:3, :3].T, meanings, strict=True):
            end = origin + length_m * column
            self.arrow(origin, end, colour)
            self.text(end, f"+{axis} {meaning}".strip(), colour=colour)
        self.text(origin, name, shift_px=(-7.0 * len(name) - 8.0, -4.0))

    def _mark(self, points_m: ArrayLike, svg: str) -> None:
        self._marks.append((frames.apply(self._T_view_base, points_m)[:, :2], svg))

    def svg(self) -> str:
        """The drawing, scaled to fill the page."""
        painted = [(points, svg) for _, points, svg in sorted(self._shapes, key=lambda shape: -shape[0])]
        everything = np.concatenate([points for points, _ in painted + self._marks])
        low, span = everything.min(axis=0), np.ptp(everything, axis=0)
        # Labels stand to the right of their points and need room there.
        room = np.array([WIDTH_PX - 4.0 * MARGIN_PX, HEIGHT_PX - 2.0 * MARGIN_PX])
        scale = float((room / span).min())
        offset = MARGIN_PX + 0.5 * (room - scale * span)
        body = [_fill(svg, (points - low) * scale + offset) for points, svg in painted + self._marks]
        heads = "".join(_arrow_head(colour) for colour in (*(colour for _, colour in AXES), DARK))
        start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" '
        start += f'width="{WIDTH_PX}" height="{HEIGHT_PX}" font-family="sans-serif" font-size="13">'
        page = f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="{PAPER}"/>'
        return "\n".join([start, f"<defs>{heads}</defs>", page, *body, "</svg>", ""])


def _arrow_head(colour: str) -> str:
    where = 'viewBox="0 0 10 10" refX="7" refY="5" markerWidth="4.5" markerHeight="4.5" orient="auto"'
    return f'<marker id="head{colour[1:]}" {where}><path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'


def _fill(svg: str, points_px: FloatArray) -> str:
    numbers = [(f"{x:.1f}", f"{y:.1f}") for x, y in points_px]
    (x, y), (end_x, end_y) = numbers[0], numbers[-1]
    ends = f'x1="{x}" y1="{y}" x2="{end_x}" y2="{end_y}"'
    return svg.format(points=" ".join(f"{a},{b}" for a, b in numbers), at=f'x="{x}" y="{y}"', ends=ends)


def draw_table(sketch: Sketch, low_m: tuple[float, float], high_m: tuple[float, float]) -> None:
    """The table top, z = 0."""
    (x0, y0), (x1, y1) = low_m, high_m
    sketch.polygon([(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)], TABLE, ground=True)


def draw_gripper(sketch: Sketch, robot: RobotSpec, T_base_tcp: FloatArray, width_m: float) -> None:
    """Palm and fingers, opened by `width_m` between the pads."""
    shape = robot.gripper.geometry
    for sign in (-1.0, 1.0):
        side_m = sign * 0.5 * (width_m + shape.finger_thickness_m)
        T_tcp_finger = frames.transform((side_m, 0.0, -0.5 * shape.finger_length_m))
        size = (shape.finger_thickness_m, shape.finger_width_m, shape.finger_length_m)
        sketch.box(T_base_tcp @ T_tcp_finger, size, METAL)
    height_m = 0.05
    T_tcp_palm = frames.transform((0.0, 0.0, -shape.finger_length_m - 0.5 * height_m))
    sketch.box(T_base_tcp @ T_tcp_palm, (*shape.palm_size_m, height_m), METAL)


def base(robot: RobotSpec) -> Sketch:
    """Where the robot stands, and what it works on."""
    sketch = Sketch((1.2, -2.0, 1.1))
    draw_table(sketch, (-0.15, -0.4), (0.85, 0.4))
    sketch.box(frames.transform((0.0, 0.0, 0.06)), (0.14, 0.14, 0.12), METAL)
    T_base_tcp = frames.top_down(robot.home_position_m, 0.0)
    wrist = T_base_tcp[:3, 3] + (0.0, 0.0, 0.14)
    arm = np.array([(0.0, 0.0, 0.12), (0.0, 0.0, 0.33), (0.03, 0.0, 0.64), (0.38, 0.0, 0.66), wrist])
    sketch.line(arm, METAL, 13.0)
    draw_gripper(sketch, robot, T_base_tcp, robot.gripper.max_opening_m)
    low, high = np.asarray(robot.workspace_low_m), np.asarray(robot.workspace_high_m)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]), (low[0], low[1])]
    sketch.line([(*corner, 0.001) for corner in corners], dashed=True)
    sketch.text((0.5, 0.0, 0.0), "centre of the workspace (0.5, 0, 0)")
    sketch.line([(0.48, 0.0, 0.0), (0.52, 0.0, 0.0)])
    sketch.line([(0.5, -0.02, 0.0), (0.5, 0.02, 0.0)])
    sketch.axes(np.eye(4), "base", 0.24, ("forward", "left", "up"))
    return sketch


def tcp(robot: RobotSpec) -> Sketch:
    """The tool: between the ends of the finger tips."""
    sketch = Sketch((0.5, -1.0, 0.55))
    T_base_tcp = frames.top_down((0.0, 0.0, 0.08), 0.0)
    width_m = robot.gripper.max_opening_m
    draw_gripper(sketch, robot, T_base_tcp, width_m)
    sketch.axes(T_base_tcp, "tcp", 0.055, ("the jaws close along it", "", "approach"))
    ends = frames.apply(T_base_tcp, [(-0.5 * width_m, 0.0, 0.012), (0.5 * width_m, 0.0, 0.012)])
    sketch.line(ends, dashed=True)
    sketch.text(ends[0], "gripper_width_m", shift_px=(-96.0, 14.0))
    return sketch


def cam(robot: RobotSpec) -> Sketch:
    """The camera: the optical frame of OpenCV, and its pixels."""
    sketch = Sketch((-0.55, -1.2, 0.65))
    T_base_cam = frames.look_at((0.0, 0.0, 0.3), (0.5, 0.0, 0.14))
    model = CameraModel.from_fov(64, 48, math.radians(50))
    K, depth_m = model.K, 0.34
    edges = [(-0.5, -0.5), (63.5, -0.5), (63.5, 47.5), (-0.5, 47.5)]
    corners = deproject(edges, np.full(4, depth_m), K, T_base_cam)
    sketch.polygon(corners, "#dbeafe", 0.6)
    for corner in corners:
        sketch.line(np.stack([T_base_cam[:3, 3], corner]), "#94a3b8")
    sketch.box(T_base_cam @ frames.transform((0.0, 0.0, -0.03)), (0.06, 0.035, 0.06), METAL)
    sketch.axes(T_base_cam, "cam", 0.13, ("right in the image", "down in the image", "forward"))
    u, v = (deproject([(-0.5, -0.5), end], [depth_m] * 2, K, T_base_cam) for end in ((26.0, -0.5), (-0.5, 26.0)))
    sketch.arrow(u[0], u[1], DARK, 1.6)
    sketch.arrow(v[0], v[1], DARK, 1.6)
    sketch.text(u[1], "u")
    sketch.text(v[1], "v")
    sketch.text(corners[0], "pixel (0, 0)", shift_px=(-24.0, -8.0))
    sketch.text(corners[2], "depth_m is along +Z", shift_px=(-60.0, 18.0))
    return sketch


def obj(robot: RobotSpec) -> Sketch:
    """An object: its origin is the centre of mass."""
    sketch = Sketch((0.9, -1.0, 0.7))
    draw_table(sketch, (-0.11, -0.09), (0.13, 0.09))
    T_base_low, T_base_high = frames.transform((0.0, 0.0, 0.02)), frames.transform((-0.035, 0.0, 0.065))
    sketch.box(T_base_low, (0.11, 0.04, 0.04), OBJECT)
    sketch.box(T_base_high, (0.04, 0.04, 0.05), OBJECT)
    volume_low, volume_high = 0.11 * 0.04 * 0.04, 0.04 * 0.04 * 0.05
    centre = (T_base_low[:3, 3] * volume_low + T_base_high[:3, 3] * volume_high) / (volume_low + volume_high)
    sketch.axes(frames.transform(centre), "obj", 0.07, ("", "", "up, as its author chose"))
    return sketch


def grasp(robot: RobotSpec) -> Sketch:
    """A grasp: the tool pose to close the jaws at."""
    sketch = Sketch((0.7, -1.0, 0.6))
    draw_table(sketch, (-0.14, -0.11), (0.14, 0.11))
    yaw_rad, width_m = math.radians(25), 0.045
    T_base_object = frames.transform((0.0, 0.0, 0.03), frames.rotation_about_z(yaw_rad))
    sketch.box(T_base_object, (width_m, 0.11, 0.06), OBJECT)
    T_base_grasp = frames.top_down((0.0, 0.0, 0.025), yaw_rad)
    above = T_base_grasp @ frames.transform((0.0, 0.0, -0.11))
    draw_gripper(sketch, robot, above, robot.gripper.max_opening_m)
    sketch.line(np.stack([above[:3, 3], T_base_grasp[:3, 3]]), dashed=True)
    sketch.line([(0.0, 0.0, 0.001), (0.135, 0.0, 0.001)], dashed=True)
    sketch.text((0.135, 0.0, 0.001), "base +X", shift_px=(4.0, 10.0))
    arc = [(0.085 * math.cos(a), 0.085 * math.sin(a), 0.001) for a in np.linspace(0.0, yaw_rad, 9)]
    sketch.line(arc)
    sketch.text(arc[5], "yaw_rad", shift_px=(7.0, 5.0))
    sketch.axes(T_base_grasp, "grasp", 0.075, ("the jaws close along it", "", "approach"))
    return sketch


DRAWINGS = {"base": base, "tcp": tcp, "cam": cam, "obj": obj, "grasp": grasp}


def main(folder: Path) -> None:
    """Writes one SVG for each frame."""
    robot = load_robot("panda")
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (folder / f"frame_{name}.svg").write_text(draw(robot).svg(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "docs" / "images")
