"""The client's calls, over a transport of one's own."""

import asyncio
import os
from datetime import datetime

import pytest
from pydantic import BaseModel

from osqueue import (
    BrokerLeadershipError,
    BrokerProtocolError,
    ConfigError,
    IdempotencyConflictError,
    JobError,
    JobFilter,
    JobNotFinishedError,
    JobNotFoundError,
    Lease,
    LeaseLostError,
    OsqueueClient,
    Position,
    QueueFullError,
    Registry,
    Resync,
    TransportConfigError,
    TransportConnectionError,
    WorkerExecutionError,
    new_job,
)
from osqueue.messages import WatchFrame
from tests.unit.sdk.memory_transport import MemoryTransport

AWAY = TransportConnectionError("away")


class Email(BaseModel):
    to: str


async def claim(client, **options):
    job = await client.claim_job("w1", **options)
    assert job is not None
    return job


# --- producing --------------------------------------------------------------------------------------------------------


async def test_a_job_is_submitted(client, queue):
    handle = await client.submit_job("email", {"to": "ada"}, priority=3, metadata={"tenant": "a"})
    job = queue.jobs[handle.id]
    assert (job.payload, job.type, job.priority, job.metadata) == (b'{"to":"ada"}', "email", 3, {"tenant": "a"})
    assert await handle.status() == "unclaimed"
    assert repr(handle) == f"JobHandle('{handle.id}')"


async def test_concurrent_submissions_travel_together(client, queue):
    handles = await asyncio.gather(*(client.submit_job("t", n) for n in range(300)))
    assert len({handle.id for handle in handles}) == 300
    assert queue.batches == [300]
    assert client.state().batches == 1
    assert client.state().items == 300


async def test_without_coalescing_each_travels_alone(queue):
    async with OsqueueClient(transport=MemoryTransport(queue), coalesce=False) as client:
        await asyncio.gather(*(client.submit_job("t", n) for n in range(5)))
    assert queue.batches == [1] * 5


async def test_one_bad_job_does_not_harm_its_neighbours(client):
    good, bad, again = await asyncio.gather(
        client.submit_job("t", 1), client.submit_job("t", b""), client.submit_job("t", 2), return_exceptions=True
    )
    assert isinstance(bad, BrokerProtocolError)
    assert await good.status() == await again.status() == "unclaimed"


async def test_a_lost_answer_does_not_double_the_job(client, queue):
    queue.lost_answers = [AWAY]
    handle = await client.submit_job("t", 1)
    assert list(queue.jobs) == [handle.id]
    assert client.state().retries == 1


async def test_the_same_key_yields_the_same_job(client):
    first = await client.submit_job("t", 1, idempotency_key="k")
    second = await client.submit_job("t", 1, idempotency_key="k")
    assert (first.id, first.deduplicated, second.deduplicated) == (second.id, False, True)
    with pytest.raises(IdempotencyConflictError):
        await client.submit_job("t", 2, idempotency_key="k")


async def test_a_misspelt_type_is_not_submitted(queue):
    registry = Registry()
    registry.job("email", Email)
    async with OsqueueClient(transport=MemoryTransport(queue), registry=registry) as client:
        with pytest.raises(ConfigError, match="did you mean 'email'"):
            await client.submit_job("emial", {"to": "ada"})
    assert queue.jobs == {}


async def test_a_registered_type_is_known_by_name(queue):
    registry = Registry()
    registry.job("email", Email)
    async with OsqueueClient(transport=MemoryTransport(queue), registry=registry) as client:
        await client.submit_job("email", Email(to="ada"))
        with pytest.raises(BrokerProtocolError, match=r"payload\.to"):
            await client.submit_job("email", {})


async def test_many_jobs_at_once_are_all_or_none(client, queue):
    handles = await client.submit_jobs([new_job("t", n) for n in range(3)])
    assert [handle.id for handle in handles] == list(queue.jobs)
    with pytest.raises(BrokerProtocolError):
        await client.submit_jobs([new_job("t", b"")])
    assert await client.submit_jobs([]) == []


async def test_each_for_itself_any_number(client, queue):
    results = await client.submit_jobs((new_job("t", n if n else b"") for n in range(2_500)), atomic=False)
    assert isinstance(results[0], BrokerProtocolError)
    assert len(queue.jobs) == 2_499
    assert queue.batches == [1_000, 1_000, 500]


