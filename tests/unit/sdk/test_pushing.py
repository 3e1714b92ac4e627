"""A worker's Work streams, against a peer that the test plays."""

import asyncio
import contextlib
from collections import deque

import pytest

from osqueue import TransportConnectionError
from osqueue.dispatch import Patience
from osqueue.errors import AuthError, BrokerLeadershipError, from_reason
from osqueue.job import ClaimedJob, JobError, Position
from osqueue.messages import Completed, Completion, Failure
from osqueue.work_stream import FRAME_ITEMS, Outcome, WorkStream, given_back
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

OPENED = queue_pb2.WorkResponse(opened=queue_pb2.WorkOpened(slots=4), position=job_pb2.ReadPosition(epoch=1))


class Peer:
    """The broker's end of streams, one after the other, as the test plays it."""

    def __init__(self):
        self.said = asyncio.Queue()
        self._answers = asyncio.Queue()

    async def work(self, frames):
        reading = asyncio.ensure_future(self._read(frames))
        try:
            while True:
                answer = await self._answers.get()
                if answer is None:
                    return
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, frames):
        async for frame in frames:
            await self.said.put(frame)

    def say(self, *answers):
        for answer in answers:
            self._answers.put_nowait(answer)


class Side:
    """A worker's stream, and what it told."""

    def __init__(self, slots=4):
        self.leases = deque()
        self.heard_positions = []
        self.news = asyncio.Event()
        patience = Patience("w", 0)
        self.stream = WorkStream(("w", 0, "v1"), ("t",), slots, self.news.set, self._lease, self._check, patience)
        self.past = 0

    def _lease(self, token, lost):
        self.leases.append((token, lost))

    def _check(self, position):
        self.heard_positions.append(position)
        if position.epoch < self.past:
            raise BrokerLeadershipError("a leader of the past")

    async def next_news(self):
        await self.news.wait()
        self.news.clear()
        self.stream.telling = False


@contextlib.asynccontextmanager
async def talking(side, peer):
    running = asyncio.ensure_future(side.stream.run(peer))
    yield running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def peer():
    return Peer()


@pytest.fixture
def side():
    return Side()


@pytest.fixture
async def open_stream(side, peer):
    peer.say(OPENED)
    async with talking(side, peer):
        opened = (await peer.said.get()).open
        assert (opened.worker_id, opened.types, opened.slots, opened.worker_version) == ("w", ["t"], 4, "v1")
        await side.next_news()
        yield side.stream


def job(number, **fields):
    return job_pb2.ClaimedJob(job_id=f"j{number}", lease_token=f"t{number}", payload=b"1", **fields)


def jobs(*numbers):
    return queue_pb2.WorkResponse(jobs=[job(number) for number in numbers])


def claimed(number):
    return ClaimedJob(f"j{number}", "w", b"1", lease_token=f"t{number}")


def receipt(number, status="completed", **fields):
    return queue_pb2.WorkResponse(
        receipts=[queue_pb2.WorkReceipt(job_id=f"j{number}", lease_token=f"t{number}", status=status, **fields)],
        commit=job_pb2.CommitPosition(epoch=1, sequence=7),
    )


def refusal(number, reason):
    return receipt(number, "", error=job_pb2.ItemError(reason=reason, message="no"))


def completion(number, result=None):
    return Outcome(claimed(number), Completion(f"j{number}", "", f"t{number}", result))


async def test_jobs_arrive_and_their_outcomes_are_answered(open_stream, side, peer):
    peer.say(jobs(1, 2, 3))
    await side.next_news()
    assert [job.job_id for job in open_stream.arrived] == ["j1", "j2", "j3"]
    open_stream.settle(completion(1, b"done"))
    open_stream.settle(Outcome(claimed(2), Failure("j2", "", "t2", JobError("E", "why"), True, 50)))
    open_stream.settle(given_back(claimed(3)))
    frame = await peer.said.get()
    assert [(one.job_id, one.lease_token, one.result) for one in frame.completions] == [("j1", "t1", b"done")]
    failure = frame.failures[0]
    assert (failure.error.type, failure.error.message, failure.retryable) == ("E", "why", True)
    assert failure.retry_delay_ms == 50
    assert [one.job_id for one in frame.releases] == ["j3"]
    peer.say(receipt(1), receipt(2, "scheduled", run_at=9), receipt(3, "unclaimed"))
    while len(open_stream.answers) < 3:
        await side.next_news()
    answers = {outcome.job.job_id: answer for outcome, answer in open_stream.answers}
    assert answers["j1"] == Completed()
    assert answers["j2"] == ("scheduled", 9, Position(1, 7))
    assert answers["j3"].status == "unclaimed"
    assert open_stream.way_s is not None


async def test_many_outcomes_travel_in_few_frames(open_stream, peer):
    for number in range(FRAME_ITEMS + 5):
        open_stream.settle(completion(number))
    assert [len((await peer.said.get()).completions) for _ in range(2)] == [FRAME_ITEMS, 5]


async def test_a_frame_stays_below_the_size_of_a_message(open_stream, peer):
    large = bytes(1024 * 1024)
    for number in range(4):
        open_stream.settle(completion(number, large))
    assert [len((await peer.said.get()).completions) for _ in range(2)] == [2, 2]


async def test_a_change_of_slots_is_told(open_stream, peer):
    open_stream.resize(9)
    assert (await peer.said.get()).slots == 9
    open_stream.resize(9)  # nothing new
    open_stream.resize(2)
    assert (await peer.said.get()).slots == 2


async def test_the_next_stream_hears_of_held_leases_and_of_what_was_not_answered(open_stream, side, peer):
    peer.say(jobs(1, 2))
    await side.next_news()
    open_stream.settle(completion(1))
    await peer.said.get()
    peer.say(TransportConnectionError("gone"), OPENED)
    again = (await peer.said.get()).open
    assert {(held.job_id, held.lease_token) for held in again.held} == {("j1", "t1"), ("j2", "t2")}
    assert [one.job_id for one in (await peer.said.get()).completions] == ["j1"]


async def test_a_stream_that_the_broker_ends_is_followed_by_another(open_stream, peer):
    peer.say(None, OPENED)
    assert (await peer.said.get()).HasField("open")


async def test_lost_leases_and_cancellations_are_told(open_stream, side, peer):
    lost = queue_pb2.LeaseState(job_id="j1", lease_token="t1", live=False)
    cancelled = queue_pb2.LeaseState(job_id="j2", lease_token="t2", live=True, cancel_requested=True)
    peer.say(jobs(1, 2), queue_pb2.WorkResponse(notices=[lost, cancelled]), receipt(9), jobs(3))
    while len(open_stream.arrived) < 3:
        await side.next_news()
    assert list(side.leases) == [("t1", True), ("t2", False)]


async def test_a_leader_of_the_past_ends_no_lease(open_stream, side, peer):
    side.past = 2
    stale = queue_pb2.WorkResponse(
        opened=queue_pb2.WorkOpened(held=[queue_pb2.LeaseState(job_id="j1", lease_token="t1", live=False)]),
        position=job_pb2.ReadPosition(epoch=1),
    )
    peer.say(TransportConnectionError("gone"), stale)
    await peer.said.get()
    assert (await peer.said.get()).HasField("open")  # the next one, after that leader was left
    assert not side.leases


async def test_an_outcome_that_the_broker_cannot_take_now_is_told_again(open_stream, side, peer):
    peer.say(jobs(1))
    await side.next_news()
    open_stream.settle(completion(1))
    await peer.said.get()
    peer.say(refusal(1, job_pb2.ERROR_REASON_STORAGE_UNAVAILABLE))
    assert [one.job_id for one in (await peer.said.get()).completions] == ["j1"]
    assert not open_stream.answers


async def test_an_outcome_that_is_refused_is_told_to_its_attempt(open_stream, side, peer):
    open_stream.settle(completion(1))
    await peer.said.get()
    peer.say(refusal(1, job_pb2.ERROR_REASON_LEASE_LOST))
    await side.next_news()
    assert open_stream.answers[0][1].reason == "LEASE_LOST"


async def test_what_ended_a_stream_is_found_and_told_to_its_attempt(open_stream, side, peer):
    """One of the outcomes in a frame is no good, and the broker does not say which."""
    for number in (1, 2, 3):
        open_stream.settle(completion(number))
    await peer.said.get()
    refused = from_reason("INVALID_REQUEST", "result: is too large")
    peer.say(refused, OPENED)
    assert (await peer.said.get()).HasField("open")
    assert [one.job_id for one in (await peer.said.get()).completions] == ["j1"]
    peer.say(receipt(1))
    assert [one.job_id for one in (await peer.said.get()).completions] == ["j2"]
    peer.say(refused, OPENED)
    assert (await peer.said.get()).HasField("open")
    assert [one.job_id for one in (await peer.said.get()).completions] == ["j3"]
    await side.next_news()
    answers = {outcome.job.job_id: answer for outcome, answer in open_stream.answers}
    assert answers["j1"] == Completed()
    assert answers["j2"].reason == "INVALID_REQUEST"


async def test_streams_have_a_key_that_stays(open_stream, side, peer):
    keys = []
    for _ in range(2):
        peer.say(TransportConnectionError("gone"), OPENED)
        keys.append((await peer.said.get()).open.stream_key)
    assert keys[0] == keys[1] != ""


async def test_a_broker_from_before_keys_is_spoken_to_without(side, peer):
    too_old = f"this broker is too old for field {queue_pb2.WorkOpen.STREAM_KEY_FIELD_NUMBER} of WorkOpen: upgrade it"
    async with talking(side, peer):
        assert (await peer.said.get()).open.stream_key
        peer.say(from_reason("INVALID_REQUEST", too_old), OPENED)
        assert not (await peer.said.get()).open.stream_key


async def test_a_drained_stream_ends_with_its_last_job(side, peer):
    peer.say(OPENED, jobs(1))
    running = asyncio.ensure_future(side.stream.run(peer))
    await peer.said.get()
    while not side.stream.arrived:
        await side.next_news()
    side.stream.drain()
    frame = await peer.said.get()
    assert (frame.drain, frame.slots) == (True, 0)
    side.stream.settle(completion(1))
    await peer.said.get()
    peer.say(receipt(1), None)
    await running


async def test_a_drained_stream_that_breaks_with_nothing_to_say_is_over(side, peer):
    peer.say(OPENED)
    running = asyncio.ensure_future(side.stream.run(peer))
    await side.next_news()
    side.stream.drain()
    peer.say(TransportConnectionError("gone"))
    await running


async def test_what_arrives_while_nobody_can_take_it_goes_back(open_stream, side, peer):
    peer.say(jobs(1, 2))
    await side.next_news()
    open_stream.hold_off()
    frame = await peer.said.get()
    assert (frame.slots, [one.job_id for one in frame.releases]) == (0, ["j1", "j2"])
    assert not open_stream.arrived
    open_stream.go_on()
    assert (await peer.said.get()).slots == 4


async def test_a_refusal_for_good_ends_the_stream(side, peer):
    peer.say(AuthError("who are you?"))
    with pytest.raises(AuthError):
        await side.stream.run(peer)
