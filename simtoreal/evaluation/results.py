"""What an evaluation found: `eval_info.json` and `episodes.csv`, made of the records of its episodes."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.evaluation import statistics
from simtoreal.evaluation.output_files import RunFolderError, make_folder, write_text_atomic
from simtoreal.evaluation.records import FAILURES, SIZE_CLASSES, EpisodeRecord, to_plain

EVAL_INFO_KEYS = ("overall", "per_object", "per_group", "invalid", "oracle", "timing", "seed", "config")

Summary = dict[str, Any]


@dataclass(frozen=True)
class EvaluationResult:
    """The records of every arm of one evaluation, and what is needed to run it again.

    Raises:
        ValueError: the main arm has no records.
    """

    records: Mapping[str, Sequence[EpisodeRecord]]  # by arm
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    git_revision: str = ""
    timing: Mapping[str, float] = field(default_factory=dict)  # policy_step_p50_ms, policy_step_p99_ms, steps_per_s ..
    problems: Sequence[Mapping[str, str]] = ()  # broken assets: path, reason
    main_arm: str = "policy"

    def __post_init__(self) -> None:
        if not self.records.get(self.main_arm):
            raise ValueError(f"no episodes of arm {self.main_arm!r}; there are {sorted(self.records)}")

    @property
    def main(self) -> Sequence[EpisodeRecord]:
        """Records of the arm that is being evaluated."""
        return self.records[self.main_arm]

    def to_eval_info(self) -> Summary:
        """The content of `eval_info.json`: `pc_*` are percent, intervals Wilson 95 % unless they say otherwise."""
        info: Summary = breakdown(self.main)
        info["fits_gripper"] = summarise([record for record in self.main if record.fits_gripper])
        info["invalid"] = self._invalid()
        info["oracle"] = self._against("oracle")
        info["random"] = self._against("random")
        others = [arm for arm in self.records if arm not in (self.main_arm, "oracle", "random")]
        info["other_arms"] = {arm: self._against(arm) for arm in others}
        info |= {"timing": dict(self.timing), "seed": self.seed, "config": dict(self.config)}
        info |= {"git_revision": self.git_revision, "problems": [dict(problem) for problem in self.problems]}
        plain: Summary = to_plain(info)
        return plain

    def write(self, out_dir: Path) -> Summary:
        """Writes `eval_info.json` and `episodes.csv`, each whole or not at all; returns the content of the former.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        make_folder(out_dir)
        info = self.to_eval_info()
        write_text_atomic(out_dir / "episodes.csv", episodes_csv(self.records))
        write_text_atomic(out_dir / "eval_info.json", json.dumps(info, indent=2, allow_nan=False) + "\n")
        return info

    def _invalid(self) -> Summary:
        num_invalid = sum(record.invalid_redraws for record in self.main)
        num_drawn = num_invalid + len(self.main)
        per_arm = {arm: sum(record.invalid_redraws for record in records) for arm, records in self.records.items()}
        return {"n_invalid": num_invalid, "n_drawn": num_drawn, "pc_invalid": 100 * num_invalid / num_drawn} | {
            "n_invalid_per_arm": per_arm
        }

    def _against(self, arm: str) -> Summary | None:
        """Breakdown of another arm, and the main arm against it on the scenes both met; None if it did not run."""
        records = self.records.get(arm)
        if not records:
            return None
        summary = breakdown(records)
        pairs = pair_records(self.main, records)
        summary["n_paired"] = len(pairs)
        if not pairs:
            return summary
        ours, theirs = [a.success for a, _ in pairs], [b.success for _, b in pairs]
        objects = [a.object_name for a, _ in pairs]
        rng = np.random.default_rng(self.seed)
        difference = statistics.paired_difference(ours, theirs, objects, rng=rng)
        summary["pc_difference"] = 100 * difference.mean
        summary["pc_difference_ci95"] = [100 * difference.low, 100 * difference.high]
        summary["difference_p"] = difference.p
        ratio = statistics.paired_ratio(ours, theirs, objects, rng=rng)
        summary[f"pc_of_{arm}"] = 100 * ratio.ratio
        summary[f"pc_of_{arm}_ci95"] = [100 * ratio.low, 100 * ratio.high]
        return summary


def summarise(records: Sequence[EpisodeRecord]) -> Summary:
    """`n_episodes, n_success, pc_success, pc_success_ci95`; without episodes the percentage is None."""
    n, num_success = len(records), sum(record.success for record in records)
    low, high = statistics.wilson(num_success, n)
    percent = 100 * num_success / n if n else None
    return {"n_episodes": n, "n_success": num_success, "pc_success": percent} | {
        "pc_success_ci95": [100 * low, 100 * high]
    }


