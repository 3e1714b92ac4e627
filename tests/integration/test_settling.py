"""Heartbeats and the ends of attempts over the wire: tokens right, stale, repeated, missing; singly and in batches."""

import grpc
import pytest

from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.calls import claim, complete, fail, holder, refused, status, submit, submit_many

VERBS = {
    "Heartbeat": queue_pb2.HeartbeatRequest,
    "CompleteJob": queue_pb2.CompleteJobRequest,
    "FailJob": queue_pb2.FailJobRequest,
    "ReleaseJob": queue_pb2.ReleaseJobRequest,
}


@pytest.fixture(params=VERBS)
def verb(request, queue):
    """A call about a lease."""
    method = getattr(queue, request.param)
    return lambda **fields: method(VERBS[request.param](**fields))


@pytest.fixture
async def claimed(queue):
    await submit(queue)
    return await claim(queue)


class TestEveryCallAboutALease:
    async def test_the_token_of_the_claim_is_accepted(self, verb, claimed):
        await verb(**holder(claimed))

    async def test_the_worker_id_alone_is_accepted_until_a_token_was_shown(self, queue, verb, claimed):
        await queue.Heartbeat(queue_pb2.HeartbeatRequest(job_id=claimed.job_id, worker_id="w1"))
        await queue.Heartbeat(queue_pb2.HeartbeatRequest(**holder(claimed)))
        with refused("LEASE_LOST") as refusal:
            await verb(job_id=claimed.job_id, worker_id="w1")
        assert "send lease_token" in refusal.message

    async def test_a_wrong_token_is_refused_and_changes_nothing(self, queue, verb, claimed):
        with refused("LEASE_LOST") as refusal:
            await verb(**{**holder(claimed), "lease_token": "t" * 22})
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert claimed.job_id in refusal.message
        assert await status(queue, claimed.job_id) == "in_progress"

    async def test_the_token_of_an_earlier_attempt_is_refused(self, queue, verb):
        await submit(queue)
        expired = await claim(queue, lease_ms=100)
        current = await claim(queue, "w2", wait_ms=10_000)
        with refused("LEASE_LOST"):
            await verb(**holder(expired))
        assert await status(queue, current.job_id) == "in_progress"

    async def test_another_worker_without_a_token_is_refused(self, verb, claimed):
        with refused("LEASE_LOST"):
            await verb(job_id=claimed.job_id, worker_id="w2")

    async def test_an_unknown_job_is_not_found(self, verb):
        with refused("JOB_NOT_FOUND") as refusal:
            await verb(job_id="nowhere", worker_id="w1")
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert "'nowhere'" in refusal.message

    async def test_a_bad_request_names_its_fields(self, queue, verb, claimed):
        with refused("INVALID_REQUEST") as refusal:
            await verb(job_id="", worker_id="w\n")
        assert list(refusal.violations) == ["job_id", "worker_id"]
        assert await status(queue, claimed.job_id) == "in_progress"


