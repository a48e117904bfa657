"""The settings of `simtoreal deploy`."""

from dataclasses import dataclass
from pathlib import Path

from simtoreal.config import MAX_SEED
from simtoreal.schema import ConfigError, option


@dataclass(frozen=True)
class DeployConfig:
    """Run a policy on a controller: a dry run unless execute=true, recorded, with a safe stop whatever fails.

    Raises:
        ConfigError: two settings exclude one another.
    """

    bundle: str = option("default", "policy: a shipped bundle, a folder, or an exported folder with encoder.onnx")
    policy: str | None = option(None, "address of a policy server, ws://HOST:PORT, instead of the bundle's own network")
    token_file: Path | None = option(None, "file with the token of that server; null is the variable SIMTOREAL_TOKEN")
    controller: str = option(
        "fake", "who is commanded: fake, replay, pybullet, mujoco, remote, or FILE.yaml of your hardware"
    )
    address: str | None = option(None, "address of the robot, where the controller needs one")
    log: Path | None = option(None, "dataset that controller=replay answers from")
    episode: int = option(0, "episode of that dataset", minimum=0, maximum=100_000_000)
    objects: str = option("random_test", "objects of controller=pybullet and mujoco")
    controller_options: tuple[str, ...] = option((), "KEY=VALUE settings of the controller alone")
    execute: bool = option(False, "really move; false observes and prints what would be sent")
    episodes: int = option(1, "episodes to run", minimum=1, maximum=100_000)
    episode_s: float = option(12.0, "longest episode", unit="s", minimum=0.1, maximum=3600.0)
    robot: str = option("panda", "arm and gripper: a shipped robot, or a YAML file", file="robot")
    safety: str | None = option(
        None, "safety limits: a shipped robot's, or a YAML file; null is those of the robot", file="safety"
    )
    control_hz: float | None = option(
        None, "control rate; null is the controller's own", unit="Hz", minimum=1.0, maximum=1000.0
    )
    camera: Path | None = option(None, "camera.yaml of a calibration; a real camera needs it")
    max_calibration_age_days: float = option(
        30.0, "older calibrations are refused", unit="days", minimum=0.01, maximum=3650.0
    )
    identified: Path | None = option(None, "identified.yaml, which holds the latency of the loop")
    latency_s: float | None = option(
        None, "latency to compensate, instead of the identified one; 0 switches it off", unit="s", minimum=0, maximum=1
    )
    smoothing_s: float = option(0.0, "time constant of action smoothing; 0 is none", unit="s", minimum=0.0, maximum=1.0)
    asynchronous: bool = option(True, "think in another thread, so that the loop never waits for a slow policy")
    convention_check: bool = option(True, "with execute=true: move 1 cm first and see that the arm goes there")
    held_out: Path | None = option(None, "dataset whose recorded actions the policy must come near before it may move")
    replay_tolerance_m: float = option(
        0.02, "median distance to the recorded motion per period, at most", unit="m", minimum=1e-4, maximum=0.2
    )
    stop_port: int | None = option(
        None, "UDP port on which the datagram `stop` stops the arm", minimum=1, maximum=65_535
    )
    stop_host: str = option("127.0.0.1", "address that stop_port listens on")
    record: bool = option(True, "record every episode as pictures and CSV, which `simtoreal import` reads")
    seed: int = option(0, "seed of simulated controllers", minimum=0, maximum=MAX_SEED)
    out: Path = option(Path("runs/deploy"), "run folder")

    def __post_init__(self) -> None:
        if self.controller == "replay" and self.execute:
            raise ConfigError("controller=replay cannot be moved: leave out execute=true")
        if self.identified is not None and self.latency_s is not None:
            raise ConfigError("identified=FILE and latency_s=S both say what the latency is: give one of them")
        if self.token_file is not None and self.policy is None:
            raise ConfigError("token_file is for policy=ws://...: give both, or neither")
