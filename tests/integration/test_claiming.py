"""ClaimJob and ClaimJobs over the wire: long polls, deadlines, keys, budgets, callers that go."""

import asyncio

import grpc
import pytest

from osqueue_service.state.commands import PutSchedule, TriggerSchedule
from osqueue_service.state.model import JobSpec
from osqueue_service.state.schedules import Overlap, ScheduleSpec
from osqueue_service.storage.memory import MemoryStore
from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2, queue_pb2_grpc
from tests.calls import broker_over, claim, complete, holder, refused, submit, submit_many, until


async def test_a_claim_says_all_that_a_worker_needs(queue):
    job_id = await submit(
        queue, b"x", type="t", priority=3, max_attempts=9, timeout_ms=5_000, lease_ms=7_000, metadata={"trace": "abc"}
    )
    claimed = await claim(queue)
    assert (claimed.job_id, claimed.payload, claimed.type, claimed.attempt) == (job_id, b"x", "t", 1)
    assert (claimed.priority, claimed.max_attempts, claimed.timeout_ms, claimed.lease_ms) == (3, 9, 5_000, 7_000)
    assert dict(claimed.metadata) == {"trace": "abc"}
    assert len(claimed.lease_token) == 22
    assert 0 <= claimed.lease_expires_at - claimed.created_at - 7_000 < 5_000
    assert claimed.commit.sequence > 0


async def test_every_way_to_claim_says_which_schedule_made_the_job(app, queue):
    engine = app.broker.engine
    spec = ScheduleSpec(JobSpec("t", b"x"), every_ms=86_400_000, anchor_at=1, overlap=Overlap.ALLOW_ALL)
    await engine.execute(PutSchedule("daily", spec))
    for _ in range(2):
        await engine.execute(TriggerSchedule("daily"))
    one = await claim(queue)
    (other,) = (await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w"))).jobs
    assert one.schedule_id == other.schedule_id == "daily"
    assert 0 < one.scheduled_for <= other.scheduled_for
    await submit(queue)
    plain = await claim(queue)
    assert (plain.schedule_id, plain.scheduled_for) == ("", 0)


async def test_the_claims_lease_wins_over_the_jobs(queue):
    await submit(queue, lease_ms=7_000)
    assert (await claim(queue, lease_ms=500)).lease_ms == 500


async def test_without_either_the_lease_is_thirty_seconds(queue):
    await submit(queue)
    assert (await claim(queue)).lease_ms == 30_000


async def test_an_empty_queue_is_no_error(queue):
    assert await claim(queue) == queue_pb2.ClaimJobResponse()
    assert await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w")) == queue_pb2.ClaimJobsResponse()


async def test_a_waiting_claim_gets_a_job_as_it_comes(app, queue):
    waiting = asyncio.ensure_future(claim(queue, wait_ms=30_000, types=["mail"]))
    await until(lambda: app.broker.engine.waiting_claims == 1)
    await submit(queue, type="other")
    job_id = await submit(queue, type="mail")
    assert (await waiting).job_id == job_id


async def test_a_waiting_claim_that_finds_nothing_answers_empty(queue):
    assert not (await claim(queue, wait_ms=30)).HasField("job_id")


@pytest.mark.parametrize("timeout_s", [0.5, 1.5])
async def test_a_waiting_claim_answers_before_its_deadline(queue, timeout_s):
    answer = await queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=60_000), timeout=timeout_s)
    assert not answer.HasField("job_id")


async def test_a_wait_longer_than_the_limit_is_cut_to_it(app, queue):
    waiting = queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=2**62))
    await until(lambda: app.broker.engine.waiting_claims == 1)
    waiting.cancel()
    await until(lambda: app.broker.engine.waiting_claims == 0)


async def test_slow_storage_does_not_break_the_deadline_of_a_waiting_claim():
    """The job is found just before the deadline, and its commit takes longer than what is left."""
    async with broker_over(MemoryStore(put_ms=600)) as app, grpc.aio.insecure_channel(app.address) as channel:
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        await submit(queue)
        answer = await queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=60_000), timeout=0.4)
        assert not answer.HasField("job_id")
        assert (await claim(queue, wait_ms=10_000)).attempt == 2, "the first one was given back"


