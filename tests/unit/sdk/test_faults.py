"""What goes wrong around a handler, rather than in it, ends the attempt like any other failure: the job is settled, its
slot is free, and the log names it. Nothing waits for a lease to expire."""

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, PlainSerializer

from osqueue import ConfigError, Handler, JobError, JobType, OsqueueClient, Retry, Worker
from osqueue.errors import BrokerProtocolError
from osqueue.failures import Failed, RateLimited
from osqueue_service.testing.in_process import broker_in_process
from tests.unit.sdk.memory_transport import MemoryTransport


def broken(value):
    raise RuntimeError("a validator with a defect")


class Panic(BaseException):
    """As the ones that extensions raise."""


def panicking(value):
    raise Panic("a validator that panics")


class Unreadable(BaseModel):
    number: Annotated[int, BeforeValidator(broken)]


class Unwritable(BaseModel):
    number: Annotated[int, PlainSerializer(broken)]


class Mute(Exception):
    def __str__(self):
        raise SystemExit("no words")


async def echo(payload):
    return payload


async def unwritable(payload):
    return Unwritable(number=1)


async def mute(payload):
    raise Mute


async def junk_to_follow(payload, context):
    context.follow_ups.append("junk")


async def words_of_a_defect(payload):
    raise Failed(JobError(5, None))


def later(delay_ms):
    async def fails(payload):
        error = Retry("later")
        error.delay_ms = delay_ms
        raise error

    return fails


def limited(limit, retry_after_ms):
    async def fails(payload):
        error = RateLimited(limit="x", retry_after_ms=1)
        error.limit, error.retry_after_ms = limit, retry_after_ms
        raise error

    return fails


async def used_of_a_limit_that_is_none(payload, context):
    context.report_usage("no-such-limit", 1)


ANYWHERE = {
    "the payload's validator has a defect": (JobType("t", Unreadable), echo, "RuntimeError"),
    "the payload's validator panics": (JobType("t", Annotated[Any, BeforeValidator(panicking)]), echo, "Panic"),
    "the result's validator has a defect": (JobType("t", Any, Unreadable), echo, "RuntimeError"),
    "the result's serializer has a defect": (JobType("t", Any, Unwritable), unwritable, "PydanticSerializationError"),
    "the exception has no text": ("t", mute, "Mute"),
    "the error is made of what is no text": ("t", words_of_a_defect, "5"),
}
AT_A_BROKER = {
    "what follows is no job": ("t", junk_to_follow, "InvalidResult"),
    "the delay is no integer": ("t", later(1.5), "Retry"),
    "the delay is text": ("t", later("5"), "Retry"),
    "the delay is negative": ("t", later(-5), "Retry"),
    "the delay is longer than allowed": ("t", later(10**14), "Retry"),
    "the limit is no text": ("t", limited(7, 5), "RateLimited"),
    "the limit is none of the job's": ("t", limited("no-such-limit", 5), "RateLimited"),
    "the pause is no integer": ("t", limited("x", "long"), "RateLimited"),
    "the usage is of a limit that is none of the job's": ("t", used_of_a_limit_that_is_none, "InvalidResult"),
}


async def lives_through(client, kind, handler, expected, caplog):
    unhandled = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
    job = await client.submit_job("t", {"number": 1}, max_attempts=1)
    worker = Worker(client, {kind: handler, "other": echo}, concurrency=1, guarded=False)
    running = asyncio.ensure_future(worker.run(handle_signals=False))
    try:
        async with asyncio.timeout(20):
            found = await client.wait_job(job.id)
            assert (found.status, found.error.type, found.attempts) == ("dead", expected, 1)
            assert await client.submit_and_wait("other", "its slot is free") == "its slot is free"
        assert (worker.tally.failed, worker.tally.unsettled) == (1, 0)
        assert any(job.id in record.getMessage() for record in caplog.records)
        assert not running.done()
    finally:
        worker.stop()
        await running
    assert unhandled == []


@pytest.mark.parametrize(("kind", "handler", "expected"), ANYWHERE.values(), ids=ANYWHERE)
async def test_a_worker_that_claims_settles_it(client, caplog, kind, handler, expected):
    await lives_through(client, kind, handler, expected, caplog)


@pytest.mark.parametrize(("kind", "handler", "expected"), (ANYWHERE | AT_A_BROKER).values(), ids=ANYWHERE | AT_A_BROKER)
async def test_a_worker_that_is_sent_jobs_settles_it(caplog, kind, handler, expected):
    async with broker_in_process() as broker, OsqueueClient(f"grpc://{broker.address}") as client:
        await lives_through(client, kind, handler, expected, caplog)


