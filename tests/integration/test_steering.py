"""CancelJob(s), RetryJobs, Purge, pausing and stepping down over the wire."""

import asyncio
from functools import partial

import pytest

from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2
from tests.calls import claim, complete, fail, holder, refused, status, submit, submit_many


async def dead(queue, **fields) -> str:
    job_id = await submit(queue, **fields)
    await fail(queue, await claim(queue), retryable=False, error=job_pb2.JobError(type="Boom"))
    return job_id


CALLS = {
    "CancelJobs": queue_pb2.CancelJobsRequest,
    "RetryJobs": queue_pb2.RetryJobsRequest,
    "RunJobs": queue_pb2.RunJobsRequest,
    "UpdateJobs": partial(queue_pb2.UpdateJobsRequest, priority=1),
    "Purge": admin_pb2.PurgeRequest,
}


@pytest.fixture(params=CALLS)
def call(request, queue, admin):
    """A call that takes jobs by ids or by filter."""
    method = getattr(admin if request.param == "Purge" else queue, request.param)
    return lambda **fields: method(CALLS[request.param](**fields))


class TestChoosingJobs:
    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({}, "job_ids"),
            ({"job_ids": ["a"], "filter": job_pb2.JobFilter()}, "job_ids"),
            ({"job_ids": ["a"] * 1_001}, "job_ids"),
            ({"job_ids": ["a", ""]}, "job_ids[1]"),
            ({"job_ids": ["a\n"]}, "job_ids[0]"),
            ({"job_ids": ["a"], "page_token": "t"}, "page_token"),
            ({"job_ids": ["a"], "request_id": "r" * 129}, "request_id"),
            ({"filter": job_pb2.JobFilter(), "page_token": "nonsense"}, "page_token"),
            ({"filter": job_pb2.JobFilter(statuses=["nonsense"])}, "filter.statuses[0]"),
        ],
    )
    async def test_what_makes_no_sense_is_refused(self, call, fields, named):
        with refused("INVALID_REQUEST") as refusal:
            await call(**fields)
        assert list(refusal.violations) == [named]

    async def test_an_unknown_id_is_refused_for_itself(self, call):
        answer = await call(job_ids=["nowhere"] * 1_000)
        assert {each.error.reason for each in answer.results} == {job_pb2.ERROR_REASON_JOB_NOT_FOUND}
        assert [each.job_id for each in answer.results] == ["nowhere"] * 1_000
        assert not answer.HasField("commit")


class TestCancel:
    async def test_a_waiting_job_is_cancelled_at_once(self, queue):
        job_id = await submit(queue)
        answer = await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=job_id))
        assert (answer.status, answer.cancel_requested) == ("cancelled", False)
        assert await status(queue, job_id) == "cancelled"

    async def test_a_running_job_is_asked_to_stop(self, queue):
        await submit(queue)
        claimed = await claim(queue)
        answer = await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
        assert (answer.status, answer.cancel_requested) == ("in_progress", True)
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job
        assert job.cancel_requested

    async def test_a_finished_job_is_left_alone(self, queue):
        await submit(queue)
        claimed = await claim(queue)
        await complete(queue, claimed)
        answer = await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
        assert (answer.status, answer.cancel_requested) == ("completed", False)

    async def test_an_unknown_job_is_not_found(self, queue):
        with refused("JOB_NOT_FOUND"):
            await queue.CancelJob(queue_pb2.CancelJobRequest(job_id="nowhere"))

    async def test_many_by_filter_with_a_dry_run_first(self, queue):
        ids = await submit_many(queue, 3, type="a")
        other = await submit(queue, type="b")
        asked = queue_pb2.CancelJobsRequest(filter=job_pb2.JobFilter(types=["a"]), dry_run=True)
        answer = await queue.CancelJobs(asked)
        assert [(each.job_id, each.cancelled.status) for each in answer.results] == [(i, "cancelled") for i in ids]
        assert not answer.HasField("commit")
        assert await status(queue, ids[0]) == "unclaimed"
        asked.dry_run = False
        answer = await queue.CancelJobs(asked)
        assert answer.commit.sequence > 0
        assert {await status(queue, job_id) for job_id in ids} == {"cancelled"}
        assert await status(queue, other) == "unclaimed"

    async def test_a_filter_goes_on_with_a_token(self, queue):
        for _ in range(2):
            await submit_many(queue, 750)
        first = await queue.CancelJobs(queue_pb2.CancelJobsRequest(filter=job_pb2.JobFilter()))
        assert len(first.results) == 1_000
        second = await queue.CancelJobs(
            queue_pb2.CancelJobsRequest(filter=job_pb2.JobFilter(), page_token=first.next_page_token)
        )
        assert (len(second.results), second.next_page_token) == (500, "")


