"""Pretraining in the simulator that logs of a real arm have corrected."""

from dataclasses import replace
from pathlib import Path

import yaml

from simtoreal.bundle import Bundle
from simtoreal.config import ConfigError, PretrainConfig, Stage
from simtoreal.envs.gym_envs import EnvConfig
from simtoreal.envs.randomization import Randomization, load_randomization
from simtoreal.envs.robot import load_robot
from simtoreal.evaluation.output_files import make_folder, write_text_atomic
from simtoreal.identified import Identified, load_identified
from simtoreal.policies.learned_head import Weights
from simtoreal.pretraining.control import ControlPlan, ControlRun, train_head
from simtoreal.pretraining.tracking import NoTracker
from simtoreal.progress import Progress

_FILE = "randomization.yaml"


def in_identified_world(config: PretrainConfig) -> PretrainConfig:
    """The same pretraining with the dynamics and timing of `identified`; as it was where there is none.

    What it is trained in is written to the run folder.

    Raises:
        IdentifiedError: the file is none of `simtoreal identify`.
        ConfigError: it speaks of another robot.
    """
    if config.identified is None:
        return config
    identified = load_identified(config.identified)
    robot = load_robot(config.robot).name
    if identified.robot and identified.robot != robot:
        raise ConfigError(
            f"identified={config.identified} speaks of {identified.robot}, and robot={config.robot} is to be trained: "
            "identify that one, or give robot=" + identified.robot
        )
    path = make_folder(config.out) / _FILE
    corrected = with_identified(load_randomization(config.randomization), identified)
    write_text_atomic(path, yaml.safe_dump(corrected.to_plain(), sort_keys=False))
    return replace(config, randomization=str(path))


def with_identified(ranges: Randomization, identified: Identified) -> Randomization:
    """These ranges with what was identified in their places."""
    return ranges.updated({name: group for name, group in identified.randomization.items() if name != "base"})


def retrain_head(bundle: Bundle, identified: Path, out: Path, draws: tuple[int, int], progress: Progress) -> Weights:
    """A head for a bundle in the simulator that logs have corrected, against the error that the bundle states.

    Args:
        identified: file of `simtoreal identify`.
        out: folder of checkpoints, with which an interrupted training goes on.
        draws: seed, and number of worker processes.
    """
    seed, workers = draws
    config = in_identified_world(
        PretrainConfig(
            stage=Stage.CONTROL, bundle="default", identified=identified, out=out, seed=seed, workers=workers
        )
    )
    plan = config.plan.control
    return train_head(
        EnvConfig(config.objects, config.randomization, config.robot, perception_error=bundle.error),
        ControlPlan(
            algorithm=config.algorithm.value, total_steps=plan.total_steps, num_envs=plan.num_envs,
            learning_starts=plan.learning_starts, batch_size=plan.batch_size, gamma=plan.gamma, net_arch=plan.net_arch,
            seed=seed, cloning_steps=plan.cloning_steps, target=config.randomization,
        ),
        ControlRun(out / "checkpoints", True, NoTracker(), progress),
    )  # fmt: skip
