"""`simtoreal record`: as many episodes as asked for, going on where it stopped, and what a simulator knows of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from recording_rig import MOUNTS, Rig, clock

from simtoreal import cli
from simtoreal.config import ConfigError
from simtoreal.controllers.registry import Entry
from simtoreal.envs.world_sample import WorldSample
from simtoreal.episodes import controllers
from simtoreal.episodes.controllers import Take, open_session
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.recorder import Recorder
from simtoreal.episodes.records import EpisodeEnd
from simtoreal.episodes.settings import RecordConfig
from simtoreal.progress import Progress
from simtoreal.runtime import Step, run_episode


class FakeSession:
    """A rig whose every fifth scene is lost."""

    control_hz, robot, domain, mounts = 20.0, "rig", "fake", MOUNTS
    lost: Sequence[int] = (1,)

    def clock(self, step: Step) -> float:
        return clock(step)

    def takes(self, numbers: Sequence[int]) -> list[Take]:
        return [Take(number, f"object {number}") for number in numbers]

    def run(self, take: Take, recorder: Recorder) -> EpisodeEnd | None:
        rig = Rig()
        run_episode(rig, rig, rig.reset(), lambda step: step >= 3, [recorder])  # type: ignore[arg-type]
        if take.number in self.lost:
            recorder.discard()
            return None
        return EpisodeEnd(success=True, labels={"episode": take.number})

    def close(self) -> None: ...


def open_fake(config: RecordConfig, progress: Progress) -> FakeSession:
    return FakeSession()


class Hopeless(FakeSession):
    lost = range(100)


def open_hopeless(config: RecordConfig, progress: Progress) -> FakeSession:
    return Hopeless()


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(controllers.CONTROLLERS, "fake", Entry("", "", f"{__name__}:open_fake"))
    monkeypatch.setitem(controllers.CONTROLLERS, "hopeless", Entry("", "", f"{__name__}:open_hopeless"))


def numbers(folder: Path) -> list[int]:
    with DatasetReader(folder) as reader:
        return [entry.end.labels["episode"] for entry in reader.entries]


def test_recording_goes_on_to_the_number_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "d"
    assert cli.main(["record", "controller=fake", "episodes=2", f"out={out}"]) == 0
    assert "left out: episode 1, object 1: the scene was lost" in capsys.readouterr().err
    assert numbers(out) == [0, 2]
    assert cli.main(["record", "controller=fake", "episodes=4", f"out={out}"]) == 0
    assert numbers(out) == [0, 2, 3, 4]
    assert cli.main(["record", "controller=fake", "episodes=4", f"out={out}"]) == 0
    assert "holds 4 episodes already" in " ".join(capsys.readouterr().err.split())
    assert numbers(out) == [0, 2, 3, 4]
    with DatasetReader(out) as reader:
        assert (reader[3].info.object_name, reader[3].info.robot, reader[3].info.domain) == ("object 4", "rig", "fake")


def test_scene_after_scene_that_is_lost_ends_the_recording(tmp_path: Path) -> None:
    assert cli.main(["record", "controller=hopeless", "episodes=2", f"out={tmp_path / 'd'}"]) == 1


def test_an_unknown_controller_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"controller=pibullet is not known: did you mean 'pybullet'\?"):
        open_session(RecordConfig(controller="pibullet"), Progress())


@pytest.mark.slow
def test_a_simulated_episode_holds_what_the_simulator_knows(tmp_path: Path, objects_dir: Path) -> None:
    out = tmp_path / "d"
    settings = [f"objects={objects_dir}", "image_width_px=96", "image_height_px=64", "episodes=2", f"out={out}"]
    assert cli.main(["record", "controller=pybullet", "policy=oracle", *settings]) == 0
    with DatasetReader(out) as reader:
        assert [entry.end.success for entry in reader.entries] == [True, True]
        for episode in reader:
            assert episode.info.domain == "pybullet"
            assert episode.info.object_name in ("bar", "block", "can")
            WorldSample.from_dict(episode.end.world_sample)  # raises unless it is whole
            assert len(episode.end.labels["object_poses"]) == len(episode)
            times_s = episode.column("control_timestamp")
            np.testing.assert_allclose(np.diff(times_s), 0.05, atol=1e-9)
            assert (episode.column("capture_timestamp.wrist") <= times_s + 1e-9).all()
            lifted_m = [poses[0][2] for poses in episode.end.labels["object_poses"]]
            assert lifted_m[-1] - lifted_m[0] > 0.09
            last, lifted = episode[len(episode) - 1], episode.end.labels["object_poses"][-1][0]
            assert np.linalg.norm(np.array(lifted[:3]) - last.T_base_tcp[:3, 3]) < 0.08
            assert last.images["wrist"].rgb.shape == (64, 96, 3)
            assert last.images["wrist"].T_base_cam is not None


@pytest.mark.parametrize("settings", [{"reality": "mild"}, {"controller": "mujoco", "randomization": "harsh"}])
def test_settings_of_one_world_are_refused_in_the_other(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is for controller="):
        RecordConfig(**settings)  # type: ignore[arg-type]
