"""Observations in a file, shown again by a controller, to a policy in a process of its own."""

from pathlib import Path

import numpy as np
import pytest
from export_samples import observation, write_exported

from simtoreal.contracts import Action, Controller, Observation
from simtoreal.export.observations import SeenEpisode, load_observations, save_observations
from simtoreal.export.proof import run_trial_process


def episodes(colour: bool = True) -> list[list[Observation]]:
    made = [[observation(10 * i + step, 0.05 * step) for step in range(length)] for i, length in enumerate((3, 5))]
    return made if colour else [[seen._replace(rgb=None, distortion=None) for seen in episode] for episode in made]


@pytest.mark.parametrize("colour", [True, False])
def test_observations_survive_the_way_through_a_file(colour: bool, tmp_path: Path) -> None:
    save_observations(episodes(colour), tmp_path / "seen.npz")
    again = load_observations(tmp_path / "seen.npz")
    assert [len(episode) for episode in again] == [3, 5]
    for before, after in zip(episodes(colour)[1], again[1], strict=True):
        for name in Observation._fields:
            old, new = getattr(before, name), getattr(after, name)
            assert (old is None) == (new is None), name
            assert old is None or np.array_equal(old, new, equal_nan=True), name


def test_what_is_no_file_of_observations_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", K=np.eye(3))
    with pytest.raises(ValueError, match=r"no observations: .*T_base_cam"):
        load_observations(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="no observations to write"):
        save_observations([], tmp_path / "none.npz")


def test_an_episode_is_shown_once_in_order() -> None:
    (_, episode) = episodes()
    controller = SeenEpisode(episode, 20.0)
    assert isinstance(controller, Controller)
    seen = [controller.reset()]
    while not controller.is_over(len(seen)):
        controller.send_action(Action(np.zeros(3), np.zeros(3), 0.08))
        seen.append(controller.get_observation())
    assert [o.t_s for o in seen] == [o.t_s for o in episode]


def test_a_process_of_its_own_tells_what_a_policy_costs(tmp_path: Path) -> None:
    write_exported(tmp_path)
    save_observations(episodes(), tmp_path / "seen.npz")
    trial = run_trial_process(tmp_path / "export", tmp_path / "seen.npz")
    assert trial["num_looks"] == 8 * 10, "every image was new, in every round but the first"
    assert 0 < trial["processor_s"]["p50"] <= trial["processor_s"]["p99"] < 0.1
    assert 30 < trial["peak_memory_mb"] < 250
    assert trial["foreign"] == []


def test_a_policy_that_does_not_run_is_no_figure(tmp_path: Path) -> None:
    save_observations(episodes(), tmp_path / "seen.npz")
    with pytest.raises(ValueError, match=r"does not run .*no exported policy"):
        run_trial_process(tmp_path, tmp_path / "seen.npz")
