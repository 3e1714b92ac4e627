"""A state as bytes, and back: what a checkpoint holds (docs/data-format.md).

An image is a sequence of parts, each a MessagePack array `[kind, ...]`: one head, then jobs,
idempotency keys, request ids and settled tokens, a few hundred per part and no more than
about `PART_BYTES`. `Snapshot` yields the parts of one moment while the state goes on changing:
a job that changes before its turn is copied first.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from osqueue_service.state import legacy, schedule_changes
from osqueue_service.state.audit import AuditEntry
from osqueue_service.state.batch_changes import file_batch
from osqueue_service.state.batches import Batch, batch_bytes
from osqueue_service.state.fairness import Weight
from osqueue_service.state.graphs import WorkflowTable
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.memory import Expiring, Memory
from osqueue_service.state.model import (
    Attempt,
    Counters,
    FollowedEntry,
    Job,
    JobSpec,
    KeyEntry,
    Lease,
    MoreOfJob,
    RequestEntry,
    SettledEntry,
    Status,
    one_type_string,
)
from osqueue_service.state.named_limits import Meter, StoredLimit
from osqueue_service.state.parts import PART_BYTES as PART_BYTES
from osqueue_service.state.parts import by_size
from osqueue_service.state.placement import enter
from osqueue_service.state.schedules import Schedule, ScheduleTable, Tally
from osqueue_service.state.state import State
from osqueue_service.state.stored import Unreadable, decode
from osqueue_service.state.uniques import KeptKey

FORMAT = 2
_JOBS_PER_PART = 256
_LIMITS_PER_PART = 1_024
_ENTRIES_PER_PART = 2_000

# What an entry takes beside its payload, result, keys and messages, generously.
_ENTRY_BYTES = 256

T = TypeVar("T")
E = TypeVar("E", bound=Expiring)


class Kind(IntEnum):
    """What a part holds."""

    HEAD = 0
    JOBS = 1
    KEYS = 2
    REQUESTS = 3
    SETTLED = 4
    FOLLOWED = 5
    LIMITS = 17
    METERS = 18
    UNIQUE_KEYS = 25
    WORKFLOWS = 30
    BATCHES = 36
    SCHEDULES = 40
    FAIRNESS = 50
    AUDIT = 60


class Head(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What there is one of."""

    format: int
    salt: str
    next_number: int
    stamp_ms: int
    counters: Counters
    paused: list[str]
    ids_from: int


