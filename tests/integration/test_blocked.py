"""A blocked job as every caller sees it: over gRPC, over the gateway, in the SDK's types."""

import pytest

from osqueue import OsqueueClient
from osqueue_service.app import App
from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2
from tests.calls import claim, holder, submit


@pytest.fixture
async def job_id(app: App, queue) -> str:
    """Two jobs of one type, the second of which is blocked."""
    unique = job_pb2.Unique(key="k", if_running=job_pb2.UNIQUE_IF_RUNNING_ENQUEUE_ONE_AFTER)
    await submit(queue, type="t", unique=unique)
    first = await claim(queue, types=["t"])
    held = await submit(queue, type="t", unique=unique)
    await queue.ReleaseJob(queue_pb2.ReleaseJobRequest(**holder(first)))
    await submit(queue, type="other")
    return held


async def test_statistics_count_it_live_and_by_itself(queue, job_id):
    stats = await queue.GetStats(queue_pb2.GetStatsRequest())
    assert (stats.total, stats.unclaimed, stats.blocked) == (3, 2, 1)
    assert (stats.counts.total, stats.counts.unclaimed, stats.counts.blocked) == (3, 2, 1)
    of_type = next(each for each in stats.types if each.type == "t")
    assert (of_type.counts.total, of_type.counts.unclaimed, of_type.counts.blocked) == (2, 1, 1)


async def test_history_has_it(queue, admin, job_id):
    points = (await admin.GetHistory(admin_pb2.GetHistoryRequest())).points
    assert (points[-1].unclaimed, points[-1].blocked) == (2, 1)


async def test_listings_find_it_among_the_live_and_by_its_status(queue, job_id):
    live = await queue.ListJobs(queue_pb2.ListJobsRequest())
    assert [job.status for job in live.jobs] == ["unclaimed", "blocked", "unclaimed"]
    assert live.counts.blocked == 1
    wanted = queue_pb2.ListJobsRequest(filter=job_pb2.JobFilter(statuses=["blocked"]))
    assert [job.id for job in (await queue.ListJobs(wanted)).jobs] == [job_id]


async def test_the_state_never_calls_it_unclaimed(admin, job_id):
    shown = [job async for chunk in admin.GetState(admin_pb2.GetStateRequest()) for job in chunk.jobs]
    assert [job.status for job in shown] == ["unclaimed", "blocked", "unclaimed"]


async def test_nobody_is_given_it(queue, job_id):
    assert (await claim(queue, types=["t"])).job_id != job_id
    assert not (await claim(queue, types=["t"])).job_id


async def test_it_is_explained(queue, job_id):
    why = await queue.ExplainJob(queue_pb2.ExplainJobRequest(job_id=job_id))
    assert list(why.reasons) == [queue_pb2.EXPLAIN_REASON_UNIQUE_HELD, queue_pb2.EXPLAIN_REASON_BLOCKED]
    first = (await queue.ListJobs(queue_pb2.ListJobsRequest())).jobs[0].id
    assert (why.status, why.unique_key, list(why.blocked_by)) == ("blocked", "k", [first])
    assert why.message == (
        f"It is blocked: it takes over the unique key 'k' when its holder has ended, {first}, which is unclaimed."
    )


async def test_it_is_cancelled_at_once(queue, job_id):
    answer = await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=job_id))
    assert (answer.status, answer.cancel_requested) == ("cancelled", False)


async def test_the_sdk_knows_it(app: App, job_id):
    async with OsqueueClient(app.address) as client:
        stats = await client.get_stats()
        assert (stats.total, stats.blocked, stats.counts.blocked) == (3, 1, 1)
        assert (await client.get_job(job_id)).status == "blocked"
        assert (await client.explain_job(job_id)).reasons == ["unique_held", "blocked"]
