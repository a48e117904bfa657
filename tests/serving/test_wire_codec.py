"""Bytes on the wire: what goes in comes out, as openpi packs it, and nothing else comes out."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serving_rig import OpenpiClient

from simtoreal.serving.codec import CodecError, pack, unpack

DTYPES = st.sampled_from(["|b1", "|u1", "|i1", "<i2", ">u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", ">f4", "<f8"])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
MESSAGES = st.dictionaries(st.text(max_size=12), PLAIN | ARRAYS | st.lists(PLAIN, max_size=3), max_size=5)


def array(**changes: Any) -> dict[bytes, Any]:
    content = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2]}
    return {**content, **{key.encode(): value for key, value in changes.items()}}


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, np.ndarray | np.generic):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, list):
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other or one != one  # nan


@given(MESSAGES)
def test_what_is_packed_comes_out_again(message: dict[str, Any]) -> None:
    result = unpack(pack(message))
    assert result.keys() == message.keys()
    for key, value in message.items():
        assert_same(value, result[key])


@given(MESSAGES)
def test_openpi_reads_what_is_packed_here_and_the_other_way_round(message: dict[str, Any]) -> None:
    theirs = msgpack.packb(message, default=OpenpiClient._pack_array)
    assert pack(message) == theirs
    for key, value in OpenpiClient._unpack(theirs).items():
        assert_same(message[key], value)


def test_arrays_can_be_written_to() -> None:
    result = unpack(pack({"a": np.zeros(3)}))["a"]
    result[0] = 1.0
    assert result.flags.c_contiguous


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_worse(data: bytes) -> None:
    try:
        message = unpack(data)
    except CodecError:
        return
    assert isinstance(message, dict)


@given(MESSAGES.filter(bool), st.data())
def test_a_message_that_is_cut_off_is_refused(message: dict[str, Any], data: st.DataObject) -> None:
    whole = pack(message)
    with pytest.raises(CodecError):
        unpack(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (array(dtype="|O"), "type '|O' is refused"),
        (array(dtype="<U4"), "is refused"),
        (array(dtype="<c8"), "is refused"),
        (array(dtype="f4,f4"), "is refused"),
        (array(dtype="|V8"), "is refused"),
        (array(dtype=7), "is refused"),
        (array(shape=[3]), "does not have 8 bytes"),
        (array(shape=[2**62, 2**62]), "does not have 8 bytes"),
        (array(shape=[-1]), "whole numbers"),
        (array(shape=[1.5]), "whole numbers"),
        (array(shape=[True]), "whole numbers"),
        (array(shape=[1] * 9), "at most 8"),
        (array(shape=None), "at most 8"),
        (array(data="text"), "data as bytes"),
        ({b"__npgeneric__": True, b"data": 300, b"dtype": "|O"}, "is refused"),
        ({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}, "no readable"),
        (msgpack.ExtType(5, b"x"), "extension 5"),
        (list(range(5000)), "no readable"),
    ],
)
def test_what_could_do_harm_is_refused_by_name(value: Any, words: str) -> None:
    with pytest.raises(CodecError, match=words.replace("|", r"\|")):
        unpack(msgpack.packb({"a": value}))


@pytest.mark.parametrize("value", [[1], 5, "text", None, {5: 1}, {b"a": 1}])
def test_a_message_is_a_map_with_keys_of_text(value: Any) -> None:
    with pytest.raises(CodecError):
        unpack(msgpack.packb(value))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(CodecError):
        unpack(b"\x81\xa1a" + b"\x91" * 100_000 + b"\x00")


@pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["a"]), np.complex64(1), {1, 2}, 2**70])
def test_what_cannot_be_carried_is_not_sent(value: Any) -> None:
    with pytest.raises(CodecError):
        pack({"a": value})