async def test_a_caller_that_goes_leaves_its_jobs_to_others(app, queue):
    call = queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="gone", wait_ms=60_000))
    await until(lambda: app.broker.engine.waiting_claims == 1)
    call.cancel()
    await until(lambda: app.broker.engine.waiting_claims == 0)
    job_id = await submit(queue)
    assert (await claim(queue, "stays")).job_id == job_id


async def test_a_repeated_claim_is_given_the_same_leases(queue):
    await submit_many(queue, 4)
    asked = queue_pb2.ClaimJobsRequest(worker_id="w1", max_jobs=2, claim_key="c1")
    first, again = await queue.ClaimJobs(asked), await queue.ClaimJobs(asked)
    assert [(job.job_id, job.lease_token) for job in again.jobs] == [
        (job.job_id, job.lease_token) for job in first.jobs
    ]
    other = await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w2", max_jobs=2, claim_key="c1"))
    assert not {job.job_id for job in other.jobs} & {job.job_id for job in first.jobs}


async def test_a_repeated_claim_learns_of_a_cancellation(queue):
    await submit(queue)
    claimed = await claim(queue, claim_key="c1")
    assert not claimed.cancel_requested
    await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=claimed.job_id))
    assert (await claim(queue, claim_key="c1")).cancel_requested


async def test_several_jobs_at_once_in_order(queue):
    ids = await submit_many(queue, 5)
    answer = await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w", max_jobs=3))
    assert [job.job_id for job in answer.jobs] == ids[:3]
    assert len({job.lease_token for job in answer.jobs}) == 3
    assert answer.commit.sequence > 0
    rest = await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w", max_jobs=1_000))
    assert [job.job_id for job in rest.jobs] == ids[3:]


async def test_a_budget_of_bytes_ends_a_claim_but_the_first_job_always_fits(queue):
    for size in (10_000, 10_000, 50):
        await submit(queue, b"x" * size)
    sizes = []
    while jobs := (await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w", max_jobs=9, max_bytes=11_000))).jobs:
        sizes.append([len(job.payload) for job in jobs])
    assert sizes == [[10_000], [10_000, 50]]


async def test_the_largest_answer_is_read_by_a_client_with_default_settings(queue):
    for _ in range(5):
        await submit(queue, b"x" * 1024 * 1024)
    answer = await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w", max_jobs=5))
    assert len(answer.jobs) == 2


async def test_paused_types_are_passed_by(app, queue, admin):
    await submit(queue, type="mail")
    paused = await admin.PauseTypes(admin_pb2.PauseTypesRequest(types=["mail"]))
    assert list(paused.paused_types) == ["mail"]
    assert not (await claim(queue)).HasField("job_id")
    waiting = asyncio.ensure_future(claim(queue, wait_ms=30_000))
    await until(lambda: app.broker.engine.waiting_claims == 1)
    resumed = await admin.ResumeTypes(admin_pb2.ResumeTypesRequest(types=["mail"]))
    assert list(resumed.paused_types) == []
    assert (await waiting).HasField("job_id")


@pytest.mark.parametrize("types", [[], ["t" * 1_025], ["t"] * 129])
@pytest.mark.parametrize("method", ["PauseTypes", "ResumeTypes"])
async def test_types_to_pause_are_checked(admin, method, types):
    with refused("INVALID_REQUEST") as refusal:
        await getattr(admin, method)(getattr(admin_pb2, f"{method}Request")(types=types))
    assert list(refusal.violations) == ["types[0]" if types == ["t" * 1_025] else "types"]


async def test_a_refused_claim_takes_nothing(queue):
    await submit(queue)
    with refused("INVALID_REQUEST"):
        await claim(queue, lease_ms=1)
    assert (await claim(queue)).attempt == 1


async def test_a_lease_that_runs_out_gives_the_job_to_the_next(queue):
    await submit(queue)
    first = await claim(queue, lease_ms=100)
    second = await claim(queue, "w2", wait_ms=10_000)
    assert (second.job_id, second.attempt) == (first.job_id, 2)
    with refused("LEASE_LOST") as refusal:
        await complete(queue, first)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    found = await queue.GetJob(queue_pb2.GetJobRequest(job_id=first.job_id))
    assert [each.outcome for each in found.job.history] == [job_pb2.ATTEMPT_OUTCOME_EXPIRED, 0]
    await queue.CompleteJob(queue_pb2.CompleteJobRequest(**holder(second, "w2")))
