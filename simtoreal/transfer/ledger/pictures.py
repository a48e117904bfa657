"""Held-out frames with the grasp that each arm would choose beside the label, where fine-tuning changed most."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames as se3
from simtoreal.contracts import FloatArray
from simtoreal.evaluation.grounding import draw_in_view, view_picture
from simtoreal.evaluation.pictures import JAWS, Image, upscale
from simtoreal.evaluation.report import Picture
from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.grasp_map import decode, viewpoint_of
from simtoreal.policies.load import as_grasp_map
from simtoreal.policies.view import View, to_tensor
from simtoreal.transfer.trials.arms import ARMS, ArmScores, recipes_of, train_fold
from simtoreal.transfer.trials.folds import Fold
from simtoreal.transfer.trials.selection import Search
from simtoreal.transfer.tuning.grasp_score import by_episode
from simtoreal.transfer.tuning.strategy import SCRATCH
from simtoreal.transfer.tuning.trainer import Trainer

NUM_EACH = 3  # episodes with the largest gain, and with the largest loss
LABEL = JAWS
COLOURS = {"source": (80, 160, 255), SCRATCH: (235, 90, 60), "fine_tuned": (90, 220, 90)}
_COLOUR_NAMES = {"source": "blue", SCRATCH: "red", "fine_tuned": "green"}


def held_out_pictures(
    trainer: Trainer, folds: Sequence[Fold], judged: tuple[Search, ArmScores], seed: int
) -> list[Picture]:
    """The best and the worst held-out episodes; nets that were trained before come from the trainer."""
    tried, arms = judged
    scores = {arm: by_episode(arms.held_out[arm]) for arm in ARMS}
    gain = scores["source"].miss - scores["fine_tuned"].miss
    pictures = []
    for row in _extremes(gain):
        episode = int(scores["source"].episodes[row])
        fold = next(fold for fold in folds if episode in fold.held_out)
        trained = train_fold(trainer, recipes_of(tried, arms.scratch, fold), fold, seed)
        nets = {"source": trainer.domain.source, **{arm: tuned.net for arm, tuned in trained.items()}}
        told = ", ".join(f"{arm.replace('_', '-')} ({_COLOUR_NAMES[arm]}) {scores[arm].miss[row]:.2f}" for arm in ARMS)
        caption = f"held-out episode {episode}, label yellow; miss of {told}"
        pictures.append(Picture(_draw(trainer, nets, episode), caption))
    return pictures


def _extremes(gain: FloatArray) -> list[int]:
    """Largest gains first, then the largest losses; each episode once."""
    order = np.argsort(-gain, kind="stable").tolist()
    worst = [row for row in reversed(order) if row not in order[:NUM_EACH]][:NUM_EACH]
    return [*order[:NUM_EACH], *worst]


def _draw(trainer: Trainer, nets: dict[str, GraspNet], episode: int) -> Image:
    """The first frame of an episode that shows what was held, with all grasps."""
    real = trainer.domain.real
    index = int(np.flatnonzero(real.has_held & (real.episode == episode))[0])
    view, known = real.view(index), real.known(index)
    picture = upscale(view_picture(view))
    for grasp in known[known[:, 5] > 0.5]:
        picture = draw_in_view(picture, view, (se3.top_down(grasp[:3].tolist(), grasp[3]), float(grasp[4])), LABEL)
    for arm, net in nets.items():
        picture = _draw_choice(picture, view, (net, to_tensor(view, trainer.domain.view)), COLOURS[arm])
    return picture


def _draw_choice(
    picture: Image, view: View, seen: tuple[GraspNet, NDArray[np.float32]], colour: tuple[int, int, int]
) -> Image:
    net, planes = seen
    found = decode(as_grasp_map(net)(planes), viewpoint_of(view), 1)
    return draw_in_view(picture, view, (found[0].T_base_grasp, found[0].width_m), colour) if found else picture
