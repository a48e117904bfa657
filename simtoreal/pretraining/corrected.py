"""Pretraining in the simulator that logs of a real arm have corrected."""

from dataclasses import replace

import yaml

from simtoreal.config import ConfigError, PretrainConfig
from simtoreal.envs.randomization import Randomization, load_randomization
from simtoreal.envs.robot import load_robot
from simtoreal.evaluation.output_files import write_text_atomic
from simtoreal.identified import Identified, load_identified

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
    path = config.out / _FILE
    corrected = with_identified(load_randomization(config.randomization), identified)
    write_text_atomic(path, yaml.safe_dump(corrected.to_plain(), sort_keys=False))
    return replace(config, randomization=str(path))


def with_identified(ranges: Randomization, identified: Identified) -> Randomization:
    """These ranges with what was identified in their places."""
    return ranges.updated({name: group for name, group in identified.randomization.items() if name != "base"})
