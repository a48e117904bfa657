"""Recordings of topics: MCAP files, rosbag2 folders (MCAP or SQLite) and ROS 1 bags, message by message.

MCAP files are read forward in small pieces and need neither index nor end, so what lies before a break is still read.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import yaml

from simtoreal.episodes.importing.extras import need
from simtoreal.episodes.importing.message_types import MessageTypes
from simtoreal.episodes.importing.source import SourceError

MAX_CHUNK_BYTES = 256_000_000
_LANGUAGES = {"ros2msg": "msg", "ros1msg": "msg", "ros2idl": "idl"}


class BagMessage(NamedTuple):
    """One message, still as bytes."""

    topic: str
    received_ns: int  # when it was recorded, on the clock of the recorder
    data: bytes
    decode: Callable[[bytes], Any]

    def decoded(self) -> Any:
        """The message with its fields.

        Raises:
            SourceError: the bytes are not such a message.
        """
        try:
            return self.decode(self.data)
        except SourceError as error:
            raise SourceError(f"topic {self.topic} at {self.received_ns / 1e9:.6f} s: {error}") from error


class Bag(Protocol):
    """A recording of topics."""

    @property
    def path(self) -> Path: ...
    @property
    def topics(self) -> Mapping[str, str]:
        """Type of the messages of each topic."""
        ...

    @property
    def problem(self) -> str:
        """Why topics may be missing from `topics`, empty if there is no reason."""
        ...

    def messages(self, topics: Collection[str], start_ns: int = 0) -> Iterator[BagMessage]:
        """Messages of some topics in the order they were received, from a time on.

        Raises:
            SourceError: the file is damaged from here on.
        """
        ...


class McapBag:
    """MCAP files that follow one another.

    Raises:
        SourceError: a file is not MCAP.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path, self._files = path, files
        self.problem = ""
        self._types: dict[bool, MessageTypes] = {}
        for file in files:
            if file.stat().st_size == 0:
                raise SourceError("the file is empty", file)
            with file.open("rb") as stream:
                if stream.read(5) != b"\x89MCAP":
                    raise SourceError("not an MCAP file", file)

    @cached_property
    def topics(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for file in self._files:
            stream = _McapStream(file, self._types)
            found |= {channel.topic: schema for channel, schema in stream.channels().values()}
            self.problem = self.problem or stream.problem
        return found

    def messages(self, topics: Collection[str], start_ns: int = 0) -> Iterator[BagMessage]:
        for file in self._files:
            yield from _McapStream(file, self._types).messages(frozenset(topics), start_ns)


class _McapStream:
    """One pass through an MCAP file; `types` are kept from pass to pass."""

    def __init__(self, path: Path, types: dict[bool, MessageTypes]) -> None:
        self._path, self._types = path, types
        self.problem = ""
        self._records = need("mcap.records", "MCAP")
        self._schemas: dict[int, Any] = {}
        self._channels: dict[int, tuple[Any, str]] = {}
        self._decoders: dict[int, Callable[[bytes], Any]] = {}

    def channels(self) -> dict[int, tuple[Any, str]]:
        """Channels with the names of their types; from the summary at the end, or by reading the whole file."""
        with self._path.open("rb") as stream:
            summary = self._summary(stream)
        if summary is not None and summary.channels:
            for record in (*summary.schemas.values(), *summary.channels.values()):
                self._keep(record)
            return self._channels
        try:
            for _ in self._all_records(0):
                pass
        except SourceError as error:
            self.problem = str(error)
        return self._channels

    def messages(self, topics: frozenset[str], start_ns: int) -> Iterator[BagMessage]:
        for message in self._all_records(start_ns):
            channel, _ = self._channel(message)
            if channel.topic in topics and message.log_time >= start_ns:
                yield BagMessage(channel.topic, message.log_time, message.data, self._decoder(channel))

    def _all_records(self, start_ns: int) -> Iterator[Any]:
        """Messages in the order of the file, sorted within a chunk; schemas and channels are kept on the way."""
        module = need("mcap.stream_reader", "MCAP")
        try:
            with self._path.open("rb") as stream:
                limit = max(self._path.stat().st_size, 1)
                has_skipped = self._skip_to(stream, start_ns)
                reader = module.StreamReader(stream, skip_magic=has_skipped, emit_chunks=True, record_size_limit=limit)
                for record in reader.records:
                    if isinstance(record, self._records.DataEnd):
                        return  # what is cut off behind it is an index
                    if isinstance(record, self._records.Chunk):
                        if record.message_end_time >= start_ns or not record.message_end_time:
                            yield from self._in_chunk(record, module)
                        else:
                            list(self._in_chunk(record, module))  # for its schemas and channels
                    elif self._keep(record):
                        yield record
        except SourceError:
            raise
        except Exception as error:
            what = str(error) or type(error).__name__
            raise SourceError(
                f"the file is damaged or breaks off ({' '.join(what.split())[:160]})", self._path
            ) from error

    def _skip_to(self, stream: BinaryIO, start_ns: int) -> bool:
        """Goes to the first chunk with messages from a time on, if an index says where; else nothing changes."""
        summary = self._summary(stream) if start_ns else None
        later = (
            []
            if summary is None
            else [chunk.chunk_start_offset for chunk in summary.chunk_indexes if chunk.message_end_time >= start_ns]
        )
        stream.seek(min(later, default=0))
        if summary is not None and later:
            for record in (*summary.schemas.values(), *summary.channels.values()):
                self._keep(record)
        return bool(later)

    def _summary(self, stream: BinaryIO) -> Any:
        """The index at the end of the file; None if there is none that can be read."""
        try:
            return need("mcap.reader", "MCAP").make_reader(stream).get_summary()
        except SourceError:
            raise
        except Exception:  # noqa: BLE001 - an index that cannot be read is done without
            return None

    def _in_chunk(self, chunk: Any, module: Any) -> Iterator[Any]:
        chunk.data, chunk.compression = self._decompressed(chunk), ""
        messages = [record for record in module.breakup_chunk(chunk, validate_crc=True) if self._keep(record)]
        return iter(sorted(messages, key=lambda message: int(message.log_time)))

    def _decompressed(self, chunk: Any) -> bytes:
        """The content of a chunk, of which never more is unpacked than it announces."""
        size = chunk.uncompressed_size
        if size > MAX_CHUNK_BYTES:
            raise SourceError(f"a chunk announces {size} bytes; {MAX_CHUNK_BYTES} are read", self._path)
        if chunk.compression == "lz4":
            data = need("lz4.frame", "MCAP").LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
        elif chunk.compression == "zstd":
            data = need("zstandard", "MCAP").ZstdDecompressor().stream_reader(chunk.data).read(size + 1)
        elif chunk.compression == "":
            data = chunk.data
        else:
            raise SourceError(f"chunks are compressed with {chunk.compression!r}; lz4 and zstd are read", self._path)
        if len(data) != size:
            raise SourceError(f"a chunk announces {size} bytes and holds {len(data)} or more", self._path)
        return bytes(data)

    def _keep(self, record: Any) -> bool:
        """Remembers schemas and channels; whether the record is a message."""
        if isinstance(record, self._records.Schema):
            self._schemas[record.id] = record
        elif isinstance(record, self._records.Channel):
            schema = self._schemas.get(record.schema_id)
            self._channels[record.id] = (record, schema.name if schema is not None else "")
        return isinstance(record, self._records.Message)

    def _channel(self, message: Any) -> tuple[Any, str]:
        if message.channel_id not in self._channels:
            raise SourceError(f"a message belongs to channel {message.channel_id}, which is not there", self._path)
        return self._channels[message.channel_id]

    def _decoder(self, channel: Any) -> Callable[[bytes], Any]:
        if channel.id not in self._decoders:
            try:
                self._decoders[channel.id] = self._new_decoder(channel)
            except SourceError as error:
                raise SourceError(f"topic {channel.topic}: {error}", self._path) from error
        return self._decoders[channel.id]

    def _new_decoder(self, channel: Any) -> Callable[[bytes], Any]:
        schema = self._schemas.get(channel.schema_id)
        encodings = {"cdr": False, "ros1": True}
        if channel.message_encoding not in encodings or schema is None or schema.encoding not in _LANGUAGES:
            raise SourceError(
                f"messages are encoded as {channel.message_encoding!r} with a schema in "
                f"{schema.encoding if schema is not None else 'nothing'!r}: "
                f"cdr and ros1 with {', '.join(_LANGUAGES)} are read"
            )
        ros1 = encodings[channel.message_encoding]
        types = self._types.get(ros1) or self._types.setdefault(ros1, MessageTypes(ros1))
        types.define(schema.name, schema.data.decode("utf-8", errors="replace"), _LANGUAGES[schema.encoding])
        return types.decoder(schema.name)


class RosbagsBag:
    """A rosbag2 folder with SQLite files, or a ROS 1 bag, through the package rosbags.

    Raises:
        SourceError: it is not one, or damaged at its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.problem = path, ""
        self._ros1 = path.suffix == ".bag"
        module = need("rosbags.rosbag1" if self._ros1 else "rosbags.rosbag2", "bags")
        self._reader_type = module.Reader
        self.topics = self._with_reader(
            lambda reader: {connection.topic: connection.msgtype for connection in reader.connections}
        )

    def _with_reader(self, question: Callable[[Any], Any]) -> Any:
        try:
            with self._reader_type(self.path) as reader:
                return question(reader)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(f"the bag cannot be opened ({' '.join(str(error).split())[:200]})", self.path) from error

    def messages(self, topics: Collection[str], start_ns: int = 0) -> Iterator[BagMessage]:
        types = MessageTypes(self._ros1)
        try:
            with self._reader_type(self.path) as reader:
                wanted = [connection for connection in reader.connections if connection.topic in topics]
                decoders = {connection.id: _decoder(connection, types) for connection in wanted}
                if not wanted:
                    return
                for connection, received_ns, data in reader.messages(wanted, start=start_ns or None):
                    yield BagMessage(connection.topic, received_ns, bytes(data), decoders[connection.id])
        except SourceError as error:
            raise error.placed(self.path) from error
        except GeneratorExit:
            raise
        except Exception as error:
            what = " ".join(str(error).split())[:160] or type(error).__name__
            raise SourceError(f"the bag is damaged or breaks off ({what})", self.path) from error


def _decoder(connection: Any, types: MessageTypes) -> Callable[[bytes], Any]:
    language = "idl" if connection.msgdef.format.name == "IDL" else "msg"
    types.define(connection.msgtype, connection.msgdef.data or "", language)
    return types.decoder(connection.msgtype)


def open_bag(path: Path) -> Bag:
    """A bag by what lies at a path: an `.mcap` or `.bag` file, or a rosbag2 folder with `metadata.yaml`.

    Raises:
        SourceError: there is none of these, or it is damaged at its beginning.
    """
    if path.suffix == ".mcap":
        return McapBag(path, [path])
    if path.suffix == ".bag":
        return RosbagsBag(path)
    files = _files_of(path)
    if any(file.suffix == ".mcap" for file in files):
        return McapBag(path, files)
    return RosbagsBag(path)


def _files_of(folder: Path) -> list[Path]:
    """Files that `metadata.yaml` lists, in order."""
    metadata = folder / "metadata.yaml"
    try:
        content = yaml.safe_load(metadata.read_text(encoding="utf-8"))
        names = [str(name) for name in content["rosbag2_bagfile_information"]["relative_file_paths"]]
    except FileNotFoundError as error:
        raise SourceError("there is no metadata.yaml: `ros2 bag reindex` makes one", folder) from error
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise SourceError(
            f"metadata.yaml does not describe a bag ({' '.join(str(error).split())[:160]})", metadata
        ) from error
    files = [folder / Path(name).name for name in names]
    absent = [file.name for file in files if not file.is_file()]
    if absent or not files:
        raise SourceError(f"metadata.yaml lists {absent or 'no files'}, which are not there", folder)
    return files
