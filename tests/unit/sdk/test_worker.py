"""A worker: what it does with jobs, handlers, failures, leases and its own end."""

import asyncio
import itertools
import logging
import os
import signal
import threading
import time

import pytest
from pydantic import BaseModel, Field

from osqueue import (
    AuthError,
    BrokerProtocolError,
    ConfigError,
    Handler,
    JobContext,
    JobError,
    JobType,
    LeaseLostError,
    OsqueueClient,
    Position,
    QueueFullError,
    Registry,
    Reject,
    Retry,
    SyncClient,
    TransportConnectionError,
    Worker,
    new_job,
)
from osqueue.leases import CALL_TIMEOUT_MS
from tests.unit.sdk.memory_transport import MemoryTransport


class Email(BaseModel):
    to: str


EMAIL = Registry().job("email", Email)


async def work(client, handlers, **options):
    """Run a worker until nothing is left to do."""
    worker = Worker(client, handlers, **options)
    await worker.run(until_idle=True, handle_signals=False)
    return worker


class Running:
    """A worker that runs beside the test."""

    def __init__(self, client, handlers, **options):
        self.worker = Worker(client, handlers, **options)
        self.task = asyncio.ensure_future(self.worker.run(handle_signals=False))

    async def __aenter__(self):
        return self.worker

    async def __aexit__(self, *_):
        self.worker.stop()
        await self.task


async def settled(queue, job_id, status):
    while queue.jobs[job_id].status != status:
        await queue.change()
    return queue.jobs[job_id]


# --- handlers ---------------------------------------------------------------------------------------------------------


async def test_handlers_of_every_kind_return_results(client, queue):
    async def loop(payload):
        return {"loop": payload}

    def thread(payload):
        return {"thread": payload, "off": threading.current_thread() is not threading.main_thread()}

    async def with_context(payload, context: JobContext):
        return {"job": context.job_id, "attempt": context.attempt, "last": context.is_last_attempt}

    handles = [await client.submit_job(name, 1) for name in ("loop", "thread", "context")]
    worker = await work(client, {"loop": loop, "thread": thread, "context": with_context})
    assert [await handle.result() for handle in handles] == [
        {"loop": 1},
        {"thread": 1, "off": True},
        {"job": handles[2].id, "attempt": 1, "last": False},
    ]
    assert (worker.tally.claimed, worker.tally.completed) == (3, 3)


async def test_payload_and_result_are_typed(client):
    worker = Worker(client)

    @worker.handler(Registry().job("email", Email, Email))
    async def send(payload: Email) -> Email:
        return Email(to=payload.to.upper())

    handle = await client.submit_job("email", {"to": "ada"})
    await worker.run(until_idle=True, handle_signals=False)
    assert await handle.result() == {"to": "ADA"}


async def test_a_handler_for_any_type(client):
    handles = [await client.submit_job(name, 1) for name in ("", "a")]
    await work(client, {"*": lambda payload: payload})
    assert [await handle.result() for handle in handles] == [1, 1]


async def test_only_some_of_the_types(client, queue):
    await client.submit_job("a", 1)
    other = await client.submit_job("b", 1)
    await work(client, {"a": lambda payload: None, "b": lambda payload: None}, types=["a"])
    assert await other.status() == "unclaimed"


class CallableObject:
    async def __call__(self, payload):
        return "called"


async def test_an_object_with_a_coroutine_call(client):
    handle = await client.submit_job("t", 1)
    await work(client, {"t": CallableObject()})
    assert await handle.result() == "called"


def takes_nothing():
    pass


def takes_three(a, b, c):
    pass


def takes_keyword(payload, *, tenant):
    pass


async def coroutine(payload):
    pass


@pytest.mark.parametrize(
    ("handlers", "says"),
    [
        ({"t": 5}, "is not a function"),
        ({"t": takes_nothing}, "must take \\(payload\\) or \\(payload, context\\)"),
        ({"t": takes_three}, "must take"),
        ({"t": takes_keyword}, "keyword-only"),
        ({"t": Handler(coroutine, runs_in="thread")}, "not in a thread"),
        ({"t": Handler(takes_keyword, runs_in="loop")}, "not a coroutine function"),
        ({"t": Handler(lambda payload: None, runs_in="process")}, "cannot be imported by another process"),
        ({"t": Handler(coroutine, concurrency=0)}, "must be at least 1"),
        ({"*": Handler(coroutine, concurrency=2)}, "no slots of its own"),
        ({"t": coroutine, EMAIL: coroutine, "email": coroutine}, "has a handler already"),
    ],
)
def test_a_handler_that_cannot_work_is_refused(queue, handlers, says):
    with pytest.raises(ConfigError, match=says):
        Worker(OsqueueClient(transport=MemoryTransport(queue)), handlers)


