"""SubmitJob and SubmitJobs over the wire."""

import grpc
import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.calls import claim, complete, refused, submit

MIB = 1024 * 1024


def batch(*jobs: queue_pb2.SubmitJobRequest, **fields) -> queue_pb2.SubmitJobsRequest:
    return queue_pb2.SubmitJobsRequest(jobs=jobs, **fields)


def job(payload: bytes = b"{}", **fields) -> queue_pb2.SubmitJobRequest:
    return queue_pb2.SubmitJobRequest(payload=payload, **fields)


async def live(queue) -> int:
    stats = await queue.GetStats(queue_pb2.GetStatsRequest())
    return stats.counts.total


async def test_everything_that_was_submitted_is_shown(queue):
    asked = job(
        b'{"a":1}',
        type="mail",
        max_attempts=4,
        priority=5,
        lease_ms=60_000,
        timeout_ms=120_000,
        retry_policy=job_pb2.RetryPolicy(initial_ms=10, jitter=0.5),
        idempotency_key="key",
        metadata={"trace": "abc"},
        retention_ms=1_000,
        delay_ms=60_000,
    )
    answer = await queue.SubmitJob(asked)
    assert answer.commit.sequence > 0 and not answer.deduplicated
    found = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=answer.job_id))).job
    for field in ("payload", "type", "max_attempts", "priority", "lease_ms", "timeout_ms", "idempotency_key",
                  "metadata", "retention_ms"):  # fmt: skip
        assert getattr(found, field) == getattr(asked, field), field
    assert found.status == "scheduled"
    assert abs(found.run_at - found.created_at - 60_000) < 1_000
    assert (found.retry_policy.initial_ms, found.retry_policy.multiplier, found.retry_policy.jitter) == (10, 2.0, 0.5)
    assert found.max_attempts_set and found.effective_max_attempts == 4


async def test_the_same_key_is_the_same_job(queue):
    first = await queue.SubmitJob(job(b"1", type="t", idempotency_key="k"))
    second = await queue.SubmitJob(job(b"1", type="t", idempotency_key="k", priority=9))
    assert (second.job_id, second.deduplicated) == (first.job_id, True)
    assert await live(queue) == 1


@pytest.mark.parametrize("other", [{"payload": b"2", "type": "t"}, {"payload": b"1", "type": "u"}])
async def test_the_same_key_for_other_content_is_a_conflict(queue, other):
    first = await queue.SubmitJob(job(b"1", type="t", idempotency_key="k"))
    with refused("IDEMPOTENCY_CONFLICT") as refusal:
        await queue.SubmitJob(job(idempotency_key="k", **other))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert first.job_id in refusal.message
    assert await live(queue) == 1


async def test_a_repeated_call_happens_once(queue):
    first = await queue.SubmitJob(job(b"1", request_id="r1"))
    assert (await queue.SubmitJob(job(b"1", request_id="r1"))).job_id == first.job_id
    with refused("IDEMPOTENCY_CONFLICT"):
        await queue.SubmitJob(job(b"2", request_id="r1"))
    many = await queue.SubmitJobs(batch(job(b"1"), job(b"2"), request_id="r2"))
    again = await queue.SubmitJobs(batch(job(b"1"), job(b"2"), request_id="r2"))
    assert [each.submitted.job_id for each in again.results] == [each.submitted.job_id for each in many.results]
    assert await live(queue) == 3


async def test_a_batch_keeps_its_order(queue):
    answer = await queue.SubmitJobs(batch(*[job(b"%d" % number) for number in range(10)]))
    ids = [each.submitted.job_id for each in answer.results]
    assert [(await claim(queue)).job_id for _ in ids] == ids
    assert answer.commit.sequence > 0
    assert not answer.results[0].submitted.HasField("commit")


