"""Settings as frozen dataclasses: declared once with unit, range and meaning, checked once at the door.

Example:
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Oven:
    ...     heat_k: float = option(450.0, "air temperature", unit="K", minimum=300.0, maximum=600.0)
    >>> parse({"heat_k": 500}, Oven)
    Oven(heat_k=500.0)
    >>> parse({"heet_k": 500}, Oven)
    Traceback (most recent call last):
    simtoreal.schema.ConfigError: unknown key 'heet_k': did you mean 'heat_k'? Known keys: heat_k
    >>> parse({"heat_k": 900}, Oven)
    Traceback (most recent call last):
    simtoreal.schema.ConfigError: heat_k=900.0 is out of range: allowed is 300 to 600 K
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

Schema = TypeVar("Schema")
NoneType = type(None)


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the key, the value, what is allowed and what to do."""


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    file: str = "",
) -> Any:
    """Declares one field of a schema.

    Args:
        default: the default, a function without arguments that makes it, or `dataclasses.MISSING` if it must be given.
        help: what the setting does, one sentence without unit and default.
        unit: unit of a number, for people to read.
        minimum: smallest value allowed, of every element where the field is a tuple.
        maximum: largest value allowed, likewise.
        file: folder of `simtoreal.configs`; the value names a YAML file there, or is the path of another one.
    """
    metadata = {"help": help, "unit": unit, "min": minimum, "max": maximum, "file": file}
    if isinstance(default, types.FunctionType):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def required(help: str, *, unit: str = "", minimum: float | None = None, maximum: float | None = None) -> Any:
    """Declares a field without a default; see `option`."""
    return option(dataclasses.MISSING, help, unit=unit, minimum=minimum, maximum=maximum)


def parse(values: Mapping[str, Any], schema: type[Schema], prefix: str = "") -> Schema:
    """Builds a frozen dataclass from plain values, checking names, types and ranges.

    Args:
        values: keys and plain values, as read from YAML or composed by Hydra.
        schema: a dataclass whose fields are bool, int, float, str, Path, Enum, tuple, another such dataclass, or any of
            these or None. Missing keys take their default.
        prefix: where `values` lies in a larger configuration, such as `preset.`, for messages.

    Raises:
        ConfigError: an unknown or missing key, a value of another type, or one out of range.
    """
    hints, known = typing.get_type_hints(schema), field_map(schema)
    for key in values:
        if key not in known:
            raise unknown_key(prefix + str(key), [prefix + name for name in known])
    for name, field in known.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{name} is missing: {field.metadata.get('help', 'it must be given')}")
    converted = {name: _convert(value, hints[name], known[name], prefix + name) for name, value in values.items()}
    return schema(**converted)


def field_map(schema: type) -> dict[str, "dataclasses.Field[Any]"]:
    """Fields of a schema that can be given, by name."""
    return {field.name: field for field in dataclasses.fields(schema) if field.init}


def unknown_key(key: str, known: Sequence[str], listed: Sequence[str] | None = None) -> ConfigError:
    """The error for a key that nobody knows: names the closest known one and lists all, or those `listed`."""
    names = ", ".join(known if listed is None else listed)
    return ConfigError(f"unknown key {key!r}{closest(key, known)} Known keys: {names}")


def closest(word: str, known: Sequence[str]) -> str:
    """Ends a message about an unknown word: `: did you mean 'episodes'?`, or a full stop if nothing comes near."""
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f": did you mean {matches[0]!r}?" if matches else "."


def type_at(schema: type, path: Sequence[str]) -> Any:
    """Type of the field at a dotted path, given as its parts; None if there is no such field.

    Example:
        >>> from dataclasses import make_dataclass
        >>> inner = make_dataclass("Inner", [("size", int)])
        >>> type_at(make_dataclass("Outer", [("inner", inner)]), ["inner", "size"])
        <class 'int'>
    """
    hint: Any = schema
    for part in path:
        if not dataclasses.is_dataclass(hint) or part not in field_map(typing.cast(type, hint)):
            return None
        hint = typing.get_type_hints(hint)[part]
    return hint


