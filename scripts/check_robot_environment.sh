#!/usr/bin/env bash
# The robot's computer, from nothing: an environment with what robot-requirements.txt lists, and an exported policy that
# runs in it through an episode. Prints time and memory. Usage, where `simtoreal` is the whole installation:
#
#   scripts/check_robot_environment.sh [max_memory_mb]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD
max_memory_mb=${1:-150}
work=$(mktemp -d "${TMPDIR:-/tmp}/simtoreal-robot.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "export, in the whole installation"
# Few frames: whether the figures of a proof are met is not the question here.
simtoreal export bundle=default precision=int8 frames=8 n=0 workers=1 out="$work/export" \
    max_position_m=1 max_angle_rad=3 max_quality=1 max_step_s=1 >"$work/export.log" 2>&1 ||
    { cat "$work/export.log"; exit 1; }

echo "install, as docs/exporting.md says"
# From a copy: building in the checkout would leave a folder build/ behind.
mkdir "$work/source"
tar --exclude=./.git --exclude=./build --exclude=./runs --exclude='*.egg-info' -cf - . | tar -xf - -C "$work/source"
python3 -m venv "$work/robot"
(cd "$work/source" && "$work/robot/bin/pip" install --quiet --no-deps -r robot-requirements.txt .)

unset PYTHONPATH
cd "$work"
robot=$work/robot/bin
"$robot/simtoreal" --help >/dev/null
"$robot/simtoreal" export --help >/dev/null
"$robot/python" - "$repository" <<'PYTHON'
import importlib.util
import sys

import simtoreal

assert not simtoreal.__file__.startswith(sys.argv[1]), f"the checkout is used: {simtoreal.__file__}"
for name in ("torch", "pybullet", "stable_baselines3", "gymnasium", "numba", "scipy", "pyarrow", "av", "mujoco", "trimesh"):
    assert importlib.util.find_spec(name) is None, f"{name} is installed, and must not be"
PYTHON
if "$robot/simtoreal" evaluate out=evaluation 2>message.txt; then
    echo "evaluate cannot have worked here"; exit 1
fi
grep -q "pip install" message.txt || { cat message.txt; exit 1; }

echo "an episode on the fake arm, as simtoreal deploy runs it"
"$robot/simtoreal" deploy bundle="$work/export" controller=fake execute=true out=deployed >deploy.log 2>&1 ||
    { cat deploy.log; exit 1; }
test -s "$(find deployed -name 'episodes.csv' | head -n 1)" || { cat deploy.log; exit 1; }

echo "the same policy on recorded pictures: time and memory"
"$robot/python" -m simtoreal.export.trial "$work/export" "$work/export/proof/observations.npz" >trial.json
"$robot/python" - "$max_memory_mb" <<'PYTHON'
import json
import pathlib
import sys

trial = json.loads(pathlib.Path("trial.json").read_text())
ms = {name: f"{1e3 * trial['processor_s'][name]:.2f} ms" for name in ("p50", "p99")}
print(f"image to action: median {ms['p50']}, 99th percentile {ms['p99']} of processor time, n = {trial['num_looks']}")
print(f"memory: {trial['peak_memory_mb']} MB at most")
assert trial["num_looks"] > 0, "the policy has looked at nothing"
assert not trial["foreign"], f"{trial['foreign']} were loaded"
assert trial["peak_memory_mb"] <= float(sys.argv[1]), f"more than {sys.argv[1]} MB"
PYTHON
