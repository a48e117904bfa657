"""The grounding probe on recorded frames: of a net while it is fine-tuned, and of a bundle with `simtoreal inspect`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from simtoreal.bundle import load_bundle
from simtoreal.envs.assets import default_cache_dir
from simtoreal.episodes.errors import DatasetError
from simtoreal.evaluation.grounding import Frame, grounding_pictures, grounding_table, probe
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.records import to_plain
from simtoreal.evaluation.report import Picture, ReportContent, write_report
from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.load import load_encoder, map_of_views
from simtoreal.policies.parts import view_of
from simtoreal.policies.view import ViewSpec
from simtoreal.preflight import find_bundle
from simtoreal.progress import Progress
from simtoreal.transfer.data.dataset import Wanted, load_real_data
from simtoreal.transfer.data.labels import Hindsight
from simtoreal.transfer.data.real_frames import RealFrames

FOLDER = "grounding"  # in the run folder of `inspect`
_PER_EPISODE = 4


class Probed(NamedTuple):
    """What a probe found, as plain values, and one frame disturbed in every way."""

    found: Mapping[str, Any]
    pictures: list[Picture]


def probe_frames(net: GraspNet, frames: RealFrames, view: ViewSpec, seed: int) -> Probed | None:
    """Probes a net with frames that show something held; None where fewer than two episodes have one."""
    chosen = [Frame(frames.view(int(i)), int(frames.episode[i])) for i in _spread(frames)]
    if len({frame.group for frame in chosen}) < 2:
        return None
    grasp_map = map_of_views(net, view)
    found = probe(grasp_map, chosen, np.random.default_rng((seed, 41)))
    other = next(frame for frame in chosen if frame.group != chosen[0].group)
    return Probed(to_plain(found.to_plain()), grounding_pictures(grasp_map, chosen[0], other))


def probe_on_episodes(bundle: str, episodes: Path, out: Path, seed: int) -> None:
    """Probes a bundle with recorded frames, prints what was found and writes it as a page of its own.

    Raises:
        ConfigError: the bundle looks through another camera.
        DatasetError: too few episodes show where something was held.
    """
    folder = find_bundle(bundle)
    source = load_bundle(folder)
    view, progress, console = view_of(source), Progress(), Console()
    data = load_real_data(episodes, Wanted(view), Hindsight(), default_cache_dir(), progress)
    probed = probe_frames(load_encoder(source), data.frames, view, seed)
    if probed is None:
        raise DatasetError("the probe needs two episodes that show where something was held", file=episodes)
    table = grounding_table(probed.found)
    console.print(terminal_table(table))
    content = ReportContent(
        title=f"Bundle {bundle} on {episodes.name}",
        lead="Recorded frames, disturbed in ways whose effect geometry knows.",
        tables=[table],
        grasps=probed.pictures,
        command=shlex.join(["simtoreal", "inspect", f"bundle={bundle}", f"episodes={episodes}"]),
    )
    path = write_report(out / FOLDER, content)
    console.print(f"grounding: {path}", highlight=False, soft_wrap=True)


def _spread(frames: RealFrames) -> list[int]:
    """A few frames of every episode that shows something held, spread over it."""
    chosen: list[int] = []
    for episode in np.unique(frames.episode[frames.has_held]):
        index = np.flatnonzero(frames.has_held & (frames.episode == episode))
        chosen += np.unique(index[np.linspace(0, len(index) - 1, _PER_EPISODE).round().astype(int)]).tolist()
    return chosen