@pytest.mark.parametrize(
    ("handlers", "options", "says"),
    [
        ({}, {}, "has no handlers"),
        ({"a": coroutine}, {"types": ["b"]}, "no handler for b"),
        ({"*": coroutine, "a": Handler(coroutine, concurrency=1)}, {}, "no other handler can have slots"),
    ],
)
async def test_a_worker_that_cannot_work_does_not_start(client, handlers, options, says):
    with pytest.raises(ConfigError, match=says):
        await work(client, handlers, **options)


def test_a_worker_needs_slots(queue):
    with pytest.raises(ConfigError, match="concurrency must be at least 1"):
        Worker(OsqueueClient(transport=MemoryTransport(queue)), concurrency=0)


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_an_exception_fails_the_attempt_and_it_is_tried_again(client, queue):
    tries = []

    async def flaky(payload):
        tries.append(payload)
        if len(tries) < 3:
            raise ValueError("not yet")
        return "done"

    handle = await client.submit_job("t", 1)
    worker = await work(client, {"t": flaky})
    assert await handle.result() == "done"
    error = queue.jobs[handle.id].history[0].error
    assert error.type == "ValueError"
    assert error.message.startswith("not yet\n  at ")
    assert error.message.endswith("in flaky")
    assert worker.tally.failed == 2


@pytest.mark.parametrize(
    ("error", "status", "run_at"),
    [
        (ValueError("no"), "unclaimed", 0),
        (Retry("later", delay_ms=500), "unclaimed", 500),
        (Retry(), "unclaimed", 0),
        (Reject("never"), "dead", 0),
        (KeyError("fatal"), "dead", 0),
        (SystemExit(3), "unclaimed", 0),
        (StopIteration(), "unclaimed", 0),
        (asyncio.CancelledError(), "unclaimed", 0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["loop", "thread"])
async def test_the_exception_says_what_becomes_of_the_job(client, kind, error, status, run_at):
    outcomes = []

    async def loop(payload):
        raise error

    def thread(payload):
        raise error

    await client.submit_job("t", 1)
    function = loop if kind == "loop" else thread
    worker = Worker(
        client,
        {"t": Handler(function, fatal=(LookupError,))},
        on_failed=lambda job, error, settled: (outcomes.append(settled[:2]), worker.stop())[1],
    )
    await worker.run(handle_signals=False)
    assert outcomes[0] == (status, run_at)


async def test_a_payload_that_does_not_validate_is_a_dead_letter_where_that_is_wanted(client, queue):
    ran = []

    async def send(payload):
        ran.append(payload)

    handle = await client.submit_job("email", {"from": "ada"})
    await work(client, {EMAIL: send}, invalid_payload="reject")
    job = queue.jobs[handle.id]
    assert (job.status, job.attempts, job.error.type, ran) == ("dead", 1, "InvalidPayload", [])
    assert "payload.to: Field required" in job.error.message


async def test_a_payload_that_does_not_validate_waits_for_a_worker_that_understands_it(client, queue):
    """As in a deployment that begins with the producers."""
    outcomes = []
    handle = await client.submit_job("email", {"from": "ada"}, max_attempts=100)
    worker = Worker(
        client,
        {EMAIL: lambda payload: "sent"},
        on_failed=lambda job, error, settled: (outcomes.append(settled[:2]), len(outcomes) == 9 and worker.stop())[1],
    )
    await worker.run(handle_signals=False)
    assert [delay for _, delay in outcomes[:9]] == [
        5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000, 600_000
    ]  # fmt: skip
    assert queue.jobs[handle.id].status == "unclaimed"

    class Newer(BaseModel):
        sender: str = Field(alias="from")

    await work(client, {JobType("email", Newer): lambda payload: payload.sender})
    assert await handle.result() == "ada"


@pytest.mark.parametrize("choice", ["drop", "", None])
def test_there_are_two_ways_with_a_payload_that_does_not_validate(client, choice):
    with pytest.raises(ConfigError, match="'retry' or 'reject'"):
        Worker(client, invalid_payload=choice)


@pytest.mark.parametrize("kind", ["decorator", "class"])
def test_a_decorator_without_its_parentheses_is_noticed(client, kind):
    worker = Worker(client)

    async def send(payload): ...

    with pytest.raises(ConfigError, match=r"send is for no job type: write @worker.handler\(\"email\"\)"):
        worker.handler(send if kind == "decorator" else type("send", (), {}))


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ("grpc://ada:secret@broker:8081", r"Worker\(OsqueueClient\(address\)\)"),
        (SyncClient(), r"run_sync\(\) runs it"),
        (7, r"Worker\(OsqueueClient\(\.\.\.\)\), got int"),
    ],
    ids=["address", "synchronous", "number"],
)
def test_what_is_no_client_is_refused_with_the_way_out(given, way_out):
    with pytest.raises(ConfigError, match=way_out) as refused:
        Worker(given)
    assert "secret" not in str(refused.value)


