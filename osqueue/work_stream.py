"""One Work stream after the other: what a worker has to say, and what it is sent, many jobs in a frame.

It lives in one thread's event loop; `settle`, `resize`, `drain` and what has arrived are for
another. A stream that breaks is followed by the next one, which is told of the leases still
held and hears again of every outcome that was not answered: the tokens make that harmless.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from osqueue.api.item_errors import from_item_error
from osqueue.api.mapping import reader, writer
from osqueue.dispatch import Patience, may_pass
from osqueue.errors import (
    INVALID_REQUEST,
    PAYLOAD_TOO_LARGE,
    BrokerProtocolError,
    JobNotFoundError,
    LeaseLostError,
    OsqueueError,
    TransportConnectionError,
)
from osqueue.job import ClaimedJob, Position
from osqueue.messages import Completed, Completion, Failure, FollowUp, Release, Settled
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

SPACING_S = 0.002
"""Outcomes that come within this time after a frame leave together in the next one."""

FRAME_ITEMS = 1_000
FRAME_BYTES = 3 * 1024 * 1024
"""What one frame may hold: as many as the broker takes, and well below the 4 MiB of one message."""

SLOTS_MAX = 10_000
"""As many slots as a stream may have."""

WAY_WEIGHT = 0.25
"""How much the latest measurement counts in the time of the way there and back."""

UNTOLD = (INVALID_REQUEST, PAYLOAD_TOO_LARGE)
"""How the broker refuses a frame for one thing in it, without a word of the others."""

BRIEF_S = 1.0
"""A stream that broke sooner is not a reason to open the next one at once."""

_KEY_FIELD = f"field {queue_pb2.WorkOpen.STREAM_KEY_FIELD_NUMBER} of WorkOpen"
_ITEM_BYTES = 256
_read_job: Callable[..., ClaimedJob] = reader(ClaimedJob, job_pb2.ClaimedJob)
_read_follow_up = reader(FollowUp, queue_pb2.FollowUp)
_COMPLETED = Completed()


class PushTransport(Protocol):
    """A transport that carries streams in both directions."""

    def work(self, frames: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The broker's frames. Ends with an error when the connection breaks."""
        ...


class Outcome:
    """What became of one attempt, on its way. `message` leaves out the worker, whom the stream names; `future` belongs
    to the event loop that waits for the answer, if one does."""

    __slots__ = ("future", "job", "message")

    def __init__(
        self, job: ClaimedJob, message: Completion | Failure | Release, future: "asyncio.Future[Any] | None" = None
    ) -> None:
        self.job = job
        self.message = message
        self.future = future


def given_back(job: ClaimedJob) -> Outcome:
    """The job goes back unfinished, and nobody waits for the answer."""
    return Outcome(job, Release(job.job_id, "", job.lease_token))


Answer = Settled | Completed | OsqueueError


