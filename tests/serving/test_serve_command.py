"""`simtoreal serve` as a process, its token, and how little a client needs."""

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from serving_rig import TOKEN, CountingPolicy, observation

from simtoreal.config import ConfigError, Device
from simtoreal.contracts import Action, LinkLost
from simtoreal.serving import tokens
from simtoreal.serving.bundle_service import open_bundle
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.command import serve
from simtoreal.serving.messages import observation_message
from simtoreal.serving.remote_controller import RemoteController
from simtoreal.serving.settings import ServeConfig

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """A server process."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process, self.address = process, address


@contextmanager
def serving(*settings: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "simtoreal.cli", "serve", "port=0", *settings]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, bufsize=1
    ) as process:
        try:
            assert process.stdout is not None
            yield Served(process, process.stdout.readline().partition(" on ")[2].partition(";")[0])
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_bundle_is_served_until_the_process_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    with serving(f"out={tmp_path}") as served, RemotePolicy(served.address, deadline_s=5.0) as client:
        client.reset()
        assert client.metadata["name"] == "default"
        action = client.act(observation())
        client.sent(action)
        client.act(observation())
        served.process.send_signal(number)
        assert served.process.wait(10.0) == 0
        assert served.process.stdout is not None
        assert "served 3 requests" in served.process.stdout.read()
        with pytest.raises(LinkLost):
            client.act(observation())
    assert "connected" in (tmp_path / "serve.log").read_text(encoding="utf-8")
    assert "bundle: default" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_a_server_that_is_killed_is_noticed_at_once(tmp_path: Path) -> None:
    with serving(f"out={tmp_path}") as served, RemotePolicy(served.address, deadline_s=30.0) as client:
        client.reset()
        served.process.kill()
        served.process.wait(5.0)
        with pytest.raises(LinkLost):
            client.act(observation())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pybullet", "mujoco"])
def test_a_simulated_cell_is_served(tmp_path: Path, name: str) -> None:
    with serving(f"out={tmp_path}", f"controller={name}") as served:
        robot = RemoteController(served.address, deadline_s=5.0)
        scenes = [robot.reset() for _ in range(2)]
        assert all(scene.rgb is not None and scene.rgb.shape == (64, 64, 3) for scene in scenes)
        assert (scenes[0].rgb != scenes[1].rgb).any()
        robot.disconnect()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10.0) == 0


def test_an_exported_policy_is_served_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of `simtoreal export`, through the function that opens it."""
    folder = tmp_path / "exported"
    shutil.copytree(ROOT / "simtoreal" / "bundles" / "external", folder)
    (folder / "encoder.onnx").write_bytes(b"")
    opened: list[Path] = []
    module = types.ModuleType("simtoreal.policies.exported")
    module.__dict__["load_exported"] = lambda path: opened.append(path) or CountingPolicy()  # type: ignore[func-returns-value]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    service = open_bundle(folder, Device.CPU)
    assert service.metadata["simtoreal/required_keys"][0] == "observation/image"
    assert "observation/depth_m" not in service.metadata["simtoreal/required_keys"]
    message = {**observation_message(observation(depth_m=None)), "simtoreal/sequence": 1}
    assert service.open().answer(message)["actions"][0, 2] == 0.001
    assert set(opened) == {folder}


def test_without_torch_a_trained_bundle_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match="simtoreal export"):
        open_bundle(ROOT / "simtoreal" / "bundles" / "default", Device.CPU)


