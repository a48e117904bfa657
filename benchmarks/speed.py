"""How fast the simulator and the policy are, on one core, beside panda-gym in the same run.

    python benchmarks/speed.py [--quick] [--bundle default]      (pip install -e '.[benchmarks]')

What is compared, and how it is kept fair:
- One process, bound to one core; every library is told to use one thread. Processor time counts, not waiting.
- The contenders take many short turns (A B C A B C ...), so that whatever else the machine does meets all of them.
  Ratios are taken within a round, and the median over rounds is reported with the range.
- All act at random, uniformly in their action space. Steps are timed; resets are timed apart and reported beside.
- With images: `simtoreal/GraspCamera-v0` delivers a 64 x 64 RGB-D frame with sensor errors in every control step, in
  the `default` randomization; panda-gym renders 64 x 64 RGB with TinyRenderer in every control step.
- `MujocoCell` delivers a 64 x 64 RGB-D frame of a cluttered table with shadows, lens and sensor errors in every control
  step, in `reality=default`, with the software renderer on the same core.
- Without images the control periods differ (0.05 s here, 0.04 s there), so simulated seconds per second are compared.

The policy is timed on the observations of whole episodes: from image to action, as the control loop sees it. That is
wall time: on a busy machine it says how busy the machine is. Memory is that of worker processes as evaluation and
control training start them.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
import contextlib  # noqa: E402
import multiprocessing  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from contenders import IMAGE_PX, Contender, bare_cell, ours, panda_gym  # noqa: E402
from record import Row, save  # noqa: E402

# Everything else is imported where it is needed: spawned workers import this file, and their memory is measured.

TARGET_CAMERA, TARGET_STATE, TARGET_SECOND_WORLD = 10.0, 1.5, 4.0
TARGET_POLICY_MS, TARGET_WORKER_MB = 5.0, 600.0


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    slice_s: float
    policy_episodes: int
    worker_episodes: int


FULL = Effort(rounds=33, slice_s=1.5, policy_episodes=30, worker_episodes=60)
QUICK = Effort(rounds=9, slice_s=0.5, policy_episodes=3, worker_episodes=3)


def race(contenders: Sequence[Contender], effort: Effort) -> None:
    """Lets all take turns; the first turn of each compiles kernels and fills caches, and is forgotten."""
    for contender in contenders:
        contender.run(effort.slice_s)
        contender.rates.clear()
    for _ in range(effort.rounds):
        for contender in contenders:
            contender.run(effort.slice_s)
    for contender in contenders:
        contender.close()


def simulator_rows(effort: Effort) -> list[Row]:
    camera, state = ours("simtoreal/GraspCamera-v0"), ours("simtoreal/GraspState-v0")
    cell_camera, cell = bare_cell(with_camera=True), bare_cell(with_camera=False)
    second = bare_cell(with_camera=True, world="mujoco")
    peer_camera, peer = panda_gym(look=True), panda_gym(look=False)
    race([camera, peer_camera, state, peer, cell_camera, cell, second], effort)
    rows = [
        _ratio_row("with images", camera, peer_camera, TARGET_CAMERA, per_simulated_second=False),
        _ratio_row("with images", cell_camera, peer_camera, None, per_simulated_second=False),
        _ratio_row("with images", second, peer_camera, TARGET_SECOND_WORLD, per_simulated_second=False),
        _ratio_row("without images", state, peer, TARGET_STATE, per_simulated_second=True),
        _ratio_row("without images", cell, peer, None, per_simulated_second=True),
    ]
    return rows


def _ratio_row(
    what: str, contender: Contender, peer: Contender, target: float | None, per_simulated_second: bool
) -> Row:
    scale = contender.period_s / peer.period_s if per_simulated_second else 1.0
    ratios = [scale * a.steps_per_s / b.steps_per_s for a, b in zip(contender.rates, peer.rates, strict=True)]
    ratio = statistics.median(ratios)
    with_resets = scale * contender.median("steps_per_s_with_resets") / peer.median("steps_per_s_with_resets")
    speeds = f"{contender.median():.0f} against {peer.median():.0f} control steps/s"
    if per_simulated_second:
        ours_s, theirs_s = contender.median() * contender.period_s, peer.median() * peer.period_s
        speeds = f"{ours_s:.1f} against {theirs_s:.1f} simulated s/s"
    return Row(
        f"{contender.name} against {peer.name}, one core",
        f"{ratio:.1f} x ({min(ratios):.1f} to {max(ratios):.1f}; {speeds}; resets counted, {with_resets:.1f} x)",
        "" if target is None else f"{target:g} x",
        None if target is None else ratio >= target,
        {
            "kind": what,
            "ratio": ratio,
            "ratios": ratios,
            "ratio_with_resets": with_resets,
            "steps_per_s": contender.median(),
            "steps_per_s_with_resets": contender.median("steps_per_s_with_resets"),
            "peer_steps_per_s": peer.median(),
            "peer_steps_per_s_with_resets": peer.median("steps_per_s_with_resets"),
            "control_period_s": [contender.period_s, peer.period_s],
        },
    )


# --- the policy


def policy_row(bundle: Path, effort: Effort) -> Row:
    """Image to action, over the control periods of real episodes; the first episode warms up."""
    import numpy as np

    from simtoreal.evaluation.arena import Arena, Job

    arena = Arena(_arena_spec(bundle))
    names = arena.objects.names
    times = [arena.run(Job("policy", i, names[i % len(names)])).policy_s for i in range(effort.policy_episodes + 1)]
    arena.close()
    steps_ms = 1e3 * np.concatenate(times[1:])
    p50, p99 = (float(value) for value in np.percentile(steps_ms, [50, 99]))
    return Row(
        "policy step, image to action, one core",
        f"99th percentile {p99:.1f} ms, median {p50:.1f} ms (n = {len(steps_ms)})",
        f"{TARGET_POLICY_MS:g} ms",
        p99 <= TARGET_POLICY_MS,
        {"p50_ms": p50, "p99_ms": p99, "num_steps": len(steps_ms), "bundle": bundle.name},
    )


def _arena_spec(bundle: Path) -> Any:
    from simtoreal.envs.assets import default_cache_dir
    from simtoreal.envs.randomization import load_randomization
    from simtoreal.evaluation.arena import ArenaSpec

    return ArenaSpec(
        bundle=bundle,
        objects="random_test",
        randomization=load_randomization("default").to_plain(),
        robot="panda",
        seed=0,
        cache_dir=default_cache_dir(),
    )


@contextlib.contextmanager
def some_bundle(name: str) -> Iterator[Path]:
    """The bundle of that name; where it is not there, one that has learned nothing, which takes the same time."""
    from simtoreal.config import ConfigError
    from simtoreal.preflight import find_bundle

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = find_bundle(name)
        except ConfigError:
            found = Path(folder) / "untrained"
            _write_untrained(found)
            print(f"bundle={name} is not there: an untrained one is timed instead")
        yield found


def _write_untrained(folder: Path) -> None:
    from dataclasses import asdict

    from simtoreal.bundle import Bundle, save_bundle
    from simtoreal.camera_record import CameraRecord
    from simtoreal.envs.camera_setup import CameraSetup
    from simtoreal.head_interface import HeadScale
    from simtoreal.perception_error import PerceptionError
    from simtoreal.policies.encoders import EncoderSpec, build_encoder
    from simtoreal.policies.load import encoder_weights
    from simtoreal.policies.parts import view_record
    from simtoreal.policies.view import ViewSpec

    spec = EncoderSpec()
    camera = CameraRecord("wrist", "rgbd", CameraSetup.default("wrist", IMAGE_PX).model)
    weights = encoder_weights(build_encoder(spec))
    view = view_record(ViewSpec())
    save_bundle(Bundle(asdict(spec), view, "servo", HeadScale(), PerceptionError(), camera, weights), folder)


# --- memory


def memory_rows(bundle: Path, effort: Effort) -> list[Row]:
    """Peak and final memory of one worker of each kind that runs a simulator."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for what, target in (("evaluation", _evaluation_worker), ("control training", _training_worker)):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=target, args=(send, bundle, effort.worker_episodes))
        process.start()
        send.close()
        memory = receive.recv()
        process.join()
        rows.append(
            Row(
                f"memory of one worker, {what}",
                f"{memory['peak_rss_mb']:.0f} MB at its peak ({memory['uss_mb']:.0f} MB not shared with others)",
                f"{TARGET_WORKER_MB:g} MB",
                memory["peak_rss_mb"] <= TARGET_WORKER_MB,
                memory,
            )
        )
    return rows


