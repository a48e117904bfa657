"""What is in a dataset, episode by episode: labels, quality and timing of all of them, in bounded memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from simtoreal.episodes import grasp_rectangles
from simtoreal.episodes.entries import EpisodeEntry
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.grasp_attempts import Outcome
from simtoreal.episodes.hindsight import EpisodeLabels, label_episode
from simtoreal.episodes.quality import EpisodeQuality, check_episode
from simtoreal.episodes.reader import DatasetReader
from simtoreal.progress import Progress


class Survey(NamedTuple):
    """One episode; `error` says why it could not be read to its end, and then there is nothing else."""

    position: int  # in the reader
    entry: EpisodeEntry
    labels: EpisodeLabels | None
    quality: EpisodeQuality | None
    error: DatasetError | None = None

    def slim(self) -> "Survey":
        """Without what memory cannot hold for a large dataset: frames lose the views of their labels."""
        if self.labels is None:
            return self
        bare = [frame._replace(grasp=frame.grasp and frame.grasp._replace(views={}),
                               failed=tuple(label._replace(views={}) for label in frame.failed))
                for frame in self.labels.frames]  # fmt: skip
        return self._replace(labels=self.labels._replace(frames=bare))

    def to_plain(self) -> dict[str, Any]:
        """The figures as plain values, for JSON."""
        plain: dict[str, Any] = {
            "episode": self.entry.index,
            "object_name": self.entry.info.object_name,
            "domain": self.entry.info.domain,
            "success": self.entry.end.success,
            "failure": self.entry.end.failure,
            "frames": self.entry.num_frames,
        }
        if self.error is not None:
            return {**plain, "error": str(self.error)}
        assert self.labels is not None
        assert self.quality is not None
        return plain | {
            "attempts": [
                {"outcome": a.outcome.value, "closes_s": round(a.closes_s, 3), "width_m": round(a.width_m, 4)}
                for a in self.labels.attempts
            ],
            "frames_with_grasp": self.labels.num_positive,
            "frames_with_failed_grasp": self.labels.num_negative,
            "frames_without_grasp": without_grasp(self.labels),
            "grasp_rectangles": len(self.entry.end.labels.get(grasp_rectangles.LABEL, ())),
            "calibration_drift_px": self.quality.drift_px,
            "timing": self.quality.timing.to_plain(),
        }


def without_grasp(labels: EpisodeLabels) -> dict[str, int]:
    """How many frames have no grasp, by the reason."""
    return dict(Counter(frame.why_not for frame in labels.frames if frame.why_not).most_common())


def survey(reader: DatasetReader, progress: Progress) -> Iterator[Survey]:
    """Looks at every episode; one that turns out to be broken is handed on as such."""
    with progress.task("episodes", len(reader)) as bar:
        for position, entry in enumerate(reader.entries):
            try:
                episode = reader[position]
                found = Survey(position, entry, label_episode(episode), check_episode(episode, entry.index))
            except DatasetError as error:
                found = Survey(position, entry, None, None, error)
            bar.advance()
            yield found


def num_held(surveys: Sequence[Survey]) -> int:
    """Closings that held something."""
    return sum(a.outcome is Outcome.HELD for s in surveys if s.labels is not None for a in s.labels.attempts)


def summary_rows(reader: DatasetReader, surveys: Sequence[Survey]) -> list[tuple[str, str]]:
    """What the dataset is, as name and value."""
    entries = [item.entry for item in surveys]
    fps = reader.schema.fps
    good, bad = (sum(entry.end.success is value for entry in entries) for value in (True, False))
    labelled = [item.labels for item in surveys if item.labels is not None]
    rectangles = sum(len(entry.end.labels.get(grasp_rectangles.LABEL, ())) for entry in entries)
    rows = [
        ("episodes", f"{len(entries)}" + (f", and {len(reader.broken)} that cannot be read" if reader.broken else "")),
        ("frames", f"{reader.num_frames:,} at {fps:g} Hz, {reader.num_frames / fps / 60:.1f} minutes"),
        ("success", f"{good} succeeded, {bad} failed, {len(entries) - good - bad} not judged"),
        ("failures", _counted(Counter(entry.end.failure for entry in entries if entry.end.failure))),
        ("domains", _counted(Counter(entry.info.domain for entry in entries))),
        ("robots", _counted(Counter(entry.info.robot or "not named" for entry in entries))),
        ("objects", _counted(Counter(entry.info.object_name or "not named" for entry in entries))),
        ("cameras", "; ".join(_cameras(entries))),
        ("closings", f"{num_held(surveys)} held something, of {sum(len(item.attempts) for item in labelled)}"),
        ("frames with a grasp", f"{sum(item.num_positive for item in labelled):,}"),
        ("frames with a failed grasp", f"{sum(item.num_negative for item in labelled):,}"),
        ("grasp rectangles", f"{rectangles:,}" if rectangles else ""),
        ("on disk", f"{_size_mb(reader.layout.root):,.1f} MB"),
    ]
    return [(name, value) for name, value in rows if value]


def _counted(counts: Counter[str], most: int = 8) -> str:
    shown = [f"{name} ({count})" if count > 1 else name for name, count in counts.most_common(most)]
    return ", ".join(shown) + (f" and {len(counts) - most} more" if len(counts) > most else "")


def _cameras(entries: Sequence[EpisodeEntry]) -> list[str]:
    """Each camera once, with what is known of it in how many episodes."""
    rows = []
    for name in dict.fromkeys(name for entry in entries for name in entry.info.cameras):
        infos = [entry.info.cameras[name] for entry in entries if name in entry.info.cameras]
        first, calibrated = infos[0], sum(info.K is not None for info in infos)
        what = "+".join(kind for kind, there in (("RGB", first.has_rgb), ("depth", first.has_depth)) if there)
        known = "" if calibrated == len(infos) else f", {calibrated or 'none'} of {len(infos)} calibrated"
        rows.append(f"{name}: {first.width_px} x {first.height_px} {what}, mount {first.mount}{known}")
    return rows


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