async def test_a_large_batch_is_cut_by_bytes(client, queue):
    await client.submit_jobs([new_job("t", b"x" * 1_000_000) for _ in range(5)], atomic=False)
    assert queue.batches == [3, 2]


async def test_submit_and_wait_returns_the_result(client):
    waiting = asyncio.ensure_future(client.submit_and_wait("add", [1, 2]))
    job = await claim(client, wait_ms=1_000)
    await client.complete_job(job, 3)
    assert await waiting == 3


async def test_a_result_is_read_as_its_type_says(client):
    handle = await client.submit_job(Registry().job("email", Email, Email), Email(to="ada"))
    await client.complete_job(await claim(client), {"to": "bob"})
    assert await handle.result() == Email(to="bob")


async def test_a_dead_job_has_no_result(client):
    handle = await client.submit_job("t", 1, max_attempts=1)
    await client.fail_job(await claim(client), ValueError("broken"))
    with pytest.raises(WorkerExecutionError, match="failed: dead after 1 attempts: ValueError: broken") as raised:
        await handle.result()
    assert (raised.value.job_id, raised.value.error_type) == (handle.id, "ValueError")


async def test_a_cancelled_job_has_no_result(client):
    handle = await client.submit_job("t", 1)
    assert (await handle.cancel()).status == "cancelled"
    with pytest.raises(WorkerExecutionError, match="was cancelled") as raised:
        await handle.result()
    assert raised.value.reason == "CANCELLED"


async def test_a_result_that_is_late_is_not_an_end(client):
    handle = await client.submit_job("t", 1)
    with pytest.raises(JobNotFinishedError, match=r"^timeout: .* goes on") as raised:
        await handle.result(timeout_ms=0)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.job_id == handle.id


# --- working ----------------------------------------------------------------------------------------------------------


async def test_a_claim_on_an_empty_queue_is_empty(client):
    assert await client.claim_job("w1") is None
    assert await client.claim_jobs("w1", max_jobs=5) == []


async def test_only_jobs_of_the_wanted_types(client):
    await client.submit_job("a", 1)
    await client.submit_job("b", 2)
    assert (await claim(client, types=["b"])).value() == 2
    assert (await claim(client, types="a")).value() == 1


async def test_a_lost_claim_is_given_again(client, queue):
    await client.submit_jobs([new_job("t", n) for n in range(3)])
    queue.lost_answers = [AWAY]
    jobs = await client.claim_jobs("w1", max_jobs=2)
    assert [job.value() for job in jobs] == [0, 1]
    assert (await client.get_stats()).counts.in_progress == 2


async def test_a_claim_key_of_ones_own(client):
    await client.submit_jobs([new_job("t", n) for n in range(2)])
    first = await claim(client, claim_key="k")
    assert (await claim(client, claim_key="k")).job_id == first.job_id
    assert (await claim(client)).job_id != first.job_id


async def test_a_heartbeat_renews_and_carries_progress(client, queue):
    await client.submit_job("t", 1)
    job = await claim(client)
    assert not (await client.heartbeat(job, progress=0.5, message="half")).cancel_requested
    assert queue.jobs[job.job_id].progress[:2] == (0.5, "half")
    await client.cancel_job(job.job_id)
    assert (await client.heartbeat(Lease(job.job_id, "w1", job.lease_token))).cancel_requested


async def test_a_stale_lease_is_refused(client, queue):
    await client.submit_job("t", 1)
    job = await claim(client)
    queue.expire(job.job_id)
    for call in (client.heartbeat(job), client.complete_job(job), client.fail_job(job, "no"), client.release_job(job)):
        with pytest.raises(LeaseLostError):
            await call
    with pytest.raises(JobNotFoundError):
        await client.complete_job(Lease("job-99", "w1"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("plain words", JobError("", "plain words")),
        (JobError("Kind", "details"), JobError("Kind", "details")),
        (ValueError("never raised"), JobError("ValueError", "never raised")),
    ],
)
async def test_a_failure_is_told(client, queue, error, told):
    handle = await client.submit_job("t", 1)
    settled = await client.fail_job(await claim(client), error, retryable=False)
    assert settled.status == "dead"
    assert queue.jobs[handle.id].error == told


