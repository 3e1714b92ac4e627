"""Segments and fences: exactly what was written is read, and anything else is refused by name."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue_service.errors import CorruptObject, WrittenByNewer
from osqueue_service.log.paths import segment_key
from osqueue_service.log.segment import COMPRESS_FROM_BYTES, HEADER_BYTES, Fence, Segment, decode
from tests.unit.log.fixtures import ME

FROZEN = Path(__file__).parent / "frozen"

SMALL = Segment(3, 8, ME, bytes(range(32)), 6, 2, b"two records")
LARGE = Segment(3, 9, ME, bytes(range(32)), 7, 500, b"a record like all the others; " * 500)
FENCE = Fence(3, 5, 10, ME, bytes(range(32)))


@pytest.mark.parametrize("entry", [SMALL, LARGE, FENCE], ids=["small", "large", "fence"])
def test_what_is_written_is_read(entry: Segment | Fence) -> None:
    encoded = entry.encode()
    decoded = decode(entry.key, encoded.body)
    assert decoded.entry == entry
    assert decoded.hash == encoded.hash


@given(st.binary(max_size=3 * COMPRESS_FROM_BYTES), st.integers(1, 2**32 - 1), st.integers(1, 10**10 - 1))
def test_any_records_are_read_back(records: bytes, count: int, epoch: int) -> None:
    segment = Segment(epoch, 8, ME, bytes(32), 0, count, records)
    assert decode(segment.key, segment.encode().body).entry == segment


def test_only_bodies_that_gain_by_it_are_compressed() -> None:
    assert SMALL.encode().body.endswith(b"two records")
    assert len(LARGE.encode().body) < len(LARGE.records) / 10
    noise = b"".join(bytes([(i * 7919 + i * i) % 251]) for i in range(COMPRESS_FROM_BYTES))
    assert len(Segment(3, 8, ME, bytes(32), 0, 1, noise).encode().body) <= HEADER_BYTES + len(noise)


@pytest.mark.parametrize("entry", [SMALL, LARGE, FENCE], ids=["small", "large", "fence"])
def test_every_flipped_byte_is_found(entry: Segment | Fence) -> None:
    body = entry.encode().body
    for offset in range(len(body)):
        damaged = body[:offset] + bytes([body[offset] ^ 0x40]) + body[offset + 1 :]
        with pytest.raises(CorruptObject) as caught:
            decode(entry.key, damaged)
        assert caught.value.key == entry.key


@pytest.mark.parametrize("entry", [SMALL, LARGE, FENCE], ids=["small", "large", "fence"])
def test_every_truncation_and_any_addition_is_found(entry: Segment | Fence) -> None:
    body = entry.encode().body
    for length in range(len(body)):
        with pytest.raises(CorruptObject):
            decode(entry.key, body[:length])
    with pytest.raises(CorruptObject):
        decode(entry.key, body + b"\0")


def test_an_object_in_another_slot_is_refused() -> None:
    for key in (segment_key(3, 9), segment_key(4, 8)):
        with pytest.raises(CorruptObject, match="does not belong here"):
            decode(key, SMALL.encode().body)


def test_a_later_format_is_refused_by_name() -> None:
    body = bytearray(SMALL.encode().body)
    body[4] = 3
    with pytest.raises(CorruptObject, match="checksum"):
        decode(SMALL.key, bytes(body))  # a flipped bit is damage, whatever it makes of the format
    body[112:144] = hashlib.sha256(bytes(body[:112]) + bytes(body[144:])).digest()
    with pytest.raises(WrittenByNewer, match="by a later release of osqueue and has format 3, which osqueue"):
        decode(SMALL.key, bytes(body))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (Fence(3, 3, 10, ME, bytes(32)), "makes no sense"),
        (Fence(5, 3, 10, ME, bytes(32)), "makes no sense"),
        (Segment(3, 8, ME, bytes(32), 8, 1, b"x"), "settled before it was written"),
    ],
)
def test_a_writer_with_a_bug_is_refused(entry: Segment | Fence, problem: str) -> None:
    with pytest.raises(CorruptObject, match=problem):
        decode(entry.key, entry.encode().body)


def test_a_frame_that_claims_to_be_larger_is_not_unpacked() -> None:
    """Were only the header believed, or only the frame, one of them could make a reader allocate without bound."""
    body = bytearray(LARGE.encode().body)
    struct.pack_into(">I", body, 48, 12)
    body[112:144] = hashlib.sha256(bytes(body[:112]) + bytes(body[144:])).digest()
    with pytest.raises(CorruptObject, match="promises"):
        decode(LARGE.key, bytes(body))


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        Segment(3, 8, ME, bytes(32), 0, 0, b"").encode()
    with pytest.raises(ValueError, match="26 characters"):
        Segment(3, 8, "short", bytes(32), 0, 1, b"").encode()


@pytest.mark.parametrize(("name", "entry"), [("segment", SMALL), ("fence", FENCE)])
def test_the_bytes_of_format_2_are_frozen(name: str, entry: Segment | Fence) -> None:
    assert entry.encode().body == bytes.fromhex((FROZEN / f"{name}-2.hex").read_text())


@pytest.mark.parametrize("name", ["segment", "segment-zstd", "fence"])
@pytest.mark.parametrize("format", [1, 2])
def test_every_format_is_read_for_ever(name: str, format: int) -> None:
    # Another release of zstd may pack differently, and so of the compressed one only reading is frozen.
    written = {"segment": SMALL, "segment-zstd": LARGE, "fence": FENCE}[name]
    entry = decode(written.key, bytes.fromhex((FROZEN / f"{name}-{format}.hex").read_text())).entry
    expected = replace(written, format=format) if isinstance(written, Segment) else written
    assert entry == expected
