"""A fake of franky-control 2.0.0 (checked by `scripts/check_vendor_apis.py`)."""

import types

import numpy as np
import pytest
from vendor_world import World, publish

PACKAGE = "franky-control==2.0.0"
CLASSES = {"franky": ["Robot", "Gripper", "Affine", "CartesianMotion", "CartesianStopMotion", "BoolFuture", "Duration"]}
ABSENT = "192.0.2.1"


class Exception_(Exception):  # noqa: N801 franky has an Exception of its own
    pass


class NetworkException(Exception_):
    pass


class ControlException(Exception_):
    pass


class RobotMode:
    Other, Idle, Move, Guiding, Reflex, UserStopped, AutomaticErrorRecovery = range(7)


class ReferenceType:
    Absolute, Relative = range(2)


class Affine:
    def __init__(self, transformation_matrix: np.ndarray) -> None:
        assert transformation_matrix.shape == (4, 4)
        self.matrix = transformation_matrix.copy()


class CartesianMotion:
    def __init__(
        self,
        target: Affine,
        reference_type: int = ReferenceType.Absolute,
        relative_dynamics_factor: float = 1.0,
        return_when_finished: bool = True,
        ee_frame: Affine | None = None,
    ) -> None:
        self.target, self.is_kept = target, not return_when_finished
        assert reference_type == ReferenceType.Absolute


class CartesianStopMotion:
    def __init__(self, relative_dynamics_factor: float = 1.0) -> None:
        pass


class Duration:
    def __init__(self, arg0: int) -> None:
        self._milliseconds = arg0

    def to_sec(self) -> float:
        return 1e-3 * self._milliseconds


class BoolFuture:
    world: World

    def wait(self, timeout: float | None = None) -> bool:
        return abs(self.world.width_m - self.world.width_goal_m) < 1e-6


class Robot:
    world: World

    def __init__(self, fci_hostname: str, relative_dynamics_factor: float = 1.0) -> None:
        if fci_hostname == ABSENT:
            raise NetworkException("libfranka: Connection timeout")

    @property
    def state(self) -> types.SimpleNamespace:
        world = self.world
        if world.is_lost:
            raise NetworkException("libfranka: UDP receive: Timeout")
        stopped = {world.is_protected: RobotMode.Reflex, world.is_emergency: RobotMode.UserStopped}
        return types.SimpleNamespace(
            time=Duration(round(1e3 * world.clock.now())),
            O_T_EE=Affine(world.T),
            q=world.q,
            robot_mode=stopped.get(True, RobotMode.Move),
            last_motion_errors="[cartesian_reflex]",
        )

    @property
    def has_errors(self) -> bool:
        return self.world.is_protected

    @property
    def is_in_control(self) -> bool:
        return not self.world.is_protected

    def recover_from_errors(self) -> bool:
        self.world.calls.append("recover")
        self.world.is_protected = False
        return True

    def move(
        self,
        motion: CartesianMotion | CartesianStopMotion,
        asynchronous: bool = False,
        limit_rate: bool = False,
        cutoff_frequency: float = 100.0,
    ) -> None:
        assert asynchronous, "a motion that is waited for blocks the loop"
        if self.world.is_lost:
            raise NetworkException("libfranka: TCP connection got interrupted")
        if self.world.is_protected:
            raise ControlException("libfranka: Move command aborted: motion aborted by reflex!")
        if isinstance(motion, CartesianMotion):
            assert motion.is_kept
            self.world.T_goal = motion.target.matrix
        else:
            self.world.calls.append("stop motion")
            self.world.T_goal = self.world.T

    def poll_motion(self) -> bool:
        if self.world.is_protected:
            raise ControlException("libfranka: motion aborted by reflex! [cartesian_reflex]")
        return True

    def join_motion(self, timeout: float | None = None) -> bool:
        return True

    def stop(self) -> None:
        self.world.calls.append("stop")
        if self.world.is_lost:
            raise NetworkException("libfranka: TCP connection got interrupted")
        self.world.T_goal = self.world.T


class Gripper:
    world: World

    def __init__(self, fci_hostname: str) -> None:
        pass

    @property
    def width(self) -> float:
        return self.world.width_m

    def grasp_async(
        self, width: float, speed: float, force: float, epsilon_inner: float = 0.005, epsilon_outer: float = 0.005
    ) -> BoolFuture:
        self.world.calls.append(f"grasp {force:g}")
        self.world.width_goal_m = width
        return BoolFuture()

    def move_async(self, width: float, speed: float) -> BoolFuture:
        self.world.width_goal_m = width
        return BoolFuture()

    def stop(self) -> bool:
        self.world.calls.append("gripper stop")
        self.world.width_goal_m = self.world.width_m
        return True


def install(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    Robot.world = Gripper.world = BoolFuture.world = world
    names = {
        thing.__name__: thing
        for thing in (
            NetworkException, ControlException, RobotMode, ReferenceType, Affine, CartesianMotion, CartesianStopMotion,
            Robot, Gripper,
        )
    }  # fmt: skip
    publish(monkeypatch, "franky", Exception=Exception_, **names)
