"""The policy that is deployed: exported and torch-free, on a server, or the bundle's own network."""

from pathlib import Path

from simtoreal.contracts import Policy
from simtoreal.deployment.settings import DeployConfig
from simtoreal.identified import load_identified
from simtoreal.policies.export_contract import GRAPH_FILE
from simtoreal.preflight import find_bundle
from simtoreal.realtime.asynchronous import AsynchronousPolicy
from simtoreal.realtime.latency import LatencyCompensation
from simtoreal.realtime.smoothing import SmoothActions
from simtoreal.safety.limits import SafetyLimits
from simtoreal.schema import ConfigError

_PATIENCE = 0.6  # of a period that the loop waits for the answer to the observation of this period
_GIVE_UP_S = 1.0


def load_policy(config: DeployConfig, answer_s: float) -> Policy:
    """What `bundle` or `policy` names. Packages that are large or extras are imported here and not before.

    Args:
        config: of the session.
        answer_s: within which a policy on another computer has to answer.

    Raises:
        ConfigError: there is no such bundle, or the address is no websocket's.
        ModuleNotFoundError: it needs a package that is not installed; says what to do.
    """
    if config.policy is not None:
        return _remote(config, answer_s)
    folder = find_bundle(config.bundle)
    if (folder / GRAPH_FILE).is_file():
        return _exported(folder)
    try:
        from simtoreal.policies.load import make_policy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"bundle={config.bundle} runs in torch, and {error.name} is not installed here: export it where it is "
            f"(simtoreal export), copy the folder with {GRAPH_FILE}, or give policy=ws://HOST:PORT"
        ) from error
    from simtoreal.bundle import load_bundle

    return make_policy(load_bundle(folder))


def wrapped(policy: Policy, config: DeployConfig, control_hz: float, limits: SafetyLimits, real_time: bool) -> Policy:
    """The policy with what the loop adds to it, from the inside to the outside: latency, smoothing, its own thread."""
    latency_s = config.latency_s
    if config.identified is not None:
        latency_s = _identified_latency_s(config.identified)
    if latency_s:
        policy = LatencyCompensation(policy, latency_s, control_hz)
    if config.smoothing_s > 0.0:
        policy = SmoothActions(policy, config.smoothing_s, control_hz)
    if config.asynchronous and real_time:
        policy = AsynchronousPolicy(policy, _PATIENCE / control_hz, limits.max_action_age_s, _GIVE_UP_S)
    return policy


def _identified_latency_s(path: Path) -> float:
    latency_s = load_identified(path).round_trip_s
    if latency_s is None:
        raise ConfigError(
            f"identified={path} does not know the latency: identify from more episodes, or give latency_s=S"
        )
    return max(latency_s, 0.0)  # the mean of a posterior around none may lie below


def _remote(config: DeployConfig, deadline_s: float) -> Policy:
    assert config.policy is not None
    if not config.policy.startswith(("ws://", "wss://")):
        raise ConfigError(f"policy={config.policy} must be ws://HOST:PORT or wss://HOST:PORT")
    try:
        from simtoreal.serving.client import RemotePolicy
        from simtoreal.serving.tokens import read_token
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"policy={config.policy} needs {error.name}: pip install 'simtoreal[serve]'"
        ) from error
    return RemotePolicy(config.policy, read_token(config.token_file), deadline_s)


def _exported(folder: Path) -> Policy:
    from simtoreal.policies.exported import load_exported

    return load_exported(folder)
