"""Where a run comes from: its settings, the code, the versions, the command and the machine."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import simtoreal
from simtoreal.config import ConfigError
from simtoreal.usage import plain

CONFIG_FILE = "config.yaml"
WALL_TIME_FILE = "wall_time.json"  # of a pretraining
PACKAGES = (
    "torch",
    "onnxruntime",
    "pybullet",
    "stable-baselines3",
    "gymnasium",
    "numpy",
    "numba",
    "opencv-python-headless",
    "trimesh",
)
# Settings that may differ between a run and its continuation: they do not change what is computed.
MAY_CHANGE = frozenset({"resume", "workers", "device", "open_report", "logger", "out", "videos"})


def provenance() -> dict[str, Any]:
    """Plain values that say which code ran, how it was called, and on what machine."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "versions": versions(),
        "hardware": hardware(),
    }


@cache
def git_revision() -> str | None:
    """Commit of the checkout that this package runs from, `-dirty` if files differ; None outside of one."""
    folder = Path(simtoreal.__file__).resolve().parent
    revision = _git(folder, "rev-parse", "HEAD")
    # An installed package may lie inside somebody else's checkout, whose revision says nothing about this code.
    if revision is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return revision + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of the packages that the results depend on."""
    found = {"simtoreal": simtoreal.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """The machine: system, processor, cores that this process may use, memory, GPU."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "num_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu(),
    }


def write_resolved_config(out_dir: Path, config: Any) -> Path:
    """Writes the settings of a run, and where it comes from, to `config.yaml` in its folder.

    Args:
        out_dir: the run folder, created if it is not there.
        config: the frozen dataclass that the command was given.

    Raises:
        OSError: the folder cannot be written.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    verb = type(config).__name__.removesuffix("Config").lower()
    content = {"verb": verb, "config": plain(config), "provenance": provenance()}
    path, partial = out_dir / CONFIG_FILE, out_dir / f".{CONFIG_FILE}.partial"
    partial.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    partial.replace(path)
    return path


def check_same_run(out_dir: Path, config: Any) -> None:
    """Makes sure that a run that is resumed is continued with the settings that it was started with.

    Raises:
        ConfigError: a setting that changes the result differs from the one in the folder's `config.yaml`.
    """
    path = out_dir / CONFIG_FILE
    try:
        before = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
    except FileNotFoundError:
        return
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read, so nothing can be resumed: give another out= folder") from error
    changed = [key for key in sorted(_differences(before, plain(config))) if key not in MAY_CHANGE]
    if changed:
        raise ConfigError(
            f"{out_dir} holds a run with other settings: {', '.join(changed)} differ from {path}. "
            "Give the same settings, or another out= folder, or resume=false"
        )


def _differences(before: Any, now: Any, prefix: str = "") -> set[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = {**before, **now}
        return set().union(*(_differences(before.get(key), now.get(key), f"{prefix}{key}.") for key in keys))
    return set() if before == now else {prefix.removesuffix(".")}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str | None:
    # Read from the driver: importing torch for this would cost seconds and a simulator worker's memory.
    models = [path.read_text(encoding="utf-8") for path in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    names = [line.partition(":")[2].strip() for text in models for line in text.splitlines() if "Model" in line]
    return ", ".join(names) or None