class _Format(Struct, frozen=True, array_like=True, gc=False):
    """The beginning of a head in every format."""

    format: int


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
    more: MoreOfJob | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes in a part."""
        size = _ENTRY_BYTES + self.spec.size + len(self.result or b"")
        for attempt in self.history:
            size += _ENTRY_BYTES + len(attempt.error_type) + len(attempt.error_message)
        return size


def image_of(job: Job) -> JobImage:
    """The job as it is now, without `waits_since`: every release reads this form."""
    return JobImage(
        job.spec, job.number, job.created_at, job.place, job.status, job.attempts, job.claims, job.due_at,
        job.cancel_requested, job.finished_at, job.keep_until, job.lease, job.result, job.history,
        job.more,
    )  # fmt: skip


def job_of(image: JobImage) -> Job:
    """A job in no index yet."""
    return Job(
        one_type_string(image.spec), image.number, image.created_at, image.place, image.status, image.attempts,
        image.claims, image.due_at, image.cancel_requested, image.finished_at, image.keep_until, image.lease,
        image.result, image.history, image.more,
    )  # fmt: skip


class Snapshot:
    """The parts of the state as it was when this was made.

    While it is in use the state may change, but must not forget keys, and only one snapshot may exist.
    """

    def __init__(self, state: State) -> None:
        assert state.before_change is None, "another checkpoint is being written"
        counters = msgspec.structs.replace(state.counters)
        self._state = state
        paused = sorted(state.lines.gates.paused)
        self._head = Head(FORMAT, state.salt, state.next_number, state.stamp_ms, counters, paused, state.ids.since)
        self._memories: list[tuple[Kind, Iterator[list[tuple[str, Any]]]]] = [
            (Kind.KEYS, state.keys.slices()),
            (Kind.REQUESTS, state.requests.slices()),
            (Kind.SETTLED, state.settled.slices()),
            (Kind.FOLLOWED, state.followed.slices()),
            (Kind.UNIQUE_KEYS, _in_slices(state.uniques.keys_kept())),
        ]
        self._workflows = [(Kind.WORKFLOWS, table) for table in state.graphs.tables(_JOBS_PER_PART)]
        self._tally, self._schedules = state.schedules.tally, list(state.schedules.by_id.values())
        self._few: list[tuple[Kind, list[Any], Callable[[Any], int]]] = [
            (Kind.LIMITS, state.limits.stored(), _least_size),
            (Kind.METERS, state.limits.meters(), _least_size),
            (Kind.BATCHES, state.batches.copies(), batch_bytes),
            (Kind.FAIRNESS, state.fairness.stored(), _least_size),
        ]
        self._audit = list(state.audit)
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
            for kind, few, size_of in self._few:
                for some in by_size(few, size_of, _LIMITS_PER_PART):
                    yield encode([kind, some])
            # Before the jobs: how long those are kept depends on whether their workflows have ended.
            yield from map(encode, self._workflows)
            for status in Status:
                self._status, self._cursor = status, 0
                while images := self._next_images():
                    yield encode([Kind.JOBS, images])
            self._done = True
            for copies in by_size(self._copies, lambda image: image.size, _JOBS_PER_PART):
                yield encode([Kind.JOBS, copies])
            for kind, slices in self._memories:
                for entries in slices:
                    for some in by_size(entries, _entry_size, len(entries)):
                        yield encode([kind, some])
            for schedules in by_size(self._schedules, _schedule_size, _JOBS_PER_PART):
                yield encode([Kind.SCHEDULES, ScheduleTable(self._tally, schedules)])
            if not self._schedules and self._tally != Tally():
                yield encode([Kind.SCHEDULES, ScheduleTable(self._tally, [])])
            for audited in by_size(self._audit, _least_size, _ENTRIES_PER_PART):
                yield encode([Kind.AUDIT, audited])
        finally:
            self.close()

    def close(self) -> None:
        """Let the state change freely again. Idempotent."""
        if self._state.before_change == self._on_change:
            self._state.before_change = None

    def _next_images(self) -> list[JobImage]:
        """The next few unchanged jobs of the roster at hand."""
        images: list[JobImage] = []
        size = 0
        for job in self._state.rosters[self._status].from_key(self._cursor):
            if job.number >= self._end:
                break
            self._cursor = job.number + 1
            if job.number not in self._changed:
                image = image_of(job)
                images.append(image)
                size += image.size
                if len(images) == _JOBS_PER_PART or size >= PART_BYTES:
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


def _in_slices(entries: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(entries), _ENTRIES_PER_PART):
        yield entries[start : start + _ENTRIES_PER_PART]


def _entry_size(item: tuple[str, KeyEntry | RequestEntry | SettledEntry | FollowedEntry | KeptKey]) -> int:
    key, entry = item
    return _ENTRY_BYTES + len(key) + (9 * len(entry.numbers) if isinstance(entry, RequestEntry | FollowedEntry) else 0)


def _least_size(entry: object) -> int:
    return _ENTRY_BYTES


def _schedule_size(schedule: Schedule) -> int:
    return 4 * _ENTRY_BYTES + schedule.spec.job.size


def load(state: State, parts: Iterable[bytes]) -> None:
    """Fill an empty state from the parts of an image."""
    loader = Loader(state)
    for part in parts:
        loader.load(part)


class Loader:
    """Fills an empty state from the parts of one image, in their order. Raises what `stored.decode` does."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._format = FORMAT

    def load(self, part: bytes) -> None:
        """The next part."""
        kind, raw = decode(_RAW_PART, part)
        if kind is Kind.HEAD:
            self._format = decode(_FORMAT, raw).format
        if self._format != FORMAT:
            raw = msgspec.Raw(legacy.image_part(self._format, kind, raw))
        match kind:
            case Kind.HEAD:
                _load_head(self._state, decode(_HEAD, raw))
            case Kind.JOBS:
                _load_jobs(self._state, decode(_JOBS, raw))
            case Kind.LIMITS | Kind.METERS | Kind.FAIRNESS | Kind.BATCHES:
                _load_few(self._state, kind, raw)
            case Kind.KEYS | Kind.REQUESTS | Kind.SETTLED | Kind.FOLLOWED:
                memory, entries = _MEMORIES[kind]
                _remember(memory(self._state), decode(entries, raw))
            case Kind.WORKFLOWS:
                self._state.graphs.load(decode(_WORKFLOWS, raw))
            case Kind.SCHEDULES:
                _load_schedules(self._state, decode(_SCHEDULES, raw))
            case Kind.UNIQUE_KEYS:
                for name, kept in decode(_UNIQUE_KEYS, raw):
                    self._state.uniques.keep(name, kept)
            case Kind.AUDIT:
                self._state.audit.load(decode(_AUDIT, raw))