def breakdown(records: Sequence[EpisodeRecord]) -> Summary:
    """`overall`, `per_object`, `per_group`, `per_size` and the counts of `failures` of one arm."""
    sizes = _grouped(records, "size_class")
    kinds = Counter(record.failure for record in records if record.failure)
    return {
        "overall": summarise(records),
        "per_object": {name: summarise(part) for name, part in sorted(_grouped(records, "object_name").items())},
        "per_group": {name: summarise(part) for name, part in sorted(_grouped(records, "group").items())},
        "per_size": {name: summarise(sizes[name]) for name in SIZE_CLASSES if name in sizes},
        "failures": {kind: kinds[kind] for kind in FAILURES},
    }


def pair_records(a: Sequence[EpisodeRecord], b: Sequence[EpisodeRecord]) -> list[tuple[EpisodeRecord, EpisodeRecord]]:
    """The episodes of two arms that met the same scene, in order of a."""
    scenes = {(record.episode, record.scene_seed): record for record in b}
    found = ((record, scenes.get((record.episode, record.scene_seed))) for record in a)
    return [(ours, theirs) for ours, theirs in found if theirs is not None]


def gain_of_pairs(
    pairs: Sequence[tuple[EpisodeRecord, EpisodeRecord]], rng: np.random.Generator
) -> statistics.Difference:
    """What the second of each pair gains in success on the first, objects being what varies.

    Raises:
        ValueError: there is no pair.
    """
    before, after = [a.success for a, _ in pairs], [b.success for _, b in pairs]
    return statistics.paired_difference(after, before, [a.target_name for a, _ in pairs], rng=rng)


def episodes_csv(records: Mapping[str, Iterable[EpisodeRecord]]) -> str:
    """One line per episode and arm; `world_sample` is JSON in its cell."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [item.name for item in fields(EpisodeRecord)], lineterminator="\n")
    writer.writeheader()
    for arm_records in records.values():
        for record in sorted(arm_records, key=lambda item: item.episode):
            row = record.to_dict()
            row["world_sample"] = json.dumps(row["world_sample"], sort_keys=True)
            writer.writerow(row)
    return stream.getvalue()


def load_records(folder: Path) -> dict[str, list[EpisodeRecord]]:
    """Reads `episodes.csv` of a run folder: the records of each arm in order of episode.

    Raises:
        RunFolderError: the file is missing, or a line of it is not an episode; names the line.
    """
    path = folder / "episodes.csv"
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise RunFolderError(f"cannot read {path} ({error.strerror}): give the out=DIR of an evaluation") from error
    arms: dict[str, list[EpisodeRecord]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            record = EpisodeRecord.from_dict({key: _from_cell(key, text) for key, text in row.items()})
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path}, line {number} is not an episode ({error}): run the evaluation again"
            ) from error
        arms.setdefault(record.arm, []).append(record)
    return arms


_CELLS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("episode", "num_attempts", "invalid_redraws"), int),
    **dict.fromkeys(("success", "fits_gripper"), lambda text: {"True": True, "False": False}[text]),
    "oracle_success": lambda text: {"True": True, "False": False, "": None}[text],
    "duration_s": float,
    "world_sample": json.loads,
}


def _from_cell(key: str, text: str) -> Any:
    return _CELLS[key](text) if key in _CELLS else text


def load_eval_info(path: Path) -> Summary:
    """Reads `eval_info.json`, given the file or the run folder.

    Raises:
        RunFolderError: it is missing, not JSON, or lacks the keys of an evaluation.
    """
    file = path / "eval_info.json" if path.is_dir() else path
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"cannot read {file} ({error.strerror}): give the out=DIR of an evaluation") from error
    except ValueError as error:
        raise RunFolderError(f"{file} is not valid JSON ({error}): run the evaluation again") from error
    missing = [key for key in EVAL_INFO_KEYS if key not in info] if isinstance(info, dict) else list(EVAL_INFO_KEYS)
    if missing:
        raise RunFolderError(f"{file} is not from an evaluation: it lacks {', '.join(missing)}")
    return dict(info)


def _grouped(records: Iterable[EpisodeRecord], attribute: str) -> dict[str, list[EpisodeRecord]]:
    groups: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        groups.setdefault(getattr(record, attribute), []).append(record)
    return groups
