"""Grasp labels from hindsight: where the jaws closed on an object is where it could have been grasped all along.

The tool pose at the moment of closing labels the frames before it, through forward kinematics and the calibration of
the cameras: as a grasp where something was held, as a failed one where nothing was. A frame is labelled by the next
closing that held something, and by every failed one before that.

A label is true only for what has not moved since. So each frame is compared with what the cameras saw last before the
jaws closed (see `table_patches`); one motion ends the labels of all frames before it, a doubt that of its own frame.
What the jaws themselves moved as they closed is seen in the pictures taken before and after (see `jaw_pictures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from simtoreal.episodes.arm_tracks import ArmTracks, FloatArray, StoredEpisode, arm_tracks
from simtoreal.episodes.grasp_attempts import Attempt, AttemptConfig, Outcome, find_attempts
from simtoreal.episodes.grasp_views import GraspView, PosedImage, Sight, posed, view_grasp
from simtoreal.episodes.jaw_pictures import JawPicture, JawPictureConfig, changed_m2, jaw_picture
from simtoreal.episodes.records import EpisodeFrame
from simtoreal.episodes.table_patches import (
    Comparison,
    PatchConfig,
    TablePatch,
    Verdict,
    compare,
    merged,
    table_patch,
)

_FAILED = (Outcome.EMPTY, Outcome.SLIPPED)
_LABELS = (Outcome.HELD, *_FAILED)
_DOUBT = "pictures cannot tell whether it moved"
_SAYS = {Verdict.STILL: "", Verdict.DOUBT: _DOUBT, Verdict.MOVED: "it moved afterwards"}


class FramedEpisode(StoredEpisode, Protocol):
    """An episode whose frames can be looked at, such as `RecordedEpisode`."""

    def frame(self, index: int) -> EpisodeFrame: ...


@dataclass(frozen=True)
class HindsightConfig:
    """How labels are made."""

    attempts: AttemptConfig = field(default_factory=AttemptConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    jaws: JawPictureConfig = field(default_factory=JawPictureConfig)
    num_references: int = 3  # last frames before a closing that show the place
    max_reference_age_s: float = 3.0  # before the closing; what was seen earlier says little
    unsure_s: float = 0.25  # after a motion: shades, most of which are the table's, do not show that it is over


class GraspLabel(NamedTuple):
    """Where the jaws closed later, as a frame shows it."""

    positive: bool
    attempt: int  # index in `EpisodeLabels.attempts`
    T_base_grasp: FloatArray  # (4, 4), tool pose at closing
    width_m: float  # between the jaws then
    views: Mapping[str, GraspView]  # by camera; without those that are not calibrated or gave nothing

    @property
    def is_visible(self) -> bool:
        """Whether a camera shows the place."""
        return any(view.sight is Sight.VISIBLE for view in self.views.values())


class FrameLabels(NamedTuple):
    """What is known in hindsight about one frame."""

    frame: int
    grasp: GraspLabel | None
    failed: tuple[GraspLabel, ...]
    why_not: str  # why there is no grasp; empty where there is one


class EpisodeLabels(NamedTuple):
    """All labels of an episode."""

    attempts: Sequence[Attempt]
    frames: Sequence[FrameLabels]

    @property
    def num_positive(self) -> int:
        """Frames with a grasp."""
        return sum(frame.grasp is not None for frame in self.frames)

    @property
    def num_negative(self) -> int:
        """Frames with a failed grasp."""
        return sum(bool(frame.failed) for frame in self.frames)


class _Seen(NamedTuple):
    """A frame, reduced to what labels need."""

    t_s: float  # the earliest capture time of its pictures
    T_base_tcp: FloatArray | None
    views: dict[int, dict[str, GraspView]]  # by attempt
    patches: dict[int, dict[str, TablePatch]]  # by attempt
    jaws: dict[int, dict[str, JawPicture]]  # by attempt that held something, while it closed


def label_episode(episode: FramedEpisode, config: HindsightConfig | None = None) -> EpisodeLabels:
    """Labels every frame of an episode; frames without a label say why.

    Raises:
        DatasetError: a frame cannot be read.
    """
    config = config or HindsightConfig()
    tracks = arm_tracks(episode)
    attempts = find_attempts(tracks, episode.end.success, config.attempts)
    labelling = [index for index, attempt in enumerate(attempts) if attempt.outcome in _LABELS]
    seen = [_look(episode, index, tracks, (attempts, labelling), config) for index in range(len(episode))]
    trust = {index: _trust(index, attempts, seen, config) for index in labelling}
    return EpisodeLabels(attempts, [_labels(i, frame, attempts, trust) for i, frame in enumerate(seen)])


def _look(
    episode: FramedEpisode,
    index: int,
    tracks: ArmTracks,
    closings: tuple[Sequence[Attempt], Sequence[int]],
    config: HindsightConfig,
) -> _Seen:
    frame = episode.frame(index)
    at = {name: p for name, image in frame.images.items()
          if (p := posed(image, episode.info.cameras[name], tracks.poses)) is not None}  # fmt: skip
    t_s = min((p.image.t_s for p in at.values()), default=frame.t_s if frame.state_t_s is None else frame.state_t_s)
    seen = _Seen(t_s, tracks.poses.at(t_s), {}, {}, {})
    attempts, labelling = closings
    for number in labelling:
        if t_s < attempts[number].closes_s:
            _look_at(seen, number, attempts[number], at, tracks, config)
        if attempts[number].outcome is Outcome.HELD:
            seen.jaws[number] = _look_between(attempts[number], at, config.jaws)
    return seen


def _look_at(
    seen: _Seen, number: int, attempt: Attempt, at: Mapping[str, PosedImage], tracks: ArmTracks, config: HindsightConfig
) -> None:
    views = {}
    for name, picture in at.items():
        tool = tracks.poses.at(picture.image.t_s) if picture.on_wrist else None
        views[name] = view_grasp(attempt.T_base_tcp, attempt.width_m, picture, tool)
    seen.views[number] = views
    seen.patches[number] = {
        name: table_patch(at[name], attempt.T_base_tcp[:3, 3], config.patches)
        for name, view in views.items()
        if view.sight is Sight.VISIBLE
    }


def _look_between(attempt: Attempt, at: Mapping[str, PosedImage], config: JawPictureConfig) -> dict[str, JawPicture]:
    """What the wrist sees between the jaws while they close; for cameras beside the arm fingers come in front of it."""
    since_s, until_s = attempt.begins_s - config.around_s, attempt.closes_s + config.around_s
    return {
        name: jaw_picture(picture, attempt.T_base_tcp, config)
        for name, picture in at.items()
        if picture.on_wrist
        and picture.image.rgb is not None
        and since_s <= picture.image.t_s <= until_s
        and view_grasp(attempt.T_base_tcp, attempt.width_m, picture, None).sight is Sight.VISIBLE
    }


# --- whether a label can be trusted


def _trust(number: int, attempts: Sequence[Attempt], seen: Sequence[_Seen], config: HindsightConfig) -> list[str]:
    """For each frame why the closing must not label it; empty where it may."""
    attempt = attempts[number]
    references, first = _references(number, attempts, seen, config)
    why = ["after the jaws closed"] * len(seen)
    ended = _pushed(number, attempt, seen, config)  # why nothing earlier can be labelled
    by_shade = set[int]()
    for index in reversed(range(len(seen))):
        if seen[index].t_s >= attempt.closes_s:
            continue
        if any(other.begins_s <= seen[index].t_s < other.ends_s for other in attempts[:number]):
            why[index] = "the jaws were closed"
        elif ended or not references:
            why[index] = ended or "no calibrated camera showed the place before the jaws closed"
        elif index >= first and not seen[index].patches[number]:
            why[index] = ""  # hidden by the hand, on its way from what was compared to the closing
        else:
            found = _compared(seen[index].patches[number], references, config)
            why[index] = _SAYS[found.verdict]
            if found.verdict is Verdict.STILL and found.by == "shade":
                by_shade.add(index)
            elif found.verdict is Verdict.MOVED:
                ended = why[index]
                _doubt_what_follows(index, why, by_shade, seen, config)
    return why


def _doubt_what_follows(
    index: int, why: list[str], by_shade: set[int], seen: Sequence[_Seen], config: HindsightConfig
) -> None:
    """Takes the labels that only shades speak for, right after a motion that a frame shows, and the doubt after it."""
    last = index
    while last + 1 < len(why) and why[last + 1] == _DOUBT:
        last += 1
    for later in by_shade:
        if seen[later].t_s - seen[last].t_s < config.unsure_s:
            why[later] = _DOUBT


def _pushed(number: int, attempt: Attempt, seen: Sequence[_Seen], config: HindsightConfig) -> str:
    """Whether the jaws moved what they hold as they closed, which no picture taken before shows.

    Where no picture tells, the label stays: few closings push a thing far, and good episodes are few as well.
    """
    pictures: dict[str, list[JawPicture]] = {}
    for frame in seen:
        for name, picture in frame.jaws.get(number, {}).items():
            pictures.setdefault(name, []).append(picture)
    changed = max((changed_m2(found, attempt.width_m, config.jaws) or 0.0 for found in pictures.values()), default=0.0)
    return "the jaws moved it as they closed" if changed > config.jaws.max_changed_m2 else ""


def _references(
    number: int, attempts: Sequence[Attempt], seen: Sequence[_Seen], config: HindsightConfig
) -> tuple[dict[str, TablePatch], int]:
    """What each camera saw last of the place, between any earlier closing and this one; and from which frame."""
    attempt = attempts[number]
    since_s = max([other.ends_s for other in attempts[:number]], default=-float("inf"))
    since_s = max(since_s, attempt.begins_s - config.max_reference_age_s)
    candidates: dict[str, list[tuple[int, TablePatch]]] = {}
    for index, frame in enumerate(seen):
        if since_s <= frame.t_s < attempt.begins_s:
            for name, patch in frame.patches.get(number, {}).items():
                candidates.setdefault(name, []).append((index, patch))
    last = {name: found[-config.num_references :] for name, found in candidates.items()}
    first = min((found[-1][0] for found in last.values()), default=0)
    return {name: merged([patch for _, patch in found]) for name, found in last.items()}, first


def _compared(
    patches: Mapping[str, TablePatch], references: Mapping[str, TablePatch], config: HindsightConfig
) -> Comparison:
    """What tells most: one camera that saw a motion is enough; one must have seen that there was none."""
    found = [compare(patches[name], references[name], config.patches) for name in patches.keys() & references.keys()]
    order = [(Verdict.MOVED, "height"), (Verdict.MOVED, "shade"), (Verdict.STILL, "height"), (Verdict.STILL, "shade")]
    for verdict, by in order:
        for comparison in found:
            if comparison.verdict is verdict and comparison.by == by:
                return comparison
    return Comparison(Verdict.DOUBT, float("nan"), float("nan"), "nothing")


# --- labels


def _labels(index: int, seen: _Seen, attempts: Sequence[Attempt], trust: Mapping[int, Sequence[str]]) -> FrameLabels:
    held = next((n for n, a in enumerate(attempts) if a.outcome is Outcome.HELD and a.closes_s > seen.t_s), None)
    failed = [
        n for n, a in enumerate(attempts)
        if a.outcome in _FAILED and a.closes_s > seen.t_s and (held is None or n < held) and not trust[n][index]
    ]  # fmt: skip
    why_not = "nothing was held afterwards" if held is None else trust[held][index]
    grasp = _label(held, attempts, seen) if held is not None and not why_not else None
    return FrameLabels(index, grasp, tuple(_label(n, attempts, seen) for n in failed), why_not)


def _label(number: int, attempts: Sequence[Attempt], seen: _Seen) -> GraspLabel:
    attempt = attempts[number]
    return GraspLabel(attempt.outcome is Outcome.HELD, number, attempt.T_base_tcp, attempt.width_m, seen.views[number])
