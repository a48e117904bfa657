"""A policy over the network: with our client, with openpi's, with garbage, too late and too much."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from serving_rig import TOKEN, OpenpiClient, Policies, Running, observation, running, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from simtoreal.contracts import Action, LinkLost, Policy
from simtoreal.runtime import run_episode
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.codec import pack, unpack
from simtoreal.serving.link import LateAnswer, RemoteFailure, RequestRefused
from simtoreal.serving.messages import (
    DEADLINE_S,
    DEPTH,
    ERROR,
    ERROR_KIND,
    K_KEY,
    SEQUENCE,
    SERVES,
    STATE,
    WRIST_IMAGE,
    observation_message,
)


def request(**more: Any) -> dict[str, Any]:
    return {**observation_message(observation(), WRIST_IMAGE), **more}


@contextmanager
def raw(server: Running, token: str | None = None) -> Iterator[Any]:
    headers = None if token is None else {"Authorization": f"Bearer {token}"}
    with connect(server.address, compression=None, additional_headers=headers, proxy=None) as connection:
        connection.recv(5.0)
        yield connection


# Our client


def test_the_policy_sees_what_the_robot_saw_and_hears_what_was_sent(client: RemotePolicy, policies: Policies) -> None:
    assert isinstance(client, Policy)
    first = client.act(observation())
    cut = Action(0.5 * first.delta_m, first.delta_rotation_rad, 0.02)
    client.sent(cut)
    second = client.act(observation())
    np.testing.assert_allclose((first.delta_m[2], second.delta_m[2]), (0.001, 0.002))
    (heard,) = policies.latest.sents
    np.testing.assert_array_equal(heard.delta_m, cut.delta_m)
    assert heard.gripper_width_m == 0.02
    for name, value in observation()._asdict().items():
        seen = getattr(policies.latest.seen[0], name)
        assert (seen is None) if value is None else np.array_equal(seen, value, equal_nan=True), name


def test_an_action_that_was_not_sent_is_not_told(client: RemotePolicy, policies: Policies) -> None:
    client.act(observation())
    client.act(observation())
    assert policies.latest.sents == []


def test_reset_begins_an_episode_and_keeps_the_connection(client: RemotePolicy, policies: Policies) -> None:
    client.act(observation())
    client.act(observation())
    client.reset()
    assert client.act(observation()).delta_m[2] == pytest.approx(0.001)
    assert len(policies.made) == 1


def test_every_client_has_a_policy_of_its_own(server: Running, policies: Policies) -> None:
    with RemotePolicy(server.address) as one, RemotePolicy(server.address) as other:
        one.reset()
        other.reset()
        one.act(observation())
        assert one.act(observation()).delta_m[2] == pytest.approx(0.002)
        assert other.act(observation()).delta_m[2] == pytest.approx(0.001)
    assert len(policies.made) == 2


def test_the_loop_runs_with_a_remote_policy(client: RemotePolicy) -> None:
    from serving_rig import KinematicArm

    arm = KinematicArm()
    assert run_episode(arm, client, arm.reset(), lambda step: step >= 5) == 5
    assert arm.T_base_tcp[2, 3] == pytest.approx(0.3 + 0.001 * (1 + 2 + 3 + 4 + 5))


def test_the_server_says_what_it_serves(client: RemotePolicy) -> None:
    assert client.metadata["name"] == "counting"
    assert client.metadata["simtoreal/required_keys"][:2] == [WRIST_IMAGE, DEPTH]
    assert client.control_hz == 20.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth_m": None}, "observation/depth_m is missing"),
        ({"rgb": None}, "observation/wrist_image is missing"),
        ({"K": np.full((3, 3), np.nan)}, "observation/K must be finite"),
        ({"T_base_tcp": np.zeros((4, 4))}, "observation/T_base_tcp must be a rigid transform"),
    ],
)
def test_an_observation_that_cannot_be_used_is_refused_by_key(
    client: RemotePolicy, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RequestRefused, match=words):
        client.act(observation(**changes))
    client.act(observation())  # and the connection stands


def test_a_policy_that_fails_is_told_of_without_its_traceback(
    client: RemotePolicy, policies: Policies, caplog: pytest.LogCaptureFixture
) -> None:
    policies.latest.error = KeyError("/home/somebody/secret.txt")
    with caplog.at_level(logging.ERROR), pytest.raises(RemoteFailure, match="log has the details") as failure:
        client.act(observation())
    assert "secret" not in str(failure.value)
    assert "Traceback" not in str(failure.value)
    assert "secret.txt" in caplog.text
    assert str(failure.value).rpartition(" ")[2] in caplog.text, "the reference leads to the entry of the log"


def test_an_action_that_is_not_finite_is_never_sent(client: RemotePolicy, policies: Policies) -> None:
    policies.latest.rise_m = float("nan")
    with pytest.raises(RemoteFailure):
        client.act(observation())


# Time


def test_a_slow_policy_costs_the_client_its_deadline_and_no_more() -> None:
    slow = Policies(takes_s=0.8)
    with running(slow.service) as server, RemotePolicy(server.address, deadline_s=0.1, reset_s=2.0) as client:
        client.reset()
        started_s = time.monotonic()
        with pytest.raises(LateAnswer):
            client.act(observation())
        assert time.monotonic() - started_s < 0.5
        slow.latest.takes_s = 0.0
        wait_until(lambda: slow.latest.count == 1)
        time.sleep(0.05)
        assert client.act(observation()).delta_m[2] == pytest.approx(0.002), "not the action for the observation before"
        assert client.num_dropped == 1


def test_what_waited_longer_than_its_deadline_is_not_begun() -> None:
    slow = Policies(takes_s=0.3)
    with running(slow.service) as server, raw(server) as connection:
        connection.send(pack(request(**{SEQUENCE: 1})))
        time.sleep(0.05)
        connection.send(pack(request(**{SEQUENCE: 2, DEADLINE_S: 0.1})))
        answers = [unpack(connection.recv(2.0)) for _ in range(2)]
        assert ERROR not in answers[0]
        assert (answers[1][SEQUENCE], answers[1][ERROR_KIND]) == (2, "late")
        assert slow.latest.count == 1
        assert server.metric('simtoreal_requests_total{outcome="late"}') == 1


def test_what_took_longer_than_its_deadline_is_not_answered_with_an_action() -> None:
    slow = Policies(takes_s=0.2)
    with running(slow.service) as server, raw(server) as connection:
        connection.send(pack(request(**{SEQUENCE: 7, DEADLINE_S: 0.1})))
        answer = unpack(connection.recv(2.0))
        assert (answer[SEQUENCE], answer[ERROR_KIND]) == (7, "late")
        assert "actions" not in answer


def test_of_a_burst_the_newest_is_worked_on_and_each_is_answered_once() -> None:
    slow = Policies(takes_s=0.1)
    with running(slow.service) as server, raw(server) as connection:
        for number in range(50):
            connection.send(pack(request(**{SEQUENCE: number})))
        answers = [unpack(connection.recv(2.0)) for _ in range(50)]
        assert sorted(answer[SEQUENCE] for answer in answers) == list(range(50))
        assert answers[-1][SEQUENCE] == 49
        assert ERROR not in answers[-1]
        assert slow.latest.count <= 20
        kinds = {answer[ERROR_KIND] for answer in answers if ERROR in answer}
        assert kinds == {"superseded"}


# openpi's client


def test_openpi_clients_are_served(server: Running, policies: Policies) -> None:
    client = OpenpiClient(server.port)
    assert client.metadata[SERVES] == "policy"
    for count in (1, 2):
        answer = client.infer({**request(), "prompt": "grasp it"})
        assert answer["actions"].shape == (1, 7)
        assert answer["actions"][0, 2] == pytest.approx(0.001 * count)
        assert 0.0 <= answer["server_timing"]["infer_ms"] < 1000.0
        assert set(answer) == {"actions", "server_timing"}
    assert len(policies.latest.sents) == 2, "what it was given is what it sends"
    client.close()


def test_openpi_clients_can_say_their_state_in_one_row(server: Running, policies: Policies) -> None:
    client = OpenpiClient(server.port)
    kept = {key: request()[key] for key in (WRIST_IMAGE, DEPTH, K_KEY, "observation/T_base_cam")}
    client.infer({**kept, STATE: np.array([0.5, 0.1, 0.4, np.pi, 0.0, 0.0, 0.06]), "prompt": "grasp it"})
    seen = policies.latest.seen[0]
    np.testing.assert_allclose(seen.T_base_tcp[:3, 3], (0.5, 0.1, 0.4))
    assert seen.gripper_width_m == pytest.approx(0.06)
    client.close()


def test_openpi_clients_are_told_a_missing_key_in_a_text_frame(server: Running) -> None:
    client = OpenpiClient(server.port)
    with pytest.raises(RuntimeError, match="observation/K is missing"):
        client.infer({key: value for key, value in request().items() if key != K_KEY})
    client.infer(request())
    client.close()


def test_newer_openpi_clients_can_begin_an_episode(server: Running, policies: Policies) -> None:
    client = OpenpiClient(server.port)
    client.infer(request())
    assert client.infer({"__ctrl__": "episode_start"})["__ack__"] == "episode_start"
    assert client.infer({"__ctrl__": "episode_end"})["__ack__"] == "ignored"
    assert client.infer(request())["actions"][0, 2] == pytest.approx(0.001)
    client.close()


def test_openpi_clients_show_the_token_as_api_key(policies: Policies) -> None:
    with running(policies.service, token=TOKEN) as server:
        OpenpiClient(server.port, api_key=TOKEN).close()
        with pytest.raises(InvalidStatus):
            OpenpiClient(server.port, api_key="wrong")


# Garbage


GARBAGE = {
    "text": "hello",
    "noise": b"\xc1\xff\x00",
    "empty": b"",
    "no map": b"\x05",
    "object array": pack({"a": 1})[:-1] + b"\x83\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x00\xc4\x05dtype\xa2|O",
    "sequence": pack({SEQUENCE: -1}),
    "deadline": pack({DEADLINE_S: "soon"}),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_answered_in_words_and_ends_the_connection(server: Running, name: str) -> None:
    with raw(server) as connection:
        connection.send(GARBAGE[name])
        words = connection.recv(2.0)
        assert isinstance(words, str)
        assert "Traceback" not in words
        assert "File " not in words
        with pytest.raises(ConnectionClosed):
            connection.recv(2.0)
    with raw(server) as connection:  # others are served as ever
        connection.send(pack(request()))
        assert "actions" in unpack(connection.recv(2.0))


def test_a_message_that_is_too_large_ends_the_connection_with_the_reason(client: RemotePolicy, server: Running) -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    with pytest.raises(LinkLost, match="larger than the server takes"):
        client.act(observation(rgb=picture, depth_m=np.zeros((300, 300), np.float32)))
    client.reset()
    client.act(observation())


def test_noise_in_place_of_a_handshake_does_no_harm(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 2.0) as stream:
        stream.sendall(b"\x16\x03\x01" + bytes(range(256)))
        stream.settimeout(3.0)
        while stream.recv(4096):
            pass
    assert server.get("/healthz") == (200, "OK\n")
