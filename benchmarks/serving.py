"""What it costs to have the policy on the other side of a socket.

    python benchmarks/serving.py [--quick]        (pip install -e '.[serve]')

- `simtoreal serve bundle=default` in a process of its own on loopback; this process asks as a robot does, with 64 x 64
  colour and depth and every number of an observation, one request after the other. What counts is the round trip beyond
  the time that the policy itself took, which the server reports with every answer.
- The same with a controller on the other side, a `RemoteController` that observes and acts.
- A burst: requests as fast as they can be sent, far faster than they can be worked on. Each must be answered exactly
  once, none may be worked on that waited longer than its deadline, and the memory of the server must not grow.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import psutil
from record import Row, save
from websockets.sync.client import connect

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.codec import pack, unpack
from simtoreal.serving.messages import DEADLINE_S, ERROR_KIND, SEQUENCE, WRIST_IMAGE, observation_message
from simtoreal.serving.remote_controller import RemoteController

TARGET_MS = 3.0
PIXELS = 64
_WARM_UP = 100
_EPISODE = 10


class Running(NamedTuple):
    """A server in a process of its own."""

    address: str
    process: psutil.Process


@contextmanager
def serving(*settings: str) -> Iterator[Running]:
    """`simtoreal serve` on a free port."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "simtoreal.cli", "serve", "port=0", f"out={out}", *settings]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " on ws://" not in line:
                raise RuntimeError(f"the server did not start: {line or 'no word from it'}")
            yield Running(line.partition(" on ")[2].partition(";")[0], psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(20)


def observation(rng: np.random.Generator) -> Observation:
    """An RGB-D view from the wrist, 45 cm above the table."""
    T_base_tcp = frames.top_down((0.5, 0.0, 0.45), 0.0)
    return Observation(
        t_s=time.monotonic(),
        rgb=rng.integers(0, 255, (PIXELS, PIXELS, 3), dtype=np.uint8),
        depth_m=np.full((PIXELS, PIXELS), 0.45, np.float32),
        K=np.array([[55.4, 0.0, 31.5], [0.0, 55.4, 31.5], [0.0, 0.0, 1.0]]),
        T_base_cam=T_base_tcp,
        T_base_tcp=T_base_tcp,
        gripper_width_m=0.08,
        joint_positions_rad=np.zeros(7),
    )


def round_trips(running: Running, num: int) -> list[Row]:
    """Time of each request beyond the policy's own."""
    seen = observation(np.random.default_rng(0))
    total_ms, infer_ms = np.empty(num), np.empty(num)
    with RemotePolicy(running.address, deadline_s=5.0) as policy:
        for index in range(-_WARM_UP, num):
            if index % _EPISODE == 0:  # before the policy believes that it holds something and stops looking
                policy.reset()
            started_s = time.perf_counter()
            action = policy.act(seen)
            took_ms = 1e3 * (time.perf_counter() - started_s)
            policy.sent(action)
            if index >= 0:
                total_ms[index], infer_ms[index] = took_ms, policy.own_ms
    beyond_ms = total_ms - infer_ms
    median, p95, p99, p999 = np.percentile(beyond_ms, (50, 95, 99, 99.9))
    low, high = _interval_of_p99(beyond_ms)
    numbers = {"n": num, "median_ms": median, "p95_ms": p95, "p99_ms": p99, "p99_ci95_ms": [low, high]}
    numbers |= {"p999_ms": p999, "worst_ms": beyond_ms.max(), "infer_median_ms": float(np.median(infer_ms))}
    numbers |= {"total_p99_ms": float(np.percentile(total_ms, 99))}
    return [
        Row(
            f"round trip beyond the policy's own time, loopback, {PIXELS} x {PIXELS} RGB-D, 99th percentile, n = {num}",
            f"{p99:.2f} ms [{low:.2f}, {high:.2f}]; median {median:.2f} ms, worst {beyond_ms.max():.1f} ms",
            f"at most {TARGET_MS:.0f} ms",
            bool(p99 <= TARGET_MS),
            {key: value if isinstance(value, list) else float(value) for key, value in numbers.items()},
        )
    ]


def _interval_of_p99(sample: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Interval of 95 % of the 99th percentile from order statistics (binomial, normal approximation)."""
    ranked, n = np.sort(sample), len(sample)
    half = 1.96 * (n * 0.99 * 0.01) ** 0.5
    low, high = (min(max(round(0.99 * n + sign * half), 0), n - 1) for sign in (-1, 1))
    return float(ranked[low]), float(ranked[high])


def controller_trips(running: Running, num: int) -> Row:
    """Time of an observation and an action of a controller beyond what it took itself."""
    robot = RemoteController(running.address, deadline_s=5.0)
    robot.connect()
    observation = robot.reset()
    hold = Action(np.zeros(3), np.zeros(3), observation.gripper_width_m)
    took_ms = np.empty(num)
    for index in range(num):
        started_s = time.perf_counter()
        robot.send_action(hold)
        own_ms = robot.own_ms
        robot.get_observation()
        took_ms[index] = 1e3 * (time.perf_counter() - started_s) - own_ms - robot.own_ms
    robot.disconnect()
    median, p99 = np.percentile(took_ms, (50, 99))
    return Row(
        f"action and observation of a controller beyond its own time, 640 x 480 RGB-D, 99th percentile, n = {num}",
        f"{p99:.1f} ms; median {median:.1f} ms",
        numbers={"n": num, "median_ms": float(median), "p99_ms": float(p99)},
    )


def burst(running: Running, num: int) -> Row:
    """Requests without waiting for answers."""
    message = {**observation_message(observation(np.random.default_rng(0)), WRIST_IMAGE), DEADLINE_S: 0.05}
    frames_ = [pack({**message, SEQUENCE: index}) for index in range(num)]
    outcomes: Counter[str] = Counter()
    answered = []
    before_mb = running.process.memory_info().rss / 1e6
    with connect(running.address, compression=None, max_queue=None) as connection:
        connection.recv()
        started_s = time.perf_counter()
        for frame in frames_:
            connection.send(frame)
        sent_s = time.perf_counter() - started_s
        for _ in range(num):
            answer = unpack(connection.recv(60.0))  # type: ignore[arg-type]
            answered.append(answer[SEQUENCE])
            outcomes[str(answer.get(ERROR_KIND, "answered"))] += 1
        done_s = time.perf_counter() - started_s
    grown_mb = running.process.memory_info().rss / 1e6 - before_mb
    once = sorted(answered) == list(range(num))
    newest = outcomes["answered"] > 0 and max(answered[-3:]) == num - 1
    told = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
    return Row(
        f"burst of {num} requests at {num / sent_s:,.0f} a second",
        f"{told}; each answered once: {'yes' if once else 'no'}; done after {done_s:.1f} s; {grown_mb:+.0f} MB",
        "each answered once, the newest at the end, under 50 MB",
        once and newest and grown_mb < 50.0,
        {"n": num, "sent_s": sent_s, "done_s": done_s, "grown_mb": grown_mb, **outcomes},
    )


def main() -> None:
    """Serves, asks, measures, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    arguments = parser.parse_args()
    share = 10 if arguments.quick else 1
    load = os.getloadavg()[0]
    if load > 1.0:
        print(f"the load of this machine is {load:.1f}: figures taken now will be worse than they should be")
    with serving("bundle=default") as running:
        rows = round_trips(running, 10_000 // share)
        rows.append(burst(running, 5_000 // share))
    with serving("controller=pybullet") as running:
        rows.append(controller_trips(running, 500 // share))
    rows.append(Row("load of the machine before", f"{load:.2f}", numbers={"load": load}))
    save("serving", rows, arguments.quick)


if __name__ == "__main__":
    main()
