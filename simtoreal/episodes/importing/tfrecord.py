"""TFRecord files without TensorFlow: records, their checksums, and the `tf.train.Example` messages in them.

Formats: tensorflow/core/lib/io/record_writer.h (length, masked CRC-32C of it, data, masked CRC-32C of that) and
tensorflow/core/example/example.proto (features by name, each a list of bytes, floats or integers).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled
from simtoreal.episodes.importing.source import SourceError

Feature: TypeAlias = list[bytes] | NDArray[np.float32] | NDArray[np.int64]
_HEADER_BYTES, _FOOTER_BYTES = 12, 4
_MASK_DELTA = 0xA282EAD8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of tf.train.Feature


class Record(NamedTuple):
    """Where a record lies in its file."""

    offset: int  # of its data, bytes
    length: int


def find_records(path: Path) -> tuple[list[Record], str]:
    """Records of a file by their length headers alone, and what is wrong with the rest of the file, empty if nothing.

    Lengths are checked against their checksum and the size of the file, so a damaged header ends the walk.
    """
    records, size = list[Record](), path.stat().st_size
    with path.open("rb") as stream:
        at = 0
        while at < size:
            header = stream.read(_HEADER_BYTES)
            if len(header) < _HEADER_BYTES:
                return records, f"the file breaks off at byte {size}, within the header of record {len(records)}"
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum:
                return records, f"the header of record {len(records)} at byte {at} is damaged (checksum)"
            if at + _HEADER_BYTES + length + _FOOTER_BYTES > size:
                return records, f"the file breaks off at byte {size}, within record {len(records)} of {length} bytes"
            records.append(Record(at + _HEADER_BYTES, length))
            at += _HEADER_BYTES + length + _FOOTER_BYTES
            stream.seek(at)
    return records, ""


def read_record(stream: BinaryIO, record: Record) -> bytes:
    """The data of a record.

    Raises:
        SourceError: the data does not fit its checksum.
    """
    stream.seek(record.offset)
    data = stream.read(record.length)
    footer = stream.read(_FOOTER_BYTES)
    if len(data) < record.length or len(footer) < _FOOTER_BYTES:
        raise SourceError(f"the record at byte {record.offset} breaks off")
    if struct.unpack("<I", footer)[0] != masked_crc32c(data):
        raise SourceError(f"the record at byte {record.offset} is damaged (checksum)")
    return data


def parse_example(data: bytes) -> dict[str, Feature]:
    """Features of a serialized `tf.train.Example` by name.

    Raises:
        SourceError: the bytes are not such a message.
    """
    features: dict[str, Feature] = {}
    try:
        for number, content in _fields(memoryview(data)):
            if number == 1:  # Example.features
                for _, entry in _fields(_bytes(content)):  # Features.feature, a map
                    pair = dict(_fields(_bytes(entry)))
                    name = bytes(_bytes(pair[1])).decode()
                    features[name] = _feature(_bytes(pair.get(2, memoryview(b""))))
    except (IndexError, KeyError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise SourceError(f"the record is not a tf.train.Example ({type(error).__name__}: {error})") from error
    return features


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C (Castagnoli, RFC 3720), rotated and offset.

    Example:
        >>> hex(masked_crc32c(b"123456789"))
        '0xc78ab0e5'
    """
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    return int(_crc(np.frombuffer(data, np.uint8), _CRC_TABLE))


def _crc_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


_CRC_TABLE = _crc_table()


@compiled
def _crc(data: NDArray[np.uint8], table: NDArray[np.uint32]) -> np.uint32:
    crc = np.uint32(0xFFFFFFFF)
    for byte in data:
        crc = table[(crc ^ np.uint32(byte)) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Fields (number, content) of a protocol buffer; content is an integer or a view of the bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError(f"a field of {length} bytes where {len(message) - at} are left")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _bytes(content: Any) -> memoryview:
    if not isinstance(content, memoryview):
        raise ValueError("a number where bytes belong")
    return content


def _feature(content: memoryview) -> Feature:
    for kind, values in _fields(content):
        if kind == _BYTES_LIST:
            return [bytes(_bytes(value)) for _, value in _fields(_bytes(values))]
        if kind == _FLOAT_LIST:
            return _floats(_bytes(values))
        if kind == _INT64_LIST:
            return _integers(_bytes(values))
    return []


def _floats(values: memoryview) -> NDArray[np.float32]:
    """Packed into one field, or one by one."""
    parts = [bytes(_bytes(value)) for _, value in _fields(values)]
    return np.frombuffer(b"".join(parts), "<f4")


def _integers(values: memoryview) -> NDArray[np.int64]:
    numbers = []
    for _, value in _fields(values):
        if isinstance(value, int):
            numbers.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
    return np.array(numbers, dtype=np.uint64).astype(np.int64)  # two's complement
