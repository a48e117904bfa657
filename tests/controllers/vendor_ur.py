"""A fake of ur_rtde 1.6.5 (checked by `scripts/check_vendor_apis.py`), and of Robotiq's URCap."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from vendor_world import World, publish

from simtoreal import frames

PACKAGE = "ur_rtde==1.6.5"
CLASSES = {"rtde_control": ["RTDEControlInterface"], "rtde_receive": ["RTDEReceiveInterface"]}


class RTDEControlInterface:
    world: World

    def __init__(
        self, hostname: str, frequency: float = -1.0, flags: int = 1, ur_cap_port: int = 50002, rt_priority: int = 0
    ) -> None:
        if hostname == "192.0.2.1":
            raise RuntimeError("Timeout connecting to UR")
        self.script = True

    def servoL(self, arg0: list[float], arg1: float, arg2: float, arg3: float, arg4: float, arg5: float) -> bool:  # noqa: N802
        assert isinstance(arg0, list)
        assert all(isinstance(value, float) for value in arg0)
        assert 0.03 <= arg4 <= 0.2
        assert 100 <= arg5 <= 2000
        if self.world.is_lost:
            raise RuntimeError("lost connection to robot")
        if not self.script or self.world.is_protected:
            return False
        self.world.T_goal = frames.transform(arg0[:3], frames.rotation_from_vector(arg0[3:]))
        return True

    def servoStop(self, a: float = 10.0) -> bool:  # noqa: N802
        self.world.calls.append("servoStop")
        if self.world.is_lost:
            raise RuntimeError("lost connection to robot")
        self.world.T_goal = self.world.T
        return self.script

    def speedStop(self, a: float = 10.0) -> bool:  # noqa: N802
        self.world.calls.append("speedStop")
        if self.world.is_lost:
            raise RuntimeError("lost connection to robot")
        return self.script

    def stopScript(self) -> None:  # noqa: N802
        self.world.calls.append("stopScript")
        if self.world.is_lost:
            raise RuntimeError("lost connection to robot")
        self.script = False

    def disconnect(self) -> None:
        self.world.calls.append("disconnect")


class RTDEReceiveInterface:
    world: World

    def __init__(
        self,
        hostname: str,
        frequency: float = -1.0,
        variables: list[str] = [],  # noqa: B006 as published
        verbose: bool = False,
        use_upper_range_registers: bool = False,
        rt_priority: int = 0,
    ) -> None:
        if hostname == "192.0.2.1":
            raise RuntimeError("Timeout connecting to UR")

    def isConnected(self) -> bool:  # noqa: N802
        return not self.world.is_lost

    def getActualTCPPose(self) -> list[float]:  # noqa: N802
        T = self.world.T
        return [*T[:3, 3].tolist(), *frames.rotation_to_vector(T[:3, :3]).tolist()]

    def getActualQ(self) -> list[float]:  # noqa: N802
        return np.zeros(6).tolist()

    def getTimestamp(self) -> float:  # noqa: N802
        return 7.0 + self.world.clock.now()

    def isProtectiveStopped(self) -> bool:  # noqa: N802
        return self.world.is_protected

    def isEmergencyStopped(self) -> bool:  # noqa: N802
        return self.world.is_emergency

    def disconnect(self) -> None:
        self.world.calls.append("receive.disconnect")


def install(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    RTDEControlInterface.world = RTDEReceiveInterface.world = world
    publish(monkeypatch, "rtde_control", RTDEControlInterface=RTDEControlInterface)
    publish(monkeypatch, "rtde_receive", RTDEReceiveInterface=RTDEReceiveInterface)


class Urcap:
    """The socket of a Robotiq gripper, answering as its URCap does."""

    OPEN_M, POS_OPEN, POS_CLOSED = 0.085, 3, 230

    def __init__(self, world: World) -> None:
        self.world = world
        self.registers = {"ACT": 1, "STA": 3, "FLT": 0, "OBJ": 0, "SPE": 0, "FOR": 0, "GTO": 0, "POS": 3}
        self.heard: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            while text := link.recv(1024).decode():
                for line in text.strip().splitlines():
                    self.heard.append(line)
                    link.sendall(self._reply(line).encode())

    def _reply(self, line: str) -> str:
        verb, *words = line.split()
        if verb == "GET":
            return f"{words[0]} {self._pos() if words[0] == 'POS' else self.registers[words[0]]}\n"
        for name, value in zip(words[::2], words[1::2], strict=True):
            self.registers[name] = int(value)
        if self.registers["GTO"] and "POS" in words:
            share = (self.POS_CLOSED - self.registers["POS"]) / (self.POS_CLOSED - self.POS_OPEN)
            self.world.width_goal_m = self.OPEN_M * min(max(share, 0.0), 1.0)
        if words[:1] == ["ACT"]:
            self.registers["STA"] = 3 * self.registers["ACT"]
        return "ack"

    def _pos(self) -> int:
        return round(self.POS_CLOSED - self.world.width_m / self.OPEN_M * (self.POS_CLOSED - self.POS_OPEN))


@contextlib.contextmanager
def urcap(world: World) -> Iterator[Urcap]:
    served = Urcap(world)
    try:
        yield served
    finally:
        served.close()
