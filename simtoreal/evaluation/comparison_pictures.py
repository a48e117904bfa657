"""Scenes in which compared policies fared differently, with the grasp that each saw at first sight."""

from collections.abc import Sequence

from simtoreal.config import ConfigError, EvaluateConfig
from simtoreal.envs.assets import AssetError
from simtoreal.envs.cell import InvalidScene
from simtoreal.evaluation.arena import Arena, Job
from simtoreal.evaluation.comparison import Judged, Pair, Run, cluster_of
from simtoreal.evaluation.pictures import camera_picture, draw_estimate, upscale
from simtoreal.evaluation.presentation import first_look
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.report import Picture
from simtoreal.evaluation.runner import spec_from
from simtoreal.progress import Progress
from simtoreal.schema import field_map, parse

_PICTURED_ARM = "policy"  # the oracle and the random policy look at nothing


def picture_disagreements(found: Sequence[Judged], num: int, progress: Progress) -> list[Picture]:
    """Two pictures, of a and of b, for up to `num` scenes with different outcome, in turn for and against b.

    A run whose bundle or world is not there is said to be, and left without pictures.
    """
    pictures: list[Picture] = []
    for judged in found:
        scenes = _disagreements(judged.pairs)[: max(1, num // len(found))]
        if not scenes or any(pair[0].arm != _PICTURED_ARM for pair in scenes):
            continue
        shown = [_look(run, [pair[side] for pair in scenes], progress) for side, run in enumerate((judged.a, judged.b))]
        pictures += [picture for both in zip(*shown, strict=True) for picture in both if picture is not None]
    return pictures


def _disagreements(pairs: Sequence[Pair]) -> list[Pair]:
    lost = [pair for pair in pairs if pair[0].success and not pair[1].success]
    won = [pair for pair in pairs if pair[1].success and not pair[0].success]
    num = max(len(won), len(lost))
    return [pair for i in range(num) for side in (won, lost) for pair in side[i : i + 1]]


def _look(run: Run, records: Sequence[EpisodeRecord], progress: Progress) -> list[Picture | None]:
    """What the policy of a run saw at the start of each scene."""
    try:
        settings = {key: _given(run.config[key]) for key in field_map(EvaluateConfig) if _is_plain(run.config, key)}
        arena = Arena(spec_from(parse(settings, EvaluateConfig)))
    except (ConfigError, ValueError, OSError, ModuleNotFoundError) as error:
        progress.say(f"no pictures of {run.name}: {error}")
        return [None] * len(records)
    try:
        with progress.task(f"pictures of {run.name}", len(records)) as bar:
            pictures = []
            for record in records:
                pictures.append(_first_look(arena, run, record))
                bar.advance()
            return pictures
    finally:
        arena.close()


def _is_plain(config: object, key: str) -> bool:
    """Lists are written as Python shows them, and none of them changes what a scene looks like but the lens."""
    return isinstance(config, dict) and key in config and not str(config[key]).startswith("(")


def _given(text: str) -> str | None:
    return None if text == "None" else text


def _first_look(arena: Arena, run: Run, record: EpisodeRecord) -> Picture | None:
    try:
        job = Job(_PICTURED_ARM, record.episode, cluster_of(record))
        observation, estimate = first_look(arena, job, record.invalid_redraws)
    except (InvalidScene, AssetError):
        return None
    caption = f"{run.name}: {cluster_of(record)}, scene {record.episode}"
    if estimate is None:
        return Picture(upscale(camera_picture(observation)), f"{caption}, no grasp seen", record.success)
    opening_m = arena.robot.gripper.max_opening_m
    return Picture(draw_estimate(observation, estimate, opening_m), caption, record.success)
