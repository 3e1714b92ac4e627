"""Checkpoints: chunks come back as they were given, from the root or from objects, and damage is named."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

import msgspec
import pytest
import zstandard

from osqueue_service.errors import CorruptObject, StoreDenied
from osqueue_service.log import CheckpointWriter, Position, Root, checkpoints
from osqueue_service.log.checkpoints import Image, Written, read_checkpoint
from osqueue_service.log.paths import checkpoint_key
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import FaultKind
from tests.unit.log.fixtures import ME, OTHER, settler_over
from tests.unit.log.test_root import ROOT
from tests.unit.log.virtual import VirtualClock, run

FROZEN = Path(__file__).parent / "frozen"
AT = Position(lane=3, sequence=40, hash=bytes(range(32)))
FROZEN_SIZE = 52
FROZEN_SHA256 = "7c8be2d4c3617c571b37244380084e70cff9a4f2ca812400c2189ae89563792b"
PARTS = [checkpoint_key(40, 3, part) for part in range(3)]


async def write(bucket: MemoryBucket, image: Image, room: int = 256 * 1024) -> Written:
    return await CheckpointWriter(settler_over(bucket), ME, AT).write(image, room)


async def read(bucket: MemoryBucket, written: Written) -> list[bytes]:
    chunks: list[bytes] = []
    root = msgspec.structs.replace(ROOT, checkpoint=written.ref, state=written.state)
    await read_checkpoint(settler_over(bucket), Root(**msgspec.structs.asdict(root)), chunks.append)
    return chunks


async def two_chunks() -> AsyncIterator[bytes]:
    yield b"first"
    await VirtualClock().sleep_ms(5)
    yield b"second"


class SlowCompressor:
    """Compresses nothing until it may."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may = threading.Event()

    def compress(self, chunk: bytes) -> bytes:
        self.begun.set()
        assert self.may.wait(30), "the event loop stood still meanwhile"
        return zstandard.ZstdCompressor().compress(chunk)


@pytest.mark.parametrize("size", [checkpoints.APART_BYTES, checkpoints.APART_BYTES + 1])
def test_a_large_chunk_is_compressed_while_the_loop_goes_on(size: int) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        writer = CheckpointWriter(settler_over(bucket), ME, AT)
        writer._compressor = slow = SlowCompressor()  # type: ignore[assignment]
        writing = asyncio.ensure_future(writer.write(os.urandom(size)))
        while not slow.begun.is_set():
            await asyncio.sleep(0)
        slow.may.set()
        assert (await writing).ref.form == "inline"

    asyncio.run(scenario())


def test_a_small_chunk_is_compressed_at_once() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        with mock.patch.object(asyncio.get_running_loop(), "run_in_executor", side_effect=AssertionError("a thread")):
            written = await write(bucket, os.urandom(checkpoints.APART_BYTES - 1))
        assert written.ref.form == "inline"

    run(scenario())


@pytest.mark.parametrize(("short_by", "parts"), [(0, 2), (1, 1)])
def test_an_object_is_closed_by_the_chunk_that_reaches_its_size(
    monkeypatch: pytest.MonkeyPatch, short_by: int, parts: int
) -> None:
    assert checkpoints.PART_BYTES == 4 * 1024 * 1024
    chunk = os.urandom(1_000)

    async def scenario() -> None:
        alone = await write(MemoryBucket(), chunk)
        monkeypatch.setattr(checkpoints, "PART_BYTES", alone.ref.size + short_by)
        written = await write(MemoryBucket(), [chunk, b"x"], room=0)
        assert written.ref.parts == parts

    run(scenario())


def test_a_small_state_lies_in_the_root() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        for image, chunks in ((b"one", [b"one"]), ([b"a", b"", b"c"], [b"a", b"", b"c"]), ([], [])):
            written = await write(bucket, image)  # type: ignore[arg-type]
            assert written.ref.form == "inline"
            assert written.state is not None
            assert (written.ref.sequence, written.ref.epoch, written.ref.hash) == (40, 3, AT.hash.hex())
            assert await read(bucket, written) == chunks
        assert await read(bucket, await write(bucket, two_chunks())) == [b"first", b"second"]
        assert bucket.keys_after("", "", 9) == []

    run(scenario())


def test_a_state_is_inline_exactly_while_its_text_fits() -> None:
    async def scenario() -> None:
        noise = os.urandom(1_000)
        size = len((await write(MemoryBucket(), noise)).state or b"")
        fits = len(msgspec.json.encode(b"x" * size)) + 4
        assert (await write(MemoryBucket(), noise, fits)).ref.form == "inline"
        assert (await write(MemoryBucket(), noise, fits - 8)).ref.form == "objects"

    run(scenario())


def test_a_large_state_lies_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 3_000)

    async def scenario() -> None:
        bucket = MemoryBucket()
        chunks = [os.urandom(1_400) for _ in range(7)]
        written = await write(bucket, chunks, 0)
        assert written.ref.form == "objects"
        assert written.ref.parts == 3
        assert written.state is None
        assert bucket.keys_after("", "", 9) == PARTS
        assert await read(bucket, written) == chunks

    run(scenario())