@pytest.mark.parametrize("call", ["complete_jobs", "fail_job", "release_job", "claimed"])
async def test_a_defect_of_a_transport_or_hook_leaves_no_task_unheard(client, queue, caplog, monkeypatch, call):
    unhandled = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
    times = []

    async def once(self, *arguments, **options):
        monkeypatch.undo()
        times.append(call)
        raise KeyError("a defect")

    async def handle(payload):
        if payload == "fail":
            raise ValueError
        if payload == "limited":
            raise RateLimited(limit="x", retry_after_ms=1)

    hooks = {}
    if call == "claimed":

        def panic(job):
            times.append(call)
            raise Panic

        hooks = {"on_claimed": panic}
    else:
        monkeypatch.setattr(MemoryTransport, call, once)
    payload = {"complete_jobs": "", "fail_job": "fail", "release_job": "limited", "claimed": ""}[call]
    job = await client.submit_job("t", payload, max_attempts=1)
    async with asyncio.timeout(20):
        await Worker(client, {"t": handle}, guarded=False, **hooks).run(until_idle=True, handle_signals=False)
    assert times == [call]
    assert (await job.job()).status == ("completed" if call == "claimed" else "dead")
    assert unhandled == []


class Plain:
    """Nothing that can be validated."""


@pytest.mark.parametrize("job_type", [JobType("t", Plain), JobType("t", Any, Plain)], ids=["payload", "result"])
async def test_a_type_that_cannot_be_validated_is_noticed_before_a_job_is_claimed(client, queue, job_type):
    await client.submit_job("t", 1)
    with pytest.raises(ConfigError, match=r"of the t (payload|result) cannot be validated"):
        await Worker(client, {job_type: echo}).run(until_idle=True, handle_signals=False)
    assert "claim_jobs" not in queue.calls


@pytest.mark.parametrize("fatal", [ValueError, ("ValueError",), [7], "ValueError", (ValueError(),)], ids=repr)
def test_what_is_fatal_are_classes_of_exceptions(client, fatal):
    with pytest.raises(ConfigError, match=r"fatal of .*echo must be classes of exceptions: fatal=\(ValueError,\)"):
        Worker(client, {"t": Handler(echo, fatal=fatal)})


@pytest.mark.parametrize(
    ("say", "field"),
    [
        (lambda context: context.progress(0.5, 7), "message"),
        (lambda context: context.progress(0.5, "\ud800"), "message"),
        (lambda context: context.progress("half"), "progress"),
        (lambda context: Retry(delay_ms=1.5), "delay_ms"),
        (lambda context: Retry(delay_ms=True), "delay_ms"),
        (lambda context: Retry(delay_ms=-1), "delay_ms"),
        (lambda context: RateLimited(limit=7, retry_after_ms=1), "limit"),
        (lambda context: RateLimited(limit="x", retry_after_ms="1"), "retry_after_ms"),
        (lambda context: RateLimited(limit="x", retry_after_ms=-1), "retry_after_ms"),
    ],
)
async def test_what_a_handler_says_is_refused_where_it_says_it(client, queue, say, field):
    seen = []

    async def handle(payload, context):
        with pytest.raises(BrokerProtocolError) as refused:
            say(context)
        seen.append(refused.value.violations[0].field)

    await client.submit_job("t", 1)
    await Worker(client, {"t": handle}, guarded=False).run(until_idle=True, handle_signals=False)
    assert seen == [field]


async def test_progress_that_cannot_be_sent_does_not_cost_the_lease(client, queue, monkeypatch, caplog):
    """Whatever gets past the checks: nobody's lease shall depend on it."""
    queue.lease_ms = 300
    renewed = asyncio.Event()
    real = MemoryTransport.heartbeat_jobs

    async def picky(self, heartbeats, **options):
        if any(beat.progress is not None for beat in heartbeats):
            raise TypeError("cannot be written")
        answer = await real(self, heartbeats, **options)
        loop.call_soon_threadsafe(renewed.set)
        return answer

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(MemoryTransport, "heartbeat_jobs", picky)

    async def handle(payload, context):
        context.progress(0.5, "half")
        await renewed.wait()

    job = await client.submit_job("t", 1, max_attempts=1)
    async with asyncio.timeout(20):
        await Worker(client, {"t": handle}, guarded=False).run(until_idle=True, handle_signals=False)
    assert (await job.job()).status == "completed"
    assert "cannot be written" in caplog.text