_RAW_PART = msgspec.msgpack.Decoder(tuple[Kind, msgspec.Raw])
_FORMAT = msgspec.msgpack.Decoder(_Format)
_HEAD = msgspec.msgpack.Decoder(Head)
_JOBS = msgspec.msgpack.Decoder(list[JobImage])
_LIMITS = msgspec.msgpack.Decoder(list[StoredLimit])
_WEIGHTS = msgspec.msgpack.Decoder(list[Weight])
_METERS = msgspec.msgpack.Decoder(list[Meter])
_MEMORIES: dict[Kind, tuple[Callable[[State], Memory[Any]], msgspec.msgpack.Decoder[Any]]] = {
    Kind.KEYS: (lambda state: state.keys, msgspec.msgpack.Decoder(list[tuple[str, KeyEntry]])),
    Kind.REQUESTS: (lambda state: state.requests, msgspec.msgpack.Decoder(list[tuple[str, RequestEntry]])),
    Kind.SETTLED: (lambda state: state.settled, msgspec.msgpack.Decoder(list[tuple[str, SettledEntry]])),
    Kind.FOLLOWED: (lambda state: state.followed, msgspec.msgpack.Decoder(list[tuple[str, FollowedEntry]])),
}
_BATCHES = msgspec.msgpack.Decoder(list[Batch])
_WORKFLOWS = msgspec.msgpack.Decoder(WorkflowTable)
_SCHEDULES = msgspec.msgpack.Decoder(ScheduleTable)
_UNIQUE_KEYS = msgspec.msgpack.Decoder(list[tuple[str, KeptKey]])
_AUDIT = msgspec.msgpack.Decoder(list[AuditEntry])


def _load_head(state: State, head: Head) -> None:
    state.ids = JobIds(head.salt, head.ids_from, state.ids.queue)
    state.next_number = head.next_number
    state.stamp_ms = head.stamp_ms
    state.counters = head.counters
    for name in head.paused:
        state.lines.pause(name)


def _load_limit(state: State, stored: StoredLimit) -> None:
    state.limits.put(stored.limit)
    for one in stored.overrides:
        state.limits.set_override(stored.limit.name, one.key, one.override)


def _load_few(state: State, kind: Kind, raw: msgspec.Raw) -> None:
    if kind is Kind.LIMITS:
        for stored in decode(_LIMITS, raw):
            _load_limit(state, stored)
    elif kind is Kind.FAIRNESS:
        for weight in decode(_WEIGHTS, raw):
            state.fairness.weigh(weight.key, weight.weight)
    elif kind is Kind.BATCHES:
        for batch in decode(_BATCHES, raw):
            file_batch(state, batch)
    else:
        for meter in decode(_METERS, raw):
            state.limits.set_meter(meter)


def _load_jobs(state: State, images: list[JobImage]) -> None:
    for image in images:
        try:
            _load_job(state, image)
        except AssertionError as error:
            raise Unreadable(f"job number {image.number} does not fit beside the others: {error}") from None


def _load_schedules(state: State, table: ScheduleTable) -> None:
    state.schedules.tally = table.tally
    for schedule in table.schedules:
        schedule_changes.file(state, schedule)


def _load_job(state: State, image: JobImage) -> None:
    assert image.number not in state.jobs, "it is there twice"
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
        state.reserved_jobs += spec.on_dead is not None
    if spec.more is not None:
        state.graphs.join(job)
        state.batches.join(job)
    enter(state, job, [])  # nobody follows what is being loaded
    if spec.more is not None:
        state.graphs.reconsider(state.jobs, (job.number, *state.graphs.dependents.get(job.number, ())))


def _remember(memory: Memory[E], entries: list[tuple[str, E]]) -> None:
    for key, entry in entries:
        memory.remember(key, entry)
