"""The card of a bundle: what it is, what was measured, what it is not for."""

from typing import Any

from simtoreal.bundle import Bundle


def write_card(bundle: Bundle, preset: str) -> str:
    """A page of Markdown from what the bundle holds; figures that were not measured are not mentioned."""
    camera = bundle.camera
    model = camera.model
    lines = [
        f"# Grasping policy: {camera.modality} camera, {camera.placement}",
        "",
        "A parallel-jaw grasping policy for objects on a table, approaching from above, trained in simulation with "
        "[simtoreal](https://pypi.org/project/simtoreal).",
        "",
        f"- encoder: `{bundle.encoder['name']}`, {_num_parameters(bundle):,} parameters; head: {bundle.head}",
        f"- camera: {model.width_px} x {model.height_px} px, fx {model.fx:.1f} px; other sizes and lenses are "
        "resampled to the same view",
        f"- trained by `preset={preset}`; command, configuration, revision and data hashes are in `provenance.yaml`",
        "",
        *_figure_lines(bundle.figures),
        *_error_lines(bundle),
        "## Not for",
        "",
        "Objects wider than the gripper opens, grasps that have to come from the side, transparent or mirroring "
        "objects, and bins in which they lie on one another. It has met no real robot yet: fine-tune and test first.",
        "",
    ]
    return "\n".join(lines)


def _num_parameters(bundle: Bundle) -> int:
    return sum(value.size for value in bundle.encoder_weights.values())


def _figure_lines(figures: dict[str, Any]) -> list[str]:
    rows = [(name, value) for name, value in figures.items() if isinstance(value, dict) and "policy" in value]
    if not rows:
        return []
    lines = ["## Measured", "", "| objects | who | success | 95 % interval | n |", "|---|---|---|---|---|"]
    for objects, arms in rows:
        for arm, overall in arms.items():
            if overall is not None:
                low, high = overall["pc_success_ci95"]
                rate, num = overall["pc_success"], overall["n_episodes"]
                lines.append(f"| {objects} | {arm} | {rate:.1f} % | {low:.1f} to {high:.1f} | {num} |")
    heads = figures.get("heads")
    if heads:
        rates = ", ".join(f"{head} {100 * rate:.1f} %" for head, rate in heads["success"].items())
        scenes = f"the same {heads['episodes']} scenes of `{heads['objects']}`"
        lines += ["", f"Heads on {scenes}: {rates}; shipped: {heads['winner']}."]
    return [*lines, ""]


def _error_lines(bundle: Bundle) -> list[str]:
    error = bundle.error
    lines = [
        "## Error of the grasp estimate on objects not trained on",
        "",
        "| distance (m) | across (mm) | height (mm) | yaw (degrees) | no grasp at all (%) |",
        "|---|---|---|---|---|",
    ]
    for row in zip(error.distance_m, error.lateral_m, error.height_m, error.yaw_rad, error.wrong_frac, strict=True):
        distance, lateral, height, yaw, wrong = row
        lines.append(
            f"| {distance:.2f} | {1e3 * lateral:.1f} | {1e3 * height:.1f} | {57.3 * yaw:.1f} | {100 * wrong:.1f} |"
        )
    return [*lines, ""]