class TestHeartbeats:
    async def test_a_heartbeat_gives_the_lease_its_full_length_again(self, queue):
        await submit(queue)
        claimed = await claim(queue, lease_ms=60_000)
        answer = await queue.Heartbeat(queue_pb2.HeartbeatRequest(**holder(claimed)))
        # Two clocks, each in whole milliseconds, make the moment.
        assert answer.lease_expires_at >= claimed.lease_expires_at - 2
        assert not answer.cancel_requested
        assert answer.position.sequence >= claimed.commit.sequence

    async def test_progress_is_shown(self, queue, claimed):
        said = job_pb2.Progress(fraction=0.5, message="half of it")
        await queue.Heartbeat(queue_pb2.HeartbeatRequest(**holder(claimed), progress=said))
        await queue.Heartbeat(queue_pb2.HeartbeatRequest(**holder(claimed)))
        shown = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job.progress
        assert (shown.fraction, shown.message) == (0.5, "half of it")
        assert shown.updated_at > 0

    async def test_a_heartbeat_learns_of_a_cancellation(self, queue, claimed):
        await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
        assert (await queue.Heartbeat(queue_pb2.HeartbeatRequest(**holder(claimed)))).cancel_requested

    async def test_a_batch_answers_per_lease(self, queue):
        await submit_many(queue, 2)
        first, second = await claim(queue), await claim(queue)
        answer = await queue.HeartbeatJobs(
            queue_pb2.HeartbeatJobsRequest(
                heartbeats=[
                    queue_pb2.HeartbeatRequest(**holder(first)),
                    queue_pb2.HeartbeatRequest(job_id="nowhere", worker_id="w1"),
                    queue_pb2.HeartbeatRequest(worker_id="w1"),
                    queue_pb2.HeartbeatRequest(**{**holder(second), "lease_token": "stale"}),
                    queue_pb2.HeartbeatRequest(**holder(second)),
                ]
            )
        )
        assert [each.WhichOneof("outcome") for each in answer.results] == [
            "renewed", "error", "error", "error", "renewed",
        ]  # fmt: skip
        assert [each.error.reason for each in answer.results[1:4]] == [
            job_pb2.ERROR_REASON_JOB_NOT_FOUND,
            job_pb2.ERROR_REASON_INVALID_REQUEST,
            job_pb2.ERROR_REASON_LEASE_LOST,
        ]
        assert [each.field for each in answer.results[2].error.violations] == ["job_id"]
        assert answer.results[0].renewed.lease_expires_at > 0
        assert answer.position.epoch == 1


class TestCompletion:
    async def test_the_result_is_kept(self, queue, claimed):
        await complete(queue, claimed, result=b"\x00\xff")
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job
        assert (job.status, job.result, job.result_bytes) == ("completed", b"\x00\xff", 2)
        assert job.finished_at >= job.created_at

    async def test_an_empty_result_is_told_from_none(self, queue):
        await submit_many(queue, 2)
        for fields in ({"result": b""}, {}):
            claimed = await claim(queue)
            await complete(queue, claimed, **fields)
            job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job
            assert job.HasField("result") is bool(fields)

    async def test_repeating_it_answers_the_same(self, queue, claimed):
        await complete(queue, claimed, result=b"1")
        await complete(queue, claimed, result=b"1")
        stats = await queue.GetStats(queue_pb2.GetStatsRequest())
        assert stats.completed_total == 1

    async def test_a_completed_job_can_no_longer_fail(self, queue, claimed):
        await complete(queue, claimed)
        with refused("LEASE_LOST"):
            await fail(queue, claimed)
        assert await status(queue, claimed.job_id) == "completed"

    async def test_it_wins_over_a_cancellation(self, queue, claimed):
        await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
        await complete(queue, claimed)
        assert await status(queue, claimed.job_id) == "completed"

    async def test_a_batch_answers_per_job(self, queue):
        await submit_many(queue, 3)
        first, second, third = [await claim(queue) for _ in range(3)]
        answer = await queue.CompleteJobs(
            queue_pb2.CompleteJobsRequest(
                completions=[
                    queue_pb2.CompleteJobRequest(**holder(first), result=b"1"),
                    queue_pb2.CompleteJobRequest(**holder(second), result=b"x" * (1024 * 1024 + 1)),
                    queue_pb2.CompleteJobRequest(**{**holder(second), "lease_token": "stale"}),
                    queue_pb2.CompleteJobRequest(**holder(third), request_id="inside"),
                    queue_pb2.CompleteJobRequest(**holder(third)),
                    queue_pb2.CompleteJobRequest(**holder(third)),
                ]
            )
        )
        assert [each.WhichOneof("outcome") for each in answer.results] == [
            "completed", "error", "error", "error", "completed", "completed",
        ]  # fmt: skip
        assert [each.error.reason for each in answer.results[1:4]] == [
            job_pb2.ERROR_REASON_PAYLOAD_TOO_LARGE,
            job_pb2.ERROR_REASON_LEASE_LOST,
            job_pb2.ERROR_REASON_INVALID_REQUEST,
        ]
        assert answer.commit.sequence > 0
        assert await status(queue, second.job_id) == "in_progress"

    async def test_a_batch_of_refused_items_commits_nothing(self, queue):
        answer = await queue.CompleteJobs(
            queue_pb2.CompleteJobsRequest(completions=[queue_pb2.CompleteJobRequest(job_id="nowhere", worker_id="w1")])
        )
        assert not answer.HasField("commit")


