"""The control side of a fine-tuning: what the logs say of the arm, another head where one is wanted, and the gap."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from simtoreal.bundle import Bundle, save_bundle
from simtoreal.envs.randomization import load_randomization
from simtoreal.episodes.errors import DatasetError
from simtoreal.evaluation.output_files import make_folder, write_text_atomic
from simtoreal.identification.identify_command import IDENTIFIED_FILE, find_out
from simtoreal.identification.settings import IdentifyConfig
from simtoreal.identified import Identified
from simtoreal.perception_error import PerceptionError
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.control.gap import advice, gap_on_logs, gap_online
from simtoreal.transfer.control.heads import HeadJob, adapt_head
from simtoreal.transfer.ledger.verdict import Verdict
from simtoreal.transfer.settings import FinetuneConfig, HeadStrategy

_MAX_EPISODES = 12  # enough to see where the gap sits; `simtoreal identify` looks at more


@dataclass(frozen=True)
class PerceptionSide:
    """What the fine-tuning of the encoder found; misses are of the source, None where they were not measured."""

    source: Path
    tuned: Bundle
    error: PerceptionError
    miss: float | None
    miss_at_home: float | None


class ControlSide(NamedTuple):
    """The candidate with its head, and the sections `gap` and `head` of the ledger."""

    bundle: Bundle
    sections: dict[str, Any]


def control_side(config: FinetuneConfig, perception: PerceptionSide, progress: Progress) -> ControlSide:
    """Adapts the head as the settings say and writes the candidate; finds where the gap sits.

    Raises:
        DatasetError: head=clone, awr or residual, and there is too little to learn from.
        ConfigError: head=identified, and nothing could be identified.
    """
    if config.head is HeadStrategy.KEEP:
        return ControlSide(perception.tuned, {"gap": None, "head": None})
    identified, problem = _identify(config, progress)
    file = config.out / IDENTIFIED_FILE if identified is not None else None
    outcome = adapt_head(HeadJob(config, perception.tuned, perception.error, file, progress))
    bundle = perception.tuned if outcome is None else outcome.bundle
    if outcome is not None:
        save_bundle(bundle, config.out / "candidate")
    logs = gap_on_logs(perception.miss, perception.miss_at_home, identified, load_randomization("harsh"))
    retrained = config.out / "candidate" if outcome is not None else None
    gap: dict[str, Any] = {"logs": logs, "problem": problem}
    gap["online"] = gap_online(config, perception.source, retrained, progress)
    gap["advice"] = advice(gap, str(config.episodes))
    progress.say(gap["advice"])
    return ControlSide(bundle, {"gap": gap, "head": None if outcome is None else dict(outcome.facts)})


def shippable(source: Bundle, tuned: Bundle, ledger: dict[str, Any]) -> Bundle:
    """The fine-tuned bundle, with the head of the source unless closed loop has shown that the new one is better."""
    if ledger.get("head") is None or ledger["forced"]:
        return tuned
    online = ledger["online"]
    proven = online is not None and online["gain"]["low"] > 0 and ledger["verdict"] == Verdict.IMPROVED.value
    return tuned if proven else replace(tuned, head=source.head, head_weights=source.head_weights, error=source.error)


def _identify(config: FinetuneConfig, progress: Progress) -> tuple[Identified | None, str]:
    assert config.episodes is not None
    settings = IdentifyConfig(
        episodes=config.episodes, out=config.out, camera=config.camera, base=config.randomization,
        max_episodes=_MAX_EPISODES,
    )  # fmt: skip
    try:
        _, identified = find_out(settings, config.episodes, progress)
    except (ConfigError, DatasetError) as error:
        return None, str(error)
    if not identified.posterior:
        return None, "; ".join(sorted(set(identified.unidentified.values())))
    write_text_atomic(make_folder(config.out) / IDENTIFIED_FILE, yaml.safe_dump(identified.to_plain(), sort_keys=False))
    return identified, ""
