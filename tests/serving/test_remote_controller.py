"""A controller over the network keeps the contract, and stops whatever becomes of its client."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from controller_contract import ControllerContract, hold
from serving_rig import OPEN_M, TOKEN, KinematicArm, Policies, Running, running, wait_until
from websockets.sync.client import connect

from simtoreal.contracts import LinkLost
from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake import FakeController
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits
from simtoreal.schema import ConfigError
from simtoreal.serving.codec import pack, unpack
from simtoreal.serving.controller_service import ControllerService
from simtoreal.serving.link import LateAnswer, RequestRefused
from simtoreal.serving.messages import CALL, ERROR, ERROR_KIND
from simtoreal.serving.remote_controller import RemoteController, open_controller
from simtoreal.serving.watchdog import Watchdog

SILENCE_S = 0.6


@pytest.fixture
def arm() -> KinematicArm:
    return KinematicArm()


@pytest.fixture
def server(arm: KinematicArm) -> Iterator[Running]:
    with running(ControllerService(lambda: arm, SILENCE_S), max_clients=1, token=TOKEN) as started:
        yield started


@pytest.fixture
def remote(server: Running) -> Iterator[RemoteController]:
    controller = RemoteController(server.address, token=TOKEN)
    controller.connect()
    yield controller
    controller.disconnect()


class TestRemoteControllerKeepsTheContract(ControllerContract):
    @pytest.fixture
    def controller(self, remote: RemoteController) -> RemoteController:
        return remote


class TestGuardedControllerKeepsTheContract(ControllerContract):
    """As `simtoreal serve` has it: with limits on its side."""

    @pytest.fixture
    def controller(self) -> Iterator[RemoteController]:
        fake = FakeController(np.random.default_rng(0), clock=VirtualClock())
        guard = Guard(fake, load_limits("panda"), times=TimeSource(lambda: fake.time_s))
        with running(ControllerService(lambda: guard, SILENCE_S), max_clients=1) as server:
            remote = RemoteController(server.address)
            remote.connect()
            yield remote
            remote.disconnect()


def test_it_observes_what_the_controller_does(remote: RemoteController, arm: KinematicArm) -> None:
    remote.reset()
    there, here = arm.get_observation(), remote.get_observation()
    for name, value in there._asdict().items():
        if value is not None:
            np.testing.assert_array_equal(getattr(here, name), value)
    assert remote.control_hz == 50.0


def test_no_action_is_taken_before_a_reset(remote: RemoteController, arm: KinematicArm) -> None:
    with pytest.raises(LinkLost, match="nobody has reset it"):
        remote.send_action(hold(OPEN_M, 0.01))
    assert arm.actions == []


def test_an_arm_whose_client_goes_is_stopped_at_once(server: Running, arm: KinematicArm) -> None:
    with connect(server.address, additional_headers={"Authorization": f"Bearer {TOKEN}"}, proxy=None) as connection:
        connection.recv()
        connection.send(pack({CALL: "reset"}))
        connection.recv()
        before = arm.num_stops
        connection.socket.close()  # no goodbye, as of a process that was killed
        started_s = time.monotonic()
        wait_until(lambda: arm.num_stops > before)
        assert time.monotonic() - started_s < 0.5


def test_an_arm_whose_client_falls_silent_is_stopped_and_stays_so(remote: RemoteController, arm: KinematicArm) -> None:
    remote.reset()
    remote.send_action(hold(OPEN_M, 0.01))
    before = arm.num_stops
    time.sleep(0.3 * SILENCE_S)
    assert arm.num_stops == before
    wait_until(lambda: arm.num_stops == before + 1, 5 * SILENCE_S)
    with pytest.raises(LinkLost, match="said nothing for"):
        remote.send_action(hold(OPEN_M, 0.01))
    assert len(arm.actions) == 1
    remote.reset()
    remote.send_action(hold(OPEN_M, 0.01))
    assert len(arm.actions) == 2


def test_an_arm_that_does_not_move_may_be_left_alone(remote: RemoteController, arm: KinematicArm) -> None:
    remote.reset()
    before = arm.num_stops
    time.sleep(2 * SILENCE_S)
    assert arm.num_stops == before
    remote.send_action(hold(OPEN_M))


def test_an_operator_stops_it_over_plain_http(remote: RemoteController, server: Running, arm: KinematicArm) -> None:
    remote.reset()
    assert server.get("/stop")[0] == 401
    before = arm.num_stops
    assert server.get("/stop", TOKEN) == (200, "stopped\n")
    assert arm.num_stops == before + 1
    with pytest.raises(LinkLost, match="an operator said stop"):
        remote.send_action(hold(OPEN_M, 0.01))
    assert arm.actions == []


def test_stop_does_not_wait_for_a_call_that_hangs(remote: RemoteController, arm: KinematicArm) -> None:
    remote.reset()
    arm.hangs.clear()

    def observe() -> None:
        with pytest.raises(LateAnswer):
            remote.get_observation()

    try:
        waiting = threading.Thread(target=observe)
        waiting.start()
        time.sleep(0.05)
        before, started_s = arm.num_stops, time.monotonic()
        remote.stop()
        wait_until(lambda: arm.num_stops > before)
        assert time.monotonic() - started_s < 0.5, "long before the call returns"
        waiting.join()
    finally:
        arm.hangs.set()


def test_an_action_that_waits_is_not_carried_out_after_a_stop(server: Running, arm: KinematicArm) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with connect(server.address, additional_headers=headers, proxy=None) as connection:
        connection.recv()
        connection.send(pack({CALL: "reset", "simtoreal/sequence": 0}))
        connection.recv()
        arm.hangs.clear()
        calls = ["observe", "act", "stop"]
        for number, call in enumerate(calls, 1):
            action = {"simtoreal/action": np.array([0, 0, 0.01, 0, 0, 0, OPEN_M])} if call == "act" else {}
            connection.send(pack({CALL: call, "simtoreal/sequence": number, **action}))
            time.sleep(0.05)
        wait_until(lambda: arm.num_stops >= 1)
        arm.hangs.set()
        answers = {answer["simtoreal/sequence"]: answer for answer in (unpack(connection.recv(2.0)) for _ in calls)}
        assert answers[2][ERROR_KIND] == "superseded"
        assert ERROR not in answers[3]
        assert arm.actions == []


def test_a_second_client_is_turned_away_and_the_first_keeps_the_arm(remote: RemoteController, server: Running) -> None:
    remote.reset()
    second = RemoteController(server.address, token=TOKEN)
    with pytest.raises(LinkLost, match="at most 1 clients"):
        second.connect()
    remote.send_action(hold(OPEN_M, 0.01))


def test_the_server_ends_with_the_arm_stopped_and_disconnected(arm: KinematicArm) -> None:
    with running(ControllerService(lambda: arm, SILENCE_S), max_clients=1) as server:
        remote = RemoteController(server.address)
        remote.reset()
        before = arm.num_stops
    assert arm.num_stops > before
    assert not arm.is_connected
    with pytest.raises(LinkLost):
        remote.get_observation()
    remote.stop()
    remote.disconnect()


def test_a_policy_is_no_controller() -> None:
    with running(Policies().service) as server, pytest.raises(LinkLost, match="serves policy"):
        RemoteController(server.address).connect()


class Opening(NamedTuple):
    address: str | None
    options: tuple[str, ...] = ()


def test_it_can_be_opened_by_name_with_the_token_from_a_file(
    server: Running, arm: KinematicArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIMTOREAL_TOKEN", raising=False)
    (tmp_path / "token").write_text(TOKEN, encoding="ascii")
    (tmp_path / "token").chmod(0o600)
    controller = open_controller(Opening(server.address, (f"token_file={tmp_path / 'token'}",)))
    controller.connect()
    controller.reset()
    controller.disconnect()
    with pytest.raises(ConfigError, match="needs the address"):
        open_controller(Opening(None))
    with pytest.raises(ConfigError, match="did you mean 'token_file'"):
        open_controller(Opening(server.address, ("token=secret",)))
    with pytest.raises(ConfigError, match="must be host, host:port"):
        open_controller(Opening("http://robot"))


def test_an_unknown_call_is_refused(remote: RemoteController) -> None:
    with pytest.raises(RequestRefused, match="'dance' is none of reset, observe, act, stop"):
        remote._call("dance", 1.0)


def test_a_watchdog_barks_once_until_it_is_fed_again() -> None:
    barks: list[float] = []
    dog = Watchdog(0.2, lambda: barks.append(time.monotonic()))
    time.sleep(0.3)
    assert barks == []
    for _ in range(5):
        dog.feed()
        time.sleep(0.02)
    assert barks == []
    wait_until(lambda: len(barks) == 1)
    time.sleep(0.3)
    assert len(barks) == 1
    dog.feed()
    dog.rest()
    time.sleep(0.3)
    assert len(barks) == 1
    dog.close()
