"""What `simtoreal VERB --help` prints: every key of a schema with default, range, unit and meaning."""

import dataclasses
import textwrap
import typing
from enum import Enum
from typing import Any

from simtoreal.schema import allowed, field_map, without_none

COLUMN = 34  # where the meaning starts, characters


def help_text(schema: type, width: int = 110) -> str:
    """Describes every key of a schema, one below the other.

    Args:
        schema: a dataclass declared with `simtoreal.schema.option`.
        width: longest line, in characters.
    """
    return "\n".join(
        line for key, about in _entries(schema, "", dataclasses.MISSING) for line in _lines(key, about, width)
    )


def plain(value: Any) -> Any:
    """A value as YAML and JSON know it: enums by value, paths as text, dataclasses as dictionaries, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in field_map(type(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [plain(element) for element in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _entries(schema: type, prefix: str, instance: Any) -> list[tuple[str, str]]:
    hints, found = typing.get_type_hints(schema), []
    for name, field in field_map(schema).items():
        default = _default(field) if instance is dataclasses.MISSING else getattr(instance, name)
        if dataclasses.is_dataclass(hints[name]):
            # A group is chosen as a whole by name (`preset=full`), or overridden key by key.
            chosen = getattr(default, "name", None)
            about = f"{field.metadata['help']}, as a whole by name, or each of its keys:"
            found.append((f"{prefix}{name}" + (f"={chosen}" if chosen else ""), about))
            found += _entries(typing.cast(type, hints[name]), f"{prefix}{name}.", default)
        elif not (prefix and name == "name"):
            found.append((f"{prefix}{name}={_text(default)}", _meaning(field, hints[name])))
    return found


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _meaning(field: "dataclasses.Field[Any]", hint: Any) -> str:
    about = str(field.metadata.get("help", ""))
    limits = "|".join(_choices(hint)) or allowed(field)
    return f"{about} [{limits}]" if limits else about


def _choices(hint: Any) -> list[str]:
    hint, may_be_none = without_none(hint)
    if typing.get_origin(hint) is tuple:
        return _choices(typing.get_args(hint)[0])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(choice.value) for choice in hint] + (["null"] if may_be_none else [])
    return ["true", "false"] if hint is bool else []


def _text(value: Any) -> str:
    """A default as it would be typed on the command line."""
    if value is dataclasses.MISSING:
        return "?"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return "[" + ",".join(_text(element) for element in value) + "]"
    return str(plain(value))


def _lines(key: str, about: str, width: int) -> list[str]:
    wrapped = textwrap.wrap(about, max(width - COLUMN, 30))
    if len(key) + 4 > COLUMN:
        return [f"  {key}"] + [" " * COLUMN + line for line in wrapped]
    first, *rest = wrapped or [""]
    return [f"  {key:<{COLUMN - 2}}{first}"] + [" " * COLUMN + line for line in rest]