def test_a_handler_for_a_type_that_the_registry_does_not_have(queue):
    registry = Registry()
    registry.job("email")
    client = OsqueueClient(transport=MemoryTransport(queue), registry=registry)
    with pytest.raises(ConfigError, match="no job type 'emial'; did you mean 'email'"):
        Worker(client, {"emial": lambda payload: None})
    Worker(client, {"*": lambda payload: None, "email": lambda payload: None, JobType("emial"): lambda payload: None})


async def test_a_result_that_cannot_travel_is_a_dead_letter(client, queue):
    handle = await client.submit_job("t", 1)
    await work(client, {"t": lambda payload: object()})
    job = queue.jobs[handle.id]
    assert (job.status, job.error.type) == ("dead", "InvalidResult")


async def test_a_result_the_broker_refuses_fails_the_attempt(client, queue, monkeypatch):
    async def full(self, completions, **_):
        return [QueueFullError("no room for a promised result") for _ in completions], None

    monkeypatch.setattr(MemoryTransport, "complete_jobs", full)
    handle = await client.submit_job("t", 1, max_attempts=1)
    await work(client, {"t": lambda payload: 1})
    assert queue.jobs[handle.id].error == JobError("QueueFull", "no room for a promised result")


class Hard(BaseException):
    pass


async def in_a_group():
    async def hard():
        raise Hard

    async with asyncio.TaskGroup() as group:
        group.create_task(hard())


@pytest.mark.parametrize("error", [Hard, GeneratorExit, SystemExit, asyncio.CancelledError, in_a_group])
@pytest.mark.parametrize("place", ["loop", "thread"])
async def test_whatever_a_handler_raises_ends_the_attempt_and_not_the_worker(client, queue, error, place):
    async def raise_in_loop(payload):
        if error is in_a_group:
            await error()
        raise error

    def raise_in_thread(payload):
        raise error if error is not in_a_group else BaseExceptionGroup("several", [Hard()])

    first, second = await client.submit_job("t", 1, max_attempts=1), await client.submit_job("u", 1)
    await work(client, {"t": raise_in_loop if place == "loop" else raise_in_thread, "u": lambda payload: payload})
    assert (queue.jobs[first.id].status, queue.jobs[second.id].status) == ("dead", "completed")
    assert queue.jobs[first.id].error.type in ("Hard", "BaseExceptionGroup", error.__name__)


async def test_an_outage_is_outlasted(queue, caplog):
    caplog.set_level(logging.INFO)
    away = [TransportConnectionError("away")] * 5
    async with OsqueueClient(transport=MemoryTransport(queue), max_retries=0, retry_delay_ms=0) as client:
        handle = await client.submit_job("t", 1)

        async def run(payload):
            queue.errors = away[:]  # met by the completion

        queue.errors = away[:]  # met by the claim
        worker = await work(client, {"t": run})
        assert await handle.status() == "completed"
    assert worker.tally.unsettled == 0
    assert "cannot claim jobs, trying on: away" in caplog.text
    assert "is back at work" in caplog.text


