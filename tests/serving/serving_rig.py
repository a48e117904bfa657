"""Servers in a thread, a policy and a controller that are quick, and openpi's client in its own words."""

import asyncio
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import numpy as np
from websockets.sync.client import ClientConnection, connect

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.serving.policy_service import PolicyDescription, PolicyService
from simtoreal.serving.server import Place, Server
from simtoreal.serving.service import Service

OPEN_M = 0.08
TOKEN = "a-token-of-twenty-four-c"


class Running:
    """A server in a thread of its own."""

    def __init__(self, service: Service, place: Place) -> None:
        self._service, self._place = service, place
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.port = 0

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.server = Server(self._service, self._place)
        await self.server.run(self._listen)

    def _listen(self, port: int) -> None:
        self.port = port
        self._ready.set()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5.0), "the server did not start"

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.stop)
            self._thread.join(10.0)
            assert not self._thread.is_alive(), "the server did not end"

    @property
    def address(self) -> str:
        return f"{'ws' if self._place.tls is None else 'wss'}://localhost:{self.port}"

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        """Status and text of a plain HTTP request."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5.0) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        (line,) = [line for line in self.server.metrics.text().splitlines() if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])


@contextmanager
def running(service: Service, **place: Any) -> Iterator[Running]:
    server = Running(service, Place(port=0, **place))
    server.start()
    try:
        yield server
    finally:
        server.stop()


class CountingPolicy:
    """Rises by a millimetre more with every action of an episode, and remembers what was sent."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.seen: list[Observation] = []
        self.sents: list[Action] = []
        self.num_resets = 0
        self.error: Exception | None = None
        self.rise_m: float | None = None

    def reset(self) -> None:
        self.num_resets += 1
        self.count = 0

    def act(self, observation: Observation) -> Action:
        time.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        self.seen.append(observation)
        self.count += 1
        rise_m = 0.001 * self.count if self.rise_m is None else self.rise_m
        return Action(np.array([0.0, 0.0, rise_m]), np.zeros(3), OPEN_M)

    def sent(self, action: Action) -> None:
        self.sents.append(action)


class Policies:
    """A service with a new `CountingPolicy` for every client."""

    def __init__(self, takes_s: float = 0.0, **description: Any) -> None:
        self.made: list[CountingPolicy] = []
        self._takes_s = takes_s
        self.service = PolicyService(self._make, PolicyDescription("counting", 20.0, **description))

    def _make(self) -> CountingPolicy:
        self.made.append(CountingPolicy(self._takes_s))
        return self.made[-1]

    @property
    def latest(self) -> CountingPolicy:
        return self.made[-1]


class KinematicArm:
    """A tool that goes where it is told, within limits."""

    control_hz = 50.0
    MAX_STEP_M, MAX_TURN_RAD = 0.02, 0.2

    def __init__(self) -> None:
        self.is_connected = False
        self.num_stops = 0
        self.hangs = threading.Event()
        self.hangs.set()
        self.actions: list[Action] = []
        self.time_s = 0.0
        self._place()

    def _place(self) -> None:
        self.T_base_tcp, self.width_m = frames.top_down((0.5, 0.0, 0.3), 0.0), OPEN_M

    def connect(self) -> None:
        self.is_connected = True

    def reset(self) -> Observation:
        self._place()
        return self.get_observation()

    def get_observation(self) -> Observation:
        self.hangs.wait(10.0)
        rgb, depth_m = np.zeros((8, 10, 3), np.uint8), np.full((8, 10), np.nan, np.float32)
        K, T_base_cam = np.diag([10.0, 10.0, 1.0]), self.T_base_tcp.copy()
        return Observation(
            self.time_s,
            rgb,
            depth_m,
            K,
            T_base_cam,
            self.T_base_tcp.copy(),
            self.width_m,
            np.zeros(7),
            np.zeros(5),
        )

    def send_action(self, action: Action) -> Action:
        move = action.delta_m * min(1.0, self.MAX_STEP_M / max(float(np.linalg.norm(action.delta_m)), 1e-9))
        turn = np.linalg.norm(action.delta_rotation_rad)
        rotation = action.delta_rotation_rad * min(1.0, self.MAX_TURN_RAD / max(float(turn), 1e-9))
        sent = Action(move, rotation, min(max(action.gripper_width_m, 0.0), OPEN_M))
        self.T_base_tcp = frames.moved(self.T_base_tcp, sent.delta_m, sent.delta_rotation_rad)
        self.width_m = sent.gripper_width_m
        self.actions.append(sent)
        self.time_s += 1.0 / self.control_hz
        return sent

    def stop(self) -> None:
        self.num_stops += 1

    def disconnect(self) -> None:
        self.is_connected = False


def observation(**changes: Any) -> Observation:
    """What a wrist camera sees."""
    rgb = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    depth_m = np.full((6, 8), 0.4, np.float32)
    depth_m[0, 0] = np.nan
    T = frames.top_down((0.5, 0.1, 0.4), 0.3)
    return Observation(1.5, rgb, depth_m, np.diag([8.0, 8.0, 1.0]), T, T, 0.07, np.arange(7.0))._replace(**changes)


def wait_until(is_so: Any, within_s: float = 3.0) -> None:
    """Waits for something that another thread brings about."""
    until_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.005)


class OpenpiClient:
    """What openpi-client 0.1.2 does (`websocket_client_policy.py`, `msgpack_numpy.py`), line by line in effect.

    `scripts/check_openpi.py` runs the real one; it wants numpy below 2, so the tests cannot require it.
    """

    def __init__(self, port: int, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self.websocket: ClientConnection = connect(
            f"ws://localhost:{port}", compression=None, max_size=None, additional_headers=headers
        ).__enter__()
        self.metadata = self._unpack(self.websocket.recv())

    def infer(self, message: dict[str, Any]) -> dict[str, Any]:
        self.websocket.send(msgpack.Packer(default=self._pack_array).pack(message))
        response = self.websocket.recv(5.0)
        if isinstance(response, str):
            raise RuntimeError(f"Error in inference server:\n{response}")
        return self._unpack(response)

    def close(self) -> None:
        self.websocket.close()

    @staticmethod
    def _pack_array(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return value

    @staticmethod
    def _unpack(data: Any) -> Any:
        def unpack_array(value: Any) -> Any:
            if b"__ndarray__" in value:
                return np.ndarray(buffer=value[b"data"], dtype=np.dtype(value[b"dtype"]), shape=value[b"shape"])
            return np.dtype(value[b"dtype"]).type(value[b"data"]) if b"__npgeneric__" in value else value

        return msgpack.unpackb(data, object_hook=unpack_array)
