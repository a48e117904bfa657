"""A Robotiq gripper on a Universal Robots arm, through the socket that its URCap opens on the robot.

Text over TCP, port 63352: `SET POS 255` is answered by `ack`, `GET POS` by `POS 3`. Registers (Robotiq 2F-85 & 2F-140
Instruction Manual, section 4): ACT activate, GTO go, POS 0 (open) to 255, SPE and FOR 0 to 255, STA 3 when active, OBJ
1 or 2 when it holds something, FLT a fault above 0.
"""

import socket
import time
from dataclasses import dataclass

from simtoreal.controllers.link_errors import LinkError
from simtoreal.schema import ConfigError, option

_ACTIVE = 3
_FULL = 255
_NEWTONS = (20.0, 235.0)  # of a 2F-85 at FOR 0 and 255
_MAX_REPLY_BYTES = 256


@dataclass(frozen=True)
class RobotiqSettings:
    """The gripper and what its numbers mean.

    Raises:
        ConfigError: the open position is not below the closed one.
    """

    port: int = option(63352, "of the URCap", minimum=1, maximum=65_535)
    open_m: float = option(0.085, "opening at pos_open", unit="m", minimum=0.01, maximum=0.3)
    pos_open: int = option(3, "reading when open", minimum=0, maximum=254)
    pos_closed: int = option(230, "reading when the bare pads touch", minimum=1, maximum=_FULL)
    speed_frac: float = option(1.0, "of the greatest speed", minimum=0.0, maximum=1.0)
    force_n: float = option(40.0, "of the grip", unit="N", minimum=_NEWTONS[0], maximum=_NEWTONS[1])
    activate: bool = option(
        False, "activate it when connecting, which moves the jaws; false asks for it at the pendant"
    )
    timeout_s: float = option(0.5, "for an answer", unit="s", minimum=0.01, maximum=10.0)
    activation_s: float = option(8.0, "for activating", unit="s", minimum=0.5, maximum=60.0)

    def __post_init__(self) -> None:
        if self.pos_open >= self.pos_closed:
            raise ConfigError(f"pos_open={self.pos_open} must be below pos_closed={self.pos_closed}")


class RobotiqGripper:
    """A `GripperDevice`."""

    def __init__(self, address: str, settings: RobotiqSettings) -> None:
        self._where = (address, settings.port)
        self._settings = settings
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Opens the socket, and asks whether the gripper is active.

        Raises:
            LinkError: nobody answers, or it is not active.
        """
        try:
            self._socket = socket.create_connection(self._where, timeout=self._settings.timeout_s)
        except OSError as error:
            raise LinkError(
                f"Robotiq gripper at {self._where[0]}:{self._where[1]} cannot be reached ({error}): is its URCap "
                "installed?"
            ) from error
        if self._get("STA") != _ACTIVE:
            self._activate()
        given, (least_n, most_n) = self._settings, _NEWTONS
        force = round(_FULL * (given.force_n - least_n) / (most_n - least_n))
        self._set(f"SPE {round(_FULL * given.speed_frac)} FOR {force}")

    def go_to(self, width_m: float) -> None:
        given = self._settings
        share = min(max(width_m / given.open_m, 0.0), 1.0)
        # Where the bare pads touch the jaws go on pressing: what is thinner than that must be held too.
        pos = round(given.pos_closed - share * (given.pos_closed - given.pos_open)) if share > 0.0 else _FULL
        self._set(f"POS {pos} GTO 1")

    def read_width_m(self) -> float:
        """The opening between the pads.

        Raises:
            LinkError: no answer, or the gripper reports a fault.
        """
        fault = self._get("FLT")
        if fault:
            raise LinkError(f"the gripper reports fault {fault}: see its manual, and activate it again at the pendant")
        given = self._settings
        share = (given.pos_closed - self._get("POS")) / (given.pos_closed - given.pos_open)
        return given.open_m * min(max(share, 0.0), 1.0)

    def stop(self) -> None:
        self._set("GTO 0")

    def disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _activate(self) -> None:
        if not self._settings.activate:
            raise LinkError(
                "the gripper is not active: activate it at the pendant, or set gripper.activate: true (it opens and "
                "closes once then)"
            )
        self._set("ACT 0")
        self._set("ACT 1")
        give_up_s = time.monotonic() + self._settings.activation_s
        while self._get("STA") != _ACTIVE:
            if time.monotonic() > give_up_s:
                raise LinkError(f"the gripper is not active after {self._settings.activation_s:g} s")
            time.sleep(0.05)

    def _set(self, registers: str) -> None:
        answer = self._ask(f"SET {registers}")
        if answer != "ack":
            raise LinkError(f"the gripper answers {answer!r} to SET {registers}, not 'ack'")

    def _get(self, register: str) -> int:
        answer = self._ask(f"GET {register}")
        name, _, value = answer.partition(" ")
        if name != register or not value.strip().isdigit():
            raise LinkError(f"the gripper answers {answer!r} to GET {register}, not '{register} NUMBER'")
        return int(value)

    def _ask(self, text: str) -> str:
        if self._socket is None:
            raise LinkError("the gripper is not connected")
        try:
            self._socket.sendall(text.encode("ascii") + b"\n")
            return self._line()
        except OSError as error:
            raise LinkError(f"the gripper does not answer to {text}: {error}") from error

    def _line(self) -> str:
        """One answer. Some URCaps end `ack` without a line break, so that what is there counts as a line."""
        assert self._socket is not None
        received = self._socket.recv(_MAX_REPLY_BYTES)
        if not received:
            raise LinkError("the gripper closed the connection")
        return received.decode("ascii", errors="replace").strip()
