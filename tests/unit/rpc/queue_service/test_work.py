"""The broker's side of a Work stream, frame by frame, on virtual time. The stream itself: tests/integration."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from osqueue_service.errors import InvalidRequest, NotLeader
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.queue_service.work import Work
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.simulation.clock import SimIds
from tests.unit.engine.bench import Bench, on_bench


class Talk:
    """One worker's end of a stream without a network: frames go in at once, messages wait to be read."""

    def __init__(self, bench: Bench, slots: int = 2, **first: Any) -> None:
        self.frames: asyncio.Queue[queue_pb2.WorkRequest | None] = asyncio.Queue()
        self.messages: list[queue_pb2.WorkResponse] = []
        self.send(open=queue_pb2.WorkOpen(worker_id="w", slots=slots), **first)
        self.stream = work(bench, self._sent())
        self.reading = bench.later(self._read())

    def send(self, **fields: Any) -> None:
        self.frames.put_nowait(queue_pb2.WorkRequest(**fields))

    def hang_up(self) -> None:
        self.frames.put_nowait(None)

    async def _sent(self) -> AsyncIterator[queue_pb2.WorkRequest]:
        while (frame := await self.frames.get()) is not None:
            yield frame

    async def _read(self) -> None:
        async with aclosing(self.stream) as stream:
            async for message in stream:
                self.messages.append(message)

    def told(self, field: str) -> list[Any]:
        return [item for message in self.messages for item in getattr(message, field)]


def work(bench: Bench, frames: AsyncIterator[queue_pb2.WorkRequest]) -> Any:
    broker = SimpleNamespace(engine=bench.engine, limits=bench.limits)
    return Work(broker, TypeNames(128), SimIds(random.Random(1))).Work(frames, None)


def served(bench: Bench, first: queue_pb2.WorkRequest) -> Any:
    """A stream whose worker says one thing, and reads when the test does."""

    async def frames() -> AsyncIterator[queue_pb2.WorkRequest]:
        yield first
        await asyncio.Event().wait()

    return work(bench, frames())


def completing(job: Any) -> dict[str, Any]:
    return {"completions": [queue_pb2.CompleteJobRequest(job_id=job.job_id, lease_token=job.lease_token)]}


def failing(job: Any) -> dict[str, Any]:
    return {"failures": [queue_pb2.FailJobRequest(job_id=job.job_id, lease_token=job.lease_token, retry_delay_ms=0)]}


def test_receipts_say_where_they_are_durable():
    async def test(bench: Bench) -> None:
        talk = Talk(bench)
        await bench.submit()
        await bench.pass_ms(50)
        talk.send(**completing(talk.told("jobs")[0]))
        await bench.pass_ms(50)
        (message,) = [message for message in talk.messages if message.receipts]
        assert message.commit.sequence == bench.engine.sequence
        talk.hang_up()
        await talk.reading

    on_bench(test)


def test_what_is_said_of_leases_is_said_as_of_a_position():
    async def test(bench: Bench) -> None:
        talk = Talk(bench)
        await bench.submit()
        await bench.pass_ms(50)
        talk.send(renew_all=True)
        await bench.pass_ms(50)
        opened, *_, renewed = talk.messages
        assert opened.position.epoch == 1 and opened.HasField("opened")
        assert (renewed.position.epoch, renewed.position.sequence) == (1, bench.engine.sequence)
        talk.hang_up()
        await talk.reading

    on_bench(test)


def test_who_hangs_up_still_hears_of_all_that_was_sent():
    async def test(bench: Bench) -> None:
        talk = Talk(bench)
        await bench.submit()
        await bench.pass_ms(50)
        bench.lane.held = True
        talk.send(**completing(talk.told("jobs")[0]))
        talk.hang_up()
        await bench.pass_ms(50)
        bench.lane.land_all()
        await talk.reading
        assert [receipt.status for receipt in talk.told("receipts")] == ["completed"]

    on_bench(test)


def test_an_old_token_says_nothing_of_the_job_held_anew():
    """It freed a slot that was taken, and the new lease was renewed no more."""

    async def test(bench: Bench) -> None:
        talk = Talk(bench, slots=1)
        await bench.submit()
        await bench.pass_ms(50)
        first = talk.told("jobs")[0]
        talk.send(**failing(first))
        await bench.submit()
        await bench.pass_ms(100)
        (again,) = talk.told("jobs")[1:]
        assert (again.job_id, again.attempt) == (first.job_id, 2)
        talk.send(**failing(first))
        talk.send(heartbeats=[queue_pb2.HeartbeatRequest(job_id=first.job_id, lease_token=first.lease_token)])
        await bench.pass_ms(100)
        assert len(talk.told("jobs")) == 2, "the slot is taken"
        talk.send(renew_all=True)
        await bench.pass_ms(50)
        assert [(state.lease_token, state.live) for state in talk.told("renewals")[1:]] == [(again.lease_token, True)]
        talk.hang_up()
        await talk.reading

    on_bench(test)


def test_a_stream_cut_while_a_message_is_written_claims_no_more():
    async def test(bench: Bench) -> None:
        stream = served(bench, queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1)))
        await anext(stream)
        await stream.aclose()
        await bench.pass_ms(1)
        assert bench.engine.waiting_claims == 0
        await bench.submit()
        assert len(await bench.claim("other")) == 1

    on_bench(test)


def test_a_job_lost_before_it_was_sent_is_not_sent():
    async def test(bench: Bench) -> None:
        stream = served(bench, queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1, lease_ms=200)))
        assert (await anext(stream)).HasField("opened")
        await bench.submit()
        await bench.pass_ms(300)
        message = await anext(stream)
        assert [job.attempt for job in message.jobs] == [2], "the first attempt ended before the worker read of it"
        assert [notice.live for notice in message.notices] == [False]
        await stream.aclose()

    on_bench(test)


def test_a_job_whose_attempt_ended_before_its_claim_was_durable_is_not_sent():
    """Found by simulation: the worker held it on, because nobody had listened yet when it was lost."""

    async def test(bench: Bench) -> None:
        talk = Talk(bench, slots=1)
        await bench.pass_ms(10)
        bench.lane.held = True
        bench.later(bench.submit(timeout_ms=100))
        await bench.pass_ms(300)
        assert not talk.told("jobs")
        bench.lane.held = False
        bench.lane.land_all()
        await bench.pass_ms(50)
        assert [job.attempt for job in talk.told("jobs")] in ([], [2]), "the first attempt was over"
        talk.hang_up()
        await talk.reading

    on_bench(test)


@pytest.mark.parametrize("first", [{"slots": 10_001}, {"slots": -1}])
def test_the_first_frame_has_the_limits_of_all_others(first: dict[str, int]):
    async def test(bench: Bench) -> None:
        stream = served(bench, queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w"), **first))
        with pytest.raises(InvalidRequest, match="slots"):
            async for _ in stream:
                pass

    on_bench(test)


def test_a_leader_that_may_be_deposed_says_nothing_of_leases():
    async def test(bench: Bench) -> None:
        talk = Talk(bench)
        await bench.submit(2)
        await bench.pass_ms(50)
        assert len(talk.told("jobs")) == 2
        bench.term.live = False
        talk.send(renew_all=True)
        await asyncio.wait({talk.reading})
        assert isinstance(talk.reading.exception(), NotLeader)
        assert not talk.told("renewals") and talk.messages[-1].HasField("drain")

    on_bench(test)
