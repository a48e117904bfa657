"""Documents keep their word: commands parse, links lead somewhere, tables name every field, pictures are up to date."""

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml

from simtoreal import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").glob("*.md")]
NUMBER = re.compile(r"-?\d+\.\d+")
COMMAND = re.compile(r"(?:^[$#]? *|&& |`)simtoreal ([^`#&\n]*)", re.MULTILINE)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


class Command(NamedTuple):
    """A command line of a document."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: simtoreal {' '.join(self.words)}"


def commands() -> list[Command]:
    found = []
    for path in PAGES:
        for match in COMMAND.finditer(path.read_text(encoding="utf-8")):
            words = tuple(shlex.split(match[1]))
            if words and words[0] != "VERB":
                found.append(Command(path.name, words))
    return found


def blocks(language: str) -> list[tuple[str, str]]:
    texts = [(path.name, BLOCK.findall(path.read_text(encoding="utf-8"))) for path in PAGES]
    return [(name, text) for name, found in texts for kind, text in found if kind == language]


@pytest.mark.parametrize("command", commands(), ids=str)
def test_every_command_in_the_documents_is_one(command: Command) -> None:
    name, *settings = command.words
    if name == "--help":
        return
    assert name in cli.VERBS, f"{command}: no such verb"
    if settings != ["--help"]:
        cli.read_settings(cli.VERBS[name].schema, name, settings)  # raises for an unknown key or a bad value


def test_the_documents_show_every_verb() -> None:
    shown = {command.words[0] for command in commands()}
    assert shown >= set(cli.VERBS)


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_in_the_documents_parses_and_imports_what_is_there(page: str, text: str) -> None:
    for node in ast.walk(ast.parse(text, filename=page)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and not node.module.startswith("stable"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, item.name) for item in node.names), f"{page}: {ast.unparse(node)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        path = page.parent / target
        assert path.exists(), f"{page.name}: {target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {heading.lower().replace(" ", "-") for heading in headings}, f"{page.name}: {anchor}"


def test_every_field_of_a_robot_is_explained() -> None:
    text = (ROOT / "docs" / "robots.md").read_text(encoding="utf-8")
    robot = yaml.safe_load((ROOT / "configs" / "robot" / "panda.yaml").read_text(encoding="utf-8"))
    for key, value in robot.items():
        for name in [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]:
            assert f"`{name}`" in text, f"docs/robots.md does not explain {name}"


def test_the_pictures_of_the_frames_are_up_to_date(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("draw_frames", ROOT / "scripts" / "draw_frames.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (ROOT / "docs" / "images").glob("frame_*.svg"))
    for name in drawn:
        now, committed = (folder / name for folder in (tmp_path, ROOT / "docs" / "images"))
        texts = [path.read_text(encoding="utf-8") for path in (now, committed)]
        assert NUMBER.sub("#", texts[0]) == NUMBER.sub("#", texts[1]), f"{name}: run scripts/draw_frames.py"
        new, old = (np.array(NUMBER.findall(text), dtype=np.float64) for text in texts)
        np.testing.assert_allclose(new, old, atol=0.21, err_msg=f"{name}: run scripts/draw_frames.py")
