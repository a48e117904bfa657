"""What a head would have seen in recorded episodes, and what was done there, through its interface at run time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Action, GraspEstimate, GraspSource, Observation
from simtoreal.episodes.arm_tracks import arm_tracks
from simtoreal.episodes.grasp_views import posed
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode
from simtoreal.head_interface import HeadInterface, HeadScale
from simtoreal.policies.residual_head import BaseHead

GAMMA = 0.98  # of a success, per control period before it


class Transitions(NamedTuple):
    """Control periods of logs, in order."""

    observations: NDArray[np.float32]  # (N, OBSERVATION_DIM)
    actions: NDArray[np.float32]  # (N, ACTION_DIM) what was meant
    base: NDArray[np.float32]  # (N, ACTION_DIM) what the frozen head would have done
    returns: NDArray[np.float32]  # (N,) 1 at a success, less before it, 0 in failures
    success: NDArray[np.bool_]  # (N,) of the episode
    episode: NDArray[np.int64]  # (N,) position in the dataset


class Seen(NamedTuple):
    """One control period of a log as a policy meets it."""

    observation: Observation
    meant: Action
    sent: Action


def seen_in(episode: RecordedEpisode, camera: str) -> list[Seen]:
    """The periods of an episode in which everything is known that a policy needs."""
    poses, info, found = arm_tracks(episode).poses, episode.info.cameras[camera], []
    for index in range(len(episode)):
        frame = episode.frame(index, (camera,))
        image = frame.images.get(camera)
        picture = posed(image, info, poses) if image is not None else None
        sent = frame.sent or frame.commanded
        if image is None or picture is None or sent is None or frame.T_base_tcp is None:
            continue
        observation = Observation(
            image.t_s, image.rgb, image.depth_m, picture.K, picture.T_base_cam, np.asarray(frame.T_base_tcp),
            frame.gripper_width_m or 0.0, frame.joint_positions_rad, picture.distortion,
        )  # fmt: skip
        found.append(Seen(observation, frame.commanded or sent, sent))
    return found


def replay_interface(
    periods: Sequence[Seen], source: GraspSource, base: BaseHead, scale: HeadScale
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float64]], list[NDArray[np.floating]]]:
    """Observation vectors, meant actions and those of the frozen head, with the memory that a policy would have had."""
    interface = HeadInterface(scale)
    source.reset()
    vectors, actions, wanted = [], [], []
    for observation, meant, sent in periods:
        interface.see(observation)
        interface.tells_of_miss(observation, source)
        estimate: GraspEstimate | None = source.estimate(observation)
        action = interface.vector_of(meant, observation)
        if estimate is not None:
            vectors.append(interface.vector(observation, estimate))
            actions.append(action)
            wanted.append(base.act(observation, estimate, interface))
        interface.action(action, observation)
        interface.sent(sent)
    return vectors, actions, wanted


def read_transitions(
    reader: DatasetReader, camera: str, source: GraspSource, base: BaseHead, scale: HeadScale
) -> Transitions:
    """Transitions of all episodes whose outcome is known; empty where there are none."""
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for position in range(len(reader)):
        episode = reader[position]
        if episode.end.success is None or camera not in episode.info.cameras:
            continue
        vectors, actions, wanted = replay_interface(seen_in(episode, camera), source, base, scale)
        if not vectors:
            continue
        num = len(vectors)
        returns = GAMMA ** np.arange(num - 1, -1, -1) * float(episode.end.success)
        parts.append((np.stack(vectors), np.stack(actions), np.stack(wanted), returns,
                      np.full(num, episode.end.success), np.full(num, position)))  # fmt: skip
    if not parts:
        empty = np.zeros((0, 1), dtype=np.float32)
        return Transitions(empty, empty, empty, empty[:, 0], np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))
    vectors_, actions_, wanted_, returns_, success, episodes = (np.concatenate(c) for c in zip(*parts, strict=True))
    return Transitions(
        vectors_.astype(np.float32), actions_.astype(np.float32), wanted_.astype(np.float32),
        returns_.astype(np.float32), success.astype(np.bool_), episodes.astype(np.int64),
    )  # fmt: skip