@pytest.mark.parametrize("atomic", [{}, {"atomic": True}])
async def test_an_atomic_batch_is_all_or_none(queue, atomic):
    with refused("INVALID_REQUEST") as refusal:
        await queue.SubmitJobs(batch(job(), job(b"", type="a b"), job(priority=5_000), **atomic))
    assert list(refusal.violations) == ["jobs[1].payload", "jobs[1].type", "jobs[2].priority"]
    assert await live(queue) == 0


async def test_otherwise_each_job_is_for_itself(queue):
    await queue.SubmitJob(job(b"1", idempotency_key="k"))
    answer = await queue.SubmitJobs(
        batch(
            job(b"a"),
            job(b""),
            job(b"2", idempotency_key="k"),
            job(b"x" * (MIB + 1)),
            job(b"c", request_id="r"),
            job(b"1", idempotency_key="k"),
            atomic=False,
        )
    )
    outcomes = [each.WhichOneof("outcome") for each in answer.results]
    assert outcomes == ["submitted", "error", "error", "error", "error", "submitted"]
    errors = [each.error for each in answer.results if each.HasField("error")]
    assert [each.reason for each in errors] == [
        job_pb2.ERROR_REASON_INVALID_REQUEST,
        job_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT,
        job_pb2.ERROR_REASON_PAYLOAD_TOO_LARGE,
        job_pb2.ERROR_REASON_INVALID_REQUEST,
    ]
    assert [each.violations[0].field for each in errors if each.violations] == ["payload", "payload", "request_id"]
    assert answer.results[5].submitted.deduplicated
    assert await live(queue) == 2


async def test_a_batch_of_refused_jobs_commits_nothing(queue):
    answer = await queue.SubmitJobs(batch(job(b""), atomic=False))
    assert not answer.HasField("commit")


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_batch_has_from_one_to_a_thousand_jobs(queue, atomic):
    assert len((await queue.SubmitJobs(batch(*[job()] * 1_000, atomic=atomic))).results) == 1_000
    for count in (0, 1_001):
        with refused("INVALID_REQUEST") as refusal:
            await queue.SubmitJobs(batch(*[job()] * count, atomic=atomic))
        assert set(refusal.violations) == {"jobs"}
    assert await live(queue) == 1_000


async def test_what_is_wrong_with_a_thousand_jobs_still_fits_in_an_answer(queue):
    with refused("INVALID_REQUEST") as refusal:
        await queue.SubmitJobs(batch(*[job(b"", type="a b")] * 1_000))
    assert refusal.message.endswith("more")


async def test_the_largest_message_is_accepted_and_the_next_is_refused_by_us(queue):
    limit = DEFAULT_LIMITS.message_bytes
    full = batch(*[job(b"x" * MIB)] * 3, job(b"x"))
    full.jobs[3].payload = b"x" * (1 + limit - full.ByteSize() - 4)
    while full.ByteSize() > limit:
        full.jobs[3].payload = full.jobs[3].payload[:-1]
    full.jobs[3].payload += b"x" * (limit - full.ByteSize())
    assert full.ByteSize() == limit
    await queue.SubmitJobs(full)
    full.request_id = "one more byte or two"
    with refused("PAYLOAD_TOO_LARGE") as refusal:
        await queue.SubmitJobs(full)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "message_bytes" in refusal.message


async def test_priority_is_strict_and_first_in_first_out_within_one(queue):
    low, high, normal, high2 = [await submit(queue, priority=priority) for priority in (-1, 5, 0, 5)]
    assert [(await claim(queue)).job_id for _ in range(4)] == [high, high2, normal, low]


async def test_a_delayed_job_runs_when_its_time_has_come(queue):
    later = await submit(queue, delay_ms=50)
    now = await submit(queue)
    assert (await claim(queue)).job_id == now
    assert (await claim(queue, wait_ms=5_000)).job_id == later


async def test_a_finished_job_makes_room_for_its_key_no_sooner_than_promised(queue):
    first = await queue.SubmitJob(job(b"1", idempotency_key="k"))
    await complete(queue, await claim(queue))
    assert (await queue.SubmitJob(job(b"1", idempotency_key="k"))).job_id == first.job_id
