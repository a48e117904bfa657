"""What `speed.py` lets race: environments and cells under random actions, all behind one `reset` and one `step`.

Everything heavy is imported inside the functions: workers whose memory is measured import this file too.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

IMAGE_PX = 64


class Rate(NamedTuple):
    """What one contender did in one round."""

    num_steps: int
    step_s: float
    reset_s: float

    @property
    def steps_per_s(self) -> float:
        return self.num_steps / self.step_s

    @property
    def steps_per_s_with_resets(self) -> float:
        return self.num_steps / (self.step_s + self.reset_s)


@dataclass
class Contender:
    """Something that takes control steps: `step()` is True when an episode is over, `reset()` starts the next."""

    name: str
    period_s: float  # simulated time of a control step
    reset: Callable[[], None]
    step: Callable[[], bool]
    close: Callable[[], None]
    rates: list[Rate] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """One turn, which starts with a new episode and lasts at least `seconds` of steps."""
        num_steps, step_s, reset_s, over = 0, 0.0, 0.0, True
        while step_s < seconds:
            started_s = time.process_time()
            if over:
                self.reset()
            begun_s = time.process_time()
            over = self.step()
            step_s += time.process_time() - begun_s
            reset_s += begun_s - started_s
            num_steps += 1
        self.rates.append(Rate(num_steps, step_s, reset_s))

    def median(self, figure: str = "steps_per_s") -> float:
        """The middle of the rounds of a figure of `Rate`."""
        return float(statistics.median(getattr(rate, figure) for rate in self.rates))


def gym_contender(name: str, env: Any, period_s: float, look: bool = False) -> Contender:
    """A Gymnasium environment under random actions; `look` renders after every step."""
    env.action_space.seed(0)
    seeds = iter(range(10_000_000))

    def reset() -> None:
        env.reset(seed=next(seeds))

    def step() -> bool:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if look:
            env.render()
        return bool(terminated or truncated)

    return Contender(name, period_s, reset, step, env.close)


def ours(env_id: str) -> Contender:
    import gymnasium

    import simtoreal  # noqa: F401 - registers the environments
    from simtoreal.envs.bullet_cell import CONTROL_HZ

    env = gymnasium.make(env_id, randomization="default", disable_env_checker=True)
    return gym_contender(env_id.split("/")[1], env, 1.0 / CONTROL_HZ)


def panda_gym(look: bool) -> Contender:
    import gymnasium

    with quiet():  # its client prints its options
        import panda_gym  # noqa: F401 - registers the environments

        env = gymnasium.make(
            "PandaPickAndPlace-v3",
            render_mode="rgb_array",
            renderer="Tiny",
            render_width=IMAGE_PX,
            render_height=IMAGE_PX,
            disable_env_checker=True,
        )
    simulation: Any = env.unwrapped
    return gym_contender(f"panda-gym, {'with' if look else 'no'} images", env, simulation.sim.dt, look)


def bare_cell(with_camera: bool, world: str = "pybullet") -> Contender:
    """A cell alone, as evaluation drives it: no Gymnasium, no reward, no privileged grasps; everything `default`."""
    import numpy as np

    from simtoreal.contracts import Action
    from simtoreal.envs.assets import default_cache_dir
    from simtoreal.envs.camera_setup import CameraSetup
    from simtoreal.envs.cell import InvalidScene
    from simtoreal.envs.object_sets import load_object_set
    from simtoreal.envs.randomization import load_randomization
    from simtoreal.envs.reality import load_reality
    from simtoreal.envs.resting import RestingPoses
    from simtoreal.envs.robot import load_robot
    from simtoreal.envs.worlds import WorldChoice, open_cell, open_scenes

    rng, cache_dir, robot = np.random.default_rng(0), default_cache_dir(), load_robot("panda")
    plain = load_randomization("default").to_plain()
    choice = (
        WorldChoice("mujoco", {}, load_reality("default").to_plain())
        if world == "mujoco"
        else WorldChoice("pybullet", plain)
    )
    objects = load_object_set("random_train", cache_dir)
    sampler = open_scenes(choice, objects, RestingPoses(cache_dir))
    cell = open_cell(choice, robot, CameraSetup.default("wrist", IMAGE_PX) if with_camera else None)
    left = 0

    def reset() -> None:
        nonlocal left
        left = 160
        while True:
            scene = sampler.sample((int(rng.integers(2**31)),), str(rng.choice(objects.names)))
            with contextlib.suppress(InvalidScene):
                cell.reset(scene)
                return

    def step() -> bool:
        nonlocal left
        left -= 1
        turn = np.array([0.0, 0.0, rng.uniform(-0.2, 0.2)])
        action = Action(rng.uniform(-0.025, 0.025, 3), turn, rng.uniform(0.0, robot.gripper.max_opening_m))
        try:
            cell.send_action(action)
            cell.get_observation()
        except InvalidScene:
            return True
        return left == 0

    name = f"{type(cell).__name__} {'with RGB-D' if with_camera else 'without camera'}"
    return Contender(name, 1.0 / cell.control_hz, reset, step, cell.disconnect)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Sends what C prints to nowhere."""
    saved, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)
