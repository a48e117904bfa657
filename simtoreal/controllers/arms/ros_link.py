"""A ROS 2 node of this program's own, with its own context and thread: nothing else here knows of ROS.

Written against rclpy 9.1 (ROS 2 Kilted); the calls used are the same since Humble.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from simtoreal.controllers.link_errors import LinkError
from simtoreal.extras import load

_REMEDY = "install ROS 2, and `source /opt/ros/DISTRO/setup.bash` before this program starts"


def ros(module: str) -> Any:
    """A package of ROS 2.

    Raises:
        ModuleNotFoundError: it is not there.
    """
    return load(module, "ROS 2", _REMEDY)


class RosLink:
    """One node, shared by an arm and its cameras; it runs while somebody uses it.

    Args:
        now: the monotonic clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._users = 0
        self._context: Any = None
        self._executor: Any = None
        self._thread: threading.Thread | None = None
        self.node: Any = None

    def open(self) -> Any:
        """The node, which is started for its first user."""
        self._users += 1
        if self.node is not None:
            return self.node
        rclpy, executors = ros("rclpy"), ros("rclpy.executors")
        self._context = rclpy.Context()
        # Without ROS's own signal handlers: Ctrl-C must reach the stop switch, which still needs the node.
        rclpy.init(context=self._context, signal_handler_options=ros("rclpy.signals").SignalHandlerOptions.NO)
        self.node = rclpy.create_node("simtoreal", context=self._context)
        self._executor = executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()
        return self.node

    def close(self) -> None:
        """Ends the node after its last user."""
        self._users = max(self._users - 1, 0)
        if self._users or self.node is None:
            return
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        self.node = self._executor = self._context = self._thread = None

    def received_s(self, stamp: Any) -> float:
        """A header's stamp on the monotonic clock: its age by the clock of ROS, counted back from now.

        A header without a stamp counts as of now.
        """
        stamped_s = float(stamp.sec) + 1e-9 * float(stamp.nanosec)
        if stamped_s == 0.0:
            return self.now()
        age_s = 1e-9 * float(self.node.get_clock().now().nanoseconds) - stamped_s
        return self.now() - max(age_s, 0.0)

    def wait_for(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Waits until something has come.

        Raises:
            LinkError: it has not, in time.
        """
        give_up_s = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > give_up_s:
                raise LinkError(
                    f"{what} does not come within {timeout_s:g} s: is it published, under this name and domain?"
                )
            time.sleep(0.005)

    def _spin(self) -> None:
        executors = ros("rclpy.executors")
        with suppress(executors.ExternalShutdownException, executors.ShutdownException):
            self._executor.spin()
