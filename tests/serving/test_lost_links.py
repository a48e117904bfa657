"""Servers that end, swallow, lie or are none: the client says so in time, and finds back."""

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from serving_rig import Policies, Running, observation
from websockets.sync.server import ServerConnection, serve

from simtoreal.contracts import LinkLost
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.codec import pack, unpack
from simtoreal.serving.messages import (
    PROTOCOL,
    PROTOCOL_KEY,
    SEQUENCE,
    SERVES,
)
from simtoreal.serving.server import Place


def test_nobody_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with RemotePolicy(f"127.0.0.1:{port}") as client, pytest.raises(LinkLost, match="is `simtoreal serve` running"):
        client.reset()


def test_a_host_that_swallows_everything_costs_no_more_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = RemotePolicy(f"127.0.0.1:{silent.getsockname()[1]}", reset_s=0.3)
        started_s = time.monotonic()
        with pytest.raises(LinkLost):
            client.reset()
        assert time.monotonic() - started_s < 1.0


def test_a_server_that_ends_in_the_middle_of_a_request_is_noticed_and_found_again() -> None:
    slow = Policies(takes_s=0.5)
    first = Running(slow.service, Place(port=0))
    first.start()
    client = RemotePolicy(first.address, deadline_s=3.0, reset_s=2.0)
    client.reset()
    threading.Timer(0.1, first.loop.call_soon_threadsafe, [first.server.stop]).start()
    started_s = time.monotonic()
    with pytest.raises(LinkLost):
        client.act(observation())
    assert time.monotonic() - started_s < 1.5, "at once, not at the deadline"
    with pytest.raises(LinkLost, match="call reset"):  # the episode is over: another policy would not know its past
        client.act(observation())
    first.stop()
    second = Running(Policies().service, dataclasses.replace(Place(), port=first.port))
    second.start()
    client.reset()
    assert client.act(observation()).delta_m[2] == pytest.approx(0.001)
    client.close()
    second.stop()


Handler = Callable[[ServerConnection], None]


@contextmanager
def impostor(handler: Handler) -> Iterator[str]:
    """A server that says hello properly and then does what it likes."""

    def welcome(connection: ServerConnection) -> None:
        connection.send(pack({SERVES: "policy", PROTOCOL_KEY: PROTOCOL}))
        episode = unpack(connection.recv())  # type: ignore[arg-type]
        connection.send(pack({"__ack__": "episode_start", SEQUENCE: episode[SEQUENCE]}))
        handler(connection)

    with serve(welcome, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def reply(*answers: Any) -> Handler:
    def handler(connection: ServerConnection) -> None:
        number = unpack(connection.recv())[SEQUENCE]  # type: ignore[arg-type]
        for answer in answers:
            connection.send(answer if isinstance(answer, bytes) else pack({SEQUENCE: number, **answer}))
        connection.recv()

    return handler


@pytest.mark.parametrize(
    "answer",
    [b"\xc1garbage", {"actions": np.full((1, 7), np.nan)}, {"actions": np.zeros((1, 6))}, {}, {"actions": "none"}],
    ids=["garbage", "nan", "shape", "nothing", "text"],
)
def test_an_answer_that_is_no_action_is_a_lost_link(answer: Any) -> None:
    with impostor(reply(answer)) as address, RemotePolicy(address, deadline_s=2.0) as client:
        client.reset()
        with pytest.raises(LinkLost):
            client.act(observation())


def test_answers_to_other_requests_are_dropped() -> None:
    stale = {SEQUENCE: 0, "actions": np.ones((1, 7))}
    right = {"actions": np.zeros((1, 7))}
    with impostor(reply(stale, stale, right)) as address, RemotePolicy(address, deadline_s=2.0) as client:
        client.reset()
        assert not client.act(observation()).delta_m.any()
        assert client.num_dropped == 2


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ({SERVES: "controller", PROTOCOL_KEY: PROTOCOL}, "serves controller"),
        ({SERVES: "policy", PROTOCOL_KEY: PROTOCOL + 1}, "update one"),
        ({"model": "pi0"}, "serves something else"),
    ],
)
def test_another_kind_of_server_is_recognised(hello: dict[str, Any], words: str) -> None:
    with serve(lambda connection: connection.send(pack(hello)), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with (
            RemotePolicy(f"127.0.0.1:{server.socket.getsockname()[1]}") as client,
            pytest.raises(LinkLost, match=words),
        ):
            client.reset()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("address", ["http://robot", "ws://", "robot/path", "user@robot", "://x"])
def test_an_address_is_checked(address: str) -> None:
    with pytest.raises(ValueError, match="must be host, host:port"):
        RemotePolicy(address)