@pytest.mark.parametrize("count", [0, 1_001])
async def test_batches_have_from_one_to_a_thousand_items(queue, count):
    with refused("INVALID_REQUEST") as refusal:
        await queue.CompleteJobs(queue_pb2.CompleteJobsRequest(completions=[queue_pb2.CompleteJobRequest()] * count))
    assert list(refusal.violations) == ["completions"]
    with refused("INVALID_REQUEST") as refusal:
        await queue.HeartbeatJobs(queue_pb2.HeartbeatJobsRequest(heartbeats=[queue_pb2.HeartbeatRequest()] * count))
    assert list(refusal.violations) == ["heartbeats"]


class TestFailure:
    async def test_a_failed_job_is_ready_again_at_once(self, queue, claimed):
        answer = await fail(queue, claimed, error=job_pb2.JobError(type="Boom", message="it broke"))
        assert (answer.status, answer.run_at) == ("unclaimed", 0)
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job
        assert (job.error.type, job.error.message, job.attempts) == ("Boom", "it broke", 1)
        assert job.history[0].outcome == job_pb2.ATTEMPT_OUTCOME_FAILED

    async def test_or_after_the_delay_that_was_asked_for(self, queue, claimed):
        answer = await fail(queue, claimed, retry_delay_ms=60_000)
        assert answer.status == "scheduled"
        assert answer.run_at > claimed.created_at + 50_000

    async def test_or_after_what_its_policy_says(self, queue):
        await submit(queue, retry_policy=job_pb2.RetryPolicy(initial_ms=60_000))
        assert (await fail(queue, await claim(queue))).status == "scheduled"

    async def test_exhausted_attempts_make_a_dead_letter(self, queue):
        job_id = await submit(queue)
        answers = [(await fail(queue, await claim(queue), error=job_pb2.JobError(type="E"))).status for _ in range(3)]
        assert answers == ["unclaimed", "unclaimed", "dead"]
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job
        assert (job.status, job.error.type, len(job.history)) == ("dead", "E", 3)

    async def test_so_does_a_failure_for_good(self, queue, claimed):
        assert (await fail(queue, claimed, retryable=False)).status == "dead"

    async def test_repeating_it_answers_the_same(self, queue, claimed):
        first = await fail(queue, claimed, retry_delay_ms=60_000)
        again = await fail(queue, claimed, retry_delay_ms=5)
        assert (again.status, again.run_at) == (first.status, first.run_at)

    async def test_after_a_cancellation_it_ends_as_cancelled(self, queue, claimed):
        await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
        assert (await fail(queue, claimed)).status == "cancelled"


class TestRelease:
    async def test_a_released_job_has_its_old_place_and_attempt(self, queue):
        ids = await submit_many(queue, 2)
        claimed = await claim(queue)
        answer = await queue.ReleaseJob(queue_pb2.ReleaseJobRequest(**holder(claimed)))
        assert answer.status == "unclaimed"
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=ids[0]))).job
        assert (job.attempts, job.attempt_number) == (0, 1)
        again = await claim(queue)
        assert (again.job_id, again.attempt) == (ids[0], 2)

    async def test_after_a_cancellation_it_ends_as_cancelled(self, queue, claimed):
        await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
        answer = await queue.ReleaseJob(queue_pb2.ReleaseJobRequest(**holder(claimed)))
        assert answer.status == "cancelled"


async def test_an_attempt_that_runs_too_long_ends_whatever_its_heartbeats_say(queue):
    await submit(queue, timeout_ms=200, max_attempts=1)
    claimed = await claim(queue)
    answer = await queue.WaitJob(queue_pb2.WaitJobRequest(job_id=claimed.job_id, wait_ms=10_000))
    assert (answer.job.status, answer.job.history[0].outcome) == ("dead", job_pb2.ATTEMPT_OUTCOME_TIMED_OUT)
    with refused("LEASE_LOST"):
        await complete(queue, claimed)