async def test_a_broker_that_does_not_come_back_is_told_when_the_worker_ends(queue, caplog, monkeypatch):
    monkeypatch.setattr("osqueue.worker.GIVE_BACK_MS", 10)
    refused = asyncio.Event()

    async def away(self, completions, **_):
        refused.set()
        raise TransportConnectionError("away")

    monkeypatch.setattr(MemoryTransport, "complete_jobs", away)
    async with OsqueueClient(transport=MemoryTransport(queue), max_retries=0) as client:
        handle = await client.submit_job("t", 1)
        async with Running(client, {"t": coroutine}, drain_timeout_ms=0) as worker:
            await refused.wait()
    assert worker.tally.unsettled == 1
    assert f"job {handle.id} (t) is completed, but the broker could not be told" in caplog.text


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_no_more_handlers_run_than_there_are_slots(client):
    running = most = 0

    async def count(payload):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await client.submit_jobs([new_job("t", n) for n in range(20)])
    await work(client, {"t": count}, concurrency=3)
    assert most == 3


async def test_a_type_may_have_slots_of_its_own(client):
    blocked = asyncio.Event()

    async def slow(payload):
        await blocked.wait()

    async def quick(payload):
        return payload

    await client.submit_jobs([new_job("slow", n) for n in range(3)])
    handles = await client.submit_jobs([new_job("quick", n) for n in range(3)])
    handlers = {"slow": Handler(slow, concurrency=2), "quick": quick}
    async with Running(client, handlers, concurrency=1) as worker:
        assert [await handle.result() for handle in handles] == [0, 1, 2]
        state = worker.state()
        assert (state.slots, state.busy, state.status) == (3, 2, "running")
        assert set(state.types) == {"slow", "quick"}
        blocked.set()


async def test_jobs_are_claimed_many_at_a_time(client, queue):
    await client.submit_jobs([new_job("t", n) for n in range(100)])
    queue.calls.clear()
    await work(client, {"t": coroutine}, concurrency=100)
    assert queue.calls.count("claim_jobs") <= 3
    assert queue.calls.count("complete_jobs") == 1


async def test_a_waiting_worker_takes_a_job_at_once(client):
    async with Running(client, {"t": lambda payload: payload + 1}):
        assert await client.submit_and_wait("t", 1) == 2


# --- leases -----------------------------------------------------------------------------------------------------------


async def test_leases_are_renewed_and_progress_is_told(client, queue):
    queue.lease_ms = 100
    told = asyncio.Event()

    async def slow(payload, context):
        context.progress(0.25, "a quarter")
        await told.wait()

    handle = await client.submit_job("t", 1)
    async with Running(client, {"t": slow}) as worker:
        while queue.jobs[handle.id].progress is None:
            await queue.change()
        told.set()
        await settled(queue, handle.id, "completed")
    assert worker.state().leases_renewed >= 1
    assert queue.jobs[handle.id].progress[:2] == (0.25, "a quarter")


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
async def test_progress_goes_from_0_to_1(client, queue, fraction):
    handle = await client.submit_job("t", 1, max_attempts=1)
    await work(client, {"t": lambda payload, context: context.progress(fraction)})
    assert queue.jobs[handle.id].status == "dead"


async def test_a_lost_lease_cancels_the_handler(client, queue):
    queue.lease_ms = 60
    started, lost = asyncio.Event(), []

    async def slow(payload, context):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert context.lease_lost

    handle = await client.submit_job("t", 1)
    gone = asyncio.Event()
    running = Running(client, {"t": slow}, on_lost=lambda job: (lost.append(job.job_id), gone.set())[1])
    async with running as worker:
        await started.wait()
        del queue.tokens[handle.id]
        await gone.wait()
        assert worker.tally.lost == 1
    assert lost == [handle.id]


async def test_a_lost_lease_is_seen_by_a_thread_and_its_outcome_does_not_count(client, queue):
    queue.lease_ms = 60
    stopped = []

    def slow(payload, context):
        assert context.stopped.wait(30)
        stopped.append(context.lease_lost)

    gone = asyncio.Event()
    handle = await client.submit_job("t", 1)
    async with Running(client, {"t": slow}, on_lost=lambda job: gone.set()):
        await settled(queue, handle.id, "in_progress")
        del queue.tokens[handle.id]
        await gone.wait()
    assert stopped == [True]