def write_token(path: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_token_comes_from_a_file_or_else_from_the_environment(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token", TOKEN + "\n")
    assert tokens.read_token(file, {}) == TOKEN
    assert tokens.read_token(file, {tokens.TOKEN_ENV: "another-one-of-some-length"}) == TOKEN
    assert tokens.read_token(None, {tokens.TOKEN_ENV: TOKEN}) == TOKEN
    assert tokens.read_token(None, {}) is None


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (TOKEN, 0o644, "chmod 600"),
        ("short", 0o600, "at least 16 characters"),
        ("", 0o600, "at least 16 characters"),
        ("one two three four five", 0o600, "no spaces"),
        ("ünïcode-ünïcode-ünïcode", 0o600, "cannot be read"),
    ],
)
def test_a_token_that_is_no_secret_is_refused(tmp_path: Path, text: str, mode: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tokens.read_token(write_token(tmp_path / "token", text, mode), {})


def test_a_token_is_compared_whole_and_by_scheme() -> None:
    assert tokens.matches(f"Bearer {TOKEN}", TOKEN)
    assert tokens.matches(f"api-key {TOKEN}", TOKEN)
    for header in (None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN} {TOKEN}", "Bearer ünï"):
        assert not tokens.matches(header, TOKEN)


def test_the_token_is_nowhere_in_what_is_written_or_printed(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token")
    with serving(f"out={tmp_path / 'out'}", f"token_file={file}") as served:
        with RemotePolicy(served.address, token=TOKEN, deadline_s=5.0) as client:
            client.reset()
        with RemotePolicy(served.address, token="wrong-" + TOKEN) as client, pytest.raises(LinkLost):
            client.reset()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10.0) == 0
        assert served.process.stdout is not None
        written = served.process.stdout.read() + "".join(
            path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()
        )
    assert TOKEN not in written


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "there is no token"),
        ({"controller": "pibullet"}, "did you mean 'pybullet'"),
        ({"controller": "pybullet", "safety": "pandda"}, "did you mean 'panda'"),
        ({"token_file": Path("/nowhere/token")}, "cannot be read"),
        ({"tls_cert": Path("/nowhere/cert.pem"), "tls_key": Path("/nowhere/key.pem")}, "cannot be used"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is_loaded(
    tmp_path: Path, settings: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(tokens.TOKEN_ENV, raising=False)
    with pytest.raises(ConfigError, match=words):
        serve(ServeConfig(out=tmp_path, **settings))  # type: ignore[arg-type]


def test_what_a_client_sends_is_held_to_the_limits_of_the_server(tmp_path: Path) -> None:
    limits = {"name": "cell", "workspace_low_m": [0.4, -0.1, 0.2], "workspace_high_m": [0.6, 0.1, 0.5]}
    (tmp_path / "cell.yaml").write_text(yaml.safe_dump({**limits, "max_missed_deadlines": 1000}), encoding="utf-8")
    with serving(f"out={tmp_path}", "controller=fake", f"safety={tmp_path / 'cell.yaml'}") as served:
        robot = RemoteController(served.address, deadline_s=5.0)
        robot.reset()
        lowest_m = 1.0
        for _ in range(40):  # sent raw, without a guard on this side
            robot.send_action(Action(np.array([0.0, 0.0, -0.1]), np.zeros(3), 0.08))
            time.sleep(0.02)
            lowest_m = min(lowest_m, robot.get_observation().T_base_tcp[2, 3])
        assert 0.2 - 1e-3 < lowest_m < 0.21
        with pytest.raises(LinkLost, match="stopped by tilt_rad"):
            [robot.send_action(Action(np.zeros(3), np.array([0.0, 0.2, 0.0]), 0.08)) for _ in range(20)]
        with pytest.raises(LinkLost, match="reset it to go on"):
            robot.send_action(Action(np.zeros(3), np.zeros(3), 0.08))
        robot.reset()
        robot.send_action(Action(np.zeros(3), np.zeros(3), 0.08))
        robot.disconnect()
    assert "stopped by tilt_rad" in (tmp_path / "serve.log").read_text(encoding="utf-8")


def test_a_port_that_is_taken_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port={port} cannot be listened on.* Give another port="):
            serve(ServeConfig(out=tmp_path, port=port))


def test_a_policy_has_no_limits() -> None:
    with pytest.raises(ConfigError, match="safety=panda is for controller=NAME"):
        ServeConfig(safety="panda")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigError, match="belong together"):
        ServeConfig(tls_cert=Path("cert.pem"))


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "simtoreal.serving.command.find_spec", lambda name: None if name == "websockets" else found(name)
    )
    with pytest.raises(ModuleNotFoundError, match=r"needs websockets: pip install 'simtoreal\[serve\]'"):
        serve(ServeConfig(out=tmp_path))


def test_clients_need_numpy_msgpack_and_websockets_and_nothing_else(tmp_path: Path) -> None:
    """A Python without site-packages, but for these three."""
    installed = Path(importlib.import_module("numpy").__file__ or "").parents[1]
    for path in installed.iterdir():
        if path.name in ("numpy", "numpy.libs", "msgpack", "websockets"):
            (tmp_path / path.name).symlink_to(path)
    code = """
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.remote_controller import RemoteController
RemotePolicy("localhost").close()
RemoteController("localhost").disconnect()
"""
    paths = os.pathsep.join((str(tmp_path), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr
