"""Segments and fences: the objects a lane is made of.

A segment is one group commit, a fence ends the lane and names the lane that goes on.
Both begin with the same header of 144 bytes, big-endian:

    offset  size  field
    0       4     magic "OSQL"
    4       1     format, 2; 1 in what the first format left, whose records differ
    5       1     kind: 1 segment, 2 fence
    6       1     compression of the body: 0 none, 1 zstd
    7       1     zero
    8       8     lane: the epoch in the object's own key
    16      8     epoch of the writer; in a fence the lane that goes on
    24      8     sequence: the number in the object's own key
    32      8     settled: the writer knew every slot of its lane up to here to be durable
    40      4     count of records
    44      4     size of the body as stored
    48      4     size of the records, uncompressed
    52      26    incarnation of the writer, ASCII
    78      2     zero
    80      32    hash of the object in the slot before
    112     32    SHA-256 of bytes 0 to 112 and the body
    144     …     body

The last header field is also the object's own hash, which the next slot names: the
checksum and the links of the chain are one number. In every format the header has this size, and its first
five bytes and its checksum lie where they do here, so that a later format is told from damage.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import NamedTuple

import zstandard

from osqueue_service.errors import CorruptObject, WrittenByNewer
from osqueue_service.log.paths import EPOCH_MAX, SEQUENCE_MAX, parse_segment_key, segment_key

SEGMENT_FORMAT = 2
FORMATS_READ = (1, 2)
RECORDS_BYTES_MAX = 256 * 1024 * 1024
"""The largest uncompressed body of one segment. The engine's own batch limits lie far below."""

COMPRESS_FROM_BYTES = 1_024
"""Bodies from this size are compressed; below it a frame costs more time than it saves bytes (docs/data-format.md)."""
COMPRESSION_LEVEL = 1

INCARNATION_LENGTH = 26

WAY_OUT = "restore it from a copy or an earlier version of the object, and run `osqueue verify`"
"""What an operator does about an object that is damaged."""

_MAGIC = b"OSQL"
_KIND_SEGMENT = 1
_KIND_FENCE = 2
_PLAIN = 0
_ZSTD = 1
_FIELDS = struct.Struct(">4sBBBBQQQQIII26sH32s")
_CHECKSUM_BYTES = 32
HEADER_BYTES = _FIELDS.size + _CHECKSUM_BYTES


class _Header(NamedTuple):
    magic: bytes
    format: int
    kind: int
    compression: int
    zero: int
    lane: int
    epoch: int
    sequence: int
    settled: int
    records: int
    stored_bytes: int
    raw_bytes: int
    incarnation: bytes
    zero_too: int
    previous_hash: bytes


_compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
_decompressor = zstandard.ZstdDecompressor()


@dataclass(frozen=True, slots=True)
class Encoded:
    """An object's bytes and the hash by which its successor names it."""

    body: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """One group commit of the leader of `epoch`, which is also its lane."""

    epoch: int
    sequence: int
    incarnation: str
    previous_hash: bytes
    settled: int
    count: int
    records: bytes
    format: int = SEGMENT_FORMAT
    """Of the records, as its header says."""

    @property
    def lane(self) -> int:
        return self.epoch

    @property
    def key(self) -> str:
        return segment_key(self.epoch, self.sequence)

    def encode(self) -> Encoded:
        if len(self.records) > RECORDS_BYTES_MAX:
            raise ValueError(f"a segment of {len(self.records)} bytes exceeds {RECORDS_BYTES_MAX}")
        if self.count < 1:
            raise ValueError("a segment holds at least one record")
        body, compression = self.records, _PLAIN
        if len(body) >= COMPRESS_FROM_BYTES:
            packed = _compressor.compress(body)
            if len(packed) < len(body):
                body, compression = packed, _ZSTD
        return _encode(self, _KIND_SEGMENT, compression, self.settled, self.count, len(self.records), body)


@dataclass(frozen=True, slots=True)
class Fence:
    """The end of `lane`: from the next sequence on, the log goes on in the lane of `epoch`."""

    lane: int
    epoch: int
    sequence: int
    incarnation: str
    previous_hash: bytes

    @property
    def key(self) -> str:
        return segment_key(self.lane, self.sequence)

    def encode(self) -> Encoded:
        return _encode(self, _KIND_FENCE, _PLAIN, 0, 0, 0, b"")


@dataclass(frozen=True, slots=True)
class Decoded:
    """What lay in a slot, and the hash by which its successor must name it."""

    entry: Segment | Fence
    hash: bytes


