"""Compares the fakes of vendors' packages in tests/controllers with the packages themselves.

Each package gets a throw-away environment (lerobot: 5 minutes and 8 GB), in which names and parameters of the classes
that a fake has are printed, from Python signatures or, for compiled packages, from their documentation strings. A fake
may have fewer methods than its package, and no other parameters.

    python scripts/check_vendor_apis.py ur franky
    python scripts/check_vendor_apis.py --keep /tmp/vendors
"""

import argparse
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FAKES = ("ur", "franky", "realsense", "lerobot", "ros")
TESTS = Path(__file__).resolve().parents[1] / "tests"
# Runs in the other environment: for each class and member of it, every list of parameters that it can be called with.
PROGRAM = r"""
import importlib, inspect, json, re, sys
def overloads(member):
    if isinstance(member, property):
        return ["property"]
    text = member.__doc__ or ""
    found = re.findall(r"^(?:\d+\. )?\w+\(self: [^\n]*?\) -> [^\n]*$", text, re.M)
    if found:
        return [parameters(line) for line in found]
    try:
        return [[name for name in inspect.signature(member).parameters if name != "self"]]
    except (TypeError, ValueError):
        return []
def parameters(line):
    inside, depth, parts, part = line[line.index("(") + 1 : line.rindex(") ->")], 0, [], ""
    for letter in inside:
        depth += (letter in "[({<") - (letter in "])}>")
        if letter == "," and depth == 0:
            parts.append(part); part = ""
        else:
            part += letter
    return [p.split(":")[0].strip() for p in [*parts, part][1:]]
found = {}
for module, names in json.loads(sys.argv[1]).items():
    for name in names:
        cls = getattr(importlib.import_module(module), name)
        found[name] = {member: overloads(getattr(cls, member)) for member in dir(cls)}
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fakes", nargs="*", default=FAKES, help=f"of {', '.join(FAKES)}; all if none is given")
    parser.add_argument("--keep", type=Path, help="folder in which environments are kept and used again")
    arguments = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS / "controllers")]
    problems = []
    with tempfile.TemporaryDirectory(prefix="simtoreal-vendors-") as scratch:
        for name in arguments.fakes:
            fake = importlib.import_module(f"vendor_{name}")
            found = published(build((arguments.keep or Path(scratch)) / name, fake.PACKAGE), fake.CLASSES)
            differing = compare(fake, found)
            print(f"{fake.PACKAGE}: {'; '.join(differing) or 'the fake has its names and parameters'}")
            problems += differing
    return 1 if problems else 0


def build(environment: Path, package: str) -> Path:
    """The Python of an environment that holds a package."""
    python = environment / "bin/python"
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", package, "numpy"], check=True)
        (environment / "complete").touch()
    return python


def published(python: Path, classes: dict[str, list[str]]) -> dict[str, dict[str, list[Any]]]:
    """Parameters of every member of the classes, as the package has them."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [str(python), "-c", PROGRAM, json.dumps(classes)], env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{python} cannot import {', '.join(classes)}:\n{done.stderr[-2000:]}")
    found: dict[str, dict[str, list[Any]]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(fake: Any, found: dict[str, dict[str, list[Any]]]) -> list[str]:
    """What the fake has and the package has not."""
    problems = []
    for name in (name for names in fake.CLASSES.values() for name in names):
        for member, value in vars(getattr(fake, name)).items():
            if member.startswith("_") and member != "__init__":
                continue
            if not callable(value) and not isinstance(value, property):
                continue
            if member not in found[name]:
                problems.append(f"{name} has no {member}")
            elif not _agrees(value, found[name][member]):
                problems.append(f"{name}.{member} takes {_own(value)}, published is {found[name][member]}")
    return problems


def _own(value: Any) -> Any:
    return "property" if isinstance(value, property) else list(inspect.signature(value).parameters)[1:]


def _agrees(value: Any, overloads: list[Any]) -> bool:
    own = _own(value)
    if not overloads or own == "property" or "property" in overloads:
        return own in overloads or not overloads
    return any(_fits(own, overload) for overload in overloads)


def _fits(own: list[str], overload: list[str]) -> bool:
    """Whether the fake's parameters are those of an overload, in part or whole; compiled code names some only argN."""
    if "args" in overload and "kwargs" in overload:
        return True
    named = [name for name in overload if not re.fullmatch(r"arg\d+", name)]
    if len(named) < len(overload):
        return len(own) == len(overload)
    return set(own) <= set(overload) and own == [name for name in overload if name in own]


if __name__ == "__main__":
    sys.exit(main())
