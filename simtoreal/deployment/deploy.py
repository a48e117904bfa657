"""The `deploy` command: connect, check, run, record, and stop safely whatever fails."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from simtoreal.contracts import Controller, Observation, Policy
from simtoreal.controllers.clock import is_simulated, times_of
from simtoreal.controllers.registry import ControllerSettings, find_entry, open_controller
from simtoreal.deployment import checks
from simtoreal.deployment.dry_run import DryRun
from simtoreal.deployment.folder_recorder import MAPPING, FolderRecorder, Mount
from simtoreal.deployment.policy import load_policy, wrapped
from simtoreal.deployment.settings import DeployConfig
from simtoreal.preflight import find_bundle
from simtoreal.progress import Progress
from simtoreal.realtime.cadence import Cadence, cadence
from simtoreal.runtime import Pacer, Step, Subscriber, run_episode
from simtoreal.safety.events import SafetyEvent, SafetyStop
from simtoreal.safety.guard import Guard
from simtoreal.safety.limits import load_limits
from simtoreal.safety.retreat import retreat
from simtoreal.safety.stop_switch import StopSwitch, stop_on_datagram, stop_on_key, stop_on_signals
from simtoreal.safety.watchdog import Watchdog

EXIT_STOPPED = 4  # a limit, a fault or a person stopped the arm
_TOLD_EVERY_S = 0.5
_SIMULATED_ANSWER_S = 5.0  # nobody waits for a policy on another computer while no time passes


@dataclass
class Ending:
    """How an episode ended."""

    success: bool | None = None
    failure: str = ""
    event: SafetyEvent | None = None
    cadence: Cadence | None = None


@dataclass
class Rig:
    """Everything that an episode needs, connected and checked."""

    config: DeployConfig
    controller: Controller
    guard: Guard
    policy: Policy
    progress: Progress
    real_time: bool
    recorder: FolderRecorder | None = None
    dry: DryRun | None = None
    subscribers: list[Subscriber] = field(default_factory=list)


def deploy(config: DeployConfig) -> int:
    """Runs the episodes; returns 4 where the arm was stopped before the last of them was over."""
    progress = Progress()
    entry = find_entry(config.controller)
    limits = load_limits(config.safety or config.robot)
    switch = StopSwitch()
    with ExitStack() as stack:
        stack.enter_context(stop_on_signals(switch))
        stack.enter_context(stop_on_key(switch))
        if config.stop_port is not None:
            stack.enter_context(stop_on_datagram(switch, config.stop_port, config.stop_host))
        controller = open_controller(config.controller, controller_settings(config))
        stack.enter_context(connected(controller, config))
        real_time = not is_simulated(controller)
        dry = None if config.execute else DryRun(controller, simulated=entry.knows_its_camera)
        guard = Guard(dry or controller, limits, switch, times_of(controller), _told(progress))
        stack.callback(guard.stop)
        stack.enter_context(Watchdog(guard))
        bare = load_policy(config, 1.0 / guard.control_hz if real_time else _SIMULATED_ANSWER_S)
        policy = wrapped(bare, config, guard.control_hz, limits, real_time)
        for part in {id(part): part for part in (policy, bare)}.values():
            if hasattr(part, "close"):
                stack.callback(part.close)
        rig = Rig(config, controller, guard, policy, progress, real_time, dry=dry)
        try:
            first = _check(rig, bare, entry.knows_its_camera)
        except SafetyStop as stop:
            remedy = (
                ": find the cause, or where that is how this cell works, copy the limits "
                f"`{limits.name}`, change that one, and give safety=FILE.yaml (docs/safety.md)"
            )
            told = remedy if abs(stop.event.limit) > 0.0 else ""  # a lost link (nan) and a person (0) are no limits
            raise checks.DeploymentRefused(f"{stop}, while it was checked before the first episode{told}") from stop
        return _episodes(rig, first, stack)


def controller_settings(config: DeployConfig) -> ControllerSettings:
    """What the controller of a command is told."""
    return ControllerSettings(
        robot=config.robot,
        address=config.address,
        control_hz=config.control_hz,
        camera=config.camera,
        log=config.log,
        episode=config.episode,
        seed=config.seed,
        objects=config.objects,
        options=config.controller_options,
    )


@contextmanager
def connected(controller: Controller, config: DeployConfig) -> Iterator[None]:
    """A controller that is let go of at the end, also where connecting failed half-way.

    Raises:
        DeploymentRefused: it cannot be reached.
    """
    try:
        controller.connect()
        yield
    except ConnectionError as error:
        where = f" at address={config.address}" if config.address else ""
        raise checks.DeploymentRefused(
            f"controller={config.controller}{where} cannot be reached ({error}): is it switched on, on this network, "
            "released for external control, and not in use by another program?"
        ) from error
    finally:
        controller.disconnect()


def _check(rig: Rig, bare: Policy, knows_its_camera: bool) -> Observation:
    """Everything that is refused before the first motion; the last check moves the arm by 1 cm."""
    config, guard, say = rig.config, rig.guard, rig.progress.say
    controller = rig.dry or rig.controller
    try:
        seen = controller.reset() if knows_its_camera else controller.get_observation()
    except OSError as error:
        raise checks.DeploymentRefused(
            f"controller={config.controller} connects and gives nothing ({error})"
        ) from error
    checks.check_observation(seen)
    checks.check_start(seen, guard.limits)
    if config.policy is None:
        checks.check_bundle(find_bundle(config.bundle), seen, guard.control_hz, guard.limits)
    checks.check_calibration(config.camera, knows_its_camera, config.max_calibration_age_days, seen)
    drift = checks.check_drift(config.camera, seen)
    if drift:
        say(drift)
    if config.held_out is not None:
        settings = ControllerSettings(log=config.held_out)
        off_m = checks.check_replay(bare, open_controller("replay", settings), config.replay_tolerance_m)  # type: ignore[arg-type]
        say(f"held-out log: {1e3 * off_m:.1f} mm per period from what was recorded, in the median")
    seen = guard.reset()
    checks.check_start(seen, guard.limits)
    if config.execute and config.convention_check:
        off_m = checks.check_conventions(guard, seen)
        say(f"convention check: the tool went where it was sent, to {1e3 * off_m:.1f} mm")
        seen = guard.reset()
    return seen


def _episodes(rig: Rig, first: Observation, stack: ExitStack) -> int:
    config, say = rig.config, rig.progress.say
    folder = config.out / "episodes"
    if config.record:
        rig.recorder = FolderRecorder(folder, _mount(first), config.robot, rig.guard.control_hz)
        stack.callback(rig.recorder.close)
        rig.subscribers.append(rig.recorder)
    if rig.dry is not None:
        rig.subscribers.append(_DryTeller(rig))
        say("dry run: nothing moves; add execute=true to move the arm")
    for number in range(config.episodes):
        observation = first if number == 0 else None
        ending = _episode(rig, observation)
        if rig.recorder is not None:
            rig.recorder.finish(ending.success, ending.failure, list(rig.guard.events))
        rig.guard.events.clear()
        say(f"episode {number + 1} of {config.episodes}: {_words(ending)}")
        if ending.event is not None or ending.failure.startswith("error"):
            _offer_import(rig, folder)
            return EXIT_STOPPED
    _offer_import(rig, folder)
    return 0


def _episode(rig: Rig, observation: Observation | None) -> Ending:
    """One episode; a stop is followed by hold, retreat, and the end of the session."""
    guard, ending = rig.guard, Ending()
    num_periods = round(rig.config.episode_s * guard.control_hz)
    pacer = None
    try:
        seen = guard.reset() if observation is None else observation
        pacer = Pacer(guard.control_hz) if rig.real_time else None
        run_episode(
            guard, rig.policy, seen, lambda step: step >= num_periods or _succeeded(rig), rig.subscribers, pacer
        )
        ending.success = getattr(rig.controller, "success", None)
        ending.failure = "" if ending.success in (True, None) else "timed_out"
    except SafetyStop as stop:
        ending.event, ending.failure = stop.event, f"stopped: {stop.event.name}"
    except (OSError, RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        event = SafetyEvent(
            "error", float("nan"), float("nan"), guard.times.now(), True, f"{type(error).__name__}: {error}"
        )
        guard.trip(event)
        ending.event, ending.failure = event, f"error: {error}"
    if ending.event is not None and rig.config.execute:
        back = retreat(guard, ending.event)
        rig.progress.say(f"retreat: {1e3 * back.rise_m:.0f} mm up, {back.ended_by}")
    if pacer is not None:
        ending.cadence = cadence(pacer.lateness_s, pacer.num_missed, pacer.passed_s)
    return ending


class _DryTeller:
    """Prints what would be sent, now and then."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._every = max(round(_TOLD_EVERY_S * rig.guard.control_hz), 1)

    def episode_start(self) -> None:
        """Nothing to prepare."""

    def step(self, step: Step) -> None:
        dry = self._rig.dry
        if dry is not None and dry.would_send is not None and step.index % self._every == 0:
            text = checks.setpoint_text(dry.would_send, step.observation.T_base_tcp)
            self._rig.progress.say(f"{step.index / self._rig.guard.control_hz:6.2f} s: would {text}")

    def episode_end(self) -> None:
        """Nothing to close."""