def decode(key: str, body: bytes) -> Decoded:
    """The object that lies at `key`; `CorruptObject` for anything that was not written exactly so, and there, and
    `WrittenByNewer` for a later format."""
    slot = parse_segment_key(key)
    if slot is None:
        raise ValueError(f"{key} is not a key of the log")
    if len(body) < HEADER_BYTES:
        raise CorruptObject(key, f"it is truncated: {len(body)} bytes, a header alone has {HEADER_BYTES}")
    header = _Header._make(_FIELDS.unpack_from(body))
    if header.magic != _MAGIC:
        raise CorruptObject(key, "it is not an object of this log: the magic number is missing")
    checksum = body[_FIELDS.size : HEADER_BYTES]
    stored = body[HEADER_BYTES:]
    if _checksum(body[: _FIELDS.size], stored) != checksum:
        raise CorruptObject(key, f"its checksum does not match its content; {WAY_OUT}")
    if header.format not in FORMATS_READ:
        raise WrittenByNewer(key, f"has format {header.format}")
    # From here on the bytes are those of some writer; what follows rejects a writer with a bug, or a moved object.
    if (header.lane, header.sequence) != slot:
        raise CorruptObject(
            key, f"it was written for lane {header.lane}, sequence {header.sequence}, and does not belong here"
        )
    return Decoded(_entry(key, header, stored), checksum)


def _entry(key: str, header: _Header, stored: bytes) -> Segment | Fence:
    if header.zero or header.zero_too or header.stored_bytes != len(stored):
        raise CorruptObject(key, "its header contradicts its size or sets reserved fields")
    if not header.incarnation.isascii():
        raise CorruptObject(key, "the incarnation in its header is not ASCII")
    incarnation = header.incarnation.decode("ascii")
    link = header.previous_hash
    if header.kind == _KIND_FENCE and header.epoch > header.lane:
        if header.compression or header.settled or header.records or header.raw_bytes or stored:
            raise CorruptObject(key, "it is a fence, and a fence holds nothing")
        return Fence(header.lane, header.epoch, header.sequence, incarnation, link)
    if header.kind == _KIND_SEGMENT and header.epoch == header.lane:
        if header.settled >= header.sequence or not header.records:
            raise CorruptObject(key, "it is a segment without records, or settled before it was written")
        records = _records(key, header.compression, header.raw_bytes, stored)
        return Segment(
            header.epoch, header.sequence, incarnation, link, header.settled, header.records, records, header.format
        )
    raise CorruptObject(key, f"its header makes no sense: kind {header.kind}, epoch {header.epoch}")


def _encode(
    entry: Segment | Fence, kind: int, compression: int, settled: int, count: int, raw_bytes: int, body: bytes
) -> Encoded:
    name = entry.incarnation.encode("ascii")
    if len(name) != INCARNATION_LENGTH or len(entry.previous_hash) != _CHECKSUM_BYTES:
        raise ValueError(f"an incarnation has {INCARNATION_LENGTH} characters and a hash {_CHECKSUM_BYTES} bytes")
    if entry.epoch > EPOCH_MAX or entry.sequence > SEQUENCE_MAX:
        raise ValueError("the log's numbers are used up")
    fields = _FIELDS.pack(
        _MAGIC,
        SEGMENT_FORMAT,
        kind,
        compression,
        0,
        entry.lane,
        entry.epoch,
        entry.sequence,
        settled,
        count,
        len(body),
        raw_bytes,
        name,
        0,
        entry.previous_hash,
    )
    checksum = _checksum(fields, body)
    return Encoded(b"".join((fields, checksum, body)), checksum)


def _checksum(fields: bytes, body: bytes) -> bytes:
    digest = hashlib.sha256(fields)
    digest.update(body)
    return digest.digest()


def _records(key: str, compression: int, raw_bytes: int, stored: bytes) -> bytes:
    if compression == _PLAIN and raw_bytes == len(stored):
        return stored
    if compression != _ZSTD or raw_bytes > RECORDS_BYTES_MAX:
        raise CorruptObject(key, f"its body cannot be read (compression {compression}, {raw_bytes} bytes)")
    return unpack(key, stored, raw_bytes)


def unpack(key: str, stored: bytes | memoryview, raw_bytes: int) -> bytes:
    """Decompress one zstd frame that must hold exactly `raw_bytes`, checked before anything is allocated."""
    try:
        if zstandard.get_frame_parameters(stored).content_size != raw_bytes:
            raise CorruptObject(key, f"a compressed part does not hold the {raw_bytes} bytes it promises")
        return _decompressor.decompress(stored, max_output_size=raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptObject(key, f"a compressed part cannot be read: {error}") from None
