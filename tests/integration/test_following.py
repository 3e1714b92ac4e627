"""Follow-ups of completions and jobs submitted by a death, over the wire."""

import pytest

from osqueue_service.errors import FeatureUnavailable
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, queue_pb2_grpc
from tests.calls import claim, fail, holder, refused, status, submit
from tests.integration.test_work_stream import Worker

REFUND = job_pb2.JobTemplate(type="refund", payload=b"{}", max_attempts=5, metadata={"k": "v"}, retention_ms=60_000)


def job(type: str = "", **fields: object) -> queue_pb2.SubmitJobRequest:
    return queue_pb2.SubmitJobRequest(**{"type": type, "payload": b"{}", **fields})


async def completed(queue, claimed, *follow_ups) -> queue_pb2.CompleteJobResponse:
    return await queue.CompleteJob(queue_pb2.CompleteJobRequest(**holder(claimed), follow_ups=follow_ups))


async def get(queue, job_id) -> job_pb2.JobInfo:
    return (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job


async def test_a_completion_is_answered_with_its_follow_ups_and_again(queue):
    await submit(queue)
    parent = await claim(queue)
    answer = await completed(queue, parent, job("b", priority=3), job("c", delay_ms=60_000))
    ids = [followed.job_id for followed in answer.follow_ups]
    assert not answer.follow_ups_withheld
    assert answer.HasField("commit")
    again = await completed(queue, parent, job("b"), job("c"))
    assert [followed.job_id for followed in again.follow_ups] == ids
    assert [await status(queue, job_id) for job_id in ids] == ["unclaimed", "scheduled"]
    assert list((await get(queue, parent.job_id)).follow_ups) == ids
    child = await claim(queue)
    assert (child.job_id, child.priority) == (ids[0], 3)
    said = job_pb2.Origin(job_id=parent.job_id, kind=job_pb2.ORIGIN_KIND_FOLLOW_UP, attempt=1)
    assert child.came_from == said == (await get(queue, child.job_id)).came_from


async def test_completions_of_a_batch_have_each_their_own(queue):
    for _ in range(3):
        await submit(queue)
    claims = [await claim(queue) for _ in range(3)]
    items = [
        queue_pb2.CompleteJobRequest(**holder(claims[0]), follow_ups=[job("b", idempotency_key="once")]),
        queue_pb2.CompleteJobRequest(**holder(claims[1])),
        queue_pb2.CompleteJobRequest(
            **holder(claims[2]), follow_ups=[job("b", idempotency_key="once"), job("x", idempotency_key="once")]
        ),
    ]
    answer = await queue.CompleteJobs(queue_pb2.CompleteJobsRequest(completions=items))
    first, second, third = (result.completed.follow_ups for result in answer.results)
    assert (len(first), len(second), len(third)) == (1, 0, 2)
    assert (third[0].job_id, third[0].deduplicated) == (first[0].job_id, True)
    assert third[1].error.reason == job_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT
    assert [await status(queue, each.job_id) for each in claims] == ["completed"] * 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (job(payload=b""), "follow_ups[1].payload"),
        (job(type="no spaces"), "follow_ups[1].type"),
        (job(request_id="r"), "follow_ups[1].request_id"),
        (job(max_attempts=0), "follow_ups[1].max_attempts"),
        (job(run_at=1, delay_ms=1), "follow_ups[1].run_at"),
        (job(submit_on_dead=job_pb2.JobTemplate(payload=b"{}", type="?")), "follow_ups[1].submit_on_dead.type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_malformed_follow_up_refuses_the_completion_before_anything_changes(queue, wrong, field):
    await submit(queue)
    parent = await claim(queue)
    with refused("INVALID_REQUEST") as refusal:
        await completed(queue, parent, job("good"), wrong)
    assert list(refusal.violations) == [field]
    assert await status(queue, parent.job_id) == "in_progress"
    batch = queue_pb2.CompleteJobsRequest(
        completions=[queue_pb2.CompleteJobRequest(**holder(parent), follow_ups=[job("good"), wrong])]
    )
    (result,) = (await queue.CompleteJobs(batch)).results
    assert [each.field for each in result.error.violations] == [field]
    assert await status(queue, parent.job_id) == "in_progress"


async def test_there_may_be_a_hundred_and_not_one_more(queue):
    await submit(queue)
    parent = await claim(queue)
    with refused("INVALID_REQUEST") as refusal:
        await completed(queue, parent, *[job()] * (DEFAULT_LIMITS.follow_ups + 1))
    assert refusal.violations == {"follow_ups": "has 101 elements; at most 100 are allowed (follow_ups)"}
    answer = await completed(queue, parent, *[job()] * DEFAULT_LIMITS.follow_ups)
    assert len({each.job_id for each in answer.follow_ups}) == 100


async def test_a_call_may_have_a_thousand_and_not_one_more(queue):
    for _ in range(11):
        await submit(queue)
    claims = [await claim(queue) for _ in range(11)]
    items = [queue_pb2.CompleteJobRequest(**holder(each), follow_ups=[job()] * 100) for each in claims]
    with refused("INVALID_REQUEST") as refusal:
        await queue.CompleteJobs(queue_pb2.CompleteJobsRequest(completions=items))
    assert list(refusal.violations) == ["completions.follow_ups"]
    answer = await queue.CompleteJobs(queue_pb2.CompleteJobsRequest(completions=items[:10]))
    assert sum(len(result.completed.follow_ups) for result in answer.results) == 1_000


async def test_nothing_follows_a_job_that_was_to_be_cancelled(queue):
    await submit(queue)
    parent = await claim(queue)
    await queue.CancelJob(queue_pb2.CancelJobRequest(job_id=parent.job_id))
    answer = await completed(queue, parent, job("b"))
    assert (list(answer.follow_ups), answer.follow_ups_withheld) == ([], True)
    assert await status(queue, parent.job_id) == "completed"
    assert (await claim(queue)).job_id == ""


async def test_frames_of_a_work_stream_are_answered_by_receipts(channel, queue):
    await submit(queue, type="a")
    worker = await Worker(queue_pb2_grpc.QueueServiceStub(channel), types=["a"]).start()
    await worker.until(lambda: bool(worker.jobs))
    (parent,) = worker.jobs
    done = queue_pb2.CompleteJobRequest(
        job_id=parent.job_id, lease_token=parent.lease_token, follow_ups=[job("a"), job("b")]
    )
    await worker.send(completions=[done])
    await worker.until(lambda: bool(worker.receipts) and len(worker.jobs) == 2)
    (receipt,) = worker.receipts
    assert receipt.status == "completed"
    assert receipt.follow_ups[0].job_id == worker.jobs[1].job_id
    assert worker.jobs[1].came_from.job_id == parent.job_id
    worker.call.cancel()


async def test_a_death_submits_what_the_job_asked_for_with_its_cause(queue):
    parent_id = await submit(queue, type="order", max_attempts=1, submit_on_dead=REFUND)
    assert (await get(queue, parent_id)).submit_on_dead == REFUND
    parent = await claim(queue)
    await fail(queue, parent, error=job_pb2.JobError(type="Boom", message="why"))
    child = await claim(queue)
    assert (child.type, child.payload, dict(child.metadata)) == ("refund", b"{}", {"k": "v"})
    assert child.came_from == job_pb2.Origin(
        job_id=parent_id,
        kind=job_pb2.ORIGIN_KIND_ON_DEAD,
        attempt=1,
        error=job_pb2.JobError(type="Boom", message="why"),
    )
    info = await get(queue, child.job_id)
    assert (info.max_attempts, info.retention_ms) == (5, 60_000)
    assert list((await get(queue, parent_id)).dead_follow_ups) == [child.job_id]


async def test_a_basic_view_names_the_parent_and_leaves_the_rest_out(queue):
    await submit(queue, type="order", max_attempts=1, submit_on_dead=REFUND)
    await fail(queue, await claim(queue))
    request = queue_pb2.ListJobsRequest(
        filter=job_pb2.JobFilter(statuses=["dead", "unclaimed"]), view=job_pb2.JOB_VIEW_BASIC
    )
    dead, child = (await queue.ListJobs(request)).jobs
    assert not dead.dead_follow_ups
    assert not dead.HasField("submit_on_dead")
    assert child.came_from.job_id == dead.id


async def test_a_bad_template_is_refused_by_its_path(queue):
    with refused("INVALID_REQUEST") as refusal:
        await submit(queue, submit_on_dead=job_pb2.JobTemplate(type="?", lease_ms=1))
    assert set(refusal.violations) == {
        "submit_on_dead.payload", "submit_on_dead.type", "submit_on_dead.lease_ms"
    }  # fmt: skip


async def test_while_another_broker_does_not_know_follow_ups_only_they_are_refused(app, queue, monkeypatch):
    async def unavailable(features):
        raise FeatureUnavailable("the queue cannot use 'follow-ups' yet: upgrade the broker at b:1")

    await submit(queue)
    parent = await claim(queue)
    monkeypatch.setattr(app.broker.engine.term, "switch_on", unavailable)
    with refused("INVALID_REQUEST"):
        await submit(queue, submit_on_dead=REFUND)
    answer = await completed(queue, parent, job("b"), job("c"))
    assert [each.error.reason for each in answer.follow_ups] == [job_pb2.ERROR_REASON_INVALID_REQUEST] * 2
    assert "b:1" in answer.follow_ups[0].error.message
    assert await status(queue, parent.job_id) == "completed"


def test_a_template_has_the_fields_of_a_request_under_their_numbers():
    request = queue_pb2.SubmitJobRequest.DESCRIPTOR.fields_by_name
    for field in job_pb2.JobTemplate.DESCRIPTOR.fields:
        same = request[field.name]
        assert (same.number, same.type, same.is_repeated, same.has_presence) == (
            field.number, field.type, field.is_repeated, field.has_presence,
        )  # fmt: skip
