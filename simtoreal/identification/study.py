"""All quantities of all episodes: one estimate per episode, pooled to a posterior, or the reason why there is none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode
from simtoreal.identification.image_lag import ImageLag, image_lag
from simtoreal.identification.jaw_motion import jaw_travels, opening_error_m
from simtoreal.identification.motion_log import MotionLog, read_motion
from simtoreal.identification.observation_age import ObservationAge, observation_age
from simtoreal.identification.posterior import pool
from simtoreal.identification.response import ArmModel, Response, fit_arm, fit_response
from simtoreal.identified import ACTION_LATENCY, OBSERVATION_LATENCY, ROUND_TRIP, Posterior

MIN_EPISODES = 2
_STAMP_RESOLUTION_S, _FIT_RESOLUTION_S, _IMAGE_RESOLUTION_S = 0.001, 0.002, 0.003
_HIDDEN_S = 0.012  # stamps are believed unless pictures contradict them by more than this
_DEFAULT_KEPT = "keeps the range of the base randomization"


@dataclass(frozen=True)
class EpisodeStudy:
    """What one episode says; a text is the reason why it says nothing."""

    index: int
    log: MotionLog | str
    state_age: ObservationAge | str
    image_age: ObservationAge | str
    image_lag: ImageLag | str


class Fitted(NamedTuple):
    """The responses of the episodes to an arm model, by position among the logs."""

    arm: ArmModel | str
    responses: list[Response | str]


@dataclass(frozen=True)
class Study:
    """Everything found, before the simulator is asked."""

    episodes: list[EpisodeStudy]
    logs: list[MotionLog]
    fitted: Fitted
    posterior: dict[str, Posterior] = field(default_factory=dict)
    unidentified: dict[str, str] = field(default_factory=dict)

    def responses(self) -> list[tuple[MotionLog, Response]]:
        """The episodes whose response is known."""
        pairs = zip(self.logs, self.fitted.responses, strict=True)
        return [(log, found) for log, found in pairs if not isinstance(found, str)]


def study_episode(episode: RecordedEpisode, position: int, camera: str | None) -> EpisodeStudy:
    """Reads one episode; `camera` is the one that policies look through, None where there is none."""
    none = "there is no camera"
    return EpisodeStudy(
        position,
        read_motion(episode, position),
        observation_age(episode, "state"),
        observation_age(episode, camera) if camera else none,
        image_lag(episode, camera) if camera else none,
    )


def combine(episodes: Sequence[EpisodeStudy]) -> Study:
    """Pools what the episodes say."""
    logs = [found.log for found in episodes if isinstance(found.log, MotionLog)]
    arm = fit_arm(logs) if logs else "no episode holds the commands and where the tool was"
    responses: list[Response | str] = [arm if isinstance(arm, str) else fit_response(log, arm) for log in logs]
    study = Study(list(episodes), logs, Fitted(arm, responses))
    _pool_observations(study)
    _pool_response(study)
    _pool_jaws(study)
    study.unidentified["friction"] = (
        f"motion says nothing of the friction at the jaws without mass, shape and force: {_DEFAULT_KEPT}"
    )
    study.unidentified["gripper_force_n"] = f"needs a force sensor or a weighed object: {_DEFAULT_KEPT}"
    study.unidentified["joint_gain_scale"] = f"acts like tracking_lag_s, which takes it in: {_DEFAULT_KEPT}"
    return study


def open_camera(reader: DatasetReader, name: str | None) -> str | None:
    """The camera to look at: the one named, else one on the wrist, else the first; None where there is none.

    Raises:
        DatasetError: there is no camera of that name.
    """
    cameras = reader[0].info.cameras
    if name is not None:
        if name not in cameras:
            raise DatasetError(
                f"has no camera {name!r}, but {sorted(cameras)}: give camera=NAME", file=reader.layout.root
            )
        return name
    wrist = [key for key, info in cameras.items() if info.mount == "wrist"]
    return next(iter([*wrist, *cameras]), None)


def _keep(
    study: Study, name: str, found: Sequence[tuple[float, float]], note: tuple[str, str], resolution: float = 0.0
) -> None:
    """Pools (value, sd) pairs under a name, or says why not: `note` is how it is found and why it is not."""
    how, why = note
    if len(found) >= MIN_EPISODES:
        values, sds = zip(*found, strict=True)
        study.posterior[name] = pool(values, sds, how, resolution)
    else:
        one = f"{len(found)} of {len(study.episodes)} episodes say something, and {MIN_EPISODES} are needed"
        study.unidentified[name] = f"{why or one}; {_DEFAULT_KEPT}"


def _pool_observations(study: Study) -> None:
    streams = [
        found.image_age if isinstance(found.image_age, ObservationAge) else found.state_age for found in study.episodes
    ]
    ages = [age for age in streams if isinstance(age, ObservationAge)]
    why = next((age for age in streams if isinstance(age, str)), "")
    lags = [found.image_lag for found in study.episodes]
    known = [lag for lag in lags if isinstance(lag, ImageLag)]
    _keep(study, "image_lag_s", [(lag.lag_s, lag.sd_s) for lag in known],
          ("scene points against forward kinematics", _first_reason(lags)), _IMAGE_RESOLUTION_S)  # fmt: skip
    hidden = study.posterior.get("image_lag_s")
    extra_s = hidden.mean if hidden is not None and hidden.low > _HIDDEN_S else 0.0
    how = "capture times against control periods" + (", and pictures later than their stamps" if extra_s else "")
    for name, values in (
        (OBSERVATION_LATENCY, [(age.latency_s + extra_s, age.sd_s) for age in ages]),
        ("observation_age_s", [(age.typical_s + extra_s, age.sd_s) for age in ages]),
        ("jitter_s", [(age.jitter_s, age.sd_s) for age in ages]),
        ("dropped_frame_frac", [(age.missing_frac, 0.01) for age in ages]),
    ):
        _keep(study, name, values, (how, why), _STAMP_RESOLUTION_S)


def _pool_response(study: Study) -> None:
    found = [response for _, response in study.responses()]
    why = _first_reason(study.fitted.responses) or ("" if not isinstance(study.fitted.arm, str) else study.fitted.arm)
    if not study.logs:
        why = next((found.log for found in study.episodes if isinstance(found.log, str)), why)
    clocked = all(log.states_have_a_clock for log, _ in study.responses())
    how = "dead time of the tool behind its commands"
    name = ACTION_LATENCY if clocked else ROUND_TRIP
    _keep(study, name, [(r.dead_time_s, max(r.dead_time_sd_s, 0.0005)) for r in found], (how, why), _FIT_RESOLUTION_S)
    if not clocked and found:
        study.unidentified[ACTION_LATENCY] = (
            "measurements have no times of their own, so that only the sum with the observation latency is known "
            "(round_trip_s); the sum is what the randomization keeps to"
        )
    shape: tuple[tuple[str, Callable[[Response], float], float], ...] = (
        ("response_lag_s", lambda r: r.lag_s, 0.002),
        ("response_frequency_rad_s", lambda r: r.frequency_rad_s, 1.0),
        ("response_damping", lambda r: r.damping, 0.05),
        ("standing_error_m", lambda r: float(np.linalg.norm(r.offset_m)), 0.0001),
    )
    for name, read, sd in shape:
        _keep(study, name, [(read(r), sd) for r in found], ("step responses, summed over commands", why))


def _pool_jaws(study: Study) -> None:
    travels = [travel for log in study.logs if (travel := jaw_travels(log))]
    speeds = [(float(np.median([t.speed_m_s for t in per])), 0.002) for per in travels]
    late = [(float(np.median([t.dead_time_s for t in per])), 0.005) for per in travels]
    why = "" if travels else "the jaws never travelled far enough while they were measured"
    _keep(study, "gripper_speed_m_s", speeds, ("slope of the opening while the jaws travel", why))
    _keep(study, "gripper_dead_time_s", late, ("beginning of the travel after its command", why), _FIT_RESOLUTION_S)
    errors = [(error, 0.0002) for log in study.logs if (error := opening_error_m(log)) is not None]
    why = "" if errors else "the jaws were never at rest wide open"
    _keep(study, "opening_error_m", errors, ("measured against commanded opening, at rest and wide open", why))


def _first_reason(found: Sequence[object]) -> str:
    reasons = [text for text in found if isinstance(text, str)]
    return max(set(reasons), key=reasons.count) if reasons else ""
