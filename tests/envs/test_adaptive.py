"""Automatic domain randomization against policies whose limits are known."""

import json

import numpy as np
import pytest

from simtoreal.envs.adaptive import AdaptiveDraw, AdaptiveRandomization, AdaptiveSettings
from simtoreal.envs.randomization import DynamicsSample, TimingSample, load_randomization

FAST = AdaptiveSettings(probe_frac=0.8, num_probes=5, step=0.1)


def adaptive(settings: AdaptiveSettings = FAST) -> AdaptiveRandomization:
    harsh = load_randomization("harsh")
    return AdaptiveRandomization(harsh.dynamics, harsh.timing, settings)


def copes(draw: AdaptiveDraw) -> bool:
    """A policy that needs friction of at least 0.6 and a lag of at most 0.12 s, and minds nothing else."""
    return draw.dynamics.friction >= 0.6 and draw.dynamics.tracking_lag_s <= 0.12


def run(subject: AdaptiveRandomization, num_episodes: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(num_episodes):
        draw = subject.sample(rng)
        subject.record(draw.probe, copes(draw))


def test_starts_in_the_nominal_world() -> None:
    draw = adaptive().sample(np.random.default_rng(0))
    assert draw.dynamics == DynamicsSample()
    assert draw.timing == TimingSample()


def test_widens_where_success_holds_and_stops_where_it_ends() -> None:
    subject = adaptive()
    run(subject, 4000)
    ends = subject.summary()
    # One step beyond the limit is where probes begin to fail, so an end hovers within a step of it.
    assert ends["dynamics.friction.low"] == pytest.approx(0.6, abs=0.05)
    assert ends["dynamics.tracking_lag_s.high"] == pytest.approx(0.12, abs=0.031)
    for name, target in (
        ("dynamics.gripper_force_n.low", 8.0),
        ("dynamics.mass_scale.high", 4.0),
        ("timing.observation_latency_s.high", 0.1),
    ):
        assert ends[name] == pytest.approx(target, rel=0.15), name
    assert 0.8 < ends["progress"] < 1.0


def test_narrows_again_when_success_is_lost() -> None:
    subject = adaptive()
    rng = np.random.default_rng(0)
    for succeeds in (True, False):
        for _ in range(900):
            draw = subject.sample(rng)
            subject.record(draw.probe, succeeds)
        assert subject.progress == pytest.approx(float(succeeds), abs=0.5)


def test_all_ends_can_be_put_at_one_share_of_their_way() -> None:
    subject = adaptive()
    subject.record(subject.ends[0], True)
    subject.set_progress(0.5)
    assert subject.progress == 0.5
    assert not any(entry["outcomes"] for entry in subject.state_dict().values())
    with pytest.raises(ValueError, match=r"progress must lie in \[0, 1\], got 1.5"):
        subject.set_progress(1.5)


def test_samples_stay_within_the_present_ends() -> None:
    subject = adaptive()
    run(subject, 800)
    ends = subject.summary()
    rng = np.random.default_rng(9)
    for _ in range(200):
        dynamics = subject.sample(rng).dynamics
        assert ends["dynamics.friction.low"] <= dynamics.friction <= ends["dynamics.friction.high"]
        assert np.linalg.norm(dynamics.standing_error_m) <= ends["dynamics.standing_error_m.high"] + 1e-12


def test_a_probe_sits_on_its_end() -> None:
    subject = adaptive(AdaptiveSettings(probe_frac=1.0))
    subject.load_state_dict({name: {"progress": 0.5, "outcomes": []} for name in subject.ends})
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        draw = subject.sample(rng)
        assert draw.probe is not None
        seen.add(draw.probe)
        if draw.probe == "dynamics.friction.low":
            assert draw.dynamics.friction == subject.summary()["dynamics.friction.low"]
    assert seen == set(subject.ends)


def test_all_ends_arrive_exactly_at_the_target() -> None:
    subject, harsh = adaptive(), load_randomization("harsh")
    subject.load_state_dict({name: {"progress": 1.0, "outcomes": []} for name in subject.ends})
    assert subject.progress == 1.0
    ends = subject.summary()
    assert (ends["dynamics.friction.low"], ends["dynamics.friction.high"]) == harsh.dynamics.friction.ends(0.8)
    assert ends["dynamics.mass_scale.low"] == 0.3


def test_same_seed_same_course() -> None:
    a, b = adaptive(), adaptive()
    run(a, 600)
    run(b, 600)
    assert a.state_dict() == b.state_dict()


def test_goes_on_from_a_saved_state_as_if_never_stopped() -> None:
    whole, first, second = adaptive(), adaptive(), adaptive()
    run(first, 400, seed=1)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    run(second, 400, seed=2)
    run(whole, 400, seed=1)
    run(whole, 400, seed=2)
    assert second.state_dict() == whole.state_dict()


def test_nothing_to_adapt_is_the_target_itself() -> None:
    none = load_randomization("none")
    subject = AdaptiveRandomization(none.dynamics, none.timing)
    assert subject.ends == ()
    assert subject.progress == 1.0
    assert subject.sample(np.random.default_rng(0)).dynamics == DynamicsSample()


def test_bad_settings_probes_and_states_are_refused() -> None:
    subject = adaptive()
    with pytest.raises(ValueError, match="probe_frac and step"):
        AdaptiveSettings(step=0.0)
    with pytest.raises(ValueError, match="narrow_at < widen_at"):
        AdaptiveSettings(narrow_at=0.9)
    with pytest.raises(ValueError, match=r"unknown probe 'gravity\.low'"):
        subject.record("gravity.low", True)
    with pytest.raises(ValueError, match="other target ranges"):
        subject.load_state_dict({})
    state = subject.state_dict()
    with pytest.raises(ValueError, match=r"dynamics\.friction\.low needs progress in \[0, 1\]"):
        subject.load_state_dict(state | {"dynamics.friction.low": {"progress": 2.0, "outcomes": []}})
    with pytest.raises(ValueError, match=r"dynamics\.friction\.low must hold progress"):
        subject.load_state_dict(state | {"dynamics.friction.low": 3})
    assert subject.state_dict() == state