async def test_a_cancelled_job_stops_its_handler(client, queue):
    queue.lease_ms = 60
    started = asyncio.Event()

    async def slow(payload):
        started.set()
        await asyncio.Event().wait()

    handle = await client.submit_job("t", 1)
    async with Running(client, {"t": slow}):
        await started.wait()
        await handle.cancel()
        job = await settled(queue, handle.id, "cancelled")
    assert job.error.type == "Cancelled"


async def test_a_completion_wins_over_a_cancellation(client, queue):
    queue.lease_ms = 60
    started = asyncio.Event()

    async def stubborn(payload):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"

    handle = await client.submit_job("t", 1)
    async with Running(client, {"t": stubborn}):
        await started.wait()
        await handle.cancel()
        assert await handle.result() == "done all the same"


async def test_an_attempt_that_takes_too_long_is_stopped(client, queue):
    async def slow(payload, context):
        assert 0 <= context.remaining_ms <= 30
        await asyncio.Event().wait()

    handle = await client.submit_job("t", 1, timeout_ms=30, max_attempts=1)
    async with Running(client, {"t": slow}):
        job = await settled(queue, handle.id, "dead")
    assert job.error == JobError("TimedOut", "the attempt took longer than 30 ms")


async def test_renewals_that_fail_are_tried_again(client, queue, caplog, monkeypatch):
    queue.lease_ms = 60
    failures = [TransportConnectionError("away"), TransportConnectionError("away")]
    renew = MemoryTransport.heartbeat_jobs
    renewed = threading.Event()

    async def failing(self, heartbeats, **options):
        if failures:
            raise failures.pop()
        renewed.set()
        return await renew(self, heartbeats, **options)

    monkeypatch.setattr(MemoryTransport, "heartbeat_jobs", failing)
    handle = await client.submit_job("t", 1)
    with caplog.at_level(logging.INFO):
        async with Running(client, {"t": lambda payload: renewed.wait(30)}):
            await handle.result()
    assert caplog.text.count("cannot renew 1 leases") == 1


async def test_the_broker_is_told_for_how_long_a_handler_has_run_whose_time_is_limited(client, queue, monkeypatch):
    """Before half of its time is over, and not again before its lease is to be renewed."""
    renew = MemoryTransport.heartbeat_jobs
    told: list[list[int | None]] = []
    heard = threading.Event()

    async def listening(self, heartbeats, **options):
        told.append([heartbeat.running_ms for heartbeat in heartbeats])
        heard.set()
        return await renew(self, heartbeats, **options)

    monkeypatch.setattr(MemoryTransport, "heartbeat_jobs", listening)
    handle = await client.submit_job("t", 1, timeout_ms=2_000)
    async with Running(client, {"t": lambda payload: heard.wait(30)}):
        await handle.result()
    assert len(told) == 1 and len(told[0]) == 1
    assert told[0][0] is not None and told[0][0] >= 1_000


async def test_a_gateway_that_does_not_know_of_running_times_is_not_told_again(client, queue, caplog, monkeypatch):
    renew = MemoryTransport.heartbeat_jobs
    renewed = threading.Event()

    async def earlier(self, heartbeats, **options):
        if any(heartbeat.running_ms is not None for heartbeat in heartbeats):
            raise BrokerProtocolError("heartbeats[0].runningMs: is not a key of this request")
        renewed.set()
        return await renew(self, heartbeats, **options)

    monkeypatch.setattr(MemoryTransport, "heartbeat_jobs", earlier)
    queue.lease_ms = 60
    handle = await client.submit_job("t", 1, timeout_ms=60_000)
    async with Running(client, {"t": lambda payload: renewed.wait(30)}):
        await handle.result()
    assert caplog.text.count("trying on without the time that they ran") == 1


async def test_a_short_lease_leaves_the_calls_that_renew_others_their_time(client, queue, monkeypatch):
    """And a renewal that is not answered holds up none that follows."""
    renew = MemoryTransport.heartbeat_jobs
    renewed, timeouts = threading.Event(), []
    hanging = iter([True])

    async def far_away(self, heartbeats, *, timeout_ms):
        timeouts.append(timeout_ms)
        if next(hanging, False):
            await asyncio.Event().wait()
        answers = await renew(self, heartbeats, timeout_ms=timeout_ms)
        renewed.set()
        return answers

    monkeypatch.setattr(MemoryTransport, "heartbeat_jobs", far_away)
    queue.lease_ms = 60
    short = await client.submit_job("t", 1)
    async with Running(client, {"t": lambda payload: renewed.wait(30)}):
        await short.result()
    assert set(timeouts) == {CALL_TIMEOUT_MS}
    assert len(timeouts) >= 2


