"""Shows that the real openpi-client talks to a policy server of this package.

openpi-client wants numpy below 2, so it gets a throw-away environment (half a minute, removed again). A server of the
shipped bundle runs here; the client connects with a token, asks for actions as openpi's own loop does, and is told of a
missing key.

    python scripts/check_openpi.py
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

VERSION = "0.1.2"
PACKAGES = ("numpy<2", "msgpack", "websockets", "typing_extensions")  # what its client imports; dm-tree and pillow not
# Runs in the other environment, with nothing of this package.
PROGRAM = """
import sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
host, port, token = sys.argv[1:]
client = WebsocketClientPolicy(host, int(port), api_key=token)
print("metadata:", client.get_server_metadata())
message = {
    "observation/wrist_image": np.full((64, 64, 3), 90, np.uint8),
    "observation/depth_m": np.full((64, 64), 0.4, np.float32),
    "observation/K": np.array([[55.4, 0, 31.5], [0, 55.4, 31.5], [0, 0, 1]]),
    "observation/T_base_cam": np.array([[1, 0, 0, 0.5], [0, -1, 0, 0], [0, 0, -1, 0.4], [0, 0, 0, 1.0]]),
    "observation/state": np.array([0.5, 0, 0.35, np.pi, 0, 0, 0.08], np.float32),
    "prompt": "grasp it",
}
for _ in range(20):
    answer = client.infer(message)
    assert answer["actions"].shape == (1, 7), answer
    assert np.isfinite(answer["actions"]).all(), answer
print("actions:", answer["actions"], answer["server_timing"])
del message["observation/K"]
try:
    client.infer(message)
except RuntimeError as error:
    assert "observation/K is missing" in str(error), error
    print("a missing key:", error)
else:
    raise AssertionError("a missing key was not refused")
"""


def main() -> int:
    """Builds the environment, serves, asks."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    token = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="simtoreal-openpi-") as scratch:
        environment = Path(scratch) / "environment"
        venv.create(environment, with_pip=True)
        install = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *PACKAGES], check=True)
        subprocess.run([*install, "--no-deps", f"openpi-client=={VERSION}"], check=True)
        command = [sys.executable, "-m", "simtoreal.cli", "serve", "port=0", f"out={scratch}/out"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SIMTOREAL_TOKEN": token}
        ) as server:
            try:
                assert server.stdout is not None
                port = server.stdout.readline().partition(";")[0].rpartition(":")[2]
                client = [environment / "bin" / "python", "-c", PROGRAM, "localhost", port, token]
                # Not in this folder: the other environment must not see this package.
                done = subprocess.run(client, check=False, cwd=scratch, env={"PATH": os.environ["PATH"]})
            finally:
                server.terminate()
    print(f"openpi-client {VERSION}: {'works' if done.returncode == 0 else 'FAILED'}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