@pytest.mark.parametrize("fault", [FaultKind.FAIL_AFTER, FaultKind.FAIL_BEFORE, FaultKind.REFUSED_AFTER])
def test_a_part_is_settled_like_any_put(fault: FaultKind) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        written = await CheckpointWriter(settler_over(bucket, fault), ME, AT).write(b"state", 0)
        assert await read(bucket, written) == [b"state"]

    run(scenario())


def test_the_name_of_a_checkpoint_belongs_to_its_writer() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await CheckpointWriter(settler_over(bucket), OTHER, AT).write(b"state", 0)
        with pytest.raises(CorruptObject, match="written by another broker"):
            await write(bucket, b"state", 0)

    run(scenario())


def test_commits_run_between_the_chunks() -> None:
    async def scenario() -> None:
        steps = 0

        async def other_work() -> None:
            nonlocal steps
            while True:
                await asyncio.sleep(0)
                steps += 1

        work = asyncio.ensure_future(other_work())
        await write(MemoryBucket(), [b"x" * 100] * 50)
        assert steps >= 49
        work.cancel()

    run(scenario())


def test_a_chunk_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHUNK_BYTES_MAX", 100)

    async def scenario() -> None:
        await write(MemoryBucket(), b"x" * 100)
        with pytest.raises(ValueError, match="exceeds 100"):
            await write(MemoryBucket(), b"x" * 101)

    run(scenario())


def test_every_damaged_byte_of_a_part_is_found_and_named() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        written = await write(bucket, [b"chunk one", b"chunk two"], 0)
        stored = bucket.get(PARTS[0])
        assert stored is not None
        for offset in range(len(stored.body)):
            damaged = bytearray(stored.body)
            damaged[offset] ^= 1
            bucket.overwrite(PARTS[0], bytes(damaged))
            with pytest.raises(CorruptObject) as caught:
                await read(bucket, written)
            assert caught.value.key == PARTS[0]
        for length in range(len(stored.body)):
            bucket.overwrite(PARTS[0], stored.body[:length])
            with pytest.raises(CorruptObject):
                await read(bucket, written)

    run(scenario())


def test_a_missing_part_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 10)

    async def scenario() -> None:
        for lost in PARTS:
            bucket = MemoryBucket()
            written = await write(bucket, [b"one", b"two", b"three"], 0)
            bucket.remove(lost)
            with pytest.raises(CorruptObject, match="it is missing, and the root vouches for it") as caught:
                await read(bucket, written)
            assert caught.value.key == lost

    run(scenario())


def test_a_part_of_another_checkpoint_is_refused() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        written = await write(bucket, b"state", 0)
        for elsewhere, problem in (
            (Position(3, 41, AT.hash), "does not belong here"),
            (Position(3, 40, b"z" * 32), "another object of the log"),
        ):
            other = MemoryBucket()
            await CheckpointWriter(settler_over(other), ME, elsewhere).write(b"state", 0)
            stored = other.get(other.keys_after("", "", 1)[0])
            assert stored is not None
            bucket.overwrite(PARTS[0], stored.body)
            with pytest.raises(CorruptObject, match=problem):
                await read(bucket, written)

    run(scenario())


def test_a_sound_part_that_the_root_does_not_vouch_for_is_refused() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        vouched = await write(bucket, b"state", 0)
        bucket.remove(PARTS[0])
        await write(bucket, b"other", 0)
        with pytest.raises(CorruptObject, match="sha256"):
            await read(bucket, vouched)

    run(scenario())


def test_a_damaged_inline_state_is_refused() -> None:
    async def scenario() -> None:
        written = await write(MemoryBucket(), b"state")
        assert written.state is not None
        for damaged in (written.state[:-1], b"?" + written.state[1:], b""):
            with pytest.raises(CorruptObject, match="inline") as caught:
                await read(MemoryBucket(), Written(written.ref, damaged))
            assert caught.value.key == "queue.json"

    run(scenario())


def test_a_store_that_denies_a_read_says_so() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        written = await write(bucket, b"state", 0)
        settler = settler_over(bucket)

        async def denied(key: str) -> None:
            raise StoreDenied("403")

        settler.store.read = denied  # type: ignore[method-assign,assignment]
        root = msgspec.structs.replace(ROOT, checkpoint=written.ref, state=None)
        with pytest.raises(StoreDenied):
            await read_checkpoint(settler, root, lambda chunk: None)

    run(scenario())


def test_a_part_of_format_1_is_read_for_ever() -> None:
    async def scenario() -> None:
        frozen = bytes.fromhex((FROZEN / "checkpoint-1.hex").read_text())
        bucket = MemoryBucket()
        written = await write(bucket, [b"chunk one", b"chunk two"], 0)
        bucket.overwrite(PARTS[0], frozen)
        ref = msgspec.structs.replace(written.ref, size=FROZEN_SIZE, sha256=FROZEN_SHA256)
        assert await read(bucket, Written(ref, None)) == [b"chunk one", b"chunk two"]

    run(scenario())


def test_reads_that_fail_are_repeated() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        written = await write(bucket, b"state", 0)
        settler = settler_over(
            bucket, *[FaultKind.FAIL_BEFORE, FaultKind.UNAVAILABLE] * 5, where=lambda op, _: op is Operation.READ
        )
        chunks: list[bytes] = []
        await read_checkpoint(settler, msgspec.structs.replace(ROOT, checkpoint=written.ref, state=None), chunks.append)
        assert chunks == [b"state"]
        assert settler.counters.reads_repeated == 5

    run(scenario())