async def test_a_leader_of_the_past_cannot_end_an_attempt(client, queue, monkeypatch):
    """It does not know of leases that its successor gave, and says that they are lost."""
    queue.lease_ms = 60
    renew = MemoryTransport.heartbeat_jobs
    asked = itertools.count()
    renewed = threading.Event()

    async def outdated(self, heartbeats, **options):
        if next(asked) < 2:
            return [LeaseLostError("never heard of it")] * len(heartbeats), Position(0, 99)
        renewed.set()
        return await renew(self, heartbeats, **options)

    monkeypatch.setattr(MemoryTransport, "heartbeat_jobs", outdated)

    async def slow(payload):
        await asyncio.to_thread(renewed.wait, 30)
        return "done"

    handle = await client.submit_job("t", 1)
    async with Running(client, {"t": slow}):
        assert await handle.result() == "done"


async def test_a_handler_that_blocks_the_loop_is_named(client, queue, monkeypatch):
    monkeypatch.setattr("osqueue.watchdog.BLOCKED_S", 0.05)
    queue.lease_ms = 60
    noticed = threading.Event()
    warnings = []

    def warn(text, *args):
        warnings.append(text % args)
        if "blocking of job" in warnings[-1]:
            noticed.set()

    monkeypatch.setattr("osqueue.watchdog.log.warning", warn)

    async def blocking(payload):
        assert noticed.wait(30)

    handle = await client.submit_job("t", 1)
    worker = await work(client, {"t": blocking})
    # A machine that is busy may hold up the loop for so long, too.
    message = next(warning for warning in warnings if "blocking of job" in warning)
    assert "the handler" in message
    assert f"blocking of job {handle.id} (t) has blocked the event loop" in message
    assert "noticed.wait(30)" in message
    assert worker.state().loop_blocked >= 1


# --- hooks ------------------------------------------------------------------------------------------------------------


async def test_hooks_hear_of_everything(client):
    heard = []

    async def claimed(job):
        heard.append(("claimed", job.type))

    def broken(payload):
        raise ValueError("no")

    await client.submit_job("good", 1)
    await client.submit_job("bad", 1, max_attempts=1)
    await work(
        client,
        {"good": lambda payload: "yes", "bad": broken},
        concurrency=1,
        on_claimed=claimed,
        on_completed=lambda job, result: heard.append(("completed", result)),
        on_failed=lambda job, error, settled: heard.append(("failed", error.type, settled.status)),
    )
    assert sorted(heard) == [
        ("claimed", "bad"), ("claimed", "good"), ("completed", b'"yes"'), ("failed", "ValueError", "dead"),
    ]  # fmt: skip


async def test_a_broken_hook_changes_nothing(client, caplog):
    def broken(*_):
        raise RuntimeError("my own fault")

    handle = await client.submit_job("t", 1)
    await work(client, {"t": lambda payload: 1}, on_claimed=broken, on_completed=broken)
    assert await handle.result() == 1
    assert caplog.text.count("RuntimeError: my own fault") == 2


# --- its end ----------------------------------------------------------------------------------------------------------


async def test_a_stopping_worker_waits_for_its_handlers(client):
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow(payload):
        started.set()
        await finish.wait()
        return "done"

    handle = await client.submit_job("t", 1)
    running = Running(client, {"t": slow}, concurrency=1)
    await started.wait()
    later = await client.submit_job("t", 2)
    running.worker.stop()
    while running.worker.state().status != "draining":
        await asyncio.sleep(0)
    finish.set()
    await running.task
    assert await handle.result() == "done"
    assert await later.status() == "unclaimed"
    assert running.worker.state().status == "idle"


