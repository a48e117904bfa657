"""Arrays and plain values as msgpack, packed as openpi's client and server pack them.

An array is a map `{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [64, 64]}`, a numpy scalar
`{b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}` (openpi-client, `msgpack_numpy.py`). Types are numbers and
booleans and nothing else, so that nothing that arrives can run code, and a shape has to fit its data.

Example:
    >>> unpack(pack({"observation/image": np.zeros((2, 2, 3), np.uint8), "prompt": "grasp it"}))["prompt"]
    'grasp it'
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

# Of a list or a map, not of an array: a small frame must not become a large heap of Python objects.
MAX_ELEMENTS = 4096
MAX_DIMENSIONS = 8
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


class CodecError(ValueError):
    """A message cannot be packed, or bytes are no message."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as bytes.

    Raises:
        CodecError: a value is neither plain nor an array of numbers.
    """
    try:
        return bytes(msgpack.packb(message, default=_encode))
    except CodecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"a message holds what msgpack cannot carry: {error}") from error


def unpack(data: bytes) -> dict[str, Any]:
    """The message in some bytes; arrays are copies that may be written to.

    Raises:
        CodecError: it is no msgpack, no map with keys of text, too deep or too long, or an array of something else than
            numbers or of another size than its shape says.
    """
    try:
        message = msgpack.unpackb(
            data,
            object_hook=_decode,
            ext_hook=_refuse_extension,
            max_array_len=MAX_ELEMENTS,
            max_map_len=MAX_ELEMENTS,
        )
    except CodecError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CodecError(f"no readable msgpack message ({type(error).__name__})") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise CodecError("a message must be a map with keys of text")
    return message


def _encode(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise CodecError(f"a message cannot carry {type(value).__name__}: give numbers, text or arrays of numbers")
    dtype = value.dtype.str
    if not _DTYPE.fullmatch(dtype):
        raise CodecError(f"a message cannot carry arrays of {value.dtype}: give booleans, integers or floats")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": dtype, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": dtype}


def _decode(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _array(value)
    if b"__npgeneric__" in value:
        return _dtype(value).type(value.get(b"data"))
    return value


def _array(value: dict[Any, Any]) -> NDArray[Any]:
    dtype, data, shape = _dtype(value), value.get(b"data"), value.get(b"shape")
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise CodecError(f"an array needs its data as bytes and a shape of at most {MAX_DIMENSIONS} numbers")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise CodecError(f"an array has the shape {str(shape)[:80]}: sizes are whole numbers from 0 on")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise CodecError(f"an array of shape {str(shape)[:80]} and type {dtype} does not have {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _dtype(value: dict[Any, Any]) -> np.dtype[Any]:
    name = value.get(b"dtype")
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise CodecError(f"an array of type {str(name)[:40]!r} is refused: booleans, integers and floats are taken")
    return np.dtype(name)


def _refuse_extension(code: int, data: bytes) -> Any:
    raise CodecError(f"msgpack extension {code} is refused: give plain values and arrays of numbers")
