"""Fault injection on the fake: what the guard lets through, how soon it stops, and what is left of the recordings.

Episodes run in the fake's virtual time, with a watchdog that looks every 5 ms of it; a wild policy asks for more than
any limit allows. One fault, at a random moment, per episode. A judge that shares no code with the guard looks at
every command that leaves it and at the setpoint that the arm has then. A second, smaller part runs in real time:
threads, signals, `kill -9`.

Faults of the network (network_faults.py: a killed and a silent server, garbage and oversized messages, a wrong token)
run in real time too, with a policy behind a server.

python benchmarks/faults.py            # 2,000 episodes
python benchmarks/faults.py --quick    # 100
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from fault_judge import CONTROL_HZ, EPISODE_STEPS, SLACK, Judge, Verdict, WildPolicy, judge
from network_faults import NETWORK_KINDS, run_over_network
from record import Row, save

from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake import FakeController
from simtoreal.controllers.faults import Fault, FaultKind, FaultyController
from simtoreal.deployment.folder_recorder import FolderRecorder
from simtoreal.progress import Progress
from simtoreal.runtime import run_episode
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import SafetyLimits, load_limits
from simtoreal.safety.retreat import retreat
from simtoreal.safety.stop_switch import StopSwitch

MAX_STOP_S = 0.2
SLOW_POLICY, OPERATOR, NAN_ACTION = "slow_policy", "operator_stop", "nan_action"
HARMLESS = {FaultKind.DROPPED_ACTION}  # one lost packet stops nothing, and must not
BY_DISTANCE = {FaultKind.FROZEN_CAMERA, FaultKind.MILLIMETRES}
KINDS: list[str] = [*(kind.value for kind in FaultKind), SLOW_POLICY, OPERATOR, NAN_ACTION]


def run_one(number: int, limits: SafetyLimits, folder: Path | None) -> Verdict:
    """One episode in virtual time."""
    rng = np.random.default_rng((7, number))
    kind = KINDS[number % len(KINDS)]
    clock, at_step = VirtualClock(), int(rng.integers(2, EPISODE_STEPS - 12))
    fake = FakeController(rng, clock=clock)
    lasts = 1 if kind == FaultKind.DROPPED_ACTION else 1_000_000
    is_controllers = kind in {fault.value for fault in FaultKind}
    fault = Fault(FaultKind(kind), at_step, lasts, float(rng.uniform(0.3, 2.0))) if is_controllers else None
    faulty = FaultyController(fake, fault, clock.sleep)
    arm = Judge(faulty, fake, clock)
    switch = StopSwitch(clock.now)
    guard = Guard(arm, limits, switch, TimeSource(clock.now, lambda _: None))
    clock.on_tick.append(guard.poll)
    policy = WildPolicy(rng, clock, at_step if kind == SLOW_POLICY else -1, at_step if kind == NAN_ACTION else -1)
    pressed_s = at_step / CONTROL_HZ + float(rng.uniform(0.0, 0.05))
    if kind == OPERATOR:
        clock.on_tick.append(lambda: switch.press("key") if clock.now() >= pressed_s else None)
    verdict = Verdict(kind)
    recorder = FolderRecorder(folder, "wrist", "fake", CONTROL_HZ) if folder is not None else None
    event = None
    try:
        run_episode(guard, policy, guard.reset(), lambda step: step >= EPISODE_STEPS, [recorder] if recorder else [])
    except SafetyStop as stop:
        event, verdict.stopped_by = stop.event, stop.event.name
    except ValueError:
        verdict.stopped_by = "non_finite_action"
    num_before, stopped_s = len(arm.commands), arm.holds_s[0] if arm.holds_s else clock.now()
    outside = judge(arm.commands, limits, (False, stopped_s))
    if verdict.stopped_by:
        retreat(guard, event)
    retreated = arm.commands[num_before:]
    low = [
        action
        for _, action, _ in retreated
        if np.linalg.norm(action.delta_m) > limits.retreat_speed_m_s / CONTROL_HZ + SLACK
    ]
    verdict.outside = [*outside, *judge(retreated, limits, (True, 0.0)), *["retreat too fast" for _ in low]]
    verdict.num_commands = len(arm.commands)
    began_s = {SLOW_POLICY: policy.began_s, NAN_ACTION: policy.began_s, OPERATOR: switch.pressed_s}.get(
        kind, faulty.began_s
    )
    if verdict.stopped_by and began_s is not None:
        verdict.stop_s = min((t_s for t_s in arm.holds_s if t_s >= began_s - SLACK), default=np.inf) - began_s
    if recorder is not None:
        recorder.finish(None, verdict.stopped_by, list(guard.events))
        recorder.close()
        verdict.num_lost = recorder.num_frames + recorder.num_lost - _num_whole(folder, recorder.episode - 1)
    return verdict


def _num_whole(folder: Path | None, episode: int) -> int:
    assert folder is not None
    with (folder / "frames.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["episode"] == str(episode)]
    return sum((folder / row["rgb"]).stat().st_size > 0 and (folder / row["depth"]).stat().st_size > 0 for row in rows)


REAL = """
import sys, time
from simtoreal import cli
from simtoreal.deployment import deploy
from simtoreal.controllers.fake import FakeController
from simtoreal.contracts import Action
import numpy as np
class Swing:
    def reset(self): self.i = 0
    def act(self, seen):
        self.i += 1
        if {hang} and self.i > 20: time.sleep(5)
        return Action(np.array([0.01 * np.cos(self.i / 5), 0.0, 0.0]), np.zeros(3), 0.08)
    def sent(self, action): pass
