"""The `inspect` command: what a bundle is made of, what was measured, and pictures of where it would grasp."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from simtoreal.bundle import Bundle, load_bundle
from simtoreal.config import InspectConfig
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation import findings, statistics
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.evaluation.grounding import Frame, grounding_pictures, grounding_table, probe
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.pictures import camera_picture, draw_estimate, estimate_overlay, upscale
from simtoreal.evaluation.presentation import curves_of_error, first_look
from simtoreal.evaluation.records import to_plain
from simtoreal.evaluation.report import Picture, ReportContent, Table, write_report
from simtoreal.evaluation.runner import EvaluationPlan, plan_jobs, usable_objects
from simtoreal.policies.load import learned_grasp_map
from simtoreal.policies.parts import view_of
from simtoreal.policies.view import make_view
from simtoreal.preflight import find_bundle
from simtoreal.progress import Progress

RANDOMIZATION = "default"  # of the scenes that are pictured: what policies are trained and evaluated with
_MAX_REDRAWS = 10
_HEAD_NAMES = {"servo": "scripted servo", "learned": "learned"}


def inspect(config: InspectConfig) -> None:
    """Prints the contents and figures of a bundle and writes `report.html` with pictures of its grasps.

    Raises:
        ValueError: the bundle is none, is broken or does not fit its own description, or no object can be used.
        OSError: the run folder cannot be written.
    """
    console, progress = Console(), Progress()
    name = config.bundle or "default"
    folder = find_bundle(name)
    bundle = load_bundle(folder)
    looks = list(_looks(config, folder, progress))
    tables = bundle_tables(folder, bundle)
    disturbed: list[Picture] = []
    if len(looks) > 1:  # the probe shuffles pictures between scenes
        table, disturbed = _grounding(bundle, looks, config.seed)
        tables.insert(2, table)
    for table in tables:
        console.print(terminal_table(table))
    content = ReportContent(
        title=f"Bundle {name}",
        lead=(
            f"A {bundle.camera.modality} policy for a camera {_placement(bundle)}, and where it would grasp "
            f"{config.scenes} objects of {config.objects} at first sight ({RANDOMIZATION} randomization)."
        ),
        grasps=[*(picture for look in looks for picture in look.pictures), *disturbed],
        perception_plots=curves_of_error(bundle.error),
        tables=tables,
        command=f"simtoreal inspect bundle={name} objects={config.objects} scenes={config.scenes} seed={config.seed}",
    )
    path = write_report(config.out, content)
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


# --- tables


def bundle_tables(folder: Path, bundle: Bundle) -> list[Table]:
    """Everything that a bundle says about itself, for the terminal and for the report alike."""
    return [
        Table("What it is", ("part", ""), _part_rows(bundle)),
        Table("Measured", ("objects", "who", "success", "95 % interval", "n"), *_figure_rows(bundle.figures)),
        _error_table(bundle),
        Table("Where it comes from", ("", ""), *_provenance_rows(bundle.provenance)),
        _file_table(folder),
    ]


def _part_rows(bundle: Bundle) -> list[tuple[str, str]]:
    view, model = bundle.view, bundle.camera.model
    across_deg, down_deg = _angle_deg(model.width_px, model.fx), _angle_deg(model.height_px, model.fy)
    edges = f"{100 * float(view['min_edge_m']):.0f} to {100 * float(view['max_edge_m']):.0f} cm"
    if bundle.camera.placement != "wrist":
        edges = f"{100 * float(view['max_edge_m']):.0f} cm"
    rows = [
        ("encoder", f"{bundle.encoder['name']}, {_encoder_size(bundle)}"),
        ("head", _head(bundle)),
        ("modality", bundle.camera.modality),
        ("camera", f"{_placement(bundle)}, {model.width_px} x {model.height_px} px"),
        ("lens", f"fx {model.fx:.1f}, fy {model.fy:.1f}, cx {model.cx:.1f}, cy {model.cy:.1f} px; "
                 f"{across_deg:.0f} x {down_deg:.0f} degrees"),
        ("view", f"{view['pixels']} x {view['pixels']} px of {edges} of the table"),
        ("action", f"up to {1e3 * bundle.scale.max_delta_m:.0f} mm and {math.degrees(bundle.scale.max_yaw_rad):.0f} "
                   f"degrees in 1/{bundle.scale.control_hz:g} s"),
    ]  # fmt: skip
    timing = bundle.figures.get("timing") or {}
    if "policy_step_p99_ms" in timing:
        median, slow = timing["policy_step_p50_ms"], timing["policy_step_p99_ms"]
        rows.append(("image to action", f"{median:.1f} ms, 99th percentile {slow:.1f} ms, where it was trained"))
    if "training_wall_s" in bundle.figures:
        rows.append(("trained in", f"{bundle.figures['training_wall_s'] / 60:.0f} minutes"))
    return rows


def _encoder_size(bundle: Bundle) -> str:
    return f"{num_parameters(bundle.encoder_weights):,} parameters" if bundle.encoder_weights else "exported as a graph"


def _angle_deg(num_px: int, focal_px: float) -> float:
    return math.degrees(2 * math.atan(0.5 * num_px / focal_px))


def _head(bundle: Bundle) -> str:
    other = ", a learned one is in the bundle too" if bundle.head == "servo" and bundle.head_weights else ""
    size = f", {num_parameters(bundle.head_weights):,} parameters" if bundle.head == "learned" else ""
    return f"{_HEAD_NAMES[bundle.head]}{size}{other}"


def _placement(bundle: Bundle) -> str:
    return "on the wrist" if bundle.camera.placement == "wrist" else "beside the cell"


def num_parameters(weights: Mapping[str, Any]) -> int:
    """Numbers in a set of weights, statistics of normalisation layers included."""
    return sum(int(np.size(value)) for value in weights.values())


def _figure_rows(figures: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], str]:
    """Rows of success rates, and a note where there are none."""
    rows: list[tuple[str, ...]] = [
        (objects, arm, findings.percent(overall["pc_success"]), findings.interval(overall["pc_success_ci95"]),
         str(overall["n_episodes"]))
        for objects, arms in figures.items() if isinstance(arms, Mapping) and "policy" in arms
        for arm, overall in arms.items() if overall is not None
    ]  # fmt: skip
    heads = figures.get("heads") or {"success": {}}
    for head, rate in heads["success"].items():
        n = int(heads["episodes"])
        low, high = statistics.wilson(round(rate * n), n)
        cells = findings.percent(100 * rate), findings.interval([100 * low, 100 * high]), str(n)
        shipped = " (shipped)" if heads.get("winner") == head else ""
        rows.append((f"{heads['objects']}, training", f"head: {_HEAD_NAMES.get(head, head)}{shipped}", *cells))
    note = "" if rows else "Nothing was measured when this bundle was written: run `simtoreal evaluate` with it."
    return rows, note


def _error_table(bundle: Bundle) -> Table:
    error = bundle.error
    columns = ("distance (m)", "across (mm)", "height (mm)", "yaw (degrees)", "no grasp at all (%)")
    measured = zip(error.distance_m, error.lateral_m, error.height_m, error.yaw_rad, error.wrong_frac, strict=True)
    rows = [
        (f"{at:.2f}", f"{1e3 * across:.1f}", f"{1e3 * up:.1f}", f"{math.degrees(yaw):.1f}", f"{100 * wrong:.1f}")
        for at, across, up, yaw, wrong in measured
    ]
    note = "On objects not trained on, by distance from camera to object; standard deviations."
    return Table("Error of the grasp estimate", columns, rows, note)


def _provenance_rows(provenance: Mapping[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """Rows of what is known, and a note where that is nothing."""
    versions, machine = provenance.get("versions") or {}, provenance.get("hardware") or {}
    told = {
        "command": provenance.get("command"),
        "started": provenance.get("started"),
        "git revision": provenance.get("git_revision"),
        "seed": provenance.get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "machine": ", ".join(str(machine[part]) for part in ("processor", "gpu", "system") if machine.get(part)),
        "cores": machine.get("num_cores"),
        **{f"data: {name.replace('_', ' ')}": digest for name, digest in (provenance.get("data") or {}).items()},
    }
    rows = [(name, str(value)) for name, value in told.items() if value not in (None, "")]
    return rows, "" if rows else "This bundle does not say how it was made."


def _file_table(folder: Path) -> Table:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [(path.relative_to(folder).as_posix(), path.stat().st_size / 1e3) for path in files]
    sizes.append(("together", sum(size for _, size in sizes)))
    return Table("On disk", ("file", "kB"), [(name, f"{size:,.1f}") for name, size in sizes], str(folder))


# --- pictures


class _Look(NamedTuple):
    """A scene as an evaluation begins with it."""

    observation: Observation
    object_name: str
    pictures: Sequence[Picture]  # with the grasp, and the map that it was read from


def _looks(config: InspectConfig, folder: Path, progress: Progress) -> Iterator[_Look]:
    """The scenes that an evaluation begins with; those that cannot be drawn are passed over."""
    spec = ArenaSpec(
        bundle=folder,
        objects=config.objects,
        randomization=load_randomization(RANDOMIZATION).to_plain(),
        robot="panda",
        seed=config.seed,
        cache_dir=default_cache_dir(),
    )
    plan = EvaluationPlan(config.scenes, ("policy",), 1, config.out)
    names, _ = usable_objects(spec, plan, progress)
    arena = Arena(spec)
    try:
        with progress.task("pictures", config.scenes) as bar:
            for job in plan_jobs(names, config.seed, plan):
                look = _look(arena, job)
                if look is not None:
                    yield look
                bar.advance()
    finally:
        arena.close()


def _look(arena: Arena, job: Job) -> _Look | None:
    for redraw in range(_MAX_REDRAWS):
        try:
            observation, estimate = first_look(arena, job, redraw)
        except InvalidScene:
            continue
        return _Look(observation, job.object_name, _pictures(arena, job, observation, estimate))
    return None


def _pictures(arena: Arena, job: Job, observation: Observation, estimate: GraspEstimate | None) -> Sequence[Picture]:
    if estimate is None:
        return [Picture(upscale(camera_picture(observation)), f"{job.object_name}: no grasp seen")]
    opening_m = arena.robot.gripper.max_opening_m
    caption = f"{job.object_name}: grasp of quality {estimate.quality:.2f}, {1e3 * estimate.width_m:.0f} mm wide"
    overlay = estimate_overlay(estimate)
    picture = Picture(draw_estimate(observation, estimate, opening_m), caption)
    return [picture] if overlay is None else [picture, Picture(overlay, f"{job.object_name}: map of grasp quality")]


def _grounding(bundle: Bundle, looks: Sequence[_Look], seed: int) -> tuple[Table, list[Picture]]:
    """Whether the policy looks at these scenes, and one of them disturbed in every way."""
    view = view_of(bundle)
    found = [Frame(make_view(look.observation, view), i) for i, look in enumerate(looks)]
    grasp_map = learned_grasp_map(bundle)
    grounding = probe(grasp_map, found, np.random.default_rng((seed, 41)))
    pictures = grounding_pictures(grasp_map, found[0], found[1])
    return grounding_table(to_plain(grounding.to_plain())), pictures