class TestRetry:
    async def test_a_dead_job_is_ready_again_with_a_new_budget(self, queue):
        job_id = await dead(queue)
        answer = await queue.RetryJobs(queue_pb2.RetryJobsRequest(job_ids=[job_id]))
        (result,) = answer.results
        assert (result.retried.status, result.retried.next_attempt) == ("unclaimed", 2)
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job
        assert (job.status, job.attempts, job.attempt_number, len(job.history)) == ("unclaimed", 0, 1, 1)
        assert (await claim(queue)).attempt == 2

    async def test_only_a_dead_job_can_be_retried(self, queue):
        job_id = await submit(queue)
        (result,) = (await queue.RetryJobs(queue_pb2.RetryJobsRequest(job_ids=[job_id]))).results
        assert result.error.reason == job_pb2.ERROR_REASON_INVALID_REQUEST
        assert "unclaimed" in result.error.message

    async def test_by_the_error_they_died_of(self, queue):
        job_id = await dead(queue)
        none = await queue.RetryJobs(queue_pb2.RetryJobsRequest(filter=job_pb2.JobFilter(error_type="Other")))
        assert not none.results
        some = await queue.RetryJobs(queue_pb2.RetryJobsRequest(filter=job_pb2.JobFilter(error_type="Boom")))
        assert [each.job_id for each in some.results] == [job_id]


class TestPurge:
    async def test_a_finished_job_is_gone(self, queue, admin):
        job_id = await dead(queue)
        answer = await admin.Purge(admin_pb2.PurgeRequest(job_ids=[job_id]))
        assert [each.purged_status for each in answer.results] == ["dead"]
        with refused("JOB_NOT_FOUND"):
            await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))
        counts = (await queue.GetStats(queue_pb2.GetStatsRequest())).counts
        assert (counts.dead, counts.dead_total, counts.purged_total) == (0, 1, 1)

    async def test_a_live_job_is_not_purged(self, queue, admin):
        waiting, finished = await submit(queue, type="x"), await dead(queue, priority=1)
        answer = await admin.Purge(admin_pb2.PurgeRequest(job_ids=[waiting, finished, "nowhere"]))
        assert [each.WhichOneof("outcome") for each in answer.results] == ["error", "purged_status", "error"]
        assert "cancel it first" in answer.results[0].error.message
        assert await status(queue, waiting) == "unclaimed"

    async def test_a_filter_means_finished_jobs(self, queue, admin):
        waiting, finished = await submit(queue), await dead(queue, priority=1)
        answer = await admin.Purge(admin_pb2.PurgeRequest(filter=job_pb2.JobFilter()))
        assert [each.job_id for each in answer.results] == [finished]
        assert await status(queue, waiting) == "unclaimed"


async def test_stepping_down_ends_leadership_in_order(app, queue, admin, caplog):
    await submit(queue)
    answer = await admin.StepDown(admin_pb2.StepDownRequest(reason="maintenance"))
    assert answer.commit.epoch == 1 and answer.commit.sequence > 0
    assert "asked to step down: maintenance" in caplog.text
    with refused("NOT_LEADER"):
        await claim(queue)


async def test_a_reason_for_stepping_down_is_short(admin):
    with refused("INVALID_REQUEST"):
        await admin.StepDown(admin_pb2.StepDownRequest(reason="r" * 1_025))


