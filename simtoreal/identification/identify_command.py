"""The `identify` command: latencies, response and jaws from logs; a simulator that follows them; a file to use."""

import shlex
import sys
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.robot import RobotSpec, load_robot
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.evaluation.output_files import write_text_atomic
from simtoreal.identification.identify_page import render_terminal, write_page
from simtoreal.identification.motion_log import MotionLog
from simtoreal.identification.posterior import pool
from simtoreal.identification.ranges_around import ranges_around
from simtoreal.identification.replay import ArmReplay, Settings, matched_lag_s, middle_of, replay_error_m
from simtoreal.identification.response import PYBULLET_LEAD_S, Response
from simtoreal.identification.settings import IdentifyConfig
from simtoreal.identification.study import MIN_EPISODES, EpisodeStudy, Study, combine, open_camera, study_episode
from simtoreal.identified import Identified
from simtoreal.progress import Bar, Progress
from simtoreal.schema import ConfigError
from simtoreal.settings_files import shipped_names

IDENTIFIED_FILE = "identified.yaml"
_MAX_MATCHED, _MAX_JUDGED = 8, 8


def identify(config: IdentifyConfig) -> int:
    """Identifies, writes `identified.yaml` and a page; returns 1 where nothing could be identified, else 0.

    Raises:
        ConfigError: there are no episodes, or the robot is another one.
        DatasetError: the dataset cannot be read, or holds one episode only.
    """
    if config.episodes is None:
        raise ConfigError("episodes must be given: episodes=DIR, a dataset of `simtoreal record` or `simtoreal import`")
    study, identified = find_out(config, config.episodes, Progress())
    write_text_atomic(config.out / IDENTIFIED_FILE, yaml.safe_dump(identified.to_plain(), sort_keys=False))
    page = write_page(config.out, study, identified, shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    console = Console()
    console.print(render_terminal(identified))
    for name, path in (("identified", config.out / IDENTIFIED_FILE), ("page", page)):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
    return 0 if study.posterior else 1


def find_out(config: IdentifyConfig, folder: Path, progress: Progress) -> tuple[Study, Identified]:
    """What the episodes of a folder say, replay in the simulator included; writes nothing.

    Raises:
        ConfigError: the robot is another one.
        DatasetError: the dataset cannot be read, or holds too few episodes.
    """
    with DatasetReader(folder, skip_broken=True) as reader:
        robot_name, robot = _robot_of(reader, config)
        studied = _study(reader, config, progress)
        periods = [found.log.period_s for found in studied if not isinstance(found.log, str)]
        control_hz = 1.0 / float(np.median(periods)) if periods else reader[0].info.fps
    study = combine(studied)
    replay = _match(study, robot, config.base, progress)
    ranges, kept = ranges_around(study.posterior, config.base, PYBULLET_LEAD_S if _is_foreign(study) else 0.0)
    study.unidentified.update(kept)
    identified = Identified(
        robot_name, control_hz, len(studied), study.posterior, study.unidentified, ranges, replay, str(folder)
    )
    return study, identified


def _robot_of(reader: DatasetReader, config: IdentifyConfig) -> tuple[str, RobotSpec | None]:
    """The name of the robot, empty where nobody says, and its description, None where there is none.

    Raises:
        DatasetError: too few episodes, or of several robots.
        ConfigError: they are of another robot than the one given.
    """
    if len(reader) < MIN_EPISODES:
        raise DatasetError(
            f"holds {len(reader)} episode{'s' if len(reader) != 1 else ''} that can be read, and at least "
            f"{MIN_EPISODES} are needed to tell how sure a number is: record more",
            file=config.episodes,
        )
    names = {entry.info.robot for entry in reader.entries} - {""}
    if len(names) > 1:
        raise DatasetError(
            f"holds episodes of several robots, {sorted(names)}: keep one with `simtoreal dataset action=filter "
            "robots=NAME`",
            file=config.episodes,
        )
    named = next(iter(names), "")
    if config.robot is not None:
        robot = load_robot(config.robot)
        if named and robot.name != named:
            raise ConfigError(f"robot={config.robot} is {robot.name}, but the episodes are of {named}: leave it out")
        return robot.name, robot
    return named, load_robot(named) if named in shipped_names("robot") else None


def _study(reader: DatasetReader, config: IdentifyConfig, progress: Progress) -> list[EpisodeStudy]:
    camera = open_camera(reader, config.camera)
    chosen = np.unique(np.linspace(0, len(reader) - 1, min(len(reader), config.max_episodes)).round().astype(int))
    studied = []
    with progress.task("episodes", len(chosen)) as bar:
        for position in chosen:
            studied.append(study_episode(reader[int(position)], int(position), camera))
            bar.advance()
    return studied


def _is_foreign(study: Study) -> bool:
    """Whether the logs are of another arm than the simulator's own."""
    return not all(log.domain == "pybullet" for log in study.logs)


def _match(study: Study, robot: RobotSpec | None, base: str, progress: Progress) -> dict[str, object]:
    """Finds the simulator's tracking lag on two thirds of the episodes, and judges by the others."""
    pairs = study.responses()
    judged = [pair for i, pair in enumerate(pairs) if i % 3 == 2][:_MAX_JUDGED]
    fitted = [pair for i, pair in enumerate(pairs) if i % 3 != 2][:_MAX_MATCHED]
    if robot is None:
        study.unidentified["tracking_lag_s"] = (
            "no simulated arm to replay the logs with: give robot=NAME or a YAML file"
        )
        return {}
    if len(fitted) < MIN_EPISODES or not judged:
        study.unidentified["tracking_lag_s"] = "three episodes with a known response are needed to match and to judge"
        return {}
    lead_s = PYBULLET_LEAD_S if _is_foreign(study) else 0.0
    with ArmReplay(robot) as replay, progress.task("replay", len(fitted) + len(judged)) as bar:
        lags = []
        for log, response in fitted:
            lags.append((matched_lag_s(replay, log, response.dead_time_s + lead_s), 0.005))
            bar.advance()
        values, sds = zip(*lags, strict=True)
        study.posterior["tracking_lag_s"] = pool(values, sds, "replayed logs in the simulator's arm")
        latency_s = float(np.mean([response.dead_time_s for _, response in fitted])) + lead_s
        after = Settings(latency_s, study.posterior["tracking_lag_s"].mean)
        return _judge(replay, judged, (middle_of(load_randomization(base)), after), bar)


def _judge(
    replay: ArmReplay, judged: list[tuple[MotionLog, Response]], settings: tuple[Settings, Settings], bar: Bar
) -> dict[str, object]:
    rows = []
    for log, _ in judged:
        rows.append([replay_error_m(log, replay.run(log, each)) for each in settings])
        bar.advance()
    errors = np.array(rows)
    before, after = (float(value) for value in errors.mean(axis=0))
    return {
        "held_out_episodes": [log.episode for log, _ in judged],
        "before_mm": round(1e3 * before, 3),
        "after_mm": round(1e3 * after, 3),
        "per_episode_mm": np.round(1e3 * errors, 3).tolist(),
        "before": dict(settings[0]._asdict()),
        "after": {name: round(value, 5) for name, value in settings[1]._asdict().items()},
    }
