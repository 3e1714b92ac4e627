"""Queues with names, as callers of one broker see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from osqueue_protocol.rpcs import RPCS
from osqueue_service.app import App
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    queue_pb2,
    queue_pb2_grpc,
    schedules_pb2,
    schedules_pb2_grpc,
)
from tests.calls import Refusal
from tests.calls import refused as any_refused

Admin = admin_pb2_grpc.AdminServiceStub
Queue = queue_pb2_grpc.QueueServiceStub


@contextmanager
def refused(reason: str, field: str = "") -> Iterator[Refusal]:
    """What happens inside must be refused for this reason, and because of this field if one is given."""
    with any_refused(reason) as refusal:
        yield refusal
    assert not field or list(refusal.violations) == [field]


async def created(admin: Admin, name: str, **settings: Any) -> admin_pb2.CreateQueueResponse:
    answer: admin_pb2.CreateQueueResponse = await admin.CreateQueue(admin_pb2.CreateQueueRequest(name=name, **settings))
    return answer


async def submitted(queue: Queue, name: str, type: str = "email") -> str:
    answer = await queue.SubmitJob(queue_pb2.SubmitJobRequest(type=type, payload=b"1", queue=name))
    job_id: str = answer.job_id
    return job_id


async def test_each_queue_has_jobs_of_its_own(admin: Admin, queue: Queue) -> None:
    await created(admin, "emails")
    await created(admin, "images")
    in_emails, in_default = await submitted(queue, "emails"), await submitted(queue, "")
    assert in_emails.startswith("emails_") and len(in_emails) == len("emails_") + 16
    assert "_" not in in_default

    claim = queue_pb2.ClaimJobsRequest(worker_id="w", max_jobs=10, queue="emails")
    (job,) = (await queue.ClaimJobs(claim)).jobs
    assert job.job_id == in_emails
    assert not (await queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w", queue="images"))).jobs
    done = queue_pb2.CompleteJobRequest(
        job_id=job.job_id, worker_id="w", lease_token=job.lease_token, result=b"2", queue="emails"
    )
    await queue.CompleteJob(done)
    stats = await queue.GetStats(queue_pb2.GetStatsRequest(queue="emails", linearizable=True))
    assert (stats.counts.completed_total, stats.counts.total) == (1, 0)
    stats = await queue.GetStats(queue_pb2.GetStatsRequest(linearizable=True))
    assert (stats.counts.completed_total, stats.counts.total) == (0, 1)


async def test_a_job_is_not_found_in_another_queue(admin: Admin, queue: Queue) -> None:
    await created(admin, "emails")
    job_id = await submitted(queue, "emails")
    with refused("JOB_NOT_FOUND"):
        await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))
    assert (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id, queue="emails"))).job.id == job_id


async def test_work_streams_and_watches_are_of_the_queue_that_they_name(admin: Admin, queue: Queue) -> None:
    await created(admin, "emails")
    watch = queue.WatchJobs(queue_pb2.WatchJobsRequest(queue="emails"))
    await anext(aiter(watch))
    work = queue.Work()
    await work.write(queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1), queue="emails"))
    await submitted(queue, "")
    job_id = await submitted(queue, "emails")
    frame: Any = await work.read()
    while not frame.jobs:
        frame = await work.read()
    assert [job.job_id for job in frame.jobs] == [job_id]
    message = await anext(aiter(watch))
    assert {event.job_id for event in message.events} == {job_id}
    work.cancel()
    watch.cancel()


async def test_a_schedule_fires_in_its_queue(admin: Admin, queue: Queue, channel: grpc.aio.Channel) -> None:
    await created(admin, "emails")
    schedules = schedules_pb2_grpc.ScheduleServiceStub(channel)
    put = schedules_pb2.PutScheduleRequest(queue="emails")
    put.schedule.id, put.schedule.every_ms, put.schedule.job.type = "often", 60_000, "email"
    put.schedule.job.payload = b"1"
    await schedules.PutSchedule(put)
    fired = await schedules.TriggerSchedule(schedules_pb2.TriggerScheduleRequest(schedule_id="often", queue="emails"))
    assert fired.job_id.startswith("emails_")
    assert not (await schedules.ListSchedules(schedules_pb2.ListSchedulesRequest())).schedules


async def test_an_unknown_queue_is_named_with_those_that_are_called_nearly_so(admin: Admin, queue: Queue) -> None:
    await created(admin, "emails")
    with refused("QUEUE_NOT_FOUND") as refusal:
        await submitted(queue, "email")
    assert "is 'emails' meant?" in refusal.message
    with refused("QUEUE_NOT_FOUND"):
        await admin.GetQueue(admin_pb2.GetQueueRequest(name="other"))


@pytest.mark.parametrize(
    "name", ["", "-emails", "Emails", "e_mails", "e" * 41, "e/mails", "e.json", "é", "emails ", "..", "a\nb"]
)
async def test_a_name_that_no_queue_can_have_is_refused(admin: Admin, queue: Queue, name: str) -> None:
    with refused("INVALID_REQUEST", field="name"):
        await created(admin, name)
    if name:
        with refused("INVALID_REQUEST", field="queue"):
            await submitted(queue, name)


async def test_names_at_their_limits_are_accepted(admin: Admin, queue: Queue) -> None:
    for name in ("e", "0", "a-", "e" * 40):
        await created(admin, name)
        assert len(await submitted(queue, name)) <= 64


async def test_creating_a_queue_twice_leaves_it_as_it_is(admin: Admin, queue: Queue) -> None:
    first = await created(admin, "emails", description="to customers", max_jobs=3)
    assert first.created and first.queue.created_at > 0 and first.queue.uid and not first.queue.open
    await submitted(queue, "emails")
    again = await created(admin, "emails", description="other")
    assert not again.created
    assert (again.queue.uid, again.queue.description) == (first.queue.uid, "to customers")
    assert (again.queue.open, again.queue.counts.total) == (True, 1)


async def test_queues_are_listed_by_name_in_pages(admin: Admin) -> None:
    for name in ("b-2", "a", "b-1", "c"):
        await created(admin, name)
    page = await admin.ListQueues(admin_pb2.ListQueuesRequest(page_size=3))
    assert [each.name for each in page.queues] == ["a", "b-1", "b-2"]
    page = await admin.ListQueues(admin_pb2.ListQueuesRequest(page_size=3, page_token=page.next_page_token))
    assert ([each.name for each in page.queues], page.next_page_token) == (["c"], "")
    page = await admin.ListQueues(admin_pb2.ListQueuesRequest(prefix="b"))
    assert [each.name for each in page.queues] == ["b-1", "b-2"]
    with refused("INVALID_REQUEST", field="page_token"):
        await admin.ListQueues(admin_pb2.ListQueuesRequest(page_token="B/"))
    with refused("INVALID_REQUEST", field="prefix"):
        await admin.ListQueues(admin_pb2.ListQueuesRequest(prefix="B"))


async def test_a_queue_holds_no_more_jobs_than_it_may(admin: Admin, queue: Queue) -> None:
    await created(admin, "small", max_jobs=1)
    await submitted(queue, "small")
    with refused("QUEUE_FULL"):
        await submitted(queue, "small")
    changed = await admin.UpdateQueue(admin_pb2.UpdateQueueRequest(name="small", max_jobs=2))
    assert changed.queue.max_jobs == 2
    await submitted(queue, "small")
    with refused("QUEUE_FULL"):
        await submitted(queue, "small")
    described = await admin.UpdateQueue(admin_pb2.UpdateQueueRequest(name="small", description="tiny"))
    assert (described.queue.description, described.queue.max_jobs) == ("tiny", 2)
    with refused("INVALID_REQUEST", field="max_jobs"):
        await admin.UpdateQueue(admin_pb2.UpdateQueueRequest(name="small", max_jobs=-1))


async def test_a_queue_with_live_jobs_is_deleted_by_force_alone(admin: Admin, queue: Queue, app: App) -> None:
    uid = (await created(admin, "emails")).queue.uid
    job_id = await submitted(queue, "emails")
    with refused("INVALID_REQUEST", field="confirm"):
        await admin.DeleteQueue(admin_pb2.DeleteQueueRequest(name="emails"))
    with refused("INVALID_REQUEST", field="force"):
        await admin.DeleteQueue(admin_pb2.DeleteQueueRequest(name="emails", confirm="emails"))
    assert (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id, queue="emails"))).job.id == job_id
    gone = await admin.DeleteQueue(admin_pb2.DeleteQueueRequest(name="emails", confirm="emails", force=True))
    assert gone.live_jobs == 1
    with refused("QUEUE_NOT_FOUND"):
        await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id, queue="emails"))
    assert not (await admin.ListQueues(admin_pb2.ListQueuesRequest())).queues

    again = await created(admin, "emails")
    assert again.created and again.queue.uid != uid
    with refused("JOB_NOT_FOUND"):
        await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id, queue="emails"))
    assert await submitted(queue, "emails") != job_id


async def test_an_item_of_a_batch_names_no_other_queue(admin: Admin, queue: Queue) -> None:
    await created(admin, "emails")
    jobs = [queue_pb2.SubmitJobRequest(type="a", payload=b"1", queue="emails")]
    with refused("INVALID_REQUEST", field="jobs[0].queue"):
        await queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs))
    assert (await queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs, queue="emails"))).results[0].submitted.job_id


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (queue_pb2.WorkRequest(slots=1, queue="images"), "queue"),
        (queue_pb2.WorkRequest(slots=1, heartbeats=[{"job_id": "x", "queue": "images"}]), "heartbeats[0].queue"),  # type: ignore[list-item]
    ],
)
async def test_a_later_request_of_a_stream_names_no_other_queue(
    admin: Admin, queue: Queue, frame: queue_pb2.WorkRequest, field: str
) -> None:
    await created(admin, "emails")
    await created(admin, "images")
    work = queue.Work()
    await work.write(queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1), queue="emails"))
    await work.read()
    with refused("INVALID_REQUEST", field=field):
        await work.write(frame)
        while True:
            assert await work.read() is not grpc.aio.EOF


async def test_no_more_queues_are_open_than_may_be() -> None:
    async with (
        broker_in_process(settings={"OSQUEUE_LIMIT_OPEN_QUEUES": "1"}) as broker,
        grpc.aio.insecure_channel(broker.address) as channel,
    ):
        admin, queue = Admin(channel), Queue(channel)
        await created(admin, "one")
        await created(admin, "two")
        await submitted(queue, "one")
        assert broker.broker.queues.find("one")
        with refused("TOO_MANY_REQUESTS"):
            await submitted(queue, "two")
        await submitted(queue, "one")


async def test_a_part_of_a_call_names_no_other_queue(admin: Admin, channel: grpc.aio.Channel) -> None:
    await created(admin, "emails")
    put = schedules_pb2.PutScheduleRequest()
    put.schedule.id, put.schedule.every_ms, put.schedule.job.type = "often", 60_000, "email"
    put.schedule.job.payload = b"1"
    put.schedule.job.queue = "emails"
    with refused("INVALID_REQUEST", field="schedule.job.queue"):
        await schedules_pb2_grpc.ScheduleServiceStub(channel).PutSchedule(put)


PROCESS = {"GetInfo", "StepDown"}
"""RPCs that concern the broker that is asked."""
FLEET = {"CreateToken", "RotateToken", "RevokeToken", "ListTokens", "WhoAmI", "Attend"}
"""RPCs that concern all queues together."""
NAMED = {"CreateQueue", "GetQueue", "UpdateQueue", "DeleteQueue", "ListQueues"}
"""RPCs about a queue as a whole, which they name otherwise."""


def test_every_request_says_which_queue_it_is_for() -> None:
    for name, rpc in RPCS.items():
        fields = rpc.request.DESCRIPTOR.fields_by_name
        if name in PROCESS | FLEET | NAMED:
            assert "queue" not in fields, f"{name} is about no queue in particular"
        else:
            assert "queue" in fields and fields["queue"].number == 100, (
                f"{rpc.request.DESCRIPTOR.name} needs `string queue = 100`: then the RPC works for every queue"
            )
