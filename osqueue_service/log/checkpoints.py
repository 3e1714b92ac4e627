"""Checkpoints: the state after one sequence, as chunks whose boundaries are kept.

What a chunk holds is the engine's business. Writing and reading a checkpoint goes chunk
by chunk and lets commits and renewals run in between, so it never stalls them however
large the queue is. A small checkpoint lies in the root itself; a larger one in objects
of a few MiB each, which begin with this header of 96 bytes, big-endian:

    offset  size  field
    0       4     magic "OSQC"
    4       1     format, 1
    5       3     zero
    8       8     sequence, as in the key
    16      8     epoch, as in the key
    24      4     part, as in the key
    28      4     count of chunks in this part
    32      26    incarnation of the writer, ASCII
    58      2     zero
    60      32    chain hash of the object at this epoch and sequence of the log
    92      4     CRC-32 of the body and bytes 0 to 92, in this order
    96      …     body: the chunks, each as stored size (4), size (4), zstd frame

An inline state is such a body, without a header. The CRC tells which object is damaged;
what vouches for the content is the root's SHA-256 over the bodies of all parts in order.
Both grow with every chunk, so that no step takes longer than one chunk does.
"""

import asyncio
import hashlib
import struct
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import zstandard

from osqueue_service.errors import CorruptObject, WrittenByNewer
from osqueue_service.log.paths import ROOT, checkpoint_key, parse_checkpoint_key
from osqueue_service.log.position import Position
from osqueue_service.log.read_ahead import ReadAhead, Window
from osqueue_service.log.root import CONTENT_FORMAT, INLINE_BYTES_MAX, CheckpointRef, Root
from osqueue_service.log.segment import COMPRESSION_LEVEL, WAY_OUT, unpack
from osqueue_service.log.settle import Settler

CHECKPOINT_FORMAT = 1
CHUNK_BYTES_MAX = 256 * 1024 * 1024
"""The largest chunk accepted. About 1 MiB is a good size: compressing it takes two milliseconds."""
PART_BYTES = 4 * 1024 * 1024
"""A part is closed when it has reached this size; cloud SDKs split larger uploads into several requests."""
APART_BYTES = 64 * 1024
"""A chunk of at least this size is compressed and summed up in a thread, while the event loop serves callers; for a
smaller one the way there takes longer than the work."""
READ_AHEAD_PARTS = 4

_MAGIC = b"OSQC"
_FIELDS = struct.Struct(">4sB3sQQII26sH32s")
_CRC = struct.Struct(">I")
_CHUNK = struct.Struct(">II")
_HEADER_BYTES = _FIELDS.size + _CRC.size

Image = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""A state as chunks; plain bytes are one chunk."""


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint that is durable, and what the root must say to vouch for it."""

    ref: CheckpointRef
    state: bytes | None


class CheckpointWriter:
    """Writes the checkpoint of one position; used once."""

    def __init__(self, settler: Settler, incarnation: str, position: Position) -> None:
        self._settler = settler
        self._incarnation = incarnation
        self._position = position
        self._body = bytearray()
        self._chunks = 0
        self._parts = 0
        self._size = 0
        self._crc = 0
        self._digest = hashlib.sha256()
        # One of its own: a compressor is not for two threads at once, and other brokers of this process have theirs.
        self._compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)

    async def write(self, image: Image, inline_room: int = INLINE_BYTES_MAX) -> Written:
        """Make the state durable. It stays inline when its base64 text fits in `inline_room` bytes."""
        async for chunk in _chunks_of(image):
            if len(chunk) > CHUNK_BYTES_MAX:
                raise ValueError(f"a checkpoint chunk of {len(chunk)} bytes exceeds {CHUNK_BYTES_MAX}")
            if len(chunk) < APART_BYTES:
                self._add(chunk)
            else:
                await asyncio.get_running_loop().run_in_executor(None, self._add, chunk)
            if len(self._body) >= PART_BYTES:
                await self._put_part()
            await self._settler.clock.sleep_ms(0)  # let commits and renewals run between chunks
        if not self._parts and len(self._body) * 4 / 3 + 4 <= inline_room:
            return Written(self._ref("inline"), bytes(self._body))
        if self._body:
            await self._put_part()
        return Written(self._ref("objects"), None)

    def _add(self, chunk: bytes) -> None:
        """Compress and sum up one chunk. Nothing else of this writer happens meanwhile, so it may run in a thread."""
        packed = self._compressor.compress(chunk)
        stored = _CHUNK.pack(len(packed), len(chunk)) + packed
        self._body += stored
        self._crc = zlib.crc32(stored, self._crc)
        self._digest.update(stored)
        self._size += len(stored)
        self._chunks += 1

    async def _put_part(self) -> None:
        position = self._position
        key = checkpoint_key(position.sequence, position.lane, self._parts)
        fields = _FIELDS.pack(
            _MAGIC,
            CHECKPOINT_FORMAT,
            bytes(3),
            position.sequence,
            position.lane,
            self._parts,
            self._chunks,
            self._incarnation.encode("ascii"),
            0,
            position.hash,
        )
        part = b"".join((fields, _CRC.pack(zlib.crc32(fields, self._crc)), self._body))
        settled = await self._settler.put(key, part)
        if settled.other is not None:
            raise CorruptObject(
                key, "it was written by another broker, though only the leader of its epoch may: run `osqueue verify`"
            )
        self._parts += 1
        self._body = bytearray()
        self._chunks = 0
        self._crc = 0

    def _ref(self, form: Literal["inline", "objects"]) -> CheckpointRef:
        return CheckpointRef(
            sequence=self._position.sequence,
            epoch=self._position.lane,
            hash=self._position.hash.hex(),
            form=form,
            parts=self._parts,
            size=self._size,
            sha256=self._digest.hexdigest(),
            format=CONTENT_FORMAT,
        )


