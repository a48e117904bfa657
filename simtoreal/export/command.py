"""The `export` command: writes the folder for the robot, proves it, and says so."""

import json
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from simtoreal.bundle import CONTRACT_FILE, Bundle, is_exported, load_bundle, write_description
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.output_files import explain_write_errors, write_text_atomic
from simtoreal.export.graph import write_graph
from simtoreal.export.observations import save_observations
from simtoreal.export.page import draw_pairs, figure_table, say_failed, write_page
from simtoreal.export.parity import measure_parity
from simtoreal.export.proof import Proof, judge, run_trial_process
from simtoreal.export.quantisation import quantise
from simtoreal.export.samples import Samples, load_samples
from simtoreal.export.settings import ExportConfig, Precision
from simtoreal.export.success import compare_success, watch
from simtoreal.policies.export_contract import GRAPH_FILE, describe
from simtoreal.policies.exported import open_graph
from simtoreal.policies.load import learned_grasp_map, load_encoder
from simtoreal.policies.parts import view_of
from simtoreal.preflight import find_bundle
from simtoreal.progress import Progress
from simtoreal.provenance import provenance
from simtoreal.schema import ConfigError

EXIT_FAILED = 3
PROOF_FILE = "proof.json"


def export(config: ExportConfig) -> int:
    """Exports, proves, and prints the proof; returns 3 where a figure is over its limit, else 0.

    Raises:
        ConfigError: the bundle was exported already, or `out` holds a bundle that can be trained.
        ModuleNotFoundError: the `export` extra is not installed.
    """
    folder = find_bundle(config.bundle)
    _check_folders(config, folder)
    bundle, progress = load_bundle(folder), Progress()
    samples = load_samples(config, bundle, progress)
    write_export(config, bundle, folder, samples)
    proof = _prove(config, bundle, folder, samples, progress)
    content = {**proof.to_plain(), "provenance": provenance()}
    write_text_atomic(config.out / PROOF_FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")
    maps = learned_grasp_map(bundle), open_graph(config.out, view_of(bundle))
    pictures = list(draw_pairs(*maps, samples.held_out, proof))
    page = write_page(config.out / "proof", proof, pictures, shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    console = Console()
    console.print(terminal_table(figure_table(proof)))
    for name, path in (("for the robot", config.out), ("proof", config.out / PROOF_FILE), ("page", page)):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
    for figure in proof.failed:
        print(f"simtoreal: the proof failed: {say_failed(figure)}", file=sys.stderr)
    return EXIT_FAILED if proof.failed else 0


def write_export(config: ExportConfig, bundle: Bundle, folder: Path, samples: Samples) -> None:
    """Writes everything that the robot needs; the contract last, so that a folder that has one is whole.

    Raises:
        ModuleNotFoundError: the `export` extra is not installed.
        OSError: the folder cannot be written.
    """
    view, out = view_of(bundle), config.out
    with explain_write_errors(out), tempfile.TemporaryDirectory(dir=out, prefix=".export") as place:
        exact, graph = Path(place) / "fp32.onnx", Path(place) / GRAPH_FILE
        write_graph(load_encoder(bundle), view, exact)
        if config.precision is Precision.INT8:
            quantise(exact, graph, samples.calibration, view)
        else:
            exact.rename(graph)
        for name in (CONTRACT_FILE, PROOF_FILE, "head.safetensors"):  # of an earlier export
            (out / name).unlink(missing_ok=True)
        graph.replace(out / GRAPH_FILE)
        write_description(_signed(config, bundle, folder, samples), out)
        content = describe(bundle, view, config.precision.value, out)
        write_text_atomic(out / CONTRACT_FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _signed(config: ExportConfig, bundle: Bundle, folder: Path, samples: Samples) -> Bundle:
    precision = config.precision.value
    made = {**provenance(), "source": str(folder), "precision": precision, "calibrated_on": samples.origin}
    card = (
        f"{bundle.card}\n## Exported\n\nBy `simtoreal export precision={precision}`. Figures above are "
        "those of the source policy; what was lost on the way is in `proof.json`.\n"
    )
    return replace(bundle, provenance={**bundle.provenance, "export": made}, card=card)


def _prove(config: ExportConfig, bundle: Bundle, folder: Path, samples: Samples, progress: Progress) -> Proof:
    maps = learned_grasp_map(bundle), open_graph(config.out, view_of(bundle))
    parity = measure_parity(*maps, samples.held_out)
    observations = config.out / "proof" / "observations.npz"
    observations.parent.mkdir(exist_ok=True)
    save_observations(watch(config, progress), observations)
    trial = run_trial_process(config.out, observations)
    success = compare_success(config, folder, progress) if config.n else None
    figures = judge(config, parity, success, trial, bundle.scale.control_hz)
    return Proof(figures, parity, success, trial, samples.origin)


def _check_folders(config: ExportConfig, folder: Path) -> None:
    if is_exported(folder):
        raise ConfigError(f"bundle={config.bundle} was exported already; give the bundle that it was made from")
    if (config.out / "encoder.safetensors").exists():
        raise ConfigError(f"out={config.out} holds a bundle that would stop being one; give another folder")
