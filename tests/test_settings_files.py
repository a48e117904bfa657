from pathlib import Path

import pytest

from simtoreal.schema import ConfigError
from simtoreal.settings_files import find_settings, read_mapping, shipped_file, shipped_names


def written(folder: Path, content: bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("group", ["importing", "preset", "randomization", "reality", "robot", "safety", "strategy"])
def test_every_file_that_ships_is_found_by_its_name_and_can_be_read(group: str) -> None:
    names = shipped_names(group)
    assert names == sorted(set(names))
    for name in names:
        assert read_mapping(find_settings("any", name, group)) == read_mapping(shipped_file(group, name)) != {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xfe\x00", "cannot be read as YAML"),  # no text
        (b"speed: [", "cannot be read as YAML"),
        (b"!!python/object/apply:os.system [ls]", "cannot be read as YAML"),
        (b"limits: {speed: 1, speed: 2}", "'speed' is there twice"),
        (b"- 1", "must hold a mapping, got list"),
        (b"", "must hold a mapping, got NoneType"),
    ],
)
def test_what_is_no_mapping_is_refused_by_name(content: bytes, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=said) as raised:
        read_mapping(path)
    assert str(path) in str(raised.value)


def test_what_a_mapping_takes_over_it_may_say_anew(tmp_path: Path) -> None:
    text = b"""
slow: &slow {speed: 1, force: 2}
fast: &fast {<<: *slow, speed: 3}
fastest: {<<: *fast, speed: 4}
"""
    slow, fast = {"speed": 1, "force": 2}, {"speed": 3, "force": 2}
    assert read_mapping(written(tmp_path, text)) == {"slow": slow, "fast": fast, "fastest": {**fast, "speed": 4}}


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mapping(tmp_path)


def test_a_file_that_is_not_there_is_left_to_who_asks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_mapping(tmp_path / "none.yaml")


def test_a_setting_names_a_file_of_the_user(tmp_path: Path) -> None:
    assert find_settings("safety", str(written(tmp_path, b"a: 1")), "safety") == tmp_path / "mine.yaml"


def test_neither_a_file_nor_shipped_says_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"strategy=heds .*'heads'.*Shipped: auto, all, .*configs/strategy"):
        find_settings("strategy", "heds", "strategy", ("auto",))