def _evaluation_worker(pipe: Any, bundle: Path, num_episodes: int) -> None:
    from simtoreal.evaluation.arena import Arena, Job

    arena = Arena(_arena_spec(bundle))
    names = arena.objects.names
    for i in range(num_episodes):
        for arm in ("policy", "oracle", "random"):
            arena.run(Job(arm, i, names[i % len(names)]))
    pipe.send(_memory())


def _training_worker(pipe: Any, _: Path, num_episodes: int) -> None:
    from simtoreal.pretraining import control  # noqa: F401 - what its workers import, torch and all

    env = ours("simtoreal/GraspState-v0")
    for _episode in range(num_episodes):
        env.reset()
        while not env.step():
            pass
    pipe.send(_memory())


def _memory() -> dict[str, float]:
    import psutil

    now = psutil.Process().memory_full_info()
    # Not getrusage: a new process inherits the peak of the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak_kib = next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), now.rss // 1024)
    return {"rss_mb": now.rss / 1e6, "uss_mb": now.uss / 1e6, "peak_rss_mb": 1024 * peak_kib / 1e6}


# --- running


def bind_to_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Measures, writes benchmarks/results/speed.json and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it works; not a figure")
    parser.add_argument("--bundle", default="default", help="bundle whose policy is timed")
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    load = os.getloadavg()[0]
    if load > 1.0:
        print(f"the load of this machine is {load:.1f}: figures taken now will be worse than they should be")
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    with some_bundle(arguments.bundle) as bundle:
        bind_to_one_core()
        rows = [*simulator_rows(effort), policy_row(bundle, effort), *memory_rows(bundle, effort)]
    if cores:
        os.sched_setaffinity(0, cores)  # the record says what the machine has, not what was used
    rows.append(Row("load of the machine before", f"{load:.2f}", numbers={"load": load}))
    save("speed", rows, arguments.quick)


if __name__ == "__main__":
    main()