@pytest.mark.parametrize("kind", ["loop", "thread"])
async def test_what_is_not_done_in_time_is_given_back(client, queue, kind):
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = threading.Event()

    async def slow(payload):
        started.set()
        await asyncio.Event().wait()

    def slow_thread(payload, context):
        loop.call_soon_threadsafe(started.set)
        context.stopped.wait(30)
        release.wait(30)

    handle = await client.submit_job("t", 1)
    running = Running(client, {"t": slow if kind == "loop" else slow_thread}, drain_timeout_ms=0)
    await started.wait()
    running.worker.stop()
    await running.task
    release.set()
    job = queue.jobs[handle.id]
    assert (job.status, job.attempts, running.worker.tally.released) == ("unclaimed", 0, 1)


async def test_stopping_twice_gives_back_at_once(client, queue):
    started = asyncio.Event()

    async def slow(payload):
        started.set()
        await asyncio.Event().wait()

    handle = await client.submit_job("t", 1)
    running = Running(client, {"t": slow})
    await started.wait()
    running.worker.stop()
    running.worker.stop()
    await running.task
    assert queue.jobs[handle.id].status == "unclaimed"


async def test_a_claim_cut_short_leases_nothing_for_long(client, queue, monkeypatch):
    arrived = asyncio.Event()
    claim = MemoryTransport.claim_jobs

    async def answer_lost(self, request, **options):
        claims = await claim(self, request, **options)
        if not arrived.is_set():  # the leases exist, but their answer is still on its way
            arrived.set()
            await asyncio.Event().wait()
        return claims

    monkeypatch.setattr(MemoryTransport, "claim_jobs", answer_lost)
    handles = await client.submit_jobs([new_job("t", n) for n in range(3)])
    async with Running(client, {"t": coroutine}):
        await arrived.wait()
    assert [queue.jobs[handle.id].status for handle in handles] == ["unclaimed"] * 3


async def test_what_makes_work_impossible_ends_the_worker(client, monkeypatch):
    async def refuse(self, request, **_):
        raise AuthError("the token was changed")

    started, finish = asyncio.Event(), asyncio.Event()

    async def slow(payload):
        started.set()
        await finish.wait()

    handle = await client.submit_job("t", 1)
    running = Running(client, {"t": slow}, concurrency=1)
    await started.wait()
    monkeypatch.setattr(MemoryTransport, "claim_jobs", refuse)
    finish.set()
    with pytest.raises(AuthError, match="token was changed"):
        await running.task
    assert await handle.result() is None


async def test_a_worker_runs_again(client):
    worker = Worker(client, {"t": coroutine})
    for _ in range(2):
        handle = await client.submit_job("t", 1)
        await worker.run(until_idle=True, handle_signals=False)
        assert await handle.status() == "completed"
        assert worker.tally.completed == 1


async def test_a_running_worker_is_left_as_it_is(client):
    async with Running(client, {"t": coroutine}) as worker:
        await asyncio.sleep(0)
        with pytest.raises(ConfigError, match="runs already"):
            await worker.run()
        with pytest.raises(ConfigError, match="runs already"):
            worker.add("u", coroutine)


def test_a_signal_drains(queue):
    client = OsqueueClient(transport=MemoryTransport(queue))

    async def once(payload):
        os.kill(os.getpid(), signal.SIGTERM)
        return "done"

    worker = Worker(client, {"t": once})

    async def main():
        async with client:
            handle = await client.submit_job("t", 1)
            await worker.run()
            return await handle.result()

    assert asyncio.run(main()) == "done"


def test_a_worker_runs_without_a_loop(queue):
    client = OsqueueClient(transport=MemoryTransport(queue))
    asyncio.run(client.submit_job("t", 1))
    Worker(client, {"t": coroutine}).run_sync(until_idle=True)
    assert [job.status for job in queue.jobs.values()] == ["completed"]


async def test_a_lease_lost_while_completing_is_told(client, queue, monkeypatch):
    async def lost(self, completions, **_):
        return [LeaseLostError("too late") for _ in completions], None

    monkeypatch.setattr(MemoryTransport, "complete_jobs", lost)
    await client.submit_job("t", 1)
    gone = []
    running = Running(client, {"t": coroutine}, on_lost=lambda job: (gone.append(job), running.worker.stop())[1])
    await running.task
    assert len(gone) == 1


@pytest.fixture
def one_ahead(monkeypatch):
    """A lane claims one job ahead, and keeps it waiting."""
    monkeypatch.setattr("osqueue.lanes.Lane._needed", lambda self, claim_s: 1)
    monkeypatch.setattr("osqueue.lanes.TURN_S", 30)