def _told(progress: Progress) -> Callable[[SafetyEvent], None]:
    """Says when a limit acts: every stop, and a change of the action once per kind and second."""
    last: dict[str, float] = {}

    def tell(event: SafetyEvent) -> None:
        if event.stops or event.t_s - last.get(event.name, -1e9) > 1.0:
            last[event.name] = event.t_s
            progress.say(str(event))

    return tell


def _succeeded(rig: Rig) -> bool:
    over = getattr(rig.controller, "is_over", False)
    return bool(over or (rig.dry is None and getattr(rig.controller, "success", False)))


def _mount(seen: Observation) -> Mount:
    """Where the camera sits, as far as one observation tells: near the tool it is on the wrist."""
    distance = seen.T_base_cam[:3, 3] - seen.T_base_tcp[:3, 3]
    return "wrist" if float(distance @ distance) < 0.25 else "external"


def _words(ending: Ending) -> str:
    outcome = {True: "success", False: "no success", None: "ended"}[ending.success]
    return "; ".join(part for part in (ending.failure or outcome, str(ending.cadence or "")) if part)


def _offer_import(rig: Rig, folder: Path) -> None:
    if rig.recorder is None or rig.recorder.num_frames == 0:
        return
    lost = f", {rig.recorder.num_lost} lost because the disk was slow" if rig.recorder.num_lost else ""
    rig.progress.say(
        f"{folder}: {rig.recorder.num_frames} frames recorded{lost}. As a dataset:\n"
        f"  simtoreal import source={folder} mapping={folder / MAPPING} out={rig.config.out / 'dataset'}"
    )