async def test_a_released_attempt_does_not_count(client, queue):
    handle = await client.submit_job("t", 1)
    assert (await client.release_job(await claim(client))).status == "unclaimed"
    assert queue.jobs[handle.id].attempts == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.claim_job(5),
        lambda client: client.claim_job("\ud800"),
        lambda client: client.claim_jobs("w", ["\ud800"]),
        lambda client: client.claim_jobs("w", max_jobs="5"),
        lambda client: client.complete_job(Lease("j", None)),
        lambda client: client.complete_job(Lease("j", "w"), object()),
        lambda client: client.heartbeat(Lease(b"j", "w")),
        lambda client: client.get_job(7),
        lambda client: client.cancel_jobs(["a"], matching=JobFilter()),
        lambda client: client.retry_jobs(),
    ],
)
async def test_what_cannot_travel_is_refused_here(client, queue, call):
    with pytest.raises(BrokerProtocolError):
        await call(client)
    assert queue.calls == []


# --- observing and steering -------------------------------------------------------------------------------------------


async def test_lists_are_walked_page_by_page(client, queue):
    await client.submit_jobs([new_job("t", n) for n in range(5)])
    assert [job.value() async for job in client.list_jobs(page_size=2)] == [0, 1, 2, 3, 4]
    assert queue.calls.count("list_jobs") == 3


async def test_a_filter_is_checked_before_it_travels(client):
    with pytest.raises(BrokerProtocolError, match="created_from: the datetime has no time zone"):
        [job async for job in client.list_jobs(created_from=datetime(2030, 1, 1))]
    with pytest.raises(BrokerProtocolError, match="metadata"):
        [job async for job in client.list_jobs(metadata={"k": 1})]
    with pytest.raises(TypeError, match="there is no option 'status'; there are: statuses, types"):
        [job async for job in client.list_jobs(status="dead")]


async def test_a_job_that_is_not_there(client):
    with pytest.raises(JobNotFoundError):
        await client.get_job("job-1")


async def test_answers_never_go_back(client, queue):
    await client.submit_job("t", 1)
    queue.sequence = 10
    assert (await client.get_stats()).position == Position(1, 10)
    queue.sequence = 9
    impatient = OsqueueClient(transport=MemoryTransport(queue), max_retries=0)
    await impatient.get_stats()
    queue.sequence = 8
    with pytest.raises(BrokerLeadershipError, match="does not lead any more"):
        await impatient.get_stats()
    await impatient.submit_job("t", 1)  # a change with a lower position: the storage was replaced
    assert (await impatient.get_stats()).position == Position(1, 9)
    await impatient.close()


class Overtaken(MemoryTransport):
    """Statistics and submissions are answered when they may be: others, asked for later, may overtake them."""

    def __init__(self, queue) -> None:
        super().__init__(queue)
        self.answered = [asyncio.Event() for _ in range(2)]

    async def get_stats(self, *, linearizable, timeout_ms):
        stats = await super().get_stats(linearizable=linearizable, timeout_ms=timeout_ms)
        self.answered[0].set()
        await self.answered[1].wait()
        return stats

    async def cancel_job(self, job_id, *, request_id, timeout_ms):
        change = await super().cancel_job(job_id, request_id=request_id, timeout_ms=timeout_ms)
        self.answered[0].set()
        await self.answered[1].wait()
        return change


async def test_an_answer_that_others_overtake_is_as_good_as_when_it_was_asked_for(queue):
    transport = Overtaken(queue)
    client = OsqueueClient(transport=transport, max_retries=0)
    job = await client.submit_job("t", 1)
    asked = asyncio.ensure_future(client.get_stats())
    await transport.answered[0].wait()
    queue.sequence += 5
    await client.get_job(job.id)
    transport.answered[1].set()
    before = (await asked).position
    assert before is not None and before.sequence == queue.sequence - 5
    queue.sequence -= 1
    with pytest.raises(BrokerLeadershipError):  # the overtaken answer has not lowered what was seen
        await client.get_job(job.id)
    await client.close()


async def test_a_change_that_others_overtake_does_not_lower_what_was_seen(queue):
    transport = Overtaken(queue)
    client = OsqueueClient(transport=transport, max_retries=0)
    job = await client.submit_job("t", 1)
    cancelling = asyncio.ensure_future(job.cancel())
    await transport.answered[0].wait()
    queue.sequence += 5
    await client.get_job(job.id)
    transport.answered[1].set()
    await cancelling
    queue.sequence -= 1
    with pytest.raises(BrokerLeadershipError):
        await client.get_job(job.id)
    await client.close()


async def test_what_follows_a_cancellation_shows_it(client, queue):
    job = await client.submit_job("t", 1)
    queue.sequence = 10
    impatient = OsqueueClient(transport=MemoryTransport(queue), max_retries=0)
    await impatient.cancel_job(job.id)
    queue.sequence = 8
    with pytest.raises(BrokerLeadershipError, match="does not lead any more"):
        await impatient.get_job(job.id)
    await impatient.close()