class WorkStream:
    """The worker's side of its streams for some types.

    Other threads are told of news by `on_news`, called once until they set `telling` to False: jobs in `arrived`,
    outcomes with their answers in `answers`. `on_lease(token, lost)` tells what happened to a lease: it was lost, or
    its job cancelled. `check_heard` raises at the answer of a leader of the past.
    """

    def __init__(
        self,
        worker: tuple[str, int, str],
        types: tuple[str, ...],
        slots: int,
        on_news: Callable[[], None],
        on_lease: Callable[[str, bool], None],
        check_heard: Callable[[Position | None], None],
        patience: Patience,
    ) -> None:
        self.arrived: deque[ClaimedJob] = deque()
        self.answers: deque[tuple[Outcome, Answer]] = deque()
        self.commit: Position | None = None
        """Where the newest answer is durable."""
        self.telling = False
        self.way_s: float | None = None
        """How long it takes from an outcome until its answer, which brings the next job along."""
        self.opened = False
        """A stream was opened at least once."""
        self.connected = False
        """One is open."""
        self.talking = False
        """One is open, or asked for: jobs may be on their way."""
        self._worker_id, self._lease_ms, self._version = worker
        self._types = types
        self._key = uuid.uuid4().hex
        self._slots = min(slots, SLOTS_MAX)
        self._told_slots = self._slots
        self._held_off = False
        self._draining = False
        self._told_draining = False
        self._on_news = on_news
        self._on_lease = on_lease
        self._check_heard = check_heard
        self._patience = patience
        self._outbox: deque[Outcome] = deque()
        self._unanswered: dict[str, Outcome] = {}
        """By token: what was sent, and has no receipt."""
        self._held: dict[str, ClaimedJob] = {}
        """By token: what came and has no receipt."""
        self._alone = 0
        """How many outcomes are told in frames of their own: one of them is wrong."""
        self._timed: tuple[str, float] | None = None
        """The token of an outcome that was sent, and when."""
        self._number = 0
        self._opened_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._something: asyncio.Event | None = None
        self._knocked = False

    # --- from any thread ---------------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> None:
        """Tell the broker."""
        self._outbox.append(outcome)
        self._knock()

    def resize(self, slots: int) -> None:
        """This many jobs may be held at once."""
        slots = min(slots, SLOTS_MAX)
        if slots != self._slots:
            self._slots = slots
            self._knock()

    def drain(self) -> None:
        """Take no more jobs, and end when all are settled."""
        self._draining = True
        self._knock()

    def _knock(self) -> None:
        if not self._knocked and self._loop is not None and not self._loop.is_closed():
            self._knocked = True
            assert self._something is not None
            self._loop.call_soon_threadsafe(self._something.set)

    # --- in its own loop ---------------------------------------------------------------------------------------------

    def hold_off(self) -> None:
        """Whoever takes the jobs cannot: those that arrived go back, and no more are to come before `go_on`."""
        self._held_off = True
        while self.arrived:
            try:
                self._outbox.append(given_back(self.arrived.popleft()))
            except IndexError:  # it was taken after all
                break
        self._knock()

    def go_on(self) -> None:
        """From any thread: jobs are taken again."""
        self._held_off = False
        self._knock()

    async def run(self, transport: PushTransport) -> None:
        """Talk until drained or cancelled; raises what the broker refuses for good."""
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        while not (self._draining and not self._held and not self._unanswered and not self._outbox):
            try:
                await self._one_stream(transport)
                continue
            except OsqueueError as error:
                if error.reason in UNTOLD and self._understood(error):
                    continue
                if not may_pass(error, defects_pass=True):
                    raise
                if not self.connected:
                    self._patience.failed("take jobs", error)
                # One that lived is followed by another at once, and so is a leader that says who the next one is.
                if error.retry_after_ms != 0 and time.monotonic() - self._opened_at < BRIEF_S:
                    await asyncio.sleep(self._patience.pause_s)
            finally:
                self.connected = self.talking = False

    async def _one_stream(self, transport: PushTransport) -> None:
        self._opened_at = time.monotonic()
        self.talking = True
        self._number += 1
        async for message in transport.work(self._frames(self._number)):
            self._take(message)
        if not self._draining:
            raise TransportConnectionError("the broker ended the stream")

    async def _frames(self, number: int) -> AsyncIterator[Any]:
        assert self._something is not None
        for outcome in reversed(self._unanswered.values()):
            self._outbox.appendleft(outcome)
        self._unanswered.clear()
        self._timed = None
        self._told_draining = False
        self._told_slots = self._told()
        opened = queue_pb2.WorkOpen(
            worker_id=self._worker_id,
            types=self._types,
            slots=self._told_slots,
            lease_ms=self._lease_ms,
            worker_version=self._version,
            stream_key=self._key,
            held=[queue_pb2.HeldLease(job_id=job.job_id, lease_token=token) for token, job in self._held.items()],
        )
        yield queue_pb2.WorkRequest(open=opened)
        while number == self._number:  # or there is another stream, whose frames these are
            self._something.clear()
            self._knocked = False
            frame = self._frame()
            if frame is None:
                await self._something.wait()
            else:
                yield frame
                await asyncio.sleep(SPACING_S)

    def _told(self) -> int:
        return 0 if self._held_off or self._draining else self._slots

    def _frame(self) -> Any:
        """What there is to say; None: nothing."""
        frame = None
        slots = self._told()
        if slots != self._told_slots or self._draining is not self._told_draining:
            frame = queue_pb2.WorkRequest(slots=slots, drain=self._draining)
            self._told_slots, self._told_draining = slots, self._draining
        if self._outbox and not (self._alone and self._unanswered):
            frame = frame or queue_pb2.WorkRequest()
            self._fill(frame)
        return frame if frame is not None and frame.ByteSize() else None

    def _fill(self, frame: Any) -> None:
        """Put outcomes into the frame, as many as fit."""
        outbox = self._outbox
        size = 0
        for number in range(min(len(outbox), 1 if self._alone else FRAME_ITEMS)):
            size += _size(outbox[0])
            if number and size > FRAME_BYTES:
                break
            outcome = outbox.popleft()
            token = outcome.job.lease_token
            if not self._write(outcome, frame):
                continue
            self._unanswered[token] = outcome
            if self._timed is None:
                self._timed = token, time.monotonic()
        if outbox and not self._alone:
            self._something.set()  # type: ignore[union-attr]

    def _write(self, outcome: Outcome, frame: Any) -> bool:
        """Put it into the frame; where that cannot be, whoever waits for its answer hears it. The stream goes on."""
        place, _, write = _PLACES[type(outcome.message)]
        items = getattr(frame, place)
        try:
            write(outcome.message, items.add())
        except Exception as error:  # noqa: BLE001 - whatever a handler has let into its outcome
            del items[-1]
            refused = f"what is to be told of job {outcome.job.job_id} cannot be written: {error!r}"
            self._told_alone()
            self.answers.append((outcome, BrokerProtocolError(refused, reason=INVALID_REQUEST)))
            self._tell()
            return False
        return True

    def _take(self, message: Any) -> None:
        """One of the broker's frames."""
        if message.HasField("position"):
            self._check_heard(Position(message.position.epoch, message.position.sequence))
        if message.HasField("opened"):
            self.connected = self.opened = True
            self._patience.succeeded()
            self._leases(message.opened.held)
            self._tell()
        if message.HasField("commit"):
            self.commit = Position(message.commit.epoch, message.commit.sequence)
        for receipt in message.receipts:
            self._receipt(receipt)
        for job in map(_read_job, message.jobs, [self._worker_id] * len(message.jobs)):
            self._held[job.lease_token] = job
            self.arrived.append(job)
        if message.receipts or message.jobs:
            self._tell()
        if message.notices:
            self._leases(message.notices)

    def _leases(self, states: Any) -> None:
        for state in states:
            if not state.live:
                self._held.pop(state.lease_token, None)
                self._on_lease(state.lease_token, True)
            elif state.cancel_requested:
                self._on_lease(state.lease_token, False)

    def _receipt(self, receipt: Any) -> None:
        token = receipt.lease_token
        outcome = self._unanswered.pop(token, None)
        if outcome is None:
            return
        if self._timed is not None and self._timed[0] == token:
            took_s = time.monotonic() - self._timed[1]
            self.way_s = took_s if self.way_s is None else self.way_s + WAY_WEIGHT * (took_s - self.way_s)
            self._timed = None
        self._told_alone()
        if not receipt.HasField("error"):
            self._held.pop(token, None)
            self.answers.append((outcome, self._answer(outcome, receipt)))
            return
        error = from_item_error(receipt.error, _PLACES[type(outcome.message)][1])
        if may_pass(error):
            assert self._loop is not None
            self._loop.call_later(self._patience.pause_s, self.settle, outcome)
            return
        if isinstance(error, (LeaseLostError, JobNotFoundError)):
            self._held.pop(token, None)
        self.answers.append((outcome, error))

    def _answer(self, outcome: Outcome, receipt: Any) -> Answer:
        if not isinstance(outcome.message, Completion):
            return Settled(receipt.status, receipt.run_at, self.commit)
        if not outcome.message.follow_ups:
            return _COMPLETED
        return Completed([_read_follow_up(each) for each in receipt.follow_ups], receipt.follow_ups_withheld)

    def _told_alone(self) -> None:
        """An outcome in a frame of its own was answered; the next one may follow."""
        if self._alone:
            self._alone -= 1
            self._something.set()  # type: ignore[union-attr]

    def _understood(self, error: OsqueueError) -> bool:
        """Whether another stream can do without what the broker refused."""
        if len(self._unanswered) == 1:
            outcome = self._unanswered.popitem()[1]
            self._told_alone()
            self.answers.append((outcome, error))
            self._tell()
            return True
        if self._unanswered:  # one of them is wrong, and the broker does not say which
            self._alone = len(self._unanswered)
            return True
        if self._key and _KEY_FIELD in error.message:  # a broker from before there were keys
            self._key = ""
            return True
        return False

    def _tell(self) -> None:
        if not self.telling:
            self.telling = True
            self._on_news()


_PLACES: dict[type[Any], tuple[str, str, Callable[[Any, Any], None]]] = {
    Completion: ("completions", "CompleteJob", writer(Completion, queue_pb2.CompleteJobRequest)),
    Failure: ("failures", "FailJob", writer(Failure, queue_pb2.FailJobRequest)),
    Release: ("releases", "ReleaseJob", writer(Release, queue_pb2.ReleaseJobRequest)),
}
"""Where an outcome stands in a frame, the RPC that it would be by itself, and how it is written."""


def _size(outcome: Outcome) -> int:
    """About how much of a frame it takes; one with follow-ups takes all of it."""
    match outcome.message:
        case Completion(follow_ups=follow_ups, result=result):
            return FRAME_BYTES if follow_ups else _ITEM_BYTES + len(result or b"")
        case Failure(error=error):
            return _ITEM_BYTES + 3 * len(error.message)
        case _:
            return _ITEM_BYTES