async def test_a_worker_whose_job_was_cancelled_and_released_is_told(queue):
    await submit(queue)
    claimed = await claim(queue)
    await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
    await queue.ReleaseJob(queue_pb2.ReleaseJobRequest(**holder(claimed)))
    assert await status(queue, claimed.job_id) == "cancelled"


class TestUpdate:
    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({}, "priority"),
            ({"priority": 1_001}, "priority"),
            ({"priority": -1_001}, "priority"),
            ({"run_at": -1}, "run_at"),
            ({"run_at": 1 << 60}, "run_at"),
            ({"delay_ms": -1}, "delay_ms"),
            ({"delay_ms": 366 * 24 * 3_600_000}, "delay_ms"),
            ({"delay_ms": 1, "run_at": 1}, "run_at"),
            ({"payload": b""}, "payload"),
            ({"payload": b"x", "job_ids": ["another"]}, "payload"),
            ({"labels": queue_pb2.NewLabels(metadata={"": "v"})}, "labels.metadata"),
        ],
    )
    async def test_what_makes_no_sense_is_refused_and_changes_nothing(self, queue, fields, named):
        job_id = await submit(queue)
        with refused("INVALID_REQUEST") as refusal:
            fields = {**fields, "job_ids": [job_id, *fields.get("job_ids", ())]}
            await queue.UpdateJobs(queue_pb2.UpdateJobsRequest(**fields))
        assert list(refusal.violations) == [named]
        assert (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job.priority == 0

    @pytest.mark.parametrize(
        ("fields", "limit"),
        [
            ({"payload": b"x" * ((1 << 20) + 1)}, "payload_bytes"),
            ({"labels": queue_pb2.NewLabels(metadata={"k": "v" * 8_192})}, "metadata_bytes"),
        ],
    )
    async def test_what_is_too_large_is_refused_with_the_name_of_the_limit(self, queue, fields, limit):
        job_id = await submit(queue)
        with refused("PAYLOAD_TOO_LARGE") as refusal:
            await queue.UpdateJobs(queue_pb2.UpdateJobsRequest(job_ids=[job_id], **fields))
        assert limit in refusal.message
        exact = {"payload": b"x" * (1 << 20)} if limit == "payload_bytes" else {
            "labels": queue_pb2.NewLabels(metadata={"k": "v" * 8_191})
        }  # fmt: skip
        answer = await queue.UpdateJobs(queue_pb2.UpdateJobsRequest(job_ids=[job_id], **exact))
        assert answer.results[0].updated.status == "unclaimed"

    async def test_labels_are_replaced_and_may_be_none(self, queue):
        job_id = await submit(queue, metadata={"a": "1"})
        answer = await queue.UpdateJobs(queue_pb2.UpdateJobsRequest(job_ids=[job_id], labels=queue_pb2.NewLabels()))
        assert answer.results[0].updated.status == "unclaimed" and answer.HasField("commit")
        assert not (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job.metadata

    async def test_a_filter_reaches_what_waits_and_nothing_else(self, queue):
        await submit_many(queue, 3)
        await complete(queue, await claim(queue))
        answer = await queue.UpdateJobs(queue_pb2.UpdateJobsRequest(filter=job_pb2.JobFilter(), priority=5))
        assert [each.updated.status for each in answer.results] == ["unclaimed"] * 2
        again = queue_pb2.UpdateJobsRequest(filter=job_pb2.JobFilter(statuses=["completed"]), priority=5)
        with refused("INVALID_REQUEST"):
            await queue.UpdateJobs(again)

    async def test_a_worker_that_waits_gets_a_job_that_is_run_now(self, queue):
        job_id = await submit(queue, delay_ms=3_600_000)
        waiting = asyncio.ensure_future(claim(queue, wait_ms=30_000))
        answer = await queue.RunJobs(queue_pb2.RunJobsRequest(job_ids=[job_id]))
        assert answer.results[0].updated.status == "unclaimed"
        assert (await waiting).job_id == job_id