async def read_checkpoint(settler: Settler, root: Root, load: Callable[[bytes], None]) -> None:
    """Hand the chunks of the checkpoint that `root` vouches for to `load`, in order.

    Raises `CorruptObject` naming the object that is missing or not what it must be, or that `load` refuses;
    chunks may have been handed out by then, and nothing built from them may be used.
    """
    ref = root.checkpoint
    if ref.form == "inline":
        state = root.state or b""
        if len(state) != ref.size or hashlib.sha256(state).hexdigest() != ref.sha256:
            raise CorruptObject(ROOT, "its inline state does not match the size and sha256 beside it")
        for chunk in _unpack_chunks(ROOT, state, None):
            _load(ROOT, chunk, load)
            await settler.clock.sleep_ms(0)
    elif ref.form == "objects":
        async for key, chunk in _read_parts(settler, ref):
            _load(key, chunk, load)
            await settler.clock.sleep_ms(0)


def _load(key: str, chunk: bytes, load: Callable[[bytes], None]) -> None:
    try:
        load(chunk)
    except CorruptObject as corrupt:
        # Who reads the content knows what is wrong with it, but not in which object it lay.
        raise CorruptObject(key, corrupt.problem) from corrupt
    except WrittenByNewer as newer:
        raise WrittenByNewer(key, newer.what) from newer


async def _read_parts(settler: Settler, ref: CheckpointRef) -> AsyncIterator[tuple[str, bytes]]:
    digest = hashlib.sha256()
    size = 0
    ahead = ReadAhead(
        settler,
        lambda part: checkpoint_key(ref.sequence, ref.epoch, part),
        first=0,
        window=Window(READ_AHEAD_PARTS, READ_AHEAD_PARTS),
        end=ref.parts,
    )
    try:
        for part in range(ref.parts):
            key = checkpoint_key(ref.sequence, ref.epoch, part)
            found = await ahead.take()
            if found is None:
                raise CorruptObject(
                    key,
                    "it is missing, and the root vouches for it: restore it from a copy or an earlier object version",
                )
            body, chunks = _open_part(key, found, ref)
            digest.update(body)
            size += len(body)
            for chunk in _unpack_chunks(key, body, chunks):
                yield key, chunk
    finally:
        ahead.close()
    if size != ref.size or digest.hexdigest() != ref.sha256:
        raise CorruptObject(
            checkpoint_key(ref.sequence, ref.epoch, 0),
            f"this checkpoint's {ref.parts} objects do not match the size and sha256 in {ROOT}",
        )


def _open_part(key: str, body: bytes, ref: CheckpointRef) -> tuple[memoryview, int]:
    """The body of one checkpoint object and its count of chunks, checked against its key and the root's reference."""
    if len(body) < _HEADER_BYTES:
        raise CorruptObject(key, f"it is truncated: {len(body)} bytes, a header alone has {_HEADER_BYTES}")
    fields = body[: _FIELDS.size]
    magic, version, zero_a, sequence, epoch, part, chunks, _, zero_b, link = _FIELDS.unpack(fields)
    if magic != _MAGIC:
        raise CorruptObject(key, "it is not part of a checkpoint: the magic number is missing")
    content = memoryview(body)[_HEADER_BYTES:]
    if zlib.crc32(fields, zlib.crc32(content)) != _CRC.unpack_from(body, _FIELDS.size)[0]:
        raise CorruptObject(key, f"its checksum does not match its content; {WAY_OUT}")
    if version != CHECKPOINT_FORMAT:
        raise WrittenByNewer(key, f"has format {version}")
    path = parse_checkpoint_key(key)
    if path != (sequence, epoch, part) or zero_a != bytes(3) or zero_b:
        raise CorruptObject(
            key, f"it was written as part {part} of checkpoint {sequence}-{epoch}, and does not belong here"
        )
    if link.hex() != ref.hash:
        raise CorruptObject(key, "it follows another object of the log than the one named in the root")
    return content, chunks


def _unpack_chunks(key: str, body: bytes | memoryview, expected: int | None) -> Iterable[bytes]:
    offset = count = 0
    while offset < len(body):
        if offset + _CHUNK.size > len(body):
            raise CorruptObject(key, "its last chunk is cut off")
        stored, raw = _CHUNK.unpack_from(body, offset)
        offset += _CHUNK.size
        if raw > CHUNK_BYTES_MAX or offset + stored > len(body):
            raise CorruptObject(key, f"chunk {count} claims more bytes than there are")
        yield unpack(key, body[offset : offset + stored], raw)
        offset += stored
        count += 1
    if expected is not None and count != expected:
        raise CorruptObject(key, f"it holds {count} chunks where its header says {expected}")


async def _chunks_of(image: Image) -> AsyncIterator[bytes]:
    if isinstance(image, bytes):
        yield image
    elif isinstance(image, AsyncIterable):
        async for chunk in image:
            yield chunk
    else:
        for chunk in image:
            yield chunk
