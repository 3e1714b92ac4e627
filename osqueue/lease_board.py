"""The leases that a worker holds, in memory that it shares with its guard: what the guard must know when the worker
cannot say anything any more.

One writer, the worker's process; one reader. A record is written before it is marked as taken,
and freed by the same byte, so that the reader sees whole ones; a stale one costs a refused call.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

RECORD_BYTES = 128
HEADER_BYTES = 128
RECORDS_MAX = 32_768
"""Leases beyond this are not on the board, and their jobs not guarded."""

_FREE, _TAKEN = 0, 1
_HEAD = struct.Struct("<BBBBIddd")
TEXT_BYTES = RECORD_BYTES - _HEAD.size
_RECORD = struct.Struct(f"<BBBBIddd{TEXT_BYTES}s")
_DOUBLES = RECORD_BYTES // 8
_BEGUN_AT = (HEADER_BYTES + _HEAD.size) // 8 - 1
_ASKED_AT = _BEGUN_AT - 1
"""Where these stand in the first record, in eights of bytes."""
_STAMP = struct.Struct("<dB")


class Entry(NamedTuple):
    """One lease. Times are monotonic, in seconds, and the same for all processes of a machine; `begun_at` is 0 unless
    its handler runs."""

    job_id: str
    token: str
    attempt: int
    length_s: float
    asked_at: float
    begun_at: float
    in_process: bool


class LeaseBoard:
    """A table of leases in a file that has no name. `file` is its descriptor, for another process to open."""

    def __init__(self, records: int) -> None:
        self.records = min(records, RECORDS_MAX)
        size = HEADER_BYTES + self.records * RECORD_BYTES
        self.file = _nameless_file()
        os.ftruncate(self.file, size)
        self._memory = mmap.mmap(self.file, size)
        self._doubles = memoryview(self._memory).cast("d")
        self._free = list(range(self.records - 1, -1, -1))
        self._closed = False

    def put(self, job_id: str, token: str, attempt: int, length_s: float, asked_at: float, in_process: bool) -> int:
        """Note a lease: its place, or -1 when there is none for it."""
        name, proof = job_id.encode(), token.encode()
        if len(name) + len(proof) > TEXT_BYTES:
            return -1
        try:
            place = self._free.pop()
        except IndexError:
            return -1
        start = HEADER_BYTES + place * RECORD_BYTES
        sizes = _FREE, len(name), len(proof)
        attempt &= 0xFFFFFFFF
        _RECORD.pack_into(self._memory, start, *sizes, in_process, attempt, length_s, asked_at, 0.0, name + proof)
        self._memory[start] = _TAKEN
        return place

    def asked(self, place: int, at: float) -> None:
        """A renewal was sent."""
        if place >= 0:
            self._doubles[place * _DOUBLES + _ASKED_AT] = at

    def begun(self, place: int, at: float) -> None:
        """Its handler begins now; with 0: it has ended."""
        if place >= 0:
            self._doubles[place * _DOUBLES + _BEGUN_AT] = at

    def take_off(self, place: int) -> None:
        """The lease is over."""
        if place >= 0:
            self._memory[HEADER_BYTES + place * RECORD_BYTES] = _FREE
            self._free.append(place)

    def stamp(self) -> None:
        """The worker's keeper is alive."""
        _STAMP.pack_into(self._memory, 0, time.monotonic(), 0)

    def say_goodbye(self) -> None:
        """The worker ends in order."""
        _STAMP.pack_into(self._memory, 0, time.monotonic(), 1)

    def close(self) -> None:
        """Let go of the memory; idempotent. Records that are still written go nowhere."""
        if not self._closed:
            self._closed = True
            os.close(self.file)


class BoardReader:
    """The same table, in the guard's process."""

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, 0, access=mmap.ACCESS_READ)

    def stamped(self) -> tuple[float, bool]:
        """When the keeper was last alive, and whether the worker has said goodbye."""
        at, goodbye = _STAMP.unpack_from(self._memory, 0)
        return at, bool(goodbye)

    @property
    def empty(self) -> bool:
        """There is no lease."""
        return _TAKEN not in self._marks()

    def _marks(self) -> bytes:
        return self._memory[HEADER_BYTES::RECORD_BYTES]

    def entries(self) -> Iterator[Entry]:
        """The leases."""
        memory, marks, place = self._memory, self._marks(), -1
        while (place := marks.find(_TAKEN, place + 1)) >= 0:
            start = HEADER_BYTES + place * RECORD_BYTES
            _, name, proof, in_process, attempt, length_s, asked_at, begun_at = _HEAD.unpack_from(memory, start)
            text = memory[start + _HEAD.size : start + _HEAD.size + name + proof]
            try:
                yield Entry(
                    text[:name].decode(), text[name:].decode(), attempt, length_s, asked_at, begun_at, bool(in_process)
                )
            except UnicodeDecodeError:  # it is being written just now
                continue


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("osqueue-leases")
    import tempfile  # with much behind it, for workers alone

    with tempfile.TemporaryFile(prefix="osqueue-leases-") as file:
        return os.dup(file.fileno())
