"""Turns the bytes of ROS messages into Python objects, by the definitions that came along in the file.

`rosbags` compiles Python source from those definitions. Every name that enters it is checked first, so that a file
cannot smuggle code into it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from simtoreal.episodes.importing.extras import need
from simtoreal.episodes.importing.source import SourceError
from simtoreal.schema import closest

_TYPE_NAME = re.compile(r"[A-Za-z]\w*(?:/[A-Za-z]\w*){1,3}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MAX_DEFINITION_CHARS = 1_000_000


class MessageTypes:
    """Definitions of one file, and how to decode with them.

    Args:
        ros1: messages are serialized as ROS 1 has it, else as CDR.
    """

    def __init__(self, ros1: bool) -> None:
        self._typesys = need("rosbags.typesys", "ROS messages")
        self._stores = self._typesys.Stores
        self._known = self._typesys.get_typestore(self._stores.ROS1_NOETIC if ros1 else self._stores.ROS2_HUMBLE)
        self._own = self._typesys.get_typestore(self._stores.EMPTY)
        self._defined: dict[str, Any] = {}
        self._ros1 = ros1

    def define(self, name: str, definition: str, language: str = "msg") -> None:
        """Takes up the definition of a type and of those it is made of; an empty one means the standard one.

        Raises:
            SourceError: names in it are none, it cannot be parsed, or contradicts an earlier one.
        """
        name = _full_name(name)
        if not definition.strip() or name in self._defined:
            return
        if len(definition) > _MAX_DEFINITION_CHARS:
            raise SourceError(f"the definition of {name} has {len(definition)} characters")
        try:
            if language == "msg":
                types = self._typesys.get_types_from_msg(definition, name)
            else:
                types = self._typesys.get_types_from_idl(definition)
            types = {found: fields for found, fields in types.items() if found not in self._defined}
            _check_names(types)
            self._own.register(types)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(f"the definition of {name} cannot be used ({_short(error)})") from error
        self._defined |= types

    def decoder(self, name: str) -> Callable[[bytes], Any]:
        """The function that turns bytes into a message of a type.

        Raises:
            SourceError: the type is neither defined in the file nor a standard one; or, from the function, the bytes
                are not such a message.
        """
        name = _full_name(name)
        store = self._own if name in self._defined else self._known
        if name not in store.fielddefs:
            known = list(self._known.fielddefs)
            raise SourceError(f"the file does not define messages of type {name}{closest(name, known)}")
        decode = store.deserialize_ros1 if self._ros1 else store.deserialize_cdr

        def checked(data: bytes) -> Any:
            try:
                return decode(data, name)
            except Exception as error:
                raise SourceError(f"not a {name}, or cut short ({_short(error)})") from error

        return checked


def read_field(message: Any, path: str) -> Any:
    """A field of a message at a path such as `data`, `pose.position.x` or `position[2]`.

    Raises:
        SourceError: the message has no such field.
    """
    value = message
    for part in _path_parts(path):
        if isinstance(part, int):
            if not hasattr(value, "__len__") or not 0 <= part < len(value):
                raise SourceError(f"field {path!r}: there is no element {part}")
            value = value[part]
            continue
        fields = getattr(value, "__dataclass_fields__", {})
        if part not in fields:
            known = [name for name in fields if not name.startswith("__")]
            raise SourceError(f"field {path!r}: there is no {part!r}{closest(part, known)} Fields: {', '.join(known)}")
        value = getattr(value, part)
    return value


def _path_parts(path: str) -> Iterator[str | int]:
    for piece in path.split("."):
        match = re.fullmatch(r"([A-Za-z_]\w*)((?:\[\d{1,9}\])*)", piece)
        if match is None:
            raise SourceError(f"field {path!r} is not a path such as pose.position.x or data[0]")
        yield match[1]
        yield from (int(index) for index in re.findall(r"\d+", match[2]))


def _full_name(name: str) -> str:
    """`geometry_msgs/Pose` of ROS 1 is `geometry_msgs/msg/Pose`."""
    if not _TYPE_NAME.fullmatch(name):
        raise SourceError(f"{name[:80]!r} is not the name of a message type")
    package, _, rest = name.partition("/")
    return name if "/" in rest else f"{package}/msg/{rest}"


def _check_names(types: dict[str, Any]) -> None:
    for name, (constants, fields) in types.items():
        names = [constant[0] for constant in constants] + [field[0] for field in fields]
        bad = [part for part in names if not _NAME.fullmatch(part)]
        if bad or not _TYPE_NAME.fullmatch(name) or not all(_is_safe(field[1]) for field in fields):
            raise SourceError(f"the definition of {name[:80]!r} has names that are none: {bad[:3]}")
        if not all(isinstance(value, bool | int | float | str) for _, _, value in constants):
            raise SourceError(f"the definition of {name} has constants that are none")


def _is_safe(field: Any) -> bool:
    """Whether the description of a field holds only names of types and numbers."""
    if isinstance(field, tuple | list):
        return all(_is_safe(part) for part in field)
    if isinstance(field, str):
        return bool(_TYPE_NAME.fullmatch(field) or _NAME.fullmatch(field))
    return field is None or isinstance(field, int)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