def dotted_keys(schema: type, prefix: str = "") -> list[str]:
    """Every key of a schema, those of nested schemas with dots; a nested schema itself counts as a key."""
    keys, hints = [], typing.get_type_hints(schema)
    for name in field_map(schema):
        keys.append(prefix + name)
        if dataclasses.is_dataclass(hints[name]):
            keys += dotted_keys(typing.cast(type, hints[name]), f"{prefix}{name}.")
    return keys


def without_none(hint: Any) -> tuple[Any, bool]:
    """Splits `X | None` into X and True; any other type comes back with False."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not NoneType]
    return members[0], True


def _convert(value: Any, hint: Any, field: "dataclasses.Field[Any]", key: str) -> Any:
    hint, may_be_none = without_none(hint)
    if value is None or value == "":
        if may_be_none:
            return None
        raise ConfigError(f"{key} must have a value; it may not be null or empty")
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(value, typing.get_args(hint), field, key)
    if dataclasses.is_dataclass(hint):
        return _convert_nested(value, typing.cast(type, hint), key)
    if issubclass(hint, Enum):
        return _convert_enum(value, hint, key)
    converter = _SCALARS.get(hint)
    if converter is None:
        raise TypeError(f"{key}: a schema field cannot be a {hint}")
    converted = converter(value, key)
    _check_range(converted, field, key)
    return converted


def _convert_nested(value: Any, schema: type, key: str) -> Any:
    if isinstance(value, schema):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value!r} must hold the keys {', '.join(field_map(schema))}")
    return parse(value, schema, prefix=f"{key}.")


def _convert_tuple(value: Any, members: tuple[Any, ...], field: "dataclasses.Field[Any]", key: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        value = [value]
    if members[-1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(value) != len(members):
        raise ConfigError(f"{key}={list(value)} must have {len(members)} elements, it has {len(value)}")
    return tuple(
        _convert(element, member, field, f"{key}[{index}]")
        for index, (element, member) in enumerate(zip(value, members, strict=True))
    )


def _convert_enum(value: Any, choices: type[Enum], key: str) -> Enum:
    names = {str(choice.value).lower(): choice for choice in choices}
    text = str(value.value if isinstance(value, Enum) else value).lower()
    if text in names:
        return names[text]
    known = [str(choice.value) for choice in choices]
    raise ConfigError(f"{key}={value} is not a choice{closest(text, known)} Choose from: {', '.join(known)}")


def _to_bool(value: Any, key: str) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{key}={value} must be true or false")


def _to_int(value: Any, key: str) -> int:
    number = _to_float(value, key)
    if not number.is_integer():
        raise ConfigError(f"{key}={value} must be a whole number")
    return int(number)


def _to_float(value: Any, key: str) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)  # YAML 1.1 reads 1e-3 as text
    except ValueError:
        raise ConfigError(f"{key}={value} must be a number") from None
    if not math.isfinite(number):
        raise ConfigError(f"{key}={value} must be finite")
    return number


def _to_str(value: Any, key: str) -> str:
    if isinstance(value, Mapping | list | tuple):
        raise ConfigError(f"{key}={value} must be one piece of text")
    return str(value)


def _to_path(value: Any, key: str) -> Path:
    text = _to_str(value, key)
    if not text or "\0" in text:
        raise ConfigError(f"{key}={text!r} must be a path")
    return Path(text).expanduser()


_SCALARS: dict[type, Callable[[Any, str], Any]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
    Path: _to_path,
}


def _check_range(value: Any, field: "dataclasses.Field[Any]", key: str) -> None:
    low, high = field.metadata.get("min"), field.metadata.get("max")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{key}={value} is out of range: allowed is {allowed(field)}")


def allowed(field: "dataclasses.Field[Any]") -> str:
    """Range of a field with its unit, such as `1 to 64 px`; empty if anything goes."""
    low, high, unit = (field.metadata.get(name) for name in ("min", "max", "unit"))
    if low is None and high is None:
        return str(unit or "")
    if high is None:
        text = f"{_number(low)} or more"
    elif low is None:
        text = f"{_number(high)} or less"
    else:
        text = f"{_number(low)} to {_number(high)}"
    return f"{text} {unit}".strip()


def _number(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
