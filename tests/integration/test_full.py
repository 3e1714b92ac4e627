"""Each limit of the queue and of the broker, met over the wire: refused by name, with nothing changed."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import error_details_pb2

from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc
from tests.calls import claim, complete, refused, submit, submit_many, until


@asynccontextmanager
async def limited(**limits: int):
    settings = {f"OSQUEUE_LIMIT_{name.upper()}": str(value) for name, value in limits.items()}
    async with broker_in_process(settings=settings) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield app, queue_pb2_grpc.QueueServiceStub(channel)


async def total(queue) -> int:
    return (await queue.GetStats(queue_pb2.GetStatsRequest())).total


async def test_jobs():
    async with limited(jobs=2) as (_, queue):
        await submit_many(queue, 2)
        with refused("QUEUE_FULL") as refusal:
            await submit(queue)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "(jobs)" in refusal.message
        assert refusal.detail(error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0
        await complete(queue, await claim(queue))
        await submit(queue)


async def test_bytes():
    async with limited(bytes=10) as (_, queue):
        await submit(queue, b"x" * 10)
        with refused("QUEUE_FULL") as refusal:
            await submit(queue, b"x")
        assert "(bytes)" in refusal.message


async def test_an_atomic_batch_that_does_not_fit_leaves_nothing_and_another_fills_up():
    async with limited(jobs=3) as (_, queue):
        jobs = [queue_pb2.SubmitJobRequest(payload=b"x")] * 4
        with refused("QUEUE_FULL"):
            await queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs))
        assert await total(queue) == 0
        answer = await queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs, atomic=False))
        assert [each.WhichOneof("outcome") for each in answer.results] == ["submitted"] * 3 + ["error"]
        error = answer.results[3].error
        assert error.reason == job_pb2.ERROR_REASON_QUEUE_FULL and error.retry_after_ms > 0


async def test_idempotency_keys():
    async with limited(idempotency_keys=1) as (_, queue):
        await submit(queue, idempotency_key="a")
        with refused("QUEUE_FULL") as refusal:
            await submit(queue, idempotency_key="b")
        assert "(idempotency_keys)" in refusal.message
        await submit(queue, idempotency_key="a")
        await submit(queue)


async def test_promised_retention():
    async with limited(promised_jobs=1) as (_, queue):
        await submit(queue, retention_ms=1_000)
        with refused("QUEUE_FULL") as refusal:
            await submit(queue, retention_ms=1_000)
        assert "promised_jobs" in refusal.message
        await submit(queue)


async def test_waiting_claims():
    async with limited(waiting_claims=1) as (app, queue):
        first = asyncio.ensure_future(claim(queue, wait_ms=30_000))
        await until(lambda: app.broker.engine.waiting_claims == 1)
        with refused("TOO_MANY_REQUESTS") as refusal:
            await claim(queue, wait_ms=30_000)
        assert "(waiting_claims)" in refusal.message
        assert not (await claim(queue)).HasField("job_id"), "a claim that does not wait is served"
        await submit(queue)
        assert (await first).HasField("job_id")


async def test_waiting_reads():
    async with limited(waiting_reads=1) as (app, queue):
        job_id = await submit(queue)
        asked = queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=30_000)
        first = asyncio.ensure_future(queue.WaitJob(asked))
        await until(lambda: app.broker.engine.views.waiting_reads == 1)
        with refused("TOO_MANY_REQUESTS") as refusal:
            await queue.WaitJob(asked)
        assert "(waiting_reads)" in refusal.message
        await complete(queue, await claim(queue))
        assert (await first).finished


async def test_watchers():
    async with limited(watchers=1) as (_, queue):
        first = queue.WatchJobs(queue_pb2.WatchJobsRequest())
        await first.read()
        with refused("TOO_MANY_REQUESTS") as refusal:
            await queue.WatchJobs(queue_pb2.WatchJobsRequest()).read()
        assert "(watchers)" in refusal.message


async def test_work_streams():
    async with limited(work_streams=1) as (_, queue):
        opened = queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1))
        first = queue.Work()
        await first.write(opened)
        await first.read()
        second = queue.Work()
        await second.write(opened)
        with refused("TOO_MANY_REQUESTS") as refusal:
            await second.read()
        assert "(work_streams)" in refusal.message


@pytest.mark.parametrize("kept", [1, 2])
async def test_finished_jobs_beyond_the_cap_leave_oldest_first(kept):
    async with limited(finished_jobs=kept) as (_, queue):
        ids = await submit_many(queue, 3)
        for _ in ids:
            await complete(queue, await claim(queue))
        await submit(queue)  # a commit in which the surplus leaves
        counts = (await queue.GetStats(queue_pb2.GetStatsRequest())).counts
        assert (counts.completed, counts.completed_total, counts.evicted_total) == (kept, 3, 3 - kept)
        with refused("JOB_NOT_FOUND"):
            await queue.GetJob(queue_pb2.GetJobRequest(job_id=ids[0]))


async def finished_and_gone(queue, count: int, result: bytes = b"42") -> list[str]:
    """Jobs that were completed, and let go of because there is no room for them. Needs finished_jobs=1."""
    ids = await submit_many(queue, count + 1)
    for _ in ids:
        await complete(queue, await claim(queue), result=result)
    await submit(queue)  # a commit in which they leave
    return ids[:-1]


async def outcome(queue, job_id: str) -> bytes:
    answer = await queue.WaitJob(queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=30_000))
    assert answer.finished and answer.job.status == "completed"
    return answer.job.result


@pytest.mark.parametrize(("limits", "kept"), [({"outcome_jobs": 2}, 2), ({"outcome_bytes": 6}, 2), ({}, 3)])
async def test_a_job_that_is_no_longer_kept_is_waited_for_in_vain_beyond_the_limits(limits, kept):
    async with limited(finished_jobs=1, **limits) as (_, queue):
        ids = await finished_and_gone(queue, 3)
        for job_id in ids[-kept:]:
            assert await outcome(queue, job_id) == b"42"
        for job_id in ids[:-kept]:
            with refused("JOB_NOT_FOUND"):
                await outcome(queue, job_id)


async def test_a_job_that_is_no_longer_kept_is_found_by_nothing_but_waiting():
    async with limited(finished_jobs=1) as (_, queue):
        (job_id,) = await finished_and_gone(queue, 1)
        with refused("JOB_NOT_FOUND"):
            await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))


async def test_the_outcome_of_a_job_that_is_no_longer_kept_is_forgotten_in_time():
    async with limited(finished_jobs=1, outcome_ttl_ms=1) as (app, queue):
        (job_id,) = await finished_and_gone(queue, 1)
        since = app.broker.engine.now_ms()
        await until(lambda: app.broker.engine.now_ms() > since + 1)
        with refused("JOB_NOT_FOUND"):
            await outcome(queue, job_id)


async def test_a_purged_job_is_waited_for_in_vain():
    async with limited() as (app, queue):
        job_id = await submit(queue)
        await complete(queue, await claim(queue))
        async with grpc.aio.insecure_channel(app.address) as channel:
            await admin_pb2_grpc.AdminServiceStub(channel).Purge(admin_pb2.PurgeRequest(job_ids=[job_id]))
        with refused("JOB_NOT_FOUND"):
            await outcome(queue, job_id)


async def test_a_caller_that_waits_is_answered_though_outcomes_are_not_remembered():
    async with limited(finished_jobs=1, outcome_bytes=1) as (app, queue):
        ids = await submit_many(queue, 20)
        waits = [asyncio.ensure_future(outcome(queue, job_id)) for job_id in ids]
        await until(lambda: app.broker.engine.views.waiting_reads == len(ids))
        claimed = [await claim(queue) for _ in ids]
        await asyncio.gather(*(complete(queue, job, result=job.job_id.encode()) for job in claimed))
        assert await asyncio.gather(*waits) == [job_id.encode() for job_id in ids]
