"""YAML files of settings: those that ship in `simtoreal.configs`, and those that people write."""

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from simtoreal.schema import ConfigError, closest

SettingsFile = Path | Traversable
_MERGE = "tag:yaml.org,2002:merge"


def shipped_names(group: str) -> list[str]:
    """Names of the files that ship in a folder of `simtoreal.configs`, in order of the alphabet."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in _folder(group).iterdir() if entry.name.endswith(".yaml")
    )


def shipped_file(group: str, name: str) -> SettingsFile:
    """A file that ships; whether it is there is not looked at."""
    return _folder(group) / f"{name}.yaml"


def find_settings(setting: str, name_or_path: str, group: str, words: Sequence[str] = ()) -> SettingsFile:
    """The file that a setting names: one that ships by its name, or one of the user's by its path.

    Args:
        setting: its key, for the error.
        name_or_path: its value.
        group: folder of `simtoreal.configs`.
        words: values that mean no file, for the error.

    Raises:
        ConfigError: there is no such file; lists those that ship.
    """
    names = shipped_names(group)
    if name_or_path in names:
        return shipped_file(group, name_or_path)
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        known = [*words, *names]
        raise ConfigError(
            f"{setting}={name_or_path} is neither a file nor shipped{closest(name_or_path, known)} "
            f"Shipped: {', '.join(known)}. Copy one of configs/{group} and give the file"
        )
    return path


def read_mapping(path: SettingsFile) -> dict[str, Any]:
    """What a YAML file says under its keys, unchecked.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: it cannot be read, has a key twice, or holds something else; names the file.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping, got {type(values).__name__}")
    return values


class _UniqueKeys(yaml.SafeLoader):
    """Refuses what YAML would let pass: two cameras, or two limits of one speed, under one name; the last would win."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        # Before merging: what a mapping takes over with `<<` it may say anew.
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        twice = [str(key) for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.YAMLError(f"the key {twice[0]!r} is there twice{node.start_mark}")
        return node


def _folder(group: str) -> Traversable:
    return resources.files("simtoreal.configs") / group