async def test_jobs_are_cancelled_and_revived_in_bulk(client):
    handles = await client.submit_jobs([new_job("t", n, max_attempts=1) for n in range(3)])
    await client.fail_job(await claim(client), "no")
    changes = await client.cancel_jobs([handles[1].id, "job-99"])
    assert changes.by_status == {"cancelled": 1}
    assert isinstance(changes.refused["job-99"], JobNotFoundError)
    revived = await client.retry_jobs(matching=JobFilter(statuses=("dead",)))
    assert [change.job_id for change in revived.changed] == [handles[0].id]


async def test_many_ids_are_several_calls(client, queue):
    await client.cancel_jobs([f"job-{n}" for n in range(2_001)])
    assert queue.calls.count("cancel_jobs") == 3


async def test_an_explanation(client):
    handle = await client.submit_job("t", 1)
    assert (await client.explain_job(handle.id)).reasons == ["next"]


async def test_watching_goes_on_after_a_break(client, queue):
    events = client.watch()
    first = asyncio.ensure_future(anext(events))
    while "watch_jobs" not in queue.calls:
        await asyncio.sleep(0)
    await client.submit_job("t", 1)
    assert (await first).kind == "submitted"
    queue.watch_errors = [AWAY]
    await client.submit_job("t", 2)
    assert (await anext(events)).job_id == "job-2"
    assert queue.calls.count("watch_jobs") == 2
    await events.aclose()


async def test_a_gap_is_said_before_what_follows(client, queue, monkeypatch):
    async def frames(self, request):
        yield WatchFrame(resync=Resync("gap", "list again"))

    monkeypatch.setattr(MemoryTransport, "watch_jobs", frames)
    events = client.watch()
    assert await anext(events) == Resync("gap", "list again")
    await events.aclose()


async def test_a_watch_that_cannot_pass_is_raised(client, queue):
    queue.errors = [BrokerProtocolError("use WaitJob")]
    with pytest.raises(BrokerProtocolError, match="use WaitJob"):
        await anext(client.watch())


# --- its life ---------------------------------------------------------------------------------------------------------


async def test_a_full_queue_is_told_after_a_few_tries(client, queue):
    queue.errors = [QueueFullError("full", reason="QUEUE_FULL")] * 4
    with pytest.raises(QueueFullError, match="full"):
        await client.submit_job("t", 1)
    assert client.state().last_error == "full"


async def test_closing_finishes_what_is_under_way(queue):
    client = OsqueueClient(transport=MemoryTransport(queue))
    submitting = asyncio.ensure_future(client.submit_job("t", 1))
    await asyncio.sleep(0)
    await client.close()
    assert (await submitting).id in queue.jobs
    await client.close()
    with pytest.raises(TransportConnectionError, match="closed"):
        await client.submit_job("t", 1)


async def test_a_transport_of_ones_own_is_the_one_that_is_used(queue):
    transport = MemoryTransport(queue)
    async with OsqueueClient(transport=transport) as client:
        second = client.new_transport()
        await client.submit_job("t", 1)
        assert client._open().transport is transport
        assert second is not transport
    assert transport.closed


async def test_a_client_that_was_never_used_closes(queue):
    client = OsqueueClient(transport=MemoryTransport(queue))
    assert not client.state().connected
    await client.close()


def test_a_client_moves_to_a_new_loop_when_the_old_one_is_over(queue):
    client = OsqueueClient(transport=MemoryTransport(queue))
    for _ in range(2):
        asyncio.run(client.submit_job("t", 1))
    assert len(queue.jobs) == 2


async def test_a_client_belongs_to_one_running_loop(client):
    await client.get_stats()

    def elsewhere():
        asyncio.run(client.get_stats())

    with pytest.raises(TransportConfigError, match="belongs to another event loop"):
        await asyncio.to_thread(elsewhere)


async def test_a_client_does_not_survive_a_fork(client, monkeypatch):
    await client.get_stats()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(TransportConfigError, match=f"connected in process {parent}.*connect only after the fork"):
        await client.get_stats()


async def test_a_client_made_before_a_fork_connects_after_it(queue, monkeypatch):
    client = OsqueueClient(transport=MemoryTransport(queue))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    await client.submit_job("t", 1)
    await client.close()
