"""The settings of `simtoreal serve`."""

from dataclasses import dataclass
from pathlib import Path

from simtoreal.config import Device
from simtoreal.schema import ConfigError, option


@dataclass(frozen=True)
class ServeConfig:
    """Serve a policy to a robot on another computer, or a robot to a policy on another.

    The token comes from the file token_file, or from the variable SIMTOREAL_TOKEN, and is no setting itself.

    Raises:
        ConfigError: a certificate without its key, or the other way round; limits without a controller.
    """

    bundle: str = option("default", "policy to serve: a shipped bundle, or a folder")
    controller: str | None = option(None, "serve this controller instead of a policy: pybullet, mujoco, or FILE.yaml")
    robot: str = option("panda", "arm and gripper of the controller: a shipped robot, or a YAML file", file="robot")
    safety: str | None = option(
        None,
        "limits that a served controller is held to: a shipped robot's, or a YAML file; null is those of the robot",
        file="safety",
    )
    host: str = option("127.0.0.1", "address to listen on; any other than this computer's own needs a token")
    port: int = option(8000, "port to listen on; 0 is any that is free", minimum=0, maximum=65535)
    token_file: Path | None = option(None, "file with the token that clients have to show, readable by its owner only")
    tls_cert: Path | None = option(None, "certificate of this computer, PEM, for wss://")
    tls_key: Path | None = option(None, "private key of the certificate, PEM")
    max_clients: int = option(4, "policies served at a time; a controller has one client", minimum=1, maximum=64)
    max_message_mb: float = option(16.0, "largest message that is read", unit="MB", minimum=0.1, maximum=512.0)
    silence_s: float = option(
        0.5, "a controller whose client says nothing for so long after an action is stopped", unit="s",
        minimum=0.05, maximum=10.0,
    )  # fmt: skip
    device: Device = option(Device.CPU, "where networks run")
    out: Path = option(Path("runs/serve"), "folder of the log and the resolved settings")

    def __post_init__(self) -> None:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ConfigError("tls_cert and tls_key belong together: give both, or neither")
        if self.safety is not None and self.controller is None:
            raise ConfigError(f"safety={self.safety} is for controller=NAME: a policy has no limits, leave it out")