async def test_a_lease_lost_before_its_turn_is_not_worked_on(client, queue, one_ahead):
    queue.lease_ms = 60
    ran, finish, lost = [], asyncio.Event(), asyncio.Event()

    async def slow(payload):
        ran.append(payload)
        await finish.wait()

    _, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    async with Running(client, {"t": slow}, concurrency=1, on_lost=lambda job: lost.set()) as worker:
        await settled(queue, second.id, "in_progress")
        del queue.tokens[second.id]
        while not worker._lanes[0].ready[0].stop_reason:
            await queue.change()
        finish.set()
        await lost.wait()
    assert ran == [0]


async def test_a_job_cancelled_before_its_turn_is_not_worked_on(client, queue, one_ahead):
    queue.lease_ms = 60
    ran, finish = [], asyncio.Event()

    async def slow(payload):
        ran.append(payload)
        await finish.wait()

    _, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    async with Running(client, {"t": slow}, concurrency=1) as worker:
        await settled(queue, second.id, "in_progress")
        assert worker.state().ahead == 1
        await second.cancel()
        while not worker._lanes[0].ready[0].stop_reason:
            await queue.change()
        finish.set()
        await settled(queue, second.id, "cancelled")
    assert ran == [0]


async def test_what_was_claimed_ahead_is_given_back_though_the_loop_is_blocked(client, queue, one_ahead):
    seen = []

    async def block(payload):
        if payload != 0:
            return
        await settled(queue, second.id, "in_progress")
        deadline = time.monotonic() + 30
        while queue.jobs[second.id].status != "unclaimed" and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251 - it blocks the loop
        seen.append(queue.jobs[second.id].status)

    first, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    async with Running(client, {"t": block}, concurrency=1) as worker:
        await first.result()
        await second.result()
        assert seen == ["unclaimed"]
        assert worker.state().released >= 1


async def test_what_waits_for_the_loop_in_a_slot_is_given_back_though_the_loop_is_blocked(client, queue):
    ran, seen = [], []

    async def block(payload):
        ran.append(payload)
        deadline = time.monotonic() + 30
        while not seen and queue.jobs[second.id].status != "unclaimed" and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251 - it blocks the loop
        seen.append(queue.jobs[second.id].status)

    first, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    async with Running(client, {"t": block}, concurrency=2) as worker:
        await first.result()
        await second.result()
        assert (ran, seen[0]) == ([0, 1], "unclaimed")
        state = worker.state()
        assert (state.released, state.lost, state.busy) == (1, 0, 0)


async def test_what_a_claim_brings_to_a_blocked_loop_is_given_back(client, queue, one_ahead, monkeypatch):
    """Its answer cannot be read meanwhile. When it is, what was given back is no longer the worker's."""
    ran, seen, unblocked = [], [], asyncio.Event()
    claim = MemoryTransport.claim_jobs

    async def arrives_late(self, request, **options):
        claims = await claim(self, request, **options)
        if not seen and request.wait_ms and any(job.job_id == second.id for job in claims.jobs):
            await unblocked.wait()
        return claims

    async def block(payload):
        ran.append(payload)
        if payload != 0:
            return
        await settled(queue, second.id, "in_progress")
        deadline = time.monotonic() + 30
        while queue.jobs[second.id].status != "unclaimed" and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251 - it blocks the loop
        seen.append(queue.jobs[second.id].status)
        unblocked.set()

    monkeypatch.setattr(MemoryTransport, "claim_jobs", arrives_late)
    first, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    async with Running(client, {"t": block}, concurrency=1) as worker:
        await first.result()
        await second.result()
        assert (ran, seen) == ([0, 1], ["unclaimed"])
        assert worker.state().lost == 0


async def test_what_was_claimed_ahead_is_given_back_by_a_stopping_worker(client, queue, one_ahead):
    finish = asyncio.Event()

    async def slow(payload):
        await finish.wait()

    first, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    running = Running(client, {"t": slow}, concurrency=1)
    await settled(queue, second.id, "in_progress")
    running.worker.stop()
    job = await settled(queue, second.id, "unclaimed")
    assert job.attempts == 0
    finish.set()
    await running.task
    assert queue.jobs[first.id].status == "completed"
