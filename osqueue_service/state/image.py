"""A state as bytes, and back: what a checkpoint holds (docs/data-format.md).

An image is a sequence of parts, each a MessagePack array `[kind, ...]`: one head, then jobs,
idempotency keys, request ids and settled tokens, a few hundred per part. `Snapshot` yields
the parts of one moment while the state goes on changing: a job that changes before its turn
is copied first.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct

from osqueue_service.state.model import (
    Attempt,
    Counters,
    Job,
    JobSpec,
    KeyEntry,
    Lease,
    RequestEntry,
    SettledEntry,
    Status,
    one_type_string,
)
from osqueue_service.state.placement import enter
from osqueue_service.state.state import State

FORMAT = 1
_JOBS_PER_PART = 256


class Kind(IntEnum):
    """What a part holds."""

    HEAD = 0
    JOBS = 1
    KEYS = 2
    REQUESTS = 3
    SETTLED = 4


class Head(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What there is one of."""

    format: int
    salt: str
    next_number: int
    stamp_ms: int
    counters: Counters
    paused: list[str]


class JobImage(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One job: the fields of `Job` that are not indexes."""

    spec: JobSpec
    number: int
    created_at: int
    place: int
    status: Status
    attempts: int
    claims: int
    due_at: int
    cancel_requested: bool
    finished_at: int
    keep_until: int
    lease: Lease | None
    result: bytes | None
    history: tuple[Attempt, ...]


class UnknownFormat(Exception):
    """The image was written by a newer version."""


def image_of(job: Job) -> JobImage:
    """The job as it is now."""
    return JobImage(
        job.spec, job.number, job.created_at, job.place, job.status, job.attempts, job.claims, job.due_at,
        job.cancel_requested, job.finished_at, job.keep_until, job.lease, job.result, job.history,
    )  # fmt: skip


def job_of(image: JobImage) -> Job:
    """A job in no index yet."""
    return Job(
        one_type_string(image.spec), image.number, image.created_at, image.place, image.status, image.attempts,
        image.claims, image.due_at, image.cancel_requested, image.finished_at, image.keep_until, image.lease,
        image.result, image.history,
    )  # fmt: skip


class Snapshot:
    """The parts of the state as it was when this was made.

    While it is in use the state may change, but must not forget keys, and only one snapshot may exist.
    """

    def __init__(self, state: State) -> None:
        assert state.before_change is None, "another checkpoint is being written"
        counters = msgspec.structs.replace(state.counters)
        self._state = state
        self._head = Head(FORMAT, state.salt, state.next_number, state.stamp_ms, counters, sorted(state.ready.paused))
        self._memories = [
            (Kind.KEYS, state.keys.slices()),
            (Kind.REQUESTS, state.requests.slices()),
            (Kind.SETTLED, state.settled.slices()),
        ]
        self._end = state.next_number
        # Jobs up to here in this roster, and all in the rosters before it, have been written.
        self._status = Status.UNCLAIMED
        self._cursor = 0
        self._done = False
        self._changed: set[int] = set()
        self._copies: list[JobImage] = []
        state.before_change = self._on_change

    def parts(self) -> Iterator[bytes]:
        """Each part encoded. The state may change between two parts."""
        encode = msgspec.msgpack.Encoder().encode
        try:
            yield encode([Kind.HEAD, self._head])
            for status in Status:
                self._status, self._cursor = status, 0
                while images := self._next_images():
                    yield encode([Kind.JOBS, images])
            self._done = True
            for start in range(0, len(self._copies), _JOBS_PER_PART):
                yield encode([Kind.JOBS, self._copies[start : start + _JOBS_PER_PART]])
            for kind, slices in self._memories:
                for entries in slices:
                    yield encode([kind, entries])
        finally:
            self.close()

    def close(self) -> None:
        """Let the state change freely again. Idempotent."""
        if self._state.before_change == self._on_change:
            self._state.before_change = None

    def _next_images(self) -> list[JobImage]:
        """The next few unchanged jobs of the roster at hand."""
        images: list[JobImage] = []
        for job in self._state.rosters[self._status].from_key(self._cursor):
            if job.number >= self._end:
                break
            self._cursor = job.number + 1
            if job.number not in self._changed:
                images.append(image_of(job))
                if len(images) == _JOBS_PER_PART:
                    break
        return images

    def _on_change(self, job: Job) -> None:
        number = job.number
        if number >= self._end or number in self._changed:
            return
        self._changed.add(number)
        written = self._done or job.status < self._status or (job.status == self._status and number < self._cursor)
        if not written:
            self._copies.append(image_of(job))


def encode(state: State) -> list[bytes]:
    """All parts at once. Equal states have equal images."""
    return list(Snapshot(state).parts())


def load(state: State, parts: Iterable[bytes]) -> None:
    """Fill an empty state from the parts of an image."""
    for part in parts:
        kind, content = _split(part)
        _LOAD[kind](state, content)


_RAW_PART = msgspec.msgpack.Decoder(tuple[Kind, msgspec.Raw])
_HEAD = msgspec.msgpack.Decoder(Head)
_JOBS = msgspec.msgpack.Decoder(list[JobImage])
_KEYS = msgspec.msgpack.Decoder(list[tuple[str, KeyEntry]])
_REQUESTS = msgspec.msgpack.Decoder(list[tuple[str, RequestEntry]])
_SETTLED = msgspec.msgpack.Decoder(list[tuple[str, SettledEntry]])


def _split(part: bytes) -> tuple[Kind, msgspec.Raw]:
    return _RAW_PART.decode(part)


def _load_head(state: State, raw: msgspec.Raw) -> None:
    head = _HEAD.decode(raw)
    if head.format != FORMAT:
        raise UnknownFormat(f"the checkpoint has format {head.format}; this version reads {FORMAT}: upgrade the broker")
    state.salt = head.salt
    state.next_number = head.next_number
    state.stamp_ms = head.stamp_ms
    state.counters = head.counters
    for name in head.paused:
        state.ready.pause(name)


def _load_jobs(state: State, raw: msgspec.Raw) -> None:
    for image in _JOBS.decode(raw):
        add_job(state, job_of(image))


def add_job(state: State, job: Job) -> None:
    """File a complete job in every index."""
    state.jobs[job.number] = job
    spec = job.spec
    if spec.id:
        state.aliases[spec.id] = job.number
    if spec.retention_ms:
        state.promised_jobs += 1
    if not job.status.finished:
        state.live_bytes += spec.size
    enter(state, job, [])  # nobody follows what is being loaded


def _load_keys(state: State, raw: msgspec.Raw) -> None:
    for key, entry in _KEYS.decode(raw):
        state.keys.remember(key, entry)


def _load_requests(state: State, raw: msgspec.Raw) -> None:
    for key, entry in _REQUESTS.decode(raw):
        state.requests.remember(key, entry)


def _load_settled(state: State, raw: msgspec.Raw) -> None:
    for key, entry in _SETTLED.decode(raw):
        state.settled.remember(key, entry)


_LOAD: dict[Kind, Any] = {
    Kind.HEAD: _load_head,
    Kind.JOBS: _load_jobs,
    Kind.KEYS: _load_keys,
    Kind.REQUESTS: _load_requests,
    Kind.SETTLED: _load_settled,
}
