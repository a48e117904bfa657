"""Trainings that are done once: each is kept under the hash of all it depends on, so that a stopped run goes on."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from simtoreal.evaluation.output_files import explain_write_errors, write_text_atomic
from simtoreal.policies.encoders import build_encoder
from simtoreal.policies.load import encoder_weights
from simtoreal.progress import Progress
from simtoreal.transfer.tuning.strategy import Strategy, as_plain
from simtoreal.transfer.tuning.training import Domain, Lesson, Tuned, tune

_VERSION = 1  # of how trainings are carried out


@dataclass(frozen=True)
class Trainer:
    """Carries out strategies in one domain.

    Args:
        domain: what can be drawn from.
        made_of: hashes of everything in the domain: source, data, simulated frames.
        folder: where finished trainings are kept.
        progress: told of each training.
    """

    domain: Domain
    made_of: str
    folder: Path
    progress: Progress

    def tune(self, strategy: Strategy, lesson: Lesson, label: str) -> Tuned:
        """Carries out a strategy, or takes what came of it before.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self.folder / f"{strategy.name}-{self._key(strategy, lesson)}"
        kept = self._load(path)
        if kept is not None:
            return kept
        steps = strategy.steps if lesson.steps is None else lesson.steps
        with self.progress.task(label, max(steps, 1)) as bar:
            tuned = tune(strategy, self.domain, dataclasses.replace(lesson, on_step=bar.advance))
            if not steps:
                bar.advance()
        self._save(path, tuned)
        return tuned

    def _key(self, strategy: Strategy, lesson: Lesson) -> str:
        made_of: list[Any] = [_VERSION, self.made_of, as_plain(strategy), lesson.train.tolist()]
        made_of += [lesson.validation.tolist(), lesson.seed, lesson.steps]
        return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()[:16]

    def _save(self, path: Path, tuned: Tuned) -> None:
        weights, partial = path.with_suffix(".safetensors"), path.with_suffix(f".{os.getpid()}.part")
        facts = {name: value for name, value in tuned._asdict().items() if name != "net"}
        with explain_write_errors(weights):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                save_file(
                    {name: np.asarray(value, order="C") for name, value in encoder_weights(tuned.net).items()}, partial
                )
                partial.replace(weights)
            finally:
                partial.unlink(missing_ok=True)
        # Last, so that a training without this file was not finished.
        write_text_atomic(path.with_suffix(".json"), json.dumps(facts) + "\n")

    def _load(self, path: Path) -> Tuned | None:
        facts, weights = path.with_suffix(".json"), path.with_suffix(".safetensors")
        if not (facts.is_file() and weights.is_file()):
            return None
        try:
            net = build_encoder(self.domain.spec)
            net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in load_file(weights).items()})
            return Tuned(net=net.eval().requires_grad_(False), **json.loads(facts.read_text(encoding="utf-8")))
        except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{weights} is damaged ({error}): delete it to train that part again") from error


def hash_of(*parts: NDArray[Any] | str) -> str:
    """Hash of arrays and texts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]