deploy.load_policy = lambda config, hz: Swing()
FakeController.stop = lambda self: print("held", time.monotonic(), flush=True)
settings = ["execute=true", "episode_s=60", "convention_check=false", "asynchronous={asynchronous}", "out={out}"]
sys.exit(cli.main(["deploy", *settings]))
"""


def run_real(number: int, out: Path) -> Verdict:
    """The command itself, in real time: Ctrl-C, SIGTERM, a policy that hangs, `kill -9`."""
    rng = np.random.default_rng((8, number))
    kind = ("SIGINT", "SIGTERM", "SIGKILL", "hanging policy, SIGTERM")[number % 4]
    hangs = kind.startswith("hanging")
    code = REAL.format(hang=hangs, asynchronous="false" if hangs or number % 8 < 4 else "true", out=out)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    table = out / "episodes" / "frames.csv"
    num_rows = 20 if hangs else int(rng.integers(4, 30))
    until_s = time.monotonic() + 60.0
    while time.monotonic() < until_s and (not table.exists() or table.read_bytes().count(b"\n") < num_rows):
        time.sleep(0.005)
    time.sleep(float(rng.uniform(0.0, 0.05)))
    seen = table.read_bytes().count(b"\n") - 1
    sent_s = time.monotonic()
    process.send_signal(signal.SIGKILL if kind == "SIGKILL" else signal.SIGINT if kind == "SIGINT" else signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    verdict = Verdict(kind, num_commands=seen, stopped_by=kind)
    held = [float(line.split()[1]) for line in text.splitlines() if line.startswith("held")]
    if kind != "SIGKILL":
        after = [t_s for t_s in held if t_s >= sent_s]
        # A loop that hangs is held by its silence, perhaps before the signal came.
        verdict.stop_s = min(after, default=np.inf) - sent_s if not (hangs and held and held[0] < sent_s) else 0.0
    verdict.num_lost = max(seen - _num_whole(out / "episodes", 0), 0)
    return verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    num_virtual, num_real, num_network = (100, 4, 6) if quick else (2000, 24, 60)
    limits, progress = load_limits("panda"), Progress()
    found: list[Verdict] = []
    with tempfile.TemporaryDirectory() as folder, progress.task("faults", num_virtual + num_real + num_network) as bar:
        for number in range(num_virtual):
            # Pictures of every tenth episode go through the files: that is what takes the time.
            found.append(run_one(number, limits, Path(folder) / f"{number:05d}" if number % 10 == 0 else None))
            bar.advance()
        real = []
        for number in range(num_real):
            real.append(run_real(number, Path(folder) / f"real{number}"))
            bar.advance()
        network = []
        for number in range(num_network):
            network.append(run_over_network(number, limits))
            bar.advance()
    save("faults", [*rows(found, real, num_virtual), *network_rows(network)], quick)


def rows(found: list[Verdict], real: list[Verdict], num_virtual: int) -> list[Row]:
    outside = Counter(name for verdict in found for name in verdict.outside)
    num_commands = sum(verdict.num_commands for verdict in found)
    faults = [verdict for verdict in found if verdict.kind not in HARMLESS]
    missed = Counter(verdict.kind for verdict in faults if not verdict.stopped_by)
    timed = [v.stop_s for v in faults if v.stop_s is not None]
    late = [
        (v.kind, v.stopped_by, round(v.stop_s, 3))
        for v in faults
        if v.stop_s is not None and v.stop_s > MAX_STOP_S + SLACK
    ]
    lost = sum(verdict.num_lost for verdict in [*found, *real])
    real_s = [verdict.stop_s for verdict in real if verdict.stop_s is not None]
    slowest = {kind: max((v.stop_s or 0.0 for v in faults if v.kind == kind), default=0.0) for kind in KINDS}
    outside_text = f"{sum(outside.values())} of {num_commands}"
    missed_text = f"{sum(missed.values())} of {len(faults)}"
    late_text = f"{1e3 * max(timed):.0f} ms, {len(late)} of {len(timed)} later"
    numbers = {"late": late[:50], "slowest_s": slowest}
    what = f"from a signal to the hold, slowest, real time, {len(real_s)} runs"
    recorded = {"episodes_recorded": len(range(0, num_virtual, 10)) + len(real)}
    return [
        Row(f"commands outside the limits, {num_virtual} episodes", outside_text, "0", not outside, dict(outside)),
        Row("faults that did not stop the arm", missed_text, "0", not missed, dict(missed)),
        Row("from a fault to the hold, slowest, virtual time", late_text, "200 ms", not late, numbers),
        Row(what, f"{1e3 * max(real_s):.0f} ms", "200 ms", max(real_s) <= MAX_STOP_S, {"stop_s": real_s}),
        Row("recorded frames lost, also at kill -9", str(lost), "0", lost == 0, recorded),
    ]


def network_rows(found: list[Verdict]) -> list[Row]:
    wrong = Counter(name for verdict in found for name in verdict.outside)
    missed = Counter(verdict.kind for verdict in found if not verdict.stopped_by)
    times = {kind: [v.stop_s for v in found if v.kind == kind and v.stop_s is not None] for kind in NETWORK_KINDS}
    slowest = max((s for stops in times.values() for s in stops), default=0.0)
    num_commands = sum(verdict.num_commands for verdict in found)
    what = f"faults of the network, {len(found)} episodes in real time: "
    return [
        Row(f"{what}commands outside", f"{sum(wrong.values())} of {num_commands}", "0", not wrong, dict(wrong)),
        Row(f"{what}not stopped", f"{sum(missed.values())}", "0", not missed, dict(missed)),
        Row(f"{what}slowest hold", f"{1e3 * slowest:.0f} ms", "200 ms", slowest <= MAX_STOP_S, times),
    ]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
